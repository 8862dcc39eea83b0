"""Terabytes of electrophysiology recordings as NumPy arrays, in bounded memory.

The public names are imported when they are first used, so that ``import ecogsource`` costs
next to nothing and loads no plotting, table or signal-processing package.
"""

from __future__ import annotations

import importlib.util
import logging
from typing import Any

__version__ = "0.1.0"

# What to do with messages is the application's business.
logging.getLogger(__name__).addHandler(logging.NullHandler())

_ROOMS = {
    "ecogsource.batch": (
        "BatchPipeline",
        "BatchProcessor",
        "BinaryReader",
        "MemoryMap",
        "PipedTransformation",
        "RecordingsReader",
    ),
    "ecogsource.buffers": ("BufferBinder", "FlatBuffer", "HDF5Buffer"),
    "ecogsource.channel_map": ("ChannelMap",),
    "ecogsource.datasets": (
        "Dataset",
        "join_datasets",
        "load_datasets",
        "load_experiment_auto",
        "load_experiment_manual",
    ),
    "ecogsource.datasource": ("MappedSource", "PlainArraySource"),
    "ecogsource.errors": ("EcogSourceError", "MemoryBlowOutError"),
    "ecogsource.expconfig": (
        "StimulatedExperiment",
        "available_sessions",
        "session_conf",
        "session_groups",
        "session_info",
        "session_table",
    ),
    "ecogsource.io": ("Recording", "open_recording"),
    "ecogsource.params": ("OVERRIDE", "load_params"),
    "ecogsource.producers": ("Producer", "producer"),
    "ecogsource.windows": ("DataFile", "WindowDataset"),
}
_HOMES = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = ["__version__", *sorted(_HOMES)]  # noqa: PLE0604  computed from strings above


def __getattr__(name: str) -> Any:
    """Import a room, or the room of a public name, on first use; remember the name here."""
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    if not name.startswith("_") and importlib.util.find_spec(f"{__name__}.{name}"):
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
