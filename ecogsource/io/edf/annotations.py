"""Time-stamped annotation lists (TALs) of EDF+ and BDF+.

Every record of an EDF+ file starts its first annotation signal with a time-keeping TAL: the onset
of the record. All other TALs are annotations. A TAL is ``onset [0x15 duration] 0x14 text 0x14 ...
0x00``, in seconds from the start of the file (section 2.2 of the EDF+ specification).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ecogsource.errors import CorruptDataError
from ecogsource.io.info import Events

from .header import EdfHeader

__all__ = ["read_annotations", "read_onsets"]


def read_onsets(header: EdfHeader, n_records: int) -> np.ndarray:
    """Onset of every record in seconds from the start of the file.

    Parameters
    ----------
    header : EdfHeader
        Header of an EDF+ or BDF+ file with an annotation signal.
    n_records : int
        How many records to look at.

    Returns
    -------
    numpy.ndarray
        float64, shape (n_records,).

    Raises
    ------
    CorruptDataError
        If a record has no readable onset.
    """
    first = header.annotation_signals[0]
    onsets = np.empty(n_records)
    for record, position, data in _signal_bytes(header, first, n_records):
        stop = data.find(b"\x14")
        try:
            onsets[record] = float(data[:stop].split(b"\x15")[0])
        except ValueError as error:
            raise CorruptDataError(
                f"record {record} does not start with its onset, but with {data[:16]!r}",
                header.path,
                position,
            ) from error
    return onsets


def read_annotations(header: EdfHeader, n_records: int) -> Events:
    """Read all annotations, without the time-keeping ones.

    Parameters
    ----------
    header : EdfHeader
        Header of an EDF+ or BDF+ file.
    n_records : int
        How many records to look at.

    Returns
    -------
    Events
        Times in seconds from the start of the file, kind ``"annotation"``.

    Raises
    ------
    CorruptDataError
        If an annotation cannot be parsed.
    """
    found = [
        (onset, duration, text)
        for signal in header.annotation_signals
        for _, position, data in _signal_bytes(header, signal, n_records)
        for tal in data.split(b"\x00")
        for onset, duration, text in _parse_tal(tal, (header.path, position))
        # The time-keeping annotations are those without a text.
        if text
    ]
    onsets, durations, texts = zip(*found, strict=True) if found else ((), (), ())
    return Events(onsets, texts, "annotation", duration=durations)


def _signal_bytes(
    header: EdfHeader, signal: int, n_records: int
) -> Iterator[tuple[int, int, bytes]]:
    """Number, byte position and bytes of one signal in each record."""
    start, stop = (int(v) for v in header.signal_offsets[signal : signal + 2])
    with Path(header.path).open("rb", buffering=0) as stream:
        for record in range(n_records):
            position = header.fields["header_bytes"] + record * header.record_bytes + start
            stream.seek(position)
            yield record, position, stream.read(stop - start)


def _parse_tal(tal: bytes, where: tuple[str, int]) -> list[tuple[float, float, str]]:
    if not tal:
        return []
    stamp, *texts = tal.split(b"\x14")
    onset, _, duration = stamp.partition(b"\x15")
    try:
        times = float(onset), float(duration) if duration else math.nan
    except ValueError as error:
        raise CorruptDataError(
            f"not a time-stamped annotation: {tal[:40]!r}", where[0], where[1]
        ) from error
    return [(*times, text.decode("utf-8", "replace")) for text in texts]
