"""A simulated lab that grows: what opening, joining, slicing and scheduling cost per recording.

The recordings are sparse files, so that 10,000 of them with 10^11 samples fit on any disk.
"""

from __future__ import annotations

import os
import pickle
import shutil
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np

from ecogsource.buffers import BufferBinder, FlatBuffer
from ecogsource.datasource import MappedSource

CHANNELS = 4
SAMPLES = 10_000_000
READS = 300


def make_lab(folder: Path, count: int) -> list[Path]:
    """Make sparse recordings."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:05d}.dat" for number in range(count)]
    for path in paths:
        with open(path, "wb") as file:
            os.truncate(file.fileno(), SAMPLES * CHANNELS * 2)
    return paths


def measure(paths: list[Path]) -> dict[str, Any]:
    """Open, join, slice and schedule; seconds and bytes."""
    tracemalloc.start()
    start = time.perf_counter()
    buffers = [FlatBuffer(path, "int16", (SAMPLES, CHANNELS)) for path in paths]
    opened = time.perf_counter()
    source = MappedSource(BufferBinder(buffers, axis=0), transpose=True, fs=30_000)
    joined = time.perf_counter()
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    times = np.random.default_rng(0).integers(0, source.shape[1] - 1000, READS).tolist()
    for at in times[:20]:
        source[:, at : at + 1000]
    begin = time.perf_counter()
    for at in times:
        source[:, at : at + 1000]
    sliced = time.perf_counter()
    row = {
        "recordings": len(paths),
        "samples": source.shape[1],
        "open_us_each": 1e6 * (opened - start) / len(paths),
        "join_us_each": 1e6 * (joined - opened) / len(paths),
        "bytes_each": held // len(paths),
        "slice_us": 1e6 * (sliced - begin) / READS,
        "recipe_kB": len(pickle.dumps(source)) // 1000,
    }
    return row | _scheduling(buffers)


def _scheduling(buffers: list[FlatBuffer]) -> dict[str, Any]:
    try:
        from ecogsource.interop.dask import from_recordings
    except ImportError:
        return {}
    sources = [MappedSource(buffer, transpose=True, fs=30_000) for buffer in buffers]
    start = time.perf_counter()
    lazy = from_recordings(sources, chunks=(CHANNELS, SAMPLES))
    tasks = len(lazy.__dask_graph__())
    return {"tasks": tasks, "schedule_us_each": 1e6 * (time.perf_counter() - start) / len(buffers)}


def run(folder: Path, smoke: bool) -> list[dict[str, Any]]:  # noqa: FBT001 - the registry calls it
    """Measure labs of growing size; the costs per recording should not grow."""
    lab = folder / "scale"
    rows = []
    for count in (10, 100) if smoke else (10, 100, 1000, 10_000):
        rows.append(measure(make_lab(lab, count)))
    shutil.rmtree(lab)
    return rows
