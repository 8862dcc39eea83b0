"""The pool of descriptors: bounded, checked, safe to share."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import h5py
import numpy as np
import pytest

from ecogsource.buffers import FlatBuffer, HDF5Buffer
from ecogsource.buffers.storage import handles
from ecogsource.buffers.storage.handles import Handle, HandlePool
from ecogsource.buffers.storage.signature import signature_of
from ecogsource.errors import CorruptDataError, DataPathError, FormatError
from ecogsource.params import OVERRIDE


def write(path: Path, data: bytes = b"0123456789") -> str:
    path.write_bytes(data)
    return os.fspath(path)


def test_no_more_files_stay_open_than_allowed(tmp_path: Path) -> None:
    pool = HandlePool(3)
    paths = [write(tmp_path / str(i)) for i in range(10)]
    for path in paths:
        handle = pool.acquire(path, signature_of(path))
        target = bytearray(4)
        handle.read(memoryview(target), 2)
        assert target == b"2345"
        pool.release(handle)
    assert len(pool) == 3
    pool.clear()
    assert len(pool) == 0


def test_files_in_use_are_not_closed(tmp_path: Path) -> None:
    pool = HandlePool(1)
    paths = [write(tmp_path / str(i)) for i in range(3)]
    held = [pool.acquire(path, signature_of(path)) for path in paths]
    assert len(pool) == 3
    pool.forget(paths[0])
    assert os.fstat(held[0].fd).st_size == 10
    for handle in held:
        pool.release(handle)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(held[0].fd)
    pool.clear()


def test_the_limit_follows_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    pool = HandlePool()
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 256))
    assert pool.limit == 32
    pool.limit = 5
    assert pool.limit == 5
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    assert HandlePool().limit == handles.MAX_HANDLES
    monkeypatch.setitem(sys.modules, "resource", None)
    assert HandlePool().limit == handles.MAX_HANDLES


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(DataPathError, match=r"cannot open .*gone.*moved or deleted"):
        signature_of(os.fspath(tmp_path / "gone"))
    with pytest.raises(DataPathError, match="No such file"):
        Handle(os.fspath(tmp_path / "gone"))
    with pytest.raises(FormatError, match="not a regular file"):
        signature_of(os.devnull)
    folder = Handle(os.fspath(tmp_path))
    with pytest.raises(CorruptDataError, match="cannot be read: Is a directory"):
        folder.read(memoryview(bytearray(3)), 0)
    folder.close()


def test_what_the_system_refuses_is_not_called_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "secret.dat"
    path.write_bytes(b"1234")
    expected = signature_of(os.fspath(path))

    def refuse(name: str, *flags: int) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", name)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(PermissionError, match=r"Permission denied: '.*secret.dat'") as caught:
        HandlePool(4).acquire(os.fspath(path), expected)
    assert not isinstance(caught.value, FileNotFoundError)


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="is a folder"):
        FlatBuffer(tmp_path, "i2", (3,))
    with pytest.raises(FormatError, match="is a folder"):
        HDF5Buffer.from_path(tmp_path, "data")


def test_short_reads_go_on_until_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = Handle(write(tmp_path / "a"))
    real = os.preadv

    def slowly(fd: int, buffers: list[memoryview], offset: int) -> int:
        return real(fd, [memoryview(buffers[0]).cast("B")[:3]], offset)

    monkeypatch.setattr(os, "preadv", slowly)
    target = np.zeros(10, np.uint8)
    handle.read(target, 0)
    assert target.tobytes() == b"0123456789"
    rows = np.zeros((2, 5), np.uint8)
    handle.read_rows(rows, np.array([5, 0]))
    assert rows.tobytes() == b"5678901234"
    with pytest.raises(CorruptDataError, match=r"ends early: 10 bytes wanted, 6 found.*byte 10"):
        handle.read(target, 4)
    with pytest.raises(CorruptDataError, match=r"ends early: 5 bytes wanted, 3 found.*byte 10"):
        handle.read_rows(rows, np.array([1, 7]))
    handle.close()


def test_an_error_in_the_middle_of_a_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = Handle(write(tmp_path / "a"))
    real = os.preadv

    def fails(fd: int, buffers: list[memoryview], offset: int) -> int:
        if offset:
            raise OSError(5, "Input/output error")
        return real(fd, [memoryview(buffers[0]).cast("B")[:3]], offset)

    monkeypatch.setattr(os, "preadv", fails)
    with pytest.raises(CorruptDataError, match=r"cannot be read: Input/output error.*byte 3"):
        handle.read(np.zeros(10, np.uint8), 0)
    handle.close()


def test_an_error_of_one_of_many_rows(tmp_path: Path) -> None:
    handle = Handle(write(tmp_path / "a"))
    os.close(handle.fd)
    handle.fd = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(CorruptDataError, match=r"cannot be read: Is a directory.*byte 5"):
        handle.read_rows(np.zeros((2, 3), np.uint8), np.array([5, 2]))
    handle.close()


@pytest.mark.parametrize("large", [False, True])
def test_changed_truncated_and_vanished_files(tmp_path: Path, large: bool) -> None:
    n = 400_000 if large else 100
    path = tmp_path / "a.dat"
    np.arange(n, dtype="i4").tofile(path)
    buffer = FlatBuffer(path, "i4", (n,))
    assert buffer[-1] == n - 1
    os.truncate(path, 4 * n - 4)
    with pytest.raises(CorruptDataError, match=rf"it had {4 * n} bytes and now has {4 * n - 4}"):
        buffer[:]
    again = FlatBuffer(path, "i4", (-1,))
    again[:]
    status = os.stat(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))
    with pytest.raises(CorruptDataError, match="time of modification"):
        again[:]
    third = FlatBuffer(path, "i4", (-1,))
    third[:]
    path.unlink()
    with pytest.raises(DataPathError, match="deleted or replaced"):
        third[:]


def test_a_replaced_hdf5_file(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    for chunks in (None, (4,)):
        with h5py.File(path, "w") as file:
            file.create_dataset("x", data=np.arange(10), chunks=chunks)
        buffer = HDF5Buffer.from_path(path, "x")
        assert buffer[3] == 3
        (tmp_path / "b.h5").write_bytes(path.read_bytes())
        (tmp_path / "b.h5").replace(path)
        with pytest.raises(DataPathError, match="deleted or replaced"):
            buffer[3]


def test_mapped_pages_are_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.dat"
    np.arange(1000, dtype="i4").tofile(path)
    monkeypatch.setattr(handles, "COUNTED_BYTES", 1)
    monkeypatch.setattr(handles, "MAPPED_LIMIT", 0)
    buffer = FlatBuffer(path, "i4", (10, 100))
    for _ in range(3):
        np.testing.assert_array_equal(buffer[:, 5], np.arange(10) * 100 + 5)
    assert handles.mapped_bytes() > 0


def test_a_small_memory_limit_bounds_maps_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Handle] = []
    handle = Handle(write(tmp_path / "a"), given.append)
    monkeypatch.setattr(handles, "mapped_bytes", lambda: 30_000_000)
    monkeypatch.setattr(handles._FOREIGN, "nbytes", 0)
    with OVERRIDE.set(memory_limit="80MB"):
        handle.touched(19_000_000)
        assert given == []
        handle.touched(2_000_000)
        assert given == [handle]
    with OVERRIDE.set(memory_limit="8GB"):
        handle.touched(21_000_000)
    assert given == [handle]
    handle.close()


def test_files_not_read_for_longest_give_back_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = HandlePool(3)
    paths = [write(tmp_path / str(i)) for i in range(3)]
    given: list[str] = []
    monkeypatch.setattr(Handle, "give_back_pages", lambda self: given.append(self.path))
    held = [pool.acquire(path, signature_of(path)) for path in paths]
    full = iter([2 * handles.MAPPED_LIMIT, 2 * handles.MAPPED_LIMIT, 0])
    monkeypatch.setattr(handles, "mapped_bytes", lambda: next(full))
    monkeypatch.setattr(handles._FOREIGN, "nbytes", 0)
    held[0].touched(handles.COUNTED_BYTES)
    assert given == [paths[1], paths[2]]
    # What is left when all was given back is not ours, and is not held against us.
    monkeypatch.setattr(handles, "mapped_bytes", lambda: 2 * handles.MAPPED_LIMIT)
    held[0].touched(handles.COUNTED_BYTES)
    assert given[2:] == [paths[1], paths[2], paths[0]]
    held[0].touched(handles.COUNTED_BYTES)
    assert len(given) == 5
    for handle in held:
        pool.release(handle)
    pool.clear()


def test_a_few_pages_of_others_are_not_held_against_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Handle] = []
    pool = HandlePool(3)
    path = write(tmp_path / "a")
    handle = pool.acquire(path, signature_of(path))
    monkeypatch.setattr(Handle, "give_back_pages", lambda self: given.append(self))
    monkeypatch.setattr(handles._FOREIGN, "nbytes", 0)
    others = handles.MAPPED_LIMIT // 4
    mapped = iter([handles.MAPPED_LIMIT + others, others, handles.MAPPED_LIMIT + others])
    monkeypatch.setattr(handles, "mapped_bytes", lambda: next(mapped))
    for _ in range(2):
        handle.touched(handles.COUNTED_BYTES)
        assert given == [handle]
    pool.release(handle)
    pool.clear()


def test_files_read_again_and_again_stay_mapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handles, "MAPPED_LIMIT", 25)
    pool = HandlePool(3)
    paths = [write(tmp_path / str(i)) for i in range(3)]
    held = [pool.acquire(path, signature_of(path)) for path in paths]
    for handle in held[:2]:
        assert [handle.stays_mapped(4) for _ in range(4)] == [False, False, True, True]
    # There is no room for a third one, until another is closed.
    assert not held[2].stays_mapped(100)
    pool.forget(paths[0])
    assert held[2].stays_mapped(1)
    for handle in held:
        pool.release(handle)
    pool.clear()
    alone = Handle(paths[0])
    assert alone.stays_mapped(11)
    alone.close()


def test_a_handle_that_was_dropped_is_not_counted_as_mapped(tmp_path: Path) -> None:
    pool = HandlePool(3)
    path = write(tmp_path / "a")
    handle = pool.acquire(path, signature_of(path))
    pool.forget(path)
    assert not handle.stays_mapped(11)
    pool.release(handle)
    assert pool._kept == 0


def test_systems_that_do_not_tell_what_is_mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_proc(*_: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr("builtins.open", no_proc)
    assert handles.mapped_bytes() == 0


def test_many_files_with_few_descriptors(tmp_path: Path) -> None:
    """A join of far more files than may be open, in a process of its own."""
    script = textwrap.dedent(
        """
        import resource, sys
        import h5py, numpy as np
        from pathlib import Path
        from ecogsource.buffers import BufferBinder, FlatBuffer, HDF5Buffer
        folder = Path(sys.argv[1])
        for i in range(150):
            np.full((2, 10), i, "i2").tofile(folder / f"{i}.dat")
            with h5py.File(folder / f"{i}.h5", "w") as file:
                chunks = (1, 4) if i % 2 else None
                file.create_dataset("x", data=np.full((2, 10), i, "i2"), chunks=chunks)
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        flat = BufferBinder([FlatBuffer(folder / f"{i}.dat", "i2", (2, 10)) for i in range(150)])
        joined = BufferBinder([HDF5Buffer.from_path(folder / f"{i}.h5", "x") for i in range(150)])
        expected = np.repeat(np.arange(150, dtype="i2"), 10)
        for binder in (flat, joined):
            for _ in range(2):
                assert (binder[1] == expected).all()
        print("fine")
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", script, os.fspath(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "fine", done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_readers_work_after_a_fork(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import os, sys, threading
        import h5py, numpy as np
        from pathlib import Path
        from ecogsource.buffers import HDF5Buffer, FlatBuffer, clear_chunk_cache
        from ecogsource.params import OVERRIDE
        folder = Path(sys.argv[1])
        x = np.arange(4_000_000, dtype="i2").reshape(4, -1)
        x.tofile(folder / "a.dat")
        with h5py.File(folder / "a.h5", "w") as file:
            file.create_dataset("x", data=x, chunks=(1, 100_000), compression="gzip", shuffle=True)
            file.create_dataset("s", data=np.array([b"ab", b"cd"]))
        OVERRIDE["workers"] = 2
        flat = FlatBuffer(folder / "a.dat", "i2", x.shape)
        buffers = [HDF5Buffer.from_path(folder / "a.h5", "x"), flat]
        words = HDF5Buffer.from_path(folder / "a.h5", "s")
        for buffer in buffers:
            assert (buffer[:] == x).all()
        assert words[0] == b"ab"
        pid = os.fork()
        clear_chunk_cache()
        for buffer in buffers:
            assert (buffer[:] == x).all()
        assert words[1] == b"cd"
        if pid:
            assert os.waitpid(pid, 0)[1] == 0
            print("fine")
        else:
            os._exit(0)
        """
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, os.fspath(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout.strip() == "fine", done.stderr


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="cannot tell what is open")
def test_closed_buffers_hold_no_file(tmp_path: Path) -> None:
    np.arange(100, dtype="i2").tofile(tmp_path / "a.dat")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=np.arange(100), chunks=(7,))
        file["words"] = np.array([b"a"])
    buffers = [
        FlatBuffer(tmp_path / "a.dat", "i2", (100,)),
        HDF5Buffer.from_path(tmp_path / "a.h5", "x"),
        HDF5Buffer.from_path(tmp_path / "a.h5", "words"),
    ]
    for _ in range(2):
        for buffer in buffers:
            buffer[:]
            buffer.close()
        links = [os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
        assert not [link for link in links if link.startswith(os.fspath(tmp_path))]


def test_one_map_for_many_threads(tmp_path: Path) -> None:
    handle = Handle(write(tmp_path / "a"))
    maps: list[object] = []
    threads = [threading.Thread(target=lambda: maps.append(handle.map())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(m) for m in maps}) == 1
    handle.close()
    handle.close()


def test_a_map_from_when_the_file_was_shorter_is_not_used(tmp_path):
    path = tmp_path / "a.bin"
    np.arange(100, dtype="<i2").tofile(path)
    np.testing.assert_array_equal(FlatBuffer(path, "<i2", 100)[::3], np.arange(0, 100, 3))
    np.arange(5000, dtype="<i4").tofile(path)
    np.testing.assert_array_equal(FlatBuffer(path, "<i4", 5000)[::3], np.arange(0, 5000, 3))


@pytest.mark.parametrize(
    ("answer", "cached"), [(BlockingIOError, False), (OSError, True), (None, True)]
)
def test_whether_bytes_are_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: type[OSError] | None, cached: bool
) -> None:
    """Systems and file systems that do not tell are believed to have them."""
    handle = Handle(write(tmp_path / "a"))

    def preadv(*_: object) -> int:
        if answer is not None:
            raise answer
        return 1

    monkeypatch.setattr(os, "preadv", preadv)
    assert handle._is_cached(3) is cached
    handle.close()


def test_what_a_disk_must_bring_is_asked_for_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = Handle(write(tmp_path / "a"))
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "posix_fadvise", lambda _, at, n, __: asked.append((at, n)))
    monkeypatch.setattr(Handle, "_is_cached", lambda _, offset: offset == 0)
    monkeypatch.setattr(handles, "FETCHED_BYTES", 5)
    runs = [(0, 2), (4, 2), (8, 2), (9, 1)]
    handle.fetch(0, 0, lambda: runs)
    assert asked == []
    handle.fetch(0, 9, lambda: runs)
    assert asked == [(0, 2), (4, 2), (8, 1)]
    monkeypatch.setattr(handles, "_CAN_FETCH", False)
    handle.fetch(0, 9, lambda: runs)
    assert len(asked) == 3
    handle.close()
