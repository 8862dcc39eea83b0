"""Recordings as their acquisition system wrote them, opened through `ecogsource.io`."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ecogsource.datasource import MappedSource
from ecogsource.devices.triggers import Edges, words_of_edges
from ecogsource.errors import ConfigError

if TYPE_CHECKING:
    from ecogsource.io import Recording, StreamInfo

__all__ = ["open_vendor", "ttl_triggers"]

# Open Ephys wrote "3:on" and "3:off" for line 3; since its binary format it writes 4 and -4.
_NAMED_STATE = re.compile(r"(\d+):(on|off)")
_SIGNED_STATE = re.compile(r"-?\d+")
# Of a sample: what is closer than this is not later, but rounded.
_TICK_DIGITS = 4


def open_vendor(
    path: Path,
    units: str | None,
    names: Mapping[str, str],
    *,
    field: str = "data",
    gaps: str = "raise",
) -> MappedSource:
    """Map the main stream of a recording, and what runs on its clock.

    Parameters
    ----------
    path : Path
        A file or folder that is not HDF5.
    units : str or None
        The unit wanted; None for that of the file.
    names : mapping of str to str
        Kind of a stream (``'adc'``, ``'aux'``, ``'digital'``) -> name of the aligned array made
        of it, if it has the rate and the length of the main stream.
    field : str
        Name that the data get in files made of the source.
    gaps : {'raise', 'fill'}
        What to do where time is missing, see `ecogsource.io.open_recording`.

    Returns
    -------
    MappedSource
        The main stream with its aligned arrays.

    Raises
    ------
    ConfigError
        If the file is in another unit than the one wanted.
    FormatError, CorruptDataError, GapError, MissingDependencyError
        As `ecogsource.io.open_recording`.
    """
    from ecogsource.io import open_recording

    recording = open_recording(path, gaps=gaps)
    source = recording.source
    stored = source.units
    if units is not None and stored is not None and _plain(stored) != _plain(units):
        raise ConfigError(f"{path} is read in {stored}; set units = {stored}, not {units}")
    aligned = {
        names[info.kind]: recording.streams[info.name].as_buffer()
        for info in recording.info.streams
        if info.kind in names and (info.fs, info.n_samples) == (source.fs, source.shape[1])
    }
    return MappedSource(
        source.as_buffer(),
        field,
        aligned_arrays=aligned,
        fs=source.fs,
        units=stored or units,
        channel_names=source.channel_names,
    )


def _plain(unit: str) -> str:
    return unit.replace("µ", "u").replace("μ", "u").lower()


def ttl_triggers(path: Path, lines: Sequence[int], ratio: float = 1.0) -> dict[str, Any] | None:
    """Read triggers from the events that a recording stores beside its samples.

    Parameters
    ----------
    path : Path
        A file or folder that is not HDF5.
    lines : sequence of int
        Digital lines, counted from 0. Several are the bits of words.
    ratio : float
        By how much the data were downsampled.

    Returns
    -------
    dict or None
        ``pos_edge``, ``neg_edge`` (int64, in samples from the start of the data), ``trig_chan``
        (None) and for several lines ``trig_words``. None if there are no events of these lines.
    """
    from ecogsource.io import open_recording

    recording = open_recording(path, gaps="fill")
    if not recording.info.streams:
        return None
    stream = recording.info.stream(None)
    start, stop = stream.start_sample, stream.segments[-1].stop_sample
    moments: dict[tuple[int, bool], set[int]] = {}
    for line, state, sample in (*_named_edges(recording), *_edges_of_words(recording, stream)):
        if start <= sample < stop:
            moments.setdefault((line, state), set()).add(int((sample - start) // ratio))
    if not any(line in lines for line, _ in moments):
        return None
    edges = [
        Edges(_sorted(moments.get((line, True), ())), _sorted(moments.get((line, False), ())), None)
        for line in lines
    ]
    found: dict[str, Any] = {"trig_chan": None}
    if len(edges) == 1:
        return {"pos_edge": edges[0].rising, "neg_edge": edges[0].falling, **found}
    times, words = words_of_edges(edges, int((stop - 1 - start) // ratio) + 1)
    high = words != 0
    return {
        "pos_edge": times[high],
        "neg_edge": times[~high],
        "trig_words": words[high],
        **found,
    }


def _named_edges(recording: Recording) -> Iterator[tuple[int, bool, int]]:
    """Give line, new state and sample of events that name them, as Open Ephys writes."""
    for event in recording.events.select("ttl"):
        state = _line_state(event.label)
        if state is not None:
            yield (*state, event.sample)


def _edges_of_words(recording: Recording, stream: StreamInfo) -> Iterator[tuple[int, bool, int]]:
    """Give line, new state and sample where the words of a digital input change, as in NEV files.

    Their clock is not that of the samples: an edge belongs to the first sample that is not before
    it. Lines are low before the first word.
    """
    if stream.fs is None:
        return
    before = 0
    for event in recording.events.select("digital"):
        word = int(event.label)
        sample = math.ceil(round((event.time - stream.start_time) * stream.fs, _TICK_DIGITS))
        for line in range((word ^ before).bit_length()):
            if (word ^ before) >> line & 1:
                yield line, bool(word >> line & 1), sample
        before = word


def _line_state(label: str) -> tuple[int, bool] | None:
    """Line and new state of an event."""
    named = _NAMED_STATE.fullmatch(label)
    if named:
        return int(named[1]), named[2] == "on"
    if _SIGNED_STATE.fullmatch(label) and int(label) != 0:
        return abs(int(label)) - 1, int(label) > 0
    return None


def _sorted(moments: Any) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.array(sorted(moments), dtype=np.int64)
