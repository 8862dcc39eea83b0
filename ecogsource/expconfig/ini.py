"""Reading INI text strictly and fast.

The dialect is that of the standard library's ``configparser`` without interpolation: sections in
brackets, ``key = value`` or ``key: value``, comment lines starting with ``#`` or ``;``, and
indented lines that continue a value. It is read here by hand because a database may hold ten
thousand files, where ``configparser`` spends most of the time, and so that every error can name
its line.
"""

from __future__ import annotations

import re
from pathlib import Path

from ecogsource.errors import ConfigError

__all__ = ["Sections", "parse_ini", "read_ini"]

Sections = dict[str, dict[str, str]]

_DELIMITER = re.compile(r"\s*[=:]\s*")


def read_ini(path: Path) -> Sections:
    """Read an INI file.

    Parameters
    ----------
    path : Path
        The file; UTF-8, with or without byte-order mark.

    Returns
    -------
    dict of dict of str
        Section name -> key -> value as written, in the order of the file.

    Raises
    ------
    ConfigError
        If the file cannot be read, is not text, or is not INI; the message names the line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"the file cannot be read: {error.strerror}", path) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"the file is not UTF-8 text (byte {error.start})", path) from error
    return parse_ini(text, path)


def parse_ini(text: str, filename: Path | None = None) -> Sections:
    """Parse INI text.

    Parameters
    ----------
    text : str
        Content of a file.
    filename : Path, optional
        Named in errors.

    Returns
    -------
    dict of dict of str
        Section name -> key -> value as written.

    Raises
    ------
    ConfigError
        On a duplicate section or key (whatever its case), a line outside of any section, or a
        line that is no key with a value.
    """
    sections: Sections = {}
    values: dict[str, str] | None = None
    section = key = ""
    taken: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip()
        if not stripped or stripped[0] in "#;":
            continue
        if key and values is not None and line[0] in " \t":
            values[key] += "\n" + stripped
            continue
        if stripped[0] == "[":
            section, key, taken = _section_name(stripped, number, filename), "", {}
            if section in sections:
                raise ConfigError(
                    f"line {number}: duplicate section [{section}]", filename, section
                )
            values = sections[section] = {}
            continue
        if values is None:
            raise ConfigError(f"line {number}: {stripped!r} stands before any [section]", filename)
        parts = _DELIMITER.split(stripped, maxsplit=1)
        if len(parts) == 1 or not parts[0]:
            raise ConfigError(
                f"line {number}: {stripped!r} is not 'key = value'", filename, section
            )
        key, value = parts
        if key.lower() in taken:
            raise ConfigError(
                f"line {number}: duplicate key, already given as {taken[key.lower()]!r}",
                filename,
                section,
                key,
            )
        taken[key.lower()] = key
        values[key] = value
    return sections


def _section_name(line: str, number: int, filename: Path | None) -> str:
    if not line.endswith("]") or not line[1:-1].strip():
        raise ConfigError(f"line {number}: {line!r} is not a [section]", filename)
    return line[1:-1].strip()
