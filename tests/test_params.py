"""Parameters: where they come from, what they may be, how they are overridden."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from ecogsource import _machine, params
from ecogsource.errors import ConfigError, DataPathError, EcogSourceError
from ecogsource.params import OVERRIDE, Params, config_path, load_params, user_config_path

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write an INI file and make it the one in force; gives its path."""
    path = tmp_path / "lab.ini"
    monkeypatch.setenv("ECOGSOURCE_CONFIG", str(path))
    monkeypatch.setattr(params, "_STAT_INTERVAL", 0)

    def write(text: str) -> Path:
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_values_are_typed_and_expanded(write, tmp_path, monkeypatch):
    monkeypatch.setenv("SERVER", "/mnt/server")
    write(
        "[params]\n"
        "local_exp = ~/rec 100% full\n"
        "network_exp = ${SERVER}/exp\n"
        "user_sessions = sessions\n"
        "stash_path = %(network_exp)s/stash\n"
        "clear_temp_converted = off\n"
        "floating_point = double\n"
        "memory_limit = 1.5GiB\n"
        "channel_mask = 3, 40-42 1\n"
        "workers = 3\n"
        "chunk_cache = 0\n"
    )
    assert load_params() == Params(
        local_exp=Path.home() / "rec 100% full",
        network_exp=Path("/mnt/server/exp"),
        user_sessions=tmp_path / "sessions",
        stash_path=Path("/mnt/server/exp/stash"),
        clear_temp_converted=False,
        floating_point="double",
        memory_limit=3 * 2**29,
        channel_mask=(1, 3, 40, 41, 42),
        workers=3,
        chunk_cache=0,
    )


def test_keys_left_out_keep_the_packaged_defaults(write):
    path = write("[params]\nmemory_limit = 5MB\n")
    found = load_params()
    assert config_path() == path
    assert found.memory_limit == 5_000_000
    assert found.floating_point == "single"
    assert found.clear_temp_converted is True
    assert found.network_exp is None
    assert found.channel_mask == ()
    assert found.workers == _machine.available_cores()


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "[params]\n", "\ufeff[params]\n"])
def test_an_empty_file_means_the_defaults(write, text):
    write(text)
    assert load_params().floating_point == "single"


def test_the_example_file_holds_every_key_and_parses(monkeypatch):
    example = ROOT / "configs" / "ecogsource.ini"
    monkeypatch.setenv("ECOGSOURCE_CONFIG", str(example))
    assert isinstance(load_params(fresh=True), Params)
    assert set(params._read_ini(example)) == set(params._read_ini(params._DEFAULTS))
    assert set(params._read_ini(params._DEFAULTS)) == set(Params.__dataclass_fields__)


def test_without_variable_the_users_folder_counts_else_the_defaults(tmp_path, monkeypatch):
    monkeypatch.delenv("ECOGSOURCE_CONFIG")
    monkeypatch.setattr("platformdirs.user_config_path", lambda *_, **__: tmp_path)
    assert config_path() is None
    assert user_config_path() == tmp_path / "ecogsource.ini"
    assert load_params(fresh=True).memory_limit == 4_000_000_000
    (tmp_path / "ecogsource.ini").write_text("[params]\nmemory_limit = 7KB\n")
    assert config_path() == tmp_path / "ecogsource.ini"
    assert load_params(fresh=True).memory_limit == 7000


def test_the_file_is_parsed_again_only_when_it_changed(write, monkeypatch):
    path = write("[params]\nworkers = 1\n")
    reads = []
    original = params._read_params
    monkeypatch.setattr(params, "_read_params", lambda p: reads.append(p) or original(p))
    first = load_params()
    assert load_params() is first
    assert reads == [path]
    path.write_text("[params]\nworkers = 12\n")
    assert load_params().workers == 12
    # Same size and time, another file: editors that write by rename change the inode.
    status = path.stat()
    other = path.with_name("other.ini")
    other.write_text("[params]\nworkers = 13\n")
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(path)
    assert load_params().workers == 13
    assert reads == [path] * 3


def test_between_looks_the_file_is_not_touched(write, monkeypatch):
    path = write("[params]\nworkers = 1\n")
    monkeypatch.setattr(params, "_STAT_INTERVAL", 3600)
    assert load_params(fresh=True).workers == 1
    path.unlink()
    assert load_params().workers == 1
    path.write_text("[params]\nworkers = 2\n")
    assert load_params().workers == 1
    assert load_params(fresh=True).workers == 2


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("memory_limit = lots", ["memory_limit", "'lots'", "2GB"]),
        ("memory_limit = 0", ["memory_limit", "limit of 0"]),
        ("memory_limit = -5MB", ["memory_limit", "'-5MB'", "negative"]),
        ("chunk_cache = 1QB", ["chunk_cache", "'1QB'", "256MB"]),
        ("clear_temp_converted = maybe", ["clear_temp_converted", "'maybe'", "yes or no"]),
        ("floating_point = half", ["floating_point", "'half'", "single or double"]),
        ("workers = 0", ["workers", "'0'", "at least 1"]),
        ("workers = 2.5", ["workers", "'2.5'", "whole number"]),
        ("channel_mask = 3; 4", ["channel_mask", "'3; 4'", "40-43"]),
        ("channel_mask = 9-4", ["channel_mask", "range 9-4 is empty"]),
        ("local_exp = $NO_SUCH_VARIABLE/x", ["local_exp", "NO_SUCH_VARIABLE is not set"]),
        ("local_exp = ~no_such_user_here/x", ["local_exp", "a folder"]),
        ("memory_limt = 2GB", ["unknown parameter 'memory_limt'", "did you mean 'memory_limit'"]),
        ("Workers = 2", ["unknown parameter 'Workers'", "did you mean 'workers'"]),
        ("qqqq = 2", ["unknown parameter 'qqqq'; known are local_exp,"]),
        ("stash_path = %(local_ex)s/x", ["stash_path", "'local_ex'", "did you mean 'local_exp'"]),
        ("local_exp = %(local_exp)s", ["circle: local_exp -> local_exp"]),
    ],
)
def test_a_bad_value_names_file_section_key_value_and_what_is_allowed(write, line, parts):
    path = write(f"[params]\n{line}\n")
    with pytest.raises(ConfigError) as caught:
        load_params()
    message = str(caught.value)
    for part in parts:
        assert part in message
    assert f"file {str(path)!r}" in message
    assert (caught.value.filename, caught.value.section) == (str(path), "params")
    assert caught.value.key == line.partition(" = ")[0]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("memory_limit = 2GB\n", ["not a valid INI file", "no section headers", "[params]"]),
        ("[params]\nworkers\n", ["not a valid INI file", "line: 2"]),
        ("[params]\nworkers = 1\nworkers = 2\n", ["already exists", "section 'params'", "workers"]),
        ("[parms]\nworkers = 1\n", ["unknown section [parms]", "[params]"]),
    ],
)
def test_a_malformed_file_is_named(write, text, parts):
    path = write(text)
    with pytest.raises(ConfigError) as caught:
        load_params()
    # Python versions differ in how they write line numbers.
    message = str(caught.value).replace("[line  2]", "line: 2").replace("line 2", "line: 2")
    for part in [*parts, str(path)]:
        assert part in message


def test_a_file_that_is_no_text_is_named(write):
    path = write("")
    path.write_bytes(b"[params]\nlocal_exp = \xff\xfe\n")
    with pytest.raises(ConfigError, match="not a valid INI file"):
        load_params()


def test_a_missing_file_names_the_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("ECOGSOURCE_CONFIG", str(tmp_path / "gone.ini"))
    with pytest.raises(DataPathError, match=r"gone\.ini.*ECOGSOURCE_CONFIG"):
        load_params()
    with pytest.raises(FileNotFoundError):
        config_path()


def test_params_are_frozen_and_pickle():
    found = load_params()
    with pytest.raises(AttributeError):
        found.workers = 3
    assert pickle.loads(pickle.dumps(found)) == found


def test_override_items_hold_for_the_process_and_can_be_deleted():
    before = load_params()
    OVERRIDE["memory_limit"] = 1e5
    assert load_params().memory_limit == 100_000
    assert isinstance(load_params().memory_limit, int)
    seen = []
    thread = threading.Thread(target=lambda: seen.append(load_params().memory_limit))
    thread.start()
    thread.join()
    assert seen == [100_000]
    assert dict(OVERRIDE) == {"memory_limit": 100_000}
    assert "memory_limit" in repr(OVERRIDE)
    del OVERRIDE["memory_limit"]
    assert load_params() == before
    assert len(OVERRIDE) == 0
    with pytest.raises(KeyError):
        del OVERRIDE["memory_limit"]


def test_override_takes_texts_numbers_and_numpy_values(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    OVERRIDE.update(
        memory_limit="2MB",
        workers=np.int64(2),
        channel_mask=np.array([4, 1]),
        local_exp="here",
        stash_path=None,
        clear_temp_converted=False,
    )
    found = load_params()
    assert (found.memory_limit, found.workers, found.channel_mask) == (2_000_000, 2, (1, 4))
    assert (found.local_exp, found.stash_path) == (tmp_path / "here", None)
    assert found.clear_temp_converted is False


@pytest.mark.parametrize(
    ("name", "value", "part"),
    [
        ("workers", True, "whole number"),
        ("workers", 1.5, "whole number"),
        ("memory_limit", float("nan"), "finite"),
        ("memory_limit", object(), "2GB"),
        ("channel_mask", [-1], "counted from 0"),
        ("floating_point", "float32", "single or double"),
        ("local_exp", 3, "a folder"),
        ("worker", 1, "did you mean 'workers'"),
    ],
)
def test_override_checks_at_assignment(name, value, part):
    with pytest.raises(ConfigError, match=part):
        OVERRIDE[name] = value
    with pytest.raises(ConfigError, match=part):
        OVERRIDE.set(**{name: value})
    assert len(OVERRIDE) == 0


def test_override_block_nests_wins_over_items_and_ends_after_errors():
    OVERRIDE["workers"] = 7
    with OVERRIDE.set(workers=1, memory_limit=10) as inside:
        assert (inside.workers, inside.memory_limit) == (1, 10)
        OVERRIDE["workers"] = 8
        with OVERRIDE.set(memory_limit="20B"):
            assert (load_params().workers, load_params().memory_limit) == (1, 20)
        assert load_params().memory_limit == 10
        assert OVERRIDE["workers"] == 1
        with pytest.raises(KeyError):
            del OVERRIDE["memory_limit"]
    assert load_params().workers == 8
    with pytest.raises(ZeroDivisionError), OVERRIDE.set(workers=3):
        raise ZeroDivisionError
    assert load_params().workers == 8
    OVERRIDE.clear()
    assert dict(OVERRIDE) == {}


def test_override_blocks_of_threads_do_not_mix():
    barrier = threading.Barrier(4)
    wrong = []

    def work(workers: int) -> None:
        barrier.wait()
        for _ in range(300):
            with OVERRIDE.set(workers=workers):
                if load_params().workers != workers:
                    wrong.append(workers)
        barrier.wait()

    threads = [threading.Thread(target=work, args=(n,)) for n in (11, 12, 13)]
    for thread in threads:
        thread.start()
    with OVERRIDE.set(workers=14):
        barrier.wait()
        barrier.wait()
        assert load_params().workers == 14
    for thread in threads:
        thread.join()
    assert wrong == []


def test_override_items_set_by_many_threads_all_stay():
    names = ["workers", "memory_limit", "chunk_cache", "floating_point"]
    values = [5, 6, 7, "double"]

    def work(name: str, value: object) -> None:
        for _ in range(200):
            OVERRIDE[name] = value

    threads = [threading.Thread(target=work, args=pair) for pair in zip(names, values, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert dict(OVERRIDE) == dict(zip(names, values, strict=True))


def test_overrides_follow_a_changed_file(write):
    path = write("[params]\nworkers = 1\n")
    OVERRIDE["memory_limit"] = 5
    assert (load_params().workers, load_params().memory_limit) == (1, 5)
    path.write_text("[params]\nworkers = 22\n")
    assert (load_params().workers, load_params().memory_limit) == (22, 5)


def test_nothing_is_read_at_import(tmp_path):
    code = "import ecogsource.params, ecogsource.memory; ecogsource.params.load_params()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "ECOGSOURCE_CONFIG": str(tmp_path / "gone.ini")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "in load_params" in done.stderr
    assert "DataPathError" in done.stderr


def test_errors_are_the_librarys():
    assert issubclass(ConfigError, EcogSourceError)
    assert issubclass(ConfigError, ValueError)
