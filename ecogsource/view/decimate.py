"""Fewer points, same picture: the extremes of each stretch of samples.

A screen is a few thousand pixels wide. Drawing every sample of a long recording is slow and hides
what taking every n-th sample would miss: short spikes. Keeping the least and the greatest value of
each stretch draws the same picture from two numbers per pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecogsource.memory import effective_limit

__all__ = ["read_budget", "read_envelope"]

READ_BYTES = 16_000_000


def read_budget() -> int:
    """Return how many bytes one read may bring: 16 MB, or less under a tight memory limit."""
    return min(READ_BYTES, effective_limit() // 4)


def read_envelope(
    source: Any,
    start: int,
    stop: int,
    channels: Sequence[int],
    *,
    max_points: int = 4000,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Read some channels of a stretch of a source, reduced to what a picture can show.

    Reads pieces of at most 16 MB, or a quarter of the memory limit, so that hours of recording can
    be drawn in little memory.

    Parameters
    ----------
    source : source or ndarray
        Anything of shape (channels, time) that can be sliced.
    start, stop : int
        The stretch, in samples, within the recording.
    channels : sequence of int
        Which rows.
    max_points : int
        At most this many points per channel come back.

    Returns
    -------
    positions : ndarray, shape (points,), float64
        Where on the recording each point lies, in samples.
    values : ndarray, shape (len(channels), points)
        All samples where they fit, else the least and greatest of each stretch in turn, in the
        source's dtype.
    """
    rows = list(channels)
    n_samples = stop - start
    if n_samples <= max_points:
        return start + np.arange(n_samples) * 1.0, np.asarray(source[rows, start:stop])
    bin_length = -(-2 * n_samples // max_points)
    row_bytes = max(len(rows), 1) * np.dtype(source.dtype).itemsize
    bins_per_read = max(1, read_budget() // (row_bytes * bin_length))
    step = bins_per_read * bin_length
    pieces = [
        _extremes(np.asarray(source[rows, at : min(at + step, stop)]), bin_length)
        for at in range(start, stop, step)
    ]
    values = np.concatenate(pieces, axis=1)
    positions = start + bin_length / 2 * (np.arange(values.shape[1]) + 0.5)
    return positions, values


def _extremes(piece: NDArray[Any], bin_length: int) -> NDArray[Any]:
    """Return the least and greatest of each `bin_length` columns, side by side."""
    edges = np.arange(0, piece.shape[1], bin_length)
    low = np.minimum.reduceat(piece, edges, axis=1)
    high = np.maximum.reduceat(piece, edges, axis=1)
    return np.stack([low, high], axis=-1).reshape(len(piece), -1)
