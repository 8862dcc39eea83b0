"""Slices read in the background: order, bounds, errors, and clean ends."""

from __future__ import annotations

import gc
import os
import pickle
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecogsource import producer
from ecogsource.buffers import HDF5Buffer, chunk_cache_info, clear_chunk_cache
from ecogsource.datasource import ElectrodeDataSource, MappedSource, PlainArraySource
from ecogsource.datasource.prefetch import SliceCache, read_ahead
from ecogsource.datasource.shared import shared_copy, shared_empty
from ecogsource.errors import MemoryBlowOutError, WorkerError
from ecogsource.params import OVERRIDE

X = np.arange(5 * 400, dtype=np.float32).reshape(5, 400)


@pytest.fixture
def on_disk(tmp_path: Path) -> Iterator[MappedSource]:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("data", data=X, chunks=(2, 64), compression="gzip")
    source = MappedSource.from_hdf_sources(str(path), "data", fs=100.0)
    yield source
    cache = source.__dict__.get("_slice_cache")
    if cache is not None:
        cache.close()


def test_cached_slices_come_in_order(on_disk: MappedSource) -> None:
    indices = [np.s_[:, :50], np.s_[1], np.s_[[4, 1], ::-3], np.s_[:, 7]]
    for index in indices:
        on_disk.cache_slice(index)
    for index in indices:
        result = on_disk.get_cached_slice()
        np.testing.assert_array_equal(result, X[index], strict=True)
    with pytest.raises(LookupError, match="call cache_slice"):
        on_disk.get_cached_slice()


def test_nothing_cached() -> None:
    with pytest.raises(LookupError, match="call cache_slice"):
        PlainArraySource(X).get_cached_slice()


def test_bad_index_at_once(on_disk: MappedSource) -> None:
    with pytest.raises(IndexError):
        on_disk.cache_slice(9)


def test_reader_error_surfaces_at_get(
    on_disk: MappedSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing_read(self: ElectrodeDataSource, index: Any, out: Any = None) -> np.ndarray:
        raise OSError("the disk is gone")

    monkeypatch.setattr(MappedSource, "read", failing_read)
    on_disk.cache_slice(np.s_[:, :5])
    with pytest.raises(OSError, match="the disk is gone") as caught:
        on_disk.get_cached_slice()
    assert "failing_read" in "".join(traceback.format_tb(caught.value.__traceback__))


def test_waiting_slices_share_the_memory_limit(on_disk: MappedSource) -> None:
    with OVERRIDE.set(memory_limit=X[:, :150].nbytes):
        on_disk.cache_slice(np.s_[:, :100])
        with pytest.raises(MemoryBlowOutError, match="cached slice"):
            on_disk.cache_slice(np.s_[:, :100])
        np.testing.assert_array_equal(on_disk.get_cached_slice(), X[:, :100])
        on_disk.cache_slice(np.s_[:, 100:200])
        np.testing.assert_array_equal(on_disk.get_cached_slice(), X[:, 100:200])


def test_override_of_the_caller_holds_for_the_reader(on_disk: MappedSource) -> None:
    with OVERRIDE.set(memory_limit=100), on_disk.big_slices():
        on_disk.cache_slice(np.s_[:, :100])
        np.testing.assert_array_equal(on_disk.get_cached_slice(), X[:, :100])
    with OVERRIDE.set(memory_limit=100):
        on_disk.cache_slice(np.s_[:, :100])
        with pytest.raises(MemoryBlowOutError):
            on_disk.get_cached_slice()


def test_the_asking_thread_allocates(
    on_disk: MappedSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    outs = []
    original = MappedSource.read

    def read(self: ElectrodeDataSource, index: Any, out: Any = None) -> np.ndarray:
        outs.append(out)
        return original(self, index, out)

    read.__name__ = "read"
    monkeypatch.setattr(MappedSource, "read", read)
    blocks = list(on_disk.iter_blocks(200, prefetch=1))
    assert all(block is out for block, out in zip(blocks, outs, strict=True))
    with OVERRIDE.set(memory_limit=1000), pytest.raises(MemoryBlowOutError):
        list(on_disk.iter_blocks(200, prefetch=1))


def test_memory_is_used_again_when_nobody_looks(on_disk: MappedSource) -> None:
    places = [block.ctypes.data for block in on_disk.iter_blocks(20, prefetch=1)]
    assert len(places) == 20
    assert len(set(places)) <= 4


@given(keep=st.lists(st.sampled_from(["drop", "block", "view", "memory"]), max_size=12))
def test_what_is_kept_stays_as_it_is(keep: list[str]) -> None:
    source = MappedSource(X)
    kept: list[tuple[Any, int]] = []
    for number, block in enumerate(source.iter_blocks(40, prefetch=2)):
        way = keep[number % len(keep)] if keep else "drop"
        if way == "block":
            kept.append((block, number))
        elif way == "view":
            kept.append((block.T[::2].T, number))
        elif way == "memory":
            kept.append((memoryview(block), number))
    for piece, number in kept:
        array = np.asarray(piece)
        expected = X[:, 40 * number : 40 * number + 40]
        step = 40 // array.shape[1]
        np.testing.assert_array_equal(array, expected[:, ::step])


def test_pickled_sources_leave_their_slices(on_disk: MappedSource) -> None:
    on_disk.cache_slice(np.s_[:, :5])
    twin = pickle.loads(pickle.dumps(on_disk))
    with pytest.raises(LookupError):
        twin.get_cached_slice()
    np.testing.assert_array_equal(on_disk.get_cached_slice(), X[:, :5])


@pytest.mark.parametrize("prefetch", [0, 1, 3, 50])
@pytest.mark.parametrize("reverse", [False, True])
def test_blocks_with_prefetch(on_disk: MappedSource, prefetch: int, reverse: bool) -> None:
    blocks = list(on_disk.iter_blocks(70, prefetch=prefetch, reverse=reverse))
    assert [b.shape[1] for b in blocks] == ([50] + [70] * 5 if reverse else [70] * 5 + [50])
    whole = X[:, ::-1] if reverse else X
    np.testing.assert_array_equal(np.concatenate(blocks, axis=1), whole, strict=True)


def test_channels_with_prefetch(on_disk: MappedSource) -> None:
    blocks = list(on_disk.iter_channels(2, prefetch=2))
    np.testing.assert_array_equal(np.concatenate(blocks), X, strict=True)


class Recorder:
    """A read function that notes what it was asked."""

    def __init__(self, fail_at: int | None = None) -> None:
        self.asked: list[int] = []
        self.fail_at = fail_at

    def __call__(self, index: int) -> np.ndarray:
        self.asked.append(index)
        if index == self.fail_at:
            raise ValueError(f"cannot read {index}")
        return np.full(100, index)


@pytest.fixture
def settle() -> Callable[[], None]:
    """Wait for the readers that this test started, and see them end."""
    before = set(threading.enumerate())

    def wait() -> None:
        started = [t for t in set(threading.enumerate()) - before if "ecogsource-ahead" in t.name]
        for thread in started:
            thread.join(20)
        assert not any(thread.is_alive() for thread in started)

    return wait


def test_read_ahead_is_bounded_by_depth(settle: Callable[[], None]) -> None:
    read = Recorder()
    blocks = read_ahead(read, range(100), depth=3)
    assert next(blocks)[0] == 0
    blocks.close()  # type: ignore[attr-defined]
    settle()
    assert max(read.asked) <= 3


def test_read_ahead_is_bounded_by_memory(settle: Callable[[], None]) -> None:
    read = Recorder()
    with OVERRIDE.set(memory_limit=2500):
        blocks = read_ahead(read, range(100), depth=10, nbytes=800)
        next(blocks)
        blocks.close()  # type: ignore[attr-defined]
    settle()
    assert max(read.asked) <= 2


def test_read_ahead_needs_a_depth() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        next(read_ahead(Recorder(), [1], depth=0))


def test_read_ahead_raises_in_place(settle: Callable[[], None]) -> None:
    seen = []
    with pytest.raises(ValueError, match="cannot read 3"):
        for block in read_ahead(Recorder(fail_at=3), range(10), depth=2):
            seen.append(int(block[0]))
    assert seen == [0, 1, 2]
    settle()


@pytest.mark.parametrize("way", ["break", "exception", "collected", "interrupt"])
def test_the_reader_ends_with_the_loop(way: str, settle: Callable[[], None]) -> None:
    read = Recorder()
    blocks = read_ahead(read, range(1000), depth=2)
    if way == "break":
        for _ in blocks:
            break
        del blocks, _
    elif way == "collected":
        next(blocks)
        del blocks
    else:
        error = KeyboardInterrupt if way == "interrupt" else RuntimeError
        with pytest.raises(error):
            for _ in blocks:
                raise error
        del blocks
    gc.collect()
    settle()
    assert len(read.asked) < 10


def test_process_backend(on_disk: MappedSource) -> None:
    indices = [np.s_[:, :50], np.s_[2, ::5], np.s_[:, 3]]
    for index in indices:
        on_disk.cache_slice(index, backend="process")
    with pytest.raises(ValueError, match="3 slices are being read by the 'process' backend"):
        on_disk.cache_slice(0)
    reader = on_disk.__dict__["_slice_cache"]._reader
    process = reader._process
    for index in indices:
        np.testing.assert_array_equal(on_disk.get_cached_slice(), X[index])
    on_disk.cache_slice(np.s_[:1], backend="process")
    assert reader._process is process
    np.testing.assert_array_equal(on_disk.get_cached_slice(), X[:1])

    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with pytest.raises(WorkerError, match="exit code -9"):
        on_disk.cache_slice(np.s_[:1], backend="process")
        on_disk.get_cached_slice()
    on_disk.cache_slice(np.s_[:2], backend="process")
    np.testing.assert_array_equal(on_disk.get_cached_slice(), X[:2])


def test_process_errors_and_timeout(on_disk: MappedSource, tmp_path: Path) -> None:
    cache = SliceCache(on_disk, "process", timeout=60)
    cache.submit(np.s_[:, :3])
    np.testing.assert_array_equal(cache.get(), X[:, :3])
    os.truncate(tmp_path / "x.h5", 3000)
    cache.submit(np.s_[:, :])
    with pytest.raises(OSError) as caught:
        cache.get()
    assert isinstance(caught.value.__cause__, WorkerError)
    assert "Traceback" in str(caught.value.__cause__)
    process = cache._reader._process  # type: ignore[attr-defined]
    os.kill(process.pid, signal.SIGSTOP)
    cache._reader._timeout = 0.05  # type: ignore[attr-defined]
    cache.submit(np.s_[0])
    with pytest.raises(WorkerError, match=r"did not answer within 0.05 s"):
        cache.get()
    # Ended although it was stopped.
    assert process.exitcode is not None
    cache.close()


def test_read_ahead_by_a_process(on_disk: MappedSource) -> None:
    from ecogsource.datasource.process_reader import ProcessReader

    reader = ProcessReader(on_disk)
    indices = [np.s_[:, start : start + 90] for start in range(0, 400, 90)]
    blocks = list(read_ahead(on_disk.read, indices, depth=2, reader=reader))
    np.testing.assert_array_equal(np.concatenate(blocks, axis=1), X)
    pending = reader.submit(np.s_[0])
    assert not pending.cancel()
    reader.close()
    with pytest.raises(WorkerError, match="was closed before it answered"):
        pending.result()


def test_unknown_backend(on_disk: MappedSource) -> None:
    with pytest.raises(ValueError, match="'thread' or 'process', got 'gpu'"):
        on_disk.cache_slice(0, backend="gpu")  # type: ignore[arg-type]


def test_shared_arrays() -> None:
    array = shared_copy(X)
    np.testing.assert_array_equal(array, X)
    twin = pickle.loads(pickle.dumps(array))
    twin[0, 0] = -5
    assert array[0, 0] == -5
    part = pickle.loads(pickle.dumps(array[1:3]))
    np.testing.assert_array_equal(part, X[1:3])
    view = array[2:]
    name = array._segment.name
    del array, twin
    gc.collect()
    np.testing.assert_array_equal(view, X[2:])
    del view
    gc.collect()
    assert not Path("/dev/shm", name.lstrip("/")).exists()
    with OVERRIDE.set(memory_limit=1000), pytest.raises(MemoryBlowOutError, match="shared array"):
        shared_empty((1000, 10), float)


def test_to_shared() -> None:
    source = PlainArraySource(X, aligned_arrays={"trigger": np.arange(400)}, fs=10.0)
    shared = source.to_shared()
    recipe = pickle.dumps(shared)
    assert len(recipe) < X.nbytes
    twin = pickle.loads(recipe)
    twin[1, 1] = 99
    assert shared[1, 1] == 99
    np.testing.assert_array_equal(twin.trigger, np.arange(400))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_reads_for_itself(tmp_path: Path) -> None:
    code = """
import gc, os, sys
import numpy as np
from ecogsource.datasource import PlainArraySource
source = PlainArraySource(np.arange(20.0).reshape(4, 5)).to_shared()
source.cache_slice(0); source.get_cached_slice()
source.cache_slice(1)
child = os.fork()
if child == 0:
    try:
        source.get_cached_slice()
        os._exit(1)
    except LookupError:
        pass
    source.cache_slice(2)
    ok = source.get_cached_slice().tolist() == [10, 11, 12, 13, 14]
    del source; gc.collect()
    os._exit(0 if ok else 2)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
import pickle
twin = pickle.loads(pickle.dumps(source))
good = status == 0 and twin[3, 4] == 19 and source.get_cached_slice()[0] == 5
sys.exit(0 if good else 10 + status)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=False, timeout=120)
    assert done.returncode == 0


WALKS = {
    "blocks": lambda source, length: source.iter_blocks(length, prefetch=0),
    "blocks ahead": lambda source, length: source.iter_blocks(length, prefetch=2),
    "producer": lambda source, length: producer(source, length, -1),
    "producer ahead": lambda source, length: producer(source, length, -1, prefetch=2),
}


@pytest.mark.parametrize("walk", WALKS.values(), ids=WALKS)
def test_a_walk_keeps_only_chunks_that_it_needs_again(
    tmp_path: Path, walk: Callable[[MappedSource, int], Iterator[Any]]
) -> None:
    """Unless the cache holds everything: then the next walk decodes nothing."""
    truth = np.arange(16 * 10_000, dtype="i2").reshape(16, -1)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=truth, chunks=(8, 1000), compression="gzip", shuffle=True)
    source = MappedSource(HDF5Buffer.from_path(tmp_path / "a.h5", "x"))
    with OVERRIDE.set(chunk_cache=truth.nbytes - 1):
        for length, kept in ((1000, 0), (1500, 6)):
            clear_chunk_cache()
            start = 0
            for block in walk(source, length):
                np.testing.assert_array_equal(block, truth[:, start : start + length])
                start += block.shape[1]
            assert start == 10_000
            info = chunk_cache_info()
            # Blocks of 1500 samples share every third chunk.
            assert (info.chunks, info.misses) == (kept, 20)
    with OVERRIDE.set(chunk_cache=truth.nbytes):
        clear_chunk_cache()
        for _ in range(2):
            for _ in walk(source, 1000):
                pass
        assert chunk_cache_info()[:2] == (20, 20)
