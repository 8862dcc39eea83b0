"""Splitting a selector over parts that lie end to end."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ecogsource.indexing.selection import Selector, simplify


class Piece(NamedTuple):
    """What one part of a join contributes.

    Parameters
    ----------
    part : int
        Number of the part.
    selector : int, range or numpy.ndarray
        Positions inside that part.
    where : slice, numpy.ndarray or None
        Where they go along the axis of the result; None if the axis is dropped.
    """

    part: int
    selector: Selector
    where: slice | np.ndarray | None


def split_selector(selector: Selector, offsets: Sequence[int]) -> list[Piece]:
    """Split a selector over the parts of a join.

    The first part is found by bisection, so the cost depends on the parts that are touched and
    hardly on how many there are.

    Parameters
    ----------
    selector : int, range or numpy.ndarray
        Positions in the whole.
    offsets : sequence of int
        Where each part begins, and last the total length: ``len(parts) + 1`` rising numbers.
        Parts may be empty.

    Returns
    -------
    list of Piece
        One piece per part that is touched, in the order of the result where that is possible.
        Together they cover the result exactly once.

    Examples
    --------
    >>> for piece in split_selector(range(3, 7), [0, 5, 10]):
    ...     print(*piece)
    0 range(3, 5) slice(0, 2, None)
    1 range(0, 2) slice(2, 4, None)
    """
    if isinstance(selector, int):
        part = bisect_right(offsets, selector) - 1
        return [Piece(part, selector - offsets[part], None)]
    if isinstance(selector, range):
        return _split_range(selector, offsets)
    return _split_list(selector, offsets)


def _split_range(selector: range, offsets: Sequence[int]) -> list[Piece]:
    pieces = []
    step, count, done = selector.step, len(selector), 0
    while done < count:
        position = selector[done]
        part = bisect_right(offsets, position) - 1
        start = offsets[part]
        last = offsets[part + 1] - 1 if step > 0 else start
        run = min((last - position) // step + 1, count - done)
        inside = range(position - start, position - start + run * step, step)
        pieces.append(Piece(part, inside, slice(done, done + run)))
        done += run
    return pieces


def _split_list(selector: np.ndarray, offsets: Sequence[int]) -> list[Piece]:
    parts = np.searchsorted(offsets, selector, side="right") - 1
    borders = np.flatnonzero(np.diff(parts)) + 1
    edges = [0, *borders.tolist(), len(parts)] if len(parts) else []
    runs = [(int(parts[low]), slice(low, high)) for low, high in pairwise(edges)]
    if len({part for part, _ in runs}) == len(runs):
        return [
            Piece(part, simplify(selector[where] - offsets[part]), where) for part, where in runs
        ]
    # The list goes back and forth between parts: gather, so that each part is read once.
    pieces = []
    for part in np.unique(parts).tolist():
        places = np.flatnonzero(parts == part)
        pieces.append(Piece(part, simplify(selector[places] - offsets[part]), places))
    return pieces
