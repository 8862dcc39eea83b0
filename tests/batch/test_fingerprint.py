"""A work is recognised if, and only if, everything that could change its result is the same."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecogsource.batch import BatchProcessor, RecordingsReader
from ecogsource.batch.fingerprint import fingerprint

LIMIT = 3
TABLE = np.arange(4)


def times(factor: Any) -> Any:
    return lambda batch: batch * factor


def uses_globals(batch: Any) -> Any:
    return helper(batch) + LIMIT + TABLE[0]


def helper(batch: Any) -> Any:
    return batch


def calls_itself(n: int) -> int:
    return calls_itself(n - 1) if n else 0


class Scale:
    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __call__(self, batch: Any) -> Any:
        return batch * self.factor

    def method(self, batch: Any) -> Any:
        return batch * self.factor


def default_of(value: Any) -> Any:
    def function(batch: Any, other: Any = value, *, third: Any = None) -> Any:
        return batch, other, third

    return function


DIFFERENT = [
    (1, 2), (1, 1.0), (1, True), ("1", 1), ((1, 2), [1, 2]), (["ab"], ["a", "b"]), ({1}, {2}),
    (np.arange(3), np.arange(3.0)), (np.zeros((2, 3)), np.zeros((3, 2))), (None, 0),
    (np.r_[np.zeros(3000), 1], np.r_[np.zeros(3000), 2]), ({"a": 1}, {"a": 2}),
    ([np.r_[np.zeros(3000), 1, np.zeros(9)]], [np.zeros(3010)]),
    (times(2), times(3)), (times(np.zeros(3)), times(np.ones(3))), (np.abs, np.negative),
    (functools.partial(np.add, 1), functools.partial(np.add, 2)),
    (functools.partial(np.add, 1), functools.partial(np.subtract, 1)),
    (Scale(1), Scale(2)), (Scale(1).method, Scale(2).method), (default_of(1), default_of(2)),
    (lambda x: x + 1, lambda x: x + 2), (np.int16(1), np.int32(1)), (slice(3), slice(4)),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_different_values(one: Any, other: Any) -> None:
    assert fingerprint(one) != fingerprint(other)
    assert fingerprint(one) == fingerprint(one)


def test_unpicklable_values_are_like_no_other() -> None:
    value = open(os.devnull)  # noqa: SIM115
    assert fingerprint(value) != fingerprint(value)
    value.close()


def test_equal_values() -> None:
    assert fingerprint({"a": 1, "b": {2, 3}}) == fingerprint({"b": {3, 2}, "a": 1})
    assert fingerprint(times([1, 2])) == fingerprint(times([1, 2]))
    assert fingerprint(calls_itself) == fingerprint(calls_itself)
    assert fingerprint(np.arange(6)[::2]) == fingerprint(np.array([0, 2, 4]))

    def unset() -> Any:
        return later

    assert fingerprint(unset) == fingerprint(unset)
    later = 1
    assert later


@pytest.mark.parametrize(
    ("name", "value"), [("LIMIT", 4), ("TABLE", np.arange(5)), ("helper", lambda batch: -batch)]
)
def test_what_a_function_uses_belongs_to_it(
    name: str, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if callable(value):
        value.__module__ = __name__
    before = fingerprint(uses_globals)
    assert fingerprint(uses_globals) == before
    monkeypatch.setitem(globals(), name, value)
    assert fingerprint(uses_globals) != before


def test_other_processes_give_the_same_name() -> None:
    code = (
        "from tests.batch.test_fingerprint import *\n"
        "def local(x): return x in {'a', 'b', 'c'}\n"
        "print(fingerprint(uses_globals, times({'a', 'b'}), local, Scale(3), np.arange(5)))"
    )
    names = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(names) == 1


class TestSkipping:
    """The whole way: is the file of another work taken for the one that is asked for?"""

    @pytest.fixture
    def values(self, tmp_path: Path) -> np.ndarray:
        values = np.random.default_rng(0).integers(-99, 99, (50, 4)).astype("i2")
        values.tofile(tmp_path / "raw.bin")
        return values

    def run(self, folder: Path, function: Any, max_memory: Any = 100, **how: Any) -> np.ndarray:
        bp = BatchProcessor(
            folder / "raw.bin", "int16", 4, "samples", max_memory, show_progress_bar=False
        )
        made, _ = bp.single_channel_apply(
            function, "disk", folder / "o.bin", if_file_exists="skip", **how
        )
        return RecordingsReader(made)[:]

    def test_other_channels_in_the_middle(self, tmp_path: Path, values: np.ndarray) -> None:
        self.run(tmp_path, np.abs, channels=[0, 1, 2])
        found = self.run(tmp_path, np.abs, channels=[0, 3, 2])
        assert np.array_equal(found, np.abs(values[:, [0, 3, 2]]))

    def test_other_values_in_the_function(self, tmp_path: Path, values: np.ndarray) -> None:
        self.run(tmp_path, times(2))
        assert np.array_equal(self.run(tmp_path, times(3)), values * 3)

    def test_pieces_are_not_whole_channels(self, tmp_path: Path, values: np.ndarray) -> None:
        self.run(tmp_path, np.cumsum, 20, force_complete_channel_batch=False)
        assert np.array_equal(self.run(tmp_path, np.cumsum), np.cumsum(values, 0))

    def test_the_cut_makes_no_other_work(self, tmp_path: Path, values: np.ndarray) -> None:
        self.run(tmp_path, np.abs, 100)
        before = (tmp_path / "o.bin").stat()
        self.run(tmp_path, np.abs, 250)
        self.run(tmp_path, np.abs, "1MB", processes=2)
        assert (tmp_path / "o.bin").stat() == before
