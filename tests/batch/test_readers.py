"""Readers index any recording as observations x channels."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecogsource.batch import (
    BinaryReader,
    MemoryMap,
    RecordingsReader,
)
from ecogsource.buffers import ArrayBuffer
from ecogsource.datasource import MappedSource, PlainArraySource
from ecogsource.errors import DataPathError, FormatError
from tests.batch.helpers import (
    N_CHANNELS,
    N_OBS,
)
from tests.oracle import assert_same, check_read
from tests.strategies import indices, make_array


class TestReader:
    def test_always_observations_by_channels(
        self, path: Path, order: str, data: np.ndarray
    ) -> None:
        for loader in ("memmap", "array", "python"):
            reader = RecordingsReader(path, "int16", N_CHANNELS, order, loader)
            assert reader.shape == (N_OBS, N_CHANNELS)
            assert (reader.observations, reader.channels) == reader.shape
            assert (reader.dtype, reader.data_order, len(reader)) == (np.int16, order, N_OBS)
            assert_same(reader[100:200, 2:5], data[100:200, 2:5])
            assert_same(reader.data[...], data)
            assert order in repr(reader)
        old_name = {"samples": "long", "channels": "wide"}[order]
        old = RecordingsReader(path, "int16", N_CHANNELS, data_format=old_name)
        assert_same(old[:, 3], data[:, 3])

    @given(drawn=st.data())
    def test_any_index(self, drawn: st.DataObject, tmp_path: Path) -> None:
        array = make_array((9, 4), "<f4", 3)
        array.tofile(tmp_path / "x.bin")
        reader = RecordingsReader(tmp_path / "x.bin", "f4", 4, "samples")
        check_read(reader, array, drawn.draw(indices(array.shape)))

    def test_margins_are_zeros_of_the_same_type(
        self, path: Path, order: str, data: np.ndarray
    ) -> None:
        reader = RecordingsReader(
            path, "int16", N_CHANNELS, order, buffer_size=20, return_data_index=True
        )
        padded = np.pad(data, ((20, 20), (0, 0)))
        for start, stop in ((0, 10), (5, 300), (990, 1000), (0, 1000)):
            found, index = reader[start:stop, [1, 4]]
            assert_same(found, padded[start : stop + 40, [1, 4]])
            assert_same(found[index], data[start:stop, [1, 4]])
        one, index = reader[3:9, 2]
        assert_same(one[index], data[3:9, 2])
        plain = RecordingsReader(path, "int16", N_CHANNELS, order, return_data_index=True)
        assert_same(plain[3:9, 2][0], data[3:9, 2])
        assert plain[3:9, 2][1] == np.s_[3:9, 2]
        only = RecordingsReader(path, "int16", N_CHANNELS, order, buffer_size=1)
        assert only[3:9].shape == (8, N_CHANNELS)
        with pytest.raises(IndexError, match="slice of step 1"):
            only[::2]

    def test_what_may_stand_for_a_recording(self, data: np.ndarray, tmp_path: Path) -> None:
        for given_as in (
            MappedSource(data.T),
            PlainArraySource(np.ascontiguousarray(data.T)),
            ArrayBuffer(data),
            data,
        ):
            assert_same(RecordingsReader(given_as)[5:9], data[5:9])
        turned = RecordingsReader(np.ascontiguousarray(data.T), data_order="channels")
        assert_same(turned[5:9], data[5:9])

        class Holder:
            source = MappedSource(data.T)

        assert_same(RecordingsReader(Holder())[5:9], data[5:9])
        with pytest.raises(FormatError, match=r"two dimensions, got shape \(3,\)"):
            RecordingsReader(np.zeros(3))

    def test_a_recording_of_an_acquisition_system(self, shared_data: Path) -> None:
        path = shared_data / "edf" / "edfarray" / "S001R01.edf"
        reader = RecordingsReader(path)
        assert reader.channels == 64
        assert reader[:10].shape == (10, 64)

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"n_channels": 6}, ValueError, r"7000 numbers of type int16.*multiple of 6"),
            ({"n_channels": 0}, ValueError, "n_channels is at least 1, got 0"),
            ({"data_order": "rows"}, ValueError, "'channels' or 'samples', got 'rows'"),
            ({"loader": "dask"}, ValueError, "memmap, array, python, got 'dask'"),
            ({"buffer_size": -1}, ValueError, "buffer_size is at least 0"),
            ({"dtype": None}, FormatError, "no YAML file.*dtype, n_channels and data_order"),
        ],
    )
    def test_arguments_that_do_not_fit(
        self, data: np.ndarray, tmp_path: Path, arguments: Any, error: Any, message: str
    ) -> None:
        data.tofile(tmp_path / "raw.bin")
        given_ones = {"dtype": "int16", "n_channels": 7, "data_order": "samples", **arguments}
        with pytest.raises(error, match=message):
            RecordingsReader(tmp_path / "raw.bin", **given_ones)

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(DataPathError, match=r"missing\.bin"):
            RecordingsReader(tmp_path / "missing.bin", "i2", 3, "samples")

    def test_it_travels_as_a_recipe(self, path: Path, order: str, data: np.ndarray) -> None:
        reader = RecordingsReader(path, "int16", N_CHANNELS, order)
        payload = pickle.dumps(reader)
        assert len(payload) < 2000
        assert_same(pickle.loads(payload)[7], data[7])


class TestSidecar:
    def test_it_says_how_to_read(self, data: np.ndarray, tmp_path: Path) -> None:
        data.tofile(tmp_path / "raw.bin")
        beside = tmp_path / "raw.yaml"
        beside.write_text("dtype: int16\nn_channels: 7\ndata_format: long\n")
        assert_same(RecordingsReader(tmp_path / "raw.bin")[3], data[3])
        beside.write_text("dtype: !!python/object/apply:os.system ['true']\n")
        with pytest.raises(FormatError, match="not a plain YAML file"):
            RecordingsReader(tmp_path / "raw.bin")
        for line, message in (
            ("dtype: banana", "banana"),
            ("dtype: object", "dtype is that of numbers, got 'object'"),
            ("n_channels: many", "n_channels is a positive number, got 'many'"),
            ("data_order: [samples]", "data_order is 'channels' or 'samples'"),
        ):
            beside.write_text(f"{line}\n")
            with pytest.raises(FormatError, match=rf"raw\.yaml.*{message}"):
                RecordingsReader(tmp_path / "raw.bin")
        beside.write_text("just words\n")
        with pytest.raises(FormatError, match="should hold lines such as 'dtype: int16'"):
            RecordingsReader(tmp_path / "raw.bin")


def test_the_sidecar_of_another_file(data: np.ndarray, tmp_path: Path) -> None:
    data.tofile(tmp_path / "raw.bin")
    lines = "dtype: int16\nn_channels: 7\ndata_order: samples\nnbytes: 14000\n"
    (tmp_path / "raw.yaml").write_text(lines)
    assert_same(RecordingsReader(os.fsencode(tmp_path / "raw.bin"))[3], data[3])
    with h5py.File(tmp_path / "raw.h5", "w") as file:
        file["data"], file["Fs"] = data.T, 1000.0
    assert_same(RecordingsReader(tmp_path / "raw.h5")[3], data[3])
    os.truncate(tmp_path / "raw.bin", 1400)
    with pytest.raises(FormatError, match="holds 1400 bytes.*describes 14000: .*not complete"):
        RecordingsReader(tmp_path / "raw.bin")
    assert RecordingsReader(tmp_path / "raw.bin", "int16", 7, "samples").shape == (100, 7)


def test_low_level_readers(data: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "raw.bin"
    data.tofile(path)
    assert_same(BinaryReader(path, "int16", (N_OBS, N_CHANNELS), order="C")[9], data[9])
    assert_same(BinaryReader(path, "int16", (N_CHANNELS, N_OBS))[:, 9], data[9])
    mapped = MemoryMap(path, "int16", mode="r+", shape=(N_OBS, N_CHANNELS))
    mapped[3] = 5
    assert (MemoryMap(path, "int16").raw[21:28] == 5).all()
    assert pickle.loads(pickle.dumps(mapped)).shape == (N_OBS, N_CHANNELS)
    with pytest.raises(ValueError, match="mode is 'r' or 'r\\+', got 'w\\+'"):
        MemoryMap(path, "int16", mode="w+")
