"""Masks: full chunks, of whatever is kept, read in runs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecogsource.buffers import ArrayBuffer, Buffer, BufferBinder, FlatBuffer
from ecogsource.buffers.views import SelectedBuffer
from ecogsource.errors import FormatError
from ecogsource.producers import producer
from ecogsource.producers.masks import PackedMask, masked
from ecogsource.producers.walking import walk
from tests.producers.helper import check, same

N = 20_000
X = np.random.default_rng(0).standard_normal((3, N))


class OnDisk(Buffer):
    """A buffer that does not show its array, and counts the samples that are read."""

    def __init__(self, array):
        super().__init__(array.shape, array.dtype)
        self.hidden = ArrayBuffer(array)
        self.read_samples = 0

    def _read_into(self, selection, out):
        self.read_samples += selection.size
        self.hidden.read_into(selection, out)


def runs(length: int, share: float, seed: int = 0) -> np.ndarray:
    """Make a mask of runs."""
    rng = np.random.default_rng(seed)
    return np.repeat(rng.random(-(-N // length)) < share, length)[:N]


PATTERNS = {
    "all": np.ones(N, bool),
    "none": np.zeros(N, bool),
    "first": np.arange(N) == 0,
    "last": np.arange(N) == N - 1,
    "alternating": np.arange(N) % 2 == 1,
    "scattered": runs(1, 0.5),
    "sparse": runs(1, 0.002),
    "dense": runs(1, 0.99),
    "short runs": runs(20, 0.5),
    "long runs": runs(1500, 0.5),
    "rare runs": runs(700, 0.05),
    "end of a block": np.arange(N) < 2 * 2**13,
}


@pytest.mark.parametrize("chunksize", [100, 3000, 10**6])
@pytest.mark.parametrize("name", PATTERNS)
def test_patterns(name, chunksize):
    mask = PATTERNS[name]
    for data in (X, OnDisk(X), producer(lambda: [X[:, :777], X[:, 777:]], 9, -1, shape=X.shape)):
        check(producer(data, chunksize, -1, mask=mask), X[:, mask])
    check(producer(X.T, chunksize, 0, mask=mask), X.T[mask])
    check(producer(OnDisk(X), chunksize, 1, mask=mask, reverse=True), X[:, mask][:, ::-1])


@pytest.mark.parametrize("name", PATTERNS)
def test_a_packed_mask_knows_its_positions(name):
    mask = PATTERNS[name]
    packed = PackedMask([mask[: 8 * 1000], mask[8 * 1000 :]])
    positions = np.flatnonzero(mask)
    assert (packed.size, packed.count) == (N, len(positions))
    edges = [0, 1, 5000, 2**13, 2**13 + 1, 2 * 2**13, N - 1, N]
    for start, stop in itertools.combinations(edges, 2):
        assert packed.rank(start) == mask[:start].sum()
        np.testing.assert_array_equal(
            packed.inside(start, stop) + start, positions[(positions >= start) & (positions < stop)]
        )
        low, high = packed.rank(start), packed.rank(stop)
        np.testing.assert_array_equal(packed.positions(low, high), positions[low:high])
        assert packed.upto(stop).count == packed.rank(stop)
    assert packed.positions(3, 3).shape == (0,)
    assert packed.inside(N, N + 50).shape == (0,)
    assert packed.rank(N + 50) == packed.count


@given(
    pattern=st.lists(st.tuples(st.booleans(), st.integers(1, 300)), max_size=30),
    data=st.data(),
)
def test_any_mask_any_window(pattern, data):
    mask = np.concatenate([np.full(n, kept) for kept, n in pattern] or [np.zeros(0, bool)])
    positions, packed = np.flatnonzero(mask), PackedMask([mask])
    low, high = sorted(data.draw(st.tuples(*[st.integers(0, packed.count)] * 2)))
    np.testing.assert_array_equal(packed.positions(low, high), positions[low:high])


def test_a_masked_buffer_is_indexed_like_the_masked_array():
    mask = PATTERNS["short runs"]
    array = X[:, mask]
    for buffer in (ArrayBuffer(X), OnDisk(X)):
        view = masked(buffer, 1, PackedMask([mask]))
        for index in (
            np.s_[:, 5],
            np.s_[1, 7],
            np.s_[::2, 10:4000:7],
            np.s_[[2, 0], 300:20:-3],
            np.s_[:, [9, 3, 3, 4000]],
            np.s_[0],
            np.s_[[0, 2], 100:900],
            np.s_[..., ::-1],
            np.s_[:, 5:5],
        ):
            np.testing.assert_array_equal(view[index], array[index])
        assert not view.writeable
    scaled = masked(ArrayBuffer(X.astype("i2"), units_scale=2.0), 1, PackedMask([mask]))
    same(scaled.raw[()], X.astype("i2")[:, mask])


@given(
    pattern=st.lists(st.tuples(st.booleans(), st.integers(1, 5000)), min_size=1, max_size=12),
    cuts=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=8),
    axis=st.sampled_from([0, 1, 2]),
    prefetch=st.sampled_from([None, 0, 1]),
    order=st.sampled_from("CF"),
)
def test_a_walk_over_any_rising_windows(pattern, cuts, axis, prefetch, order):
    """Windows may overlap, follow each other, or leave gaps; kept arrays stay as they are."""
    mask = np.concatenate([np.full(n, kept) for kept, n in pattern])
    shape = [2, 3]
    shape.insert(axis, len(mask))
    data = np.arange(np.prod(shape), dtype="i4").reshape(shape, order=order)
    expected = data.compress(mask, axis)
    count = int(mask.sum())
    windows = [slice(*sorted((int(a * count), int(b * count)))) for a, b in sorted(cuts)]
    windows = sorted((w for w in windows if w.start < w.stop), key=lambda w: (w.start, w.stop))
    for source in (ArrayBuffer(data), OnDisk(data)):
        view = masked(source, axis, PackedMask([mask]))
        found = list(walk(view, axis, windows, prefetch))
        for chunk, window in zip(found, windows, strict=True):
            same(chunk, expected[(*[slice(None)] * axis, window)])


@pytest.mark.parametrize("share", [0.0005, 0.02, 0.5, 0.9, "runs", "half", "ends"])
def test_masks_longer_than_what_is_unpacked_at_once(share):
    rng, size = np.random.default_rng(3), 500_000
    data = rng.standard_normal((2, size)).astype("f4")
    if share == "runs":
        mask = np.repeat(rng.random(250) < 0.4, 2000)
    elif share == "ends":
        mask = np.abs(np.arange(size) - size / 2) > size / 2 - 9
    elif share == "half":
        mask = (np.arange(size) > 200_000) & (rng.random(size) < 0.5)
    else:
        mask = rng.random(size) < share
    for source in (data, OnDisk(data)):
        check(producer(source, 90_000, -1, mask=mask), data[:, mask])
        check(producer(source, 90_000, -1, mask=mask, reverse=True), data[:, mask][:, ::-1])
    buffer = producer(OnDisk(data), 90_000, -1, mask=mask).as_buffer()
    np.testing.assert_array_equal(buffer[[1, 0]], data[[1, 0]][:, mask])
    in_memory = producer(data, 90_000, -1, mask=mask).as_buffer()
    np.testing.assert_array_equal(in_memory[[1, 0, 1]], data[[1, 0, 1]][:, mask])


def test_masks_of_every_kind():
    mask = PATTERNS["long runs"]
    mean = producer(X, 999, -1).mean(axis=0)
    for kind in (
        mask,
        mask.tolist(),
        mask.astype("u1"),
        mask.astype(float),
        ArrayBuffer(mask),
        producer(mask, 17, 0),
        producer(lambda: [mask[:50], mask[50:]], 17, 0, shape=(N,)),
    ):
        check(producer(X, 1000, -1, mask=kind), X[:, mask])
    lazy = producer(mean, 999, 0) > 0.5
    check(producer(X, 1000, -1, mask=lazy), X[:, mean > 0.5])


def test_the_mask_is_what_it_was():
    mask = PATTERNS["scattered"].copy()
    pro = producer(X, 1000, -1, mask=mask)
    mask[:] = False
    check(pro, X[:, PATTERNS["scattered"]])


@pytest.mark.parametrize("size", [0, 1, 500, N - 1, N + 1, 2 * N])
def test_production_ends_with_the_shorter_of_data_and_mask(size):
    mask = np.resize(PATTERNS["scattered"], size)
    both = min(size, N)
    expected = X[:, :both][:, mask[:both]]
    for data in (X, producer(lambda: [X], 9, -1, shape=X.shape)):
        with pytest.warns(UserWarning, match=f"the mask has {size} samples, the data have {N}"):
            pro = producer(data, 300, -1, mask=mask)
        check(pro, expected)
    with pytest.warns(UserWarning, match="ends with the shorter one"):
        pro = producer(X, 300, -1).masked(mask)
    check(pro, expected)


def test_a_mask_longer_or_shorter_than_the_data_can_be_an_error():
    for size in (N - 1, N + 1):
        with pytest.raises(FormatError, match=f"the mask has {size} samples, the data have {N}"):
            producer(X, 300, -1, mask=np.ones(size, bool), strict_mask=True)
    check(producer(X, 300, -1, mask=np.ones(N, bool), strict_mask=True), X)


@pytest.mark.parametrize("mask", [np.arange(N), ["a"] * N, np.full(N, 0.5)])
def test_masks_that_are_not_boolean(mask):
    with pytest.raises(FormatError, match="a mask is boolean"):
        producer(X, 300, -1, mask=mask)


@pytest.mark.parametrize("mask", [np.ones((3, N), bool), np.ones((N, 1), bool)])
def test_masks_of_two_axes(mask):
    with pytest.raises(FormatError, match="one axis"):
        producer(X, 300, -1, mask=mask)
    with pytest.raises(FormatError, match="one axis"):
        producer(X, 300, -1, mask=producer(mask, 5, 0))


def test_what_lies_between_far_runs_is_not_read():
    for name, most in (("rare runs", 1.0), ("sparse", 1.0), ("long runs", 1.0), ("dense", 1.05)):
        mask, data = PATTERNS[name], OnDisk(X)
        check(producer(data, 1000, -1, mask=mask, prefetch=0), X[:, mask])
        # Once by its chunks, once by to_array().
        assert data.read_samples <= 2 * most * 3 * mask.sum()


SCALES = {
    "one": 0.25,
    "offset": (3, 0.5),
    "per channel": (np.arange(3.0)[:, None], np.array([[0.5], [2], [4]])),
    "per sample": (0.0, 1 + np.arange(N) % 7),
}


@pytest.mark.parametrize("view", ["itself", "rows", "joined", "transposed"])
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("pattern", ["scattered", "sparse", "dense", "short runs", "rare runs"])
def test_scaled_data_on_disk(tmp_path, pattern, scale, view):
    stored = np.random.default_rng(2).integers(-999, 999, (3, N)).astype("i2")
    path = tmp_path / "x.dat"
    stored.tofile(path)
    buffer: Buffer = FlatBuffer(path, "i2", (3, N), units_scale=SCALES[scale])
    expected = buffer[...]
    if view == "rows":
        buffer, expected = SelectedBuffer(buffer, 0, np.array([2, 0])), expected[[2, 0]]
    elif view == "joined":
        buffer = BufferBinder([buffer, buffer])
        expected = np.concatenate([expected, expected], axis=1)
    elif view == "transposed":
        buffer, expected = buffer.T, expected.T
    axis = 0 if view == "transposed" else 1
    mask = np.resize(PATTERNS[pattern], expected.shape[axis])
    kept = expected.compress(mask, axis=axis)
    pro = producer(buffer, 3000, axis, mask=mask)
    check(pro, kept)
    check(pro.flip(), np.flip(kept, axis))
    out = np.empty(kept.shape, "f8")
    pro.as_buffer().read((), out=out)
    np.testing.assert_array_equal(out, kept)
    same(pro.as_buffer()[:, 1], kept[:, 1])
