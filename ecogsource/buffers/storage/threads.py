"""A shared pool of threads for reading and decoding.

The thread that asks always works too, and never waits for work that has not begun. So calls may be
nested and come from many threads at once: a full pool makes them slower, not stuck.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from ecogsource.params import load_params

__all__ = ["run", "scratch"]

Task = TypeVar("Task")
MAX_THREADS = 64
BYTES_PER_THREAD = 1 << 20
KEPT_SCRATCH = 8 << 20


class _State:
    """The executor of this process, made when first needed."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.executor: ThreadPoolExecutor | None = None

    def submit(self, work: Callable[[], None]) -> Future[None]:
        with self.lock:
            if self.executor is None:
                self.executor = ThreadPoolExecutor(MAX_THREADS, "ecogsource-read")
            return self.executor.submit(work)

    def after_fork(self) -> None:
        # The threads of the parent do not exist here.
        self.lock, self.executor = threading.Lock(), None


_STATE = _State()
_LOCAL = threading.local()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_STATE.after_fork)


def run(work: Callable[[Task], Any], tasks: Sequence[Task], nbytes: int) -> None:
    """Do the same work for each of many tasks, in several threads.

    Parameters
    ----------
    work : callable
        Called once with each task, in no particular order; should leave the interpreter lock
        free most of the time.
    tasks : sequence
        The tasks.
    nbytes : int
        About how many bytes are read or decoded in all. A thread is worth its start from a
        megabyte on; there are never more than the `workers` parameter says, this one included.

    Raises
    ------
    Exception
        The first one that `work` raised; tasks not begun by then are left out.
    """
    count = min(nbytes // BYTES_PER_THREAD, len(tasks))
    if count > 1:
        count = min(count, load_params().workers)
    if count <= 1:
        for task in tasks:
            work(task)
        return
    numbers = itertools.count()
    errors: list[BaseException] = []

    def loop() -> None:
        try:
            # next() of a count is atomic: each task is handed out once, without a lock.
            while not errors and (number := next(numbers)) < len(tasks):
                work(tasks[number])
        except BaseException as error:
            errors.append(error)

    helpers = [_STATE.submit(loop) for _ in range(count - 1)]
    loop()
    try:
        for helper in helpers:
            if not helper.cancel():
                helper.result()
    except BaseException as error:
        # Ctrl-C while waiting: let the helpers stop at their next task.
        errors.append(error)
    if errors:
        raise errors[0]


def scratch(nbytes: int, name: str = "memory") -> memoryview:
    """Return writable memory of this thread, to be used before the next call of the same name.

    Parameters
    ----------
    nbytes : int
        How much is needed.
    name : str
        Which of the pieces of memory that a thread keeps.
    """
    if nbytes > KEPT_SCRATCH:
        return memoryview(bytearray(nbytes))
    held: bytearray | None = getattr(_LOCAL, name, None)
    if held is None or len(held) < nbytes:
        held = bytearray(nbytes)
        setattr(_LOCAL, name, held)
    return memoryview(held)[:nbytes]
