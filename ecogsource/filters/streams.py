"""Filters as streams: blocks in, blocks out, the state carried from one to the next."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ecogsource.filters.kernels import FirKernel, Float64, Kernel, SosKernel

__all__ = [
    "BlockStream",
    "FilterStream",
    "FirStream",
    "SosStream",
    "filtered_dtype",
    "run_stream",
]


class BlockStream(Protocol):
    """Anything that turns consecutive blocks into consecutive blocks."""

    def process(self, block: NDArray[Any]) -> NDArray[Any]:
        """Take the next block and return what is ready, possibly nothing (0 samples)."""
        ...

    def finish(self) -> NDArray[Any]:
        """Return what was still held back after the last block."""
        ...


def filtered_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    """Return the dtype of filtered data: floats keep theirs (at least single), others float64."""
    given = np.dtype(dtype)
    if given.kind == "f":
        return np.result_type(given, np.float32)
    if given.kind in "iub":
        return np.dtype(np.float64)
    raise TypeError(f"filters take real numbers, got dtype {given}")


def run_stream(blocks: Iterable[NDArray[Any]], stream: BlockStream) -> Iterator[NDArray[Any]]:
    """Push blocks through a stream and yield every non-empty result, then the tail.

    Parameters
    ----------
    blocks : iterable of ndarray
        Consecutive pieces of one array, time last.
    stream : BlockStream
        A fresh stream.

    Yields
    ------
    ndarray
        Consecutive pieces of the result.
    """
    for block in blocks:
        result = stream.process(block)
        if result.shape[-1]:
            yield result
    tail = stream.finish()
    if tail.ndim and tail.shape[-1]:
        yield tail


class FilterStream:
    """A causal filter over consecutive blocks.

    Parameters
    ----------
    kernel : Kernel
        What to apply.
    initial : {'rest', 'steady'}
        ``'rest'`` starts from zeros, as ``scipy.signal.sosfilt`` does; ``'steady'`` starts as if
        the first sample had lasted for ever, so that an offset makes no transient.
    workers : int
        Threads; each filters a group of rows (SciPy releases the GIL).

    Notes
    -----
    The concatenated output is the same for every cut of the time axis. It is computed in float64
    and handed out in `filtered_dtype` of the input.
    """

    def __init__(
        self,
        kernel: Kernel,
        initial: Literal["rest", "steady"] = "rest",
        *,
        workers: int = 1,
    ) -> None:
        if initial not in ("rest", "steady"):
            raise ValueError(f"initial must be 'rest' or 'steady', got {initial!r}")
        if workers < 1:
            raise ValueError(f"workers must be at least 1, got {workers}")
        self.kernel = kernel
        self.initial = initial
        self.workers = workers
        self._states: list[Float64] | None = None
        self._lead: tuple[int, ...] = ()
        self._dtype: np.dtype[Any] | None = None
        self._pool: ThreadPoolExecutor | None = None

    def process(self, block: NDArray[Any]) -> NDArray[Any]:
        """Filter the next block.

        Parameters
        ----------
        block : ndarray, shape (*lead, time)
            `lead` must be that of the first block.

        Returns
        -------
        ndarray, shape (*lead, time)

        Raises
        ------
        ValueError
            If the leading shape differs from the first block's, or there is no axis at all.
        """
        block = np.asarray(block)
        if not block.ndim:
            raise ValueError("a block needs at least one axis (time, the last)")
        if not block.shape[-1]:
            return np.empty(block.shape, dtype=filtered_dtype(block.dtype))
        if self._states is None:
            self._start(block)
        elif block.shape[:-1] != self._lead:
            raise ValueError(
                f"this stream started with blocks of leading shape {self._lead}, "
                f"got {block.shape[:-1]}"
            )
        out = np.empty(block.shape, dtype=self._dtype)
        self._map(lambda index, rows: self._step(index, block[rows], out[rows]))
        return out

    def finish(self) -> NDArray[Any]:
        """Return an empty array: a causal filter holds nothing back."""
        return np.empty((*self._lead, 0), dtype=self._dtype)

    def _start(self, block: NDArray[Any]) -> None:
        self._lead = block.shape[:-1]
        self._dtype = filtered_dtype(block.dtype)
        self._states = []
        for rows in self._groups():
            part = block[rows]
            if self.initial == "steady":
                self._states.append(self.kernel.steady(np.asarray(part[..., 0], dtype=np.float64)))
            else:
                self._states.append(self.kernel.rest(part.shape[:-1]))

    def _groups(self) -> list[Any]:
        """Cut the first leading axis into one slice per worker."""
        if not self._lead or self.workers == 1 or self._lead[0] < self.workers:
            return [...]
        edges = np.linspace(0, self._lead[0], self.workers + 1).astype(int).tolist()
        return [slice(a, b) for a, b in itertools.pairwise(edges)]

    def _map(self, step: Callable[[int, Any], None]) -> None:
        groups = self._groups()
        if len(groups) == 1:
            step(0, groups[0])
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.workers, thread_name_prefix="ecogsource-filter")
        for future in [self._pool.submit(step, i, rows) for i, rows in enumerate(groups)]:
            future.result()

    def _step(self, index: int, block: NDArray[Any], out: NDArray[Any]) -> None:
        states = self._states
        if states is None:
            return
        direct = out if out.dtype == np.float64 else None
        filtered, states[index] = self.kernel.run(block, states[index], direct)
        if direct is None:
            out[...] = filtered


class SosStream(FilterStream):
    """Second-order sections over consecutive blocks.

    Parameters
    ----------
    sos : array_like, shape (sections, 6)
        Second-order sections.
    initial, workers
        See `FilterStream`.
    """

    def __init__(
        self,
        sos: ArrayLike,
        initial: Literal["rest", "steady"] = "rest",
        *,
        workers: int = 1,
    ) -> None:
        super().__init__(SosKernel(sos), initial, workers=workers)


class FirStream(FilterStream):
    """A finite impulse response over consecutive blocks.

    Parameters
    ----------
    taps : array_like, shape (taps,)
        Impulse response.
    initial, workers
        See `FilterStream`.
    """

    def __init__(
        self,
        taps: ArrayLike,
        initial: Literal["rest", "steady"] = "rest",
        *,
        workers: int = 1,
    ) -> None:
        super().__init__(FirKernel(taps), initial, workers=workers)
