"""NumPy arrays in memory that several processes share."""

from __future__ import annotations

import atexit
import contextlib
import os
import secrets
import weakref
from collections.abc import Callable
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ecogsource.memory import check_allocation, format_bytes
from ecogsource.safefile import reserve

__all__ = ["SharedArray", "new_shared", "shared_empty"]


class SharedArray(np.ndarray):
    """An array in shared memory; pickling it sends its name, not its numbers.

    Made by :func:`shared_empty`. Views of it are plain views: only the whole array is sent by
    name. The memory is released when the process that made it drops the last view.
    """

    _segment: SharedMemory | None = None

    def __array_finalize__(self, obj: Any) -> None:
        # A view keeps its base, and with it the memory, alive.
        self._segment = None

    def name_and_form(self) -> tuple[str, tuple[int, ...], str]:
        """Return what another process needs to `attach`.

        Raises
        ------
        ValueError
            If this is a view.
        """
        if self._segment is None:
            raise ValueError("a view of shared memory has no name; send the whole array")
        return self._segment.name, self.shape, self.dtype.str

    @staticmethod
    def attach(name: str, shape: tuple[int, ...], dtype: str) -> SharedArray:
        """Open an array that another process, or this one, has made."""
        return _wrap(SharedMemory(name=name), shape, dtype, owner=False)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]] | Any:
        if self._segment is None:
            return np.asarray(self).__reduce__()
        return SharedArray.attach, self.name_and_form()


def _wrap(
    segment: SharedMemory, shape: tuple[int, ...], dtype: DTypeLike, *, owner: bool
) -> SharedArray:
    _sweep()
    array = np.ndarray.__new__(SharedArray, shape, dtype, buffer=segment.buf)
    array._segment = segment
    weakref.finalize(array, _release, segment, os.getpid() if owner else None)
    return array


def _release(segment: SharedMemory, owner: int | None) -> None:
    # A forked child has a copy of the array, but the memory is its parent's to give back.
    if owner == os.getpid():
        with contextlib.suppress(FileNotFoundError):
            segment.unlink()
    _RETIRED.append(segment)


def _sweep() -> None:
    """Unmap what no array uses any more.

    An array that is being collected still holds its mapping, and views may outlive it, so a
    segment is retired first and unmapped at the next occasion.
    """
    for segment in _RETIRED.copy():
        with contextlib.suppress(BufferError, ValueError):
            segment.close()
            _RETIRED.remove(segment)


# Segments whose array is gone. Appending and removing are atomic.
_RETIRED: list[SharedMemory] = []
atexit.register(_sweep)


def shared_empty(shape: tuple[int, ...], dtype: DTypeLike) -> SharedArray:
    """Allocate an array in shared memory.

    Parameters
    ----------
    shape : tuple of int
        Shape.
    dtype : dtype_like
        Type.

    Returns
    -------
    SharedArray
        Zeros.

    Raises
    ------
    MemoryBlowOutError
        If it would exceed the memory limit.
    OSError
        With ``errno.ENOSPC`` if the system has less shared memory than that (containers often
        allow 64 MB).
    """
    kind = np.dtype(dtype)
    nbytes = int(np.prod(shape, dtype=object)) * kind.itemsize
    check_allocation(nbytes, shape=shape, dtype=kind, what="shared array")
    return new_shared(shape, kind)


def new_shared(shape: tuple[int, ...], dtype: DTypeLike) -> SharedArray:
    """Allocate an array in shared memory, whatever the memory limit; see `shared_empty`."""
    kind = np.dtype(dtype)
    nbytes = int(np.prod(shape, dtype=object)) * kind.itemsize
    # Whose it is can be seen in /dev/shm.
    name = f"ecogsource_{os.getpid()}_{secrets.token_hex(4)}"
    segment = SharedMemory(name, create=True, size=max(nbytes, 1))
    try:
        # Memory that is not there would show as a fatal signal at the first touch.
        reserve(getattr(segment, "_fd", -1), nbytes)
    except OSError as error:
        segment.close()
        segment.unlink()
        raise OSError(
            error.errno,
            f"no room for {format_bytes(nbytes)} of shared memory ({error.strerror}); make "
            "/dev/shm larger (a container has an option for it), ask for smaller blocks, or use "
            "memory that is not shared",
        ) from error
    return _wrap(segment, shape, kind, owner=True)


def shared_copy(array: NDArray[Any]) -> SharedArray:
    """Copy an array into shared memory."""
    copy = shared_empty(array.shape, array.dtype)
    copy[...] = array
    return copy
