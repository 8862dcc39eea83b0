"""Prefetch, mirror, filter and downsample, each beside a peer on the same files in one run.

The machine's speed drifts, so ours and the peer take turns and the best of each counts.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from scipy import signal

from ecogsource._machine import peak_memory
from ecogsource.buffers import FlatBuffer, HDF5Buffer, clear_chunk_cache
from ecogsource.datasource import MappedSource
from ecogsource.datasource.resample import downsample_to_file
from ecogsource.params import OVERRIDE

Row = dict[str, Any]


def recording(path: Path, channels: int, samples: int, dtype: str) -> Path:
    """Write a flat channels x time file of slow waves, each channel with noise of its own, once."""
    if path.exists() and path.stat().st_size == channels * samples * np.dtype(dtype).itemsize:
        return path
    rng = np.random.default_rng(0)
    wave = rng.standard_normal(samples).cumsum()
    wave *= 1000 / np.abs(wave).max()
    with open(path, "wb") as file:
        for channel in range(channels):
            noise = 20 * rng.random(samples)
            file.write((np.roll(wave, 97 * channel) + noise).astype(dtype).tobytes())
    return path


def best_of(repeats: int, *works: Callable[[], Any]) -> list[float]:
    """Time works in turns; the best time of each, in seconds."""
    best = [float("inf")] * len(works)
    for _ in range(repeats):
        for number, work in enumerate(works):
            start = time.perf_counter()
            work()
            best[number] = min(best[number], time.perf_counter() - start)
    return best


def row(work: str, ours: float, peer: str, theirs: float, target: float, note: str = "") -> Row:
    """Make a row of the report; it passes if ours / theirs is at most the target."""
    return {
        "work": work,
        "ours": ours,
        "peer": peer,
        "theirs": theirs,
        "ratio": ours / theirs,
        "target": target,
        "note": note,
    }


def bench_prefetch(folder: Path, *, smoke: bool) -> Row:
    """Walk over a gzip file while a one-core computation takes as long as the reading."""
    channels, samples = (16, 100_000) if smoke else (64, 3_000_000)
    path = folder / f"prefetch_{channels}x{samples}.h5"
    if not path.exists():
        flat = recording(folder / f"p_{channels}x{samples}.dat", channels, samples, "int16")
        source = MappedSource(FlatBuffer(flat, "int16", (channels, samples)))
        source.mirror(filename=path, writeable=False, chunks=(16, 16384), compression=1)
    source = MappedSource(HDF5Buffer.from_path(path, "data"))
    # The first read and the last computation have nothing to hide behind: with some 90 blocks they
    # are two hundredths of the whole, as in a recording that is worth reading ahead.
    block = 16384 * 2
    tone = np.random.default_rng(0).standard_normal((4, 16384))
    sos = signal.butter(4, (1, 200), "bandpass", fs=2000, output="sos")

    def compute(repeats: int) -> None:
        # On data that fit a cache: about half a millisecond each, with the GIL released.
        for _ in range(repeats):
            signal.sosfilt(sos, tone)

    def walk(prefetch: int, repeats: int) -> None:
        clear_chunk_cache()
        for _ in source.iter_blocks(block, prefetch=prefetch):
            compute(repeats)

    with OVERRIDE.set(workers=1):
        n_blocks = -(-samples // block)
        (read,) = best_of(3, lambda: walk(0, 0))
        (one,) = best_of(3, lambda: compute(20))
        repeats = max(1, round(read / n_blocks / (one / 20)))

        def side_by_side() -> None:
            child = os.fork()
            if child == 0:
                compute(repeats * n_blocks)
                os._exit(0)
            walk(0, 0)
            os.waitpid(child, 0)

        read, alone, both, floor = best_of(
            5,
            lambda: walk(0, 0),
            lambda: compute(repeats * n_blocks),
            lambda: walk(2, repeats),
            side_by_side,
        )
    note = f"read {read:.2f} s, compute {alone:.2f} s, in two processes at once {floor:.2f} s"
    return row("iterate, prefetch", both, "longer of read, compute", max(read, alone), 1.15, note)


def bench_mirror(folder: Path, *, smoke: bool) -> Row:
    """Copy a contiguous HDF5 file of int16 beside copying and syncing the bytes."""
    channels, samples = (32, 50_000) if smoke else (256, 1_000_000)
    flat = recording(folder / f"m_{channels}x{samples}.dat", channels, samples, "int16")
    source = MappedSource(FlatBuffer(flat, "int16", (channels, samples)))
    ours, theirs = folder / "mirror.h5", folder / "copy.dat"

    def mirror() -> None:
        source.mirror(filename=ours, writeable=False).close()
        ours.unlink()

    def copy() -> None:
        shutil.copyfile(flat, theirs)
        with open(theirs, "rb+") as file:
            os.fsync(file.fileno())
        theirs.unlink()

    times = best_of(3, mirror, copy)
    return row("mirror, same dtype", times[0], "copyfile + fsync", times[1], 1 / 0.8)


FILTER = {"lo": 1.0, "hi": 200.0, "order": 4}


def filter_ours(path: str, channels: int, samples: int) -> None:
    """Filter from file to file."""
    source = MappedSource(FlatBuffer(path, "float32", (channels, samples)), fs=2000.0)
    out = Path(path).with_suffix(".filtered.h5")
    source.filter_array(out=out, design_kwargs=FILTER)
    out.unlink()


def filter_scipy(path: str, channels: int, samples: int) -> float:
    """Filter in memory; the seconds of the filter alone."""
    sos = signal.butter(4, (1, 200), "bandpass", fs=2000, output="sos")
    data = np.fromfile(path, "float32").reshape(channels, samples)
    start = time.perf_counter()
    signal.sosfiltfilt(sos, data)
    return time.perf_counter() - start


def filter_in_child(which: str, path: Path, channels: int, samples: int) -> tuple[float, float]:
    """Run one filter in a fresh process: its seconds, and its peak memory in MB."""
    command = [sys.executable, "-m", "benchmarks.bench_sources", which, str(path)]
    root = Path(__file__).resolve().parent.parent
    result = subprocess.run(
        [*command, str(channels), str(samples)],
        capture_output=True,
        text=True,
        check=True,
        cwd=root,
    )
    seconds, peak = result.stdout.split()
    return float(seconds), float(peak)


def bench_filter(folder: Path, *, smoke: bool) -> Row:
    """Zero-phase band-pass of ten minutes, disk to disk, beside SciPy in memory."""
    channels, samples = (16, 40_000) if smoke else (256, 1_200_000)
    path = recording(folder / f"f_{channels}x{samples}.dat", channels, samples, "float32")
    runs = [
        [filter_in_child(which, path, channels, samples) for which in ("ours", "scipy")]
        for _ in range(1 if smoke else 2)
    ]
    ours, theirs = (min(run[i][0] for run in runs) for i in (0, 1))
    peak = max(run[0][1] for run in runs)
    note = f"peak {peak:.0f} MB (at most 300), SciPy {max(run[1][1] for run in runs):.0f} MB"
    return row("bandpass, zero phase", ours, "sosfiltfilt in memory", theirs, 0.8, note)


def bench_downsample(folder: Path, *, smoke: bool) -> list[Row]:
    """20 kHz to 2 kHz, disk to disk, beside SciPy in memory."""
    channels, samples = (16, 100_000) if smoke else (64, 2_000_000)
    path = recording(folder / f"d_{channels}x{samples}.dat", channels, samples, "float32")
    source = MappedSource(FlatBuffer(path, "float32", (channels, samples)), fs=20_000.0)
    out = folder / "down.h5"
    data = np.fromfile(path, "float32").reshape(channels, samples)

    def ours() -> None:
        downsample_to_file(source, out, 10, if_exists="replace")
        out.unlink()

    times = best_of(
        3, ours, lambda: signal.decimate(data, 10), lambda: signal.decimate(data, 10, ftype="fir")
    )
    return [
        row("downsample 20 to 2 kHz", times[0], "decimate in memory", times[1], 1.0),
        row("downsample 20 to 2 kHz", times[0], "decimate(fir) in memory", times[2], 1.0),
    ]


def check_mirror(folder: Path) -> None:
    """Refuse to time a copy that is not one."""
    data = np.arange(3000, dtype=np.int16).reshape(3, 1000)
    path = folder / "check.h5"
    MappedSource(data).mirror(filename=path, writeable=False).close()
    with h5py.File(path) as file:
        if not np.array_equal(file["data"][()], data):
            raise RuntimeError("the mirror differs from its source")
    path.unlink()


def run(folder: Path, smoke: bool) -> list[Row]:  # noqa: FBT001 - the registry's signature
    """Run everything and return the rows of the report."""
    folder.mkdir(parents=True, exist_ok=True)
    check_mirror(folder)
    return [
        bench_prefetch(folder, smoke=smoke),
        bench_mirror(folder, smoke=smoke),
        bench_filter(folder, smoke=smoke),
        *bench_downsample(folder, smoke=smoke),
    ]


def main() -> None:
    """Run one filter, as asked by `filter_in_child`."""
    which, path, channels, samples = sys.argv[1:]
    start = time.perf_counter()
    if which == "ours":
        filter_ours(path, int(channels), int(samples))
        seconds = time.perf_counter() - start
    else:
        seconds = filter_scipy(path, int(channels), int(samples))
    print(seconds, peak_memory() / 2**20)


if __name__ == "__main__":
    main()
