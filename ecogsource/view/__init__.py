"""Pictures of recordings.

`plot` draws traces, `evoked_map` responses on the grid, `spectrum` the power spectrum, `overview` a
page that shows what a recording is. All take any source,
or any array of channels x time, read no more than they draw, and return a matplotlib figure that
needs no display. matplotlib comes with ``pip install ecogsource[plot]``.
"""

from __future__ import annotations

from ecogsource.view.decimate import read_envelope
from ecogsource.view.grid import draw_grid, grid_image
from ecogsource.view.measure import channel_deviation, evoked_average, power_spectrum
from ecogsource.view.overview import overview
from ecogsource.view.panels import evoked_map, spectrum
from ecogsource.view.traces import draw_traces, plot

__all__ = [
    "channel_deviation",
    "draw_grid",
    "draw_traces",
    "evoked_average",
    "evoked_map",
    "grid_image",
    "overview",
    "plot",
    "power_spectrum",
    "read_envelope",
    "spectrum",
]
