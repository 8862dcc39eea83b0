"""Arrays on disk with NumPy indexing: any number of dimensions, no idea of channels.

Everything that reads goes through :meth:`Buffer.read_into`: the caller owns the memory, the
buffer fills it. There are no read modes.
"""

from ecogsource.buffers.array import ArrayBuffer
from ecogsource.buffers.base import Buffer, OuterIndexer
from ecogsource.buffers.binder import BufferBinder
from ecogsource.buffers.convert import as_buffer
from ecogsource.buffers.flat import FlatBuffer
from ecogsource.buffers.scaling import Scale
from ecogsource.buffers.storage.cache import chunk_cache_info, clear_chunk_cache
from ecogsource.buffers.views import ReadOnlyBuffer, SelectedBuffer, TransposedBuffer

from .hdf5 import HDF5Buffer

__all__ = [
    "ArrayBuffer",
    "Buffer",
    "BufferBinder",
    "FlatBuffer",
    "HDF5Buffer",
    "OuterIndexer",
    "ReadOnlyBuffer",
    "Scale",
    "SelectedBuffer",
    "TransposedBuffer",
    "as_buffer",
    "chunk_cache_info",
    "clear_chunk_cache",
]
