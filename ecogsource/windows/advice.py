"""Telling the system which bytes of flat files will be read, so that it fetches them together.

A disk that is asked for one window after the other waits between them; asked for all windows of a
batch at once, it has something to do all the time. What is in memory already costs microseconds.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable

from ecogsource.buffers import FlatBuffer
from ecogsource.windows.parts import Part

__all__ = ["announce"]


def announce(places: Iterable[tuple[Part, int]], length: int) -> None:
    """Ask the system to fetch windows that are about to be read.

    Only windows that are one run of bytes are announced; the others are read without it, as are
    all windows where the system takes no such advice.

    Parameters
    ----------
    places : iterable of (Part, int)
        Source and first sample of each window; those of one source follow each other.
    length : int
        Samples of a window.
    """
    if not hasattr(os, "posix_fadvise"):
        return
    opened: tuple[str, int] | None = None
    # A file that cannot be opened is for the reader to complain about.
    with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
        for part, start in places:
            buffer = part.buffer
            if part.time_axis or not isinstance(buffer, FlatBuffer) or buffer.order != "C":
                continue
            name = str(buffer.filename)
            if opened is None or opened[0] != name:
                stack.close()
                opened = name, os.open(name, os.O_RDONLY)
                stack.callback(os.close, opened[1])
            row = buffer.map_dtype.itemsize * buffer.shape[1]
            offset = buffer.offset + start * row
            os.posix_fadvise(opened[1], offset, length * row, os.POSIX_FADV_WILLNEED)
