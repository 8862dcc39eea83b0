"""An array in memory, behind the same door as arrays on disk."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ecogsource.buffers.base import Buffer
from ecogsource.indexing import Selection, Selector, as_slice


class ArrayBuffer(Buffer):
    """A NumPy array (or memory map) as a buffer.

    Parameters
    ----------
    array : array_like
        The data. An ``ndarray`` is used as it is, not copied.
    units_scale : float or (offset, factor), optional
        ``value = (stored + offset) * factor``.
    writeable : bool, optional
        Whether it can be written; by default if the array can.

    Attributes
    ----------
    array : numpy.ndarray
        The data.
    """

    def __init__(
        self, array: ArrayLike, units_scale: Any = None, *, writeable: bool | None = None
    ) -> None:
        self.array = np.asanyarray(array)
        filename = getattr(self.array, "filename", None)
        super().__init__(
            self.array.shape,
            self.array.dtype,
            units_scale=units_scale,
            filename=None if filename is None else str(filename),
            writeable=self.array.flags.writeable if writeable is None else writeable,
        )

    def _read_into(self, selection: Selection, out: np.ndarray) -> None:
        values, rest = _basic_part(self.array, selection.selectors)
        if rest is not None:
            values = values[rest]
        if self._scale is None:
            np.copyto(out, values, casting="same_kind")
        else:
            self._scale.select(selection.selectors).convert(values, out)

    def _write_from(self, selection: Selection, values: np.ndarray) -> None:
        target, rest = _basic_part(self.array, selection.selectors)
        if rest is None:
            np.copyto(target, values, casting="unsafe")
        else:
            target[rest] = values

    def _temporary_bytes(self, selection: Selection) -> int:
        if any(isinstance(s, np.ndarray) for s in selection.selectors):
            return selection.size * self.map_dtype.itemsize
        return 0


def _basic_part(
    array: np.ndarray, selectors: tuple[Selector, ...]
) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
    """View what ints and ranges select, and the index for the lists that are left, if any."""
    basic = tuple(
        s if isinstance(s, int) else as_slice(s) if isinstance(s, range) else slice(None)
        for s in selectors
    )
    view = array[(*basic, ...)]
    kept = [s for s in selectors if not isinstance(s, int)]
    if not any(isinstance(s, np.ndarray) for s in kept):
        return view, None
    lists = [np.arange(len(s)) if isinstance(s, range) else s for s in kept]
    return view, np.ix_(*lists)
