"""Channels x time: masks, guard, blocks, prefetch, reductions, mirrors, joins."""

from ecogsource.buffers import (
    ArrayBuffer,
    Buffer,
    BufferBinder,
    FlatBuffer,
    HDF5Buffer,
)
from ecogsource.datasource.advise import LayoutAdvice, advise_layout
from ecogsource.datasource.base import ElectrodeDataSource
from ecogsource.datasource.mapped import MappedSource
from ecogsource.datasource.plain import PlainArraySource
from ecogsource.datasource.resample import downsample_to_file, scale_edges
from ecogsource.datasource.tempfiles import TempFilePool
from ecogsource.datasource.verify import verify_file
from ecogsource.errors import MemoryBlowOutError

__all__ = [
    "ArrayBuffer",
    "Buffer",
    "BufferBinder",
    "ElectrodeDataSource",
    "FlatBuffer",
    "HDF5Buffer",
    "LayoutAdvice",
    "MappedSource",
    "MemoryBlowOutError",
    "PlainArraySource",
    "TempFilePool",
    "advise_layout",
    "downsample_to_file",
    "scale_edges",
    "verify_file",
]
