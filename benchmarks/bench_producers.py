"""Producers beside plain block iteration and beside openseize, on the same files in one run.

Openseize needs NumPy < 2. Make it an environment of its own and name its interpreter::

    python -m venv /tmp/openseize
    /tmp/openseize/bin/pip install 'numpy<2' openseize
    ECOGSOURCE_OPENSEIZE_PYTHON=/tmp/openseize/bin/python python -m benchmarks producers

Without it these rows are left out. Ours and the peer take turns; the best of each counts. Beside
them stands the floor, a bare NumPy loop over numbers in memory, and the ratio it would reach.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from benchmarks.measure import _anonymous
from ecogsource.buffers import HDF5Buffer, clear_chunk_cache
from ecogsource.datasource import MappedSource
from ecogsource.demos.recordings import make_eeg
from ecogsource.io.edf import Reader
from ecogsource.producers import producer

Row = dict[str, Any]


class Work(NamedTuple):
    """What is gone through, with which mask, and by how many seconds."""

    data: str
    mask: str
    seconds: int

    @property
    def label(self) -> str:
        """How the work is called in the table."""
        mask = "" if self.mask == "no" else f", mask of {self.mask}"
        return f"{self.data} by {self.seconds} s{mask}"


RATE = 5000
DATA = ("edf path", "edf reader")
PLAIN = [Work(data, "no", seconds) for seconds in (1, 60) for data in DATA]
MASKED = [
    Work(data, mask, seconds)
    for seconds in (1, 60)
    for mask in ("runs", "scattered")
    for data in (*DATA, "array")
]


def exhaust(chunks: Iterable[Any]) -> float:
    """Go through all chunks; the seconds it takes."""
    start = time.perf_counter()
    for _ in chunks:
        pass
    return time.perf_counter() - start


def best_ratio(repeats: int, ours: Callable[[], float], theirs: Callable[[], float]) -> Row:
    """Take turns; the best time of each, in seconds."""
    pairs = [(ours(), theirs()) for _ in range(repeats)]
    mine, other = (min(times) for times in zip(*pairs, strict=True))
    return {"ours": mine, "theirs": other, "ratio": mine / other}


def gzip_recording(folder: Path, *, smoke: bool) -> Path:
    """Write a compressed HDF5 file of channels x time, once."""
    channels, samples = (16, 100_000) if smoke else (64, 1_200_000)
    path = folder / f"producers_{channels}x{samples}.h5"
    if not path.exists():
        rng = np.random.default_rng(0)
        with h5py.File(path, "w") as file:
            data = file.create_dataset(
                "data",
                (channels, samples),
                "int16",
                chunks=(16, 16384),
                compression="gzip",
                shuffle=True,
            )
            for channel in range(0, channels, 16):
                noise = rng.standard_normal((16, samples), dtype=np.float32).cumsum(axis=1)
                data[channel : channel + 16] = noise
    return path


def bench_iteration(folder: Path, *, smoke: bool) -> list[Row]:
    """Iterate a gzip recording by seconds, beside `iter_blocks`."""
    path = gzip_recording(folder, smoke=smoke)

    def source() -> MappedSource:
        clear_chunk_cache()
        return MappedSource(HDF5Buffer.from_path(path, "data"), fs=2000.0)

    rows = []
    for seconds in (1, 10):
        length = 2000 * seconds
        times = best_ratio(
            1 if smoke else 9,
            lambda length=length: exhaust(producer(source(), length, -1)),
            lambda length=length: exhaust(source().iter_blocks(length)),
        )
        work = f"gzip HDF5 by {seconds} s"
        rows.append({"work": work, "peer": "iter_blocks", **times, "target": 1.05})
    return rows


def make(work: Work, path: Path) -> Any:
    """Make our producer for a work."""
    data = {"edf path": lambda: path, "edf reader": lambda: Reader(path)}.get(
        work.data, lambda: np.load(f"{path}.npy")
    )()
    mask = None if work.mask == "no" else np.load(f"{path}.{work.mask}.npy")
    return producer(data, RATE * work.seconds, -1, mask=mask)


def edf_files(folder: Path, *, smoke: bool) -> Path:
    """Make an EDF recording, its numbers as an array, and two masks, once."""
    seconds = 20 if smoke else 600
    path = folder / f"producers_{seconds}s.edf"
    if not path.exists():
        make_eeg(path, seconds)
        values = Reader(path).read()
        rng = np.random.default_rng(0)
        np.save(f"{path}.npy", values)
        length = values.shape[1] // (seconds // 5)
        np.save(f"{path}.runs.npy", np.repeat(rng.random(seconds // 5) < 0.5, length))
        np.save(f"{path}.scattered.npy", rng.random(values.shape[1]) < 0.5)
    return path


def bench_openseize(folder: Path, *, smoke: bool) -> list[Row]:
    """Iterate an EDF file and an array, with and without masks, beside openseize."""
    python = os.environ.get("ECOGSOURCE_OPENSEIZE_PYTHON")
    path = edf_files(folder, smoke=smoke)
    if python is None:
        return [{"work": "edf and masks", "peer": "openseize: no interpreter given"}]
    script = Path(__file__).with_name("openseize_peer.py")

    def theirs(work: Work) -> float:
        data = "array" if work.data == "array" else "edf"
        arguments = [data, work.mask, str(path), str(RATE * work.seconds)]
        done = subprocess.run(
            [python, str(script), *arguments], check=True, capture_output=True, text=True
        )
        found = json.loads(done.stdout.splitlines()[-1])
        check(work, make(work, path), found)
        return float(found["seconds"])

    def ours(work: Work) -> float:
        exhaust(make(work, path))
        return min(exhaust(make(work, path)) for _ in range(3))

    rows = []
    for work in (*PLAIN, *MASKED):
        repeats = 1 if smoke else 2
        times = best_ratio(repeats, lambda w=work: ours(w), lambda w=work: theirs(w))
        # Where even the bare loop is not so far ahead of the peer, no producer can be.
        times["floor"] = min(bare(work, path) for _ in range(repeats))
        times["bound"] = times["floor"] / times["theirs"]
        target = 1 / 5 if work in PLAIN else 1 / 3
        rows.append({"work": work.label, "peer": "openseize", **times, "target": target})
    return rows


def bare(work: Work, path: Path) -> float:
    """Do the least that NumPy has to do for a work; the seconds it takes.

    Stored numbers that are in memory already are scaled, copied or picked into one array that is
    used again and again: no chunk belongs to anybody, and none has its full length.
    """
    length = RATE * work.seconds
    if work.data == "array":
        stored, kind = np.load(f"{path}.npy"), np.dtype(float)
    else:
        stored = Reader(path).as_buffer().raw[...]
        kind = np.dtype("f4" if work.data == "edf path" else "f8")
    mask = np.ones(stored.shape[1], bool)
    if work.mask != "no":
        mask = np.load(f"{path}.{work.mask}.npy")
    scattered, scaled = work.mask == "scattered", stored.dtype != kind
    memory, aside = np.empty((4, length), kind), np.empty((4, length), stored.dtype)
    pieces = [slice(i, i + length) for i in range(0, len(mask), length)]
    if work.mask == "runs":
        edges = np.flatnonzero(np.diff(mask, prepend=False, append=False)).tolist()
        runs = zip(edges[::2], edges[1::2], strict=True)
        pieces = [slice(i, min(i + length, b)) for a, b in runs for i in range(a, b, length)]
    start = time.perf_counter()
    for piece in pieces:
        part = stored[:, piece]
        if scattered:
            positions = np.flatnonzero(mask[piece])
            picked = (aside if scaled else memory)[:, : len(positions)]
            for row, target in zip(part, picked, strict=True):
                row.take(positions, out=target, mode="wrap")
            part = picked
        out = memory[:, : part.shape[1]]
        if scaled:
            np.multiply(part, kind.type(0.5), out=out, dtype=kind, casting="unsafe")
        elif not scattered:
            out[...] = part
    return time.perf_counter() - start


def check(work: Work, pro: Any, found: dict[str, Any]) -> None:
    """Compare sum and number of samples with what openseize found.

    Raises
    ------
    ValueError
        If they differ.
    """
    total, count = 0.0, 0
    for chunk in pro:
        total += float(chunk.sum())
        count += chunk.shape[-1]
    if count != found["count"] or not np.isclose(total, found["total"], rtol=1e-6):
        raise ValueError(f"{work.label}: {count} samples, sum {total}; openseize: {found}")


def bench_memory(folder: Path, *, smoke: bool) -> list[Row]:
    """Measure the peak memory of an iteration in a fresh process, in chunks."""
    path = edf_files(folder, smoke=smoke)
    rows = []
    works = [(data, mask) for data in DATA for mask in ("no", "runs", "scattered")]
    for data, mask in works[:1] if smoke else works:
        code = "from benchmarks.bench_producers import peak; import sys; peak(*sys.argv[1:])"
        done = subprocess.run(
            [sys.executable, "-c", code, data, mask, str(path)],
            check=True,
            capture_output=True,
            text=True,
            cwd=Path(__file__).resolve().parent.parent,
        )
        label = f"memory, {Work(data, mask, 60).label}"
        chunks = float(done.stdout.split()[-1])
        rows.append({"work": label, "ours": chunks, "target": 3.0, "note": "in chunks"})
    return rows


def peak(data: str, mask: str, path: str) -> None:
    """Write the peak of anonymous memory during an iteration, over the size of a chunk."""
    import threading

    # What is imported when a thread first reads ahead is no chunk.
    import ecogsource.datasource.prefetch  # noqa: F401

    pro = make(Work(data, mask, 60), Path(path))
    for _ in make(Work(data, mask, 1), Path(path)).slice(0, 20 * RATE):
        pass
    done, peaks, before, size = threading.Event(), [0], _anonymous(), 1

    def watch() -> None:
        while not done.wait(0.0005):
            peaks.append(_anonymous())

    watcher = threading.Thread(target=watch)
    watcher.start()
    for chunk in pro:
        size = max(size, chunk.nbytes)
    done.set()
    watcher.join()
    # In a file of few chunks the peak may be below what the warm-up had.
    sys.stdout.write(f"{max(0, max(peaks) - before) / size}\n")


def run(folder: Path, smoke: bool) -> list[Row]:  # noqa: FBT001 - the registry's signature
    """Measure everything; seconds, and our time over the peer's."""
    folder.mkdir(parents=True, exist_ok=True)
    return [
        *bench_iteration(folder, smoke=smoke),
        *bench_openseize(folder, smoke=smoke),
        *bench_memory(folder, smoke=smoke),
    ]
