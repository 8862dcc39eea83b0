"""Undoing HDF5's byte shuffle for the elements that are wanted, straight into their place.

A shuffled chunk holds first the first byte of each element, then the second byte of each, and so
on: one plane per byte. Elements are put together from the planes with whole-array shifts, only for
the rows and columns that were asked for.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ecogsource.buffers.storage import loops
from ecogsource.buffers.storage.affine import Affine
from ecogsource.buffers.storage.copying import UNSIGNED, copy_into, grid_slices
from ecogsource.buffers.storage.grid import Key, key_bounds, lowered
from ecogsource.buffers.storage.place import drop_integers, place, single_list

__all__ = ["Shuffled", "unshuffle"]

TILE_ELEMENTS = 1 << 18


class Shuffled:
    """A decoded chunk whose bytes are still shuffled.

    Parameters
    ----------
    data : bytes-like
        The planes, one after the other.
    dtype : dtype
        Type of the elements; 2, 4 or 8 bytes.
    shape : tuple of int
        Shape of the chunk.
    """

    __slots__ = ("nbytes", "planes")

    def __init__(self, data: bytes | bytearray, dtype: np.dtype, shape: tuple[int, ...]) -> None:
        planes = np.frombuffer(data, np.uint8).reshape((dtype.itemsize, *shape))
        # The most significant byte comes first below.
        self.planes = planes if dtype.byteorder == ">" else planes[::-1]
        self.nbytes = planes.nbytes

    @staticmethod
    def supports(dtype: np.dtype) -> bool:
        """Tell whether elements of a type can be put together from planes."""
        return dtype.kind in "iuf" and dtype.itemsize in (2, 4, 8)

    def place(
        self,
        local: Sequence[Key],
        out: np.ndarray,
        where: Sequence[slice | np.ndarray],
        affine: Affine | None,
        dtype: np.dtype,
    ) -> None:
        """Put a selection together in its place; see `place`.

        Parameters
        ----------
        dtype : dtype
            Native type of the elements.
        """
        keys: Sequence[Key] = (slice(None), *local)
        planes, rest = drop_integers(self.planes, keys)
        local = rest[1:]
        if not any(isinstance(key, np.ndarray) for key in (*local, *where)):
            _join(planes[(slice(None), *local)], out[(*where, ...)], affine, dtype)
            return
        rows = single_list(local, where)
        if rows is not None:
            _join_rows(planes, local, out, where, affine, dtype, rows)
            return
        low, high = zip(*(key_bounds(k) for k in local), strict=True)
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        block = np.empty([b - a for a, b in zip(low, high, strict=True)], dtype)
        _join(planes[(slice(None), *box)], block, None, dtype)
        moved = [lowered(k, a) for k, a in zip(local, low, strict=True)]
        place(block, moved, out, where, affine)


def _join_rows(
    planes: np.ndarray,
    local: Sequence[slice | np.ndarray],
    out: np.ndarray,
    where: Sequence[slice | np.ndarray],
    affine: Affine | None,
    dtype: np.dtype,
    rows: tuple[int, list[tuple[int, int]]],
) -> None:
    axis, pairs = rows
    for i, (one, to) in enumerate(pairs):
        source = (slice(None), *local[:axis], slice(one, one + 1), *local[axis + 1 :])
        target = (*where[:axis], slice(to, to + 1), *where[axis + 1 :])
        part = None
        if affine is not None:
            part = affine.at((*[slice(None)] * axis, slice(i, i + 1)))
        _join(planes[source], out[target], part, dtype)


def _join(planes: np.ndarray, target: np.ndarray, affine: Affine | None, dtype: np.dtype) -> None:
    """Put elements together in `target`, directly if it has their type and memory order."""
    if loops.join(target, planes, dtype, affine):
        return
    if target.size > TILE_ELEMENTS:
        edges, room = [1] * target.ndim, TILE_ELEMENTS
        for axis in reversed(range(target.ndim)):
            edges[axis] = max(1, min(target.shape[axis], room))
            room //= edges[axis]
        for tile in grid_slices(target.shape, edges):
            part = None if affine is None else affine.at(tile)
            _join(planes[(slice(None), *tile)], target[tile], part, dtype)
        return
    unsigned = UNSIGNED[dtype.itemsize]
    straight = target.ndim and target.strides[-1] == dtype.itemsize
    if affine is None and target.dtype == dtype and straight:
        _merge(planes, target.view(unsigned))
        return
    block = np.empty(target.shape, unsigned)
    _merge(planes, block)
    copy_into(target, block.view(dtype), affine)


def _merge(planes: np.ndarray, target: np.ndarray) -> None:
    """Combine byte planes, most significant first, into unsigned integers."""
    count = len(planes)
    if count == 2:
        high, low = planes
    else:
        half = UNSIGNED[count // 2]
        high = np.empty(target.shape, half)
        low = np.empty(target.shape, half)
        _merge(planes[: count // 2], high)
        _merge(planes[count // 2 :], low)
    # Few long calls: each lets go of the interpreter lock and must take it again.
    np.left_shift(high, target.dtype.type(4 * count), out=target, dtype=target.dtype)
    np.bitwise_or(target, low, out=target)


def unshuffle(data: bytes | bytearray | memoryview, itemsize: int) -> bytes:
    """Undo the byte shuffle of a whole buffer.

    Parameters
    ----------
    data : bytes-like
        Shuffled bytes; bytes after the last whole element are not shuffled.
    itemsize : int
        Bytes per element.
    """
    array = np.frombuffer(data, np.uint8)
    count = len(array) // itemsize
    out = np.empty(len(array), np.uint8)
    whole = out[: count * itemsize].reshape(count, itemsize)
    for plane in range(itemsize):
        whole[:, plane] = array[plane * count : (plane + 1) * count]
    out[count * itemsize :] = array[count * itemsize :]
    return out.tobytes()
