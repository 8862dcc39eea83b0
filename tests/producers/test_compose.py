"""Functions, joins and zips of producers: what NumPy gives on the whole, whatever the chunks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecogsource.buffers import ArrayBuffer
from ecogsource.errors import FormatError, JoinError
from ecogsource.producers import Zipped, producer
from tests.producers.helper import check, expected_chunks, same

X = np.random.default_rng(0).integers(-99, 99, (3, 400)).astype("f8")


def stream(chunksize=70):
    return producer(lambda: [X[:, :33], X[:, 33:]], chunksize, -1, shape=X.shape)


def array(chunksize=70):
    return producer(X, chunksize, -1)


@pytest.fixture(params=[array, stream], ids=["buffer", "stream"])
def make(request):
    return request.param


def smooth(values, half=4):
    """Sum over neighbours, with zeros beyond the ends; exact for whole numbers."""
    padded = np.pad(values, ((0, 0), (half, half)))
    width = 2 * half + 1
    return np.lib.stride_tricks.sliding_window_view(padded, width, axis=1).sum(axis=-1)


def test_a_function_of_the_chunks(make):
    check(make().map(np.square), X**2)
    check(make().map(np.clip, a_min=-5, a_max=5), X.clip(-5, 5))
    check(make().map(lambda x: x > 0), X > 0)
    check(make().map(np.rint, dtype="f8").map(np.abs), np.abs(X))


def test_the_function_gets_the_chunks_however_the_result_is_cut(make):
    seen = []

    def center(chunk):
        seen.append(chunk.shape[1])
        return chunk - chunk.mean(axis=1, keepdims=True)

    chunks = expected_chunks(X, 70, 1)
    expected = np.concatenate([c - c.mean(axis=1, keepdims=True) for c in chunks], axis=1)
    pro = make().map(center, dtype="f8")
    check(pro, expected)
    assert set(seen) == {70, 50}
    for other in (pro.rechunk(33), pro.rechunk(120, 50), pro.rechunk(1), pro.rechunk(400)):
        check(other, expected)
    check(pro.slice(11, 260), expected[:, 11:260])
    mask = X[0] > 0
    check(pro.masked(mask), expected[:, mask])
    assert set(seen) == {70, 50}


def test_a_lazy_result_can_be_read_anywhere():
    expected = X**2
    pro = array().map(np.square)
    check(pro.flip(), expected[:, ::-1])
    check(producer(pro, 2, 0), expected)
    buffer = pro.as_buffer()
    for index in (
        np.s_[1, 150],
        np.s_[:, [399, 0, 0, 71]],
        np.s_[2, 300:20:-7],
        np.s_[[2, 1], 5:9],
    ):
        np.testing.assert_array_equal(buffer[index], expected[index])


def test_neighbouring_reads_compute_a_block_once():
    calls = []

    def count(x):
        calls.append(1)
        return x

    buffer = array(100).map(count, dtype="f8").as_buffer()
    for start in range(0, 400, 10):
        same(buffer[:, start : start + 10], X[:, start : start + 10])
    assert len(calls) == 4


@given(chunksize=st.integers(9, 450), cut=st.integers(9, 450))
def test_with_a_margin_the_answer_does_not_depend_on_the_chunks(chunksize, cut):
    expected = smooth(X)
    check(array(chunksize).map(smooth, margin=4).rechunk(cut), expected)
    check(stream(chunksize).map(smooth, margin=4).rechunk(cut), expected)


def test_functions_that_change_the_shape(make):
    check(make().map(lambda x: x[:2], shape=(2, 400)), X[:2])
    check(make().map(lambda x: x[:2], shape=lambda s: (2, s[1])), X[:2])
    check(make().map(lambda x: x.sum(axis=0), shape=lambda s: s[1:]), X.sum(axis=0))
    check(make().map(np.transpose, shape=lambda s: s[::-1], axis=0), X.T)
    check(make().map(lambda x: x[None], shape=(1, 3, 400), margin=3), X[None])
    check(make(80).map(lambda x: x[:, ::2], shape=(3, 200)), X[:, ::2])
    check(make(80).map(lambda x: x[:, ::2], shape=lambda s: (s[0], -(-s[1] // 2))), X[:, ::2])
    check(make().map(lambda x: np.repeat(x, 2, axis=1), shape=(3, 800)), np.repeat(X, 2, axis=1))
    peaks = np.stack([c.max(axis=1) for c in expected_chunks(X, 70, 1)])
    check(make().map(lambda x: x.max(axis=1)[None], shape=(6, 3), axis=0), peaks)


def test_results_that_are_not_what_was_said(make):
    with pytest.raises(FormatError, match=r"gave an array of shape \(2, 70\).*says \(3, 70\)"):
        list(make().map(lambda x: x[:2], dtype="f8"))
    with pytest.raises(FormatError, match=r"shape \(3, 35\) .* says \(3, 70\)"):
        list(make().map(lambda x: x[:, ::2], dtype="f8"))
    with pytest.raises(FormatError, match=r"by its shape \(3, 150\) it is 150"):
        list(make(80).map(lambda x: x[:, ::2], shape=(3, 150)))
    with pytest.raises(FormatError, match=r"gave 200 samples.* it is 250"):
        list(make(80).map(lambda x: x[:, ::2], shape=(3, 250)))
    with pytest.raises(FormatError, match=r"\(3, 35\).*says \(3, any\)|\(2, 35\).*says"):
        list(make().map(lambda x: x[:2, ::2], shape=(3, 200)))
    with pytest.raises(FormatError, match=r"says \(3, 69\)"):
        list(make().map(lambda x: x, shape=lambda s: (s[0], s[1] - 1)))
    with pytest.raises(FormatError, match=r"type complex128, which do not fit float64"):
        list(make().map(lambda x: x + 1j, dtype="f8"))


def test_margins_that_make_no_sense(make):
    with pytest.raises(ValueError, match="margin is -1"):
        make().map(smooth, margin=-1)
    with pytest.raises(ValueError, match="a margin needs results of as many samples"):
        make(80).map(lambda x: x[:, ::2], shape=(3, 200), margin=2)


def test_errors_of_the_function_are_not_hidden(make):
    def fail(x):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        make().map(fail)
    with pytest.raises(ZeroDivisionError, match="mine"):
        list(make().map(fail, dtype="f8"))


def test_nothing_to_compute():
    empty = producer(X[:, :0], 10, -1).map(np.square)
    check(empty, X[:, :0])
    assert list(empty) == []


def test_zip(make):
    other = producer(X.T * 2, 9, 0)
    zipped = make().zip(other, array(8))
    assert isinstance(zipped, Zipped)
    assert len(zipped) == 6
    triples = list(zipped)
    for (a, b, c), start in zip(triples, range(0, 400, 70), strict=True):
        window = slice(start, start + 70)
        same(a, X[:, window])
        same(b, X.T[window] * 2)
        same(c, X[:, window])
    check(zipped.map(lambda a, b, c: a + b.T - c), X * 2)
    check(make().zip(make()).map(np.hypot, margin=2), np.hypot(X, X))
    check(zipped.map(lambda a, b, c: b, shape=lambda a, b, c: b, axis=0), X.T * 2)
    assert repr(zipped).startswith("<Zipped <Producer")
    with pytest.raises(JoinError, match="producer 1 has 399 samples, the first has 400"):
        make().zip(make().slice(1))


def test_concatenate(make):
    check(make().concatenate(), X)
    check(
        make().concatenate(X, make(), [X, X[:, :5]]), np.concatenate([X] * 4 + [X[:, :5]], axis=1)
    )
    check(make().concatenate(ArrayBuffer(X.astype("i4"))), np.concatenate([X, X], axis=1))
    lazy = (array() * 2).concatenate(array())
    check(lazy.flip(), np.concatenate([X * 2, X], axis=1)[:, ::-1])
    with pytest.raises(JoinError):
        make().concatenate(X[:2])


def test_views_change_nothing_of_the_original(make):
    pro = make()
    check(pro.rechunk(9, 3), X)
    check(pro.slice(5, -5).slice(10), X[:, 15:-5])
    check(pro.slice(5).rechunk(50, 20), X[:, 5:])
    check(pro.masked(np.arange(400) % 3 == 0).rechunk(7), X[:, ::3])
    assert (pro.chunksize, pro.overlap) == (70, 0)
    check(pro, X)
    with pytest.raises(ValueError, match="block_length"):
        pro.rechunk(0)


def test_long_chains_stay_lazy_and_right(make):
    reads = []

    def note(x):
        reads.append(x.shape)
        return x

    pro = make().map(note, dtype="f8")
    chain = (
        ((pro - 3).map(smooth, margin=4, dtype="f8") * 2)
        .slice(50, 350)
        .masked(np.arange(300) % 2 == 0)
    )
    assert reads == []
    check(chain, (smooth(X - 3) * 2)[:, 50:350:2])
