"""Generating functions: the stream of arrays of any lengths is the array they make up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecogsource.errors import FormatError, JoinError
from ecogsource.producers import producer
from ecogsource.producers.windows import cut
from tests.producers.helper import check, same

X = np.random.default_rng(0).standard_normal((3, 500))


def pieces_of(lengths, axis=1):
    """Make a function that yields an array in pieces of given lengths, the rest last."""

    def function():
        start = 0
        for length in [*lengths, 500]:
            yield X.take(range(start, min(start + length, 500)), axis=1).swapaxes(axis, 1)
            start = min(start + length, 500)

    return function


@given(
    lengths=st.lists(st.integers(0, 60), max_size=12),
    chunksize=st.integers(1, 600),
    axis=st.sampled_from([0, 1, -1]),
    data=st.data(),
)
def test_random_lengths_give_the_concatenated_array(lengths, chunksize, axis, data):
    array = X.T if axis == 0 else X
    function = pieces_of(lengths, 0 if axis == 0 else 1)
    overlap = data.draw(st.integers(0, min(chunksize - 1, 40)))
    pro = producer(function, chunksize, axis, shape=array.shape)
    check(pro, array)
    check(pro.rechunk(chunksize, overlap), array)
    start, stop = sorted(data.draw(st.tuples(st.integers(0, 500), st.integers(0, 500))))
    window = (slice(start, stop), slice(None))[:: 1 if axis == 0 else -1]
    check(pro.slice(start, stop).rechunk(chunksize, overlap), array[window])


def test_all_keywords_go_to_the_function():
    def count(start, stop, prefetch, overlap):
        assert (prefetch, overlap) == ("a", "b")
        yield np.arange(start, stop)

    pro = producer(count, 4, 0, shape=(7,), start=3, stop=10, prefetch="a", overlap="b")
    check(pro, np.arange(3, 10))


def test_functions_that_return_an_iterable():
    check(producer(lambda: [X[:, :7], X[:, 7:]], 20, -1, shape=X.shape), X)
    check(producer(lambda: (X[:, i : i + 1] for i in range(500)), 20, -1, shape=X.shape), X)
    with pytest.raises(TypeError, match=r"<lambda>\(\).* returned int"):
        list(producer(lambda: 5, 20, -1, shape=X.shape))


def test_a_generator_may_use_one_array_again_and_again():
    def function():
        same_array = np.empty((3, 50))
        for start in range(0, 500, 50):
            same_array[...] = X[:, start : start + 50]
            yield same_array

    pro = producer(function, 50, -1, shape=X.shape)
    same(np.concatenate(list(pro), axis=-1), X)
    check(pro.rechunk(70, 30), X)


def test_a_generator_is_closed_when_the_loop_is_left():
    log = []

    def function():
        try:
            for start in range(0, 500, 10):
                log.append(start)
                yield X[:, start : start + 10]
        finally:
            log.append("closed")

    chunks = iter(producer(function, 25, -1, shape=X.shape))
    next(chunks)
    chunks.close()
    assert log == [0, 10, 20, "closed"]


def test_a_missing_shape():
    with pytest.raises(FormatError, match="needs shape="):
        producer(pieces_of([]), 20, -1)


@pytest.mark.parametrize("expected", [400, 499, 501, 900])
def test_less_or_more_than_its_shape(expected):
    pro = producer(pieces_of([30, 30]), 100, -1, shape=(3, expected))
    word = "more" if expected < 500 else "less"
    with pytest.raises(FormatError, match=rf"function\(\) yields {word} than its shape.*500"):
        list(pro)
    with pytest.raises(FormatError, match=word):
        pro.to_array()
    with pytest.raises(FormatError, match=word):
        pro.mean()
    same(pro.slice(0, 50).to_array(), X[:, :50])


def test_no_chunk_is_given_that_is_not_full():
    pro = producer(pieces_of([30, 30]), 100, -1, shape=(3, 950))
    got = []
    with pytest.raises(FormatError):
        got.extend(chunk.shape for chunk in pro)
    assert got == [(3, 100)] * 5


@pytest.mark.parametrize("odd", [np.zeros((4, 10)), np.zeros(10), np.zeros((3, 10, 1)), 5.0])
def test_arrays_that_differ_off_the_axis(odd):
    def function():
        yield X[:, :10]
        yield odd

    with pytest.raises(JoinError, match=r"array 1 of shape .* must be \(3, any\)"):
        list(producer(function, 10, -1, shape=(3, 20)))


def test_types_follow_the_first_array():
    def function(kind):
        yield np.zeros((3, 10), "f8")
        yield np.ones((3, 10), kind)

    expected = np.repeat([0.0, 1.0], 10) * np.ones((3, 1))
    check(producer(function, 7, -1, shape=(3, 20), kind="i2"), expected)
    check(producer(function, 7, -1, shape=(3, 20), kind="f4"), expected)
    with pytest.raises(JoinError, match="complex128, which does not fit"):
        list(producer(function, 7, -1, shape=(3, 20), kind="c16"))


def test_asking_for_the_type_is_the_only_thing_that_runs_the_function():
    runs = []

    def function():
        runs.append(1)
        yield X.astype("f4")

    pro = producer(function, 100, -1, shape=X.shape)
    assert "dtype=unknown" in repr(pro)
    assert (pro.shape, len(pro)) == (X.shape, 5)
    assert runs == []
    assert pro.dtype == np.float32
    assert "dtype=float32" in repr(pro)
    assert len(runs) == 1
    assert producer(lambda: [], 3, 0, shape=(0,)).dtype == np.float64


def test_what_comes_in_order_cannot_be_reversed_or_turned():
    pro = producer(pieces_of([7]), 100, -1, shape=X.shape)
    with pytest.raises(ValueError, match="cannot be run backwards"):
        pro.flip()
    with pytest.raises(ValueError, match="cannot be produced along axis 0"):
        producer(pro, 2, 0)
    with pytest.raises(TypeError, match="come in order"):
        pro.as_buffer()


def test_masked_streams_and_joins():
    pro = producer(pieces_of([70, 0, 99]), 60, -1, shape=X.shape)
    mask = np.random.default_rng(1).random(500) < 0.3
    check(pro.masked(mask), X[:, mask])
    check(pro.slice(100, 400).masked(mask[100:400]), X[:, 100:400][:, mask[100:400]])
    check(pro.masked(mask).slice(10, 40), X[:, mask][:, 10:40])
    check(pro.slice(100).concatenate(pro.slice(0, 100)), np.roll(X, -100, axis=1))
    joined = producer([pro, X.astype("f4")], 60, -1)
    check(joined, np.concatenate([X, X.astype("f4")], axis=1))
    with pytest.raises(JoinError, match=r"part 1 has shape \(2, 500\)"):
        pro.concatenate(X[:2])


def test_a_stretch_of_a_stream_does_not_run_to_the_end():
    seen = []

    def function():
        for start in range(0, 500, 10):
            seen.append(start)
            yield X[:, start : start + 10]

    pro = producer(function, 25, -1, shape=X.shape)
    same(pro.slice(5, 55).to_array(), X[:, 5:55])
    assert max(seen) == 50
    seen.clear()
    check(pro.slice(5, 55).masked(np.ones(50, bool)), X[:, 5:55])
    assert max(seen) == 50
    with pytest.warns(UserWarning, match="the mask has 52 samples"):
        check(pro.masked(np.arange(52) > 3), X[:, 4:52])
    assert max(seen) == 50


def test_windows_may_leave_gaps_but_not_pass_the_end():
    pieces = [X[:, :100], X[:, 100:200]]
    got = list(cut(pieces, [slice(10, 20), slice(50, 120)], 1, size=500))
    for chunk, window in zip(got, [slice(10, 20), slice(50, 120)], strict=True):
        same(chunk, X[:, window])
    with pytest.raises(FormatError, match="the data end at sample 200"):
        list(cut(pieces, [slice(150, 250)], 1, size=500))
