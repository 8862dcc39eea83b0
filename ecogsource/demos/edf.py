"""A small writer of EDF+C files.

Layout after B. Kemp and J. Olivan, "European data format 'plus'", Clin. Neurophysiol. 114:1755
(2003): a header of fixed-width text, then data records that each hold one stretch of every signal
as 16-bit integers and a list of annotations.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecogsource.safefile import atomic_path

__all__ = ["Annotation", "EdfHeader", "write_edf"]

ANNOTATION_BYTES = 114
"""Room for annotations in one data record."""


@dataclass(frozen=True)
class Annotation:
    """Something that happened: when, for how long (both in seconds), and what."""

    onset_s: float
    duration_s: float
    text: str


@dataclass(frozen=True)
class EdfHeader:
    """What an EDF+C file says of its signals, which all share one rate and one calibration.

    Parameters
    ----------
    names : sequence of str
        One for each signal, of at most 16 characters.
    samples_per_record : int
        Of each signal; a record lasts one second.
    physical : (float, float)
        What the least and the greatest stored number mean, in `unit`.
    digital : (int, int)
        The least and the greatest stored number.
    unit, transducer, patient, recording, start_date, start_time : str
        Texts of the header; the times as ``dd.mm.yy`` and ``hh.mm.ss``.
    """

    names: Sequence[str]
    samples_per_record: int
    physical: tuple[float, float] = (-8144.31, 8144.319)
    digital: tuple[int, int] = (-8192, 8192)
    unit: str = "uV"
    transducer: str = ""
    patient: str = "X X X X"
    recording: str = "Startdate X X X X"
    start_date: str = "01.01.00"
    start_time: str = "00.00.00"

    def encode(self, n_records: int) -> bytes:
        """Return the header of a file of `n_records` records."""
        n_signals = len(self.names) + 1
        general: list[tuple[Any, int]] = [
            ("0", 8),
            (self.patient, 80),
            (self.recording, 80),
            (self.start_date, 8),
            (self.start_time, 8),
            (256 * (n_signals + 1), 8),
            ("EDF+C", 44),
            (n_records, 8),
            (1, 8),
            (n_signals, 4),
        ]
        count = len(self.names)
        per_signal: list[tuple[list[Any], int]] = [
            ([*self.names, "EDF Annotations"], 16),
            ([self.transducer] * count + [""], 80),
            ([self.unit] * count + [""], 8),
            ([self.physical[0]] * count + [-1], 8),
            ([self.physical[1]] * count + [1], 8),
            ([self.digital[0]] * count + [-32768], 8),
            ([self.digital[1]] * count + [32767], 8),
            ([""] * n_signals, 80),
            ([self.samples_per_record] * count + [ANNOTATION_BYTES // 2], 8),
            ([""] * n_signals, 32),
        ]
        fields = general + [(value, width) for values, width in per_signal for value in values]
        return b"".join(_field(value, width) for value, width in fields)

    def quantise(self, values: NDArray[np.float64]) -> NDArray[np.int16]:
        """Return `values` (any shape, in `unit`) as the numbers that are stored."""
        gain = (self.physical[1] - self.physical[0]) / (self.digital[1] - self.digital[0])
        steps = np.rint((values - self.physical[0]) / gain) + self.digital[0]
        return np.clip(steps, *self.digital).astype("<i2")


def _field(value: object, width: int) -> bytes:
    text = str(value).encode("ascii")
    if len(text) > width:
        raise ValueError(f"{value!r} does not fit a header field of {width} characters")
    return text.ljust(width)


def write_edf(
    path: Path,
    header: EdfHeader,
    blocks: Iterable[NDArray[np.float64]],
    n_records: int,
    annotations: Sequence[Annotation] = (),
) -> None:
    """Write an EDF+C file, which appears under its name when it is complete.

    Parameters
    ----------
    path : pathlib.Path
        The file; one that is there is replaced.
    header : EdfHeader
        Names, rate and calibration.
    blocks : iterable of ndarray, each of shape (signals, any length), float64
        The signals, in the header's unit; together at least as long as the records.
    n_records : int
        How many records of one second.
    annotations : sequence of Annotation
        At most a few in any second.

    Raises
    ------
    ValueError
        If a text does not fit its field, a second has too many annotations, or the blocks end
        before the last record.
    """
    lists = _annotation_lists(annotations, n_records)
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        file.write(header.encode(n_records))
        written = 0
        for record in _cut(blocks, header.samples_per_record, n_records):
            file.write(header.quantise(record).tobytes())
            file.write(lists[written])
            written += 1
        if written != n_records:
            raise ValueError(f"the signals fill {written} records of {n_records}")


def _cut(
    blocks: Iterable[NDArray[np.float64]], length: int, n_records: int
) -> Iterator[NDArray[np.float64]]:
    """Yield `n_records` pieces of `length` samples from blocks of any length."""
    left = n_records
    pending: NDArray[np.float64] | None = None
    for block in blocks:
        joined = block if pending is None else np.concatenate([pending, block], axis=1)
        whole = min(joined.shape[1] // length, left)
        for number in range(whole):
            yield joined[:, number * length : (number + 1) * length]
        left -= whole
        pending = joined[:, whole * length :]
        if left == 0:
            return


def _annotation_lists(annotations: Sequence[Annotation], n_records: int) -> list[bytes]:
    """Return the annotation signal of every record: its own time first, then what happened."""
    texts = [b"+%d\x14\x14\x00" % record for record in range(n_records)]
    for note in annotations:
        entry = f"+{note.onset_s:g}\x15{note.duration_s:g}\x14{note.text}\x14\x00"
        texts[int(note.onset_s)] += entry.encode("utf-8")
    for record, text in enumerate(texts):
        if len(text) > ANNOTATION_BYTES:
            raise ValueError(
                f"the annotations of second {record} take {len(text)} bytes, "
                f"there is room for {ANNOTATION_BYTES}"
            )
    return [text.ljust(ANNOTATION_BYTES, b"\x00") for text in texts]
