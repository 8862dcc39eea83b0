"""Joins of 10, 1000 and 10,000 files: one slice, with no more descriptors than `ulimit` allows."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from benchmarks.measure import best_of
from ecogsource.buffers import BufferBinder, FlatBuffer, HDF5Buffer

CHANNELS, LENGTH = 16, 500


def run(folder: Path, smoke: bool) -> list[dict[str, Any]]:  # noqa: FBT001 - the registry's
    """Measure opening, a slice across a border, and a slice in one file.

    Parameters
    ----------
    folder : Path
        Where the files are, or are made.
    smoke : bool
        Joins of 10 and 100 files only.

    Returns
    -------
    list of dict
        One row per kind of file and number of files; the ratios are to the join of 10.
    """
    counts = (10, 100) if smoke else (10, 1000, 10_000)
    folder = folder / "joins"
    _make(folder, max(counts))
    rows: list[dict[str, Any]] = []
    for kind in ("flat", "hdf5"):
        first: dict[str, Any] | None = None
        for count in counts:
            row = _measure(folder, kind, count)
            first = first or row
            row["slice, x of 10"] = row["slice, us"] / first["slice, us"]
            row["border, x of 10"] = row["border, us"] / first["border, us"]
            rows.append(row)
    return rows


def _make(folder: Path, count: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        flat, packed = folder / f"{number}.dat", folder / f"{number}.h5"
        if packed.exists():
            continue
        data = _part(number)
        data.tofile(flat)
        with h5py.File(folder / "part", "w") as file:
            file["data"] = data
        (folder / "part").replace(packed)


def _part(number: int) -> np.ndarray:
    start = np.arange(CHANNELS, dtype=np.int64)[:, None] + number * LENGTH
    return (start + np.arange(LENGTH)).astype(np.int16)


def _measure(folder: Path, kind: str, count: int) -> dict[str, Any]:
    start = time.perf_counter()
    if kind == "flat":
        paths = (folder / f"{n}.dat" for n in range(count))
        parts: list[Any] = [FlatBuffer(p, np.int16, (CHANNELS, LENGTH)) for p in paths]
    else:
        parts = [HDF5Buffer.from_path(folder / f"{n}.h5", "data") for n in range(count)]
    joined = BufferBinder(parts)
    opened = time.perf_counter() - start
    middle = count // 2 * LENGTH
    inside, border = slice(middle + 10, middle + 110), slice(middle - 50, middle + 50)
    for part in (inside, border):
        expected = np.arange(part.start, part.stop).astype(np.int16)
        if not np.array_equal(joined[0, part], expected):
            raise ValueError(f"wrong values in a join of {count} {kind} files")
    best = best_of(300, {"slice": lambda: joined[:, inside], "border": lambda: joined[:, border]})
    return {
        "files": kind,
        "count": count,
        "open, s": opened,
        "slice, us": 1e6 * best["slice"],
        "border, us": 1e6 * best["border"],
        "descriptors": _descriptors(),
    }


def _descriptors() -> int | None:
    """Count the open descriptors of this process, where the system tells."""
    folder = Path("/proc/self/fd")
    return sum(1 for _ in folder.iterdir()) if folder.exists() else None
