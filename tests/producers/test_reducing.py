"""Reductions: NumPy's answers, shapes, types and complaints."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from ecogsource.errors import MemoryBlowOutError
from ecogsource.params import OVERRIDE
from ecogsource.producers import producer

rng = np.random.default_rng(0)
ARRAYS = {
    "2-D": rng.standard_normal((5, 400)),
    "int16": rng.integers(-30000, 30000, (5, 400)).astype("i2"),
    "float32": (rng.standard_normal((5, 400)) + 1000).astype("f4"),
    "bool": rng.random((5, 400)) < 0.3,
    "3-D": rng.standard_normal((3, 90, 4)),
    "1-D": rng.standard_normal(100),
}
NAMES = ("min", "max", "sum", "mean", "var", "std")


def axes_of(ndim):
    singles = [None, *range(-ndim, ndim)]
    return singles + [c for n in (2, 3) for c in itertools.combinations(range(ndim), n)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ARRAYS)
def test_reductions(kind, name):
    array = ARRAYS[kind]
    for axis, along in itertools.product(axes_of(array.ndim), range(array.ndim)):
        pro = producer(array, 37, along)
        for keepdims in (False, True):
            want = getattr(array, name)(axis=axis, keepdims=keepdims)
            got = getattr(pro, name)(axis=axis, keepdims=keepdims)
            assert np.shape(got) == np.shape(want)
            assert np.asarray(got).dtype == want.dtype
            np.testing.assert_allclose(got, want, rtol=1e-5 if want.dtype == "f4" else 1e-11)


def test_streams_and_lazy_results():
    array = ARRAYS["2-D"]
    pro = producer(lambda: [array[:, :33], array[:, 33:]], 50, -1, shape=array.shape)
    np.testing.assert_allclose(pro.mean(axis=1), array.mean(axis=1))
    np.testing.assert_allclose((pro * 2).std(), (array * 2).std())
    assert (pro > 0).sum() == (array > 0).sum()
    np.testing.assert_allclose(pro.rechunk(50, 49).sum(), array.sum())


def test_numpys_functions_call_them():
    array, pro = ARRAYS["2-D"], producer(ARRAYS["2-D"], 37, -1)
    np.testing.assert_allclose(np.mean(pro, axis=1), array.mean(axis=1))
    np.testing.assert_allclose(np.std(pro, axis=0, ddof=1), array.std(axis=0, ddof=1))
    assert np.max(pro) == array.max()
    assert np.sum(pro, keepdims=True).shape == (1, 1)


def test_type_and_out():
    array = ARRAYS["int16"]
    pro = producer(array, 37, -1)
    got = pro.sum(axis=1, dtype="f4")
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, array.sum(axis=1, dtype="f4"))
    assert pro.mean(axis=0, dtype="f4").dtype == np.float32
    out = np.empty(5)
    assert pro.mean(axis=-1, out=out) is out
    np.testing.assert_allclose(out, array.mean(axis=1))
    assert pro.var(axis=1, ddof=1).tolist() == pytest.approx(array.var(axis=1, ddof=1).tolist())
    with pytest.raises(ValueError, match="out has shape"):
        pro.mean(axis=-1, out=np.empty(4))


def test_precision_far_from_zero():
    array = np.full((2, 100_000), 1e8) + np.random.default_rng(0).standard_normal((2, 100_000))
    pro = producer(array, 1000, -1)
    np.testing.assert_allclose(pro.var(axis=1), array.var(axis=1), rtol=1e-6)


def test_nothing_to_reduce():
    empty = producer(np.zeros((3, 0)), 10, -1)
    assert empty.sum() == 0.0
    with pytest.raises(ValueError, match="zero-size"):
        empty.max(axis=1)
    with pytest.warns(RuntimeWarning, match="Mean of empty slice"):
        assert np.isnan(empty.mean(axis=1)).all()
    with pytest.warns(RuntimeWarning, match="Degrees of freedom"):
        assert np.isnan(empty.std())
    assert empty.max(axis=0).shape == (0,)


def test_axes_that_do_not_exist():
    pro = producer(ARRAYS["2-D"], 37, -1)
    for axis in (2, -3, (0, 5)):
        with pytest.raises(np.exceptions.AxisError):
            pro.mean(axis=axis)
    with pytest.raises(ValueError, match="duplicate"):
        pro.sum(axis=(0, -2))
    with pytest.raises(TypeError):
        pro.sum(axis=0.5)


def test_a_long_result_is_held_to_the_limit():
    pro = producer(ARRAYS["2-D"], 37, -1)
    with OVERRIDE.set(memory_limit=3000), pytest.raises(MemoryBlowOutError, match="mean"):
        pro.mean(axis=0)
