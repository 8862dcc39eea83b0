"""Which runs of bytes of a file hold a selection of an array that lies in it as in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ecogsource.buffers.storage.grid import Selector, bounds

__all__ = ["Runs"]

# Bytes that nobody asked for are read with their neighbours if there are no more of them: a call of
# the system costs as much.
GAP_BYTES = 1 << 12
# Runs of that length stay alone: so they can go straight to their place.
LONG_BYTES = 1 << 14


class Runs(NamedTuple):
    """Runs of bytes, all of the same length, that hold a selection.

    Positions of the last axes that are near each other share a run; there is one for each
    combination of the positions of the axes before.

    Parameters
    ----------
    outer : int
        How many axes are outside of the runs.
    number : int
        How many runs there are.
    offset : int
        Position of the run at position 0 of all outer axes.
    nbytes : int
        Length of one.
    apart : int
        Distance of neighbours, on average; 0 if there is one.
    plain : bool
        Whether all bytes of a run are wanted, in their order.
    """

    outer: int
    number: int
    offset: int
    nbytes: int
    apart: int
    plain: bool

    @classmethod
    def of(
        cls,
        selectors: Sequence[Selector],
        strides: Sequence[int],
        offset: int,
        itemsize: int,
        gap: int = GAP_BYTES,
    ) -> Runs:
        """Find the runs of a selection.

        Parameters
        ----------
        selectors : sequence of int, range or int64 array
            Positions wanted along each axis, not empty.
        strides : sequence of int
            Distance of neighbours along each axis in bytes, falling.
        offset : int
            Position of the array in the file.
        itemsize : int
            Bytes of an item.
        gap : int
            Positions are near each other if no more bytes are between them, on average.
        """
        nbytes, apart, plain, outer = itemsize, 0, True, len(strides)
        while outer:
            selector, stride = selectors[outer - 1], strides[outer - 1]
            if isinstance(selector, int):
                offset += selector * stride
            elif len(selector) == 1:
                offset += int(selector[0]) * stride
            else:
                n = len(selector)
                if isinstance(selector, range) and selector.step == 1 and stride == nbytes:
                    offset, nbytes = offset + selector.start * stride, n * nbytes
                    outer -= 1
                    continue
                low, high = bounds(selector)
                span = (high - low - 1) * stride + nbytes
                gaps = span - n * nbytes
                if gaps > gap * (n - 1) or (gaps > 0 and nbytes >= LONG_BYTES):
                    apart = (span - nbytes) // (n - 1)
                    break
                plain = plain and not gaps and isinstance(selector, range) and selector.step == 1
                offset, nbytes = offset + low * stride, span
            outer -= 1
        count = 1
        for selector, stride in zip(selectors[:outer], strides, strict=False):
            if isinstance(selector, int):
                offset += selector * stride
            else:
                count *= len(selector)
        return cls(outer, count, offset, nbytes, apart, plain)

    def offsets(self, selectors: Sequence[Selector], strides: Sequence[int]) -> np.ndarray:
        """Return the position of each run, in the order of the selection."""
        offsets = np.array([self.offset], dtype=np.int64)
        for selector, stride in zip(selectors[: self.outer], strides, strict=False):
            if not isinstance(selector, int):
                steps = np.asarray(selector, dtype=np.int64) * stride
                offsets = (
                    steps + offsets if len(offsets) == 1 else np.add.outer(offsets, steps).ravel()
                )
        return offsets

    def view(
        self,
        memory: memoryview | np.ndarray,
        dtype: np.dtype,
        selectors: Sequence[Selector],
        strides: Sequence[int],
    ) -> tuple[np.ndarray, list[slice | np.ndarray] | None]:
        """Look at the runs, read into memory one after the other, as at the array.

        Returns
        -------
        view : ndarray
            What is selected by integers and ranges.
        keys : list of slice or int64 array, or None
            What is wanted of it, where there are lists among the selectors of the runs.
        """
        shape, steps, keys = [], [], []
        start, left, lists = 0, self.number, False
        for axis, selector in enumerate(selectors):
            if isinstance(selector, int):
                continue
            n, step = len(selector), strides[axis]
            key: slice | np.ndarray = slice(None)
            if axis < self.outer:
                left //= n
                step = left * self.nbytes
            elif not isinstance(selector, range):
                low, high = bounds(selector)
                n, key, lists = high - low, selector - low, True
            elif selector.step < 0:
                start += (n - 1) * step * -selector.step
                step *= selector.step
            else:
                step *= selector.step
            shape.append(n)
            steps.append(step)
            keys.append(key)
        found = np.ndarray(shape, dtype, memory, start, steps)
        return found, keys if lists else None

    @property
    def total(self) -> int:
        """How many bytes all runs have."""
        return self.number * self.nbytes
