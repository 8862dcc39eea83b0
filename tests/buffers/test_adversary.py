"""What a caller may hand over by mistake is answered by a typed error that says what to give."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from ecogsource import FlatBuffer, HDF5Buffer, MappedSource
from ecogsource.buffers.storage.h5file import _is_current
from ecogsource.errors import DataPathError


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "rec.h5"
    with h5py.File(path, "w") as file:
        file["group/data"] = np.arange(6, dtype="i2").reshape(2, 3)
    return path


@pytest.mark.parametrize("make", [HDF5Buffer, MappedSource])
@pytest.mark.parametrize("name", ["/", "group"])
def test_a_file_or_group_is_no_dataset(path, make, name):
    with (
        h5py.File(path, "r") as file,
        pytest.raises(DataPathError, match=r"expected a dataset. It has: 'group/data' \(2, 3\)"),
    ):
        make(file if name == "/" else file[name])


def test_an_hdf5_buffer_of_a_path_says_how_to_open_one(path):
    with pytest.raises(TypeError, match="str.*from_path"):
        HDF5Buffer(str(path))


@pytest.mark.parametrize("shape", [[2, -1], np.array([2, -1]), (np.int8(2), np.uint64(3))])
def test_shape_of_a_flat_file_of_any_kind(tmp_path, shape):
    values = np.arange(6, dtype=">i2").reshape(2, 3)
    values.tofile(tmp_path / "flat.bin")
    assert np.array_equal(FlatBuffer(tmp_path / "flat.bin", ">i2", shape)[:], values)


def test_names_of_bytes_are_the_same_names(path):
    buffer = HDF5Buffer.from_path(bytes(path), "group/data")
    assert buffer.filename == str(path)
    np.zeros(3, "i2").tofile(path.with_suffix(".bin"))
    flat = FlatBuffer(bytes(path.with_suffix(".bin")), "i2", -1)
    assert flat.filename == str(path.with_suffix(".bin"))


@pytest.mark.parametrize("mode", ["r", "r+"])
@pytest.mark.parametrize("options", [{}, {"chunks": (2, 2), "scaleoffset": 0}])
def test_a_file_that_took_the_name_of_an_open_one(tmp_path, mode, options):
    values = np.arange(80, dtype="i2").reshape(8, 10)
    path = tmp_path / "data.h5"

    def put(stored):
        with h5py.File(tmp_path / "new.h5", "w") as file:
            file.create_dataset("data", data=stored, **options)
        (tmp_path / "new.h5").replace(path)

    put(values)
    old = HDF5Buffer.from_path(path, "data", mode=mode)
    assert np.array_equal(old[:], values)
    put(values + 1)
    with HDF5Buffer.from_path(path, "data", mode=mode) as new:
        assert np.array_equal(new[:], values + 1)
        with pytest.raises(OSError, match="replaced|changed"):
            old[:]
    old.close()


def test_which_open_file_is_still_the_one_of_its_name(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        assert _is_current(file, str(path))
        path.rename(tmp_path / "b.h5")
        # What is open is all there is of that name.
        assert _is_current(file, str(path))
        h5py.File(path, "w").close()
        assert not _is_current(file, str(path))
    assert not _is_current(file, str(path))
