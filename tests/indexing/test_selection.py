"""The algebra of selectors."""

from __future__ import annotations

import doctest
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ecogsource.indexing as rooms
from ecogsource.indexing import (
    as_slice,
    compose_selector,
    increasing,
    is_unit_range,
    plan_blocks,
    simplify,
    split_selector,
)
from tests.strategies import slices

SIZE = 23
lists = st.lists(st.integers(0, SIZE - 1), max_size=12).map(lambda p: np.array(p, dtype=np.int64))
ranges = slices(SIZE).map(lambda s: range(SIZE)[s])


@pytest.mark.parametrize("name", ["blocks", "join", "normalize", "selection"])
def test_examples_in_the_documentation(name: str) -> None:
    module = getattr(rooms, name)
    assert doctest.testmod(module).failed == 0


@given(ranges)
def test_a_range_and_its_slice_are_the_same(selector: range) -> None:
    assert list(range(SIZE))[as_slice(selector)] == list(selector)


@given(lists)
def test_simplifying_changes_no_position(positions: np.ndarray) -> None:
    simple = simplify(positions)
    assert list(simple) == positions.tolist()
    steps = set(np.diff(positions).tolist())
    assert isinstance(simple, range) == (len(steps) == 0 or (len(steps) == 1 and 0 not in steps))


@given(st.one_of(ranges, lists), st.one_of(ranges, lists))
def test_looking_through_a_selector(selector: range | np.ndarray, through: range) -> None:
    inside = [int(p) % max(1, len(through)) for p in selector] if len(through) else []
    looked = simplify(np.array(inside, dtype=np.int64))
    assert list(compose_selector(looked, through)) == [through[p] for p in inside]
    if inside:
        assert compose_selector(inside[0], through) == through[inside[0]]


@given(st.one_of(ranges, lists))
def test_rising_order_for_writing(selector: range | np.ndarray) -> None:
    stored = np.full(SIZE, -1)
    values = np.arange(len(selector)) + 100
    expected = stored.copy()
    expected[np.asarray(selector, dtype=int)] = values
    rising, take = increasing(selector)
    assert (np.diff(np.asarray(rising, dtype=int)) > 0).all()
    stored[np.asarray(rising, dtype=int)] = values if take is None else values[take]
    np.testing.assert_array_equal(stored, expected)


def test_an_int_needs_no_order() -> None:
    assert increasing(3) == (3, None)


def test_what_counts_as_neighbours() -> None:
    assert is_unit_range(range(3, 9))
    assert is_unit_range(range(3, 4, -7))
    assert not is_unit_range(range(3, 9, 2))
    assert not is_unit_range(np.array([3, 4]))
    assert not is_unit_range(3)


@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=7).filter(sum),
    st.data(),
)
def test_splitting_over_parts_covers_the_result_once(
    lengths: list[int], data: st.DataObject
) -> None:
    offsets = [0, *accumulate(lengths)]
    total = offsets[-1]
    whole = np.arange(total) + 1000
    parts = np.split(whole, offsets[1:-1])
    if data.draw(st.booleans()):
        selector = range(total)[data.draw(slices(total))]
    else:
        entries = st.lists(st.integers(0, total - 1), max_size=15)
        selector = np.array(data.draw(entries), dtype=np.int64)
    result = np.zeros(len(selector), dtype=int)
    seen = []
    for piece in split_selector(selector, offsets):
        seen.append(piece.part)
        assert (result[piece.where] == 0).all()
        result[piece.where] = parts[piece.part][np.asarray(piece.selector, dtype=int)]
    np.testing.assert_array_equal(result, whole[np.asarray(selector, dtype=int)])
    # No part is read twice.
    assert len(set(seen)) == len(seen)
    position = data.draw(st.integers(0, total - 1))
    (piece,) = split_selector(position, offsets)
    assert piece.where is None
    assert parts[piece.part][piece.selector] == whole[position]


@given(
    st.integers(0, 60),
    st.integers(1, 20),
    st.data(),
    st.booleans(),
    st.booleans(),
)
def test_blocks_cover_the_axis(
    size: int, length: int, data: st.DataObject, reverse: bool, partial: bool
) -> None:
    overlap = data.draw(st.integers(0, length - 1))
    offset = data.draw(st.integers(0, 15))
    plan = plan_blocks(size, length, overlap, offset, reverse=reverse, partial_block=partial)
    axis = np.arange(size)
    forward = []
    start = offset
    while start + length <= size:
        forward.append(axis[start : start + length])
        start += length - overlap
    covered = forward[-1][-1] + 1 if forward else offset
    if partial and covered < size:
        forward.append(axis[start:size])
    expected = [block[::-1] for block in forward[::-1]] if reverse else forward
    assert len(plan) == len(expected)
    for place, block in zip(plan, expected, strict=True):
        np.testing.assert_array_equal(axis[place], block, strict=True)
    assert plan[:2] == list(plan)[:2]
    assert ("reversed" in repr(plan)) is reverse
    with pytest.raises(IndexError):
        plan[len(expected)]


def test_planning_a_recording_of_years_takes_no_memory() -> None:
    plan = plan_blocks(10**11, 1000)
    assert len(plan) == 10**8
    assert plan.block_length == 1000
    assert plan[-1] == slice(10**11 - 1000, 10**11)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((10, 0), "block_length is 0"),
        ((10, 4, 4), "overlap is 4; it must be from 0 to 3"),
        ((10, 4, -1), "overlap is -1"),
        ((10, 4, 0, -2), "start_offset is -2"),
    ],
)
def test_lengths_that_make_no_blocks(arguments: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan_blocks(*arguments)
