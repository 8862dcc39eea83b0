"""Channel maps of sites that lie anywhere, not on a grid."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecogsource.channel_map.checks import checked_pitch
from ecogsource.channel_map.grid import ChannelMap
from ecogsource.errors import require

__all__ = ["CoordinateChannelMap"]


class CoordinateChannelMap(ChannelMap):
    """The position of every channel, for arrays that are not a regular grid.

    Parameters
    ----------
    rows, cols : array_like of float, shape (n,)
        Vertical (downwards) and horizontal coordinates.
    pitch : float or tuple of float
        What one unit of (rows, columns) is in mm; 1 for coordinates in mm.
    pads_up : bool
        Whether the array is drawn looking at the pads.

    Raises
    ------
    ValueError
        If the coordinates are not finite or not one of each per channel.
    """

    #: Points along the longer side of the picture made by `embed`.
    GRID_POINTS = 64

    def __init__(
        self,
        rows: ArrayLike,
        cols: ArrayLike,
        *,
        pitch: float | tuple[float, float] = 1.0,
        pads_up: bool = True,
    ) -> None:
        self._rows = np.asarray(rows, dtype=np.float64)
        self._cols = np.asarray(cols, dtype=np.float64)
        if self._rows.ndim != 1 or self._rows.shape != self._cols.shape:
            raise ValueError(
                "one row and one column per channel are needed; "
                f"got shapes {self._rows.shape} and {self._cols.shape}"
            )
        if not (np.isfinite(self._rows).all() and np.isfinite(self._cols).all()):
            raise ValueError("coordinates of sites must be finite")
        self._pitch = checked_pitch(pitch)
        self._col_major = True
        self._pads_up = bool(pads_up)
        self._geometry = self._picture_shape()

    def _picture_shape(self) -> tuple[int, int]:
        """Shape of the grid that covers the sites at equal resolution in both directions."""
        if not self._rows.size:
            return 1, 1
        height = np.ptp(self._rows) * self._pitch[0]
        width = np.ptp(self._cols) * self._pitch[1]
        step = max(height, width) / (self.GRID_POINTS - 1)
        if step == 0:
            return 1, 1
        return round(float(height / step)) + 1, round(float(width / step)) + 1

    @property
    def flat(self) -> NDArray[np.int64]:
        """The channels' own numbers: sites off a grid have no flat number."""
        return np.arange(len(self), dtype=np.int64)

    @property
    def site_mask(self) -> NDArray[np.bool_]:
        """Refused: sites off a grid have no mask.

        Raises
        ------
        TypeError
            Always.
        """
        raise TypeError("a map of free coordinates has no grid of sites; use positions()")

    def flip_pads(self) -> CoordinateChannelMap:
        """Return the map as seen from the other side: columns are mirrored about their middle."""
        centre = self._cols.min() + self._cols.max() if len(self) else 0.0
        new = self._with_sites(self._rows, centre - self._cols)
        new._pads_up = not self._pads_up
        return new  # type: ignore[return-value]

    def embed(self, data: ArrayLike, axis: int = 0, fill: float = np.nan) -> NDArray[Any]:
        """Interpolate one axis of an array, one entry per channel, onto a fine grid.

        Linear interpolation on the Delaunay triangulation of the sites
        (``scipy.interpolate.LinearNDInterpolator``).

        Parameters
        ----------
        data : array_like
            `axis` has one entry per channel.
        axis : int
            The channel axis.
        fill : float
            Value outside of the convex hull of the sites.

        Returns
        -------
        ndarray of float64
            `axis` is replaced by two axes of shape `geometry`.

        Raises
        ------
        ValueError
            If the axis has another length than the map, or fewer than three sites are given.
        """
        array = np.asarray(data, dtype=np.float64)
        axis = self._channel_axis(array, axis)
        if len(self) < 3:
            raise ValueError(f"at least 3 sites are needed to interpolate, got {len(self)}")
        interpolate = require("scipy.interpolate", "plot")
        values = np.moveaxis(array, axis, 0)
        surface = interpolate.LinearNDInterpolator(self.positions(), values, fill_value=fill)
        x, y = self.positions().T
        grid_x = np.linspace(x.min(), x.max(), self._geometry[1])
        grid_y = np.linspace(y.min(), y.max(), self._geometry[0])
        grid = surface(*np.meshgrid(grid_x, grid_y))
        return np.ascontiguousarray(np.moveaxis(grid, (0, 1), (axis, axis + 1)))

    def as_channels(self, grid: ArrayLike, axis: int = 0) -> NDArray[Any]:
        """Refused: a picture interpolated between free sites cannot be taken apart again.

        Raises
        ------
        TypeError
            Always.
        """
        raise TypeError("a map of free coordinates has no grid of sites to pick channels from")

    def __repr__(self) -> str:
        return f"CoordinateChannelMap({len(self)} channels)"
