"""Vendor files beside the readers that people use: windows, scans, opening; same files, same run.

The machine's speed drifts, so ours and the peer take turns and the best of each counts. Peers that
are not installed give no row.
"""

from __future__ import annotations

import importlib.util
import logging
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ecogsource._machine import peak_memory
from ecogsource.io import open_recording
from ecogsource.io.edf import Reader
from tests.io import builders

Row = dict[str, Any]
Work = Callable[[], Any]

N_WINDOWS = 20


def best_of(repeats: int, *works: Work) -> list[float]:
    """Time works in turns; the best of each, in milliseconds."""
    best = [float("inf")] * len(works)
    for _ in range(repeats):
        for number, work in enumerate(works):
            start = time.perf_counter()
            work()
            best[number] = min(best[number], time.perf_counter() - start)
    return [1000 * seconds for seconds in best]


def row(work: str, ours: float, peer: str, theirs: float, target: float) -> Row:
    """Make a row; it is reached if the peer takes at least `target` times as long."""
    return {
        "work": work,
        "ours [ms]": round(ours, 3),
        "peer": peer,
        "theirs [ms]": round(theirs, 3),
        "times faster": round(theirs / ours, 2),
        "to reach": target,
        "reached": theirs >= target * ours,
    }


def installed(package: str) -> bool:
    """Tell whether a peer is there."""
    return importlib.util.find_spec(package) is not None


# -- files -----------------------------------------------------------------------------------------


def edf_file(folder: Path, channels: int, samples: int, *, bdf: bool = False) -> Path:
    """Write noise at 1 kHz in records of one second, once."""
    path = folder / f"formats_{channels}x{samples}.{'bdf' if bdf else 'edf'}"
    if not path.exists():
        digital = ("-8388608", "8388607") if bdf else ("-32768", "32767")
        per_record = (1000,) * channels
        builders.Edf(samples // 1000, per_record, bdf=bdf, digital=digital).write(path)
    return path


def rhd_file(folder: Path, channels: int, samples: int) -> Path:
    """Write an RHD file of version 3, once."""
    path = folder / f"formats_{channels}x{samples}.rhd"
    if not path.exists():
        builders.Intan(amplifiers=channels, n_blocks=samples // 128).write(path)
    return path


def nsx_file(folder: Path, channels: int, samples: int) -> Path:
    """Write an NSx file of specification 2.3, once."""
    path = folder / f"formats_{channels}x{samples}.ns5"
    if not path.exists():
        path.write_bytes(builders.nsx([(0, builders.ramp(channels, samples))]))
    return path


def oebin_folder(folder: Path, channels: int, samples: int) -> Path:
    """Write an Open Ephys binary recording, once."""
    root = folder / f"formats_oe_{channels}x{samples}"
    recording = root / "Record Node 1" / "experiment1" / "recording1"
    if not recording.exists():
        names = [f"CH{i + 1}" for i in range(channels)]
        builders.oebin(recording, builders.ramp(channels, samples), 0, names)
    return root


# -- works -----------------------------------------------------------------------------------------


def neo_reader(name: str, **where: str) -> Any:
    """Open a file with neo, quietly."""
    from neo import rawio

    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reader = getattr(rawio, name)(**where)
        reader.parse_header()
    logging.disable(logging.NOTSET)
    return reader


def window_rows(
    label: str, path: Path, length: int, reader: Any, repeats: int, *, check: bool = True
) -> Iterator[Row]:
    """Random windows of all channels: scaled to float32, and as stored.

    neo hands out samples x channels, which costs nothing where a file is stored that way; sources
    give channels x samples. So windows are compared each in its own layout, then both as samples x
    channels (our buffer, transposed), then both as channels x samples.
    """
    recording = open_recording(path)
    source = recording.source
    raw, frames = source.raw, source.data_buffer.T
    starts = np.random.default_rng(0).integers(0, source.shape[1] - length, N_WINDOWS).tolist()

    def neo_chunk(start: int) -> np.ndarray:
        return reader.get_analogsignal_chunk(0, 0, start, start + length, stream_index=0)

    def ours() -> None:
        for start in starts:
            source[:, start : start + length]

    def ours_frames() -> None:
        for start in starts:
            frames[start : start + length]

    def scaled(start: int) -> np.ndarray:
        return reader.rescale_signal_raw_to_float(neo_chunk(start), "float32", stream_index=0)

    def theirs() -> None:
        for start in starts:
            scaled(start)

    def theirs_turned() -> None:
        for start in starts:
            np.ascontiguousarray(scaled(start).T)

    def ours_raw() -> None:
        for start in starts:
            raw[:, start : start + length]

    def theirs_raw() -> None:
        for start in starts:
            np.ascontiguousarray(neo_chunk(start).T)

    if check:
        piece = np.asarray(neo_chunk(starts[0])).T
        np.testing.assert_array_equal(raw[:, starts[0] : starts[0] + length], piece)
    times = best_of(repeats, ours, theirs, theirs_turned, ours_raw, theirs_raw, ours_frames)
    yield row(f"{label}: 1 s windows, float32", times[0], "neo, its layout", times[1], 2.0)
    yield row(f"{label}: the same, both t x c", times[5], "neo, its layout", times[1], 2.0)
    yield row(f"{label}: the same, both c x t", times[0], "neo, turned", times[2], 2.0)
    yield row(f"{label}: 1 s windows, stored", times[3], "neo, turned", times[4], 2.0)
    recording.close()


def scan_rows(path: Path, piece: int, repeats: int) -> Iterator[Row]:
    """Everything once, in pieces of ten seconds, scaled to floats."""
    source = open_recording(path).source
    channels, samples = source.shape
    starts = range(0, samples, piece)
    reader = Reader(path)

    def ours() -> None:
        for start in starts:
            source[:, start : start + piece]

    def ours_reader() -> None:
        for start in starts:
            reader.read(start, start + piece)

    def read_with(peer: Callable[[int], Any]) -> Work:
        return lambda: [peer(start) for start in starts]

    for name, make in SCANNERS.items():
        # neo reads EDF through pyedflib.
        if installed(name) and (name != "neo" or installed("pyedflib")):
            peer, close = make(path, channels, piece)
            times = best_of(repeats, ours, read_with(peer), ours_reader)
            close()
            yield row("EDF: scan in 10 s pieces, float32", times[0], name, times[1], 5.0)
            yield row("EDF: scan by edf.Reader, float64", times[2], name, times[1], 1.0)


Scanner = tuple[Callable[[int], Any], Callable[[], None]]


def scan_with_mne(path: Path, channels: int, piece: int) -> Scanner:
    """Read pieces with MNE, which gives float64 volts."""
    import mne

    raw = mne.io.read_raw_edf(path, preload=False, verbose="error")
    return lambda start: raw.get_data(start=start, stop=start + piece), lambda: None


def scan_with_pyedflib(path: Path, channels: int, piece: int) -> Scanner:
    """Read pieces with pyedflib, channel by channel."""
    import pyedflib

    edf = pyedflib.EdfReader(str(path))

    def read(start: int) -> np.ndarray:
        return np.stack([edf.readSignal(channel, start, piece) for channel in range(channels)])

    return read, edf.close


def scan_with_neo(path: Path, channels: int, piece: int) -> Scanner:
    """Read pieces with neo, scaled to float32."""
    reader = neo_reader("EDFRawIO", filename=str(path))

    def read(start: int) -> np.ndarray:
        chunk = reader.get_analogsignal_chunk(0, 0, start, start + piece, stream_index=0)
        return reader.rescale_signal_raw_to_float(chunk, "float32", stream_index=0)

    return read, reader.close


SCANNERS: dict[str, Callable[[Path, int, int], Scanner]] = {
    "mne": scan_with_mne,
    "pyedflib": scan_with_pyedflib,
    "neo": scan_with_neo,
}


_OPEN = """
import sys, time
from ecogsource._machine import peak_memory
from ecogsource.io import open_recording
open_recording(sys.argv[2]).source[:, :10]
before = peak_memory()
start = time.perf_counter()
source = open_recording(sys.argv[1]).source
print(1000 * (time.perf_counter() - start))
source[:, 10**6 : 10**6 + 10]
print((peak_memory() - before) / 2**20)
"""


def open_rows(folder: Path) -> Iterator[Row]:
    """Open a sparse EDF of ten gigabytes in a process of its own."""
    small = edf_file(folder, 16, 20_000)
    header = small.read_bytes()[: 256 * 17]
    records = 10 * 2**30 // 32_000
    path = folder / "formats_sparse.edf"
    with path.open("wb") as stream:
        stream.write(header[:236] + f"{records:<8}".encode() + header[244:])
        stream.truncate(len(header) + records * 32_000)
    command = [sys.executable, "-c", _OPEN, str(path), str(small)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    path.unlink()
    yield row("EDF of 10 GB: open", float(out[0]), "50 ms allowed", 50.0, 1.0)
    megabytes = max(float(out[1]), 0.001)
    yield row("EDF of 10 GB: open [MB]", megabytes, "20 MB allowed", 20.0, 1.0)


def run(folder: Path, smoke: bool) -> list[Row]:  # noqa: FBT001 - the registry's signature
    """Run everything.

    Parameters
    ----------
    folder : Path
        Where the files go; those that are there are used again.
    smoke : bool
        Small files and one repeat: for seeing that it runs.

    Returns
    -------
    list of dict
        One row per comparison.
    """
    folder.mkdir(parents=True, exist_ok=True)
    repeats = 1 if smoke else 9
    seconds = 3 if smoke else 60
    rows: list[Row] = []
    if installed("neo"):
        fast = 20_000 * seconds // 6
        edf = edf_file(folder, 64, 1000 * seconds)
        bdf = edf_file(folder, 64, 1000 * seconds, bdf=True)
        rhd, nsx = rhd_file(folder, 64, fast), nsx_file(folder, 64, fast)
        oe = oebin_folder(folder, 64, fast)
        plans = [
            ("RHD 64 ch", rhd, 5000 if smoke else 20_000, _intan(rhd)),
            ("NSx 64 ch", nsx, 5000 if smoke else 30_000, _blackrock(nsx)),
            ("Open Ephys binary 64 ch", oe, 1000, _openephys(oe)),
        ]
        if installed("pyedflib"):
            # neo reads EDF through it.
            plans.insert(0, ("EDF 64 ch", edf, 1000, neo_reader("EDFRawIO", filename=str(edf))))
        for label, path, length, reader in plans:
            rows += window_rows(label, path, length, reader, repeats)
        rows += bdf_rows(bdf, repeats)
    rows += scan_rows(edf_file(folder, 16, 20_000 if smoke else 600_000), 10_000, repeats)
    rows += open_rows(folder)
    return rows


def _intan(path: Path) -> Any:
    return neo_reader("IntanRawIO", filename=str(path))


def _blackrock(path: Path) -> Any:
    return neo_reader("BlackrockRawIO", filename=str(path.with_suffix("")))


def _openephys(path: Path) -> Any:
    return neo_reader("OpenEphysBinaryRawIO", dirname=str(path))


def bdf_rows(path: Path, repeats: int) -> Iterator[Row]:
    """Windows of a 24-bit file; neo reads it through pyedflib, but cuts numbers to 16 bits."""
    if installed("pyedflib"):
        reader = neo_reader("EDFRawIO", filename=str(path))
        yield from window_rows("BDF 64 ch", path, 1000, reader, repeats, check=False)


def summary(rows: list[Row]) -> list[str]:
    """Say how many comparisons reach their target, and what this process used."""
    reached = sum(bool(r["reached"]) for r in rows)
    peak = peak_memory() / 2**20
    return [f"{reached} of {len(rows)} reached; peak memory {peak:.0f} MB"]
