"""NumPy is the oracle: the same index on the array and on what stands for it."""

from __future__ import annotations

from typing import Any

import numpy as np


def native(array: np.ndarray) -> np.ndarray:
    """Give an array in native byte order, as buffers hand it out."""
    return array.astype(array.dtype.newbyteorder("="))


def assert_same(got: Any, expected: Any) -> None:
    """Compare value, shape and dtype; NaN equals NaN."""
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.shape == expected.shape
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected, strict=True)


def check_read(subject: Any, array: np.ndarray, index: Any) -> None:
    """Read with an index: same result as NumPy, or the same kind of exception."""
    try:
        expected = array[index]
    except DeprecationWarning as error:
        # NumPy 1 warns of what NumPy 2 refuses.
        expected = IndexError(str(error))
    except Exception as error:
        expected = error
    if not isinstance(expected, Exception):
        got = subject[index]
        assert_same(got, expected)
        result = np.asarray(got)
        assert result.flags.c_contiguous
        assert result.dtype.isnative
        return
    try:
        subject[index]
    except type(expected):
        return
    raise AssertionError(f"no {type(expected).__name__} for {index!r}, NumPy says: {expected}")


def check_write(subject: Any, array: np.ndarray, index: Any, value: Any) -> None:
    """Write with an index to both; same contents after it, or the same kind of exception."""
    try:
        array[index] = value
    except Exception as error:
        # NumPy 1 warns of indices that NumPy 2 refuses.
        kind = IndexError if isinstance(error, DeprecationWarning) else type(error)
        try:
            subject[index] = value
        except kind:
            return
        raise AssertionError(f"no {kind.__name__} for {index!r}: {error}") from error
    subject[index] = value
    assert_same(subject[...], array)
