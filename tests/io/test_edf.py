"""EDF, EDF+, BDF and BDF+, named after what the specification says."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from ecogsource.errors import CorruptDataError, DataPathError, FormatError, GapError
from ecogsource.io import open_recording
from ecogsource.io.edf import Reader, read_header
from tests.io.builders import Edf

both = pytest.mark.parametrize("bdf", [False, True], ids=["edf", "bdf"])


def physical(edf: Edf, digital: np.ndarray) -> np.ndarray:
    (pmin, pmax), (dmin, dmax) = (tuple(map(float, r)) for r in (edf.physical, edf.digital))
    return (digital - dmin) * (pmax - pmin) / (dmax - dmin) + pmin


@both
def test_values_and_labels(tmp_path: Path, bdf: bool) -> None:
    edf = Edf(n_records=5, per_record=(8, 8), bdf=bdf, labels=("EEG 1", "EEG 2"))
    path = edf.write(tmp_path / "a.edf")
    with open_recording(path) as recording:
        source = recording.source
        assert recording.info.format == ("bdf" if bdf else "edf")
        assert (source.shape, source.fs, source.units) == ((2, 40), 8.0, "uV")
        assert source.channel_names == ["EEG 1", "EEG 2"]
        digital = np.stack(edf.digital_values)
        np.testing.assert_array_equal(source.raw[:, :], digital)
        np.testing.assert_allclose(source[:, :], physical(edf, digital), rtol=1e-5, atol=1e-3)
        assert recording.info.start_datetime == datetime(2021, 3, 2, 4, 5, 6)
        assert len(recording.events) == 0


@both
def test_extreme_digital_values(tmp_path: Path, bdf: bool) -> None:
    limits = ("-8388608", "8388607") if bdf else ("-32768", "32767")
    edf = Edf(n_records=3, per_record=(500,), bdf=bdf, digital=limits)
    with open_recording(edf.write(tmp_path / "a.bdf")) as recording:
        np.testing.assert_array_equal(recording.source.raw[0, :], edf.digital_values[0])


def test_signals_of_different_rates_are_streams(tmp_path: Path) -> None:
    edf = Edf(per_record=(4, 100, 100, 25), duration="2")
    with open_recording(edf.write(tmp_path / "a.edf")) as recording:
        assert list(recording.streams) == ["signals 50 Hz", "signals 12.5 Hz", "signals 2 Hz"]
        assert recording.source.channel_names == ["ch1", "ch2"]
        slow = recording.streams["signals 2 Hz"]
        np.testing.assert_array_equal(slow.raw[0, :], edf.digital_values[0])
        chosen = open_recording(recording.info.path, stream="signals 2 Hz")
        assert chosen.source.shape == (1, 16)
        with pytest.raises(KeyError, match=r"no stream 'eeg'.*'signals 50 Hz'"):
            open_recording(recording.info.path, stream="eeg")


def test_a_signal_without_range_is_given_as_stored(tmp_path: Path) -> None:
    edf = Edf(per_record=(10,), physical=("5", "5"))
    with open_recording(edf.write(tmp_path / "a.edf")) as recording:
        np.testing.assert_array_equal(recording.source[0, :], edf.digital_values[0])


# -- EDF+ ------------------------------------------------------------------------------------------


def test_annotations_are_events(tmp_path: Path) -> None:
    tals = ("+0.5\x14rest\x14\x00", "+1.25\x152.5\x14seizure µ\x14second text\x14\x00")
    edf = Edf(reserved="EDF+C", tals=tals)
    with open_recording(edf.write(tmp_path / "a.edf")) as recording:
        assert recording.source.shape == (3, 40)
        assert [(e.time, e.label, e.kind) for e in recording.events] == [
            (0.5, "rest", "annotation"),
            (1.25, "seizure µ", "annotation"),
            (1.25, "second text", "annotation"),
        ]
        np.testing.assert_array_equal(recording.events.duration, [np.nan, 2.5, 2.5])
        assert len(recording.events.select("annotation")) == 3
        assert "3 events" in repr(recording.events)


def test_a_recording_may_start_between_seconds(tmp_path: Path) -> None:
    edf = Edf(reserved="EDF+C", onsets=[0.25, 1.25, 2.25, 3.25])
    with open_recording(edf.write(tmp_path / "a.edf")) as recording:
        np.testing.assert_allclose(recording.info.streams[0].times(0, 2), [0.25, 0.35])


@both
def test_gaps_of_a_discontinuous_file(tmp_path: Path, bdf: bool) -> None:
    kind = "BDF+D" if bdf else "EDF+D"
    edf = Edf(n_records=5, reserved=kind, bdf=bdf, onsets=[0, 1, 5, 6, 9])
    path = edf.write(tmp_path / "a.edf")
    with pytest.raises(GapError, match=r"2 gaps, the first after sample 20: sample 50 came next"):
        open_recording(path)
    recording = open_recording(path, gaps="segment")
    assert [(s.start_sample, s.shape) for s in recording.segments] == [
        (0, (3, 20)),
        (50, (3, 20)),
        (90, (3, 10)),
    ]
    digital = np.stack(edf.digital_values)
    np.testing.assert_array_equal(recording.segments[1].raw[:, :], digital[:, 20:40])
    assert recording.info.streams[0].gaps == [(20, 50), (70, 90)]
    filled = open_recording(path, gaps="fill").source
    assert filled.shape == (3, 100)
    assert np.isnan(filled[:, 20:50]).all()
    np.testing.assert_array_equal(filled[:, 50:70], recording.segments[1][:, :])
    zeros = open_recording(path, gaps="fill", fill_value=0).source
    assert (zeros[:, 70:90] == 0).all()
    with pytest.raises(ValueError, match="gaps is 'ignore'"):
        open_recording(path, gaps="ignore")


def test_a_discontinuous_file_without_gaps_is_one_source(tmp_path: Path) -> None:
    edf = Edf(reserved="EDF+D", onsets=[0, 1, 2, 3])
    with open_recording(edf.write(tmp_path / "a.edf")) as recording:
        assert recording.source.shape == (3, 40)


def test_records_that_overlap_in_time(tmp_path: Path) -> None:
    path = Edf(reserved="EDF+D", onsets=[0, 1, 1.5, 2.5]).write(tmp_path / "a.edf")
    with pytest.raises(GapError):
        open_recording(path)
    with pytest.raises(GapError, match="overlapping segments have no common time line"):
        _ = open_recording(path, gaps="fill").source


def test_a_damaged_onset_is_named(tmp_path: Path) -> None:
    data = Edf(reserved="EDF+D").bytes()
    position = data.rindex(b"+3\x14")
    path = tmp_path / "a.edf"
    path.write_bytes(data[:position] + b"?!\x14" + data[position + 3 :])
    with pytest.raises(CorruptDataError, match="record 3 does not start with its onset") as info:
        open_recording(path)
    assert info.value.offset == position
    assert info.value.filename == str(path)


def test_a_damaged_annotation_is_named(tmp_path: Path) -> None:
    path = Edf(reserved="EDF+C", tals=("soon\x14rest\x14\x00",)).write(tmp_path / "a.edf")
    with (
        open_recording(path) as recording,
        pytest.raises(CorruptDataError, match="not a time-stamped annotation: b'soon"),
    ):
        _ = recording.events


def test_discontinuous_without_onsets(tmp_path: Path) -> None:
    data = Edf(reserved="EDF+C").bytes().replace(b"EDF Annotations", b"something else ")
    path = tmp_path / "a.edf"
    path.write_bytes(data.replace(b"EDF+C", b"EDF+D"))
    with pytest.raises(FormatError, match="no annotation signal"):
        open_recording(path)


# -- damage ----------------------------------------------------------------------------------------


@both
def test_truncated_files(tmp_path: Path, bdf: bool) -> None:
    edf = Edf(n_records=4, bdf=bdf)
    data = edf.bytes()
    path = tmp_path / "a.edf"
    path.write_bytes(data[:-7])
    with pytest.raises(CorruptDataError, match=r"promises 4 records.*3 whole records") as info:
        open_recording(path)
    assert info.value.offset == len(data) - 7
    assert "allow_truncated=True" in str(info.value)
    with open_recording(path, allow_truncated=True) as recording:
        assert recording.source.shape == (3, 30)
        np.testing.assert_array_equal(recording.source.raw[1, :], edf.digital_values[1][:30])
    assert Reader(path, allow_truncated=True).shape == (3, 30)


def test_files_longer_than_their_header_says(tmp_path: Path) -> None:
    path = replace(Edf(), stated_records="3").write(tmp_path / "a.edf")
    with pytest.raises(CorruptDataError, match=r"promises 3 records.*4 whole records and 0 bytes"):
        open_recording(path)
    assert open_recording(path, allow_truncated=True).source.shape == (3, 30)


def test_a_recording_that_was_not_closed_has_minus_one_records(tmp_path: Path) -> None:
    path = replace(Edf(), stated_records="-1").write(tmp_path / "a.edf")
    assert open_recording(path).source.shape == (3, 40)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CorruptDataError, match="3 whole records and 59 bytes"):
        open_recording(path)


def test_truncation_at_every_byte_of_the_header(tmp_path: Path) -> None:
    data = Edf(per_record=(10,)).bytes()
    path = tmp_path / "a.edf"
    for length in range(0, 512, 3):
        path.write_bytes(data[:length])
        with pytest.raises((CorruptDataError, FormatError), match=r"a\.edf"):
            open_recording(path)


@pytest.mark.parametrize(
    ("position", "text", "message"),
    [
        (0, b"1       ", "byte 0 starts b'1       '"),
        (184, b"400     ", r"says it has 400 bytes \(byte 184\)"),
        (236, b"four    ", "field 'num_records' at byte 236"),
        (236, b"-5      ", "none may be negative"),
        (244, b"nan     ", "field 'record_duration' at byte 244"),
        (244, b"0       ", r"records last 0 s \(byte 244\)"),
        (252, b"x   ", "field 'num_signals' at byte 252"),
        (252, b"9   ", "says it has 1024 bytes"),
        (256 + 3 * 104, b"low     ", "field 'physical_min' at byte 568"),
        (256 + 3 * 216, b"-10     ", "signal 0 has -10 samples"),
    ],
)
def test_fields_that_are_wrong(tmp_path: Path, position: int, text: bytes, message: str) -> None:
    data = bytearray(Edf().bytes())
    data[position : position + len(text)] = text
    path = tmp_path / "a.edf"
    path.write_bytes(data)
    with pytest.raises(FormatError, match=message):
        open_recording(path)


def test_fields_that_are_odd_but_clear(tmp_path: Path) -> None:
    data = bytearray(Edf().bytes())
    data[236:244] = b"       4"
    data[244:252] = b"1,0\0\0\0\0\0"
    data[168:176] = b"??.??.??"
    data[184:192] = b"1024.0  "
    path = tmp_path / "a.edf"
    path.write_bytes(data)
    with open_recording(path) as recording:
        assert recording.source.shape == (3, 40)


def test_annotations_of_a_file_that_does_not_say_edf_plus(tmp_path: Path) -> None:
    data = Edf(reserved="EDF+C", tals=("+0.5\x14rest\x14\x00",)).bytes()
    path = tmp_path / "a.edf"
    path.write_bytes(data.replace(b"EDF+C", b"     "))
    with open_recording(path) as recording:
        assert recording.source.shape == (3, 40)
        assert recording.events[0].label == "rest"


def test_a_continuous_file_may_lack_its_first_onset(tmp_path: Path) -> None:
    data = Edf(reserved="EDF+C").bytes()
    position = data.index(b"+0\x14\x14")
    path = tmp_path / "a.edf"
    path.write_bytes(data[:position] + bytes(4) + data[position + 4 :])
    with open_recording(path) as recording:
        assert recording.source.shape == (3, 40)
        assert recording.info.streams[0].start_time == 0


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(DataPathError, match="no such file"):
        open_recording(tmp_path / "a.edf")
    with pytest.raises(DataPathError, match="cannot open"):
        read_header(tmp_path / "a.edf")
    with pytest.raises(FormatError, match="is a folder"):
        read_header(tmp_path)


def test_options_that_do_not_exist(tmp_path: Path) -> None:
    path = Edf().write(tmp_path / "a.edf")
    with pytest.raises(TypeError, match="format 'edf' has no option speed; it has: allow_trunc"):
        open_recording(path, speed=3)


# -- Reader ----------------------------------------------------------------------------------------


def test_reader_as_in_the_producers_notebook(tmp_path: Path) -> None:
    edf = Edf(n_records=3, per_record=(10, 10), reserved="EDF+C")
    path = edf.write(tmp_path / "recording.edf")
    reader = Reader(path)
    assert reader.path == path
    assert list(reader.header) == [
        *("version", "patient", "recording", "start_date", "start_time", "header_bytes"),
        *("reserved_0", "num_records", "record_duration", "num_signals", "names", "transducers"),
        *("physical_dim", "physical_min", "physical_max", "digital_min", "digital_max"),
        *("prefiltering", "samples_per_record", "reserved_1"),
    ]
    assert reader.header["names"] == ["ch0", "ch1", "EDF Annotations"]
    assert (reader.shape, reader.channels) == ((2, 30), [0, 1])
    expected = physical(edf, np.stack(edf.digital_values))
    values = reader.read(start=0, stop=10)
    assert values.dtype == np.float64
    np.testing.assert_allclose(values, expected[:, :10], rtol=1e-12)
    np.testing.assert_allclose(reader.read(25), expected[:, 25:], rtol=1e-12)
    assert reader.read(30).shape == (2, 0)
    assert reader.read(12, 5).shape == (2, 0)
    assert "'names': ['ch0'" in repr(reader)


def test_reader_pads_channels_of_lower_rate(tmp_path: Path) -> None:
    edf = Edf(n_records=2, per_record=(10, 4))
    reader = Reader(edf.write(tmp_path / "a.edf"))
    assert reader.shape == (2, 20)
    values = reader.read(5, 12)
    slow = physical(edf, edf.digital_values[1])
    np.testing.assert_allclose(values[1, :3], slow[5:8], rtol=1e-12)
    assert np.isnan(values[1, 3:]).all()
    assert (reader.read(5, 12, padvalue=-1.0)[1, 3:] == -1).all()
    assert np.isfinite(values[0]).all()


def test_reader_reads_chosen_channels(tmp_path: Path) -> None:
    edf = Edf(per_record=(10, 4, 10))
    with Reader(edf.write(tmp_path / "a.edf")) as reader:
        reader.channels = [2, -3]
        assert (reader.shape, reader.names, reader.channels) == ((2, 40), ["ch2", "ch0"], [2, 0])
        expected = physical(edf, np.stack([edf.digital_values[2], edf.digital_values[0]]))
        np.testing.assert_allclose(reader.read(), expected, rtol=1e-12)
        with pytest.raises(IndexError, match="not all among the 3 channels"):
            reader.channels = [3]
        twin = pickle.loads(pickle.dumps(reader))
        np.testing.assert_array_equal(twin.read(3, 9), reader.read(3, 9))


def test_reader_makes_its_buffer_once_for_each_choice_of_channels(tmp_path: Path) -> None:
    """Making it costs four times as much as reading a second with it."""
    with Reader(Edf().write(tmp_path / "x.edf")) as reader:
        every, buffer = reader.read(), reader.as_buffer()
        reader.read(3, 9)
        assert reader.as_buffer() is buffer
        reader.channels = [1]
        np.testing.assert_array_equal(reader.read(), every[1:2, : reader.shape[1]])
        assert reader.as_buffer() is not buffer


def test_reader_of_annotations_only(tmp_path: Path) -> None:
    reader = Reader(Edf(per_record=(), reserved="EDF+C").write(tmp_path / "a.edf"))
    assert reader.shape == (0, 0)
    assert reader.read().shape == (0, 0)


def test_real_files_by_two_other_readers(shared_data: Path) -> None:
    edfio = pytest.importorskip("edfio")
    for name in ("edf/edfio/short_psg.edf", "edf/pyedflib/test_generator.edf"):
        theirs = edfio.read_edf(shared_data / name)
        ours = Reader(shared_data / name)
        longest = ours.read()
        for row, signal in zip(longest, theirs.signals, strict=True):
            np.testing.assert_allclose(row[: len(signal.data)], signal.data, rtol=1e-9, atol=1e-9)


# -- cost ------------------------------------------------------------------------------------------

_OPEN = """
import sys
from ecogsource._machine import peak_memory
from ecogsource.io import open_recording
open_recording(sys.argv[2]).close()
before = peak_memory()
with open_recording(sys.argv[1]) as recording:
    assert recording.source.shape[1] == int(sys.argv[3])
    recording.source[:, 10**8 : 10**8 + 100]
after = peak_memory()
assert after - before < 20 * 2**20, (before, after)
"""


def test_opening_ten_gigabytes_reads_the_header_only(tmp_path: Path) -> None:
    small = Edf(n_records=1, per_record=(5000,) * 100).bytes()
    records = 10 * 2**30 // 10**6
    header = small[: 256 * 101]
    path = tmp_path / "big.edf"
    with path.open("wb") as stream:
        stream.write(header[:236] + f"{records:<8}".encode() + header[244:])
        stream.truncate(len(header) + records * 10**6)
    tiny = Edf().write(tmp_path / "tiny.edf")
    command = [sys.executable, "-c", _OPEN, str(path), str(tiny), str(records * 5000)]
    subprocess.run(command, check=True, timeout=60)


def test_segments_are_sources_like_any_other(tmp_path: Path) -> None:
    edf = Edf(n_records=6, reserved="EDF+D", onsets=[0, 1, 5, 6, 7, 20])
    path = edf.write(tmp_path / "a.edf")
    pieces = open_recording(path, gaps="segment").segments
    twin = pickle.loads(pickle.dumps(pieces[1]))
    assert twin.start_sample == 50
    np.testing.assert_array_equal(twin[1:, ::7], pieces[1][1:, ::7])
    pieces[1].set_channel_mask([True, False, True])
    assert pieces[1].shape == (2, 30)
    with pytest.raises(GapError, match="a segment stops at sample 20, the next starts at 50"):
        pieces[0].join(twin)
    with pytest.raises(GapError, match="stops at sample 80, the next starts at 200"):
        twin.join(pieces[2])


def test_segments_that_follow_one_another_join(tmp_path: Path) -> None:
    edf = Edf(n_records=4, reserved="EDF+D", onsets=[0, 1, 5, 6])
    first, second = open_recording(edf.write(tmp_path / "a.edf"), gaps="segment").segments
    second.start_sample = 20
    joined = first.join(second)
    np.testing.assert_array_equal(joined.raw[:, :], np.stack(edf.digital_values))


@pytest.mark.parametrize("blank", [104, 112, 120, 128])
def test_a_range_that_is_not_given_is_no_calibration(
    tmp_path: Path, blank: int, caplog: pytest.LogCaptureFixture
) -> None:
    builder = Edf()
    data = bytearray(builder.bytes())
    data[256 + 3 * blank : 256 + 3 * blank + 8] = b" " * 8
    path = tmp_path / "a.edf"
    path.write_bytes(data)
    with open_recording(path) as recording:
        source = recording.source
        np.testing.assert_array_equal(source[0], builder.digital_values[0])
        expected = (builder.digital_values[1] + 2048) * 2000 / 4095 - 1000
        np.testing.assert_allclose(source[1], expected, rtol=1e-5, atol=1e-3)
    assert "1 signals have an empty physical or digital range" in caplog.text
    assert "given as stored: ch0" in caplog.text


def test_micro_signs_of_units_are_u(tmp_path: Path) -> None:
    data = Edf().bytes().replace(b"uV      ", b"\xb5V      ")
    (tmp_path / "a.edf").write_bytes(data)
    with open_recording(tmp_path / "a.edf") as recording:
        assert recording.source.units == "uV"
        assert recording.info.header["physical_dim"][0] == "µV"
