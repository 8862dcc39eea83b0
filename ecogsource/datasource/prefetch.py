"""Reading that hides behind computing: slices read in the background, in order, bounded.

The default reader is one thread: reading releases the GIL and does not hold HDF5's lock. Where the
computation holds the GIL, or only h5py can read the data, a reading process fills shared memory
instead; it is started once and serves slice after slice.
"""

from __future__ import annotations

import contextvars
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from ecogsource.buffers.storage.cache import passing_through
from ecogsource.datasource.blockmemory import BlockMemory, form_of
from ecogsource.datasource.processing import ProcessingMixin
from ecogsource.indexing import normalize_index
from ecogsource.memory import check_allocation, effective_limit

if TYPE_CHECKING:
    from ecogsource.datasource.base import ElectrodeDataSource

__all__ = ["SliceCache", "ThreadReader", "read_ahead"]


class Pending(Protocol):
    """A slice that is being read."""

    def result(self) -> NDArray[Any]:
        """Wait and hand over, or raise what the reader raised."""
        ...

    def cancel(self) -> bool:
        """Give the slice up if it was not begun."""
        ...


class Reader(Protocol):
    """Reads slices in the background, one after the other."""

    def submit(self, index: Any) -> Pending:
        """Ask for a slice."""
        ...

    def close(self) -> None:
        """Stop when the slice in hand is read."""
        ...


class ThreadReader:
    """Reads in one background thread.

    Parameters
    ----------
    read : callable
        ``read(index)`` returns an array. If it is the method of a source, the thread that asks
        allocates the array and the reader fills it.
    recycle : bool
        Use the memory of results again that nobody looks at any more; see `BlockMemory`.
    walked : int
        Size of the walk that this reader reads for; see `passing_through`.
    """

    def __init__(
        self, read: Callable[..., NDArray[Any]], *, recycle: bool = False, walked: int = 0
    ) -> None:
        self._read = read
        self._walked = walked
        self._memory = BlockMemory() if recycle else None
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="ecogsource-ahead")

    def submit(self, index: Any) -> Future[NDArray[Any]]:
        """Ask for a slice; parameters overridden for the calling thread hold for the reader."""
        context = contextvars.copy_context()
        form = _form_of(self._read, index)
        if form is None:
            return self._pool.submit(context.run, self._fetch, index)
        out = np.empty(*form) if self._memory is None else self._memory.empty(*form)
        return self._pool.submit(context.run, self._fetch, index, out)

    def _fetch(self, *arguments: Any) -> NDArray[Any]:
        with passing_through(self._walked):
            return self._read(*arguments)

    def close(self) -> None:
        """Drop what was not begun. Never waits: it may run inside a garbage collection."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _form_of(
    read: Callable[..., NDArray[Any]], index: Any
) -> tuple[tuple[int, ...], np.dtype[Any]] | None:
    """Tell shape and type of what a source will read; None if `read` is no source's, or fails."""
    source = getattr(read, "__self__", None)
    if not isinstance(source, ProcessingMixin) or read.__name__ != "read":
        return None
    owner = cast("ElectrodeDataSource", source)
    try:
        return form_of(owner, index)
    except (IndexError, MemoryError):
        # The reader raises it again, in the place of the slice.
        return None


def read_ahead(
    read: Callable[..., NDArray[Any]],
    indices: Iterable[Any],
    *,
    depth: int = 1,
    nbytes: int = 0,
    reader: Reader | None = None,
) -> Iterator[NDArray[Any]]:
    """Read slices in the background, at most `depth` ahead of the one in use.

    Parameters
    ----------
    read : callable
        ``read(index)`` returns an array.
    indices : iterable
        What to read, in order.
    depth : int
        How many results may wait. It is cut so that they and the one in use stay within the
        memory limit.
    nbytes : int
        Size of one result.
    reader : Reader, optional
        Who reads; default a thread that calls `read`.

    Yields
    ------
    ndarray
        The results in order. An exception of `read` is raised in its place, with its traceback.

    Raises
    ------
    ValueError
        If `depth` is not positive.

    Notes
    -----
    Leaving the loop, an exception in it, a Ctrl-C and dropping the generator all stop the reader
    after the slice in hand.
    """
    if depth < 1:
        raise ValueError(f"prefetch depth must be at least 1, got {depth}")
    if nbytes:
        depth = max(1, min(depth, effective_limit() // nbytes - 1))
    background = ThreadReader(read, recycle=True) if reader is None else reader
    waiting: deque[Pending] = deque()
    source = iter(indices)
    try:
        for index in source:
            waiting.append(background.submit(index))
            if len(waiting) > depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for pending in waiting:
            pending.cancel()
        if reader is None:
            background.close()


def background_reader(source: Any, backend: str, timeout: float | None, walked: int) -> Reader:
    """Make what reads blocks of a source ahead, each into the memory of one that is done with.

    Parameters
    ----------
    source : ElectrodeDataSource
        What is read.
    backend : {'thread', 'process'}
        Who reads.
    timeout : float, optional
        Seconds that a reading process may take for one block.
    walked : int
        Number of elements of all blocks, if each is read once; see `passing_through`.
    """
    if backend == "thread":
        return ThreadReader(source.read, recycle=True, walked=walked)
    from ecogsource.datasource.process_reader import ProcessReader

    return ProcessReader(source, timeout=timeout, recycle=True, walked=walked)


class SliceCache:
    """The slices that a source is reading in the background.

    Parameters
    ----------
    source : ElectrodeDataSource
        What is read.
    backend : {'thread', 'process'}
        Who reads.
    timeout : float, optional
        Seconds that a reading process may take for one slice.

    Attributes
    ----------
    backend : str
        As given.
    owner : int
        Process that reads: a forked child has no reader.
    """

    def __init__(
        self,
        source: ElectrodeDataSource,
        backend: Literal["thread", "process"] = "thread",
        timeout: float | None = None,
    ) -> None:
        if backend not in ("thread", "process"):
            raise ValueError(f"backend must be 'thread' or 'process', got {backend!r}")
        self.backend = backend
        self.owner = os.getpid()
        self._shape, self._dtype = source.shape, source.dtype
        self._waiting: deque[tuple[Pending, int]] = deque()
        self._reader: Reader
        if backend == "thread":
            self._reader = ThreadReader(source.read)
        else:
            from ecogsource.datasource.process_reader import ProcessReader

            self._reader = ProcessReader(source, timeout=timeout)

    def __len__(self) -> int:
        return len(self._waiting)

    def submit(self, index: Any) -> None:
        """Start reading.

        Parameters
        ----------
        index : object
            Any index that NumPy accepts.

        Raises
        ------
        IndexError
            As NumPy does.
        MemoryBlowOutError
            If this slice and those already waiting exceed the memory limit together.
        """
        shape = normalize_index(index, self._shape).shape
        nbytes = int(np.prod(shape, dtype=object)) * self._dtype.itemsize
        held = sum(size for _, size in self._waiting)
        if held:
            check_allocation(
                nbytes, shape=shape, dtype=self._dtype, what="cached slice", temporary=held
            )
        self._waiting.append((self._reader.submit(index), nbytes))

    def get(self) -> NDArray[Any]:
        """Wait for the oldest slice and hand it over.

        Raises
        ------
        LookupError
            If no slice was asked for.
        """
        if not self._waiting:
            raise LookupError("no slice is being read: call cache_slice(index) first")
        return self._waiting.popleft()[0].result()

    def close(self) -> None:
        """Drop what is waiting and stop the reader."""
        while self._waiting:
            self._waiting.popleft()[0].cancel()
        self._reader.close()

    def __del__(self) -> None:
        if hasattr(self, "_reader"):
            self._reader.close()
