"""Doing many pieces of work in threads, in bounded memory, with a progress bar and a clean stop."""

from __future__ import annotations

import contextvars
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

__all__ = ["run_jobs"]

Item = TypeVar("Item")


def run_jobs(
    work: Callable[[Item], Any],
    items: Iterable[Item],
    *,
    workers: int,
    total: int | None = None,
    progress: bool = False,
    label: str = "",
) -> None:
    """Call `work` for every item, in threads.

    Parameters
    ----------
    work : callable
        Called with one item; its result is dropped.
    items : iterable
        Taken as workers become free.
    workers : int
        Threads.
    total : int, optional
        Number of items, for the bar.
    progress : bool
        Show a bar, moved by the calling thread only.
    label : str
        Text at the bar.

    Raises
    ------
    Exception
        The first that `work` raised. It, and a Ctrl-C, drop what was not begun and wait for what
        was.
    """
    from tqdm.auto import tqdm

    running: deque[Future[Any]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="ecogsource-work")
    bar = tqdm(total=total, desc=label, disable=not progress)

    def settle() -> None:
        running.popleft().result()
        bar.update()

    try:
        for item in items:
            running.append(pool.submit(contextvars.copy_context().run, work, item))
            if len(running) > workers:
                settle()
        while running:
            settle()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        bar.close()
