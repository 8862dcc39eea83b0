"""An index of session files on disk, so that a large database is parsed only once.

Folders are always listed afresh. What was learnt from a file, its sections or why it is unusable,
is kept in an SQLite file in the user's cache folder under the file's path, and believed as long as
size and times of the file stay the same. The index is never needed: where it cannot be read or
written the files themselves are read.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ecogsource.errors import ConfigError
from ecogsource.expconfig.ini import Sections, parse_ini
from ecogsource.expconfig.session import check_session_section

__all__ = ["IndexedFile", "clear_index", "contents", "index_path", "list_folder"]

_log = logging.getLogger(__name__)

_SUFFIX = ".txt"
_CONF = "_conf"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (
    folder TEXT, filename TEXT, size INTEGER, mtime INTEGER, ctime INTEGER,
    is_session INTEGER, problem TEXT, content TEXT,
    PRIMARY KEY (folder, filename)
) WITHOUT ROWID
"""


class IndexedFile(NamedTuple):
    """What is known of one text file in a folder of sessions.

    Attributes
    ----------
    name : str
        ``'group/session'``.
    folder, filename : str
        The file.
    is_session : bool
        Whether it is meant to be a session: a table of stimuli, say, is not.
    problem : str
        Why it cannot be used; empty for a good session.
    """

    name: str
    folder: str
    filename: str
    is_session: bool
    problem: str

    @property
    def path(self) -> Path:
        """The file."""
        return Path(self.folder, self.filename)


def index_path() -> Path:
    """Return where the index is kept.

    Returns
    -------
    Path
        A file in the user's cache folder; it need not exist.
    """
    import platformdirs

    return platformdirs.user_cache_path("ecogsource", appauthor=False) / "sessions.sqlite3"


def clear_index() -> None:
    """Forget everything: the next listing reads all files again."""
    index_path().unlink(missing_ok=True)


def list_folder(folder: Path) -> list[IndexedFile]:
    """List the text files of a folder of sessions, reading those that are new or changed.

    Parameters
    ----------
    folder : Path
        A group.

    Returns
    -------
    list of IndexedFile
        Sorted by file name.

    Raises
    ------
    OSError
        If the folder cannot be listed.
    """
    present = _scan(folder)
    with _open_index() as database:
        known = _known(database, folder)
        fresh = {
            name: _learn(folder / name)
            for name, stamp in present.items()
            if name not in known or known[name][0] != stamp
        }
        vanished = known.keys() - present.keys()
        if fresh or vanished:
            _remember(database, folder, present, fresh, vanished)
    group, place = folder.name, str(folder)
    files = []
    for name in sorted(present):
        is_session, problem = fresh[name][:2] if name in fresh else known[name][1:]
        session = name.removesuffix(_SUFFIX).removesuffix(_CONF)
        files.append(IndexedFile(f"{group}/{session}", place, name, bool(is_session), problem))
    return files


def contents(folder: Path) -> dict[str, Sections]:
    """Return the content of all good session files of a folder that the index knows.

    Parameters
    ----------
    folder : Path
        A group that was listed before.

    Returns
    -------
    dict of str to dict
        File name -> sections.
    """
    query = "SELECT filename, content FROM files WHERE folder = ? AND content != ''"
    with _open_index() as database:
        rows = _rows(database, query, (str(folder),))
    return {name: json.loads(content) for name, content in rows}


_Stamp = tuple[int, int, int]
_Learnt = tuple[bool, str, str]


def _scan(folder: Path) -> dict[str, _Stamp]:
    """File name -> (size, mtime, ctime) of the visible text files of a folder."""
    found = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if name.endswith(_SUFFIX) and name[0] not in "._" and not entry.is_dir():
                try:
                    status = entry.stat()
                except OSError:  # a broken link: reading it will say so
                    found[name] = (-1, 0, 0)
                else:
                    found[name] = (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return found


def _learn(path: Path) -> _Learnt:
    """Whether a file is a session, why it is unusable, and its content as JSON."""
    named_session = path.stem.endswith(_CONF)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        return True, f"the file cannot be read: {error.strerror} (file {str(path)!r})", ""
    except UnicodeDecodeError as error:
        return True, f"the file is not UTF-8 text (byte {error.start}, file {str(path)!r})", ""
    if not named_session and not _has_section(text):
        return False, "", ""
    try:
        sections = parse_ini(text, path)
        check_session_section(sections, path)
    except ConfigError as error:
        return True, str(error), ""
    return True, "", json.dumps(sections)


def _has_section(text: str) -> bool:
    """Whether any line opens a section; a file of stimuli or notes has none."""
    return text.startswith("[") or "\n[" in text


@contextlib.contextmanager
def _open_index() -> Iterator[sqlite3.Connection | None]:
    """Open the index; None where that is impossible, so that work goes on without it."""
    path = index_path()
    database = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(path, timeout=5)
        database.execute(_SCHEMA)
    except (OSError, sqlite3.Error) as error:
        _log.info("no index of session files at %s: %s", path, error)
        if database is not None:
            database.close()
            database = None
        if isinstance(error, sqlite3.DatabaseError) and "not a database" in str(error):
            # Damaged, for instance by a full disk: the next listing starts a new one.
            path.unlink(missing_ok=True)
    try:
        yield database
    finally:
        if database is not None:
            database.close()


def _rows(
    database: sqlite3.Connection | None, query: str, values: tuple[Any, ...]
) -> list[tuple[Any, ...]]:
    if database is None:
        return []
    try:
        return database.execute(query, values).fetchall()
    except sqlite3.Error as error:
        _log.info("the index of session files cannot be read: %s", error)
        return []


def _known(
    database: sqlite3.Connection | None, folder: Path
) -> dict[str, tuple[_Stamp, bool, str]]:
    query = "SELECT filename, size, mtime, ctime, is_session, problem FROM files WHERE folder = ?"
    return {
        name: ((size, mtime, ctime), is_session, problem)
        for name, size, mtime, ctime, is_session, problem in _rows(database, query, (str(folder),))
    }


def _remember(
    database: sqlite3.Connection | None,
    folder: Path,
    present: dict[str, _Stamp],
    fresh: dict[str, _Learnt],
    vanished: set[str],
) -> None:
    if database is None:
        return
    place = str(folder)
    # Problems with reading may go away without the file changing (permissions of a parent
    # folder, a server): they are not remembered.
    rows = [
        (place, name, *present[name], *learnt)
        for name, learnt in fresh.items()
        if not learnt[1].startswith("the file cannot be read")
    ]
    try:
        with database:
            database.executemany(
                "DELETE FROM files WHERE folder = ? AND filename = ?",
                [(place, name) for name in vanished],
            )
            database.executemany("REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
    except sqlite3.Error as error:
        _log.info("the index of session files cannot be written: %s", error)
