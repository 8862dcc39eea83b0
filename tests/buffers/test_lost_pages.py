"""Files that are cut short, or taken away, while their map is looked at."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from ecogsource.buffers import Buffer, FlatBuffer, HDF5Buffer
from ecogsource.buffers.storage import loops
from ecogsource.buffers.storage.handles import Handle
from ecogsource.buffers.storage.signature import Signature
from ecogsource.errors import CorruptDataError
from ecogsource.io.records import RecordBuffer, RecordLayout

ROWS, COLUMNS = 3000, 600
DATA = np.arange(ROWS * COLUMNS, dtype="i2").reshape(ROWS, COLUMNS)


@pytest.fixture(autouse=True)
def only_in_c(in_c: bool) -> None:
    if not in_c:
        pytest.skip("without the loops in C the process ends")


def flat(folder: Path) -> tuple[Buffer, Path]:
    DATA.tofile(folder / "a.dat")
    return FlatBuffer(folder / "a.dat", "i2", DATA.shape), folder / "a.dat"


def chunked(folder: Path) -> tuple[Buffer, Path]:
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_dataset("x", data=DATA, chunks=(100, 10))
    buffer = HDF5Buffer.from_path(folder / "a.h5", "x").T
    for row in 2 * list(range(0, ROWS, 300)):
        # Its map is looked at once all of it was read.
        buffer[:, row : row + 300]
    return buffer, folder / "a.h5"


def records(folder: Path) -> tuple[Buffer, Path]:
    DATA.tofile(folder / "a.edf")
    layout = RecordLayout(
        filename=os.fspath(folder / "a.edf"),
        data_start=0,
        n_records=ROWS,
        record_bytes=2 * COLUMNS,
        channel_offsets=tuple(range(0, 2 * COLUMNS, 200)),
        per_record=100,
        stride=2,
        dtype=np.dtype("i2"),
    )
    return RecordBuffer(layout), folder / "a.edf"


KINDS: list[tuple[Callable[[Path], tuple[Buffer, Path]], Any]] = [
    (flat, np.s_[::7, 3]),
    (flat, np.s_[::-5, 3:90:40]),
    (flat, np.s_[:, [5, 17, 402]]),
    (flat, np.s_[list(range(0, ROWS, 3)), 100:120]),
    (flat, np.ix_(list(range(5, ROWS, 30)), [7, 3])),
    (chunked, np.s_[:, 2600:2850]),
    (chunked, np.s_[100:120, list(range(0, ROWS, 30))]),
    (chunked, np.ix_([300, 7], list(range(0, ROWS, 30)))),
    (records, np.s_[:, 100000:290000]),
]


@pytest.mark.parametrize(("kind", "key"), KINDS)
@pytest.mark.parametrize("length", [0, 2 * COLUMNS * ROWS // 2])
def test_a_file_cut_short_while_it_is_read(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: Callable[[Path], tuple[Buffer, Path]],
    key: Any,
    length: int,
) -> None:
    buffer, path = kind(tmp_path)
    expected = buffer[key]
    checked = Handle.check

    def check(handle: Handle, *given: Any) -> Signature:
        found = checked(handle, *given)
        os.truncate(path, length)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(Handle, "check", check)
        size = path.stat().st_size
        with pytest.raises(CorruptDataError, match=f"it had {size} bytes and now has {length}"):
            buffer[key]
    # The process goes on, and so do maps of files that are whole.
    (tmp_path / "new").mkdir()
    np.testing.assert_array_equal(kind(tmp_path / "new")[0][key], expected)


def test_a_disk_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer, path = flat(tmp_path)

    def lost(outcome: object) -> bool:
        raise loops.LostPagesError

    monkeypatch.setattr(loops, "_checked", lost)
    with pytest.raises(CorruptDataError, match=r"its disk or network failed .file .*a\.dat"):
        buffer[::7, 3]
    assert path.exists()


def run_script(folder: Path, body: str) -> subprocess.CompletedProcess[str]:
    """Run a script that has a map of a file that is not there any more."""
    start = f"""
        import faulthandler, mmap, os, resource, signal, sys
        import numpy as np
        from ecogsource.buffers.storage import loops

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        name = {os.fspath(folder / "a")!r}
        with open(name, "wb") as file:
            file.write(bytes(1 << 20))
        with open(name, "rb") as file:
            lost = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), "i2")
        os.truncate(name, 0)

        def guarded():
            loops.watch()
            try:
                loops.copy(np.zeros(lost.shape, "f4"), lost, None)
            except loops.LostPagesError as error:
                print(error, flush=True)
    """
    script = textwrap.dedent(start) + textwrap.dedent(body)
    return subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True
    )


MESSAGE = "the file ended early, or could not be read, while its map was looked at\n"


@pytest.mark.parametrize("large", [False, True])
def test_the_process_goes_on(tmp_path: Path, large: bool) -> None:
    done = run_script(
        tmp_path,
        f"""
        lost = lost if {large} else lost[:100]
        guarded()
        guarded()
        print(loops.copy(np.zeros(3), np.ones(3), None))
        """,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, 2 * MESSAGE + "True\n", "")


@pytest.mark.parametrize("before", ["", "faulthandler.enable()"])
@pytest.mark.parametrize("after", ["", "faulthandler.enable()"])
@pytest.mark.parametrize("fault", ["lost.sum()", "os.kill(os.getpid(), signal.SIGBUS)"])
def test_faults_of_others_end_the_process(
    tmp_path: Path, before: str, after: str, fault: str
) -> None:
    done = run_script(
        tmp_path,
        f"""
        {before or "pass"}
        guarded()
        {after or "pass"}
        guarded()
        {fault}
        print("never")
        """,
    )
    assert (done.returncode, done.stdout) == (-signal.SIGBUS, 2 * MESSAGE)
    assert ("Fatal Python error: Bus error" in done.stderr) == bool(before or after)


def test_handlers_of_others_are_called(tmp_path: Path) -> None:
    done = run_script(
        tmp_path,
        """
        signal.signal(signal.SIGBUS, lambda number, frame: print("theirs", number, flush=True))
        guarded()
        os.kill(os.getpid(), signal.SIGBUS)
        guarded()
        """,
    )
    assert done.returncode == 0
    assert done.stdout == f"{MESSAGE}theirs {signal.SIGBUS}\n{MESSAGE}"
