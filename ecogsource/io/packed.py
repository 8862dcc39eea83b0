"""What a packed file (HDF5 or Zarr) says about the recording that it was made from.

`ecogsource.io.convert` writes this description as attributes, and reading the file gives the same
streams again: names, units, gains, clocks, gaps and events. JSON is cut into parts because HDF5
attributes hold at most 64 kB.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ecogsource.errors import FormatError

from .info import Events, RecordingInfo, Segment, StreamInfo
from .layouts import Hdf5Layout, TimeSliceLayout

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ecogsource.buffers import Buffer

    from .layouts import Layout

__all__ = ["EVENTS_DATASET", "ZarrLayout", "describe_recording", "event_table", "read_packed"]

# File, dataset, type and shape to where the data lie.
_Kind: TypeAlias = "Callable[[str, str, np.dtype, tuple[int, ...]], Layout]"

ATTRIBUTE = "ecogsource_recording"
EVENTS_DATASET = "recorded_events"
PART = 60_000


@dataclass(frozen=True)
class ZarrLayout:
    """An array of a Zarr group, channels x samples.

    Parameters
    ----------
    filename, dataset : str
        The folder of the group and the name of the array.
    dtype : numpy.dtype
        Stored type.
    stored_shape : tuple of int
        Channels and samples.
    """

    filename: str
    dataset: str
    dtype: np.dtype
    stored_shape: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, int]:
        """Channels and samples."""
        rows, columns = self.stored_shape
        return rows, columns

    def open(self, units_scale: Any = None) -> Buffer:
        """Make the buffer."""
        from ecogsource.interop.zarr import ZarrBuffer

        return ZarrBuffer(self.filename, self.dataset, units_scale=units_scale)


def describe_recording(
    info: RecordingInfo, datasets: Mapping[str, str], *, filled: bool = False
) -> dict[str, str]:
    """Make the attributes that describe a packed recording.

    Parameters
    ----------
    info : RecordingInfo
        The original.
    datasets : mapping
        Name of the dataset of every stream that is written.
    filled : bool
        Gaps were filled and values scaled on writing.

    Returns
    -------
    dict
        Attributes of the file.
    """
    events = info.events
    record = {
        "format": info.format,
        "path": info.path,
        "start": None if info.start_datetime is None else info.start_datetime.isoformat(),
        "streams": [
            _stream_record(info.stream(name), dataset, filled=filled)
            for name, dataset in datasets.items()
        ],
        "event_labels": list(dict.fromkeys(events.label.tolist())),
        "event_kinds": list(dict.fromkeys(events.kind.tolist())),
        "header": info.header,
    }
    text = json.dumps(record, default=str, ensure_ascii=True)
    return {f"{ATTRIBUTE}_{i // PART}": text[i : i + PART] for i in range(0, len(text), PART)}


def _stream_record(stream: StreamInfo, dataset: str, *, filled: bool) -> dict[str, Any]:
    scaled = not filled
    return {
        "name": stream.name,
        "dataset": dataset,
        "kind": stream.kind,
        "fs": stream.fs,
        "channel_names": stream.channel_names,
        "channel_units": stream.channel_units,
        "gain": None if stream.gain is None or not scaled else stream.gain.tolist(),
        "offset": None if stream.offset is None or not scaled else stream.offset.tolist(),
        "start_time": stream.start_time,
        "segments": [[s.start_sample, s.n_samples] for s in stream.segments]
        if scaled
        else [[stream.start_sample, stream.segments[-1].stop_sample - stream.start_sample]],
    }


def event_table(info: RecordingInfo) -> np.ndarray:
    """Events as numbers, float64, shape (5, n): time, duration, sample, label, kind.

    Labels and kinds are positions in the lists of the description.
    """
    events = info.events
    labels = {label: i for i, label in enumerate(dict.fromkeys(events.label.tolist()))}
    kinds = {kind: i for i, kind in enumerate(dict.fromkeys(events.kind.tolist()))}
    columns = (
        events.time,
        events.duration,
        events.sample,
        [labels[label] for label in events.label],
        [kinds[kind] for kind in events.kind],
    )
    return np.asarray(columns, dtype=np.float64)


def read_packed(filename: str, file: Any, *, format: str = "hdf5") -> RecordingInfo | None:
    """Describe a file that `ecogsource.io.convert` made; None for any other.

    Parameters
    ----------
    filename : str
        The file, or the folder of a Zarr group.
    file : h5py.File or zarr.Group
        The same, open.
    format : {'hdf5', 'zarr'}
        Which of them it is.

    Raises
    ------
    FormatError
        If the description is there but damaged.
    """
    text = ""
    while (part := file.attrs.get(f"{ATTRIBUTE}_{len(text) // PART}")) is not None:
        text += part
        if len(part) < PART:
            break
    if not text:
        return None
    try:
        record = json.loads(text)
        layout: _Kind = Hdf5Layout if format == "hdf5" else ZarrLayout
        streams = tuple(_stream(layout, filename, file, one) for one in record["streams"])
        start = None if record["start"] is None else datetime.fromisoformat(record["start"])
        lists = record["event_labels"], record["event_kinds"]
        header = {"packed_from": record["path"], **record["header"]}
        original = record["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(
            f"{filename!r}: attributes {ATTRIBUTE}_* do not describe a recording: {error!r}"
        ) from error
    reading = partial(_read_events, layout, filename, *lists)
    events = reading if EVENTS_DATASET in file else None
    header["packed_format"] = original
    return RecordingInfo(filename, format, streams, header, start, events)


def _stream(kind: _Kind, filename: str, file: Any, record: dict[str, Any]) -> StreamInfo:
    item = file[record["dataset"]]
    layout = kind(filename, record["dataset"], np.dtype(item.dtype), tuple(item.shape))
    segments, position = [], 0
    for start, length in record["segments"]:
        part = TimeSliceLayout(layout, position, position + length)
        whole = length == layout.shape[1]
        segments.append(Segment(layout if whole else part, start))
        position += length
    return StreamInfo(
        record["name"],
        record["kind"],
        record["fs"],
        tuple(record["channel_names"]),
        tuple(record["channel_units"]),
        tuple(segments),
        None if record["gain"] is None else np.asarray(record["gain"], float),
        None if record["offset"] is None else np.asarray(record["offset"], float),
        record["start_time"],
    )


def _read_events(kind: _Kind, filename: str, labels: list[str], kinds: list[str]) -> Events:
    layout = kind(filename, EVENTS_DATASET, np.dtype(np.float64), ())
    time, duration, sample, label, sort = layout.open()[...]
    return Events(
        time,
        [labels[int(i)] for i in label],
        [kinds[int(i)] for i in sort],
        duration=duration,
        sample=sample.astype(np.int64),
    )
