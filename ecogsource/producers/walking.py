"""Walking over a buffer or a stream, window by window, reading ahead where it pays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

from ecogsource.buffers import Buffer, SelectedBuffer
from ecogsource.buffers.storage.cache import passing_through
from ecogsource.datasource.blockmemory import BlockMemory
from ecogsource.producers.windows import Windows, window_selection

if TYPE_CHECKING:
    from ecogsource.producers.streams import Stream

__all__ = [
    "Origin",
    "Span",
    "Walker",
    "as_walker",
    "is_on_disk",
    "narrow",
    "read_windows",
    "shifted",
    "walk",
]

Origin: TypeAlias = "Buffer | Stream"

# Reading ahead saves the shorter of the times that reading a chunk and using it take, and costs the
# time of handing it from thread to thread (in seconds). Which is more is found out by going through
# chunks until so much time was spent on reading.
_HANDING_OVER = 1.5e-4
_TRIAL = 5e-3


class Walker(Protocol):
    """What can be walked over in a better way than by reading window after window."""

    def walk(self, windows: Sequence[slice], prefetch: int | None) -> Iterator[np.ndarray]:
        """Give one array per window; the windows rise."""
        ...


def walk(
    origin: Origin, axis: int, windows: Sequence[slice], prefetch: int | None = None
) -> Iterator[np.ndarray]:
    """Give what lies in each window.

    Parameters
    ----------
    origin : Buffer or Stream
        What is walked over.
    axis : int
        Axis of the windows, counted from the start.
    windows : sequence of slice
        Rising windows; they may overlap.
    prefetch : int, optional
        How many windows to read ahead in the background. By default one, if the data are on disk
        and the first windows show that it saves time.

    Yields
    ------
    ndarray
        One array per window, which belongs to the caller.
    """
    walker = as_walker(origin, axis)
    if walker is not None:
        return walker.walk(windows, prefetch)
    buffer: Any = origin
    return read_windows(buffer, axis, windows, prefetch)


def as_walker(origin: Origin, axis: int) -> Walker | None:
    """Give what has a better way of walking along an axis, else None."""
    walker: Any = origin
    return walker if hasattr(walker, "walk") and walker.axis == axis else None


def read_windows(
    buffer: Buffer, axis: int, windows: Sequence[slice], prefetch: int | None
) -> Iterator[np.ndarray]:
    """Read a buffer window after window; see :func:`walk`."""
    # Memory that a chunk has left is used again: getting it from the system costs as much as a
    # fast read. It is asked for when a chunk is read, not when it is announced; by then whoever
    # goes through the chunks has let go of the one before.
    memory = BlockMemory()
    apart = len(windows) < 2 or windows[0].stop <= windows[1].start
    walked = buffer.size if apart else 0

    def fill(window: slice) -> np.ndarray:
        selection = window_selection(buffer.shape, axis, window)
        chunk = memory.empty(selection.shape, buffer.dtype)
        with passing_through(walked):
            buffer.read_into(selection, chunk)
        return chunk

    if prefetch is None and not is_on_disk(buffer):
        prefetch = 0
    done = 0
    if prefetch is None:
        reading, using = 0.0, 0.0
        while done < len(windows) and reading < _TRIAL:
            start = perf_counter()
            chunk = fill(windows[done])
            ready = perf_counter()
            yield chunk
            del chunk
            if done:  # the first read opens files
                reading += ready - start
                using += perf_counter() - ready
            done += 1
        prefetch = int(min(reading, using) > _HANDING_OVER * (done - 1))
    rest = islice(windows, done, None)
    if prefetch and done < len(windows):
        from ecogsource.datasource.prefetch import read_ahead

        size = window_selection(buffer.shape, axis, windows[done]).size
        nbytes = size * buffer.dtype.itemsize
        yield from read_ahead(fill, rest, depth=prefetch, nbytes=nbytes)
        return
    for window in rest:
        # Not by map(), which would take a StopIteration of a reader for the end of the data.
        yield fill(window)


def is_on_disk(buffer: Any) -> bool:
    """Tell whether reading a buffer waits for a disk, a decoder or another process."""
    told = getattr(buffer, "slow", None)
    if told is not None:
        return bool(told)
    if buffer.filename is not None or any(getattr(buffer, "filenames", ())):
        return True
    inner = getattr(buffer, "buffer", None)
    return inner is not None and is_on_disk(inner)


class Span(SelectedBuffer):
    """A stretch of a buffer that is walked over in a way of its own.

    Parameters
    ----------
    buffer : Buffer
        A buffer that is a `Walker`.
    axis : int
        The axis of the stretch.
    positions : range
        Neighbouring positions, rising.
    """

    def walk(self, windows: Sequence[slice], prefetch: int | None) -> Iterator[np.ndarray]:
        """Give one array per window; see :func:`walk`."""
        first: int = self.positions.start  # type: ignore[union-attr]
        return walk(self.buffer, self.axis, shifted(windows, first), prefetch)


def shifted(windows: Sequence[slice], by: int) -> Sequence[slice]:
    """Move windows along their axis."""
    if not by:
        return windows
    return Windows(windows, lambda window: slice(window.start + by, window.stop + by))


def narrow(origin: Origin, axis: int, positions: range) -> Origin:
    """Take a stretch of a buffer or stream, forwards or backwards.

    Parameters
    ----------
    origin : Buffer or Stream
        What it is taken of.
    axis : int
        Axis of the stretch, counted from the start.
    positions : range
        Which samples, with a step of 1 or -1.

    Returns
    -------
    Buffer or Stream
        The stretch.

    Raises
    ------
    ValueError
        If a stream is to run backwards.
    """
    if positions == range(origin.shape[axis]):
        return origin
    if not positions and positions.step == 1:
        # A slice whose end lies before its start is as empty as any other.
        positions = range(positions.start, positions.start)
    if not isinstance(origin, Buffer):
        return origin.between(positions)
    if positions.step == 1 and as_walker(origin, axis) is not None:
        return Span(origin, axis, positions)
    return SelectedBuffer(origin, axis, positions)
