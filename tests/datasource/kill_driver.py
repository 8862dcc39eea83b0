"""Kills the writing of files at every kind of step, and checks what is left. Run as a program.

A child is forked for each trial; in it the calls that change the disk are counted, and at a chosen
count the process gets SIGKILL, half way through if the call writes bytes.

Usage: kill_driver.py FOLDER OPERATION TRIALS SEED -> one line of JSON
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ecogsource.datasource import MappedSource, arrayfile, mirror, tiles
from ecogsource.datasource.ledger import Ledger
from ecogsource.datasource.resample import downsample_to_file
from ecogsource.datasource.verify import verify_file

CHANNELS, SAMPLES, FS = 6, 6000, 1000.0


def make_recording(path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    with h5py.File(path, "w") as file:
        file["data"] = rng.standard_normal((CHANNELS, SAMPLES)).astype("f4")
        file["trigger"] = rng.integers(0, 2, SAMPLES).astype("u1")


def open_recording(path: Path) -> MappedSource:
    return MappedSource.from_hdf_sources(str(path), "data", ["trigger"], fs=FS)


def run_mirror(recording: Path, target: Path) -> None:
    open_recording(recording).mirror(filename=target, writeable=False)


def run_compressed(recording: Path, target: Path) -> None:
    open_recording(recording).mirror(
        filename=target, writeable=False, chunks=(4, 512), compression="gzip"
    )


def run_downsample(recording: Path, target: Path) -> None:
    downsample_to_file(open_recording(recording), target, 4, if_exists="replace")


def run_filter(recording: Path, target: Path) -> None:
    open_recording(recording).filter_array(out=target, design_kwargs={"lo": 5, "hi": 100})


OPERATIONS: dict[str, Callable[[Path, Path], None]] = {
    "mirror": run_mirror,
    "compressed": run_compressed,
    "downsample": run_downsample,
    "filter": run_filter,
}


class Killer:
    """Counts steps that change the disk and ends the process at one of them."""

    def __init__(self, at: int | None) -> None:
        self.count, self.at = 0, at

    def step(self) -> bool:
        self.count += 1
        return self.count == self.at

    def wrap(self, owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def counted(*args: Any, **kwargs: Any) -> Any:
            if self.step():
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*args, **kwargs)

        setattr(owner, name, counted)

    def install(self) -> None:
        pwrite, append = os.pwrite, Ledger._append

        def torn_pwrite(descriptor: int, data: Any, offset: int) -> int:
            if self.step():
                pwrite(descriptor, data[: len(data) // 2], offset)
                os.kill(os.getpid(), signal.SIGKILL)
            return pwrite(descriptor, data, offset)

        def torn_append(ledger: Ledger, line: Any) -> None:
            if self.step():
                text = json.dumps(line)
                ledger._file.write(text[: len(text) // 2])
                ledger._file.flush()
                os.kill(os.getpid(), signal.SIGKILL)
            append(ledger, line)

        os.pwrite = torn_pwrite  # type: ignore[assignment]
        Ledger._append = torn_append  # type: ignore[method-assign]
        for name in ("replace", "fsync", "unlink"):
            self.wrap(os, name)
        self.wrap(arrayfile, "_lay_out")
        self.wrap(h5py.AttributeManager, "__setitem__")
        self.wrap(h5py.File, "close")


def forked(work: Callable[[], int]) -> int:
    """Run `work` in a child; its exit status (negative: the signal that ended it)."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            code = work()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def content(path: Path) -> dict[str, Any]:
    with h5py.File(path, "r") as file:
        return {name: file[name][()] for name in ("data", "trigger")}


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return all(np.array_equal(a[name], b[name]) for name in a)


def main() -> None:
    folder, operation, trials, seed = Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:5])
    rng = random.Random(seed)
    # Small pieces, so that there are many of them.
    tiles.TILE_BYTES = mirror.TILE_BYTES = 4096
    recording, other = folder / "recording.h5", folder / "other.h5"
    make_recording(recording, 1)
    make_recording(other, 2)
    run = OPERATIONS[operation]
    run(recording, folder / "expected.h5")
    run(other, folder / "old.h5")
    expected, old = content(folder / "expected.h5"), content(folder / "old.h5")
    target = folder / "target.h5"

    def count_steps() -> int:
        killer = Killer(None)
        killer.install()
        run(recording, folder / "counted.h5")
        (folder / "steps").write_text(str(killer.count))
        return 0

    if forked(count_steps):
        raise SystemExit("the operation failed without a kill")
    steps = int((folder / "steps").read_text())
    report = {"steps": steps, "killed": 0, "absent": 0, "old": 0, "complete": 0, "resumed": 0}
    for trial in range(trials):
        target.unlink(missing_ok=True)
        with_old = trial % 2 == 1
        if with_old:
            run(other, target)
        at = rng.randint(1, steps)

        def killed(at: int = at) -> int:
            Killer(at).install()
            run(recording, target)
            return 0

        status = forked(killed)
        report["killed"] += status == -signal.SIGKILL
        if status not in (0, -signal.SIGKILL):
            raise SystemExit(f"trial {trial}: the child ended with {status}")
        report[state(target, expected, old, with_old=with_old)] += 1
        report["resumed"] += (folder / ".target.h5.ledger").exists()
        run(recording, target)
        verify_file(target)
        if not same(content(target), expected):
            raise SystemExit(f"trial {trial}, step {at}: the rerun gave something else")
        rest = [p.name for p in folder.iterdir() if p.name.startswith(".target")]
        if rest:
            raise SystemExit(f"trial {trial}, step {at}: left behind {rest}")
    sys.stdout.write(json.dumps(report))


def state(target: Path, expected: dict[str, Any], old: dict[str, Any], *, with_old: bool) -> str:
    """Tell what a killed writer left under the name; anything but three states is an error."""
    if not target.exists():
        if with_old:
            raise SystemExit("the old file is gone and there is no new one")
        return "absent"
    verify_file(target)
    found = content(target)
    if same(found, expected):
        return "complete"
    if with_old and same(found, old):
        return "old"
    raise SystemExit("the target is neither the old nor the new file")


if __name__ == "__main__":
    main()
