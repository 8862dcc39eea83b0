"""Open Ephys format: one ``.continuous`` file per channel.

After 1024 bytes of text follow records: timestamp (int64), number of samples (uint16), number of
the recording (uint16), 1024 samples (int16, big-endian although all else is little-endian), and
ten bytes that mark the end. Every start of recording goes on in the same files, so that a jump of
the timestamps is a gap.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ecogsource.errors import CorruptDataError, DataPathError, FormatError
from ecogsource.io.info import Events, RecordingInfo, Segment, StreamInfo
from ecogsource.io.layouts import BoundLayout, RecordLayout

__all__ = ["read_info"]

HEADER_BYTES = 1024
BLOCK = 1024
_HEAD = struct.Struct("<qHH")
RECORD_BYTES = _HEAD.size + 2 * BLOCK + 10
MARKER = bytes([0, 1, 2, 3, 4, 5, 6, 7, 8, 255])
_FIELD = re.compile(r"header\.(\w+)\s*=\s*'?(.*?)'?\s*;")
_EVENT = np.dtype(
    [
        ("stamp", "<i8"),
        ("position", "<i2"),
        ("type", "u1"),
        ("node", "u1"),
        ("id", "u1"),
        ("channel", "u1"),
        ("recording", "<u2"),
    ]
)
_EVENT_TYPES = {3: "ttl", 4: "spike", 5: "message"}
_KINDS = {"CH": "electrode", "ADC": "adc", "AUX": "aux"}


@dataclass(frozen=True)
class _File:
    path: Path
    fields: dict[str, str]
    n_records: int
    group: str
    kind: str
    number: int
    experiment: int

    @property
    def name(self) -> str:
        return self.fields.get("channel", self.path.stem)


def read_info(
    path: str | Path, *, experiment: int | None = None, allow_truncated: bool = False
) -> RecordingInfo:
    """Describe a folder of ``.continuous`` files.

    Parameters
    ----------
    path : path-like
        The folder, or any file in it.
    experiment : int, optional
        Which experiment if the folder holds several (files that end in ``_2`` and so on).
    allow_truncated : bool
        Read the whole records of files that end inside one.

    Raises
    ------
    DataPathError
        If there are no such files, or none of that experiment.
    FormatError
        If the folder holds several experiments and none was chosen, or files are of an
        unsupported version.
    CorruptDataError
        If files are truncated, or channels differ in their timestamps.
    """
    path = Path(path)
    folder = path if path.is_dir() else path.parent
    found = sorted(folder.glob("*.continuous"))
    if not found:
        found = sorted(folder.glob("Record Node*/*.continuous"))
    if not found:
        raise DataPathError(f"no .continuous file in {str(folder)!r}")
    everything = [_read_header(file, allow_truncated=allow_truncated) for file in found]
    parsed = _of_experiment(everything, folder, experiment)
    groups: dict[tuple[str, str], list[_File]] = {}
    for file in parsed:
        groups.setdefault((file.group, file.kind), []).append(file)
    order = list(_KINDS.values())
    keys = sorted(groups, key=lambda key: (order.index(key[1]), key[0]))
    names = _names(keys)
    streams = tuple(
        _stream(names[key], sorted(groups[key], key=lambda f: f.number)) for key in keys
    )
    fs = streams[0].fs or 1.0
    events = partial(_read_events, found[0].parent, fs)
    return RecordingInfo(str(path), "openephys_legacy", streams, parsed[0].fields, None, events)


def _names(keys: list[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Name streams by their kind, with their processor where several share a kind."""
    kinds = [kind for _, kind in keys]
    return {
        (group, kind): kind if kinds.count(kind) == 1 else f"{kind} {group}" for group, kind in keys
    }


def _of_experiment(files: list[_File], folder: Path, experiment: int | None) -> list[_File]:
    numbered: dict[int, list[_File]] = {}
    for file in files:
        numbered.setdefault(file.experiment, []).append(file)
    if experiment is None and len(numbered) > 1:
        raise FormatError(
            f"{str(folder)!r} holds experiments {sorted(numbered)}, each with a clock of its "
            "own; choose one with experiment="
        )
    chosen = next(iter(numbered)) if experiment is None else experiment
    if chosen not in numbered:
        raise DataPathError(f"no experiment {chosen} in {str(folder)!r}: {sorted(numbered)}")
    return numbered[chosen]


def _read_header(path: Path, *, allow_truncated: bool) -> _File:
    with path.open("rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(0)
        head = stream.read(HEADER_BYTES)
    fields: dict[str, str] = dict(_FIELD.findall(head.decode("latin-1")))
    if fields.get("format") != "Open Ephys Data Format":
        raise FormatError(
            f"{str(path)!r} is not an Open Ephys file: byte 0 starts {head[:24]!r}, expected "
            "b\"header.format = 'Open Ephys Data Format'\""
        )
    version = fields.get("version", "?")
    if version not in {"0.2", "0.3", "0.4", "0.5", "0.6"} or fields.get("blockLength") != "1024":
        raise FormatError(
            f"{str(path)!r}: version {version} with blocks of {fields.get('blockLength')} samples "
            "is not supported, expected 0.2 to 0.6 with 1024"
        )
    records, rest = divmod(size - HEADER_BYTES, RECORD_BYTES)
    if (rest or size < HEADER_BYTES) and not allow_truncated:
        raise CorruptDataError(
            f"the file ends inside a record: {records} whole records of {RECORD_BYTES} bytes and "
            f"{rest} bytes more. Give allow_truncated=True to read the whole records",
            path,
            size - rest,
        )
    return _File(path, fields, max(records, 0), *_parts_of_name(path, fields))


_CHANNEL = re.compile(r"^(?P<kind>CH|ADC|AUX)?(?P<number>\d+)$")


def _parts_of_name(path: Path, fields: dict[str, str]) -> tuple[str, str, int, int]:
    """Processor, kind, number and experiment: ``<processor>_<channel>[_<experiment>]``."""
    channel = fields.get("channel", "")
    pattern = rf"^(?P<group>.*?)_?{re.escape(channel)}(?:_(?P<experiment>\d+))?$"
    name, known = re.match(pattern, path.stem), _CHANNEL.match(channel)
    group, experiment = (name["group"], int(name["experiment"] or 1)) if name else (path.stem, 1)
    kind = _KINDS[(known["kind"] or "CH") if known else "CH"]
    return group, kind, int(known["number"]) if known else 0, experiment


def _stamps(file: _File, records: list[int] | range) -> np.ndarray:
    stamps = np.empty(len(records), np.int64)
    with file.path.open("rb", buffering=0) as stream:
        for i, record in enumerate(records):
            position = HEADER_BYTES + record * RECORD_BYTES
            stream.seek(position)
            stamps[i], count, _ = _HEAD.unpack(stream.read(_HEAD.size))
            if count != BLOCK:
                raise CorruptDataError(
                    f"record {record} says it has {count} samples, expected {BLOCK}",
                    file.path,
                    position + 8,
                )
    return stamps


def _check_marker(file: _File) -> None:
    position = HEADER_BYTES + file.n_records * RECORD_BYTES - len(MARKER)
    with file.path.open("rb") as stream:
        stream.seek(position)
        found = stream.read(len(MARKER))
    if found != MARKER:
        raise CorruptDataError(
            f"the last record ends with {found!r}, expected {MARKER!r}", file.path, position
        )


def _stream(name: str, files: list[_File]) -> StreamInfo:
    count = min(file.n_records for file in files)
    ends = [0, count - 1] if count else []
    first = files[0]
    stamps = _stamps(first, ends)
    for file in files:
        if count:
            _check_marker(file)
        if file.n_records != first.n_records or not np.array_equal(_stamps(file, ends), stamps):
            raise CorruptDataError(
                f"channel {file.name!r} has {file.n_records} records from timestamp "
                f"{_stamps(file, ends[:1])}; channel {first.name!r} has {first.n_records} from "
                f"{stamps[:1]}",
                file.path,
                HEADER_BYTES,
            )
    edges, starts = [0, count], [int(stamps[0]) if count else 0]
    if count and stamps[1] - stamps[0] != (count - 1) * BLOCK:
        stamps = _stamps(first, range(count))
        edges = [0, *(np.flatnonzero(np.diff(stamps) != BLOCK) + 1).tolist(), count]
        starts = [int(stamps[edge]) for edge in edges[:-1]]
    segments = tuple(
        Segment(_layout(files, start, stop), first_sample)
        for start, stop, first_sample in zip(edges[:-1], edges[1:], starts, strict=True)
    )
    unit = "V" if first.kind == "adc" else "uV"
    return StreamInfo(
        name,
        first.kind,
        float(first.fields["sampleRate"]),
        tuple(file.name for file in files),
        (unit,) * len(files),
        segments,
        np.asarray([float(file.fields["bitVolts"]) for file in files]),
    )


def _layout(files: list[_File], start: int, stop: int) -> BoundLayout | RecordLayout:
    parts = tuple(
        RecordLayout(
            str(file.path),
            np.dtype(">i2"),
            stop - start,
            RECORD_BYTES,
            HEADER_BYTES + start * RECORD_BYTES,
            (_HEAD.size,),
            BLOCK,
            2,
        )
        for file in files
    )
    return parts[0] if len(parts) == 1 else BoundLayout(parts, 0)


def _read_events(folder: Path, fs: float) -> Events:
    tables = [_binary_events(p, fs) for p in sorted(folder.glob("*.events"))]
    return Events.concatenate([table for table in tables if table is not None])


def _binary_events(path: Path, fs: float) -> Events | None:
    with path.open("rb") as stream:
        head = stream.read(HEADER_BYTES)
    if not head.startswith(b"header.format"):
        return _messages(path, fs)
    count = (path.stat().st_size - HEADER_BYTES) // _EVENT.itemsize
    table: Any = np.fromfile(path, _EVENT, count, offset=HEADER_BYTES)
    kinds = [_EVENT_TYPES.get(int(t), "other") for t in table["type"]]
    labels = [
        f"{channel}:{'on' if state else 'off'}"
        for channel, state in zip(table["channel"], table["id"], strict=True)
    ]
    return Events(table["stamp"] / fs, labels, kinds, sample=table["stamp"])


def _messages(path: Path, fs: float) -> Events | None:
    """Text lines that start with a timestamp: ``messages.events``."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    found = [re.match(r"^(\d+),?\s+(.*)$", line) for line in lines]
    # The software time is in milliseconds since 1970, not in samples.
    rows = [m for m in found if m and not m[2].startswith("Software Time")]
    stamps = np.asarray([int(m[1]) for m in rows], dtype=np.int64)
    return Events(stamps / fs, [m[2] for m in rows], "message", sample=stamps) if rows else None
