"""eCube: flat files with an 8-byte timestamp, described by their names.

``Headstages_8_Channels_int16_2021-05-06_11-47-02.bin`` holds 8 channels of int16, sample by
sample. The rate is in the settings XML that the software keeps beside the data.
"""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from ecogsource.errors import DataPathError, FormatError

from ._text import whole_frames
from .info import RecordingInfo, Segment, StreamInfo
from .layouts import FlatLayout

__all__ = ["matches", "read_info"]

HEADER_BYTES = 8
NOMINAL_RATE = 25000.0
_NAME = re.compile(
    r"^(?P<source>[A-Za-z]+)_(?P<n>\d+)_Channels_(?P<type>[a-z_0-9]*?)_(?P<date>\d{4}-\d\d-\d\d.*)$"
)
_TYPES = {"int16": "<i2", "uint16": "<u2", "bool_masked_uint64": "<u8", "uint64": "<u8"}
_KINDS = {"Headstages": "electrode", "AnalogPanel": "adc", "DigitalPanel": "digital"}


def matches(path: Path, head: bytes) -> bool:
    """Tell whether a file's name is one of eCube's."""
    return path.is_dir() or _NAME.match(path.stem) is not None


def read_info(path: str | Path, *, scaled: bool = False, fs: float | None = None) -> RecordingInfo:
    """Describe an eCube file, or a folder of files recorded together.

    Parameters
    ----------
    path : path-like
        The file or folder.
    scaled : bool
        Give volts, with the volts per bit of the settings file, instead of stored numbers.
    fs : float, optional
        Sampling rate in Hz; by default that of the settings file, or 25 kHz without one.

    Raises
    ------
    FormatError
        If a name is not one of eCube's.
    DataPathError
        If volts are asked for and no settings file is there.
    """
    path = Path(path)
    files = sorted(path.glob("*_Channels_*.bin")) if path.is_dir() else [path]
    streams: list[StreamInfo] = []
    warnings: tuple[str, ...] = ()
    header: dict[str, object] = {}
    for file in files:
        stream, notes, fields = _stream(file, scaled=scaled, fs=fs)
        streams.append(stream)
        warnings += notes
        header[stream.name] = fields
    streams.sort(key=lambda s: list(_KINDS.values()).index(s.kind))
    return RecordingInfo(str(path), "ecube", tuple(streams), header, warnings=warnings)


def _stream(
    path: Path, *, scaled: bool, fs: float | None
) -> tuple[StreamInfo, tuple[str, ...], dict[str, object]]:
    match = _NAME.match(path.stem)
    if match is None or match["type"] not in _TYPES:
        raise FormatError(
            f"{path.name!r} is not a name that eCube gives: "
            f"<source>_<n>_Channels_<type>_<date>.bin with type one of {sorted(_TYPES)}"
        )
    dtype = np.dtype(_TYPES[match["type"]])
    # The digital panel packs all its channels into one word.
    n_channels = 1 if dtype.itemsize == 8 else int(match["n"])
    frames, warnings = whole_frames(path, dtype.itemsize * n_channels, HEADER_BYTES)
    rate, volts, names = _settings(path.parent, match["source"])
    if scaled and not volts:
        raise DataPathError(f"no settings*.xml with volts per bit beside {str(path)!r}")
    labels = names[:n_channels] if len(names) >= n_channels else []
    layout = FlatLayout(str(path), dtype, (n_channels, frames), "F", HEADER_BYTES)
    with path.open("rb") as stream:
        stamp = int(np.frombuffer(stream.read(HEADER_BYTES), "<u8")[0])
    info = StreamInfo(
        match["source"],
        _KINDS.get(match["source"], "electrode"),
        fs or rate or NOMINAL_RATE,
        tuple(labels or [str(i) for i in range(n_channels)]),
        ("V" if scaled else "",) * n_channels,
        (Segment(layout),),
        np.asarray(volts[:n_channels]) if scaled else None,
        channel_info={"voltsperbit": tuple(volts[:n_channels])} if volts else {},
    )
    return info, warnings, {"timestamp": stamp, "date": match["date"]}


def _settings(folder: Path, source: str) -> tuple[float | None, list[float], list[str]]:
    """Rate, volts per bit and names of the channels of one source, if a settings file has them."""
    for file in sorted(folder.glob("settings*.xml")):
        try:
            root = ElementTree.parse(file).getroot()
        except ElementTree.ParseError:
            continue
        for processor in root.iter("PROCESSOR"):
            if (processor.findtext("DATA_INFO/SOURCE") or "").strip() != source:
                continue
            channels = processor.findall("CHANNEL_INFO/CHANNEL")
            volts = [float(c.get("voltsperbit", "nan")) for c in channels]
            rate = processor.findtext("DATA_INFO/SAMPLERATE")
            names = [c.get("name", "") for c in channels]
            return (float(rate) if rate else None), volts, names
    return None, [], []
