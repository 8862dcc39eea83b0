"""The example lab: what lies where, and that folders of other people are left alone."""

from __future__ import annotations

import json
from configparser import ConfigParser
from pathlib import Path

import h5py
import numpy as np
import pytest

from ecogsource import demos
from ecogsource.demos import lab as lab_room
from ecogsource.errors import FormatError

GRID = "demo/2024-03-18_grid64"
ACTIVE = "Viventi 2016-09-01 Active Rat 16011/test_001.mat"
TONES = "Viventi 2016-09-26 P4 Rat 16017"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> demos.Lab:
    return demos.make_lab(tmp_path_factory.mktemp("lab"), seconds=3, n_tones=2)


def test_four_layouts_of_the_same_grid(lab: demos.Lab) -> None:
    local, network = lab.params["local_exp"] / GRID, lab.params["network_exp"] / GRID
    n_samples = 6000
    with h5py.File(local / "rec_001.h5") as plain, h5py.File(network / "rec_003.h5") as chunked:
        assert plain["data"].shape == chunked["data"].shape == (64, n_samples)
        assert plain["data"].chunks is None
        assert chunked["data"].chunks == (8, 6000)
        assert plain["adc"].shape == (2, n_samples)
        assert plain["aux"].shape == (3, n_samples)
        assert plain["Fs"][()] == 2000.0
        assert dict(plain["data"].attrs) == {"units_scale": 0.195, "units": "uV"}
        deviation = 0.195 * np.std(plain["data"][()], axis=1)
    assert set(np.argsort(deviation)[:2]) == {12, 40}
    with h5py.File(local / "rec_002.h5") as transposed:
        assert transposed["data"].shape == (n_samples, 64)
        assert transposed["data"].compression == "gzip"
        assert transposed["adc"].shape == (n_samples, 2)
    sidecar = json.loads((local / "rec_004.json").read_text())
    assert sidecar == {
        "dtype": "<i2",
        "n_channels": 64,
        "order": "C",
        "fs": 2000.0,
        "offset": 0,
        "units_scale": 0.195,
        "units": "uV",
    }
    flat = np.fromfile(local / "rec_004.dat", "<i2").reshape(-1, 64)
    assert flat.shape == (n_samples, 64)
    assert 20 < 0.195 * np.median(flat.std(axis=0)) < 100


def test_the_active_array_is_permuted_beside_its_trigger(lab: demos.Lab) -> None:
    with h5py.File(lab.params["network_exp"] / ACTIVE) as file:
        assert file.userblock_size == 512
        values = file["data"][:5000]
        assert file["data"].shape == (60_000, 88)
        sizes = [file[name][()].tolist() for name in ("Fs", "numRow", "numCol", "numChan")]
    assert sizes == [[[1000.0]], [[8.0]], [[10.0]], [[11.0]]]
    electrodes = {
        column * 8 + row for column in lab_room.ACTIVE_COLUMNS for row in lab_room.ACTIVE_ROWS
    }
    assert len(electrodes) == 64
    deviation = values.std(axis=0)
    leakage = sorted(set(range(80)) - electrodes)
    assert deviation[sorted(electrodes)].min() > 5 * deviation[leakage].max()
    assert (values[:, 80:] > 2.5).any(axis=0).all()
    header = (lab.params["network_exp"] / ACTIVE).read_bytes()[:128]
    assert header.startswith(b"MATLAB 7.3 MAT-file")
    assert header.endswith(b"\x00\x02IM")


def test_the_active_array_is_the_one_that_loaders_know() -> None:
    text = (Path(lab_room.__file__).parents[1] / "devices/data/active_daq.json").read_text()
    (entry,) = (
        entry
        for entry in json.loads(text)["active"]
        if (entry["daq"], entry["headstage"], entry["electrode"])
        == ("2t-as daq v1", "zif26 to 2x uhdmi", "actv_64")
    )
    assert tuple(entry["col"]) == lab_room.ACTIVE_COLUMNS
    assert tuple(entry["row"]) == lab_room.ACTIVE_ROWS


def test_tone_recordings_have_tables_as_long_as_their_pulses(lab: demos.Lab) -> None:
    tables = lab.params["user_sessions"] / "16017"
    lengths = set()
    for recording in lab_room.TONE_RECORDINGS:
        name = lab_room.DAY + recording
        with h5py.File(lab.params["network_exp"] / TONES / f"{name}_Fs2000.h5") as file:
            n_samples = file["chdata"].shape[1]
            assert file["chdata"].shape[0] == 64
            assert file["adc"].shape == (8, n_samples)
            assert file["aux"].shape == (3, n_samples)
            high = file["adc"][0] > 2.5
        lengths.add(n_samples)
        tones = np.loadtxt(tables / f"{name}_tones.txt", ndmin=1)
        levels = np.loadtxt(tables / f"{name}_amps.txt", ndmin=1)
        assert len(tones) == len(levels) == 2 == np.sum(high[1:] & ~high[:-1])
    assert len(lengths) == len(lab_room.TONE_RECORDINGS)


def test_the_parameter_file_points_into_the_folder(lab: demos.Lab) -> None:
    parser = ConfigParser(interpolation=None)
    parser.read(lab.config)
    assert dict(parser["params"]) == {name: str(path) for name, path in lab.params.items()}
    assert all(path.is_dir() for path in lab.params.values())


def test_every_recording_is_reported(tmp_path: Path) -> None:
    reported: list[Path] = []
    lab = demos.make_lab(tmp_path / "new", groups=["demo"], seconds=2, report=reported.append)
    assert [path.name for path in reported] == [
        "rec_001.h5",
        "rec_002.h5",
        "rec_003.h5",
        "rec_004.dat",
    ]
    assert set(reported) <= set(lab.files())
    assert not (lab.params["user_sessions"] / "16017").exists()


def test_a_lab_is_found_again_and_made_anew_for_other_settings(tmp_path: Path) -> None:
    reported: list[Path] = []

    def make(seconds: float) -> None:
        demos.make_lab(tmp_path, groups=["demo"], seconds=seconds, report=reported.append)

    make(2)
    make(2)
    assert len(reported) == 4
    make(3)
    assert len(reported) == 8


@pytest.mark.parametrize("damage", ["recording", "mark"])
def test_a_damaged_lab_is_made_anew(tmp_path: Path, damage: str) -> None:
    lab = demos.make_lab(tmp_path, groups=["demo"], seconds=2)
    if damage == "recording":
        (lab.params["local_exp"] / GRID / "rec_002.h5").unlink()
    else:
        lab.mark.write_text("{}")
    reported: list[Path] = []
    demos.make_lab(tmp_path, groups=["demo"], seconds=2, report=reported.append)
    assert len(reported) == 4


def test_an_interrupted_lab_is_made_anew(tmp_path: Path) -> None:
    def stop(path: Path) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        demos.make_lab(tmp_path, groups=["demo"], seconds=2, report=stop)
    reported: list[Path] = []
    demos.make_lab(tmp_path, groups=["demo"], seconds=2, report=reported.append)
    assert len(reported) == 4


def test_a_folder_of_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("...")
    with pytest.raises(FormatError, match="holds files that are not an example lab"):
        demos.make_lab(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groups": ["16018"]}, "no example group '16018'; there are demo, 16011, 16017"),
        ({"seconds": 1}, "at least 2 s and one tone, got 1 s and 39 tones"),
        ({"n_tones": 0}, "at least 2 s and one tone, got 30 s and 0 tones"),
    ],
)
def test_settings_that_make_no_sense(tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        demos.make_lab(tmp_path / "lab", **options)
    assert not (tmp_path / "lab").exists()
