"""HDF5 datasets of every make, against h5py reading them whole; writing; bad files."""

from __future__ import annotations

import io
import itertools
import logging
import os
import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from ecogsource.buffers import HDF5Buffer, chunk_cache_info, clear_chunk_cache
from ecogsource.buffers.storage import layout as layouts
from ecogsource.buffers.storage.chunked import CELL_BYTES, INDICES, ChunkedStorage, IndexCache
from ecogsource.buffers.storage.h5file import FILES, FilePool
from ecogsource.buffers.storage.library import LibraryReader, tile_shape
from ecogsource.errors import (
    CorruptDataError,
    DataPathError,
    FormatError,
    ReadOnlyError,
)
from ecogsource.params import OVERRIDE

TRUTH = np.random.default_rng(0).integers(-3000, 3000, (24, 5000)).astype("i2")
INDICES_2D = (
    np.s_[:],
    np.s_[3],
    np.s_[:, 17],
    np.s_[2:20:3, 4500:10:-7],
    (np.array([5, 5, 23, 0]), slice(100, 4000)),
    (slice(1, 20), np.array([4999, 0, 77, 77])),
    np.s_[..., :0],
)


def reader_of(buffer: HDF5Buffer) -> object:
    return buffer._storage._reader


def same(buffer: HDF5Buffer, truth: np.ndarray, indices: tuple[Any, ...] = INDICES_2D) -> None:
    for index in indices:
        got, expected = buffer[index], truth[index]
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got, expected)


FILES_MADE = [
    {"libver": libver, "track_order": track, "userblock_size": block}
    for libver, track, block in itertools.product(["earliest", "latest"], [False, True], [0, 2048])
]
DATASETS: dict[str, dict[str, Any]] = {
    "contiguous": {},
    "chunked": {"chunks": (5, 999)},
    "one chunk": {"chunks": (24, 5000)},
    "resizable": {"chunks": (5, 999), "maxshape": (None, None)},
    "resizable in time": {"chunks": (5, 999), "maxshape": (24, None)},
    "gzip": {"chunks": (7, 1024), "compression": "gzip", "shuffle": True},
    "pytables-like": {
        "chunks": (1, 4096),
        "compression": "gzip",
        "compression_opts": 5,
        "shuffle": True,
        "fletcher32": True,
        "maxshape": (None, 5000),
    },
    "unlimited in time, once longer": {"chunks": (5, 999), "maxshape": (48, None)},
    "unlimited channels": {"chunks": (5, 999), "maxshape": (None, 9000)},
    "big-endian": {"dtype": ">i2", "chunks": (6, 700), "compression": "gzip", "shuffle": True},
    "big-endian contiguous": {"dtype": ">i2"},
}


@pytest.mark.parametrize("made", FILES_MADE, ids=lambda m: "-".join(map(str, m.values())))
def test_every_kind_of_file(tmp_path: Path, made: dict[str, Any]) -> None:
    path = tmp_path / "a.h5"
    options = {key: value for key, value in made.items() if key != "track_order"}
    with h5py.File(path, "w", track_order=made["track_order"], **options) as file:
        for name, how in DATASETS.items():
            file.create_dataset(f"group/{name}", data=TRUTH, **how)
    with h5py.File(path) as file:
        for name in DATASETS:
            # Both from an open dataset and, once it is closed, from its path.
            buffer = HDF5Buffer(file["group"][name])
            same(buffer, file["group"][name][()].astype("i2"))
    for name in DATASETS:
        buffer = HDF5Buffer.from_path(path, f"group/{name}")
        assert not isinstance(reader_of(buffer), LibraryReader)
        for workers in (1, 3):
            with OVERRIDE.set(workers=workers):
                clear_chunk_cache()
                same(buffer, TRUTH)
        same(
            HDF5Buffer.from_path(path, f"group/{name}", units_scale=0.25), TRUTH * np.float32(0.25)
        )


@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("rows", [slice(0, 1), slice(3, 4), slice(None)])
def test_sparse_datasets_with_one_unlimited_axis(
    tmp_path: Path, libver: str, axis: int, rows: slice
) -> None:
    """The library tells the positions of such chunks wrongly; see `_true_cells`."""
    limits = [8, 6, 10]
    limits[axis] = None  # type: ignore[call-overload]
    with h5py.File(tmp_path / "a.h5", "w", libver=libver) as file:
        x = file.create_dataset("x", (4, 6, 10), "i4", chunks=(1, 2, 3), maxshape=tuple(limits))
        x[rows, :, 4:] = np.arange(4 * 6 * 6).reshape(4, 6, 6)[rows]
        expected = x[()]
    buffer = HDF5Buffer.from_path(tmp_path / "a.h5", "x")
    assert isinstance(reader_of(buffer), ChunkedStorage)
    same(buffer, expected, (np.s_[:], np.s_[3], np.s_[:, 1:, ::-2]))


def test_chunks_that_only_seem_to_be_misplaced(tmp_path: Path) -> None:
    for number, part in enumerate((slice(0, 3), slice(21, 24), slice(0, 60))):
        path = tmp_path / f"{number}.h5"
        with h5py.File(path, "w") as file:
            x = file.create_dataset("x", (4, 60), "i4", chunks=(1, 3), maxshape=(40, None))
            x[0, part] = 5
            expected = x[()]
        same(HDF5Buffer.from_path(path, "x"), expected, (np.s_[:],))


def test_an_index_outside_of_the_shape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=TRUTH, chunks=(5, 700))
    monkeypatch.setattr(layouts, "_true_cells", lambda _, cells: cells + 3)
    with pytest.raises(CorruptDataError, match="names chunks outside of its shape"):
        HDF5Buffer.from_path(tmp_path / "a.h5", "x")[0]


@pytest.mark.parametrize("when", ["EARLY", "LATE", "INCR"])
@pytest.mark.parametrize("fill", [None, -7])
@pytest.mark.parametrize("packed", [False, True])
def test_chunks_that_were_never_written(
    tmp_path: Path, when: str, fill: int | None, packed: bool
) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((5, 64))
        plist.set_alloc_time(getattr(h5py.h5d, f"ALLOC_TIME_{when}"))
        if packed:
            plist.set_shuffle()
            plist.set_deflate(3)
        if fill is not None:
            plist.set_fill_value(np.array(fill, "i2"))
        space = h5py.h5s.create_simple((17, 200))
        dataset = h5py.Dataset(
            h5py.h5d.create(file.id, b"x", h5py.h5t.STD_I16LE, space, dcpl=plist)
        )
        dataset[3:8, 70:90] = 5
        expected = dataset[()]
    buffer = HDF5Buffer.from_path(path, "x")
    assert isinstance(reader_of(buffer), ChunkedStorage)
    same(buffer, expected, (np.s_[:], np.s_[4], np.s_[::-1, 60:100:3], np.s_[[2, 16], :]))
    scaled = HDF5Buffer.from_path(path, "x", units_scale=(1.0, np.arange(1.0, 18)[:, None]))
    np.testing.assert_array_equal(
        scaled[:], (expected.astype("f4") + 1) * np.arange(1, 18, dtype="f4")[:, None]
    )


def test_a_contiguous_dataset_that_was_never_written(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", (4, 5), "f4", fillvalue=2.5)
    buffer = HDF5Buffer.from_path(tmp_path / "a.h5", "x")
    np.testing.assert_array_equal(buffer[:], np.full((4, 5), 2.5))


def test_chunks_with_a_filter_mask(tmp_path: Path) -> None:
    """Chunks to which some filters were not applied say so in their mask."""
    import zlib

    path = tmp_path / "a.h5"
    data = np.arange(3 * 100, dtype="<i2").reshape(3, 100)
    shuffled = data.view(np.uint8).reshape(3, 100, 2).transpose(0, 2, 1)
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset(
            "x", (3, 100), "<i2", chunks=(1, 100), shuffle=True, compression="gzip"
        )
        dataset.id.write_direct_chunk((0, 0), zlib.compress(shuffled[0].tobytes()), 0)
        dataset.id.write_direct_chunk((1, 0), zlib.compress(data[1].tobytes()), 1)
        dataset.id.write_direct_chunk((2, 0), data[2].tobytes(), 3)
    same(HDF5Buffer.from_path(path, "x"), data, (np.s_[:], np.s_[1:, ::-9]))


@pytest.mark.parametrize("shape", [(50,), (3, 4, 25), (2, 3, 4, 5), (0, 3), (4, 0)])
@pytest.mark.parametrize("how", [{}, {"chunks": True}, {"chunks": True, "compression": "gzip"}])
def test_any_number_of_dimensions(
    tmp_path: Path, shape: tuple[int, ...], how: dict[str, Any]
) -> None:
    data = np.arange(np.prod(shape), dtype="f4").reshape(shape)
    options = dict(how)
    if options.get("chunks"):
        options["chunks"] = tuple(max(1, n // 2) for n in shape)
        options["maxshape"] = (None,) * len(shape)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=data, **options)
    buffer = HDF5Buffer.from_path(tmp_path / "a.h5", "x")
    assert buffer.shape == shape
    same(buffer, data, (np.s_[:], np.s_[::-1], np.s_[..., -1:], np.s_[..., 1:0]))


def test_sparse_and_dense_parts_of_plain_chunks(tmp_path: Path) -> None:
    data = np.arange(40 * 30_000, dtype="i4").reshape(40, 30_000)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("wide", data=data, chunks=(10, 20_000))
        file.create_dataset("tall", data=data.T, chunks=(20_000, 10))
        file.create_dataset("line", data=data[0], chunks=(20_000,))
    wide = HDF5Buffer.from_path(tmp_path / "a.h5", "wide")
    tall = HDF5Buffer.from_path(tmp_path / "a.h5", "tall").T
    for buffer in (wide, tall):
        same(
            buffer,
            data,
            (
                np.s_[:, 100:110],
                np.s_[:, 5],
                np.s_[3, 5],
                np.s_[::5, ::5000],
                np.s_[[39, 1], 100:29_000:2],
                np.s_[5:7, 19_990:20_010],
                np.s_[:, :],
            ),
        )
    out = np.zeros((30_000, 40), "f8")
    wide.read((), out=out.T)
    np.testing.assert_array_equal(out.T, data)
    line = HDF5Buffer.from_path(tmp_path / "a.h5", "line")
    same(line, data[0], (np.s_[:], np.s_[19_000:21_000], np.s_[::-1]))


class Spy:
    """Stands for a dataset and notes the keys that it is indexed with."""

    def __init__(self, dataset: h5py.Dataset) -> None:
        self.dataset, self.keys = dataset, []

    def __getitem__(self, key: Any) -> Any:
        self.keys.append(key)
        return self.dataset[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self.keys.append(key)
        self.dataset[key] = value


@pytest.mark.parametrize("chunks", [None, (5, 300), True])
def test_no_list_or_stride_reaches_the_library(tmp_path: Path, chunks: object) -> None:
    truth = TRUTH.copy()
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dataset = file.create_dataset("x", data=truth, chunks=chunks)
        buffer = HDF5Buffer(dataset)
        reader = reader_of(buffer)
        assert isinstance(reader, LibraryReader)
        spy = Spy(dataset)
        reader._lend = lambda: spy  # type: ignore[assignment, return-value]
        buffer._storage._library = lambda: reader  # type: ignore[method-assign]
        same(buffer, truth)
        for number, index in enumerate(INDICES_2D):
            truth[index] = number
            buffer[index] = number
        np.testing.assert_array_equal(dataset[()], truth)
    assert len(spy.keys) > 10
    for key in spy.keys:
        assert all(isinstance(k, slice) and k.step in (None, 1) for k in key)
        assert all(0 <= k.start < k.stop for k in key)


def test_tiles_are_whole_chunks_and_bounded() -> None:
    assert tile_shape((100, 10_000), None, 2, 4000) == (1, 2000)
    assert tile_shape((100, 10_000), (10, 50), 2, 4000) == (10, 200)
    assert tile_shape((100, 10), (10, 10), 2, 10**6) == (100, 10)
    assert tile_shape((3, 0), None, 2, 100) == (3, 1)
    assert tile_shape((100, 100), (100, 100), 8, 10) == (100, 100)


def test_temporaries_are_announced(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("gzip", data=TRUTH, chunks=(6, 1000), compression="gzip")
        file.create_dataset("flat", data=TRUTH)
        buffer = HDF5Buffer(file["gzip"])
        whole = tuple(map(range, TRUTH.shape))
        assert buffer._storage.temporary_bytes(whole) == TRUTH.nbytes
        assert buffer._storage.temporary_bytes((3, range(10))) == 20
    with OVERRIDE.set(workers=2):
        packed = HDF5Buffer.from_path(tmp_path / "a.h5", "gzip")._storage
        assert packed.temporary_bytes(whole) == 2 * 3 * 12_000 + CELL_BYTES * 5 * 6
        assert packed.temporary_bytes((3, range(0))) == 0
    flat = HDF5Buffer.from_path(tmp_path / "a.h5", "flat")._storage
    assert 0 < flat.temporary_bytes(whole) <= 2 * TRUTH.nbytes


# -- writing ------------------------------------------------------------------------------------


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


# -- pickling, pools, other processes -------------------------------------------------------------


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


# -- what only the library reads ------------------------------------------------------------------


def test_values_kept_in_the_header(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple((3, 4))
        h5py.h5d.create(file.id, b"x", h5py.h5t.STD_I16BE, space, dcpl=plist)
        file["x"][...] = truth = np.arange(12).reshape(3, 4)
    buffer = HDF5Buffer.from_path(tmp_path / "a.h5", "x")
    assert isinstance(reader_of(buffer), LibraryReader)
    np.testing.assert_array_equal(buffer[::-1], truth[::-1])


def test_compounds_strings_and_booleans(tmp_path: Path) -> None:
    kinds = np.dtype([("a", "<i2"), ("b", "<f4", (2,))])
    arrays = {
        "compound": np.zeros(7, kinds),
        "bytes": np.array([b"ab", b"c"] * 4),
        "flags": np.arange(9) % 2 == 0,
        "complex": np.arange(6) * (1 + 2j),
    }
    arrays["compound"]["a"] = np.arange(7)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array, chunks=(4,))
        file["empty"] = h5py.Empty("f4")
    for name, array in arrays.items():
        buffer = HDF5Buffer.from_path(tmp_path / "a.h5", name)
        for index in (np.s_[:], np.s_[::-1], np.s_[[3, 3, 1]], 2):
            np.testing.assert_array_equal(buffer[index], array[index])


def test_a_null_dataset_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["nothing"] = h5py.Empty("f4")
    with pytest.raises(FormatError, match=r"'/nothing' of .* has no values \(null dataspace\)"):
        HDF5Buffer.from_path(tmp_path / "a.h5", "nothing")


def virtual_file(folder: Path) -> Path:
    layout = h5py.VirtualLayout((3, 10), "i4")
    for i in range(3):
        with h5py.File(folder / f"part{i}.h5", "w") as file:
            file["x"] = np.arange(10, dtype="i4") + 10 * i
        layout[i] = h5py.VirtualSource(f"part{i}.h5", "x", (10,))
    with h5py.File(folder / "all.h5", "w", libver="latest") as file:
        file.create_virtual_dataset("x", layout, fillvalue=-1)
    return folder / "all.h5"


def test_virtual_datasets_and_their_sources(tmp_path: Path) -> None:
    path = virtual_file(tmp_path)
    truth = np.arange(30, dtype="i4").reshape(3, 10)
    buffer = HDF5Buffer.from_path(path, "x")
    same(buffer, truth, (np.s_[:], np.s_[::-1, 3:8:2], np.s_[[2, 0], [1, 1]]))
    (tmp_path / "part1.h5").unlink()
    with pytest.raises(DataPathError, match=r"has values in 'part1\.h5', which is missing"):
        buffer[:]
    with pytest.raises(DataPathError, match="would read as fill values"):
        HDF5Buffer.from_path(path, "x")


def test_a_virtual_dataset_of_its_own_file(tmp_path: Path) -> None:
    layout = h5py.VirtualLayout((2, 10), "i4")
    with h5py.File(tmp_path / "a.h5", "w", libver="latest") as file:
        file["x"] = np.arange(10, dtype="i4")
        layout[0] = layout[1] = h5py.VirtualSource(file["x"])
        file.create_virtual_dataset("twice", layout)
    buffer = HDF5Buffer.from_path(tmp_path / "a.h5", "twice")
    np.testing.assert_array_equal(buffer[:, ::-2], np.tile(np.arange(10), (2, 1))[:, ::-2])


def test_a_virtual_source_without_its_dataset(tmp_path: Path) -> None:
    path = virtual_file(tmp_path)
    with h5py.File(tmp_path / "part2.h5", "r+") as file:
        del file["x"]
    with pytest.raises(DataPathError, match=r"has values in dataset 'x' of 'part2\.h5'.*missing"):
        HDF5Buffer.from_path(path, "x")


def test_external_values(tmp_path: Path) -> None:
    values = np.arange(20, dtype="i4")
    values.tofile(tmp_path / "raw.bin")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", (20,), "i4", external=[(tmp_path / "raw.bin", 0, 80)])
    buffer = HDF5Buffer.from_path(tmp_path / "a.h5", "x")
    same(buffer, values, (np.s_[::-2], np.s_[[3, 19]]))
    (tmp_path / "raw.bin").unlink()
    with pytest.raises(DataPathError, match=r"raw\.bin', which is missing"):
        HDF5Buffer.from_path(tmp_path / "a.h5", "x")


def test_a_file_that_grows_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", libver="latest") as writer:
        dataset = writer.create_dataset("x", data=np.arange(10), chunks=(4,), maxshape=(None,))
        writer.swmr_mode = True
        with h5py.File(path, "r", libver="latest", swmr=True) as file:
            buffer = HDF5Buffer(file["x"])
            assert isinstance(reader_of(buffer), LibraryReader)
            np.testing.assert_array_equal(buffer[:], np.arange(10))
            dataset[3] = 77
            dataset.flush()
            file["x"].refresh()
            assert buffer[3] == 77


def test_what_the_library_reads_is_checked_too(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["x"] = np.array([b"a", b"b"])
    buffer = HDF5Buffer.from_path(path, "x")
    assert buffer[0] == b"a"
    os.utime(path, ns=(0, 0))
    with pytest.raises(CorruptDataError, match="changed after it was opened"):
        buffer[0]
    FILES.clear()


# -- bad files ------------------------------------------------------------------------------------


def test_missing_files_and_datasets(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["group/x"] = TRUTH
    with pytest.raises(DataPathError, match=r"gone\.h5.*No such file"):
        HDF5Buffer.from_path(tmp_path / "gone.h5", "x")
    message = r"no dataset 'y' in .*It has: 'group/x' \(24, 5000\) int16"
    with pytest.raises(DataPathError, match=message):
        HDF5Buffer.from_path(path, "y")
    with pytest.raises(DataPathError, match=r"'group' in .* is a group, expected a dataset"):
        HDF5Buffer.from_path(path, "group")
    with pytest.raises(DataPathError, match="no dataset"):
        HDF5Buffer.from_path(path, "")
    with pytest.raises(ValueError, match="mode must be 'r' or 'r\\+', got 'w'"):
        HDF5Buffer.from_path(path, "group/x", mode="w")


def test_listings_are_short(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "many.h5", "w") as file:
        for i in range(30):
            file[f"{i:02d}"] = i
    with pytest.raises(DataPathError, match=r"'19' \(\) int64, \.\.\.$"):
        HDF5Buffer.from_path(tmp_path / "many.h5", "x")
    h5py.File(tmp_path / "none.h5", "w").close()
    with pytest.raises(DataPathError, match="The file holds no dataset"):
        HDF5Buffer.from_path(tmp_path / "none.h5", "x")


def test_files_that_are_not_hdf5(tmp_path: Path) -> None:
    for content in (b"", b"not at all an HDF5 file" * 100):
        (tmp_path / "a.h5").write_bytes(content)
        with pytest.raises(FormatError, match=rf"is not an HDF5 file \({len(content)} bytes"):
            HDF5Buffer.from_path(tmp_path / "a.h5", "x")


def test_a_truncated_file(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["x"] = TRUTH
    os.truncate(path, path.stat().st_size - 1000)
    with pytest.raises(CorruptDataError, match="the HDF5 file is truncated"):
        HDF5Buffer.from_path(path, "x")


def test_a_file_open_for_writing_in_this_process(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    truth = TRUTH.copy()
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("x", data=TRUTH, chunks=(5, 700))
        buffer = HDF5Buffer.from_path(path, "x")
        for value in range(3):
            truth[3] = dataset[3] = value
            same(buffer, truth)


def test_a_file_locked_by_a_reader(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["x"] = TRUTH
    with h5py.File(path, "r"), pytest.raises(DataPathError, match=r"mode 'r\+' now.*for writing"):
        HDF5Buffer.from_path(path, "x", mode="r+")


@pytest.mark.parametrize("locking", [True, "best-effort"])
def test_a_file_open_with_locks_is_read_all_the_same(tmp_path: Path, locking: object) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["x"] = TRUTH
    with h5py.File(path, "r", locking=locking):
        same(HDF5Buffer.from_path(path, "x"), TRUTH)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("offset", "size"), [(10**9, None), (None, 10**9), (None, 5)])
def test_an_index_that_points_nowhere(
    tmp_path: Path, packed: bool, offset: int | None, size: int | None
) -> None:
    path = tmp_path / "a.h5"
    how = {"compression": "gzip"} if packed else {}
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=TRUTH, chunks=(6, 1000), **how)
    buffer = HDF5Buffer.from_path(path, "x")
    buffer[0, 0]
    clear_chunk_cache()
    index = reader_of(buffer)._index  # type: ignore[attr-defined]
    index.offsets[0, 0] = offset or index.offsets[0, 0]
    index.sizes[0, 0] = size or index.sizes[0, 0]
    with pytest.raises(CorruptDataError, match=r"chunk \(0, 0\) of dataset '/x' is damaged"):
        buffer[:]


def test_counters(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=TRUTH, chunks=(24, 1000), compression="gzip")
    clear_chunk_cache()
    buffer = HDF5Buffer.from_path(tmp_path / "a.h5", "x")
    for start in range(0, 4000, 500):
        buffer[:, start : start + 1000]
    info = chunk_cache_info()
    assert (info.misses, info.hits) == (5, 7)


def test_real_files(shared_data: Path) -> None:
    folder = shared_data / "hdf5" / "aopy"
    checked = 0
    for path in sorted(folder.glob("*.hdf")):
        with h5py.File(path) as file:
            names: list[str] = []
            file.visit(names.append)
            for name in names:
                if not isinstance(file[name], h5py.Dataset):
                    continue
                if file[name].dtype.kind == "O" or not file[name].shape:
                    continue
                buffer = HDF5Buffer.from_path(path, name)
                # Tables hold NaN, which equals nothing: compare the bytes.
                assert buffer[:].tobytes() == file[name][()].tobytes()
                assert buffer[::-3].tobytes() == file[name][()][::-3].tobytes()
                checked += 1
    assert checked > 5
