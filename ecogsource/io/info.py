"""What a recording holds, read from its headers alone.

A format turns files into a :class:`RecordingInfo`: streams, what their numbers mean, where in time
they lie, and a *layout* per stretch without gaps that says how the stored numbers become a buffer.
Nothing here opens data; :mod:`ecogsource.io.recording` does.
"""

from __future__ import annotations

import errno
import struct
import tokenize
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ecogsource.errors import CorruptDataError, DataPathError, EcogSourceError, GapError

if TYPE_CHECKING:
    from .layouts import Layout

# Opening again may succeed after these: they say nothing of the file's content.
_REFUSALS = {
    errno.EACCES,
    errno.EPERM,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENAMETOOLONG,
    errno.ELOOP,
}

# What parsers of damaged files raise.
_TRIPPED_OVER = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    tokenize.TokenError,
)

__all__ = ["Event", "Events", "RecordingInfo", "Segment", "StreamInfo"]


@contextmanager
def damage_is_typed(path: str | PathLike[str]) -> Iterator[None]:
    """Turn what a parser of a damaged file trips over into one of our errors.

    Formats check what their specifications say. This is the net below them: a header is data from
    other people, and whatever a changed byte leads to is damage of the file, not a fault of the
    caller.

    Parameters
    ----------
    path : path-like
        The file that is read.

    Raises
    ------
    CorruptDataError
        Instead of any error of parsing.
    DataPathError
        Instead of the system's errors for files that are missing.
    OSError
        What the system refuses, such as a lack of permission or of descriptors, says it itself.
    """
    try:
        yield
    except EcogSourceError:
        raise
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataPathError(f"cannot open {str(error.filename or path)!r}: {error}") from error
    except Exception as error:
        # Some libraries raise the plain class, which names nothing to catch.
        if type(error) is not Exception and not isinstance(error, _TRIPPED_OVER):
            raise
        if isinstance(error, OSError) and error.errno in _REFUSALS:
            raise
        raise CorruptDataError(
            f"the file cannot be understood ({type(error).__name__}: {error}); it is damaged, or "
            "not quite of this format",
            path,
        ) from error


class Event(NamedTuple):
    """One event or annotation.

    Parameters
    ----------
    time : float
        Onset in seconds on the clock of the recording's streams.
    duration : float
        Duration in seconds; NaN where the format does not say.
    label : str
        Text of an annotation, or the value of a marker.
    kind : str
        What sort of event it is: ``"annotation"``, ``"ttl"``, ``"comment"``, ``"spike"``, ...
    sample : int
        Sample number as stored by the format; -1 where the format stores seconds only.
    """

    time: float
    duration: float
    label: str
    kind: str
    sample: int


class Events(Sequence[Event]):
    """The events of a recording as columns, in the order of time.

    Parameters
    ----------
    time : array_like of float
        Onsets in seconds, shape (n,).
    label : sequence of str
        Texts, n of them.
    kind : str or sequence of str
        One kind for all, or n.
    duration : array_like of float, optional
        Durations in seconds; NaN if not given.
    sample : array_like of int, optional
        Sample numbers; -1 if not given.
    """

    def __init__(
        self,
        time: Any = (),
        label: Sequence[str] | np.ndarray = (),
        kind: str | Sequence[str] | np.ndarray = "event",
        duration: Any = None,
        sample: Any = None,
    ) -> None:
        onsets = np.asarray(time, dtype=np.float64)
        order = np.argsort(onsets, kind="stable")
        n = len(onsets)
        self.time = onsets[order]
        self.label = np.asarray(label, dtype=object).reshape(n)[order]
        kinds = [kind] * n if isinstance(kind, str) else kind
        self.kind = np.asarray(kinds, dtype=object).reshape(n)[order]
        self.duration = (
            np.full(n, np.nan) if duration is None else np.asarray(duration, np.float64)[order]
        )
        self.sample = (
            np.full(n, -1, np.int64) if sample is None else np.asarray(sample, np.int64)[order]
        )

    @classmethod
    def concatenate(cls, tables: Sequence[Events]) -> Events:
        """Merge several tables into one, ordered by time."""
        if not tables:
            return cls()

        def column(name: str) -> Any:
            return np.concatenate([getattr(table, name) for table in tables])

        return cls(
            column("time"),
            column("label"),
            column("kind"),
            duration=column("duration"),
            sample=column("sample"),
        )

    def select(self, kind: str) -> Events:
        """Return the events of one kind."""
        keep = self.kind == kind
        return Events(
            self.time[keep],
            self.label[keep],
            self.kind[keep],
            self.duration[keep],
            self.sample[keep],
        )

    def __len__(self) -> int:
        return len(self.time)

    def __getitem__(self, index: Any) -> Any:
        """Return one `Event`, or a table for anything else that indexes an array."""
        if isinstance(index, (int, np.integer)):
            return Event(
                float(self.time[index]),
                float(self.duration[index]),
                str(self.label[index]),
                str(self.kind[index]),
                int(self.sample[index]),
            )
        return Events(
            self.time[index],
            self.label[index],
            self.kind[index],
            self.duration[index],
            self.sample[index],
        )

    def __iter__(self) -> Iterator[Event]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        counts = {kind: int((self.kind == kind).sum()) for kind in dict.fromkeys(self.kind)}
        return f"<{len(self)} events: {counts}>"


@dataclass(frozen=True)
class Segment:
    """A stretch of a stream without gaps.

    Parameters
    ----------
    layout : Layout
        How the stored numbers become a buffer of shape (channels, samples).
    start_sample : int
        Sample number of the first sample on the clock of its stream.
    """

    layout: Layout
    start_sample: int = 0

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return int(self.layout.shape[1])

    @property
    def stop_sample(self) -> int:
        """Sample number that follows the last sample."""
        return self.start_sample + self.n_samples


@dataclass(frozen=True)
class StreamInfo:
    """A group of channels with one rate and one clock.

    Physical values are ``stored * gain + offset`` in `channel_units`.

    Parameters
    ----------
    name : str
        Name of the stream, unique in its recording.
    kind : str
        ``"electrode"``, ``"aux"``, ``"adc"``, ``"dac"``, ``"supply"``, ``"temperature"``,
        ``"digital"``, ``"stim"``, ``"sync"`` or ``"signal"`` (anything).
    fs : float or None
        Sampling rate in Hz; None where the file does not say.
    channel_names : tuple of str
        As in the file; they may repeat.
    channel_units : tuple of str
        Unit of every channel after scaling.
    segments : tuple of Segment
        In the order of the file.
    gain, offset : numpy.ndarray or None
        Per channel, shape (channels,); None for 1 and 0.
    start_time : float
        Time in seconds of sample number 0 on the clock that all streams share.
    channel_info : mapping
        Further values per channel as the vendor names them, each a tuple.
    """

    name: str
    kind: str
    fs: float | None
    channel_names: tuple[str, ...]
    channel_units: tuple[str, ...]
    segments: tuple[Segment, ...]
    gain: np.ndarray | None = None
    offset: np.ndarray | None = None
    start_time: float = 0.0
    channel_info: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    @property
    def n_channels(self) -> int:
        """Number of channels."""
        return len(self.channel_names)

    @property
    def n_samples(self) -> int:
        """Number of stored samples of all segments together."""
        return sum(segment.n_samples for segment in self.segments)

    @property
    def dtype(self) -> np.dtype:
        """Type of the stored numbers, in native byte order."""
        return self.segments[0].layout.dtype.newbyteorder("=")

    @property
    def units(self) -> str | None:
        """The unit if all channels have the same, ``"mixed"`` if not, None without any."""
        units = set(self.channel_units)
        if len(units) > 1:
            return "mixed"
        return (units.pop() or None) if units else None

    @property
    def gaps(self) -> list[tuple[int, int]]:
        """Gaps as (sample number that was expected, sample number that came)."""
        pairs = zip(self.segments[:-1], self.segments[1:], strict=True)
        return [
            (before.stop_sample, after.start_sample)
            for before, after in pairs
            if before.stop_sample != after.start_sample
        ]

    @property
    def start_sample(self) -> int:
        """Sample number of the first stored sample."""
        return self.segments[0].start_sample

    @property
    def units_scale(self) -> tuple[Any, Any] | None:
        """Gain and offset as the buffers take them, ``(stored + offset) * factor``.

        Each is a number if all channels share it, else an array of shape (channels, 1). None if
        numbers are in units as stored.
        """
        return scale_of(self.gain, self.offset)

    def sample_numbers(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Sample numbers on the stream's clock of stored samples.

        Parameters
        ----------
        start, stop : int, optional
            Range of stored samples, counted over all segments.

        Returns
        -------
        numpy.ndarray
            int64, shape (stop - start,); jumps at the gaps.
        """
        start, stop, _ = slice(start, stop).indices(self.n_samples)
        parts, position = [], 0
        for segment in self.segments:
            low, high = max(start, position), min(stop, position + segment.n_samples)
            if low < high:
                shift = segment.start_sample - position
                parts.append(np.arange(low + shift, high + shift, dtype=np.int64))
            position += segment.n_samples
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    def times(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Times in seconds of stored samples, as `sample_numbers` divided by the rate.

        Raises
        ------
        GapError
            If the rate is not known.
        """
        if self.fs is None:
            raise GapError(f"stream {self.name!r} has no sampling rate, so it has no times")
        return self.sample_numbers(start, stop) / self.fs + self.start_time


def scale_of(gain: np.ndarray | None, offset: np.ndarray | None) -> tuple[Any, Any] | None:
    """Turn ``stored * gain + offset`` into the ``(stored + offset) * factor`` of buffers.

    Parameters
    ----------
    gain, offset : numpy.ndarray or None
        One value per channel, or None for 1 and 0.

    Returns
    -------
    tuple or None
        Offset and factor: a number each if all channels share it, else shape (channels, 1).
    """
    if gain is None and offset is None:
        return None
    gain = np.ones(1) if gain is None else np.asarray(gain, np.float64)
    offset = np.zeros(1) if offset is None else np.asarray(offset, np.float64)
    return _shared(offset / gain), _shared(gain)


def _shared(values: np.ndarray) -> Any:
    return float(values[0]) if len(values) and (values == values[0]).all() else values[:, None]


@dataclass(frozen=True)
class RecordingInfo:
    """Everything that the headers of a recording say.

    Parameters
    ----------
    path : str
        File or folder.
    format : str
        Name of the format in the registry.
    streams : tuple of StreamInfo
        The main stream first.
    header : mapping
        The vendor's header, under the vendor's names.
    start_datetime : datetime or None
        Wall-clock time of time 0.
    read_events : callable or None
        Reads the events; called when they are first asked for.
    warnings : tuple of str
        Damage or oddities that were tolerated.
    """

    path: str
    format: str
    streams: tuple[StreamInfo, ...]
    header: Mapping[str, Any] = field(default_factory=dict)
    start_datetime: datetime | None = None
    read_events: Callable[[], Events] | None = None
    warnings: tuple[str, ...] = ()

    @cached_property
    def events(self) -> Events:
        """Events and annotations, read when first asked for."""
        if self.read_events is None:
            return Events()
        with damage_is_typed(self.path):
            return self.read_events()

    @property
    def sites(self) -> np.ndarray | None:
        """Row and column of each electrode of the main stream, int, (channels, 2), if known."""
        values = self.streams[0].channel_info if self.streams else {}
        if "row" not in values or "col" not in values:
            return None
        return np.asarray([values["row"], values["col"]], dtype=np.int64).T

    @property
    def stream_names(self) -> tuple[str, ...]:
        """Names of the streams, main stream first."""
        return tuple(stream.name for stream in self.streams)

    def stream(self, name: str | None = None) -> StreamInfo:
        """Return a stream by name; the main one without a name.

        Raises
        ------
        KeyError
            If there is no such stream; the message lists those there are.
        """
        for stream in self.streams:
            if name is None or stream.name == name:
                return stream
        names = ", ".join(repr(n) for n in self.stream_names) or "none"
        raise KeyError(f"no stream {name!r} in {self.path!r}; it has: {names}")
