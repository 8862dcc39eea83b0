"""Every pair of sites of a map, with distances: what a variogram or a coherence map starts from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["SitePairs", "site_pairs"]


class SitePairs(NamedTuple):
    """All unordered pairs of channels, one entry per pair in each array.

    Attributes
    ----------
    first, second : ndarray of int64
        Positions of the two channels in the map; ``first < second``.
    dx, dy : ndarray of float64
        Displacement from the first to the second site along columns and along rows, in mm.
    distance : ndarray of float64
        Euclidean distance in mm.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    dx: NDArray[np.float64]
    dy: NDArray[np.float64]
    distance: NDArray[np.float64]


def site_pairs(x: NDArray[np.float64], y: NDArray[np.float64]) -> SitePairs:
    """Pair every site with every later one.

    Parameters
    ----------
    x, y : ndarray of float64, shape (n,)
        Coordinates of the sites in mm.

    Returns
    -------
    SitePairs
        ``n * (n - 1) / 2`` pairs.
    """
    first, second = np.triu_indices(x.size, k=1)
    dx = x[second] - x[first]
    dy = y[second] - y[first]
    return SitePairs(first.astype(np.int64), second.astype(np.int64), dx, dy, np.hypot(dx, dy))
