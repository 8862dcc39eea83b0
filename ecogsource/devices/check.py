"""Checking a whole session database: what would fail when it is loaded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple

from ecogsource.devices.electrodes import electrode_layout
from ecogsource.devices.loader import FileLoader
from ecogsource.devices.registry import find_loader
from ecogsource.errors import ConfigError, EcogSourceError
from ecogsource.expconfig.bunch import Bunch, nearest
from ecogsource.expconfig.database import PathArg, list_sessions
from ecogsource.expconfig.fields import BASE_TABLE
from ecogsource.expconfig.session import SESSION, SessionFile, merged_sections

__all__ = ["Finding", "check_database"]

Kind = Literal["found", "missing", "unreadable", "bad value", "unknown key"]

# Part of the value, as the parser of these files sees it.
_COMMENT = re.compile(r"\s([#;].*)")


class Finding(NamedTuple):
    """One thing that `check_database` says.

    Attributes
    ----------
    session : str
        ``'group/session'``.
    recording : str or None
        The recording, None for what concerns the whole session.
    kind : str
        ``'found'``: the recording is there, `message` is its path. ``'missing'``: it is not.
        ``'unreadable'``: the session file cannot be used. ``'bad value'``: a field is not what is
        allowed, or names an unknown headstage or electrode. ``'unknown key'``: a field that
        nothing knows, perhaps misspelt.
    message : str
        In words.
    """

    session: str
    recording: str | None
    kind: Kind
    message: str

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return self.kind == "found"


def check_database(group: str | None = None, extra_paths: Iterable[PathArg] = ()) -> list[Finding]:
    """Check every session and every recording of the database, without opening recordings.

    Parameters
    ----------
    group : str, optional
        One group only.
    extra_paths : iterable of path-like
        As in `ecogsource.expconfig.session_groups`.

    Returns
    -------
    list of Finding
        Sorted by session; recordings in the order of their file.

    Raises
    ------
    DataPathError
        If the group does not exist.
    """
    findings: list[Finding] = []
    for listed in list_sessions(group, extra_paths):
        if listed.problem:
            findings.append(Finding(listed.name, None, "unreadable", listed.problem))
            continue
        try:
            file = SessionFile.read(listed.name, listed.path)
        except ConfigError as error:
            findings.append(Finding(listed.name, None, "unreadable", str(error)))
            continue
        findings.extend(_check_session(file))
    return findings


def _check_session(file: SessionFile) -> Iterator[Finding]:
    yield from _comments(file)
    seen: set[tuple[str, str]] = set()
    recordings: list[str | None] = [*file.recordings] or [None]
    for recording in recordings:
        section = recording or SESSION
        try:
            fields = file.typed(section)
            loader_class = find_loader(fields.get("headstage", "nothing"))
            fields = file.typed(section, loader_class.fields)
            if fields.get("electrode") is not None:
                _check_electrode(loader_class, fields)
        except ConfigError as error:
            yield Finding(file.name, recording, "bad value", str(error))
            continue
        yield from _unknown_keys(file, section, loader_class, seen)
        if recording is not None:
            yield _find(file.name, recording, loader_class, fields)


def _comments(file: SessionFile) -> Iterator[Finding]:
    """Find comments behind values."""
    for section, fields in file.sections.items():
        for key, value in fields.items():
            if (comment := _COMMENT.search(str(value))) is not None:
                recording = None if section == SESSION else section
                message = (
                    f"the value of {key!r} in [{section}] ends in {comment[1]!r}: a comment stands "
                    "on a line of its own"
                )
                yield Finding(file.name, recording, "bad value", message)


def _check_electrode(loader_class: type[FileLoader], fields: Bunch) -> None:
    if not loader_class.names_own_electrodes:
        electrode_layout(fields.electrode)


def _unknown_keys(
    file: SessionFile,
    section: str,
    loader_class: type[FileLoader],
    seen: set[tuple[str, str]],
) -> Iterator[Finding]:
    """Each unknown key once, under the section that it is written in."""
    known = {name.lower() for name in (*BASE_TABLE, *loader_class.fields)}
    for key, (_, written_in) in merged_sections(file.sections)[section].items():
        place = (written_in, key)
        if key.lower() in known or key.endswith("_tab") or place in seen:
            continue
        seen.add(place)
        recording = section if written_in == section != SESSION else None
        message = f"unknown key {key!r} in [{written_in}]{nearest(key, known)}"
        yield Finding(file.name, recording, "unknown key", message)


def _find(
    session: str, recording: str, loader_class: type[FileLoader], fields: dict[str, Any]
) -> Finding:
    folders = [fields.get("exp_path"), fields.get("nwk_path")]
    try:
        loader = loader_class.from_fields(folders, recording, fields)
        return Finding(session, recording, "found", str(loader.source_file.path))
    except FileNotFoundError as error:
        return Finding(session, recording, "missing", str(error))
    except (EcogSourceError, TypeError) as error:
        return Finding(session, recording, "bad value", str(error))
