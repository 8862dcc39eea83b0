"""Small recordings of every system, built in code with known numbers."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np

__all__ = ["pulse_line", "write_active", "write_packed"]

PULSES = (100, 300, 700)


def pulse_line(n_samples: int, starts: tuple[int, ...] = PULSES, width: int = 20) -> np.ndarray:
    """Return a line of 3.3 V pulses, float32."""
    line = np.zeros(n_samples, dtype=np.float32)
    for start in starts:
        line[start : start + width] = 3.3
    return line


def write_packed(
    path: Path,
    data: np.ndarray,
    name: str = "data",
    *,
    fs: float | None = 1000.0,
    header: bool = False,
    **arrays: np.ndarray,
) -> np.ndarray:
    """Write channels x time and other arrays as HDF5; return the data."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file[name] = data
        if fs is not None and header:
            file.attrs["JSON_header"] = json.dumps({"sample_rate": fs})
        elif fs is not None:
            file["Fs"] = fs
        for key, array in arrays.items():
            file[key] = array
    return data


def write_active(
    path: Path, n_samples: int = 1000, *, rows: int = 8, cols: int = 10, bnc: int = 1
) -> np.ndarray:
    """Write a multiplexed recording, time x channels; channel c holds 1e-6 * (c + t / 1000)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    channels = np.arange(rows * (cols + bnc))
    data = 1e-6 * (channels + np.arange(n_samples)[:, None] / 1000)
    data[:, rows * cols :] = pulse_line(n_samples)[:, None]
    with h5py.File(path, "w") as file:
        file["data"] = data.astype(np.float32)
        for key, value in (
            ("Fs", 1000),
            ("numRow", rows),
            ("numCol", cols),
            ("numChan", cols + bnc),
        ):
            file[key] = np.array([[float(value)]])
    return data
