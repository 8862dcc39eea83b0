"""aolab recordings: ``<recording>.<drive>.<type>.dat`` and ``<recording>.experiment.json``.

Data are flat, sample by sample, one channel per electrode of the drive: ``raw`` is uint16 at the
rate of acquisition, ``lfp`` and ``clfp`` are float32 at 1 kHz, or at n Hz with ``_ds<n>``.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from ecogsource.errors import DataPathError, FormatError

from ._text import read_text, whole_frames
from .info import RecordingInfo, Segment, StreamInfo
from .layouts import FlatLayout
from .order import order_warnings

__all__ = ["matches", "read_info"]

_NAME = re.compile(
    r"^(?P<rec>.+?)\.(?P<drive>[^.]+)\.(?P<type>raw|c?lfp(?:_ds(?P<rate>\d+))?)\.dat$"
)
LFP_RATE = 1000.0
_ORDERS = {"samples": "F", "channels": "C"}


def matches(path: Path, head: bytes) -> bool:
    """Tell whether a file has such a name and its JSON beside it."""
    match = _NAME.match(path.name)
    return match is not None and _json_of(path, match["rec"]).exists()


def _json_of(path: Path, recording: str) -> Path:
    return path.parent / f"{recording}.experiment.json"


def read_info(path: str | Path, *, order: str | None = None) -> RecordingInfo:
    """Describe one data file.

    Parameters
    ----------
    path : path-like
        The file.
    order : {'samples', 'channels'}
        Whether the file goes sample by sample, as it should, or channel by channel, as some
        published files do. Where nobody says, a warning tells if it looks like the latter.

    Raises
    ------
    DataPathError
        If the JSON is missing.
    FormatError
        If the file's name or the JSON is not as expected.
    """
    path = Path(path)
    if order not in (None, *_ORDERS):
        raise FormatError(f"order must be 'samples' or 'channels', got {order!r}")
    match = _NAME.match(path.name)
    if match is None:
        raise FormatError(f"{path.name!r} is not <recording>.<drive>.<raw|lfp|clfp[_dsN]>.dat")
    source = _json_of(path, match["rec"])
    if not source.exists():
        raise DataPathError(f"{str(path)!r} needs {source.name!r} beside it")
    try:
        experiment: dict[str, Any] = json.loads(read_text(source))
        hardware = experiment["hardware"]
        drives = {drive["name"]: drive for drive in hardware["microdrive"]}
        acquisition_rate = hardware.get("acquisition", {}).get("samplingrate")
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{str(source)!r} lists no hardware.microdrive: {error!r}") from error
    drive = drives.get(match["drive"])
    if drive is None:
        raise FormatError(f"{str(source)!r} has no drive {match['drive']!r}: {sorted(drives)}")
    raw = match["type"] == "raw"
    fs = acquisition_rate if raw else float(match["rate"] or LFP_RATE)
    dtype = np.dtype("<u2" if raw else "<f4")
    electrodes = drive["electrodes"]
    n = len(electrodes)
    frames, warnings = whole_frames(path, n * dtype.itemsize)
    layout = FlatLayout(str(path), dtype, (n, frames), _ORDERS[order or "samples"])
    if order is None:
        warnings += order_warnings(layout)
    names = [str(electrode.get("label", i)) for i, electrode in enumerate(electrodes)]
    places = [electrode.get("position", {}) for electrode in electrodes]
    known = all("row" in place and "col" in place for place in places)
    stream = StreamInfo(
        match["type"],
        "electrode",
        None if fs is None else float(fs),
        tuple(names),
        ("",) * n,
        (Segment(layout),),
        channel_info={k: tuple(p[k] for p in places) for k in ("row", "col")} if known else {},
    )
    return RecordingInfo(str(path), "aolab", (stream,), experiment, warnings=warnings)
