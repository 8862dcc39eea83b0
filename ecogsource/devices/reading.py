"""Small steps of loading: numbers from files, data to memory, bad channels, references."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecogsource.channel_map import ChannelMap, CoordinateChannelMap
from ecogsource.datasource import MappedSource, PlainArraySource
from ecogsource.devices.options import LoadOptions
from ecogsource.errors import ConfigError, FormatError
from ecogsource.params import load_params

__all__ = [
    "chosen_channels",
    "downsample_target",
    "load_to_memory",
    "rate_ratio",
    "read_scalar",
    "rereferenced",
    "without_bad_channels",
]

_log = logging.getLogger(__name__)

# Diagonal neighbours on a grid are 1.41 steps away, the next but one 2.
_NEIGHBOUR_STEPS = 1.5


def rereferenced(
    source: MappedSource, options: LoadOptions, chan_map: ChannelMap | None
) -> MappedSource:
    """View a source with the reference that the options ask for.

    Filters are the same for all channels and linear, so it makes no difference whether they come
    before or after.

    Parameters
    ----------
    source : MappedSource
        Electrode channels.
    options : LoadOptions
        ``car`` and ``local_ref`` count.
    chan_map : ChannelMap or None
        Sites of the channels; needed for a local reference.

    Returns
    -------
    MappedSource
        Computed when it is read; `source` itself if no reference is asked for.

    Raises
    ------
    ConfigError
        If a local reference is asked for without an electrode map.
    """
    if options.car:
        return source.car()
    if not options.local_ref:
        return source
    if chan_map is None:
        raise ConfigError("local_ref needs an electrode map to know neighbours from")
    return source.local_ref(_neighbours(chan_map))


def _neighbours(chan_map: ChannelMap) -> NDArray[np.bool_]:
    """Which channel is beside which: the eight sites around on a grid, else those about as near."""
    free = isinstance(chan_map, CoordinateChannelMap)
    places = chan_map.positions() if free else np.stack(chan_map.to_mat(), axis=1)
    distance = np.hypot(*(places[:, np.newaxis] - places).T)
    np.fill_diagonal(distance, np.inf)
    step = float(np.median(distance.min(axis=0))) if free else 1.0
    return np.asarray(distance < _NEIGHBOUR_STEPS * step)


def read_scalar(file: Any, name: str) -> float:
    """Read a number from an HDF5 file: a scalar, a 1 x 1 array, or an attribute.

    Parameters
    ----------
    file : h5py.File
        The file.
    name : str
        Name of the dataset or attribute.

    Returns
    -------
    float
        The number.

    Raises
    ------
    FormatError
        If there is none; the message lists what there is.
    """
    for place in (file, file.attrs):
        if name in place:
            value = np.asarray(place[name] if place is file.attrs else place[name][()])
            if value.size == 1 and value.dtype.kind in "iuf":
                return float(value.reshape(-1)[0])
            raise FormatError(f"{file.filename}: {name!r} is not one number: {value!r}")
    raise FormatError(f"{file.filename} has no {name!r}; it holds {sorted(file)}")


def load_to_memory(source: MappedSource) -> PlainArraySource:
    """Read a source and its aligned arrays.

    Parameters
    ----------
    source : MappedSource
        The source.

    Returns
    -------
    PlainArraySource
        The same in memory, without mask.

    Raises
    ------
    MemoryBlowOutError
        If it exceeds the memory limit.
    """
    return PlainArraySource(
        source[:, :],
        source.electrode_field,
        aligned_arrays={name: array[...] for name, array in source.aligned_arrays.items()},
        fs=source.fs,
        units=source.units,
        channel_names=source.channel_names,
    )


def without_bad_channels(
    source: MappedSource, chan_map: ChannelMap | None
) -> tuple[MappedSource, ChannelMap | None]:
    """Mask the channels that the global parameter ``channel_mask`` names.

    Parameters
    ----------
    source : MappedSource
        Electrode channels; its mask is set.
    chan_map : ChannelMap or None
        Their sites.

    Returns
    -------
    source : MappedSource
        The same source.
    chan_map : ChannelMap or None
        Sites of the channels that are left.
    """
    bad = [channel for channel in load_params().channel_mask if channel < len(source)]
    if not bad:
        return source, chan_map
    mask = source.binary_channel_mask
    mask[bad] = False
    source.set_channel_mask(mask)
    return source, None if chan_map is None else chan_map.subset(mask)


def chosen_channels(
    chan_map: ChannelMap | None, electrodes: Sequence[int], options: LoadOptions, path: Path
) -> tuple[ChannelMap | None, list[int]]:
    """Keep the electrodes that the option ``load_channels`` names.

    Parameters
    ----------
    chan_map : ChannelMap or None
        Sites of all electrode channels.
    electrodes : sequence of int
        All electrode channels.
    options : LoadOptions
        ``load_channels`` counts.
    path : Path
        The recording, for the message.

    Returns
    -------
    chan_map : ChannelMap or None
        Sites of the electrodes that are kept.
    electrodes : list of int
        The electrode channels that are kept, in the order of the map.

    Raises
    ------
    ConfigError
        If channels are named that are not electrodes.
    """
    if options.load_channels is None:
        return chan_map, list(electrodes)
    wanted = set(options.load_channels)
    missing = sorted(wanted - set(electrodes))
    if missing:
        raise ConfigError(f"load_channels names {missing}, which are no electrodes of {path}")
    keep = np.array([channel in wanted for channel in electrodes], dtype=bool)
    kept = [channel for channel in electrodes if channel in wanted]
    return (None if chan_map is None else chan_map.subset(keep)), kept


def rate_ratio(fs: float | None, rate: float, path: Path) -> int:
    """Return by which whole number to downsample.

    Parameters
    ----------
    fs : float or None
        Samples per second of the recording.
    rate : float
        Samples per second wanted.
    path : Path
        The recording, for the message.

    Returns
    -------
    int
        At least 1.

    Raises
    ------
    ConfigError
        If `rate` is no whole fraction of `fs`; the message gives the nearest that are.
    FormatError
        If the rate of the recording is not known.
    """
    if fs is None:
        raise FormatError(f"{path} does not say its sampling rate; set fs in the session")
    ratio = fs / rate
    if ratio < 1 or abs(ratio - round(ratio)) > 1e-6 * ratio:
        below, above = fs / (int(ratio) + 1), fs / max(1, int(ratio))
        raise ConfigError(
            f"resample_rate {rate:g} is no whole fraction of the rate {fs:g} of {path}; "
            f"the nearest are {below:g} and {above:g}"
        )
    return round(ratio)


def downsample_target(folder: Path, name: str, *, keep: bool, asked: bool) -> Path:
    """Return where to write a downsampled file.

    Parameters
    ----------
    folder : Path
        Where to keep it.
    name : str
        Name of the file.
    keep : bool
        False: a temporary file is wanted.
    asked : bool
        Whether the user named the folder. One that nobody named may be on a server that cannot
        be written; the file is then temporary.

    Returns
    -------
    Path
        The file to write.
    """
    if keep and (asked or os.access(folder, os.W_OK)):
        return folder / name
    if keep:
        _log.warning("%s cannot be written; the downsampled file is temporary", folder)
    from ecogsource.datasource.tempfiles import TempFilePool

    return TempFilePool.default().new(f"_{name}")
