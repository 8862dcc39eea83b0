"""Work in threads: order of ends, errors, and a bar that short work never shows."""

from __future__ import annotations

import threading

import pytest

from ecogsource.datasource import working
from ecogsource.datasource.working import run_jobs
from ecogsource.params import OVERRIDE, load_params


def test_every_item_once() -> None:
    done: list[int] = []
    run_jobs(done.append, range(100), workers=3)
    assert sorted(done) == list(range(100))


def test_parameters_of_the_caller_hold_in_the_threads() -> None:
    seen: list[int] = []
    with OVERRIDE.set(memory_limit=12345):
        run_jobs(lambda _: seen.append(load_params().memory_limit), range(3), workers=2)
    assert seen == [12345] * 3


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_drops_what_was_not_begun(error: type[BaseException]) -> None:
    done: list[int] = []

    def work(item: int) -> None:
        if item == 5:
            raise error("stop")
        done.append(item)

    before = set(threading.enumerate())
    with pytest.raises(error, match="stop"):
        run_jobs(work, range(1000), workers=2)
    assert len(done) < 20
    assert set(threading.enumerate()) <= before


def test_the_bar(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    run_jobs(abs, range(5), workers=1, total=5, label="short")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(working, "_PATIENCE_SECONDS", 0.0)
    run_jobs(abs, range(5), workers=1, total=5, label="long")
    assert "long: 100%" in capsys.readouterr().err
    run_jobs(abs, range(5), workers=1, total=5, label="silent", progress=False)
    run_jobs(abs, range(1), workers=1, total=1, label="one")
    assert capsys.readouterr().err == ""
    run_jobs(abs, range(1), workers=1, total=1, label="wanted", progress=True)
    assert "wanted: 100%" in capsys.readouterr().err
