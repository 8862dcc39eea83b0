"""Triggers: edges of analogue and digital lines, found block by block in bounded memory.

An analogue line is taken to have two levels. They are estimated from a histogram of all samples,
as medians of the two sides of a threshold that is moved halfway between them until it stays there
(Ridler and Calvard, IEEE Trans. Syst. Man Cybern. 8:630, 1978, with medians for means). Edges are
crossings with hysteresis, so noise at a crossing makes no edges of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Edges",
    "Levels",
    "find_edges",
    "find_words",
    "line_levels",
    "unpack_lines",
    "words_of_edges",
]

Blocks = Callable[[], Iterable[NDArray[Any]]]

_BINS = 1 << 14
_BLOCK = 1 << 20
# The levels of a line that only carries noise lie about four times their own spread apart.
_LEAST_CONTRAST = 8.0
_HYSTERESIS = 0.1
# Words are int64 and stay positive.
_MOST_LINES = 62


class Levels(NamedTuple):
    """The two levels of a line.

    Attributes
    ----------
    low, high : float
        Medians of the samples on the two sides of the threshold.
    contrast : float
        Distance of the levels over their spread (median absolute deviation); infinite for a line
        without noise.
    """

    low: float
    high: float
    contrast: float

    @property
    def threshold(self) -> float:
        """Halfway between the levels."""
        return (self.low + self.high) / 2


class Edges(NamedTuple):
    """Edges of a line.

    Attributes
    ----------
    rising, falling : ndarray of int64
        Sample numbers: the first sample beyond the threshold.
    levels : Levels or None
        The levels used, None for a line without two levels.
    """

    rising: NDArray[np.int64]
    falling: NDArray[np.int64]
    levels: Levels | None


def _in_blocks(signal: Any) -> Blocks:
    """Read a one-dimensional array, or anything sliced like one, in blocks; twice if need be."""
    if callable(signal) and not isinstance(signal, np.ndarray):
        return signal
    n = len(signal)
    return lambda: (np.asarray(signal[i : i + _BLOCK]) for i in range(0, n, _BLOCK))


def line_levels(signal: Any, *, min_samples: int = 1) -> Levels | None:
    """Estimate the two levels of a line.

    Parameters
    ----------
    signal : array_like or callable
        One dimension; or a function that returns an iterator over consecutive blocks, which is
        called twice.
    min_samples : int
        How many samples a level needs at least: fewer are taken for glitches and left out.

    Returns
    -------
    Levels or None
        None if the line is empty, flat, or carries only noise.
    """
    blocks = _in_blocks(signal)
    least, most = np.inf, -np.inf
    for block in blocks():
        values = np.asarray(block, dtype=np.float64)
        finite = values[np.isfinite(values)]
        if finite.size:
            least, most = min(least, finite.min()), max(most, finite.max())
    if not least < most:
        return None
    edges = np.linspace(least, most, _BINS + 1)
    counts = np.zeros(_BINS, dtype=np.int64)
    for block in blocks():
        counts += np.histogram(np.asarray(block, dtype=np.float64), edges)[0]
    return _two_levels(counts, (edges[:-1] + edges[1:]) / 2, min_samples)


def _two_levels(
    counts: NDArray[np.int64], centres: NDArray[np.float64], min_samples: int
) -> Levels | None:
    used = np.flatnonzero(counts)
    counts, centres = counts[used[0] : used[-1] + 1], centres[used[0] : used[-1] + 1]
    cut = counts.size // 2
    for _ in range(_BINS):
        below, above = counts[:cut], counts[cut:]
        # A few extreme samples would hold the threshold at half their height for ever.
        if above.sum() < min_samples:
            counts, centres = below, centres[:cut]
        elif below.sum() < min_samples:
            counts, centres = above, centres[cut:]
        else:
            low, high = _median(below, centres[:cut]), _median(above, centres[cut:])
            new = int(np.searchsorted(centres, (low + high) / 2))
            if new == cut:
                return _contrasted(counts, centres, cut, low, high)
            cut = new
            continue
        if np.count_nonzero(counts) < 2:
            return None
        cut = counts.size // 2
    return None


def _contrasted(
    counts: NDArray[np.int64], centres: NDArray[np.float64], cut: int, low: float, high: float
) -> Levels | None:
    deviation = np.abs(centres - np.where(np.arange(counts.size) < cut, low, high))
    order = np.argsort(deviation, kind="stable")
    spread = _median(counts[order], deviation[order])
    contrast = np.inf if spread == 0 else (high - low) / spread
    return Levels(low, high, float(contrast)) if contrast >= _LEAST_CONTRAST else None


def _median(counts: NDArray[np.int64], values: NDArray[np.float64]) -> float:
    total = np.cumsum(counts)
    return float(values[np.searchsorted(total, (total[-1] + 1) // 2)])


def find_edges(signal: Any, *, min_width: int = 1, threshold: float | None = None) -> Edges:
    """Find the rising and falling edges of a line.

    Parameters
    ----------
    signal : array_like or callable
        One dimension: analogue values, or bools of a digital line. Or a function that returns an
        iterator over consecutive blocks, which is called up to three times.
    min_width : int
        Pulses (and glitches) shorter than so many samples are left out.
    threshold : float, optional
        Where to cross; halfway between the levels of the line if not given.

    Returns
    -------
    Edges
        Empty if the line has no two levels. A line that starts high has no edge at its start.

    Raises
    ------
    ValueError
        If `min_width` is less than 1 or the signal has more than one dimension.
    """
    if min_width < 1:
        raise ValueError(f"min_width must be at least 1 sample, got {min_width}")
    blocks = _in_blocks(signal)
    levels = line_levels(blocks, min_samples=min_width) if threshold is None else None
    if threshold is None and levels is None:
        return Edges(np.zeros(0, np.int64), np.zeros(0, np.int64), None)
    if levels is not None:
        margin = _HYSTERESIS * (levels.high - levels.low)
        down, up = levels.threshold - margin, levels.threshold + margin
    else:
        down = up = float(threshold)  # type: ignore[arg-type]
    rising, falling = _crossings(blocks(), down, up)
    return Edges(*_without_short(rising, falling, min_width), levels)


def _crossings(
    blocks: Iterable[NDArray[Any]], down: float, up: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All crossings with hysteresis, the state carried from block to block."""
    start, state = 0, 0
    rising, falling = [], []
    for block in blocks:
        values = np.asarray(block)
        if values.ndim != 1:
            raise ValueError(f"a line has one dimension, got shape {values.shape}")
        values = values.astype(np.float64, copy=False)
        # +1 certainly high, -1 certainly low, 0 as before
        sure = np.where(values > up, 1, np.where(values <= down, -1, 0)).astype(np.int8)
        last = np.maximum.accumulate(np.where(sure != 0, np.arange(1, sure.size + 1), 0))
        states = np.concatenate([[state], np.concatenate([[state], sure])[last]])
        change = np.diff(states)
        # Before the first certain sample there is no state to leave.
        rising.append(np.flatnonzero(change == 2) + start)
        falling.append(np.flatnonzero(change == -2) + start)
        if sure.size:
            state = int(states[-1])
        start += sure.size
    return _joined(rising), _joined(falling)


def _joined(parts: list[NDArray[Any]]) -> NDArray[np.int64]:
    return np.concatenate(parts).astype(np.int64) if parts else np.zeros(0, np.int64)


def _without_short(
    rising: NDArray[np.int64], falling: NDArray[np.int64], min_width: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Drop pulses of less than a width: a rise with the fall that follows too soon."""
    if min_width == 1 or not rising.size or not falling.size:
        return rising, falling
    after = np.searchsorted(falling, rising, side="right")
    ends = after < falling.size
    width = np.full(rising.size, min_width)
    width[ends] = falling[after[ends]] - rising[ends]
    short = width < min_width
    drop = np.zeros(falling.size, dtype=bool)
    drop[after[short & ends]] = True
    return rising[~short], falling[~drop]


def find_words(
    lines: ArrayLike, *, min_width: int = 1
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Read words from several digital lines.

    Parameters
    ----------
    lines : array_like of bool, shape (n_lines, n_samples)
        The first line is the lowest bit.
    min_width : int
        Words that last for fewer samples are left out: lines never switch quite together.

    Returns
    -------
    times : ndarray of int64
        First sample of every word.
    words : ndarray of int64
        The words; one that repeats, or returns after a shorter one, is given once. The word that
        the lines start with is not given.

    Raises
    ------
    ValueError
        If there are no or more than 62 lines, or `min_width` is less than 1.
    """
    bits = np.asarray(lines).astype(bool)
    if bits.ndim != 2:
        raise ValueError(f"1 to 62 lines x samples are needed, got shape {bits.shape}")
    edges = [find_edges(line, threshold=0.5) for line in bits]
    high = [bool(line[0]) if line.size else False for line in bits]
    return words_of_edges(edges, bits.shape[1], starts_high=high, min_width=min_width)


def words_of_edges(
    edges: Sequence[Edges],
    n_samples: int,
    *,
    starts_high: Sequence[bool] | None = None,
    min_width: int = 1,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Read words from the edges of several lines, in memory of the number of edges.

    Parameters
    ----------
    edges : sequence of Edges
        One per line; the first line is the lowest bit.
    n_samples : int
        Length of the lines.
    starts_high : sequence of bool, optional
        Which lines are high at the start; by default those that fall before they rise.
    min_width : int
        As in `find_words`.

    Returns
    -------
    times, words : ndarray of int64
        As from `find_words`.

    Raises
    ------
    ValueError
        If there are no or more than 62 lines, or `min_width` is less than 1.
    """
    if not 1 <= len(edges) <= _MOST_LINES:
        raise ValueError(f"1 to {_MOST_LINES} lines are needed, got {len(edges)}")
    if min_width < 1:
        raise ValueError(f"min_width must be at least 1 sample, got {min_width}")
    none = np.zeros(0, dtype=np.int64)
    high = starts_high if starts_high is not None else [_falls_first(one) for one in edges]
    start = sum(1 << bit for bit, is_high in enumerate(high) if is_high)
    moments, steps = [none], [none]
    for bit, one in enumerate(edges):
        for when, sign in ((one.rising, 1), (one.falling, -1)):
            moments.append(when)
            steps.append(np.full(when.size, sign * (1 << bit), dtype=np.int64))
    when, where = np.unique(np.concatenate(moments), return_inverse=True)
    change = np.zeros(when.size, dtype=np.int64)
    np.add.at(change, where.reshape(-1), np.concatenate(steps))
    times = np.concatenate([[0], when]).astype(np.int64)
    words = np.concatenate([[start], start + np.cumsum(change)]).astype(np.int64)
    lasting = np.diff(times, append=n_samples) >= min_width
    lasting[:1] = True
    times, words = times[lasting], words[lasting]
    changed = np.diff(words, prepend=words[:1]) != 0
    return times[changed], words[changed]


def _falls_first(edges: Edges) -> bool:
    rising, falling = edges.rising, edges.falling
    return bool(falling.size and (not rising.size or falling[0] < rising[0]))


def unpack_lines(words: ArrayLike, n_lines: int) -> NDArray[np.bool_]:
    """Take the lines of a digital port apart.

    Parameters
    ----------
    words : array_like of int, shape (n_samples,)
        One word per sample; its lowest bit is line 0.
    n_lines : int
        How many lines.

    Returns
    -------
    ndarray of bool, shape (n_lines, n_samples)
        One row per line.
    """
    stream = np.asarray(words).astype(np.int64)
    return ((stream >> np.arange(n_lines)[:, np.newaxis]) & 1).astype(bool)
