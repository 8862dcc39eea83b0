"""Odd but legal arguments of sources."""

from __future__ import annotations

import os

import h5py
import numpy as np

from ecogsource import MappedSource


def test_files_by_paths_of_bytes(tmp_path):
    values = np.arange(6, dtype="i2").reshape(2, 3)
    path = tmp_path / "% é.h5"
    with h5py.File(path, "w") as file:
        file["data"] = values
    name = os.fsencode(path)
    assert np.array_equal(MappedSource.from_hdf_sources(name, "data")[:], values)
    joined = MappedSource.from_hdf_sources([name, path, str(path)], "data")
    assert np.array_equal(joined[:], np.hstack([values] * 3))
