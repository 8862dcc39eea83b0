"""Windows as datasets of PyTorch, for any number of loading processes.

`WindowMap` is a map-style dataset, one tensor per window, for samplers and DataLoaders of any kind.
`WindowStream` is an iterable dataset of whole batches. Both read a batch in one pass in the order
of the files, give the same windows for the same seed and epoch, in however many workers, and can
be sent to workers by fork and by spawn.

The classes are made when they are first asked for, because their base classes are PyTorch's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ecogsource.errors import require
from ecogsource.interop.lending import Lender, rows_of
from ecogsource.windows import WindowDataset

__all__ = ["WindowMap", "WindowStream"]  # noqa: F822 - made by __getattr__

_EXTRA = "torch"


class _Windows:
    """What both kinds of dataset share: the windows, and the epoch in memory that workers see."""

    def __init__(self, windows: WindowDataset, *, workers: int | None = None) -> None:
        torch = require("torch", _EXTRA)
        self.windows = windows
        self.workers = workers
        # Workers that live for several epochs learn of the next one through shared memory.
        self._epoch = torch.tensor([windows.epoch], dtype=torch.int64).share_memory_()
        # Made in the worker that needs it.
        self._lender: Lender | None = None

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, here and in workers that are running.

        Parameters
        ----------
        epoch : int
            From 0 to 2**63 - 1.
        """
        self.windows.set_epoch(epoch)
        self._epoch[0] = epoch

    def _threads(self) -> int | None:
        """Threads that read: one in each worker of a DataLoader, unless the caller chose."""
        if self.workers is None and _worker() is not None:
            return 1
        return self.workers

    def _sync(self) -> WindowDataset:
        self.windows.set_epoch(int(self._epoch[0]))
        return self.windows

    def _batch(self, indices: ArrayLike) -> Any:
        """Read a batch: in a worker into memory that was used before, if there is such."""
        windows, numbers = self._sync(), np.asarray(indices)

        def read(out: np.ndarray | None = None) -> Any:
            return windows.batch(numbers, out, workers=self._threads())

        lent = None
        if _worker() is not None and windows.transform is None:
            if self._lender is None:
                self._lender = Lender()
            lent = self._lender.lend((len(numbers), *windows.shape), windows.dtype, read)
        return _tensor(read()) if lent is None else lent


class _Map(_Windows):
    """Windows as a map-style dataset of PyTorch: ``dataset[i]`` is a tensor.

    A DataLoader asks for all windows of a batch at once; they are then read in one pass, by workers
    into shared memory that is used again once the batch in it is let go.

    Parameters
    ----------
    windows : WindowDataset
        The windows. What their `transform` returns is handed out, arrays as tensors.
    workers : int, optional
        Threads that read a batch; by default one in the worker of a DataLoader, elsewhere the
        parameter ``workers``.

    Raises
    ------
    MissingDependencyError
        If PyTorch is not installed.
    """

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> Any:
        return _tensor(self._sync()[index])

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Read many windows in one pass: what a DataLoader calls.

        Parameters
        ----------
        indices : sequence of int
            Numbers of the windows.

        Returns
        -------
        list of tensor
            One per window.
        """
        return rows_of(self._batch(indices))


class _Stream(_Windows):
    """Batches of windows as an iterable dataset of PyTorch.

    For a DataLoader with ``batch_size=None``: batches come as they are read, without being put
    together from single windows. Batch `k` of an epoch is the same with any number of workers.
    Workers read into shared memory that is used again once the batch in it is let go.

    Parameters
    ----------
    windows : WindowDataset
        The windows.
    batch_size : int
        Windows in a batch.
    shuffle : bool
        Take enumerated windows in a random order, another one in each epoch.
    drop_last : bool
        Leave out the last batch if it is smaller.
    workers : int, optional
        Threads that read a batch; by default one in the worker of a DataLoader, elsewhere the
        parameter ``workers``.

    Raises
    ------
    MissingDependencyError
        If PyTorch is not installed.
    """

    def __init__(
        self,
        windows: WindowDataset,
        batch_size: int,
        *,
        shuffle: bool = False,
        drop_last: bool = False,
        workers: int | None = None,
    ) -> None:
        super().__init__(windows, workers=workers)
        self.batch_size, self.shuffle, self.drop_last = batch_size, shuffle, drop_last

    def __len__(self) -> int:
        count = len(self.windows)
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        worker = _worker()
        shard = (0, 1) if worker is None else (worker.id, worker.num_workers)
        plan = self._sync().batch_indices(
            self.batch_size, shuffle=self.shuffle, drop_last=self.drop_last, shard=shard
        )
        for indices in plan:
            yield self._batch(indices)


def _worker() -> Any:
    return require("torch.utils.data", _EXTRA).get_worker_info()


def _tensor(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return require("torch", _EXTRA).from_numpy(value)
    return value


_KINDS = {"WindowMap": (_Map, "Dataset"), "WindowStream": (_Stream, "IterableDataset")}


def __getattr__(name: str) -> Any:
    """Make a class on top of PyTorch's when it is first asked for."""
    if name not in _KINDS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    kind, base = _KINDS[name]
    bases = (kind, getattr(require("torch.utils.data", _EXTRA), base))
    # Under its own name in this module, so that workers find it when they unpickle.
    made = type(name, bases, {"__module__": __name__, "__doc__": kind.__doc__})
    return globals().setdefault(name, made)


def __dir__() -> list[str]:
    return __all__
