"""The header of any recording as a readable table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .info import RecordingInfo, StreamInfo
from .recording import read_info

__all__ = ["Description", "describe"]

# Long lists in headers (one entry per channel) are cut to this many entries.
LISTED = 6
WIDTH = 100


class Description(dict[str, Any]):
    """What `describe` returns: a dictionary that prints as a table.

    Keys: ``file`` (rows of name and value), ``streams`` (one dictionary per stream), ``events``
    (how many of each kind), ``header`` (rows of name and value).
    """

    def __str__(self) -> str:
        blocks = [_rows(self["file"]), _table(self["streams"])]
        if self["events"]:
            blocks.append(_rows([(f"events: {kind}", n) for kind, n in self["events"].items()]))
        blocks.append(_rows(self["header"]))
        return "\n\n".join(block for block in blocks if block)


def describe(path: str | Path, *, format: str | None = None, **options: Any) -> Description:
    """Describe a recording: file, streams, events and every field of its header.

    Parameters
    ----------
    path : path-like
        File or folder.
    format : str, optional
        Name of the format; found if not given.
    **options
        As for `open_recording`.

    Returns
    -------
    Description
        A dictionary of rows whose ``str()`` is a table.

    Raises
    ------
    DataPathError, FormatError, CorruptDataError, MissingDependencyError
        As `open_recording`.
    """
    info = read_info(path, format=format, **options)
    return Description(
        file=_file_rows(info),
        streams=[_stream_row(stream) for stream in info.streams],
        events=_event_counts(info),
        header=list(_flatten(info.header)),
    )


def _file_rows(info: RecordingInfo) -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = [("path", info.path), ("format", info.format)]
    if info.start_datetime is not None:
        rows.append(("start", info.start_datetime.isoformat(sep=" ")))
    rows += [("warning", text) for text in info.warnings]
    return rows


def _stream_row(stream: StreamInfo) -> dict[str, Any]:
    fs = stream.fs
    return {
        "stream": stream.name,
        "kind": stream.kind,
        "channels": stream.n_channels,
        "samples": stream.n_samples,
        "fs": None if fs is None else float(f"{fs:.10g}"),
        "seconds": None if fs is None else round(stream.n_samples / fs, 6),
        "units": stream.units,
        "stored": stream.dtype.name,
        "first sample": stream.start_sample,
        "gaps": len(stream.gaps),
        "names": _short(list(stream.channel_names)),
    }


def _event_counts(info: RecordingInfo) -> dict[str, int]:
    kinds, counts = np.unique(info.events.kind.astype(str), return_counts=True)
    return dict(zip(kinds.tolist(), counts.tolist(), strict=True))


def _flatten(header: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in header.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", _short(value)


def _short(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        shown = ", ".join(str(item)[:WIDTH] for item in value[:LISTED])
        more = f", ... ({len(value)})" if len(value) > LISTED else ""
        return f"[{shown}{more}]"
    if isinstance(value, str) and len(value) > WIDTH:
        return value[:WIDTH] + "..."
    return value


def _rows(rows: list[tuple[str, Any]]) -> str:
    if not rows:
        return ""
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def _table(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return "no continuous data"
    columns = list(rows[0])
    cells = [columns, *([_cell(row[name]) for name in columns] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )


def _cell(value: Any) -> str:
    return "-" if value is None else str(value)
