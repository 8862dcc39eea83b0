"""What the pictures show, as numbers: averages around events, spectra, sizes of channels.

Everything here reads a source piece by piece and keeps sums only, so the length of the recording
does not matter.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecogsource.view.decimate import read_budget

__all__ = ["channel_deviation", "channel_numbers", "evoked_average", "power_spectrum"]


def channel_numbers(source: Any) -> NDArray[np.integer[Any]]:
    """Number the channels of a source as its mask does, so that what looks bad can be masked.

    Parameters
    ----------
    source : source or ndarray
        Anything of shape (channels, time).

    Returns
    -------
    ndarray, shape (channels,), int
        Numbers that count masked channels too; plain positions where there is no mask.
    """
    mask = getattr(source, "binary_channel_mask", None)
    return np.arange(source.shape[0]) if mask is None else np.flatnonzero(mask)


def evoked_average(
    source: Any,
    events: NDArray[np.integer[Any]],
    before: int,
    after: int,
) -> NDArray[np.float64]:
    """Average a source around events.

    Each window is referred to the mean of its part before the event. Windows that reach over an
    end of the recording are left out.

    Parameters
    ----------
    source : source or ndarray
        Anything of shape (channels, time) that can be sliced.
    events : ndarray, shape (events,), int
        Sample numbers.
    before, after : int
        Length of the window on either side, in samples.

    Returns
    -------
    ndarray, shape (channels, before + after), float64
        In the source's units.

    Raises
    ------
    ValueError
        If no window lies inside the recording.
    """
    n_samples = source.shape[1]
    inside = [int(e) for e in events if e >= before and e + after <= n_samples]
    if not inside:
        raise ValueError(
            f"none of {len(events)} events has {before} samples before it and {after} after it "
            f"in a recording of {n_samples} samples"
        )
    total = np.zeros((source.shape[0], before + after))
    for event in inside:
        total += source[:, event - before : event + after]
    average = total / len(inside)
    if before:
        average -= average[:, :before].mean(axis=1, keepdims=True)
    return average


def power_spectrum(
    source: Any,
    fs: float,
    *,
    start: int = 0,
    stop: int | None = None,
    window_s: float = 1.0,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Estimate the power spectral density of every channel by Welch's method.

    Hann windows that overlap by half, each with its mean taken off, are averaged (P. D. Welch,
    IEEE Trans. Audio Electroacoust. 15:70, 1967). Windows with a sample that is not finite, such
    as a gap filled with NaN, do not count.

    Parameters
    ----------
    source : source or ndarray
        Anything of shape (channels, time) that can be sliced.
    fs : float
        Sampling rate, in Hz.
    start, stop : int, optional
        The stretch to use, in samples; the whole recording by default.
    window_s : float
        Length of a window, in seconds: one over the resolution in Hz. A stretch that is shorter
        is taken as one window.

    Returns
    -------
    frequency : ndarray, shape (frequencies,), float64
        In Hz.
    density : ndarray, shape (channels, frequencies), float64
        Units squared per Hz; NaN if no window counts.
    """
    stop = source.shape[1] if stop is None else stop
    length = min(max(round(window_s * fs), 2), stop - start)
    hop = max(length // 2, 1)
    window = np.hanning(length + 1)[:-1] if length > 1 else np.ones(1)
    windows_per_read = max(1, read_budget() // max(8 * source.shape[0] * length, 1))
    begins = range(start, stop - length + 1, hop)
    total = np.zeros((source.shape[0], length // 2 + 1))
    n_windows = 0
    for first in range(0, len(begins), windows_per_read):
        batch = begins[first : first + windows_per_read]
        block = np.asarray(source[:, batch[0] : batch[-1] + length], dtype=np.float64)
        for begin in batch:
            piece = block[:, begin - batch[0] : begin - batch[0] + length]
            if np.isfinite(piece).all():
                piece = (piece - piece.mean(axis=1, keepdims=True)) * window
                total += np.abs(np.fft.rfft(piece, axis=1)) ** 2
                n_windows += 1
    if not n_windows:
        total += np.nan
    density = total / (max(n_windows, 1) * fs * np.sum(window**2))
    # All the power is shown at positive frequencies; 0 and Nyquist have no negative twin.
    density[:, 1 : -1 if length % 2 == 0 else None] *= 2
    frequency: NDArray[np.float64] = np.arange(length // 2 + 1) * (fs / length)
    return frequency, density


def channel_deviation(
    source: Any,
    *,
    start: int = 0,
    stop: int | None = None,
) -> NDArray[np.float64]:
    """Return the standard deviation of each channel over a stretch of a source.

    Pieces are combined by the method of Chan, Golub and LeVeque (Am. Stat. 37:242, 1983), which
    does not lose digits when the mean is far from zero. Samples that are not finite, such as gaps
    filled with NaN, do not count.

    Parameters
    ----------
    source : source or ndarray
        Anything of shape (channels, time) that can be sliced.
    start, stop : int, optional
        The stretch to use, in samples; the whole recording by default.

    Returns
    -------
    ndarray, shape (channels,), float64
        In the source's units.
    """
    stop = source.shape[1] if stop is None else stop
    step = max(1, read_budget() // max(8 * source.shape[0], 1))
    count, mean, squares = np.zeros((3, source.shape[0]))
    for at in range(start, stop, step):
        block = np.asarray(source[:, at : min(at + step, stop)], dtype=np.float64)
        known = np.isfinite(block)
        fresh = known.sum(axis=1)
        block_mean = np.where(known, block, 0.0).sum(axis=1) / np.maximum(fresh, 1)
        shift = block_mean - mean
        both = np.maximum(count + fresh, 1)
        squares += (np.where(known, block - block_mean[:, None], 0.0) ** 2).sum(axis=1)
        squares += shift**2 * count * fresh / both
        mean += shift * fresh / both
        count += fresh
    return np.sqrt(np.where(count > 0, squares, np.nan) / np.maximum(count, 1))
