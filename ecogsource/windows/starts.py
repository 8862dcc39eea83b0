"""Where windows may start: stretches of starts in many sources, counted through by prefix sums."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ecogsource.windows.draws import scaled
from ecogsource.windows.masks import Runs

__all__ = ["StartTable", "Strata", "Stretches", "event_stretches", "valid_starts"]

Ints = NDArray[np.int64]


class Stretches(NamedTuple):
    """Stretches of neighbouring starts.

    Attributes
    ----------
    part, first, counts, event : ndarray, shape (n,), int64
        Number of the source, the first start, how many starts there are, and the number of the
        event they belong to (-1: none).
    """

    part: Ints
    first: Ints
    counts: Ints
    event: Ints

    @classmethod
    def of(cls, part: int, runs: Runs, event: Ints | int = -1) -> Stretches:
        """Make stretches of one source."""
        counts = runs.stops - runs.starts
        parts = np.full(len(counts), part, dtype=np.int64)
        return cls(parts, runs.starts, counts, np.broadcast_to(np.int64(event), counts.shape))

    @classmethod
    def joined(cls, pieces: Sequence[Stretches]) -> Stretches:
        """Put stretches one after the other."""
        empty = np.zeros(0, dtype=np.int64)
        return cls(*(np.concatenate([empty, *column]) for column in zip(*pieces, strict=True)))

    def take(self, order: NDArray[np.integer]) -> Stretches:
        """Return some of the stretches, in some order."""
        return Stretches(*(column[order] for column in self))


def valid_starts(bad: Runs, start: int, stop: int, length: int) -> Runs:
    """Find the starts of windows that fit between two samples and touch no bad one.

    Parameters
    ----------
    bad : Runs
        Bad samples.
    start, stop : int
        Windows lie within these samples.
    length : int
        Samples of a window.

    Returns
    -------
    Runs
        Stretches of starts.
    """
    free = bad.between(start, stop)
    long = free.stops - free.starts >= length
    return Runs(free.starts[long], free.stops[long] - (length - 1))


def event_stretches(part: int, events: Ints, offsets: range, valid: Runs) -> Stretches:
    """Find the starts around events.

    Parameters
    ----------
    part : int
        Number of the source.
    events : ndarray, shape (n,), int64
        Samples of the events.
    offsets : range
        Start of a window relative to its event; step 1.
    valid : Runs
        Where windows may start.

    Returns
    -------
    Stretches
        Those of each event, with the number of the event in `events`. Events whose windows are
        not valid have none.
    """
    if not len(valid.starts):
        return Stretches.of(part, valid)
    # Every pair of an event and a valid stretch that its starts reach into.
    low, high = events + offsets.start, events + offsets.stop
    reach_first = np.searchsorted(valid.stops, low, "right")
    reach_last = np.searchsorted(valid.starts, high, "left")
    hits = np.maximum(reach_last - reach_first, 0)
    event = np.repeat(np.arange(len(events)), hits)
    inner = np.arange(len(event)) - np.repeat(np.cumsum(hits) - hits, hits)
    stretch = reach_first[event] + inner
    runs = Runs(
        np.maximum(low[event], valid.starts[stretch]), np.minimum(high[event], valid.stops[stretch])
    )
    return Stretches.of(part, runs, event)


class Strata(NamedTuple):
    """Shares of the windows that each stratum gets.

    Attributes
    ----------
    of_stretch : ndarray, shape (stretches,), int64
        The stratum of every stretch.
    weights : ndarray, shape (strata,), float64
        Relative share of each stratum.
    """

    of_stretch: Ints
    weights: NDArray[np.float64]


class StartTable:
    """All possible starts, numbered through.

    Parameters
    ----------
    stretches : Stretches
        Where windows may start.
    step : int
        Only every `step`-th start of each stretch counts.
    strata : Strata, optional
        Shares of the stretches; by default every start is as likely as any other.

    Attributes
    ----------
    total : int
        Number of starts.
    """

    def __init__(self, stretches: Stretches, step: int = 1, strata: Strata | None = None) -> None:
        self._limits: NDArray[np.uint64] | None = None
        if strata is not None:
            order = np.argsort(strata.of_stretch, kind="stable")
            stretches = stretches.take(order)
        self._stretches, self._step = stretches, step
        self._ends = np.cumsum((stretches.counts + step - 1) // step)
        self.total = int(self._ends[-1]) if len(self._ends) else 0
        if strata is not None and self.total:
            self._set_strata(strata.of_stretch[order], strata.weights)

    def _set_strata(self, stratum: Ints, weights: NDArray[np.float64]) -> None:
        present, last = np.unique(stratum[::-1], return_index=True)
        ends = self._ends[len(stratum) - 1 - last]
        kept = weights[present] > 0
        self._stratum_first = np.append(0, ends[:-1])[kept]
        self._stratum_count = np.diff(ends, prepend=0)[kept]
        # Strata without a single start give their share to the others.
        edges = np.cumsum(weights[present][kept])
        # Words are compared with the upper edge of each share but the last, in 2**53 steps.
        self._limits = (edges[:-1] / edges[-1] * 2.0**53).astype(np.uint64) << np.uint64(11)

    @property
    def weighted(self) -> bool:
        """Whether there are strata."""
        return self._limits is not None

    def draw(self, stratum: NDArray[np.uint64], position: NDArray[np.uint64]) -> Ints:
        """Draw starts.

        Parameters
        ----------
        stratum, position : ndarray, shape (n,), uint64
            Random words; the first ones are used only if there are strata.

        Returns
        -------
        ndarray, shape (n,), int64
            Numbers of starts.
        """
        if self._limits is None:
            return scaled(position, self.total)
        chosen = np.searchsorted(self._limits, stratum, "right")
        return self._stratum_first[chosen] + scaled(position, self._stratum_count[chosen])

    def at(self, numbers: Ints) -> tuple[Ints, Ints, Ints]:
        """Say where starts are.

        Parameters
        ----------
        numbers : ndarray, shape (n,), int64
            Numbers of starts, from 0 to ``total - 1``.

        Returns
        -------
        part, start, event : ndarray, shape (n,), int64
            Number of the source, first sample of the window, and number of the event or -1.
        """
        stretch = np.searchsorted(self._ends, numbers, "right")
        before = np.where(stretch > 0, self._ends[stretch - 1], 0)
        part, first, _, event = self._stretches.take(stretch)
        return part, first + (numbers - before) * self._step, event
