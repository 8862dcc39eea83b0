"""Random windows over forty files beside peers: alone, in batches, through a DataLoader.

Each pair takes turns on the same files in one run, and the shortest time of each counts.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from benchmarks.measure import best_of
from ecogsource.buffers import FlatBuffer
from ecogsource.datasource import MappedSource
from ecogsource.windows import DataFile, WindowDataset

CHANNELS, RATE, FILES = 62, 1000, 40
Row = dict[str, Any]
Places = list[tuple[int, int]]


def make_files(folder: Path, seconds: int) -> list[Path]:
    """Write flat files with their experiment files, and the same data as HDF5, once."""
    folder = folder / f"windows_{seconds}s"
    folder.mkdir(parents=True, exist_ok=True)
    electrodes = [{"label": f"E{e:02d}"} for e in range(CHANNELS)]
    hardware = {
        "acquisition": {"samplingrate": 30000, "data_format": "ushort"},
        "microdrive": [{"name": "GRID", "electrodes": electrodes}],
    }
    noise = np.random.default_rng(0).standard_normal((seconds * RATE, CHANNELS), dtype=np.float32)
    paths = []
    for number in range(FILES):
        path = folder / f"rec{number:03d}.GRID.clfp.dat"
        paths.append(path)
        if not path.exists():
            (folder / f"rec{number:03d}.experiment.json").write_text(
                json.dumps({"hardware": hardware})
            )
            with h5py.File(path.with_suffix(".h5"), "w") as file:
                file.create_dataset("data", data=noise + number, chunks=True)
            (noise + number).tofile(path)
    return paths


def row(work: str, ours: float, peer: str, theirs: float, target: float) -> Row:
    """Make a row of the report; it passes if ours / theirs is at most the target."""
    return {
        "work": work,
        "ours s": ours,
        "peer": peer,
        "peer s": theirs,
        "ratio": ours / theirs,
        "target": target,
    }


# -- peers: each reads channels x time, contiguous, of every place -----------------------------


def bare_reads(paths: list[Path], places: Places) -> Callable[[], None]:
    """Positioned reads from open descriptors into one buffer, then reshape, transpose, copy."""
    descriptors = [os.open(path, os.O_RDONLY) for path in paths]
    memory = bytearray(RATE * CHANNELS * 4)

    def work() -> None:
        for number, start in places:
            os.preadv(descriptors[number], [memory], start * CHANNELS * 4)
            np.frombuffer(memory, np.float32).reshape(RATE, CHANNELS).T.copy()

    return work


def notebook_reads(paths: list[Path], places: Places) -> Callable[[], None]:
    """What the notebook's class does: open the file, numpy.fromfile, transpose."""

    def work() -> None:
        for number, start in places:
            with open(paths[number], "rb") as file:
                data = np.fromfile(
                    file, np.float32, count=RATE * CHANNELS, offset=start * CHANNELS * 4
                )
            data.reshape(RATE, CHANNELS).T.copy()

    return work


def map_reads(paths: list[Path], places: Places, *, keep: bool) -> Callable[[], None]:
    """Memory maps of NumPy, kept open or made for every read."""

    def opened(path: Path) -> np.ndarray:
        return np.memmap(path, np.float32, "r").reshape(-1, CHANNELS)

    maps = [opened(path) for path in paths] if keep else []

    def work() -> None:
        for number, start in places:
            data = maps[number] if keep else opened(paths[number])
            data[start : start + RATE].T.copy()

    return work


def spikeinterface_reads(paths: list[Path], places: Places) -> Callable[[], None]:
    """A recording extractor per file."""
    from spikeinterface.core import BinaryRecordingExtractor

    recordings = [
        BinaryRecordingExtractor([path], RATE, "float32", num_channels=CHANNELS) for path in paths
    ]

    def work() -> None:
        for number, start in places:
            traces = recordings[number].get_traces(start_frame=start, end_frame=start + RATE)
            np.ascontiguousarray(traces.T)

    return work


def h5py_reads(paths: list[Path], places: Places) -> Callable[[], None]:
    """Datasets of h5py, kept open."""
    datasets = [h5py.File(path.with_suffix(".h5"), "r")["data"] for path in paths]

    def work() -> None:
        for number, start in places:
            datasets[number][start : start + RATE].T.copy()

    return work


# -- works -------------------------------------------------------------------------------------


def random_rows(paths: list[Path], count: int, repeats: int) -> list[Row]:
    """Compare single random windows of flat files and of HDF5 files."""
    files = [DataFile(path) for path in paths]
    windows = WindowDataset(files, RATE, n_windows=count, seed=1)
    places = [windows.locate(i)[:2] for i in range(count)]
    packed = [
        MappedSource.from_hdf_sources(path.with_suffix(".h5"), "data", transpose=True)
        for path in paths
    ]
    packed_windows = WindowDataset(packed, RATE, n_windows=count, seed=1)

    def all_of(dataset: WindowDataset) -> Callable[[], None]:
        def work() -> None:
            for i in range(count):
                dataset[i]

        return work

    def by_time() -> None:
        for number, start in places:
            files[number].read(start / RATE, 1.0)

    works = {
        "WindowDataset": all_of(windows),
        "DataFile.read": by_time,
        "bare pread": bare_reads(paths, places),
        "numpy.fromfile": notebook_reads(paths, places),
        "numpy.memmap": map_reads(paths, places, keep=True),
        "numpy.memmap, new": map_reads(paths, places, keep=False),
        "WindowDataset, HDF5": all_of(packed_windows),
        "h5py": h5py_reads(paths, places),
    }
    if importlib.util.find_spec("spikeinterface"):
        works["SpikeInterface"] = spikeinterface_reads(paths, places)
    found = best_of(repeats, works)
    rows = [
        row(f"{count} windows, {ours}", found[ours], "bare pread", found["bare pread"], 1.15)
        for ours in ("WindowDataset", "DataFile.read")
    ]
    for peer in ("numpy.fromfile", "numpy.memmap", "numpy.memmap, new", "SpikeInterface", "h5py"):
        if peer in found:
            ours = found["WindowDataset"]
            rows.append(row(f"{count} windows, WindowDataset", ours, peer, found[peer], 1.0))
    ours = found["WindowDataset, HDF5"]
    rows.append(row(f"{count} windows, HDF5 default chunks", ours, "h5py", found["h5py"], 0.5))
    return rows


def long_rows(folder: Path, seconds: int, count: int, repeats: int) -> list[Row]:
    """Compare random windows of one long HDF5 file, whose default chunks are narrower."""
    path = folder / f"long_{seconds}s.h5"
    if not path.exists():
        data = np.random.default_rng(0).standard_normal((seconds * RATE, CHANNELS), np.float32)
        with h5py.File(path, "w") as file:
            file.create_dataset("data", data=data, chunks=True)
    source = MappedSource.from_hdf_sources(path, "data", transpose=True)
    windows = WindowDataset(source, RATE, n_windows=count, seed=4)
    places = [(0, windows.locate(i).start) for i in range(count)]

    def ours() -> None:
        for i in range(count):
            windows[i]

    found = best_of(repeats, {"ours": ours, "h5py": h5py_reads([path], places)})
    work = f"{count} windows, {seconds} s of HDF5 default chunks"
    return [row(work, found["ours"], "h5py", found["h5py"], 0.5)]


def batch_rows(paths: list[Path], count: int, repeats: int) -> list[Row]:
    """Compare batches of 64 with 64 single reads, each into one array."""
    windows = WindowDataset([DataFile(path) for path in paths], RATE, n_windows=count, seed=2)
    plan = list(windows.batch_indices(64))
    memory = np.empty((64, *windows.shape), windows.dtype)

    def batches() -> None:
        for indices in plan:
            windows.batch(indices)

    def batches_into() -> None:
        for indices in plan:
            windows.batch(indices, memory[: len(indices)])

    def stacked() -> None:
        for indices in plan:
            np.stack([windows[i] for i in indices.tolist()])

    def kept() -> None:
        for indices in plan:
            [windows[i] for i in indices.tolist()]

    found = best_of(repeats, {"new": batches, "into": batches_into, "stack": stacked, "keep": kept})
    return [
        row("batches of 64", found["new"], "64 single reads, stacked", found["stack"], 1 / 1.5),
        row("batches of 64", found["new"], "64 single reads, in a list", found["keep"], 1 / 1.5),
        row(
            "batches of 64, out=",
            found["into"],
            "64 single reads, in a list",
            found["keep"],
            1 / 1.5,
        ),
    ]


def loader_rows(paths: list[Path], count: int, repeats: int) -> list[Row]:
    """Compare two loading processes with one, once they run and until they are told to end."""
    if not importlib.util.find_spec("torch"):
        return []
    from torch.utils.data import DataLoader

    from ecogsource.interop.torch import WindowMap, WindowStream

    windows = WindowDataset([DataFile(path) for path in paths], RATE, n_windows=count, seed=3)

    def seconds(kind: str, workers: int) -> float:
        if kind == "WindowMap":
            loader = DataLoader(WindowMap(windows), batch_size=64, num_workers=workers)
        else:
            loader = DataLoader(WindowStream(windows, 64), batch_size=None, num_workers=workers)
        batches = iter(loader)
        for _ in range(workers):
            next(batches)
        total = -(-count // 64) - workers
        start = time.perf_counter()
        for _ in range(total):
            next(batches)
        return (time.perf_counter() - start) / total

    best = {
        (kind, workers): float("inf")
        for kind in ("WindowMap", "WindowStream")
        for workers in (1, 2)
    }
    best["WindowStream", 0] = float("inf")
    for _ in range(repeats):
        for (kind, workers), least in best.items():
            best[kind, workers] = min(least, seconds(kind, workers))
    rows = [
        row(f"DataLoader, {kind}, 2 workers", best[kind, 2], "1 worker", best[kind, 1], 1 / 1.6)
        for kind in ("WindowMap", "WindowStream")
    ]
    without = row(
        "DataLoader, WindowStream, no workers",
        best["WindowStream", 0],
        "2 workers",
        best["WindowStream", 2],
        1.0,
    )
    # For comparing only: who of the two is ahead depends on what else the processor does.
    del without["target"]
    return [*rows, without]


def lasting_rows(paths: list[Path], count: int) -> list[Row]:
    """Measure, in a fresh process, how memory and descriptors grow over many windows."""
    script = (
        "import json, sys; from benchmarks.bench_windows import _last; "
        "print(json.dumps(_last(*json.loads(sys.argv[1]))))"
    )
    arguments = json.dumps([[os.fspath(path) for path in paths], count])
    done = subprocess.run(
        [sys.executable, "-c", script, arguments], check=True, capture_output=True, text=True
    )
    grown, descriptors = json.loads(done.stdout.splitlines()[-1])
    return [
        {"work": f"memory, {count} windows", "note": f"{grown / 1e6:.1f} MB more than after 1000"},
        {"work": "10000 sources", "note": f"{descriptors} descriptors open"},
    ]


def _last(paths: list[str], count: int) -> tuple[int, int]:
    from benchmarks.measure import _anonymous

    buffers = [FlatBuffer(path, "<f4", (-1, CHANNELS)) for path in paths]
    windows = WindowDataset(
        [MappedSource(buffer, transpose=True) for buffer in buffers], 100, n_windows=count
    )
    for i in range(min(1000, count)):
        windows[i]
    before = _anonymous()
    for i in range(count):
        windows[i]
    grown = _anonymous() - before
    many = _links(paths[0], 10_000)
    sources = [
        MappedSource(FlatBuffer(path, "<f4", (-1, CHANNELS)), transpose=True) for path in many
    ]
    everywhere = WindowDataset(sources, 10, by="file", stratify=True, n_windows=20_000)
    for indices in everywhere.batch_indices(1000):
        everywhere.batch(indices)
    for path in many:
        path.unlink()
    return grown, len(list(Path("/proc/self/fd").iterdir()))


def _links(path: str, count: int) -> list[Path]:
    folder = Path(path).parent / "links"
    folder.mkdir(exist_ok=True)
    links = [folder / f"{number}.dat" for number in range(count)]
    for link in links:
        link.unlink(missing_ok=True)
        link.hardlink_to(path)
    return links


def run(folder: Path, smoke: bool) -> list[Row]:  # noqa: FBT001 - the registry's signature
    """Run everything.

    Parameters
    ----------
    folder : Path
        Where the files are, or are made.
    smoke : bool
        Short files and few windows, to see that it runs.

    Returns
    -------
    list of dict
        One row per comparison; ``ratio`` is ours / peer.
    """
    paths = make_files(folder, 3 if smoke else 30)
    count, repeats = (64, 1) if smoke else (1000, 7)
    rows = random_rows(paths, count, repeats)
    rows += long_rows(folder, 3 if smoke else 600, count, repeats)
    rows += batch_rows(paths, 128 if smoke else 960, repeats)
    rows += loader_rows(paths, 256 if smoke else 5120, 1 if smoke else 3)
    if not smoke and sys.platform == "linux":
        rows += lasting_rows(paths, 100_000)
    return rows
