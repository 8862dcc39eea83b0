"""Reading and writing scattered points, for indices that pair their lists.

``x[[3, 900], [7, 2]]`` names two elements, not four. Storage reads outer products, so points
are gathered into boxes: the outer product of the positions that occur on each axis. A box that
would hold much more than its points is split in two.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from ecogsource.indexing import Points, Selection, simplify

if TYPE_CHECKING:
    from ecogsource.buffers.base import Buffer

# A box may hold this many times its points, or this many elements, whichever is more.
_WASTE = 16
_SMALL_BOX = 1 << 14
# And never more elements than this beside the result.
_LARGEST_BOX = 1 << 22


def read(buffer: Buffer, points: Points, out: np.ndarray) -> None:
    """Read points.

    Parameters
    ----------
    buffer : Buffer
        What is read.
    points : Points
        The points and the ranges of the other axes.
    out : numpy.ndarray
        One row per point: shape ``(points, *lengths of the ranges)``.
    """
    for rows, box, corner in _boxes(points, prod(out.shape[1:])):
        values = np.empty(box.shape, buffer.dtype)
        buffer.read_into(box, values)
        out[rows] = _paired_axes_first(values, points)[corner]


def write(buffer: Buffer, points: Points, values: np.ndarray) -> None:
    """Write points; where a point is named twice its last value stays.

    Parameters
    ----------
    buffer : Buffer
        What is written.
    points : Points
        The points and the ranges of the other axes.
    values : numpy.ndarray
        One row per point.
    """
    for rows, box, corner in _boxes(points, prod(values.shape[1:])):
        current = np.empty(box.shape, buffer.dtype)
        buffer.read_into(box, current)
        _paired_axes_first(current, points)[corner] = values[rows]
        buffer.write_from(box, current)


def _paired_axes_first(values: np.ndarray, points: Points) -> np.ndarray:
    return np.moveaxis(values, points.axes, range(len(points.axes)))


def _boxes(
    points: Points, row_size: int
) -> Iterator[tuple[np.ndarray, Selection, tuple[np.ndarray, ...]]]:
    """Give numbers of points, the box that holds them, and where in the box they are."""
    pending = [np.arange(len(points.positions[0]))]
    while pending:
        rows = pending.pop()
        found = [np.unique(p[rows], return_inverse=True) for p in points.positions]
        sizes = [len(positions) for positions, _ in found]
        elements = prod(sizes)
        wasteful = elements > max(_WASTE * len(rows), _SMALL_BOX // max(1, row_size))
        too_large = elements * row_size > _LARGEST_BOX
        if (wasteful or too_large) and elements > 1:
            longest = sizes.index(max(sizes))
            low = found[longest][1].reshape(-1) < sizes[longest] // 2
            pending += [rows[~low], rows[low]]
            continue
        selectors = list(points.selectors)
        for axis, (positions, _) in zip(points.axes, found, strict=True):
            selectors[axis] = simplify(positions)
        corner = tuple(inverse.reshape(-1) for _, inverse in found)
        yield rows, Selection.of(tuple(selectors)), corner  # type: ignore[arg-type]
