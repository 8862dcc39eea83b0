"""The parts of a page: responses on the grid, how channels vary, spectra."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ecogsource.view.decimate import read_envelope
from ecogsource.view.grid import draw_grid
from ecogsource.view.measure import (
    channel_deviation,
    channel_numbers,
    evoked_average,
    power_spectrum,
)
from ecogsource.view.style import ACCENT, INK, MUTED, blank_axes, new_figure, picture_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

__all__ = [
    "draw_deviation",
    "draw_evoked",
    "draw_spectrum",
    "evoked_map",
    "spectrum",
    "whole_windows",
]

FRAMES_MS = (20, 28, 36, 48, 75)
BEFORE_S, AFTER_S = 0.02, 0.12
STATISTICS_SECONDS = 30.0
MAX_EVENTS = 200
FEW_CHANNELS = 4
"""Below this, values are counted instead of channels compared."""
WIDE_RATIO = 30
"""Channels that differ more than this are compared on a logarithmic scale."""


def evoked_map(
    source: Any,
    sites: NDArray[np.integer[Any]],
    events: NDArray[np.integer[Any]],
    *,
    frames_ms: Sequence[float] = FRAMES_MS,
) -> Figure:
    """Draw the average response to stimuli on the electrode grid, at some times after them.

    Parameters
    ----------
    source : source or ndarray
        Channels x time, with ``fs`` in Hz.
    sites : ndarray, shape (channels, 2), int
        Row and column of each channel's electrode.
    events : ndarray, shape (events,), int
        Samples of the stimuli; the first 200 whose response lies within the recording count.
    frames_ms : sequence of float
        The times, in milliseconds after the stimulus, from 0 to 120.

    Returns
    -------
    matplotlib.figure.Figure
        Tied to no window.

    Raises
    ------
    ValueError
        If no response lies within the recording, its rate is not known, or a time is not
        between 0 and 120 ms.
    MissingDependencyError
        If matplotlib is not installed.
    """
    inside = whole_windows(source, np.asarray(events))
    if not len(inside):
        raise ValueError(
            f"none of {len(events)} responses lies within the recording of {source.shape[1]} "
            f"samples at {getattr(source, 'fs', None)} Hz"
        )
    if not len(frames_ms) or min(frames_ms) < 0 or max(frames_ms) > 1000 * AFTER_S:
        raise ValueError(f"times are between 0 and {1000 * AFTER_S:g} ms, got {frames_ms}")
    with picture_style():
        figure = new_figure(2.1 * len(frames_ms) + 1.2, 2.9)
        draw_evoked(figure, source, sites, inside, frames_ms)
    return figure


def spectrum(source: Any, *, start: int = 0) -> Figure:
    """Draw the power spectrum of a source: the median and the band of 80 % of the channels.

    Parameters
    ----------
    source : source or ndarray
        Channels x time, with ``fs`` in Hz where known.
    start : int
        Where the 30 s begin that are used, in samples.

    Returns
    -------
    matplotlib.figure.Figure
        Tied to no window.

    Raises
    ------
    MissingDependencyError
        If matplotlib is not installed.
    """
    with picture_style():
        figure = new_figure(6, 4.2)
        draw_spectrum(figure.add_subplot(), source, start)
    return figure


def _statistics_stretch(source: Any, start: int) -> tuple[int, int]:
    fs = getattr(source, "fs", None) or 1000.0
    length = min(source.shape[1], round(STATISTICS_SECONDS * fs))
    begin = min(start, source.shape[1] - length)
    return begin, begin + length


def _units(source: Any) -> str:
    return (getattr(source, "units", None) or "stored units").replace("uV", "µV")


def _window(fs: float) -> tuple[int, int]:
    """Return how many samples before and after a stimulus its response is looked for."""
    return round(BEFORE_S * fs), max(round(AFTER_S * fs), 1)


def whole_windows(source: Any, events: NDArray[np.integer[Any]]) -> NDArray[np.integer[Any]]:
    """Return the first of the events whose response lies within the recording."""
    fs = getattr(source, "fs", None)
    if fs is None:
        return events[:0]
    before, after = _window(fs)
    inside = (events >= before) & (events + after <= source.shape[1])
    return events[inside][:MAX_EVENTS]


def draw_evoked(
    panel: Figure | SubFigure,
    source: Any,
    sites: NDArray[np.integer[Any]],
    events: NDArray[np.integer[Any]],
    frames_ms: Sequence[float] = FRAMES_MS,
) -> None:
    """Draw the average response into `panel`; see `evoked_map`."""
    fs = source.fs
    before, after = _window(fs)
    average = evoked_average(source, events, before, after)
    last = before + after - 1
    frames = [min(before + round(ms * fs / 1000), last) for ms in frames_ms]
    largest = float(np.nanmax(np.abs(average[:, frames]), initial=0.0)) or 1.0
    axes = panel.subplots(1, len(frames), squeeze=False)
    for number, (frame, milliseconds, where) in enumerate(
        zip(frames, frames_ms, axes[0], strict=True)
    ):
        picture = draw_grid(
            where,
            average[:, frame],
            sites,
            limit=(-largest, largest),
            colors="RdBu_r",
            title=f"{milliseconds:g} ms" + (" after" if number == 0 else ""),
        )
    bar = panel.colorbar(picture, ax=axes, shrink=0.7, pad=0.02, aspect=18)
    bar.outline.set_visible(False)
    bar.set_label(_units(source))
    panel.suptitle(
        f"Average response to {len(events)} stimuli on the grid",
        x=0.02,
        ha="left",
        fontsize=10,
    )


def draw_deviation(
    panel: SubFigure,
    source: Any,
    sites: NDArray[np.integer[Any]] | None,
    start: int,
) -> None:
    """Draw into `panel` how much each channel varies, on the grid where there is one."""
    begin, end = _statistics_stretch(source, start)
    deviation = channel_deviation(source, start=begin, stop=end)
    if len(deviation) < FEW_CHANNELS:
        _values_panel(panel.add_subplot(), source, begin, end)
        return
    if sites is None:
        profile = panel.add_subplot()
        if deviation.max() > WIDE_RATIO * np.median(deviation) > 0:
            profile.set_yscale("log")
        profile.bar(channel_numbers(source), deviation, width=0.85, color=INK)
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


def draw_spectrum(axes: Axes, source: Any, start: int) -> None:
    """Draw into `axes` the median spectrum and the band of 80 % of the channels."""
    fs = getattr(source, "fs", None)
    begin, end = _statistics_stretch(source, start)
    if end - begin < 8:
        blank_axes(axes)
        return
    frequency, density = power_spectrum(
        source, fs or 1.0, start=begin, stop=end, window_s=1.0 if fs else 1024.0
    )
    if not np.isfinite(density).all():
        blank_axes(axes)
        return
    # The mean was taken off, and the last point has half the power of its neighbours.
    frequency, density = frequency[1:-1], np.maximum(density[:, 1:-1], np.finfo(float).tiny)
    low, middle, high = np.percentile(density, [10, 50, 90], axis=0)
    axes.fill_between(frequency, low, high, color=MUTED, alpha=0.35, lw=0)
    axes.loglog(frequency, middle, color=ACCENT, lw=1.2)
    axes.set_xlim(frequency[0], frequency[-1])
    axes.set_xlabel("frequency (Hz)" if fs else "cycles per sample")
    axes.set_ylabel(f"{_units(source)}² / Hz" if fs else "power density")
    axes.set_title("Spectrum (band: 80 % of channels)")
