"""Blackrock NSx and NEV, built from the file specifications, and read by neo too."""

from __future__ import annotations

import struct
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from ecogsource.errors import CorruptDataError, DataPathError, FormatError, GapError
from ecogsource.io import open_recording
from tests.io.builders import nev, nsx, nsx_21, nsx_header, ramp
from tests.io.peers import neo_stream

VERSIONS = [(2, 2), (2, 3), (3, 0)]


@pytest.mark.parametrize("version", VERSIONS)
def test_one_packet(tmp_path: Path, version: tuple[int, int]) -> None:
    values = ramp(4, 500)
    path = tmp_path / "a.ns5"
    path.write_bytes(nsx([(0, values)], version))
    with open_recording(path) as recording:
        source = recording.source
        np.testing.assert_array_equal(source.raw[:, :], values)
        assert (source.fs, source.units) == (30000, "uV")
        assert source.channel_names == ["elec1", "elec2", "elec3", "elec4"]
        expected = values.astype(float) * 8191 / 32764
        np.testing.assert_allclose(source[:, :], expected, rtol=1e-5, atol=1e-3)
        assert recording.info.start_datetime == datetime(2020, 5, 14, 10, 11, 12, 500000)
        assert recording.info.header["ns5"]["comment"] == "a comment"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_pause_is_a_gap(tmp_path: Path, version: tuple[int, int]) -> None:
    one, two = ramp(3, 100), ramp(3, 50, seed=1)
    path = tmp_path / "a.ns2"
    path.write_bytes(nsx([(0, one), (30 * 150, two)], version, period=30))
    with pytest.raises(GapError, match="the first after sample 100: sample 150 came next"):
        open_recording(path)
    pieces = open_recording(path, gaps="segment").segments
    assert [(p.start_sample, p.shape[1], p.fs) for p in pieces] == [(0, 100, 1000), (150, 50, 1000)]
    np.testing.assert_array_equal(pieces[1].raw[:, :], two)
    filled = open_recording(path, gaps="fill", fill_value=-1).source
    np.testing.assert_array_equal(filled.raw[:, 150:], two)
    assert filled.shape == (3, 200)
    assert (filled[:, 100:150] == -1).all()


def test_packets_that_follow_one_another_are_no_gap(tmp_path: Path) -> None:
    pieces = [ramp(3, n, seed=n) for n in (10, 20, 30)]
    path = tmp_path / "a.ns5"
    path.write_bytes(nsx(list(zip((0, 10, 30), pieces, strict=True))))
    with open_recording(path) as recording:
        np.testing.assert_array_equal(recording.source.raw[:, :], np.concatenate(pieces, axis=1))


def ptp(path: Path, values: np.ndarray, stamps: np.ndarray) -> Path:
    """Write a file of one sample per packet, with a clock in nanoseconds."""
    out = nsx_header((3, 0), len(values), 1, 1_000_000_000)
    for stamp, column in zip(stamps.tolist(), values.T, strict=True):
        out += struct.pack("<BQI", 1, stamp, 1) + column.astype("<i2").tobytes()
    path.write_bytes(out)
    return path


def test_a_clock_in_nanoseconds_that_jitters(tmp_path: Path) -> None:
    values = ramp(3, 90)
    stamps = np.arange(90) * 100_000 // 3 + 5_000_000_000 + np.arange(90) % 7 * 100
    path = ptp(tmp_path / "a.ns6", values, stamps)
    with open_recording(path) as recording:
        np.testing.assert_array_equal(recording.source.raw[:, :], values)
        np.testing.assert_array_equal(recording.source.raw[1, 80:3:-9], values[1, 80:3:-9])
    stamps[60:] += 100_000 * 10
    path = ptp(tmp_path / "b.ns6", values, stamps)
    with pytest.raises(GapError, match="the first after sample 60: sample 90 came next"):
        open_recording(path)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(CorruptDataError, match="89 whole packets and 16 bytes more"):
        open_recording(path, gaps="segment")
    pieces = open_recording(path, gaps="segment", allow_truncated=True).segments
    assert [p.shape[1] for p in pieces] == [60, 29]


def test_specification_21(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    values = ramp(4, 100)
    path = tmp_path / "a.ns2"
    path.write_bytes(nsx_21(values))
    with open_recording(path) as recording:
        np.testing.assert_array_equal(recording.source[:, :], values)
        assert recording.source.fs == 1000
        assert recording.source.channel_names == ["chan1", "chan2", "ainp1", "ainp2"]
    # The file does not say how many samples it has: stray bytes are reported, not refused.
    path.write_bytes(nsx_21(values) + b"123456789"[:5])
    with open_recording(path) as recording:
        assert recording.source.shape == (4, 100)
    assert "5 bytes after the last whole sample" in caplog.text


def test_files_of_one_recording_are_streams(tmp_path: Path) -> None:
    fast, slow = ramp(2, 300), ramp(3, 10)
    (tmp_path / "rec.ns5").write_bytes(nsx([(0, fast)]))
    (tmp_path / "rec.ns2").write_bytes(nsx([(0, slow)], period=30))
    digital = struct.pack("<BBH", 1, 0, 517)
    spike = struct.pack("<BB", 2, 0)
    text = struct.pack("<BBI", 0, 0, 0) + b"hello\0"
    wide = struct.pack("<BBI", 1, 0, 0) + "µ!\0".encode("utf-16-le")
    packets = [(30000, 0, digital), (15, 7, spike), (60000, 0xFFFF, text), (70000, 0xFFFF, wide)]
    packets.append((80000, 5000, b""))
    (tmp_path / "rec.nev").write_bytes(nev(packets))
    with open_recording(tmp_path) as recording:
        assert list(recording.streams) == ["ns5", "ns2"]
        np.testing.assert_array_equal(recording.streams["ns2"].raw[:, :], slow)
        events = [(e.kind, e.label, e.time, e.sample) for e in recording.events]
        assert events == [
            ("spike", "7/2", 15 / 30000, 15),
            ("digital", "517", 1.0, 30000),
            ("comment", "hello", 2.0, 60000),
            ("comment", "µ!", 70000 / 30000, 70000),
            ("other", "5000", 80000 / 30000, 80000),
        ]
        assert recording.info.header["nev"]["labels"] == {1: "elec1"}
    with open_recording(tmp_path / "rec.ns2") as recording:
        assert list(recording.streams) == ["ns2"]
        assert len(recording.events) == 5
    (tmp_path / "other.ns5").write_bytes(nsx([(0, fast)]))
    with pytest.raises(DataPathError, match=r"holds 2 Blackrock recordings \['other', 'rec'\]"):
        open_recording(tmp_path)


def test_truncated_inside_a_packet(tmp_path: Path) -> None:
    values = ramp(4, 100)
    path = tmp_path / "a.ns5"
    data = nsx([(0, values)])
    path.write_bytes(data[:-12])
    with pytest.raises(CorruptDataError, match="packet of 100 samples; 98 whole samples") as info:
        open_recording(path)
    assert info.value.offset == len(data) - 12
    with open_recording(path, allow_truncated=True) as recording:
        np.testing.assert_array_equal(recording.source.raw[:, :], values[:, :98])
    # Inside the head of a packet.
    path.write_bytes(data + b"\x01\x00")
    with pytest.raises(CorruptDataError, match="ends inside a data packet"):
        open_recording(path)
    assert open_recording(path, allow_truncated=True).source.shape == (4, 100)


def test_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.ns5"
    data = nsx([(0, ramp(2, 5))])
    for length in (4, 100, 400):
        path.write_bytes(data[:length])
        with pytest.raises((CorruptDataError, FormatError), match=r"a\.ns5"):
            open_recording(path)
    path.write_bytes(b"NEURALXX" + data[8:])
    with pytest.raises(FormatError, match="byte 0 starts b'NEURALXX'"):
        open_recording(path)
    path.write_bytes(data[:8] + b"\x07\x01" + data[10:])
    with pytest.raises(FormatError, match=r"version 7\.1 \(byte 8\)"):
        open_recording(path)
    path.write_bytes(data[:10] + struct.pack("<I", 99) + data[14:])
    with pytest.raises(FormatError, match="says it has 99 bytes"):
        open_recording(path)
    path.write_bytes(data[:314] + b"XX" + data[316:])
    with pytest.raises(FormatError, match="extended header at byte 314 starts b'XX'"):
        open_recording(path)
    position = 314 + 2 * 66
    path.write_bytes(data[:position] + b"\x09" + data[position + 1 :])
    with pytest.raises(CorruptDataError, match="starts with 9, expected 1") as info:
        open_recording(path)
    assert info.value.offset == position
    path = tmp_path / "a.nev"
    path.write_bytes(nev([])[:200])
    with pytest.raises(CorruptDataError, match="ends inside its header"):
        open_recording(path)
    path.write_bytes(nev([])[:12] + struct.pack("<I", 10**6) + nev([])[16:])
    with pytest.raises(CorruptDataError, match="says 1000000 bytes of header"):
        open_recording(path)


@pytest.mark.parametrize("version", [(2, 3), (3, 0)])
def test_neo_reads_the_same(tmp_path: Path, version: tuple[int, int]) -> None:
    path = tmp_path / "a.ns5"
    path.write_bytes(nsx([(0, ramp(4, 300))], version))
    peer = neo_stream("BlackrockRawIO", filename=str(tmp_path / "a"))
    with open_recording(path) as recording:
        np.testing.assert_array_equal(recording.source.raw[:, :], peer.values)
        np.testing.assert_allclose(recording.info.streams[0].gain, peer.gain)


def test_a_ptp_recording_is_on_the_clock_of_its_events(tmp_path: Path) -> None:
    stamps = 1_700_000_000_000_000_000 + np.arange(20) * 100_000 // 3
    path = ptp(tmp_path / "a.ns6", ramp(2, 20), stamps)
    with open_recording(path) as recording:
        stream = recording.info.streams[0]
        assert stream.start_time == 1_700_000_000.0
        np.testing.assert_array_equal(stream.times(0, 1), [1_700_000_000.0])


@pytest.mark.parametrize("version", VERSIONS)
def test_a_file_that_was_never_closed(tmp_path: Path, version: tuple[int, int]) -> None:
    values = ramp(2, 50)
    path = tmp_path / "a.ns5"
    # The recorder writes how many samples a packet has when the packet is finished.
    path.write_bytes(nsx([(7, values[:, :0])], version) + values.T.tobytes() + b"\5")
    with pytest.raises(CorruptDataError, match=r"of \? samples; 50 whole samples are there"):
        open_recording(path)
    with open_recording(path, allow_truncated=True) as recording:
        np.testing.assert_array_equal(recording.source.raw[:, :], values)
        assert recording.info.streams[0].start_sample == 7


@pytest.mark.parametrize("version", VERSIONS)
def test_an_empty_packet_before_the_data(tmp_path: Path, version: tuple[int, int]) -> None:
    values = ramp(2, 50)
    path = tmp_path / "a.ns5"
    path.write_bytes(nsx([(400, values[:, :0]), (0, values)], version))
    with open_recording(path) as recording:
        np.testing.assert_array_equal(recording.source.raw[:, :], values)
