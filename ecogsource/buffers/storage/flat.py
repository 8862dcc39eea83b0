"""Reading and writing arrays that lie in a file as they lie in memory: flat and contiguous data."""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Sequence

import numpy as np

from ecogsource.buffers.storage.grid import Key, Selector, outer_shape, slice_of
from ecogsource.buffers.storage.handles import POOL, Handle, HandlePool, Signature, signature_of
from ecogsource.buffers.storage.place import Affine, assign_outer, place
from ecogsource.errors import ReadOnlyError

__all__ = ["ContiguousStorage"]


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

    def read_into(
        self, selectors: Sequence[Selector], out: np.ndarray, affine: Affine | None = None
    ) -> None:
        """Read a selection into `out`, cast and scaled.

        Parameters
        ----------
        selectors : sequence of int, range or int64 array
            One per axis, in bounds.
        out : ndarray
            Target of the selection's shape; any strides, any dtype.
        affine : Affine, optional
            Scaling, broadcastable to `out`.

        Raises
        ------
        CorruptDataError, DataPathError
            If the file changed or vanished since it was opened.
        """
        if out.size == 0:
            return
        handle = self._pool.acquire(self.path)
        try:
            self._check(handle)
            view = self._view(handle)
            where = (slice(None),) * out.ndim
            place(view, [_key(s) for s in selectors], out, where, affine)
            handle.touched(out.size * self.dtype.itemsize)
        finally:
            self._pool.release(handle)

    def temporary_bytes(self, selectors: Sequence[Selector]) -> int:
        """Return an upper bound of the bytes that a read needs besides its result."""
        return 0

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
        with self._write_lock:
            try:
                fd = os.open(self.path, os.O_RDWR)
            except PermissionError as error:
                raise ReadOnlyError(f"{self.path!r} may not be written: {error}") from error
            try:
                with mmap.mmap(fd, 0, access=mmap.ACCESS_WRITE) as shared:
                    view = np.ndarray(self.shape, self.dtype, shared, self.offset)
                    assign_outer(view, [_key(s) for s in selectors], values)
                    del view
            finally:
                os.close(fd)
            self._signature = self._pool.note_write(self.path)

    def _check(self, handle: Handle) -> None:
        if handle.state() != self._signature:
            written = self._pool.own_write(self.path)
            if written is not None and written == handle.state():
                self._signature = written
        handle.check(self._signature)

    def _view(self, handle: Handle) -> np.ndarray:
        return np.ndarray(self.shape, self.dtype, handle.map(), self.offset)


def _key(selector: Selector) -> Key:
    return slice_of(selector) if isinstance(selector, range) else selector
