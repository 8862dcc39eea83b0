"""Neuroscope: flat ``.dat`` (wide band) or ``.eeg``/``.lfp`` files described by an ``.xml``."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from ecogsource.errors import DataPathError, FormatError

from ._text import whole_frames
from .info import RecordingInfo, Segment, StreamInfo
from .layouts import FlatLayout

__all__ = ["matches", "read_info"]

_DATA = (".dat", ".eeg", ".lfp")


def _xml_of(path: Path) -> Path:
    return path if path.suffix == ".xml" else path.with_suffix(".xml")


def _is_ours(xml: Path) -> bool:
    return xml.exists() and b"<acquisitionSystem" in xml.read_bytes()


def matches(path: Path, head: bytes) -> bool:
    """Tell whether an ``.xml`` with an ``acquisitionSystem`` lies beside the file, or inside."""
    if path.is_dir():
        return any(_is_ours(xml) for xml in path.glob("*.xml"))
    return _is_ours(_xml_of(path))


def read_info(path: str | Path) -> RecordingInfo:
    """Describe a Neuroscope recording.

    Parameters
    ----------
    path : path-like
        The data, or the ``.xml`` or its folder: then every data file of its name is a stream.

    Raises
    ------
    DataPathError
        If the ``.xml`` or all data are missing.
    FormatError
        If the ``.xml`` lacks what is needed, or a folder holds several.
    """
    path = Path(path)
    if path.is_dir():
        path = _only_xml(path)
    xml = _xml_of(path)
    fields = _parse(xml)
    wanted = _DATA if path.suffix == ".xml" else (path.suffix,)
    files = [file for s in wanted if (file := path.with_suffix(s)).exists()]
    if not files:
        raise DataPathError(f"no data beside {str(xml)!r}: looked for {', '.join(wanted)}")
    streams: list[StreamInfo] = []
    warnings: tuple[str, ...] = ()
    for file in files:
        stream, notes = _stream(file, fields)
        streams.append(stream)
        warnings += notes
    return RecordingInfo(str(path), "neuroscope", tuple(streams), fields, warnings=warnings)


def _only_xml(folder: Path) -> Path:
    found = sorted(xml for xml in folder.glob("*.xml") if _is_ours(xml))
    if len(found) != 1:
        names = [xml.name for xml in found]
        raise FormatError(f"{str(folder)!r} holds {len(found)} recordings {names}; give one file")
    return found[0]


def _parse(xml: Path) -> dict[str, Any]:
    try:
        root = ElementTree.parse(xml).getroot()
    except OSError as error:
        raise DataPathError(f"cannot open {str(xml)!r}: {error.strerror}") from error
    except ElementTree.ParseError as error:
        raise FormatError(f"{str(xml)!r} is not valid XML: {error}") from error
    fields: dict[str, Any] = {}
    for name in ("nBits", "nChannels", "samplingRate", "voltageRange", "amplification", "offset"):
        text = root.findtext(f"acquisitionSystem/{name}")
        if text is None and name != "offset":
            raise FormatError(f"{str(xml)!r} has no acquisitionSystem/{name}")
        fields[name] = float(text or 0)
    fields["lfpSamplingRate"] = float(root.findtext("fieldPotentials/lfpSamplingRate") or 0)
    fields["groups"] = [
        [int(channel.text or 0) for channel in group.findall("channel")]
        for group in root.findall("anatomicalDescription/channelGroups/group")
    ]
    if fields["nBits"] not in (12, 14, 16, 32) or fields["nChannels"] < 1:
        raise FormatError(
            f"{str(xml)!r}: {fields['nBits']:g} bits and {fields['nChannels']:g} channels; "
            "12, 14, 16 or 32 bits and at least one channel are supported"
        )
    return fields


def _stream(path: Path, fields: dict[str, Any]) -> tuple[StreamInfo, tuple[str, ...]]:
    n, bits = int(fields["nChannels"]), int(fields["nBits"])
    dtype = np.dtype("<i4" if bits == 32 else "<i2")
    frames, warnings = whole_frames(path, dtype.itemsize * n)
    low = path.suffix in {".eeg", ".lfp"} and fields["lfpSamplingRate"]
    gain = None
    if fields["voltageRange"] and fields["amplification"]:
        # Range in volts; millivolts are customary here.
        gain = np.full(n, 1000 * fields["voltageRange"] / 2**bits / fields["amplification"])
    group = {c: i for i, members in enumerate(fields["groups"]) for c in members}
    stream = StreamInfo(
        path.suffix[1:],
        "electrode",
        fields["lfpSamplingRate"] if low else fields["samplingRate"],
        tuple(str(i) for i in range(n)),
        ("" if gain is None else "mV",) * n,
        (Segment(FlatLayout(str(path), dtype, (n, frames))),),
        gain,
        channel_info={"group": tuple(group.get(i) for i in range(n))},
    )
    return stream, warnings
