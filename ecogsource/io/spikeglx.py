"""SpikeGLX: int16 ``.bin`` files, sample by sample, with a ``.meta`` file of ``key=value`` lines.

Gains follow "Metadata" of the SpikeGLX help: volts = stored * range / largest stored / gain. Sync
and digital words form streams of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ecogsource.errors import CorruptDataError, DataPathError, FormatError

from ._text import read_text, whole_frames
from .info import RecordingInfo, Segment, StreamInfo
from .layouts import ChannelsLayout, FlatLayout

__all__ = ["matches", "read_info"]

# Probe types whose amplifiers have a fixed gain of 80 (Neuropixels 2.0).
_FIXED_GAIN = {"21", "24", "2003", "2004", "2013", "2014", "2020", "2021"}


def matches(path: Path, head: bytes) -> bool:
    """Tell whether a file belongs to SpikeGLX: a ``.meta`` lies beside it."""
    if path.is_dir():
        return True
    if path.suffix == ".meta":
        return b"typeThis=" in path.read_bytes()
    return path.with_suffix(".meta").exists()


def read_info(path: str | Path, *, allow_truncated: bool = False) -> RecordingInfo:
    """Describe SpikeGLX files.

    Parameters
    ----------
    path : path-like
        A ``.bin`` or ``.meta`` file, or a folder whose files were recorded together.
    allow_truncated : bool
        Read the whole samples of a file that is shorter or longer than its ``.meta`` says.

    Raises
    ------
    DataPathError
        If the data or the ``.meta`` are missing.
    FormatError
        If the ``.meta`` lacks what is needed, or a folder holds several runs.
    CorruptDataError
        If the size of the data contradicts the ``.meta``.
    """
    path = Path(path)
    metas = sorted(path.glob("*.meta")) if path.is_dir() else [path.with_suffix(".meta")]
    runs = {meta.name.split(".")[0] for meta in metas}
    if len(runs) > 1:
        raise FormatError(
            f"{str(path)!r} holds several runs {sorted(runs)}; give the path of one file"
        )
    streams: list[StreamInfo] = []
    headers: dict[str, dict[str, str]] = {}
    for meta in metas:
        name = meta.name[: -len(".meta")].split(".", 1)[-1]
        headers[name] = _parse_meta(meta)
        streams += _streams(name, meta, headers[name], allow_truncated=allow_truncated)
    order = ["electrode", "adc", "digital", "sync"]
    streams.sort(key=lambda s: (order.index(s.kind), -(s.fs or 0)))
    header: dict[str, Any] = headers if len(headers) > 1 else next(iter(headers.values()))
    return RecordingInfo(str(path), "spikeglx", tuple(streams), header)


def _parse_meta(path: Path) -> dict[str, str]:
    if not path.exists():
        raise DataPathError(f"{str(path)!r} is missing; SpikeGLX data cannot be read without it")
    pairs = (line.partition("=") for line in read_text(path).splitlines())
    fields = {key.strip().lstrip("~"): value.strip() for key, sep, value in pairs if sep}
    if "typeThis" not in fields or "nSavedChans" not in fields:
        raise FormatError(f"{str(path)!r} has no typeThis and nSavedChans; not a SpikeGLX .meta")
    return fields


def _streams(
    name: str, meta: Path, fields: dict[str, str], *, allow_truncated: bool
) -> Iterator[StreamInfo]:
    count = int(fields["nSavedChans"])
    data = meta.with_suffix(".bin")
    if not data.exists():
        raise DataPathError(f"{str(data)!r} is missing; only its .meta file is there")
    size = data.stat().st_size
    frames, _ = whole_frames(data, 2 * count)
    stated = int(fields.get("fileSizeBytes", size))
    if stated != size or size % (2 * count):
        if not allow_truncated:
            raise CorruptDataError(
                f"the .meta file promises {stated} bytes, the file has {size}: {frames} whole "
                "samples. Give allow_truncated=True to read them",
                data,
                min(stated, size),
            )
        frames = min(frames, stated // (2 * count))
    layout = FlatLayout(str(data), np.dtype("<i2"), (count, frames))
    fs = float(_field(fields, meta, "imSampRate", "niSampRate", "obSampRate"))
    first = int(fields.get("firstSample", 0))
    names = _channel_names(fields, count)
    for kind, label, channels, gain, unit in _groups(fields, meta):
        if not channels:
            continue
        whole = len(channels) == count
        part = layout if whole else ChannelsLayout(layout, tuple(channels))
        yield StreamInfo(
            f"{name} {label}".strip(),
            kind,
            fs,
            tuple(names[c] for c in channels),
            (unit,) * len(channels),
            (Segment(part, first),),
            gain,
        )


def _field(fields: dict[str, str], meta: Path, *names: str) -> str:
    for name in names:
        if name in fields:
            return fields[name]
    raise FormatError(f"{str(meta)!r} has none of {', '.join(names)}")


def _channel_names(fields: dict[str, str], count: int) -> list[str]:
    names = re.findall(r"\(([^;()]+);", fields.get("snsChanMap", ""))
    return names if len(names) == count else [str(i) for i in range(count)]


def _groups(
    fields: dict[str, str], meta: Path
) -> Iterator[tuple[str, str, range, np.ndarray | None, str]]:
    """Kinds of channels in the order they are saved: kind, label, channels, gain, unit."""
    sort = fields["typeThis"]
    if sort == "imec":
        ap, lf, sync = _counts(fields, meta, "snsApLfSy")
        gains = _imec_gains(fields, meta)
        saved = _saved(fields, ap + lf + sync)
        # Saved channels are numbered AP first, then LF, each over all channels acquired.
        acquired = _counts(fields, meta, "acqApLfSy")[0] or 384
        chosen = [gains[0][c % acquired] for c in saved[:ap]]
        chosen += [gains[1][c % acquired] for c in saved[ap : ap + lf]]
        yield "electrode", "", range(ap + lf), np.asarray(chosen), "uV"
        yield "sync", "sync", range(ap + lf, ap + lf + sync), None, ""
        return
    if sort == "nidq":
        mn, ma, xa, digital = _counts(fields, meta, "snsMnMaXaDw")
        volts = float(_field(fields, meta, "niAiRangeMax")) / 32768
        gain = [volts / float(fields.get("niMNGain", 1))] * mn
        gain += [volts / float(fields.get("niMAGain", 1))] * ma + [volts] * xa
    elif sort == "obx":
        xa, digital, sync = _counts(fields, meta, "snsXaDwSy")
        mn = ma = 0
        digital += sync
        gain = [float(_field(fields, meta, "obAiRangeMax")) / 32768] * xa
    else:
        raise FormatError(f"{str(meta)!r}: typeThis={sort!r} is not supported: imec, nidq or obx")
    analog = mn + ma + xa
    yield "adc", "", range(analog), np.asarray(gain), "V"
    yield "digital", "digital", range(analog, analog + digital), None, ""


def _counts(fields: dict[str, str], meta: Path, name: str) -> list[int]:
    return [int(n) for n in _field(fields, meta, name).split(",")]


def _saved(fields: dict[str, str], count: int) -> list[int]:
    """Numbers of the acquired channels that were saved."""
    text = fields.get("snsSaveChanSubset", "all")
    if text == "all" or not text:
        return list(range(count))
    saved: list[int] = []
    for part in text.split(","):
        low, _, high = part.partition(":")
        saved += range(int(low), int(high or low) + 1)
    return saved


def _imec_gains(fields: dict[str, str], meta: Path) -> tuple[list[float], list[float]]:
    """Microvolts per bit of every AP and LF channel acquired."""
    volts = float(_field(fields, meta, "imAiRangeMax")) / float(fields.get("imMaxInt", 512))
    head, *rows = re.findall(r"\(([^()]*)\)", _field(fields, meta, "imroTbl"))
    kind = fields.get("imDatPrb_type", head.split(",")[0])
    table = [row.split() for row in rows]
    if "imChan0apGain" in fields:
        ap = [float(fields["imChan0apGain"])] * len(table)
        lf = [float(fields.get("imChan0lfGain", fields["imChan0apGain"]))] * len(table)
    elif kind in _FIXED_GAIN:
        ap = lf = [80.0] * len(table)
    else:
        # Neuropixels 1.0: channel, bank, reference, AP gain, LF gain.
        ap = [float(row[3]) for row in table]
        lf = [float(row[4]) for row in table]
    return [1e6 * volts / g for g in ap], [1e6 * volts / g for g in lf]
