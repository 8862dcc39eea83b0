"""What windows are cut from: one part per stretch of continuous data, whatever it came from."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ecogsource.buffers import (
    ArrayBuffer,
    Buffer,
    BufferBinder,
    ReadOnlyBuffer,
    SelectedBuffer,
    TransposedBuffer,
)
from ecogsource.buffers.views import ViewBuffer
from ecogsource.datasource import ElectrodeDataSource
from ecogsource.errors import FormatError, JoinError
from ecogsource.indexing import Selection, Selector, compose_selector, simplify
from ecogsource.windows.masks import Runs, mask_runs
from ecogsource.windows.opening import open_sources

__all__ = ["Part", "choose_channels", "find_parts", "set_units"]

_PREFIXES = {"": 1.0, "m": 1e-3, "u": 1e-6, "µ": 1e-6, "μ": 1e-6, "n": 1e-9}


class Part(NamedTuple):
    """One source as windows see it: where to read, and what is bad.

    Attributes
    ----------
    source : ElectrodeDataSource
        The source.
    bad : Runs
        Its bad samples.
    group : str
        The session it belongs to.
    given : int
        Number of what it came from, in the order given.
    buffer, channels, time_axis
        What is read for a window: a selector of channels and a range of samples of this buffer.
    factor : float
        What values are multiplied by.
    """

    source: ElectrodeDataSource
    bad: Runs
    group: str
    given: int
    buffer: Buffer
    channels: Selector
    time_axis: int
    factor: float = 1.0

    @classmethod
    def of(cls, source: ElectrodeDataSource, bad: Runs, group: str, given: int) -> Part:
        """Make a part of all active channels of a source."""
        return cls(source, bad, group, given, *_see_through(source, range(source.shape[0])))

    def with_channels(self, channels: Selector) -> Part:
        """Return the same part with some of the active channels of its source."""
        buffer, channels, time_axis = _see_through(self.source, channels)
        return self._replace(buffer=buffer, channels=channels, time_axis=time_axis)

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return self.source.shape[1]

    @property
    def n_channels(self) -> int:
        """Number of channels of a window."""
        return len(self.channels)  # type: ignore[arg-type]

    @property
    def name(self) -> str:
        """How messages call it."""
        return self.buffer.filename or ", ".join(sorted(self.files)) or repr(self.source)

    @property
    def files(self) -> frozenset[str]:
        """What the data are stored in."""
        return frozenset(_homes(self.buffer))

    def read(self, start: int, out: np.ndarray) -> None:
        """Read a window into memory of the caller.

        Parameters
        ----------
        start : int
            First sample.
        out : ndarray, shape (channels, samples)
            Where it goes.
        """
        time = range(start, start + out.shape[1])
        if self.time_axis:
            self.buffer.read_into(Selection((self.channels, time), out.shape), out)
        else:
            turned = out.T
            self.buffer.read_into(Selection((time, self.channels), turned.shape), turned)
        if self.factor != 1.0:
            np.multiply(out, self.factor, out=out)


def _see_through(source: ElectrodeDataSource, channels: Selector) -> tuple[Buffer, Selector, int]:
    """Find what active channels are in the buffer under all views, and its axis of time.

    Views are composed once here, so that a window costs one call of the buffer itself.
    """
    buffer, time_axis = source.as_buffer(), 1
    while isinstance(buffer, ViewBuffer):
        if isinstance(buffer, TransposedBuffer):
            time_axis = 1 - time_axis
        elif isinstance(buffer, SelectedBuffer) and buffer.axis != time_axis:
            channels = compose_selector(channels, buffer.positions)
        elif not isinstance(buffer, ReadOnlyBuffer):
            break
        buffer = buffer.buffer
    return buffer, channels, time_axis


def _homes(buffer: Buffer) -> Iterator[str]:
    """Name the files, or the arrays in memory, that a buffer is made of."""
    if isinstance(buffer, BufferBinder):
        for inner in buffer.buffers:
            yield from _homes(inner)
    elif isinstance(buffer, ViewBuffer):
        yield from _homes(buffer.buffer)
    elif isinstance(buffer, ArrayBuffer) and buffer.filename is None:
        yield f"array in memory at {buffer.array.__array_interface__['data'][0]:#x}"
    elif buffer.filename is not None:
        yield os.path.realpath(buffer.filename)


def find_parts(sources: Any, masks: Any, mask_pad_t: float) -> tuple[list[Part], list[Any]]:
    """Make parts of everything that data may come from.

    Parameters
    ----------
    sources : object
        One source or many, as `open_sources` takes them.
    masks : sequence of (array_like of bool, or None), or None
        Bad samples of each source, beside what a DataFile knows itself.
    mask_pad_t : float
        Seconds around bad samples that are bad too.

    Returns
    -------
    parts : list of Part
        One per stretch of continuous data.
    things : list
        What they came from, in the order given.

    Raises
    ------
    FormatError
        If a mask does not fit.
    JoinError
        If there are no sources.
    """
    given = list(open_sources(sources))
    if not given:
        raise JoinError("there are no sources to take windows from")
    if masks is not None and (isinstance(masks, Mapping) or len(masks) != len(given)):
        raise FormatError(f"masks must be a list of {len(given)}, one (or None) for each source")
    parts: list[Part] = []
    for number, opened in enumerate(given):
        mask = None if masks is None else masks[number]
        if mask is not None and len(opened.stretches) != 1:
            raise FormatError(
                f"source {number} has {len(opened.stretches)} stretches; mask each of them"
            )
        for source in opened.stretches:
            bad = _bad_samples(source, [opened.mask, mask], mask_pad_t)
            session = _group_of(source) if opened.group is None else opened.group
            parts.append(Part.of(source, bad, session, number))
    return parts, [opened.thing for opened in given]


def _group_of(source: ElectrodeDataSource) -> str:
    home = next(_homes(source.as_buffer()), "")
    return str(Path(home).parent) if os.sep in home else home


def _bad_samples(
    source: ElectrodeDataSource, masks: Sequence[ArrayLike | None], pad: float
) -> Runs:
    n_samples = source.shape[1]
    flags = None
    for mask in masks:
        if mask is None:
            continue
        array = np.asarray(mask)
        if array.dtype != bool or array.shape != (n_samples,):
            raise FormatError(
                f"a mask of samples for {source!r} is {n_samples} booleans, True for bad; got "
                f"{array.dtype} of shape {array.shape}"
            )
        flags = array if flags is None else flags | array
    runs = mask_runs(np.zeros(0, dtype=bool) if flags is None else flags)
    if not 0 <= pad < math.inf:
        raise ValueError(f"mask_pad_t is {pad!r}; times are seconds, 0 or more")
    if not pad or not len(runs.starts):
        return runs
    if source.fs is None:
        raise FormatError(f"mask_pad_t is in seconds, but the rate of {source!r} is not known")
    return runs.grown(round(pad * source.fs), n_samples)


# -- making parts alike ------------------------------------------------------------------------


def choose_channels(parts: Sequence[Part], channels: Any) -> list[Part]:
    """Take the same channels of every part.

    Parameters
    ----------
    parts : sequence of Part
        The parts.
    channels : None, 'common', int, slice, list of int or str, or mask
        None: all active channels. ``'common'``: those whose names are active channels of every
        source. Strings are names of channels; all else selects of the active channels.

    Returns
    -------
    list of Part
        Parts of equal numbers of channels.

    Raises
    ------
    JoinError
        If the parts differ in their number of channels, or a name is not known everywhere.
    IndexError
        If a source has no such channel.
    """
    wanted: Any = channels
    if isinstance(channels, str) and channels == "common":
        sets = [set(_names(part)) for part in parts[1:]]
        wanted = [name for name in _names(parts[0]) if all(name in names for names in sets)]
        if not wanted:
            raise JoinError("the sources have no channel name in common")
    elif isinstance(channels, str):
        wanted = [channels]
    elif isinstance(channels, int | np.integer):
        wanted = [int(channels)]
    chosen = [part if wanted is None else _chosen(part, wanted) for part in parts]
    for part in chosen[1:]:
        if part.n_channels != chosen[0].n_channels:
            raise JoinError(
                f"windows need the same channels everywhere: {part.name!r} has {part.n_channels}, "
                f"{chosen[0].name!r} has {chosen[0].n_channels}. Give channels='common' for those "
                "active in all sources, or a list of names"
            )
    return chosen


def _chosen(part: Part, wanted: Any) -> Part:
    if isinstance(wanted, list) and wanted and all(isinstance(name, str) for name in wanted):
        numbers = {name: number for number, name in enumerate(_names(part))}
        missing = [name for name in wanted if name not in numbers]
        if missing:
            raise JoinError(f"{part.name!r} has no active channel {missing[0]!r}")
        wanted = [numbers[name] for name in wanted]
    places = np.arange(part.source.shape[0])[wanted]
    if places.ndim != 1:
        raise IndexError(f"{wanted!r} does not select channels")
    return part.with_channels(simplify(places))


def _names(part: Part) -> list[str]:
    names = part.source.channel_names
    if names is None:
        raise JoinError(f"{part.name!r} has no names of channels")
    return names


def set_units(parts: Sequence[Part], units: str | None) -> tuple[list[Part], str | None]:
    """Bring all parts to the same units.

    Parameters
    ----------
    parts : sequence of Part
        The parts.
    units : str, optional
        Units to have, such as ``'uV'``; by default those that all have.

    Returns
    -------
    parts : list of Part
        The parts, with their factors.
    units : str or None
        Their units.

    Raises
    ------
    JoinError
        If the parts differ in units or rate.
    FormatError
        If units cannot be converted.
    """
    rates = {part.source.fs: part for part in parts if part.source.fs is not None}
    if len(rates) > 1:
        (rate, part), (other, odd) = list(rates.items())[:2]
        raise JoinError(
            f"windows need one rate: {odd.name!r} has {other:g} Hz, {part.name!r} {rate:g} Hz. "
            "Bring them to one rate with mirror()"
        )
    known = {part.source.units: part for part in parts if part.source.units is not None}
    if units is None:
        if len(known) > 1:
            raise JoinError(
                f"the sources have different units ({', '.join(known)}); say which to convert "
                "to with units="
            )
        return list(parts), next(iter(known), None)
    return [part._replace(factor=_factor(part, units)) for part in parts], units


def _factor(part: Part, units: str) -> float:
    given = part.source.units
    if given == units:
        return 1.0
    if given is None or given[-1:] != units[-1:]:
        raise FormatError(f"{part.name!r} is in {given or 'unknown units'}, not a kind of {units}")
    prefixes = [_PREFIXES.get(name[:-1]) for name in (given, units)]
    if None in prefixes:
        raise FormatError(f"cannot convert {given!r} of {part.name!r} to {units!r}")
    old, new = prefixes
    # Powers of ten: rounding keeps them exact where they can be.
    return 10.0 ** round(math.log10(old) - math.log10(new))  # type: ignore[arg-type]
