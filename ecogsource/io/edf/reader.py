"""A reader of EDF files with a header and one ``read`` method."""

from __future__ import annotations

import math
import pprint
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ecogsource._closing import Closing
from ecogsource.buffers import Buffer
from ecogsource.buffers.storage.handles import POOL
from ecogsource.indexing import Selection
from ecogsource.io.info import scale_of
from ecogsource.io.layouts import RecordLayout
from ecogsource.io.records import RecordBuffer
from ecogsource.memory import check_allocation

from .header import read_header

__all__ = ["Reader"]


class Reader(Closing):
    """Read channels of an EDF, EDF+, BDF or BDF+ file in physical units.

    Annotation signals are no channels. Records are read end to end as stored: the time that is
    missing between the records of an EDF+D file is not filled in, which `open_recording` can do.

    Parameters
    ----------
    path : path-like
        The file. Only its header is read until `read` is called.
    allow_truncated : bool
        Read the whole records of a file that is shorter or longer than its header says.

    Attributes
    ----------
    path : pathlib.Path
        The file.
    header : dict
        Every field of the specification: ``version, patient, recording, start_date, start_time,
        header_bytes, reserved_0, num_records, record_duration, num_signals``, and lists with one
        entry per signal (annotation signals included): ``names, transducers, physical_dim,
        physical_min, physical_max, digital_min, digital_max, prefiltering, samples_per_record,
        reserved_1``.

    Raises
    ------
    DataPathError, FormatError, CorruptDataError
        If the file is missing, is not EDF or BDF, or contradicts its header.
    """

    def __init__(self, path: str | Path, *, allow_truncated: bool = False) -> None:
        self.path = Path(path)
        self._allow_truncated = allow_truncated
        header = read_header(path)
        self.header = header.fields
        self._header = header
        self._signals = header.ordinary_signals
        self._n_records = header.check_size(allow_truncated=allow_truncated)
        counts = header.fields["samples_per_record"]
        self._lengths = [self._n_records * counts[i] for i in self._signals]
        self._channels = list(range(len(self._signals)))
        self._parts: list[tuple[RecordBuffer, list[int]]] | None = None

    @property
    def channels(self) -> list[int]:
        """Which channels `read` returns, as positions among the channels; may be assigned."""
        return list(self._channels)

    @channels.setter
    def channels(self, channels: Sequence[int]) -> None:
        chosen = [int(c) for c in channels]
        n = len(self._signals)
        if any(not -n <= c < n for c in chosen):
            raise IndexError(f"channels {chosen} are not all among the {n} channels of the file")
        self._channels = [c % n for c in chosen]
        self._parts = None

    @property
    def names(self) -> list[str]:
        """Names of the channels that `read` returns."""
        return [self.header["names"][self._signals[c]] for c in self._channels]

    @property
    def shape(self) -> tuple[int, int]:
        """Number of channels that `read` returns, and samples of the longest of them."""
        lengths = [self._lengths[c] for c in self._channels]
        return len(lengths), max(lengths, default=0)

    def read(self, start: int = 0, stop: int | None = None, padvalue: float = np.nan) -> np.ndarray:
        """Read samples of all chosen channels.

        Parameters
        ----------
        start, stop : int
            Range of samples; each channel counts its own. To the end of the longest channel
            if `stop` is not given.
        padvalue : float
            What follows the last sample of channels that are shorter, because they have a lower
            rate.

        Returns
        -------
        numpy.ndarray
            Physical values, float64, shape (channels, samples).

        Raises
        ------
        MemoryBlowOutError
            If the result exceeds the memory limit.
        """
        start, stop, _ = slice(start, stop).indices(self.shape[1])
        shape = (len(self._channels), max(0, stop - start))
        check_allocation(8 * shape[0] * shape[1], shape=shape, dtype=np.dtype(float))
        out = np.empty(shape)
        if out.size:
            every = range(shape[0])
            self.as_buffer(padvalue).read_into(Selection.of((every, range(start, stop))), out)
        return out

    def as_buffer(self, padvalue: float = np.nan) -> Buffer:
        """Give the chosen channels as a buffer of channels x samples, float64.

        Parameters
        ----------
        padvalue : float
            What follows the last sample of channels that are shorter.

        Returns
        -------
        Buffer
            Read-only; it indexes like an array, and reads nothing until then.
        """
        if self._parts is None:
            counts = self.header["samples_per_record"]
            groups: dict[int, list[int]] = {}
            for row, channel in enumerate(self._channels):
                groups.setdefault(counts[self._signals[channel]], []).append(row)
            self._parts = [(self._records(count, rows), rows) for count, rows in groups.items()]
        if len(self._parts) == 1:
            return self._parts[0][0]
        return PaddedBuffer(self._parts, self.shape, padvalue)

    def _records(self, count: int, rows: list[int]) -> RecordBuffer:
        """Channels of equal rate, in double precision."""
        header = self._header
        signals = [self._signals[self._channels[row]] for row in rows]
        layout = RecordLayout(
            str(self.path.absolute()),
            np.dtype("<i4") if header.is_bdf else np.dtype("<i2"),
            self._n_records,
            header.record_bytes,
            header.fields["header_bytes"],
            tuple(int(header.signal_offsets[i]) for i in signals),
            count,
            header.sample_bytes,
            header.is_bdf,
        )
        gain, offset = header.calibration(signals)
        return RecordBuffer(layout, scale_of(gain, offset), precision="double")

    def close(self) -> None:
        """Let go of the file; it is opened again by the next `read`."""
        POOL.forget(str(self.path.absolute()))

    def __reduce__(self) -> tuple[Any, ...]:
        state = {"_channels": self._channels}
        return _reopen, (str(self.path), self._allow_truncated), state

    def __repr__(self) -> str:
        shown = pprint.pformat(
            {"path": self.path, "header": self.header, "channels": self.channels}, sort_dicts=False
        )
        return f"{type(self).__name__} of shape {self.shape}\n{shown}"


class PaddedBuffer(Buffer):
    """Rows of different lengths as one array, the shorter ones padded at their ends.

    Parameters
    ----------
    parts : sequence of (Buffer, list of int)
        Buffers of channels x samples, and the rows where their channels go.
    shape : (int, int)
        Rows and samples.
    padvalue : float
        What follows the last sample of a short row.
    """

    def __init__(
        self,
        parts: Sequence[tuple[Buffer, list[int]]],
        shape: tuple[int, int],
        padvalue: float = np.nan,
    ) -> None:
        filename = parts[0][0].filename if parts else None
        super().__init__(shape, np.float64, filename=filename)
        self.parts, self.padvalue = tuple(parts), float(padvalue)
        self._home = {row: (buffer, i) for buffer, rows in parts for i, row in enumerate(rows)}

    def _read_into(self, selection: Selection, out: np.ndarray) -> None:
        channels, times = selection.selectors
        if isinstance(times, int):
            out, times = out[..., None], range(times, times + 1)
        if isinstance(channels, int):
            out, channels = out[None], range(channels, channels + 1)
        positions = np.asarray(times, dtype=np.int64)
        for row, channel in zip(out, np.asarray(channels).tolist(), strict=True):
            buffer, inside = self._home[channel]
            there = positions < buffer.shape[1]
            if there.all():
                buffer.read_into(Selection.of((inside, times)), row)
                continue
            row[...] = self.padvalue
            row[there] = buffer.read((inside, positions[there]))

    def _temporary_bytes(self, selection: Selection) -> int:
        return 3 * 8 * math.prod(selection.shape[-1:])


def _reopen(path: str, allow_truncated: bool) -> Reader:  # noqa: FBT001 - pickles by position
    return Reader(path, allow_truncated=allow_truncated)
