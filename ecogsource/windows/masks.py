"""Masks of samples as runs: where they lie, how they grow, what they leave.

A mask is True for bad samples. Recordings have millions of samples and few bad stretches, so all
that is kept are the runs of bad samples.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Runs", "grow_mask", "mask_runs"]


class Runs(NamedTuple):
    """Half-open stretches of samples, in rising order.

    Parameters
    ----------
    starts, stops : ndarray, shape (n,), int64
        First sample of each stretch, and the sample after its last one; at least one sample lies
        between neighbours.
    """

    starts: NDArray[np.int64]
    stops: NDArray[np.int64]

    def grown(self, growth: int, n_samples: int) -> Runs:
        """Make every stretch longer at both ends, and one of those that come to touch.

        Parameters
        ----------
        growth : int
            Samples to add at either end, at least 0.
        n_samples : int
            Nothing grows beyond this sample, nor below 0.
        """
        starts = np.maximum(self.starts - growth, 0)
        stops = np.minimum(self.stops + growth, n_samples)
        apart = starts[1:] > stops[:-1]
        end = np.ones(min(len(starts), 1), dtype=bool)
        return Runs(starts[np.append(end, apart)], stops[np.append(apart, end)])

    def within(self, start: int, stop: int) -> Runs:
        """Return the parts that lie between two samples, counted from the first of these."""
        first = int(np.searchsorted(self.stops, start, "right"))
        last = int(np.searchsorted(self.starts, stop, "left"))
        if first >= last or start >= stop:
            return Runs(self.starts[:0], self.stops[:0])
        return Runs(
            np.maximum(self.starts[first:last] - start, 0),
            np.minimum(self.stops[first:last], stop) - start,
        )

    def between(self, start: int, stop: int) -> Runs:
        """Return the stretches from `start` to `stop` that lie outside all runs."""
        inside = self.within(start, stop)
        starts = np.append(0, inside.stops) + start
        stops = np.append(inside.starts, stop - start) + start
        some = stops > starts
        return Runs(starts[some], stops[some])

    def fill(self, window: np.ndarray, start: int, value: Any) -> None:
        """Overwrite the samples of a window that lie in runs.

        Parameters
        ----------
        window : ndarray, shape (..., samples)
            Overwritten in place.
        start : int
            Sample at which the window begins.
        value : scalar
            What to write.
        """
        inside = self.within(start, start + window.shape[-1])
        for first, last in zip(inside.starts.tolist(), inside.stops.tolist(), strict=True):
            window[..., first:last] = value


def mask_runs(mask: ArrayLike) -> Runs:
    """Find the runs of True.

    Parameters
    ----------
    mask : array_like of bool, shape (n,)
        The mask.

    Returns
    -------
    Runs
        Where it is True.

    Examples
    --------
    >>> mask_runs([True, False, True, True])
    Runs(starts=array([0, 2]), stops=array([1, 4]))
    """
    flags = np.asarray(mask, dtype=bool)
    edges = np.flatnonzero(flags[1:] != flags[:-1]) + 1
    if flags[:1].any():
        edges = np.append(0, edges)
    if flags[-1:].any():
        edges = np.append(edges, len(flags))
    return Runs(edges[0::2].astype(np.int64), edges[1::2].astype(np.int64))


def grow_mask(mask: ArrayLike, growth: int) -> NDArray[np.bool_]:
    """Spread a mask to the neighbours of its True samples (a morphological dilation).

    Parameters
    ----------
    mask : array_like of bool, shape (n,)
        The mask.
    growth : int
        How far it spreads to either side, in samples, at least 0.

    Returns
    -------
    ndarray, shape (n,), bool
        True wherever `mask` is True at most `growth` samples away.

    Examples
    --------
    >>> grow_mask([False, False, True, False, False, False], 1)
    array([False,  True,  True,  True, False, False])
    """
    if growth < 0:
        raise ValueError(f"a mask can only grow by 0 samples or more, got {growth}")
    flags = np.asarray(mask, dtype=bool)
    steps = np.zeros(len(flags) + 1, dtype=np.int8)
    runs = mask_runs(flags).grown(growth, len(flags))
    steps[runs.starts] = 1
    steps[runs.stops] = -1
    return np.cumsum(steps[:-1], dtype=np.int8).astype(bool)
