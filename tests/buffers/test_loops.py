"""The loops in C, against NumPy."""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecogsource.buffers.storage import loops
from ecogsource.buffers.storage.affine import Affine

NUMBERS = ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"]
COPIED = [*NUMBERS, "?", "f2", ">i2", ">f8"]

shapes = st.one_of(
    st.lists(st.integers(0, 9), min_size=1, max_size=4),
    st.tuples(st.integers(1, 150), st.integers(1, 150)).map(list),
)


@pytest.fixture(autouse=True)
def only_in_c(in_c: bool) -> None:
    if not in_c:
        pytest.skip("these are tests of the loops in C alone")


def numbers(rng: np.random.Generator, shape: list[int], dtype: str) -> np.ndarray:
    """Give numbers of all sizes that a type has."""
    kind = np.dtype(dtype)
    if kind.kind in "fb":
        return (100 * rng.standard_normal(shape)).astype(kind)
    bits = rng.bytes(int(np.prod(shape)) * kind.itemsize)
    return np.frombuffer(bits, kind).reshape(shape)


def laid_out(draw: Any, array: np.ndarray) -> np.ndarray:
    """Give an equal array whose axes lie in memory in any order, apart and backwards."""
    axes = draw(st.permutations(range(array.ndim)))
    steps = [draw(st.sampled_from([1, 1, 2, -1, -3])) for _ in axes]
    memory = np.zeros([array.shape[axis] * abs(steps[axis]) for axis in axes], array.dtype)
    view = memory.transpose(np.argsort(axes))[tuple(slice(None, None, step) for step in steps)]
    view[...] = array
    return view


def drawn_affine(draw: Any, rng: np.random.Generator, shape: list[int], dtype: str) -> Affine:
    def number() -> np.ndarray | None:
        kind = draw(st.sampled_from(["none", "one", "many"]))
        if kind == "none":
            return None
        lengths = [draw(st.sampled_from([1, n])) for n in shape] if kind == "many" else []
        return numbers(rng, lengths, dtype)

    return Affine(number(), number(), np.dtype(dtype))


def drawn_source(
    draw: Any, rng: np.random.Generator, shape: list[int], wanted: list[int]
) -> tuple[np.ndarray, str, Affine | None]:
    """Give stored numbers, and what they become in a result of the shape that is wanted."""
    if draw(st.booleans()):
        dtype = draw(st.sampled_from(COPIED))
        return numbers(rng, shape, dtype), dtype, None
    target_type = draw(st.sampled_from(["f4", "f8"]))
    affine = drawn_affine(draw, rng, wanted, target_type)
    return numbers(rng, shape, draw(st.sampled_from(NUMBERS))), target_type, affine


def scaled(values: np.ndarray, dtype: str, affine: Affine | None) -> np.ndarray:
    """Cast and scale as NumPy does."""
    with np.errstate(all="ignore"):
        values = values.astype(dtype)
        if affine is not None and affine.offset is not None:
            values += affine.offset
        if affine is not None and affine.factor is not None:
            values *= affine.factor
    return values


@settings(max_examples=300)
@given(shape=shapes, seed=st.integers(0, 2**32), data=st.data())
def test_copy_is_numpy(shape: list[int], seed: int, data: st.DataObject) -> None:
    rng = np.random.default_rng(seed)
    source, target_type, affine = drawn_source(data.draw, rng, shape, shape)
    expected = scaled(source, target_type, affine)
    target = laid_out(data.draw, np.zeros(shape, target_type))
    if source.dtype.itemsize in (2, 4, 8) and source.dtype.isnative and data.draw(st.booleans()):
        width = source.dtype.itemsize
        planes = np.moveaxis(np.ascontiguousarray(source).view("u1").reshape(*shape, width), -1, 0)
        planes = np.ascontiguousarray(planes)
        done = loops.join(target, planes[::-1], source.dtype, affine)
    else:
        done = loops.copy(target, laid_out(data.draw, source), affine)
    assert done
    np.testing.assert_array_equal(target, expected, strict=True)


@pytest.mark.parametrize("dtype", ["O", "c16", "M8[s]", "S4", [("a", "i2"), ("b", "O")]])
def test_other_types_are_left_to_numpy(dtype: Any) -> None:
    assert not loops.copy(np.zeros((3, 2), dtype), np.zeros((3, 2), dtype), None)


def test_what_the_loops_are_not_made_for() -> None:
    zeros = np.zeros((3, 4), "f4")
    odd = np.frombuffer(bytearray(4 * 12 + 1), "f4", 12, 1).reshape(3, 4)
    double = Affine(None, np.asarray(2.0), np.dtype("f8"))
    mixed = Affine(None, np.asarray(2.0, "f8"), np.dtype("f4"))
    wide = Affine(np.zeros((1, 5), "f4"), None, np.dtype("f4"))
    flat = Affine(np.zeros(4, "f4"), None, np.dtype("f4"))
    constant = zeros.copy()
    constant.flags.writeable = False
    pairs: list[tuple[np.ndarray, np.ndarray, Affine | None]] = [
        (zeros, zeros[:, :3], None),
        (zeros, zeros[0], None),
        (zeros[0, 0, None].reshape(()), zeros[0, 0, None].reshape(()), None),
        (zeros.astype("i2"), zeros, None),
        (odd, zeros, None),
        (zeros, zeros.astype(">f4"), None),
        (constant, zeros, None),
        (zeros, zeros, double),
        (zeros, zeros, mixed),
        (zeros, zeros, wide),
        (zeros, zeros, flat),
        (np.zeros((1,) * 9), np.zeros((1,) * 9), None),
    ]
    for target, source, affine in pairs:
        assert not loops.copy(target, source, affine)
    planes = np.zeros((3, 3, 4), "u1")
    assert not loops.join(zeros, planes, np.dtype("f4"), None)
    assert not loops.join(zeros, planes.astype("i2")[:2], np.dtype("i2"), None)


@pytest.mark.parametrize("dtype", ["i2", "u4", "f4", "f8"])
def test_numbers_at_any_address(dtype: str) -> None:
    """As files hold them."""
    rng, width = np.random.default_rng(0), np.dtype(dtype).itemsize
    memory = np.frombuffer(rng.bytes(width * 70 * 90 + 7), "u1").copy()
    for start in (1, 3):
        source = np.ndarray((70, 90), dtype, memory, start)
        for target in (np.zeros((70, 90), dtype), np.zeros((90, 70), dtype).T):
            assert loops.copy(target, source, None)
            assert target.tobytes() == source.tobytes()
            assert loops.copy(target[:, ::3], source[:, 30:60], None)
            assert target[:, ::3].tobytes() == source[:, 30:60].tobytes()
        with np.errstate(all="ignore"):
            wide = np.zeros((70, 90))
            assert loops.copy(wide, source, None)
            np.testing.assert_array_equal(wide, source.astype("f8"))
        positions = np.array([5, 89, 5])
        taken = np.zeros((70, 3), dtype)
        assert loops.take(taken, source, 1, positions, None)
        assert taken.tobytes() == source[:, positions].tobytes()


def test_one_value_is_the_same_everywhere() -> None:
    target = np.zeros((3, 5), "f4")
    affine = Affine(np.arange(5, dtype="f4")[None], None, np.dtype("f4"))
    assert loops.copy(target, np.array(7, "i2"), affine)
    np.testing.assert_array_equal(target, np.broadcast_to(7 + np.arange(5), (3, 5)))
    assert not loops.join(target, np.array(7, "u1"), np.dtype("i2"), None)


@settings(max_examples=300)
@given(shape=shapes, seed=st.integers(0, 2**32), data=st.data())
def test_take_is_numpy(shape: list[int], seed: int, data: st.DataObject) -> None:
    rng = np.random.default_rng(seed)
    axis = data.draw(st.integers(0, len(shape) - 1))
    count = data.draw(st.integers(0, 90)) if shape[axis] else 0
    positions = rng.integers(0, max(1, shape[axis]), count)
    wanted = [*shape[:axis], count, *shape[axis + 1 :]]
    source, target_type, affine = drawn_source(data.draw, rng, shape, wanted)
    expected = scaled(np.take(source, positions, axis), target_type, affine)
    target = laid_out(data.draw, np.zeros(wanted, target_type))
    assert loops.take(target, laid_out(data.draw, source), axis, positions, affine)
    assert target.tobytes() == expected.tobytes()


def test_what_cannot_be_taken() -> None:
    source, positions = np.arange(12.0).reshape(3, 4), np.array([2, 0])
    target = np.zeros((3, 2))
    for bad in ([4, 0], [0, -1]):
        with pytest.raises(IndexError, match="a position is outside of the source"):
            loops.take(target, source, 1, np.array(bad), None)
    for axis, listed in ((2, positions), (-1, positions), (1, positions * 1.0)):
        with pytest.raises(ValueError, match="an axis of the source and a list of int64 are need"):
            loops.take(target, source, axis, listed, None)
    assert not loops.take(target.astype("i4"), source, 1, positions, None)
    assert not loops.take(target.T, source, 1, positions, None)
    assert not loops.take(target, source, 1, positions, Affine(None, np.ones(()), np.dtype("f4")))
    many = np.zeros((1,) * 9)
    assert not loops.take(many, many, 0, np.array([0]), None)
    with pytest.raises(TypeError):
        loops._loops.take(target, source, None, None, "axis", positions)


def test_rows(tmp_path: Path) -> None:
    content = np.random.default_rng(0).bytes(1000)
    (tmp_path / "a").write_bytes(content)
    with open(tmp_path / "a", "rb") as file:
        memory = np.zeros((3, 9, 5), "i2")
        rows, offsets = memory[::2, 2:6], np.array([700, 3])
        assert loops.read_rows(file.fileno(), rows, offsets)
        for row, offset in zip(rows, offsets, strict=True):
            assert row.tobytes() == content[offset : offset + 40]
        assert not memory[1].any()
        assert not memory[:, :2].any()
        assert not loops.read_rows(file.fileno(), rows, np.array([0, 961]))
        assert loops.read_rows(file.fileno(), rows, np.array([0, 960]))
        for bad in (np.array([1]), np.array([1, 2], "i4"), np.array([1.0, 2.0])):
            with pytest.raises(ValueError, match="contiguous rows are needed, and an int64 for ea"):
                loops.read_rows(file.fileno(), rows, bad)
        with pytest.raises(ValueError, match="contiguous rows are needed"):
            loops.read_rows(file.fileno(), memory[:2, :, :3], offsets)
    with pytest.raises(ValueError, match="negative"):
        loops.read_rows(-1, rows, offsets)


@pytest.mark.parametrize("mapped", [False, True])
def test_chunks_that_are_not_there(tmp_path: Path, mapped: bool) -> None:
    (tmp_path / "a").write_bytes(bytes(1000))
    table, out = np.array([[0, 80], [160, 240]]), np.zeros((7, 9), "i2")
    with (
        open(tmp_path / "a", "rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as memory,
    ):
        where = memory if mapped else file.fileno()

        def read(
            offsets: np.ndarray = table,
            first: tuple[int, int] = (1, 1),
            step: tuple[int, int] = (1, 1),
            edges: tuple[int, int] = (4, 5),
            target: np.ndarray = out,
        ) -> bool:
            stored = np.zeros((), "i2")
            return loops.read_chunks(where, target, stored, offsets, first, step, edges, None)

        assert read()
        assert not read(table + 750)
        assert not read(table - 200)
        assert not read(target=out.astype("i8"))
        double = Affine(None, np.asarray(2.0), np.dtype("f8"))
        assert not loops.read_chunks(
            where, out, np.zeros((), "i2"), table, (1, 1), (1, 1), (4, 5), double
        )
        outside: list[dict[str, Any]] = [
            {"first": (2, 1)},
            {"first": (-1, 1)},
            {"step": (1, 2)},
            {"step": (0, 1)},
            {"edges": (0, 5)},
            {"offsets": table[:1]},
            {"offsets": table.astype("f8")},
            {"offsets": table[0]},
        ]
        for changed in outside:
            with pytest.raises(ValueError, match="the window is not inside of the chunks"):
                read(**changed)


def test_arguments() -> None:
    built = loops._loops
    counts = (
        (built.copy, 5),
        (built.take, 6),
        (built.read_rows, 3),
    )
    for function, count in counts:
        with pytest.raises(TypeError, match=f"{count} arguments are needed, 1 were given"):
            function(None)
    with pytest.raises(TypeError, match="function takes exactly 10 arguments"):
        built.read_chunks(1)
    array = np.zeros(3)
    with pytest.raises(TypeError, match="target and source must be arrays"):
        built.copy(array, None, None, None, None)
    with pytest.raises(TypeError, match="bytes-like"):
        built.copy(array, 3, None, None, None)
    with pytest.raises(TypeError):
        built.copy(array, array, 3, None, None)


def test_it_can_be_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    assert loops._load() is not None
    monkeypatch.setitem(os.environ, loops.SWITCH, "0")
    assert loops._load() is None
    monkeypatch.delitem(os.environ, loops.SWITCH)

    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr("importlib.import_module", missing)
    assert loops._load() is None
