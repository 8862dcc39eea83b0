"""What careless callers do: nothing is lost, overwritten or wrong without an error."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor

import h5py
import numpy as np
import pytest

from ecogsource import MappedSource, PlainArraySource, producer
from ecogsource.errors import FormatError
from tests.producers.helper import check, same

PIPELINES = {
    "plain": lambda pro: pro,
    "rechunked": lambda pro: pro.rechunk(7),
    "decimated": lambda pro: pro.decimate(2),
    "computed": lambda pro: abs(pro - pro.mean(axis=-1, keepdims=True)),
    "masked": lambda pro: producer(pro, 5, -1, mask=np.arange(400) % 2 == 0),
}


@pytest.mark.parametrize("pipeline", PIPELINES.values(), ids=PIPELINES)
@pytest.mark.parametrize("kind", ["path", "source"])
def test_saving_over_the_recording_is_refused(tmp_path, pipeline, kind):
    path = tmp_path / "rec.h5"
    with h5py.File(path, "w") as file:
        file["data"] = np.random.default_rng(0).standard_normal((2, 400))
    before = path.read_bytes()
    data = path if kind == "path" else MappedSource.from_hdf_sources(path, "data")
    pro = pipeline(producer(data, 50, -1))
    with pytest.raises(ValueError, match="which this producer reads"):
        pro.to_file(path)
    assert path.read_bytes() == before
    assert pro.to_file(tmp_path / "other.h5").exists()


class Stops:
    """A reader that fails with the exception that loops take for their end."""

    shape, dtype = (2, 400), np.dtype("f8")

    def read(self, start, stop):
        if start >= 200:
            raise StopIteration("mine")
        return np.zeros((2, stop - start))


@pytest.mark.parametrize("prefetch", [None, 0, 1])
@pytest.mark.parametrize("use", [list, lambda pro: pro.mean(), lambda pro: list(pro + 1)])
def test_an_exception_is_not_taken_for_the_end_of_the_data(prefetch, use):
    with pytest.raises(RuntimeError, match="StopIteration"):
        use(producer(Stops(), 50, -1, prefetch=prefetch))


X = np.arange(1200.0).reshape(3, 400)


def uses_its_memory_again():
    memory = np.empty((3, 400))

    def function(chunk):
        result = memory[:, : chunk.shape[1]]
        np.multiply(chunk, 2, out=result)
        return result

    return function


def stream():
    return producer(lambda: [X[:, :33], X[:, 33:]], 70, -1, shape=X.shape)


@pytest.mark.parametrize("make", [lambda: producer(X, 70, -1), stream], ids=["buffer", "stream"])
def test_a_function_may_fill_one_array_again_and_again(make):
    function = uses_its_memory_again()
    pro = make().map(function)
    check(pro, X * 2)
    check(pro.map(uses_its_memory_again()), X * 4)
    check(pro.zip(pro.rechunk(9)).map(np.add), X * 4)
    check(pro + pro, X * 4)
    for a, b in zip(list(pro), pro, strict=True):
        same(a, b)


def test_what_a_lazy_result_remembers_is_not_overwritten():
    function = uses_its_memory_again()
    buffer = producer(X, 100, -1).map(function).as_buffer()
    same(buffer[:, 10:20], X[:, 10:20] * 2)
    function(np.ones((3, 400)))
    same(buffer[:, 20:30], X[:, 20:30] * 2)


def test_results_that_cannot_be_written_are_copied():
    pro = producer(X, 70, -1).map(lambda x: np.broadcast_to(x[:1], x.shape))
    for chunk in pro:
        chunk += 1
    check(pro, np.broadcast_to(X[:1], X.shape))


def test_object_arrays():
    items = np.array([1, "a", None, 2.5], object)
    check(producer(items, 3, 0), items)
    check(producer(items, 3, 0, mask=[1, 0, 0, 1], reverse=True), items[[3, 0]])
    numbers = np.array([2**70, -1, 5], object)
    pro = producer(numbers, 2, 0)
    assert pro.sum() == 2**70 + 4
    assert pro.max() == 2**70
    check(pro * 2, numbers * 2)


def test_lists_are_operands():
    check(producer(X, 70, -1) + X[0].tolist(), X + X[0])
    check([[1], [2], [3]] * producer(X, 70, -1), X * [[1], [2], [3]])


def test_complex_moments():
    array = X * (1 + 2j) + 1j * np.sin(X)
    for axis in (None, 0, 1):
        for name in ("sum", "mean", "var", "std"):
            got = getattr(producer(array, 70, -1), name)(axis=axis)
            want = getattr(array, name)(axis=axis)
            assert np.asarray(got).dtype == want.dtype
            np.testing.assert_allclose(got, want)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"axis": 1.0}, TypeError, "float"),
        ({"prefetch": -1}, ValueError, "prefetch is -1"),
        ({"prefetch": 1.5}, TypeError, "float"),
        ({"shape": (3, -1)}, FormatError, r"shape is \(3, -1\); a length cannot be negative"),
        ({"start": 1.0}, TypeError, "slice indices"),
        ({"overlap": 1.0}, TypeError, "float"),
        ({"prefech": 1}, TypeError, "takes no argument 'prefech'"),
    ],
)
def test_arguments_of_the_wrong_kind(options, error, message):
    with pytest.raises(error, match=message):
        producer(X, 70, **options)


def test_numbers_of_numpy_are_numbers():
    check(producer(X, np.int16(70), np.int8(-1), overlap=np.uint8(3), start=np.int64(5)), X[:, 5:])
    check(producer(lambda: [X[0]], 70, 0, shape=400), X[0])


def test_datasets_that_are_closed(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dataset = file.create_dataset("d", data=X, chunks=(2, 50), compression="gzip")
        pro = producer(dataset, 70, -1)
    check(pro, X)  # closed since: the file is opened again
    with pytest.raises(ValueError, match="this HDF5 dataset is closed"):
        producer(dataset, 70, -1)
    check(producer(os.fsencode(tmp_path / "a.h5"), 70, -1), X)


def test_matrices_that_are_no_arrays():
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(FormatError, match="a slice of this csr_.* became an array of shape"):
        list(producer(sparse.csr_matrix(X), 70, -1))


def test_a_producer_keeps_the_channels_it_was_made_with(tmp_path):
    source = PlainArraySource(X.copy())
    pro = producer(source, 70, -1)
    source.set_channel_mask([True, False, True])
    check(pro, X)
    check(producer(source, 70, -1), X[[0, 2]])


def test_producers_travel_to_processes_that_are_started_afresh(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, X)
    pro = producer(path, 70, -1, mask=X[0] % 3 == 0).map(np.sqrt) * 2
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        same(pool.submit(np.asarray, pro).result(60), np.sqrt(X[:, X[0] % 3 == 0]) * 2)
