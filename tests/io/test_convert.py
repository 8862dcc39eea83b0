"""Packed files: what goes in comes out, whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from ecogsource.datasource import verify_file
from ecogsource.errors import CorruptDataError, FormatError, GapError, MissingDependencyError
from ecogsource.io import convert, describe, open_recording
from tests.io.builders import Edf, Intan, nsx, ramp


def assert_equal_recordings(one: Path, other: Path, gaps: str = "raise") -> None:
    a, b = open_recording(one, gaps=gaps), open_recording(other, gaps=gaps)
    assert a.info.stream_names == b.info.stream_names
    for x, y in zip(a.info.streams, b.info.streams, strict=True):
        assert (x.kind, x.fs, x.channel_names, x.channel_units, x.start_time) == (
            (y.kind, y.fs, y.channel_names, y.channel_units, y.start_time)
        )
        np.testing.assert_array_equal(x.sample_numbers(), y.sample_numbers())
        for p, q in zip(a.segments_of(x.name), b.segments_of(y.name), strict=True):
            np.testing.assert_array_equal(p.raw[:, :], q.raw[:, :])
            np.testing.assert_array_equal(p[:, :], q[:, :])
    assert [tuple(e)[2:] for e in a.events] == [tuple(e)[2:] for e in b.events]
    np.testing.assert_array_equal(a.events.time, b.events.time)
    np.testing.assert_array_equal(a.events.duration, b.events.duration)
    assert a.info.start_datetime == b.info.start_datetime


@pytest.mark.parametrize("compression", [None, "gzip", 1])
def test_streams_of_several_rates(tmp_path: Path, compression: str | int | None) -> None:
    path = Intan(n_blocks=20).write(tmp_path / "a.rhd")
    out = convert(path, tmp_path / "a.h5", compression=compression)
    assert out == tmp_path / "a.h5"
    assert_equal_recordings(path, out)
    with h5py.File(out) as file:
        assert file["data"].shape == (3, 2560)
        assert file["data"].dtype == np.uint16
        assert file["Fs"][()] == 20000
        assert file["data"].compression == (None if compression is None else "gzip")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.h5", "a.rhd"]


def test_annotations_and_gaps(tmp_path: Path) -> None:
    tals = ("+0.5\x14rest\x14\x00", "+1.25\x152.5\x14seizure µ\x14\x00")
    path = Edf(reserved="EDF+D", onsets=[0.5, 1.5, 8.5, 9.5], tals=tals).write(tmp_path / "a.edf")
    with pytest.raises(GapError, match="gaps='segment'"):
        convert(path, tmp_path / "a.h5")
    assert not (tmp_path / "a.h5").exists()
    convert(path, tmp_path / "a.h5", gaps="segment")
    assert_equal_recordings(path, tmp_path / "a.h5", gaps="segment")
    with pytest.raises(GapError, match="after sample 20: sample 80 came next"):
        open_recording(tmp_path / "a.h5")
    convert(path, tmp_path / "b.h5", gaps="fill")
    filled = open_recording(path, gaps="fill").source[:, :]
    with open_recording(tmp_path / "b.h5") as recording:
        np.testing.assert_array_equal(recording.source[:, :], filled)
        assert recording.source.units == "uV"


def test_gaps_of_every_stream_count(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.nwb", "w") as file:
        file.attrs["nwb_version"] = "2.5.0"
        for name, n in (("one", 100), ("two", 60)):
            group = file.create_group(f"acquisition/{name}")
            group.attrs["neurodata_type"] = "TimeSeries"
            group["data"] = ramp(1, n)[0]
            late = np.where(np.arange(n) > 70 - n, 9.0, 0.0) * (name == "two")
            group["timestamps"] = np.arange(n) / 100 + late
    assert open_recording(tmp_path / "a.nwb").source.shape == (1, 100)
    with pytest.raises(GapError, match="'two' has 1 gaps"):
        convert(tmp_path / "a.nwb", tmp_path / "a.h5")
    convert(tmp_path / "a.nwb", tmp_path / "a.h5", gaps="segment")
    assert_equal_recordings(tmp_path / "a.nwb", tmp_path / "a.h5", gaps="segment")


def test_existing_files(tmp_path: Path) -> None:
    path = Edf().write(tmp_path / "a.edf")
    out = convert(path, tmp_path / "a.h5")
    before = out.stat().st_mtime_ns
    convert(path, out)
    assert out.stat().st_mtime_ns == before
    with pytest.raises(FileExistsError, match="is not the result of this conversion"):
        convert(path, out, compression="gzip")
    with pytest.raises(FileExistsError):
        convert(path, out, if_exists="raise")
    convert(path, out, if_exists="replace", compression="gzip")
    assert out.stat().st_mtime_ns != before
    # Another recording of the same name is another job.
    Edf(seed=5).write(path)
    with pytest.raises(FileExistsError):
        convert(path, out, compression="gzip")
    (tmp_path / "mine.h5").write_bytes(b"precious")
    with pytest.raises(FileExistsError):
        convert(path, tmp_path / "mine.h5")
    assert (tmp_path / "mine.h5").read_bytes() == b"precious"


def test_an_interrupted_conversion_leaves_no_finished_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ecogsource.datasource.arrayfile import ArrayFile

    path = tmp_path / "a.ns5"
    path.write_bytes(nsx([(0, ramp(4, 5000))]))
    write = ArrayFile.write

    def stop(self: ArrayFile, *args: object) -> None:
        write(self, *args)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(ArrayFile, "write", stop)
    with pytest.raises(KeyboardInterrupt):
        convert(path, tmp_path / "a.h5")
    assert not (tmp_path / "a.h5").exists()
    monkeypatch.setattr(ArrayFile, "write", write)
    convert(path, tmp_path / "a.h5")
    assert_equal_recordings(path, tmp_path / "a.h5")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.h5", "a.ns5"]


def test_what_cannot_be_converted(tmp_path: Path) -> None:
    path = Edf().write(tmp_path / "a.edf")
    with pytest.raises(FormatError, match=r"end in \.h5.* or \.zarr, not '\.csv'"):
        convert(path, tmp_path / "a.csv")
    with pytest.raises(ValueError, match="if_exists must be one of"):
        convert(path, tmp_path / "a.h5", if_exists="maybe")
    empty = Edf(per_record=(), reserved="EDF+C").write(tmp_path / "b.edf")
    with pytest.raises(FormatError, match="holds no continuous data to convert"):
        convert(empty, tmp_path / "b.h5")
    with pytest.raises(ValueError, match="compression must be"):
        convert(path, tmp_path / "a.h5", compression="fast")


def test_a_damaged_description_is_named(tmp_path: Path) -> None:
    out = convert(Edf().write(tmp_path / "a.edf"), tmp_path / "a.h5")
    with h5py.File(out, "r+") as file:
        file.attrs["ecogsource_recording_0"] = "{}"
    with pytest.raises(FormatError, match="do not describe a recording: KeyError"):
        open_recording(out)


def test_long_descriptions_are_cut_into_parts(tmp_path: Path) -> None:
    labels = [f"a rather long {i}" for i in range(12)]
    tals = [f"+0.1\x14{'x' * 30}{i}\x14\x00" for i in range(2)]
    path = Edf(per_record=(1,) * 12, labels=labels, reserved="EDF+C", tals=tals)
    source = path.write(tmp_path / "a.edf")
    from ecogsource.io import packed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packed, "PART", 100)
        out = convert(source, tmp_path / "a.h5")
        with h5py.File(out) as file:
            parts = [name for name in file.attrs if name.startswith("ecogsource_recording_")]
        assert len(parts) > 10
        assert_equal_recordings(source, out)


def test_verification_reads_the_file_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    module = importlib.import_module("ecogsource.io.convert")
    path = Edf(n_records=30).write(tmp_path / "a.edf")

    def damaged(filename: Path) -> None:
        raise CorruptDataError("checksum", filename, 1)

    monkeypatch.setattr(module, "verify_file", damaged)
    with pytest.raises(CorruptDataError, match="checksum"):
        convert(path, tmp_path / "a.h5")
    convert(path, tmp_path / "b.h5", verify=False)


def test_zarr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    path = Edf(reserved="EDF+C", tals=("+1\x14x\x14\x00",)).write(tmp_path / "a.edf")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "zarr", None)
        with pytest.raises(MissingDependencyError, match=r"ecogsource\[zarr\]"):
            convert(path, tmp_path / "a.zarr")
    zarr = pytest.importorskip("zarr")
    out = convert(path, tmp_path / "a.zarr")
    group = zarr.open_group(str(out), mode="r")
    np.testing.assert_array_equal(group["data"][:], open_recording(path).source.raw[:, :])
    assert group.attrs["Fs"] == 10
    assert json.loads(group.attrs["ecogsource_recording_0"])["format"] == "edf"
    inode = (out / "data").stat().st_ino
    convert(path, out)
    assert (out / "data").stat().st_ino == inode
    for options in ({"if_exists": "raise"}, {"chunks": (1, 7)}):
        with pytest.raises(
            FileExistsError, match="exists and is not the result of this conversion"
        ):
            convert(path, out, **options)
    convert(path, out, if_exists="replace", chunks=(1, 7), compression=5)
    assert zarr.open_group(str(out), mode="r")["data"].chunks == (1, 7)
    assert visible(tmp_path) == ["a.edf", "a.zarr"]
    with open_recording(path) as original, open_recording(out) as packed:
        assert packed.info.format == "zarr"
        assert packed.info.stream_names == original.info.stream_names
        np.testing.assert_array_equal(packed.source[:, :], original.source[:, :])
        assert packed.source.channel_names == original.source.channel_names
        events = [[(e.time, e.label, e.kind) for e in r.events] for r in (packed, original)]
        assert events[0] == events[1] != []


def visible(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if not p.name.endswith(".lock"))


def test_an_interrupted_conversion_to_zarr_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("zarr")
    from ecogsource.io import zarrfile

    path = Edf(n_records=40).write(tmp_path / "a.edf")
    written: list[int] = []
    crc = zarrfile.crc_of

    def breaks(values: np.ndarray) -> int:
        written.append(values.shape[1])
        if len(written) == 3:
            raise KeyboardInterrupt
        return crc(values)

    monkeypatch.setattr(zarrfile, "crc_of", breaks)
    with pytest.raises(KeyboardInterrupt):
        convert(path, tmp_path / "a.zarr", chunks=(2, 50))
    assert visible(tmp_path) == [".a.zarr.ledger", ".a.zarr.partial", "a.edf"]
    ledger = (tmp_path / ".a.zarr.ledger").read_text().splitlines()
    assert len(ledger) == 3
    monkeypatch.setattr(zarrfile, "crc_of", crc)
    added: list[int] = []
    add = zarrfile.Ledger.add
    monkeypatch.setattr(
        zarrfile.Ledger, "add", lambda self, *a: (added.append(a[1]), add(self, *a))
    )
    convert(path, tmp_path / "a.zarr", chunks=(2, 50))
    assert added[:2] == [2, 3]
    with open_recording(path) as original, open_recording(tmp_path / "a.zarr") as packed:
        np.testing.assert_array_equal(packed.source[:, :], original.source[:, :])
    # What another job left is thrown away; a full disk leaves the old one, and nothing else.
    monkeypatch.setattr(
        zarrfile, "crc_of", lambda _: (_ for _ in ()).throw(OSError(28, "No space left"))
    )
    with pytest.raises(OSError, match="No space left"):
        convert(path, tmp_path / "a.zarr", chunks=(1, 50), if_exists="replace")
    assert visible(tmp_path) == ["a.edf", "a.zarr"]
    verify_file(tmp_path / "a.zarr")


def test_a_converted_zarr_group_is_verified(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    path = Edf(n_records=40).write(tmp_path / "a.edf")
    out = convert(path, tmp_path / "a.zarr", chunks=(2, 50))
    report = verify_file(out)
    assert report.sealed
    assert report.arrays["data"] == -(-open_recording(path).source.shape[1] // 50)
    group = zarr.open_group(str(out), mode="r+")
    group["data"][0, 60] += 1
    with pytest.raises(CorruptDataError, match=r"'data', rows 0:\d+, samples 50:100: the data do"):
        verify_file(out)
    other = zarr.open_group(str(tmp_path / "other.zarr"), mode="w")
    other.attrs["x"] = 1
    with pytest.raises(FormatError, match="was not written by ecogsource"):
        verify_file(tmp_path / "other.zarr")
    with pytest.raises(FormatError, match=r"does not describe a recording.*open_zarr"):
        open_recording(tmp_path / "other.zarr")
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(FormatError, match="is not a Zarr group"):
        open_recording(tmp_path / "empty.zarr", format="zarr")
    with pytest.raises(FormatError, match="was not written by ecogsource"):
        verify_file(tmp_path / "empty.zarr")


def test_descriptions_print_as_tables(tmp_path: Path) -> None:
    path = Edf(reserved="EDF+C", tals=("+1\x14x\x14\x00",)).write(tmp_path / "a.edf")
    found = describe(path)
    assert dict(found["file"])["format"] == "edf"
    assert found["streams"][0]["channels"] == 3
    assert found["events"] == {"annotation": 1}
    text = str(found)
    assert "signals  electrode  3" in text
    assert "physical_min        [-1000.0, -1000.0, -1000.0, -1000.0]" in text
    assert "events: annotation  1" in text
    only = Edf(per_record=(), reserved="EDF+C").write(tmp_path / "b.edf")
    assert "no continuous data" in str(describe(only))
