"""Typed fields: what the text of a session file means.

A table maps the name of a field to a `Field`: how to parse its text and, for error messages, what
is allowed. Loaders add tables of their own; fields in no table are text, or None for ``None``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ecogsource.errors import ConfigError

__all__ = [
    "BASE_TABLE",
    "BOOL",
    "INTEGER",
    "NUMBER",
    "PATH",
    "SEQUENCE",
    "TEXT",
    "Field",
    "Table",
    "choice",
    "none_or",
    "one_of",
    "parse_field",
]

_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})
_NOTHING = frozenset({"", "none"})


@dataclass(frozen=True)
class Field:
    """How the text of one field becomes a value.

    Parameters
    ----------
    parse : callable
        Takes the text and the folder of the session file; raises ValueError for bad text.
    allowed : str
        What is allowed, in words.
    """

    parse: Callable[[str, Path], Any]
    allowed: str


Table = Mapping[str, Field]


def _parse_bool(text: str, _: Path) -> bool:
    word = text.lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError(text)


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)


def _parse_path(text: str, folder: Path) -> str:
    if not text:
        raise ValueError(text)
    return str(folder / Path(text).expanduser())


def _parse_sequence(text: str, _: Path) -> tuple[Any, ...]:
    """Numbers and words between commas or blanks, in brackets or not."""
    inside = text.strip()
    if inside[:1] in tuple("([{") and inside[-1:] in tuple(")]}"):
        inside = inside[1:-1]
    words = inside.split(",") if "," in inside else inside.split()
    return tuple(_item(word.strip()) for word in words if word.strip())


def _item(word: str) -> Any:
    try:
        return _number(word)
    except ValueError:
        return word.strip("'\"")


PATH = Field(_parse_path, "a path")
BOOL = Field(_parse_bool, "True or False")
NUMBER = Field(lambda text, _: _number(text), "a number")
INTEGER = Field(lambda text, _: int(text), "a whole number")
SEQUENCE = Field(_parse_sequence, "values between commas, such as 1, 2, 3")
TEXT = Field(lambda text, _: text.strip("\n"), "text")


def none_or(field: Field) -> Field:
    """Allow ``None``, or nothing, besides what a field allows.

    Parameters
    ----------
    field : Field
        What is parsed otherwise.

    Returns
    -------
    Field
        Gives None for the text ``None`` (in any case) and for no text.
    """

    def parse(text: str, folder: Path) -> Any:
        return None if text.lower() in _NOTHING else field.parse(text, folder)

    return Field(parse, f"{field.allowed}, or None")


def choice(*words: str) -> Field:
    """Allow some words only, in any case.

    Parameters
    ----------
    *words : str
        What is allowed.

    Returns
    -------
    Field
        Gives the word as spelt here.
    """
    spelling = {word.lower(): word for word in words}

    def parse(text: str, _: Path) -> str:
        if text.lower() not in spelling:
            raise ValueError(text)
        return spelling[text.lower()]

    return Field(parse, " or ".join(words))


def one_of(*fields: Field) -> Field:
    """Allow what any of several fields allows; the first that parses the text counts.

    Parameters
    ----------
    *fields : Field
        Tried in order.

    Returns
    -------
    Field
        The combination.
    """

    def parse(text: str, folder: Path) -> Any:
        for field in fields:
            try:
                return field.parse(text, folder)
            except ValueError:
                continue
        raise ValueError(text)

    return Field(parse, " or ".join(field.allowed for field in fields))


def parse_field(
    name: str, text: str, table: Table, *, filename: Path, section: str
) -> tuple[str, Any]:
    """Parse one field of a session file.

    Parameters
    ----------
    name, text : str
        Key and value as written. Known names are recognised in any case.
    table : mapping of str to Field
        Known fields.
    filename : Path
        The session file: relative paths start at its folder.
    section : str
        Named in errors.

    Returns
    -------
    name : str
        As the table spells it, or as written if it is unknown.
    value
        The typed value.

    Raises
    ------
    ConfigError
        If the text is not what the field allows.
    """
    known = name if name in table else _spelling(table).get(name.lower(), name)
    field = table.get(known, _UNKNOWN)
    try:
        return known, field.parse(text, filename.parent)
    except ValueError:
        raise ConfigError(
            f"{text!r} is not allowed; expected {field.allowed}",
            filename,
            section,
            name,
        ) from None


def _spelling(table: Table) -> dict[str, str]:
    return {name.lower(): name for name in table}


_UNKNOWN = none_or(TEXT)
_CHANNELS = one_of(INTEGER, SEQUENCE)

#: Fields that sessions of every device share: where recordings are, how they are loaded, and
#: which stimuli were given.
BASE_TABLE: Table = MappingProxyType(
    {
        "exp_path": none_or(PATH),
        "nwk_path": none_or(PATH),
        "store_path": none_or(PATH),
        "headstage": TEXT,
        "electrode": none_or(TEXT),
        "daq": none_or(TEXT),
        "bandpass": none_or(SEQUENCE),
        "notches": none_or(SEQUENCE),
        "causal_filtering": BOOL,
        "units": TEXT,
        "load_channels": none_or(SEQUENCE),
        "trigger_idx": none_or(_CHANNELS),
        "mapped": one_of(BOOL, choice("r+", "r")),
        "resample_rate": none_or(NUMBER),
        "use_stored": BOOL,
        "save_downsamp": BOOL,
        "electrode_connectors": none_or(SEQUENCE),
        "raise_on_glitch": BOOL,
        "gaps": choice("raise", "fill"),
        "car": BOOL,
        "local_ref": BOOL,
        "exp_type": none_or(TEXT),
        "tables": none_or(TEXT),
        "tones_tab": none_or(TEXT),
        "amps_tab": none_or(TEXT),
        "partial_tables": BOOL,
    }
)
