"""Sources as NWB files."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from ecogsource.datasource.base import ElectrodeDataSource
from ecogsource.errors import FormatError, require
from ecogsource.safefile import atomic_path

__all__ = ["to_nwb"]

_EXTRA = "nwb"
# Bytes of one chunk in the file, and of what is read at a time.
_CHUNK = 1_000_000
_BUFFER = 16_000_000
_TO_VOLTS = {"uV": 1e-6, "µV": 1e-6, "mV": 1e-3, "V": 1.0}


def to_nwb(
    source: ElectrodeDataSource,
    path: str | os.PathLike[str],
    *,
    start_time: datetime | None = None,
    description: str = "recording",
    location: str = "unknown",
) -> Path:
    """Write a source to an NWB file, block by block; the file appears when it is complete.

    Parameters
    ----------
    source : MappedSource or PlainArraySource
        Channels x time, with a rate, in volts or a scale of them.
    path : path-like
        File to make.
    start_time : datetime, optional
        When the recording began; by default the start of 1970, as NWB needs some time.
    description : str
        What was recorded.
    location : str
        Where the electrodes were.

    Returns
    -------
    pathlib.Path
        The file. The data are an ElectricalSeries ``data``, time x channels, stored in the
        numbers of the source with the conversion to volts.

    Raises
    ------
    FormatError
        If rate or units are not known, or there is nothing to write.
    MissingDependencyError
        If pynwb is not installed.
    """
    if not source.fs or source.units not in _TO_VOLTS:
        raise FormatError(
            f"NWB needs a rate and volts: fs is {source.fs}, units are {source.units!r} "
            f"(known are {', '.join(_TO_VOLTS)})"
        )
    if 0 in source.shape:
        raise FormatError(f"NWB needs data: the source has {source.shape} channels x samples")
    pynwb = require("pynwb", _EXTRA)
    file = pynwb.NWBFile(
        session_description=description,
        identifier=str(uuid4()),
        session_start_time=start_time or datetime(1970, 1, 1, tzinfo=timezone.utc),
    )
    device = file.create_device(name="recorder")
    group = file.create_electrode_group("electrodes", description, location, device)
    file.add_electrode_column("label", "name of the channel")
    for name in source.channel_names or map(str, range(len(source))):
        file.add_electrode(location=location, group=group, label=name)
    region = file.create_electrode_table_region(list(range(len(source))), "all electrodes")
    file.add_acquisition(
        pynwb.ecephys.ElectricalSeries(
            name="data",
            data=_blocks(source),
            electrodes=region,
            rate=source.fs,
            conversion=_TO_VOLTS[source.units],
        )
    )
    target = Path(path)
    with atomic_path(target) as temporary, pynwb.NWBHDF5IO(str(temporary), "w") as out:
        out.write(file)
    return target


def _blocks(source: ElectrodeDataSource) -> Any:
    """Wrap a source for hdmf, which asks for block after block, time x channels."""
    iterator = require("hdmf.data_utils", _EXTRA).GenericDataChunkIterator

    class Blocks(iterator):  # type: ignore[misc, valid-type]
        def _get_data(self, selection: tuple[slice, ...]) -> np.ndarray:
            time, channels = selection
            return source.read((channels, time)).T

        def _get_maxshape(self) -> tuple[int, ...]:
            return source.shape[::-1]

        def _get_dtype(self) -> np.dtype:
            return source.dtype

    n_channels, n_samples = source.shape
    sample = n_channels * source.dtype.itemsize
    chunk = max(1, min(n_samples, _CHUNK // sample))
    return Blocks(
        chunk_shape=(chunk, n_channels),
        buffer_shape=(min(n_samples, chunk * max(1, _BUFFER // (chunk * sample))), n_channels),
    )
