"""The six works: lists of reads, in terms of channels and samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from benchmarks.files import Size


class Request(NamedTuple):
    """One read.

    Parameters
    ----------
    channels : slice or ndarray of int
        Channels wanted.
    times : slice
        Samples wanted.
    """

    channels: slice | np.ndarray
    times: slice


def _windows(size: Size, count: int, length: int) -> list[slice]:
    rng = np.random.default_rng(7)
    starts = rng.integers(0, size.samples - length, count)
    return [slice(int(s), int(s) + length) for s in starts]


def _scattered(size: Size) -> np.ndarray:
    rng = np.random.default_rng(8)
    return np.sort(rng.choice(size.channels, 16, replace=False))


def _scan(size: Size) -> list[Request]:
    step = size.samples // 20
    return [Request(slice(None), slice(i * step, (i + 1) * step)) for i in range(20)]


def _length(size: Size) -> int:
    return size.samples // 20


def _window(size: Size) -> list[Request]:
    return [Request(slice(None), w) for w in _windows(size, 12, _length(size))]


def _sixteen(size: Size) -> list[Request]:
    return [Request(_scattered(size), w) for w in _windows(size, 12, _length(size))]


def _strided(size: Size) -> list[Request]:
    windows = _windows(size, 12, _length(size))
    return [Request(slice(None), slice(w.start, w.stop, 10)) for w in windows]


def _tiny(size: Size) -> list[Request]:
    return [Request(slice(None), w) for w in _windows(size, 12, 10)]


def _channel(size: Size) -> list[Request]:
    chosen = np.random.default_rng(9).choice(size.channels, 4, replace=False)
    return [Request(slice(int(c), int(c) + 1), slice(0, size.samples)) for c in chosen]


WORKS: dict[str, Callable[[Size], list[Request]]] = {
    "scan": _scan,
    "windows": _window,
    "16 ch": _sixteen,
    "strided": _strided,
    "tiny": _tiny,
    "channel": _channel,
}
