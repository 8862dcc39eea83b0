"""Readers, foreign arrays, items and lazy results, indexed like arrays."""

from __future__ import annotations

import numpy as np
import pytest

from ecogsource.buffers import ArrayBuffer, Buffer
from ecogsource.producers import feeds, producer
from ecogsource.producers.feeds import CastBuffer, ForeignBuffer, ItemsBuffer, ReaderBuffer
from ecogsource.producers.streams import Stream
from ecogsource.producers.windows import Windows
from tests.producers.helper import check

X = np.random.default_rng(0).integers(-99, 99, (5, 300)).astype("i4")
INDICES = (
    np.s_[2, 7],
    np.s_[:, 299],
    np.s_[3],
    np.s_[::2, 10:200:7],
    np.s_[[4, 0], 250:20:-3],
    np.s_[:, [9, 3, 3, 298, 0]],
    np.s_[1, [250, 1, 249, 2]],
    np.s_[..., ::-1],
    np.s_[1:3, 5:5],
    np.s_[[1, 2], [30, 7]],
)


class Reader:
    shape = X.shape

    def read(self, start, stop):
        return X[:, start:stop]


class Sliceable:
    """An array of some other library."""

    shape, dtype = X.shape, X.dtype

    def __getitem__(self, index):
        return X[index]


BUFFERS = {
    "reader": lambda: ReaderBuffer(Reader()),
    "foreign": lambda: ForeignBuffer(Sliceable(), 1),
    "foreign, by channels": lambda: ForeignBuffer(Sliceable(), 0),
    "mapped": lambda: producer(X - 1, 70, -1).map(lambda x: x + 1).as_buffer(),
    "mapped by channels": lambda: producer(X - 1, 2, 0).map(lambda x: x + 1).as_buffer(),
    "computed": lambda: (producer(X * 2, 70, -1) // 2).as_buffer(),
    "masked": lambda: producer(
        np.repeat(X, 2, axis=1), 70, -1, mask=np.arange(600) % 2 == 0
    ).as_buffer(),
    "masked reader": lambda: producer(Reader(), 70, -1, mask=np.ones(300, bool)).as_buffer(),
}


@pytest.mark.parametrize("stretch", [64, 4 * 2**20])
@pytest.mark.parametrize("name", BUFFERS)
def test_indexed_like_arrays(name, stretch, monkeypatch):
    monkeypatch.setattr(feeds, "_STRETCH_BYTES", stretch)
    buffer = BUFFERS[name]()
    assert isinstance(buffer, Buffer)
    assert buffer.dtype == X.dtype
    for index in INDICES:
        got = buffer[index]
        assert np.shape(got) == X[index].shape
        np.testing.assert_array_equal(got, X[index])
    check(producer(buffer, 70, -1), X)


def test_a_cast_is_a_view():
    cast = CastBuffer(producer(X, 9, -1).as_buffer(), np.dtype("f8"))
    np.testing.assert_array_equal(cast[:, 3:9], X[:, 3:9].astype("f8"))
    assert cast[()].dtype == np.float64
    scaled = CastBuffer(ArrayBuffer(X, units_scale=2.0), np.dtype("f8"))
    np.testing.assert_array_equal(scaled[:, 3:9], 2.0 * X[:, 3:9])
    np.testing.assert_array_equal(scaled.raw[:, 3:9], X[:, 3:9])


def test_items_are_an_array_of_objects():
    items = ItemsBuffer(["a", [1, 2], None])
    assert items[1] == [1, 2]
    assert items[::-1].tolist() == [None, [1, 2], "a"]


def test_array_likes():
    class OnlyArray:
        def __array__(self, dtype=None, copy=None):
            return X

    class Tensor(OnlyArray):
        """With a type that NumPy does not know, like PyTorch's."""

        shape, dtype = X.shape, "tensor.int32"

        def __getitem__(self, index):
            raise AssertionError("sliced")

    for data in (OnlyArray(), Tensor(), Sliceable()):
        check(producer(data, 70, -1), X)
    with pytest.raises(TypeError, match="takes no argument"):
        producer(OnlyArray(), 70, -1, what=3)


def test_results_of_another_type_are_cast_within_their_kind():
    pro = producer(X, 70, -1).map(lambda x: x.astype("f4"), dtype="f8")
    check(pro, X.astype("f8"))


def test_other_axes_picked_through_a_mask():
    mask = np.arange(300) % 3 == 0
    buffer = producer(X, 70, -1, mask=mask).as_buffer()
    np.testing.assert_array_equal(buffer[[3, 1], 5:50], X[:, mask][[3, 1], 5:50])


def test_windows_are_a_sequence():
    windows = Windows([slice(0, 3), slice(3, 5)], lambda w: slice(w.start + 1, w.stop + 1))
    assert len(windows) == 2
    assert list(windows) == [slice(1, 4), slice(4, 6)]
    assert list(windows[1:]) == [slice(4, 6)]


def test_kinds_that_give_nothing():
    with pytest.raises(TypeError, match="Stream gives nothing"):
        Stream((3,), 0, float).pieces(None)
    with pytest.raises(TypeError, match="cannot be read"):
        feeds.StretchBuffer((3,), float, 0)[:]
    assert repr(Stream((3, 4), 0, float)) == "<Stream shape=(3, 4)>"
