"""The demonstration: on the example lab, and on files of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from ecogsource.cli import main
from ecogsource.demos import make_lab

PNG = b"\x89PNG\r\n\x1a\n"


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    status = main([str(word) for word in words])
    out, err = capsys.readouterr()
    assert err == ""
    return status, out


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    """Two HDF5 files of one recorder, and a flat file."""
    values = np.random.default_rng(0).standard_normal((8, 4000)).astype("f4")
    values[5] = 0
    for number in (1, 2):
        with h5py.File(tmp_path / f"part_{number}.h5", "w") as file:
            file["data"] = number * values
            file["Fs"] = 500.0
    values.T.tofile(tmp_path / "flat.dat")
    (tmp_path / "notes.txt").write_text("not a recording")
    return tmp_path


def test_the_main_job_on_the_example_lab(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    status, out = run(capsys, "demo", folder, "--seconds", 3)
    assert status == 0
    lines = [line.strip() for line in out.splitlines()]
    steps = [line for line in lines if line[:2].strip(".").isdigit() and ". " in line[:4]]
    assert [step.split(".")[0] for step in steps] == [str(n) for n in range(1, 11)]
    assert "recordings rec_001, rec_002, rec_003, rec_004" in lines
    assert any(line.startswith("rec_002: 64 channels") and "(6000, 64)" in line for line in lines)
    assert any(line.startswith("64 channels x 18,000 samples of float32") for line in lines)
    assert "channels [12, 40] are out: 62 of 64 left" in lines
    assert ">>> source[:, 4000:8000]" in lines
    assert "ndarray of shape (62, 4000), float32, 992 KB" in lines
    same = "The same as the end of the first file and the beginning of the second: yes."
    assert same in lines
    assert any("more than the limit" in line for line in lines)
    assert any(line.startswith("Peak memory of the whole process") for line in lines)
    assert (folder / "overview.png").read_bytes().startswith(PNG)
    assert f"export ECOGSOURCE_CONFIG={folder / 'ecogsource.ini'}" in lines


def test_the_lab_is_used_again_without_the_picture_getting_in_the_way(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    before = (folder / "lab.json").stat().st_mtime_ns
    status, out = run(capsys, "demo", folder, "--seconds", 3)
    assert status == 0
    assert (folder / "lab.json").stat().st_mtime_ns == before
    assert "    rec_001.h5" not in out


def test_without_matplotlib_all_but_the_picture_is_done(
    capsys: pytest.CaptureFixture[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    status, out = run(capsys, "demo", folder, "--seconds", 3)
    assert status == 0
    assert "no picture: " in out
    assert "pip install 'ecogsource[plot]'" in " ".join(out.split())


def test_own_files_are_joined_masked_and_drawn(
    capsys: pytest.CaptureFixture[str], grid: Path, tmp_path: Path
) -> None:
    out_folder = tmp_path / "pictures"
    status, out = run(capsys, "demo", out_folder, "--data", grid / "part_1.h5", grid / "part_2.h5")
    assert status == 0
    assert "part_1.h5 and 1 more, joined end to end" in out
    assert "8 channels x 8,000 samples of float32, 16.0 s at 500 Hz" in out
    assert "channels [5] are out: 7 of 8 left" in out
    assert "across the border of two files" in out
    assert "The same as the end of the first file and the beginning of the second: yes." in out
    assert [path.name for path in out_folder.iterdir()] == ["overview_1.png"]
    assert (out_folder / "overview_1.png").read_bytes().startswith(PNG)


def test_a_folder_is_looked_through(
    capsys: pytest.CaptureFixture[str], grid: Path, tmp_path: Path
) -> None:
    status, out = run(capsys, "demo", tmp_path / "pictures", "--data", grid)
    assert status == 0
    assert "flat.dat" in out
    assert "not opened: " in out
    assert "notes.txt" not in out
    assert "recordings found: 2, files not opened: 1" in out


def test_a_flat_file_with_options(
    capsys: pytest.CaptureFixture[str], grid: Path, tmp_path: Path
) -> None:
    options = ["--dtype", "float32", "--n-channels", 8, "--fs", 250]
    status, out = run(capsys, "demo", tmp_path / "pictures", "--data", grid / "flat.dat", *options)
    assert status == 0
    assert "8 channels x 4,000 samples of float32, 16.0 s at 250 Hz" in out


def test_a_flat_file_without_options_is_said_to_need_them(
    capsys: pytest.CaptureFixture[str], grid: Path, tmp_path: Path
) -> None:
    status, out = run(capsys, "demo", tmp_path / "pictures", "--data", grid / "flat.dat")
    assert status == 2
    assert "not opened" in out
    assert "dtype" in out
    assert "recordings found: 0, files not opened: 1" in out


def test_large_files_are_reduced_in_part_only(
    capsys: pytest.CaptureFixture[str],
    grid: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ecogsource.cli.tour.READ_AT_MOST", 8 * 4 * 1000)
    status, out = run(capsys, "demo", tmp_path / "pictures", "--data", grid / "part_1.h5")
    assert status == 0
    assert "over the first 1,000 samples" in out
    assert "view.channel_deviation(source, stop=1000)" in out


def test_gaps_are_filled_and_named(
    capsys: pytest.CaptureFixture[str], shared_data: Path, tmp_path: Path
) -> None:
    path = shared_data / "edf" / "edfarray" / "edfPlusD.edf"
    status, out = run(capsys, "demo", tmp_path, "--data", path)
    assert status == 0
    assert "gaps are filled with NaN" in out
    assert "nan" not in out.split("2. ")[0].lower().replace("with nan", "")
    assert "has 5 gaps, the first after sample 200" in " ".join(out.split())


def test_a_real_grid_of_electrodes(
    capsys: pytest.CaptureFixture[str], shared_data: Path, tmp_path: Path
) -> None:
    path = shared_data / "flat" / "peslab" / "recTEST.LM1_ECOG_3.clfp_ds250.dat"
    status, out = run(capsys, "demo", tmp_path, "--data", path)
    assert status == 0
    assert "62 channels x 10,000 samples of float32, 40.0 s at 250 Hz" in out
    # The file goes channel after channel; read the other way it is white noise.
    said = " ".join(out.split())
    assert "stored channel after channel, by the look of it: read sample after sample" in said
    assert "--order samples reads it so all the same" in said
    assert "channels [28] are out: 61 of 62 left" in out
    assert (tmp_path / "overview_1.png").read_bytes().startswith(PNG)


def test_an_order_that_is_insisted_on_is_taken(
    capsys: pytest.CaptureFixture[str], shared_data: Path, tmp_path: Path
) -> None:
    path = shared_data / "flat" / "peslab" / "recTEST.LM1_ECOG_3.clfp_ds250.dat"
    status, out = run(capsys, "demo", tmp_path, "--data", path, "--order", "samples")
    assert status == 0
    assert "by the look of it" not in out
    assert "120.6 to 123.1" in out


def test_real_files_of_three_shapes(
    capsys: pytest.CaptureFixture[str], shared_data: Path, tmp_path: Path
) -> None:
    status, out = run(capsys, "demo", tmp_path, "--data", shared_data / "hdf5")
    assert status == 0
    said = " ".join(out.split())
    assert "3 axes (50 x 3 x 350): pieces such as trials" in said
    assert "a table of 14,720 rows of 88 int16 fields (chan1 ... chan88)" in said
    assert "exp_data/laser_sensor: one channel of 733,126 samples" in out
    assert "channels [81, 82, 83, 84, 85, 86, 87] are out: 81 of 88 left" in out
    assert len(list(tmp_path.glob("overview_*.png"))) == 4


def test_info_check_and_convert_on_the_lab(
    capsys: pytest.CaptureFixture[str],
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lab = make_lab(folder, groups=["demo"], seconds=3)
    monkeypatch.setenv("ECOGSOURCE_CONFIG", str(lab.config))
    session = "demo/2024-03-18_grid64"

    status, out = run(capsys, "info", session)
    assert status == 0
    assert "electrode    grid_8x8_0.4" in out
    assert "rec_001  exp_type = tonotopy, tones_tab = rec_001_tones.txt" in out

    status, out = run(capsys, "info", f"{session}/rec_002")
    assert status == 0
    assert "64 channels x 6,000 samples of float32, 3.0 s at 2000 Hz" in out
    assert "chan_map" in out

    status, out = run(capsys, "check")
    assert status == 0
    assert out.count("found  demo") == 4
    assert "4 recordings found, 0 things wrong" in out

    status, out = run(capsys, "convert", "--session", session, tmp_path)
    assert status == 0
    made = sorted(path.name for path in tmp_path.glob("*.h5"))
    assert made == [f"rec_00{number}.h5" for number in (1, 2, 3, 4)]

    status, out = run(capsys, "verify", tmp_path / "rec_002.h5")
    assert status == 0
    assert out.startswith(f"{tmp_path / 'rec_002.h5'}: ")
    assert out.endswith(" checksums agree; none for Fs\n")


def test_check_finds_what_is_missing(
    capsys: pytest.CaptureFixture[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = make_lab(folder, groups=["demo"], seconds=3)
    monkeypatch.setenv("ECOGSOURCE_CONFIG", str(lab.config))
    path = lab.params["user_sessions"] / "demo" / "2024-03-18_grid64.txt"
    text = path.read_text()
    try:
        path.write_text(text + "[rec_005]\nelectrod = grid_8x8\n")
        status, out = run(capsys, "check", "demo", "--quiet")
    finally:
        path.write_text(text)
    assert status == 1
    assert "rec_005" in out
    assert "'electrod'" in out
    assert "rec_001" not in out


def test_info_of_a_file(capsys: pytest.CaptureFixture[str], grid: Path, tmp_path: Path) -> None:
    status, out = run(capsys, "info", grid / "part_1.h5")
    assert status == 0
    assert "500.0" in out
    with h5py.File(tmp_path / "pieces.h5", "w") as file:
        file["trials"] = np.zeros((3, 4, 200))
    status, out = run(capsys, "info", tmp_path / "pieces.h5")
    assert status == 0
    assert "holds no recording, but" in out
    assert "3 axes (3 x 4 x 200)" in out


def test_one_recording_becomes_one_file(
    capsys: pytest.CaptureFixture[str], grid: Path, tmp_path: Path
) -> None:
    words = ["--dtype", "float32", "--n-channels", 8, "--fs", 250, "--gzip", 1]
    status, out = run(capsys, "convert", grid / "flat.dat", tmp_path / "packed.h5", *words)
    assert status == 0
    assert f"-> {tmp_path / 'packed.h5'}" in out
    with h5py.File(tmp_path / "packed.h5") as file:
        assert file["data"].shape == (8, 4000)
        assert file["data"].compression == "gzip"
        assert json.loads(str(file["Fs"][()].item())) == 250.0


def test_verify_of_a_damaged_file_is_an_error(
    capsys: pytest.CaptureFixture[str], grid: Path, tmp_path: Path
) -> None:
    words = ["--dtype", "float32", "--n-channels", 8, "--fs", 250]
    packed = tmp_path / "packed.h5"
    run(capsys, "convert", grid / "flat.dat", packed, *words)
    with h5py.File(packed) as file:
        at = file["data"].id.get_chunk_info(0).byte_offset
    damaged = bytearray(packed.read_bytes())
    damaged[at + 100] ^= 0xFF
    packed.write_bytes(damaged)
    assert main(["verify", str(packed)]) == 2
    assert "CorruptDataError" in capsys.readouterr().err


def test_an_option_that_a_format_does_not_have_is_an_error(
    capsys: pytest.CaptureFixture[str], shared_data: Path
) -> None:
    path = shared_data / "edf" / "mne" / "test.edf"
    assert main(["info", str(path), "--n-channels", "3", "--dataset", "x"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("ecogsource: FormatError: ")
    assert "has no option" in err
