"""Reading and writing an HDF5 dataset through h5py, with nothing but plain hyperslabs.

HDF5 is slow on strides, very slow on lists, and refuses falling ones. So a selection is cut into
tiles of some megabytes, aligned with the chunks; each tile is read as one bounding box with unit
steps, and NumPy does the rest. Writing does the same: a tile that is not wholly overwritten is
read, changed in memory and written back.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ecogsource.buffers.storage.affine import Affine
from ecogsource.buffers.storage.grid import (
    Box,
    Selector,
    bounds,
    boxes,
    outer_shape,
)
from ecogsource.buffers.storage.place import assign_outer, place, take_outer

if TYPE_CHECKING:
    import h5py

__all__ = ["LibraryReader", "tile_shape"]

TILE_BYTES = 4 * 2**20


def tile_shape(
    shape: Sequence[int], chunks: Sequence[int] | None, itemsize: int, limit: int = TILE_BYTES
) -> tuple[int, ...]:
    """Choose the tiles in which a dataset is read: whole chunks, at most `limit` bytes.

    Parameters
    ----------
    shape : sequence of int
        Shape of the dataset.
    chunks : sequence of int or None
        Its chunks; ``None`` if contiguous.
    itemsize : int
        Bytes per element.
    limit : int
        Largest number of bytes in a tile, if one chunk is not already larger.
    """
    base = [1] * len(shape) if chunks is None else list(chunks)
    edges = [max(1, min(c, n)) for c, n in zip(base, shape, strict=True)]
    for axis in reversed(range(len(shape))):
        room = limit // (itemsize * int(np.prod(edges)))
        if room > 1:
            whole = -(-shape[axis] // edges[axis])
            edges[axis] = max(1, min(edges[axis] * min(room, whole), shape[axis]))
    return tuple(edges)


class LibraryReader:
    """Reads and writes one dataset through h5py.

    Parameters
    ----------
    lend : callable
        Returns the open dataset; called with `lock` held.
    lock : lock
        Held while the dataset is in use.
    shape, dtype, chunks
        Of the dataset.
    """

    def __init__(
        self,
        lend: Callable[[], h5py.Dataset],
        lock: threading.RLock,
        shape: tuple[int, ...],
        dtype: np.dtype,
        chunks: tuple[int, ...] | None,
    ) -> None:
        self._lend, self._lock = lend, lock
        self.tile = tile_shape(shape, chunks, dtype.itemsize)
        self.shape, self.dtype = shape, dtype

    def temporary_bytes(self, selectors: Sequence[Selector]) -> int:
        """Return an upper bound of the bytes that reading a selection needs besides the result."""
        return int(np.prod(self._box(selectors), dtype=object)) * self.dtype.itemsize

    def _box(self, selectors: Sequence[Selector]) -> list[int]:
        spans = (bounds(s) for s in selectors)
        return [min(t, hi - lo) for t, (lo, hi) in zip(self.tile, spans, strict=True)]

    def read_into(
        self, selectors: Sequence[Selector], out: np.ndarray, affine: Affine | None
    ) -> None:
        """Read a selection into `out`, cast and scaled."""
        if not self.shape:
            with self._lock:
                value = self._lend()[()]
            place(np.asarray(value, self.dtype), (), out, (), affine)
            return
        for box in boxes(selectors, self.tile, (0,) * len(self.shape)):
            with self._lock:
                block = self._lend()[_hyperslab(box)]
            part = None if affine is None else affine.at(box.where)
            place(block, box.local, out, box.where, part)

    def write_from(self, selectors: Sequence[Selector], values: np.ndarray) -> None:
        """Write values of the selection's shape; of repeated positions the last one wins."""
        values = np.broadcast_to(values, outer_shape(selectors))
        with self._lock:
            dataset = self._lend()
            if not self.shape:
                dataset[()] = values
                return
            for box in boxes(selectors, self.tile, (0,) * len(self.shape)):
                _write_box(dataset, box, take_outer(values, box.where), self.dtype)


def _hyperslab(box: Box) -> tuple[slice, ...]:
    return tuple(slice(a, a + n) for a, n in zip(box.start, box.extent, strict=True))


def _write_box(dataset: h5py.Dataset, box: Box, values: np.ndarray, dtype: np.dtype) -> None:
    whole = all(
        isinstance(key, int) or (isinstance(key, slice) and abs(key.step) == 1) for key in box.local
    )
    slab = _hyperslab(box)
    block = np.empty(box.extent, dtype) if whole else dataset[slab]
    assign_outer(block, box.local, values)
    dataset[slab] = block
