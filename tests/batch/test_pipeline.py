"""Steps one after the other, and the functions they begin with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ecogsource.batch import (
    BatchPipeline,
    PipedTransformation,
    RecordingsReader,
    butterworth,
    standarize,
)
from tests.batch.helpers import (
    plus_one,
)
from tests.oracle import assert_same


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
        for name in ("a.bin", "a.dat"):
            with pytest.raises(ValueError, match=r"two steps of the pipeline write a\.yaml"):
                pipeline.add(PipedTransformation(plus_one, name, "multi_channel"))

    def test_files_that_are_not_kept_go_early(self, tmp_path: Path) -> None:
        pipeline = BatchPipeline(np.zeros((3, 2)), output_path=tmp_path, show_progress_bar=False)

        def look(batch: np.ndarray) -> np.ndarray:
            names = sorted(path.name for path in tmp_path.glob("[a-z]*.bin"))
            return batch + (names == ["b.bin"])

        names = ("a.bin", "b.bin", "c.bin")
        functions = (plus_one, plus_one, look)
        pipeline.add(
            PipedTransformation(function, name, "multi_channel")
            for function, name in zip(functions, names, strict=True)
        )
        paths, _ = pipeline.run()
        assert_same(RecordingsReader(paths[-1])[:], np.full((3, 2), 3.0))


def test_noise_is_measured_robustly() -> None:
    rng = np.random.default_rng(0)
    channel = rng.standard_normal(20_000) * 50
    channel[::100] = 5000
    assert abs(np.median(np.abs(standarize(channel))) - 0.6745) < 1e-12
    assert not standarize(np.zeros(10)).any()
