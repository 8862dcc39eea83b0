"""Turn what callers have into a buffer."""

from __future__ import annotations

from typing import Any

import numpy as np

from ecogsource.buffers.array import ArrayBuffer
from ecogsource.buffers.base import Buffer


def as_buffer(data: Any) -> Buffer:
    """Give data the contract of a buffer.

    Parameters
    ----------
    data : Buffer, source, h5py.Dataset or array_like
        A buffer is returned as it is; a source gives its active channels x time; an HDF5
        dataset becomes an :class:`~ecogsource.buffers.HDF5Buffer`; anything else is taken as an
        array in memory.

    Returns
    -------
    Buffer
        The same data.
    """
    if isinstance(data, Buffer):
        return data
    if hasattr(data, "as_buffer"):
        return data.as_buffer()
    # h5py is asked for only if it is loaded: data cannot be its dataset otherwise.
    if type(data).__module__.startswith("h5py."):
        from ecogsource.buffers.hdf5 import HDF5Buffer

        return HDF5Buffer(data)
    return ArrayBuffer(np.asanyarray(data))
