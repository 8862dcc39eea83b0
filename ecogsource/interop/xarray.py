"""Sources as lazily indexed xarray objects."""

from __future__ import annotations

from typing import Any

import numpy as np

from ecogsource.buffers import Buffer
from ecogsource.datasource.base import ElectrodeDataSource
from ecogsource.errors import require

__all__ = ["to_xarray"]

_EXTRA = "xarray"


def to_xarray(source: ElectrodeDataSource) -> Any:
    """Make an xarray.DataArray of a source; nothing is read until its values are asked for.

    Parameters
    ----------
    source : MappedSource or PlainArraySource
        Channels x time.

    Returns
    -------
    xarray.DataArray
        Dimensions ``channel`` and ``time``. ``channel`` has the names of the channels, or their
        numbers. ``time`` is in seconds from the start if the rate is known; its coordinates are
        computed when they are used. The attributes are ``fs`` and ``units``.

    Raises
    ------
    MissingDependencyError
        If xarray is not installed.
    """
    xarray = require("xarray", _EXTRA)
    indexing = require("xarray.core.indexing", _EXTRA)
    backend = _backend_array()(source.as_buffer())
    variable = xarray.Variable(("channel", "time"), indexing.LazilyIndexedArray(backend))
    names = source.channel_names
    coordinates: Any = {"channel": np.arange(len(source)) if names is None else names}
    array = xarray.DataArray(variable, coords=coordinates, name=source.electrode_field)
    if source.fs:
        samples = source.shape[1]
        index = require("xarray.indexes", _EXTRA).RangeIndex.linspace(
            0.0, samples / source.fs, samples, endpoint=False, dim="time"
        )
        array = array.assign_coords(xarray.Coordinates.from_xindex(index))
        array.attrs["fs"] = source.fs
    if source.units:
        array.attrs["units"] = source.units
    return array


def _backend_array() -> Any:
    """Make the class that xarray asks for data; its base class is xarray's."""
    backends: Any = require("xarray.backends", _EXTRA)
    indexing = require("xarray.core.indexing", _EXTRA)

    class SourceArray(backends.BackendArray):
        """A buffer in xarray's terms: it crosses lists, like `Buffer.oindex`."""

        def __init__(self, buffer: Buffer) -> None:
            self.buffer = buffer
            self.shape, self.dtype = buffer.shape, buffer.dtype

        def __getitem__(self, key: Any) -> Any:
            return indexing.explicit_indexing_adapter(
                key, self.shape, indexing.IndexingSupport.OUTER, self._read
            )

        def _read(self, key: tuple[Any, ...]) -> np.ndarray:
            return np.asarray(self.buffer.oindex[key])

    return SourceArray
