"""The session database: names, inheritance, typed values, search, the index."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ecogsource.errors import ConfigError, DataPathError
from ecogsource.expconfig import (
    OVERRIDE,
    Bunch,
    SessionFileWarning,
    available_sessions,
    find_conf,
    find_sessions,
    list_sessions,
    session_conf,
    session_groups,
    session_info,
    session_table,
    sessions_to_delta,
)
from ecogsource.expconfig import index as index_module
from ecogsource.expconfig.fields import INTEGER

SESSION = """\
# the first session
[DEFAULT]
exp_type = tonotopy
amps_tab = amps.txt
resample_rate = 1000

[session]
exp_path = %(local_exp)s/one
nwk_path = %(network_exp)s/one
headstage = openephys
electrode = psv_61_intan2
mapped = False
resample_rate = 2000
percent = 50% of %(electrode)s

[rec_1]
tones_tab = tones.txt

[rec_2]
Electrode = psv_61
bandpass = 2, 100
"""


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Path]:
    root = tmp_path / "sessions"
    for name, text in {
        "a/2016-09-01_first.txt": SESSION,
        "a/2016-09-11_second_conf.txt": "[session]\nheadstage = generic\n",
        "a/tones.txt": "100\n200\n",
        "b/other.txt": "[session]\nheadstage = generic\nelectrode = None\n[r]\n",
        ".hidden/x.txt": "[session]\n",
        "_old/x.txt": "[session]\n",
        "b/.x.txt": "[session]\n",
        "b/notes.md": "[session]\n",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    with OVERRIDE.set(user_sessions=root, local_exp="/local", network_exp=None):
        yield root


def test_groups_and_sessions(database: Path) -> None:
    assert session_groups() == ["a", "b"]
    assert available_sessions("a") == ["a/2016-09-01_first", "a/2016-09-11_second"]
    assert available_sessions() == ["a/2016-09-01_first", "a/2016-09-11_second", "b/other"]
    with pytest.raises(DataPathError, match=r"no group 'aa'.*\['a', 'b'\]"):
        available_sessions("aa")


def test_extra_paths_come_first(database: Path, tmp_path: Path) -> None:
    extra = tmp_path / "extra"
    (extra / "a").mkdir(parents=True)
    (extra / "a" / "2016-09-01_first.txt").write_text("[session]\nheadstage = mine\n")
    (extra / "c").mkdir()
    assert session_groups([extra]) == ["a", "b", "c"]
    assert session_info("a/2016-09-01_first", extra_paths=[extra]).headstage == "mine"
    assert len(available_sessions("a", [extra])) == 2


def test_inheritance_and_types(database: Path) -> None:
    conf = session_conf("a/2016-09-01_first")
    assert list(conf) == ["session", "rec_1", "rec_2"]
    assert conf.session.mapped is False
    assert conf.session.exp_path == "/local/one"
    assert conf.session.nwk_path is None
    assert conf.session.percent == "50% of psv_61_intan2"
    assert "tones_tab" not in conf.session
    assert "exp_type" not in conf.session
    assert conf.rec_1.tones_tab == "tones.txt"
    assert conf.rec_1.exp_type == "tonotopy"
    assert conf.rec_1.resample_rate == 2000
    assert conf.rec_1.headstage == "openephys"
    assert conf.rec_2.electrode == "psv_61"
    assert conf.rec_2.bandpass == (2, 100)
    assert session_info("a/2016-09-01_first").exp_type == "tonotopy"


def test_tables_of_devices_add_types(database: Path) -> None:
    path = database / "b" / "other.txt"
    path.write_text("[session]\nheadstage = x\nports = 3\n")
    assert session_info("b/other").ports == "3"
    assert session_info("b/other", {"ports": INTEGER}).ports == 3


def test_names_of_sessions(database: Path) -> None:
    assert find_conf("a/2016-09-11_second").name == "2016-09-11_second_conf.txt"
    assert find_conf("other") == database / "b" / "other.txt"
    with pytest.raises(DataPathError, match=r"did you mean 'b/other'\?(.|\n)*others_conf\.txt"):
        find_conf("b/others")
    with pytest.raises(DataPathError, match="no group 'c'"):
        find_conf("c/other")
    (database / "a" / "other.txt").write_text("[session]\n")
    with pytest.raises(ConfigError, match="in several groups: a/other, b/other"):
        find_conf("other")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[session]\nx = %(nothing)s\n", r"unknown name %\(nothing\)s.*key 'x'"),
        ("[session]\nx = %(y)s\ny = %(x)s\n", "circle: x -> y -> x"),
        ("[session]\n[rec]\n[rec]\n", r"duplicate section \[rec\]"),
        ("[sesion]\n", r"no section \[session\]; did you mean"),
        ("[session]\nmapped = maybe\n", "'maybe' is not allowed.*session 'x'|'maybe' is not"),
    ],
)
def test_malformed_sessions(database: Path, text: str, message: str) -> None:
    (database / "b" / "bad.txt").write_text(text)
    with pytest.raises(ConfigError, match=message):
        session_conf("b/bad")


def test_no_database_at_all(tmp_path: Path) -> None:
    with OVERRIDE.set(user_sessions=None), pytest.raises(DataPathError, match="user_sessions"):
        session_groups()
    with (
        OVERRIDE.set(user_sessions=tmp_path / "none"),
        pytest.raises(DataPathError, match=r"no folder of sessions found.*none"),
    ):
        session_groups()


def test_unusable_files_are_reported_and_listed(database: Path) -> None:
    (database / "b" / "broken.txt").write_text("[session]\nnonsense\n")
    (database / "b" / "binary.txt").write_bytes(b"[session]\n\xff")
    (database / "b" / "gone_conf.txt").symlink_to(database / "nowhere")
    with pytest.warns(SessionFileWarning) as caught:
        names = available_sessions("b")
    assert names == ["b/binary", "b/broken", "b/gone", "b/other"]
    message = str(caught[0].message)
    assert "3 of 4 session files cannot be used" in message
    assert "line 2: 'nonsense'" in message
    assert "not UTF-8" in message
    assert "gone_conf.txt" in message


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() == 0, reason="needs permissions that hold"
)
def test_files_without_permission_are_reported(database: Path) -> None:
    path = database / "b" / "secret.txt"
    path.write_text("[session]\n")
    path.chmod(0)
    with pytest.warns(SessionFileWarning, match="cannot be read: Permission denied"):
        assert "b/secret" in available_sessions("b")


def test_the_index_reads_only_what_changed(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learnt: list[str] = []
    original = index_module._learn

    def spy(path: Path) -> object:
        learnt.append(path.name)
        return original(path)

    monkeypatch.setattr(index_module, "_learn", spy)
    available_sessions("a")
    assert sorted(learnt) == ["2016-09-01_first.txt", "2016-09-11_second_conf.txt", "tones.txt"]
    learnt.clear()
    assert len(available_sessions("a")) == 2
    assert learnt == []
    (database / "a" / "tones.txt").write_text("[session]\nheadstage = generic\n")
    (database / "a" / "2016-09-11_second_conf.txt").unlink()
    assert available_sessions("a") == ["a/2016-09-01_first", "a/tones"]
    assert learnt == ["tones.txt"]
    assert list(index_module.contents(database / "a")) == ["2016-09-01_first.txt", "tones.txt"]


@pytest.mark.parametrize("obstacle", ["damaged", "folder"])
def test_listing_works_without_an_index(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, obstacle: str
) -> None:
    path = tmp_path / "cache" / "sessions.sqlite3"
    monkeypatch.setattr(index_module, "index_path", lambda: path)
    if obstacle == "folder":
        path.mkdir(parents=True)
    else:
        path.parent.mkdir()
        path.write_bytes(b"this is no database, but longer than a header" * 50)
    assert len(available_sessions("a")) == 2
    assert [row.session for row in find_sessions("headstage=openephys")] == 2 * [
        "a/2016-09-01_first"
    ]
    if obstacle == "damaged":
        assert len(available_sessions("a")) == 2
        assert index_module.contents(database / "a")
        index_module.clear_index()
        assert not path.exists()


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("electrode=psv_61*", [("a/2016-09-01_first", "rec_1"), ("a/2016-09-01_first", "rec_2")]),
        ("electrode=PSV_61", [("a/2016-09-01_first", "rec_2")]),
        ("electrode=psv_61* resample_rate=2000.0 tones_tab=*", [("a/2016-09-01_first", "rec_1")]),
        ("headstage=generic", [("a/2016-09-11_second", None), ("b/other", "r")]),
        ("*second", [("a/2016-09-11_second", None)]),
        ("percent='50% of*'", [("a/2016-09-01_first", "rec_1"), ("a/2016-09-01_first", "rec_2")]),
        ("nothing=1", []),
    ],
)
def test_search(database: Path, query: str, found: list[tuple[str, str | None]]) -> None:
    rows = find_sessions(query)
    assert [(row.session, row.recording) for row in rows] == found
    if "tones_tab" in query:
        assert rows[0].values == {
            "electrode": "psv_61_intan2",
            "resample_rate": "2000",
            "tones_tab": "tones.txt",
        }


def test_bad_queries(database: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        find_sessions("electrode='x")
    with pytest.raises(ConfigError, match="names no field"):
        find_sessions("=3")


def test_a_table_of_recordings(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    rows = session_table("a/2016-09-01_first")
    assert [row.recording for row in rows] == ["rec_1", "rec_2"]
    assert rows[1].tones_tab is None
    assert isinstance(rows[0], Bunch)


def test_a_table_of_recordings_with_pandas(database: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = session_table("a/2016-09-01_first")
    assert isinstance(frame, pandas.DataFrame)
    assert frame["recording"].tolist() == ["rec_1", "rec_2"]
    assert frame["electrode"].tolist() == ["psv_61_intan2", "psv_61"]


def test_days_between_sessions() -> None:
    names = ["g/2016-09-11_b", "g/2016-09-01_a", "g/2016-10-01"]
    assert sessions_to_delta(names) == [10, 0, 30]
    assert sessions_to_delta(names, "g/2016-09-11_b") == [0, -10, 20]
    assert sessions_to_delta([]) == []
    with pytest.raises(ValueError, match="'g/x' contains no date"):
        sessions_to_delta(["g/x"])


def test_many_sessions_are_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = tmp_path / "many"
    group.mkdir()
    for number in range(2_000):
        (group / f"s{number:04d}.txt").write_text(f"[session]\nelectrode = e{number % 7}\n")
    with OVERRIDE.set(user_sessions=tmp_path):
        assert len(list_sessions("many")) == 2_000
        monkeypatch.setattr(index_module, "_learn", None)
        assert len(available_sessions("many")) == 2_000
        assert len(find_sessions("electrode=e3")) == len(range(3, 2_000, 7))


def test_several_at_once_share_the_index(database: Path) -> None:
    for number in range(50):
        (database / "a" / f"x{number}.txt").write_text("[session]\nheadstage = generic\n")
    index_module.clear_index()
    with ThreadPoolExecutor(4) as pool:
        listings = list(pool.map(lambda _: index_module.list_folder(database / "a"), range(8)))
    assert all(listing == listings[0] for listing in listings)
    assert len(listings[0]) == 52
