"""One page that shows what a recording is: traces, the grid, the spectrum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ecogsource.view.decimate import read_envelope
from ecogsource.view.grid import draw_grid
from ecogsource.view.measure import channel_deviation, evoked_average, power_spectrum
from ecogsource.view.style import ACCENT, INK, MUTED, blank_axes, new_figure, picture_style
from ecogsource.view.traces import draw_traces, pick_channels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

__all__ = ["overview"]

N_TRACES = 16
TRACE_SECONDS = 3.0
TRACE_SAMPLES = 4000
"""How much is drawn of a recording whose rate is not known."""
FRAMES_MS = (20, 28, 36, 48, 75)
STATISTICS_SECONDS = 30.0
MAX_EVENTS = 200
FEW_CHANNELS = 4
"""Below this, values are counted instead of channels compared."""
WIDE_RATIO = 30
"""Channels that differ more than this are compared on a logarithmic scale."""


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
        halves: Any = figure.subfigures(2, 1, height_ratios=[1.65, 1])
        upper, lower = halves
        channels = pick_channels(source.shape[0], N_TRACES)
        traces = upper.add_subplot()
        inside = [int(e) for e in events if start <= e < stop]
        seams = [b for b in borders if start < b < stop]
        draw_traces(traces, source, start, stop, channels, marks=inside, borders=seams)
        traces.set_title(_trace_title(source, len(channels), inside, seams))
        left, right = lower.subfigures(1, 2, width_ratios=[2.4, 1])
        whole = _whole_windows(source, events)
        if len(whole) and sites is not None:
            _evoked_panel(left, source, sites, whole)
        else:
            _deviation_panel(left, source, sites, start)
        _spectrum_panel(right.add_subplot(), source, start)
    return figure


def _stretch(source: Any, borders: Sequence[int]) -> tuple[int, int]:
    """Return the samples to draw: around the first border, or else in the middle."""
    n_samples = source.shape[1]
    fs = getattr(source, "fs", None)
    length = min(n_samples, round(TRACE_SECONDS * fs) if fs else TRACE_SAMPLES)
    middle = borders[0] if len(borders) else n_samples // 2
    start = min(max(middle - length // 2, 0), n_samples - length)
    return start, start + max(length, 1)


def _statistics_stretch(source: Any, start: int) -> tuple[int, int]:
    fs = getattr(source, "fs", None) or 1000.0
    length = min(source.shape[1], round(STATISTICS_SECONDS * fs))
    begin = min(start, source.shape[1] - length)
    return begin, begin + length


def _trace_title(source: Any, drawn: int, inside: list[int], seams: list[int]) -> str:
    n_channels = source.shape[0]
    some = f"{drawn} of {n_channels}" if drawn < n_channels else f"{n_channels}"
    parts = [f"{some} channel{'s' if n_channels > 1 else ''}"]
    if seams:
        parts.append("dashed: where one file ends and the next begins")
    if inside:
        parts.append("red: stimuli")
    return "  ·  ".join(parts)


def _units(source: Any) -> str:
    return (getattr(source, "units", None) or "stored units").replace("uV", "µV")


def _window(fs: float) -> tuple[int, int]:
    """Return how many samples before and after a stimulus its response is looked for."""
    return round(0.02 * fs), round(0.12 * fs)


def _whole_windows(source: Any, events: NDArray[np.integer[Any]]) -> NDArray[np.integer[Any]]:
    """Return the first of the events whose response lies within the recording."""
    fs = getattr(source, "fs", None)
    if fs is None:
        return events[:0]
    before, after = _window(fs)
    inside = (events >= before) & (events + after <= source.shape[1])
    return events[inside][:MAX_EVENTS]


def _evoked_panel(
    panel: SubFigure,
    source: Any,
    sites: NDArray[np.integer[Any]],
    events: NDArray[np.integer[Any]],
) -> None:
    """Draw the average response on the grid at some times after the stimulus."""
    fs = source.fs
    before, after = _window(fs)
    average = evoked_average(source, events, before, after)
    frames = [before + round(ms * fs / 1000) for ms in FRAMES_MS]
    largest = float(np.abs(average[:, frames]).max()) or 1.0
    axes = panel.subplots(1, len(frames))
    for number, (frame, milliseconds, where) in enumerate(
        zip(frames, FRAMES_MS, axes, strict=True)
    ):
        picture = draw_grid(
            where,
            average[:, frame],
            sites,
            limit=(-largest, largest),
            colors="RdBu_r",
            title=f"{milliseconds} ms" + (" after" if number == 0 else ""),
        )
    bar = panel.colorbar(picture, ax=axes, shrink=0.6, pad=0.02, aspect=18)
    bar.outline.set_visible(False)
    bar.set_label(_units(source))
    panel.suptitle(
        f"Average response to {len(events)} stimuli on the grid",
        x=0.02,
        ha="left",
        fontsize=10,
    )


def _deviation_panel(
    panel: SubFigure,
    source: Any,
    sites: NDArray[np.integer[Any]] | None,
    start: int,
) -> None:
    """Draw how much each channel varies, on the grid where there is one."""
    begin, end = _statistics_stretch(source, start)
    deviation = channel_deviation(source, start=begin, stop=end)
    if len(deviation) < FEW_CHANNELS:
        _values_panel(panel.add_subplot(), source, begin, end)
        return
    if sites is None:
        profile = panel.add_subplot()
        if deviation.max() > WIDE_RATIO * np.median(deviation) > 0:
            profile.set_yscale("log")
        profile.bar(np.arange(len(deviation)), deviation, width=0.85, color=INK)
        profile.set_xlabel("channel")
        profile.set_ylabel(f"standard deviation ({_units(source)})")
        profile.set_title("How much each channel varies")
        return
    grid, profile = panel.subplots(1, 2, width_ratios=[1, 1.3])
    low, high = np.nanpercentile(deviation, [2, 98]).tolist()
    picture = draw_grid(grid, deviation, sites, limit=(low, high), colors="viridis")
    grid.set_title("Standard deviation on the grid")
    bar = panel.colorbar(picture, ax=grid, shrink=0.7, pad=0.03, aspect=18, extend="both")
    bar.outline.set_visible(False)
    bar.set_label(_units(source))
    profile.plot(np.sort(deviation)[::-1], np.arange(len(deviation)) + 1, ".-", color=INK, lw=0.6)
    profile.set_xlabel(f"standard deviation ({_units(source)})")
    profile.set_ylabel("channels above")
    profile.set_title("Spread over channels")


def _values_panel(axes: Axes, source: Any, begin: int, end: int) -> None:
    """Draw how often each value occurs in each of a few channels."""
    _, values = read_envelope(source, begin, end, range(source.shape[0]), max_points=200_000)
    for channel, row in enumerate(values):
        finite = row[np.isfinite(row)]
        axes.hist(finite, bins=80, histtype="step", color=INK, alpha=1 / (1 + channel))
    axes.set_xlabel(f"value ({_units(source)})")
    axes.set_ylabel("count")
    axes.set_title("How often each value occurs")


def _spectrum_panel(axes: Axes, source: Any, start: int) -> None:
    """Draw the median spectrum and the band of 80 % of the channels."""
    fs = getattr(source, "fs", None)
    begin, end = _statistics_stretch(source, start)
    if end - begin < 8:
        blank_axes(axes)
        return
    frequency, density = power_spectrum(
        source, fs or 1.0, start=begin, stop=end, window_s=1.0 if fs else 1024.0
    )
    # The mean was taken off, and the last point has half the power of its neighbours.
    frequency, density = frequency[1:-1], np.maximum(density[:, 1:-1], np.finfo(float).tiny)
    low, middle, high = np.percentile(density, [10, 50, 90], axis=0)
    axes.fill_between(frequency, low, high, color=MUTED, alpha=0.35, lw=0)
    axes.loglog(frequency, middle, color=ACCENT, lw=1.2)
    axes.set_xlim(frequency[0], frequency[-1])
    axes.set_xlabel("frequency (Hz)" if fs else "cycles per sample")
    axes.set_ylabel(f"{_units(source)}² / Hz" if fs else "power density")
    axes.set_title("Spectrum (band: 80 % of channels)")
