"""Filters and resampling of producers, with the state carried from chunk to chunk."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from ecogsource.buffers import Buffer, FlatBuffer
from ecogsource.producers.base import ProducerBase
from ecogsource.producers.streams import FilteredStream
from ecogsource.producers.walking import Origin
from ecogsource.producers.windows import along, window_selection
from ecogsource.safefile import reserve_file

if TYPE_CHECKING:
    from ecogsource.filters import FilterDesign, Kernel
    from ecogsource.producers.core import Producer

__all__ = ["FilteringMixin"]

# Calling a filter costs tens of microseconds: it is not called for fewer samples.
_LEAST_SAMPLES = 4096


class FilteringMixin(ProducerBase):
    """Filters of a producer along its axis; results never depend on the chunks."""

    def filter(
        self,
        design: FilterDesign | ArrayLike,
        initial: Literal["rest", "steady"] = "rest",
        *,
        zero_phase: bool = False,
    ) -> Producer:
        """Make a producer of the filtered samples.

        Parameters
        ----------
        design : FilterDesign or array_like
            A design of :func:`ecogsource.filters.design_filter`, second-order sections of shape
            (sections, 6), or the taps of an FIR filter, of shape (taps,).
        initial : {'rest', 'steady'}
            Start from zeros, or as if the first sample had lasted for ever.
        zero_phase : bool
            Filter forward and backward, which leaves no delay. This needs the end of the data:
            they are filtered now, into a temporary file.

        Returns
        -------
        Producer
            Of the same shape; single or double precision.

        Raises
        ------
        ValueError
            If the design is neither sections nor taps, or the data are too short for
            `zero_phase`.
        TypeError
            If the data are not real numbers.
        """
        self._numeric("filter()")
        from ecogsource.filters import FilterStream, filtered_dtype

        kernel = _kernel(design)
        dtype = filtered_dtype(self._origin.dtype)
        if zero_phase:
            return self._like(_zero_phase(self._origin, self._axis, kernel, dtype))
        made = {"size": self._origin.shape[self._axis], "dtype": dtype}
        return self._like(self._filtered(partial(FilterStream, kernel, initial), made))

    def filter_band(
        self,
        ftype: str = "butterworth",
        *,
        fs: float,
        lo: float | None = None,
        hi: float | None = None,
        zero_phase: bool = False,
        **design: Any,
    ) -> Producer:
        """Make a producer of the samples in a frequency band.

        Parameters
        ----------
        ftype : {'butterworth', 'chebyshev2', 'elliptic', 'fir'}
            Family.
        fs : float
            Sampling rate, Hz.
        lo, hi : float, optional
            Edges of the band, Hz; only `lo` for a high-pass, only `hi` for a low-pass.
        zero_phase : bool
            See :meth:`filter`.
        **design
            ``order``, ``stop``, ``ripple``, ``attenuation``, ``width``; see
            :func:`ecogsource.filters.design_filter`.

        Returns
        -------
        Producer
            Of the same shape.

        Raises
        ------
        ValueError
            If the design is impossible.
        """
        from ecogsource.filters import design_filter

        made = design_filter(ftype, fs=fs, lo=lo, hi=hi, **design)
        return self.filter(made, zero_phase=zero_phase)

    def filter_notch(
        self, *, fs: float, lines: float = 60.0, zero_phase: bool = False, **design: Any
    ) -> Producer:
        """Make a producer of the samples without the power line and its harmonics.

        Parameters
        ----------
        fs : float
            Sampling rate, Hz.
        lines : float or iterable of float
            The line and its harmonics, or exactly those lines, Hz.
        zero_phase : bool
            See :meth:`filter`.
        **design
            ``width``, ``nmax``; see :func:`ecogsource.filters.design_notch`.

        Returns
        -------
        Producer
            Of the same shape.

        Raises
        ------
        ValueError
            If a line is not below half the sampling rate.
        """
        from ecogsource.filters import design_notch

        return self.filter(design_notch(fs, lines, **design), zero_phase=zero_phase)

    def decimate(self, ratio: int) -> Producer:
        """Make a producer of every `ratio`-th sample of the low-pass filtered data.

        Parameters
        ----------
        ratio : int
            Sampling rate before, over that after.

        Returns
        -------
        Producer
            Samples 0, ratio, 2 * ratio, ... without delay, in double precision, in chunks of
            the same `chunksize`.

        Raises
        ------
        ValueError
            If the ratio is not positive.
        """
        self._numeric("decimate()")
        from ecogsource.filters import DecimateStream, decimated_length

        size = decimated_length(self._origin.shape[self._axis], ratio)
        made = {"size": size, "dtype": np.dtype(float)}
        return self._like(self._filtered(partial(DecimateStream, ratio), made))

    def _filtered(self, make: Callable[[], Any], made: dict[str, Any]) -> FilteredStream:
        length = max(self._chunksize, _LEAST_SAMPLES)
        return FilteredStream(self._origin, self._axis, make, made, length)


def _kernel(design: Any) -> Kernel:
    from ecogsource.filters import FilterDesign, FirKernel, SosKernel

    if isinstance(design, FilterDesign):
        return design.kernel
    numbers = np.asarray(design)
    if numbers.ndim == 1:
        return FirKernel(numbers)
    if numbers.ndim == 2 and numbers.shape[1] == 6:
        return SosKernel(numbers)
    raise ValueError(
        "a filter is a design, second-order sections of shape (sections, 6) or taps of shape "
        f"(taps,); got shape {numbers.shape}"
    )


def _zero_phase(origin: Origin, axis: int, kernel: Kernel, dtype: np.dtype) -> Buffer:
    """Filter forward and backward into a temporary file."""
    if not isinstance(origin, Buffer):
        raise ValueError(
            "zero_phase=True needs the end of the data, and these come in order; write them to a "
            "file with to_file(path) and produce from the file"
        )
    from ecogsource.datasource.tempfiles import TempFilePool
    from ecogsource.filters import zero_phase

    shape, ndim = origin.shape, origin.ndim
    nbytes = origin.size * dtype.itemsize
    path = TempFilePool.default().new(".dat", nbytes=nbytes)
    target = np.memmap(path, dtype, "w+", shape=shape)
    reserve_file(path)

    def read(start: int, stop: int) -> np.ndarray:
        selection = window_selection(shape, axis, slice(start, stop))
        out = np.empty(selection.shape, origin.dtype)
        origin.read_into(selection, out)
        return np.moveaxis(out, axis, -1)

    def write(start: int, values: np.ndarray) -> None:
        window = slice(start, start + values.shape[-1])
        target[along(axis, ndim, window)] = np.moveaxis(values, -1, axis)

    zero_phase(kernel, read, write, shape[axis])
    target.flush()
    return FlatBuffer(path, dtype, shape)
