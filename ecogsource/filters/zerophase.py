"""Whole-signal filtering in bounded memory: causal, and forward-backward without phase.

The forward pass of a zero-phase filter is longer than memory and the backward pass wants it from
its end. Writing it to a temporary file costs more than the filter itself. Instead the forward
pass keeps the filter's *state* at the start of every block (a few numbers per channel), and as
many of the last output blocks as fit a budget; the backward pass recomputes the others from their
state, which reproduces them bit for bit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecogsource.filters.kernels import Float64, Kernel

__all__ = ["filter_causal", "zero_phase"]

Read = Callable[[int, int], NDArray[Any]]
Write = Callable[[int, Float64], None]


def filter_causal(
    kernel: Kernel, read: Read, write: Write, n_samples: int, *, block_length: int = 65536
) -> None:
    """Filter a long signal forward in time from rest.

    Parameters
    ----------
    kernel : Kernel
        What to apply.
    read : callable
        ``read(start, stop)`` returns the samples as an array (*lead, stop - start).
    write : callable
        ``write(start, values)`` takes float64 results, in increasing time; `values` may be reused
        after it returns.
    n_samples : int
        Length of the signal.
    block_length : int
        Samples per step; changes memory and speed, never the result.
    """
    state: Float64 | None = None
    for start in range(0, n_samples, _checked_block(block_length)):
        block = read(start, min(start + block_length, n_samples))
        if state is None:
            state = kernel.rest(block.shape[:-1])
        filtered, state = kernel.run(block, state)
        write(start, filtered)


def zero_phase(
    kernel: Kernel,
    read: Read,
    write: Write,
    n_samples: int,
    *,
    block_length: int = 65536,
    keep_bytes: int = 64 << 20,
    pad_length: int | None = None,
) -> None:
    """Filter a long signal forward and backward, as ``scipy.signal.sosfiltfilt`` does.

    Parameters
    ----------
    kernel : Kernel
        What to apply.
    read : callable
        ``read(start, stop)`` returns the samples as an array (*lead, stop - start). A block is
        read once, or twice if its forward pass did not fit `keep_bytes`.
    write : callable
        ``write(start, values)`` takes float64 results, blocks from last to first. Writing to
        where `read` reads from is allowed: no sample is read after its block was written.
    n_samples : int
        Length of the signal.
    block_length : int
        Samples per step; changes memory and speed, never the result.
    keep_bytes : int
        Memory for forward results that need not be computed twice.
    pad_length : int, optional
        Samples of odd extension at each end; default the kernel's rule, which is SciPy's.

    Raises
    ------
    ValueError
        If the signal is not longer than the extension.

    Notes
    -----
    Edge rule: the signal is extended at both ends by `pad_length` samples reflected through the
    end point (``2 * x[0] - x[k]``), each pass starts in the steady state of its first value, and
    the extension is cut off again.
    """
    pad = kernel.pad_length if pad_length is None else pad_length
    if pad < 0 or n_samples <= pad:
        raise ValueError(
            f"a zero-phase filter with an edge extension of {pad} samples needs more than {pad} "
            f"samples, got {n_samples}; shorten it with pad_length, or filter forward only"
        )
    head = np.asarray(read(0, pad + 1), dtype=np.float64)
    tail = np.asarray(read(n_samples - pad - 1, n_samples), dtype=np.float64)
    before = 2 * head[..., :1] - head[..., :0:-1]
    after = 2 * tail[..., -1:] - tail[..., -2::-1] if pad else tail[..., :0]
    first = before[..., 0] if pad else head[..., 0]
    state = kernel.run(before, kernel.steady(first))[1]

    block_length = _checked_block(block_length)
    states: list[Float64] = []
    kept: deque[Float64] = deque()
    for start in range(0, n_samples, block_length):
        states.append(state)
        block, state = kernel.run(read(start, min(start + block_length, n_samples)), state)
        kept.append(block)
        while len(kept) > 1 and sum(b.nbytes for b in kept) > keep_bytes:
            kept.popleft()

    after = kernel.run(after, state)[0]
    last = after[..., -1] if pad else kept[-1][..., -1]
    state = kernel.run(after[..., ::-1], kernel.steady(last))[1]
    for index in reversed(range(len(states))):
        start = index * block_length
        if kept:
            block = kept.pop()
        else:
            stop = min(start + block_length, n_samples)
            block = kernel.run(read(start, stop), states[index])[0]
        backward = block[..., ::-1]
        state = kernel.run(backward, state, out=backward)[1]
        write(start, block)


def _checked_block(block_length: int) -> int:
    if block_length < 1:
        raise ValueError(f"block_length must be at least 1 sample, got {block_length}")
    return int(block_length)
