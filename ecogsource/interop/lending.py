"""Memory that loading processes of PyTorch lend to the process that trains, and get back.

A DataLoader moves every batch of its workers to new shared memory, whose pages the system must
find and clear first: that takes several times as long as reading the batch. Here a worker reads
into memory that it has already. It says in which file of which process that memory is; the receiver
maps it, and gives it back, by a mark in it, when the last tensor that looks at it is gone.

The files have no names, and go with the processes. They are a feature of Linux; elsewhere, and
while a receiver keeps many batches, these go the way of PyTorch.
"""

from __future__ import annotations

import math
import mmap
import os
import weakref
from collections.abc import Callable
from functools import cache
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import numpy as np

from ecogsource.errors import require

__all__ = ["Lender", "rows_of"]

# A DataLoader has two batches on the way from each worker, and the one in use.
MOST_LENT = 8
MOST_IDLE = 3
# The mark is behind the numbers, on a line of memory of its own.
LINE = 64
FREE, LENT = 0, 1


class _Memory:
    """A file in memory: room for the numbers of a batch, and the mark."""

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes
        self.fd = os.memfd_create("ecogsource-batch")
        try:
            os.ftruncate(self.fd, nbytes + LINE)
            # A lack of memory is an error here, and the end of the process later.
            os.posix_fallocate(self.fd, 0, nbytes + LINE)
            self.map = mmap.mmap(self.fd, nbytes + LINE)
        except BaseException:
            os.close(self.fd)
            raise
        self._sent = False
        self._array: Callable[[], np.ndarray | None] = lambda: None
        weakref.finalize(self, os.close, self.fd)

    @property
    def is_lent(self) -> bool:
        """Whether the receiver, or somebody here, looks at it."""
        return self.map[-1] == LENT or self._array() is not None

    def lend(self, array: np.ndarray) -> None:
        """Mark the memory as lent, until the receiver gives it back or it is dropped unsent."""
        self.map[-1], self._sent = LENT, False
        self._array = weakref.ref(array)
        weakref.finalize(array, self._drop)

    def _drop(self) -> None:
        if not self._sent:
            self.map[-1] = FREE

    def send(self) -> tuple[str, int]:
        """Say what another process needs to map the memory, and leave it to that."""
        self._sent = True
        return f"/proc/{os.getpid()}/fd/{self.fd}", os.fstat(self.fd).st_ino


class Lender:
    """The memory of one loading process."""

    def __init__(self) -> None:
        self._memories: list[_Memory] = []
        self._can_lend = _can_be_mapped()

    def lend(
        self, shape: tuple[int, ...], dtype: np.dtype, read: Callable[[np.ndarray], Any]
    ) -> Any:
        """Read a batch into memory that is idle, or new.

        Parameters
        ----------
        shape : tuple of int
            Of the batch.
        dtype : dtype
            Of its numbers.
        read : callable
            Called with an array to fill.

        Returns
        -------
        tensor or None
            To be sent to the process that trains, where it is an ordinary one; so is what is
            computed from it here. None if there is no memory to lend.
        """
        memory = self._find(math.prod(shape) * dtype.itemsize)
        if memory is None:
            return None
        array: np.ndarray = np.ndarray(shape, dtype, memory.map)
        read(array)
        lent = require("torch", "torch").from_numpy(array).as_subclass(_lent_class())
        lent.memory = memory
        memory.lend(array)
        return lent

    def _find(self, nbytes: int) -> _Memory | None:
        """Return memory that is idle, the last one used; forget what is too much of it."""
        lent = [memory for memory in self._memories if memory.is_lent]
        idle = [memory for memory in self._memories if not memory.is_lent]
        fitting = [memory for memory in idle if memory.nbytes == nbytes]
        if not fitting and (len(lent) >= MOST_LENT or not self._can_lend):
            return None
        found = fitting[-1] if fitting else _Memory(nbytes)
        idle = [memory for memory in idle if memory is not found]
        self._memories = [*idle[-MOST_IDLE:], *lent, found]
        return found


def _can_be_mapped() -> bool:
    """Tell whether the system lets processes of one user map each other's files in memory.

    What it lets this process see of its parent, it lets the parent see of this one.
    """
    try:
        seen = any(Path(f"/proc/{os.getppid()}/fd").iterdir())
    except OSError:
        return False
    return seen and hasattr(os, "memfd_create")


@cache
def _lent_class() -> type:
    """Make the class of tensors that are sent as the place where they are, and of their rows."""
    torch = require("torch", "torch")
    members = {
        "__torch_function__": torch._C._disabled_torch_function_impl,
        # Where it is, or of which tensor it is which row.
        "memory": None,
        "whole": None,
        "number": 0,
    }
    made = type("LentTensor", (torch.Tensor,), members)
    ForkingPickler.register(made, _send)
    collation = require("torch.utils.data._utils.collate", "torch")
    collation.default_collate_fn_map[made] = _collate
    return made


def rows_of(whole: Any) -> list[Any]:
    """Return the rows of a tensor; who puts all of them together gets it back, not a copy."""
    kind, rows = _lent_class(), []
    for number, plain in enumerate(whole.unbind()):
        row = plain.as_subclass(kind)
        row.whole, row.number = whole, number
        rows.append(row)
    return rows


def _collate(rows: list[Any], *, collate_fn_map: Any = None) -> Any:
    """Put rows together: what PyTorch's `default_collate` calls for them."""
    whole = rows[0].whole
    complete = whole is not None and len(rows) == len(whole)
    if complete and all(row.whole is whole and row.number == i for i, row in enumerate(rows)):
        return whole
    torch = require("torch", "torch")
    collation = require("torch.utils.data._utils.collate", "torch")
    plain = [row.as_subclass(torch.Tensor) for row in rows]
    return collation.collate_tensor_fn(plain, collate_fn_map=collate_fn_map)


def _send(lent: Any) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """Say where the numbers are, unless the tensor was turned or cut meanwhile."""
    plain = lent.as_subclass(require("torch", "torch").Tensor)
    memory: _Memory | None = lent.memory
    numbers = plain.numpy()
    if memory is None or not numbers.flags.c_contiguous or numbers.nbytes != memory.nbytes:
        return require("torch.multiprocessing.reductions", "torch").reduce_tensor(plain)
    return _receive, (*memory.send(), numbers.shape, numbers.dtype.str)


def _receive(path: str, inode: int, shape: tuple[int, ...], dtype: str) -> Any:
    """Look at the memory of another process until the last tensor that does so is gone."""
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        if os.fstat(fd).st_ino != inode:
            raise RuntimeError(f"{path} is not the memory that was lent")
        memory = mmap.mmap(fd, 0)
    finally:
        os.close(fd)
    array: np.ndarray = np.ndarray(shape, dtype, memory)
    # All tensors that look at these numbers hold this array.
    weakref.finalize(array, memory.__setitem__, -1, FREE).atexit = False
    return require("torch", "torch").from_numpy(array)
