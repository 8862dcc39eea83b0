"""Exactly the bytes of the windows of a batch are announced, before they are read."""

from __future__ import annotations

import os

import numpy as np
import pytest

from ecogsource import FlatBuffer, MappedSource
from ecogsource.buffers.storage import handles
from ecogsource.windows import DataFile, WindowDataset
from ecogsource.windows.advice import announce
from tests.windows.helper import write_recording


@pytest.fixture
def told(monkeypatch):
    """Collect what the system is told; only that is in memory then."""
    calls = []

    def is_cached(handle, offset):
        return any(path == handle.path and 0 <= offset - at < n for path, at, n in calls)

    def advise(fd, offset, nbytes, advice):
        calls.append((os.readlink(f"/proc/self/fd/{fd}"), offset, nbytes))

    if not handles._CAN_FETCH:
        pytest.skip("this system takes no advice")
    monkeypatch.setattr(os, "posix_fadvise", advise)
    monkeypatch.setattr(handles.Handle, "_is_cached", is_cached)
    return calls


def test_the_bytes_of_a_batch_are_announced_in_their_order(tmp_path, told):
    paths = [write_recording(tmp_path, rec_id=f"r{n}", n_samples=500)[0] for n in range(3)]
    windows = WindowDataset([DataFile(path) for path in paths], 20, stride=20)
    mixed = np.random.default_rng(0).permutation(len(windows))[:40]
    windows.batch(mixed)
    expected = sorted(windows.locate(i)[:2] for i in mixed)
    assert told == [(str(paths[n]), start * 12, 240) for n, start in expected]


def test_what_is_in_memory_is_not_announced(tmp_path, told):
    path, data = write_recording(tmp_path, n_samples=500)
    in_memory = (str(path), 0, 250 * 12)
    told.append(in_memory)
    windows = WindowDataset(DataFile(path), 20, stride=20)
    assert np.array_equal(windows.batch([1, 20]), [data[:, 20:40], data[:, 400:420]])
    assert told == [in_memory, (str(path), 400 * 12, 240)]


def test_what_is_no_run_of_bytes_is_read_without(tmp_path, told):
    path, data = write_recording(tmp_path, n_samples=500)
    data.tofile(path)
    windows = WindowDataset([DataFile(path, order="channels"), data], 20, stride=20)
    assert np.array_equal(windows[3], data[:, 60:80])
    by_reading = list(told)
    told.clear()
    assert np.array_equal(windows.batch([3])[0], data[:, 60:80])
    assert told == by_reading


def test_a_header_is_counted_and_a_missing_file_is_for_the_reader(tmp_path, told):
    path = tmp_path / "flat.bin"
    path.write_bytes(b"12345678" + bytes(4 * 100))
    source = MappedSource(FlatBuffer(path, "<i2", (-1, 2), offset=8), transpose=True)
    windows = WindowDataset(source, 10, stride=50)
    windows.batch([1])
    assert told == [(str(path), 8 + 50 * 4, 40)]
    path.unlink()
    announce([(windows._parts[0], 50)], 10)
    assert len(told) == 1


def test_of_many_windows_a_sample_is_looked_at(tmp_path, told):
    path, data = write_recording(tmp_path, n_samples=500)
    windows = WindowDataset(DataFile(path), 10, stride=10)
    looked = []
    real = FlatBuffer.is_in_memory

    def look(buffer, start, length):
        looked.append((start, length))
        return real(buffer, start, length)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FlatBuffer, "is_in_memory", look)
        told.append((str(path), 0, 500 * 12))
        assert np.array_equal(windows.batch(range(40))[7], data[:, 70:80])
        assert looked == [(start, 10) for start in range(0, 400, 50)]
        assert len(told) == 1
        told.clear()
        looked.clear()
        windows.batch(range(40))
        # The first one was not in memory, so all are told.
        assert looked == [(0, 10)]
        assert told == [(str(path), start * 12, 120) for start in range(0, 400, 10)]
    path.unlink()
    windows._parts[0].buffer.close()
    assert real(windows._parts[0].buffer, 0, 10)
