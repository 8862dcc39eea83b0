"""Channel maps on a regular grid of sites."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecogsource.channel_map.checks import (
    channel_index,
    checked_geometry,
    checked_pitch,
    integers,
    row_col_pairs,
)
from ecogsource.channel_map.pairs import SitePairs, site_pairs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colorbar import Colorbar
    from matplotlib.figure import Figure

__all__ = ["ChannelMap"]


class ChannelMap(Sequence[int]):
    """The site on a grid of every channel.

    A map is also a sequence of flat site numbers, one per channel.

    Parameters
    ----------
    chan_map : array_like of int, shape (n,)
        Flat site number of each channel, counted in the order given by `col_major`.
    geometry : tuple of int
        (rows, columns) of the grid.
    col_major : bool
        Whether flat numbers run down the columns (the default) or along the rows.
    pitch : float or tuple of float
        Distance between neighbouring sites in mm; two values are (between rows, between columns).
    pads_up : bool
        Whether the grid is drawn looking at the pads. See `flip_pads`.

    Raises
    ------
    ValueError
        If the geometry is not two positive numbers, the flat numbers are not one dimension of
        integers, or the pitch is not positive.
    IndexError
        If a flat number lies outside of the grid.
    """

    def __init__(
        self,
        chan_map: ArrayLike,
        geometry: tuple[int, int],
        *,
        col_major: bool = True,
        pitch: float | tuple[float, float] = 1.0,
        pads_up: bool = True,
    ) -> None:
        self._geometry = checked_geometry(geometry)
        flat = integers(chan_map, "flat site numbers")
        n_sites = self._geometry[0] * self._geometry[1]
        outside = flat[(flat < 0) | (flat >= n_sites)]
        if outside.size:
            raise IndexError(
                f"flat site numbers must lie in 0..{n_sites - 1} for a grid of "
                f"{self._geometry[0]} x {self._geometry[1]}; got {outside[:5].tolist()}"
            )
        rows, cols = np.unravel_index(flat, self._geometry, order="F" if col_major else "C")
        self._rows: NDArray[Any] = rows.astype(np.int64)
        self._cols: NDArray[Any] = cols.astype(np.int64)
        self._col_major = bool(col_major)
        self._pitch = checked_pitch(pitch)
        self._pads_up = bool(pads_up)

    @classmethod
    def from_index(
        cls,
        sites: ArrayLike,
        geometry: tuple[int, int],
        *,
        col_major: bool = True,
        pitch: float | tuple[float, float] = 1.0,
        pads_up: bool = True,
    ) -> ChannelMap:
        """Make a map from (row, column) pairs.

        Parameters
        ----------
        sites : array_like of int, shape (n, 2)
            Row and column of every channel.
        geometry, col_major, pitch, pads_up
            As in the constructor.

        Returns
        -------
        ChannelMap
            A map of `n` channels.

        Raises
        ------
        ValueError
            If `sites` is not pairs of integers.
        IndexError
            If a site lies outside of the grid.
        """
        pairs = row_col_pairs(sites)
        rows, cols = pairs.T
        shape = checked_geometry(geometry)
        bad = (rows < 0) | (rows >= shape[0]) | (cols < 0) | (cols >= shape[1])
        if bad.any():
            raise IndexError(
                f"sites must lie in a grid of {shape[0]} x {shape[1]}; "
                f"got {pairs[bad][:5].tolist()}"
            )
        flat = np.ravel_multi_index((rows, cols), shape, order="F" if col_major else "C")
        return cls(flat, shape, col_major=col_major, pitch=pitch, pads_up=pads_up)

    @classmethod
    def from_mask(
        cls,
        mask: ArrayLike,
        *,
        col_major: bool = True,
        pitch: float | tuple[float, float] = 1.0,
        pads_up: bool = True,
    ) -> ChannelMap:
        """Make a map of the True sites of a grid, in flat order.

        Parameters
        ----------
        mask : array_like of bool, shape (rows, columns)
            Which sites have a channel.
        col_major, pitch, pads_up
            As in the constructor.

        Returns
        -------
        ChannelMap
            A map with one channel per True site.

        Raises
        ------
        ValueError
            If the mask does not have two dimensions.
        """
        grid = np.asarray(mask, dtype=bool)
        if grid.ndim != 2:
            raise ValueError(f"a mask of sites has two dimensions, got shape {grid.shape}")
        flat = np.flatnonzero(grid.ravel(order="F" if col_major else "C"))
        return cls(flat, grid.shape, col_major=col_major, pitch=pitch, pads_up=pads_up)

    # -- what it is -------------------------------------------------------------------------

    @property
    def geometry(self) -> tuple[int, int]:
        """(rows, columns) of the grid."""
        return self._geometry

    @property
    def col_major(self) -> bool:
        """Whether flat site numbers run down the columns."""
        return self._col_major

    @property
    def pitch(self) -> tuple[float, float]:
        """Distance in mm between neighbouring (rows, columns)."""
        return self._pitch

    @property
    def pads_up(self) -> bool:
        """Whether columns are counted from the left when looking at the pads."""
        return self._pads_up

    @property
    def flat(self) -> NDArray[np.int64]:
        """Flat site number of each channel, int64 of shape (n,)."""
        rows, cols = self._geometry
        flat = self._rows + rows * self._cols if self._col_major else self._cols + cols * self._rows
        return np.asarray(flat, dtype=np.int64)

    @property
    def site_mask(self) -> NDArray[np.bool_]:
        """Which sites of the grid have a channel, bool of shape (rows, columns)."""
        mask = np.zeros(self._geometry, dtype=bool)
        mask[self._rows, self._cols] = True
        return mask

    @property
    def site_combinations(self) -> SitePairs:
        """Every pair of channels with the distance between their sites, in mm."""
        x, y = self.positions().T
        return site_pairs(x, y)

    def to_mat(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the rows and the columns of all channels.

        Returns
        -------
        rows, cols : ndarray of int64, shape (n,)
            Float for a map of free coordinates.
        """
        return self._rows.copy(), self._cols.copy()

    def positions(self) -> NDArray[np.float64]:
        """Return the sites in mm.

        Returns
        -------
        ndarray of float64, shape (n, 2)
            x (along columns) and y (along rows, downwards) of each channel.
        """
        x, y = self._cols * self._pitch[1], self._rows * self._pitch[0]
        return np.stack([x, y], axis=1).astype(np.float64)

    def lookup(self, row: ArrayLike, col: ArrayLike) -> Any:
        """Find the channel at a site.

        Parameters
        ----------
        row, col : int or array_like of int
            Site or sites, broadcast against each other.

        Returns
        -------
        int or ndarray of int64
            Position of the channel in the map; the first one if several share the site.

        Raises
        ------
        IndexError
            If there is no channel at a site; it names the site.
        """
        rows, cols = np.broadcast_arrays(row, col)
        found = np.empty(rows.shape, dtype=np.int64)
        for place in np.ndindex(rows.shape):
            match = np.flatnonzero((self._rows == rows[place]) & (self._cols == cols[place]))
            if not match.size:
                raise IndexError(
                    f"no channel at site ({rows[place]}, {cols[place]}); "
                    f"the map has {len(self)} channels"
                )
            found[place] = match[0]
        return int(found) if found.ndim == 0 else found

    def rlookup(self, channel: Any) -> tuple[Any, Any]:
        """Find the site of a channel.

        Parameters
        ----------
        channel : int or array_like of int
            Position(s) in the map; negative ones count from the end.

        Returns
        -------
        row, col : int or ndarray of int64
            The site(s).

        Raises
        ------
        IndexError
            If there is no such channel.
        """
        rows, cols = self._rows[channel], self._cols[channel]
        if np.ndim(rows) == 0:
            return rows.item(), cols.item()
        return rows, cols

    # -- other maps -------------------------------------------------------------------------

    def _with_sites(self, rows: NDArray[Any], cols: NDArray[Any]) -> ChannelMap:
        """Copy everything but the sites."""
        new = object.__new__(type(self))
        new.__dict__.update(self.__dict__)
        new._rows, new._cols = rows, cols
        return new

    def subset(self, sub: ArrayLike) -> ChannelMap:
        """Return the map of some of the channels.

        Parameters
        ----------
        sub : array_like
            A mask with one bool per channel, or positions of channels in any order.

        Returns
        -------
        ChannelMap
            The map of these channels, in the order asked for.

        Raises
        ------
        ValueError
            If a mask has another length than the map.
        IndexError
            If a position lies outside of the map.
        """
        index = channel_index(sub, len(self))
        return self._with_sites(self._rows[index], self._cols[index])

    def as_col_major(self) -> ChannelMap:
        """Return the same sites with flat numbers that run down the columns."""
        return self._ordered(col_major=True)

    def as_row_major(self) -> ChannelMap:
        """Return the same sites with flat numbers that run along the rows."""
        return self._ordered(col_major=False)

    def _ordered(self, *, col_major: bool) -> ChannelMap:
        new = self._with_sites(self._rows, self._cols)
        new._col_major = col_major
        return new

    def flip_pads(self) -> ChannelMap:
        """Return the map as seen from the other side: columns are mirrored."""
        new = self._with_sites(self._rows, self._geometry[1] - 1 - self._cols)
        new._pads_up = not self._pads_up
        return new

    # -- data on the grid -------------------------------------------------------------------

    def embed(self, data: ArrayLike, axis: int = 0, fill: float = np.nan) -> NDArray[Any]:
        """Put one axis of an array, one entry per channel, on the grid.

        Parameters
        ----------
        data : array_like
            `axis` has one entry per channel.
        axis : int
            The channel axis.
        fill : float
            Value of the sites without a channel.

        Returns
        -------
        ndarray
            `axis` is replaced by two axes (rows, columns); the dtype holds data and `fill`.

        Raises
        ------
        ValueError
            If the axis has another length than the map.
        """
        array = np.asarray(data)
        axis = self._channel_axis(array, axis)
        moved = np.moveaxis(array, axis, 0)
        dtype = np.result_type(array.dtype, np.min_scalar_type(fill))
        grid = np.full((*self._geometry, *moved.shape[1:]), fill, dtype=dtype)
        grid[self._rows, self._cols] = moved
        return np.ascontiguousarray(np.moveaxis(grid, (0, 1), (axis, axis + 1)))

    def as_channels(self, grid: ArrayLike, axis: int = 0) -> NDArray[Any]:
        """Pick the channels out of an array on the grid: the inverse of `embed`.

        Parameters
        ----------
        grid : array_like
            Axes `axis` and ``axis + 1`` are (rows, columns).
        axis : int
            The axis of rows.

        Returns
        -------
        ndarray
            The two axes are replaced by one with an entry per channel.

        Raises
        ------
        ValueError
            If the two axes do not have the geometry of the map.
        """
        array = np.asarray(grid)
        if axis < 0:
            axis += array.ndim
        if array.shape[axis : axis + 2] != self._geometry:
            raise ValueError(
                f"axes {axis} and {axis + 1} must have the geometry {self._geometry} of the map, "
                f"got an array of shape {array.shape}"
            )
        picked = np.moveaxis(array, (axis, axis + 1), (0, 1))[self._rows, self._cols]
        return np.ascontiguousarray(np.moveaxis(picked, 0, axis))

    def _channel_axis(self, array: NDArray[Any], axis: int) -> int:
        if not -array.ndim <= axis < array.ndim or array.shape[axis] != len(self):
            raise ValueError(
                f"axis {axis} must have {len(self)} entries, one per channel; "
                f"got an array of shape {array.shape}"
            )
        return axis % array.ndim

    def image(
        self,
        arr: ArrayLike | None = None,
        *,
        cbar: bool = True,
        ax: Axes | None = None,
        fill: float = np.nan,
        **kwargs: Any,
    ) -> tuple[Figure, Colorbar | None]:
        """Draw values on the electrode array.

        Parameters
        ----------
        arr : array_like, shape (n,), optional
            One value per channel; the channel numbers if not given.
        cbar : bool
            Whether to draw a colour bar.
        ax : matplotlib.axes.Axes, optional
            Where to draw; a new figure if not given.
        fill : float
            Value of sites without a channel; sites that are NaN are hatched.
        **kwargs
            Passed to ``Axes.imshow``, or to ``Axes.scatter`` for free coordinates.

        Returns
        -------
        figure : matplotlib.figure.Figure
            The figure drawn in.
        colorbar : matplotlib.colorbar.Colorbar or None
            The colour bar, None where there is none.

        Raises
        ------
        ValueError
            If `arr` does not hold one value per channel.
        MissingDependencyError
            If matplotlib is not installed.
        """
        from ecogsource.channel_map.picture import draw_map

        return draw_map(self, arr, cbar=cbar, ax=ax, fill=fill, **kwargs)

    # -- sequence ---------------------------------------------------------------------------

    def __len__(self) -> int:
        return int(self._rows.size)

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> ChannelMap: ...
    def __getitem__(self, index: int | slice) -> int | ChannelMap:
        if isinstance(index, slice):
            return self.subset(np.arange(len(self))[index])
        return int(self.flat[index])

    def __iter__(self) -> Iterator[int]:
        return iter(self.flat.tolist())

    def _state(self) -> tuple[object, ...]:
        return (self._geometry, self._pitch, self._pads_up, self._col_major)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ChannelMap) or type(other) is not type(self):
            return NotImplemented
        return (
            self._state() == other._state()
            and np.array_equal(self._rows, other._rows)
            and np.array_equal(self._cols, other._cols)
        )

    __hash__ = None  # type: ignore[assignment]  # equal maps may hold different arrays

    def __repr__(self) -> str:
        rows, cols = self._geometry
        order = "column" if self._col_major else "row"
        return f"ChannelMap({len(self)} channels on {rows} x {cols}, {order}-major)"
