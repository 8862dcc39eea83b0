"""The examples of the pages about sources and filters run."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import signal

DOCS = Path(__file__).resolve().parents[2] / "docs"
BLOCK = re.compile(r"^\.\. code-block:: python\n\n((?:   .*\n|\n)+)", re.MULTILINE)


def run_page(name: str) -> dict[str, Any]:
    text = (DOCS / name).read_text(encoding="utf-8") + "\n"
    names: dict[str, Any] = {}
    for body in BLOCK.findall(text):
        exec(compile(textwrap.dedent(body), name, "exec"), names)
    return names


def test_sources_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = run_page("howto_sources.rst")
    np.testing.assert_array_equal(names["second"], names["noise"][:, 20_000:40_000])
    assert names["slow"].shape == (16, 7500)
    assert (tmp_path / "recording_Fs250.h5").exists()


def test_filters_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = run_page("howto_filters.rst")
    expected = signal.sosfilt(names["design"].sos, names["noise"])
    np.testing.assert_allclose(names["high_gamma"], expected, rtol=1e-9, atol=1e-9)
    assert names["slow"].shape == (16, 3000)
