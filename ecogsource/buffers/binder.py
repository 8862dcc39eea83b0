"""Buffers end to end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from ecogsource.buffers.base import Buffer
from ecogsource.errors import JoinError
from ecogsource.indexing import Selection, split_selector


class BufferBinder(Buffer):
    """Any number of buffers joined along an axis, without copying anything.

    Parameters
    ----------
    buffers : sequence of Buffer
        The parts, in order. Binders along the same axis are taken apart, so that a join of
        joins is as flat as a join of its files.
    axis : int
        The axis along which they lie end to end.

    Attributes
    ----------
    buffers : tuple of Buffer
        The parts.
    axis : int
        The axis of the join, counted from the start.
    filenames : tuple of (str or None)
        File of each part.

    Raises
    ------
    JoinError
        If there is nothing to join, or if parts differ in type, in shape off the axis, or in
        whether they can be written; the message names the odd file.
    """

    def __init__(self, buffers: Sequence[Buffer], axis: int = -1) -> None:
        parts = list(buffers)
        if not parts:
            raise JoinError("there is nothing to join: the sequence of buffers is empty")
        ndim = parts[0].ndim
        if not -ndim <= axis < ndim:
            raise JoinError(f"cannot join along axis {axis}: the data have {ndim} dimensions")
        self.axis = axis % ndim
        self.buffers = tuple(_flatten(parts, self.axis))
        _check_same(self.buffers, self.axis)
        first = self.buffers[0]
        lengths = [part.shape[self.axis] for part in self.buffers]
        self._offsets = [0, *accumulate(lengths)]
        shape = list(first.shape)
        shape[self.axis] = self._offsets[-1]
        super().__init__(
            tuple(shape), first.map_dtype, chunks=first.chunks, writeable=first.writeable
        )
        self.dtype = first.dtype
        self.units_scale = first.units_scale
        self.filenames = tuple(part.filename for part in self.buffers)

    def _read_into(self, selection: Selection, out: np.ndarray) -> None:
        for part, inside, place, scattered in self._pieces(selection):
            if scattered:
                values = np.empty(inside.shape, self.dtype)
                part.read_into(inside, values)
                out[place] = values
            else:
                part.read_into(inside, out[place])

    def write_from(self, selection: Selection, values: np.ndarray) -> None:
        """Write values across the parts; see :meth:`Buffer.write_from`."""
        if not self._may_write() or not selection.size:
            return
        values = np.broadcast_to(values, selection.shape)
        for part, inside, place, _ in self._pieces(selection):
            part.write_from(inside, values[place])

    def _temporary_bytes(self, selection: Selection) -> int:
        largest = 0
        for part, inside, _, scattered in self._pieces(selection):
            own = part._temporary_bytes(inside)
            if scattered:
                own += inside.size * self.dtype.itemsize
            largest = max(largest, own)
        return largest

    def _pieces(
        self, selection: Selection
    ) -> Iterator[tuple[Buffer, Selection, tuple[Any, ...], bool]]:
        """Give each part that is touched, its selection, where that goes, and if scattered."""
        selectors, axis = selection.selectors, self.axis
        lead = tuple(slice(None) for s in selectors[:axis] if not isinstance(s, int))
        for number, selector, where in split_selector(selectors[axis], self._offsets):
            inside = Selection.of((*selectors[:axis], selector, *selectors[axis + 1 :]))
            # The ellipsis keeps a result without dimensions an array.
            place = (...,) if where is None else (*lead, where)
            yield self.buffers[number], inside, place, isinstance(where, np.ndarray)

    @property
    def raw(self) -> Buffer:
        """The join of the parts as stored, without scales."""
        if all(part.raw is part for part in self.buffers):
            return self
        return BufferBinder([part.raw for part in self.buffers], self.axis)

    def close(self) -> None:
        """Let go of the files of all parts."""
        for part in self.buffers:
            part.close()

    def __add__(self, other: Buffer) -> BufferBinder:
        return BufferBinder([self, other], self.axis)

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} of {len(self.buffers)} parts along axis {self.axis}, "
            f"shape={self.shape}, dtype={self.dtype.name}, "
            f"{'writeable' if self.writeable else 'read-only'}>"
        )


def _flatten(buffers: Sequence[Buffer], axis: int) -> Iterator[Buffer]:
    for buffer in buffers:
        if isinstance(buffer, BufferBinder) and buffer.axis == axis:
            yield from buffer.buffers
        else:
            yield buffer


def _check_same(buffers: Sequence[Buffer], axis: int) -> None:
    """Refuse parts that do not fit, naming those in the minority."""
    traits: dict[str, list[Any]] = {
        "number of dimensions": [b.ndim for b in buffers],
        "dtype": [b.dtype.str for b in buffers],
        "shape off the axis": [b.shape[:axis] + b.shape[axis + 1 :] for b in buffers],
        "write mode": ["writeable" if b.writeable else "read-only" for b in buffers],
    }
    for name, values in traits.items():
        usual, count = Counter(values).most_common(1)[0]
        if count == len(values):
            continue
        odd = next(i for i, value in enumerate(values) if value != usual)
        raise JoinError(
            f"cannot join: part {odd} ({buffers[odd].filename or buffers[odd]!r}) has {name} "
            f"{values[odd]}, {count} of the {len(values)} parts have {usual}"
        )
