"""The files that the benchmarks read: one recording in eight layouts, made on first use."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np


class Size(NamedTuple):
    """How large the recording is."""

    channels: int
    samples: int


class Layout(NamedTuple):
    """One way to store the recording.

    Parameters
    ----------
    name : str
        Name of the file, without suffix.
    kind : {'flat', 'hdf5'}
    time_first : bool
        Whether it is time x channels on disk.
    chunks : tuple of int or None
        As stored on disk.
    gzip : bool
        Whether chunks are shuffled and deflated.
    """

    name: str
    kind: str
    time_first: bool
    chunks: tuple[int, int] | None = None
    gzip: bool = False

    def path(self, folder: Path) -> Path:
        """Return the file."""
        return folder / f"{self.name}.{'dat' if self.kind == 'flat' else 'h5'}"

    def twin(self, folder: Path) -> Path:
        """Return the Zarr 3 array with the same chunks and codec."""
        return folder / f"{self.name}.zarr"


LAYOUTS = (
    Layout("flat_ct", "flat", time_first=False),
    Layout("flat_tc", "flat", time_first=True),
    Layout("contiguous_ct", "hdf5", time_first=False),
    Layout("chunked_ct", "hdf5", time_first=False, chunks=(4, 12500)),
    Layout("gzip_ct", "hdf5", time_first=False, chunks=(16, 16384), gzip=True),
    Layout("contiguous_tc", "hdf5", time_first=True),
    Layout("chunked_tc", "hdf5", time_first=True, chunks=(6250, 8)),
    Layout("gzip_tc", "hdf5", time_first=True, chunks=(4096, 64), gzip=True),
)
FULL = Size(256, 400_000)
SMOKE = Size(64, 30_000)


def recording(size: Size) -> np.ndarray:
    """Make the recording: a common slow wave, slow noise per channel, and white noise.

    Parameters
    ----------
    size : Size
        How large.

    Returns
    -------
    ndarray of int16, shape (channels, samples)
        About as compressible as an ECoG recording with a quiet amplifier (factor 2 with gzip).
    """
    from scipy.signal import lfilter

    rng = np.random.default_rng(20)
    out = np.empty(size, np.int16)
    common = lfilter([1], [1, -0.99], rng.standard_normal(size.samples)) * 6
    for row in out:
        slow = lfilter([1], [1, -0.97], rng.standard_normal(size.samples)) * 3
        row[:] = np.round(common + slow + 6 * rng.standard_normal(size.samples))
    return out


def make(folder: Path, size: Size) -> np.ndarray:
    """Make all files that are missing, and return the recording.

    Returns
    -------
    ndarray of int16, shape (channels, samples)
        A map of the file that keeps it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "recording.npy"
    if not kept.exists():
        np.save(folder / "part.npy", recording(size))
        (folder / "part.npy").replace(kept)
    truth = np.load(kept, mmap_mode="r")
    for layout in LAYOUTS:
        if not layout.path(folder).exists():
            _write(layout, folder, truth)
        if layout.chunks and not layout.twin(folder).exists():
            _write_twin(layout, folder, truth)
    return truth


def _write(layout: Layout, folder: Path, truth: np.ndarray) -> None:
    data = np.ascontiguousarray(truth.T if layout.time_first else truth)
    path = layout.path(folder)
    part = path.with_suffix(".part")
    if layout.kind == "flat":
        data.tofile(part)
    else:
        options = {"compression": "gzip", "shuffle": True} if layout.gzip else {}
        chunks = layout.chunks and tuple(np.minimum(layout.chunks, data.shape).tolist())
        with h5py.File(part, "w") as file:
            file.create_dataset("data", data=data, chunks=chunks, **options)
    part.replace(path)


def _write_twin(layout: Layout, folder: Path, truth: np.ndarray) -> None:
    try:
        import zarr
    except ImportError:
        return
    data = np.ascontiguousarray(truth.T if layout.time_first else truth)
    codec = zarr.codecs.GzipCodec(level=4)
    part = folder / "part.zarr"
    shutil.rmtree(part, ignore_errors=True)
    array = zarr.create_array(
        part,
        shape=data.shape,
        dtype=data.dtype,
        chunks=tuple(np.minimum(layout.chunks, data.shape).tolist()),
        compressors=codec if layout.gzip else None,
    )
    array[...] = data
    part.replace(layout.twin(folder))
