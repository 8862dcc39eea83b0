"""Selecting, transposing, casting and scaling blocks, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecogsource.buffers.scaling import Scale
from ecogsource.buffers.storage.affine import Affine
from ecogsource.buffers.storage.copying import copy_into, grid_slices
from ecogsource.buffers.storage.place import assign_outer, place, take_outer
from ecogsource.buffers.storage.shuffle import Shuffled, unshuffle
from ecogsource.indexing import Selection

N = 12
LONG = np.random.default_rng(3).integers(0, N, 200)

keys = st.one_of(
    st.integers(0, N - 1),
    st.tuples(st.integers(0, 4), st.integers(5, N), st.integers(1, 3)).map(lambda t: slice(*t)),
    st.tuples(st.integers(6, N - 1), st.integers(0, 4), st.integers(1, 3)).map(
        lambda t: slice(t[0], t[1], -t[2])
    ),
    st.lists(st.integers(0, N - 1), min_size=1, max_size=6).map(
        lambda v: np.array(v, dtype=np.int64)
    ),
    st.just(LONG),
)


def outer(array: np.ndarray, key: tuple[object, ...]) -> np.ndarray:
    lists = [np.atleast_1d(np.arange(n)[k]) for k, n in zip(key, array.shape, strict=True)]
    full = array[np.ix_(*lists)]
    dropped = tuple(axis for axis, k in enumerate(key) if isinstance(k, int))
    return full.squeeze(dropped)


@given(key=st.tuples(keys, keys), order=st.sampled_from("CF"), backwards=st.booleans())
@pytest.mark.parametrize("dtype", ["<i2", ">i2", "<f4", "<u8", ">f8"])
def test_place_is_numpy(dtype: str, key: tuple[object, ...], order: str, backwards: bool) -> None:
    block = np.arange(N * N).reshape(N, N).astype(dtype)
    wanted = outer(block, key)
    native = block.dtype.newbyteorder("=")
    planes = np.ascontiguousarray(block.reshape(-1).view(np.uint8).reshape(N * N, -1).T)
    shuffled = Shuffled(planes.tobytes(), block.dtype, block.shape)
    for target in (native, np.dtype("f8")):
        for chunk in (block, shuffled):
            out = np.zeros(wanted.shape, target, order=order)
            view = out[::-1] if backwards and out.ndim else out
            where = tuple(slice(0, n, 1) for n in view.shape)
            if isinstance(chunk, Shuffled):
                chunk.place(key, view, where, None, native)
            else:
                place(chunk, key, view, where)
            np.testing.assert_array_equal(view, wanted)


def test_places_into_lists() -> None:
    block = np.arange(12, dtype="<i2").reshape(3, 4)
    planes = np.ascontiguousarray(block.reshape(-1).view(np.uint8).reshape(12, 2).T).tobytes()
    shuffled = Shuffled(planes, block.dtype, block.shape)
    where = (np.array([4, 0, 2]), slice(1, 5, 1))
    expected = np.full((5, 6), -1, "<i2")
    expected[where] = block
    for chunk in (block, shuffled):
        out = np.full((5, 6), -1, "<i2")
        local = (slice(0, 3, 1), slice(0, 4, 1))
        if isinstance(chunk, Shuffled):
            chunk.place(local, out, where, None, block.dtype)
        else:
            place(chunk, local, out, where)
        np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("key", [(slice(0, 12, 1),) * 2, (np.array([3, 1]), slice(0, 12, 2))])
def test_scales_per_row_in_the_type_of_the_scale(
    shuffled: bool, key: tuple[slice | np.ndarray, ...]
) -> None:
    block = np.arange(N * N, dtype="<i2").reshape(N, N)
    gains = np.arange(1, N + 1.0)[:, None]
    scale = Scale.parse((np.arange(N), gains), block.shape)
    chosen = tuple(range(N)[k] if isinstance(k, slice) else k for k in key)
    affine = Affine.of(scale, Selection.of(chosen))
    assert affine is not None
    assert affine.varies
    expected = ((block.astype("f4") + np.arange(N, dtype="f4")) * gains.astype("f4"))[key]
    where = tuple(slice(0, n, 1) for n in expected.shape)
    for dtype in ("f4", "f8"):
        out = np.zeros(expected.shape, dtype)
        if shuffled:
            planes = np.ascontiguousarray(block.reshape(-1).view(np.uint8).reshape(-1, 2).T)
            chunk = Shuffled(planes.tobytes(), block.dtype, block.shape)
            chunk.place(key, out, where, affine, block.dtype)
        else:
            place(block, key, out, where, affine)
        np.testing.assert_array_equal(out, expected)
    turned = np.zeros(expected.shape[::-1], "f4")
    place(block.T, key[::-1], turned, where[::-1], affine.T)
    np.testing.assert_array_equal(turned, expected.T)


def test_scales_what_several_lists_select() -> None:
    block = np.arange(N * N, dtype="<i2").reshape(N, N)
    affine = Affine.of(Scale.parse(2.0, block.shape))
    key = (np.array([3, 1]), np.array([5, 5, 0]))
    out = np.zeros((2, 3), "f4")
    place(block, key, out, (slice(0, 2, 1), slice(0, 3, 1)), affine)
    np.testing.assert_array_equal(out, 2 * block[np.ix_(*key)])


def test_several_lists_beside_a_slice() -> None:
    array = np.zeros((4, 5, 6), int)
    expected = array.copy()
    key = (np.array([3, 1]), slice(1, 5, 2), np.array([0, 5, 2]))
    values = np.arange(2 * 2 * 3).reshape(2, 2, 3)
    expected[np.ix_(key[0], np.arange(1, 5, 2), key[2])] = values
    assign_outer(array, key, values)
    np.testing.assert_array_equal(array, expected)


def test_no_scale_is_no_affine() -> None:
    assert Affine.of(None) is None


@pytest.mark.parametrize("shape", [(3, 70_000), (300, 300), (40, 50, 60)])
def test_large_copies_go_by_tiles(shape: tuple[int, ...]) -> None:
    block = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    out = np.zeros(shape[::-1], np.int32)
    copy_into(out.T, block)
    np.testing.assert_array_equal(out.T, block)
    scaled = np.zeros(shape, np.float32)
    affine = Affine(
        None, np.arange(shape[0], dtype="f4").reshape(-1, *[1] * (len(shape) - 1)), np.dtype("f4")
    )
    copy_into(scaled, block, affine)
    np.testing.assert_array_equal(scaled, block.astype("f4") * affine.factor)


@pytest.mark.parametrize("pitch", [256, 250, 512])
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("target", ["i2", "f4", "f8"])
def test_turning_whatever_the_distance_of_rows(pitch: int, scaled: bool, target: str) -> None:
    block = np.random.default_rng(0).integers(-999, 999, (700, pitch)).astype(">i2")
    affine = Affine(np.float32(1), np.float32(0.5), np.dtype("f4")) if scaled else None
    expected = (block.astype("f4") + 1) * np.float32(0.5) if scaled else block
    for part in (np.s_[:, :], np.s_[::3, 1:], np.s_[::-1, :200], np.s_[:, ::-2]):
        source = block[part]
        out = np.zeros(source.shape[::-1], target)
        copy_into(out.T, source, affine)
        np.testing.assert_array_equal(out.T, expected[part].astype(target))
    deep = block.reshape(7, 100, pitch)
    out = np.zeros((pitch, 7, 100), target)
    copy_into(out.transpose(1, 2, 0), deep, affine)
    np.testing.assert_array_equal(
        out.transpose(1, 2, 0), expected.reshape(deep.shape).astype(target)
    )


@given(
    dtype=st.sampled_from(["i1", "?", "u2", "i2", "f4", "f8", "i8", "c8", "c16", ">i2"]),
    rows=st.sampled_from([1, 255, 512, 1023, 1024, 1100, 2500]),
    columns=st.integers(2, 150),
    apart=st.integers(0, 80),
    key=st.sampled_from([np.s_[:, :], np.s_[::-1], np.s_[:, ::-1], np.s_[::2], np.s_[5:, 1:]]),
    blocks=st.sampled_from([None, 1, 3]),
)
def test_turning_is_a_copy(
    dtype: str, rows: int, columns: int, apart: int, key: object, blocks: int | None
) -> None:
    """Rows may be any distance apart, and the target has room around it that stays as it is."""
    rng = np.random.default_rng(rows + columns)
    shape = (rows, columns + apart) if blocks is None else (blocks, rows, columns + apart)
    block = rng.integers(0, 100, shape).astype(dtype)[..., :columns]
    source = block[key] if blocks is None else block[(slice(None), *np.index_exp[key])]
    around = np.full((*source.shape[:-2], columns + 2, source.shape[-2] + 6), 7, source.dtype)
    target = around[..., 1 : source.shape[-1] + 1, 3:-3].swapaxes(-1, -2)
    expected = around.copy()
    expected[..., 1 : source.shape[-1] + 1, 3:-3] = source.swapaxes(-1, -2)
    copy_into(target, source)
    np.testing.assert_array_equal(around, expected)


@given(
    dtype=st.sampled_from(["i1", "u2", "f4", "f8", "c16", ">i2"]),
    rows=st.sampled_from([1, 60, 64, 300]),
    columns=st.integers(1, 300),
    apart=st.integers(0, 9),
    key=st.sampled_from([np.s_[...], np.s_[::-1], np.s_[..., ::-1], np.s_[..., ::2]]),
    blocks=st.sampled_from([None, 1, 3]),
    order=st.sampled_from("CF"),
    scaled=st.booleans(),
)
def test_copying_in_the_same_order_is_a_copy(
    dtype: str,
    rows: int,
    columns: int,
    apart: int,
    key: object,
    blocks: int | None,
    order: str,
    scaled: bool,
) -> None:
    """Runs of any length, with gaps between them on both sides that stay as they are."""
    rng = np.random.default_rng(rows + columns)
    shape = (rows, columns + apart) if blocks is None else (blocks, rows, columns + apart)
    source = rng.integers(0, 100, shape).astype(dtype)[..., :columns][key]
    around = np.full((*source.shape[:-1], source.shape[-1] + 2), 7, source.dtype)
    target, expected = around[..., 1:-1], around.copy()
    affine = Affine(None, np.float32(2), np.dtype("f4")) if scaled and dtype != "c16" else None
    expected[..., 1:-1] = source if affine is None else source * 2
    if order == "F":
        target, source = target.T, source.T
    copy_into(target, source, affine)
    np.testing.assert_array_equal(around, expected)


def test_large_shuffled_chunks_go_by_tiles() -> None:
    block = np.arange(3 * 100_000, dtype="<i4").reshape(3, 100_000)
    planes = np.ascontiguousarray(block.reshape(-1).view(np.uint8).reshape(-1, 4).T)
    chunk = Shuffled(planes.tobytes(), block.dtype, block.shape)
    out = np.zeros(block.shape[::-1], "f4").T
    whole = tuple(slice(0, n, 1) for n in block.shape)
    gains = np.array([[1], [2], [3]], "f4")
    chunk.place(whole, out, whole, Affine(None, gains, np.dtype("f4")), block.dtype)
    np.testing.assert_array_equal(out, block.astype("f4") * gains)


@given(key=st.tuples(keys, keys))
def test_take_and_assign_are_numpy(key: tuple[slice, ...]) -> None:
    array = np.arange(N * N).reshape(N, N)
    taken = take_outer(array, key)
    np.testing.assert_array_equal(taken, outer(array, key))
    lists = [np.atleast_1d(np.arange(N)[k]) for k in key]
    values = np.random.default_rng(0).integers(0, 99, [len(x) for x in lists])
    expected = array.copy()
    expected[np.ix_(*lists)] = values
    assign_outer(array, key, values.reshape(taken.shape))
    np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("itemsize", [1, 2, 3, 16])
def test_unshuffle_leaves_the_rest_alone(itemsize: int) -> None:
    data = np.random.default_rng(1).integers(0, 256, 10 * itemsize + itemsize // 2, np.uint8)
    whole = data[: 10 * itemsize].reshape(10, itemsize)
    shuffled = whole.T.tobytes() + data[10 * itemsize :].tobytes()
    assert unshuffle(shuffled, itemsize) == data.tobytes()


def test_which_types_are_joined_from_planes() -> None:
    assert Shuffled.supports(np.dtype("f8"))
    assert not Shuffled.supports(np.dtype("c16"))
    assert not Shuffled.supports(np.dtype("u1"))


def test_grid_of_nothing() -> None:
    assert list(grid_slices((), ())) == [()]
