"""The arithmetic of cutting selections, against plain Python."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecogsource.buffers.storage import grid

AXIS = 40


@st.composite
def selectors(draw: st.DrawFn) -> grid.Selector:
    kind = draw(st.sampled_from(["int", "range", "list"]))
    if kind == "int":
        return draw(st.integers(0, AXIS - 1))
    if kind == "list":
        positions = draw(st.lists(st.integers(0, AXIS - 1), max_size=30))
        return np.array(positions, dtype=np.int64)
    part = draw(st.slices(AXIS))
    return range(AXIS)[part]


def positions(selector: grid.Selector) -> list[int]:
    return [selector] if isinstance(selector, int) else [int(i) for i in selector]


@given(selector=selectors(), cell=st.integers(1, AXIS + 3))
def test_pieces_put_every_position_where_it_belongs(selector: grid.Selector, cell: int) -> None:
    wanted = positions(selector)
    found = [-1] * len(wanted)
    cells = []
    for piece in grid.axis_pieces(selector, cell):
        cells.append(piece.cell)
        local = np.arange(cell)[piece.local] + piece.cell * cell
        where = slice(0, 1) if piece.where is None else piece.where
        out = np.array(found)
        out[where] = local
        found = out.tolist()
    assert found == wanted
    assert cells == sorted(set(cells))


@given(selector=selectors(), edge=st.integers(1, AXIS))
def test_boxes_are_tight(selector: grid.Selector, edge: int) -> None:
    if isinstance(selector, int) or not len(selector):
        return
    low, _ = grid.bounds(selector)
    for box in grid.boxes([selector], [edge], [low]):
        inside = np.arange(box.extent[0])[box.local[0]] + box.start[0]
        assert inside.min() == box.start[0]
        assert inside.max() == box.start[0] + box.extent[0] - 1
        np.testing.assert_array_equal(inside, np.asarray(selector)[box.where[0]])


@given(part=st.slices(AXIS), low=st.integers(0, 5))
def test_keys_know_their_bounds(part: slice, low: int) -> None:
    chosen = range(AXIS)[part]
    if not chosen:
        return
    key = grid.slice_of(chosen)
    assert grid.key_count(key) == len(chosen)
    assert grid.key_bounds(key) == (min(chosen), max(chosen) + 1)
    low = min(low, *chosen)
    assert list(range(AXIS)[grid.lowered(key, low)]) == [i - low for i in chosen]


def test_lists_become_slices_where_they_can() -> None:
    assert grid.tidy(np.array([4])) == slice(4, 5, 1)
    assert grid.tidy(np.array([4, 2, 0])) == slice(4, None, -2)
    for kept in ([3, 3], [1, 2, 4], [1, 3, 3, 7]):
        assert isinstance(grid.tidy(np.array(kept)), np.ndarray)


def test_long_lists_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grid, "LIST_LENGTH", 3)
    chosen = np.array([7, 7, 1, 7, 1, 7, 7, 2])
    found = np.empty_like(chosen)
    pieces = grid.axis_pieces(chosen, 4)
    assert [piece.cell for piece in pieces] == [0, 1, 1]
    for piece in pieces:
        found[piece.where] = np.arange(4)[piece.local] + 4 * piece.cell
    np.testing.assert_array_equal(found, chosen)


def test_sizes() -> None:
    chosen = (3, range(0, 9, 2), np.array([5, 5]))
    assert [grid.length(s) for s in chosen] == [1, 5, 2]
    assert grid.outer_shape(chosen) == (5, 2)
    assert grid.bounds(range(0)) == (0, 0)
    assert grid.bounds(7) == (7, 8)
    assert [grid.key_count(k) for k in (2, np.array([1, 1]))] == [1, 2]
    assert grid.key_bounds(np.array([4, 2])) == (2, 5)


@given(selectors=st.lists(selectors(), min_size=1, max_size=3), size=st.integers(1, 200))
def test_parts_cover_a_selection_once(selectors: list[grid.Selector], size: int) -> None:
    if 0 in map(grid.length, selectors):
        return
    array = np.arange(AXIS ** len(selectors)).reshape((AXIS,) * len(selectors))
    lists = [np.atleast_1d(np.asarray(positions(s))) for s in selectors]
    expected = array[np.ix_(*lists)].reshape(grid.outer_shape(selectors))
    found = np.full(expected.shape, -1)
    for part in grid.parts(selectors, size):
        target = found[part.where]
        assert 1 <= target.size <= size
        assert (target == -1).all()
        inside = [np.atleast_1d(np.arange(AXIS)[key]) for key in part.selectors]
        found[part.where] = array[np.ix_(*inside)].reshape(target.shape)
    np.testing.assert_array_equal(found, expected)
