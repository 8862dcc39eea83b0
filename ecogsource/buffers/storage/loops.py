"""The inner loops that are written in C, where they could be built.

Each function says whether it did the work: callers go on with NumPy and the `os` module if it did
not, because there was no compiler, or the types are none that the loops know. Results are the same
to the last bit.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from ecogsource.buffers.storage.threads import scratch

if TYPE_CHECKING:
    from ecogsource.buffers.storage.affine import Affine

__all__ = ["available", "copy", "join", "read_chunks", "read_copy", "read_rows"]

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
        return bool(_loops.copy(target, source, code, None, None))
    if affine.dtype != target.dtype:
        return False
    return bool(_loops.copy(target, source, code, affine.offset, affine.factor))


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


def read_copy(
    fd: int,
    rows: np.ndarray,
    offsets: np.ndarray,
    target: np.ndarray,
    source: np.ndarray,
    affine: Affine | None,
) -> bool:
    """Do what `read_rows` and then `copy` do with one call; `source` looks at the rows.

    Returns
    -------
    bool
        False if one of the two could not be done; then neither counts.
    """
    if _loops is None or (affine is not None and affine.dtype != target.dtype):
        return False
    numbers = (None, None) if affine is None else (affine.offset, affine.factor)
    return bool(_loops.read_copy(fd, rows, offsets, target, source, *numbers))


def read_chunks(
    fd: int,
    target: np.ndarray,
    dtype: np.dtype,
    offsets: np.ndarray,
    first: tuple[int, int],
    step: tuple[int, int],
    edges: tuple[int, int],
    affine: Affine | None,
) -> bool:
    """Read a window of a dataset in chunks without filters, cast and scaled on the way.

    Parameters
    ----------
    fd : int
        Descriptor of the file.
    target : ndarray, shape (n, m)
        Any strides and dtype.
    dtype : dtype
        Type of what is stored.
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
    """
    if _loops is None or (affine is not None and affine.dtype != target.dtype):
        return False
    memory = scratch(ROOM)
    stored = np.ndarray(target.shape, dtype, memory, 0, (0, 0))
    numbers = (None, None) if affine is None else (affine.offset, affine.factor)
    return bool(
        _loops.read_chunks(fd, target, stored, offsets, first, step, edges, memory, *numbers)
    )
