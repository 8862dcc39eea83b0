"""Pictures of channel maps; matplotlib is imported here and nowhere else in this room."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from ecogsource.channel_map.coordinates import CoordinateChannelMap
from ecogsource.channel_map.grid import ChannelMap
from ecogsource.errors import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colorbar import Colorbar
    from matplotlib.figure import Figure

__all__ = ["draw_map"]


def draw_map(
    chan_map: ChannelMap,
    arr: ArrayLike | None,
    *,
    cbar: bool,
    ax: Axes | None,
    fill: float,
    **kwargs: Any,
) -> tuple[Figure, Colorbar | None]:
    """Draw one value per channel; the arguments are those of `ChannelMap.image`."""
    values = np.arange(len(chan_map)) if arr is None else np.asarray(arr)
    if values.shape != (len(chan_map),):
        raise ValueError(
            f"one value per channel is needed: got shape {values.shape} "
            f"for {len(chan_map)} channels"
        )
    if ax is None:
        ax = require("matplotlib.pyplot", "plot").subplots()[1]
    if isinstance(chan_map, CoordinateChannelMap):
        x, y = chan_map.positions().T
        drawn: Any = ax.scatter(x, y, c=values, **kwargs)
        ax.invert_yaxis()
        ax.set(xlabel="x (mm)", ylabel="y (mm)")
    else:
        drawn = _draw_grid(ax, chan_map.embed(values.astype(np.float64), fill=fill), kwargs)
    ax.set_aspect("equal")
    figure: Any = ax.figure
    label = "channel" if arr is None else ""
    bar = figure.colorbar(drawn, ax=ax, label=label) if cbar else None
    return figure, bar


def _draw_grid(ax: Axes, grid: np.ndarray[Any, Any], kwargs: dict[str, Any]) -> Any:
    rows, cols = grid.shape
    patches = require("matplotlib.patches", "plot")
    drawn = ax.imshow(grid, **{"origin": "upper", "interpolation": "nearest", **kwargs})
    for row, col in zip(*np.nonzero(np.isnan(grid)), strict=True):
        ax.add_patch(
            patches.Rectangle(
                (col - 0.5, row - 0.5), 1, 1, fill=False, hatch="//", linewidth=0, alpha=0.4
            )
        )
    ax.set(xlabel="column", ylabel="row", xlim=(-0.5, cols - 0.5), ylim=(rows - 0.5, -0.5))
    return drawn
