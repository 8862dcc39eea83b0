"""The session database: groups are folders, sessions are files, recordings are sections."""

from __future__ import annotations

import datetime
import fnmatch
import re
import shlex
import warnings
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

from ecogsource.errors import ConfigError, DataPathError, require
from ecogsource.expconfig.bunch import Bunch, nearest
from ecogsource.expconfig.fields import Table
from ecogsource.expconfig.index import IndexedFile, contents, list_folder
from ecogsource.expconfig.session import SESSION, SessionFile, merged_sections, typed_value
from ecogsource.params import load_params

__all__ = [
    "FoundRecording",
    "SessionFileWarning",
    "available_sessions",
    "find_conf",
    "find_sessions",
    "list_sessions",
    "open_session",
    "session_conf",
    "session_groups",
    "session_info",
    "session_table",
    "sessions_to_delta",
]

PathArg = str | PathLike[str]

_DATE = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})")


class SessionFileWarning(UserWarning):
    """A session file of the database cannot be used."""


class FoundRecording(NamedTuple):
    """One row of a search.

    Attributes
    ----------
    session : str
        ``'group/session'``.
    recording : str or None
        Name of the recording, None where the session lists none.
    values : dict of str
        The fields that were asked for, as written.
    """

    session: str
    recording: str | None
    values: dict[str, str]


def _roots(extra_paths: Iterable[PathArg]) -> list[Path]:
    """Return the folders that hold groups, all of which exist."""
    # Absolute: the index knows folders by their paths.
    roots = [Path(path).expanduser().absolute() for path in extra_paths]
    main = load_params().user_sessions
    if main is not None:
        roots.append(main)
    found = [root for root in roots if root.is_dir()]
    if not found:
        tried = ", ".join(str(root) for root in roots) or "the parameter user_sessions is empty"
        raise DataPathError(
            f"no folder of sessions found ({tried}); set user_sessions in the parameter file "
            "(`ecogsource params` tells which) or give extra_paths"
        )
    return found


def _group_folders(extra_paths: Iterable[PathArg]) -> dict[str, list[Path]]:
    """Name of group -> its folders, over all roots."""
    groups: dict[str, list[Path]] = {}
    for root in _roots(extra_paths):
        for folder in sorted(root.iterdir()):
            if folder.name[0] not in "._" and folder.is_dir():
                groups.setdefault(folder.name, []).append(folder)
    return groups


def session_groups(extra_paths: Iterable[PathArg] = ()) -> list[str]:
    """List the groups of the session database.

    Parameters
    ----------
    extra_paths : iterable of path-like
        Folders of groups to look in before the one named by the parameter ``user_sessions``.

    Returns
    -------
    list of str
        Names of folders, sorted. Those that start with a dot or an underscore are skipped.

    Raises
    ------
    DataPathError
        If there is no folder of sessions at all.
    """
    return sorted(_group_folders(extra_paths))


def list_sessions(
    group: str | None = None, extra_paths: Iterable[PathArg] = ()
) -> list[IndexedFile]:
    """List session files with what is wrong with them.

    Parameters
    ----------
    group : str, optional
        One group; all groups if not given.
    extra_paths : iterable of path-like
        As in `session_groups`.

    Returns
    -------
    list of IndexedFile
        Sorted by name; a name occurs once, from the first folder that has it.

    Raises
    ------
    DataPathError
        If the group does not exist; it names the nearest ones.
    """
    groups = _group_folders(extra_paths)
    if group is not None and group not in groups:
        raise DataPathError(
            f"no group {group!r} of sessions{nearest(group, groups, '.')} Groups are "
            f"{sorted(groups)}"
        )
    found: dict[str, IndexedFile] = {}
    for name in sorted(groups) if group is None else [group]:
        for folder in groups[name]:
            for file in list_folder(folder):
                found.setdefault(file.name, file)
    return [found[name] for name in sorted(found)]


def available_sessions(group: str | None = None, extra_paths: Iterable[PathArg] = ()) -> list[str]:
    """List the sessions of a group.

    Parameters
    ----------
    group : str, optional
        Name of a group; all groups if not given.
    extra_paths : iterable of path-like
        Folders of groups to look in before the one named by the parameter ``user_sessions``.

    Returns
    -------
    list of str
        ``'group/session'`` names, sorted. Text files without any ``[section]`` are taken for
        tables or notes that belong to sessions, and left out.

    Raises
    ------
    DataPathError
        If the group does not exist.

    Warns
    -----
    SessionFileWarning
        If some of the files cannot be used; they are listed all the same.
    """
    files = list_sessions(group, extra_paths)
    broken = [file.problem for file in files if file.problem]
    if broken:
        shown = "\n  ".join(broken[:5])
        more = f"\n  and {len(broken) - 5} more" if len(broken) > 5 else ""
        warnings.warn(
            f"{len(broken)} of {len(files)} session files cannot be used:\n  {shown}{more}",
            SessionFileWarning,
            stacklevel=2,
        )
    return [file.name for file in files]


def find_conf(session: str, extra_paths: Iterable[PathArg] = ()) -> Path:
    """Find the file of a session.

    Parameters
    ----------
    session : str
        ``'group/session'``, or the name of a session alone where only one group has it.
    extra_paths : iterable of path-like
        As in `session_groups`.

    Returns
    -------
    Path
        The first that exists of ``<group>/<session>_conf.txt`` and ``<group>/<session>.txt``.

    Raises
    ------
    DataPathError
        If there is none; it lists the files looked for and the nearest names.
    ConfigError
        If a name without group is in several groups.
    """
    extra_paths = list(extra_paths)
    group, _, name = session.replace("\\", "/").rpartition("/")
    folders = _group_folders(extra_paths)
    chosen = folders.get(group, []) if group else [f for each in folders.values() for f in each]
    tried = [folder / f"{name}{end}" for folder in chosen for end in ("_conf.txt", ".txt")]
    found = [path for path in tried if path.is_file()]
    if len({path.parent.name for path in found}) > 1:
        names = ", ".join(f"{path.parent.name}/{name}" for path in found)
        raise ConfigError(f"the session {session!r} is in several groups: {names}")
    if found:
        return found[0]
    if group and group not in folders:
        raise DataPathError(f"no session {session!r}: no group {group!r}{nearest(group, folders)}")
    known = [file.name for file in list_sessions(group or None, extra_paths)]
    looked = "\n  ".join(str(path) for path in tried)
    raise DataPathError(
        f"no session {session!r}{nearest(session, known, '.')} Looked for\n  {looked}"
    )


def open_session(session: str, extra_paths: Iterable[PathArg] = ()) -> SessionFile:
    """Read the file of a session.

    Parameters
    ----------
    session : str
        ``'group/session'``.
    extra_paths : iterable of path-like
        As in `session_groups`.

    Returns
    -------
    SessionFile
        Its content.

    Raises
    ------
    DataPathError
        If there is no such session.
    ConfigError
        If its file is malformed.
    """
    path = find_conf(session, extra_paths)
    return SessionFile.read(f"{path.parent.name}/{path.stem.removesuffix('_conf')}", path)


def session_info(
    session: str, params_table: Table | None = None, extra_paths: Iterable[PathArg] = ()
) -> Bunch:
    """Return the fields of ``[session]``.

    Parameters
    ----------
    session : str
        ``'group/session'``.
    params_table : mapping of str to Field, optional
        Fields to be typed besides those of `ecogsource.expconfig.BASE_TABLE`; those of all
        devices are `ecogsource.devices.params_table`.
    extra_paths : iterable of path-like
        As in `session_groups`.

    Returns
    -------
    Bunch
        Typed values, also as attributes; what ``[DEFAULT]`` says is included.

    Raises
    ------
    DataPathError
        If there is no such session.
    ConfigError
        If the file is malformed or a value is not allowed.
    """
    return open_session(session, extra_paths).typed(SESSION, params_table)


def session_conf(
    session: str, params_table: Table | None = None, extra_paths: Iterable[PathArg] = ()
) -> Bunch:
    """Return all sections of a session.

    Parameters
    ----------
    session, params_table, extra_paths
        As in `session_info`.

    Returns
    -------
    Bunch
        ``session`` holds the fields written in that section; every further key is a recording
        and holds all fields that apply to it: its own, those of ``[session]`` and those of
        ``[DEFAULT]``, in this order of precedence.

    Raises
    ------
    DataPathError
        If there is no such session.
    ConfigError
        If the file is malformed or a value is not allowed.
    """
    file = open_session(session, extra_paths)
    conf = Bunch(session=file.typed_own(SESSION, params_table))
    for recording in file.recordings:
        conf[recording] = file.typed(recording, params_table)
    return conf


def session_table(
    session: str, params_table: Table | None = None, extra_paths: Iterable[PathArg] = ()
) -> Any:
    """Return the recordings of a session as a table.

    Parameters
    ----------
    session, params_table, extra_paths
        As in `session_info`.

    Returns
    -------
    pandas.DataFrame or list of Bunch
        One row per recording; a list of rows where pandas is not installed. Columns are
        ``recording`` and the fields of any recording, None where one does not have it.

    Raises
    ------
    DataPathError
        If there is no such session.
    ConfigError
        If the file is malformed or a value is not allowed.
    """
    conf = session_conf(session, params_table, extra_paths)
    recordings = {name: fields for name, fields in conf.items() if name != SESSION}
    columns = list(dict.fromkeys(key for fields in recordings.values() for key in fields))
    rows = [
        Bunch(recording=name, **{column: fields.get(column) for column in columns})
        for name, fields in recordings.items()
    ]
    try:
        pandas = require("pandas", "notebooks")
    except ImportError:
        return rows
    return pandas.DataFrame([dict(row) for row in rows], columns=["recording", *columns])


def sessions_to_delta(sessions: Sequence[str], reference_session: str | None = None) -> list[int]:
    """Turn the dates in the names of sessions into days.

    Parameters
    ----------
    sessions : sequence of str
        Names that contain a date as ``YYYY-MM-DD``.
    reference_session : str, optional
        The session that is day 0; the earliest if not given.

    Returns
    -------
    list of int
        Days from the reference, one per session.

    Raises
    ------
    ValueError
        If a name contains no date.
    """
    days = [_date(session) for session in sessions]
    if not days:
        return []
    start = min(days) if reference_session is None else _date(reference_session)
    return [(day - start).days for day in days]


def _date(session: str) -> datetime.date:
    found = _DATE.search(session)
    if found is None:
        raise ValueError(f"the name {session!r} contains no date such as 2016-09-26")
    return datetime.date(*(int(part) for part in found.groups()))


def find_sessions(
    query: str, group: str | None = None, extra_paths: Iterable[PathArg] = ()
) -> list[FoundRecording]:
    """Search the database.

    Parameters
    ----------
    query : str
        Terms between blanks, all of which must hold. ``key=pattern`` compares a field, with
        ``*``, ``?`` and ``[...]`` as in file names; numbers are equal if their values are. A term
        without ``=`` is a pattern for the name of the session. Case does not matter; quotes
        enclose blanks.
    group : str, optional
        Search one group only.
    extra_paths : iterable of path-like
        As in `session_groups`.

    Returns
    -------
    list of FoundRecording
        One row per recording that matches; one for the session where it lists no recordings.

    Raises
    ------
    ConfigError
        If the query cannot be split into terms, or names no field before ``=``.
    """
    terms = _query_terms(query)
    rows: list[FoundRecording] = []
    cache: dict[str, dict[str, Any]] = {}
    for file in list_sessions(group, extra_paths):
        if file.problem or not all(_matches(file.name, p) for key, p in terms if not key):
            continue
        if file.folder not in cache:
            cache = {file.folder: contents(Path(file.folder))}
        sections = cache[file.folder].get(file.filename)
        if sections is None:
            sections = SessionFile.read(file.name, file.path).sections
        rows.extend(_matching_rows(file.name, merged_sections(sections), terms))
    return rows


def _matching_rows(
    name: str, merged: dict[str, dict[str, tuple[str, str]]], terms: list[tuple[str, str]]
) -> Iterable[FoundRecording]:
    recordings = [section for section in merged if section != SESSION]
    for section in recordings or [SESSION]:
        texts = {key.lower(): text for key, (text, _) in merged[section].items()}
        wanted = [(key, pattern) for key, pattern in terms if key]
        if all(key in texts and _matches(texts[key], pattern) for key, pattern in wanted):
            recording = None if section == SESSION else section
            yield FoundRecording(name, recording, {key: texts[key] for key, _ in wanted})


def _query_terms(query: str) -> list[tuple[str, str]]:
    """(key in lower case or nothing, pattern) of each term."""
    try:
        words = shlex.split(query)
    except ValueError as error:
        raise ConfigError(f"the query {query!r} cannot be read: {error}") from error
    terms = []
    for word in words:
        key, equals, pattern = word.partition("=")
        if equals and not key:
            raise ConfigError(f"{word!r} in the query {query!r} names no field before '='")
        terms.append((key.lower(), pattern) if equals else ("", word))
    return terms


def _matches(text: str, pattern: str) -> bool:
    return typed_value(text) == typed_value(pattern) or fnmatch.fnmatchcase(
        text.lower(), pattern.lower()
    )
