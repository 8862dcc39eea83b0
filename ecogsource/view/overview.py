"""One page that shows what a recording is: traces, the grid, the spectrum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ecogsource.view.panels import draw_deviation, draw_evoked, draw_spectrum, whole_windows
from ecogsource.view.style import new_figure, picture_style
from ecogsource.view.traces import draw_traces, pick_channels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["overview"]

N_TRACES = 16
TRACE_SECONDS = 3.0
TRACE_SAMPLES = 4000
"""How much is drawn of a recording whose rate is not known."""


def overview(
    source: Any,
    *,
    sites: NDArray[np.integer[Any]] | None = None,
    events: NDArray[np.integer[Any]] | None = None,
    borders: Sequence[int] = (),
    title: str = "",
) -> Figure:
    """Draw traces, the electrode grid and the spectrum of a source on one page.

    With events, the grid shows the average response at some times after them; without, how much
    each channel varies. Without `sites` a profile over channels stands in for the grid. The
    spectrum and the profile come from at most 30 s, and the average from the first 200 events, so
    a page of a week-long recording takes no longer than one of a minute.

    Parameters
    ----------
    source : source or ndarray
        Channels x time, with ``fs`` (Hz), ``units`` and ``channel_names`` where known.
    sites : ndarray, shape (channels, 2), int, optional
        Row and column of each channel's electrode.
    events : ndarray, shape (events,), int, optional
        Samples of the stimuli.
    borders : sequence of int
        Samples where a file ends and the next begins; the first is put in the middle of the
        traces.
    title : str
        Above the page.

    Returns
    -------
    matplotlib.figure.Figure
        Tied to no window; ``figure.savefig(path)`` writes it.

    Raises
    ------
    ValueError
        If the source is empty.
    MissingDependencyError
        If matplotlib is not installed.
    """
    if 0 in source.shape:
        raise ValueError(f"nothing to draw: the source has shape {tuple(source.shape)}")
    events = np.empty(0, np.int64) if events is None else np.asarray(events)
    start, stop = _stretch(source, borders)
    with picture_style():
        figure = new_figure(12, 8.2)
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        halves: Any = figure.subfigures(2, 1, height_ratios=[1.9, 1])
        upper, lower = halves
        channels = pick_channels(source.shape[0], N_TRACES)
        traces = upper.add_subplot()
        inside = [int(e) for e in events if start <= e < stop]
        seams = [b for b in borders if start < b < stop]
        draw_traces(traces, source, start, stop, channels, marks=inside, borders=seams)
        traces.set_title(_trace_title(source, len(channels), inside, seams))
        left, right = lower.subfigures(1, 2, width_ratios=[2.4, 1])
        whole = whole_windows(source, events)
        if len(whole) and sites is not None:
            draw_evoked(left, source, sites, whole)
        else:
            draw_deviation(left, source, sites, start)
        draw_spectrum(right.add_subplot(), source, start)
    return figure


def _stretch(source: Any, borders: Sequence[int]) -> tuple[int, int]:
    """Return the samples to draw: around the first border, or else in the middle."""
    n_samples = source.shape[1]
    fs = getattr(source, "fs", None)
    length = min(n_samples, round(TRACE_SECONDS * fs) if fs else TRACE_SAMPLES)
    middle = borders[0] if len(borders) else n_samples // 2
    start = min(max(middle - length // 2, 0), n_samples - length)
    return start, start + max(length, 1)


def _trace_title(source: Any, drawn: int, inside: list[int], seams: list[int]) -> str:
    n_channels = source.shape[0]
    some = f"{drawn} of {n_channels}" if drawn < n_channels else f"{n_channels}"
    parts = [f"{some} channel{'s' if n_channels > 1 else ''}"]
    if seams:
        parts.append("dashed: where one file ends and the next begins")
    if inside:
        parts.append("red: stimuli")
    return "  ·  ".join(parts)
