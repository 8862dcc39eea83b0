"""Hypothesis strategies for arrays and for every kind of index that NumPy accepts."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

DTYPES = ["i1", "<i2", ">i2", "<i4", "<i8", "u1", "<u2", ">u4", "<u8", "<f4", ">f4", "<f8"]

shapes = st.lists(st.integers(0, 7), min_size=1, max_size=4).map(tuple)


def make_array(shape: tuple[int, ...], dtype: str, seed: int) -> np.ndarray:
    """Make an array whose values are all over the range of its type."""
    rng = np.random.default_rng(seed)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return (rng.standard_normal(shape) * 100).astype(kind)
    limits = np.iinfo(kind)
    native = kind.newbyteorder("=")
    return rng.integers(limits.min, limits.max, shape, dtype=native, endpoint=True).astype(kind)


@st.composite
def arrays(draw: st.DrawFn, shape: Any = shapes) -> np.ndarray:
    """Give arrays of 1 to 4 dimensions, some of them empty."""
    return make_array(draw(shape), draw(st.sampled_from(DTYPES)), draw(st.integers(0, 2**32 - 1)))


def slices(size: int) -> st.SearchStrategy[slice]:
    """Give slices with any signs, often past the ends."""
    bound = st.none() | st.integers(-size - 2, size + 2)
    return st.builds(slice, bound, bound, st.sampled_from([None, 1, 2, 3, -1, -2, -5]))


def positions(size: int) -> st.SearchStrategy[int]:
    """Give positions, now and then one out of bounds."""
    inside = st.integers(-size, size - 1) if size else st.just(0)
    return st.one_of(inside, inside, inside, inside, st.integers(-size - 1, size))


@st.composite
def index_arrays(draw: st.DrawFn, size: int, broadcast: tuple[int, ...]) -> Any:
    """Give lists, ranges or integer arrays that broadcast with the others of the index."""
    if draw(st.integers(0, 4)) == 0:
        return draw(st.builds(range, st.integers(0, size), st.integers(0, size)))
    shape = tuple(draw(st.sampled_from([length, 1])) for length in broadcast)
    if draw(st.integers(0, 3)) == 0:
        shape = (draw(st.integers(0, 4)),)
    count = int(np.prod(shape))
    entry = st.integers(-size, size - 1) if size else st.just(0)
    values = draw(st.lists(entry, min_size=count, max_size=count))
    array = np.array(values, dtype=draw(st.sampled_from(["i8", "i4", "i1"]))).reshape(shape)
    return array.tolist() if draw(st.booleans()) else array


@st.composite
def masks(draw: st.DrawFn, shape: tuple[int, ...]) -> Any:
    """Give boolean arrays, now and then of a wrong shape."""
    if draw(st.integers(0, 15)) == 0:
        shape = (shape[0] + 1, *shape[1:])
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    mask = rng.random(shape) < draw(st.sampled_from([0.1, 0.5, 0.9]))
    return mask.tolist() if draw(st.booleans()) and mask.size else mask


@st.composite
def indices(draw: st.DrawFn, shape: tuple[int, ...]) -> Any:
    """Give indices for an array of a shape: all kinds that NumPy knows, and their mixtures."""
    broadcast = draw(st.lists(st.integers(1, 3), max_size=2).map(tuple))
    items: list[Any] = []
    axis = 0
    reach = draw(st.integers(0, len(shape)))
    while axis < reach:
        size = shape[axis]
        kind = draw(st.sampled_from("sssssiiiaaammn.bo"))
        if kind == "s":
            items.append(draw(slices(size)))
        elif kind == "i":
            items.append(draw(positions(size)))
        elif kind == "o":
            items.append(np.int64(draw(positions(size))))
        elif kind == "a":
            items.append(draw(index_arrays(size, broadcast)))
        elif kind == "m":
            span = draw(st.integers(1, min(2, len(shape) - axis)))
            items.append(draw(masks(shape[axis : axis + span])))
            axis += span - 1
        elif kind == "b":
            items.append(draw(st.sampled_from([True, False, np.True_, np.array(False)])))
            continue
        elif kind == ".":
            items.append(Ellipsis)
        else:
            items.append(None)
            continue
        axis += 1
    if draw(st.integers(0, 3)) == 0:
        items.append(draw(st.sampled_from([None, Ellipsis, 0, slice(None)])))
    if len(items) == 1 and draw(st.booleans()):
        return items[0]
    return tuple(items)


@st.composite
def outer_indices(draw: st.DrawFn, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """Give one selector per axis, for orthogonal indexing."""
    items: list[Any] = []
    for size in shape:
        kind = draw(st.sampled_from("ssiaam"))
        if kind == "s":
            items.append(draw(slices(size)))
        elif kind == "i" and size:
            items.append(draw(st.integers(-size, size - 1)))
        elif kind == "m":
            items.append(draw(masks((size,)).filter(lambda m, n=size: len(m) == n)))
        else:
            entry = st.integers(-size, size - 1) if size else st.just(0)
            items.append(draw(st.lists(entry, max_size=6 if size else 0)))
    return tuple(items)


def outer_of(array: np.ndarray, index: tuple[Any, ...]) -> np.ndarray:
    """Index orthogonally with NumPy alone, one axis after the other."""
    for axis in range(array.ndim - 1, -1, -1):
        item = index[axis]
        if isinstance(item, list) and not item:
            item = np.zeros(0, int)
        array = array[(slice(None),) * axis + (item,)]
    return array
