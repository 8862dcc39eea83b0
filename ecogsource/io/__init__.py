"""File formats: headers in, a description of buffers out.

`open_recording` opens what an acquisition system wrote as sources of channels x time, without a
conversion step; `formats` lists what can be opened; `convert` makes one packed file.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "Event": "info",
    "Events": "info",
    "Format": "registry",
    "FORMATS": "registry",
    "Recording": "recording",
    "RecordingInfo": "info",
    "Segment": "info",
    "SegmentSource": "recording",
    "StreamInfo": "info",
    "convert": "convert",
    "describe": "describe",
    "find_format": "registry",
    "formats": "registry",
    "open_recording": "recording",
    "read_info": "recording",
    "register_format": "registry",
}

__all__ = [
    "FORMATS",
    "Event",
    "Events",
    "Format",
    "Recording",
    "RecordingInfo",
    "Segment",
    "SegmentSource",
    "StreamInfo",
    "convert",
    "describe",
    "find_format",
    "formats",
    "open_recording",
    "read_info",
    "register_format",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    # The functions convert and describe share their names with their modules: keep the functions.
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
