"""Batches beside copying the file, SpikeInterface and bare memory maps, in one run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bench_sources import Row, row
from ecogsource.batch import BatchProcessor, RecordingsReader, butterworth

CHANNELS = 385
FS = 30_000.0
# The file of the second one is on the disk when it returns, as ours is.
SAVES = ("save", "save+fsync")
FILTER = {"low_freq": 300, "high_factor": 0.1, "order": 3, "sampling_freq": FS}


def plus_one(batch: np.ndarray) -> np.ndarray:
    """Do next to nothing."""
    return batch + 1


def heavy(batch: np.ndarray) -> float:
    """Compute for much longer than reading takes, in Python's own arithmetic."""
    total = 0.0
    for value in batch[:: max(1, len(batch) // 4000), 0].tolist():
        for _ in range(60):
            total += (value * 1.0001 + 1.0) ** 0.5 if value > 0 else 0.5
    return total


def copy(source: Path, target: Path) -> None:
    """Copy a file and wait until it is on the disk."""
    with open(source, "rb") as old, open(target, "wb") as new:
        shutil.copyfileobj(old, new, 1 << 20)
        new.flush()
        os.fsync(new.fileno())


def best_of(repeats: int, *works: Callable[[], Any]) -> list[float]:
    """Time works in turns; the best time of each, in seconds.

    What one leaves for the system to write is written before the next one begins.
    """
    best = [float("inf")] * len(works)
    for _ in range(repeats):
        for number, work in enumerate(works):
            os.sync()
            start = time.perf_counter()
            work()
            best[number] = min(best[number], time.perf_counter() - start)
    return best


def columns(path: Path, samples: int) -> int:
    """Go through the channels of a sample-ordered file with a memory map."""
    mapped = np.memmap(path, "int16", "r", shape=(samples, CHANNELS))
    return sum(int(np.array(mapped[:, channel]).max()) for channel in range(CHANNELS))


class SpikeInterface:
    """SpikeInterface in a process of its own.

    Parameters
    ----------
    python : str
        Interpreter.
    path : Path
        Flat file of samples x channels.
    folder : Path
        Where it saves.
    """

    def __init__(self, python: str, path: Path, folder: Path) -> None:
        script = Path(__file__).with_name("spikeinterface_peer.py")
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        self._process = subprocess.Popen(
            [python, str(script), str(path), str(CHANNELS), str(FS), str(folder / "si")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        self.version = self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def work(self, name: str, jobs: int) -> None:
        """Save the recording, as it is or filtered."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{name} {jobs}\n")
        self._process.stdin.flush()
        if self._answer() != "done":
            raise RuntimeError(f"SpikeInterface {self.version} failed to {name}")

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def peers(path: Path, folder: Path) -> list[SpikeInterface]:
    """Start every SpikeInterface that works."""
    others = os.environ.get("ECOGSOURCE_SPIKEINTERFACE_PYTHON", "").split(os.pathsep)
    found = [SpikeInterface(python, path, folder) for python in (sys.executable, *others) if python]
    for peer in found:
        if not peer.version:
            peer.close()
    return [peer for peer in found if peer.version]


def run(folder: Path, smoke: bool) -> list[Row]:  # noqa: FBT001 - the registry calls it
    """Measure; each row passes if ours over the peer's is at most the target."""
    samples = 8_000 if smoke else 266_000
    repeats = 1 if smoke else 4
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"raw_{samples}.bin"
    if not path.exists():
        rng = np.random.default_rng(0)
        rng.integers(-500, 500, (samples, CHANNELS), dtype=np.int16).tofile(path)
    spikes = peers(path, folder)
    try:
        return [
            *_saving(path, folder, repeats, spikes),
            *_channels(path, folder, samples, max(1, repeats - 1)),
            _computing(path, repeats),
            *_filtering(path, folder, max(1, repeats - 2), spikes),
        ]
    finally:
        for peer in spikes:
            peer.close()


def processor(path: Path, max_memory: str) -> BatchProcessor:
    """Make the processor of a file."""
    return BatchProcessor(
        path, "int16", CHANNELS, "samples", max_memory=max_memory, show_progress_bar=False
    )


def _saving(path: Path, folder: Path, repeats: int, spikes: list[SpikeInterface]) -> list[Row]:
    """Write every number plus one."""
    out = folder / "out.bin"

    def apply(processes: int) -> None:
        processor(path, "20MB").multi_channel_apply(
            plus_one, "disk", output_path=out, processes=processes
        )

    # The first run only begins to start the workers.
    for _ in range(2):
        apply(2)
    last = RecordingsReader(path, "int16", CHANNELS, "samples")[-5:]
    assert (RecordingsReader(out)[-5:] == last + 1).all()
    jobs = (1, 2)
    copied, *times = best_of(
        repeats,
        lambda: copy(path, folder / "copy.bin"),
        *(partial(apply, n) for n in jobs),
        *(partial(peer.work, name, n) for peer in spikes for name in SAVES for n in jobs),
    )
    ours = dict(zip(jobs, times, strict=False))
    rows = [
        row(f"apply to disk, {n} processes", ours[n], "copying the file", copied, 1 / 0.7)
        for n in jobs
    ]
    named = [
        (f"SpikeInterface {peer.version} {name}, {n}", n)
        for peer in spikes
        for name in SAVES
        for n in jobs
    ]
    rows += [
        row(f"apply to disk, {n} processes", ours[n], name, theirs, 0.5)
        for (name, n), theirs in zip(named, times[len(jobs) :], strict=True)
    ]
    return rows


def _channels(path: Path, folder: Path, samples: int, repeats: int) -> list[Row]:
    """Go through the channels of sample-ordered files.

    In the short one a column of 64-byte lines fits the processor's cache, where the next column
    of a map finds it; in the long one, half a minute, it does not.
    """
    long = folder / f"raw_{4 * samples}.bin"
    if not long.exists():
        with open(long, "wb") as file:
            for _ in range(4):
                file.write(path.read_bytes())
    rows = []
    for name, count in ((path, samples), (long, 4 * samples)):

        def traverse(max_memory: str, name: Path = name) -> None:
            for channel in processor(name, max_memory).single_channel():
                channel.max()

        sizes = ("1GB", "100MB")
        *ours, theirs = best_of(
            repeats,
            *(partial(traverse, size) for size in sizes),
            lambda name=name, count=count: columns(name, count),
        )
        megabytes = name.stat().st_size / 1e6
        rows += [
            row(
                f"single channels, {megabytes:.0f} MB in {size}",
                time,
                "memmap columns",
                theirs,
                0.2,
            )
            for size, time in zip(sizes, ours, strict=True)
        ]
    return rows


def _computing(path: Path, repeats: int) -> Row:
    """Compute with one worker and with two."""

    def compute(processes: int) -> None:
        processor(path, "4MB").multi_channel_apply(heavy, "memory", processes=processes)

    compute(2)
    alone, pair = best_of(repeats, lambda: compute(1), lambda: compute(2))
    return row("compute-bound, 2 processes", pair, "1 process", alone, 1 / 1.7)


def _filtering(path: Path, folder: Path, repeats: int, spikes: list[SpikeInterface]) -> list[Row]:
    """Filter whole channels with two workers."""

    def filtered() -> None:
        processor(path, "40MB").single_channel_apply(
            butterworth,
            "disk",
            folder / "filtered.bin",
            cast_dtype="int16",
            processes=2,
            **FILTER,
        )

    if not spikes:
        return []
    ours, *times = best_of(
        repeats, filtered, *(partial(peer.work, "bandpass", 2) for peer in spikes)
    )
    return [
        row(
            "butterworth to disk, 2 processes",
            ours,
            f"SpikeInterface {peer.version} bandpass, 2",
            theirs,
            1.0,
        )
        for peer, theirs in zip(spikes, times, strict=True)
    ]
