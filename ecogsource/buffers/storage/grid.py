"""Cutting a selection along the regular grid of chunks or tiles.

A selection is a tuple of selectors, one per axis: an ``int`` (the axis is dropped from the
result), a ``range`` of positions (any step) or a 1-D ``int64`` array (any order, with repeats). All
positions are in bounds. The functions here are pure arithmetic: they say, for each grid cell that a
selection touches, which positions inside the cell are wanted and where in the result they go.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from ecogsource.indexing import extremes

__all__ = [
    "AxisPiece",
    "Box",
    "BoxPiece",
    "Key",
    "Part",
    "Selector",
    "axis_pieces",
    "bounds",
    "boxes",
    "ends",
    "key_bounds",
    "key_count",
    "length",
    "lowered",
    "outer_shape",
    "parts",
    "slice_of",
    "tidy",
]

# Longer lists inside one cell are cut, so that what is gathered at once stays small.
LIST_LENGTH = 1 << 14

Selector: TypeAlias = "int | range | np.ndarray"
Key: TypeAlias = "int | slice | np.ndarray"


class AxisPiece(NamedTuple):
    """What one grid cell contributes along one axis.

    Parameters
    ----------
    cell : int
        Number of the cell along the axis.
    local : int, slice or int64 array
        Positions wanted, counted from the start of the cell; slices have positive steps.
    where : slice, int64 array or None
        Positions in the result; ``None`` where an integer dropped the axis.
    """

    cell: int
    local: Key
    where: slice | np.ndarray | None


def length(selector: Selector) -> int:
    """Return how many positions a selector names; an integer names one."""
    return 1 if isinstance(selector, int) else len(selector)


def outer_shape(selectors: Sequence[Selector]) -> tuple[int, ...]:
    """Return the shape of a selection: one length per axis, integer axes dropped."""
    return tuple(len(s) for s in selectors if not isinstance(s, int))


def bounds(selector: Selector) -> tuple[int, int]:
    """Return the half-open interval that encloses the positions of a selector."""
    if isinstance(selector, int):
        return selector, selector + 1
    if len(selector) == 0:
        return 0, 0
    if isinstance(selector, range):
        first, last = selector[0], selector[-1]
        return (first, last + 1) if first <= last else (last, first + 1)
    low, high = extremes(selector)
    return low, high + 1


def ends(selector: Selector) -> tuple[int, int]:
    """Return the first and the last position that a selector names."""
    if isinstance(selector, int):
        return selector, selector
    return int(selector[0]), int(selector[-1])


def slice_of(positions: range) -> slice:
    """Return the slice that selects the positions of a non-empty range."""
    step = positions.step
    if step > 0:
        return slice(positions.start, positions.stop, step)
    stop = positions[-1] - 1
    return slice(positions.start, None if stop < 0 else stop, step)


def key_count(key: Key) -> int:
    """Return how many positions a key names; an integer names one."""
    if isinstance(key, int):
        return 1
    return len(_range_of(key)) if isinstance(key, slice) else len(key)


def key_bounds(key: Key) -> tuple[int, int]:
    """Return the half-open interval that encloses the positions of a key."""
    return bounds(_range_of(key) if isinstance(key, slice) else key)


def lowered(key: Key, low: int) -> Key:
    """Return a key counted from `low` instead of from 0."""
    if isinstance(key, slice):
        stop = None if key.stop is None or key.stop < low else key.stop - low
        return slice(key.start - low, stop, key.step)
    return key - low


def _range_of(key: slice) -> range:
    return range(key.start, -1 if key.stop is None else key.stop, key.step)


def tidy(positions: np.ndarray) -> slice | np.ndarray:
    """Return the slice equal to an array of positions if there is one, else the array.

    Parameters
    ----------
    positions : ndarray of int64, shape (n,)
        Non-negative positions, n >= 1.
    """
    n = len(positions)
    first = int(positions[0])
    if n == 1:
        return slice(first, first + 1, 1)
    step = int(positions[1]) - first
    if step == 0 or int(positions[-1]) - first != step * (n - 1):
        return positions
    if n > 2 and not (np.diff(positions) == step).all():
        return positions
    return slice_of(range(first, first + step * n, step))


def axis_pieces(selector: Selector, cell_length: int) -> list[AxisPiece]:
    """Cut one selector along a regular grid.

    Parameters
    ----------
    selector : int, range or int64 array
        Positions wanted along the axis.
    cell_length : int
        Length of the grid's cells, at least 1.

    Returns
    -------
    list of AxisPiece
        One piece per touched cell (more where a list is very long), in ascending order of cells.

    Examples
    --------
    >>> [(p.cell, p.local, p.where) for p in axis_pieces(range(3, 9, 2), 4)]
    [(0, slice(3, 4, 2), slice(0, 1, 1)), (1, slice(1, 4, 2), slice(1, 3, 1))]
    """
    if isinstance(selector, int):
        cell, local = divmod(selector, cell_length)
        return [AxisPiece(cell, local, None)]
    if len(selector) == 0:
        return []
    if isinstance(selector, range):
        return _range_pieces(selector, cell_length)
    return list(_array_pieces(selector, cell_length))


def _range_pieces(positions: range, cell_length: int) -> list[AxisPiece]:
    """Cut a non-empty range; a falling one is read upwards and placed downwards."""
    n, falling = len(positions), positions.step < 0
    if falling:
        positions = positions[::-1]
    start, step, last = positions[0], positions.step, positions[-1]
    if step == 1 and not falling:
        return _neighbours(start, last + 1, cell_length)
    pieces = []
    begin, position = 0, start
    while position <= last:
        cell = position // cell_length
        base = cell * cell_length
        end = min(n, (base + cell_length - 1 - start) // step + 1)
        final = start + (end - 1) * step
        local = slice(position - base, final - base + 1, step)
        where = slice(begin, end, 1)
        if falling:
            where = slice_of(range(n - 1 - begin, n - 1 - end, -1))
        pieces.append(AxisPiece(cell, local, where))
        begin, position = end, start + end * step
    return pieces


def _neighbours(start: int, stop: int, cell_length: int) -> list[AxisPiece]:
    """Cut a run of neighbours: whole cells, but for the first and the last."""
    whole = slice(0, cell_length, 1)
    cells = range(start // cell_length, (stop - 1) // cell_length + 1)
    bases = range(cells.start * cell_length - start, stop, cell_length)
    pieces = [
        AxisPiece(cell, whole, slice(base, base + cell_length, 1))
        for cell, base in zip(cells, bases, strict=False)
    ]
    for number in {0, len(pieces) - 1}:
        cell = cells[number]
        base = cell * cell_length
        low, high = max(start, base), min(stop, base + cell_length)
        local, where = slice(low - base, high - base, 1), slice(low - start, high - start, 1)
        pieces[number] = AxisPiece(cell, local, where)
    return pieces


def _array_pieces(positions: np.ndarray, cell_length: int) -> Iterable[AxisPiece]:
    """Cut a non-empty array; a stable sort keeps repeats in order, so that the last write wins."""
    cells = positions // cell_length
    order: np.ndarray | None = None
    if (cells[1:] < cells[:-1]).any():
        order = np.argsort(cells, kind="stable")
        cells = cells[order]
    edges = np.flatnonzero(cells[1:] != cells[:-1]) + 1
    starts = [0, *edges.tolist()]
    stops = [*edges.tolist(), len(positions)]
    pieces = (
        (low, min(low + LIST_LENGTH, stop))
        for start, stop in zip(starts, stops, strict=True)
        for low in range(start, stop, LIST_LENGTH)
    )
    for begin, end in pieces:
        cell = int(cells[begin])
        if order is None:
            where: slice | np.ndarray = slice(begin, end, 1)
            chosen = positions[begin:end]
        else:
            where = tidy(order[begin:end])
            chosen = positions[order[begin:end]]
        yield AxisPiece(cell, tidy(chosen - cell * cell_length), where)


class Part(NamedTuple):
    """A part of a selection.

    Parameters
    ----------
    selectors : tuple of int, range or int64 array
        Positions in the array, one per axis.
    where : tuple of slice
        Positions in the result, one per axis of the result.
    """

    selectors: tuple[Selector, ...]
    where: tuple[slice, ...]


def parts(selectors: Sequence[Selector], size: int) -> list[Part]:
    """Cut a selection into parts of at most `size` elements, long along the last axes.

    Parameters
    ----------
    selectors : sequence of int, range or int64 array
        One per axis, none of them empty.
    size : int
        Largest number of elements of a part, at least 1.
    """
    axes: list[list[tuple[Selector, slice | None]]] = []
    room = size
    for selector in reversed(selectors):
        if isinstance(selector, int):
            axes.append([(selector, None)])
            continue
        edge = max(1, min(len(selector), room))
        room //= edge
        starts = range(0, len(selector), edge)
        axes.append([(_short(selector[i : i + edge]), slice(i, i + edge, 1)) for i in starts])
    return [
        Part(tuple(s for s, _ in cut), tuple(w for _, w in cut if w is not None))
        for cut in itertools.product(*reversed(axes))
    ]


def _short(positions: range | np.ndarray) -> range | np.ndarray:
    key = positions if isinstance(positions, range) else tidy(positions)
    return _range_of(key) if isinstance(key, slice) else key


class BoxPiece(NamedTuple):
    """One axis of a box: the interval that encloses a piece, and the piece inside it.

    Parameters
    ----------
    start, extent : int
        The interval along the axis.
    local : int, slice or int64 array
        Positions wanted, counted from `start`.
    where : slice, int64 array or None
        Positions in the result; ``None`` where an integer dropped the axis.
    """

    start: int
    extent: int
    local: Key
    where: slice | np.ndarray | None


class Box(NamedTuple):
    """A box of an array, and what of it is wanted where.

    Parameters
    ----------
    start, extent : tuple of int
        Lowest corner and shape of the box.
    local : tuple of int, slice or int64 array
        Positions wanted, counted from the corner.
    where : tuple of slice or int64 array
        Positions in the result, one per axis of the result.
    """

    start: tuple[int, ...]
    extent: tuple[int, ...]
    local: tuple[Key, ...]
    where: tuple[slice | np.ndarray, ...]


def boxes(
    selectors: Sequence[Selector], edges: Sequence[int], origin: Sequence[int]
) -> Iterator[Box]:
    """Cut a selection into boxes along a regular grid.

    Parameters
    ----------
    selectors : sequence of int, range or int64 array
        One per axis.
    edges : sequence of int
        Lengths of the grid's cells.
    origin : sequence of int
        A corner of the grid, not above any selected position.
    """
    axes = [
        [_box_piece(piece, edge, low) for piece in axis_pieces(_lower(selector, low), edge)]
        for selector, edge, low in zip(selectors, edges, origin, strict=True)
    ]
    for pieces in itertools.product(*axes):
        start, extent, local, where = zip(*pieces, strict=True) if pieces else ((),) * 4
        yield Box(start, extent, local, tuple(key for key in where if key is not None))


def _lower(selector: Selector, low: int) -> Selector:
    if low == 0:
        return selector
    if isinstance(selector, range):
        return range(selector.start - low, selector.stop - low, selector.step)
    return selector - low


def _box_piece(piece: AxisPiece, edge: int, low: int) -> BoxPiece:
    start = low + piece.cell * edge
    local = piece.local
    if isinstance(local, int):
        return BoxPiece(start + local, 1, 0, None)
    first, end = key_bounds(local)
    return BoxPiece(start + first, end - first, lowered(local, first), piece.where)
