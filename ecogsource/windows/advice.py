"""Telling the system which bytes of flat files will be read, so that it fetches them together.

A disk that is asked for one window after the other waits between them; asked for all windows of a
batch at once, it has something to do all the time. What is in memory already costs a microsecond.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from ecogsource.buffers import FlatBuffer
from ecogsource.windows.parts import Part

__all__ = ["announce"]


def announce(places: Iterable[tuple[Part, int]], length: int) -> None:
    """Ask the system to fetch windows that are about to be read.

    Only windows that are one run of bytes are announced, and only those that are not in memory;
    the others are read without it, as are all windows where the system takes no such advice.

    Parameters
    ----------
    places : iterable of (Part, int)
        Source and first sample of each window; those of one source follow each other.
    length : int
        Samples of a window.
    """
    for _, found in groupby(places, lambda place: id(place[0])):
        windows = list(found)
        part = windows[0][0]
        buffer = part.buffer
        if isinstance(buffer, FlatBuffer) and buffer.order == "C" and not part.time_axis:
            buffer.announce([start for _, start in windows], length)
