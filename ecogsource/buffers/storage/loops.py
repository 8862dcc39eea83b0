"""The inner loops that are written in C, where they could be built.

Each function says whether it did the work: callers go on with NumPy and the `os` module if it did
not, because there was no compiler, or the types are none that the loops know. Results are the same
to the last bit.
"""

from __future__ import annotations

import importlib
import mmap
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from ecogsource.buffers.storage.threads import scratch

if TYPE_CHECKING:
    from ecogsource.buffers.storage.affine import Affine

__all__ = [
    "LostPagesError",
    "available",
    "copy",
    "join",
    "read_chunks",
    "read_rows",
    "take",
    "watch",
]

# Set to 0 to do without, which is for comparing.
SWITCH = "ECOGSOURCE_LOOPS"
# What is read of chunks before it is brought to its place: stays near the processor.
ROOM = 1 << 18


def _load() -> Any:
    if os.environ.get(SWITCH) == "0":
        return None
    try:
        return importlib.import_module("ecogsource.buffers.storage._loops")
    except ImportError:
        return None


_loops = _load()


class LostPagesError(OSError):
    """A map was looked at, but its file was cut short meanwhile, or could not be read."""

    def __init__(self) -> None:
        super().__init__("the file ended early, or could not be read, while its map was looked at")


def available() -> bool:
    """Tell whether the loops were built."""
    return _loops is not None


def copy(target: np.ndarray, source: np.ndarray, affine: Affine | None) -> bool:
    """Copy an array into another of the same shape, cast and scaled on the way.

    Parameters
    ----------
    target, source : ndarray
        Same shape, any strides and dtypes.
    affine : Affine or None
        Scaling, broadcastable to `target`.

    Raises
    ------
    LostPagesError
        If one of them is a map of a file that ended early, or could not be read.
    """
    return _copy(target, source, None, affine)


def join(target: np.ndarray, planes: np.ndarray, dtype: np.dtype, affine: Affine | None) -> bool:
    """Put elements together from their bytes, cast and scaled on the way.

    Parameters
    ----------
    target : ndarray
        Any strides and dtype.
    planes : ndarray of uint8
        One axis more than `target`: the bytes of each element, the most significant one first.
    dtype : dtype
        Native type of the elements.
    affine : Affine or None
        Scaling, broadcastable to `target`.
    """
    return _copy(target, planes, dtype.char, affine)


def _copy(target: np.ndarray, source: np.ndarray, code: str | None, affine: Affine | None) -> bool:
    if _loops is None:
        return False
    if affine is None:
        return _checked(_loops.copy(target, source, code, None, None))
    if affine.dtype != target.dtype:
        return False
    return _checked(_loops.copy(target, source, code, affine.offset, affine.factor))


def _checked(outcome: Any) -> bool:
    if outcome is None:
        raise LostPagesError
    return bool(outcome)


def take(
    target: np.ndarray, source: np.ndarray, axis: int, positions: np.ndarray, affine: Affine | None
) -> bool:
    """Copy some positions of an axis, cast and scaled on the way.

    Parameters
    ----------
    target, source : ndarray
        Any strides and dtypes; shapes differ along `axis` only.
    axis : int
        The axis, 0 or more.
    positions : ndarray of int64, shape (n,)
        Positions of the source, 0 or more, in any order.
    affine : Affine or None
        Scaling, broadcastable to `target`.

    Raises
    ------
    LostPagesError
        As `copy` does.
    """
    if _loops is None or (affine is not None and affine.dtype != target.dtype):
        return False
    numbers = (None, None) if affine is None else (affine.offset, affine.factor)
    return _checked(_loops.take(target, source, *numbers, axis, np.ascontiguousarray(positions)))


def watch() -> None:
    """Have maps of files that end early, or cannot be read, end a call and not the process.

    To be called before a map is looked at: others may have taken the signal since. Without the
    loops in C there is no way to do that.
    """
    if _loops is not None:
        _loops.watch()


def read_rows(fd: int, rows: np.ndarray, offsets: np.ndarray) -> bool:
    """Fill each row of an array, contiguous in itself, with the bytes at its own offset.

    Parameters
    ----------
    fd : int
        Descriptor of the file.
    rows : ndarray, shape (n, ...)
        Target.
    offsets : ndarray of int64, shape (n,)
        Positions in the file.

    Returns
    -------
    bool
        False also if a row could not be read whole.
    """
    return _loops is not None and bool(_loops.read_rows(fd, rows, offsets))


def read_chunks(
    file: int | mmap.mmap,
    target: np.ndarray,
    stored: np.ndarray,
    offsets: np.ndarray,
    first: tuple[int, int],
    step: tuple[int, int],
    edges: tuple[int, int],
    affine: Affine | None,
) -> bool:
    """Read a window of a dataset in chunks without filters, cast and scaled on the way.

    Parameters
    ----------
    file : int or mmap
        Descriptor of the file, or a map of it.
    target : ndarray, shape (n, m)
        Any strides and dtype.
    stored : ndarray, shape ()
        Any value of the type that is stored.
    offsets : ndarray of int64, shape (chunks of rows, chunks of columns)
        Positions of the chunks in the file.
    first, step : (int, int)
        Rows and columns that are wanted: the first one, counted from the first chunk, and their
        distances, 1 or more.
    edges : (int, int)
        Shape of a chunk.
    affine : Affine or None
        Scaling, broadcastable to `target`.

    Returns
    -------
    bool
        False also if something could not be read.

    Raises
    ------
    LostPagesError
        If the file of a map ended early, or could not be read.
    """
    if _loops is None or (affine is not None and affine.dtype != target.dtype):
        return False
    numbers = (None, None) if affine is None else (affine.offset, affine.factor)
    memory = scratch(ROOM) if isinstance(file, int) else None
    return _checked(
        _loops.read_chunks(file, target, stored, offsets, first, step, edges, memory, *numbers)
    )
