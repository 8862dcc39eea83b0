"""Streaming reductions against NumPy's on the whole array."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecogsource.datasource import MappedSource
from ecogsource.params import OVERRIDE
from tests.strategies import DTYPES, make_array

REDUCTIONS = ["min", "max", "sum", "mean", "var", "std"]
every_reduction = pytest.mark.parametrize("name", REDUCTIONS)


def compare(got: Any, expected: Any) -> None:
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.shape == expected.shape
    assert got.dtype == expected.dtype
    tolerance = 1e-4 if expected.dtype.itemsize < 8 and expected.dtype.kind == "f" else 1e-10
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


@every_reduction
@given(data=st.data())
def test_as_numpy(name: str, data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from(DTYPES))
    shape = data.draw(st.tuples(st.integers(1, 5), st.integers(1, 40)))
    array = make_array(shape, dtype, data.draw(st.integers(0, 99)))
    array = array.astype(array.dtype.newbyteorder("="))
    axis = data.draw(st.sampled_from([None, 0, 1, -1, -2, (0, 1), (1,)]))
    keepdims = data.draw(st.booleans())
    source = MappedSource(array)
    # The limit makes blocks of one sample to a few.
    with OVERRIDE.set(memory_limit=data.draw(st.sampled_from([40, 300, 10**9]))):
        got = getattr(source, name)(axis, keepdims=keepdims)
    compare(got, getattr(array, name)(axis, keepdims=keepdims))


@pytest.mark.parametrize("name", ["sum", "mean", "var", "std"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize("stored", ["i2", "f4"])
def test_the_type_can_be_chosen(name: str, dtype: Any, stored: str) -> None:
    array = np.arange(60).reshape(3, 20).astype(stored)
    got = getattr(MappedSource(array), name)(axis=1, dtype=dtype)
    if dtype is np.int64 and name != "sum":
        # NumPy would round at every step; the moments here are exact and cast at the end.
        assert got.dtype == np.int64
        return
    compare(got, getattr(array, name)(axis=1, dtype=dtype))


@every_reduction
def test_the_result_goes_where_it_is_wanted(name: str) -> None:
    array = make_array((3, 20), "<f8", 1)
    out = np.empty(3)
    assert getattr(MappedSource(array), name)(axis=1, out=out) is out
    compare(out, getattr(array, name)(axis=1))
    with pytest.raises(ValueError, match=r"out has shape \(2,\), the result has \(3,\)"):
        getattr(MappedSource(array), name)(axis=1, out=np.empty(2))


def test_variance_far_from_zero_is_stable() -> None:
    rng = np.random.default_rng(3)
    array = 1e9 + rng.standard_normal((2, 5000))
    with OVERRIDE.set(memory_limit=1000):
        got = MappedSource(array).var(axis=1)
    np.testing.assert_allclose(got, array.var(axis=1), rtol=1e-7)


def test_degrees_of_freedom() -> None:
    array = make_array((3, 20), "<i2", 1)
    for ddof in (1, 2.5):
        np.testing.assert_allclose(
            MappedSource(array).std(axis=1, ddof=ddof), array.std(axis=1, ddof=ddof)
        )
    with pytest.warns(RuntimeWarning, match="Degrees of freedom"):
        assert np.isinf(MappedSource(array[:, :1] * 0.0 + [[1.0, 2.0]]).var(axis=1, ddof=2)).all()


def test_nan_is_not_overlooked() -> None:
    array = make_array((3, 20), "<f4", 1)
    array[1, 7] = np.nan
    with OVERRIDE.set(memory_limit=100):
        for name in REDUCTIONS:
            got = getattr(MappedSource(array), name)(axis=1)
            np.testing.assert_array_equal(np.isnan(got), [False, True, False])


def test_nothing_to_reduce() -> None:
    empty = MappedSource(np.zeros((3, 0)))
    with pytest.raises(ValueError, match="minimum which has no identity"):
        empty.min()
    assert empty.max(axis=0).shape == (0,)
    assert empty.sum() == 0.0
    with pytest.warns(RuntimeWarning, match="Mean of empty slice"):
        assert np.isnan(empty.mean(axis=1)).all()
    with pytest.warns(RuntimeWarning, match="Degrees of freedom"):
        assert np.isnan(empty.var())


def test_axes_that_are_not_there() -> None:
    source = MappedSource(np.zeros((3, 4)))
    with pytest.raises(np.exceptions.AxisError, match="axis 2 is out of bounds"):
        source.sum(axis=2)
    with pytest.raises(ValueError, match="duplicate value in 'axis'"):
        source.sum(axis=(0, -2))
    with pytest.raises(TypeError):
        source.sum(axis=0.5)
