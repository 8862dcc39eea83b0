"""Experiments from the fields of a session: event times meet tables of stimuli."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecogsource.errors import ConfigError, DataPathError
from ecogsource.expconfig.experiment import StimulatedExperiment

__all__ = ["CLICKS", "build_experiment", "read_columns", "read_table"]

#: As ``tones_tab``, says that clicks were played, not tones.
CLICKS = "1000"

_TABLE_SUFFIX = "_tab"


def build_experiment(
    fields: Mapping[str, Any], time_stamps: ArrayLike, folder: Path | None = None
) -> StimulatedExperiment:
    """Make the experiment that a recording's fields describe.

    Every field ``<name>_tab`` gives a table ``<name>``: a text file with one value per event, or
    a number that holds for all events. The field ``tables`` names a text file of several columns
    whose first line gives their names. A table with fewer rows than there are events is repeated;
    it must fit a whole number of times unless the field ``partial_tables`` is True, which also
    allows tables that are longer than the events. ``tones_tab = 1000`` means clicks: all tones
    are 1000 and the experiment's ``stimulus`` is ``'clicks'``.

    Parameters
    ----------
    fields : mapping
        Typed fields of a recording: ``exp_type``, ``tones_tab``, ``amps_tab``, ...
    time_stamps : array_like, shape (n,)
        When the events happened.
    folder : Path, optional
        Where relative names of files start: the folder of the session file. The folder
        ``tables`` in it is looked at too.

    Returns
    -------
    StimulatedExperiment
        With ``exp_type`` and ``stimulus`` among its attributes where they are known.

    Raises
    ------
    DataPathError
        If a table is not found; it lists the places looked at.
    ConfigError
        If a table is empty or unreadable, or its length does not fit the events.
    """
    stamps = np.asarray(time_stamps)
    place = Path() if folder is None else folder
    partial = bool(fields.get("partial_tables", False))
    tables: dict[str, NDArray[Any]] = {}
    if fields.get("tables") is not None:
        path = _find_table(str(fields["tables"]), place, "tables")
        for name, column in read_columns(path).items():
            tables[name] = _fit(column, stamps.size, path, name, partial=partial)
    for key, value in fields.items():
        if key.endswith(_TABLE_SUFFIX) and value is not None:
            name = key.removesuffix(_TABLE_SUFFIX)
            tables[name] = _table_of_field(key, str(value), stamps.size, place, partial=partial)
    attributes = {"exp_type": fields.get("exp_type")}
    if fields.get("tones_tab") is not None:
        attributes["stimulus"] = "clicks" if str(fields["tones_tab"]) == CLICKS else "tones"
    return StimulatedExperiment(stamps, tables, **attributes)


def _table_of_field(
    key: str, value: str, n_events: int, folder: Path, *, partial: bool
) -> NDArray[Any]:
    try:
        constant = float(value)
    except ValueError:
        path = _find_table(value, folder, key)
        return _fit(read_table(path), n_events, path, key, partial=partial)
    return np.full(n_events, constant)


def _find_table(value: str, folder: Path, key: str) -> Path:
    name = Path(value).expanduser()
    places = list(dict.fromkeys([folder / name, folder / "tables" / name]))
    for path in places:
        if path.is_file():
            return path
    looked = "\n  ".join(str(path) for path in places)
    raise DataPathError(f"no table {value!r} for {key}. Looked for\n  {looked}")


def _fit(
    table: NDArray[Any], n_events: int, path: Path, key: str, *, partial: bool
) -> NDArray[Any]:
    """Repeat a table for all events."""
    whole = table.size <= n_events and n_events % table.size == 0
    if not whole and not partial:
        raise ConfigError(
            f"a table of {table.size} rows does not fit {n_events} events a whole number of "
            "times; check the triggers, or set partial_tables = True",
            path,
            None,
            key,
        )
    return np.resize(table, n_events)


def read_table(path: Path) -> NDArray[Any]:
    """Read a text file of values in reading order.

    Parameters
    ----------
    path : Path
        Values stand between blanks, commas or ends of lines; ``#`` starts a comment.

    Returns
    -------
    ndarray of float64 or of str
        One dimension; numbers if all values are numbers.

    Raises
    ------
    ConfigError
        If the file cannot be read or holds no value.
    """
    return _as_numbers([word for words in _words(path) for word in words])


def read_columns(path: Path) -> dict[str, NDArray[Any]]:
    """Read a text file of named columns.

    Parameters
    ----------
    path : Path
        As in `read_table`; the first line gives the names of the columns.

    Returns
    -------
    dict of str to ndarray
        Name -> float64 or text, one value per line.

    Raises
    ------
    ConfigError
        If the file cannot be read, or a line has more or fewer values than there are names.
    """
    header, *lines = _words(path)
    for line in lines:
        if len(line) != len(header):
            raise ConfigError(
                f"the table has {len(header)} columns {header}, but a line holds {line}", path
            )
    if not lines:
        raise ConfigError("the table has names of columns but no rows", path)
    return {
        name: _as_numbers(list(column))
        for name, column in zip(header, zip(*lines, strict=True), strict=True)
    }


def _words(path: Path) -> list[list[str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the table cannot be read: {error}", path) from error
    lines = (line.partition("#")[0].replace(",", " ").split() for line in text.splitlines())
    words = [line for line in lines if line]
    if not words:
        raise ConfigError("the table is empty", path)
    return words


def _as_numbers(words: list[str]) -> NDArray[Any]:
    try:
        return np.array([float(word) for word in words])
    except ValueError:
        return np.array(words)
