"""Cutting an axis into blocks."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import overload

from ecogsource.indexing.selection import as_slice


class BlockPlan(Sequence[slice]):
    """The blocks of an axis, as slices made when they are asked for.

    Made by :func:`plan_blocks`. A plan takes no memory per block, so that a recording of any
    length can be planned.
    """

    __slots__ = ("_count", "_length", "_reverse", "_start", "_step", "_stop")

    def __init__(
        self, start: int, stop: int, length: int, step: int, *, count: int, reverse: bool
    ) -> None:
        self._start, self._stop, self._length, self._step = start, stop, length, step
        self._count, self._reverse = count, reverse

    @property
    def block_length(self) -> int:
        """Length of a block that is full."""
        return self._length

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> slice: ...
    @overload
    def __getitem__(self, index: slice) -> list[slice]: ...
    def __getitem__(self, index: int | slice) -> slice | list[slice]:
        if isinstance(index, slice):
            return [self[i] for i in range(self._count)[index]]
        number = range(self._count)[index]
        if self._reverse:
            number = self._count - 1 - number
        start = self._start + number * self._step
        stop = min(start + self._length, self._stop)
        return as_slice(range(stop - 1, start - 1, -1)) if self._reverse else slice(start, stop)

    def __repr__(self) -> str:
        return (
            f"<{self._count} blocks of {self._length} from {self._start} to {self._stop}, "
            f"every {self._step}{', reversed' if self._reverse else ''}>"
        )


def plan_blocks(
    size: int,
    block_length: int,
    overlap: int = 0,
    start_offset: int = 0,
    *,
    reverse: bool = False,
    partial_block: bool = True,
) -> BlockPlan:
    """Cut an axis into blocks of equal length.

    Parameters
    ----------
    size : int
        Length of the axis.
    block_length : int
        Length of a block.
    overlap : int
        How many positions neighbouring blocks share; less than `block_length`.
    start_offset : int
        Where the first block starts.
    reverse : bool
        Give the same blocks last first, each as a slice of step -1, so that the blocks follow
        one another in the reversed array.
    partial_block : bool
        Whether to give the last block if the axis ends before it is full. A rest that the last
        full block already covers never becomes a block of its own.

    Returns
    -------
    BlockPlan
        A sequence of slices.

    Raises
    ------
    ValueError
        If `block_length` is not positive, `overlap` is negative or not less than it, or
        `start_offset` is negative.

    Examples
    --------
    >>> list(plan_blocks(10, 4, overlap=1))
    [slice(0, 4, None), slice(3, 7, None), slice(6, 10, None)]
    """
    size, block_length = operator.index(size), operator.index(block_length)
    overlap, start_offset = operator.index(overlap), operator.index(start_offset)
    if block_length < 1:
        raise ValueError(f"block_length is {block_length}; a block needs at least 1 sample")
    if not 0 <= overlap < block_length:
        raise ValueError(
            f"overlap is {overlap}; it must be from 0 to {block_length - 1}, "
            f"less than block_length ({block_length})"
        )
    if start_offset < 0:
        raise ValueError(f"start_offset is {start_offset}; it cannot be negative")
    step = block_length - overlap
    full = max(0, (size - start_offset - block_length) // step + 1)
    covered = start_offset + (full - 1) * step + block_length if full else start_offset
    count = full + (1 if partial_block and covered < size else 0)
    return BlockPlan(start_offset, size, block_length, step, count=count, reverse=reverse)
