"""Writing HDF5 datasets, reading what was written, pickling, and open files."""

from __future__ import annotations

import io
import logging
import os
import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from ecogsource.buffers import HDF5Buffer
from ecogsource.buffers.storage import layout as layouts
from ecogsource.buffers.storage.chunked import INDICES, IndexCache
from ecogsource.buffers.storage.h5file import FILES, FilePool
from ecogsource.buffers.storage.library import LibraryReader
from ecogsource.errors import (
    CorruptDataError,
    ReadOnlyError,
)
from tests.buffers.hdf5_common import TRUTH, reader_of, same


@pytest.mark.parametrize("how", [{}, {"chunks": (5, 700), "compression": "gzip"}])
def test_reads_see_writes(tmp_path: Path, how: dict[str, Any]) -> None:
    path = tmp_path / "a.h5"
    truth = TRUTH.copy()
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=truth, **how)
    before = HDF5Buffer.from_path(path, "x")
    same(before, truth)
    with HDF5Buffer.from_path(path, "x", mode="r+") as writer:
        twin = HDF5Buffer.from_path(path, "x", mode="r+")
        beside = HDF5Buffer.from_path(path, "x")
        for value in range(3):
            truth[4, ::3] = writer[4, ::3] = value
            same(writer, truth)
            same(beside, truth)
            same(before, truth)
        writer[2:2] = 9
        writer._storage.write_from((range(0), 3), np.zeros(0, "i2"))
        assert reader_of(writer).__class__ is LibraryReader
        twin.close()
        assert FILES.has_writer(os.fspath(path))
    assert not FILES.has_writer(os.fspath(path))
    same(before, truth)
    same(beside, truth)
    assert not isinstance(reader_of(before), LibraryReader)


def test_a_scalar_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["x"] = 3.0
    with HDF5Buffer.from_path(path, "x", mode="r+") as buffer:
        buffer[()] = 4.0
        assert buffer[()] == 4.0


def test_a_file_changed_by_others_after_our_own_write(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["x"] = np.arange(10)
    reader = HDF5Buffer.from_path(path, "x")
    with HDF5Buffer.from_path(path, "x", mode="r+") as writer:
        writer[0] = 5
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))
    with pytest.raises(CorruptDataError, match="changed after it was opened"):
        reader[:]


def test_writing_to_what_is_read_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["x"] = np.arange(10)
    strict = HDF5Buffer.from_path(path, "x")
    with pytest.raises(ReadOnlyError, match="open for reading only"):
        strict[0] = 1
    with pytest.raises(ReadOnlyError, match=r"dataset 'x' of .*a\.h5' is open for reading only"):
        strict._storage.write_from((range(1),), np.zeros(1))
    with h5py.File(path) as file:
        lax = HDF5Buffer(file["x"], None, True, False)
        with caplog.at_level(logging.WARNING):
            lax[0] = 1
    assert "nothing was written" in caplog.text
    assert strict[0] == 0


def test_a_dataset_of_the_caller_that_is_closed_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["x"] = np.arange(10)
        file["words"] = np.array([b"a", b"bc"])
        buffers = [HDF5Buffer(file[name]) for name in ("x", "words")]
        assert all(buffer.writeable for buffer in buffers)
        buffers[0][3] = 33
        assert buffers[0][3] == 33
    assert buffers[0][3] == 33
    buffers[0][4] = 44
    assert buffers[1][:].tolist() == [b"a", b"bc"]
    for buffer in buffers:
        buffer.close()
    FILES.drop_writer(os.fspath(path))
    with h5py.File(path) as file:
        assert file["x"][4] == 44


def test_it_pickles_as_a_recipe(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("group/x", data=TRUTH, chunks=(5, 700))
        buffer = HDF5Buffer(file["group/x"], (1.0, 0.5))
        file.flush()
    reader = HDF5Buffer.from_path(path, "/group/x", units_scale=2.0, raise_bad_write=False)
    again = pickle.loads(pickle.dumps(reader))
    assert again.dataset_name == "/group/x"
    np.testing.assert_array_equal(again[:], TRUTH * np.float32(2))
    assert len(pickle.dumps(reader)) < 1000
    again[0] = 3
    writer = pickle.loads(pickle.dumps(buffer))
    assert writer.writeable
    writer.close()


def test_what_has_no_file_cannot_be_pickled() -> None:
    with h5py.File(io.BytesIO(), "w") as file:
        file["x"] = np.arange(5)
        buffer = HDF5Buffer(file["x"])
        np.testing.assert_array_equal(buffer[::-1], np.arange(5)[::-1])
        with pytest.raises(pickle.PicklingError, match="has no file from which"):
            pickle.dumps(buffer)


def test_open_files_are_bounded(tmp_path: Path) -> None:
    pool = FilePool(limit=2)
    paths = [tmp_path / f"{i}.h5" for i in range(4)]
    for path in paths:
        h5py.File(path, "w").close()
    files = [pool.reader(os.fspath(path)) for path in paths]
    assert [bool(file.id.valid) for file in files] == [False, False, True, True]
    pool.clear()
    assert not any(file.id.valid for file in files)
    assert not pool.drop_writer(os.fspath(paths[0]))


def test_files_of_the_parent_are_left_alone(tmp_path: Path) -> None:
    pool = FilePool()
    h5py.File(tmp_path / "a.h5", "w").close()
    path = os.fspath(tmp_path / "a.h5")
    file = pool.reader(path)
    pool._pid = -1
    pool._after_fork()
    again = pool.reader(path)
    assert again is not file
    assert file.id.valid
    file.close()
    pool.clear()


def test_indices_are_bounded() -> None:
    cache = IndexCache(limit=2)
    made: list[int] = []

    def read(key: int) -> Any:
        return cache.get(key, lambda: made.append(key))  # type: ignore[arg-type, func-returns-value, return-value]

    for key in (1, 2, 3):
        read(key)
    assert list(cache._found) == [2, 3]


def test_an_index_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=TRUTH, chunks=(5, 700))
    reads: list[object] = []
    real = layouts.read_index
    monkeypatch.setattr(
        "ecogsource.buffers.storage.hdf5.read_index",
        lambda *a: (reads.append(a), real(*a))[1],
    )
    for _ in range(3):
        buffer = HDF5Buffer.from_path(tmp_path / "a.h5", "x")
        assert not reads or _ > 0
        same(buffer, TRUTH)
    assert len(reads) == 1
    assert INDICES


def test_a_grid_too_large_for_arrays_is_left_to_the_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=TRUTH, chunks=(5, 700))
    monkeypatch.setattr(layouts, "DENSE_CELLS", 10)
    buffer = HDF5Buffer.from_path(tmp_path / "a.h5", "x")
    assert isinstance(reader_of(buffer), LibraryReader)
    same(buffer, TRUTH)
