"""Batches: what they hold, that answers do not depend on the cut, and files that are whole."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ecogsource.batch import (
    BatchPipeline,
    BatchProcessor,
    BinaryReader,
    MemoryMap,
    PipedTransformation,
    RecordingsReader,
    butterworth,
    standarize,
)
from ecogsource.buffers import ArrayBuffer
from ecogsource.datasource import MappedSource, PlainArraySource
from ecogsource.errors import BatchError, DataPathError, FormatError
from tests.oracle import assert_same, check_read
from tests.strategies import indices, make_array

N_OBS, N_CHANNELS = 1000, 7


@pytest.fixture
def data() -> np.ndarray:
    """Observations x channels."""
    return make_array((N_OBS, N_CHANNELS), "<i2", 1)


@pytest.fixture(params=["samples", "channels"])
def order(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def path(data: np.ndarray, order: str, tmp_path: Path) -> Path:
    (data if order == "samples" else data.T).tofile(tmp_path / "raw.bin")
    return tmp_path / "raw.bin"


def processor(path: Path, order: str, **options: Any) -> BatchProcessor:
    return BatchProcessor(path, "int16", N_CHANNELS, order, show_progress_bar=False, **options)


def plus_one(batch: np.ndarray) -> np.ndarray:
    return batch + 1


def double(batch: np.ndarray) -> np.ndarray:
    return batch.astype("f8") / 2


def peak(batch: np.ndarray, offset: int = 0) -> Any:
    return batch.max(axis=0) + offset


def fail_late(batch: np.ndarray, idx: Any, idx_local: Any) -> np.ndarray:
    if idx[0].start >= 500:
        raise ZeroDivisionError("no such luck")
    return batch


class TestReader:
    def test_always_observations_by_channels(
        self, path: Path, order: str, data: np.ndarray
    ) -> None:
        for loader in ("memmap", "array", "python"):
            reader = RecordingsReader(path, "int16", N_CHANNELS, order, loader)
            assert reader.shape == (N_OBS, N_CHANNELS)
            assert (reader.observations, reader.channels) == reader.shape
            assert (reader.dtype, reader.data_order, len(reader)) == (np.int16, order, N_OBS)
            assert_same(reader[100:200, 2:5], data[100:200, 2:5])
            assert_same(reader.data[...], data)
            assert order in repr(reader)
        old_name = {"samples": "long", "channels": "wide"}[order]
        old = RecordingsReader(path, "int16", N_CHANNELS, data_format=old_name)
        assert_same(old[:, 3], data[:, 3])

    @given(drawn=st.data())
    def test_any_index(self, drawn: st.DataObject, tmp_path: Path) -> None:
        array = make_array((9, 4), "<f4", 3)
        array.tofile(tmp_path / "x.bin")
        reader = RecordingsReader(tmp_path / "x.bin", "f4", 4, "samples")
        check_read(reader, array, drawn.draw(indices(array.shape)))

    def test_margins_are_zeros_of_the_same_type(
        self, path: Path, order: str, data: np.ndarray
    ) -> None:
        reader = RecordingsReader(
            path, "int16", N_CHANNELS, order, buffer_size=20, return_data_index=True
        )
        padded = np.pad(data, ((20, 20), (0, 0)))
        for start, stop in ((0, 10), (5, 300), (990, 1000), (0, 1000)):
            found, index = reader[start:stop, [1, 4]]
            assert_same(found, padded[start : stop + 40, [1, 4]])
            assert_same(found[index], data[start:stop, [1, 4]])
        one, index = reader[3:9, 2]
        assert_same(one[index], data[3:9, 2])
        plain = RecordingsReader(path, "int16", N_CHANNELS, order, return_data_index=True)
        assert_same(plain[3:9, 2][0], data[3:9, 2])
        assert plain[3:9, 2][1] == np.s_[3:9, 2]
        only = RecordingsReader(path, "int16", N_CHANNELS, order, buffer_size=1)
        assert only[3:9].shape == (8, N_CHANNELS)
        with pytest.raises(IndexError, match="slice of step 1"):
            only[::2]

    def test_what_may_stand_for_a_recording(self, data: np.ndarray, tmp_path: Path) -> None:
        for given_as in (
            MappedSource(data.T),
            PlainArraySource(np.ascontiguousarray(data.T)),
            ArrayBuffer(data),
            data,
        ):
            assert_same(RecordingsReader(given_as)[5:9], data[5:9])
        turned = RecordingsReader(np.ascontiguousarray(data.T), data_order="channels")
        assert_same(turned[5:9], data[5:9])

        class Holder:
            source = MappedSource(data.T)

        assert_same(RecordingsReader(Holder())[5:9], data[5:9])
        with pytest.raises(FormatError, match=r"two dimensions, got shape \(3,\)"):
            RecordingsReader(np.zeros(3))

    def test_a_recording_of_an_acquisition_system(self, shared_data: Path) -> None:
        path = shared_data / "edf" / "edfarray" / "S001R01.edf"
        reader = RecordingsReader(path)
        assert reader.channels == 64
        assert reader[:10].shape == (10, 64)

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"n_channels": 6}, ValueError, r"7000 numbers of type int16.*multiple of 6"),
            ({"n_channels": 0}, ValueError, "n_channels is at least 1, got 0"),
            ({"data_order": "rows"}, ValueError, "'channels' or 'samples', got 'rows'"),
            ({"loader": "dask"}, ValueError, "memmap, array, python, got 'dask'"),
            ({"buffer_size": -1}, ValueError, "buffer_size is at least 0"),
            ({"dtype": None}, FormatError, "no YAML file.*dtype, n_channels and data_order"),
        ],
    )
    def test_arguments_that_do_not_fit(
        self, data: np.ndarray, tmp_path: Path, arguments: Any, error: Any, message: str
    ) -> None:
        data.tofile(tmp_path / "raw.bin")
        given_ones = {"dtype": "int16", "n_channels": 7, "data_order": "samples", **arguments}
        with pytest.raises(error, match=message):
            RecordingsReader(tmp_path / "raw.bin", **given_ones)

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(DataPathError, match=r"missing\.bin"):
            RecordingsReader(tmp_path / "missing.bin", "i2", 3, "samples")

    def test_it_travels_as_a_recipe(self, path: Path, order: str, data: np.ndarray) -> None:
        reader = RecordingsReader(path, "int16", N_CHANNELS, order)
        payload = pickle.dumps(reader)
        assert len(payload) < 2000
        assert_same(pickle.loads(payload)[7], data[7])


class TestSidecar:
    def test_it_says_how_to_read(self, data: np.ndarray, tmp_path: Path) -> None:
        data.tofile(tmp_path / "raw.bin")
        beside = tmp_path / "raw.yaml"
        beside.write_text("dtype: int16\nn_channels: 7\ndata_format: long\n")
        assert_same(RecordingsReader(tmp_path / "raw.bin")[3], data[3])
        beside.write_text("dtype: !!python/object/apply:os.system ['true']\n")
        with pytest.raises(FormatError, match="not a plain YAML file"):
            RecordingsReader(tmp_path / "raw.bin")
        beside.write_text("just words\n")
        with pytest.raises(FormatError, match="should hold lines such as 'dtype: int16'"):
            RecordingsReader(tmp_path / "raw.bin")


def test_low_level_readers(data: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "raw.bin"
    data.tofile(path)
    assert_same(BinaryReader(path, "int16", (N_OBS, N_CHANNELS), order="C")[9], data[9])
    assert_same(BinaryReader(path, "int16", (N_CHANNELS, N_OBS))[:, 9], data[9])
    mapped = MemoryMap(path, "int16", mode="r+", shape=(N_OBS, N_CHANNELS))
    mapped[3] = 5
    assert (MemoryMap(path, "int16").raw[21:28] == 5).all()
    assert pickle.loads(pickle.dumps(mapped)).shape == (N_OBS, N_CHANNELS)
    with pytest.raises(ValueError, match="mode is 'r' or 'r\\+', got 'w\\+'"):
        MemoryMap(path, "int16", mode="w+")


class TestBatches:
    @pytest.mark.parametrize("max_memory", ["160B", "1KB", 4000, "1.5GB"])
    @pytest.mark.parametrize("buffer_size", [0, 2])
    def test_several_channels(
        self, path: Path, order: str, data: np.ndarray, max_memory: Any, buffer_size: int
    ) -> None:
        bp = processor(path, order, max_memory=max_memory, buffer_size=buffer_size)
        chosen = [5, 0, 1]
        parts = []
        for batch, local, absolute in bp.multi_channel(100, 900, chosen):
            assert batch.dtype == np.int16
            assert batch.nbytes <= bp.max_memory
            assert_same(batch[local], data[absolute[0]][:, chosen])
            assert_same(batch[local], bp.reader.data[absolute])
            parts.append(batch[local])
        assert_same(np.concatenate(parts), data[100:900][:, chosen])
        only = list(bp.multi_channel(100, 900, chosen, return_data=False))
        assert len(only) == len(parts)
        assert only[0][0].start == 100

    def test_the_ends_are_padded(self, path: Path, order: str, data: np.ndarray) -> None:
        bp = processor(path, order, max_memory="1KB", buffer_size=10)
        padded = np.pad(data, ((10, 10), (0, 0)))
        for batch, _, (time, _) in bp.multi_channel():
            assert_same(batch, padded[time.start : time.stop + 20])

    def test_one_channel(self, path: Path, order: str, data: np.ndarray) -> None:
        bp = processor(path, order, max_memory="5KB")
        found = list(bp.single_channel(channels=[6, 2]))
        assert len(found) == 2
        assert_same(found[0], data[:, 6])
        assert_same(found[1], data[:, 2])
        (part,) = bp.single_channel(from_time=10, to_time=20, channels=3)
        assert_same(part, data[10:20, 3])
        small = processor(path, order, max_memory="600B")
        with pytest.raises(ValueError, match="1000 observations of one channel take 2 KB"):
            next(iter(small.single_channel()))
        pieces = list(small.single_channel(force_complete_channel_batch=False, channels=[0, 4]))
        assert [channel for _, channel in pieces] == [0] * 4 + [4] * 4
        assert_same(np.concatenate([piece for piece, _ in pieces[4:]]), data[:, 4])

    def test_limits_that_make_no_sense(self, path: Path, order: str) -> None:
        bp = processor(path, order)
        for limits in ((5, 5), (-1, 5), (0, 1001)):
            with pytest.raises(ValueError, match="inside the 1000 observations"):
                next(bp.multi_channel(*limits))
        with pytest.raises(IndexError, match="index 7 is out of bounds"):
            next(bp.multi_channel(channels=[7]))
        with pytest.raises(ValueError, match="got 'every'"):
            next(bp.multi_channel(channels="every"))
        with pytest.raises(ValueError, match="selects nothing"):
            next(bp.multi_channel(channels=[]))
        with pytest.raises(ValueError, match="one observation of 7 channels with a buffer of 3"):
            next(processor(path, order, max_memory=50, buffer_size=3).multi_channel())
        with pytest.raises(ValueError, match="does not hold one number of 2 B"):
            next(processor(path, order, max_memory=1).single_channel(False))


class TestApply:
    @pytest.mark.parametrize("where", ["here", "processes", "threads"])
    @pytest.mark.parametrize("max_memory", ["300B", "1GB"])
    def test_the_answer_does_not_depend_on_the_cut(
        self, path: Path, data: np.ndarray, order: str, where: str, max_memory: str, tmp_path: Path
    ) -> None:
        bp = processor(path, order, max_memory=max_memory)
        options: dict[str, Any] = {"from_time": 3, "to_time": 203}
        with ThreadPoolExecutor(2) as threads:
            if where == "threads":
                options["executor"] = threads
            elif where == "processes":
                options["processes"] = 2
            made, params = bp.multi_channel_apply(
                double, "disk", output_path=tmp_path / "m.bin", channels=[4, 1], **options
            )
            assert params == {"dtype": "float64", "n_channels": 2, "data_order": "samples"}
            assert_same(RecordingsReader(made)[:], data[3:203][:, [4, 1]] / 2)
            results = bp.multi_channel_apply(peak, "memory", offset=5, **options)
            assert_same(np.max(results, axis=0), data[3:203].max(axis=0) + 5)
            made, params = bp.single_channel_apply(
                double,
                "disk",
                tmp_path / "s.bin",
                force_complete_channel_batch=False,
                cast_dtype="f4",
                **options,
            )
            assert params == {"dtype": "float32", "n_channels": 7, "data_order": "channels"}
            assert_same(RecordingsReader(made)[:], (data[3:203] / 2).astype("f4"))
        assert sorted(p.name for p in tmp_path.iterdir()) == [
            "m.bin", "m.yaml", "raw.bin", "s.bin", "s.yaml",
        ]  # fmt: skip

    def test_functions_may_learn_where_they_are(
        self, path: Path, order: str, data: np.ndarray
    ) -> None:
        bp = processor(path, order, max_memory="1KB", buffer_size=4)

        def check(batch: np.ndarray, idx_local: Any, idx: Any) -> int:
            assert_same(batch[idx_local], data[idx])
            return len(batch)

        lengths = bp.multi_channel_apply(check, "memory", pass_batch_info=True)
        assert sum(length - 8 for length in lengths) == N_OBS

        def trim(result: np.ndarray, idx_local: Any, idx: Any, buffer_size: int) -> np.ndarray:
            assert buffer_size == 4
            return result[idx_local]

        parts = bp.multi_channel_apply(plus_one, "memory", cleanup_function=trim)
        assert_same(np.concatenate(parts), data + 1)

    def test_results_may_be_handed_on(self, path: Path, order: str, data: np.ndarray) -> None:
        bp = processor(path, order, max_memory="1KB")

        def add(batch: np.ndarray, previous_batch: int | None) -> int:
            return int(batch.astype(int).sum()) + (previous_batch or 0)

        total = bp.multi_channel_apply(add, "memory", pass_batch_results=True)
        assert total == data.astype(int).sum()
        for wrong in ({"mode": "disk"}, {"mode": "memory", "processes": 2}):
            with pytest.raises(ValueError, match="mode='memory' and one process"):
                bp.multi_channel_apply(add, pass_batch_results=True, **wrong)

    @pytest.mark.parametrize("processes", [1, 2])
    def test_the_failing_batch_is_named(
        self, path: Path, order: str, processes: int, tmp_path: Path
    ) -> None:
        bp = processor(path, order, max_memory="1.4KB")
        with pytest.raises(
            BatchError, match=r"batch 5 \(observations 500 to 600, 7 channels.*no such luck"
        ):
            bp.multi_channel_apply(
                fail_late,
                "disk",
                output_path=tmp_path / "m.bin",
                pass_batch_info=True,
                processes=processes,
            )
        assert [p.name for p in tmp_path.iterdir()] == ["raw.bin"]

    def test_results_of_any_length(self, path: Path, order: str, data: np.ndarray) -> None:
        bp = processor(path, order, max_memory="1.4KB")
        made, params = bp.multi_channel_apply(
            lambda batch: batch[::2], "disk", output_path=path.with_name("half.bin")
        )
        assert params["n_channels"] == 7
        assert_same(RecordingsReader(made)[:], data[::2])
        made, params = bp.multi_channel_apply(
            lambda batch: batch.sum(axis=1, keepdims=True)[:, 0],
            "disk",
            output_path=path.with_name("sum.bin"),
        )
        assert params["n_channels"] == 1
        assert_same(RecordingsReader(made)[:, 0], data.sum(axis=1))
        made, _ = bp.single_channel_apply(
            plus_one, "disk", path.with_name("twice.bin"), False, channels=[2, 2]
        )
        assert_same(RecordingsReader(made)[:], data[:, [2, 2]] + 1)

    def test_results_that_do_not_belong_together(self, path: Path, order: str) -> None:
        bp = processor(path, order, max_memory="1.4KB")
        seen: list[int] = []

        def moody(batch: np.ndarray, step: int) -> np.ndarray:
            seen.append(1)
            return batch[::step].astype("f4" if len(seen) > 1 else "f8")

        for step in (1, 2):
            seen.clear()
            with pytest.raises(BatchError, match=r"batch 1 .*float32.*float64.*cast_dtype"):
                bp.multi_channel_apply(
                    moody, "disk", output_path=path.with_name("o.bin"), step=step
                )

    def test_arguments_that_contradict(self, path: Path, order: str) -> None:
        bp = processor(path, order)
        with pytest.raises(ValueError, match="'disk' or 'memory', got 'tape'"):
            bp.multi_channel_apply(plus_one, "tape")
        with pytest.raises(ValueError, match="needs an output_path"):
            bp.multi_channel_apply(plus_one, "disk")


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
        calls: list[int] = []
        patience = [10]

        def interrupted(batch: np.ndarray) -> np.ndarray:
            calls.append(1)
            if len(calls) > patience[0]:
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
        part, done = tmp_path / ".o.bin.part", tmp_path / ".o.bin.done"
        lines = done.read_text().splitlines()
        assert len(lines) == 11
        assert json.loads(lines[1])[0] == 0
        with open(part, "r+b") as file:
            file.write(b"\0" * 30)
        calls.clear()
        patience[0] = 10**6
        made, _ = run()
        assert_same(RecordingsReader(made)[:], data + 1)
        everything = sum(1 for _ in (bp.single_channel(False) if single else bp.multi_channel()))
        assert len(calls) in (everything - 8, everything - 9)
        assert not part.exists()
        assert not done.exists()

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


class TestPipeline:
    def test_two_steps(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        noise = (rng.standard_normal((4000, 5)) * 100).astype("<i2")
        noise[:, 4] = 0
        noise.tofile(tmp_path / "raw.bin")
        filtering = {"low_freq": 300, "high_factor": 0.1, "order": 3, "sampling_freq": 30000}
        expected = standarize(butterworth(noise[500:3500], **filtering))
        for max_memory, processes in (("30KB", 1), ("1MB", 2)):
            pipeline = BatchPipeline(
                tmp_path / "raw.bin",
                dtype="int16",
                n_channels=5,
                data_format="long",
                max_memory=max_memory,
                from_time=500,
                to_time=3500,
                output_path=tmp_path / "out",
                show_progress_bar=False,
                processes=processes,
            )
            whole = "single_channel_one_batch"
            pipeline.add(PipedTransformation(butterworth, "f.bin", whole, **filtering))
            pipeline.add(
                [
                    PipedTransformation(standarize, "s.bin", whole, keep=True, sampling_freq=30000),
                    PipedTransformation(plus_one, "p.bin", "multi_channel", cast_dtype="f4"),
                ]
            )
            paths, params = pipeline.run()
            assert [p.name for p in paths] == ["f.bin", "s.bin", "p.bin"]
            assert not paths[0].exists()
            assert [p["data_order"] for p in params] == ["channels", "channels", "samples"]
            np.testing.assert_allclose(RecordingsReader(paths[1])[:], expected, rtol=1e-9)
            assert_same(RecordingsReader(paths[2])[:], (expected + 1).astype("f4"))

    def test_steps_that_make_no_sense(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="multi_channel, got 'sideways'"):
            PipedTransformation(plus_one, "a.bin", "sideways")
        with pytest.raises(ValueError, match="output_path"):
            BatchPipeline(np.zeros((3, 2)))
        pipeline = BatchPipeline(np.zeros((3, 2)), output_path=tmp_path)
        pipeline.add(PipedTransformation(plus_one, "a.bin", "multi_channel"))
        with pytest.raises(ValueError, match=r"two steps of the pipeline write a\.bin"):
            pipeline.add(PipedTransformation(plus_one, "a.bin", "multi_channel"))


def test_noise_is_measured_robustly() -> None:
    rng = np.random.default_rng(0)
    channel = rng.standard_normal(20_000) * 50
    channel[::100] = 5000
    assert abs(np.median(np.abs(standarize(channel))) - 0.6745) < 1e-12
    assert not standarize(np.zeros(10)).any()
