"""Producers to files and back, and recordings."""

from __future__ import annotations

import errno
import os
import pickle
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from ecogsource.demos.recordings import make_eeg
from ecogsource.errors import FormatError
from ecogsource.io import open_recording
from ecogsource.io.edf import Reader
from ecogsource.producers import producer
from tests.producers.helper import check, same

X = np.random.default_rng(0).standard_normal((4, 5000)).astype("f4")


@pytest.mark.parametrize("suffix", [".npy", ".h5", ".hdf5", ".hdf"])
def test_written_and_produced_again(suffix, tmp_path):
    pro = producer(X, 300, -1, mask=X[0] > 0) * 2
    path = pro.to_file(tmp_path / f"x{suffix}")
    assert path == tmp_path / f"x{suffix}"
    check(producer(path, 999, -1), X[:, X[0] > 0] * 2)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="needs posix_fallocate")
@pytest.mark.parametrize("suffix", [".npy", ".h5"])
def test_a_full_disk_shows_before_anything_is_written(suffix, tmp_path, monkeypatch):
    """Later it would end the program: a map by a signal, HDF5 at the latest when it closes."""

    def full(descriptor, offset, size):
        assert size >= X.nbytes
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    asked = []
    stream = producer(lambda: asked.append(1) or iter([X]), 300, -1, shape=X.shape)
    assert stream.dtype == X.dtype  # asks the function, the only time
    asked.clear()
    with pytest.raises(OSError, match=f"cannot write 'x{suffix}' in .* or free some space") as told:
        stream.to_file(tmp_path / f"x{suffix}")
    assert told.value.errno == errno.ENOSPC
    with pytest.raises(OSError, match="No space left"):
        producer(X, 300, -1).filter_band(fs=1000, lo=5, hi=100, zero_phase=True)
    assert asked == []
    assert list(tmp_path.iterdir()) == []


def test_names_and_attributes(tmp_path):
    path = producer(X, 300, 0).to_file(tmp_path / "x.h5", "lfp", units="uV")
    with h5py.File(path) as file:
        same(file["lfp"][()], X)
        assert file["lfp"].attrs["units"] == "uV"
    check(producer(path, 300, -1, dataset="lfp"), X)
    with pytest.raises(FormatError, match="holds no attributes"):
        producer(X, 300, 0).to_file(tmp_path / "x.npy", units="uV")
    with pytest.raises(FormatError, match="suffix must be one of"):
        producer(X, 300, 0).to_file(tmp_path / "x.txt")


@pytest.mark.parametrize("suffix", [".npy", ".h5"])
@pytest.mark.parametrize("dtype", ["i2", "f4", ">i4", "c16", "?", "u8"])
@pytest.mark.parametrize(
    ("shape", "axis"),
    [((5000, 4), 0), ((700,), 0), ((3, 500, 2), 1), ((4, 0), -1), ((0, 4), -1), ((2, 1), 0)],
)
def test_any_array_comes_back_as_it_was(suffix, dtype, shape, axis, tmp_path):
    array = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
    path = producer(array, 300, axis).to_file(tmp_path / f"x{suffix}")
    check(producer(path, 299, axis), array.astype(array.dtype.newbyteorder("=")))


def test_what_the_caller_says_of_a_file_counts(tmp_path):
    path = producer(X.T, 300, 0).to_file(tmp_path / "x.h5")
    check(producer(path, 300, 0), X.T)
    check(producer(path, 300, 0, dataset="data"), X.T)
    check(producer(path, 300, -1, transpose=True), X)
    with h5py.File(path, "a") as file:
        file["more"] = X[:, :100]
    check(producer(path, 300, 0), X.T)
    check(producer(path, 300, -1, dataset="more"), X[:, :100])


def test_a_failure_leaves_the_old_file_alone(tmp_path):
    path = producer(X, 300, -1).to_file(tmp_path / "x.npy")

    def fail(chunk):
        if chunk[0, 0] == X[0, 3000]:
            raise ZeroDivisionError
        return chunk

    for name in ("x.npy", "new.h5"):
        with pytest.raises(ZeroDivisionError):
            producer(X, 300, -1).map(fail, dtype="f4").to_file(tmp_path / name)
    assert [p.name for p in tmp_path.iterdir()] == ["x.npy"]
    check(producer(path, 300, -1), X)


@pytest.fixture(scope="module")
def edf(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("edf") / "recording.edf"
    make_eeg(path, 12)
    return path


def test_recordings(edf):
    with open_recording(edf) as recording:
        whole = recording.source[()]
        check(producer(recording, 5000, -1), whole)
        check(producer(recording.source, 4999, -1), whole)
        check(producer(edf, 7001, -1), whole)
        check(producer(str(edf), 300, -1), whole)
        mask = np.arange(whole.shape[1]) % 9000 < 4000
        check(producer(edf, 3000, -1, mask=mask), whole[:, mask])
        check(pickle.loads(pickle.dumps(producer(edf, 3000, -1, mask=mask))), whole[:, mask])


def test_a_reader_of_ours(edf):
    with Reader(edf) as reader:
        whole = reader.read()
        pro = producer(reader, 5000, -1)
        check(pro, whole)
        check(producer(reader, 777, -1, start=5, reverse=True), whole[:, :4:-1])
        reader.channels = [2, 0]
        check(producer(reader, 5000, -1), whole[[2, 0]])
        check(pro, whole)
        check(pickle.loads(pickle.dumps(producer(reader, 5000, -1))), whole[[2, 0]])


def test_recordings_of_the_lab(shared_data, reference):
    """Chunks of real recordings are those of their sources."""
    found = 0
    for entry in reference:
        name = entry.get("file") or entry.get("path") or ""
        path = shared_data / name
        if path.suffix.lower() not in (".edf", ".bdf", ".rhd", ".ns2", ".ns5") or found > 5:
            continue
        try:
            source = open_recording(path, gaps="fill").source
        except (FormatError, OSError):
            continue
        stop = min(source.shape[1], 20_000)
        pro = producer(path, 3333, -1, gaps="fill", stop=stop)
        np.testing.assert_array_equal(pro.to_array(), source[:, :stop])
        found += 1
    if not found:
        pytest.skip("no recordings of these formats")


def test_memory_is_a_few_chunks(tmp_path):
    path = tmp_path / "big.npy"
    target = np.lib.format.open_memmap(path, "w+", "f4", (8, 4_000_000))
    del target
    script = (
        "import sys, numpy as np\n"
        "from ecogsource._machine import peak_memory\n"
        "from ecogsource.buffers import FlatBuffer\n"
        "from ecogsource.producers import producer\n"
        "data = FlatBuffer(sys.argv[1], 'f4', (8, 4_000_000), offset=128)\n"
        "for c in producer(data, 1000, -1): pass\n"
        "before = peak_memory()\n"
        "pro = (producer(data, 400_000, -1) * 2).map(np.abs)\n"
        "for c in pro: pass\n"
        "peak = peak_memory() - before\n"
        "sys.stdout.write(str(peak / c.nbytes))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
    )
    # Of 10 chunks: those in hand, and what the system shows of the mapped file.
    assert float(done.stdout) < 9
