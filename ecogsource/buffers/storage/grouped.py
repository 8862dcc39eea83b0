"""Chunks without filters, many at a time: neighbours at equal distances are one array of the map.

A window of all channels touches dozens of chunks, hundreds where they are small, as h5py's default
ones are. Read one by one they cost more in bookkeeping than in bytes. Most files hold long runs of
neighbouring chunks at equal distances, and such a run is an array with one more axis: NumPy copies
it in one call, with the interpreter lock released.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, cast

import numpy as np

from ecogsource.buffers.storage.grid import AxisPiece
from ecogsource.buffers.storage.handles import Handle
from ecogsource.buffers.storage.layout import ChunkIndex, Layout
from ecogsource.buffers.storage.place import Affine, copy_into
from ecogsource.buffers.storage.threads import run

__all__ = ["read_grouped"]

GROUP_BYTES = 1 << 20
REGULAR = 0.7


class _Piece(NamedTuple):
    """What one chunk contributes along one axis; see `AxisPiece`."""

    cell: int
    local: int | slice
    where: slice | None


class _Group(NamedTuple):
    """A run of neighbouring chunks, and what of each is wanted where.

    Parameters
    ----------
    offset, step : int
        Position of the first chunk in the file, and bytes from each to the next.
    number : int
        How many chunks.
    local : tuple of int or slice
        Positions wanted in each of them.
    where : tuple of slice
        Positions in the result of all of them.
    """

    offset: int
    step: int
    number: int
    local: tuple[int | slice, ...]
    where: tuple[slice, ...]


def read_grouped(
    handle: Handle,
    index: ChunkIndex,
    layout: Layout,
    axes: Sequence[Sequence[AxisPiece]],
    out: np.ndarray,
    affine: Affine | None,
) -> bool:
    """Read a selection of integers and slices of a dataset without filters.

    Parameters
    ----------
    handle : Handle
        The file.
    index : ChunkIndex
        Where the chunks are.
    layout : Layout
        Of the dataset; chunked.
    axes : sequence of sequence of AxisPiece
        The pieces of the selection along each axis.
    out : ndarray
        Target of the selection's shape.
    affine : Affine, optional
        One scaling for all.

    Returns
    -------
    bool
        False if it is another kind of selection, or a chunk is missing or damaged; nothing was
        read then.
    """
    pieces = _slices_only(axes)
    if pieces is None or (affine is not None and affine.varies):
        return False
    chunks, dtype = layout.chunks or (), layout.dtype
    nbytes = math.prod(chunks) * dtype.itemsize
    strides = [math.prod(chunks[axis + 1 :]) * dtype.itemsize for axis in range(len(chunks))]
    cells = np.ix_(*([piece.cell for piece in line] for line in pieces))
    offsets, sizes = index.offsets[cells], index.sizes[cells]
    if offsets.min() < 0 or sizes.min() < nbytes or (offsets + sizes).max() > handle.size:
        return False
    axis, inner = _longest(pieces, chunks)
    # An integer has no axis in the result.
    split = axis - sum(line[0].where is None for line in pieces[:axis])
    order = (split, *(i for i in range(out.ndim + 1) if i != split))

    def read(group: _Group) -> None:
        outside: Any = (*group.where, ...)
        target = out[outside]
        if group.number == 1:
            chunk = np.ndarray(chunks, dtype, handle.map(), group.offset)
            inside: Any = (*group.local, ...)
            copy_into(target, chunk[inside], affine)
        else:
            a, b = target.shape[:split], target.shape[split + 1 :]
            parts = target.reshape((*a, group.number, chunks[axis], *b)).transpose(order)
            shape, steps = (group.number, *chunks), (group.step, *strides)
            data = np.ndarray(shape, dtype, handle.map(), group.offset, steps)
            copy_into(parts, data[(slice(None), *group.local)], affine)
        handle.touched(group.number * nbytes)

    most = max(1, GROUP_BYTES // max(1, out.nbytes // offsets.size))
    found = list(_groups(offsets, pieces, axis, inner, most))
    run(read, found, out.nbytes)
    return True


def _slices_only(axes: Sequence[Sequence[AxisPiece]]) -> list[list[_Piece]] | None:
    """Return the pieces of a selection, or None if there are lists among them."""
    if any(isinstance(key, np.ndarray) for line in axes for piece in line for key in piece[1:]):
        return None
    return cast("list[list[_Piece]]", axes)


def _longest(
    axes: Sequence[Sequence[_Piece]], chunks: tuple[int, ...]
) -> tuple[int, tuple[int, int]]:
    """Return the axis with most chunks side by side that are wanted whole, and which those are."""
    best, inner = 0, (0, 0)
    for axis, (pieces, edge) in enumerate(zip(axes, chunks, strict=True)):
        start = end = stop = 0
        for number, (_, local, where) in enumerate(pieces):
            if where is None or where.step != 1 or local != slice(0, edge, 1):
                continue
            # Single positions of an unsorted list look like slices, but go anywhere.
            if number != end or where.start != stop:
                start = number
            end, stop = number + 1, where.stop
            if end - start > inner[1] - inner[0]:
                best, inner = axis, (start, end)
    return best, inner


def _groups(
    offsets: np.ndarray,
    axes: Sequence[Sequence[_Piece]],
    axis: int,
    inner: tuple[int, int],
    most: int,
) -> Iterator[_Group]:
    """Cut the chunks into runs along an axis: at equal distances, at most `most` in each."""
    table = np.moveaxis(offsets, axis, -1).reshape(-1, len(axes[axis]))
    if not _regular(table):
        most = 1
    lines = table.tolist()
    others = itertools.product(*axes[:axis], *axes[axis + 1 :])
    along = axes[axis]
    for line, rest in zip(lines, others, strict=True):
        keys = [tuple(piece.local for piece in part) for part in (rest[:axis], rest[axis:])]
        before, after = (
            tuple(piece.where for piece in part if piece.where is not None)
            for part in (rest[:axis], rest[axis:])
        )
        for start, stop in _runs(line, inner, most):
            local = (*keys[0], along[start].local, *keys[1])
            first, last = along[start].where, along[stop - 1].where
            if stop - start > 1 and first and last:
                where = (*before, slice(first.start, last.stop, 1), *after)
                step = line[start + 1] - line[start]
                yield _Group(line[start], step, stop - start, local, where)
                continue
            where = (*before, *after) if first is None else (*before, first, *after)
            yield _Group(line[start], 0, 1, local, where)


def _regular(table: np.ndarray) -> bool:
    """Tell whether most lines of chunks are made of long runs, which pays for looking for them."""
    steps = np.diff(table)
    equal = steps[:, 1:] == steps[:, :-1]
    return equal.size > 0 and bool(equal.mean() > REGULAR)


def _runs(line: list[int], inner: tuple[int, int], most: int) -> Iterator[tuple[int, int]]:
    """Cut one line of chunks into (start, stop): those that are not wanted whole stand alone."""
    first, last = inner if inner[1] - inner[0] > 1 and most > 1 else (0, 0)
    for start in range(first):
        yield start, start + 1
    start = first
    while start < last:
        stop = start + 1
        if stop < last:
            step = line[stop] - line[start]
            end = min(last, start + most)
            while stop < end and line[stop] - line[stop - 1] == step:
                stop += 1
        yield start, stop
        start = stop
    for start in range(last, len(line)):
        yield start, start + 1
