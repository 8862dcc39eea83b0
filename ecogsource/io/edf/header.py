"""The header of EDF, EDF+, BDF and BDF+ files.

Field widths and meanings follow "A simple format for exchange of digitized polygraphic recordings"
(Kemp et al. 1992), the EDF+ specification (Kemp and Olivan 2003) and, for 24-bit files, BioSemi's
description of BDF. Fields are fixed-width text, padded with blanks; real files also pad on the
left, with NUL, or write a decimal comma, all of which are understood.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from ecogsource.errors import CorruptDataError, DataPathError, FormatError

__all__ = ["EdfHeader", "read_header"]

FIXED_BYTES = 256
SIGNAL_BYTES = 256
BDF_MAGIC = b"\xffBIOSEMI"

# name, width, kind: in the order of the file.
_FIXED = (
    ("version", 8, "version"),
    ("patient", 80, "text"),
    ("recording", 80, "text"),
    ("start_date", 8, "text"),
    ("start_time", 8, "text"),
    ("header_bytes", 8, "int"),
    ("reserved_0", 44, "text"),
    ("num_records", 8, "int"),
    ("record_duration", 8, "float"),
    ("num_signals", 4, "int"),
)
_SIGNAL = (
    ("names", 16, "text"),
    ("transducers", 80, "text"),
    ("physical_dim", 8, "text"),
    ("physical_min", 8, "limit"),
    ("physical_max", 8, "limit"),
    ("digital_min", 8, "limit"),
    ("digital_max", 8, "limit"),
    ("prefiltering", 80, "text"),
    ("samples_per_record", 8, "int"),
    ("reserved_1", 32, "text"),
)
_MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]


@dataclass(frozen=True)
class EdfHeader:
    """A parsed header.

    Parameters
    ----------
    path : str
        The file.
    fields : dict
        Every field of the specification in its order: text, int or float, and a list with one
        entry per signal for the fields of signals.
    file_bytes : int
        Size of the file.
    """

    path: str
    fields: dict[str, Any]
    file_bytes: int

    @property
    def is_bdf(self) -> bool:
        """Whether numbers have 24 bits."""
        return bool(self.fields["version"] == "\xffBIOSEMI")

    @property
    def sample_bytes(self) -> int:
        """Bytes of one stored number."""
        return 3 if self.is_bdf else 2

    @property
    def is_plus(self) -> bool:
        """Whether the file follows EDF+ or BDF+."""
        return self.fields["reserved_0"][:5] in {"EDF+C", "EDF+D", "BDF+C", "BDF+D"}

    @property
    def is_discontinuous(self) -> bool:
        """Whether records may be apart in time (EDF+D)."""
        return self.fields["reserved_0"][:5] in {"EDF+D", "BDF+D"}

    @property
    def annotation_signals(self) -> list[int]:
        """Numbers of the signals that hold annotations."""
        names = {"EDF Annotations", "BDF Annotations"}
        return [i for i, name in enumerate(self.fields["names"]) if name in names]

    @property
    def ordinary_signals(self) -> list[int]:
        """Numbers of the signals that hold samples."""
        skip = set(self.annotation_signals)
        return [i for i in range(self.fields["num_signals"]) if i not in skip]

    @property
    def signal_offsets(self) -> np.ndarray:
        """Byte of each signal inside a record, int64, and last the record's size."""
        counts = np.asarray(self.fields["samples_per_record"], dtype=np.int64)
        return np.concatenate([[0], np.cumsum(counts) * self.sample_bytes])

    @property
    def record_bytes(self) -> int:
        """Bytes of one record."""
        return int(self.signal_offsets[-1])

    @property
    def start_datetime(self) -> datetime | None:
        """Date and time of the start, with the full year where EDF+ gives it; None if unset."""
        try:
            day, month, year = (int(p) for p in re.split(r"\D", self.fields["start_date"])[:3])
            hour, minute, second = (int(p) for p in re.split(r"\D", self.fields["start_time"])[:3])
            # Years have two digits; the specification counts 85 to 99 as 1985 to 1999.
            year += 1900 if year >= 85 else 2000
            exact = re.match(r"Startdate (\d\d)-([A-Z]{3})-(\d{4})", self.fields["recording"])
            if exact and exact[2] in _MONTHS:
                day, month, year = int(exact[1]), _MONTHS.index(exact[2]) + 1, int(exact[3])
            return datetime(year, month, day, hour, minute, second)
        except (ValueError, TypeError):
            return None

    def calibration(self, signals: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """Gain and offset of some signals: physical = digital * gain + offset.

        A signal whose physical or digital range is empty or not given has no calibration; its
        numbers are given as stored (gain 1, offset 0).

        Parameters
        ----------
        signals : list of int
            Numbers of signals.

        Returns
        -------
        gain, offset : numpy.ndarray
            float64, one value per signal.
        """
        usable = self.calibrated(signals)
        pmin, pmax, dmin, dmax = self._limits(signals)
        gain = np.ones(len(signals))
        np.divide(pmax - pmin, dmax - dmin, out=gain, where=usable)
        offset = np.where(usable, pmin - dmin * gain, 0.0)
        return gain, offset

    def calibrated(self, signals: list[int]) -> np.ndarray:
        """Tell which of some signals have a calibration, as a boolean array."""
        pmin, pmax, dmin, dmax = self._limits(signals)
        known: np.ndarray = np.isfinite(pmin + pmax + dmin + dmax) & (pmax != pmin) & (dmax != dmin)
        return known

    def _limits(self, signals: list[int]) -> np.ndarray:
        names = ("physical_min", "physical_max", "digital_min", "digital_max")
        return np.asarray([[self.fields[name][i] for i in signals] for name in names], np.float64)

    def check_size(self, *, allow_truncated: bool = False) -> int:
        """Return how many whole records the file has, or say what is wrong.

        Parameters
        ----------
        allow_truncated : bool
            Accept a file whose size and header disagree, and take the records that both have.

        Raises
        ------
        CorruptDataError
            If the file is shorter or longer than its header says.
        """
        stated = self.fields["num_records"]
        room = self.file_bytes - self.fields["header_bytes"]
        whole, rest = divmod(room, self.record_bytes) if self.record_bytes else (0, room)
        if stated == -1 and (rest == 0 or allow_truncated):
            # -1 is what recorders write until the recording is closed.
            return whole
        if stated == whole and rest == 0:
            return whole
        if allow_truncated:
            return min(whole, stated) if stated >= 0 else whole
        expected = self.fields["header_bytes"] + stated * self.record_bytes
        what = (
            f"the file ends inside a record: {whole} whole records and {rest} bytes"
            if stated == -1
            else f"the header promises {stated} records of {self.record_bytes} bytes, "
            f"{expected} bytes with the header; the file has {self.file_bytes}, "
            f"that is {whole} whole records and {rest} bytes more"
        )
        raise CorruptDataError(
            f"{what}. Give allow_truncated=True to read the whole records",
            self.path,
            min(self.file_bytes, max(expected, 0)),
        )


def read_header(path: str | Path) -> EdfHeader:
    """Read and check the header of an EDF or BDF file.

    Parameters
    ----------
    path : path-like
        The file. Only the header is read.

    Raises
    ------
    DataPathError
        If there is no such file.
    FormatError
        If it is not an EDF or BDF file, or a field is not what the specification allows.
    CorruptDataError
        If the file ends inside its header.
    """
    path = Path(path)
    try:
        stream = path.open("rb")
    except IsADirectoryError as error:
        raise FormatError(f"{str(path)!r} is a folder, expected an EDF or BDF file") from error
    except OSError as error:
        raise DataPathError(f"cannot open {str(path)!r}: {error.strerror}") from error
    with stream:
        fields = _parse_fixed(stream.read(FIXED_BYTES), str(path))
        body = stream.read(fields["num_signals"] * SIGNAL_BYTES)
        size = stream.seek(0, 2)
    count = fields["num_signals"]
    if len(body) < count * SIGNAL_BYTES:
        raise CorruptDataError(
            f"the file ends inside its header: {count} signals need "
            f"{FIXED_BYTES + count * SIGNAL_BYTES} bytes, there are {size}",
            path,
            size,
        )
    _parse_signals(body, fields, str(path))
    return EdfHeader(str(path), fields, size)


def _parse_fixed(data: bytes, path: str) -> dict[str, Any]:
    if data[:8] != BDF_MAGIC and data[:8].strip(b" \0") != b"0":
        raise FormatError(
            f"{path!r} is not an EDF or BDF file: byte 0 starts {data[:8]!r}, expected "
            f"{b'0       '!r} or {BDF_MAGIC!r}"
        )
    if len(data) < FIXED_BYTES:
        raise CorruptDataError(
            f"the file ends inside its header: {FIXED_BYTES} bytes expected", path, len(data)
        )
    fields, position = {}, 0
    for name, width, kind in _FIXED:
        fields[name] = _value(data[position : position + width], kind, name, (path, position))
        position += width
    _check_fixed(fields, path)
    return fields


def _check_fixed(fields: dict[str, Any], path: str) -> None:
    expected = FIXED_BYTES + fields["num_signals"] * SIGNAL_BYTES
    if fields["num_signals"] < 0 or fields["num_records"] < -1 or fields["record_duration"] < 0:
        raise FormatError(
            f"{path!r}: {fields['num_signals']} signals, {fields['num_records']} records of "
            f"{fields['record_duration']} s; none may be negative (bytes 236 to 255)"
        )
    if fields["header_bytes"] != expected:
        raise FormatError(
            f"{path!r}: the header says it has {fields['header_bytes']} bytes (byte 184), but "
            f"{fields['num_signals']} signals (byte 252) make {expected}"
        )


def _parse_signals(body: bytes, fields: dict[str, Any], path: str) -> None:
    count, position = fields["num_signals"], 0
    for name, width, kind in _SIGNAL:
        values = []
        for _ in range(count):
            raw = body[position : position + width]
            values.append(_value(raw, kind, name, (path, FIXED_BYTES + position)))
            position += width
        fields[name] = values
    for number, samples in enumerate(fields["samples_per_record"]):
        if samples < 0:
            raise FormatError(
                f"{path!r}: signal {number} has {samples} samples per record, expected 0 or more"
            )


def _value(raw: bytes, kind: str, name: str, where: tuple[str, int]) -> Any:
    text = raw.decode("latin-1").strip(" \0")
    if kind in {"text", "version"}:
        return text
    if kind == "limit" and not text:
        return float("nan")
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        value = float("nan")
    if np.isfinite(value) and kind == "int" and value == int(value):
        return int(value)
    if not np.isfinite(value) or kind == "int":
        raise FormatError(
            f"{where[0]!r}: field {name!r} at byte {where[1]} is {raw!r}, expected "
            f"{'a whole number' if kind == 'int' else 'a number'}"
        )
    return value
