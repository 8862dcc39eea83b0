"""Channels x time: masks, guard, blocks, prefetch, reductions, mirrors, joins."""

from ecogsource.buffers import (
    ArrayBuffer,
    Buffer,
    BufferBinder,
    FlatBuffer,
    HDF5Buffer,
)
from ecogsource.datasource.base import ElectrodeDataSource
from ecogsource.datasource.mapped import MappedSource
from ecogsource.datasource.plain import PlainArraySource
from ecogsource.datasource.tempfiles import TempFilePool
from ecogsource.errors import MemoryBlowOutError

__all__ = [
    "ArrayBuffer",
    "Buffer",
    "BufferBinder",
    "ElectrodeDataSource",
    "FlatBuffer",
    "HDF5Buffer",
    "MappedSource",
    "MemoryBlowOutError",
    "PlainArraySource",
    "TempFilePool",
]
