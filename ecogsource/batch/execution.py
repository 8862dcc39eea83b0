"""Running a function over batches: here, in other processes, or on any executor.

What travels to a worker is a recipe: how to open the recording, which batch, and the function.
Results come back in order, and never more of them are under way than the workers can use.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import deflate
import numpy as np

from ecogsource.batch.plan import Batch
from ecogsource.batch.readers import RecordingsReader
from ecogsource.errors import BatchError

__all__ = ["Job", "Placed", "Target", "run_ordered", "worker_pool"]


@dataclass(frozen=True)
class Target:
    """Where workers put their results themselves.

    Parameters
    ----------
    path : str
        File, large enough already.
    row_bytes : int
        Bytes of one row of results.
    rows : int
        Rows of one channel of the file; 0 if all channels of an observation lie together.
    row_shape : tuple of int
        Shape of a row.
    dtype : str
        Type of the results.
    origin : int
        Observation of the first row.
    places : dict, optional
        For each channel of the recording, its place in the file.
    """

    path: str
    row_bytes: int
    rows: int
    row_shape: tuple[int, ...]
    dtype: str
    origin: int
    places: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Placed:
    """What is said of results that are in their file.

    Parameters
    ----------
    checksum : int
        CRC-32 of the bytes that were written.
    """

    checksum: int


@dataclass(frozen=True)
class Job:
    """What is done to every batch. It pickles as a recipe.

    Parameters
    ----------
    reader : RecordingsReader
        What is read.
    function : callable
        What is applied.
    options : dict
        Its keyword arguments.
    cleanup : callable or None
        Applied to the result: ``cleanup(result, idx_local, idx, buffer_size)``.
    cast_dtype : dtype_like or None
        Type to cast results to.
    single : bool
        Whether the function gets one channel at a time, as a one-dimensional array.
    info : bool
        Whether it is told where its data lie.
    """

    reader: RecordingsReader
    function: Callable[..., Any]
    options: dict[str, Any]
    cleanup: Callable[..., Any] | None = None
    cast_dtype: Any = None
    single: bool = False
    info: bool = False

    def read(self, batch: Batch) -> np.ndarray:
        """Read the data of a batch, with margins.

        Parameters
        ----------
        batch : Batch
            Which.

        Returns
        -------
        numpy.ndarray
            Observations x channels.
        """
        return self.reader.read_padded(
            batch.start,
            batch.stop,
            batch.channels,
            self.reader.buffer_size,
            order="F" if self.single else "C",
        )

    def local(self, batch: Batch) -> tuple[slice, slice]:
        """Give the index of a batch inside its data, without the margins."""
        margin = self.reader.buffer_size
        return slice(margin, margin + batch.stop - batch.start), slice(None)

    def apply(self, batch: Batch, data: np.ndarray, **extra: Any) -> list[Any]:
        """Apply the function to the data of a batch.

        Parameters
        ----------
        batch : Batch
            Which batch.
        data : numpy.ndarray
            Observations x channels.
        **extra
            More keyword arguments of the function.

        Returns
        -------
        list
            One result, or one for each channel.

        Raises
        ------
        BatchError
            If the function fails; its own exception is the cause.
        """
        options = {**self.options, **extra}
        if self.info:
            options |= {"idx_local": self.local(batch), "idx": batch.place}
        pieces = list(data.T) if self.single else [data]
        try:
            return [self._finish(self.function(piece, **options), batch) for piece in pieces]
        except Exception as error:
            raise BatchError(f"{batch} failed: {type(error).__name__}: {error}") from error

    def _finish(self, result: Any, batch: Batch) -> Any:
        if self.cleanup is not None:
            margin = self.reader.buffer_size
            result = self.cleanup(result, self.local(batch), batch.place, margin)
        return result if self.cast_dtype is None else np.asarray(result).astype(self.cast_dtype)

    def compute(self, batch: Batch, target: Target | None = None) -> list[Any]:
        """Read a batch, apply the function, and write the results if there is a target.

        Parameters
        ----------
        batch : Batch
            Which batch.
        target : Target, optional
            Where results go.

        Returns
        -------
        list
            Results, or what was written.
        """
        results = self.apply(batch, self.read(batch))
        if target is None:
            return results
        return [Placed(place_results(results, batch, target))]


def place_results(results: list[Any], batch: Batch, target: Target) -> int:
    """Write the results of a batch to their place in the output file.

    Parameters
    ----------
    results : list of array_like
        One array with a row per observation, or one per channel.
    batch : Batch
        The batch.
    target : Target
        The file.

    Returns
    -------
    int
        CRC-32 of the bytes that were written.

    Raises
    ------
    BatchError
        If a result has another shape or type than that of the first batch.
    """
    rows = batch.stop - batch.start
    checksum = 0
    with open(target.path, "r+b", buffering=0) as file:
        for place, result in enumerate(results):
            array = np.ascontiguousarray(result)
            if array.shape != (rows, *target.row_shape) or array.dtype.str != target.dtype:
                raise BatchError(
                    f"{batch}: the result has shape {array.shape} and type {array.dtype}; the "
                    f"first batch promised {(rows, *target.row_shape)} and "
                    f"{np.dtype(target.dtype)}; pass cast_dtype to fix the type"
                )
            row = batch.start - target.origin
            if target.rows:
                row += target.places[int(batch.channels[place])] * target.rows
            file.seek(row * target.row_bytes)
            view = array.reshape(-1).view(np.uint8).data
            # libdeflate's is ten times as fast as zlib's, and the bytes are hot.
            checksum = deflate.crc32(view, checksum)
            while len(view):
                view = view[file.write(view) :]
    return checksum


@lru_cache(maxsize=8)
def _unpacked(payload: bytes) -> tuple[Job, Target | None]:
    job: tuple[Job, Target | None] = pickle.loads(payload)
    return job


def _work(payload: bytes, batch: Batch) -> list[Any]:
    job, target = _unpacked(payload)
    return job.compute(batch, target)


def _packed(job: Job, target: Target | None) -> bytes:
    try:
        # It also packs functions that were typed into a notebook.
        import cloudpickle as packer
    except ImportError:
        packer = pickle
    return packer.dumps((job, target))


@contextmanager
def worker_pool(processes: int, executor: Executor | None) -> Iterator[tuple[Executor | None, int]]:
    """Give the executor to use, and how many batches to keep under way.

    Parameters
    ----------
    processes : int
        Worker processes to start, if more than one and no executor is given.
    executor : concurrent.futures.Executor or None
        An executor of the caller; it stays open.

    Yields
    ------
    executor : Executor or None
        None to work in this process.
    under_way : int
        Batches to keep under way.
    """
    if executor is not None:
        workers = getattr(executor, "_max_workers", None) or os.cpu_count() or 2
        yield executor, 2 * workers
        return
    if processes <= 1:
        yield None, 0
        return
    pool = _POOLS.pop(processes, None) or _new_pool(processes)
    try:
        yield pool, processes + 1
    except BaseException:
        pool.shutdown(wait=True, cancel_futures=True)
        raise
    _POOLS[processes] = pool


# Idle pools by their number of processes: starting one takes longer than many a job.
_POOLS: dict[int, ProcessPoolExecutor] = {}


def _new_pool(processes: int) -> ProcessPoolExecutor:
    # Threads of this process and a fork do not mix; the server forks from a clean process.
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if "forkserver" in methods:
        context.set_forkserver_preload([__name__])
    return ProcessPoolExecutor(processes, mp_context=context, initializer=_leave_interrupts)


def _leave_interrupts() -> None:
    """Let Ctrl-C reach only the parent, which ends the workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def run_ordered(
    job: Job,
    batches: Iterable[Batch],
    *,
    executor: Executor,
    under_way: int,
    target: Target | None = None,
) -> Iterator[tuple[Batch, list[Any]]]:
    """Compute batches on an executor.

    Parameters
    ----------
    job : Job
        What to do.
    batches : iterable of Batch
        To what.
    executor : concurrent.futures.Executor
        Where.
    under_way : int
        How many batches may be under way or wait to be taken.
    target : Target, optional
        Where workers put results; they must see the same files.

    Yields
    ------
    batch : Batch
        In order.
    results : list
        Its results.

    Raises
    ------
    BatchError
        The first failure; batches that have not begun are cancelled.
    """
    payload = _packed(job, target)
    pending: deque[tuple[Batch, Future[list[Any]]]] = deque()
    try:
        for batch in batches:
            pending.append((batch, executor.submit(_work, payload, batch)))
            if len(pending) >= under_way:
                yield _taken(*pending.popleft())
        while pending:
            yield _taken(*pending.popleft())
    finally:
        for _, future in pending:
            future.cancel()


def _taken(batch: Batch, future: Future[list[Any]]) -> tuple[Batch, list[Any]]:
    try:
        return batch, future.result()
    except BatchError:
        raise
    except Exception as error:
        # The worker died, or something could not travel.
        raise BatchError(f"{batch} failed in a worker: {type(error).__name__}: {error}") from error
