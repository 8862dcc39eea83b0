"""Reading and writing arrays that lie in a file as they lie in memory: flat and contiguous data.

Runs of some kilobytes, up to a megabyte together, are read by position, which costs less than
bringing their pages into a map; so are rows, some columns of which are wanted, of files that are
too large to stay mapped. All else is copied from a map of the file, which is one pass over memory;
large selections go part by part, in threads.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import threading
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ecogsource.buffers.storage.affine import Affine
from ecogsource.buffers.storage.copying import copy_into, copy_near, turns_at_once
from ecogsource.buffers.storage.grid import (
    Key,
    Part,
    Selector,
    key_bounds,
    key_count,
    key_ends,
    key_positions,
    length,
    outer_shape,
    parts,
    slice_of,
)
from ecogsource.buffers.storage.handles import (
    POOL,
    Handle,
    HandlePool,
    Signature,
    signature_of,
)
from ecogsource.buffers.storage.place import assign_outer, place
from ecogsource.buffers.storage.threads import run, scratch
from ecogsource.errors import CorruptDataError, ReadOnlyError
from ecogsource.params import load_params

__all__ = ["ContiguousStorage"]

# From this length on, a run of bytes is read by position: that costs less than bringing its pages
# into a map. Where there are several runs, each must be longer.
RUN_BYTES = 1 << 12
ROW_BYTES = 1 << 14
# New memory of that size costs nothing.
SMALL_BYTES = 1 << 16
NEAR_BYTES = 1 << 18
# More than that is worth threads.
PART_BYTES = 1 << 20
# What one access to a map brings in around it.
FAULT_BYTES = 1 << 16
PAGE_BYTES = 1 << 12
# Columns are no longer worth their rows where they hold less than this part of them.
SPARSE = 32


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
        # The last axis first: number, length, distance of neighbours in bytes.
        self._axes = list(zip(range(len(shape)), shape, self._strides, strict=True))[::-1]

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
            if nbytes <= PART_BYTES:
                self._read(handle, selectors, out, affine)
                return

            def work(part: Part) -> None:
                scale = None if affine is None else affine.at(part.where)
                where: Any = (*part.where, ...)
                self._read(handle, part.selectors, out[where], scale)

            run(work, parts(selectors, max(1, PART_BYTES // self.dtype.itemsize)), nbytes)
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
        nbytes = length * self._strides[0]
        # A file that cannot be opened is for the reader to complain about.
        with contextlib.suppress(OSError):
            handle = self._pool.acquire(self.path, self._signature)
            try:
                for start in starts:
                    runs = [(self.offset + start * self._strides[0], nbytes)]
                    handle.fetch(runs[0][0], sum(runs[0]) - 1, runs.copy)
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
        out: np.ndarray,
        affine: Affine | None,
    ) -> None:
        """Read a part, in this thread."""
        nbytes = out.size * self.dtype.itemsize
        if nbytes >= RUN_BYTES and self._read_runs(handle, selectors, out, affine):
            return
        if nbytes > NEAR_BYTES and self._read_columns(handle, selectors, out, affine):
            return
        keys = [slice_of(s) if isinstance(s, range) else s for s in selectors]
        self._fetch(handle, keys)
        place(self._view(handle), keys, out, (slice(None),) * out.ndim, affine)
        handle.touched(self._touched(keys) if keys else FAULT_BYTES)

    def _read_runs(
        self,
        handle: Handle,
        selectors: Sequence[Selector],
        out: np.ndarray,
        affine: Affine | None,
    ) -> bool:
        """Read one run of bytes, or one long run of each of some positions of the first axis.

        False if the selection is something else; nothing was read then.
        """
        offset, nbytes, whole = self.offset, self.dtype.itemsize, True
        rows: range | np.ndarray | None = None
        for axis, n, stride in self._axes:
            selector = selectors[axis]
            if isinstance(selector, int):
                offset += selector * stride
                whole = whole and n == 1
                continue
            count = len(selector)
            if count == 1 or (whole and isinstance(selector, range) and selector.step == 1):
                offset += int(selector[0]) * stride
                nbytes *= count
                whole = whole and count == n
            elif axis == 0 and nbytes >= ROW_BYTES:
                rows = selector
            else:
                return False
        straight = affine is None and out.dtype == self.dtype
        if rows is not None:
            if not straight or out.ndim < 2 or not out[0].flags.c_contiguous:
                return False
            offsets = [offset + int(position) * self._strides[0] for position in rows]
            handle.fetch(offsets[0], offsets[-1], lambda: ((start, nbytes) for start in offsets))
            handle.read_rows(out, offsets)
        elif straight and out.flags.c_contiguous:
            handle.read(out, offset)
        elif nbytes <= SMALL_BYTES:
            stored = np.empty(out.shape, self.dtype)
            handle.read(stored, offset)
            copy_near(out, stored, affine)
        else:
            stored = np.ndarray(out.shape, self.dtype, scratch(nbytes))
            near = nbytes <= NEAR_BYTES
            if not near and (affine is not None or not turns_at_once(out, stored)):
                return False
            handle.read(stored, offset)
            (copy_near if near else copy_into)(out, stored, affine)
        return True

    def _read_columns(
        self,
        handle: Handle,
        selectors: Sequence[Selector],
        out: np.ndarray,
        affine: Affine | None,
    ) -> bool:
        """Read some neighbouring columns out of rows that are read whole.

        Rows that are shorter than a page leave no page out, and a map of a file so large loses
        its pages before they are looked at again. False if that is not so; nothing was read then.
        """
        rows, columns = selectors if len(selectors) == 2 else (0, 0)
        if not (isinstance(rows, range) and isinstance(columns, range)):
            return False
        apart, run = self._strides[0], len(columns) * self.dtype.itemsize
        if (
            rows.step != 1
            or columns.step != 1
            or apart > PAGE_BYTES
            or run * SPARSE < apart
            or handle.stays_mapped
        ):
            return False
        nbytes = out.size * self.dtype.itemsize
        stored = np.ndarray(out.shape, self.dtype, scratch(nbytes, "columns"))
        step = max(1, PART_BYTES // apart)
        for first in range(0, len(rows), step):
            n = min(step, len(rows) - first)
            memory = scratch(n * apart)
            handle.read(memory, self.offset + (rows.start + first) * apart)
            block = np.ndarray((n, self.shape[1]), self.dtype, memory)
            copy_into(stored[first : first + n], block[:, columns.start : columns.stop])
        copy_into(out, stored, affine)
        return True

    def _fetch(self, handle: Handle, keys: Sequence[Key]) -> None:
        """Have the system bring in what a selection needs."""
        first = last = self.offset
        for key, stride in zip(keys, self._strides, strict=True):
            begin, end = key_ends(key)
            first += begin * stride
            last += end * stride
        handle.fetch(first, last, lambda: self._runs(keys))

    def _runs(self, keys: Sequence[Key]) -> list[tuple[int, int]]:
        """Return position and length of the runs of bytes that hold a selection.

        Positions with small gaps between them count as one run.
        """
        start, nbytes, axis = self.offset, self.dtype.itemsize, len(keys)
        while axis:
            (low, high), stride = key_bounds(keys[axis - 1]), self._strides[axis - 1]
            gaps = (high - low - 1) * stride - (key_count(keys[axis - 1]) - 1) * nbytes
            if gaps > FAULT_BYTES * (key_count(keys[axis - 1]) - 1):
                break
            start, nbytes = start + low * stride, nbytes + (high - low - 1) * stride
            axis -= 1
        offsets = np.array([start], dtype=np.int64)
        for key, stride in zip(keys[:axis], self._strides, strict=False):
            positions = np.asarray(key_positions(key), dtype=np.int64)
            offsets = (offsets[:, None] + positions * stride).ravel()
        return [(offset, nbytes) for offset in offsets.tolist()]

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
