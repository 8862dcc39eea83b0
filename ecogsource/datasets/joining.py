"""Joining whole datasets: data, aligned arrays, triggers, experiments and channel maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate
from typing import Any, Literal

import numpy as np

from ecogsource.buffers import ArrayBuffer, Buffer, BufferBinder, ReadOnlyBuffer, as_buffer
from ecogsource.channel_map import common_sites
from ecogsource.datasource import ElectrodeDataSource, MappedSource, PlainArraySource
from ecogsource.devices.dataset import Dataset
from ecogsource.errors import JoinError
from ecogsource.expconfig import join_experiments
from ecogsource.memory import check_allocation

__all__ = ["join_datasets"]

_EDGES = ("pos_edge", "neg_edge")
_SHARED = ("Fs", "units", "bandpass", "notches")
_SOURCES = ("ground_chans", "ref_chans")


def join_datasets(
    all_sets: Sequence[Dataset],
    popdata: bool = False,  # noqa: FBT001, FBT002 - ecogdata's signature
    shared_mem: bool = False,  # noqa: FBT001, FBT002
    source_type: Literal["", "mapped", "loaded"] = "",
) -> Dataset:
    """Join datasets end to end.

    Channels are matched by their electrode sites: the result has those that are active in every
    set, in the order of the first. Sets may be masked, ordered and stored differently. Time
    stamps of triggers and experiments count from the start of the first set.

    Parameters
    ----------
    all_sets : sequence of Dataset
        Datasets with ``data``, ``Fs`` and, all or none, ``chan_map``.
    popdata : bool
        Take ``data`` and the aligned arrays out of the given sets, so that memory of loaded sets
        can be freed. Otherwise they are not changed in any way.
    shared_mem : bool
        With a result in memory: use memory that is sent to other processes by name.
    source_type : {'', 'mapped', 'loaded'}
        Whether the result stays on disk (nothing is copied) or is read into memory; by default
        in memory if all sets are, otherwise on disk. Sets on disk and in memory mix.

    Returns
    -------
    Dataset
        The joined set. Entries that are not known here are kept if they are equal in all sets.

    Raises
    ------
    JoinError
        If there is nothing to join, if rates, units or filters differ, if a channel map does not
        fit its data, or if no site is active in all sets; the message names the odd set.
    MemoryBlowOutError
        If a result in memory would exceed the memory limit.
    """
    sets = list(all_sets)
    if not sets:
        raise JoinError("there is nothing to join: no datasets are given")
    if source_type not in {"", "mapped", "loaded"}:
        raise JoinError(f"source_type must be '', 'mapped' or 'loaded', got {source_type!r}")
    _check_shared(sets)
    sources, chan_map = _matching_channels(sets)
    loaded = source_type == "loaded" or (
        not source_type and all(isinstance(source, PlainArraySource) for source in sources)
    )
    join: Callable[..., ElectrodeDataSource] = (
        partial(_join_loaded, shared=shared_mem) if loaded else _join_mapped
    )
    data = join(sources)
    offsets = [0, *accumulate(source.shape[1] for source in sources)][:-1]
    joined = Dataset(data=data)
    joined.update(data.aligned_arrays)
    joined.name = ", ".join(_name(one, k) for k, one in enumerate(sets))
    _join_events(joined, sets, offsets)
    if loaded and isinstance(joined.trig_chan, Buffer):
        joined.trig_chan = joined.trig_chan[...]
    joined.chan_map = chan_map
    for name in _SHARED:
        if name in sets[0]:
            joined[name] = sets[0][name]
    for name in _SOURCES:
        parts: list[Any] = [one.get(name) for one in sets]
        whole = all(part is not None and len(part) == len(parts[0]) for part in parts)
        joined[name] = join(parts) if whole else None
    _keep_equal_entries(joined, sets)
    if popdata:
        for one in sets:
            for name in ("data", *data.aligned_arrays):
                one.pop(name, None)
    return joined


def _name(one: Dataset, number: int) -> str:
    return str(one.get("name", f"set {number}"))


def _check_shared(sets: Sequence[Dataset]) -> None:
    """Refuse sets of different rates, units or filters."""
    first = sets[0]
    for number, one in enumerate(sets):
        if not isinstance(one.get("data"), ElectrodeDataSource):
            raise JoinError(
                f"{_name(one, number)} has no data: an earlier join with popdata=True took them"
            )
        for key in _SHARED:
            if one.get(key) != first.get(key):
                raise JoinError(
                    f"cannot join: {_name(one, number)} has {key} {one.get(key)!r}, "
                    f"{_name(first, 0)} has {first.get(key)!r}"
                )


def _matching_channels(sets: Sequence[Dataset]) -> tuple[list[ElectrodeDataSource], Any]:
    """Sources of the channels at common sites, all in one order, and their map."""
    sources = [one.data for one in sets]
    maps: list[Any] = [one.get("chan_map") for one in sets]
    if all(chan_map is None for chan_map in maps):
        return sources, None
    for number, (source, chan_map) in enumerate(zip(sources, maps, strict=True)):
        if chan_map is None:
            raise JoinError(f"cannot join: {_name(sets[number], number)} has no channel map")
        if len(chan_map) != len(source):
            raise JoinError(
                f"cannot join: the channel map of {_name(sets[number], number)} has "
                f"{len(chan_map)} channels, its data have {len(source)} active ones; use "
                "dataset.chan_map = dataset.chan_map.subset(mask) when you set a channel mask"
            )
    try:
        places = common_sites(maps)
    except ValueError as error:
        raise JoinError(f"cannot join: {error}") from error
    if not places[0].size:
        raise JoinError("cannot join: no electrode site is active in all sets")
    same = [
        np.array_equal(place, np.arange(len(s))) for place, s in zip(places, sources, strict=True)
    ]
    chosen = [
        source if unchanged else source.select_channels(place)
        for source, place, unchanged in zip(sources, places, same, strict=True)
    ]
    return chosen, maps[0].subset(places[0])


def _join_mapped(sources: Sequence[ElectrodeDataSource]) -> ElectrodeDataSource:
    """Join without copying, sources in memory among those on disk."""
    parts = [_as_mapped(source) for source in sources]
    names = list(dict.fromkeys(name for part in parts for name in part.aligned_arrays))
    if len({part.writeable for part in parts}) > 1:
        parts = [_read_only(part) for part in parts]
    for name in names:
        arrays = [part.aligned_arrays.get(name) for part in parts]
        if len({getattr(array, "writeable", None) for array in arrays}) > 1:
            for part, array in zip(parts, arrays, strict=True):
                if array is not None:
                    part.aligned_arrays[name] = ReadOnlyBuffer(as_buffer(array))
    return parts[0].join(parts[1], *parts[2:]) if len(parts) > 1 else parts[0]


def _as_mapped(source: ElectrodeDataSource) -> MappedSource:
    """A mapped source of its own, whose aligned arrays are buffers: inputs stay as they are."""
    if isinstance(source, MappedSource):
        twin = source.select_channels(slice(None))
    else:
        twin = _rebuilt(source, source.as_buffer())
    twin.aligned_arrays = {name: as_buffer(a) for name, a in source.aligned_arrays.items()}
    return twin


def _read_only(source: MappedSource) -> MappedSource:
    return _rebuilt(source, ReadOnlyBuffer(source.as_buffer())) if source.writeable else source


def _rebuilt(source: ElectrodeDataSource, buffer: Buffer) -> MappedSource:
    return MappedSource(
        buffer,
        source.electrode_field,
        aligned_arrays=source.aligned_arrays,
        fs=source.fs,
        units=source.units,
        channel_names=source.channel_names,
    )


def _join_loaded(sources: Sequence[ElectrodeDataSource], *, shared: bool) -> PlainArraySource:
    """Read all sources into one new array, each straight to its place."""
    joined = _join_mapped(sources)
    check_allocation(
        joined.shape[0] * joined.shape[1] * joined.dtype.itemsize,
        shape=joined.shape,
        dtype=joined.dtype,
        what="join",
    )
    matrix = joined.as_buffer().read(())
    loaded = PlainArraySource(
        matrix,
        joined.electrode_field,
        aligned_arrays={name: array[...] for name, array in joined.aligned_arrays.items()},
        fs=joined.fs,
        units=joined.units,
        channel_names=joined.channel_names,
    )
    return loaded.to_shared() if shared else loaded


def _join_events(joined: Dataset, sets: Sequence[Dataset], offsets: Sequence[int]) -> None:
    """Join triggers and experiments, counted from the start of the first set."""
    for name in _EDGES:
        if all(one.get(name) is not None for one in sets):
            edges = [one[name] + offset for one, offset in zip(sets, offsets, strict=True)]
            joined[name] = np.concatenate(edges)
    if all("trig_words" in one for one in sets):
        joined.trig_words = np.concatenate([one.trig_words for one in sets])
    lines: list[Any] = [one.get("trig_chan") for one in sets]
    alike = all(line is not None and line.shape[:-1] == lines[0].shape[:-1] for line in lines)
    joined.trig_chan = _join_lines(lines) if alike else None
    if all(one.get("exp") is not None for one in sets):
        joined.exp = join_experiments([one.exp for one in sets], offsets)


def _join_lines(lines: Sequence[Any]) -> Any:
    if all(isinstance(line, np.ndarray) for line in lines):
        return np.concatenate(lines, axis=-1)
    buffers = [
        ArrayBuffer(line, writeable=False) if isinstance(line, np.ndarray) else line
        for line in lines
    ]
    return BufferBinder([ReadOnlyBuffer(b) if b.writeable else b for b in buffers], axis=-1)


def _keep_equal_entries(joined: Dataset, sets: Sequence[Dataset]) -> None:
    first, *rest = sets
    for name, value in first.items():
        if name in joined or not all(name in one for one in rest):
            continue
        if isinstance(value, (ElectrodeDataSource, Buffer)):
            continue
        if all(np.array_equal(one[name], value) for one in rest):
            joined[name] = value
