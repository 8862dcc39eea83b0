"""BrainVision: a ``.vhdr`` header, binary data, and markers in a ``.vmrk`` file.

Headers are UTF-8 or, from older software, Latin-1. Data are multiplexed (sample by sample) or
vectorized (channel by channel), as integers or floats. A "New Segment" marker whose date is later
than the samples before it account for is a gap.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np

from ecogsource.errors import CorruptDataError, DataPathError, FormatError

from ._text import clean_unit, read_text, whole_frames
from .info import Events, RecordingInfo, Segment, StreamInfo
from .layouts import FlatLayout

__all__ = ["matches", "read_info"]

_FORMATS = {
    "INT_16": "i2",
    "UINT_16": "u2",
    "INT_32": "i4",
    "IEEE_FLOAT_32": "f4",
    "IEEE_FLOAT_64": "f8",
}
_MAGIC = re.compile(r"^Brain ?Vision (Data Exchange|.*) Header", re.IGNORECASE)


def matches(path: Path, head: bytes) -> bool:
    """Tell whether a file is a header, or data or markers that a header belongs to."""
    return path.is_dir() or path.suffix.lower() in {".vhdr", ".ahdr", ".vmrk", ".eeg"}


def read_info(path: str | Path, *, allow_truncated: bool = False) -> RecordingInfo:
    """Describe a BrainVision recording.

    Parameters
    ----------
    path : path-like
        The ``.vhdr``; or the ``.eeg`` or ``.vmrk`` beside it, or their folder.
    allow_truncated : bool
        Accept data that are shorter than the header says.

    Raises
    ------
    DataPathError
        If the header, or the data that it names, are missing.
    FormatError
        If the header is not valid or its data format is not supported.
    CorruptDataError
        If the size of the data contradicts the header.
    """
    path = Path(path)
    header_path = _header_of(path)
    text = read_text(header_path)
    if not _MAGIC.match(text.lstrip("\ufeff")):
        raise FormatError(
            f"{str(header_path)!r} is not a BrainVision header: it starts {text[:40]!r}, "
            "expected 'Brain Vision Data Exchange Header File'"
        )
    sections = _sections(text)
    common = sections.get("common infos", {})
    channels = _channels(sections, header_path)
    data = _named_file(header_path, common, "DataFile")
    layout, warnings = _layout(
        header_path, data, sections, len(channels), allow_truncated=allow_truncated
    )
    fs = 1e6 / _number(common, "SamplingInterval", header_path)
    marker_path = (
        _named_file(header_path, common, "MarkerFile") if common.get("MarkerFile") else None
    )
    markers = _markers(marker_path) if marker_path is not None else []
    segments = _segments(layout, markers, fs)
    names, gains, units = zip(*channels, strict=True)
    stream = StreamInfo("signals", "electrode", fs, names, units, segments, np.asarray(gains))
    events = partial(_events, markers, fs, segments)
    start = next((when for *_, when in markers if when is not None), None)
    return RecordingInfo(str(path), "brainvision", (stream,), sections, start, events, warnings)


def _header_of(path: Path) -> Path:
    if path.is_dir():
        found = sorted(path.glob("*.vhdr"))
        if len(found) != 1:
            raise DataPathError(f"{str(path)!r} holds {len(found)} .vhdr files, expected one")
        return found[0]
    if path.suffix.lower() in {".vhdr", ".ahdr"}:
        return path
    header = path.with_suffix(".vhdr")
    if not header.exists():
        raise DataPathError(f"{str(path)!r} needs its header {header.name!r} beside it")
    return header


def _sections(text: str) -> dict[str, dict[str, str]]:
    sections: dict[str, dict[str, str]] = {}
    current: dict[str, str] = {}
    for line in text.splitlines()[1:]:
        stripped = line.strip()
        section = re.match(r"^\[(.+)\]$", stripped)
        if section:
            name = section[1].lower()
            if name == "comment":
                break
            current = sections.setdefault(name, {})
        elif stripped and not stripped.startswith(";") and "=" in stripped:
            key, _, value = stripped.partition("=")
            current[key.strip()] = value.strip()
    return sections


def _number(fields: dict[str, str], key: str, path: Path) -> float:
    try:
        value = float(fields[key])
    except (KeyError, ValueError) as error:
        raise FormatError(f"{str(path)!r}: {key} is {fields.get(key)!r}, not a number") from error
    if value <= 0:
        raise FormatError(f"{str(path)!r}: {key} is {value}, it must be positive")
    return value


def _channels(sections: dict[str, dict[str, str]], path: Path) -> list[tuple[str, float, str]]:
    """Name, resolution and unit of every channel."""
    count = int(_number(sections.get("common infos", {}), "NumberOfChannels", path))
    listed = sections.get("channel infos", {})
    channels = []
    for number in range(1, count + 1):
        entry = listed.get(f"Ch{number}")
        if entry is None:
            raise FormatError(f"{str(path)!r}: Ch{number} of {count} channels is not described")
        name, _, resolution, unit = (*entry.split(","), "", "", "")[:4]
        try:
            gain = float(resolution) if resolution.strip() else 1.0
        except ValueError as error:
            raise FormatError(
                f"{str(path)!r}: resolution of Ch{number} is {resolution!r}, not a number"
            ) from error
        # A comma in a name is written as \1; microvolts are meant where no unit is given.
        channels.append((name.replace("\\1", ","), gain, clean_unit(unit) or "uV"))
    return channels


def _named_file(header: Path, common: dict[str, str], key: str) -> Path:
    name = common.get(key, "")
    for candidate in (name.replace("$b", header.stem), header.stem + Path(name).suffix):
        file = header.parent / Path(candidate.replace("\\", "/")).name
        if candidate and file.exists():
            return file
    raise DataPathError(f"{str(header)!r} names {key}={name!r}, which is not beside it")


def _layout(
    header: Path,
    data: Path,
    sections: dict[str, dict[str, str]],
    n_channels: int,
    *,
    allow_truncated: bool,
) -> tuple[FlatLayout, tuple[str, ...]]:
    common, binary = sections.get("common infos", {}), sections.get("binary infos", {})
    code = binary.get("BinaryFormat", "INT_16")
    if common.get("DataFormat", "BINARY") != "BINARY" or code not in _FORMATS:
        raise FormatError(
            f"{str(header)!r}: DataFormat={common.get('DataFormat')} with BinaryFormat={code} is "
            f"not supported, expected BINARY and one of {sorted(_FORMATS)}"
        )
    order = "<>"[binary.get("UseBigEndianOrder", "NO").upper() == "YES"]
    dtype = np.dtype(order + _FORMATS[code])
    frames, warnings = whole_frames(data, dtype.itemsize * n_channels)
    stated = int(common.get("DataPoints") or frames)
    if stated != frames and not allow_truncated:
        raise CorruptDataError(
            f"the header promises {stated} samples, the file has {frames}. "
            "Give allow_truncated=True to read what both have",
            data,
            data.stat().st_size,
        )
    layout_order = "C" if common.get("DataOrientation", "").upper() == "VECTORIZED" else "F"
    shape = (n_channels, min(stated, frames) if layout_order == "F" else frames)
    return FlatLayout(str(data), dtype, shape, layout_order), warnings


# Type, description, position, length, channel, date. Writers should code a comma in a description
# as \1, but not all do.
_MARKER = re.compile(
    r"^(?P<type>[^,]*),(?P<text>[^,]*|.*(?=(?:,\s*-?\d+\s*){3}(?:,|$))),"
    r"\s*(?P<position>-?\d+)\s*,\s*(?P<length>-?\d*)\s*(?:,[^,]*(?:,(?P<date>[^,]*))?)?$"
)
_Marker = tuple[str, str, int, int, "datetime | None"]


def _markers(path: Path) -> list[_Marker]:
    """Type, description, position (from 0), length, date."""
    entries = _sections(read_text(path)).get("marker infos", {})
    markers: list[_Marker] = []
    for key, entry in entries.items():
        if not re.match(r"^Mk\d+$", key) or entry.count(",") < 3:
            continue
        parts = _MARKER.match(entry)
        if parts is None:
            raise FormatError(f"{str(path)!r}: {key}={entry!r} has no valid position")
        text = parts["text"].replace("\\1", ",")
        position, length = int(parts["position"]) - 1, int(parts["length"] or 0)
        markers.append((parts["type"], text, position, length, _date(parts["date"] or "")))
    return markers


def _date(text: str) -> datetime | None:
    try:
        return datetime.strptime(text.strip(), "%Y%m%d%H%M%S%f")
    except ValueError:
        return None


def _segments(layout: FlatLayout, markers: list[_Marker], fs: float) -> tuple[Segment, ...]:
    """Cut at "New Segment" markers whose date is later than the samples before allow."""
    begins = [(position, when) for kind, _, position, _, when in markers if kind == "New Segment"]
    origin = begins[0][1] if begins and begins[0][0] == 0 else None
    cuts, shift = [(0, 0)], 0
    for position, when in begins[1:]:
        if origin is None or when is None or not 0 < position < layout.shape[1]:
            continue
        clock = round((when - origin) / timedelta(seconds=1) * fs)
        if clock - position > shift + 1 and layout.order == "F":
            shift = clock - position
            cuts.append((position, clock))
    if len(cuts) == 1:
        return (Segment(layout),)
    frame = layout.dtype.itemsize * layout.shape[0]
    stops = [position for position, _ in cuts[1:]] + [layout.shape[1]]
    return tuple(
        Segment(
            FlatLayout(
                layout.filename, layout.dtype, (layout.shape[0], stop - start), "F", start * frame
            ),
            clock,
        )
        for (start, clock), stop in zip(cuts, stops, strict=True)
    )


def _events(markers: list[_Marker], fs: float, segments: tuple[Segment, ...]) -> Events:
    samples = np.asarray([position for _, _, position, *_ in markers], dtype=np.int64)
    stored = np.cumsum([0, *(s.n_samples for s in segments)])
    part = np.clip(np.searchsorted(stored, samples, side="right") - 1, 0, len(segments) - 1)
    starts = np.asarray([s.start_sample for s in segments], dtype=np.int64)
    samples = samples - stored[part] + starts[part]
    return Events(
        samples / fs,
        [text for _, text, *_ in markers],
        [kind for kind, *_ in markers],
        duration=[length / fs for _, _, _, length, _ in markers],
        sample=samples,
    )
