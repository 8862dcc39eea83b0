"""Sources as SpikeInterface recordings, and the other way round."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from ecogsource.buffers import Buffer
from ecogsource.datasource import MappedSource
from ecogsource.datasource.base import ElectrodeDataSource
from ecogsource.errors import FormatError, GapError, require
from ecogsource.indexing import Selection, compose_selector, normalize_outer

__all__ = ["SegmentBuffer", "from_spikeinterface", "to_spikeinterface"]

_EXTRA = "spikeinterface"
# SpikeInterface keeps gains and offsets to microvolts.
_TO_MICROVOLTS = {"uV": 1.0, "µV": 1.0, "mV": 1e3, "V": 1e6}


def to_spikeinterface(source: ElectrodeDataSource) -> Any:
    """Make a SpikeInterface recording of a source.

    Parameters
    ----------
    source : MappedSource or PlainArraySource
        Channels x time, with a rate.

    Returns
    -------
    spikeinterface.BaseRecording
        One segment; frames x channels, in the units of the source. If these are volts in some
        scale, gains to microvolts are set.

    Raises
    ------
    FormatError
        If the rate of the source is not known.
    MissingDependencyError
        If spikeinterface is not installed.
    """
    if not source.fs:
        raise FormatError("SpikeInterface needs a rate: give the source an fs (Hz)")
    recording_class, _ = _classes()
    return recording_class(source)


def from_spikeinterface(recording: Any, *, segment: int | None = None) -> MappedSource:
    """Make a source of a SpikeInterface recording.

    Parameters
    ----------
    recording : spikeinterface.BaseRecording
        Any recording, also one at the end of a chain of processing.
    segment : int, optional
        Which segment; needed if there are several, as there may be gaps between them.

    Returns
    -------
    MappedSource
        Channels x time, in microvolts if the recording has gains, else as it gives them.

    Raises
    ------
    GapError
        If the recording has several segments and none was chosen.
    FormatError
        If a gain is zero.
    """
    count = recording.get_num_segments()
    if segment is None and count > 1:
        raise GapError(
            f"the recording has {count} segments, between which time may be missing: choose one "
            "with segment=0, segment=1, ..."
        )
    scale = None
    # Both are None if they are not known.
    gains, offsets = recording.get_channel_gains(), recording.get_channel_offsets()
    if gains is not None and offsets is not None:
        gains, offsets = np.asarray(gains, float), np.asarray(offsets, float)
        if not gains.all():
            raise FormatError("a channel has a gain of 0: its values cannot be scaled")
        scale = (offsets / gains)[:, None], gains[:, None]
    return MappedSource(
        SegmentBuffer(recording, segment or 0, units_scale=scale),
        fs=float(recording.get_sampling_frequency()),
        units="uV" if scale is not None else None,
        channel_names=[str(name) for name in recording.get_channel_ids()],
    )


class SegmentBuffer(Buffer):
    """Channels x frames of one segment of a SpikeInterface recording.

    Parameters
    ----------
    recording : spikeinterface.BaseRecording
        What is read.
    segment : int
        Which segment.
    units_scale : float or (offset, factor), optional
        ``value = (stored + offset) * factor``.
    """

    def __init__(self, recording: Any, segment: int = 0, units_scale: Any = None) -> None:
        shape = (recording.get_num_channels(), recording.get_num_samples(segment))
        super().__init__(shape, recording.get_dtype(), units_scale=units_scale)
        self.recording, self.segment = recording, segment

    def _read_into(self, selection: Selection, out: np.ndarray) -> None:
        channels, times = selection.selectors
        span = np.atleast_1d(np.asarray(times, dtype=np.int64))
        low, high = int(span.min()), int(span.max()) + 1
        ids = self.recording.get_channel_ids()
        rows = np.atleast_1d(np.asarray(channels, dtype=np.int64))
        traces = self.recording.get_traces(
            self.segment, start_frame=low, end_frame=high, channel_ids=ids[rows]
        )
        values = traces.T[:, span - low].reshape(selection.shape)
        if self._scale is None:
            np.copyto(out, values, casting="same_kind")
        else:
            self._scale.select(selection.selectors).convert(values, out)

    def _temporary_bytes(self, selection: Selection) -> int:
        channels, times = selection.selectors
        span = np.atleast_1d(np.asarray(times, dtype=np.int64))
        rows = 1 if isinstance(channels, int) else len(channels)
        frames = int(span.max()) - int(span.min()) + 1 if span.size else 0
        return rows * frames * self.map_dtype.itemsize


@lru_cache(maxsize=1)
def _classes() -> tuple[Any, Any]:
    """Make the classes that SpikeInterface asks for; their base classes are its own."""
    core: Any = require("spikeinterface.core", _EXTRA)

    class SourceSegment(core.BaseRecordingSegment):
        """The samples of a source."""

        def __init__(self, buffer: Buffer, fs: float) -> None:
            super().__init__(sampling_frequency=fs)
            self.buffer = buffer

        def get_num_samples(self) -> int:
            return self.buffer.shape[1]

        def get_traces(
            self,
            start_frame: int | None = None,
            end_frame: int | None = None,
            channel_indices: Any = None,
        ) -> np.ndarray:
            n_channels, n_samples = self.buffer.shape
            times = range(n_samples)[slice(start_frame, end_frame)]
            rows: Any = slice(None) if channel_indices is None else channel_indices
            (channels,) = normalize_outer((rows,), (n_channels,)).selectors
            chosen = compose_selector(channels, range(n_channels))
            traces = np.empty((len(times), len(chosen)), self.buffer.dtype)  # type: ignore[arg-type]
            self.buffer.read_into(Selection.of((chosen, times)), traces.T)
            return traces

    class SourceRecording(core.BaseRecording):
        """A recording made of one source; it travels to other processes by the source's recipe."""

        def __init__(self, source: ElectrodeDataSource) -> None:
            names = source.channel_names
            ids = list(range(len(source))) if names is None else names
            super().__init__(sampling_frequency=source.fs, channel_ids=ids, dtype=source.dtype)
            self.add_recording_segment(SourceSegment(source.as_buffer(), float(source.fs or 0)))
            factor = _TO_MICROVOLTS.get(source.units or "")
            if factor is not None:
                self.set_channel_gains(factor)
                self.set_channel_offsets(0.0)
            self._kwargs = {"source": source}
            self._serializability["json"] = False

    for made in (SourceRecording, SourceSegment):
        # They are found again by these names.
        made.__qualname__ = made.__name__
    return SourceRecording, SourceSegment


def __getattr__(name: str) -> Any:
    """Give the classes by name, for SpikeInterface's workers."""
    if name in ("SourceRecording", "SourceSegment"):
        return _classes()[name == "SourceSegment"]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
