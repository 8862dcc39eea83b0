"""Batch processing of large recordings, from a laptop to a cluster.

Everything here indexes recordings as observations x channels.
"""

from ecogsource.batch.functions import butterworth, standarize
from ecogsource.batch.pipeline import BatchPipeline, PipedTransformation
from ecogsource.batch.processor import BatchProcessor
from ecogsource.batch.readers import BinaryReader, MemoryMap, RecordingsReader

__all__ = [
    "BatchPipeline",
    "BatchProcessor",
    "BinaryReader",
    "MemoryMap",
    "PipedTransformation",
    "RecordingsReader",
    "butterworth",
    "standarize",
]
