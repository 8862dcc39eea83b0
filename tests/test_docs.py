"""What the documents say is true: commands exist and are described, examples run."""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

import ecogsource
from ecogsource.cli import build_parser
from ecogsource.params import Params

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.rst", *sorted((ROOT / "docs").glob("*.rst"))]
_BLOCK = re.compile(r"^\.\. code-block:: (\w+)\n\n((?:   .*\n|\n)+)", re.MULTILINE)


def blocks(path: Path, language: str) -> list[str]:
    """Give the code blocks of a page in one language."""
    text = path.read_text(encoding="utf-8") + "\n"
    return [textwrap.dedent(body) for kind, body in _BLOCK.findall(text) if kind == language]


def subcommands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """List every command with its parser, nested ones as ``outer inner``."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, sub in action.choices.items():
                yield name, sub
                yield from ((f"{name} {inner}", deep) for inner, deep in subcommands(sub))


COMMANDS = dict(subcommands(build_parser()))


def cli_sections() -> dict[str, str]:
    """Split docs/cli.rst by its headings ``ecogsource NAME``."""
    text = (ROOT / "docs" / "cli.rst").read_text(encoding="utf-8")
    parts = re.split(r"^ecogsource ([\w -]+)\n-+\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_command_is_documented_and_no_other():
    assert set(cli_sections()) == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_documented(name):
    section = cli_sections()[name]
    options = {
        option
        for action in COMMANDS[name]._actions
        for option in action.option_strings
        if option.startswith("--") and option != "--help"
    }
    assert {option for option in options if option not in section} == set()


def command_lines() -> list[tuple[str, str]]:
    """List every line ``$ ecogsource ...`` or ``$ make ...`` of the pages."""
    return [
        (page.name, line.removeprefix("$ ").strip())
        for page in PAGES
        for body in blocks(page, "console")
        for line in body.replace("\\\n", " ").splitlines()
        if line.startswith(("$ ecogsource ", "$ make "))
    ]


@pytest.mark.parametrize(("page", "line"), command_lines())
def test_command_lines_of_the_documents_are_understood(page, line):
    words = shlex.split(line, comments=True)
    if words[0] == "make":
        targets = {word for word in words[1:] if "=" not in word}
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        assert targets <= set(re.findall(r"^(\w+):", makefile, re.MULTILINE))
    else:
        build_parser().parse_args(words[1:])


def write_runs(folder: Path) -> None:
    """Write the two recordings that README's example is about."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(7)
    for name in ("run1", "run2"):
        with h5py.File(folder / f"{name}.h5", "w") as file:
            file["data"] = rng.normal(size=(64, 3000)).astype("f4")
            file["Fs"] = 1000.0


def test_readme_runs(tmp_path, monkeypatch, capsys):
    readme = ROOT / "README.rst"
    data = tmp_path / "data"
    write_runs(data / "rat7" / "2024-05-02")
    params, session = (text.replace("/data", str(data)) for text in blocks(readme, "ini"))
    (tmp_path / "ecogsource.ini").write_text(params)
    (data / "sessions" / "rat7").mkdir(parents=True)
    (data / "sessions" / "rat7" / "2024-05-02.txt").write_text(session)
    monkeypatch.setenv("ECOGSOURCE_CONFIG", str(tmp_path / "ecogsource.ini"))
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for code in blocks(readme, "python"):
        exec(compile(code.replace("/data", str(data)), "README.rst", "exec"), names)
    assert "(62, 6000)" in capsys.readouterr().out
    assert names["across"].shape == (62, 1000)
    np.testing.assert_allclose(
        names["power"], (np.asarray(names["both"].data, "d") ** 2).sum(axis=1)
    )
    assert (tmp_path / "border.png").stat().st_size > 10_000
    names["both"].close()


def test_tutorial_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for code in blocks(ROOT / "docs" / "tutorial.rst", "python"):
        exec(compile(code, "tutorial.rst", "exec"), names)


def test_every_public_name_has_its_room_in_the_reference():
    reference = (ROOT / "docs" / "reference.rst").read_text(encoding="utf-8")
    documented = set(re.findall(r"automodule:: ([\w.]+)", reference))
    assert set(ecogsource._ROOMS) <= documented


def test_every_parameter_is_described():
    text = (ROOT / "ecogsource" / "data" / "defaults.ini").read_text(encoding="utf-8")
    described = re.findall(r"^# .*\n(?:#.*\n)*(?:\w+ =.*\n)*?(\w+) =", text, re.MULTILINE)
    assert set(described) == set(Params.__dataclass_fields__)


def test_pages_build_without_a_warning(tmp_path):
    pytest.importorskip("sphinx")
    pytest.importorskip("numpydoc")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-b", "dummy", str(ROOT / "docs"), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 0
