"""Recordings as their acquisition system wrote them, opened through `ecogsource.io`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ecogsource.datasource import MappedSource
from ecogsource.errors import ConfigError

__all__ = ["open_vendor"]


def open_vendor(path: Path, units: str | None, names: Mapping[str, str]) -> MappedSource:
    """Map the main stream of a recording, and what runs on its clock.

    Parameters
    ----------
    path : Path
        A file or folder that is not HDF5.
    units : str or None
        The unit wanted; None for that of the file.
    names : mapping of str to str
        Kind of a stream (``'adc'``, ``'aux'``, ``'digital'``) -> name of the aligned array made
        of it, if it has the rate and the length of the main stream.

    Returns
    -------
    MappedSource
        The main stream with its aligned arrays.

    Raises
    ------
    ConfigError
        If the file is in another unit than the one wanted.
    FormatError, CorruptDataError, GapError, MissingDependencyError
        As `ecogsource.io.open_recording`.
    """
    from ecogsource.io import open_recording

    recording = open_recording(path)
    source = recording.source
    stored = source.units
    if units is not None and stored is not None and _plain(stored) != _plain(units):
        raise ConfigError(f"{path} is read in {stored}; set units = {stored}, not {units}")
    aligned = {
        names[info.kind]: recording.streams[info.name].as_buffer()
        for info in recording.info.streams
        if info.kind in names and (info.fs, info.n_samples) == (source.fs, source.shape[1])
    }
    return MappedSource(
        source.as_buffer(),
        source.electrode_field,
        aligned_arrays=aligned,
        fs=source.fs,
        units=stored or units,
        channel_names=source.channel_names,
    )


def _plain(unit: str) -> str:
    return unit.replace("µ", "u").replace("μ", "u").lower()
