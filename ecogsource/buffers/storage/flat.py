"""Reading and writing arrays that lie in a file as they lie in memory: flat and contiguous data.

Runs of some kilobytes, up to a megabyte together, are read by position, which costs less than
bringing their pages into a map. All else is copied from a map of the file, which is one pass over
memory; large selections go part by part, in threads.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ecogsource.buffers.storage import loops
from ecogsource.buffers.storage.affine import Affine
from ecogsource.buffers.storage.copying import copy_into
from ecogsource.buffers.storage.grid import (
    Key,
    Part,
    Selector,
    ends,
    key_bounds,
    key_count,
    length,
    outer_shape,
    parts,
    slice_of,
)
from ecogsource.buffers.storage.handles import (
    FAULT_BYTES,
    POOL,
    Handle,
    HandlePool,
)
from ecogsource.buffers.storage.place import assign_outer, place
from ecogsource.buffers.storage.runs import Runs
from ecogsource.buffers.storage.signature import Signature, signature_of
from ecogsource.buffers.storage.threads import run, scratch
from ecogsource.buffers.storage.windowed import forward
from ecogsource.errors import CorruptDataError, ReadOnlyError
from ecogsource.params import load_params

__all__ = ["ContiguousStorage"]

# From this length on, a run of bytes is read by position: that costs less than bringing its pages
# into a map. Where there are several runs, each must be longer, or so far from the next.
RUN_BYTES = 1 << 12
ROW_BYTES = 1 << 14
# New memory of that size costs nothing.
SMALL_BYTES = 1 << 16
NEAR_BYTES = 1 << 18
# More than that is worth threads.
PART_BYTES = 1 << 20
# What looking at an item that has a line of memory for itself costs, in bytes that are copied.
APART_BYTES = 32
# So many times the bytes that are wanted may be read with them; a map leaves them out.
READ_MOST = 2


class ContiguousStorage:
    """An array stored in C order at some offset of a file.

    Parameters
    ----------
    path : str
        The file.
    dtype : dtype
        Stored type, in the file's byte order.
    shape : tuple of int
        Shape of the array.
    offset : int
        Position of the first byte of the array.
    writeable : bool
        Whether `write_from` is allowed.
    signature : Signature, optional
        State of the file that `shape` and `offset` were found in; default its present state.
    pool : HandlePool
        Where descriptors come from.
    """

    def __init__(
        self,
        path: str,
        dtype: np.dtype,
        shape: tuple[int, ...],
        *,
        offset: int = 0,
        writeable: bool = False,
        signature: Signature | None = None,
        pool: HandlePool = POOL,
    ) -> None:
        self.path, self.dtype, self.shape, self.offset = path, dtype, shape, offset
        self.writeable = writeable
        self._pool = pool
        self._signature = signature_of(path) if signature is None else signature
        self._write_lock = threading.Lock()
        end = offset + math.prod(shape) * dtype.itemsize
        if end > self._signature.size:
            raise CorruptDataError(
                f"the data would end at byte {end}, the file has {self._signature.size}",
                path,
                self._signature.size,
            )
        sizes = [*shape[1:], dtype.itemsize]
        self._strides = tuple(math.prod(sizes[axis:]) for axis in range(len(shape)))
        # As the loops see it, an array of two dimensions is a dataset of one chunk.
        self._table = np.array([[offset]], dtype=np.int64)
        self._stored = np.empty((), dtype)

    def read_into(
        self, selectors: Sequence[Selector], out: np.ndarray, affine: Affine | None = None
    ) -> None:
        """Read a selection into `out`, cast and scaled.

        Parameters
        ----------
        selectors : sequence of int, range or int64 array
            One per axis, in bounds.
        out : ndarray
            Target of the selection's shape, not empty; any strides, any dtype.
        affine : Affine, optional
            Scaling, broadcastable to `out`.

        Raises
        ------
        CorruptDataError, DataPathError
            If the file changed or vanished since it was opened.
        """
        handle = self._pool.acquire(self.path, self._signature)
        try:
            self._signature = handle.check(self._signature, self._pool.own_write)
            nbytes = out.size * self.dtype.itemsize
            runs = Runs.of(selectors, self._strides, self.offset, self.dtype.itemsize)
            read = max(nbytes, runs.total)
            if read > READ_MOST * nbytes:
                # Each item is on a line of its own.
                read = min(read, out.size * APART_BYTES)
            if read <= PART_BYTES:
                self._read(handle, selectors, runs, out, affine)
                return

            def work(part: Part) -> None:
                scale = None if affine is None else affine.at(part.where)
                where: Any = (*part.where, ...)
                found = Runs.of(part.selectors, self._strides, self.offset, self.dtype.itemsize)
                self._read(handle, part.selectors, found, out[where], scale)

            size = max(1, out.size * PART_BYTES // read)
            run(work, parts(selectors, size), read)
        except loops.LostPagesError as error:
            raise handle.lost(self._signature) from error
        finally:
            self._pool.release(handle)

    def announce(self, starts: Iterable[int], length: int) -> None:
        """Have the system fetch rows of the first axis that are about to be read.

        Parameters
        ----------
        starts : iterable of int
            First rows.
        length : int
            How many rows from each on.
        """
        # A file that cannot be opened is for the reader to complain about.
        with contextlib.suppress(OSError), self._open() as handle:
            for start in starts:
                runs = [self._run(start, length)]
                handle.fetch(runs[0][0], sum(runs[0]) - 1, runs.copy)

    def is_in_memory(self, start: int, length: int) -> bool:
        """Tell whether rows are in memory, by their ends; yes where the system does not say."""
        with contextlib.suppress(OSError), self._open() as handle:
            first, nbytes = self._run(start, length)
            return handle.is_in_memory(first, first + nbytes - 1)
        return True

    def _run(self, start: int, length: int) -> tuple[int, int]:
        return self.offset + start * self._strides[0], length * self._strides[0]

    @contextlib.contextmanager
    def _open(self) -> Iterator[Handle]:
        handle = self._pool.acquire(self.path, self._signature)
        try:
            yield handle
        finally:
            self._pool.release(handle)

    def close(self) -> None:
        """Let go of the file; reading opens it again."""
        self._pool.forget(self.path)

    def temporary_bytes(self, selectors: Sequence[Selector]) -> int:
        """Return an upper bound of the bytes that a read needs besides its result."""
        size = math.prod(length(s) for s in selectors) * self.dtype.itemsize
        if size <= NEAR_BYTES:
            return 4 * size
        return 4 * PART_BYTES * min(load_params().workers, -(-size // PART_BYTES))

    def _read(
        self,
        handle: Handle,
        selectors: Sequence[Selector],
        runs: Runs,
        out: np.ndarray,
        affine: Affine | None,
    ) -> None:
        """Read a part, in this thread."""
        nbytes = out.size * self.dtype.itemsize
        straight = runs.plain and affine is None and out.dtype == self.dtype
        if _by_position(runs, nbytes, straight=straight):
            rows = _rows(out, runs.number) if straight else None
            self._read_runs(handle, selectors, runs, out, affine, rows)
            return
        keys = [slice_of(s) if isinstance(s, range) else s for s in selectors]
        self._fetch(handle, selectors)
        place(self._view(handle), keys, out, (slice(None),) * out.ndim, affine)
        handle.touched(self._touched(keys) if keys else FAULT_BYTES)

    def _read_runs(
        self,
        handle: Handle,
        selectors: Sequence[Selector],
        runs: Runs,
        out: np.ndarray,
        affine: Affine | None,
        rows: np.ndarray | None,
    ) -> None:
        """Read runs of bytes to the rows where they go, or to memory near the processor first."""
        if rows is not None and runs.number == 1:
            handle.read(rows, runs.offset)
            return
        if runs.number > 1:
            self._fetch_runs(handle, selectors, runs)
        if rows is None and self._read_window(handle, selectors, out, affine):
            return
        view: Any = None
        keys: list[slice | np.ndarray] | None = None
        if rows is None:
            total = runs.total
            memory: Any = np.empty(total, np.uint8) if total <= SMALL_BYTES else scratch(total)
            rows = np.ndarray((runs.number, runs.nbytes), np.uint8, memory)
            if runs.plain:
                view = np.ndarray(out.shape, self.dtype, memory)
            else:
                view, keys = runs.view(memory, self.dtype, selectors, self._strides)
        handle.read_rows(rows, runs.offsets(selectors, self._strides))
        if keys is not None:
            place(view, keys, out, (slice(None),) * out.ndim, affine)
        elif view is not None:
            copy_into(out, view, affine)

    def _fetch_runs(self, handle: Handle, selectors: Sequence[Selector], runs: Runs) -> None:
        """Have the system bring in runs of bytes."""
        offsets = runs.offsets(selectors, self._strides)
        handle.fetch(
            int(offsets[0]),
            int(offsets[-1]),
            lambda: ((offset, runs.nbytes) for offset in offsets.tolist()),
        )

    def _read_window(
        self,
        handle: Handle,
        selectors: Sequence[Selector],
        out: np.ndarray,
        affine: Affine | None,
    ) -> bool:
        """Read ranges of two axes with the loops in C; False if that cannot be done."""
        if len(selectors) != 2:
            return False
        (rows, columns), seen = forward(selectors, out)
        if not (isinstance(rows, range) and isinstance(columns, range)):
            return False
        if affine is not None and affine.varies and seen is not out:
            return False
        first, step = (rows.start, columns.start), (rows.step, columns.step)
        shape: Any = self.shape
        return loops.read_chunks(
            handle.fd, seen, self._stored, self._table, first, step, shape, affine
        )

    def _fetch(self, handle: Handle, selectors: Sequence[Selector]) -> None:
        """Have the system bring in what a selection needs from the map."""
        first = last = self.offset
        for selector, stride in zip(selectors, self._strides, strict=True):
            begin, end = ends(selector)
            first += begin * stride
            last += end * stride
        handle.fetch(first, last, lambda: self._runs(selectors))

    def _runs(self, selectors: Sequence[Selector]) -> list[tuple[int, int]]:
        """Return position and length of the runs that looking at a selection brings in."""
        runs = Runs.of(selectors, self._strides, self.offset, self.dtype.itemsize, FAULT_BYTES)
        offsets = runs.offsets(selectors, self._strides)
        return [(offset, runs.nbytes) for offset in offsets.tolist()]

    def _touched(self, keys: Sequence[Key]) -> int:
        """Return about how many bytes of the map a selection brings into memory, at most."""
        spans = [high - low for low, high in map(key_bounds, keys)]
        whole = self._strides[0] * spans[0]
        rows = math.prod(key_count(key) for key in keys[:-1])
        return min(whole, rows * (FAULT_BYTES + self.dtype.itemsize * spans[-1]))

    def write_from(self, selectors: Sequence[Selector], values: np.ndarray) -> None:
        """Write values of the selection's shape; of repeated positions the last one wins.

        Raises
        ------
        ReadOnlyError
            If the storage was opened for reading only, or the file may not be written.
        """
        if not self.writeable:
            raise ReadOnlyError(f"{self.path!r} was opened for reading only")
        if 0 in outer_shape(selectors):
            return
        keys = [slice_of(s) if isinstance(s, range) else s for s in selectors]
        with self._write_lock:
            try:
                fd = os.open(self.path, os.O_RDWR)
            except PermissionError as error:
                raise ReadOnlyError(f"{self.path!r} may not be written: {error}") from error
            try:
                with mmap.mmap(fd, 0, access=mmap.ACCESS_WRITE) as shared:
                    view = np.ndarray(self.shape, self.dtype, shared, self.offset)
                    assign_outer(view, keys, values)
                    del view
            finally:
                os.close(fd)
            self._signature = self._pool.note_write(self.path)

    def _view(self, handle: Handle) -> np.ndarray:
        return np.ndarray(self.shape, self.dtype, handle.map(), self.offset)


def _by_position(runs: Runs, nbytes: int, *, straight: bool) -> bool:
    """Tell whether runs are read by position; else they are looked at in the map."""
    if runs.total > READ_MOST * nbytes:
        return False
    if runs.number == 1:
        if nbytes < RUN_BYTES:
            return False
    elif runs.nbytes < ROW_BYTES and (runs.apart < ROW_BYTES or not loops.available()):
        return False
    return loops.available() or straight or runs.total <= NEAR_BYTES


def _rows(out: np.ndarray, count: int) -> np.ndarray | None:
    """Look at a result as so many rows, each contiguous in itself; ``None`` if it has none."""
    if out.flags.c_contiguous:
        return out.reshape(count, -1)
    if out.ndim > 1 and len(out) == count and out[0].flags.c_contiguous:
        return out
    return None
