"""Things that are not buffers, read as buffers: readers, foreign arrays, items of a sequence."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from ecogsource.buffers import ArrayBuffer, Buffer
from ecogsource.buffers.views import ViewBuffer
from ecogsource.errors import FormatError
from ecogsource.indexing import Selection, Selector, split_selector
from ecogsource.producers.windows import along, window_selection

__all__ = ["CastBuffer", "ForeignBuffer", "ItemsBuffer", "ReaderBuffer", "StretchBuffer"]

# Samples that are read at a time where more than a stretch is asked for.
_STRETCH_BYTES = 4 * 2**20


class CastBuffer(ViewBuffer):
    """A buffer read as another type.

    Parameters
    ----------
    buffer : Buffer
        What it looks at.
    dtype : numpy.dtype
        A type to which it can be cast without losing its kind.
    """

    def __init__(self, buffer: Buffer, dtype: np.dtype) -> None:
        super().__init__(buffer, buffer.shape, buffer.chunks)
        self.dtype = dtype
        self.writeable = False

    def _over(self, buffer: Buffer) -> Buffer:
        return CastBuffer(buffer, self.dtype)


class StretchBuffer(Buffer):
    """Something that gives one stretch of samples at a time, all else taken whole.

    Derived classes give `_stretch(start, stop)`.

    Parameters
    ----------
    shape : tuple of int
        Shape of the whole.
    dtype : numpy.dtype
        Type of what is given.
    axis : int
        Axis of the stretch, counted from the start.
    """

    def __init__(self, shape: tuple[int, ...], dtype: Any, axis: int) -> None:
        super().__init__(shape, dtype)
        self.axis = axis

    def _stretch(self, start: int, stop: int) -> np.ndarray:
        """Give samples `start` to `stop` along the axis."""
        raise TypeError(f"{type(self).__name__} cannot be read")

    @property
    def _length(self) -> int:
        return max(1, _STRETCH_BYTES * self.shape[self.axis] // max(1, self.nbytes))

    def _temporary_bytes(self, selection: Selection) -> int:
        wanted = selection.selectors[self.axis]
        length = 1 if isinstance(wanted, int) else min(len(wanted), self._length)
        return length * self.nbytes // max(1, self.shape[self.axis])

    def _read_into(self, selection: Selection, out: np.ndarray) -> None:
        selectors, axis = selection.selectors, self.axis
        wanted = selectors[axis]
        lead: tuple[Any, ...] = tuple(
            slice(None) for s in selectors[:axis] if not isinstance(s, int)
        )
        offsets = range(0, self.shape[axis] + self._length, self._length)
        for piece in split_selector(wanted, offsets):
            low, high, inside = _hull(piece.selector)
            begin = offsets[piece.part]
            values = ArrayBuffer(self._stretch(begin + low, begin + high))
            part = Selection.of((*selectors[:axis], inside, *selectors[axis + 1 :]))
            if isinstance(piece.where, np.ndarray):
                target = np.empty(part.shape, self.dtype)
                values.read_into(part, target)
                out[(*lead, piece.where)] = target
            else:
                values.read_into(part, out if piece.where is None else out[(*lead, piece.where)])


def _hull(selector: Selector) -> tuple[int, int, Selector]:
    """Give the stretch that holds a selector, and the selector inside it."""
    if isinstance(selector, int):
        return selector, selector + 1, 0
    if isinstance(selector, range):
        low, high = min(selector[0], selector[-1]), max(selector[0], selector[-1])
        stop = selector[-1] - low + (1 if selector.step > 0 else -1)
        return low, high + 1, range(selector[0] - low, stop, selector.step)
    low, high = int(selector.min()), int(selector.max())
    return low, high + 1, selector - low


class ReaderBuffer(StretchBuffer):
    """An object with a method ``read(start, stop)``.

    Parameters
    ----------
    reader : object
        Its `read` gives samples `start` to `stop` along the last axis. It is read by one thread
        at a time, and never closed.
    shape : tuple of int, optional
        Shape of the whole; ``reader.shape`` by default.
    **kwargs
        Passed on to `read`.

    Raises
    ------
    FormatError
        If the shape is not known.
    """

    def __init__(self, reader: Any, shape: tuple[int, ...] | None = None, **kwargs: Any) -> None:
        shape = getattr(reader, "shape", None) if shape is None else shape
        if shape is None:
            raise FormatError(
                f"{type(reader).__name__} has no attribute shape; pass shape=(channels, samples)"
            )
        self.reader, self.kwargs = reader, kwargs
        self._one_at_a_time = threading.Lock()
        super().__init__(shape, float, len(shape) - 1)
        dtype = getattr(reader, "dtype", None)
        if dtype is None:
            dtype = self._stretch(0, min(1, self.shape[-1])).dtype
        super().__init__(shape, dtype, len(shape) - 1)

    @property
    def slow(self) -> bool:
        """Our own readers may read in the background; others may belong to one thread."""
        return type(self.reader).__module__.startswith("ecogsource.")

    def _stretch(self, start: int, stop: int) -> np.ndarray:
        with self._one_at_a_time:
            values = np.asarray(self.reader.read(start, stop, **self.kwargs))
        expected = (*self.shape[:-1], stop - start)
        if values.shape != expected:
            raise FormatError(
                f"{type(self.reader).__name__}.read({start}, {stop}) gave an array of shape "
                f"{values.shape}, expected {expected}"
            )
        return values

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(ReaderBuffer, **self.kwargs), (self.reader, self.shape)

    def close(self) -> None:
        """Leave the reader open: it belongs to the caller."""


class ForeignBuffer(StretchBuffer):
    """An array of another library that is sliced like NumPy's: Zarr, Dask, xarray and the like.

    Parameters
    ----------
    array : object
        With `shape`, `dtype` and slicing; a slice becomes an array by :func:`numpy.asarray`.
    axis : int
        Axis along which it is sliced, counted from the start.
    """

    slow = True

    def __init__(self, array: Any, axis: int) -> None:
        self.array = array
        if any(not isinstance(n, int | np.integer) for n in array.shape):
            raise FormatError(
                f"the shape of this {type(array).__name__} is not known: {array.shape}; "
                "compute its chunk sizes first"
            )
        super().__init__(array.shape, array.dtype, axis)

    def _stretch(self, start: int, stop: int) -> np.ndarray:
        window = slice(start, stop)
        values = np.asarray(self.array[along(self.axis, self.ndim, window)])
        expected = window_selection(self.shape, self.axis, window).shape
        if values.shape != expected:
            raise FormatError(
                f"a slice of this {type(self.array).__name__} became an array of shape "
                f"{values.shape}, expected {expected}"
            )
        return values

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.array, self.axis)


class ItemsBuffer(Buffer):
    """The items of a sequence, whatever they are, as an array of objects.

    Parameters
    ----------
    items : sequence
        The items.
    """

    def __init__(self, items: Sequence[Any]) -> None:
        super().__init__((len(items),), object)
        self.items = items

    def _read_into(self, selection: Selection, out: np.ndarray) -> None:
        wanted = selection.selectors[0]
        if isinstance(wanted, int):
            out[()] = self.items[wanted]
            return
        for number, position in enumerate(wanted):
            out[number] = self.items[position]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.items,)
