"""A reader of EDF files with a header and one ``read`` method."""

from __future__ import annotations

import pprint
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from ecogsource.indexing import Selection
from ecogsource.io.layouts import RecordLayout
from ecogsource.io.records import RecordBuffer
from ecogsource.memory import check_allocation

from .header import read_header

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Reader"]


class Reader:
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
        n_records = header.check_size(allow_truncated=allow_truncated)
        counts = header.fields["samples_per_record"]
        self._lengths = [n_records * counts[i] for i in self._signals]
        self._buffers: dict[int, tuple[RecordBuffer, list[int]]] = {}
        for count in dict.fromkeys(counts[i] for i in self._signals):
            members = [p for p, i in enumerate(self._signals) if counts[i] == count]
            layout = RecordLayout(
                str(self.path.absolute()),
                np.dtype("<i4") if header.is_bdf else np.dtype("<i2"),
                n_records,
                header.record_bytes,
                header.fields["header_bytes"],
                tuple(int(header.signal_offsets[self._signals[p]]) for p in members),
                count,
                header.sample_bytes,
                header.is_bdf,
            )
            self._buffers[count] = RecordBuffer(layout), members
        self._gain, self._offset = header.calibration(self._signals)
        self._channels = list(range(len(self._signals)))

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
        out = np.full(shape, float(padvalue))
        for buffer, members in self._buffers.values():
            end = min(stop, buffer.shape[1])
            rows = [r for r, c in enumerate(self._channels) if c in members]
            if not rows or end <= start:
                continue
            inside = np.asarray([members.index(self._channels[r]) for r in rows])
            values = np.empty((len(rows), end - start))
            buffer.read_into(Selection.of((inside, range(start, end))), values)
            chosen = [self._channels[r] for r in rows]
            values *= self._gain[chosen, None]
            values += self._offset[chosen, None]
            out[rows, : end - start] = values
        return out

    def close(self) -> None:
        """Let go of the file; it is opened again by the next `read`."""
        for buffer, _ in self._buffers.values():
            buffer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        state = {"_channels": self._channels}
        return _reopen, (str(self.path), self._allow_truncated), state

    def __repr__(self) -> str:
        shown = pprint.pformat(
            {"path": self.path, "header": self.header, "channels": self.channels}, sort_dicts=False
        )
        return f"{type(self).__name__} of shape {self.shape}\n{shown}"


def _reopen(path: str, allow_truncated: bool) -> Reader:  # noqa: FBT001 - pickles by position
    return Reader(path, allow_truncated=allow_truncated)
