"""Chunks without filters, many at a time.

A window of all channels touches dozens of chunks, hundreds where they are small, as h5py's default
ones are. Placed one by one they cost more in bookkeeping than in bytes. So neighbours are placed
with one call: where columns become rows, as time x channels does, the wanted rows of chunks are
read side by side into scratch memory, a band at a time; where long rows stay rows, one call of the
system reads all chunks that follow each other in the file, each row to its place; else a run of
chunks at equal distances, as most files have them, is one array of the map.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias, cast

import numpy as np

from ecogsource.buffers.storage.affine import Affine
from ecogsource.buffers.storage.copying import copy_into, copy_near
from ecogsource.buffers.storage.grid import AxisPiece, Selector, axis_pieces, key_positions
from ecogsource.buffers.storage.handles import Handle
from ecogsource.buffers.storage.layout import ChunkIndex, Layout
from ecogsource.buffers.storage.threads import run, scratch

__all__ = ["all_there", "read_grouped"]

GROUP_BYTES = 1 << 20
NEAR_BYTES = 1 << 18
# Rows of that length are read by position, ...
ROW_BYTES = 1 << 12
# ... with one call for many if gaps are no longer than that, and than so many times what follows:
# a call costs as much as their bytes.
GAP_BYTES = 1 << 15
GAP_PER_BYTE = 2
MOST_VECTORS = 1000
# Which part of the distances must be equal to look for runs of them.
REGULAR = 0.7


class _Axis:
    """The chunks that a selection touches along one axis, one after the other.

    Parameters
    ----------
    selector : int, range or int64 array
        Positions wanted, not empty.
    edge : int
        Length of a chunk.

    Attributes
    ----------
    cells : list of int or slice
        Which chunks.
    count : int
        How many.
    edge : int
        Length of a chunk.
    inner : (int, int)
        From which to which of them chunks are wanted whole, in rising order.
    """

    def __init__(self, selector: Selector, edge: int) -> None:
        self.edge, self._whole = edge, slice(0, edge, 1)
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
        base = (self._first + number) * self.edge
        return slice(max(0, self._start - base), min(self.edge, self._stop - base), 1)

    def where(self, begin: int, end: int) -> tuple[slice, ...]:
        """Return where in the result some chunks go; nothing for an integer."""
        if self._pieces is not None:
            where = self._pieces[begin].where
            return () if where is None else (cast("slice", where),)
        base = self._first * self.edge - self._start
        low, high = base + begin * self.edge, base + end * self.edge
        return (slice(max(0, low), min(self._stop - self._start, high), 1),)


class _Band(NamedTuple):
    """Rows of chunks side by side: where they begin, how many, and where they go.

    `rows` is where in the first axis of the result; `first` is the first of the chunks.
    """

    offsets: list[int]
    rows: slice
    first: int


class _Rows(NamedTuple):
    """Rows of a line of chunks: where the chunks begin, which rows of each, where they go."""

    offsets: list[int]
    rows: Iterable[int]
    out: list[np.ndarray]


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
    *,
    complete: bool,
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
    complete : bool
        Whether all chunks of the dataset are known to be in the file.

    Returns
    -------
    bool
        False if there are lists in the selection, or a chunk is missing or damaged; nothing was
        read then.
    """
    placer = _Placer(handle, layout, out, affine)
    long_rows = placer.has_long_rows(selectors)
    lists = any(isinstance(selector, np.ndarray) for selector in selectors)
    if (lists and not long_rows) or (affine is not None and affine.varies):
        return False
    chunks = layout.chunks or ()
    nbytes = math.prod(chunks) * layout.dtype.itemsize
    axes = [_Axis(selector, edge) for selector, edge in zip(selectors, chunks, strict=True)]
    cells: Any = tuple(axis.cells for axis in axes)
    if not all(isinstance(part, slice) for part in cells):
        cells = np.ix_(*(np.r_[part] for part in cells))
    offsets = index.offsets[cells]
    if not complete and not all_there(offsets, index.sizes[cells], nbytes, handle.size):
        return False
    flat = offsets.ravel().tolist()
    handle.fetch(flat[0], flat[-1], lambda: ((offset, nbytes) for offset in flat))
    if (
        placer.turned
        and len(axes) == 2
        and all(isinstance(s, range) and s.step == 1 for s in selectors)
    ):
        run(placer.place_band, placer.bands(offsets, axes[0], axes[1]), out.nbytes)
        return True
    if long_rows:
        run(placer.place_rows, placer.rows(offsets, axes[0], axes[1]), out.nbytes)
        return True
    groups = placer.groups(offsets, axes)
    if groups is None:
        run(placer.place_one, list(_singles(flat, axes)), out.nbytes)
    else:
        run(placer.place, groups, out.nbytes)
    return True


def all_there(offsets: np.ndarray, sizes: np.ndarray, nbytes: int, end: int) -> bool:
    """Tell whether chunks of `nbytes` were all written, whole, and lie before the file's end."""
    written = bool(offsets.min() >= 0 and sizes.min() >= nbytes)
    return written and int((offsets + sizes).max()) <= end


def _positions(key: slice | np.ndarray) -> Iterable[int]:
    positions = key_positions(key)
    return positions.tolist() if isinstance(positions, np.ndarray) else cast("range", positions)


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
        self.turned = bool(long) and long[-1] > min(long)
        self._split = self._edge = 0
        self._columns: _Axis | None = None
        # Of each column of chunks: first byte in a row, how many, where they go.
        self._parts: list[tuple[int, int, slice]] = []

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
        most = GROUP_BYTES // max(1, self._out.nbytes // offsets.size)
        if most < 2 or not _regular(table):
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
            for start, stop in _runs(line, along.inner, most):
                local = (*keys[0], along.local(start), *keys[1])
                where = (*wheres[0], *along.where(start, stop), *wheres[1])
                found.append(_Group(line[start:stop], local, where))
        return found

    def bands(self, offsets: np.ndarray, rows: _Axis, columns: _Axis) -> list[_Band]:
        """Cut a table of chunks into bands of some 100 KB."""
        self._columns = columns
        width = columns.edge * self._dtype.itemsize
        step = max(1, NEAR_BYTES // width)
        found = []
        for number, line in enumerate(offsets.tolist()):
            local, (where,) = cast("slice", rows.local(number)), rows.where(number, number + 1)
            for start in range(local.start, local.stop, step):
                n = min(local.stop - start, step)
                to = slice(where.start + start - local.start, where.start + start - local.start + n)
                most = max(1, NEAR_BYTES // (n * width))
                for first in range(0, len(line), most):
                    begins = [offset + start * width for offset in line[first : first + most]]
                    found.append(_Band(begins, to, first))
        return found

    def place_band(self, band: _Band) -> None:
        """Read a band, and bring it to its place."""
        columns = cast("_Axis", self._columns)
        out, count = self._out[band.rows], len(band.offsets)
        memory = scratch(count * len(out) * columns.edge * self._dtype.itemsize)
        block = np.frombuffer(memory, self._dtype).reshape(count, len(out), columns.edge)
        self._handle.read_rows(block, band.offsets)
        low, high = (min(max(n - band.first, 0), count) for n in columns.inner)
        if low < high:
            (where,) = columns.where(band.first + low, band.first + high)
            target = out[:, where].reshape(len(out), high - low, columns.edge)
            copy_near(target.transpose(1, 0, 2), block[low:high], self._affine)
        for number in (*range(low), *range(max(low, high), count)):
            (where,) = columns.where(band.first + number, band.first + number + 1)
            local: Any = columns.local(band.first + number)
            copy_near(out[:, where], block[number, :, local], self._affine)

    def has_long_rows(self, selectors: Sequence[Selector]) -> bool:
        """Tell whether what is wanted is rows of numbers as they are stored, and long ones."""
        columns, out = selectors[-1], self._out
        return (
            len(selectors) == 2
            and not self.turned
            and self._affine is None
            and out.dtype == self._dtype
            and isinstance(columns, range)
            and columns.step == 1
            and out.strides[-1] == self._dtype.itemsize
            and min(self._chunks[1], len(columns)) * self._dtype.itemsize >= ROW_BYTES
        )

    def rows(self, offsets: np.ndarray, rows: _Axis, columns: _Axis) -> list[_Rows]:
        """Cut a table of chunks into its lines."""
        itemsize = self._dtype.itemsize
        for number in range(columns.count):
            local, (where,) = (
                cast("slice", columns.local(number)),
                columns.where(number, number + 1),
            )
            first, end = local.start * itemsize, local.stop * itemsize
            self._parts.append((first, end - first, where))
        found = []
        for number, line in enumerate(offsets.tolist()):
            wanted, places = rows.local(number), rows.where(number, number + 1)
            if isinstance(wanted, int):
                # It has no axis in the result.
                found.append(_Rows(line, [wanted], [self._out]))
                continue
            out = [self._out[place] for place in _positions(places[0])]
            found.append(_Rows(line, _positions(wanted), out))
        return found

    def place_rows(self, wanted: _Rows) -> None:
        """Read rows of a line of chunks to their place, with few calls."""
        width, unwanted = self._strides[0], scratch(GAP_BYTES)
        starts = [row * width for row in wanted.rows]
        vector: list[Any] = []
        begin = end = 0
        for offset, (first, nbytes, where) in zip(wanted.offsets, self._parts, strict=True):
            most = min(GAP_BYTES, GAP_PER_BYTE * nbytes)
            for start, line in zip(starts, wanted.out, strict=True):
                position = offset + start + first
                gap = position - end
                if not vector:
                    begin = position
                elif not 0 <= gap <= most or len(vector) > MOST_VECTORS:
                    self._handle.read_vector(vector, begin, end - begin)
                    vector, begin = [], position
                elif gap:
                    vector.append(unwanted[:gap])
                vector.append(line[where])
                end = position + nbytes
        self._handle.read_vector(vector, begin, end - begin)

    def place_one(self, single: _Single) -> None:
        """Bring what is wanted of one chunk to its place."""
        offset, local, where = single
        inside: Any = (*local, ...)
        outside: Any = (*where, ...)
        chunk = np.ndarray(self._chunks, self._dtype, self._handle.map(), offset)
        if self.turned or self._affine is not None:
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
        copy_into(target, self._mapped(group.offsets, group.local), self._affine)

    def _mapped(self, offsets: Sequence[int], local: tuple[int | slice, ...]) -> np.ndarray:
        """Look at what is wanted of chunks at equal distances as one array of the map."""
        count = len(offsets)
        strides = (offsets[1] - offsets[0] if count > 1 else 0, *self._strides)
        shape = (count, *self._chunks)
        data = np.ndarray(shape, self._dtype, self._handle.map(), offsets[0], strides)
        self._handle.touched(count * self._nbytes)
        return data[(slice(None), *local)]


def _regular(table: np.ndarray) -> bool:
    """Tell whether most chunks lie at equal distances, which pays for looking for runs of them."""
    steps = np.diff(table)
    equal = steps[:, 1:] == steps[:, :-1]
    return equal.size > 0 and bool(equal.mean() > REGULAR)


def _runs(line: list[int], inner: tuple[int, int], most: int) -> Iterator[tuple[int, int]]:
    """Cut one line of chunks into (start, stop); those not wanted whole stand alone.

    Runs are of at most `most` chunks at equal distances.
    """
    first, last = inner
    start = 0
    while start < len(line):
        stop = start + 1
        if first <= start < last - 1:
            step, end = line[stop] - line[start], min(last, start + most)
            while stop < end and line[stop] - line[stop - 1] == step:
                stop += 1
        yield start, stop
        start = stop
