"""Walking with a reading process: however it ends, nothing is left."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import psutil
import pytest

from ecogsource.datasource import MappedSource, PlainArraySource
from ecogsource.datasource.shared import new_shared
from ecogsource.errors import MemoryBlowOutError
from ecogsource.params import OVERRIDE

X = np.arange(5 * 400, dtype=np.float32).reshape(5, 400)
DRIVER = Path(__file__).with_name("reader_driver.py")
ROOT = Path(__file__).resolve().parents[2]
METHODS = ["spawn", "fork", "forkserver", "unset"]
SHARED = Path("/dev/shm")

needs_signals = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals")
pytestmark = needs_signals


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as new:
        new.create_dataset("data", data=X, chunks=(2, 64), compression="gzip")
    return path


@pytest.fixture
def source(file: Path) -> MappedSource:
    return MappedSource.from_hdf_sources(str(file), "data")


def start(file: Path, method: str, way: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", str(DRIVER), str(file), method, way],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def run(file: Path, method: str, way: str) -> list[str]:
    """Run the driver; nothing may be left, nor anything said about it."""
    child = start(file, method, way)
    out, err = child.communicate(timeout=120)
    assert (child.returncode, err) == (0, "")
    assert segments(child.pid) == set()
    return out.splitlines()


def segments(pid: int) -> set[str]:
    """Name the shared memory of a process that is still there."""
    return {path.name for path in SHARED.glob(f"ecogsource_{pid}_*")} if SHARED.is_dir() else set()


@pytest.mark.parametrize("method", METHODS)
def test_walks_by_every_start_method(file: Path, method: str) -> None:
    assert run(file, method, "read_all") == ["True 0", "4321"]


@pytest.mark.parametrize("way", ["leave", "fail"])
@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_leaving_the_loop_ends_the_process(file: Path, method: str, way: str) -> None:
    assert run(file, method, way) == ["0"]


@pytest.mark.parametrize("method", METHODS)
def test_a_killed_reader_is_told(file: Path, method: str) -> None:
    assert run(file, method, "killed_reader") == ["True 0"]


@pytest.mark.parametrize("method", METHODS)
def test_control_c_ends_both_quietly(file: Path, method: str) -> None:
    child = start(file, method, "interrupted")
    assert child.stdout is not None
    reader = int(child.stdout.readline().split()[1])
    # As a terminal does: to every process of the group.
    os.killpg(child.pid, signal.SIGINT)
    out, err = child.communicate(timeout=120)
    assert (child.returncode, err) == (0, "")
    assert out == "interrupted 0\n"
    assert has_ended(reader)
    assert segments(child.pid) == set()


@pytest.mark.parametrize("method", METHODS)
def test_the_reader_does_not_outlive_its_owner(file: Path, method: str) -> None:
    child = start(file, method, "orphan")
    out, _ = child.communicate(timeout=120)
    assert child.returncode == -signal.SIGKILL
    assert has_ended(int(out))


def has_ended(pid: int) -> bool:
    """Wait for a process that need not be a child of this one."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            psutil.Process(pid).wait(timeout=0.1)
            return True
        except psutil.NoSuchProcess:
            return True
        except psutil.TimeoutExpired:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
    return False


def test_a_daemon_may_have_no_reader(file: Path) -> None:
    (line,) = run(file, "fork", "daemon")
    assert "could not be started (AssertionError: daemonic processes" in line
    assert "use the 'thread' backend" in line


def test_a_source_that_cannot_be_sent(file: Path) -> None:
    assert run(file, "spawn", "not_sent") == ["True 0"]


def test_blocks_and_channels(source: MappedSource) -> None:
    source.set_channel_mask([True, False, True, True, True])
    masked = X[[0, 2, 3, 4]]
    blocks = source.iter_blocks(
        90, overlap=10, reverse=True, return_slice=True, prefetch=3, backend="process"
    )
    for block, index in blocks:
        np.testing.assert_array_equal(block, masked[index], strict=True)
    groups = [g.copy() for g in source.iter_channels(3, prefetch=1, backend="process")]
    assert [len(group) for group in groups] == [3, 1]
    np.testing.assert_array_equal(np.concatenate(groups), masked, strict=True)
    in_memory = PlainArraySource(X)
    blocks = [b.copy() for b in in_memory.iter_blocks(150, backend="process")]
    np.testing.assert_array_equal(np.concatenate(blocks, axis=1), X, strict=True)


def test_memory_is_used_again_and_what_is_kept_stays(source: MappedSource) -> None:
    walk = source.iter_blocks(20, prefetch=1, backend="process")
    kept = [block[1:3, ::2] for number, block in enumerate(walk) if number % 5 == 0]
    expected = [X[1:3, start : start + 20 : 2] for start in range(0, 400, 100)]
    np.testing.assert_array_equal(kept, expected)
    places = [b.ctypes.data for b in source.iter_blocks(20, prefetch=1, backend="process")]
    assert len(set(places)) <= 4


def test_what_a_process_cannot_do(source: MappedSource) -> None:
    with pytest.raises(ValueError, match="prefetch must be at least 1, got 0"):
        next(source.iter_blocks(10, prefetch=0, backend="process"))
    with pytest.raises(ValueError, match="'thread' or 'process', got 'gpu'"):
        next(source.iter_channels(backend="gpu"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="is open for writing, so that no other process"):
        next(source.mirror().join(source.mirror()).iter_blocks(10, backend="process"))
    with OVERRIDE.set(memory_limit=1000), pytest.raises(MemoryBlowOutError):
        next(source.iter_blocks(200, backend="process"))
    with OVERRIDE.set(memory_limit=1000), source.big_slices():
        block = next(source.iter_blocks(200, backend="process"))
    np.testing.assert_array_equal(block, X[:, :200])


def test_a_timeout_is_for_one_block(source: MappedSource) -> None:
    with pytest.raises(RuntimeError, match="did not answer within 0.001 s and was ended"):
        next(source.iter_blocks(200, backend="process", timeout=0.001))


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="needs posix_fallocate")
def test_no_room_in_shared_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    before = segments(os.getpid())

    def full(descriptor: int, offset: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="no room for 4 KB of shared memory") as caught:
        new_shared((1000,), "f4")
    assert caught.value.errno == errno.ENOSPC
    assert segments(os.getpid()) == before


@pytest.mark.skipif(not SHARED.is_dir(), reason="shared memory has no folder here")
def test_shared_memory_bears_the_number_of_its_process() -> None:
    before = segments(os.getpid())
    array = new_shared((10,), "f4")
    assert segments(os.getpid()) - before == {array.name_and_form()[0]}
    del array
    assert segments(os.getpid()) == before
