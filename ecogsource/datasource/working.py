"""Doing many pieces of work in threads, in bounded memory, with a progress bar and a clean stop."""

from __future__ import annotations

import contextvars
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

__all__ = ["run_jobs"]

Item = TypeVar("Item")

# Work that takes longer shows how far it is, unless it was told not to.
_PATIENCE_SECONDS = 2.0


def run_jobs(
    work: Callable[[Item], Any],
    items: Iterable[Item],
    *,
    workers: int,
    total: int | None = None,
    progress: bool | None = None,
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
    progress : bool, optional
        Show a bar, moved by the calling thread only; by default if the work takes longer than
        two seconds.
    label : str
        Text at the bar.

    Raises
    ------
    Exception
        The first that `work` raised. It, and a Ctrl-C, drop what was not begun and wait for what
        was.
    """
    running: deque[Future[Any]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="ecogsource-work")
    bar = Bar(total, label, progress)
    try:
        for item in items:
            running.append(pool.submit(contextvars.copy_context().run, work, item))
            if len(running) > workers:
                running.popleft().result()
                bar.step()
        while running:
            running.popleft().result()
            bar.step()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        bar.close()


class Bar:
    """A progress bar that short work never sees.

    Parameters
    ----------
    total : int or None
        Number of steps.
    label : str
        What is done.
    wanted : bool or None
        Whether it is shown; None: if it takes longer than two seconds.
    """

    def __init__(self, total: int | None, label: str, wanted: bool | None) -> None:  # noqa: FBT001
        self._options: dict[str, Any] = {"total": total, "desc": label}
        self._wanted = wanted
        self._due = time.monotonic() + (0.0 if wanted else _PATIENCE_SECONDS)
        self._done = 0
        self._bar: Any = None

    def step(self) -> None:
        """Count one more."""
        self._done += 1
        if self._bar is not None:
            self._bar.update()
        elif self._wanted is not False and time.monotonic() >= self._due and self._worthwhile():
            from tqdm.auto import tqdm

            self._bar = tqdm(initial=self._done, **self._options)

    def _worthwhile(self) -> bool:
        """Tell whether anything is left to watch, or a bar was asked for."""
        return bool(self._wanted) or self._done != self._options["total"]

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
