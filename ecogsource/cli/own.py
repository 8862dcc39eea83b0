"""The main job on somebody's own files, whatever they turn out to be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ecogsource.cli.text import say
from ecogsource.cli.tour import Tour, Trip, describe_source
from ecogsource.errors import DataPathError, EcogSourceError, FormatError
from ecogsource.memory import format_bytes

__all__ = ["run_own_files"]

SIDECARS = (".json", ".pkl", ".npz", ".txt", ".xml", ".md", ".ini")
"""Files that describe recordings and hold none."""


@dataclass
class Found:
    """One recording in a file."""

    path: Path
    name: str
    source: Any
    sites: Any = None

    @property
    def kind(self) -> tuple[Any, ...]:
        """What recordings that belong together have in common."""
        return (self.name, self.source.shape[0], self.source.dtype, self.source.fs)

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
    found: list[Found] = []
    failed = 0
    for path in _look_through(paths):
        size = f"  {format_bytes(path.stat().st_size)}" if path.is_file() else ""
        say(f"{path}{size}")
        try:
            found.extend(_open(path, options))
        except EcogSourceError as error:
            failed += 1
            say(f"    not opened: {' '.join(str(error).split())}")
    say("")
    for number, group in enumerate(_alike(found)):
        trip = _trip(group)
        say(f"--- {trip.title}", f"    {describe_source(trip.source)}", "")
        trip.run(Tour(), folder / f"overview_{number + 1}.png")
    say(f"{len(found)} recordings found; {failed} files could not be opened")
    return 0 if found else 2


def _look_through(paths: Sequence[Path]) -> Iterator[Path]:
    """Yield files, and folders that are one recording, in the order of their names."""
    from ecogsource.io import find_format

    for path in paths:
        if not path.exists():
            raise DataPathError(f"no such file or folder: {str(path)!r}")
        if not path.is_dir():
            yield path
            continue
        try:
            find_format(path)
        except FormatError:
            inside = sorted(path.iterdir())
            yield from _look_through([one for one in inside if one.suffix not in SIDECARS])
        else:
            yield path


def _open(path: Path, options: dict[str, Any]) -> Iterator[Found]:
    from ecogsource import io

    plain = path.is_file() and h5py.is_hdf5(path) and io.find_format(path).name == "hdf5"
    if plain and "dataset" not in options:
        yield from _open_hdf5(path, options.get("fs"))
        return
    recording = io.open_recording(path, **options)
    for name, source in recording.streams.items():
        say(f"    {name}: {describe_source(source)}")
    source = recording.source
    yield Found(path, "", source, _sites(recording, source.shape[0]))


def _open_hdf5(path: Path, fs: float | None) -> Iterator[Found]:
    """Say what each dataset is, and open those that can be taken as recordings."""
    from ecogsource.demos.survey import survey_hdf5

    others: dict[str, int] = {}
    for dataset in survey_hdf5(path):
        if dataset.layout:
            say(f"    {dataset.name}: {dataset.remark}")
            yield Found(path, dataset.name, dataset.open(fs))
        else:
            others[dataset.remark] = others.get(dataset.remark, 0) + 1
    for remark, count in others.items():
        say(f"    {count} x {remark}: not drawn")


def _sites(recording: Any, n_channels: int) -> np.ndarray | None:
    """Return row and column of each channel, where the recording gives them."""
    rows = getattr(recording.info, "sites", None)
    sites = None if rows is None else np.asarray(rows)
    return sites if sites is not None and sites.shape == (n_channels, 2) else None


def _alike(found: Sequence[Found]) -> list[list[Found]]:
    """Put recordings of one kind from different files together."""
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
        return Trip(first.source, first.title, sites=first.sites)
    lengths = [one.source.shape[1] for one in group]
    joined = first.source.join(*(one.source for one in group[1:]))
    title = f"{first.title} and {len(group) - 1} more, joined end to end"
    borders = np.cumsum(lengths)[:-1].tolist()
    return Trip(joined, title, borders=borders, sites=first.sites)
