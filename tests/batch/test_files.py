"""Output files are whole, resumed, kept or refused."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from ecogsource.batch import (
    RecordingsReader,
)
from ecogsource.errors import DataPathError
from tests.batch.helpers import (
    double,
    peak,
    plus_one,
    processor,
)
from tests.oracle import assert_same


class TestFiles:
    def test_what_happens_to_an_old_file(
        self, path: Path, order: str, data: np.ndarray, tmp_path: Path
    ) -> None:
        bp = processor(path, order, max_memory="2KB")
        out = tmp_path / "o.bin"

        def run(function: Any = plus_one, how: str = "overwrite", **options: Any) -> Path:
            made, _ = bp.multi_channel_apply(
                function, "disk", output_path=out, if_file_exists=how, **options
            )
            return made

        run()
        with pytest.raises(ValueError, match="exists already"):
            run(how="abort")
        with pytest.raises(ValueError, match="'overwrite', 'abort' or 'skip', got 'keep'"):
            run(how="keep")
        first = out.stat()
        run(how="skip")
        assert out.stat() == first
        # Another piece of work is no reason to skip, nor is a file that was cut short.
        run(double, how="skip")
        assert out.stat().st_size == data.nbytes * 4
        with open(out, "r+b") as file:
            file.truncate(100)
        run(double, how="skip")
        assert out.stat().st_size == data.nbytes * 4
        (tmp_path / "o.yaml").write_text("{broken")
        run(double, how="skip")
        assert yaml.safe_load((tmp_path / "o.yaml").read_text())["nbytes"] == data.nbytes * 4
        run(peak, how="skip", offset=np.int16(3))

    @pytest.mark.parametrize("single", [False, True])
    def test_interrupted_work_goes_on(self, data: np.ndarray, tmp_path: Path, single: bool) -> None:
        data.tofile(tmp_path / "raw.bin")
        bp = processor(tmp_path / "raw.bin", "samples", max_memory="400B")
        # The calls are counted in a file: what a function holds would make it another function.
        log = tmp_path / "log"

        def interrupted(batch: np.ndarray) -> np.ndarray:
            with open(log, "a") as file:
                file.write(".")
            if log.stat().st_size == 11:
                raise KeyboardInterrupt
            return batch + 1

        def run() -> Any:
            if single:
                return bp.single_channel_apply(interrupted, "disk", tmp_path / "o.bin", False)
            return bp.multi_channel_apply(interrupted, "disk", output_path=tmp_path / "o.bin")

        with pytest.raises(KeyboardInterrupt):
            run()
        assert not (tmp_path / "o.bin").exists()
        # A finished piece that was damaged since is done again.
        (part,) = tmp_path.glob(".o.bin.*.part")
        done = tmp_path / ".o.bin.done"
        lines = done.read_text().splitlines()
        assert len(lines) == 11
        assert json.loads(lines[1])[0] == 0
        with open(part, "r+b") as file:
            file.write(b"\0" * 30)
        made, _ = run()
        assert_same(RecordingsReader(made)[:], data + 1)
        everything = sum(1 for _ in (bp.single_channel(False) if single else bp.multi_channel()))
        assert log.stat().st_size - 11 in (everything - 8, everything - 9)
        assert not part.exists()
        assert not done.exists()

    def test_another_work_begins_anew(self, data: np.ndarray, tmp_path: Path) -> None:
        data.tofile(tmp_path / "raw.bin")
        bp = processor(tmp_path / "raw.bin", "samples", max_memory="400B")

        def interrupted(batch: np.ndarray, idx: Any, idx_local: Any) -> np.ndarray:
            if idx[0].start > 300:
                raise KeyboardInterrupt
            return batch + 1

        with pytest.raises(KeyboardInterrupt):
            bp.multi_channel_apply(
                interrupted, "disk", output_path=tmp_path / "o.bin", pass_batch_info=True
            )
        (part,) = tmp_path.glob(".o.bin.*.part")
        made, _ = bp.multi_channel_apply(np.negative, "disk", output_path=tmp_path / "o.bin")
        assert_same(RecordingsReader(made)[:], -data)
        assert not part.exists()

    def test_names_that_would_do_harm(self, data: np.ndarray, tmp_path: Path) -> None:
        data.tofile(tmp_path / "raw.bin")
        bp = processor(tmp_path / "raw.bin", "samples")
        (tmp_path / "folder").mkdir()
        (tmp_path / "link").symlink_to(tmp_path)
        for name, error, message in (
            ("folder", IsADirectoryError, "is a folder"),
            ("o.yaml", ValueError, "name of a sidecar"),
            ("raw.dat", ValueError, "would share the sidecar 'raw.yaml'"),
            ("link/raw.out", ValueError, "would share the sidecar 'raw.yaml'"),
            ("no/o.bin", DataPathError, "does not exist"),
        ):
            with pytest.raises(error, match=message):
                bp.multi_channel_apply(plus_one, "disk", output_path=tmp_path / name)

    def test_a_disk_that_is_full(
        self, data: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        data.tofile(tmp_path / "raw.bin")
        bp = processor(tmp_path / "raw.bin", "samples", max_memory="400B")

        def full(*_: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        for name in ("reserve", "check_disk_space"):
            with monkeypatch.context() as patch:
                patch.setattr(f"ecogsource.batch.output.{name}", full)
                with pytest.raises(OSError, match="No space left"):
                    bp.multi_channel_apply(plus_one, "disk", output_path=tmp_path / "o.bin")
            assert [p.name for p in tmp_path.iterdir()] == ["raw.bin"]

    def test_killed_at_any_step_of_finishing(self, data: np.ndarray, tmp_path: Path) -> None:
        data.tofile(tmp_path / "raw.bin")
        script = tmp_path / "job.py"
        script.write_text(
            "import os, signal, sys\n"
            "from pathlib import Path\n"
            "import numpy as np\n"
            "from ecogsource.batch import BatchProcessor, RecordingsReader\n"
            "folder = Path(sys.argv[1])\n"
            "out, beside = folder / 'o.bin', folder / 'o.yaml'\n"
            "bp = BatchProcessor(folder / 'raw.bin', 'int16', 7, 'samples',\n"
            "                    max_memory='2KB', show_progress_bar=False)\n"
            "expected = np.fromfile(folder / 'raw.bin', 'int16').reshape(-1, 7) + 1\n"
            "def work(batch):\n"
            "    return batch + 1\n"
            "def job():\n"
            "    bp.multi_channel_apply(work, 'disk', output_path=out, if_file_exists='skip')\n"
            "def killed_at(step):\n"
            "    left = [step]\n"
            "    def counted(function):\n"
            "        def call(*args):\n"
            "            left[0] -= 1\n"
            "            if left[0] < 0:\n"
            "                os.kill(os.getpid(), signal.SIGKILL)\n"
            "            return function(*args)\n"
            "        return call\n"
            "    for name in ('fsync', 'replace', 'unlink', 'close'):\n"
            "        setattr(os, name, counted(getattr(os, name)))\n"
            "    job()\n"
            "    os._exit(0)\n"
            "for step in range(100):\n"
            "    if not (child := os.fork()):\n"
            "        killed_at(step)\n"
            "    finished = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0\n"
            "    if out.exists() and beside.exists():\n"
            "        assert np.array_equal(RecordingsReader(out)[:], expected)\n"
            "    job()\n"
            "    assert np.array_equal(RecordingsReader(out)[:], expected)\n"
            "    assert sorted(os.listdir(folder)) == ['job.py', 'o.bin', 'o.yaml', 'raw.bin']\n"
            "    out.unlink(), beside.unlink()\n"
            "    if finished:\n"
            "        break\n"
            "print(step)\n"
        )
        result = subprocess.run(
            [sys.executable, str(script), str(tmp_path)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        assert int(result.stdout) >= 6

    def test_targets_of_similar_names_are_left_alone(
        self, data: np.ndarray, tmp_path: Path
    ) -> None:
        data.tofile(tmp_path / "raw.bin")
        bp = processor(tmp_path / "raw.bin", "samples")
        other = tmp_path / f".o.bin.bin.{'a' * 16}.part"
        stale = tmp_path / f".o.bin.{'a' * 16}.part"
        for path in (other, stale):
            path.write_bytes(b"half")
        bp.multi_channel_apply(plus_one, "disk", output_path=tmp_path / "o.bin")
        assert [p.name for p in tmp_path.glob(".*")] == [other.name]

    def test_killed_at_any_time(self, data: np.ndarray, tmp_path: Path) -> None:
        data.tofile(tmp_path / "raw.bin")
        script = tmp_path / "job.py"
        script.write_text(
            "import sys, os\n"
            "from ecogsource.batch import BatchProcessor\n"
            "bp = BatchProcessor(sys.argv[1] + '/raw.bin', 'int16', 7, 'samples',\n"
            "                    max_memory='400B', show_progress_bar=False)\n"
            "def work(batch, idx, idx_local):\n"
            "    if idx[0].start >= int(os.environ['KILL_AT']):\n"
            f"        os.kill(os.getpid(), {int(signal.SIGKILL)})\n"
            "    return batch + 1\n"
            "bp.multi_channel_apply(work, 'disk', output_path=sys.argv[1] + '/o.bin',\n"
            "                       pass_batch_info=True)\n"
        )
        for kill_at in (0, 300, 700, 5000):
            result = subprocess.run(
                [sys.executable, str(script), str(tmp_path)],
                env={**os.environ, "KILL_AT": str(kill_at)},
                timeout=60,
                check=False,
            )
            assert (tmp_path / "o.bin").exists() == (result.returncode == 0) == (kill_at == 5000)
        assert_same(RecordingsReader(tmp_path / "o.bin")[:], data + 1)
        assert sorted(p.name for p in tmp_path.glob(".*")) == []
