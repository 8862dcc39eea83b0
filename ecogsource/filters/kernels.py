"""The two kinds of linear filter, each as one step over a block with its state passed in and out.

A kernel keeps no state of its own, so one kernel serves any number of streams and threads. All
arithmetic is in float64 whatever the input: the state of a narrow filter loses its meaning in
float32, and rounding once on output costs nothing.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["FirKernel", "Kernel", "SosKernel", "windows_with_gaps", "without_gaps"]

Float64 = NDArray[np.float64]

# Elements filtered per call: the tile and its copy stay in a level-2 cache.
_SEGMENT_ELEMENTS = 1 << 16


class Kernel(Protocol):
    """A linear filter along the last axis, in steps."""

    @property
    def pad_length(self) -> int:
        """Samples of odd extension that a zero-phase pass adds at each end."""
        ...

    def rest(self, lead: tuple[int, ...]) -> Float64:
        """Return the state after an infinite past of zeros, for blocks of shape (*lead, time)."""
        ...

    def steady(self, first: Float64) -> Float64:
        """Return the state after an infinite past of the constant `first`, shape `lead`."""
        ...

    def run(
        self, block: NDArray[Any], state: Float64, out: Float64 | None = None
    ) -> tuple[Float64, Float64]:
        """Filter one block and return the output and the state for the next block."""
        ...


def without_gaps(values: Float64) -> tuple[Float64, NDArray[np.bool_] | None]:
    """Put zeros where values are not finite, and tell where that was; None if nowhere.

    Fast convolutions mix the samples of a whole block, so that one NaN would spread over it, as
    far as the cut of the time axis happens to let it.
    """
    # A sum is finite only if all its terms are; one that overflows costs a closer look.
    with np.errstate(invalid="ignore", over="ignore"):
        if np.isfinite(np.add.reduce(values, axis=-1)).all():
            return values, None
    gaps = ~np.isfinite(values)
    return (np.where(gaps, 0.0, values), gaps) if gaps.any() else (values, None)


def windows_with_gaps(gaps: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """Tell which windows of `width` samples hold a gap: shape (*lead, time - width + 1)."""
    before = np.zeros((*gaps.shape[:-1], gaps.shape[-1] + 1), dtype=np.int64)
    np.cumsum(gaps, axis=-1, out=before[..., 1:])
    return before[..., width:] > before[..., :-width]


class SosKernel:
    """A recursive filter as second-order sections.

    Parameters
    ----------
    sos : array_like, shape (sections, 6)
        Second-order sections, as made by ``scipy.signal`` with ``output='sos'``.

    Raises
    ------
    ValueError
        If `sos` does not have six columns.
    """

    def __init__(self, sos: ArrayLike) -> None:
        self.sos: Float64 = np.ascontiguousarray(sos, dtype=np.float64)
        if self.sos.ndim != 2 or self.sos.shape[1] != 6 or not len(self.sos):
            raise ValueError(
                f"second-order sections have shape (sections, 6), got {self.sos.shape}"
            )

    @property
    def pad_length(self) -> int:
        """Odd extension of a zero-phase pass, the rule of ``scipy.signal.sosfiltfilt``.

        Three times the number of taps of the equivalent single section: 2 per section plus 1,
        less the sections that are of first order.
        """
        first_order = min(int((self.sos[:, 2] == 0).sum()), int((self.sos[:, 5] == 0).sum()))
        return 3 * (2 * len(self.sos) + 1 - first_order)

    def rest(self, lead: tuple[int, ...]) -> Float64:
        """Return the state of rest, shape (sections, *lead, 2)."""
        return np.zeros((len(self.sos), *lead, 2))

    def steady(self, first: Float64) -> Float64:
        """Return the state in which the constant `first` passes without transient."""
        from scipy.signal import sosfilt_zi

        zi = sosfilt_zi(self.sos)
        shape = (len(self.sos), *(1,) * first.ndim, 2)
        return zi.reshape(shape) * np.asarray(first, dtype=np.float64)[np.newaxis, ..., np.newaxis]

    def run(
        self, block: NDArray[Any], state: Float64, out: Float64 | None = None
    ) -> tuple[Float64, Float64]:
        """Filter one block.

        Parameters
        ----------
        block : ndarray, shape (*lead, time)
            Input of any real dtype; negative strides are fine.
        state : ndarray, shape (sections, *lead, 2)
            State at the start of the block; not changed.
        out : ndarray of float64, optional
            Receives the output; may be `block` itself.

        Returns
        -------
        filtered : ndarray of float64, shape (*lead, time)
            Exactly ``scipy.signal.sosfilt(sos, block, zi=state)``.
        state : ndarray
            State after the last sample.
        """
        from scipy.signal import sosfilt

        result = np.empty(block.shape) if out is None else out
        n_samples = block.shape[-1]
        rows = max(1, int(np.prod(block.shape[:-1])))
        step = max(256, _SEGMENT_ELEMENTS // rows)
        for start in range(0, n_samples, step):
            part = (..., slice(start, start + step))
            result[part], state = sosfilt(
                self.sos, np.asarray(block[part], dtype=np.float64), axis=-1, zi=state
            )
        return result, state


class FirKernel:
    """A finite impulse response filter.

    Parameters
    ----------
    taps : array_like, shape (taps,)
        Impulse response.

    Raises
    ------
    ValueError
        If `taps` is empty or not one-dimensional.
    """

    def __init__(self, taps: ArrayLike) -> None:
        self.taps: Float64 = np.ascontiguousarray(taps, dtype=np.float64)
        if self.taps.ndim != 1 or not len(self.taps):
            raise ValueError(f"taps must be a non-empty vector, got shape {self.taps.shape}")

    @property
    def pad_length(self) -> int:
        """Odd extension of a zero-phase pass, the rule of ``scipy.signal.filtfilt``."""
        return 3 * len(self.taps)

    def rest(self, lead: tuple[int, ...]) -> Float64:
        """Return the state of rest: the last ``taps - 1`` inputs, shape (*lead, taps - 1)."""
        return np.zeros((*lead, len(self.taps) - 1))

    def steady(self, first: Float64) -> Float64:
        """Return the state in which the constant `first` passes without transient."""
        values = np.asarray(first, dtype=np.float64)[..., np.newaxis]
        return np.repeat(values, len(self.taps) - 1, axis=-1)

    def run(
        self, block: NDArray[Any], state: Float64, out: Float64 | None = None
    ) -> tuple[Float64, Float64]:
        """Filter one block.

        Parameters
        ----------
        block : ndarray, shape (*lead, time)
            Input of any real dtype.
        state : ndarray, shape (*lead, taps - 1)
            The inputs before the block.
        out : ndarray of float64, optional
            Receives the output; may be `block` itself.

        Returns
        -------
        filtered : ndarray of float64, shape (*lead, time)
            ``scipy.signal.lfilter(taps, 1, ...)`` continued, by overlap-add convolution. An input
            that is not finite makes the ``taps`` outputs NaN that it belongs to.
        state : ndarray
            The last ``taps - 1`` inputs.
        """
        from scipy.signal import oaconvolve

        if not block.shape[-1]:
            return np.empty(block.shape) if out is None else out, state
        extended = np.concatenate([state, block], axis=-1, dtype=np.float64)
        taps = self.taps.reshape((1,) * (block.ndim - 1) + (-1,))
        finite, gaps = without_gaps(extended)
        filtered = oaconvolve(finite, taps, mode="valid", axes=-1)
        if gaps is not None:
            filtered[windows_with_gaps(gaps, len(self.taps))] = np.nan
        # A copy, so that the state does not keep the whole block alive.
        state = extended[..., block.shape[-1] :].copy()
        if out is None:
            return filtered, state
        out[...] = filtered
        return out, state
