"""Arrays on disk with NumPy indexing: any number of dimensions, no idea of channels.

Everything that reads goes through :meth:`Buffer.read_into`: the caller owns the memory, the
buffer fills it. There are no read modes.
"""

from .array import ArrayBuffer
from .base import Buffer, OuterIndexer
from .binder import BufferBinder
from .flat import FlatBuffer
from .hdf5 import HDF5Buffer
from .scaling import Scale
from .storage.cache import chunk_cache_info, clear_chunk_cache
from .views import TransposedBuffer

__all__ = [
    "ArrayBuffer",
    "Buffer",
    "BufferBinder",
    "FlatBuffer",
    "HDF5Buffer",
    "OuterIndexer",
    "Scale",
    "TransposedBuffer",
    "chunk_cache_info",
    "clear_chunk_cache",
]
