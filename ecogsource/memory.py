"""The memory guard: what an operation may allocate, asked before it allocates."""

from __future__ import annotations

import time
from typing import Any

from ecogsource._machine import available_memory, format_bytes, parse_bytes
from ecogsource.errors import MemoryBlowOutError
from ecogsource.params import load_params

__all__ = [
    "available_memory",
    "check_allocation",
    "effective_limit",
    "format_bytes",
    "parse_bytes",
]

SAFE_SHARE = 0.75
# Asking the system what is free takes longer than a small read. Requests below this size are
# held against the parameter alone, and an answer serves for a second.
_ASK_ABOVE = 64 * 2**20
_ANSWER_HOLDS = 1.0


class _FreeMemory:
    """What the system last said to be free."""

    def __init__(self) -> None:
        self._answer = (0.0, 0)

    def ask(self) -> int:
        until, free = self._answer
        now = time.monotonic()
        if now >= until:
            free = available_memory()
            self._answer = now + _ANSWER_HOLDS, free
        return free


_FREE = _FreeMemory()


def effective_limit() -> int:
    """Give the bytes that one operation may allocate now.

    Returns
    -------
    int
        The parameter ``memory_limit``, or three quarters of the memory that is free (see
        :func:`available_memory`) if that is less. What is free is asked at most once a second.
    """
    return min(load_params().memory_limit, int(SAFE_SHARE * _FREE.ask()))


def check_allocation(
    nbytes: int,
    *,
    shape: tuple[int, ...],
    dtype: Any,
    what: str = "slice",
    temporary: int = 0,
) -> None:
    """Refuse an operation that would allocate more than the memory limit.

    Parameters
    ----------
    nbytes : int
        Bytes of the result.
    shape : tuple of int
        Shape of the result, for the message.
    dtype : dtype-like
        Type of the result, for the message.
    what : str, optional
        What is being read or made, for the message.
    temporary : int, optional
        Bytes of the largest temporary that exists beside the result.

    Raises
    ------
    MemoryBlowOutError
        If result and temporary together exceed :func:`effective_limit`. The message gives
        shape, type, bytes, limit and what to do instead.
    """
    needed = nbytes + temporary
    configured = load_params().memory_limit
    if needed <= configured and needed < _ASK_ABOVE:
        return
    limit = effective_limit()
    if needed <= limit:
        return
    reason = (
        "the parameter memory_limit"
        if limit == configured
        else f"{SAFE_SHARE:.0%} of the memory that is free; memory_limit is "
        f"{format_bytes(configured)}"
    )
    extra = f" and {format_bytes(temporary)} of temporary memory" if temporary else ""
    raise MemoryBlowOutError(
        f"this {what} of shape {tuple(shape)} and type {dtype} takes {format_bytes(nbytes)} "
        f"({nbytes} bytes){extra}, more than the limit of {format_bytes(limit)} ({reason}). "
        "Take less at a time with iter_blocks(), make a mapped copy with mirror(), or, if you "
        "are sure, read inside `with source.big_slices():` or raise memory_limit"
    )
