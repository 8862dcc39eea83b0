"""An index of session files on disk, so that a large database is parsed only once.

Folders are always listed afresh. What was learnt from a file, its sections or why it is unusable,
is kept in an SQLite file in the user's cache folder, and believed as long as size and times of the
file stay the same. The index is never needed: where it cannot be read or written the files
themselves are read.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sqlite3
import stat
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ecogsource.errors import ConfigError
from ecogsource.expconfig.ini import Sections, parse_ini
from ecogsource.expconfig.session import check_session_section

__all__ = ["IndexedFile", "clear_index", "contents", "index_path", "list_folder"]

_log = logging.getLogger(__name__)

_SUFFIX = ".txt"
_CONF = "_conf"
# Numbers that identify the content of a file: size, time of change, time of change of status.
_STAMPS = 3
_SCHEMA = """
CREATE TABLE IF NOT EXISTS folders (
    folder TEXT PRIMARY KEY, filenames TEXT, stamps BLOB, sessions TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS files (
    folder TEXT, filename TEXT, content TEXT, PRIMARY KEY (folder, filename)
) WITHOUT ROWID;
"""


class IndexedFile(NamedTuple):
    """What is known of one session file.

    Attributes
    ----------
    name : str
        ``'group/session'``.
    folder, filename : str
        The file.
    problem : str
        Why it cannot be used; empty for a good session.
    """

    name: str
    folder: str
    filename: str
    problem: str

    @property
    def path(self) -> Path:
        """The file."""
        return Path(self.folder, self.filename)


class _Listing(NamedTuple):
    """A folder as it was seen: file names in the order of the system, with their stamps."""

    filenames: list[str]
    stamps: array[int]

    def as_dict(self) -> dict[str, tuple[int, ...]]:
        """File name -> its stamps."""
        numbers = iter(self.stamps)
        return dict(zip(self.filenames, zip(*[numbers] * _STAMPS, strict=True), strict=True))


class _Known(NamedTuple):
    """What the index holds of a folder."""

    listing: _Listing
    # File name -> why it cannot be used, or nothing.
    sessions: dict[str, str]


_Learnt = tuple[bool, str, str]


def index_path() -> Path:
    """Return where the index is kept.

    Returns
    -------
    Path
        A file in the user's cache folder; it need not exist.
    """
    import platformdirs

    return platformdirs.user_cache_path("ecogsource", appauthor=False) / "sessions-1.sqlite3"


def clear_index() -> None:
    """Forget everything: the next listing reads all files again."""
    index_path().unlink(missing_ok=True)


def list_folder(folder: Path) -> list[IndexedFile]:
    """List the session files of a folder, reading those that are new or changed.

    Parameters
    ----------
    folder : Path
        A group.

    Returns
    -------
    list of IndexedFile
        Sorted by file name. Text files without sections, such as tables of stimuli, are not
        among them.

    Raises
    ------
    OSError
        If the folder cannot be listed.
    """
    seen = _scan(folder)
    with _open_index() as database:
        known = _read_known(database, folder)
        sessions = known.sessions
        if seen != known.listing:
            sessions = _update(database, folder, seen, known)
    group, place = folder.name, str(folder)
    return [
        IndexedFile(
            f"{group}/{name.removesuffix(_SUFFIX).removesuffix(_CONF)}", place, name, problem
        )
        for name, problem in sessions.items()
    ]


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
    query = "SELECT filename, content FROM files WHERE folder = ?"
    with _open_index() as database:
        rows = _rows(database, query, (str(folder),))
    return {name: json.loads(content) for name, content in rows}


def _scan(folder: Path) -> _Listing:
    """List the visible text files of a folder; this is all the work if nothing changed."""
    filenames: list[str] = []
    stamps = array("q")
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if not name.endswith(_SUFFIX) or name[0] in "._":
                continue
            try:
                status = entry.stat()
            except OSError:  # a broken link: reading it will say so
                filenames.append(name)
                stamps.extend((-1, 0, 0))
                continue
            if not stat.S_ISDIR(status.st_mode):
                filenames.append(name)
                stamps.extend((status.st_size, status.st_mtime_ns, status.st_ctime_ns))
    return _Listing(filenames, stamps)


def _update(
    database: sqlite3.Connection | None, folder: Path, seen: _Listing, known: _Known
) -> dict[str, str]:
    """Read what is new or changed and remember it; file name -> problem of all sessions."""
    present, before = seen.as_dict(), known.listing.as_dict()
    fresh = {
        name: _learn(folder / name) for name, stamp in present.items() if before.get(name) != stamp
    }
    sessions: dict[str, str] = {}
    for name in sorted(present):
        is_session, problem, _ = fresh.get(name) or (
            name in known.sessions,
            known.sessions.get(name, ""),
            "",
        )
        if is_session:
            sessions[name] = problem
    _remember(database, folder, seen, sessions, fresh, before.keys() - present.keys())
    return sessions


def _learn(path: Path) -> _Learnt:
    """Whether a file is a session, why it is unusable, and its content as JSON."""
    try:
        with path.open("rb") as file:
            text = file.read().decode("utf-8-sig")
    except OSError as error:
        return True, f"the file cannot be read: {error.strerror} (file {str(path)!r})", ""
    except UnicodeDecodeError as error:
        return True, f"the file is not UTF-8 text (byte {error.start}, file {str(path)!r})", ""
    text = text.replace("\r\n", "\n")
    if not path.stem.endswith(_CONF) and not _has_section(text):
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


# -- the SQLite file ---------------------------------------------------------------------------


@contextlib.contextmanager
def _open_index() -> Iterator[sqlite3.Connection | None]:
    """Open the index; None where that is impossible, so that work goes on without it."""
    path = index_path()
    database = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(path, timeout=5)
        database.executescript(_SCHEMA)
    except (OSError, sqlite3.Error) as error:
        if database is not None:
            database.close()
            database = None
        _give_up(error)
    try:
        yield database
    finally:
        if database is not None:
            database.close()


def _give_up(error: Exception) -> None:
    """Go on without the index; one that is damaged is removed, so that the next is a new one."""
    _log.info("no index of session files at %s: %s", index_path(), error)
    if type(error) is sqlite3.DatabaseError:
        with contextlib.suppress(OSError):
            clear_index()


def _rows(
    database: sqlite3.Connection | None, query: str, values: tuple[Any, ...]
) -> list[tuple[Any, ...]]:
    if database is None:
        return []
    try:
        return database.execute(query, values).fetchall()
    except sqlite3.Error as error:
        _give_up(error)
        return []


def _read_known(database: sqlite3.Connection | None, folder: Path) -> _Known:
    query = "SELECT filenames, stamps, sessions FROM folders WHERE folder = ?"
    for filenames, stamps, sessions in _rows(database, query, (str(folder),)):
        numbers = array("q")
        numbers.frombytes(stamps)
        return _Known(_Listing(json.loads(filenames), numbers), json.loads(sessions))
    return _Known(_Listing([], array("q")), {})


def _remember(
    database: sqlite3.Connection | None,
    folder: Path,
    seen: _Listing,
    sessions: dict[str, str],
    fresh: dict[str, _Learnt],
    vanished: Sequence[str] | set[str],
) -> None:
    if database is None:
        return
    place = str(folder)
    stamps = array("q", seen.stamps)
    for position, name in enumerate(seen.filenames):
        # Problems with reading may go away without the file changing (permissions of a folder, a
        # server): such files are looked at again.
        if sessions.get(name, "").startswith("the file cannot be read"):
            stamps[_STAMPS * position] = -2
    good = [(place, name, learnt[2]) for name, learnt in fresh.items() if learnt[2]]
    gone = [(place, name) for name in {*vanished, *fresh}]
    listing = (place, json.dumps(seen.filenames), stamps.tobytes(), json.dumps(sessions))
    try:
        with database:
            database.executemany("DELETE FROM files WHERE folder = ? AND filename = ?", gone)
            database.executemany("INSERT INTO files VALUES (?, ?, ?)", good)
            database.execute("REPLACE INTO folders VALUES (?, ?, ?, ?)", listing)
    except sqlite3.Error as error:
        _give_up(error)
