"""Wherever batches are computed, the results and the errors are the same."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecogsource.batch import BatchProcessor, RecordingsReader, pools
from ecogsource.batch.job import Job
from ecogsource.buffers import ArrayBuffer
from ecogsource.errors import BatchError
from tests.batch.helpers import N_CHANNELS, double, fail_late, peak, processor, start_workers
from tests.oracle import assert_same

METHODS = ("fork", "spawn", "forkserver")
PLACES = ["here", "processes", "threads", *METHODS, "dask", "loky"]


@pytest.fixture(scope="module", params=PLACES)
def where(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """Arguments that say where to compute."""
    if request.param == "here":
        yield {}
    elif request.param == "processes":
        start_workers(2)
        yield {"processes": 2}
    else:
        with _executor(request.param) as executor:
            yield {"executor": executor}


def _executor(name: str) -> Executor:
    if name == "threads":
        return ThreadPoolExecutor(2)
    if name == "loky":
        loky = pytest.importorskip("loky", reason="loky is not installed")
        return loky.get_reusable_executor(2)
    if name == "dask":
        distributed = pytest.importorskip("distributed", reason="distributed is not installed")
        client = distributed.Client(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0"
        )
        return _Closing(client)
    if name not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {name} here")
    return ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(name))


class _Closing(Executor):
    """The executor of a dask client, which ends with it."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def __enter__(self) -> Executor:
        return self.client.get_executor()

    def __exit__(self, *_: object) -> None:
        self.client.close()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
class TestAnywhere:
    @pytest.mark.parametrize("max_memory", ["300B", "1GB"])
    def test_the_answer_does_not_depend_on_the_cut(
        self,
        path: Path,
        data: np.ndarray,
        order: str,
        where: dict[str, Any],
        max_memory: str,
        tmp_path: Path,
    ) -> None:
        bp = processor(path, order, max_memory=max_memory)
        options: dict[str, Any] = {"from_time": 3, "to_time": 203, **where}
        made, params = bp.multi_channel_apply(
            double, "disk", output_path=tmp_path / "m.bin", channels=[4, 1], **options
        )
        assert params == {"dtype": "float64", "n_channels": 2, "data_order": "samples"}
        assert_same(RecordingsReader(made)[:], data[3:203][:, [4, 1]] / 2)
        results = bp.multi_channel_apply(peak, "memory", offset=5, **options)
        assert_same(np.max(results, axis=0), data[3:203].max(axis=0) + 5)
        made, params = bp.single_channel_apply(
            double, "disk", tmp_path / "s.bin", False, cast_dtype="f4", **options
        )
        assert params == {"dtype": "float32", "n_channels": 7, "data_order": "channels"}
        assert_same(RecordingsReader(made)[:], (data[3:203] / 2).astype("f4"))
        assert sorted(p.name for p in tmp_path.iterdir()) == [
            "m.bin", "m.yaml", "raw.bin", "s.bin", "s.yaml",
        ]  # fmt: skip

    def test_the_failing_batch_is_named(
        self, path: Path, order: str, where: dict[str, Any], tmp_path: Path
    ) -> None:
        bp = processor(path, order, max_memory="1.4KB")
        message = r"batch 5 \(observations 500 to 600, 7 channels.*no such luck"
        for mode in ("disk", "memory"):
            with pytest.raises(BatchError, match=message):
                bp.multi_channel_apply(
                    fail_late, mode, None, tmp_path / "m.bin", pass_batch_info=True, **where
                )
        assert [p.name for p in tmp_path.iterdir()] == ["raw.bin"]

    def test_recordings_in_memory(self, data: np.ndarray, where: dict[str, Any]) -> None:
        bp = BatchProcessor(data, max_memory="1.4KB", show_progress_bar=False)
        assert_same(np.max(bp.multi_channel_apply(peak, "memory", **where), 0), data.max(axis=0))


def _pid(batch: np.ndarray) -> int:
    return os.getpid()


class TestOurWorkers:
    def test_they_do_the_work_and_stay(self, data: np.ndarray) -> None:
        start_workers(2)
        bp = BatchProcessor(data, max_memory="200B", show_progress_bar=False)
        first, again = (bp.multi_channel_apply(_pid, "memory", processes=2) for _ in range(2))
        assert os.getpid() not in first
        assert 1 <= len(set(first) | set(again)) <= 2

    def test_until_they_have_started_work_is_done_here(self, data: np.ndarray) -> None:
        never: Any = pools.Workers(ThreadPoolExecutor(1), 2, pools.Future())
        bp = BatchProcessor(data, max_memory="200B", show_progress_bar=False)
        batches = bp._time_batches(None, None, "all")
        done = list(pools.run_ordered(Job(bp.reader, _pid, {}), batches, never))
        assert {pid for _, (pid,) in done} == {os.getpid()}
        assert [batch for batch, _ in done] == batches

    def test_workers_that_do_not_start(self) -> None:
        begun: Any = pools.Future()
        begun.set_exception(OSError("no more processes"))
        workers = pools.Workers(ThreadPoolExecutor(1), 2, begun)
        with pytest.raises(BatchError, match="did not start: no more processes"):
            _ = workers.ready
        workers.close(at_once=True)

    def test_a_worker_that_died_while_idle_is_replaced(self, data: np.ndarray) -> None:
        start_workers(2)
        bp = BatchProcessor(data, max_memory="200B", show_progress_bar=False)
        idle = pools._IDLE[os.getpid(), 2]
        with pytest.raises(BatchError, match="batch 0 .*failed in a worker"):
            list(pools.run_ordered(Job(bp.reader, _die, {}), bp._time_batches(0, 1, 0), idle))
        assert len(bp.multi_channel_apply(_pid, "memory", processes=2)) == 72
        assert pools._IDLE[os.getpid(), 2] is not idle

    def test_a_fork_starts_its_own(self, data: np.ndarray) -> None:
        start_workers(2)
        kept = pools._IDLE.pop((os.getpid(), 2))
        pools._IDLE[-1, 2] = kept
        try:
            with pools.workers_for(2, None) as workers:
                assert workers is not kept
        finally:
            pools._IDLE[os.getpid(), 2] = pools._IDLE.pop((-1, 2))

    def test_large_numbers_travel_batch_by_batch(
        self, data: np.ndarray, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pools, "_LARGEST_RECIPE", 1000)
        sizes: list[int] = []
        packed = pools._packed
        monkeypatch.setattr(
            pools, "_packed", lambda *a: (sizes.append(len(packed(*a))), packed(*a))[1]
        )
        start_workers(2)
        bp = BatchProcessor(data, max_memory="1KB", show_progress_bar=False, buffer_size=3)
        found = bp.multi_channel_apply(_copy, "memory", processes=2)
        padded = np.pad(data, ((3, 3), (0, 0)))
        for part, (time, _) in zip(found, bp.multi_channel(return_data=False), strict=True):
            assert_same(part, padded[time.start : time.stop + 6])
        assert len(sizes) == 1
        assert sizes[0] < 1000

    def test_what_cannot_be_sent(self, data: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
        start_workers(2)
        bp = BatchProcessor(data, max_memory="1KB", show_progress_bar=False)
        lock = threading.Lock()
        with pytest.raises(BatchError, match=r"cannot be sent to worker processes.*lock"):
            bp.multi_channel_apply(lambda _: lock, "memory", processes=2)
        monkeypatch.setattr(pools, "_cloudpickle", lambda: None)
        with pytest.raises(BatchError, match="pip install cloudpickle"):
            pools._packed(Job(bp.reader, lambda _: 1, {}), None)
        assert pickle.loads(pickle.dumps(pools._Packed([1, "a"]))) == [1, "a"]

    def test_readers_that_cannot_be_sent_read_here(self, data: np.ndarray) -> None:
        start_workers(2)
        bp = BatchProcessor(_Rooted(data), max_memory="1KB", show_progress_bar=False)
        found = bp.multi_channel_apply(_copy, "memory", processes=2)
        assert_same(np.concatenate(found), data)


class _Rooted(ArrayBuffer):
    """A buffer that stays where it is."""

    def __reduce__(self) -> Any:
        raise TypeError("it stays here")


def _copy(batch: np.ndarray) -> np.ndarray:
    return batch


def _die(batch: np.ndarray) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


SCRIPT = """
import os, signal, sys, time
from ecogsource.batch import BatchProcessor, RecordingsReader
from tests.batch.helpers import start_workers
# Shells start what runs in the background with Ctrl-C ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
print("begun", flush=True)
class Odd:
    def __init__(self, value): self.value = value
def odd(batch): return Odd(int(batch[0, 0]))
def slow(batch, idx, idx_local):
    if idx[0].start:
        print("at", os.getpid(), flush=True)
        time.sleep(600)
    return batch + 1
folder = sys.argv[1]
bp = BatchProcessor(folder + "/raw.bin", "int16", 7, "samples", "1KB", show_progress_bar=False)
start_workers(2)
if sys.argv[2] == "by value":
    found = bp.multi_channel_apply(odd, "memory", processes=2)
    print(type(found[0]) is Odd, sum(item.value for item in found))
else:
    bp.multi_channel_apply(slow, "disk", output_path=folder + "/o.bin", processes=2,
                           pass_batch_info=True)
"""


@pytest.fixture
def script(data: np.ndarray, tmp_path: Path) -> list[str]:
    data.tofile(tmp_path / "raw.bin")
    # The script finds the tests wherever it is started.
    root = Path(__file__).parents[2]
    found = f"import sys\nsys.path.insert(0, {str(root)!r})\n"
    (tmp_path / "script.py").write_text(found + SCRIPT)
    return [sys.executable, str(tmp_path / "script.py"), str(tmp_path)]


class TestScripts:
    def test_no_guard_is_needed(self, script: list[str], data: np.ndarray) -> None:
        pytest.importorskip("cloudpickle", reason="cloudpickle is not installed")
        done = subprocess.run(
            [*script, "by value"], capture_output=True, text=True, timeout=60, check=True
        )
        firsts = data[:: 1000 // (2 * N_CHANNELS), 0].sum(dtype=int)
        assert done.stdout.splitlines() == ["begun", f"True {firsts}"]

    @pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
    def test_workers_end_with_their_parent(
        self, script: list[str], ending: signal.Signals, tmp_path: Path
    ) -> None:
        pytest.importorskip("cloudpickle", reason="cloudpickle is not installed")
        with subprocess.Popen(
            [*script, "slow"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as parent:
            assert parent.stdout is not None
            assert parent.stdout.readline() == "begun\n"
            assert parent.stdout.readline().startswith("at")
            parent.send_signal(ending)
            try:
                # The pipe closes when the last process that writes to it is gone.
                _, errors = parent.communicate(timeout=60)
            finally:
                parent.kill()
        assert parent.returncode in (-ending, 128 + ending, 1)
        assert ("KeyboardInterrupt" in errors) == (ending == signal.SIGINT)
        assert not (tmp_path / "o.bin").exists()
        assert (tmp_path / ".o.bin.done").exists()
