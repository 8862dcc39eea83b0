"""NEV files: spikes, digital inputs, comments (specification 2.1 to 3.0)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from ecogsource.errors import CorruptDataError, FormatError
from ecogsource.io.info import Events

__all__ = ["NEV_MAGICS", "NevHeader", "read_events", "read_nev_header"]

NEV_MAGICS = (b"NEURALEV", b"BREVENTS")
_BASIC = struct.Struct("<8sBBHIIII8H32s256sI")
_EXTENDED_BYTES = 32
COMMENT = 0xFFFF
DIGITAL = 0
LAST_ELECTRODE = 2048


@dataclass(frozen=True)
class NevHeader:
    """A parsed NEV header.

    Parameters
    ----------
    path : str
        The file.
    header_bytes, packet_bytes, file_bytes : int
        Sizes.
    resolution : int
        Ticks of the clock per second.
    wide : bool
        Timestamps have 64 bits (specification 3.0).
    fields : dict
        All fields.
    start : datetime or None
        Time of tick 0.
    """

    path: str
    header_bytes: int
    packet_bytes: int
    file_bytes: int
    resolution: int
    wide: bool
    fields: dict[str, Any]
    start: datetime | None


def read_nev_header(path: str | Path) -> NevHeader:
    """Read the header of a NEV file.

    Raises
    ------
    FormatError
        If it is not a NEV file.
    CorruptDataError
        If it ends inside its header.
    """
    from .nsx import parse_clock

    path = Path(path)
    with path.open("rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(0)
        data = stream.read(_BASIC.size)
        if data[:8] not in NEV_MAGICS:
            raise FormatError(
                f"{str(path)!r} is not a NEV file: byte 0 starts {data[:8]!r}, expected "
                f"one of {NEV_MAGICS}"
            )
        if len(data) < _BASIC.size:
            raise CorruptDataError("the file ends inside its header", path, size)
        values = _BASIC.unpack(data)
        _, major, minor, flags, header_bytes, packet_bytes, resolution, waveforms = values[:8]
        count = values[18]
        if _BASIC.size + count * _EXTENDED_BYTES > size:
            raise CorruptDataError(
                f"the header announces {count} extended headers of {_EXTENDED_BYTES} bytes; the "
                f"file has {size} bytes",
                path,
                _BASIC.size - 4,
            )
        extended = stream.read(count * _EXTENDED_BYTES)
    if header_bytes > size or packet_bytes < 8 or resolution == 0:
        raise CorruptDataError(
            f"the header says {header_bytes} bytes of header, packets of {packet_bytes} bytes, "
            f"a clock of {resolution} Hz; the file has {size} bytes",
            path,
            12,
        )
    fields = {
        "version": f"{major}.{minor}",
        "flags": flags,
        "packet_bytes": packet_bytes,
        "timestamp_resolution": resolution,
        "waveform_resolution": waveforms,
        "time_origin": list(values[8:16]),
        "application": values[16].split(b"\0")[0].decode("latin-1"),
        "comment": values[17].split(b"\0")[0].decode("latin-1"),
        "labels": _labels(extended),
    }
    wide = (major, minor) >= (3, 0)
    start = parse_clock(values[8:16])
    return NevHeader(str(path), header_bytes, packet_bytes, size, resolution, wide, fields, start)


def _labels(extended: bytes) -> dict[int, str]:
    """Labels of electrodes, from the NEUEVLBL headers."""
    labels = {}
    for position in range(0, len(extended) - _EXTENDED_BYTES + 1, _EXTENDED_BYTES):
        if extended[position : position + 8] == b"NEUEVLBL":
            number, text = struct.unpack_from("<H16s", extended, position + 8)
            labels[number] = text.split(b"\0")[0].decode("latin-1")
    return labels


def read_events(header: NevHeader) -> Events:
    """Read the packets of a NEV file.

    Parameters
    ----------
    header : NevHeader
        Its header.

    Returns
    -------
    Events
        Kinds ``"spike"`` (label ``electrode/unit``), ``"digital"`` (label: all lines of the digital
        input as one number, at the moment when one of them changed), ``"serial"`` (label: the byte
        that came in), ``"comment"`` and ``"other"``; `sample` counts ticks of the file's clock.
    """
    stamp = 8 if header.wide else 4
    kind = np.dtype(
        {
            "names": ["stamp", "id", "reason", "value", "body"],
            "formats": ["<u8" if header.wide else "<u4", "<u2", "u1", "<u2", "V1"],
            "offsets": [0, stamp, stamp + 2, stamp + 4, stamp + 6],
            "itemsize": header.packet_bytes,
        }
    )
    count = (header.file_bytes - header.header_bytes) // header.packet_bytes
    packets = np.memmap(header.path, kind, "r", header.header_bytes, (count,))
    ticks = packets["stamp"].astype(np.int64)
    ids = packets["id"].astype(np.int64)
    spikes = (ids > 0) & (ids <= LAST_ELECTRODE)
    kinds = np.full(count, "other", dtype=object)
    kinds[spikes], kinds[ids == DIGITAL], kinds[ids == COMMENT] = "spike", "digital", "comment"
    # For spikes the byte after the id is the unit.
    labels = np.array([str(i) for i in ids], dtype=object)
    units = packets["reason"]
    labels[spikes] = [f"{i}/{u}" for i, u in zip(ids[spikes], units[spikes], strict=True)]
    digital = ids == DIGITAL
    # Bit 0 of the reason: the parallel input changed; bit 7: the serial one.
    kinds[digital & (packets["reason"] & 0x81 == 0x80)] = "serial"
    labels[digital] = [str(v) for v in packets["value"][digital]]
    for number in np.flatnonzero(ids == COMMENT):
        labels[number] = _comment(header, int(number), stamp)
    return Events(ticks / header.resolution, labels, kinds, sample=ticks)


def _comment(header: NevHeader, number: int, stamp: int) -> str:
    position = header.header_bytes + number * header.packet_bytes
    with Path(header.path).open("rb") as stream:
        stream.seek(position)
        raw = stream.read(header.packet_bytes)
    # After the id: character set, flag, four bytes of colour or time.
    text = raw[stamp + 8 :]
    if raw[stamp + 2] == 1:
        return text.decode("utf-16-le", "replace").split("\0")[0]
    return text.split(b"\0")[0].decode("latin-1")
