"""Telling the system which bytes of flat files will be read, so that it fetches them together.

A disk that is asked for one window after the other waits between them; asked for all windows of a
batch at once, it has something to do all the time. What is in memory already costs a microsecond.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import cast

from ecogsource.buffers import FlatBuffer
from ecogsource.windows.parts import Part

__all__ = ["announce"]

# Where so many of a batch are in memory, the others are not worth looking for.
SAMPLE = 8


def announce(places: Iterable[tuple[Part, int]], length: int) -> None:
    """Ask the system to fetch windows that are about to be read.

    Only windows that are one run of bytes are announced, and only those that are not in memory;
    the others are read without it, as are all windows where the system takes no such advice, and
    those of a batch of which a sample is in memory.

    Parameters
    ----------
    places : iterable of (Part, int)
        Source and first sample of each window; those of one source follow each other.
    length : int
        Samples of a window.
    """
    windows = [place for place in places if _is_run(place[0])]
    step = len(windows) // SAMPLE
    if step > 1 and all(_flat(part).is_in_memory(start, length) for part, start in windows[::step]):
        return
    for _, found in groupby(windows, lambda place: id(place[0])):
        same = list(found)
        _flat(same[0][0]).announce([start for _, start in same], length)


def _is_run(part: Part) -> bool:
    """Tell whether a window of all channels is one run of bytes of a file."""
    buffer = part.buffer
    return isinstance(buffer, FlatBuffer) and buffer.order == "C" and not part.time_axis


def _flat(part: Part) -> FlatBuffer:
    return cast("FlatBuffer", part.buffer)
