"""HDF5 in its many dresses: packed, MATLAB v7.3, PyTables, NWB, BioCam."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from ecogsource.errors import (
    CorruptDataError,
    DataPathError,
    FormatError,
    GapError,
    MissingDependencyError,
)
from ecogsource.io import open_recording
from tests.io.builders import ramp
from tests.io.peers import neo_stream

# -- packed files ----------------------------------------------------------------------------------


@pytest.mark.parametrize("turned", [False, True])
def test_the_longer_axis_is_time(tmp_path: Path, turned: bool) -> None:
    values = ramp(4, 300)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = values.T if turned else values
        file["Fs"] = np.array([[500.0]])
        file["adc"] = ramp(1, 300)
        file["data"].attrs["units_scale"] = 0.195
        file["data"].attrs["units"] = "uV"
    with open_recording(tmp_path / "a.h5") as recording:
        source = recording.source
        np.testing.assert_array_equal(source.raw[:, :], values)
        np.testing.assert_allclose(source[2, 5:20], values[2, 5:20] * 0.195, rtol=1e-6)
        assert (source.fs, source.units) == (500, "uV")
        assert [s.kind for s in recording.info.streams] == ["electrode", "adc"]
        assert recording.info.header["Fs"] == 500
    with open_recording(tmp_path / "a.h5", transpose=not turned) as recording:
        assert recording.source.shape == (300, 4)
    with open_recording(tmp_path / "a.h5", dataset="adc", fs=7, units="V", gain=2) as recording:
        assert (recording.source.fs, recording.source.units) == (7, "V")
        np.testing.assert_array_equal(recording.source[0, :5], ramp(1, 300)[0, :5] * 2.0)


def test_packed_intan_knows_its_rate_and_gain(tmp_path: Path) -> None:
    values = ramp(2, 100)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["amplifier_data"] = values
        file["board_adc_data"] = ramp(1, 100)
        file.attrs["JSON_header"] = json.dumps({"sample_rate": 20000.0, "notes": "x"})
    with open_recording(tmp_path / "a.h5") as recording:
        assert (recording.source.fs, recording.source.units) == (20000, "uV")
        np.testing.assert_allclose(recording.source[:, :], values * 0.195, rtol=1e-6)
        assert recording.info.header["notes"] == "x"


def test_rates_come_from_attributes_too(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = ramp(2, 100)
        file["data"].attrs["samplerate"] = 2048.0
        file["slow"] = ramp(2, 50)
        file.attrs["Fs"] = 100.0
    with open_recording(tmp_path / "a.h5") as recording:
        assert {n: s.fs for n, s in recording.streams.items()} == {"data": 2048, "slow": 100}


def test_files_without_a_recording(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["cube"] = np.zeros((2, 3, 4))
        file["text"] = "hello"
    with pytest.raises(FormatError, match=r"no dataset of numbers.*cube \(2, 3, 4\)"):
        open_recording(tmp_path / "a.h5")
    with pytest.raises(DataPathError, match=r"no dataset 'nope'.*It has: 'cube'"):
        open_recording(tmp_path / "a.h5", dataset="nope")
    with pytest.raises(FormatError, match="under 'cube'"):
        open_recording(tmp_path / "a.h5", dataset="cube")
    with h5py.File(tmp_path / "b.h5", "w"):
        pass
    with pytest.raises(FormatError, match="it is empty"):
        open_recording(tmp_path / "b.h5")
    (tmp_path / "c.h5").write_bytes(b"not at all HDF5")
    with pytest.raises(FormatError, match="is not an HDF5 file"):
        open_recording(tmp_path / "c.h5")
    (tmp_path / "c.mat").write_bytes(b"MATLAB 5.0 MAT-file, Platform: GLNXA64".ljust(200))
    with pytest.raises(FormatError, match=r"version 5 to 7\.2 .*save\(\.\.\., '-v7\.3'\)"):
        open_recording(tmp_path / "c.mat")


# -- MATLAB ----------------------------------------------------------------------------------------


def matlab(path: Path) -> h5py.File:
    """Start a file as MATLAB does, with a user block of 512 bytes."""
    return h5py.File(path, "w", userblock_size=512)


def test_matlab_data_behind_a_reference(tmp_path: Path) -> None:
    values = ramp(3, 80)
    with matlab(tmp_path / "a.mat") as file:
        target = file.create_group("#refs#").create_dataset("b", data=values.T, chunks=(20, 3))
        file["data"] = np.array([[target.ref]], dtype=h5py.ref_dtype)
        file["Fs"] = np.array([[1000.0]])
    raw = bytearray((tmp_path / "a.mat").read_bytes())
    raw[:19] = b"MATLAB 7.3 MAT-file"
    (tmp_path / "a.mat").write_bytes(raw)
    for options in ({}, {"dataset": "data"}):
        with open_recording(tmp_path / "a.mat", **options) as recording:
            np.testing.assert_array_equal(recording.source[:, :], values)
            assert recording.source.fs == 1000


def test_matlab_cell_of_channels(tmp_path: Path) -> None:
    values = ramp(3, 80)
    with matlab(tmp_path / "a.mat") as file:
        refs = file.create_group("#refs#")
        targets = [refs.create_dataset(f"c{i}", data=row[:, None]) for i, row in enumerate(values)]
        file["data"] = np.array([[t.ref for t in targets]], dtype=h5py.ref_dtype)
        file["odd"] = np.array([[targets[0].ref]], dtype=h5py.ref_dtype)
    with open_recording(tmp_path / "a.mat") as recording:
        np.testing.assert_array_equal(recording.source[::-1, 3:70:4], values[::-1, 3:70:4])
        assert list(recording.streams) == ["data"]
    with open_recording(tmp_path / "a.mat", dataset="odd") as recording:
        np.testing.assert_array_equal(recording.source[:, :], values[:1])


def test_references_that_lead_nowhere_or_differ(tmp_path: Path) -> None:
    with matlab(tmp_path / "a.mat") as file:
        refs = file.create_group("#refs#")
        targets = [refs.create_dataset(f"c{n}", data=ramp(1, n)) for n in (10, 12)]
        file["data"] = np.array([t.ref for t in targets], dtype=h5py.ref_dtype)
        file["void"] = np.array([h5py.Reference()], dtype=h5py.ref_dtype)
    with pytest.raises(FormatError, match=r"arrays of different lengths: \[10, 12\]"):
        open_recording(tmp_path / "a.mat")
    with pytest.raises(DataPathError, match="references to nothing"):
        open_recording(tmp_path / "a.mat", dataset="void")


def test_tables_of_mixed_columns_are_no_stream(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = np.zeros(9, np.dtype([("a", "<i2"), ("b", "<f8")]))
        file["plain"] = np.zeros(9, np.dtype([("a", "<i2"), ("b", "<i2")]))
    with open_recording(tmp_path / "a.h5") as recording:
        assert list(recording.streams) == ["plain"]
        assert recording.source.channel_names == ["a", "b"]


# -- NWB -------------------------------------------------------------------------------------------


def nwb(path: Path) -> h5py.File:
    file = h5py.File(path, "w")
    file.attrs["nwb_version"] = "2.5.0"
    file["session_start_time"] = "2021-03-02T04:05:06+00:00"
    file["identifier"] = "abc"
    return file


def series(
    file: h5py.File, name: str, data: Any, kind: str = "ElectricalSeries", **attributes: Any
) -> h5py.Group:
    group = file.require_group("acquisition").create_group(name)
    group.attrs["neurodata_type"] = kind
    group["data"] = data
    group["data"].attrs.update({"conversion": 1.0, "unit": "volts", **attributes})
    return group


def test_electrical_series(tmp_path: Path) -> None:
    values = ramp(3, 90)
    with nwb(tmp_path / "a.nwb") as file:
        group = series(file, "ecog", values.T, conversion=2e-6, offset=0.5)
        group["starting_time"] = 1.5
        group["starting_time"].attrs["rate"] = 1000.0
        group["channel_conversion"] = np.array([1.0, 2.0, 4.0])
        group["electrodes"] = np.array([2, 0, 1])
        table = file.create_group("general/extracellular_ephys/electrodes")
        table["id"] = np.arange(3)
        table["label"] = np.array([b"A", b"B", b"C"])
        other = series(file, "speed", ramp(1, 20)[0], "TimeSeries", unit="m/s")
        other["starting_time"] = 0.0
        other["starting_time"].attrs["rate"] = 50.0
    with open_recording(tmp_path / "a.nwb") as recording:
        source = recording.source
        np.testing.assert_array_equal(source.raw[:, :], values)
        expected = values * 2e-6 * np.array([[1.0], [2.0], [4.0]]) + 0.5
        np.testing.assert_allclose(source[:, :], expected, rtol=1e-5)
        assert (source.fs, source.units) == (1000, "volts")
        assert source.channel_names == ["C", "A", "B"]
        np.testing.assert_allclose(recording.info.streams[0].times(0, 2), [1.5, 1.501])
        assert list(recording.streams) == ["ecog", "speed"]
        assert recording.info.start_datetime == datetime(2021, 3, 2, 4, 5, 6, tzinfo=timezone.utc)


def test_timestamps_make_a_rate_and_gaps(tmp_path: Path) -> None:
    values = ramp(2, 100)
    with nwb(tmp_path / "a.nwb") as file:
        stamps = 5 + np.arange(100) / 250
        series(file, "regular", values.T)["timestamps"] = stamps
        stamps = stamps + np.where(np.arange(100) >= 60, 1.0, 0.0)
        series(file, "paused", values.T)["timestamps"] = stamps
    with pytest.raises(
        GapError, match="'paused' has 1 gaps, the first after sample 60: sample 310"
    ):
        open_recording(tmp_path / "a.nwb")
    with open_recording(tmp_path / "a.nwb", "paused", gaps="fill") as recording:
        assert recording.source.shape == (2, 350)
        np.testing.assert_array_equal(recording.source[:, 310:], values[:, 60:])
        assert np.isnan(recording.source[:, 60:310]).all()
        regular = recording.streams["regular"]
        assert regular.fs == pytest.approx(250)
        np.testing.assert_array_equal(regular[:, :], values)
        info = recording.info.stream("paused")
        np.testing.assert_allclose(info.times(59, 61), [5 + 59 / 250, 6 + 60 / 250])


def test_gaps_of_other_streams_do_not_stand_in_the_way(tmp_path: Path) -> None:
    values = ramp(2, 100)
    with nwb(tmp_path / "a.nwb") as file:
        series(file, "ecog", values.T)["timestamps"] = np.arange(100) / 250
        licks = np.sort(np.random.default_rng(0).uniform(0, 50, 80))
        series(file, "licks", ramp(1, 80)[0], "TimeSeries")["timestamps"] = licks
        paused = np.arange(60) / 100 + np.where(np.arange(60) > 30, 3.0, 0.0)
        series(file, "wheel", ramp(1, 60)[0], "TimeSeries")["timestamps"] = paused
    with open_recording(tmp_path / "a.nwb") as recording:
        np.testing.assert_array_equal(recording.source[:, :], values)
        assert recording.streams["licks"].fs is None
        assert recording.streams["licks"].shape == (1, 80)
        with pytest.raises(GapError, match="'wheel' has 1 gaps"):
            _ = recording.streams["wheel"]


def test_equal_names_become_paths(tmp_path: Path) -> None:
    with nwb(tmp_path / "a.nwb") as file:
        for folder in ("one", "two"):
            group = file.create_group(f"processing/{folder}/LFP")
            group.attrs["neurodata_type"] = "ElectricalSeries"
            group["data"] = ramp(2, 30).T
            group["starting_time"] = 0.0
            group["starting_time"].attrs["rate"] = 100.0
    with open_recording(tmp_path / "a.nwb") as recording:
        assert list(recording.streams) == ["/processing/one/LFP", "/processing/two/LFP"]


def test_damage_of_nwb(tmp_path: Path) -> None:
    path = tmp_path / "a.nwb"
    with nwb(path) as file:
        series(file, "x", ramp(2, 9).T, conversion=0.0)["timestamps"] = np.arange(9.0)
    with pytest.raises(FormatError, match="series 'x' has a conversion of 0"):
        open_recording(path)
    with h5py.File(path, "r+") as file:
        file["acquisition/x/data"].attrs["conversion"] = 1.0
        file["acquisition/x/timestamps"][...] = 3.0
    with pytest.raises(FormatError, match="timestamps of series 'x' do not rise"):
        open_recording(path)
    with h5py.File(path, "r+") as file:
        del file["acquisition/x/timestamps"]
        file["acquisition/x/starting_time"] = 0.0
    with pytest.raises(FormatError, match="series 'x' has rate None"):
        open_recording(path)
    with h5py.File(path, "r+") as file:
        file.attrs["nwb_version"] = "1.0.6"
    with pytest.raises(FormatError, match=r"nwb_version is '1\.0\.6', expected 2\.x"):
        open_recording(path)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(CorruptDataError, match="truncated"):
        open_recording(path)
    path.write_bytes(b"x")
    with pytest.raises(FormatError, match="is not an HDF5 file"):
        open_recording(path)


# -- BioCam ----------------------------------------------------------------------------------------


def brw(path: Path, values: np.ndarray, version: int = 101, inversion: float = 1.0) -> Path:
    fields = {"BitDepth": 12, "MaxVolt": 4125.0, "MinVolt": -4125.0, "SamplingRate": 9000.0}
    fields |= {"NRecFrames": values.shape[1], "SignalInversion": inversion}
    with h5py.File(path, "w") as file:
        group = file.create_group("3BRecInfo/3BRecVars")
        for name, value in fields.items():
            group[name] = [value]
        kind = np.dtype([("Row", "<i2"), ("Col", "<i2")])
        sites = np.array([(1, i + 1) for i in range(len(values))], kind)
        file["3BRecInfo/3BMeaStreams/Raw/Chs"] = sites
        file["3BData/Raw"] = values.T if version == 100 else values.T.reshape(-1)
        file["3BData"].attrs["Version"] = version
    return path


@pytest.mark.parametrize("version", [100, 101])
@pytest.mark.parametrize("inversion", [1.0, -1.0])
def test_biocam_3(tmp_path: Path, version: int, inversion: float) -> None:
    values = (ramp(4, 60, "<u2") % 4096).astype("<u2")
    path = brw(tmp_path / "a.brw", values, version, inversion)
    with open_recording(path) as recording:
        assert recording.info.format == "biocam"
        np.testing.assert_array_equal(recording.source.raw[:, :], values)
        expected = inversion * (values * (8250 / 4096) - 4125)
        np.testing.assert_allclose(recording.source[:, :], expected, rtol=1e-4, atol=1e-2)
        assert recording.source.fs == 9000
        assert recording.source.channel_names[:2] == ["1,1", "1,2"]


def test_neo_reads_the_same_biocam(tmp_path: Path) -> None:
    path = brw(tmp_path / "a.brw", (ramp(4, 60, "<u2") % 4096).astype("<u2"))
    peer = neo_stream("BiocamRawIO", filename=str(path))
    with open_recording(path) as recording:
        np.testing.assert_array_equal(recording.source.raw[:, :], peer.values)
        np.testing.assert_allclose(recording.info.streams[0].gain, peer.gain)
        np.testing.assert_allclose(recording.info.streams[0].offset, peer.offset)


def test_biocam_4(tmp_path: Path) -> None:
    values = ramp(4, 30, "<u2") % 4096
    convert = {"MaxAnalogValue": 4125.0, "MinAnalogValue": -4125.0, "ScaleFactor": 1.0}
    convert |= {"MaxDigitalValue": 4095, "MinDigitalValue": 0}
    settings = {"ValueConverter": convert, "TimeConverter": {"FrameRate": 10000.0}}
    with h5py.File(tmp_path / "a.brw", "w") as file:
        file["ExperimentSettings"] = [json.dumps(settings)]
        file["Well_A1/Raw"] = values.T.reshape(-1)
        file["Well_A1/StoredChIdxs"] = np.arange(4)
    with open_recording(tmp_path / "a.brw") as recording:
        expected = values * (8250 / 4095) - 4125
        np.testing.assert_allclose(recording.source[:, :], expected, rtol=1e-4, atol=1e-2)
        assert recording.source.fs == 10000
    with h5py.File(tmp_path / "a.brw", "r+") as file:
        del file["Well_A1/StoredChIdxs"]
    with pytest.raises(FormatError, match="lacks a field of the BRW format"):
        open_recording(tmp_path / "a.brw")


def test_damage_of_biocam(tmp_path: Path) -> None:
    path = brw(tmp_path / "a.brw", ramp(4, 60, "<u2"), inversion=2.0)
    with pytest.raises(FormatError, match="SignalInversion is 2"):
        open_recording(path)
    path = brw(tmp_path / "b.brw", ramp(4, 60, "<u2"))
    with h5py.File(path, "r+") as file:
        del file["3BData/Raw"]
        file["3BData/Raw"] = np.zeros(241, "<u2")
    with pytest.raises(CorruptDataError, match="241 numbers, which is no whole number"):
        open_recording(path)


def test_matlab_structures_and_text(tmp_path: Path) -> None:
    values = ramp(3, 80)
    with matlab(tmp_path / "a.mat") as file:
        file["rec/data"] = values.T
        file["rec/Fs"] = np.array([[250.0]])
        file["name"] = np.array([[ord(c)] for c in "a long text"], np.uint16)
        file["name"].attrs["MATLAB_class"] = np.bytes_("char")
        file["other"] = ramp(4, 500)
    with open_recording(tmp_path / "a.mat") as recording:
        assert list(recording.streams) == ["rec/data", "other"]
        np.testing.assert_array_equal(recording.source[:, :], values)
        assert recording.source.fs == 250
        assert recording.streams["other"].fs is None


def test_an_empty_matlab_array_is_no_stream(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    with h5py.File(path, "w") as file:
        file["data"] = ramp(2, 50)
        # What is stored is the shape of the empty array.
        file["notes"] = np.array([0, 3], dtype=np.uint64)
        file["notes"].attrs["MATLAB_class"] = np.bytes_("double")
        file["notes"].attrs["MATLAB_empty"] = np.uint8(1)
    with open_recording(path) as recording:
        assert list(recording.streams) == ["data"]


def table(path: Path, rows: np.ndarray, **options: object) -> Path:
    """Write channels as the columns of a table."""
    kind = np.dtype([(f"c{i}", rows.dtype) for i in range(len(rows))])
    with h5py.File(path, "w") as file:
        values = np.ascontiguousarray(rows.T).view(kind).reshape(-1)
        file.create_dataset("data", data=values, chunks=(16,), **options)
    return path


def test_a_table_with_a_filter_of_a_package(tmp_path: Path) -> None:
    hdf5plugin = pytest.importorskip("hdf5plugin")
    values = ramp(3, 50)
    path = table(tmp_path / "a.h5", values, **hdf5plugin.Blosc())
    with open_recording(path) as recording:
        np.testing.assert_array_equal(recording.source[:, :], values)


def test_a_table_with_a_filter_that_nobody_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = table(tmp_path / "a.h5", ramp(3, 50), compression="lzf")
    monkeypatch.setattr("h5py.h5z.filter_avail", lambda code: False)
    with (
        open_recording(path) as recording,
        pytest.raises(MissingDependencyError, match=r"a\.h5.*ecogsource\[codecs\]"),
    ):
        recording.source[:, :]


def test_a_table_with_a_damaged_chunk(tmp_path: Path) -> None:
    path = table(tmp_path / "a.h5", ramp(3, 50), fletcher32=True)
    with h5py.File(path) as file:
        place = file["data"].id.get_chunk_info(1).byte_offset
    data = bytearray(path.read_bytes())
    data[place] ^= 255
    path.write_bytes(data)
    with open_recording(path) as recording, pytest.raises(CorruptDataError, match=r"a\.h5"):
        recording.source[:, :]
