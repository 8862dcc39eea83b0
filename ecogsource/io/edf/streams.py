"""From an EDF header to streams: one stream per sampling rate, one segment per stretch of time."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ecogsource.errors import CorruptDataError, FormatError
from ecogsource.io._text import clean_unit
from ecogsource.io.info import RecordingInfo, Segment, StreamInfo
from ecogsource.io.layouts import RecordLayout

from .annotations import read_annotations, read_onsets
from .header import EdfHeader, read_header

__all__ = ["read_info"]

# Onsets are decimal text; recorders write as few as three decimals.
ONSET_TOLERANCE = 1e-3


def read_info(path: str | Path, *, allow_truncated: bool = False) -> RecordingInfo:
    """Describe an EDF, EDF+, BDF or BDF+ file.

    Parameters
    ----------
    path : path-like
        The file.
    allow_truncated : bool
        Read the whole records of a file that is shorter or longer than its header says.

    Raises
    ------
    FormatError, CorruptDataError, DataPathError
        As `read_header` and `EdfHeader.check_size`.
    """
    header = read_header(path)
    n_records = header.check_size(allow_truncated=allow_truncated)
    tals = bool(header.annotation_signals) and n_records > 0
    if header.is_discontinuous and n_records > 1 and not tals:
        raise FormatError(
            f"{header.path!r} is discontinuous ({header.fields['reserved_0'][:5]}, byte 192) but "
            "has no annotation signal that says when its records start"
        )
    runs, start_time = [(0, n_records, 0.0)], 0.0
    if tals and header.is_discontinuous:
        onsets = read_onsets(header, n_records)
        start_time = float(onsets[0])
        runs = _runs(onsets - start_time, header)
    elif tals and header.is_plus:
        start_time = _first_onset(header)
    return RecordingInfo(
        str(path),
        "bdf" if header.is_bdf else "edf",
        tuple(_streams(header, runs, start_time)),
        header.fields,
        header.start_datetime,
        partial(read_annotations, header, n_records) if tals else None,
        _warnings(header),
    )


def _warnings(header: EdfHeader) -> tuple[str, ...]:
    """Name the signals that are given as stored because their ranges are empty."""
    signals = header.ordinary_signals
    plain = [header.fields["names"][i] for i in np.asarray(signals)[~header.calibrated(signals)]]
    if not plain:
        return ()
    return (
        f"{len(plain)} signals have an empty physical or digital range, so that their numbers are "
        f"given as stored: {', '.join(plain[:5])}{', ...' if len(plain) > 5 else ''}",
    )


def _first_onset(header: EdfHeader) -> float:
    """Onset of the first record; 0 where a continuous file, which hardly needs it, lacks it."""
    try:
        return float(read_onsets(header, 1)[0])
    except CorruptDataError:
        return 0.0


def _runs(onsets: np.ndarray, header: EdfHeader) -> list[tuple[int, int, float]]:
    """Stretches of records that follow one another: first, last + 1, onset of the first."""
    duration = header.fields["record_duration"]
    fastest = max(header.fields["samples_per_record"][i] for i in header.ordinary_signals or [0])
    tolerance = max(duration / fastest if fastest else 0.0, ONSET_TOLERANCE)
    runs, first = [], 0
    for record in range(1, len(onsets) + 1):
        # Against the run's first onset, so that rounded onsets cannot drift apart unseen.
        expected = onsets[first] + (record - first) * duration
        if record == len(onsets) or abs(onsets[record] - expected) > tolerance:
            runs.append((first, record, float(onsets[first])))
            first = record
    return runs


def _streams(
    header: EdfHeader, runs: list[tuple[int, int, float]], start_time: float
) -> list[StreamInfo]:
    counts = header.fields["samples_per_record"]
    groups: dict[int, list[int]] = {}
    for signal in header.ordinary_signals:
        if counts[signal] > 0:
            groups.setdefault(counts[signal], []).append(signal)
    duration = header.fields["record_duration"]
    if groups and duration == 0:
        raise FormatError(
            f"{header.path!r}: records last 0 s (byte 244) but hold samples, "
            "so that their rate is not known"
        )
    # The stream with most numbers is the main one.
    order = sorted(groups, key=lambda count: count * len(groups[count]), reverse=True)
    return [
        _stream(header, count, groups[count], _name(count / duration, len(order)), runs, start_time)
        for count in order
    ]


def _name(rate: float, n_streams: int) -> str:
    return "signals" if n_streams == 1 else f"signals {rate:g} Hz"


def _stream(
    header: EdfHeader,
    count: int,
    signals: list[int],
    name: str,
    runs: list[tuple[int, int, float]],
    start_time: float,
) -> StreamInfo:
    fields, size = header.fields, header.sample_bytes
    fs = count / fields["record_duration"]
    layout = RecordLayout(
        header.path,
        np.dtype("<i4") if header.is_bdf else np.dtype("<i2"),
        runs[-1][1],
        header.record_bytes,
        fields["header_bytes"],
        tuple(int(header.signal_offsets[i]) for i in signals),
        count,
        size,
        header.is_bdf,
    )
    segments = tuple(
        Segment(layout.records(first, stop), round(onset * fs)) for first, stop, onset in runs
    )
    gain, offset = header.calibration(signals)

    def per_channel(key: str) -> tuple[Any, ...]:
        return tuple(fields[key][i] for i in signals)

    extra: Mapping[str, tuple[Any, ...]] = {
        key: per_channel(key) for key in ("transducers", "prefiltering", "digital_min")
    }
    return StreamInfo(
        name,
        "electrode",
        fs,
        per_channel("names"),
        tuple(clean_unit(unit) for unit in per_channel("physical_dim")),
        segments,
        gain,
        offset,
        start_time,
        {**extra, "digital_max": per_channel("digital_max"), "signal": tuple(signals)},
    )
