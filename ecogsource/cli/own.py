"""The main job on somebody's own files, whatever they turn out to be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ecogsource.cli.files import with_options
from ecogsource.cli.text import indented, say
from ecogsource.cli.tour import Tour, Trip, describe_source
from ecogsource.errors import DataPathError, EcogSourceError, GapError
from ecogsource.memory import format_bytes

__all__ = ["run_own_files"]

SIDECARS = (".json", ".pkl", ".npz", ".txt", ".xml", ".md", ".ini")
"""Files that describe recordings and hold none."""


@dataclass
class Found:
    """One recording in a file, or what else the file holds if `source` is None."""

    path: Path
    name: str
    source: Any
    sites: Any = None
    has_gaps: bool = False
    remarks: list[str] = field(default_factory=list)

    @property
    def kind(self) -> tuple[Any, ...]:
        """What recordings that belong together have in common."""
        source = self.source
        names = tuple(source.channel_names or ())
        return (self.path.parent, self.name, source.shape[0], source.dtype, source.fs, names)

    @property
    def title(self) -> str:
        """Name of the file and of the recording in it."""
        return f"{self.path.name}: {self.name}" if self.name else self.path.name


def run_own_files(paths: Sequence[Path], folder: Path, options: dict[str, Any]) -> int:
    """Open everything in `paths` that can be taken as a recording, and do the main job on it.

    Parameters
    ----------
    paths : sequence of pathlib.Path
        Files, or folders that are looked through.
    folder : pathlib.Path
        Where the pictures go.
    options : dict
        What the files do not say: ``dtype``, ``n_channels``, ``fs``, ``dataset``.

    Returns
    -------
    int
        Exit status: 2 if nothing could be opened.
    """
    search = _Search(options)
    for path in paths:
        if not path.exists():
            raise DataPathError(f"no such file or folder: {str(path)!r}")
        search.look(path)
    say("")
    for number, group in enumerate(_alike(search.found)):
        trip = _trip(group)
        say(f"--- {trip.title}", f"    {describe_source(trip.source)}", "")
        trip.run(Tour(), folder / f"overview_{number + 1}.png")
    say(f"recordings found: {len(search.found)}, files not opened: {search.failed}")
    return 0 if search.found else 2


class _Search:
    """Looks through files and folders; says what each is, and keeps the recordings."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.found: list[Found] = []
        self.failed = 0
        self._opened: set[str] = set()

    def look(self, path: Path) -> None:
        """Look at a file, at a folder that is one recording, or at all that a folder holds."""
        size = f"  {format_bytes(path.stat().st_size)}" if path.is_file() else ""
        try:
            fresh = list(self._open(path))
        except EcogSourceError as error:
            if path.is_dir():
                for inside in sorted(path.iterdir()):
                    if inside.is_dir() or inside.suffix not in SIDECARS:
                        self.look(inside)
                return
            self.failed += 1
            reason = f"not opened: {' '.join(str(error).split())}"
            say(f"{path}{size}", *indented(reason, 4))
            return
        if fresh:
            remarks = [line for one in fresh for line in one.remarks]
            say(f"{path}{size}", *indented("\n".join(remarks), 4))
        self.found.extend(one for one in fresh if one.source is not None)

    def _open(self, path: Path) -> Iterator[Found]:
        from ecogsource import io

        options = {key: value for key, value in self.options.items() if key != "order"}
        fmt = io.find_format(path)
        if fmt.name == "hdf5" and path.is_file() and "dataset" not in options:
            yield from _open_hdf5(path, options)
            return
        try:
            recording, remarks = with_options(io.open_recording, path, **options), []
            has_gaps = False
        except GapError as error:
            has_gaps = True
            recording = with_options(io.open_recording, path, gaps="fill", **options)
            remarks = [f"gaps are filled with NaN: {str(error).partition('. ')[0]}"]
        main = recording.source
        # One recording may be reached by several of its files.
        where = main.data_buffer.filename or recording.info.path
        if where in self._opened:
            return
        self._opened.add(where)
        remarks += [f"{name}: {describe_source(one)}" for name, one in recording.streams.items()]
        sites = _sites(recording, main)
        main = self._ordered(recording, remarks)
        yield Found(path, "", main, sites, has_gaps, remarks)

    def _ordered(self, recording: Any, remarks: list[str]) -> Any:
        """Return the main stream of a recording; a flat one in the order it is likely to have."""
        from ecogsource.io.layouts import FlatLayout
        from ecogsource.io.order import in_order, likely_order

        source = recording.source
        segments = recording.info.stream(None).segments
        if len(segments) != 1 or not isinstance(segments[0].layout, FlatLayout):
            return source
        layout = segments[0].layout
        order = self.options.get("order") or likely_order(source, layout)
        ordered = in_order(source, layout, order)
        if ordered is not source and "order" not in self.options:
            opened = "samples" if order == "channels" else "channels"
            one, other = order.removesuffix("s"), opened.removesuffix("s")
            remarks.append(
                f"stored {one} after {one}, by the look of it: read {other} after {other} it is "
                f"noise; --order {opened} reads it so all the same, and open_recording takes "
                f"order={order!r}"
            )
        return ordered


def _open_hdf5(path: Path, options: dict[str, Any]) -> Iterator[Found]:
    """Say what each dataset is, and open the electrodes, or else all that may be a recording."""
    from ecogsource.demos.survey import survey_hdf5

    datasets = survey_hdf5(path)
    likely = [dataset for dataset in datasets if dataset.layout]
    others: dict[str, int] = {}
    for dataset in datasets:
        if not dataset.layout:
            others[dataset.remark] = others.get(dataset.remark, 0) + 1
    remarks = {dataset.name: f"{dataset.name}: {dataset.remark}" for dataset in likely}
    rest = [f"{count} x {remark}: not drawn" for remark, count in others.items()]
    electrodes = _electrodes(path, options)
    if electrodes is not None:
        yield Found(path, "", electrodes, remarks=[*remarks.values(), *rest])
        return
    for dataset in likely:
        source = dataset.open(options.get("fs"))
        yield Found(path, dataset.name, source, remarks=[remarks[dataset.name]])
    if rest:
        yield Found(path, "", None, remarks=rest)


def _electrodes(path: Path, options: dict[str, Any]) -> Any:
    """Return the electrodes of a packed recording, or None if a file is not one."""
    from ecogsource import io

    try:
        recording = with_options(io.open_recording, path, **options)
    except EcogSourceError:
        return None
    kinds = {stream.name: stream.kind for stream in recording.info.streams}
    main = recording.source
    is_main = (recording.streams[name] is main for name in kinds if kinds[name] == "electrode")
    return main if any(is_main) else None


def _sites(recording: Any, source: Any) -> np.ndarray | None:
    """Return row and column of each channel's electrode, where the recording gives them."""
    for stream in recording.info.streams:
        info = stream.channel_info
        if recording.streams[stream.name] is source and {"row", "col"} <= set(info):
            return np.stack([np.asarray(info["row"]), np.asarray(info["col"])], axis=1)
    return None


def _alike(found: Sequence[Found]) -> list[list[Found]]:
    """Put recordings of one kind from different files of a folder together."""
    groups: list[list[Found]] = []
    for one in found:
        for group in groups:
            if group[0].kind == one.kind and all(other.path != one.path for other in group):
                group.append(one)
                break
        else:
            groups.append([one])
    return groups


def _trip(group: Sequence[Found]) -> Trip:
    """Join recordings of one kind."""
    first = group[0]
    if len(group) == 1:
        return Trip(first.source, first.title, sites=first.sites, has_gaps=first.has_gaps)
    parts = [one.source for one in group]
    lengths = [part.shape[1] for part in parts]
    joined = first.source.join(*parts[1:])
    title = f"{first.title} and {len(group) - 1} more, joined end to end"
    borders = np.cumsum(lengths)[:-1].tolist()
    has_gaps = any(one.has_gaps for one in group)
    return Trip(joined, title, borders, first.sites, has_gaps=has_gaps, parts=parts)
