"""Writers that are killed, disks that are full, and two writers of one file."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from ecogsource.datasource import MappedSource, arrayfile, mirror
from ecogsource.datasource.resample import downsample_to_file
from ecogsource.datasource.verify import verify_file

NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
ROOT = Path(__file__).resolve().parents[2]
DRIVER = Path(__file__).with_name("kill_driver.py")

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked children")


def python(*args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def finish(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    return out


@needs_fork
@pytest.mark.parametrize("operation", ["mirror", "compressed", "downsample", "filter"])
def test_killed_at_any_step(tmp_path: Path, operation: str) -> None:
    trials = 50 if NIGHTLY else 5
    report = json.loads(finish(python(str(DRIVER), str(tmp_path), operation, str(trials), "7")))
    assert report["killed"] >= trials - 1
    assert report["absent"] + report["old"] + report["complete"] == trials
    if NIGHTLY:
        assert min(report["absent"], report["old"], report["resumed"]) > 0


def recording(seed: int = 0) -> MappedSource:
    x = np.random.default_rng(seed).standard_normal((4, 20_000))
    return MappedSource(x, fs=1000.0)


def write_old(target: Path) -> bytes:
    with h5py.File(target, "w") as file:
        file["data"] = np.arange(10)
    return target.read_bytes()


@pytest.mark.parametrize("keywords", [{}, {"compression": "gzip", "chunks": (4, 256)}])
def test_full_disk_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keywords: dict[str, object]
) -> None:
    target = tmp_path / "copy.h5"
    old = write_old(target)
    monkeypatch.setattr(mirror, "TILE_BYTES", 4096)
    pwrite, calls = os.pwrite, []

    def full(descriptor: int, data: bytes, offset: int) -> int:
        calls.append(offset)
        if len(calls) > 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        return pwrite(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space left") as caught:
        recording().mirror(filename=target, **keywords)  # type: ignore[arg-type]
    assert caught.value.errno == errno.ENOSPC
    assert target.read_bytes() == old
    assert [path.name for path in tmp_path.iterdir()] == ["copy.h5"]


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="needs posix_fallocate")
def test_full_disk_shows_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "copy.h5"
    old = write_old(target)

    def full(descriptor: int, offset: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        recording().filter_array(out=target, design_kwargs={"hi": 100})
    assert target.read_bytes() == old
    assert [path.name for path in tmp_path.iterdir()] == ["copy.h5"]


def test_failed_publication_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "copy.h5"
    old = write_old(target)

    def broken(source: object, destination: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(OSError, match="Input/output"):
        recording().mirror(filename=target)
    assert target.read_bytes() == old


def test_an_interrupted_mirror_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording().mirror(filename=tmp_path / "original.h5").close()
    source = MappedSource.from_hdf_sources(str(tmp_path / "original.h5"), "data", fs=1000.0)
    monkeypatch.setattr(mirror, "TILE_BYTES", 4096)
    target = tmp_path / "copy.h5"
    write, written = arrayfile.ArrayFile.write, []

    def interrupted(file: arrayfile.ArrayFile, name: str, piece: int, values: np.ndarray) -> None:
        written.append(piece)
        if len(written) == 20:
            raise KeyboardInterrupt
        write(file, name, piece, values)

    monkeypatch.setattr(arrayfile.ArrayFile, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        source.mirror(filename=target, writeable=False)
    assert not target.exists()
    total = 4 * -(-20_000 // 512)
    written.clear()
    written.extend([-1] * 100)
    copy = source.mirror(filename=target, writeable=False)
    assert 0 < len(written) - 100 <= total - 15
    np.testing.assert_array_equal(copy[:], source[:])
    assert verify_file(target).checked == total
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.h5", "original.h5"]


TWO = """
import sys
from pathlib import Path
from ecogsource.datasource import MappedSource
from ecogsource.datasource.resample import downsample_to_file
source = MappedSource.from_hdf_sources(sys.argv[1], "data", fs=1000.0)
sys.stdout.write("ready\\n"); sys.stdout.flush(); sys.stdin.readline()
downsample_to_file(source, sys.argv[2], 5)
"""


def test_two_processes_make_the_same_file(tmp_path: Path) -> None:
    source = recording().mirror(filename=tmp_path / "original.h5", writeable=False)
    target = tmp_path / "down.h5"
    children = [
        subprocess.Popen(
            [sys.executable, "-c", TWO, str(tmp_path / "original.h5"), str(target)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        for _ in range(2)
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    for child in children:
        finish(child)
    assert verify_file(target).sealed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["down.h5", "original.h5"]
    made = target.stat().st_ino
    downsample_to_file(source, target, 5)
    assert target.stat().st_ino == made


def test_what_an_interrupted_job_left_counts_as_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(arrayfile, "check_disk_space", lambda folder, nbytes: asked.append(nbytes))
    (tmp_path / ".copy.h5.partial").write_bytes(bytes(1000))
    recording().mirror(filename=tmp_path / "copy.h5")
    recording().mirror(filename=tmp_path / "small.h5", compression="gzip")
    assert asked == [4 * 20_000 * 8 - 1000, 0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.h5", "small.h5"]
