"""Producers of every kind of data: the same chunks as those of the array."""

from __future__ import annotations

import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecogsource.buffers import ArrayBuffer, BufferBinder, FlatBuffer, HDF5Buffer
from ecogsource.datasource import MappedSource, PlainArraySource
from ecogsource.errors import DataPathError, FormatError, JoinError, MemoryBlowOutError
from ecogsource.params import OVERRIDE
from ecogsource.producers import ItemProducer, Producer, producer, register_adapter
from tests.producers.helper import check, expected_chunks, same

X = np.arange(6 * 1003, dtype="i4").reshape(6, 1003)
MASK = np.random.default_rng(5).random(1003) < 0.4


class Reader:
    """What any reader of files looks like."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self.shape = array.shape
        self.closed = False

    def read(self, start: int, stop: int, gain: int = 1) -> np.ndarray:
        return self.array[..., start:stop] * gain

    def close(self) -> None:
        self.closed = True


def yielding(step: int = 70):
    for start in range(0, X.shape[1], step):
        yield X[:, start : start + step]


def h5_file(folder: Path, **options) -> Path:
    path = folder / "x.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("data", data=X, **options)
    return path


def memory_map(folder: Path) -> np.ndarray:
    np.save(folder / "x.npy", X)
    return np.load(folder / "x.npy", mmap_mode="r")


def flat(folder: Path) -> FlatBuffer:
    X.tofile(folder / "x.dat")
    return FlatBuffer(folder / "x.dat", "i4", X.shape)


def npy(folder: Path) -> Path:
    np.save(folder / "x.npy", X)
    return folder / "x.npy"


def zarr_array(folder: Path):
    zarr = pytest.importorskip("zarr")
    array = zarr.open_array(
        str(folder / "x.zarr"), mode="w", shape=X.shape, chunks=(3, 200), dtype="i4"
    )
    array[...] = X
    return array


def dask_array(folder: Path):
    return pytest.importorskip("dask.array").from_array(X, chunks=(2, 300))


RANDOM_ACCESS = {
    "array": lambda folder: X,
    "Fortran array": lambda folder: np.asfortranarray(X),
    "memory map": memory_map,
    "buffer": lambda folder: ArrayBuffer(X),
    "flat buffer": flat,
    "gzip buffer": lambda folder: HDF5Buffer.from_path(
        h5_file(folder, chunks=(3, 100), compression="gzip"), "data"
    ),
    "binder": lambda folder: BufferBinder([ArrayBuffer(X[:, :400]), ArrayBuffer(X[:, 400:])]),
    "source": lambda folder: MappedSource(ArrayBuffer(X)),
    "masked source": lambda folder: PlainArraySource(
        np.insert(X, 2, -1, axis=0), channel_mask=np.arange(7) != 2
    ),
    "path": h5_file,
    "path as text": lambda folder: str(h5_file(folder)),
    "npy": npy,
    "dataset": lambda folder: h5py.File(h5_file(folder), "r")["data"],
    "reader": lambda folder: Reader(X),
    "zarr": zarr_array,
    "dask": dask_array,
    "sequence": lambda folder: [X[:, :100], X[:, 100:100], X[:, 100:]],
    "sequence of buffers": lambda folder: (ArrayBuffer(X[:, :7]), X[:, 7:]),
    "producer": lambda folder: producer(X, 17, -1),
    "producer of a function": lambda folder: producer(X - 1, 17, -1) + np.int32(1),
}
STREAMS = {
    "function": lambda folder: producer(yielding, 55, -1, shape=X.shape),
    "joined streams": lambda folder: producer(X[:, :500], 7, -1).concatenate(
        producer(yielding, 7, -1, shape=X.shape).slice(500)
    ),
}
KINDS = {**RANDOM_ACCESS, **STREAMS}


@pytest.fixture(params=KINDS)
def anything(request, tmp_path):
    return KINDS[request.param](tmp_path)


@pytest.fixture(params=RANDOM_ACCESS)
def data(request, tmp_path):
    return RANDOM_ACCESS[request.param](tmp_path)


@pytest.mark.parametrize("chunksize", [1003, 100, 59, 5000])
def test_chunks_are_those_of_the_array(anything, chunksize):
    pro = producer(anything, chunksize, -1)
    check(pro, X)
    check(pro, X)  # as often as needed


def test_overlap_start_stop_and_mask_of_anything(anything):
    check(producer(anything, 290, -1, overlap=20), X)
    check(producer(anything, 290, 1, start=13, stop=-20), X[:, 13:-20])
    check(producer(anything, 290, 1, start=13, stop=900, overlap=200), X[:, 13:900])
    check(producer(anything, 290, 1, start=500, stop=400), X[:, 500:400])
    check(producer(anything, 150, 1, mask=MASK), X[:, MASK])
    check(producer(anything, 150, 1, mask=MASK, overlap=3), X[:, MASK])
    check(
        producer(anything, 150, 1, mask=MASK, start=100, stop=777),
        X[:, 100:777][:, MASK[100:777]],
    )


def test_reversed(data):
    check(producer(data, 90, -1, reverse=True), X[:, ::-1])
    check(producer(data, 90, -1, reverse=True, overlap=11, start=5), X[:, :4:-1])
    check(producer(data, 150, 1, mask=MASK, reverse=True), X[:, MASK][:, ::-1])


@pytest.mark.parametrize("kind", [kind for kind in RANDOM_ACCESS if "sequence" not in kind])
def test_along_the_other_axis(kind, tmp_path):
    data = RANDOM_ACCESS[kind](tmp_path)
    check(producer(data, 4, 0), X)
    check(producer(data, 4, -2, reverse=True), X[::-1])
    check(producer(data, 2, 0, mask=[1, 0, 1, 1, 0, 1]), X[[0, 2, 3, 5]])


@pytest.mark.parametrize("prefetch", [0, 1, 3])
def test_reading_ahead_changes_nothing(anything, prefetch):
    check(producer(anything, 70, -1, prefetch=prefetch), X)


def test_several_iterations_at_once(anything):
    pro = producer(anything, 301, -1)
    pairs = [(a, b) for a in pro for b in pro]
    chunks = expected_chunks(X, 301, -1)
    for (a, b), (c, d) in zip(pairs, [(c, d) for c in chunks for d in chunks], strict=True):
        same(a, c)
        same(b, d)


def test_chunks_belong_to_the_caller(anything):
    for chunk in producer(anything, 100, -1, overlap=30):
        chunk[...] = -5
    check(producer(anything, 100, -1), X)
    assert (X[0, :3] == [0, 1, 2]).all()


def test_a_producer_of_a_producer_is_a_new_view():
    inner = producer(X, 100, -1, overlap=10)
    outer = producer(inner, 3, 0, mask=[1, 1, 0, 0, 1, 0])
    check(outer, X[[0, 1, 4]])
    assert (inner.chunksize, inner.axis, inner.overlap) == (100, -1, 10)
    check(inner, X)


def test_a_reader_stays_open_and_takes_keywords():
    reader = Reader(X)
    pro = producer(reader, 100, -1, gain=3)
    check(pro, X * 3)
    check(producer(reader, 100, -1), X)
    assert not reader.closed


def test_a_reader_without_a_shape_is_told_it():
    class Shapeless:
        def read(self, start, stop):
            return X[:, start:stop]

    check(producer(Shapeless(), 100, -1, shape=X.shape), X)
    with pytest.raises(FormatError, match="pass shape="):
        producer(Shapeless(), 100, -1)


def test_a_reader_that_gives_too_little():
    reader = Reader(X)
    reader.shape = (6, 2000)
    with pytest.raises(FormatError, match=r"Reader.read\(.*expected \(6, 500\)"):
        list(producer(reader, 500, -1))


@pytest.mark.parametrize(
    "kind", sorted(set(RANDOM_ACCESS) - {"dataset", "dask", "producer of a function", "reader"})
)
def test_pickled(kind, tmp_path):
    pro = producer(RANDOM_ACCESS[kind](tmp_path), 100, -1, mask=MASK, overlap=3)
    again = pickle.loads(pickle.dumps(pro))
    check(again, X[:, MASK])
    assert (again.chunksize, again.axis, again.overlap) == (100, -1, 3)


def test_lazy_results_and_functions_are_pickled():
    pro = producer(yielding, 100, -1, shape=X.shape, step=33) * 2 + X
    check(pickle.loads(pickle.dumps(pro)), X * 3)
    check(pickle.loads(pickle.dumps(producer(Reader(X), 100, -1, gain=2))), X * 2)
    check(pickle.loads(pickle.dumps(producer(X, 9, -1).map(np.square, margin=4))), X**2)


@given(
    shape=st.lists(st.integers(0, 9), min_size=1, max_size=4),
    chunksize=st.integers(1, 12),
    data=st.data(),
)
def test_any_shape_axis_and_cut(shape, chunksize, data):
    array = np.arange(np.prod(shape), dtype="f4").reshape(shape)
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    overlap = data.draw(st.integers(0, chunksize - 1))
    start, stop = (data.draw(st.none() | st.integers(-10, 10)) for _ in range(2))
    step = data.draw(st.sampled_from([1, -1]))
    mask = data.draw(
        st.none() | st.lists(st.booleans(), min_size=shape[axis], max_size=shape[axis])
    )
    pro = producer(
        array, chunksize, axis, mask=mask, start=start, stop=stop, reverse=step < 0, overlap=overlap
    )
    keep = np.ones(shape[axis], bool) if mask is None else np.array(mask, bool)
    positions = np.arange(shape[axis])[start:stop]
    expected = array.take(positions[keep[positions]][::step], axis=axis)
    check(pro, expected)


# -- sequences ---------------------------------------------------------------------------------

SCENE = ["a scratch", "your arm's off", "no, it isn't", "what's that then"]


def test_a_sequence_of_anything_gives_its_items_in_lists():
    scene = producer(SCENE, chunksize=1, axis=-1)
    assert list(scene) == [[line] for line in SCENE]
    assert list(scene) == [[line] for line in SCENE]
    assert scene.shape == (4,)
    assert len(scene) == 4
    assert isinstance(scene, ItemProducer)
    assert list(producer(SCENE, 3, 0)) == [SCENE[:3], SCENE[3:]]
    assert list(producer(SCENE, 3, 0, overlap=2)) == [SCENE[:3], SCENE[1:]]
    assert list(producer(tuple(SCENE), 3, 0, reverse=True)) == [SCENE[:0:-1], SCENE[:1]]
    assert list(producer(SCENE, 2, 0, mask=[1, 0, 1, 1])) == [[SCENE[0], SCENE[2]], [SCENE[3]]]
    assert list(producer(scene, 3, 0, start=1)) == [SCENE[1:]]
    assert list(producer(range(5), 4, 0)) == [[0, 1, 2, 3], [4]]
    assert list(producer([[1], [2, 3]], 1, 0)) == [[[1]], [[2, 3]]]
    assert list(producer([], 4, 0)) == []
    assert scene.to_array().tolist() == SCENE
    assert list(pickle.loads(pickle.dumps(scene))) == list(scene)


@pytest.mark.parametrize(
    "use",
    [
        lambda pro: pro.mean(),
        lambda pro: pro.max(),
        lambda pro: pro + 1,
        lambda pro: np.abs(pro),
        lambda pro: pro.map(len),
        lambda pro: pro.zip(pro),
        lambda pro: pro.filter([1.0]),
        lambda pro: pro.decimate(2),
        lambda pro: pro.concatenate(["x"]),
        lambda pro: pro.to_file("x.npy"),
    ],
)
def test_items_that_are_no_arrays_refuse_numbers(use):
    with pytest.raises(TypeError, match="items of a sequence that are none"):
        use(producer(SCENE, 1, 0))


def test_a_sequence_is_joined_without_a_copy_and_promoted():
    parts = [X, X.astype("f8"), X.astype("i2")]
    pro = producer(parts, 100, -1)
    check(pro, np.concatenate(parts, axis=-1))
    check(producer(parts, 4, 0), np.concatenate(parts, axis=0))
    parts[0] = None
    big = [np.zeros((1, 10))] * 1000
    assert sys.getsizeof(pickle.dumps(producer(big, 5, -1))) < 10**6


def test_subarrays_that_differ_off_the_axis():
    with pytest.raises(JoinError, match=r"part 2 .* shape off the axis \(5,\)"):
        producer([X, X, X[:5]], 100, -1)
    with pytest.raises(JoinError, match="number of dimensions"):
        producer([X, X, X[0]], 100, 0)


def test_a_sequence_of_some_arrays():
    with pytest.raises(TypeError, match="item 1 of the sequence is no array but str"):
        producer([X, "x"], 100, -1)


# -- what is refused ---------------------------------------------------------------------------


def test_an_iterator_is_refused_and_the_reason_given():
    with pytest.raises(TypeError, match="only once.*pass the function that makes it"):
        producer(yielding(), 10, -1, shape=X.shape)
    with pytest.raises(TypeError, match="only once"):
        producer(iter([X]), 10, -1)


def test_unknown_data():
    with pytest.raises(TypeError, match="nothing can be produced from dict"):
        producer({}, 10, -1)
    with pytest.raises(TypeError, match="nothing can be produced from int"):
        producer(5, 10, -1)


def test_a_masked_array_would_lose_its_mask():
    with pytest.raises(TypeError, match="filled"):
        producer(np.ma.masked_less(X, 5), 10, -1)


@pytest.mark.parametrize("chunksize", [0, -3, 2.5, "ten", None])
def test_bad_chunksize(chunksize):
    with pytest.raises(ValueError, match="chunksize"):
        producer(X, chunksize, -1)


def test_a_chunksize_may_be_a_whole_float():
    check(producer(X, 3e2, -1), X)


def test_bad_axis_and_overlap_and_keywords(tmp_path):
    with pytest.raises(np.exceptions.AxisError):
        producer(X, 10, 2)
    with pytest.raises(np.exceptions.AxisError):
        producer(yielding, 10, 2, shape=X.shape)
    with pytest.raises(ValueError, match="overlap is 10"):
        producer(X, 10, -1, overlap=10)
    with pytest.raises(TypeError, match="takes no argument 'gain'"):
        producer(X, 10, -1, gain=3)
    with pytest.raises(TypeError, match="takes no argument 'gain'"):
        producer(npy(tmp_path), 10, -1, gain=3)
    with pytest.raises(FormatError, match="no axis"):
        producer(np.array(5), 10, -1)


def test_a_wrong_shape_is_refused():
    check(producer(X, 10, -1, shape=[6, 1003]), X)
    with pytest.raises(FormatError, match=r"shape is \(6, 5\), but the data have"):
        producer(X, 10, -1, shape=(6, 5))


def test_paths_that_are_wrong(tmp_path):
    with pytest.raises(DataPathError, match=r"nothing\.npy"):
        producer(tmp_path / "nothing.npy", 10, -1)
    with pytest.raises(DataPathError):
        producer(str(tmp_path / "nothing.edf"), 10, -1)
    (tmp_path / "bad.npy").write_bytes(b"bad")
    with pytest.raises(FormatError, match="no NumPy file"):
        producer(tmp_path / "bad.npy", 10, -1)


def test_a_dask_array_of_unknown_shape():
    da = pytest.importorskip("dask.array")
    array = da.from_array(X[0], chunks=100)
    with pytest.raises(FormatError, match="chunk sizes first"):
        producer(array[array > 3], 10, -1)


# -- the rest of the contract ------------------------------------------------------------------


def test_to_array_holds_its_limit():
    pro = producer(X, 100, -1)
    same(pro.to_array("f4"), X.astype("f4"))
    same(pro.to_array("i2", limit="1MB"), X.astype("i2"))
    with pytest.raises(MemoryBlowOutError, match="more than the limit of"):
        pro.to_array(limit=X.nbytes - 1)
    with OVERRIDE.set(memory_limit=1000):
        with pytest.raises(MemoryBlowOutError):
            pro.to_array()
        with pytest.raises(MemoryBlowOutError, match="chunk"):
            iter(pro)
        assert len(list(pro.rechunk(10))) == 101
    same(np.asarray(pro), X)
    same(np.array(pro, dtype="f8"), X.astype("f8"))
    with pytest.raises(ValueError, match="copy"):
        pro.__array__(copy=False)


def test_a_producer_says_what_it_is():
    pro = producer(X, 300, axis=-1, overlap=5)
    assert repr(pro) == (
        "<Producer shape=(6, 1003), dtype=int32, chunksize=300, axis=-1, overlap=5: "
        "4 chunks of ArrayBuffer>"
    )
    assert (pro.shape, pro.ndim, pro.dtype, pro.nbytes) == (X.shape, 2, X.dtype, X.nbytes)
    assert (pro.chunksize, pro.axis, len(pro)) == (300, -1, 4)
    assert isinstance(pro, Producer)
    assert sys.getsizeof(pro) < 100
    with pytest.raises(ValueError, match="ambiguous"):
        bool(pro)


def test_a_producer_is_a_buffer_for_everybody_else():
    pro = producer(X, 100, -1, mask=MASK)
    source = MappedSource((pro * 2).as_buffer(), fs=1000.0)
    same(source[2:4, ::-3], X[:, MASK][2:4, ::-3] * 2)
    same(source[[5, 0]][:, [7, 3, 3]], (X[:, MASK] * 2)[[5, 0]][:, [7, 3, 3]])
    assert source[3, 77] == X[:, MASK][3, 77] * 2
    with pytest.raises(TypeError, match="come in order"):
        producer(yielding, 9, -1, shape=X.shape).as_buffer()


def test_a_new_kind_of_data():
    class Odd:
        pass

    register_adapter("odd", lambda data: isinstance(data, Odd), lambda *_: ArrayBuffer(X))
    check(producer(Odd(), 100, -1), X)
    with pytest.raises(ValueError, match="already"):
        register_adapter("odd", callable, lambda *_: ArrayBuffer(X))


def test_reading_is_bounded_to_what_is_asked_for():
    asked = []

    class Spy(Reader):
        def read(self, start, stop):
            asked.append((start, stop))
            return super().read(start, stop)

    mask = np.zeros(1003, bool)
    mask[700:720] = True
    pro = producer(Spy(X), 10, -1, mask=mask)
    asked.clear()
    assert len(list(pro)) == 2
    assert asked == [(700, 710), (710, 720)]


class Endless:
    """A recording of 10**11 samples, each of which is its own number."""

    shape, dtype = (1, 10**11), np.dtype("i8")

    def read(self, start, stop):
        assert stop - start <= 10**6
        return np.arange(start, stop)[None]


def test_recordings_longer_than_32_bits_can_count():
    pro = producer(Endless(), 10**6, -1)
    assert (len(pro), pro.shape) == (10**5, (1, 10**11))
    tail = producer(Endless(), 1000, -1, start=10**11 - 2500)
    assert [int(chunk[0, -1]) for chunk in tail] == [10**11 - 1501, 10**11 - 501, 10**11 - 1]
    lazy = pro.rechunk(1000).map(lambda x: x + 1, margin=5) * 2
    same(lazy.slice(-3).to_array(), 2 * np.arange(10**11 - 2, 10**11 + 1)[None])
    assert int(next(iter(lazy.flip()))[0, 0]) == 2 * 10**11


def test_threads_share_a_producer(anything):
    pro = producer(anything, 40, -1) * 3
    cut = pro.rechunk(33)
    with ThreadPoolExecutor(4) as pool:
        for got in pool.map(lambda one: np.concatenate(list(one), axis=-1), [pro, cut] * 3):
            same(got, X * 3)
