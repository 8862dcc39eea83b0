"""Checks of what callers give to channel maps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["channel_index", "checked_geometry", "checked_pitch", "integers", "row_col_pairs"]


def channel_index(sub: ArrayLike, n_channels: int) -> NDArray[np.int64]:
    """Positions of channels from a mask or from positions, checked."""
    index = np.asarray(sub)
    if index.dtype == np.bool_:
        if index.shape != (n_channels,):
            raise ValueError(
                f"a mask needs one value per channel: got shape {index.shape} "
                f"for {n_channels} channels"
            )
        return np.flatnonzero(index)
    index = integers(index, "channel positions")
    outside = index[(index < -n_channels) | (index >= n_channels)]
    if outside.size:
        raise IndexError(f"no channels {outside[:5].tolist()} in a map of {n_channels} channels")
    return index % n_channels if n_channels else index


def integers(values: ArrayLike, what: str) -> NDArray[np.int64]:
    """One-dimensional int64 array of integers, checked."""
    array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"{what} must have one dimension, got shape {array.shape}")
    if array.size == 0:
        return np.zeros(0, dtype=np.int64)
    if array.dtype.kind not in "iuf" or np.any(array != np.floor(array)):
        raise ValueError(f"{what} must be integers, got {array[:5].tolist()}")
    return array.astype(np.int64)


def row_col_pairs(sites: ArrayLike) -> NDArray[np.int64]:
    """Int64 array of (row, column) pairs, shape (n, 2), checked."""
    array = np.asarray(sites)
    if array.size and (array.ndim != 2 or array.shape[1] != 2):
        raise ValueError(f"sites are (row, column) pairs, shape (n, 2); got shape {array.shape}")
    return integers(array.ravel(), "rows and columns").reshape(-1, 2)


def checked_geometry(geometry: Sequence[int]) -> tuple[int, int]:
    """(rows, columns), both positive."""
    values = integers(list(geometry), "the geometry")
    if values.shape != (2,) or np.any(values < 1):
        raise ValueError(f"the geometry is (rows, columns), both positive; got {geometry!r}")
    return int(values[0]), int(values[1])


def checked_pitch(pitch: float | Sequence[float]) -> tuple[float, float]:
    """Distance between (rows, columns), both positive."""
    values = np.asarray(pitch, dtype=np.float64)
    if values.shape not in ((), (2,)) or not np.all(values > 0):
        raise ValueError(f"the pitch is one or two positive distances in mm; got {pitch!r}")
    rows, cols = np.broadcast_to(values, (2,)).tolist()
    return rows, cols
