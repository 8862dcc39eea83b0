"""Chunks without filters, many at a time.

A window of all channels touches dozens of chunks, hundreds where they are small, as h5py's default
ones are. Placed one by one they cost more in bookkeeping than in bytes. So neighbours along one
axis are placed with one call: where their memory order changes, the wanted rows are read side by
side into scratch memory; where it stays, a run of chunks at equal distances, as most files have
them, is one array of the map.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias, cast

import numpy as np

from ecogsource.buffers.storage.grid import AxisPiece, Selector, axis_pieces
from ecogsource.buffers.storage.handles import Handle
from ecogsource.buffers.storage.layout import ChunkIndex, Layout
from ecogsource.buffers.storage.place import Affine, copy_into, copy_near
from ecogsource.buffers.storage.threads import run, scratch

__all__ = ["read_grouped"]

GROUP_BYTES = 1 << 20
NEAR_BYTES = 1 << 18
# Which part of the distances must be equal to look for runs of them.
REGULAR = 0.7


class _Axis:
    """The chunks that a selection touches along one axis, one after the other.

    Parameters
    ----------
    selector : int or range
        Positions wanted, not empty.
    edge : int
        Length of a chunk.

    Attributes
    ----------
    cells : list of int or slice
        Which chunks.
    count : int
        How many.
    inner : (int, int)
        From which to which of them chunks are wanted whole, in rising order.
    """

    def __init__(self, selector: int | range, edge: int) -> None:
        self._edge, self._whole = edge, slice(0, edge, 1)
        self._pieces: list[AxisPiece] | None = None
        self.inner = (0, 0)
        if isinstance(selector, range) and selector.step == 1:
            # Neighbours need no list of pieces: each is a matter of arithmetic.
            self._start, self._stop = selector.start, selector.stop
            first, end = selector.start // edge, (selector.stop - 1) // edge + 1
            self.cells: slice | list[int] = slice(first, end)
            self.count = end - first
            low, high = -(-selector.start // edge) - first, selector.stop // edge - first
            self.inner = (low, high) if low < high else (0, 0)
            self._first = first
            return
        self._pieces = axis_pieces(selector, edge)
        self.cells = [piece.cell for piece in self._pieces]
        self.count = len(self._pieces)

    def local(self, number: int) -> int | slice:
        """Return the positions wanted in a chunk."""
        if self._pieces is not None:
            return cast("int | slice", self._pieces[number].local)
        if self.inner[0] <= number < self.inner[1]:
            return self._whole
        base = (self._first + number) * self._edge
        return slice(max(0, self._start - base), min(self._edge, self._stop - base), 1)

    def where(self, begin: int, end: int) -> tuple[slice, ...]:
        """Return where in the result some chunks go; nothing for an integer."""
        if self._pieces is not None:
            where = self._pieces[begin].where
            return () if where is None else (cast("slice", where),)
        base = self._first * self._edge - self._start
        low, high = base + begin * self._edge, base + end * self._edge
        return (slice(max(0, low), min(self._stop - self._start, high), 1),)


class _Group(NamedTuple):
    """Neighbouring chunks: where they begin, what of each is wanted, where all of them go."""

    offsets: list[int]
    local: tuple[int | slice, ...]
    where: tuple[slice, ...]


_Single: TypeAlias = tuple[int, tuple["int | slice", ...], tuple[slice, ...]]


def read_grouped(
    handle: Handle,
    index: ChunkIndex,
    layout: Layout,
    selectors: Sequence[Selector],
    out: np.ndarray,
    affine: Affine | None,
) -> bool:
    """Read a selection of integers and ranges of a dataset without filters.

    Parameters
    ----------
    handle : Handle
        The file.
    index : ChunkIndex
        Where the chunks are.
    layout : Layout
        Of the dataset; chunked.
    selectors : sequence of int, range or int64 array
        Positions wanted along each axis.
    out : ndarray
        Target of the selection's shape.
    affine : Affine, optional
        One scaling for all.

    Returns
    -------
    bool
        False if there are lists in the selection, or a chunk is missing or damaged; nothing was
        read then.
    """
    lists = any(isinstance(selector, np.ndarray) for selector in selectors)
    if lists or (affine is not None and affine.varies):
        return False
    chunks = layout.chunks or ()
    nbytes = math.prod(chunks) * layout.dtype.itemsize
    axes = [
        _Axis(cast("int | range", selector), edge)
        for selector, edge in zip(selectors, chunks, strict=True)
    ]
    cells: Any = tuple(axis.cells for axis in axes)
    if not all(isinstance(part, slice) for part in cells):
        cells = np.ix_(*(np.r_[part] for part in cells))
    offsets, sizes = index.offsets[cells], index.sizes[cells]
    if offsets.min() < 0 or sizes.min() < nbytes or (offsets + sizes).max() > handle.size:
        return False
    placer = _Placer(handle, layout, out, affine)
    flat = offsets.ravel().tolist()
    handle.fetch(flat[0], flat[-1], lambda: ((offset, nbytes) for offset in flat))
    groups = placer.groups(offsets, axes)
    if groups is None:
        run(placer.place_one, list(_singles(flat, axes)), out.nbytes)
    else:
        run(placer.place, groups, out.nbytes)
    return True


def _singles(offsets: Sequence[int], axes: Sequence[_Axis]) -> Iterator[_Single]:
    """Return each chunk with what of it is wanted where."""
    numbers = [range(axis.count) for axis in axes]
    local = [[axis.local(n) for n in line] for axis, line in zip(axes, numbers, strict=True)]
    where = [[axis.where(n, n + 1) for n in line] for axis, line in zip(axes, numbers, strict=True)]
    # An integer has no axis in the result, and one chunk only.
    kept = [[w for (w,) in line] for line in where if line[0]]
    return zip(offsets, itertools.product(*local), itertools.product(*kept), strict=True)


class _Placer:
    """Cuts one read into groups, and brings each to its place."""

    def __init__(
        self, handle: Handle, layout: Layout, out: np.ndarray, affine: Affine | None
    ) -> None:
        self._handle, self._out, self._affine = handle, out, affine
        self._dtype = layout.dtype
        self._chunks = layout.chunks or ()
        sizes = [*self._chunks, layout.dtype.itemsize]
        self._nbytes = math.prod(sizes)
        self._strides = [math.prod(sizes[axis + 1 :]) for axis in range(len(self._chunks))]
        long = [abs(s) for s, n in zip(out.strides, out.shape, strict=True) if n > 1]
        # Whether neighbours in the file are no neighbours in the result.
        self._turned = bool(long) and long[-1] > min(long)
        self._split = self._edge = 0

    def groups(self, offsets: np.ndarray, axes: Sequence[_Axis]) -> list[_Group] | None:
        """Cut the chunks along the axis with most of them that are wanted whole along it.

        ``None`` if groups would hold so few chunks that looking for them does not pay.
        """
        chosen = max(range(len(axes)), key=lambda i: axes[i].inner[1] - axes[i].inner[0])
        along = axes[chosen]
        # An integer has no axis in the result.
        self._split = chosen - sum(not axis.where(0, 1) for axis in axes[:chosen])
        self._edge = self._chunks[chosen]
        if chosen < offsets.ndim - 1:
            offsets = np.moveaxis(offsets, chosen, -1)
        table = offsets.reshape(-1, along.count)
        piece = max(1, self._out.nbytes // offsets.size)
        equal = not (self._turned and _readable(axes, chosen))
        most = (GROUP_BYTES if equal else NEAR_BYTES) // piece
        if most < 2 or (equal and not _regular(table)):
            return None
        before, after = axes[:chosen], axes[chosen + 1 :]
        others = itertools.product(*(range(axis.count) for axis in (*before, *after)))
        found = []
        for line, numbers in zip(table.tolist(), others, strict=True):
            head = list(zip(before, numbers[:chosen], strict=True))
            tail = list(zip(after, numbers[chosen:], strict=True))
            keys = [[axis.local(n) for axis, n in part] for part in (head, tail)]
            wheres = [
                [w for axis, n in part for w in axis.where(n, n + 1)] for part in (head, tail)
            ]
            for start, stop in _runs(line, along.inner, most, equal=equal):
                local = (*keys[0], along.local(start), *keys[1])
                where = (*wheres[0], *along.where(start, stop), *wheres[1])
                found.append(_Group(line[start:stop], local, where))
        return found

    def place_one(self, single: _Single) -> None:
        """Bring what is wanted of one chunk to its place."""
        offset, local, where = single
        inside: Any = (*local, ...)
        outside: Any = (*where, ...)
        chunk = np.ndarray(self._chunks, self._dtype, self._handle.map(), offset)
        if self._turned or self._affine is not None:
            copy_into(self._out[outside], chunk[inside], self._affine)
        else:
            np.copyto(self._out[outside], chunk[inside], casting="unsafe")
        self._handle.touched(self._nbytes)

    def place(self, group: _Group) -> None:
        """Bring the chunks of a group to their place."""
        outside: Any = (*group.where, ...)
        target = self._out[outside]
        count = len(group.offsets)
        if count > 1:
            a, b = target.shape[: self._split], target.shape[self._split + 1 :]
            parts = target.reshape((*a, count, self._edge, *b))
            order = (self._split, *(i for i in range(parts.ndim) if i != self._split))
            target = parts.transpose(order)
        else:
            target = target[None]
        rows = self._rows(group) if self._turned else None
        if rows is None:
            copy_into(target, self._mapped(group.offsets, group.local), self._affine)
        else:
            block = self._read(group.offsets, rows)
            source = block[:, 0] if isinstance(group.local[0], int) else block
            copy_near(target, source, self._affine)

    def _rows(self, group: _Group) -> range | None:
        """Return which whole rows of each chunk are wanted; None if that is not what is wanted."""
        first, *rest = group.local
        if any(key != slice(0, n, 1) for key, n in zip(rest, self._chunks[1:], strict=True)):
            return None
        rows = range(first, first + 1) if isinstance(first, int) else range(first.start, first.stop)
        if isinstance(first, slice) and first.step != 1:
            return None
        fits = len(rows) * self._strides[0] <= GROUP_BYTES
        return rows if fits or len(group.offsets) > 1 else None

    def _read(self, offsets: Sequence[int], rows: range) -> np.ndarray:
        """Read the same rows of some chunks side by side."""
        shape = (len(offsets), len(rows), *self._chunks[1:])
        memory = scratch(math.prod(shape) * self._dtype.itemsize)
        block = np.frombuffer(memory, self._dtype).reshape(shape)
        begin = rows.start * self._strides[0]
        self._handle.read_rows(block, [offset + begin for offset in offsets])
        return block

    def _mapped(self, offsets: Sequence[int], local: tuple[int | slice, ...]) -> np.ndarray:
        """Look at what is wanted of chunks at equal distances as one array of the map."""
        count = len(offsets)
        strides = (offsets[1] - offsets[0] if count > 1 else 0, *self._strides)
        shape = (count, *self._chunks)
        data = np.ndarray(shape, self._dtype, self._handle.map(), offsets[0], strides)
        self._handle.touched(count * self._nbytes)
        return data[(slice(None), *local)]


def _readable(axes: Sequence[_Axis], chosen: int) -> bool:
    """Tell whether all chunks side by side along an axis are wanted in whole rows."""
    first = axes[0].local(0)
    return (isinstance(first, int) or first.step == 1) and all(
        number == chosen or axis.inner == (0, axis.count)
        for number, axis in enumerate(axes)
        if number
    )


def _regular(table: np.ndarray) -> bool:
    """Tell whether most chunks lie at equal distances, which pays for looking for runs of them."""
    steps = np.diff(table)
    equal = steps[:, 1:] == steps[:, :-1]
    return equal.size > 0 and bool(equal.mean() > REGULAR)


def _runs(
    line: list[int], inner: tuple[int, int], most: int, *, equal: bool
) -> Iterator[tuple[int, int]]:
    """Cut one line of chunks into (start, stop); those not wanted whole stand alone.

    Runs are at most `most` long, and at equal distances if that is asked for.
    """
    first, last = inner
    start = 0
    while start < len(line):
        stop = start + 1
        if first <= start < last - 1:
            step, end = line[stop] - line[start], min(last, start + most)
            stop = end if not equal else stop
            while stop < end and line[stop] - line[stop - 1] == step:
                stop += 1
        yield start, stop
        start = stop
