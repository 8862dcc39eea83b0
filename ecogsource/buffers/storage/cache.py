"""The process's cache of decoded chunks: least recently used go first, bounded in bytes."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple, TypeAlias

import numpy as np

from ecogsource.buffers.storage.shuffle import Shuffled
from ecogsource.buffers.storage.signature import Signature
from ecogsource.params import load_params

__all__ = [
    "CACHE",
    "CacheInfo",
    "ChunkCache",
    "chunk_cache_info",
    "clear_chunk_cache",
    "passing",
    "passing_through",
]

Owner: TypeAlias = "tuple[str, str, Signature | None]"
Key: TypeAlias = tuple[Owner, int]
Chunk: TypeAlias = "np.ndarray | Shuffled"


_PASSING: ContextVar[int] = ContextVar("ecogsource_passing", default=0)


class CacheInfo(NamedTuple):
    """Counters of the cache of decoded chunks.

    Attributes
    ----------
    hits, misses : int
        Chunks that were found in the cache, and chunks that had to be decoded.
    nbytes, max_bytes : int
        Bytes held now, and the most that may be held.
    chunks : int
        Chunks held now.
    """

    hits: int
    misses: int
    nbytes: int
    max_bytes: int
    chunks: int


class ChunkCache:
    """Decoded chunks by owner (file, dataset, state of the file) and chunk number.

    Arrays in the cache are shared between threads: they are only ever read.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._chunks: OrderedDict[Key, Chunk] = OrderedDict()
        self._paths: set[str] = set()
        self._nbytes = 0
        self._hits = self._misses = 0

    def get(self, key: Key) -> Chunk | None:
        """Return a decoded chunk, or ``None``; counts a hit or a miss."""
        with self._lock:
            chunk = self._chunks.get(key)
            if chunk is None:
                self._misses += 1
            else:
                self._hits += 1
                self._chunks.move_to_end(key)
        return chunk

    def put(self, key: Key, chunk: Chunk, limit: int) -> None:
        """Keep a decoded chunk, if it fits, at the cost of the oldest ones."""
        if chunk.nbytes > limit:
            return
        with self._lock:
            old = self._chunks.pop(key, None)
            if old is not None:
                self._nbytes -= old.nbytes
            self._chunks[key] = chunk
            self._paths.add(key[0][0])
            self._nbytes += chunk.nbytes
            while self._nbytes > limit:
                self._nbytes -= self._chunks.popitem(last=False)[1].nbytes

    def discard(self, path: str) -> None:
        """Forget the chunks of a file that was written to."""
        with self._lock:
            if path in self._paths:
                self._paths.discard(path)
                for key in [k for k in self._chunks if k[0][0] == path]:
                    self._nbytes -= self._chunks.pop(key).nbytes

    def clear(self) -> None:
        """Forget everything and set the counters to zero."""
        with self._lock:
            self._chunks.clear()
            self._paths.clear()
            self._nbytes = self._hits = self._misses = 0

    def info(self) -> CacheInfo:
        """Return the counters."""
        with self._lock:
            return CacheInfo(
                self._hits,
                self._misses,
                self._nbytes,
                load_params().chunk_cache,
                len(self._chunks),
            )

    def _after_fork(self) -> None:
        self._lock = threading.Lock()


CACHE = ChunkCache()


@contextmanager
def passing_through(size: int) -> Iterator[None]:
    """Tell the reads inside that they are part of one walk, which needs no element twice.

    Parameters
    ----------
    size : int
        Number of elements that are walked over. If the cache can hold them all, nothing changes:
        the next walk finds them there. Else a chunk that this walk has used whole would be pushed
        out before anybody asked for it again, and its memory is better used for the next one.
    """
    token = _PASSING.set(size)
    try:
        yield
    finally:
        _PASSING.reset(token)


def passing() -> int:
    """Return the size of the walk that a read belongs to, else 0."""
    return _PASSING.get()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=CACHE._after_fork)


def clear_chunk_cache() -> None:
    """Empty the cache of decoded chunks and set its counters to zero."""
    CACHE.clear()


def chunk_cache_info() -> CacheInfo:
    """Return the counters of the cache of decoded chunks.

    Returns
    -------
    CacheInfo
        ``hits, misses, nbytes, max_bytes, chunks``.
    """
    return CACHE.info()
