"""One session file: sections, inheritance, references to parameters, typed values."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecogsource.errors import ConfigError
from ecogsource.expconfig.bunch import Bunch, nearest
from ecogsource.expconfig.fields import BASE_TABLE, Table, parse_field
from ecogsource.expconfig.ini import Sections, read_ini
from ecogsource.params import load_params

__all__ = ["DEFAULT", "SESSION", "SessionFile", "merged_sections"]

SESSION = "session"
DEFAULT = "DEFAULT"

_REFERENCE = re.compile(r"%\((\w+)\)s")
_PARAMETERS = ("local_exp", "network_exp", "user_sessions", "stash_path")


def merged_sections(sections: Sections) -> dict[str, dict[str, tuple[str, str]]]:
    """Let every recording inherit from ``[session]``, and that from ``[DEFAULT]``.

    Parameters
    ----------
    sections : dict of dict of str
        A session file as written.

    Returns
    -------
    dict of dict of (str, str)
        ``session`` first, then the recordings in the order of the file. Each holds every field
        that applies, as key -> (text, section that it was written in). A recording that repeats a
        key in another case overrides it.
    """
    base: dict[str, tuple[str, tuple[str, str]]] = {}
    for name in (DEFAULT, SESSION):
        for key, text in sections.get(name, {}).items():
            base[key.lower()] = (key, (text, name))
    merged = {SESSION: dict(base.values())}
    for name, fields in sections.items():
        if name in {DEFAULT, SESSION}:
            continue
        own = dict(base)
        for key, text in fields.items():
            own[key.lower()] = (key, (text, name))
        merged[name] = dict(own.values())
    return merged


@dataclass(frozen=True)
class SessionFile:
    """A session as its file describes it.

    Parameters
    ----------
    name : str
        ``'group/session'``.
    path : Path
        The file.
    sections : dict of dict of str
        Its content as written.
    """

    name: str
    path: Path
    sections: Sections

    @classmethod
    def read(cls, name: str, path: Path) -> SessionFile:
        """Read a session file.

        Parameters
        ----------
        name : str
            ``'group/session'``.
        path : Path
            The file.

        Returns
        -------
        SessionFile
            Its content.

        Raises
        ------
        ConfigError
            If the file is malformed or has no section ``[session]``.
        """
        sections = read_ini(path)
        check_session_section(sections, path)
        return cls(name, path, sections)

    @property
    def recordings(self) -> list[str]:
        """Names of the recordings that have a section of their own."""
        return [name for name in self.sections if name not in {DEFAULT, SESSION}]

    def typed(self, section: str, extra_table: Table | None = None) -> Bunch:
        """Return the fields of one section with everything inherited, typed.

        Parameters
        ----------
        section : str
            ``'session'`` or a recording. A recording without a section of its own has the fields
            of the session.
        extra_table : mapping of str to Field, optional
            Fields of a device, besides those that all sessions share.

        Returns
        -------
        Bunch
            Name of field -> value.

        Raises
        ------
        ConfigError
            If a value is not what its field allows, or refers to an unknown name.
        """
        merged = merged_sections(self.sections)
        return self._typed(merged.get(section, merged[SESSION]), extra_table)

    def typed_own(self, section: str, extra_table: Table | None = None) -> Bunch:
        """Return the fields that are written in one section itself, typed.

        Parameters
        ----------
        section : str
            A section of the file.
        extra_table : mapping of str to Field, optional
            Fields of a device.

        Returns
        -------
        Bunch
            Name of field -> value.

        Raises
        ------
        ConfigError
            As `typed`.
        """
        inherited = merged_sections(self.sections).get(section, {})
        own = {key: place for key, place in inherited.items() if place[1] == section}
        return self._typed(own, extra_table, inherited)

    def _typed(
        self,
        fields: Mapping[str, tuple[str, str]],
        extra_table: Table | None,
        scope: Mapping[str, tuple[str, str]] | None = None,
    ) -> Bunch:
        table = {**BASE_TABLE, **(extra_table or {})}
        texts = {key.lower(): text for key, (text, _) in (scope or fields).items()}
        typed = Bunch()
        for key, (_, section) in fields.items():
            text = self._interpolated(key, texts, section)
            name, value = parse_field(key, text, table, filename=self.path, section=section)
            typed[name] = value
        return typed

    def _interpolated(self, key: str, texts: Mapping[str, str], section: str) -> str:
        """Replace ``%(name)s`` by a global parameter or another field; other ``%`` stay."""
        params = load_params()
        unset = False

        def lookup(name: str, seen: tuple[str, ...]) -> str:
            nonlocal unset
            if name in _PARAMETERS:
                value = getattr(params, name)
                unset = unset or value is None
                return "" if value is None else str(value)
            if name in seen:
                raise ConfigError(
                    f"fields refer to each other in a circle: {' -> '.join((*seen, name))}",
                    self.path,
                    section,
                    key,
                )
            if name.lower() not in texts:
                raise ConfigError(
                    f"unknown name %({name})s{nearest(name, [*_PARAMETERS, *texts])}",
                    self.path,
                    section,
                    key,
                )
            return _substitute(texts[name.lower()], lambda other: lookup(other, (*seen, name)))

        text = _substitute(texts[key.lower()], lambda name: lookup(name, (key,)))
        # A path on a network folder that this computer does not have is no path at all.
        return "None" if unset else text


def _substitute(text: str, lookup: Callable[[str], str]) -> str:
    return _REFERENCE.sub(lambda match: lookup(match[1]), text) if "%(" in text else text


def check_session_section(sections: Iterable[str], path: Path) -> None:
    """Refuse a file without ``[session]``.

    Parameters
    ----------
    sections : iterable of str
        Names of the sections of a file.
    path : Path
        The file.

    Raises
    ------
    ConfigError
        If there is no section ``[session]``.
    """
    names = list(sections)
    if SESSION not in names:
        raise ConfigError(
            f"no section [session]{nearest(SESSION, names, '.')} The file has {names}", path
        )


def typed_value(text: str) -> Any:
    """Read a value of a search as a number if it is one, so that 2000 finds 2000.0.

    Parameters
    ----------
    text : str
        Text of a query or of a field.

    Returns
    -------
    float or str
        A number, or the text in lower case.
    """
    try:
        return float(text)
    except ValueError:
        return text.lower()
