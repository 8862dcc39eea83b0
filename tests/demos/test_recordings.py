"""Demonstration recordings by name, and the EDF writer, checked by other readers."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from types import SimpleNamespace

import edfio
import h5py
import numpy as np
import pytest

from ecogsource import demos
from ecogsource.demos.edf import Annotation, EdfHeader, write_edf
from ecogsource.demos.recordings import make_eeg
from ecogsource.errors import DataPathError, MissingDependencyError


def ramp(n_signals: int, n_samples: int) -> np.ndarray:
    return np.linspace(-8000.0, 8000.0, n_signals * n_samples).reshape(n_signals, n_samples)


def test_another_reader_finds_the_signals(tmp_path: Path) -> None:
    header = EdfHeader(names=["EEG one", "EEG two"], samples_per_record=50, transducer="wire")
    values = ramp(2, 150)
    blocks = [values[:, :7], values[:, 7:120], values[:, 120:]]
    write_edf(tmp_path / "a.edf", header, blocks, 3, [Annotation(1.5, 0.25, "a sneeze")])
    edf = edfio.read_edf(tmp_path / "a.edf")
    assert [signal.label for signal in edf.signals] == ["EEG one", "EEG two"]
    assert [signal.sampling_frequency for signal in edf.signals] == [50.0, 50.0]
    step = (8144.319 + 8144.31) / 16384
    for signal, expected in zip(edf.signals, values, strict=True):
        assert signal.data.shape == (150,)
        assert signal.physical_dimension == "uV"
        np.testing.assert_allclose(signal.data, expected, atol=step)
    assert edf.annotations == (edfio.EdfAnnotation(1.5, 0.25, "a sneeze"),)


def test_values_beyond_the_range_are_clipped() -> None:
    header = EdfHeader(names=["a"], samples_per_record=1)
    stored = header.quantise(np.array([-1e9, -8144.31, 8144.319, 1e9]))
    np.testing.assert_array_equal(stored, [-8192, -8192, 8192, 8192])
    assert stored.dtype == np.dtype("<i2")


def test_a_text_that_does_not_fit_is_an_error_and_leaves_no_file(tmp_path: Path) -> None:
    header = EdfHeader(names=["a name of twenty char"], samples_per_record=5)
    with pytest.raises(ValueError, match="does not fit a header field of 16 characters"):
        write_edf(tmp_path / "a.edf", header, [ramp(1, 5)], 1)
    assert list(tmp_path.glob("*.edf")) == []


def test_too_many_annotations_in_a_second_are_an_error(tmp_path: Path) -> None:
    notes = [Annotation(0.1 * n, 0, "something long to say") for n in range(9)]
    header = EdfHeader(names=["a"], samples_per_record=5)
    with pytest.raises(ValueError, match="annotations of second 0 take .* room for 114"):
        write_edf(tmp_path / "a.edf", header, [ramp(1, 5)], 1, notes)


def test_too_short_signals_are_an_error_and_leave_no_file(tmp_path: Path) -> None:
    header = EdfHeader(names=["a"], samples_per_record=5)
    with pytest.raises(ValueError, match="the signals fill 2 records of 3"):
        write_edf(tmp_path / "a.edf", header, [ramp(1, 14)], 3)
    assert list(tmp_path.glob("*.edf")) == []


def test_the_mouse_recording_has_the_header_of_its_recorder(tmp_path: Path) -> None:
    make_eeg(tmp_path / "eeg.edf", 41)
    header = (tmp_path / "eeg.edf").read_bytes()[:1536].decode("ascii")
    assert header[8:88].rstrip() == "PIN-42 M 11-MAR-1952 Animal"
    assert header[88:168].rstrip() == "Startdate 15-AUG-2020 X X X"
    assert header[168:184] == "15.08.2009.59.15"
    assert header[184:192].split() == ["1536"]
    assert header[192:236].rstrip() == "EDF+C"
    assert header[236:256].split() == ["41", "1", "5"]
    names = [header[256 + 16 * n : 272 + 16 * n].rstrip() for n in range(5)]
    assert names == [*(f"EEG EEG_{n}_SA-B" for n in (1, 2, 3, 4)), "EDF Annotations"]
    edf = edfio.read_edf(tmp_path / "eeg.edf")
    assert edf.signals[0].physical_range == (-8144.31, 8144.319)
    assert edf.signals[0].digital_range == (-8192, 8192)
    assert [signal.data.shape for signal in edf.signals] == [(205_000,)] * 4
    assert [(note.onset, note.duration) for note in edf.annotations] == [
        (0.0, 20.0),
        (20.0, 20.0),
        (40.0, 1.0),
    ]
    assert all(20 < signal.data.std() < 200 for signal in edf.signals)


def test_a_recording_is_made_once(tmp_path: Path) -> None:
    made: list[Path] = []

    def make(path: Path) -> None:
        made.append(path)
        path.write_text("data")

    paths = demos.DemoPaths({"a.bin": make}, folder=tmp_path / "cache")
    assert dict(paths.available) == {"a.bin": "made on first use"}
    assert not (tmp_path / "cache").exists()
    found = paths.locate("a.bin")
    assert found == paths.locate("a.bin") == tmp_path / "cache" / "a.bin"
    assert made == [found]
    assert paths.available["a.bin"] == str(found)
    assert repr(paths.available) == f"a.bin  {found}"


def test_the_listing_is_a_table_of_all_names() -> None:
    listing = demos.paths.available
    assert {"recording_001.edf", "recording_001_short.edf", "grid64.h5"} <= set(listing)
    assert len(repr(listing).splitlines()) == len(listing)


def test_recordings_are_kept_in_the_cache_folder_of_the_user() -> None:
    import platformdirs

    assert demos.paths.folder.parent == Path(platformdirs.user_cache_dir("ecogsource"))


def test_short_recordings_are_the_same_every_time(tmp_path: Path) -> None:
    sums = set()
    for number in (1, 2):
        make_eeg(tmp_path / f"{number}.edf", 3)
        sums.add(hashlib.sha256((tmp_path / f"{number}.edf").read_bytes()).hexdigest())
    assert len(sums) == 1


def test_the_grid_recording(tmp_path: Path) -> None:
    paths = demos.DemoPaths(demos.paths._makers, folder=tmp_path)
    with h5py.File(paths.locate("grid64.h5")) as file:
        assert file["data"].shape == (64, 40_000)
        assert file["data"].dtype == np.int16
        assert file["data"].attrs["units"] == "uV"
        assert file["adc"].shape == (2, 40_000)
        assert file["aux"].shape == (3, 40_000)
        assert file["Fs"][()] == 2000.0


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(DataPathError, match="did you mean 'recording_001.edf'"):
        demos.paths.locate("recordin_001.edf")


def test_a_registered_recording_is_fetched_with_its_checksum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {}

    def retrieve(url: str, **options: object) -> str:
        asked.update(options, url=url)
        return str(tmp_path / "b.edf")

    monkeypatch.setitem(sys.modules, "pooch", SimpleNamespace(retrieve=retrieve))
    paths = demos.DemoPaths({}, folder=tmp_path)
    paths.register("b.edf", "https://example.org/b.edf", "ab12")
    assert paths.available["b.edf"] == "https://example.org/b.edf"
    assert paths.locate("b.edf") == tmp_path / "b.edf"
    assert asked == {
        "url": "https://example.org/b.edf",
        "known_hash": "sha256:ab12",
        "fname": "b.edf",
        "path": tmp_path,
    }


def test_downloads_need_pooch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pooch", None)
    paths = demos.DemoPaths({}, folder=tmp_path)
    paths.register("b.edf", "https://example.org/b.edf", "ab12")
    with pytest.raises(MissingDependencyError, match=r"pip install 'ecogsource\[demos\]'"):
        paths.locate("b.edf")


def test_names_are_taken_once_and_name_files(tmp_path: Path) -> None:
    paths = demos.DemoPaths({"a.bin": lambda path: None}, folder=tmp_path)
    with pytest.raises(ValueError, match="there is a recording named 'a.bin' already"):
        paths.register("a.bin", "https://example.org/a", "00")
    with pytest.raises(ValueError, match=r"without folders: got '../a.bin'"):
        paths.register("../a.bin", "https://example.org/a", "00")
