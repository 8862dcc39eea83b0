"""Listing and searching a session database, beside ``configparser`` and bare ``os.scandir``."""

from __future__ import annotations

import configparser
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ecogsource.expconfig import available_sessions, find_sessions, session_conf
from ecogsource.params import OVERRIDE

__all__ = ["run"]

_SESSION = """\
[session]
exp_path = %(local_exp)s/day
nwk_path = %(network_exp)s/day
headstage = openephys
electrode = psv_61_intan2
resample_rate = 2000

[DEFAULT]
exp_type = tonotopy

[rec_1]
tones_tab = tones_1.txt

[rec_2]
tones_tab = tones_2.txt
bandpass = 2, 100
"""


def run(folder: Path, smoke: bool) -> list[dict[str, Any]]:  # noqa: FBT001 - how all are called
    """Time one group of many session files.

    Parameters
    ----------
    folder : Path
        Where to write the sessions.
    smoke : bool
        Write few.

    Returns
    -------
    list of dict
        One row per work: name, milliseconds here and with the peer, and what the peer is.
    """
    count = 100 if smoke else 10_000
    group = folder / "many"
    group.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (group / f"2016-09-{number:05d}.txt").write_text(_SESSION, encoding="utf-8")
    query = "electrode=psv_61* resample_rate=2000 bandpass=*"
    with OVERRIDE.set(user_sessions=folder):
        first = _milliseconds(lambda: available_sessions("many"), repeats=1)
        again = _milliseconds(lambda: available_sessions("many"))
        search = _milliseconds(lambda: find_sessions(query))
        one = _milliseconds(lambda: session_conf("many/2016-09-00000"))
    parsed = _milliseconds(lambda: _parse_all(group), repeats=1)
    bare = _milliseconds(lambda: _scan(group))
    return [
        _row(f"list {count} sessions, first time", first, parsed, "configparser"),
        _row(f"list {count} sessions, again", again, bare, "scandir and stat"),
        _row(f"search {count} sessions", search, parsed, "configparser"),
        _row("one session, typed", one, parsed / count, "configparser, untyped"),
    ]


def _row(work: str, ours: float, theirs: float, peer: str) -> dict[str, Any]:
    return {"work": work, "ecogsource ms": ours, "peer ms": theirs, "peer": peer}


def _milliseconds(work: Callable[[], object], repeats: int = 3) -> float:
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        best = min(best, 1e3 * (time.perf_counter() - start))
    return round(best, 3)


def _parse_all(group: Path) -> int:
    found = 0
    for path in group.iterdir():
        parser = configparser.ConfigParser(interpolation=None)
        parser.read(path, encoding="utf-8")
        found += parser.has_section("session")
    return found


def _scan(group: Path) -> int:
    with os.scandir(group) as entries:
        return sum(entry.stat().st_size for entry in entries)
