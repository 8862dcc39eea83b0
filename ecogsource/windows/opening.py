"""Opening whatever holds data: files, sources, recordings, datasets, sessions, arrays."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ecogsource.buffers import Buffer
from ecogsource.datasource import ElectrodeDataSource, MappedSource, PlainArraySource
from ecogsource.errors import DataPathError, FormatError
from ecogsource.windows.datafile import DataFile

__all__ = ["Opened", "open_sources"]


class Opened(NamedTuple):
    """Something that holds data, opened.

    Attributes
    ----------
    thing : object
        What was given, or what its name stands for.
    stretches : list of ElectrodeDataSource
        Its stretches of continuous data.
    mask : ndarray of bool, or None
        Bad samples that it knows of.
    group : str or None
        The session that it was given under.
    """

    thing: Any
    stretches: list[ElectrodeDataSource]
    mask: np.ndarray | None = None
    group: str | None = None


def open_sources(sources: Any) -> Iterator[Opened]:
    """Open one thing or many.

    Parameters
    ----------
    sources : object, or list, tuple, iterator or mapping of them
        Sources, DataFiles, recordings, datasets, buffers or arrays (channels x time), paths, and
        names of sessions, ``'group/session'``, for all recordings that they list. A mapping names
        the session of what it holds.

    Yields
    ------
    Opened
        One for each.

    Raises
    ------
    FormatError
        If something is not data.
    DataPathError
        If there is no such file or session.
    """
    if isinstance(sources, Mapping) and not hasattr(sources, "data"):
        for group, things in sources.items():
            for opened in open_sources(things):
                yield opened._replace(group=str(group))
    elif isinstance(sources, list | tuple | Iterator):
        for thing in sources:
            yield from open_sources(thing)
    elif isinstance(sources, str) and not sources.strip():
        raise DataPathError(f"{sources!r} is the name of nothing; give a path or 'group/session'")
    elif isinstance(sources, str) and not Path(sources).expanduser().exists():
        yield from _open_session(sources)
    elif isinstance(sources, str | os.PathLike):
        yield _open(_open_path(Path(sources).expanduser()))
    else:
        yield _open(sources)


def _open(thing: Any) -> Opened:
    if isinstance(thing, DataFile):
        return Opened(thing, [thing.source], thing.data_mask)
    if isinstance(thing, ElectrodeDataSource):
        return Opened(thing, [thing])
    if hasattr(thing, "segments") and hasattr(thing, "gaps"):
        # A recording: no window may straddle one of its gaps.
        return Opened(thing, [thing.source] if thing.gaps == "fill" else list(thing.segments))
    inner = getattr(thing, "data", None)
    if isinstance(inner, ElectrodeDataSource):
        return Opened(thing, [inner])
    if isinstance(thing, Buffer):
        return Opened(thing, [MappedSource(thing)])
    if isinstance(thing, np.ndarray):
        return Opened(thing, [PlainArraySource(thing)])
    raise FormatError(
        f"cannot take windows from a {type(thing).__name__}; give sources, recordings, datasets, "
        "DataFiles, arrays of channels x time, paths, or names of sessions"
    )


def _open_path(path: Path) -> Any:
    if not path.exists():
        raise DataPathError(f"there is no {str(path)!r} to take windows from")
    if path.suffix == ".dat" and path.name.count(".") >= 3:
        experiment = path.with_name(f"{path.name.rsplit('.', 3)[0]}.experiment.json")
        if experiment.is_file():
            return DataFile(path)
    from ecogsource.io import open_recording

    return open_recording(path, gaps="segment")


def _open_session(name: str) -> Iterator[Opened]:
    """Load all recordings of a session."""
    from ecogsource.datasets import load_experiment_auto
    from ecogsource.expconfig import session_conf

    try:
        recordings = [section for section in session_conf(name) if section != "session"]
    except DataPathError as error:
        raise DataPathError(f"there is no file and no session {name!r}: {error}") from error
    for recording in recordings:
        yield _open(load_experiment_auto(name, recording))._replace(group=name)
