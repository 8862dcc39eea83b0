"""Neurodata Without Borders 2: every ElectricalSeries and TimeSeries with a data array.

Read with h5py alone. Physical values are ``data * conversion * channel_conversion + offset``, as
the NWB schema defines them. Series with timestamps instead of a rate get the rate that the
timestamps show; a jump of them is a gap.
"""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ecogsource.buffers.storage.h5file import open_file
from ecogsource.errors import FormatError

from .info import RecordingInfo, Segment, StreamInfo
from .layouts import Hdf5Layout, TimeSliceLayout

if TYPE_CHECKING:
    import h5py

__all__ = ["matches", "read_info"]

_CLOCK_TOLERANCE = 0.5
_FEW_GAPS = 3


def matches(path: Path, head: bytes) -> bool:
    """Tell whether an HDF5 file says that it follows NWB."""
    import h5py

    if not h5py.is_hdf5(path):
        return path.suffix.lower() == ".nwb"
    with open_file(str(path)) as file:
        return "nwb_version" in file.attrs


def read_info(path: str | Path) -> RecordingInfo:
    """Describe an NWB file.

    Parameters
    ----------
    path : path-like
        The file.

    Raises
    ------
    FormatError
        If it is not HDF5, is not NWB 2, or a series has no clock.
    CorruptDataError
        If the file was truncated.
    """
    filename = str(path)
    with open_file(filename) as file:
        version = _text(file.attrs.get("nwb_version", ""))
        if not version.lstrip("NWB-").startswith("2"):
            raise FormatError(
                f"{filename!r}: nwb_version is {version!r}, expected 2.x (attribute of the root)"
            )
        groups = _series(file)
        names = _unique([group.name or "" for group in groups])
        pairs = zip(names, groups, strict=True)
        streams = [s for name, g in pairs if (s := _stream(filename, file, name, g)) is not None]
        header = {
            key: _text(file[key][()])
            for key in ("identifier", "session_description", "session_start_time")
            if key in file
        }
        header["nwb_version"] = version
    streams.sort(key=lambda s: (s.kind != "electrode", -s.n_samples * s.n_channels))
    start = _datetime(header.get("session_start_time", ""))
    return RecordingInfo(filename, "nwb", tuple(streams), header, start)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _datetime(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _series(file: h5py.File) -> list[h5py.Group]:
    import h5py

    found: list[h5py.Group] = []

    def note(name: str, item: Any) -> None:
        if not isinstance(item, h5py.Group) or name.startswith("specifications"):
            return
        data = item.get("data")
        if "neurodata_type" not in item.attrs or not isinstance(data, h5py.Dataset):
            return
        numeric = data.dtype.kind in "iuf" and data.ndim in (1, 2) and data.size
        if numeric and ("starting_time" in item or "timestamps" in item):
            found.append(item)

    file.visititems(note)
    return found


def _unique(paths: list[str]) -> list[str]:
    """Last parts of the paths, or the whole path where those repeat."""
    short = [path.rsplit("/", 1)[-1] for path in paths]
    return [s if short.count(s) == 1 else p for s, p in zip(short, paths, strict=True)]


def _stream(filename: str, file: h5py.File, name: str, group: h5py.Group) -> StreamInfo | None:
    data = group["data"]
    layout = Hdf5Layout(filename, data.name, data.dtype, tuple(data.shape), data.ndim == 2)
    n = layout.shape[0]
    conversion = float(data.attrs.get("conversion", 1.0))
    offset = float(data.attrs.get("offset", 0.0))
    per_channel = np.ones(n)
    if "channel_conversion" in group and group["channel_conversion"].shape == (n,):
        per_channel = np.asarray(group["channel_conversion"][()], float)
    gain = conversion * per_channel
    if not (gain != 0).all():
        raise FormatError(f"{filename!r}: series {name!r} has a conversion of 0")
    scaled = offset != 0 or (gain != 1).any()
    fs, start, segments = _clock(filename, name, group, layout)
    kind = "electrode" if _text(group.attrs["neurodata_type"]) == "ElectricalSeries" else "signal"
    return StreamInfo(
        name,
        kind,
        fs,
        _channel_names(file, group, n),
        (_text(data.attrs.get("unit", "")),) * n,
        segments,
        gain if scaled else None,
        np.full(n, offset) if offset else None,
        start,
        {"neurodata_type": (_text(group.attrs["neurodata_type"]),) * n},
    )


def _clock(
    filename: str, name: str, group: h5py.Group, layout: Hdf5Layout
) -> tuple[float | None, float, tuple[Segment, ...]]:
    """Rate, time of sample 0, and segments."""
    if "starting_time" in group:
        rate = group["starting_time"].attrs.get("rate")
        if rate is None or not float(rate) > 0:
            raise FormatError(f"{filename!r}: starting_time of series {name!r} has rate {rate}")
        return float(rate), float(group["starting_time"][()]), (Segment(layout),)
    stamps = group["timestamps"]
    n = min(int(stamps.shape[0]), layout.shape[1])
    if n < 2:
        return None, float(stamps[0]) if n else 0.0, (Segment(layout),)
    first, last = float(stamps[0]), float(stamps[n - 1])
    step = float(np.median(np.diff(stamps[: min(n, 10_000)])))
    if not step > 0:
        raise FormatError(f"{filename!r}: timestamps of series {name!r} do not rise")
    if abs((last - first) / step - (n - 1)) < _CLOCK_TOLERANCE:
        return (n - 1) / (last - first), first, (Segment(layout),)
    segments = _gapped(stamps, n, step, layout)
    if not segments:
        # Samples at odd times have neither a rate nor gaps.
        return None, first, (Segment(layout),)
    return 1 / step, first, segments


def _gapped(stamps: h5py.Dataset, n: int, step: float, layout: Hdf5Layout) -> tuple[Segment, ...]:
    """Segments between jumps of the timestamps, read in pieces; none if most of them jump."""
    first = float(stamps[0])
    edges = [0]
    for start in range(0, n - 1, 1_000_000):
        piece = stamps[start : min(n, start + 1_000_001)]
        jumps = np.flatnonzero(abs(np.diff(piece) - step) > _CLOCK_TOLERANCE * step)
        edges += (jumps + start + 1).tolist()
        if len(edges) > max(_FEW_GAPS, n // 20):
            return ()
    edges.append(n)
    segments: list[Segment] = []
    for start, stop in pairwise(edges):
        sample = round((float(stamps[start]) - first) / step)
        segments.append(Segment(TimeSliceLayout(layout, start, stop), sample))
    return tuple(segments)


def _channel_names(file: h5py.File, group: h5py.Group, n: int) -> tuple[str, ...]:
    """Names from the table of electrodes where the series refers to it."""
    plain = tuple(str(i) for i in range(n))
    region, table = group.get("electrodes"), file.get("general/extracellular_ephys/electrodes")
    if region is None or table is None or region.shape != (n,):
        return plain
    rows = np.asarray(region[()], dtype=np.int64)
    for column in ("channel_name", "label", "id"):
        if column in table and len(rows) and rows.max() < table[column].shape[0]:
            values = table[column][()]
            return tuple(_text(values[row]) for row in rows)
    return plain
