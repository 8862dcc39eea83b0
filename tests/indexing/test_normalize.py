"""Every index that NumPy accepts, and those that it refuses."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecogsource.indexing import Index, Selection, normalize_index, normalize_outer
from tests.oracle import assert_same, check_read
from tests.strategies import indices, outer_indices, outer_of, shapes


class Carried:
    """An array read by carrying out normalised indices with NumPy's simplest means."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __getitem__(self, raw: Any) -> np.ndarray:
        index = normalize_index(raw, self.array.shape)
        out = np.empty(index.shape, self.array.dtype)
        if out.size:
            view = index.view(out)
            assert np.shares_memory(view, out)
            view[...] = self._select(index)
        return out

    def _select(self, index: Index) -> np.ndarray:
        if index.selection is not None:
            return crossed(self.array, index.selection)
        assert index.points is not None
        moved = np.moveaxis(self.array, index.points.axes, range(len(index.points.axes)))
        found = moved[tuple(index.points.positions)]
        for axis, kept in enumerate(s for s in index.points.selectors if s is not None):
            found = found.take(np.asarray(kept, dtype=int), axis=axis + 1)
        return found


def crossed(array: np.ndarray, selection: Selection) -> np.ndarray:
    """Take an outer product, one axis after the other."""
    for axis in range(array.ndim - 1, -1, -1):
        selector = selection.selectors[axis]
        position = selector if isinstance(selector, int) else np.asarray(selector, dtype=int)
        array = array.take(position, axis=axis)
    assert array.shape == selection.shape
    return array


@given(st.data())
def test_any_index_means_what_numpy_means(data: st.DataObject) -> None:
    shape = data.draw(shapes)
    array = np.arange(np.prod(shape)).reshape(shape)
    subject = Carried(array)
    for _ in range(10):
        check_read(subject, array, data.draw(indices(shape)))


@given(st.data())
def test_orthogonal_indices_cross_their_lists(data: st.DataObject) -> None:
    shape = data.draw(shapes)
    array = np.arange(np.prod(shape)).reshape(shape)
    for _ in range(5):
        index = data.draw(outer_indices(shape))
        selection = normalize_outer(index, shape)
        assert_same(crossed(array, selection), outer_of(array, index))


REGRESSIONS = [
    np.s_[::-1],
    np.s_[-3:],
    np.s_[5:2],
    np.s_[8:3:-2],
    np.s_[-1:-20:-1],
    np.s_[3, -1],
    np.s_[range(2, 6), 1],
    np.s_[[5, 3, 1]],
    np.s_[[1, 1, 2]],
    np.s_[[], 2],
    np.s_[..., 0],
    np.s_[0, ..., [1, 2]],
    np.s_[:, None, 2],
    np.s_[[0, 1], :, [2, 3]],
    np.s_[0, :, [2, 3]],
    np.s_[:, 0, [2, 3]],
    np.s_[np.ix_([1, 4], [0, 5])],
    np.s_[np.ix_([4, 1, 1], range(3))],
    np.s_[np.array([[0, 1], [2, 3]])],
    np.s_[:, np.array([[0, 1], [2, 3]])],
    np.s_[np.ones((9, 7), bool)],
    np.s_[True],
    np.s_[False, 1],
    np.s_[np.array(3)],
    np.s_[()],
    np.s_[np.zeros((0, 7), bool)],
    # What NumPy refuses.
    np.s_[9],
    np.s_[-10],
    np.s_[0, 0, 0, 0],
    np.s_[..., ...],
    np.s_[[0, 9]],
    np.s_[[-10]],
    np.s_[1.0],
    np.s_["data"],
    np.s_[[0.5]],
    np.s_[::0],
    np.s_["a":],
    np.s_[[0, 1], [0, 1, 2]],
    np.s_[np.ones(8, bool)],
]


@pytest.mark.parametrize("index", REGRESSIONS, ids=repr)
def test_cases_that_other_libraries_got_wrong(index: Any) -> None:
    array = np.arange(9 * 7 * 4).reshape(9, 7, 4)
    check_read(Carried(array), array, index)


def test_an_outer_product_written_with_ix_is_read_as_one() -> None:
    index = normalize_index(np.ix_([1, 3], [0, 5, 2]), (9, 7))
    assert index.points is None
    assert index.shape == (2, 3)


def test_positions_are_exact_beyond_32_bits() -> None:
    size = 10**11
    index = normalize_index((0, slice(size - 5, None)), (4, size))
    assert index.shape == (5,)
    assert index.selection is not None
    assert index.selection.selectors[1] == range(size - 5, size)
    assert index.selection.size == 5


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (np.s_[None], "no new axes"),
        (np.s_[np.array([[1]])], "one-dimensional lists"),
        (np.s_[[9]], "index 9 is out of bounds for axis 0 with size 9"),
        (np.s_[0, 0, 0], "too many indices for array: array is 2-dimensional, but 3"),
        (np.s_[True], "no new axes"),
    ],
)
def test_what_an_orthogonal_index_refuses(index: Any, message: str) -> None:
    with pytest.raises(IndexError, match=message):
        normalize_outer(index, (9, 7))


def test_an_orthogonal_index_takes_an_ellipsis() -> None:
    assert normalize_outer(np.s_[[1, 0], ...], (9, 7)).shape == (2, 7)
    assert normalize_outer(np.s_[[1, 0], ..., [3]], (9, 7)).shape == (2, 1)


@pytest.mark.parametrize("step", [2**31, 2**63 - 1, 2**80, -(2**63), -(2**80)])
def test_a_step_past_the_end_leaves_one_position(step: int) -> None:
    start = 2 if step > 0 else 5
    expected = Selection((range(start, start + 1), range(7)), (1, 7))
    assert normalize_index(np.s_[start::step], (9, 7)).selection == expected
    assert normalize_index(np.s_[..., start::step, :], (9, 7)).selection == expected


def test_a_named_tuple_is_a_tuple() -> None:
    array = np.arange(12).reshape(3, 4)
    place = namedtuple("Place", "row column")
    for index in (place(1, slice(0, 2)), place([0, 2], [1, 3])):
        check_read(Carried(array), array, index)
        if isinstance(index.row, int):
            assert normalize_outer(index, array.shape) == normalize_outer(tuple(index), array.shape)
