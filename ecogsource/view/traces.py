"""Traces: channels above each other against time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ecogsource.view.decimate import read_envelope
from ecogsource.view.measure import channel_numbers
from ecogsource.view.style import ACCENT, INK, MUTED, new_figure, picture_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_traces", "pick_channels", "plot"]

MAX_TRACES = 32
SCALE_STEPS = np.array([1, 2, 5, 10])


def pick_channels(n_channels: int, limit: int) -> list[int]:
    """Return at most `limit` channel numbers, evenly spread over all of them."""
    if n_channels <= limit:
        return list(range(n_channels))
    return [int(c) for c in np.linspace(0, n_channels - 1, limit).round()]


def plot(
    source: Any,
    start: int = 0,
    stop: int | None = None,
    channels: Sequence[int] | None = None,
    *,
    marks: Sequence[int] = (),
    borders: Sequence[int] = (),
    title: str | None = None,
) -> Figure:
    """Draw the traces of a source.

    Parameters
    ----------
    source : source or ndarray
        Channels x time. Its ``fs`` (Hz), ``units`` and ``channel_names`` are used where it has
        them; without ``fs`` the time axis counts samples, and without names channels have the
        numbers that the channel mask counts.
    start, stop : int, optional
        The stretch to draw, in samples; the end of the recording by default. However long it is,
        little memory is used: see `read_envelope`.
    channels : sequence of int, optional
        Rows to draw, first on top. By default all, or 32 spread evenly where there are more.
    marks : sequence of int
        Samples to mark with a thin line, such as stimulus onsets.
    borders : sequence of int
        Samples where a file ends and the next begins.
    title : str, optional
        Above the picture.

    Returns
    -------
    matplotlib.figure.Figure
        Tied to no window; ``figure.savefig(path)`` writes it.

    Raises
    ------
    IndexError
        If the stretch or a channel lies outside the recording.
    MissingDependencyError
        If matplotlib is not installed.
    """
    n_channels, n_samples = source.shape
    stop = n_samples if stop is None else stop
    if not 0 <= start < stop <= n_samples:
        raise IndexError(
            f"cannot draw samples {start} to {stop}: the recording has samples 0 to {n_samples}"
        )
    if channels is None:
        channels = pick_channels(n_channels, MAX_TRACES)
    beyond = [c for c in channels if not -n_channels <= c < n_channels]
    if beyond:
        raise IndexError(f"cannot draw channels {beyond}: there are {n_channels} channels")
    with picture_style():
        figure = new_figure(10, 1.2 + 0.24 * max(len(channels), 6))
        axes = figure.add_subplot()
        draw_traces(axes, source, start, stop, channels, marks=marks, borders=borders)
        if title:
            axes.set_title(title)
    return figure


def draw_traces(
    axes: Axes,
    source: Any,
    start: int,
    stop: int,
    channels: Sequence[int],
    *,
    marks: Sequence[int] = (),
    borders: Sequence[int] = (),
) -> None:
    """Draw some channels of a stretch of a source into `axes`.

    The parameters are those of `plot`. Traces are spaced by four times the median standard
    deviation of the channels, so that one wild channel does not flatten the others; a channel
    that varies more than the space it has is cut off there, and grey.
    """
    fs = getattr(source, "fs", None)
    rate = fs or 1.0
    positions, values = read_envelope(source, start, stop, channels)
    values = values.astype(np.float64)
    middle, spread = _middle_and_spread(values)
    values -= middle[:, None]
    spacing = 4.0 * float(np.median(spread)) or float(spread.max()) or 1.0
    offsets = -spacing * np.arange(len(values))
    for sample in marks:
        axes.axvline(sample / rate, color=ACCENT, lw=0.7, alpha=0.55, zorder=0)
    for sample in borders:
        axes.axvline(sample / rate, color=INK, lw=1.2, ls=(0, (4, 3)), zorder=0)
    for row, offset, own in zip(values, offsets, spread, strict=True):
        wild = own > spacing
        shown = np.clip(row, -0.45 * spacing, 0.45 * spacing) if wild else row
        axes.plot(positions / rate, shown + offset, color=MUTED if wild else INK, lw=0.55)
    axes.set_xlim(start / rate, stop / rate)
    axes.set_ylim(offsets[-1] - 1.1 * spacing, 1.1 * spacing)
    axes.set_yticks(offsets, _labels(source, channels), fontsize=7)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("time (s)" if fs else "sample")
    _scale_bar(axes, spacing, getattr(source, "units", None))


def _middle_and_spread(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the median and the standard deviation of each row; 0 for rows without numbers."""
    known = [row[np.isfinite(row)] for row in values]
    return np.array([(np.median(row), row.std()) if len(row) else (0.0, 0.0) for row in known]).T


def _labels(source: Any, channels: Sequence[int]) -> list[str]:
    names = getattr(source, "channel_names", None)
    if names is None:
        names = channel_numbers(source)
    return [str(names[c]) for c in channels]


def _scale_bar(axes: Axes, spacing: float, units: str | None) -> None:
    """Draw a bar of a round height, about one trace's room, at the right edge of `axes`."""
    power = 10.0 ** np.floor(np.log10(spacing))
    steps: NDArray[np.float64] = SCALE_STEPS * power
    height = float(steps[steps <= spacing * 1.001][-1])
    bottom = axes.get_ylim()[0] + 0.15 * spacing
    blended = axes.get_yaxis_transform()
    axes.plot(
        [1.008, 1.008], [bottom, bottom + height], color=INK, lw=2, transform=blended, clip_on=False
    )
    axes.text(
        1.014,
        bottom + height / 2,
        f"{height:g} {(units or '').replace('uV', 'µV')}".strip(),
        transform=blended,
        va="center",
        fontsize=8,
        color=MUTED,
    )
