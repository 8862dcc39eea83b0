"""Copying arrays into each other: cast, scaled and turned in one pass.

Where there are the loops in C, they do it. Else work goes tile by tile, so that what was just read
or decoded is still in the processor's cache when it is turned, cast and scaled. Either way no
temporary of the size of the result is ever made.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ecogsource.buffers.storage import loops
from ecogsource.buffers.storage.threads import scratch

if TYPE_CHECKING:
    from ecogsource.buffers.storage.affine import Affine

__all__ = ["TILE_ELEMENTS", "UNSIGNED", "copy_into", "grid_slices"]

# Smaller tiles would stay nearer to the processor, but every call lets go of the interpreter lock,
# and threads that take it from each other all the time gain nothing.
TILE_ELEMENTS = 1 << 19
# Of columns that are looked at one by one in the file: their lines stay in the cache.
COLUMN_TILE_ELEMENTS = 1 << 17
# Fewer elements are turned faster as they are.
TURNED_ELEMENTS = 1 << 12
TURNED_ROWS = 512
# Runs of bytes from that length on are copied as they lie, before they are turned.
RUN_BYTES = 16
# NumPy has a loop for each run: up to this length one loop over items is faster.
ITEM_BYTES = range(8, 512 + 1)
ITEMS = 64
# Arithmetic is done in the result if its tile is so small, or the rows of the source so short.
NEAR_ELEMENTS = 1 << 18
SHORT_ROW = 128
LINE_BYTES = 64
COLLIDING_BYTES = 256
UNSIGNED = {n: np.dtype(f"u{n}") for n in (1, 2, 4, 8)}


def copy_into(target: np.ndarray, source: np.ndarray, affine: Affine | None = None) -> None:
    """Copy an array into another of the same shape, cast and scaled on the way.

    Parameters
    ----------
    target, source : ndarray
        Same shape, any strides and dtypes; they must not overlap.
    affine : Affine, optional
        Scaling, broadcastable to `target`.

    Notes
    -----
    NumPy copies what runs the same way in both at the speed of memory, however large. Only what
    must be turned or scaled is cut into tiles that stay in the cache between the steps.
    """
    if loops.copy(target, source, affine):
        return
    turned = (
        target.ndim > 1
        and target.size >= TURNED_ELEMENTS
        and _fast_axis(target) != _fast_axis(source)
    )
    if not turned and affine is None:
        _copy(target, source)
        return
    run = _run_bytes(source) if turned else 0
    copy = _turn_tile if run >= RUN_BYTES else _copy_tile
    most = COLUMN_TILE_ELEMENTS if turned and run < RUN_BYTES else TILE_ELEMENTS
    if target.size <= most:
        copy(target, source, affine)
        return
    for tile in _tiles(target, source, most):
        copy(target[tile], source[tile], None if affine is None else affine.at(tile))


def _copy(target: np.ndarray, source: np.ndarray) -> None:
    """Copy as NumPy does, but short runs of bytes as items of one loop."""
    if target.dtype == source.dtype and target.ndim > 1:
        axis = _fast_axis(source)
        run = source.shape[axis] * source.itemsize
        if (
            run in ITEM_BYTES
            and source.size >= ITEMS * source.shape[axis]
            and source.strides[axis] == target.strides[axis] == source.itemsize
        ):
            item = np.dtype((np.void, run))
            target, source = (a.swapaxes(axis, -1).view(item) for a in (target, source))
    np.copyto(target, source, casting="unsafe")


def _copy_tile(target: np.ndarray, source: np.ndarray, affine: Affine | None) -> None:
    if affine is None:
        np.copyto(target, source, casting="unsafe")
        return
    values = target
    if target.dtype != affine.dtype:
        values = np.empty(target.shape, affine.dtype)
    _scale(values, source, affine)
    if values is not target:
        np.copyto(target, values, casting="unsafe")


def _run_bytes(source: np.ndarray) -> int:
    """Return the length of the runs of bytes that an array lies in."""
    run = source.itemsize
    for stride, n in sorted(zip(map(abs, source.strides), source.shape, strict=True)):
        if n > 1 and stride != run:
            break
        run *= n
    return run


def _turn_tile(target: np.ndarray, source: np.ndarray, affine: Affine | None) -> None:
    """Copy a tile whose memory order changes: first as it lies, to memory near the processor.

    Rows are read in streams then, and each line of memory once.
    """
    before, after = affine, None
    if affine is not None and target.dtype == affine.dtype and _better_after(target, source):
        before, after = None, affine
    dtype = target.dtype if before is None else before.dtype
    if dtype != source.dtype and _run_bytes(source) in ITEM_BYTES:
        stored = _like(source, source.dtype, "gathered")
        _copy(stored, source)
        source = stored
    values = _like(source, dtype, "turned")
    _scale(values, source, before)
    _turn(target, values, _fast_axis(target))
    _apply(target, after)


def _better_after(target: np.ndarray, source: np.ndarray) -> bool:
    """Tell whether arithmetic is faster in the rows of the result than in those of the source.

    Padded rows are loops of their own: short ones cost more than the values in them. But the rows
    of a large tile of the result have left the cache by then.
    """
    return target.size <= NEAR_ELEMENTS or source.shape[_fast_axis(source)] < SHORT_ROW


def _turn(target: np.ndarray, source: np.ndarray, axis: int) -> None:
    """Copy columns to rows, some hundred at a time, whose lines fit the innermost cache."""
    before, n = (slice(None),) * axis, target.shape[axis]
    step = _rows_at_once(abs(source.strides[axis]), n)
    for first in range(0, n, step):
        rows = (*before, slice(first, first + step))
        np.copyto(target[rows], source[rows], casting="unsafe")


def _rows_at_once(apart: int, n: int) -> int:
    """Tell how many lines of a column fit the innermost cache, of rows so many bytes apart."""
    if apart < LINE_BYTES:
        # Narrow rows share lines: all of a column fits.
        return n
    # An even number of lines apart, they use every other set of the cache: half as many fit.
    return TURNED_ROWS // 2 if apart % (2 * LINE_BYTES) == 0 else TURNED_ROWS


def _scale(values: np.ndarray, source: np.ndarray, affine: Affine | None) -> None:
    _copy(values, source)
    _apply(values, affine)


def _apply(values: np.ndarray, affine: Affine | None) -> None:
    if affine is None:
        return
    if affine.offset is not None:
        np.add(values, affine.offset, out=values)
    if affine.factor is not None:
        np.multiply(values, affine.factor, out=values)


def _like(source: np.ndarray, dtype: np.dtype, name: str) -> np.ndarray:
    """Return scratch memory with the shape and the order of axes of an array.

    Rows a multiple of 256 bytes apart would put the elements of a column on few sets of the cache,
    where they push each other out; such rows are set one cache line further apart.
    """
    strides = [0] * source.ndim
    size = dtype.itemsize
    for number, axis in enumerate(_by_distance(source)):
        if number == 1 and size % COLLIDING_BYTES == 0:
            size += LINE_BYTES
        strides[axis] = size
        size *= source.shape[axis]
    return np.ndarray(source.shape, dtype, scratch(size, name), 0, strides)


def _by_distance(array: np.ndarray) -> Sequence[int]:
    """Return the axes, that whose neighbours are closest in memory first."""
    strides = array.strides
    if len(strides) == 2:
        return (1, 0) if abs(strides[1]) <= abs(strides[0]) else (0, 1)
    return sorted(range(array.ndim - 1, -1, -1), key=lambda axis: abs(strides[axis]))


def _tiles(target: np.ndarray, source: np.ndarray, most: int) -> Iterator[tuple[slice, ...]]:
    """Cut the shape of two arrays into tiles of so many elements, compact on both sides."""
    shape = target.shape
    edges = list(shape)
    fast = {_fast_axis(target), _fast_axis(source)}
    for axis in sorted(range(len(shape)), key=lambda a: (a in fast, -abs(target.strides[a]))):
        total = math.prod(edges)
        if total <= most:
            break
        least = 256 if axis in fast else 1
        edges[axis] = min(shape[axis], max(least, edges[axis] * most // total, 1))
    return grid_slices(shape, edges)


def _fast_axis(array: np.ndarray) -> int:
    """Return the axis along which neighbours are closest in memory."""
    if array.ndim == 2:
        (n, m), (across, along) = array.shape, array.strides
        return int(m > 1 and (n <= 1 or abs(along) < abs(across)))
    fast, least = 0, -1
    for axis, (n, stride) in enumerate(zip(array.shape, array.strides, strict=True)):
        if n > 1 and (least < 0 or abs(stride) < least):
            fast, least = axis, abs(stride)
    return fast


def grid_slices(shape: Sequence[int], edges: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    """Yield the tiles of a grid over a shape, last axis fastest."""
    if not shape:
        yield ()
        return
    n, edge = shape[0], edges[0]
    for start in range(0, n, edge):
        for rest in grid_slices(shape[1:], edges[1:]):
            yield (slice(start, min(n, start + edge)), *rest)
