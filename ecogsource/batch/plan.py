"""Cutting a recording into batches that fit a budget of memory. Pure arithmetic."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ecogsource.indexing import Selector, as_slice, normalize_outer
from ecogsource.memory import format_bytes

__all__ = [
    "Batch",
    "channel_batches",
    "chosen_channels",
    "in_pieces",
    "select_channels",
    "select_times",
    "time_batches",
]


class Batch(NamedTuple):
    """One piece of a recording.

    Parameters
    ----------
    number : int
        Its place in the order of the results.
    start, stop : int
        Observations.
    channels : range or numpy.ndarray
        Channels.
    """

    number: int
    start: int
    stop: int
    channels: Any

    @property
    def place(self) -> tuple[slice, Any]:
        """Where the batch lies in the recording: ``reader[batch.place]``."""
        channels = self.channels
        return (
            slice(self.start, self.stop),
            as_slice(channels) if isinstance(channels, range) else channels.tolist(),
        )

    def __str__(self) -> str:
        return (
            f"batch {self.number} (observations {self.start} to {self.stop}, "
            f"{len(self.channels)} channels from {self.channels[0]})"
        )


def select_channels(channels: Any, n_channels: int) -> range | np.ndarray:
    """Normalise the `channels` argument of batch operations.

    Parameters
    ----------
    channels : 'all', int, slice, or sequence of int or bool
        Which channels.
    n_channels : int
        How many there are.

    Returns
    -------
    range or numpy.ndarray
        Canonical selector.

    Raises
    ------
    ValueError
        If it is another string, or selects nothing.
    IndexError
        If there is no such channel.
    """
    if isinstance(channels, str):
        if channels != "all":
            raise ValueError(f"channels is 'all', a number or a sequence, got {channels!r}")
        channels = slice(None)
    if isinstance(channels, (int, np.integer)):
        channels = [channels]
    wanted = channels if isinstance(channels, slice) else list(channels)
    selector: Selector = normalize_outer((wanted,), (n_channels,)).selectors[0]
    if isinstance(selector, int) or len(selector) == 0:
        raise ValueError(f"channels={channels!r} selects nothing of {n_channels} channels")
    return selector


def select_times(from_time: int | None, to_time: int | None, observations: int) -> tuple[int, int]:
    """Normalise the time limits of batch operations.

    Parameters
    ----------
    from_time, to_time : int or None
        Observations; None for the ends of the recording.
    observations : int
        How many there are.

    Returns
    -------
    start, stop : int
        The limits.

    Raises
    ------
    ValueError
        If they do not lie in order inside the recording.
    TypeError
        If they are no integers.
    """
    start = 0 if from_time is None else operator.index(from_time)
    stop = observations if to_time is None else operator.index(to_time)
    if not 0 <= start < stop <= observations:
        raise ValueError(
            f"from_time {from_time} and to_time {to_time} must lie in order inside the "
            f"{observations} observations of the recording"
        )
    return start, stop


def chosen_channels(batches: list[Batch]) -> list[int]:
    """Give the channels of all batches, in the order in which they were asked for.

    Parameters
    ----------
    batches : list of Batch
        All batches of a work.

    Returns
    -------
    list of int
        Channels; one that was asked for twice stands there twice.
    """
    first = batches[0].start
    return [int(c) for batch in batches if batch.start == first for c in batch.channels]


def in_pieces(batches: list[Batch]) -> bool:
    """Tell whether no batch holds all observations of its channels.

    Parameters
    ----------
    batches : list of Batch
        All batches of a work.

    Returns
    -------
    bool
        Whether the recording is cut in time.
    """
    return batches[0].stop != batches[-1].stop


def time_batches(
    start: int, stop: int, channels: range | np.ndarray, itemsize: int, *, budget: int, margin: int
) -> Iterator[Batch]:
    """Give batches of all channels, as long as the budget allows.

    Parameters
    ----------
    start, stop : int
        Observations.
    channels : range or numpy.ndarray
        Channels of every batch.
    itemsize : int
        Bytes of a number.
    budget : int
        Most bytes of a batch, margins included.
    margin : int
        Observations that each batch gets on both sides.

    Yields
    ------
    Batch
        In order of time.

    Raises
    ------
    ValueError
        If not even one observation with its margins fits.
    """
    row = itemsize * len(channels)
    length = budget // row - 2 * margin
    if length < 1:
        raise ValueError(
            f"max_memory of {format_bytes(budget)} is too small: one observation of "
            f"{len(channels)} channels with a buffer of {margin} on each side takes "
            f"{format_bytes(row * (1 + 2 * margin))}"
        )
    for number, low in enumerate(range(start, stop, length)):
        yield Batch(number, low, min(low + length, stop), channels)


def channel_batches(
    start: int,
    stop: int,
    channels: range | np.ndarray,
    itemsize: int,
    *,
    budget: int,
    complete: bool,
    workers: int = 1,
) -> Iterator[Batch]:
    """Give batches of one channel, in groups that are read together where channels fit whole.

    Parameters
    ----------
    start, stop : int
        Observations.
    channels : range or numpy.ndarray
        Channels.
    itemsize : int
        Bytes of a number.
    budget : int
        Most bytes of a batch.
    complete : bool
        Whether each channel must stay in one piece.
    workers : int
        How many share the work: all get about the same.

    Yields
    ------
    Batch
        Groups of whole channels, or pieces of one channel.

    Raises
    ------
    ValueError
        If `complete` and a channel does not fit.
    """
    whole = (stop - start) * itemsize
    together = budget // whole
    if together:
        for number, (low, high) in enumerate(_groups(len(channels), together, workers)):
            yield Batch(number, start, stop, channels[low:high])
        return
    if complete:
        raise ValueError(
            f"max_memory of {format_bytes(budget)} is too small: {stop - start} observations of "
            f"one channel take {format_bytes(whole)}; raise max_memory, or pass "
            "force_complete_channel_batch=False"
        )
    length = budget // itemsize
    if length < 1:
        raise ValueError(f"max_memory of {budget} B does not hold one number of {itemsize} B")
    number = 0
    for place in range(len(channels)):
        for low in range(start, stop, length):
            one = channels[place : place + 1]
            yield Batch(number, low, min(low + length, stop), one)
            number += 1


def _groups(count: int, most: int, workers: int) -> Iterator[tuple[int, int]]:
    """Cut a number of channels into groups of nearly the same size, several for each worker."""
    low = 0
    if workers > 1:
        # The first one is done before the others, to see what results look like.
        low = 1
        yield 0, 1
        most = max(1, min(most, -((low - count) // (4 * workers))))
    groups = -((low - count) // most)
    for number in range(groups):
        high = low + (count - low) // (groups - number)
        yield low, high
        low = high
