"""Memory for slices that are read in the background: how much, and which may be used again."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ecogsource.indexing import normalize_index
from ecogsource.memory import check_allocation

if TYPE_CHECKING:
    from ecogsource.datasource.base import ElectrodeDataSource

__all__ = ["BlockMemory", "form_of"]

Form = tuple[tuple[int, ...], np.dtype[Any]]


def form_of(source: ElectrodeDataSource, index: Any) -> Form:
    """Tell shape and type of what a source will read.

    Parameters
    ----------
    source : ElectrodeDataSource
        The source.
    index : object
        Any index that NumPy accepts.

    Raises
    ------
    IndexError
        As NumPy does.
    MemoryBlowOutError
        If it exceeds the memory limit, unless within ``source.big_slices()``.
    """
    shape = normalize_index(index, source.shape).shape
    if source._guarded():
        nbytes = int(np.prod(shape, dtype=object)) * source.dtype.itemsize
        check_allocation(nbytes, shape=shape, dtype=source.dtype)
    return shape, source.dtype


def _references(arrays: list[NDArray[Any]], number: int) -> int:
    return sys.getrefcount(arrays[number])


# What is counted for an array that only its list holds; interpreters differ.
_IDLE = _references([np.empty(0)], 0)


class BlockMemory:
    """Arrays that are handed out again once nobody else holds them, or a view of them.

    Parameters
    ----------
    allocate : callable
        ``allocate(shape, dtype)`` makes an array.

    Notes
    -----
    Memory that goes back to the system between two blocks costs as much to get again as reading
    a block that the system has cached.
    """

    def __init__(self, allocate: Callable[..., NDArray[Any]] = np.empty) -> None:
        self._allocate = allocate
        self._arrays: list[NDArray[Any]] = []

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return an array of unknown content."""
        idle = [n for n in range(len(self._arrays)) if _references(self._arrays, n) == _IDLE]
        for number in idle:
            if self._arrays[number].shape == shape:
                return self._arrays[number]
        # Of other shapes nothing is kept: blocks are equal but for the last.
        for number in reversed(idle):
            del self._arrays[number]
        array: NDArray[Any] = self._allocate(shape, dtype)
        self._arrays.append(array)
        return array
