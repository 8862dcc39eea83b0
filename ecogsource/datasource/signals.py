"""Arrays on the clock of a source, seen as rows x time, and what a copy makes of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ecogsource.buffers import Buffer, BufferBinder, TransposedBuffer
from ecogsource.buffers.views import SelectedBuffer, ViewBuffer
from ecogsource.filters import decimate_range, decimated_length
from ecogsource.indexing import Selection, simplify

if TYPE_CHECKING:
    from ecogsource.datasource.base import ElectrodeDataSource

__all__ = ["ALIGNED_MODES", "Signal", "aligned_signals", "electrode_signal", "produce"]

ALIGNED_MODES = ("auto", "antialias", "aggregate", "edges", "decimate")


@dataclass(frozen=True)
class Signal:
    """An array whose last axis is time, read as rows x time.

    Attributes
    ----------
    name : str
        Its name in a source or file.
    array : Buffer or ndarray
        The data.
    """

    name: str
    array: Buffer | NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return tuple(self.array.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values that are read."""
        return self.array.dtype

    @property
    def rows(self) -> int:
        """Rows: the product of all axes but the last."""
        return int(np.prod(self.shape[:-1], dtype=np.int64))

    @property
    def samples(self) -> int:
        """Length of the last axis."""
        return self.shape[-1]

    @property
    def multiple(self) -> tuple[int, int]:
        """Rows and samples of a storage chunk, (1, 1) if there are none."""
        chunks = getattr(self.array, "chunks", None)
        if chunks is None or len(chunks) != 2 or len(self.shape) != 2:
            return 1, 1
        return int(chunks[0]), int(chunks[1])

    @property
    def row_major(self) -> bool:
        """Whether each row lies in one piece: neither chunked, nor joined, nor time first."""
        if len(self.shape) != 2 or getattr(self.array, "chunks", None) is not None:
            return False
        if isinstance(self.array, np.ndarray):
            return self.array.flags.c_contiguous
        return not (time_is_outer(self.array) or is_joined(self.array))

    def read(self, rows: slice, start: int, stop: int) -> NDArray[Any]:
        """Read samples `start` to `stop` of some rows, shape (rows, stop - start)."""
        if isinstance(self.array, np.ndarray):
            piece = self.array[..., start:stop].reshape(self.rows, stop - start)
            return piece[rows]
        span = range(start, stop)
        if len(self.shape) == 2:
            selection = Selection.of((range(self.rows)[rows], span))
        else:
            selection = Selection.of((*(range(n) for n in self.shape[:-1]), span))
        out = np.empty(selection.shape, self.dtype)
        self.array.read_into(selection, out)
        return out if len(self.shape) == 2 else out.reshape(self.rows, stop - start)[rows]


def time_is_outer(buffer: Buffer) -> bool:
    """Tell whether neighbouring channels lie closer in storage than neighbouring samples."""
    turned = False
    while True:
        if isinstance(buffer, BufferBinder):
            buffer = buffer.buffers[0]
        elif isinstance(buffer, ViewBuffer):
            turned ^= isinstance(buffer, TransposedBuffer)
            buffer = buffer.buffer
        else:
            return turned ^ (getattr(buffer, "order", "C") == "F")


def is_joined(buffer: Buffer) -> bool:
    """Tell whether time is cut into several arrays."""
    while isinstance(buffer, ViewBuffer):
        buffer = buffer.buffer
    return isinstance(buffer, BufferBinder)


def electrode_signal(source: ElectrodeDataSource, channels: str = "active") -> Signal:
    """Return the electrode data of a source.

    Parameters
    ----------
    source : ElectrodeDataSource
        A source.
    channels : {'active', 'electrodes', 'all'}
        Only what is not masked; all electrodes; or all channels of the file.
    """
    if channels == "active":
        buffer = source.as_buffer()
    elif channels == "all":
        buffer = source._oriented
    else:
        buffer = SelectedBuffer(source._oriented, 0, simplify(source._electrode_channels))
    return Signal(source.electrode_field, buffer)


def aligned_signals(source: ElectrodeDataSource) -> list[Signal]:
    """Return the aligned arrays of a source."""
    return [Signal(name, array) for name, array in source.aligned_arrays.items()]


def resolve_aligned(mode: str, dtype: np.dtype[Any]) -> str:
    """Choose how an aligned array of this type is downsampled."""
    if mode not in ALIGNED_MODES:
        raise ValueError(f"aligned must be one of {', '.join(ALIGNED_MODES)}; got {mode!r}")
    if mode == "auto":
        return "edges" if dtype.kind in "biu" else "antialias"
    return mode


def produced_dtype(dtype: np.dtype[Any], mode: str, ratio: int) -> np.dtype[Any]:
    """Return the type of a copy: that of the original unless values are averaged.

    Raises
    ------
    TypeError
        If values that are no real numbers would be averaged.
    """
    if ratio != 1 and mode in ("antialias", "aggregate") and dtype.kind not in "biuf":
        raise TypeError(
            f"downsampling averages real numbers, got dtype {dtype}; for an aligned array, "
            "aligned='decimate' keeps every n-th value"
        )
    if ratio == 1 or mode in ("decimate", "edges") or dtype.kind == "f":
        return dtype
    return np.result_type(dtype, np.float32)


def produced_shape(shape: tuple[int, ...], ratio: int) -> tuple[int, ...]:
    """Return the shape of a downsampled copy."""
    return (*shape[:-1], decimated_length(shape[-1], ratio))


def produce(
    signal: Signal, mode: str, ratio: int
) -> Callable[[tuple[int, int, int, int]], NDArray[Any]]:
    """Return the function that computes a piece of the copy of a signal.

    Parameters
    ----------
    signal : Signal
        The original.
    mode : {'antialias', 'aggregate', 'edges', 'decimate'}
        How `ratio` samples become one.
    ratio : int
        1 copies.

    Returns
    -------
    callable
        ``(first_row, last_row, start, stop)`` in the copy -> array of that shape.
    """

    def copy(bounds: tuple[int, int, int, int]) -> NDArray[Any]:
        first_row, last_row, start, stop = bounds
        return signal.read(slice(first_row, last_row), start, stop)

    def antialias(bounds: tuple[int, int, int, int]) -> NDArray[Any]:
        first_row, last_row, start, stop = bounds
        rows = slice(first_row, last_row)
        return decimate_range(
            lambda a, b: signal.read(rows, a, b), signal.samples, ratio, start, stop
        )

    def decimate(bounds: tuple[int, int, int, int]) -> NDArray[Any]:
        first_row, last_row, start, stop = bounds
        last = (stop - 1) * ratio + 1
        return signal.read(slice(first_row, last_row), start * ratio, last)[:, ::ratio]

    def over_bins(ufunc: np.ufunc) -> Callable[[tuple[int, int, int, int]], NDArray[Any]]:
        def reduce(bounds: tuple[int, int, int, int]) -> NDArray[Any]:
            first_row, last_row, start, stop = bounds
            end = min(stop * ratio, signal.samples)
            values = signal.read(slice(first_row, last_row), start * ratio, end)
            if ufunc is np.add:
                values = values.astype(np.float64)
            edges = np.arange(0, values.shape[1], ratio)
            result = ufunc.reduceat(values, edges, axis=1)
            if ufunc is np.add:
                result /= np.diff(np.append(edges, values.shape[1]))
            return np.asarray(result)

        return reduce

    if ratio == 1:
        return copy
    makers = {
        "antialias": antialias,
        "decimate": decimate,
        "aggregate": over_bins(np.add),
        "edges": over_bins(np.maximum),
    }
    return makers[mode]
