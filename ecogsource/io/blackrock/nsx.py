"""NSx files of specification 2.1 (NEURALSG), 2.2/2.3 (NEURALCD) and 3.0 (BRSMPGRP).

Field orders are those of Blackrock's "File Specification Rev." documents. From 2.2 on data come in
packets, and a pause of the recording starts a new packet. With a clock in nanoseconds (PTP) every
packet holds one sample; the clock ticks that pass between samples are then not exactly constant.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ecogsource.errors import CorruptDataError, DataPathError, FormatError
from ecogsource.io._text import whole_frames
from ecogsource.io.info import Events, RecordingInfo, Segment, StreamInfo
from ecogsource.io.layouts import BoundLayout, FlatLayout, Layout, RecordLayout

from .nev import NEV_MAGICS, read_events, read_nev_header

__all__ = ["read_info"]

RAW_RATE = 30000
_BASIC = struct.Struct("<8sBBI16s256sII8HI")
_CHANNEL = struct.Struct("<2sH16sBBhhhh16sIIHIIH")


@dataclass(frozen=True)
class _NsxHeader:
    path: str
    magic: bytes
    version: tuple[int, int]
    header_bytes: int
    file_bytes: int
    period: int
    resolution: int
    names: tuple[str, ...]
    fields: dict[str, Any]
    start: datetime | None = None

    @property
    def frame_bytes(self) -> int:
        return 2 * len(self.names)

    @property
    def fs(self) -> float:
        return RAW_RATE / self.period


def read_info(path: str | Path, *, allow_truncated: bool = False) -> RecordingInfo:
    """Describe an NSx or NEV file, or a folder of files with one base name.

    Each NSx file is a stream. The NEV file beside it gives the events.

    Parameters
    ----------
    path : path-like
        ``*.ns1`` to ``*.ns6``, ``*.nev``, or a folder.
    allow_truncated : bool
        Read the whole samples of a file that ends inside a data packet.

    Raises
    ------
    DataPathError, FormatError, CorruptDataError
        If a file is missing, is not of this format, or is damaged.
    """
    path = Path(path)
    nsx, nev = _files(path)
    headers = [_read_header(file) for file in nsx]
    streams = tuple(_stream(h, allow_truncated=allow_truncated) for h in reversed(headers))
    fields: dict[str, Any] = {Path(h.path).suffix[1:]: h.fields for h in headers}
    start = next((h.start for h in headers if h.start is not None), None)
    if nev is not None:
        nev_header = read_nev_header(nev)
        fields["nev"] = nev_header.fields
        start = start or nev_header.start
    events = None if nev is None else partial(_events, nev)
    warnings = tuple(text for h in headers for text in _stray_bytes(h))
    return RecordingInfo(str(path), "blackrock", streams, fields, start, events, warnings)


def _stray_bytes(header: _NsxHeader) -> tuple[str, ...]:
    """Say what is left over in files of specification 2.1, which do not count their samples."""
    if header.version != (2, 1):
        return ()
    return whole_frames(Path(header.path), header.frame_bytes, header.header_bytes)[1]


def _events(path: Path) -> Events:
    return read_events(read_nev_header(path))


def _files(path: Path) -> tuple[list[Path], Path | None]:
    if path.is_dir():
        nsx, nevs = sorted(path.glob("*.ns[1-6]")), sorted(path.glob("*.nev"))
        bases = {file.stem for file in [*nsx, *nevs]}
        if len(bases) != 1:
            raise DataPathError(
                f"{str(path)!r} holds {len(bases)} Blackrock recordings {sorted(bases)}; "
                "give the path of one file"
            )
        return nsx, nevs[0] if nevs else None
    with path.open("rb") as stream:
        magic = stream.read(8)
    if magic in NEV_MAGICS:
        return [], path
    nev = path.with_suffix(".nev")
    return [path], nev if nev.exists() else None


def _read_header(path: Path) -> _NsxHeader:
    with path.open("rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(0)
        data = stream.read(min(size, 2**20))
    magic = data[:8]
    try:
        if magic == b"NEURALSG":
            return _parse_21(data, str(path), size)
        if magic in {b"NEURALCD", b"BRSMPGRP"}:
            return _parse_22(data, str(path), size)
    except struct.error as error:
        raise CorruptDataError("the file ends inside its header", path, size) from error
    raise FormatError(
        f"{str(path)!r} is not an NSx file: byte 0 starts {magic!r}, expected b'NEURALSG', "
        "b'NEURALCD' or b'BRSMPGRP'"
    )


def _text(raw: bytes) -> str:
    return raw.split(b"\0")[0].decode("latin-1").strip()


def _parse_21(data: bytes, path: str, size: int) -> _NsxHeader:
    _, label, period, count = struct.unpack_from("<8s16sII", data)
    ids = struct.unpack_from(f"<{count}I", data, 32)
    if period == 0 or count == 0:
        raise FormatError(f"{path!r}: period {period} (byte 24), {count} channels (byte 28)")
    fields = {"label": _text(label), "period": period, "electrode_ids": list(ids)}
    # Electrodes 129 to 144 are the analogue inputs of the front panel.
    names = tuple(f"ainp{i - 128}" if i > 128 else f"chan{i}" for i in ids)
    header = 32 + 4 * count
    return _NsxHeader(
        path, data[:8], (2, 1), header, size, period, RAW_RATE, names, {**fields, "version": "2.1"}
    )


def _parse_22(data: bytes, path: str, size: int) -> _NsxHeader:
    values = _BASIC.unpack_from(data)
    _, major, minor, header_bytes, label, comment, period, resolution = values[:8]
    clock, count = values[8:16], values[16]
    if (major, minor) not in {(2, 2), (2, 3), (3, 0)}:
        raise FormatError(
            f"{path!r}: version {major}.{minor} (byte 8) is not supported, expected 2.2, 2.3 or 3.0"
        )
    expected = _BASIC.size + count * _CHANNEL.size
    if header_bytes != expected or period == 0 or resolution == 0:
        raise FormatError(
            f"{path!r}: the header says it has {header_bytes} bytes (byte 10), {count} channels "
            f"make {expected}; period {period}, clock {resolution} Hz"
        )
    channels = [_channel(data, _BASIC.size + i * _CHANNEL.size, path) for i in range(count)]
    fields = {
        "version": f"{major}.{minor}",
        "label": _text(label),
        "comment": _text(comment),
        "period": period,
        "timestamp_resolution": resolution,
        "time_origin": list(clock),
        "channels": channels,
    }
    return _NsxHeader(
        path,
        data[:8],
        (major, minor),
        header_bytes,
        size,
        period,
        resolution,
        tuple(channel["label"] for channel in channels),
        fields,
        parse_clock(clock),
    )


def parse_clock(clock: tuple[int, ...]) -> datetime | None:
    """Read a Windows SYSTEMTIME: year, month, weekday, day, hour, minute, second, ms."""
    year, month, _, day, hour, minute, second, millisecond = clock
    try:
        return datetime(year, month, day, hour, minute, second, millisecond * 1000)
    except ValueError:
        return None


def _channel(data: bytes, position: int, path: str) -> dict[str, Any]:
    values = _CHANNEL.unpack_from(data, position)
    if values[0] != b"CC":
        raise FormatError(
            f"{path!r}: extended header at byte {position} starts {values[0]!r}, expected b'CC'"
        )
    names = (
        "electrode_id label connector pin min_digital max_digital min_analog max_analog units "
        "high_corner high_order high_type low_corner low_order low_type"
    )
    fields = dict(zip(names.split(), values[1:], strict=True))
    fields["label"], fields["units"] = _text(fields["label"]), _text(fields["units"])
    return fields


def _stream(header: _NsxHeader, *, allow_truncated: bool) -> StreamInfo:
    channels = header.fields.get("channels")
    gain = offset = None
    units: tuple[str, ...] = ("",) * len(header.names)
    if channels:
        low_d, high_d, low_a, high_a = (
            np.asarray([c[name] for c in channels], float)
            for name in ("min_digital", "max_digital", "min_analog", "max_analog")
        )
        usable = (high_d != low_d) & (high_a != low_a)
        gain = np.ones(len(channels))
        np.divide(high_a - low_a, high_d - low_d, out=gain, where=usable)
        offset = np.where(usable, low_a - low_d * gain, 0.0)
        units = tuple(c["units"] for c in channels)
    segments, start = _segments(header, allow_truncated=allow_truncated)
    return StreamInfo(
        Path(header.path).suffix[1:],
        "electrode",
        header.fs,
        header.names,
        units,
        tuple(segments),
        gain,
        offset,
        start,
    )


def _segments(header: _NsxHeader, *, allow_truncated: bool) -> tuple[list[Segment], float]:
    """Stretches without pauses, and the time in seconds of sample number 0."""
    if header.version == (2, 1):
        frames, _ = whole_frames(Path(header.path), header.frame_bytes, header.header_bytes)
        return [Segment(_flat(header, header.header_bytes, frames))], 0.0
    step = header.period * header.resolution / RAW_RATE
    packet = struct.Struct("<BQI" if header.version >= (3, 0) else "<BII")
    single = _single_samples(header, packet)
    if single is not None:
        return _timed_segments(header, packet, *single, step, allow_truncated=allow_truncated)
    segments: list[Segment] = []
    for position, stamp, count in _packets(header, packet, allow_truncated=allow_truncated):
        layout = _flat(header, position, count)
        start = round(stamp / step)
        if segments and segments[-1].stop_sample == start:
            layouts = [segments[-1].layout, layout]
            start = segments.pop().start_sample
            segments.append(Segment(BoundLayout(tuple(layouts), 1), start))
        else:
            segments.append(Segment(layout, start))
    return segments or [Segment(_flat(header, header.header_bytes, 0))], 0.0


def _flat(header: _NsxHeader, position: int, frames: int) -> Layout:
    shape = (len(header.names), frames)
    return FlatLayout(header.path, np.dtype("<i2"), shape, "F", position)


def _packets(
    header: _NsxHeader, packet: struct.Struct, *, allow_truncated: bool
) -> Iterator[tuple[int, int, int]]:
    """Data packets: byte of the first sample, timestamp, number of samples."""
    position = header.header_bytes
    with Path(header.path).open("rb") as stream:
        while position < header.file_bytes:
            stream.seek(position)
            raw = stream.read(packet.size)
            kind, stamp, count = packet.unpack(raw) if len(raw) == packet.size else (1, 0, -1)
            if kind != 1:
                raise CorruptDataError(
                    f"a data packet starts with {kind}, expected 1", header.path, position
                )
            start = position + packet.size
            room = (header.file_bytes - start) // header.frame_bytes
            if count == 0 and stream.read(1) not in (b"", b"\1"):
                count = -1  # the recorder did not come to writing how many follow
            if count < 0 or count > room:
                if not allow_truncated:
                    raise CorruptDataError(
                        f"the file ends inside a data packet of {count if count > 0 else '?'} "
                        f"samples; {max(room, 0)} whole samples are there. Give "
                        "allow_truncated=True to read them",
                        header.path,
                        header.file_bytes,
                    )
                count = max(room, 0)
            if count:
                yield start, stamp, count
            if start + count * header.frame_bytes >= header.file_bytes or count < 0:
                return
            position = start + count * header.frame_bytes


def _single_samples(header: _NsxHeader, packet: struct.Struct) -> tuple[int, int] | None:
    """Number and size of packets if each holds one sample, as with a PTP clock."""
    size = packet.size + header.frame_bytes
    room = header.file_bytes - header.header_bytes
    if header.version < (3, 0) or room < 2 * size:
        return None
    with Path(header.path).open("rb") as stream:
        stream.seek(header.header_bytes)
        heads = [packet.unpack(stream.read(size)[: packet.size]) for _ in range(2)]
    if any((kind, count) != (1, 1) for kind, _, count in heads):
        return None
    return room // size, size


def _timed_segments(
    header: _NsxHeader,
    packet: struct.Struct,
    n_packets: int,
    size: int,
    step: float,
    *,
    allow_truncated: bool,
) -> tuple[list[Segment], float]:
    rest = (header.file_bytes - header.header_bytes) % size
    if rest and not allow_truncated:
        raise CorruptDataError(
            f"the file ends inside a data packet: {n_packets} whole packets and {rest} bytes "
            "more. Give allow_truncated=True to read the whole packets",
            header.path,
            header.file_bytes - rest,
        )
    kind = np.dtype({"names": ["stamp"], "formats": ["<u8"], "offsets": [1], "itemsize": size})
    stamps = np.memmap(header.path, kind, "r", header.header_bytes, (n_packets,))["stamp"]
    offsets = tuple(packet.size + 2 * i for i in range(len(header.names)))
    whole = RecordLayout(
        header.path, np.dtype("<i2"), n_packets, size, header.header_bytes, offsets, 1, 2
    )
    # The clock jitters; only a jump of more than half a sample is a pause.
    jumps = np.diff(stamps.astype(np.int64))
    edges = [0, *(np.flatnonzero(abs(jumps - step) > step / 2) + 1).tolist(), n_packets]
    segments: list[Segment] = []
    for start, stop in pairwise(edges):
        first = round((int(stamps[start]) - int(stamps[0])) / step)
        if segments:
            first = max(first, segments[-1].stop_sample + 1)
        segments.append(Segment(whole.records(start, stop), first))
    # Events count the same ticks, so that both are on one clock.
    return segments, int(stamps[0]) / header.resolution
