"""Every way in which an array can lie on disk or be looked at.

A layout stores an array and gives a buffer that must behave like it. A new buffer joins the
contract by a line in `LAYOUTS`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ecogsource.buffers import (
    ArrayBuffer,
    Buffer,
    BufferBinder,
    FlatBuffer,
    HDF5Buffer,
    SelectedBuffer,
    TransposedBuffer,
)

Layout = Callable[..., Buffer]
_numbers = itertools.count()


def new_file(folder: Path, suffix: str) -> Path:
    """Name a file that does not exist yet: examples of one test share a folder."""
    return folder / f"{next(_numbers)}{suffix}"


def in_memory(array: np.ndarray, folder: Path, **options: Any) -> Buffer:
    del folder
    options.pop("writeable", None)
    return ArrayBuffer(array.copy(), **options)


def flat(order: str, offset: int = 0) -> Layout:
    def store(array: np.ndarray, folder: Path, **options: Any) -> Buffer:
        path = new_file(folder, ".dat")
        path.write_bytes(b"\x7f" * offset + array.tobytes(order=order))
        return FlatBuffer(path, array.dtype, array.shape, order=order, offset=offset, **options)

    return store


def hdf5(userblock: int = 0, libver: str = "earliest", **how: Any) -> Layout:
    def store(
        array: np.ndarray, folder: Path, *, writeable: bool = False, **options: Any
    ) -> Buffer:
        path = new_file(folder, ".h5")
        keywords = dict(how)
        if "chunks" in keywords:
            # A third of every axis, so that there are whole and partial chunks.
            keywords["chunks"] = tuple(max(1, (n + 2) // 3) for n in array.shape)
            # HDF5 has no chunks in an axis without length.
            keywords["maxshape"] = (None,) * array.ndim
        with h5py.File(path, "w", userblock_size=userblock, libver=libver) as file:
            file.create_dataset("group/data", data=array, **keywords)
        mode = "r+" if writeable else "r"
        return HDF5Buffer.from_path(path, "group/data", mode=mode, **options)

    return store


def transposed(array: np.ndarray, folder: Path, **options: Any) -> Buffer:
    return TransposedBuffer(hdf5(chunks=True)(array.T, folder, **options))


def selected(array: np.ndarray, folder: Path, **options: Any) -> Buffer:
    rng = np.random.default_rng(array.size)
    places = rng.permutation(array.shape[0] + 3)[: array.shape[0]]
    full = np.zeros((array.shape[0] + 3, *array.shape[1:]), array.dtype)
    full[places] = array
    return SelectedBuffer(flat("C")(full, folder, **options), 0, places)


def bound(array: np.ndarray, folder: Path, **options: Any) -> Buffer:
    """Join one to seven parts of different layouts, some without length, along some axis."""
    rng = np.random.default_rng(array.size + array.ndim)
    axis = int(rng.integers(array.ndim))
    cuts = np.sort(rng.integers(0, array.shape[axis] + 1, rng.integers(0, 7)))
    ways = [flat("C"), hdf5(), hdf5(chunks=True, compression="gzip"), flat("F", 8)]
    parts = np.split(array, cuts, axis=axis)
    buffers = [ways[i % 4](part, folder, **options) for i, part in enumerate(parts)]
    if len(buffers) > 2:
        buffers = [BufferBinder(buffers[:2], axis), *buffers[2:]]
    return BufferBinder(buffers, axis - array.ndim)


LAYOUTS: dict[str, Layout] = {
    "array": in_memory,
    "flat C": flat("C"),
    "flat F": flat("F", offset=3),
    "hdf5 contiguous": hdf5(),
    "hdf5 userblock": hdf5(userblock=512),
    "hdf5 chunked": hdf5(chunks=True),
    "hdf5 latest": hdf5(chunks=True, libver="latest"),
    "hdf5 gzip": hdf5(chunks=True, compression="gzip"),
    "hdf5 gzip+shuffle": hdf5(chunks=True, compression="gzip", shuffle=True),
    "hdf5 lzf+fletcher32": hdf5(chunks=True, compression="lzf", fletcher32=True),
    "transposed": transposed,
    "selected": selected,
    "bound": bound,
}
