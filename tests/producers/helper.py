"""The strict comparison that every test of producers uses: each chunk, none missing."""

from __future__ import annotations

from typing import Any

import numpy as np

from ecogsource.producers import Producer


def expected_chunks(array: np.ndarray, chunksize: int, axis: int, overlap: int = 0) -> list[Any]:
    """Cut an array as a producer must, in the plainest way."""
    size, step, chunks, start = array.shape[axis], chunksize - overlap, [], 0
    while start < size and not (start and start + overlap >= size):
        chunks.append(array.take(range(start, min(start + chunksize, size)), axis=axis))
        start += step
    return chunks


def check(pro: Producer, array: np.ndarray) -> None:
    """Compare every chunk, and everything that a producer says of itself, with an array."""
    assert pro.shape == array.shape
    assert pro.ndim == array.ndim
    expected = expected_chunks(array, pro.chunksize, pro.axis, pro.overlap)
    assert len(pro) == len(expected)
    count = 0
    for got, want in zip(pro, expected, strict=True):
        same(got, want)
        count += 1
    assert count == len(expected)
    assert pro.dtype == array.dtype
    same(pro.to_array(), array)


def same(got: Any, want: np.ndarray) -> None:
    """Compare shape, type and values."""
    assert isinstance(got, np.ndarray)
    assert got.shape == want.shape
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want)
