"""The examples of the page on windows run."""

from __future__ import annotations

import importlib.util
import re
import textwrap
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "howto_windows.rst"
_BLOCK = re.compile(r"^\.\. code-block:: python\n\n((?:   .*\n|\n)+)", re.MULTILINE)


def test_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    examples = [textwrap.dedent(body) for body in _BLOCK.findall(PAGE.read_text(encoding="utf-8"))]
    plain = [code for code in examples if "import torch" not in code]
    assert len(plain) == len(examples) - 1
    for code in plain:
        exec(compile(code, PAGE.name, "exec"), names)
    assert names["piece"].shape == (2, 500)
    assert names["batch"].shape[1:] == (16, 200)
    if not importlib.util.find_spec("torch"):
        pytest.skip("PyTorch is not installed: its example was not run")
    [code] = [code for code in examples if "import torch" in code]
    exec(compile(code, PAGE.name, "exec"), names)
    assert names["loss"].item() > 0
