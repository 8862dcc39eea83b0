"""Functions that pipelines of spike sorting begin with."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

__all__ = ["butterworth", "standarize"]

# The median of the absolute values of normal noise is this many standard deviations.
MEDIAN_OF_NORMAL = 0.6745


def butterworth(
    ts: np.ndarray,
    low_freq: float,
    high_factor: float,
    order: int,
    sampling_freq: float,
) -> np.ndarray:
    """Band-pass without a shift of phase.

    Parameters
    ----------
    ts : numpy.ndarray
        Observations, or observations x channels; each channel whole.
    low_freq : float
        Lower edge, in Hz.
    high_factor : float
        Upper edge, as a fraction of the sampling rate.
    order : int
        Order of the Butterworth filter, which is run forwards and backwards.
    sampling_freq : float
        Observations per second, in Hz.

    Returns
    -------
    numpy.ndarray
        Filtered values, in double precision.

    Raises
    ------
    ValueError
        If the edges do not lie between zero and half the sampling rate.
    """
    from scipy.signal import sosfiltfilt

    sections = _band(low_freq, high_factor * sampling_freq, order, sampling_freq)
    return np.asarray(sosfiltfilt(sections, ts, axis=0))


@lru_cache(maxsize=16)
def _band(low: float, high: float, order: int, fs: float) -> np.ndarray:
    """Design the filter; that takes as long as filtering some seconds of a channel."""
    from scipy.signal import butter

    return np.asarray(butter(order, [low, high], btype="bandpass", fs=fs, output="sos"))


def standarize(rec: np.ndarray, sampling_freq: float | None = None) -> np.ndarray:
    """Divide each channel by a robust estimate of its noise.

    The estimate is the median of the absolute values over 0.6745, which spikes hardly move
    (Quian Quiroga, Nadasdy and Ben-Shaul 2004, Neural Computation 16:1661-1687).

    Parameters
    ----------
    rec : numpy.ndarray
        Observations, or observations x channels, centred on zero.
    sampling_freq : float, optional
        Not needed; accepted because pipelines pass it.

    Returns
    -------
    numpy.ndarray
        Values in standard deviations of the noise; a channel without any signal stays zero.
    """
    del sampling_freq
    noise = np.median(np.abs(rec), axis=0) / MEDIAN_OF_NORMAL
    return np.asarray(rec / np.where(noise == 0, 1.0, noise))
