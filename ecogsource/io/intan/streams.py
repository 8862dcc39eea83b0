"""Streams of Intan recordings: single file, one file per signal, one per channel, many files.

In a single file the samples come in blocks: timestamps, then each kind of channel, channel by
channel. In the other two layouts every file is a plain array and the channels are in the order of
``info.rhd``. Auxiliary and supply channels of the two latter layouts are stored at the rate of the
amplifiers, every value repeated, so their rate is that of the amplifiers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from ecogsource.errors import CorruptDataError, DataPathError, JoinError
from ecogsource.io.info import RecordingInfo, Segment, StreamInfo
from ecogsource.io.layouts import BitsLayout, BoundLayout, FlatLayout, Layout, RecordLayout

from .header import IntanChannel, IntanHeader, read_header
from .stimulation import StimulationLayout

__all__ = ["read_info"]

MICROVOLTS_PER_BIT = 0.195
AUX_VOLTS_PER_BIT = 0.0000374
SUPPLY_VOLTS_PER_BIT = 0.0000748
DC_VOLTS_PER_BIT = -0.01923
# Volts per bit and stored zero of the analogue inputs, by board mode.
_ADC = {0: (0.000050354, 0), 1: (0.00015259, 32768), 13: (0.0003125, 32768)}

_STREAM_KINDS = {"amplifier": "electrode", "digital_in": "digital", "digital_out": "digital"}
_UNITS = {
    "amplifier": "uV",
    "aux": "V",
    "supply": "V",
    "temperature": "degC",
    "dc": "V",
    "adc": "V",
    "dac": "V",
    "stim": "uA",
    "stim_flags": "",
    "digital_in": "",
    "digital_out": "",
}


@dataclass(frozen=True)
class _Field:
    """One kind of data inside a block."""

    kind: str
    channels: tuple[IntanChannel, ...]
    names: tuple[str, ...]
    per_block: int
    dtype: np.dtype

    @property
    def words(self) -> int:
        return 1 if self.kind.startswith("digital") else len(self.names)

    @property
    def nbytes(self) -> int:
        return self.words * self.per_block * self.dtype.itemsize


def read_info(path: str | Path, *, allow_truncated: bool = False) -> RecordingInfo:
    """Describe an Intan recording.

    Parameters
    ----------
    path : path-like
        An RHD or RHS file, or a folder: of ``info.rhd`` with its ``.dat`` files, or of single
        files that follow one another (taken in the order of their names).
    allow_truncated : bool
        Read the whole blocks of a file that ends inside one.

    Raises
    ------
    DataPathError
        If a file is missing.
    FormatError
        If a file is not an Intan file.
    CorruptDataError
        If a file is truncated.
    JoinError
        If the files of a folder differ in their channels or rate.
    """
    path = Path(path)
    if path.is_dir():
        found = [path / name for name in ("info.rhd", "info.rhs") if (path / name).exists()]
        files = found or sorted([*path.glob("*.rhd"), *path.glob("*.rhs")])
        if not files:
            raise DataPathError(f"no .rhd or .rhs file in {str(path)!r}")
    else:
        files = [path]
    headers = [read_header(file) for file in files]
    first = headers[0]
    if len(headers) == 1 and first.file_bytes == first.header_bytes and _dat_files(files[0].parent):
        streams = _separate_streams(first, files[0].parent, allow_truncated=allow_truncated)
    else:
        streams = _block_streams(headers, allow_truncated=allow_truncated)
    fields = {
        "version": f"{first.version[0]}.{first.version[1]}",
        "sample_rate": first.sample_rate,
        **first.fields,
    }
    return RecordingInfo(str(path), "intan", tuple(streams), fields)


def _dat_files(folder: Path) -> bool:
    return next(folder.glob("*.dat"), None) is not None


# -- one file with everything, or several that follow one another ---------------------------------


def _fields(header: IntanHeader) -> list[_Field]:
    """What a block holds after its timestamps, in order."""
    n = header.block_samples
    u2, i2 = np.dtype("<u2"), np.dtype("<i2")

    def field(kind: str, per_block: int = n, dtype: np.dtype = u2, of: str = "") -> _Field:
        channels = header.of_kind(of or kind)
        return _Field(kind, channels, tuple(c.native_name for c in channels), per_block, dtype)

    if header.rhs:
        dc = [field("dc", of="amplifier")] if header.fields["dc_amplifier_data_saved"] else []
        kinds = [field("amplifier"), *dc, field("stim", of="amplifier"), field("adc"), field("dac")]
    else:
        names = tuple(f"temperature-{i}" for i in range(header.n_temperature))
        temperature = _Field("temperature", (), names, 1, i2)
        kinds = [field("amplifier"), field("aux", n // 4), field("supply", 1), temperature]
        kinds.append(field("adc"))
    kinds += [field("digital_in"), field("digital_out")]
    return [f for f in kinds if f.names]


def _block_streams(headers: list[IntanHeader], *, allow_truncated: bool) -> list[StreamInfo]:
    first = headers[0]
    for header in headers[1:]:
        if (header.channels, header.sample_rate) != (first.channels, first.sample_rate):
            raise JoinError(
                f"{header.path!r} has other channels or another rate than {first.path!r}; "
                "the files of one recording must agree"
            )
    fields = _fields(first)
    block_bytes = 4 * first.block_samples + sum(f.nbytes for f in fields)
    counts = [_count_blocks(h, block_bytes, allow_truncated=allow_truncated) for h in headers]
    used = [(h, c) for h, c in zip(headers, counts, strict=True) if c] or [(first, counts[0])]
    runs = [run for h, c in used for run in _continuous_runs(h, c, block_bytes)]
    position, streams = 4 * first.block_samples, []
    for field in fields:
        segments = _merge(
            [
                (_block_layout(header, field, position, block_bytes, start, stop), first_sample)
                for header, start, stop, first_sample in runs
            ],
            first.block_samples // field.per_block,
        )
        streams += _streams(first, field, segments)
        position += field.nbytes
    return streams


def _count_blocks(header: IntanHeader, block_bytes: int, *, allow_truncated: bool) -> int:
    blocks, rest = divmod(header.file_bytes - header.header_bytes, block_bytes)
    if rest and not allow_truncated:
        raise CorruptDataError(
            f"the file ends inside a data block: {blocks} whole blocks of {block_bytes} bytes "
            f"and {rest} bytes more. Give allow_truncated=True to read the whole blocks",
            header.path,
            header.file_bytes - rest,
        )
    return blocks


def _continuous_runs(
    header: IntanHeader, n_blocks: int, block_bytes: int
) -> list[tuple[IntanHeader, int, int, int]]:
    """Runs of blocks with rising timestamps: header, first block, last + 1, first timestamp."""
    code = "<u4" if not header.rhs and header.version < (1, 2) else "<i4"
    n = header.block_samples

    def stamps(blocks: Sequence[int]) -> np.ndarray:
        with Path(header.path).open("rb", buffering=0) as stream:
            out = []
            for block in blocks:
                stream.seek(header.header_bytes + block * block_bytes)
                out.append(int(np.frombuffer(stream.read(4), code)[0]))
        return np.asarray(out, dtype=np.int64)

    if n_blocks == 0:
        return [(header, 0, 0, 0)]
    first, last = stamps([0, n_blocks - 1])
    if last - first == (n_blocks - 1) * n:
        return [(header, 0, n_blocks, int(first))]
    everything = stamps(range(n_blocks))
    breaks = np.flatnonzero(np.diff(everything) != n) + 1
    edges = [0, *breaks.tolist(), n_blocks]
    return [(header, start, stop, int(everything[start])) for start, stop in pairwise(edges)]


def _block_layout(
    header: IntanHeader, field: _Field, position: int, block_bytes: int, start: int, stop: int
) -> RecordLayout:
    size = field.dtype.itemsize
    return RecordLayout(
        header.path,
        field.dtype,
        n_records=stop - start,
        record_bytes=block_bytes,
        data_start=header.header_bytes + start * block_bytes,
        channel_offsets=tuple(position + i * field.per_block * size for i in range(field.words)),
        per_record=field.per_block,
        stride=size,
    )


def _merge(parts: list[tuple[RecordLayout, int]], ratio: int) -> list[Segment]:
    """Bind layouts that follow one another in time; a jump starts a new segment."""
    merged: list[tuple[list[Layout], int, int]] = []
    for layout, first_sample in parts:
        start = first_sample // ratio
        if merged and merged[-1][2] == start:
            layouts, origin, stop = merged[-1]
            layouts.append(layout)
            merged[-1] = (layouts, origin, stop + layout.shape[1])
        else:
            merged.append(([layout], start, start + layout.shape[1]))
    return [
        Segment(layouts[0] if len(layouts) == 1 else BoundLayout(tuple(layouts), 1), start)
        for layouts, start, _ in merged
    ]


# -- one file per signal or per channel ----------------------------------------------------------


def _separate_streams(
    header: IntanHeader, folder: Path, *, allow_truncated: bool
) -> list[StreamInfo]:
    start = _check_time(folder / "time.dat")
    i2, u2 = np.dtype("<i2"), np.dtype("<u2")
    plan = [
        ("amplifier", i2, "amplifier", "amplifier.dat", ("amp-{}",)),
        ("dc", u2, "amplifier", "dcamplifier.dat", ("dc-{}",)),
        ("stim", u2, "amplifier", "stim.dat", ("stim-{}",)),
        ("aux", u2, "aux", "auxiliary.dat", ("aux-{}",)),
        ("supply", u2, "supply", "supply.dat", ("vdd-{}",)),
        ("adc", u2, "adc", "analogin.dat", ("board-{}",)),
        ("dac", u2, "dac", "analogout.dat", ("board-{}",)),
        ("digital_in", u2, "digital_in", "digitalin.dat", ("board-{}",)),
        ("digital_out", u2, "digital_out", "digitalout.dat", ("board-{}",)),
    ]
    streams = []
    for kind, dtype, of, together, single in plan:
        channels = header.of_kind(of)
        if not channels:
            continue
        field = _Field(kind, channels, tuple(c.native_name for c in channels), 1, dtype)
        layout = _together(folder / together, field) or _single(folder, single, field)
        if layout is not None:
            streams += _streams(header, field, [Segment(layout, start)], separate=True)
        elif kind in {"amplifier", "aux", "adc", "digital_in"}:
            raise DataPathError(
                f"{str(folder)!r} has no data of the {len(channels)} {kind} channels that "
                f"{header.path!r} lists: neither {together!r} nor one file per channel"
            )
    lengths = {stream.name: stream.n_samples for stream in streams}
    if (folder / "time.dat").exists():
        lengths["time"] = (folder / "time.dat").stat().st_size // 4
    _same_length(lengths, folder, allow_truncated=allow_truncated)
    return streams


def _check_time(path: Path) -> int:
    """First timestamp; a recording in this layout has no gaps by construction."""
    if not path.exists() or path.stat().st_size < 4:
        return 0
    with path.open("rb") as stream:
        return int(np.frombuffer(stream.read(4), "<i4")[0])


def _samples(path: Path, frame_bytes: int) -> int:
    frames, rest = divmod(path.stat().st_size, frame_bytes)
    if rest:
        raise CorruptDataError(
            f"the file ends inside a sample: {frames} whole samples of {frame_bytes} bytes and "
            f"{rest} bytes more",
            path,
            frames * frame_bytes,
        )
    return frames


def _together(path: Path, field: _Field) -> Layout | None:
    if not path.exists():
        return None
    frames = _samples(path, field.words * field.dtype.itemsize)
    layout = FlatLayout(str(path), field.dtype, (field.words, frames))
    return _bits(layout, field) if field.kind.startswith("digital") else layout


def _single(folder: Path, patterns: tuple[str, ...], field: _Field) -> Layout | None:
    files = [folder / (patterns[0].format(name) + ".dat") for name in field.names]
    present = [file.exists() for file in files]
    if not any(present):
        return None
    if not all(present):
        missing = [str(f) for f, there in zip(files, present, strict=True) if not there]
        raise DataPathError(f"files of {len(missing)} channels are missing, first {missing[0]!r}")
    size = field.dtype.itemsize
    parts = [FlatLayout(str(f), field.dtype, (1, _samples(f, size))) for f in files]
    lengths = {part.shape[1] for part in parts}
    if len(lengths) > 1:
        raise CorruptDataError(
            f"the files of the {field.kind} channels have different lengths: {sorted(lengths)} "
            "samples",
            files[0],
        )
    return BoundLayout(tuple(parts), 0)


def _bits(words: Layout, field: _Field) -> Layout:
    return BitsLayout(words, tuple(channel.native_order for channel in field.channels))


def _same_length(lengths: dict[str, int], folder: Path, *, allow_truncated: bool) -> None:
    if len(set(lengths.values())) > 1 and not allow_truncated:
        raise CorruptDataError(
            f"the files of the recording have different lengths: {lengths} samples. "
            "Give allow_truncated=True to read them as they are",
            folder,
        )


# -- both ----------------------------------------------------------------------------------------


def _streams(
    header: IntanHeader, field: _Field, segments: list[Segment], *, separate: bool = False
) -> list[StreamInfo]:
    """Describe what a field holds: words of stimulation are two streams, all else is one."""
    if field.kind != "stim":
        return [_stream(header, field, segments, separate=separate)]
    found = []
    for kind, part in (("stim", "current"), ("stim_flags", "flags")):
        parts = [Segment(StimulationLayout(s.layout, part), s.start_sample) for s in segments]
        found.append(_stream(header, replace(field, kind=kind), parts, separate=separate))
    return found


def _stream(
    header: IntanHeader, field: _Field, segments: list[Segment], *, separate: bool = False
) -> StreamInfo:
    gain, offset = _calibration(header, field, separate=separate)
    if field.kind.startswith("digital") and not separate:
        segments = [Segment(_bits(s.layout, field), s.start_sample) for s in segments]
    slower = 1 if separate else header.block_samples // field.per_block
    scaled = gain is not None
    attributes: dict[str, Callable[[IntanChannel], object]] = {
        "custom_name": lambda c: c.custom_name,
        "native_order": lambda c: c.native_order,
        "impedance": lambda c: c.impedance,
    }
    return StreamInfo(
        field.kind,
        _STREAM_KINDS.get(field.kind, field.kind),
        header.sample_rate / slower,
        field.names,
        (_UNITS[field.kind] if scaled or field.kind.startswith("digital") else "",)
        * len(field.names),
        tuple(segments),
        gain,
        offset,
        0.0,
        {name: tuple(get(c) for c in field.channels) for name, get in attributes.items()}
        if field.channels
        else {},
    )


def _calibration(
    header: IntanHeader, field: _Field, *, separate: bool
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Gain and offset of one kind of channel, from the application note."""
    board = header.fields.get("board_mode", 0)
    adc = _ADC[13] if header.rhs else _ADC.get(board, _ADC[0])
    gain, zero = {
        # In the separate layouts amplifiers are stored as signed numbers.
        "amplifier": (MICROVOLTS_PER_BIT, 0 if separate else 32768),
        "dc": (DC_VOLTS_PER_BIT, 512),
        "aux": (AUX_VOLTS_PER_BIT, 0),
        "supply": (SUPPLY_VOLTS_PER_BIT, 0),
        "temperature": (0.01, 0),
        "adc": adc,
        "dac": (_ADC[13][0], 32768),
        # Amperes in single precision: seven digits are meant.
        "stim": (float(f"{1e6 * header.fields.get('stim_step_size', 0):.7g}"), 0),
    }.get(field.kind, (None, 0))
    if gain is None:
        return None, None
    n = len(field.names)
    return np.full(n, gain), (np.full(n, -gain * zero) if zero else None)
