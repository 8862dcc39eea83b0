"""The thread pool: every task once, errors out, nesting without deadlock; the hammer."""

from __future__ import annotations

import threading
from pathlib import Path

import h5py
import numpy as np
import pytest

from ecogsource.buffers import FlatBuffer, HDF5Buffer, chunk_cache_info, clear_chunk_cache
from ecogsource.buffers.storage import threads
from ecogsource.buffers.storage.threads import run, scratch
from ecogsource.params import OVERRIDE

ENOUGH = 64 << 20


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_every_task_is_done_once(workers: int) -> None:
    done: list[int] = []
    with OVERRIDE.set(workers=workers):
        run(done.append, range(100), ENOUGH)
    assert sorted(done) == list(range(100))


def test_small_work_stays_in_its_thread() -> None:
    used: set[int] = set()
    with OVERRIDE.set(workers=4):
        run(lambda _: used.add(threading.get_ident()), range(50), 1000)
    assert used == {threading.get_ident()}


@pytest.mark.parametrize("workers", [1, 3])
def test_the_first_error_comes_out(workers: int) -> None:
    def fail(number: int) -> None:
        if number == 7:
            raise ValueError("seven")

    with OVERRIDE.set(workers=workers), pytest.raises(ValueError, match="seven"):
        run(fail, range(1000), ENOUGH)


def test_an_interrupt_while_waiting_stops_the_helpers(monkeypatch: pytest.MonkeyPatch) -> None:
    class Waiting:
        def cancel(self) -> bool:
            return False

        def result(self) -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr(threads._STATE, "submit", lambda _: Waiting())
    with OVERRIDE.set(workers=2), pytest.raises(KeyboardInterrupt):
        run(lambda _: None, range(5), ENOUGH)


def test_nested_work_of_many_callers_ends() -> None:
    done: list[int] = []

    def outer(_: int) -> None:
        run(inner, range(4), ENOUGH)

    def inner(_: int) -> None:
        run(done.append, range(4), ENOUGH)

    def caller() -> None:
        with OVERRIDE.set(workers=8):
            run(outer, range(4), ENOUGH)

    callers = [threading.Thread(target=caller) for _ in range(8)]
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join(60)
    assert not any(thread.is_alive() for thread in callers)
    assert len(done) == 8 * 4 * 4 * 4


def test_scratch_is_reused_unless_it_is_large() -> None:
    assert scratch(100).obj is scratch(50).obj
    assert scratch(threads.KEPT_SCRATCH + 1).nbytes == threads.KEPT_SCRATCH + 1


def test_a_child_starts_anew(tmp_path: Path) -> None:
    """What runs in a child after a fork, without the fork."""
    from ecogsource.buffers.storage.cache import ChunkCache
    from ecogsource.buffers.storage.handles import HandlePool
    from ecogsource.buffers.storage.signature import signature_of

    state = threads._State()
    state.submit(lambda: None).result()
    executor, lock = state.executor, state.lock
    state.after_fork()
    assert state.executor is None
    assert state.lock is not lock
    assert executor is not None
    executor.shutdown()
    cache = ChunkCache()
    held = cache._lock
    cache._after_fork()
    assert cache._lock is not held
    (tmp_path / "a").write_bytes(b"abc")
    path = str(tmp_path / "a")
    pool = HandlePool(2)
    handle = pool.acquire(path, signature_of(path))
    pool._after_fork()
    assert handle.users == 0
    pool.clear()


def test_hammer(tmp_path: Path) -> None:
    """Eight threads read at random from every layout at once."""
    rng = np.random.default_rng(0)
    truth = rng.integers(-500, 500, (24, 40_000)).astype("i2")
    truth.tofile(tmp_path / "ct.dat")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("plain", data=truth, chunks=(3, 1000))
        file.create_dataset(
            "gzip", data=truth, chunks=(5, 2048), compression="gzip", shuffle=True, fletcher32=True
        )
        file.create_dataset("tc", data=truth.T, chunks=(4096, 7), compression="gzip")
        file.create_dataset("contiguous", data=truth.T)
    names = ("plain", "gzip", "tc", "contiguous")
    buffers = [HDF5Buffer.from_path(tmp_path / "a.h5", name) for name in names]
    views = [
        *buffers[:2],
        buffers[2].T,
        buffers[3].T,
        FlatBuffer(tmp_path / "ct.dat", "i2", truth.shape),
    ]
    failures: list[object] = []

    def hammer(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(25):
            start, stop = np.sort(rng.integers(0, truth.shape[1], 2))
            step = int(rng.choice([1, 1, 7, -1, -3]))
            rows = rng.integers(0, 24, rng.integers(1, 12))
            times = slice(start, stop, step) if step > 0 else slice(stop, start, step)
            view = views[rng.integers(len(views))]
            if not np.array_equal(view[rows, times], truth[rows, times]):
                failures.append((seed, rows, times))

    with OVERRIDE.set(workers=3, chunk_cache="300KB"):
        pool = [threading.Thread(target=_guarded(hammer, failures), args=(i,)) for i in range(8)]
        for thread in pool:
            thread.start()
        for thread in pool:
            thread.join()
    assert failures == []


def _guarded(work: object, failures: list[object]) -> object:
    def guarded(seed: int) -> None:
        try:
            work(seed)  # type: ignore[operator]
        except Exception as error:
            failures.append(error)

    return guarded


def test_the_oldest_chunks_make_room() -> None:
    from ecogsource.buffers.storage.cache import ChunkCache

    cache = ChunkCache()
    owner = ("file", "data", None)
    for number in range(5):
        cache.put((owner, number), np.zeros(100, np.uint8), 250)
    cache.put((owner, 9), np.zeros(300, np.uint8), 250)
    assert [cache.get((owner, number)) is not None for number in (0, 3, 4, 9)] == [
        False,
        True,
        True,
        False,
    ]
    cache.discard("other")
    assert cache.info().nbytes == 200
    cache.discard("file")
    assert cache.info()[:3] == (2, 2, 0)


def test_the_cache_decodes_each_chunk_once_and_stays_in_its_bounds(tmp_path: Path) -> None:
    truth = np.arange(16 * 10_000, dtype="i2").reshape(16, -1)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=truth, chunks=(8, 1000), compression="gzip", shuffle=True)
    buffer = HDF5Buffer.from_path(tmp_path / "a.h5", "x")
    clear_chunk_cache()
    with OVERRIDE.set(chunk_cache="10MB"):
        for channel in range(16):
            np.testing.assert_array_equal(buffer[channel], truth[channel])
        info = chunk_cache_info()
        assert (info.misses, info.hits, info.chunks) == (20, 140, 20)
        assert info.nbytes == truth.nbytes
        assert info.max_bytes == 10**7
    with OVERRIDE.set(chunk_cache=truth.nbytes * 4):
        clear_chunk_cache()
        np.testing.assert_array_equal(buffer[:, 500:9500], truth[:, 500:9500])
        assert chunk_cache_info().chunks == 4, "a large read keeps the chunks at its borders"
        buffer[:, 9500:]
        assert chunk_cache_info().hits == 2
    with OVERRIDE.set(chunk_cache=40_000):
        clear_chunk_cache()
        np.testing.assert_array_equal(buffer[:], truth)
        assert chunk_cache_info().nbytes <= 40_000
    with OVERRIDE.set(chunk_cache=0):
        clear_chunk_cache()
        buffer[:]
        assert chunk_cache_info().chunks == 0
