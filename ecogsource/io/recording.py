"""Opening a recording: the headers become sources, and gaps are never hidden."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ecogsource._closing import Closing
from ecogsource.datasource import MappedSource
from ecogsource.errors import DataPathError, FormatError, GapError

from .info import Events, RecordingInfo, Segment, StreamInfo, damage_is_typed
from .registry import find_format

if TYPE_CHECKING:
    from ecogsource.buffers import Buffer
    from ecogsource.datasource import ElectrodeDataSource

__all__ = ["Recording", "SegmentSource", "open_recording", "read_info"]

logger = logging.getLogger(__name__)

GAP_POLICIES = ("raise", "segment", "fill")


class SegmentSource(MappedSource):
    """A source of one stretch of a recording that has gaps.

    It is a `MappedSource` that knows where it lies, so that joining it to what does not follow
    it is refused.

    Parameters
    ----------
    *args, **kwargs
        As for `MappedSource`.
    start_sample : int
        Sample number of the first sample on the clock of the recording.
    """

    def __init__(self, *args: Any, start_sample: int = 0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.start_sample = start_sample

    def join(self, other: ElectrodeDataSource, *more: ElectrodeDataSource) -> MappedSource:
        """Join with the sources that follow.

        Parameters
        ----------
        other, *more : ElectrodeDataSource
            What follows, in order.

        Returns
        -------
        MappedSource
            One source.

        Raises
        ------
        GapError
            If a segment does not start where the one before it stops.
        """
        before: ElectrodeDataSource = self
        for after in (other, *more):
            _refuse_hidden_gap(before, after)
            before = after
        return super().join(other, *more)


def _refuse_hidden_gap(before: ElectrodeDataSource, after: ElectrodeDataSource) -> None:
    origin, start = (getattr(source, "start_sample", None) for source in (before, after))
    if origin is None or start is None or start == origin + before.shape[1]:
        return
    stop = origin + before.shape[1]
    raise GapError(
        f"a segment stops at sample {stop}, the next starts at {start}: joining would hide a gap "
        f"of {start - stop} samples. Open the recording with gaps='fill' for a continuous time "
        "line"
    )


class _Streams(Mapping[str, "MappedSource"]):
    """Name to source; a source is made when it is first asked for."""

    def __init__(self, names: tuple[str, ...], make: Callable[[str], MappedSource]) -> None:
        self._names, self._make = names, make
        self._made: dict[str, MappedSource] = {}

    def __getitem__(self, name: str) -> MappedSource:
        if name not in self._names:
            raise KeyError(f"no stream {name!r}; there are: {', '.join(self._names) or 'none'}")
        if name not in self._made:
            self._made[name] = self._make(name)
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return f"<streams: {', '.join(self._names) or 'none'}>"


class Recording(Closing):
    """One recording of an acquisition system.

    Made by `open_recording`.

    Parameters
    ----------
    info : RecordingInfo
        What the headers say.
    stream : str, optional
        Name of the main stream.
    gaps : {'raise', 'segment', 'fill'}
        What to do where time is missing.
    fill_value : float
        What is read in gaps with ``gaps='fill'``.

    Attributes
    ----------
    info : RecordingInfo
        What the headers say.
    streams : mapping of str to MappedSource
        The streams as sources of channels x samples.
    gaps : str
        The policy.
    """

    def __init__(
        self,
        info: RecordingInfo,
        stream: str | None = None,
        gaps: str = "raise",
        *,
        fill_value: float = np.nan,
    ) -> None:
        if gaps not in GAP_POLICIES:
            raise ValueError(f"gaps is {gaps!r}, expected one of {GAP_POLICIES}")
        self.info, self.gaps = info, gaps
        self._fill_value = fill_value
        self._main = info.stream(stream).name if info.streams or stream is not None else None
        if gaps == "raise" and self._main is not None:
            # Other streams, such as events of a behaviour, refuse when they are asked for.
            refuse_gaps(info, info.stream(self._main))
        self.streams: Mapping[str, MappedSource] = _Streams(info.stream_names, self._make)
        self._segments: dict[str, list[SegmentSource]] = {}

    @property
    def source(self) -> MappedSource:
        """The main stream.

        Raises
        ------
        FormatError
            If the recording holds no samples.
        GapError
            If the stream has gaps and was opened with ``gaps='segment'``.
        """
        if self._main is None:
            raise FormatError(
                f"{self.info.path!r} holds no continuous data, only {len(self.events)} events"
            )
        return self.streams[self._main]

    @property
    def segments(self) -> list[SegmentSource]:
        """The main stream, cut at its gaps: one source per stretch."""
        return [] if self._main is None else self.segments_of(self._main)

    def segments_of(self, stream: str) -> list[SegmentSource]:
        """Return a stream cut at its gaps.

        Parameters
        ----------
        stream : str
            Name of the stream.

        Returns
        -------
        list of SegmentSource
            One source per stretch, each with its `start_sample`.
        """
        if stream not in self._segments:
            info = self.info.stream(stream)
            self._segments[stream] = [self._segment(info, one) for one in info.segments]
        return self._segments[stream]

    @property
    def events(self) -> Events:
        """Events and annotations, read when first asked for."""
        return self.info.events

    def close(self) -> None:
        """Let go of all files."""
        made = [self.streams[name] for name in getattr(self.streams, "_made", {})]
        for source in [*made, *(s for group in self._segments.values() for s in group)]:
            source.data_buffer.close()

    def __repr__(self) -> str:
        lines = [f"<Recording {self.info.path!r}, format {self.info.format!r}"]
        lines += [
            f"  {s.name}: {s.n_channels} channels x {s.n_samples} samples"
            + ("" if s.fs is None else f" at {s.fs:g} Hz")
            + (f", {len(s.gaps)} gaps" if s.gaps else "")
            for s in self.info.streams
        ]
        lines += [f"  warning: {text}" for text in self.info.warnings]
        return "\n".join(lines) + ">"

    # -- making sources ------------------------------------------------------------------------

    def _make(self, name: str) -> MappedSource:
        info = self.info.stream(name)
        if len(info.segments) == 1:
            return _source(info, self._open(info, info.segments[0]))
        if self.gaps == "raise":
            refuse_gaps(self.info, info)
        if info.gaps and self.gaps == "segment":
            raise GapError(
                f"stream {name!r} has {len(info.gaps)} gaps, so it is no single source; "
                f"use recording.segments_of({name!r})"
            )
        parts = [self._open(info, segment) for segment in info.segments]
        if info.gaps and self.gaps == "fill":
            return _source(info, _filled(info, parts, self._fill_value))
        from ecogsource.buffers import BufferBinder

        return _source(info, BufferBinder(parts, axis=1))

    def _open(self, info: StreamInfo, segment: Segment) -> Buffer:
        with damage_is_typed(self.info.path):
            return segment.layout.open(info.units_scale)

    def _segment(self, info: StreamInfo, segment: Segment) -> SegmentSource:
        buffer = self._open(info, segment)
        return SegmentSource(buffer, start_sample=segment.start_sample, **_labels(info))


def _labels(info: StreamInfo) -> dict[str, Any]:
    return {"fs": info.fs, "units": info.units, "channel_names": list(info.channel_names)}


def _source(info: StreamInfo, buffer: Buffer) -> MappedSource:
    return MappedSource(buffer, **_labels(info))


def _filled(info: StreamInfo, parts: list[Buffer], fill_value: float) -> Buffer:
    from .views import GapFillBuffer

    origin = info.start_sample
    return GapFillBuffer(parts, [s.start_sample - origin for s in info.segments], fill_value)


def refuse_gaps(info: RecordingInfo, stream: StreamInfo) -> None:
    """Raise `GapError`, saying where the first gap is, if a stream has gaps."""
    if not stream.gaps:
        return
    expected, came = stream.gaps[0]
    seconds = "" if stream.fs is None else f" ({(came - expected) / stream.fs:g} s)"
    raise GapError(
        f"{info.path!r}: stream {stream.name!r} has {len(stream.gaps)} gaps, the first after "
        f"sample {expected}: sample {came} came next{seconds}. Open it with gaps='segment' for "
        "a list of sources, or gaps='fill' for a continuous time line"
    )


def read_info(path: str | Path, *, format: str | None = None, **options: Any) -> RecordingInfo:
    """Read the headers of a recording.

    Parameters
    ----------
    path : path-like
        File or folder.
    format : str, optional
        Name of the format; found from the content and the extension if not given.
    **options
        What the format allows, such as ``allow_truncated``, or for plain files ``dataset``,
        ``fs``, ``dtype``, ``n_channels``, ``order``, ``offset``.

    Returns
    -------
    RecordingInfo
        Streams, events and header.

    Raises
    ------
    DataPathError
        If there is nothing at `path`, or a file that belongs to it is missing.
    FormatError
        If the format is unknown or the file is not what it seems.
    CorruptDataError
        If the file is truncated or contradicts its header.
    MissingDependencyError
        If reading the format needs a package that is not installed.
    TypeError
        If the format has no such option.
    """
    if path == "":
        # It would stand for the current folder.
        raise DataPathError("the name of the file or folder is empty")
    path = Path(path).expanduser().absolute()
    if format is None and {"dtype", "n_channels"} & set(options) and path.is_file():
        format = "flat"
    fmt = find_format(path, format)
    reader = fmt.load().read_info
    known = [p for p in inspect.signature(reader).parameters if p != "path"]
    unknown = sorted(set(options) - set(known))
    if unknown == ["allow_truncated"] and not options["allow_truncated"]:
        options.pop("allow_truncated")
    elif unknown:
        raise TypeError(
            f"format {fmt.name!r} has no option {', '.join(unknown)}; "
            f"it has: {', '.join(known) or 'none'}"
        )
    _check_rate(options.get("fs"))
    with damage_is_typed(path):
        info: RecordingInfo = reader(path, **options)
    for text in info.warnings:
        logger.warning("%s: %s", path, text)
    return info


def _check_rate(fs: Any) -> None:
    """Refuse what the caller got wrong before it looks like damage of the file."""
    try:
        good = fs is None or float(fs) > 0
    except (TypeError, ValueError):
        good = False
    if not good:
        raise FormatError(f"fs={fs!r} is not a sampling rate in Hz")


def open_recording(
    path: str | Path,
    stream: str | None = None,
    gaps: str = "raise",
    *,
    format: str | None = None,
    fill_value: float = np.nan,
    **options: Any,
) -> Recording:
    """Open what an acquisition system wrote, as it is.

    Only headers are read; data are mapped when they are asked for.

    Parameters
    ----------
    path : path-like
        File or folder.
    stream : str, optional
        Name of the stream to use as the main one; by default the recording's main stream.
    gaps : {'raise', 'segment', 'fill'}
        If time is missing in a stream: refuse to open (`GapError`), give one source per stretch
        (`Recording.segments`), or give a continuous time line with `fill_value` in the gaps.
    format : str, optional
        Name of the format; found from the content and the extension if not given.
    fill_value : float
        What is read in the gaps with ``gaps='fill'``.
    **options
        What the format allows; see `read_info`.

    Returns
    -------
    Recording
        Its `streams` are sources of channels x samples in physical units; ``source.raw`` gives
        stored numbers.

    Raises
    ------
    GapError
        If a stream has gaps and `gaps` is ``'raise'``.
    KeyError
        If there is no stream of that name.
    DataPathError, FormatError, CorruptDataError, MissingDependencyError, TypeError
        As `read_info`.

    Examples
    --------
    >>> with open_recording("night.edf") as recording:  # doctest: +SKIP
    ...     second = recording.source[:, :512]
    """
    info = read_info(path, format=format, **options)
    return Recording(info, stream, gaps, fill_value=fill_value)
