"""TDMS files made and read by npTDMS."""

from __future__ import annotations

import pickle
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecogsource.errors import CorruptDataError, DataPathError, FormatError, MissingDependencyError
from ecogsource.io import open_recording
from ecogsource.io.tdms import FILES, TdmsBuffer
from tests.io.builders import ramp
from tests.oracle import check_read
from tests.strategies import indices

nptdms = pytest.importorskip("nptdms")


def write(path: Path, *segments: dict[str, Any], rate: float = 1000.0) -> Path:
    """Write segments of (group/channel -> samples)."""
    with nptdms.TdmsWriter(path) as writer:
        for segment in segments:
            objects = []
            for name, values in segment.items():
                group, channel = name.split("/")
                properties = {"wf_increment": 1 / rate, "wf_start_offset": 0.25}
                properties["unit_string"] = "V"
                properties["wf_start_time"] = np.datetime64("2021-03-02T04:05:06")
                objects.append(nptdms.ChannelObject(group, channel, values, properties))
            writer.write_segment([nptdms.RootObject({"name": "rec"}), *objects])
    return path


@pytest.fixture
def parts() -> list[np.ndarray]:
    return [ramp(3, n, seed=n) for n in (40, 1, 60)]


@pytest.fixture
def path(tmp_path: Path, parts: list[np.ndarray]) -> Path:
    names = ("g/a", "g/b", "g/c")
    return write(tmp_path / "a.tdms", *[dict(zip(names, p, strict=True)) for p in parts])


def test_segments_of_a_file_are_one_stream(path: Path, parts: list[np.ndarray]) -> None:
    whole = np.concatenate(parts, axis=1)
    with open_recording(path) as recording:
        source = recording.source
        np.testing.assert_array_equal(source[:, :], whole)
        assert (source.fs, source.units) == (pytest.approx(1000), "V")
        assert source.channel_names == ["a", "b", "c"]
        assert recording.info.start_datetime == datetime(2021, 3, 2, 4, 5, 6)
        assert recording.info.streams[0].times(0, 1)[0] == 0.25
        assert recording.info.header["name"] == "rec"
        assert recording.info.header["groups"]["g"]["a"]["unit_string"] == "V"
        raw = source.data_buffer.raw
        np.testing.assert_array_equal(raw[2, 38:45], whole[2, 38:45])


@settings(max_examples=settings().max_examples // 4)
@given(data=st.data())
def test_reading_is_numpy(tmp_path: Path, data: st.DataObject) -> None:
    values = ramp(3, 50)
    path = tmp_path / "h.tdms"
    if not path.exists():
        write(path, {"g/a": values[0], "g/b": values[1], "g/c": values[2]})
    buffer = open_recording(path).source.data_buffer
    for _ in range(3):
        check_read(buffer, values, data.draw(indices((3, 50))))


def test_groups_rates_lengths_and_types_make_streams(tmp_path: Path) -> None:
    one = {"g/a": ramp(1, 10)[0], "g/b": np.arange(10.0), "h/x": ramp(1, 4)[0], "h/t": ["p", "q"]}
    path = write(tmp_path / "a.tdms", one)
    with open_recording(path) as recording:
        shapes = {n: (s.shape, s.dtype.name) for n, s in recording.streams.items()}
    assert shapes == {
        "g int16": ((1, 10), "int16"),
        "g float64": ((1, 10), "float64"),
        "h": ((1, 4), "int16"),
    }


def test_buffers_pickle_close_and_scale(path: Path, parts: list[np.ndarray]) -> None:
    layout = open_recording(path).info.streams[0].segments[0].layout
    buffer = layout.open((1.0, np.array([[1.0], [2.0], [4.0]])))
    assert isinstance(buffer, TdmsBuffer)
    whole = np.concatenate(parts, axis=1)
    expected = (whole.astype(np.float32) + 1) * np.array([[1], [2], [4]], np.float32)
    np.testing.assert_array_equal(buffer[:, 30:50], expected[:, 30:50])
    twin = pickle.loads(pickle.dumps(buffer))
    np.testing.assert_array_equal(twin[1], expected[1])
    buffer.close()
    np.testing.assert_array_equal(buffer[:, -1], expected[:, -1])
    buffer.close()


def test_only_a_few_files_stay_open(tmp_path: Path) -> None:
    sources = []
    for i in range(FILES.limit + 3):
        path = write(tmp_path / f"{i}.tdms", {"g/a": np.arange(i, i + 5)})
        sources.append(open_recording(path).source)
    for i, source in enumerate(sources):
        assert source[0, 0] == i
    assert len(FILES._open) <= FILES.limit
    for source in sources:
        source.data_buffer.close()


def test_damage(tmp_path: Path, path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(b"TDSx" + data[4:])
    with pytest.raises(FormatError, match="byte 0 starts b'TDSx', expected b'TDSm'"):
        open_recording(path)
    path.write_bytes(data[:40])
    with pytest.raises((CorruptDataError, FormatError)):
        open_recording(path)
    with pytest.raises(FormatError, match="holds no channel with numbers"):
        open_recording(write(tmp_path / "t.tdms", {"g/t": ["a", "b"]}))
    with pytest.raises(DataPathError, match="no such file"):
        open_recording(tmp_path / "none.tdms", format="tdms")


def test_without_nptdms(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "nptdms", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'ecogsource\[devices\]'"):
        open_recording(path)


def test_a_file_that_ends_inside_a_segment(tmp_path: Path) -> None:
    values = ramp(1, 100)[0]
    path = write(tmp_path / "a.tdms", {"g/a": values}, {"g/a": values})
    data = path.read_bytes()
    for cut in (1, 100, 230):
        path.write_bytes(data[:-cut])
        FILES.forget(str(path))
        with pytest.raises(CorruptDataError, match=r"ends inside the segment that starts at byte"):
            open_recording(path)
        with open_recording(path, allow_truncated=True) as recording:
            got = recording.source[0]
            assert 100 <= len(got) < 200
            np.testing.assert_array_equal(got, np.tile(values, 2)[: len(got)])


def test_a_segment_whose_length_was_never_written(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tdms", {"g/a": ramp(1, 100)[0]})
    data = bytearray(path.read_bytes())
    data[12:20] = b"\xff" * 8
    path.write_bytes(data)
    with pytest.raises(CorruptDataError, match="segment that starts at byte 0"):
        open_recording(path)
    with open_recording(path, allow_truncated=True) as recording:
        np.testing.assert_array_equal(recording.source[0], ramp(1, 100)[0])
