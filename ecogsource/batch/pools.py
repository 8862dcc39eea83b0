"""Who computes batches: this process, worker processes of our own, or any executor.

What travels to a worker is a recipe: how to open the recording, which batch, and the function.
Results come back in order, and never more of them are under way than the workers can use.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import lru_cache
from multiprocessing.connection import wait
from typing import Any

import numpy as np

from ecogsource.batch.job import Job, Placed, Target
from ecogsource.batch.plan import Batch
from ecogsource.errors import BatchError

__all__ = ["Workers", "count_workers", "run_ordered", "workers_for"]

# A fork of this process would copy its threads' locks; the server forks from a clean process.
_METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
_CONTEXT: Any = multiprocessing.get_context(_METHOD)
# Larger recipes hold numbers: then only those of each batch travel.
_LARGEST_RECIPE = 4_000_000


class Workers:
    """An executor, and what is to be known about it.

    Parameters
    ----------
    executor : concurrent.futures.Executor
        Where batches are computed.
    under_way : int
        How many batches may be under way or wait to be taken.
    begun : concurrent.futures.Future, optional
        Done when the executor is ready; batches are better computed here until then.
    """

    def __init__(
        self, executor: Executor, under_way: int, begun: Future[Any] | None = None
    ) -> None:
        self.executor = executor
        self.under_way = under_way
        self._begun = begun

    @property
    def ready(self) -> bool:
        """Whether work can be handed over without waiting for the workers to start."""
        if self._begun is not None and self._begun.done():
            self.wait()
        return self._begun is None or self._begun.done()

    @property
    def see_our_files(self) -> bool:
        """Whether workers surely work on the file system of this process."""
        return isinstance(self.executor, (ThreadPoolExecutor, ProcessPoolExecutor))

    def wait(self) -> None:
        """Wait until the workers have started.

        Raises
        ------
        BatchError
            If they do not.
        """
        try:
            if self._begun is not None:
                self._begun.result()
        except Exception as error:
            raise BatchError(f"the worker processes did not start: {error}") from error

    def submitter(self, job: Job, target: Target | None) -> Any:
        """Give a function that hands a batch over and returns its future."""
        submit = self.executor.submit
        if isinstance(self.executor, ThreadPoolExecutor):
            return lambda batch: submit(job.compute, batch, target)
        work = _work_and_pack if self._begun is not None else _work
        if _travels(job.reader):
            payload = _packed(job, target)
            return lambda batch: submit(work, payload, batch)
        light = _packed(job.without_reader(), target)
        return lambda batch: submit(work, light, batch, job.read(batch))

    def close(self, *, at_once: bool) -> None:
        """End the workers.

        Parameters
        ----------
        at_once : bool
            Whether to give up the batches that are being computed.
        """
        with suppress(BatchError):
            self.wait()
        if at_once:
            for process in list((getattr(self.executor, "_processes", None) or {}).values()):
                process.terminate()
        self.executor.shutdown(wait=True, cancel_futures=True)


def _travels(reader: Any) -> bool:
    """Tell whether a reader is a recipe that is small enough to be sent with every batch."""
    numbers = [0]

    def count(part: pickle.PickleBuffer) -> None:
        numbers.append(part.raw().nbytes)

    try:
        pickle.dumps(reader, protocol=5, buffer_callback=count)
    except Exception:
        # Objects may raise anything when they are pickled; such a one stays here.
        return False
    return sum(numbers) <= _LARGEST_RECIPE


@lru_cache(maxsize=2)
def _unpacked(payload: bytes) -> tuple[Job, Target | None]:
    job: tuple[Job, Target | None] = pickle.loads(payload)
    return job


def _work(payload: bytes, batch: Batch, data: np.ndarray | None = None) -> list[Any]:
    job, target = _unpacked(payload)
    return job.compute(batch, target, data)


class _Packed:
    """Results that travel by value: a bare process has no script to find their types in."""

    def __init__(self, results: list[Any]) -> None:
        self.results = results

    def __reduce__(self) -> tuple[Any, ...]:
        packer = _cloudpickle() or pickle
        return pickle.loads, (packer.dumps(self.results, protocol=5),)


def _work_and_pack(payload: bytes, batch: Batch, data: np.ndarray | None = None) -> Any:
    results = _work(payload, batch, data)
    plain = all(isinstance(item, (Placed, np.ndarray, np.generic, int, float)) for item in results)
    return results if plain else _Packed(results)


def _cloudpickle() -> Any:
    """Give the package that packs functions of a script or notebook by value, if it is there."""
    try:
        import cloudpickle
    except ImportError:
        return None
    return cloudpickle


def _packed(job: Job, target: Target | None) -> bytes:
    packer = _cloudpickle() or pickle
    try:
        return bytes(packer.dumps((job, target)))
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        advice = "" if packer is not pickle else "; pip install cloudpickle sends most functions"
        raise BatchError(
            f"the function or its arguments cannot be sent to worker processes: {error}{advice}"
        ) from error


@contextmanager
def workers_for(processes: int, executor: Executor | None) -> Iterator[Workers | None]:
    """Give those who compute.

    Parameters
    ----------
    processes : int
        Worker processes to use, if more than one and no executor is given.
    executor : concurrent.futures.Executor or None
        An executor of the caller; it stays open.

    Yields
    ------
    Workers or None
        None to work in this process.
    """
    if executor is not None:
        yield Workers(executor, 2 * count_workers(processes, executor))
        return
    if processes <= 1:
        yield None
        return
    key = os.getpid(), processes
    workers = _idle(key) or _started(processes)
    try:
        yield workers
    except BaseException as error:
        workers.close(at_once=not isinstance(error, Exception))
        raise
    _IDLE[key] = workers


# Idle workers, by the process that started them (they are no use to its forks) and their number:
# starting them takes longer than many a job.
_IDLE: dict[tuple[int, int], Workers] = {}


def _idle(key: tuple[int, int]) -> Workers | None:
    workers = _IDLE.pop(key, None)
    # One that died in the meantime broke the pool.
    return None if workers is None or getattr(workers.executor, "_broken", False) else workers


def count_workers(processes: int, executor: Any) -> int:
    """Tell how many batches are computed at a time.

    Parameters
    ----------
    processes : int
        Worker processes, if there is no executor.
    executor : concurrent.futures.Executor or None
        An executor of the caller.

    Returns
    -------
    int
        At least 1. An executor that does not say is taken to have one worker for each processor.
    """
    if executor is None:
        return max(1, processes)
    client: Any = getattr(executor, "_client", None)
    if hasattr(client, "nthreads"):
        return max(1, sum(client.nthreads().values()))
    return getattr(executor, "_max_workers", None) or os.cpu_count() or 2


def _started(processes: int) -> Workers:
    """Start worker processes in the background."""
    if _METHOD == "forkserver":
        _CONTEXT.set_forkserver_preload([__name__])
    pool = ProcessPoolExecutor(processes, mp_context=_BareContext(), initializer=_begin_work)
    begun: Future[Any] = Future()

    def start() -> None:
        try:
            tasks = [pool.submit(os.getpid) for _ in range(processes)]
            begun.set_result([task.result() for task in tasks])
        except BaseException as error:
            begun.set_exception(error)

    threading.Thread(target=start, name="ecogsource-workers", daemon=True).start()
    return Workers(pool, 2 * processes, begun)


def _begin_work() -> None:
    """Let Ctrl-C reach only the parent, which ends the workers; end when it is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


class _BareProcess(_CONTEXT.Process):
    """A process that does not run the script of its parent again.

    Functions of the script travel by value, so that scripts need no ``if __name__ ==
    "__main__":`` around their work.
    """

    def start(self) -> None:
        if _cloudpickle() is None:
            super().start()
            return
        if _METHOD == "forkserver":
            from multiprocessing.forkserver import ensure_running

            ensure_running()
        # From these, which nothing else needs in the meantime, a new process finds the script.
        main = vars(sys.modules["__main__"])
        names: list[str] = ["__spec__", "__file__"]
        kept = {name: main.pop(name) for name in names if name in main}
        main["__spec__"] = None
        try:
            super().start()
        finally:
            main |= kept


class _BareContext(type(_CONTEXT)):  # type: ignore[misc]
    """Processes that do not run the script of their parent again."""

    Process = _BareProcess


def run_ordered(
    job: Job,
    batches: Iterable[Batch],
    workers: Workers,
    target: Target | None = None,
) -> Iterator[tuple[Batch, list[Any]]]:
    """Compute batches on an executor; here, while it is still starting.

    Parameters
    ----------
    job : Job
        What to do.
    batches : iterable of Batch
        To what.
    workers : Workers
        Who does it.
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
    pending: deque[tuple[Batch, Future[list[Any]]]] = deque()
    submit = None
    try:
        for batch in batches:
            if submit is None and not workers.ready:
                yield batch, job.compute(batch, target)
                continue
            submit = submit or workers.submitter(job, target)
            pending.append((batch, submit(batch)))
            if len(pending) >= workers.under_way:
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
