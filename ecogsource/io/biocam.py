"""3Brain BioCam recordings in HDF5: BRW 3.x (``3BData``) and BRW 4.x (``Well_*``).

Samples of all channels follow one another in one long vector (in the oldest files, in a table).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ecogsource.buffers.storage.h5file import open_file
from ecogsource.errors import CorruptDataError, FormatError

from .info import RecordingInfo, Segment, StreamInfo
from .layouts import Hdf5Layout, InterleavedLayout, Layout

if TYPE_CHECKING:
    import h5py

__all__ = ["matches", "read_info"]

_VARIABLES = "3BRecInfo/3BRecVars"


def matches(path: Path, head: bytes) -> bool:
    """Tell whether an HDF5 file holds 3Brain's groups."""
    import h5py

    if not h5py.is_hdf5(path):
        return False
    with open_file(str(path)) as file:
        return _VARIABLES in file or _well(file) is not None


def _well(file: h5py.File) -> str | None:
    if "ExperimentSettings" not in file:
        return None
    wells = [name for name in file if name.startswith("Well_") and "Raw" in file[name]]
    return wells[0] if wells else None


def read_info(path: str | Path) -> RecordingInfo:
    """Describe a BioCam file.

    Parameters
    ----------
    path : path-like
        The file.

    Raises
    ------
    FormatError
        If fields are missing or the version is not supported.
    CorruptDataError
        If the data are no whole number of samples.
    """
    filename = str(path)
    with open_file(filename) as file:
        try:
            if _VARIABLES in file:
                stream, header = _version_3(filename, file)
            else:
                stream, header = _version_4(filename, file)
        except (KeyError, ValueError, IndexError) as error:
            if isinstance(error, FormatError):
                raise
            raise FormatError(f"{filename!r} lacks a field of the BRW format: {error}") from error
    return RecordingInfo(filename, "biocam", (stream,), header)


def _version_3(filename: str, file: h5py.File) -> tuple[StreamInfo, dict[str, Any]]:
    variables = file[_VARIABLES]
    header = {
        name: np.asarray(item[()]).reshape(-1)[0].item()
        for name, item in variables.items()
        if item.size == 1 and item.dtype.kind in "iuf"
    }
    inversion = header["SignalInversion"]
    if inversion not in (1, -1):
        raise FormatError(f"{filename!r}: SignalInversion is {inversion}, expected 1 or -1")
    raw = file["3BData/Raw"]
    channels = file["3BRecInfo/3BMeaStreams/Raw/Chs"]
    n = raw.shape[1] if raw.ndim == 2 else int(raw.shape[0] // header["NRecFrames"])
    layout = _layout(filename, raw, n)
    names = [f"{row},{column}" for row, column in channels[()].tolist()]
    step = (header["MaxVolt"] - header["MinVolt"]) / 2 ** int(header["BitDepth"])
    # Inverted recordings count from the top: 2**bits - stored.
    gain = inversion * step
    offset = header["MinVolt"] if inversion == 1 else header["MaxVolt"]
    return _stream(layout, names, header["SamplingRate"], gain, offset), header


def _version_4(filename: str, file: h5py.File) -> tuple[StreamInfo, dict[str, Any]]:
    well = _well(file)
    if well is None:
        raise FormatError(f"{filename!r} holds no well with raw data (sparse data are no signal)")
    header = json.loads(file["ExperimentSettings"][0])
    group = file[well]
    n = len(group["StoredChIdxs"])
    convert = header["ValueConverter"]
    step = (convert["MaxAnalogValue"] - convert["MinAnalogValue"]) / (
        convert["MaxDigitalValue"] - convert["MinDigitalValue"]
    )
    gain = convert.get("ScaleFactor", 1.0) * step
    names = [str(i) for i in group["StoredChIdxs"][()].tolist()]
    layout = _layout(filename, group["Raw"], n)
    rate = header["TimeConverter"]["FrameRate"]
    return _stream(layout, names, rate, gain, convert["MinAnalogValue"]), header


def _layout(filename: str, raw: h5py.Dataset, n_channels: int) -> Layout:
    if raw.ndim == 2:
        return Hdf5Layout(filename, raw.name, raw.dtype, tuple(raw.shape), transposed=True)
    if n_channels < 1 or raw.shape[0] % n_channels:
        raise CorruptDataError(
            f"dataset {raw.name!r} has {raw.shape[0]} numbers, which is no whole number of "
            f"samples of {n_channels} channels",
            filename,
        )
    base = Hdf5Layout(filename, raw.name, raw.dtype, tuple(raw.shape))
    return InterleavedLayout(base, n_channels)


def _stream(
    layout: Layout, names: list[str], rate: float, gain: float, offset: float
) -> StreamInfo:
    n = layout.shape[0]
    labels = tuple(names) if len(names) == n else tuple(str(i) for i in range(n))
    return StreamInfo(
        "raw",
        "electrode",
        float(rate),
        labels,
        ("uV",) * n,
        (Segment(layout),),
        np.full(n, float(gain)),
        np.full(n, float(offset)) if offset else None,
    )
