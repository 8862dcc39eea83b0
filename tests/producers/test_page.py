"""The examples of the page about producers run."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parents[2] / "docs" / "howto_producers.rst"
BLOCK = re.compile(r"^\.\. code-block:: python\n\n((?:   .*\n|\n)+)", re.MULTILINE)


def test_examples(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for body in BLOCK.findall(PAGE.read_text(encoding="utf-8") + "\n"):
        exec(compile(textwrap.dedent(body), PAGE.name, "exec"), names)
    assert names["again"].shape == (16, 10_000)
    assert names["mean"].shape == (100_000,)
