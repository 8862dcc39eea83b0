"""Random numbers that are a function of (seed, epoch, index), for any number of readers.

The numbers are the raw output of the counter-based generator Philox4x64 (Salmon et al., "Parallel
random numbers: as easy as 1, 2, 3", SC'11), whose stream NumPy promises to keep: block `b` of an
epoch is made without the blocks before it, and is the same in every process and version.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["BLOCK", "mixed_order", "raw_words", "scaled", "spread_words"]

BLOCK = 1024
"""Windows that are drawn at once."""

_WORDS = 2
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)

# The counter's second word numbers blocks; its third keeps apart what the words are used for.
_WINDOWS, _ORDER, _SPREAD = range(3)


def _philox(seed: int, epoch: int, block: int, purpose: int) -> np.random.Philox:
    return np.random.Philox(
        key=np.array([seed, epoch], dtype=np.uint64),
        counter=np.array([0, block, purpose, 0], dtype=np.uint64),
    )


def raw_words(seed: int, epoch: int, block: int) -> NDArray[np.uint64]:
    """Give the random words of a block of windows.

    Parameters
    ----------
    seed, epoch, block : int
        Which block; each from 0 to 2**64 - 1.

    Returns
    -------
    ndarray, shape (2, BLOCK), uint64
        Two independent words for every window.
    """
    words: NDArray[np.uint64] = _philox(seed, epoch, block, _WINDOWS).random_raw(_WORDS * BLOCK)
    return words.reshape(BLOCK, _WORDS).T


def spread_words(seed: int, epoch: int, indices: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Give words that fill their range evenly: every stretch of windows has its share.

    The word of window `i` is ``(r + i * g) mod 2**64``, with `r` random and ``g / 2**64`` the
    golden section, the additive sequence of least discrepancy (Knuth, TAOCP 3, 6.4).

    Parameters
    ----------
    seed, epoch : int
        Which sequence.
    indices : ndarray, shape (n,), int64
        Numbers of the windows.

    Returns
    -------
    ndarray, shape (n,), uint64
        One word per window.
    """
    offset = _philox(seed, epoch, 0, _SPREAD).random_raw(1)
    return offset + indices.astype(np.uint64) * _GOLDEN


def mixed_order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    """Give a random order of `count` windows.

    Parameters
    ----------
    seed, epoch : int
        Which order.
    count : int
        How many.

    Returns
    -------
    ndarray, shape (count,), int64
        A permutation.
    """
    return np.argsort(_philox(seed, epoch, 0, _ORDER).random_raw(count), kind="stable")


def scaled(words: NDArray[np.uint64], counts: NDArray[np.int64] | int) -> NDArray[np.int64]:
    """Turn random words into integers below given counts: ``floor(word * count / 2**64)``.

    No word is thrown away, so that a window's number depends on its own word only. What this costs
    in uniformity is at most ``count / 2**64``, below 1e-7 for a hundred years at 30 kHz.

    Parameters
    ----------
    words : ndarray, shape (n,), uint64
        Uniform words.
    counts : int or ndarray, shape (n,), int64
        How many values each may take, at least 1.

    Returns
    -------
    ndarray, shape (n,), int64
        From 0 to ``counts - 1``.
    """
    counts = np.asarray(counts, dtype=np.int64).astype(np.uint64)
    high, low = words >> _HALF, words & _LOW
    count_high, count_low = counts >> _HALF, counts & _LOW
    # The upper half of the 128-bit product, put together from four 64-bit ones.
    middle = (low * count_low >> _HALF) + (high * count_low & _LOW) + (low * count_high & _LOW)
    upper = (
        high * count_high
        + (high * count_low >> _HALF)
        + (low * count_high >> _HALF)
        + (middle >> _HALF)
    )
    return upper.astype(np.int64)
