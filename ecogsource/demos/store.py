"""Writing simulated recordings, block by block, in the layouts that labs have on disk."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ecogsource.safefile import atomic_path

__all__ = ["StoredArray", "write_flat", "write_hdf5"]

Blocks = Iterable[Mapping[str, NDArray[np.float64]]]

MATLAB_HEADER = b"MATLAB 7.3 MAT-file, simulated by ecogsource"
MATLAB_HEADER_BYTES = 512


@dataclass(frozen=True)
class StoredArray:
    """How one array of a recording is laid out in a file.

    Parameters
    ----------
    key : str
        Which array of the blocks this is.
    dtype : str
        Of the stored numbers.
    gain : float
        Units per stored step: a block's values are divided by it, and rounded for integers.
    time_first : bool
        Whether the file holds time x channels.
    chunks : (int, int), optional
        Shape of an HDF5 chunk, as (channels, samples) whatever the layout; contiguous if absent.
    compressed : bool
        Whether HDF5 chunks are shuffled and packed with gzip.
    attributes : mapping
        HDF5 attributes of the dataset.
    """

    key: str
    dtype: str
    gain: float = 1.0
    time_first: bool = False
    chunks: tuple[int, int] | None = None
    compressed: bool = False
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def encode(self, values: NDArray[np.float64]) -> NDArray[Any]:
        """Return `values` (channels x time, in units) as they are stored, in file order."""
        dtype = np.dtype(self.dtype)
        stored = values / self.gain
        if dtype.kind in "iu":
            limits = np.iinfo(dtype)
            stored = np.clip(np.rint(stored), limits.min, limits.max)
        return (stored.T if self.time_first else stored).astype(dtype)


def write_hdf5(
    path: Path,
    blocks: Blocks,
    n_samples: int,
    arrays: Mapping[str, StoredArray],
    scalars: Mapping[str, NDArray[np.float64] | float],
    *,
    matlab: bool = False,
) -> None:
    """Write a recording to an HDF5 file, which appears under its name when it is complete.

    Parameters
    ----------
    path : pathlib.Path
        The file; one that is there is replaced.
    blocks : iterable of dict of str to ndarray
        The recording: arrays of channels x time, together `n_samples` long.
    n_samples : int
        Length of the recording.
    arrays : mapping of str to StoredArray
        Layout of each dataset, by its name in the file.
    scalars : mapping of str to number or ndarray
        Datasets beside them, such as the sampling rate.
    matlab : bool
        Whether the file begins with the header by which MATLAB knows its own files.
    """
    header_bytes = MATLAB_HEADER_BYTES if matlab else 0
    with atomic_path(path) as temporary:
        with h5py.File(temporary, "w", userblock_size=header_bytes) as file:
            for name, value in scalars.items():
                file[name] = value
            start = 0
            for block in blocks:
                for name, layout in arrays.items():
                    values = block[layout.key]
                    if start == 0:
                        _create(file, name, layout, len(values), n_samples)
                    time = slice(start, start + values.shape[1])
                    where = (time, slice(None)) if layout.time_first else (slice(None), time)
                    file[name][where] = layout.encode(values)
                start = time.stop
        if matlab:
            with open(temporary, "r+b") as raw:
                raw.write(MATLAB_HEADER.ljust(124) + b"\x00\x02IM")


def _create(
    file: h5py.File, name: str, layout: StoredArray, n_channels: int, n_samples: int
) -> None:
    shape = (n_samples, n_channels) if layout.time_first else (n_channels, n_samples)
    chunks = None
    if layout.chunks is not None:
        chunks = (min(layout.chunks[0], n_channels), min(layout.chunks[1], n_samples))
        chunks = chunks[::-1] if layout.time_first else chunks
    packing: dict[str, Any] = {"compression": "gzip", "shuffle": True} if layout.compressed else {}
    dataset = file.create_dataset(name, shape, layout.dtype, chunks=chunks, **packing)
    dataset.attrs.update(layout.attributes)


def write_flat(
    path: Path, blocks: Blocks, layouts: Sequence[StoredArray], description: Mapping[str, Any]
) -> None:
    """Write a recording to a raw binary file, sample after sample, with a JSON file beside it.

    Parameters
    ----------
    path : pathlib.Path
        The binary file; the description goes to the same name with the suffix ``.json``.
    blocks : iterable of dict of str to ndarray
        The recording: arrays of channels x time.
    layouts : sequence of StoredArray
        Which arrays make up the columns of a sample, in order; all of one dtype.
    description : mapping
        What the JSON file says beside ``dtype`` and ``n_channels``.
    """
    n_channels = 0
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        for block in blocks:
            columns = [np.atleast_2d(layout.encode(block[layout.key]).T) for layout in layouts]
            samples = np.concatenate(columns).T
            n_channels = samples.shape[1]
            file.write(np.ascontiguousarray(samples).tobytes())
    sidecar = {"dtype": layouts[0].dtype, "n_channels": n_channels, "order": "C", **description}
    with atomic_path(path.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(sidecar, indent=2) + "\n", encoding="utf-8")
