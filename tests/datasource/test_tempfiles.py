"""Temporary files and files that are whole or absent."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import h5py
import pytest

from ecogsource import safefile
from ecogsource.datasource.ledger import Ledger
from ecogsource.datasource.tempfiles import TempFilePool
from ecogsource.errors import DataPathError
from ecogsource.params import OVERRIDE, load_params
from ecogsource.safefile import atomic_open, atomic_path, check_disk_space, file_lock

ROOT = Path(__file__).resolve().parents[2]


def test_a_pool_ends_with_its_files(tmp_path: Path) -> None:
    with TempFilePool(tmp_path) as pool:
        first, second = pool.new(".h5"), pool.new(".dat")
        assert first != second
        assert (first.suffix, second.suffix) == (".h5", ".dat")
        first.write_text("x")
        assert first.parent == pool.folder
        assert pool.folder.parent == tmp_path
    assert list(tmp_path.iterdir()) == []
    pool.close()


def test_the_default_pool_is_in_the_stash(tmp_path: Path) -> None:
    pool = TempFilePool.default()
    assert pool is TempFilePool.default()
    assert pool.folder.parent == load_params().stash_path
    with OVERRIDE.set(stash_path=tmp_path), TempFilePool() as other:
        assert other.folder.parent == tmp_path
    with OVERRIDE.set(stash_path=tmp_path / "no"), pytest.raises(DataPathError, match="stash_path"):
        TempFilePool()


KEEPING = """
import os, signal, sys
import numpy as np
from ecogsource import OVERRIDE, PlainArraySource
OVERRIDE["stash_path"], OVERRIDE["clear_temp_converted"] = sys.argv[1], sys.argv[3]
copy = PlainArraySource(np.ones((2, 9))).mirror()
copy.close()
if sys.argv[2] == "crash":
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("way", ["exit", "crash"])
def test_temporary_copies_stay_if_the_lab_says_so(tmp_path: Path, way: str) -> None:
    assert run_child(tmp_path, way, "no", code=KEEPING) in (0, -signal.SIGKILL)
    (kept,) = tmp_path.rglob("*.h5")
    TempFilePool(tmp_path).close()
    assert TempFilePool.remove_stale(tmp_path) == []
    with h5py.File(kept) as file:
        assert file["data"].shape == (2, 9)
    shutil.rmtree(kept.parent)
    assert run_child(tmp_path, way, "yes", code=KEEPING) in (0, -signal.SIGKILL)
    TempFilePool(tmp_path).close()
    assert list(tmp_path.iterdir()) == []


CHILD = """
import os, signal, sys
from ecogsource.datasource.tempfiles import TempFilePool
pool = TempFilePool(sys.argv[1])
pool.new().write_text("x")
if sys.argv[2] == "crash":
    os.kill(os.getpid(), signal.SIGKILL)
"""


def run_child(folder: Path, *ways: str, code: str = CHILD) -> int:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, str(folder), *ways]
    return subprocess.run(command, env=environment, check=False).returncode


def test_removed_at_exit_and_after_a_crash(tmp_path: Path) -> None:
    assert run_child(tmp_path, "exit") == 0
    assert list(tmp_path.iterdir()) == []
    assert run_child(tmp_path, "crash") == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 1
    with TempFilePool(tmp_path) as living:
        assert list(tmp_path.iterdir()) == [living.folder]
        with TempFilePool(tmp_path):
            assert living.folder.is_dir()
    assert TempFilePool.remove_stale(tmp_path) == []


def test_a_pool_without_a_lock_has_time_to_get_one(tmp_path: Path) -> None:
    young = tmp_path / "ecogsource-pool-young"
    young.mkdir()
    assert TempFilePool.remove_stale(tmp_path) == []
    os.utime(young, (0, 0))
    assert TempFilePool.remove_stale(tmp_path) == [young]
    assert not young.exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_leaves_the_pool_alone(tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "from ecogsource.datasource.tempfiles import TempFilePool\n"
        "pool = TempFilePool(sys.argv[1])\n"
        "path = pool.new(); path.write_text('x')\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    pool.close(); os._exit(0)\n"
        "os.waitpid(child, 0)\n"
        "sys.exit(0 if path.exists() else 1)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=environment, check=False)
    assert done.returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_disk_space() -> None:
    check_disk_space(".", 1000)
    with pytest.raises(OSError, match=r"free some space") as caught:
        check_disk_space(".", 1 << 62)
    assert caught.value.errno == errno.ENOSPC
    with pytest.raises(DataPathError, match="does not exist"):
        check_disk_space("no/such/folder", 1)


def test_pool_checks_disk_space(tmp_path: Path) -> None:
    with TempFilePool(tmp_path) as pool, pytest.raises(OSError, match="free some space"):
        pool.new(nbytes=1 << 62)


def test_atomic_path(tmp_path: Path) -> None:
    target = tmp_path / "result.h5"
    target.write_text("old")
    with atomic_path(target) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".h5"
        temporary.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]
    with pytest.raises(DataPathError, match="nothing was written"), atomic_path(target):
        pass
    with pytest.raises(DataPathError, match="does not exist"), atomic_path(tmp_path / "a" / "b"):
        pass
    with pytest.raises(OSError, match="free some space"), atomic_path(target, nbytes=1 << 62):
        pass


def test_atomic_open(tmp_path: Path) -> None:
    target = tmp_path / "text.txt"
    with atomic_open(target, "w", encoding="utf-8") as file:
        file.write("µ")
        assert not target.exists()
    assert target.read_text(encoding="utf-8") == "µ"
    with pytest.raises(ZeroDivisionError), atomic_open(target) as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert target.read_text(encoding="utf-8") == "µ"
    with pytest.raises(ValueError, match="'w' or 'wb', got 'a'"), atomic_open(target, "a"):
        pass
    assert list(tmp_path.iterdir()) == [target]


def test_publication_is_synced_before_the_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (steps.append("fsync"), fsync(fd))[1])
    monkeypatch.setattr(os, "replace", lambda a, b: (steps.append("replace"), replace(a, b))[1])
    with atomic_open(tmp_path / "a", "wb") as file:
        file.write(b"x")
    assert steps == ["fsync", "replace", "fsync"]


def test_locks(tmp_path: Path) -> None:
    target = tmp_path / "made.h5"
    order: list[str] = []
    entered = threading.Event()

    def second() -> None:
        entered.set()
        with file_lock(target):
            order.append("second")

    with file_lock(target):
        timed = file_lock(target, timeout=0.0)
        with pytest.raises(TimeoutError, match="another process is making"), timed:
            pass
        thread = threading.Thread(target=second)
        thread.start()
        entered.wait()
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DataPathError, match="does not exist"), file_lock(tmp_path / "no" / "x"):
        pass


def test_reserve_passes_on_file_systems_that_cannot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(descriptor: int, offset: int, size: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "not supported")

    monkeypatch.setattr(os, "posix_fallocate", unsupported, raising=False)
    safefile.reserve(0, 100)


def test_ledger(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    ledger = Ledger(path, "job")
    ledger.add("data", 0, [11])
    ledger.add("data", 1, [22, 5, 6])
    ledger.close()
    with open(path, "a") as file:
        file.write('["data", 2, 3')
    again = Ledger(path, "job")
    assert again.entries == {("data", 0): [11], ("data", 1): [22, 5, 6]}
    again.forget("data", 0)
    again.add("data", 2, [33])
    again.close()
    third = Ledger(path, "job")
    assert third.entries["data", 2] == [33]
    third.close()
    other = Ledger(path, "another job")
    assert other.entries == {}
    other.remove()
    assert not path.exists()
