"""One suite that every buffer passes: NumPy's indexing, reading and writing."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecogsource.buffers import as_buffer
from ecogsource.errors import FormatError, MemoryBlowOutError, ReadOnlyError
from ecogsource.indexing import normalize_outer
from ecogsource.params import OVERRIDE
from tests.contracts.layouts import LAYOUTS, Layout
from tests.oracle import assert_same, check_read, check_write, native
from tests.strategies import DTYPES, arrays, indices, make_array, outer_indices, outer_of

# Each layout gets a share of the examples: together they are many.
share = settings(max_examples=settings.default.max_examples // 3)
every_layout = pytest.mark.parametrize("store", LAYOUTS.values(), ids=LAYOUTS.keys())


@every_layout
@share
@given(data=st.data())
def test_reading_is_numpy(store: Layout, tmp_path: Path, data: st.DataObject) -> None:
    array = data.draw(arrays())
    buffer = store(array, tmp_path)
    assert (buffer.shape, buffer.ndim, buffer.map_dtype) == (array.shape, array.ndim, array.dtype)
    array = native(array)
    assert buffer.dtype == array.dtype
    for _ in range(4):
        check_read(buffer, array, data.draw(indices(array.shape)))
    index = data.draw(outer_indices(array.shape))
    assert_same(buffer.oindex[index], outer_of(array, index))


@every_layout
@share
@given(data=st.data())
def test_writing_is_numpy(store: Layout, tmp_path: Path, data: st.DataObject) -> None:
    array = data.draw(arrays())
    buffer = store(array, tmp_path, writeable=True)
    array = native(array)
    for seed in range(3):
        index = data.draw(indices(array.shape))
        try:
            shape = array[index].shape
        except (IndexError, ValueError, TypeError, DeprecationWarning):
            shape = ()
        if data.draw(st.booleans()):
            shape = shape[1:]
        check_write(buffer, array, index, make_array(shape, array.dtype.str, seed))


@every_layout
@share
@given(data=st.data())
def test_scaling_is_arithmetic(store: Layout, tmp_path: Path, data: st.DataObject) -> None:
    array = make_array(data.draw(st.sampled_from([(5, 9), (4,), (3, 4, 5)])), "<i2", 7)
    precision = data.draw(st.sampled_from(["single", "double"]))
    scale = data.draw(st.sampled_from([0.195, (-100.0, 0.25), (12, 3)]))
    kind = np.float32 if precision == "single" else np.float64
    with OVERRIDE.set(floating_point=precision):
        buffer = store(array, tmp_path, units_scale=scale)
        offset, factor = scale if isinstance(scale, tuple) else (0, scale)
        expected = (array.astype(kind) + kind(offset)) * kind(factor)
        assert buffer.dtype == kind
        check_read(buffer, expected, data.draw(indices(array.shape)))
        assert_same(buffer.raw[...], array)
        assert buffer.raw.dtype == array.dtype


REGRESSIONS = [
    np.s_[::-1],
    np.s_[:, ::-3],
    np.s_[-5:],
    np.s_[:, -5:],
    np.s_[3:3],
    np.s_[20:10],
    np.s_[range(2, 6)],
    np.s_[:, list(range(11, 2, -2))],
    np.s_[[3, 3, 1, 8, 1]],
    np.s_[:, [9, 2, 2, 7]],
    np.s_[[0, 5], [7, 8]],
    np.s_[np.ix_([5, 0], [7, 8, 7])],
    np.s_[..., 11],
    np.s_[12],
    np.s_[[12]],
    np.s_[-13],
    np.s_[:, 12],
    np.s_[0],
    np.s_[11],
    np.s_[7, 3],
]


@every_layout
@pytest.mark.parametrize("index", REGRESSIONS, ids=repr)
def test_cases_that_the_originals_got_wrong(store: Layout, tmp_path: Path, index: Any) -> None:
    array = make_array((12, 12), "<i4", 1)
    check_read(store(array, tmp_path), array, index)


@every_layout
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_type(store: Layout, tmp_path: Path, dtype: str) -> None:
    array = make_array((5, 8), dtype, 3)
    assert_same(np.asarray(store(array, tmp_path)), native(array))


@every_layout
def test_the_caller_owns_the_memory(store: Layout, tmp_path: Path) -> None:
    array = make_array((6, 40), "<i2", 5)
    buffer = store(array, tmp_path)
    # Any strides, and any type within the kind.
    wide = np.zeros((40, 12), dtype=np.float64)
    out = wide[::2, ::-4].T
    selection = normalize_outer(np.s_[[4, 0, 1], 39::-2], array.shape)
    buffer.read_into(selection, out)
    np.testing.assert_array_equal(out, array[[4, 0, 1], 39::-2])
    assert (wide[1::2] == 0).all()
    assert buffer.read(np.s_[:3, :20], out=wide[:20, :3].T).base is wide
    np.testing.assert_array_equal(wide[:20, :3].T, array[:3, :20])
    # An arrangement that has no view in the caller's array is copied.
    index = np.s_[np.array([[0, 1], [2, 3]]), :5]
    odd = np.zeros((2, 5, 5), dtype=np.int16)[:, :4:2]
    np.testing.assert_array_equal(buffer.read(index, out=odd), array[index])
    with pytest.raises(ValueError, match=r"out has shape \(2, 2\), the result has \(3, 20\)"):
        buffer.read(np.s_[:3, :20], out=np.zeros((2, 2), np.int16))
    with pytest.raises(ValueError, match=r"out has shape \(2, 2\), the selection has \(3, 20\)"):
        buffer.read_into(selection, np.zeros((2, 2), np.int16))


@every_layout
def test_out_of_a_type_that_would_lose_values_is_refused(store: Layout, tmp_path: Path) -> None:
    array = make_array((4, 6), "<f8", 3)
    buffer = store(array, tmp_path)
    for index in (np.s_[1], np.s_[:, ::-1], np.s_[[3, 0]], np.s_[[3, 0], [2, 5]]):
        whole = np.zeros(array[index].shape, np.int16)
        with pytest.raises(TypeError, match="float64 cannot be read into .* int16"):
            buffer.read(index, out=whole)
        assert not whole.any()
        single = np.zeros(whole.shape, np.float32)
        np.testing.assert_array_equal(buffer.read(index, single), array[index].astype(np.float32))
    with pytest.raises(TypeError, match="cannot be read into"):
        buffer.read_into(normalize_outer(0, array.shape), np.zeros(6, np.int16))


@every_layout
def test_a_buffer_pickles(store: Layout, tmp_path: Path) -> None:
    array = make_array((6, 40), "<i2", 5)
    buffer = store(array, tmp_path, units_scale=(3, 0.5))
    twin = pickle.loads(pickle.dumps(buffer))
    assert_same(twin[...], buffer[...])
    assert twin.units_scale == (3, 0.5)
    assert_same(twin.raw[2], array[2])


@every_layout
def test_reading_only(store: Layout, tmp_path: Path) -> None:
    array = make_array((6, 40), "<i2", 5)
    array.setflags(write=False)
    buffer = as_buffer(array) if store is LAYOUTS["array"] else store(array, tmp_path)
    assert not buffer.writeable
    with pytest.raises(ReadOnlyError, match="open for reading only.*'r\\+'.*mirror"):
        buffer[0] = 1
    with pytest.raises(ReadOnlyError, match="open for reading only"):
        buffer.oindex[[0], [1]] = 1
    assert "read-only" in repr(buffer)


@every_layout
def test_the_guard(store: Layout, tmp_path: Path) -> None:
    array = make_array((6, 4000), "<i2", 5)
    buffer = store(array, tmp_path)
    with OVERRIDE.set(memory_limit=10_000):
        with pytest.raises(MemoryBlowOutError, match=r"\(6, 4000\).*iter_blocks"):
            buffer[...]
        assert buffer[0, :100].shape == (100,)


@every_layout
def test_everyday_life(store: Layout, tmp_path: Path) -> None:
    array = make_array((6, 40), "<i2", 5)
    with store(array, tmp_path, writeable=True) as buffer:
        assert len(buffer) == 6
        assert buffer.size == 240
        assert buffer.nbytes == 480
        assert_same(buffer.T[3:, ::-1], array.T[3:, ::-1])
        assert buffer.T.T[0, 0] == array[0, 0]
        assert isinstance(buffer[2, 3], np.int16)
        assert_same((buffer + buffer)[:, 38:42], np.hstack([array, array])[:, 38:42])
        assert_same(np.asarray(buffer, dtype=np.float64), array.astype(float))
        with pytest.raises(ValueError, match="without a copy"):
            buffer.__array__(copy=False)
        buffer.oindex[[5, 0], [1, 3, 2]] = np.arange(6).reshape(2, 3)
        array[np.ix_([5, 0], [1, 3, 2])] = np.arange(6).reshape(2, 3)
        assert_same(buffer[...], array)
        with pytest.raises(OverflowError):
            buffer[0, 0] = 40_000
        assert "(6, 40)" in repr(buffer)
        assert "int16" in repr(buffer)
    # Closed only means that files were let go of.
    assert_same(buffer[...], array)


@every_layout
def test_writing_through_a_scale(store: Layout, tmp_path: Path) -> None:
    array = np.zeros((6, 40), "<i2")
    buffer = store(array, tmp_path, writeable=True, units_scale=(10, 0.5))
    buffer[1:3, ::2] = 7.6
    assert (buffer.raw[1:3, ::2] == 5).all()
    assert (buffer[1:3, ::2] == 7.5).all()
    for impossible in (np.nan, 1e6, -np.inf):
        with pytest.raises(ValueError, match="outside what int16 can store.*-32768 to 32767"):
            buffer[0] = impossible


def test_scales_per_channel(tmp_path: Path) -> None:
    array = make_array((4, 30), "<i2", 2)
    gains = np.array([0.5, 2.0, 0.25, 4.0])
    offsets = np.array([0.0, 1.0, -2.0, 3.0])
    expected = ((array + offsets[:, None]) * gains[:, None]).astype(np.float32)
    for name, store in LAYOUTS.items():
        scale = (offsets[:, None], gains[:, None])
        if name == "transposed":
            scale = (offsets, gains)
        elif name in ("selected", "bound"):
            # Their parts have shapes of their own.
            continue
        buffer = store(array, tmp_path, units_scale=scale)
        assert_same(buffer[...], expected)
        assert_same(buffer[2], expected[2])
        assert_same(buffer[[3, 0, 0], 29:3:-5], expected[[3, 0, 0], 29:3:-5])


@pytest.mark.parametrize(
    ("scale", "message"),
    [
        (0.0, "factor must be finite and not zero, got 0.0"),
        (np.nan, "factor must be finite"),
        ((np.inf, 1.0), "offset must be finite, got inf"),
        (np.ones(3), r"factor of shape \(3,\) does not broadcast.*\(4, 30\)"),
    ],
)
def test_scales_that_make_no_sense(scale: Any, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        as_buffer(np.zeros((4, 30))).__class__(np.zeros((4, 30)), scale)
