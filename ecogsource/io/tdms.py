"""NI TDMS files, read by npTDMS: one stream per group, rate, length and type of its channels.

npTDMS reads the whole segments that a slice touches, so that scanning a large interleaved file is
slow; `ecogsource.io.convert` makes a packed file once.
"""

from __future__ import annotations

import atexit
import os
import struct
import threading
from collections import OrderedDict
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from ecogsource.buffers import Buffer
from ecogsource.errors import CorruptDataError, DataPathError, FormatError, require
from ecogsource.indexing import Selection

from .info import RecordingInfo, Segment, StreamInfo, damage_is_typed
from .layouts import TdmsLayout

__all__ = ["TdmsBuffer", "read_info"]

# Tag, contents, (version), bytes to the next segment, (bytes to the data).
_LEAD_IN = struct.Struct("4s4s4x8s8x")
_BIG_ENDIAN = 1 << 6


def _open(path: str) -> Any:
    nptdms = require("nptdms", "devices")
    if not Path(path).exists():
        raise DataPathError(f"no such file: {path!r}")
    with Path(path).open("rb") as stream:
        magic = stream.read(4)
    if magic != b"TDSm":
        raise FormatError(f"{path!r} is not a TDMS file: byte 0 starts {magic!r}, expected b'TDSm'")
    try:
        return nptdms.TdmsFile.open(path)
    except (ValueError, KeyError, EOFError, IndexError) as error:
        size = Path(path).stat().st_size
        raise CorruptDataError(f"npTDMS cannot read the file: {error!r}", path, size) from error


def _check_segments(path: str) -> None:
    """Walk from segment to segment; npTDMS reads what is there of the last one without a word."""
    size = Path(path).stat().st_size
    position = 0
    with Path(path).open("rb") as stream:
        while position < size:
            stream.seek(position)
            raw = stream.read(_LEAD_IN.size)
            tag, contents, ahead = _LEAD_IN.unpack(raw.ljust(_LEAD_IN.size, b"\0"))
            # What the segment contains is always told in the little-endian order.
            big = int.from_bytes(contents, "little") & _BIG_ENDIAN
            after = position + _LEAD_IN.size + int.from_bytes(ahead, "big" if big else "little")
            if len(raw) < _LEAD_IN.size or tag != b"TDSm" or after > size:
                raise CorruptDataError(
                    f"the file ends inside the segment that starts at byte {position}. "
                    "Give allow_truncated=True to read what is there",
                    path,
                    position,
                )
            position = after


def read_info(path: str | Path, *, allow_truncated: bool = False) -> RecordingInfo:
    """Describe a TDMS file.

    Parameters
    ----------
    path : path-like
        The file.
    allow_truncated : bool
        Read the whole samples of a file that ends inside a segment.

    Raises
    ------
    MissingDependencyError
        If npTDMS is not installed.
    FormatError
        If it is not a TDMS file, or holds no numbers.
    CorruptDataError
        If npTDMS cannot parse it, or it ends inside a segment.
    """
    filename = str(path)
    with _open(filename) as file:
        if not allow_truncated:
            _check_segments(filename)
        streams = [stream for group in file.groups() for stream in _streams(filename, group)]
        header = {key: _plain(value) for key, value in file.properties.items()}
        header["groups"] = {
            group.name: {channel.name: _properties(channel) for channel in group.channels()}
            for group in file.groups()
        }
        starts = [c.properties.get("wf_start_time") for g in file.groups() for c in g.channels()]
    if not streams:
        raise FormatError(f"{filename!r} holds no channel with numbers")
    streams.sort(key=lambda s: -s.n_channels * s.n_samples)
    start = next((_plain(s) for s in starts if s is not None), None)
    when = start if isinstance(start, datetime) else None
    return RecordingInfo(filename, "tdms", tuple(streams), header, when)


def _plain(value: Any) -> Any:
    if isinstance(value, np.datetime64):
        return value.astype("datetime64[us]").astype(datetime)
    return value.item() if isinstance(value, np.generic) else value


def _properties(channel: Any) -> dict[str, Any]:
    return {key: _plain(value) for key, value in channel.properties.items()}


def _rate(channel: Any) -> float | None:
    step = channel.properties.get("wf_increment")
    return 1 / float(step) if step is not None and float(step) > 0 else None


def _streams(filename: str, group: Any) -> list[StreamInfo]:
    """Streams of one group: channels of equal rate, length and type."""
    kinds: dict[tuple[float | None, int, str], list[Any]] = {}
    for channel in group.channels():
        dtype = np.dtype(channel.dtype)
        if dtype.kind in "iuf" and len(channel):
            kinds.setdefault((_rate(channel), len(channel), dtype.str), []).append(channel)
    streams = []
    for (fs, length, code), channels in kinds.items():
        name = " ".join([group.name, *_differences((fs, length, code), list(kinds))])
        names = tuple(channel.name for channel in channels)
        units = tuple(str(c.properties.get("unit_string", "") or "") for c in channels)
        layout = TdmsLayout(filename, group.name, names, np.dtype(code), length)
        offset = float(channels[0].properties.get("wf_start_offset", 0.0) or 0.0)
        streams.append(
            StreamInfo(name, "signal", fs, names, units, (Segment(layout),), start_time=offset)
        )
    return streams


def _differences(
    kind: tuple[float | None, int, str], kinds: list[tuple[float | None, int, str]]
) -> list[str]:
    """Name what tells one kind of channel from the others of its group."""
    fs, length, code = kind
    words = ["no rate" if fs is None else f"{fs:g} Hz", f"{length} samples", np.dtype(code).name]
    return [word for i, word in enumerate(words) if len({other[i] for other in kinds}) > 1]


class _Files:
    """A few open TDMS files; parsing one again takes long, and keeping all open takes handles."""

    def __init__(self, limit: int = 8) -> None:
        self.limit = limit
        self.lock = threading.RLock()
        self._open: OrderedDict[tuple[int, str], Any] = OrderedDict()

    def get(self, path: str) -> Any:
        """Return an open file of this process; call and use with `lock` held."""
        # A file that a parent process opened has a position that both would move.
        key = os.getpid(), path
        if key not in self._open:
            self._open[key] = _open(path)
        self._open.move_to_end(key)
        while len(self._open) > self.limit:
            self._open.popitem(last=False)[1].close()
        return self._open[key]

    def forget(self, path: str) -> None:
        """Close a file."""
        with self.lock:
            file = self._open.pop((os.getpid(), path), None)
            if file is not None:
                file.close()

    def close(self) -> None:
        """Close all files."""
        with self.lock:
            while self._open:
                self._open.popitem()[1].close()


FILES = _Files()
atexit.register(FILES.close)


class TdmsBuffer(Buffer):
    """Channels x samples of a TDMS file.

    Parameters
    ----------
    layout : TdmsLayout
        File, group and channels.
    units_scale : float or (offset, factor), optional
        A further scale over that of the file.
    scaled : bool
        Apply the scales that the file itself defines.
    """

    def __init__(self, layout: TdmsLayout, units_scale: Any = None, *, scaled: bool = True) -> None:
        self.layout, self.scaled = layout, scaled
        dtype = layout.dtype if scaled else self._stored_dtype()
        super().__init__(layout.shape, dtype, units_scale=units_scale, filename=layout.filename)

    def _read_channel(self, number: int, start: int, stop: int) -> np.ndarray:
        layout = self.layout
        with FILES.lock, damage_is_typed(layout.filename):
            channel = FILES.get(layout.filename)[layout.group][layout.channels[number]]
            values = channel.read_data(start, stop - start, scaled=self.scaled)
        # Stored DAQmx data come as a dictionary with one entry per scaler.
        return np.asarray(next(iter(values.values())) if isinstance(values, dict) else values)

    def _stored_dtype(self) -> np.dtype:
        return self._read_channel(0, 0, 1).dtype

    def _read_into(self, selection: Selection, out: np.ndarray) -> None:
        channels, times = selection.selectors
        if isinstance(times, int):
            out, times = out[..., None], range(times, times + 1)
        if isinstance(channels, int):
            out, channels = out[None], range(channels, channels + 1)
        positions = np.asarray(times, dtype=np.int64)
        start, stop = int(positions.min()), int(positions.max()) + 1
        scale = None if self._scale is None else self._scale.select((channels, times))
        values = np.empty(out.shape, self.map_dtype)
        for row, channel in enumerate(np.asarray(channels).tolist()):
            values[row] = self._read_channel(channel, start, stop)[positions - start]
        if scale is None:
            np.copyto(out, values, casting="same_kind")
        else:
            scale.convert(values, out)

    def _temporary_bytes(self, selection: Selection) -> int:
        times = selection.selectors[1]
        if isinstance(times, int):
            return 0
        positions = np.asarray(times)
        span = int(positions.max()) - int(positions.min()) + 1 if len(positions) else 0
        return selection.size * self.map_dtype.itemsize + 2 * span * self.map_dtype.itemsize

    @property
    def raw(self) -> Buffer:
        """The numbers as stored, without the file's own scales."""
        return TdmsBuffer(self.layout, scaled=False) if self.scaled else self

    def close(self) -> None:
        """Let go of the file; it is opened again when it is read again."""
        FILES.forget(self.layout.filename)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.layout, self.units_scale, self.scaled)


def _reopen(layout: TdmsLayout, units_scale: Any, scaled: bool) -> TdmsBuffer:  # noqa: FBT001
    return TdmsBuffer(layout, units_scale, scaled=scaled)
