"""HDF5 datasets of every make, against h5py reading them whole."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecogsource.buffers import Buffer, HDF5Buffer, clear_chunk_cache
from ecogsource.buffers.storage import layout as layouts
from ecogsource.buffers.storage import loops, windowed
from ecogsource.buffers.storage.chunked import CELL_BYTES, ChunkedStorage
from ecogsource.buffers.storage.handles import Handle
from ecogsource.buffers.storage.library import LibraryReader, tile_shape
from ecogsource.errors import (
    CorruptDataError,
)
from ecogsource.params import OVERRIDE
from tests.buffers.hdf5_common import INDICES_2D, TRUTH, reader_of, same

FILES_MADE = [
    {"libver": libver, "track_order": track, "userblock_size": block}
    for libver, track, block in itertools.product(["earliest", "latest"], [False, True], [0, 2048])
]
DATASETS: dict[str, dict[str, Any]] = {
    "contiguous": {},
    "chunked": {"chunks": (5, 999)},
    "chunked, long rows": {"chunks": (5, 2400)},
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


@pytest.mark.parametrize("dtype", ["<f4", ">f4"])
@pytest.mark.parametrize("fill", [False, True])
def test_windows_over_many_small_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fill: bool, dtype: str
) -> None:
    data = np.arange(9000 * 62, dtype="f4").reshape(9000, 62)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        x = file.create_dataset("x", data.shape, dtype, chunks=(1875, 4))
        x[: 5000 if fill else 9000] = data[: 5000 if fill else 9000]
        data = x[()].astype("f4")
    buffer = HDF5Buffer.from_path(tmp_path / "a.h5", "x")
    windows = (
        np.s_[1000:2500],
        np.s_[1875:3750, 4:60],
        np.s_[10:4100, 3:61],
        np.s_[4000:9000, 1:],
        np.s_[:, 3:9],
        np.s_[1000:3000, 8:40:2],
        np.s_[100:3000:2],
        np.s_[7, :],
        np.s_[100:3000, 5],
        np.s_[3000:100:-7, ::-1],
        np.s_[[8000, 3, 2500], 2:9],
    )
    for size, room in ((1 << 20, 1 << 18), (1 << 16, 1 << 18), (1 << 10, 8), (1 << 20, 1000)):
        monkeypatch.setattr(windowed, "PART_BYTES", size)
        monkeypatch.setattr(loops, "ROOM", room)
        same(buffer, data, windows)
        same(buffer.T, data.T, tuple(np.s_[:, i[0]] for i in windows if isinstance(i, tuple)))
        scaled = HDF5Buffer.from_path(tmp_path / "a.h5", "x", units_scale=(1.0, 0.5))
        same(scaled, (data + np.float32(1)) * np.float32(0.5), windows)


@settings(max_examples=200)
@given(
    shape=st.lists(st.integers(1, 30), min_size=1, max_size=3),
    data=st.data(),
)
def test_plain_chunks_at_any_distances(
    tmp_path_factory: pytest.TempPathFactory, shape: list[int], data: st.DataObject
) -> None:
    """Chunks written in any order, so that runs at equal distances begin and end anywhere."""
    chunks = tuple(data.draw(st.integers(1, n)) for n in shape)
    truth = np.arange(np.prod(shape), dtype="<i2").reshape(shape)
    cells = list(np.ndindex(*(-(-n // c) for n, c in zip(shape, chunks, strict=True))))
    order = data.draw(st.permutations(cells)) if data.draw(st.booleans()) else cells
    path = tmp_path_factory.mktemp("plain") / "a.h5"
    with h5py.File(path, "w", libver=data.draw(st.sampled_from(["earliest", "latest"]))) as file:
        x = file.create_dataset("x", shape, "<i2", chunks=chunks)
        for cell in order:
            box = tuple(slice(i * c, (i + 1) * c) for i, c in zip(cell, chunks, strict=True))
            x[box] = truth[box]
    buffer = HDF5Buffer.from_path(path, "x")
    index = tuple(data.draw(st.one_of(st.integers(0, n - 1), st.slices(n))) for n in shape)
    if data.draw(st.booleans()):
        index = (data.draw(st.lists(st.integers(0, shape[0] - 1), max_size=6)), *index[1:])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windowed, "PART_BYTES", data.draw(st.sampled_from([1, 100, 1 << 20])))
        patch.setattr(windowed, "ROWS", data.draw(st.sampled_from([0, 64])))
        patch.setattr(loops, "ROOM", data.draw(st.sampled_from([8, 50, 1 << 18])))
        mapped = data.draw(st.booleans())
        patch.setattr(Handle, "stays_mapped", lambda *_: mapped)
        np.testing.assert_array_equal(buffer[index], truth[index], strict=True)
        np.testing.assert_array_equal(buffer.T[index[::-1]], truth.T[index[::-1]], strict=True)


def plain_chunks(folder: Path) -> tuple[Buffer, np.ndarray]:
    """Give a dataset in many chunks without filters, and what it holds."""
    data = np.arange(100 * 640, dtype="i2").reshape(100, 640)
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_dataset("x", data=data, chunks=(10, 80))
    return HDF5Buffer.from_path(folder / "a.h5", "x"), data


def test_windows_read_again_and_again_come_from_the_map(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_c: bool
) -> None:
    buffer, data = plain_chunks(tmp_path)
    buffer = buffer.T
    mapped: list[bool] = []
    real = loops.read_chunks

    def read(file: Any, *given: Any) -> bool:
        mapped.append(not isinstance(file, int))
        return real(file, *given)

    monkeypatch.setattr(loops, "read_chunks", read)
    for start in 2 * list(range(0, 100, 20)):
        window = np.s_[:, start : start + 20]
        np.testing.assert_array_equal(buffer[window], data.T[window])
    # Rows that go straight to their place are read by position still.
    assert mapped == ([False] * 5 + [True] * 5 if in_c else [])
    np.testing.assert_array_equal(buffer.T[15:33], data[15:33])
    assert mapped[10:] == ([False] if in_c else [])


def test_threads_share_what_is_read_not_what_is_returned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_c: bool
) -> None:
    buffer, data = plain_chunks(tmp_path)
    monkeypatch.setattr(windowed, "PART_BYTES", data.nbytes // 4)
    calls: list[int] = []
    real = loops.read_chunks

    def read(*given: Any) -> bool:
        calls.append(1)
        return real(*given)

    monkeypatch.setattr(loops, "read_chunks", read)
    for key, parts in ((np.s_[:, ::10], 4), (np.s_[5:15], 1), (np.s_[5:15, ::10], 1), (..., 4)):
        calls.clear()
        np.testing.assert_array_equal(buffer[key], data[key], strict=True)
        assert len(calls) == (parts if in_c else 0), key


def test_chunks_at_odd_positions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their numbers are not where the processor would have them."""
    monkeypatch.setattr(Handle, "stays_mapped", lambda *_: True)
    data = np.arange(100 * 64, dtype="i4").reshape(100, 64)
    with h5py.File(tmp_path / "a.h5", "w", libver="latest") as file:
        # A chunk of an odd number of bytes before each of the others.
        odd = file.create_dataset("odd", (30, 15), "i1", chunks=(1, 15))
        x = file.create_dataset("x", data.shape, "i4", chunks=(10, 32))
        for row in range(10):
            odd[row] = 1
            x[10 * row : 10 * row + 10] = data[10 * row : 10 * row + 10]
    buffer = HDF5Buffer.from_path(tmp_path / "a.h5", "x")
    offsets = reader_of(buffer)._known_index().offsets
    assert (offsets % 4).any()
    window = np.s_[:, 15:83]
    np.testing.assert_array_equal(buffer.T[window], data.T[window], strict=True)


@pytest.mark.parametrize("room", [8, 5000, 1 << 18, None])
@pytest.mark.parametrize("gains", [None, 0.5])
def test_long_rows_of_plain_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int | None, gains: float | None
) -> None:
    if room is None:
        monkeypatch.setattr(Handle, "stays_mapped", lambda *_: True)
    else:
        monkeypatch.setattr(loops, "ROOM", room)
    data = np.arange(20 * 20_000, dtype="i2").reshape(20, 20_000)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=data, chunks=(4, 5000))
    buffer = HDF5Buffer.from_path(tmp_path / "a.h5", "x", units_scale=gains)
    truth = data if gains is None else (data * np.float32(gains)).astype("f4")
    out = np.full((12, 16_010), -1, truth.dtype)[:, 3:-7]
    buffer.read((slice(4, 16), slice(2000, 18_000)), out)
    np.testing.assert_array_equal(out, truth[4:16, 2000:18_000])
    assert out.base is not None
    assert (out.base[:, :3] == -1).all()
    assert (out.base[:, -7:] == -1).all()
    windows = (
        np.s_[7, 2000:18_000],
        np.s_[:, 4990:5010],
        np.s_[::2, 700],
        np.s_[1:19:3, 10:19_000:9],
        np.s_[::-1, 9000:100:-1],
        np.s_[[13, 0, 1, 13, 3]],
        np.s_[[13, 0], 100:9000:3],
        np.s_[:, 9::2100],
    )
    same(buffer, truth, windows)
    same(buffer.T, truth.T, tuple(i[::-1] for i in windows if isinstance(i, tuple)))


def test_a_plain_chunk_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=np.zeros((40, 500), "i2"), chunks=(10, 500))
    buffer = HDF5Buffer.from_path(path, "x")
    assert buffer[:5].sum() == 0
    status = os.stat(path)
    os.truncate(path, status.st_size - 4000)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(CorruptDataError, match=r"changed after it was opened.*now has"):
        buffer[:]


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
    assert 0 < flat.temporary_bytes(whole) <= 4 * TRUTH.nbytes
