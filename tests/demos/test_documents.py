"""The pages on example data and on pictures: what they show runs."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
BLOCK = re.compile(r"^\.\. code-block:: python\n\n((?:   .*\n|\n)+)", re.MULTILINE)


@pytest.mark.parametrize(
    ("page", "made"),
    [
        ("howto_example_data.rst", "example-lab/ecogsource.ini"),
        ("howto_pictures.rst", "responses.png"),
    ],
)
def test_the_examples_of_a_page_run(
    page: str, made: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    found = BLOCK.findall((DOCS / page).read_text(encoding="utf-8") + "\n")
    assert len(found) == 3
    for body in found:
        exec(compile(textwrap.dedent(body), page, "exec"), names)
    assert (tmp_path / made).stat().st_size > 0
