"""From the name of a session and a recording to a dataset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from typing import Any

from ecogsource.datasets.joining import join_datasets
from ecogsource.devices import registry
from ecogsource.devices.dataset import Dataset
from ecogsource.devices.loader import FileLoader
from ecogsource.devices.options import LoadOptions
from ecogsource.errors import ConfigError
from ecogsource.expconfig import StimulatedExperiment, build_experiment, open_session
from ecogsource.expconfig.bunch import Bunch, nearest
from ecogsource.expconfig.fields import BASE_TABLE
from ecogsource.expconfig.session import SessionFile

__all__ = ["load_datasets", "load_experiment_auto", "load_experiment_manual", "loader_for"]


def load_experiment_auto(session: str, recording: str, **overrides: Any) -> Dataset:
    """Load a recording of a session: where it is, how, and what was shown is in the session.

    Parameters
    ----------
    session : str
        ``'group/session'``.
    recording : str
        Name of the recording, without suffix. If the session file has a section of this name, it
        overrides the fields of the session.
    **overrides
        Fields as values, not text; they take precedence over the session: the options of
        `ecogsource.devices.LoadOptions`, the fields of the device, or those of the experiment.

    Returns
    -------
    Dataset
        With the experiment as ``exp``.

    Raises
    ------
    DataPathError
        If session or recording are not found; it names every path tried.
    ConfigError
        If the session is malformed, names an unknown headstage or electrode, or a table does not
        fit the events.
    TypeError
        If an override is no field that the loader knows.
    """
    file = open_session(session)
    loader, fields = _loader(file, recording, overrides)
    dataset = loader.create_dataset()
    dataset.session = file.name
    dataset.exp = build_experiment(fields, dataset.pos_edge, file.path.parent)
    return dataset


def loader_for(session: str, recording: str, **overrides: Any) -> FileLoader:
    """Return the loader of a recording, without loading anything.

    Parameters
    ----------
    session, recording, **overrides
        As in `load_experiment_auto`.

    Returns
    -------
    FileLoader
        For instance to ask ``loader.source_file`` for the file, or to call
        ``loader.create_downsample_file(rate)``.

    Raises
    ------
    DataPathError, ConfigError, TypeError
        As `load_experiment_auto`, but for the recording itself.
    """
    return _loader(open_session(session), recording, overrides)[0]


def _loader(
    file: SessionFile, recording: str, overrides: Mapping[str, Any]
) -> tuple[FileLoader, Bunch]:
    untyped = file.typed(recording)
    headstage = overrides.get("headstage", untyped.get("headstage"))
    if headstage is None:
        raise ConfigError(
            f"no headstage is named for the recording {recording!r}", file.path, "session"
        )
    try:
        loader_class = registry.find_loader(headstage)
    except ConfigError as error:
        raise ConfigError(error.message, file.path, recording, "headstage") from error
    fields = file.typed(recording, loader_class.fields)
    known = {*BASE_TABLE, *LoadOptions.names(), *loader_class.fields, *fields}
    for name in overrides:
        if name not in known:
            raise TypeError(f"unknown load option {name!r}{nearest(name, known)}")
    fields.update(overrides)
    folders = [fields.get("exp_path"), fields.get("nwk_path")]
    return loader_class.from_fields(folders, recording, fields), fields


def load_experiment_manual(
    exp_path: str | PathLike[str] | Sequence[str | PathLike[str]],
    recording: str,
    headstage: str,
    electrode: str | None = None,
    **fields: Any,
) -> Dataset:
    """Load a recording that is in no session.

    Parameters
    ----------
    exp_path : path-like or sequence of path-like
        Folder of the recording, or several to look in.
    recording : str
        Name of the recording, without suffix.
    headstage : str
        Decides the loader.
    electrode : str, optional
        Name of the electrode array.
    **fields
        Options of loading and fields of the device.

    Returns
    -------
    Dataset
        With the triggers as an experiment without tables, ``exp``.

    Raises
    ------
    DataPathError, ConfigError, TypeError
        As `load_experiment_auto`.
    """
    loader_class = registry.find_loader(headstage)
    known = {*LoadOptions.names(), *loader_class.fields}
    for name in fields:
        if name not in known:
            raise TypeError(f"unknown load option {name!r}{nearest(name, known)}")
    folders = [exp_path] if isinstance(exp_path, (str, PathLike)) else list(exp_path)
    given = {**fields, "electrode": electrode, "headstage": headstage}
    dataset = loader_class.from_fields(folders, recording, given).create_dataset()
    dataset.exp = StimulatedExperiment(dataset.pos_edge)
    return dataset


def load_datasets(
    session: str,
    recordings: Iterable[str],
    load_kwargs: Mapping[str, Any] | None = None,
    **join_kwargs: Any,
) -> Dataset:
    """Load several recordings of a session and join them.

    Parameters
    ----------
    session : str
        ``'group/session'``.
    recordings : iterable of str
        Names of recordings, in order.
    load_kwargs : mapping, optional
        Overrides for `load_experiment_auto`, the same for all.
    **join_kwargs
        Options of `join_datasets`.

    Returns
    -------
    Dataset
        One dataset.

    Raises
    ------
    JoinError
        If there is nothing to join or the recordings do not fit together.
    DataPathError, ConfigError, TypeError
        As `load_experiment_auto`.
    """
    names = [recordings] if isinstance(recordings, str) else list(recordings)
    sets = [load_experiment_auto(session, name, **(load_kwargs or {})) for name in names]
    return join_datasets(sets, popdata=True, **join_kwargs)
