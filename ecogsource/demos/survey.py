"""What is in somebody's HDF5 file, and what of it can be taken as channels x time.

HDF5 says nothing about the meaning of an array. The guesses made here follow from shapes and types
alone, and each is put into words, so that a reader can tell whether it is right.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ecogsource.buffers import HDF5Buffer
from ecogsource.buffers.storage.h5file import open_file
from ecogsource.datasource import MappedSource
from ecogsource.demos.shapes import FieldsBuffer, RowsBuffer, same_fields
from ecogsource.errors import DataPathError, FormatError

__all__ = ["Dataset", "survey_hdf5"]

RATE_NAMES = ("fs", "samplerate", "sample_rate", "sampling_rate", "samplingrate", "srate")
FEWEST_SAMPLES = 100
"""Arrays shorter than this are lists of something, not recordings."""
MOST_CHANNELS = 20_000


@dataclass(frozen=True)
class Dataset:
    """One dataset of an HDF5 file, as seen from outside.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    name : str
        The dataset's name in it.
    shape : tuple of int
        Its shape.
    dtype : numpy.dtype
        Its type.
    layout : {'channels x time', 'time x channels', 'table', 'rows', ''}
        How it can be taken as a recording; empty if it cannot.
    remark : str
        What it seems to be, in words.
    fs : float or None
        The sampling rate, where the file gives one.
    """

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    layout: str
    remark: str
    fs: float | None

    def open(self, fs: float | None = None) -> MappedSource:
        """Map the dataset as channels x time.

        Parameters
        ----------
        fs : float, optional
            The sampling rate in Hz, where the file does not give it.

        Returns
        -------
        MappedSource
            Nothing is read yet.

        Raises
        ------
        FormatError
            If it is not a recording.
        """
        if not self.layout:
            raise FormatError(f"{self.name!r} of {str(self.path)!r} is {self.remark}")
        buffer = HDF5Buffer.from_path(self.path, self.name)
        rate = self.fs if fs is None else fs
        if self.layout == "table":
            names = list(self.dtype.names or ())
            return MappedSource(FieldsBuffer(buffer), self.name, fs=rate, channel_names=names)
        if self.layout == "rows":
            return MappedSource(RowsBuffer(buffer), self.name, fs=rate)
        transposed = self.layout == "time x channels"
        return MappedSource(buffer, self.name, transpose=transposed, fs=rate)


def survey_hdf5(path: Path | str) -> list[Dataset]:
    """List the datasets of an HDF5 file and say what each seems to be.

    Parameters
    ----------
    path : path-like
        The file. Only its headers are read; attributes that hold pickles are never opened.

    Returns
    -------
    list of Dataset
        Those that can be taken as recordings first, the largest of them in front.

    Raises
    ------
    DataPathError
        If there is no such file.
    FormatError
        If it is not an HDF5 file.
    """
    path = Path(path)
    if not path.is_file():
        raise DataPathError(f"no such file: {str(path)!r}")
    if not h5py.is_hdf5(path):
        raise FormatError(f"{str(path)!r} is not an HDF5 file")
    found: list[Dataset] = []

    def visit(name: str, node: h5py.Dataset | h5py.Group) -> None:
        if isinstance(node, h5py.Dataset):
            layout, remark = _judge(node.shape, node.dtype)
            shape = tuple(node.shape or ())
            rate = _rate(node) if layout else None
            found.append(Dataset(path, name, shape, node.dtype, layout, remark, rate))

    with open_file(str(path)) as file:
        file.visititems(visit)
    return sorted(found, key=lambda d: (not d.layout, -d.dtype.itemsize * int(np.prod(d.shape))))


def _judge(shape: tuple[int, ...] | None, dtype: np.dtype) -> tuple[str, str]:
    """Return how an array can be taken as channels x time, and what it seems to be."""
    if not shape:
        return "", "a single value"
    if 0 in shape:
        return "", "empty"
    if dtype.names and len(shape) == 1:
        return _judge_table(shape[0], dtype)
    if dtype.kind not in "iuf":
        return "", "text or objects, not numbers"
    size = " x ".join(f"{n:,}" for n in shape)
    if max(shape) < FEWEST_SAMPLES:
        return "", "too few numbers for a recording"
    if len(shape) == 1:
        return "rows", f"one channel of {size} samples"
    if len(shape) == 2:
        layout = "channels x time" if shape[0] <= shape[1] else "time x channels"
        n_channels = min(shape)
        if n_channels > MOST_CHANNELS:
            return "", f"a matrix of {size}: too many channels either way"
        return layout, f"{n_channels:,} channels of {max(shape):,} samples, stored {layout}"
    rows = int(np.prod(shape[:-1]))
    if rows > MOST_CHANNELS or shape[-1] < FEWEST_SAMPLES:
        return "", f"{len(shape)} axes ({size}), not a recording"
    return "rows", (
        f"{len(shape)} axes ({size}): pieces such as trials x channels x samples rather than one "
        f"recording; taken as {rows:,} rows of {shape[-1]:,} samples, the leading axes run together"
    )


def _judge_table(n_rows: int, dtype: np.dtype) -> tuple[str, str]:
    names = dtype.names or ()
    kind = same_fields(dtype)
    if kind is None:
        listed = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
        return "", f"a table of {n_rows:,} rows of unlike fields ({listed})"
    if n_rows < FEWEST_SAMPLES or len(names) < 2:
        return "", f"a table of {n_rows:,} rows: too little for a recording"
    return "table", (
        f"a table of {n_rows:,} rows of {len(names)} {kind.name} fields "
        f"({names[0]} ... {names[-1]}), taken as {len(names)} channels"
    )


def _rate(dataset: h5py.Dataset) -> float | None:
    """Return the sampling rate that a dataset, its group or its file gives."""
    for node in (dataset, dataset.parent, dataset.file):
        by_name = {str(key).lower(): key for key in node.attrs}
        for wanted in RATE_NAMES:
            if wanted in by_name:
                rate = _positive(node.attrs[by_name[wanted]])
                if rate is not None:
                    return rate
    for group in (dataset.parent, dataset.file):
        for key in group:
            node = group[key] if str(key).lower() in RATE_NAMES else None
            if isinstance(node, h5py.Dataset) and node.size == 1:
                rate = _positive(node[()])
                if rate is not None:
                    return rate
    return None


def _positive(value: Any) -> float | None:
    """Return a number greater than zero, however it was stored, or None."""
    array = np.asarray(value)
    if array.size != 1 or array.dtype.kind not in "iufSU":
        return None
    try:
        number = float(array.reshape(-1)[0])
    except ValueError:
        return None
    return number if np.isfinite(number) and number > 0 else None
