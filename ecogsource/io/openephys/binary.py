"""Open Ephys binary format.

``structure.oebin`` (JSON) lists the streams of one recording; each stream is a folder with
``continuous.dat`` (int16, sample by sample) and the sample number of every sample in
``sample_numbers.npy`` (``timestamps.npy`` before GUI 0.6). Every start of recording within an
experiment makes a new folder ``recordingN``: those are the segments here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ecogsource.errors import CorruptDataError, DataPathError, FormatError
from ecogsource.io.info import Events, RecordingInfo, Segment, StreamInfo
from ecogsource.io.layouts import ChannelsLayout, FlatLayout, Layout

__all__ = ["matches", "read_info"]

_INDEX = "structure.oebin"


def read_info(
    path: str | Path,
    *,
    node: str | int | None = None,
    experiment: int | None = None,
    recording: int | None = None,
    allow_truncated: bool = False,
) -> RecordingInfo:
    """Describe an Open Ephys binary recording.

    Parameters
    ----------
    path : path-like
        ``structure.oebin``, its folder, any folder above it, or a ``continuous.dat`` below it:
        then its stream comes first.
    node : str or int, optional
        Name of the record node if there are several, as ``"Record Node 101"``, or its number.
    experiment, recording : int, optional
        Numbers in the names of the folders; all recordings of one experiment if not given.
    allow_truncated : bool
        Accept data files that are shorter than their sample numbers.

    Raises
    ------
    DataPathError
        If a file is missing, or nothing fits `node`, `experiment` and `recording`.
    FormatError
        If several nodes or experiments are there and none was chosen, or an index is not valid.
    CorruptDataError
        If data and sample numbers differ in length.
    """
    path = Path(path)
    indices = _choose(_index_above(path) or path, node, experiment, recording)
    contents = [_load_index(index) for index in indices]
    streams: dict[str, list[StreamInfo]] = {}
    for index, content in zip(indices, contents, strict=True):
        for entry in content.get("continuous", []):
            for stream in _streams(index.parent, entry, allow_truncated=allow_truncated):
                streams.setdefault(stream.name, []).append(stream)
    joined = [_join(parts) for parts in streams.values()]
    wanted = path.parent.name if path.suffix == ".dat" else None
    joined.sort(key=lambda s: (s.name != wanted, s.kind != "electrode"))
    header = {key: value for key, value in contents[0].items() if key != "continuous"}
    header["recordings"] = [str(index.parent) for index in indices]
    events = partial(_read_events, [(i.parent, c) for i, c in zip(indices, contents, strict=True)])
    return RecordingInfo(str(path), "openephys_binary", tuple(joined), header, None, events)


def matches(path: Path, head: bytes) -> bool:
    """Tell whether a file is an index, or data below one; folders are found by their index."""
    return path.is_dir() or path.suffix == ".oebin" or _index_above(path) is not None


def _index_above(path: Path) -> Path | None:
    """Index of ``<recording>/continuous/<stream>/continuous.dat``."""
    if path.name != "continuous.dat" or len(path.parents) < 3:
        return None
    index = path.parents[2] / _INDEX
    return index if index.exists() else None


def _number(name: str) -> int:
    found = re.search(r"(\d+)$", name)
    return int(found[1]) if found else 0


def _choose(
    path: Path, node: str | int | None, experiment: int | None, recording: int | None
) -> list[Path]:
    """The indices of one experiment of one node, in the order of their recordings."""
    if path.is_file():
        return [path]
    found = sorted(path.rglob(_INDEX), key=lambda p: _number(p.parent.name))
    if node is not None:
        name = f"Record Node {node}" if isinstance(node, int) else node
        found = [p for p in found if name in p.parts]
    if experiment is not None:
        found = [p for p in found if _number(p.parent.parent.name) == experiment]
    if recording is not None:
        found = [p for p in found if _number(p.parent.name) == recording]
    if not found:
        raise DataPathError(
            f"no {_INDEX} below {str(path)!r} for node {node!r}, experiment {experiment}, "
            f"recording {recording}"
        )
    experiments = sorted({str(p.parent.parent) for p in found})
    if len(experiments) > 1:
        raise FormatError(
            f"{str(path)!r} holds {len(experiments)} experiments, each with a clock of its own: "
            f"{experiments}. Choose with node= and experiment=, or give one of these folders"
        )
    return found


def _load_index(index: Path) -> dict[str, Any]:
    try:
        content = json.loads(index.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataPathError(f"cannot open {str(index)!r}: {error.strerror}") from error
    except ValueError as error:
        raise FormatError(f"{str(index)!r} is not valid JSON: {error}") from error
    if not isinstance(content, dict) or "continuous" not in content:
        raise FormatError(f"{str(index)!r} has no 'continuous' entry")
    return content


def _kind(name: str) -> str:
    if "ADC" in name:
        return "adc"
    return "aux" if "AUX" in name else "electrode"


def _streams(folder: Path, entry: dict[str, Any], *, allow_truncated: bool) -> list[StreamInfo]:
    """One stream per kind of channel of one continuous folder."""
    try:
        name = entry["folder_name"].strip("/")
        fs, channels = float(entry["sample_rate"]), entry["channels"]
        labels = [channel["channel_name"] for channel in channels]
        gains = np.asarray([channel["bit_volts"] for channel in channels], dtype=float)
    except (KeyError, TypeError, AttributeError) as error:
        raise FormatError(
            f"{str(folder / _INDEX)!r}: incomplete stream entry: {error!r}"
        ) from error
    data = folder / "continuous" / name
    pieces = _pieces(data, len(channels), allow_truncated=allow_truncated)
    kinds = [_kind(label) for label in labels]
    streams = []
    for kind in dict.fromkeys(kinds):
        chosen = tuple(i for i, k in enumerate(kinds) if k == kind)
        units = tuple(channels[i].get("units") or ("V" if kind == "adc" else "uV") for i in chosen)
        segments = tuple(
            Segment(layout if len(chosen) == len(kinds) else ChannelsLayout(layout, chosen), start)
            for layout, start in pieces
        )
        streams.append(
            StreamInfo(
                name if kind == kinds[0] else f"{name} {kind}",
                kind,
                fs,
                tuple(labels[i] for i in chosen),
                units,
                segments,
                gains[list(chosen)],
            )
        )
    return streams


def _pieces(folder: Path, n_channels: int, *, allow_truncated: bool) -> list[tuple[Layout, int]]:
    """Stretches of one data file without gaps, and their first sample numbers."""
    data = folder / "continuous.dat"
    if not data.exists():
        raise DataPathError(f"{str(data)!r} is missing; the index next to it lists it")
    size = data.stat().st_size
    frames, rest = divmod(size, 2 * n_channels)
    numbers = _load(folder, "sample_numbers.npy")
    if numbers is None:
        numbers = _load(folder, "timestamps.npy")
    count = frames if numbers is None else len(numbers)
    if (rest or count != frames) and not allow_truncated:
        raise CorruptDataError(
            f"{frames} whole samples of {2 * n_channels} bytes and {rest} bytes more, but there "
            f"are {count} sample numbers. Give allow_truncated=True to read "
            f"{min(frames, count)} samples",
            data,
            size - rest,
        )
    count = min(frames, count)

    def layout(start: int, stop: int) -> Layout:
        shape = (n_channels, stop - start)
        return FlatLayout(str(data), np.dtype("<i2"), shape, "F", 2 * n_channels * start)

    if numbers is None or count == 0:
        return [(layout(0, count), 0)]
    if numbers.dtype.kind == "f":
        raise FormatError(f"{str(folder)!r} has times but no sample numbers")
    edges = [0, count]
    if int(numbers[count - 1]) - int(numbers[0]) != count - 1:
        edges = [0, *(np.flatnonzero(np.diff(numbers[:count]) != 1) + 1).tolist(), count]
    return [(layout(start, stop), int(numbers[start])) for start, stop in pairwise(edges)]


def _load(folder: Path, name: str) -> np.ndarray | None:
    path = folder / name
    if not path.exists():
        return None
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        # An array of no elements cannot be mapped; it can be loaded.
        try:
            return np.load(path, allow_pickle=False)
        except ValueError:
            raise CorruptDataError(f"not a readable array: {error}", path, 0) from error


def _join(parts: Sequence[StreamInfo]) -> StreamInfo:
    """One stream from the recordings of an experiment."""
    first = parts[0]
    if len(parts) == 1:
        return first
    for part in parts[1:]:
        if (part.channel_names, part.fs) != (first.channel_names, first.fs):
            raise FormatError(
                f"stream {first.name!r} changes its channels or rate between recordings; "
                "choose one with recording="
            )
    segments = tuple(s for part in parts for s in part.segments)
    fields = (first.name, first.kind, first.fs, first.channel_names, first.channel_units)
    return StreamInfo(*fields, segments, first.gain)


def _read_events(recordings: list[tuple[Path, dict[str, Any]]]) -> Events:
    tables = [
        table
        for folder, content in recordings
        for entry in content.get("events", [])
        if (table := _event_table(folder / "events", entry)) is not None
    ]
    return Events.concatenate(tables)


def _event_table(folder: Path, entry: dict[str, Any]) -> Events | None:
    where = folder / entry.get("folder_name", "").strip("/")
    samples = _load(where, "sample_numbers.npy")
    if samples is None:
        samples = _load(where, "timestamps.npy")
    if samples is None:
        return None
    samples = np.asarray(samples).reshape(-1)
    times = samples / float(entry.get("sample_rate") or 1.0)
    texts = _load(where, "text.npy")
    if texts is not None:
        labels = [t.decode("utf-8", "replace") if isinstance(t, bytes) else str(t) for t in texts]
        return Events(times, labels, "message", sample=samples)
    states = _load(where, "states.npy")
    if states is None:
        states = _load(where, "channel_states.npy")
    if states is None or len(states) != len(samples):
        return None
    return Events(times, [str(int(s)) for s in states], "ttl", sample=samples)
