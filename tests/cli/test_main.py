"""The command line as a whole: exit status, errors in one line, and small commands."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import ecogsource
from ecogsource.buffers.storage import loops
from ecogsource.cli import build_parser, main
from ecogsource.cli.text import duration, indented, table
from ecogsource.errors import DataPathError
from ecogsource.params import OVERRIDE, user_config_path

SESSION = """\
[session]
exp_path = %(local_exp)s/here
headstage = generic
electrode = grid_8x8_0.4
resample_rate = 2000

[rec_001]
[rec_002]
resample_rate = 1000
"""


@pytest.fixture
def database(tmp_path: Path) -> Path:
    (tmp_path / "group").mkdir()
    (tmp_path / "group" / "2020-01-02_first.txt").write_text(SESSION)
    (tmp_path / "group" / "2020-01-03_broken.txt").write_text(SESSION + "[rec_001]\n")
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, list[str], str]:
    status = main(list(words))
    out, err = capsys.readouterr()
    return status, out.splitlines(), err


def test_no_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([])
    assert exit_.value.code == 2
    assert "usage: ecogsource" in capsys.readouterr().err


@pytest.mark.parametrize(("built", "said"), [(True, "yes"), (False, "no, so reading is slower")])
def test_versions_for_reports(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, built: bool, said: str
) -> None:
    monkeypatch.setattr(loops, "available", lambda: built)
    with pytest.raises(SystemExit) as exit_:
        main(["--version"])
    assert exit_.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith(f"ecogsource {ecogsource.__version__}, numpy {np.__version__}, h5py ")
    assert out.endswith(f"; loops in C: {said}\n")
    assert f"Python {sys.version.split()[0]} on " in out


def test_every_command_has_a_help_text() -> None:
    text = build_parser().format_help()
    for command in ("demo", "sessions", "check", "params", "info", "formats", "verify"):
        assert f"    {command} " in text


def test_an_error_is_one_line_and_status_two(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "demo", "--data", "/no/such/file")
    assert (status, out) == (2, [])
    assert err == "ecogsource: DataPathError: no such file or folder: '/no/such/file'\n"


def test_an_error_of_several_lines_becomes_one(
    capsys: pytest.CaptureFixture[str], database: Path
) -> None:
    with OVERRIDE.set(user_sessions=database):
        status, _, err = run(capsys, "info", "group/2020-01-02_frist")
    assert status == 2
    assert err.count("\n") == 1
    assert "2020-01-02_first" in err


def test_debug_shows_the_traceback() -> None:
    with pytest.raises(DataPathError, match="no such file or folder"):
        main(["--debug", "demo", "--data", "/no/such/file"])


def test_ctrl_c_ends_with_status_130(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ecogsource.io.formats", interrupted)
    assert run(capsys, "formats") == (130, [], "ecogsource: interrupted\n")


def test_a_warning_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def warn() -> list[dict[str, str]]:
        warnings.warn("something\nis odd", UserWarning, stacklevel=1)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
        return []

    before = warnings.showwarning
    monkeypatch.setattr("ecogsource.io.formats", warn)
    status, _, err = run(capsys, "formats")
    assert (status, err) == (0, "ecogsource: UserWarning: something is odd\n")
    assert warnings.showwarning is before


def test_a_reader_that_goes_away_is_no_error() -> None:
    code = (
        "import os, sys; from ecogsource.cli import main\n"
        "sys.stdin.readline(); raise SystemExit(main(['formats']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(b"\n", timeout=60)
    assert (process.returncode, err) == (0, b"")


def test_the_parser_imports_nothing_heavy() -> None:
    code = (
        "import sys; from ecogsource.cli import build_parser; build_parser()\n"
        "print([m for m in ('scipy', 'matplotlib', 'pandas', 'dask') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert out.stdout == "[]\n"


def test_params_shows_values_and_their_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "mine.ini"
    config.write_text("[params]\nlocal_exp = /data\nmemory_limit = 2GB\n")
    monkeypatch.setenv("ECOGSOURCE_CONFIG", str(config))
    status, out, _ = run(capsys, "params")
    assert status == 0
    assert any(line.split() == ["local_exp", "/data"] for line in out)
    assert any(line.startswith("memory_limit") and "2 GB" in line for line in out)
    assert out[-1] == f"from the parameter file {config}"


def test_params_tells_where_the_file_goes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("ECOGSOURCE_CONFIG", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    _, out, _ = run(capsys, "params")
    assert out[-1].endswith(f"your own go into the parameter file {user_config_path()}")


def test_sessions_lists_all_and_says_which_are_broken(
    capsys: pytest.CaptureFixture[str], database: Path
) -> None:
    with OVERRIDE.set(user_sessions=database):
        status, out, _ = run(capsys, "sessions")
    assert status == 0
    assert out[0] == "group/2020-01-02_first"
    assert out[1].startswith("group/2020-01-03_broken")
    assert "rec_001" in out[1]


def test_sessions_of_an_unknown_group(capsys: pytest.CaptureFixture[str], database: Path) -> None:
    with OVERRIDE.set(user_sessions=database):
        status, _, err = run(capsys, "sessions", "grop")
    assert status == 2
    assert "'group'" in err


def test_sessions_can_be_searched(capsys: pytest.CaptureFixture[str], database: Path) -> None:
    (database / "group" / "2020-01-03_broken.txt").unlink()
    with OVERRIDE.set(user_sessions=database):
        status, out, _ = run(capsys, "sessions", "--find", "electrode=grid* resample_rate=1000")
    assert status == 0
    assert out[0].startswith("group/2020-01-02_first/rec_002")
    assert out[-1] == "1 found"


def test_formats_lists_what_can_be_opened(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "formats")
    assert status == 0
    names = [line.split()[0] for line in out[1:]]
    assert {"edf", "hdf5", "intan", "flat"} <= set(names)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(5.4e-6, "5 µs"), (0.0123, "12.3 ms"), (1.234, "1.23 s"), (250.4, "250 s")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_tables_are_aligned() -> None:
    assert table([["a", None], ["long", 3]], header=["k", "v"]) == ["k     v", "a     -", "long  3"]
    assert table([]) == []


def test_long_lines_are_wrapped_and_short_ones_left_alone() -> None:
    lines = indented("a    b\n" + "word " * 40, 4)
    assert lines[0] == "    a    b"
    assert len(lines) == 4
    assert max(map(len, lines)) <= 100


def test_the_package_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "ecogsource", "formats"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("format ")
    command[3:] = ["info", "nothing/here"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "nothing/here" in done.stderr
