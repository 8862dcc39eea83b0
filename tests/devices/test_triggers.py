"""Edges of lines against pulses put there."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecogsource.buffers import ArrayBuffer
from ecogsource.devices import lines as lines_module
from ecogsource.devices.lines import line_triggers, select_lines
from ecogsource.devices.triggers import find_edges, find_words, line_levels, unpack_lines


def pulses(n: int, starts: list[int], width: int) -> np.ndarray:
    line = np.zeros(n)
    for start in starts:
        line[start : start + width] = 1
    return line


@pytest.mark.parametrize("dtype", [bool, np.int16, np.uint16, np.float32])
def test_clean_pulses(dtype: type) -> None:
    edges = find_edges(pulses(1000, [100, 500], 20).astype(dtype))
    assert edges.rising.dtype == np.int64
    assert edges.rising.tolist() == [100, 500]
    assert edges.falling.tolist() == [120, 520]


def test_noise_and_offset_do_not_matter() -> None:
    rng = np.random.default_rng(0)
    line = 3.3 * pulses(50_000, [1000, 20_000, 49_000], 40) - 1.2 + rng.normal(0, 0.05, 50_000)
    edges = find_edges(line, min_width=5)
    assert edges.rising.tolist() == [1000, 20_000, 49_000]
    assert edges.levels is not None
    assert edges.levels.low == pytest.approx(-1.2, abs=0.02)
    assert edges.levels.high == pytest.approx(2.1, abs=0.05)


def test_a_huge_glitch_does_not_move_the_threshold() -> None:
    line = pulses(50_000, [1000, 20_000], 40)
    line[30_000] = 500
    edges = find_edges(line, min_width=3)
    assert edges.rising.tolist() == [1000, 20_000]


def test_short_pulses_are_left_out() -> None:
    line = pulses(1000, [100, 500], 20)
    line[300:302] = 1
    assert find_edges(line, min_width=3).rising.tolist() == [100, 500]
    assert find_edges(line, min_width=3).falling.tolist() == [120, 520]
    assert find_edges(line, min_width=2).rising.tolist() == [100, 300, 500]


@pytest.mark.parametrize(
    "line",
    [
        np.zeros(100),
        np.zeros(0),
        np.full(50, np.nan),
        np.random.default_rng(1).normal(size=20_000),
    ],
    ids=["flat", "empty", "nan", "noise"],
)
def test_lines_without_two_levels_have_no_edges(line: np.ndarray) -> None:
    edges = find_edges(line)
    assert edges.levels is None
    assert edges.rising.shape == edges.falling.shape == (0,)
    assert line_levels(line) is None


def test_a_line_that_starts_high_has_no_edge_there() -> None:
    edges = find_edges(pulses(100, [0, 50], 10))
    assert edges.rising.tolist() == [50]
    assert edges.falling.tolist() == [10, 60]


def test_half_of_the_time_high() -> None:
    rng = np.random.default_rng(2)
    line = np.tile(np.repeat([0.0, 5.0], 50), 40) + rng.normal(0, 0.1, 4000)
    assert find_edges(line).rising.tolist() == list(range(50, 4000, 100))


@given(
    st.lists(st.booleans(), min_size=1, max_size=60),
    st.lists(st.integers(1, 59), max_size=4),
    st.integers(1, 4),
)
def test_blocks_give_what_the_whole_gives(bits: list[bool], cuts: list[int], width: int) -> None:
    line = np.array(bits)
    parts = np.split(line, sorted(cut for cut in set(cuts) if cut < line.size))
    whole = find_edges(line, threshold=0.5, min_width=width)
    blocks = find_edges(lambda: iter(parts), threshold=0.5, min_width=width)
    assert whole.rising.tolist() == blocks.rising.tolist()
    assert whole.falling.tolist() == blocks.falling.tolist()
    if width == 1:
        change = np.diff(line.astype(int))
        assert whole.rising.tolist() == (np.flatnonzero(change == 1) + 1).tolist()
        assert whole.falling.tolist() == (np.flatnonzero(change == -1) + 1).tolist()


def test_words_of_lines_that_do_not_switch_quite_together() -> None:
    lines = np.zeros((3, 100), dtype=bool)
    lines[0, 20:40] = True
    lines[2, 21:40] = True
    lines[1, 60:] = True
    times, words = find_words(lines, min_width=2)
    assert times.tolist() == [21, 40, 60]
    assert words.tolist() == [5, 0, 2]
    times, words = find_words(lines)
    assert times.tolist() == [20, 21, 40, 60]
    assert words.tolist() == [1, 5, 0, 2]
    assert find_words(np.zeros((2, 0)))[0].shape == (0,)


@given(st.lists(st.integers(0, 7), min_size=1, max_size=40), st.integers(1, 4))
def test_words_against_the_dense_stream(stream: list[int], width: int) -> None:
    times, words = find_words(unpack_lines(stream, 3), min_width=width)
    runs: list[tuple[int, int]] = []
    for position, word in enumerate(stream):
        if not position or word != stream[position - 1]:
            runs.append((position, word))
    ends = [start for start, _ in runs[1:]] + [len(stream)]
    kept = [
        run
        for number, (run, end) in enumerate(zip(runs, ends, strict=True))
        if number == 0 or end - run[0] >= width
    ]
    expected = [run for before, run in itertools.pairwise(kept) if before[1] != run[1]]
    assert list(zip(times.tolist(), words.tolist(), strict=True)) == expected


@pytest.mark.parametrize("ndim", [1, 2])
def test_long_lines_are_read_in_blocks(monkeypatch: pytest.MonkeyPatch, ndim: int) -> None:
    monkeypatch.setattr(lines_module, "_LINE_BYTES", 100)
    monkeypatch.setattr(lines_module, "_BLOCK_BYTES", 64)
    line = pulses(500, [100, 300], 20)
    array = line if ndim == 1 else line[np.newaxis]
    found = line_triggers(ArrayBuffer(array))
    assert found["pos_edge"].tolist() == [100, 300]
    assert found["neg_edge"].tolist() == [120, 320]


def test_selecting_lines() -> None:
    assert select_lines(None, [0]) == (None, 0)
    assert select_lines(np.zeros((2, 5)), [2]) == (None, 2)
    chosen, n_lines = select_lines(np.arange(10).reshape(2, 5), [1])
    assert chosen is not None
    assert chosen.tolist() == [[5, 6, 7, 8, 9]]
    assert n_lines == 2
    assert select_lines(np.zeros(5), [0])[1] == 1


@given(st.lists(st.integers(0, 255), max_size=30))
def test_unpacking_lines_is_the_inverse_of_packing(words: list[int]) -> None:
    lines = unpack_lines(words, 8)
    assert lines.shape == (8, len(words))
    assert (lines * (1 << np.arange(8))[:, None]).sum(axis=0).tolist() == words


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="min_width must be at least 1"):
        find_edges([0, 1], min_width=0)
    with pytest.raises(ValueError, match="one dimension"):
        find_edges(np.zeros((2, 3)), threshold=0.5)
    with pytest.raises(ValueError, match="1 to 62 lines"):
        find_words(np.zeros(4))
    with pytest.raises(ValueError, match="1 to 62 lines are needed, got 63"):
        find_words(np.zeros((63, 4)))
    with pytest.raises(ValueError, match="min_width"):
        find_words(np.zeros((1, 4)), min_width=0)
