"""Pipelines of random operations: NumPy on the whole array is the oracle."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ecogsource.buffers import ArrayBuffer
from ecogsource.producers import Producer, producer
from tests.producers.helper import check

Pair = tuple[Producer, np.ndarray]
Step = Callable[[Pair], Pair]

LENGTH = 400
X = np.random.default_rng(3).integers(-99, 99, (3, LENGTH)).astype("f8")


def from_array(chunksize: int) -> Producer:
    return producer(X, chunksize, -1)


def from_parts(chunksize: int) -> Producer:
    cuts = (0, 1, 150, 399, LENGTH)
    parts = [ArrayBuffer(X[:, a:b].copy(), writeable=False) for a, b in itertools.pairwise(cuts)]
    return producer(parts, chunksize, -1)


def from_function(chunksize: int) -> Producer:
    return producer(
        lambda: (X[:, a : a + 37] for a in range(0, LENGTH, 37)), chunksize, -1, shape=X.shape
    )


def sums(values: np.ndarray) -> np.ndarray:
    """Sum of each sample with its neighbours, zeros beyond the ends; exact for whole numbers."""
    padded = np.pad(values, ((0, 0), (1, 1)))
    return padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]


def has_an_order(pro: Producer) -> bool:
    """Tell whether the data come in order, and so cannot be flipped."""
    try:
        pro.as_buffer()
    except TypeError:
        return True
    return False


def rechunked(chunksize: int, overlap: int) -> Step:
    return lambda pair: (pair[0].rechunk(chunksize, min(overlap, chunksize - 1)), pair[1])


def sliced(start: int | None, stop: int | None) -> Step:
    return lambda pair: (pair[0].slice(start, stop), pair[1][:, start:stop])


def masked(seed: int, share: float) -> Step:
    def step(pair: Pair) -> Pair:
        pro, array = pair
        mask = np.random.default_rng(seed).random(array.shape[1]) < share
        return pro.masked(mask), array[:, mask]

    return step


def flipped(pair: Pair) -> Pair:
    pro, array = pair
    return pair if has_an_order(pro) else (pro.flip(), array[:, ::-1])


def mapped(pair: Pair) -> Pair:
    return pair[0].map(np.negative), -pair[1]


def with_neighbours(pair: Pair) -> Pair:
    pro, array = pair
    return (pro.map(sums, margin=1, dtype="f8"), sums(array)) if array.size else pair


def computed(pair: Pair) -> Pair:
    return abs(pair[0] * 2 - 5), abs(pair[1] * 2 - 5)


def added_to_itself(pair: Pair) -> Pair:
    return pair[0] + pair[0].rechunk(11), pair[1] + pair[1]


def zipped(pair: Pair) -> Pair:
    pro, array = pair
    return pro.zip(pro.rechunk(5)).map(np.subtract, dtype="f8"), array - array


def continued(pair: Pair) -> Pair:
    return pair[0].concatenate(X[:, :9]), np.concatenate([pair[1], X[:, :9]], axis=1)


cuts = st.none() | st.integers(-LENGTH - 5, LENGTH + 5)
steps = st.one_of(
    st.builds(rechunked, st.integers(1, LENGTH + 50), st.integers(0, 30)),
    st.builds(sliced, cuts, cuts),
    st.builds(masked, st.integers(0, 99), st.sampled_from([0.0, 0.05, 0.5, 0.95, 1.0])),
    st.sampled_from(
        [flipped, mapped, with_neighbours, computed, added_to_itself, zipped, continued]
    ),
)


@given(
    make=st.sampled_from([from_array, from_parts, from_function]),
    chunksize=st.integers(7, LENGTH + 50),
    pipeline=st.lists(steps, max_size=5),
)
def test_whatever_is_put_together_gives_what_numpy_gives(make, chunksize, pipeline):
    pair = make(chunksize), X
    for step in pipeline:
        pair = step(pair)
    pro, array = pair
    check(pro, array)
    check(pro.rechunk(13), array)
    for name in ("sum", "mean", "max"):
        if array.size:
            np.testing.assert_allclose(
                getattr(pro, name)(axis=-1), getattr(array, name)(axis=-1), rtol=1e-12, atol=1e-9
            )
