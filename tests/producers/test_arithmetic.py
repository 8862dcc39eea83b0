"""NumPy's functions of producers: values, shapes and types are those of the arrays."""

from __future__ import annotations

import operator

import numpy as np
import pytest

from ecogsource.producers import Producer, producer
from tests.producers.helper import check

rng = np.random.default_rng(0)
X = rng.integers(1, 50, (4, 300)).astype("i2")
Y = rng.standard_normal((4, 300)).astype("f4")


def make(array, chunksize=70, axis=-1):
    return producer(array, chunksize, axis)


def stream(array, chunksize=70):
    return producer(lambda: [array[..., :99], array[..., 99:]], chunksize, -1, shape=array.shape)


@pytest.mark.parametrize("kind", [make, stream])
@pytest.mark.parametrize(
    "op",
    [
        operator.add,
        operator.sub,
        operator.mul,
        operator.truediv,
        operator.floordiv,
        operator.mod,
        operator.lt,
        operator.ge,
        operator.eq,
        operator.ne,
        np.hypot,
        np.maximum,
    ],
)
def test_operators(op, kind):
    gains = np.arange(1, 5, dtype="f4")[:, None]
    for other in (2, 2.5, np.float32(3), gains, X[0], Y, np.int64(7), np.ones((4, 300), "f8")):
        check(op(kind(X), other), op(X, other))
        check(op(other, kind(X)), op(other, X))
    check(op(kind(X), kind(Y)), op(X, Y))
    check(op(kind(X), make(Y, 13)), op(X, Y))
    check(op(make(X), kind(Y)), op(X, Y))


@pytest.mark.parametrize("f", [np.abs, np.sqrt, np.negative, np.isnan, np.square, np.sign])
def test_functions_of_one_array(f):
    check(f(make(Y[:, :] ** 2)), f(Y**2))
    check(f(stream(Y**2)), f(Y**2))
    check(-make(X), -X)
    check(abs(make(Y)), abs(Y))
    check(make(Y) ** 2, np.power(Y, 2))


def test_chains_and_types():
    check(
        np.sqrt((make(X) - 3) ** 2 + make(Y) ** 2) * 2 > 40, np.sqrt((X - 3) ** 2 + Y**2) * 2 > 40
    )
    check(~(make(X) > 3) & (make(Y) < 0), ~(X > 3) & (Y < 0))
    check(np.add(make(X), 1, dtype="f8"), np.add(X, 1, dtype="f8"))


def test_functions_of_two_results():
    fraction, whole = np.modf(make(Y))
    check(fraction, np.modf(Y)[0])
    check(whole, np.modf(Y)[1])
    quotient, rest = divmod(stream(X), 7)
    check(quotient, X // 7)
    check(rest, X % 7)


def test_broadcasting_of_other_axes():
    check(make(X) * np.ones((2, 1, 1)), X * np.ones((2, 1, 1)))
    check(make(X[0]) + make(Y), X[0] + Y)
    check(make(Y) + make(X[0]), Y + X[0])
    check(make(X[:1]) * make(Y), X[:1] * Y)
    check(make(X.T, axis=0) * np.arange(4), X.T * np.arange(4))
    check(make(X) - producer(np.arange(4)[:, None], 1, 0), X - np.arange(4)[:, None])
    check(make(X) * make(X[:, :1]), X * X[:, :1])


def test_what_does_not_broadcast():
    with pytest.raises(ValueError, match="broadcast"):
        _ = make(X) + np.ones(7)
    with pytest.raises(ValueError, match="more samples than any"):
        _ = make(X[:, :1]) + np.ones(7)
    with pytest.raises(ValueError, match="runs along axis 0 meets one along axis 1"):
        square = X[:, :4]
        _ = make(square) + producer(lambda: [square], 2, 0, shape=(4, 4))


def test_what_has_no_lazy_meaning():
    with pytest.raises(TypeError, match=r"add\.reduce\(\) takes no producers"):
        np.add.reduce(make(X))
    with pytest.raises(TypeError, match=r"matmul\(\) takes no producers"):
        _ = make(X) @ Y.T
    with pytest.raises(TypeError, match="never changed"):
        np.add(make(X), 1, out=np.empty(X.shape))
    pro = make(X)
    with pytest.raises(TypeError, match="never changed"):
        pro += 1
    with pytest.raises(TypeError):
        _ = make(X) + "text"


def test_nothing_is_computed_before_it_is_asked_for():
    runs = []

    def function():
        runs.append(1)
        yield Y

    pro = producer(function, 70, -1, shape=Y.shape)
    assert pro.dtype == Y.dtype
    runs.clear()
    made = (np.abs(pro) + 1) * pro
    assert isinstance(made, Producer)
    assert runs == []
    check(made, (np.abs(Y) + 1) * Y)


def test_warnings_of_numpy_come_when_it_computes():
    made = 1 / make(X * 0)
    with pytest.warns(RuntimeWarning, match="divide by zero"):
        list(made)
