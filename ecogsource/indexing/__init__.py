"""Pure index algebra: what a NumPy index means for an array of a given shape.

Nothing here touches a file or holds data. An index is normalised once, at the door, by
:func:`normalize_index` or :func:`normalize_outer`; everything below works with canonical
*selectors*, one per axis:

``int``
    one position; the axis disappears from the result;
``range``
    a slice, already clipped to the axis. Python's ``range`` is the exact algebra of slices: it
    has a length, it can be sliced again, and its step may be negative;
``numpy.ndarray``
    a one-dimensional ``int64`` list of positions, in any order, possibly repeated.

All positions are non-negative and inside the axis. A tuple of selectors is a *selection*: the
outer product that :func:`numpy.ix_` would give, with the ``int`` axes dropped.
"""

from ecogsource.indexing.blocks import BlockPlan, plan_blocks
from ecogsource.indexing.join import Piece, split_selector
from ecogsource.indexing.normalize import Index, Points, normalize_index, normalize_outer
from ecogsource.indexing.selection import (
    Selection,
    Selector,
    as_slice,
    compose_selector,
    extremes,
    increasing,
    is_unit_range,
    simplify,
)

__all__ = [
    "BlockPlan",
    "Index",
    "Piece",
    "Points",
    "Selection",
    "Selector",
    "as_slice",
    "compose_selector",
    "extremes",
    "increasing",
    "is_unit_range",
    "normalize_index",
    "normalize_outer",
    "plan_blocks",
    "simplify",
    "split_selector",
]
