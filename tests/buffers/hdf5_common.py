"""What the tests of HDF5 buffers share."""

from __future__ import annotations

from typing import Any

import numpy as np

from ecogsource.buffers import HDF5Buffer

TRUTH = np.random.default_rng(0).integers(-3000, 3000, (24, 5000)).astype("i2")
INDICES_2D = (
    np.s_[:],
    np.s_[3],
    np.s_[:, 17],
    np.s_[2:20:3, 4500:10:-7],
    (np.array([5, 5, 23, 0]), slice(100, 4000)),
    (slice(1, 20), np.array([4999, 0, 77, 77])),
    np.s_[..., :0],
)


def reader_of(buffer: HDF5Buffer) -> object:
    return buffer._storage._reader


def same(buffer: HDF5Buffer, truth: np.ndarray, indices: tuple[Any, ...] = INDICES_2D) -> None:
    for index in indices:
        got, expected = buffer[index], truth[index]
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got, expected)
