"""Every other format that ``neo.rawio`` reads: Plexon, Neuralynx, Spike2, Axon, Micromed, ..."""

from __future__ import annotations

import importlib.util
import threading
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ecogsource.errors import CorruptDataError, FormatError, require

from .info import Events, RecordingInfo, Segment, StreamInfo, damage_is_typed
from .layouts import NeoLayout
from .views import FramesBuffer

__all__ = ["NeoBuffer", "matches", "read_info"]


def matches(path: Path, head: bytes) -> bool:
    """Tell whether neo is there and knows the path."""
    if importlib.util.find_spec("neo") is None:
        return False
    return bool(_candidates(path))


_DIRECTORY_MODES = {"one-dir", "multi-file", "multi-dir"}


def _candidates(path: Path) -> list[Any]:
    """Readers of neo that may know a path, the likeliest first."""
    rawio = require("neo.rawio", "devices")
    found = rawio.get_rawio(str(path), exclusive_rawio=False)
    # Readers of raw data of no known meaning take anything, which is no recognition.
    named = [cls for cls in found if cls.__name__ != "RawBinarySignalRawIO"]
    if path.is_dir():
        return [cls for cls in named if cls.rawmode in _DIRECTORY_MODES]
    return named


def _reader(filename: str, name: str) -> Any:
    rawio = require("neo.rawio", "devices")
    cls = getattr(rawio, name)
    folder = cls.rawmode in _DIRECTORY_MODES and Path(filename).is_dir()
    where = "dirname" if folder or cls.rawmode == "one-dir" else "filename"
    reader = cls(**{where: filename})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reader.parse_header()
    return reader


def read_info(path: str | Path) -> RecordingInfo:
    """Describe a recording that neo reads.

    Parameters
    ----------
    path : path-like
        File or folder.

    Raises
    ------
    MissingDependencyError
        If neo is not installed.
    FormatError
        If neo does not know the file, or has several blocks in it.
    CorruptDataError
        If neo cannot parse it.
    """
    filename = str(path)
    candidates = _candidates(Path(path))
    if not candidates:
        raise FormatError(f"{filename!r} is of no format that neo reads")
    reader = _first_that_parses(filename, candidates)
    blocks = reader.block_count()
    if blocks != 1:
        raise FormatError(f"{filename!r} holds {blocks} blocks; only one is supported")
    count = len(reader.header["signal_streams"])
    streams = tuple(_stream(filename, reader, index) for index in range(count))
    name = type(reader).__name__
    header = {"reader": name, "neo": repr(reader)}
    events = partial(_events, filename, name)
    return RecordingInfo(filename, "neo", streams, header, None, events)


def _first_that_parses(filename: str, candidates: list[Any]) -> Any:
    failures = []
    for cls in candidates:
        try:
            return _reader(filename, cls.__name__)
        except Exception as error:
            # A parser of foreign files may fail in any way; whichever it is, the file is the cause.
            failures.append((cls.__name__, error))
    name, first = failures[0]
    raise CorruptDataError(
        f"neo.rawio.{name} cannot read it: {type(first).__name__}: {first}", filename
    ) from first


def _stream(filename: str, reader: Any, index: int) -> StreamInfo:
    header = reader.header
    name, identifier = (str(header["signal_streams"][index][key]) for key in ("name", "id"))
    channels = header["signal_channels"]
    channels = channels[channels["stream_id"] == identifier]
    fs = float(reader.get_signal_sampling_rate(stream_index=index))
    origin = float(reader.get_signal_t_start(0, 0, index))
    segments = []
    for number in range(reader.segment_count(0)):
        samples = int(reader.get_signal_size(0, number, index))
        start = float(reader.get_signal_t_start(0, number, index))
        layout = NeoLayout(
            filename,
            type(reader).__name__,
            0,
            number,
            index,
            np.dtype(channels["dtype"][0]),
            (len(channels), samples),
        )
        segments.append(Segment(layout, round((start - origin) * fs)))
    return StreamInfo(
        name,
        "electrode",
        fs,
        tuple(str(n) for n in channels["name"]),
        tuple(str(u) for u in channels["units"]),
        tuple(segments),
        channels["gain"].astype(float),
        channels["offset"].astype(float),
        origin,
    )


def _events(filename: str, name: str) -> Events:
    reader = _reader(filename, name)
    tables = []
    for channel, kind in enumerate(reader.header["event_channels"]["name"]):
        for segment in range(reader.segment_count(0)):
            stamps, durations, labels = reader.get_event_timestamps(0, segment, channel)
            times = reader.rescale_event_timestamp(stamps, "float64", channel)
            lengths = None if durations is None else np.asarray(durations, float)
            tables.append(Events(times, [str(x) for x in labels], str(kind), duration=lengths))
    return Events.concatenate(tables)


class NeoBuffer(FramesBuffer):
    """Channels x samples of one stream and segment, as stored numbers that neo hands out.

    Parameters
    ----------
    layout : NeoLayout
        Which stream.
    units_scale : float or (offset, factor), optional
        ``value = (stored + offset) * factor``; arrays as (channels, 1).
    """

    def __init__(self, layout: NeoLayout, units_scale: Any = None) -> None:
        super().__init__(
            layout.shape, layout.dtype, units_scale=units_scale, filename=layout.filename
        )
        self.layout = layout
        self._lock = threading.Lock()
        self._reader: Any = None

    def _frames(self, start: int, stop: int) -> np.ndarray:
        one = self.layout
        with self._lock, damage_is_typed(one.filename):
            if self._reader is None:
                self._reader = _reader(one.filename, one.reader)
            frames = self._reader.get_analogsignal_chunk(
                one.block, one.segment, start, stop, stream_index=one.stream
            )
        return np.asarray(frames)

    def close(self) -> None:
        """Let go of the file; it is opened again when it is read again."""
        with self._lock:
            self._reader = None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.layout, self.units_scale)
