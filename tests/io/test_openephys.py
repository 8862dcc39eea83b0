"""Open Ephys recordings in both formats, and read by neo too."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from ecogsource.errors import CorruptDataError, DataPathError, FormatError, GapError
from ecogsource.io import open_recording
from tests.io.builders import continuous, oebin, ramp
from tests.io.peers import neo_stream

NAMES = ["CH1", "CH2", "AUX1", "ADC1"]


def session(root: Path, *starts: int) -> list[np.ndarray]:
    """One experiment with a recording of 100 samples at each start."""
    values = [ramp(4, 100, seed=start) for start in starts]
    for number, (start, piece) in enumerate(zip(starts, values, strict=True), 1):
        folder = root / "Record Node 104" / "experiment1" / f"recording{number}"
        oebin(folder, piece, start, NAMES)
    return values


def test_a_recording_from_any_folder_above(tmp_path: Path) -> None:
    (values,) = session(tmp_path, 500)
    folder = tmp_path / "Record Node 104" / "experiment1" / "recording1"
    for path in (
        tmp_path,
        folder.parent.parent,
        folder.parent,
        folder,
        folder / "structure.oebin",
    ):
        with open_recording(path) as recording:
            assert list(recording.streams) == [
                "Rhythm-100.0",
                "Rhythm-100.0 aux",
                "Rhythm-100.0 adc",
            ]
            source = recording.source
            np.testing.assert_array_equal(source.raw[:, :], values[:2])
            np.testing.assert_allclose(source[:, :], values[:2] * 0.25)
            assert (source.units, source.fs, source.channel_names) == ("uV", 1000, ["CH1", "CH2"])
            adc = recording.streams["Rhythm-100.0 adc"]
            assert adc.units == "V"
            np.testing.assert_array_equal(adc.raw[0, :], values[3])
            np.testing.assert_allclose(recording.info.streams[0].times(0, 2), [0.5, 0.501])
            events = [(e.time, e.label, e.kind, e.sample) for e in recording.events]
            assert events == [(0.505, "1", "ttl", 505), (0.509, "-1", "ttl", 509)]


def test_a_restart_is_a_gap(tmp_path: Path) -> None:
    values = session(tmp_path, 0, 250)
    with pytest.raises(GapError, match="after sample 100: sample 250 came next"):
        open_recording(tmp_path)
    with open_recording(tmp_path, gaps="segment") as recording:
        assert [s.start_sample for s in recording.segments] == [0, 250]
        np.testing.assert_array_equal(recording.segments[1].raw[:, :], values[1][:2])
        assert len(recording.events) == 4
    with open_recording(tmp_path, gaps="fill") as recording:
        assert recording.source.shape == (2, 350)
        assert recording.streams["Rhythm-100.0 adc"].shape == (1, 350)
    with open_recording(tmp_path, recording=2) as recording:
        np.testing.assert_array_equal(recording.source.raw[:, :], values[1][:2])


def test_a_restart_without_a_gap_joins(tmp_path: Path) -> None:
    values = session(tmp_path, 0, 100)
    with open_recording(tmp_path) as recording:
        whole = np.concatenate(values, axis=1)[:2]
        np.testing.assert_array_equal(recording.source.raw[:, 90:110], whole[:, 90:110])


def test_lost_samples_inside_a_file_are_a_gap(tmp_path: Path) -> None:
    (values,) = session(tmp_path, 0)
    data = tmp_path / "Record Node 104/experiment1/recording1/continuous/Rhythm-100.0"
    numbers = np.arange(100)
    numbers[40:] += 64
    np.save(data / "sample_numbers.npy", numbers)
    with open_recording(tmp_path, gaps="segment") as recording:
        assert [(s.start_sample, s.shape[1]) for s in recording.segments] == [(0, 40), (104, 60)]
        np.testing.assert_array_equal(recording.segments[1].raw[:, :], values[:2, 40:])


def test_before_gui_06_timestamps_are_sample_numbers(tmp_path: Path) -> None:
    session(tmp_path, 700)
    data = tmp_path / "Record Node 104/experiment1/recording1/continuous/Rhythm-100.0"
    (data / "sample_numbers.npy").replace(data / "timestamps.npy")
    assert open_recording(tmp_path).info.streams[0].start_sample == 700
    np.save(data / "timestamps.npy", np.linspace(0, 1, 100))
    with pytest.raises(FormatError, match="has times but no sample numbers"):
        open_recording(tmp_path)
    (data / "timestamps.npy").unlink()
    assert open_recording(tmp_path).source.shape == (2, 100)


def test_several_experiments_must_be_chosen_from(tmp_path: Path) -> None:
    session(tmp_path, 0)
    node = tmp_path / "Record Node 104"
    shutil.copytree(node / "experiment1", node / "experiment2")
    with pytest.raises(FormatError, match=r"2 experiments.*node= and experiment="):
        open_recording(tmp_path)
    assert open_recording(tmp_path, experiment=2).source.shape == (2, 100)
    shutil.copytree(node / "experiment1", tmp_path / "Record Node 105" / "experiment1")
    shutil.rmtree(node / "experiment2")
    assert open_recording(tmp_path, node="Record Node 105").source.shape == (2, 100)
    with pytest.raises(DataPathError, match="experiment 9"):
        open_recording(tmp_path, experiment=9)


def test_damage_of_the_binary_format(tmp_path: Path) -> None:
    session(tmp_path, 0)
    index = tmp_path / "Record Node 104/experiment1/recording1/structure.oebin"
    data = index.parent / "continuous/Rhythm-100.0"
    whole = (data / "continuous.dat").read_bytes()
    (data / "continuous.dat").write_bytes(whole[:-11])
    with pytest.raises(CorruptDataError, match=r"98 whole samples.*there are 100 sample numbers"):
        open_recording(tmp_path)
    assert open_recording(tmp_path, allow_truncated=True).source.shape == (2, 98)
    (data / "sample_numbers.npy").write_bytes(b"nonsense")
    with pytest.raises(CorruptDataError, match="not a readable array"):
        open_recording(tmp_path)
    (data / "continuous.dat").unlink()
    with pytest.raises(DataPathError, match=r"continuous\.dat' is missing"):
        open_recording(tmp_path)
    content = json.loads(index.read_text())
    del content["continuous"][0]["channels"][0]["bit_volts"]
    index.write_text(json.dumps(content))
    with pytest.raises(FormatError, match="incomplete stream entry: KeyError"):
        open_recording(tmp_path)
    index.write_text("[]")
    with pytest.raises(FormatError, match="no 'continuous' entry"):
        open_recording(tmp_path)
    index.write_text("{")
    with pytest.raises(FormatError, match="not valid JSON"):
        open_recording(tmp_path)


def test_streams_that_change_between_recordings(tmp_path: Path) -> None:
    session(tmp_path, 0, 100)
    index = tmp_path / "Record Node 104/experiment1/recording2/structure.oebin"
    index.write_text(index.read_text().replace('"CH2"', '"CH3"'))
    with pytest.raises(FormatError, match="changes its channels or rate between recordings"):
        open_recording(tmp_path)


def test_neo_reads_the_same_binary(tmp_path: Path) -> None:
    session(tmp_path, 500)
    peer = neo_stream("OpenEphysBinaryRawIO", dirname=str(tmp_path))
    with open_recording(tmp_path) as recording:
        # Electrodes and AUX are one stream of neo.
        np.testing.assert_array_equal(recording.source.raw[:, :], peer.values[:2])


# -- .continuous files -----------------------------------------------------------------------------


def legacy(folder: Path, stamps: list[int], suffix: str = "") -> np.ndarray:
    values = ramp(12, 1024 * len(stamps))
    folder.mkdir(exist_ok=True)
    for i in range(10):
        name = f"CH{i + 1}"
        data = continuous(values[i], stamps, name)
        (folder / f"100_{name}{suffix}.continuous").write_bytes(data)
    for i, name in ((10, "ADC1"), (11, "AUX1")):
        data = continuous(values[i], stamps, name)
        (folder / f"100_{name}{suffix}.continuous").write_bytes(data)
    return values


def test_continuous_files(tmp_path: Path) -> None:
    values = legacy(tmp_path / "rec", [2048, 3072, 4096])
    for path in (tmp_path / "rec", tmp_path / "rec" / "100_CH1.continuous"):
        with open_recording(path) as recording:
            assert list(recording.streams) == ["electrode", "adc", "aux"]
            source = recording.source
            # CH10 comes after CH9, not after CH1.
            assert source.channel_names == [f"CH{i}" for i in range(1, 11)]
            np.testing.assert_array_equal(source.raw[:, :], values[:10])
            np.testing.assert_allclose(
                source[3, 1000:1100], values[3, 1000:1100] * 0.195, rtol=1e-6
            )
            np.testing.assert_array_equal(recording.streams["adc"].raw[0, :], values[10])
            assert recording.info.streams[0].start_sample == 2048
            assert source.raw.dtype == np.int16


def test_a_restart_in_continuous_files_is_a_gap(tmp_path: Path) -> None:
    values = legacy(tmp_path, [0, 1024, 9000, 10024])
    with pytest.raises(GapError, match="after sample 2048: sample 9000 came next"):
        open_recording(tmp_path)
    with open_recording(tmp_path, gaps="fill") as recording:
        filled = recording.source
        assert filled.shape == (10, 11048)
        np.testing.assert_array_equal(filled.raw[:, 9000:], values[:10, 2048:])


def test_events_and_messages(tmp_path: Path) -> None:
    legacy(tmp_path, [0])
    events = struct.pack("<qhBBBBH", 600, 0, 3, 100, 1, 4, 0)
    events += struct.pack("<qhBBBBH", 900, 0, 5, 100, 0, 4, 0)
    header = continuous(np.zeros(0), [], "x")
    (tmp_path / "all_channels.events").write_bytes(header + events)
    text = "1680000000000, Software Time (milliseconds)\n750 Start Time\nodd line\n"
    (tmp_path / "messages.events").write_text(text)
    with open_recording(tmp_path) as recording:
        found = [(e.sample, e.kind, e.label, e.time) for e in recording.events]
    assert found == [
        (600, "ttl", "4:on", 0.02),
        (750, "message", "Start Time", 0.025),
        (900, "message", "4:off", 0.03),
    ]


def test_experiments_share_a_folder(tmp_path: Path) -> None:
    legacy(tmp_path, [0])
    legacy(tmp_path, [0, 1024], suffix="_2")
    with pytest.raises(FormatError, match=r"experiments \[1, 2\].*experiment="):
        open_recording(tmp_path)
    assert open_recording(tmp_path, experiment=2).source.shape == (10, 2048)
    with pytest.raises(DataPathError, match="no experiment 3"):
        open_recording(tmp_path, experiment=3)


def test_damage_of_continuous_files(tmp_path: Path) -> None:
    legacy(tmp_path, [0, 1024])
    path = tmp_path / "100_CH4.continuous"
    whole = path.read_bytes()
    for file in tmp_path.glob("*.continuous"):
        file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(CorruptDataError, match="1 whole records of 2070 bytes and 1970 bytes"):
        open_recording(tmp_path)
    assert open_recording(tmp_path, allow_truncated=True).source.shape == (10, 1024)
    legacy(tmp_path, [0, 1024])
    path.write_bytes(whole[:-2070])
    with pytest.raises(CorruptDataError, match=r"'CH4' has 1 records.*'CH1' has 2"):
        open_recording(tmp_path)
    path.write_bytes(whole[:-1] + b"\0")
    with pytest.raises(CorruptDataError, match="the last record ends with"):
        open_recording(tmp_path)
    path.write_bytes(whole[:1032] + b"\x07\x00" + whole[1034:])
    with pytest.raises(CorruptDataError, match="record 0 says it has 7 samples") as info:
        open_recording(tmp_path)
    assert info.value.offset == 1032
    path.write_bytes(whole.replace(b"version = 0.4", b"version = 0.1"))
    with pytest.raises(FormatError, match=r"version 0\.1 .*not supported"):
        open_recording(tmp_path)
    path.write_bytes(b"?" * 3000)
    with pytest.raises(FormatError, match="is not an Open Ephys file: byte 0"):
        open_recording(tmp_path)
    with pytest.raises(DataPathError, match=r"no \.continuous file"):
        open_recording(tmp_path.parent, format="openephys_legacy")


def test_neo_reads_the_same_continuous(tmp_path: Path) -> None:
    legacy(tmp_path, [0, 1024, 2048])
    peer = neo_stream("OpenEphysRawIO", "CH", dirname=str(tmp_path))
    with open_recording(tmp_path) as recording:
        order = [recording.source.channel_names.index(name) for name in peer.names]
        np.testing.assert_array_equal(recording.source.raw[order, :], peer.values)


def test_channels_that_are_only_numbers(tmp_path: Path) -> None:
    values = ramp(3, 1024)
    for i, row in enumerate(values):
        (tmp_path / f"100_{i + 1}_2.continuous").write_bytes(continuous(row, [0], str(i + 1)))
    with open_recording(tmp_path) as recording:
        assert recording.source.channel_names == ["1", "2", "3"]
        np.testing.assert_array_equal(recording.source.raw[:, :], values)


def test_a_data_file_opens_its_recording(tmp_path: Path) -> None:
    (values,) = session(tmp_path, 500)
    folder = tmp_path / "Record Node 104" / "experiment1" / "recording1"
    with open_recording(folder / "continuous" / "Rhythm-100.0" / "continuous.dat") as recording:
        assert recording.info.format == "openephys_binary"
        np.testing.assert_array_equal(recording.source.raw[:, :], values[:2])


def test_a_data_file_chooses_the_stream_that_comes_first(tmp_path: Path) -> None:
    folder = oebin(tmp_path / "r", ramp(2, 30), 0, ["CH1", "CH2"])
    index = json.loads((folder / "structure.oebin").read_text())
    second = {**index["continuous"][0], "folder_name": "Other-101.0/"}
    index["continuous"].append(second)
    (folder / "structure.oebin").write_text(json.dumps(index))
    other = folder / "continuous" / "Other-101.0"
    shutil.copytree(folder / "continuous" / "Rhythm-100.0", other)
    with open_recording(folder) as recording:
        assert recording.info.stream_names == ("Rhythm-100.0", "Other-101.0")
    with open_recording(other / "continuous.dat") as recording:
        assert recording.info.stream_names == ("Other-101.0", "Rhythm-100.0")


def test_a_data_file_without_an_index_is_a_raw_file(tmp_path: Path) -> None:
    (tmp_path / "continuous.dat").write_bytes(ramp(2, 30).tobytes())
    with pytest.raises(FormatError, match="give dtype= and n_channels="):
        open_recording(tmp_path / "continuous.dat")


def test_a_node_by_its_number(tmp_path: Path) -> None:
    for node in (101, 102):
        folder = tmp_path / f"Record Node {node}" / "experiment1" / "recording1"
        oebin(folder, ramp(1, 30, seed=node), node, ["CH1"])
    for node in (102, "Record Node 102"):
        with open_recording(tmp_path, node=node) as recording:
            assert recording.info.streams[0].start_sample == 102


def test_sample_numbers_with_a_damaged_header(tmp_path: Path) -> None:
    folder = oebin(tmp_path / "r", ramp(2, 30), 0, ["CH1", "CH2"])
    path = folder / "continuous" / "Rhythm-100.0" / "sample_numbers.npy"
    data = bytearray(path.read_bytes())
    data[data.index(b"}")] = ord("{")
    path.write_bytes(data)
    with pytest.raises(CorruptDataError, match="it is damaged, or not quite of this format"):
        open_recording(folder)
