"""Values on the electrode grid, as pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ecogsource.view.style import blank_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

__all__ = ["draw_grid", "grid_image"]


def grid_image(
    values: NDArray[np.floating[Any]], sites: NDArray[np.integer[Any]]
) -> NDArray[np.float64]:
    """Lay one value per channel out on the grid of electrodes.

    Parameters
    ----------
    values : ndarray, shape (channels,), float
        One number for each channel.
    sites : ndarray, shape (channels, 2), int
        Row and column of each channel's electrode.

    Returns
    -------
    ndarray, shape (rows, columns), float64
        Cut to the rows and columns that have electrodes; NaN where there is none.

    Raises
    ------
    ValueError
        If there is not one site for each value.
    """
    sites = np.asarray(sites)
    if sites.shape != (len(values), 2):
        raise ValueError(f"{len(values)} values need sites of shape ({len(values)}, 2), "
                         f"got {sites.shape}")  # fmt: skip
    corner = sites.min(axis=0)
    rows, columns = (sites.max(axis=0) - corner + 1).tolist()
    image = np.full((rows, columns), np.nan)
    image[tuple((sites - corner).T)] = values
    return image


def draw_grid(
    axes: Axes,
    values: NDArray[np.floating[Any]],
    sites: NDArray[np.integer[Any]],
    *,
    limit: tuple[float, float] | None = None,
    colors: str = "viridis",
    title: str | None = None,
) -> AxesImage:
    """Draw one value per channel into `axes` as colours on the grid.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to draw.
    values, sites : ndarray
        As for `grid_image`.
    limit : (float, float), optional
        Values of the first and the last colour; the extremes by default.
    colors : str
        Name of a matplotlib colour map.
    title : str, optional
        Above the picture.

    Returns
    -------
    matplotlib.image.AxesImage
        For a colour bar.
    """
    from matplotlib import colormaps

    palette = colormaps[colors].with_extremes(bad="#eceef2")
    low, high = limit if limit is not None else (None, None)
    picture = axes.imshow(
        grid_image(values, sites), cmap=palette, vmin=low, vmax=high, interpolation="nearest"
    )
    blank_axes(axes)
    if title:
        axes.set_title(title, loc="center", fontsize=9)
    return picture
