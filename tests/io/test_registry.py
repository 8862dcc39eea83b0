"""Finding formats, and adding some."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ecogsource.io
from ecogsource.errors import DataPathError, FormatError, GapError, MissingDependencyError
from ecogsource.io import (
    FORMATS,
    Event,
    Events,
    Format,
    RecordingInfo,
    Segment,
    StreamInfo,
    find_format,
    formats,
    open_recording,
    register_format,
    registry,
)
from ecogsource.io.layouts import FlatLayout
from tests.io.builders import Edf, Intan, ramp


@pytest.fixture
def own_table(monkeypatch: pytest.MonkeyPatch) -> None:
    table = dict(FORMATS)
    monkeypatch.setattr(registry, "_formats", table)
    monkeypatch.setattr(registry, "_plugins_loaded", ["done"])


def test_the_table_lists_every_format() -> None:
    rows = formats()
    names = [row["name"] for row in rows]
    assert {"edf", "bdf", "intan", "blackrock", "tdms", "nwb", "spikeglx", "neo"} <= set(names)
    assert all(row["description"] and isinstance(row["installed"], bool) for row in rows)
    assert next(row for row in rows if row["name"] == "tdms")["extra"] == "devices"
    with pytest.raises(TypeError):
        FORMATS["x"] = FORMATS["edf"]  # type: ignore[index]
    for fmt in FORMATS.values():
        if fmt.name != "neo":
            assert callable(fmt.load().read_info)


def test_content_counts_more_than_the_name(tmp_path: Path) -> None:
    path = Edf().write(tmp_path / "data.rhd")
    assert find_format(path).name == "edf"
    path = Intan().write(tmp_path / "data.bin")
    assert open_recording(path).info.format == "intan"


def test_paths_that_are_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataPathError, match="name of the file or folder is empty"):
        open_recording("")
    with pytest.raises(DataPathError, match="no such file or folder"):
        find_format(tmp_path / "none.edf")
    (tmp_path / "a.weird").write_bytes(b"who knows")
    with pytest.raises(FormatError, match=r"starts with b'who know' and is of no known format"):
        find_format(tmp_path / "a.weird")
    (tmp_path / "folder").mkdir()
    with pytest.raises(FormatError, match="is of no known format"):
        find_format(tmp_path / "folder")
    with pytest.raises(FormatError, match="no format 'edff'; there are: edf"):
        open_recording(tmp_path / "a.weird", format="edff")


def test_a_name_is_not_taken_silently(own_table: None) -> None:
    mine = Format("edf", "mine", "nowhere")
    with pytest.raises(ValueError, match="there is a format 'edf' already"):
        register_format(mine)
    register_format(mine, replace=True)
    assert next(iter(registry._formats.values())) is mine


class Fake:
    """A plug-in: a module would do as well."""

    @staticmethod
    def matches(path: Path, head: bytes) -> bool:
        return head.startswith(b"FAKE")

    @staticmethod
    def read_info(path: Path, *, speed: float = 10.0) -> RecordingInfo:
        layout = FlatLayout(str(path), np.dtype("<i2"), (2, 5), "F", 4)
        stream = StreamInfo("s", "electrode", speed, ("a", "b"), ("", ""), (Segment(layout),))
        return RecordingInfo(str(path), "fake", (stream,))


def test_plug_ins_come_from_entry_points(
    own_table: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fake_plugin", Fake)  # type: ignore[arg-type]
    fmt = Format("fake", "for the test", "fake_plugin", (".fake",), ask=True)
    Fake.FORMAT = fmt  # type: ignore[attr-defined]
    point = EntryPoint("fake", "fake_plugin:FORMAT", "ecogsource.formats")
    monkeypatch.setattr(registry, "entry_points", lambda group: [point])
    monkeypatch.setattr(registry, "_plugins_loaded", [])
    (tmp_path / "x.fake").write_bytes(b"FAKE" + ramp(2, 5).T.tobytes())
    with open_recording(tmp_path / "x.fake", speed=3) as recording:
        np.testing.assert_array_equal(recording.source[:, :], ramp(2, 5))
        assert recording.source.fs == 3


def test_a_format_whose_package_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "a.plx").write_bytes(b"PLEX")
    monkeypatch.setitem(sys.modules, "neo.rawio", None)
    with pytest.raises(MissingDependencyError, match=r"ecogsource\[devices\]"):
        open_recording(tmp_path / "a.plx", format="neo")


def test_what_neo_cannot_read(tmp_path: Path) -> None:
    pytest.importorskip("neo")
    (tmp_path / "a.plx").write_bytes(b"PLEX nonsense")
    with pytest.raises(OSError, match="neo.rawio.PlexonRawIO cannot read it"):
        open_recording(tmp_path / "a.plx")
    (tmp_path / "a.weird").write_bytes(b"x")
    with pytest.raises(FormatError, match="of no format that neo reads"):
        open_recording(tmp_path / "a.weird", format="neo")


def test_the_room_is_lazy() -> None:
    code = (
        "import sys, ecogsource.io, ecogsource.io.registry as r; r.formats(); "
        "heavy = {'neo', 'nptdms', 'h5py', 'scipy'} & set(sys.modules); "
        "assert not heavy, heavy; assert 'open_recording' in dir(ecogsource.io)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = ecogsource.io.nothing


# -- descriptions ----------------------------------------------------------------------------------


def test_events_are_columns_in_the_order_of_time() -> None:
    events = Events([2.0, 1.0], ["b", "a"], ["x", "y"], sample=[20, 10])
    assert list(events) == [
        Event(1.0, pytest.approx(np.nan, nan_ok=True), "a", "y", 10),
        Event(2.0, pytest.approx(np.nan, nan_ok=True), "b", "x", 20),
    ]
    assert events[-1].label == "b"
    assert len(events[events.time > 1]) == 1
    assert len(events.select("y")) == 1
    assert len(Events.concatenate([])) == 0
    merged = Events.concatenate([events, Events([1.5], ["m"], "z")])
    assert merged.label.tolist() == ["a", "m", "b"]
    assert repr(events) == "<2 events: {'y': 1, 'x': 1}>"


def stream(**changes: Any) -> StreamInfo:
    segments = tuple(
        Segment(FlatLayout("f", np.dtype(">i2"), (2, n)), start) for start, n in ((5, 10), (20, 4))
    )
    fields = {"fs": 10.0, "channel_units": ("uV", "uV"), "segments": segments} | changes
    return StreamInfo("s", "electrode", channel_names=("a", "b"), **fields)


def test_sample_numbers_jump_at_gaps() -> None:
    one = stream(start_time=1.0)
    assert (one.n_samples, one.start_sample, one.gaps) == (14, 5, [(15, 20)])
    assert one.sample_numbers().tolist() == [*range(5, 15), *range(20, 24)]
    assert one.sample_numbers(8, 12).tolist() == [13, 14, 20, 21]
    assert one.sample_numbers(3, 3).tolist() == []
    assert one.sample_numbers().dtype == np.int64
    np.testing.assert_allclose(one.times(9, 11), [2.4, 3.0])
    with pytest.raises(GapError, match="no sampling rate, so it has no times"):
        stream(fs=None).times()
    assert (one.units, one.dtype) == ("uV", np.dtype("i2"))
    assert stream(channel_units=("uV", "V")).units == "mixed"
    assert stream(channel_units=("", "")).units is None


def test_scales_that_all_channels_share_are_numbers() -> None:
    assert stream().units_scale is None
    assert stream(gain=np.array([2.0, 2.0])).units_scale == (0.0, 2.0)
    offset, gain = stream(gain=np.array([2.0, 4.0]), offset=np.array([2.0, 4.0])).units_scale
    assert offset == 1.0
    np.testing.assert_array_equal(gain, [[2.0], [4.0]])
    assert stream(offset=np.array([3.0, 3.0])).units_scale == (3.0, 1.0)


def test_recordings_say_what_they_are(tmp_path: Path) -> None:
    recording = open_recording(Edf().write(tmp_path / "a.edf"))
    assert "signals: 3 channels x 40 samples at 10 Hz" in repr(recording)
    assert repr(recording.streams) == "<streams: signals>"
    assert recording.streams["signals"] is recording.source
    assert len(recording.streams) == 1
    with pytest.raises(KeyError, match="no stream 'x'; there are: signals"):
        _ = recording.streams["x"]
    assert recording.info.sites is None
    assert recording.segments[0].start_sample == 0


def test_a_folder_that_only_neo_reads(tmp_path: Path) -> None:
    pytest.importorskip("neo")
    # An empty channel of Neuralynx: 16 kB of text, then records.
    header = (
        "######## Neuralynx Data File Header\r\n-FileType NCS\r\n-RecordSize 1044\r\n"
        "-CheetahRev 5.7.4\r\n-AcqEntName CSC1\r\n-NumADChannels 1\r\n-ADChannel 0\r\n"
        "-SamplingFrequency 1000\r\n-ADBitVolts 0.00001\r\n-InputRange 1000\r\n"
        "-DspLowCutFilterEnabled False\r\n-HardwareSubSystemName x\r\n"
        "-TimeCreated 2021/03/02 04:05:06\r\n-TimeClosed 2021/03/02 04:05:07\r\n"
    )
    data = header.encode().ljust(16384, b"\0")
    for record in range(3):
        head = np.array([record * 512_000], "<u8").tobytes()
        head += np.array([0, 1000, 512], "<u4").tobytes()
        data += head + np.arange(512, dtype="<i2").tobytes()
    (tmp_path / "CSC1.ncs").write_bytes(data)
    with open_recording(tmp_path) as recording:
        assert recording.info.format == "neo"
        assert recording.info.header["reader"] == "NeuralynxRawIO"
        values = np.tile(np.arange(512), 3)
        np.testing.assert_array_equal(recording.source.raw[0, :], values)
        assert (recording.source.fs, len(recording.events)) == (1000, 0)
        assert recording.source.units == "uV"
