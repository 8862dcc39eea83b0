"""A bounded pool of open file descriptors and maps.

Thousands of joined files must not need thousands of descriptors, so files are opened on demand and
the least recently used ones are closed. All reading is positioned (``pread`` or a map), which makes
a descriptor safe to share between threads and after a fork. Every access checks that the file is
still the one that was opened: a file that shrank, changed or went away is a typed error.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ecogsource.buffers.storage import loops
from ecogsource.buffers.storage.signature import (
    ABSENT,
    Signature,
    absent_error,
    signature_of,
    state_of,
)
from ecogsource.errors import CorruptDataError, DataPathError
from ecogsource.params import load_params

__all__ = ["FAULT_BYTES", "POOL", "Handle", "HandlePool"]

MAX_HANDLES = 128
MAPPED_LIMIT = 512 * 2**20
COUNTED_BYTES = 128 * 2**20
# Both are less where the memory limit is small: a map may fill this share of it.
MAPPED_SHARE = 4
# What one access to a map brings in around it.
FAULT_BYTES = 1 << 16
# A look at one byte may map a whole large page of the system's file cache.
LARGE_PAGE = 2 * 2**20
FETCHED_BYTES = 256 * 2**20
_CAN_FETCH = hasattr(os, "posix_fadvise") and hasattr(os, "RWF_NOWAIT")
_PROBE = (bytearray(1),)


def _mapped_limit() -> int:
    """Return how many bytes of maps may be in memory."""
    return min(MAPPED_LIMIT, load_params().memory_limit // MAPPED_SHARE)


def mapped_bytes() -> int:
    """Return how many bytes of files this process has in memory through maps.

    Systems that do not tell have no way to give pages back either; for them it is 0.
    """
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[2]) * mmap.PAGESIZE
    except OSError:
        return 0


class _Foreign:
    """What stays mapped after all of our pages were given back: libraries, maps of others."""

    nbytes = 0


_FOREIGN = _Foreign()


class Handle:
    """One open file: a descriptor, and a map made when first needed.

    Parameters
    ----------
    path : str
        The file, opened for reading.
    give_back : callable, optional
        Called with this handle when too much is mapped.
    keep : callable, optional
        Asked whether there is room for the whole map of this handle to stay in memory.
    """

    def __init__(
        self,
        path: str,
        give_back: Callable[[Handle], None] | None = None,
        keep: Callable[[Handle], bool] | None = None,
    ) -> None:
        self._give_back = give_back or Handle.give_back_pages
        self._keep = keep or (lambda handle: handle.size <= _mapped_limit())
        try:
            self.fd = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        except ABSENT as error:
            raise absent_error(path, error) from error
        status = os.fstat(self.fd)
        self.identity = (status.st_dev, status.st_ino)
        self.size = status.st_size
        self.path = path
        self.users = 0
        self._map: mmap.mmap | None = None
        self._counted = 0
        self._read = 0
        self.is_kept = False
        self._lock = threading.Lock()

    def check(
        self,
        expected: Signature,
        written: Callable[[str], Signature | None] | None = None,
    ) -> Signature:
        """Raise if the file is no longer what it was.

        Parameters
        ----------
        expected : Signature
            The state in which it was opened.
        written : callable, optional
            Gives, for the path, the state in which this process left the file when it last wrote
            to it (see `HandlePool.own_write`), which is allowed too.

        Returns
        -------
        Signature
            The present state.

        Raises
        ------
        CorruptDataError
            If the file was truncated or modified.
        DataPathError
            If the file was deleted or replaced by another of the same name.
        """
        status = os.fstat(self.fd)
        if not status.st_nlink or self.identity != expected[:2]:
            raise DataPathError(
                f"{self.path!r} was deleted or replaced after it was opened. Open it again."
            )
        found = expected
        if status.st_mtime_ns != expected.mtime_ns or status.st_size != expected.size:
            found = state_of(status)
            if written is None or found != written(self.path):
                raise CorruptDataError(
                    f"the file changed after it was opened: it had {expected.size} bytes and now "
                    f"has {found.size}, or its time of modification moved. Open it again",
                    self.path,
                    min(expected.size, found.size),
                )
        return found

    def map(self) -> mmap.mmap:
        """Return a read-only map of the whole file."""
        if self._map is None:
            with self._lock:
                if self._map is None:
                    self._map = mmap.mmap(self.fd, 0, access=mmap.ACCESS_READ)
                    if _CAN_FETCH:
                        # What is needed is asked for by `fetch`: megabytes around it are not read.
                        self._map.madvise(mmap.MADV_RANDOM)
        loops.watch()
        return self._map

    def fetch(self, first: int, last: int, runs: Callable[[], Iterable[tuple[int, int]]]) -> None:
        """Ask the system for all that is about to be read from the map, if a disk must be asked.

        A map alone brings in what lies around one page, often megabytes, and waits for it before
        the next. Bytes that are asked for together come together, and no others.

        Parameters
        ----------
        first, last : int
            Positions that tell whether the rest is in memory too.
        runs : callable
            Gives position and length of the runs of bytes; called only if they are needed.
        """
        if self.is_in_memory(first, last):
            return
        left = FETCHED_BYTES
        for offset, nbytes in runs():
            os.posix_fadvise(self.fd, offset, min(nbytes, left), os.POSIX_FADV_WILLNEED)
            left -= nbytes
            if left <= 0:
                return

    def is_in_memory(self, first: int, last: int) -> bool:
        """Tell whether two bytes are in memory; yes where the system does not say."""
        return not _CAN_FETCH or (
            self._is_cached(first) and (first == last or self._is_cached(last))
        )

    def _is_cached(self, offset: int) -> bool:
        """Tell whether a byte is in memory already; yes where the system does not say."""
        try:
            os.preadv(self.fd, _PROBE, offset, os.RWF_NOWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    def stays_mapped(self, nbytes: int) -> bool:
        """Count bytes that are about to be read; tell whether a map will serve further reads too.

        Who reads a file over and over, such as in windows at random, had better look at its map:
        the pages are there after the first look. That look costs more than a read by position, so
        it is not worth it before as many bytes were read as the file has, nor if its pages would
        have to make room for those of others.

        Parameters
        ----------
        nbytes : int
            How many bytes are read.
        """
        if not self.is_kept:
            self._read += nbytes
            if self._read > self.size:
                self.is_kept = self._keep(self)
        return self.is_kept

    def touched(self, nbytes: int) -> None:
        """Count bytes read through the map; give its pages back when there are too many.

        Pages of a map belong to the system's file cache and are no loss to others, but they count
        as memory of this process.

        Parameters
        ----------
        nbytes : int
            How much more is mapped now, at most.
        """
        self._counted += max(nbytes, LARGE_PAGE)
        if self._counted < COUNTED_BYTES // 8:
            return
        limit = _mapped_limit()
        if self._counted < min(COUNTED_BYTES, limit):
            return
        self._counted = 0
        if mapped_bytes() - _FOREIGN.nbytes > limit:
            self._give_back(self)

    def give_back_pages(self) -> None:
        """Take the pages of the map out of memory; they come back when they are looked at."""
        if self._map is not None:
            self._map.madvise(mmap.MADV_DONTNEED)

    def read(self, target: Any, offset: int) -> None:
        """Fill contiguous memory with the bytes at some offset.

        Parameters
        ----------
        target : ndarray or memoryview
            Contiguous, writable.
        offset : int
            Position in the file.

        Raises
        ------
        CorruptDataError
            If the file ends before, or the system cannot read it.
        """
        wanted = target.nbytes
        try:
            got = os.preadv(self.fd, [target], offset)
        except OSError as error:
            raise self._unreadable(error, offset) from error
        if got != wanted:
            self._read_rest(memoryview(target).cast("B"), got, offset)

    def read_rows(self, rows: np.ndarray, offsets: np.ndarray) -> None:
        """Fill each row of an array, contiguous in itself, with the bytes at its own offset.

        Parameters
        ----------
        rows : ndarray, shape (n, ...)
            Target.
        offsets : ndarray of int64, shape (n,)
            Positions in the file.

        Raises
        ------
        CorruptDataError
            If the file ends before, or the system cannot read it.
        """
        if not loops.read_rows(self.fd, rows, offsets):
            for row, offset in zip(rows, offsets.tolist(), strict=True):
                self.read(row, offset)

    def _read_rest(self, target: memoryview, got: int, offset: int) -> None:
        """Go on after a short read: a signal, a very long read, or the end of the file."""
        while got < len(target):
            try:
                more = os.preadv(self.fd, [target[got:]], offset + got)
            except OSError as error:
                raise self._unreadable(error, offset + got) from error
            if more == 0:
                raise CorruptDataError(
                    f"the file ends early: {len(target)} bytes wanted, {got} found",
                    self.path,
                    offset + got,
                )
            got += more

    def lost(self, expected: Signature) -> CorruptDataError:
        """Return the error to raise where pages of the map were lost while it was looked at.

        Parameters
        ----------
        expected : Signature
            The state in which the file was opened.

        Raises
        ------
        CorruptDataError, DataPathError
            If the file changed or vanished, as `check` says it.
        """
        self.check(expected)
        return CorruptDataError(
            "the file changed while it was read, or its disk or network failed", self.path
        )

    def _unreadable(self, error: OSError, offset: int) -> CorruptDataError:
        return CorruptDataError(f"cannot be read: {error.strerror}", self.path, offset)

    def close(self) -> None:
        """Close the descriptor; the map goes with the last array that looks into it."""
        self._map = None
        with contextlib.suppress(OSError):
            os.close(self.fd)


class HandlePool:
    """Least-recently-used pool of `Handle`, one per path.

    Parameters
    ----------
    limit : int, optional
        Largest number of files kept open; by default an eighth of what the system allows when a
        file is opened, which a program may change. Files in use are never closed, so that the
        number may be exceeded for a moment by as many as there are threads reading.
    """

    def __init__(self, limit: int | None = None) -> None:
        self._limit = limit
        self._handles: OrderedDict[str, Handle] = OrderedDict()
        self._kept = 0
        self._lock = threading.Lock()
        self._own_writes: dict[str, tuple[int, Signature]] = {}

    @property
    def limit(self) -> int:
        """Largest number of files kept open."""
        return _default_limit() if self._limit is None else self._limit

    @limit.setter
    def limit(self, limit: int | None) -> None:
        self._limit = limit

    def __len__(self) -> int:
        return len(self._handles)

    def acquire(self, path: str, expected: Signature) -> Handle:
        """Return the handle of a file, opening it if need be; call `release` afterwards.

        A handle of another file, which had the same name before, is put away, and so is one from
        when the file had another size: its map ends where the file ended then.
        """
        with self._lock:
            handle = self._handles.get(path)
            if handle is not None and (*handle.identity, handle.size) != expected[:3]:
                self._drop(path)
                handle = None
            if handle is None:
                handle = self._handles[path] = Handle(path, self._give_back_pages, self._keep)
                self._shrink(keep=handle)
            else:
                self._handles.move_to_end(path)
            handle.users += 1
        return handle

    def release(self, handle: Handle) -> None:
        """Give back a handle got from `acquire`."""
        with self._lock:
            handle.users -= 1
            if handle.users == 0 and self._handles.get(handle.path) is not handle:
                handle.close()

    def forget(self, path: str) -> None:
        """Close the handle of a file, now or when its last reader is done."""
        with self._lock:
            self._drop(path)

    def _drop(self, path: str) -> None:
        handle = self._handles.pop(path, None)
        if handle is None:
            return
        if handle.is_kept:
            self._kept -= handle.size
        if handle.users == 0:
            handle.close()

    def clear(self) -> None:
        """Close every handle that is not in use."""
        for path in list(self._handles):
            self.forget(path)

    def note_write(self, path: str) -> Signature:
        """Remember the state of a file after this process wrote to it, and return it."""
        signature = signature_of(path)
        with self._lock:
            self._own_writes[path] = (self.generation(path) + 1, signature)
        return signature

    def generation(self, path: str) -> int:
        """Return how many times `note_write` was called for a file."""
        written = self._own_writes.get(path)
        return 0 if written is None else written[0]

    def own_write(self, path: str) -> Signature | None:
        """Return the state that the last write of this process left, if there was one."""
        written = self._own_writes.get(path)
        return None if written is None else written[1]

    def _shrink(self, keep: Handle) -> None:
        excess = len(self._handles) - self.limit
        if excess <= 0:
            return
        idle = [h for h in self._handles.values() if h.users == 0 and h is not keep]
        for handle in idle[:excess]:
            self._drop(handle.path)

    def _keep(self, asking: Handle) -> bool:
        """Tell whether all of another file may stay mapped, and count it then."""
        with self._lock:
            fits = self._kept + asking.size <= _mapped_limit()
            fits = fits and self._handles.get(asking.path) is asking and not asking.is_kept
            if fits:
                self._kept += asking.size
                asking.is_kept = True
        return asking.is_kept

    def _give_back_pages(self, asking: Handle) -> None:
        """Bring the pages in memory to half the limit: the files not read for longest first."""
        with self._lock:
            handles = [handle for handle in self._handles.values() if handle is not asking]
        for handle in handles:
            handle.give_back_pages()
            if mapped_bytes() - _FOREIGN.nbytes <= _mapped_limit() // 2:
                return
        asking.give_back_pages()
        _FOREIGN.nbytes = mapped_bytes()

    def _after_fork(self) -> None:
        # A thread of the parent may have held the lock; positioned reads make the descriptors
        # themselves safe to share. Leases of the parent's threads do not exist in the child.
        self._lock = threading.Lock()
        for handle in self._handles.values():
            handle.users = 0


def _default_limit() -> int:
    try:
        import resource
    except ImportError:
        return MAX_HANDLES
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft == resource.RLIM_INFINITY:
        return MAX_HANDLES
    return max(4, min(MAX_HANDLES, soft // 8))


POOL = HandlePool()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=POOL._after_fork)
