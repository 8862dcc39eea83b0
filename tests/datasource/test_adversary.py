"""Odd but legal arguments of sources."""

from __future__ import annotations

import os

import h5py
import numpy as np
import pytest

from ecogsource import MappedSource, PlainArraySource
from ecogsource.errors import FormatError


def test_files_by_paths_of_bytes(tmp_path):
    values = np.arange(6, dtype="i2").reshape(2, 3)
    path = tmp_path / "% é.h5"
    with h5py.File(path, "w") as file:
        file["data"] = values
    name = os.fsencode(path)
    assert np.array_equal(MappedSource.from_hdf_sources(name, "data")[:], values)
    joined = MappedSource.from_hdf_sources([name, path, str(path)], "data")
    assert np.array_equal(joined[:], np.hstack([values] * 3))


@pytest.mark.parametrize("fs", [0, -5.0, float("nan"), float("inf")])
@pytest.mark.parametrize("kind", [MappedSource, PlainArraySource])
def test_a_rate_that_is_none_is_refused(kind, fs):
    with pytest.raises(FormatError, match=f"fs must be a positive number of Hz, or None, got {fs}"):
        kind(np.zeros((2, 3)), fs=fs)
