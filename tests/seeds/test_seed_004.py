"""The examples of YASS's batch documentation run with the imports renamed."""

from __future__ import annotations

import os

import numpy as np
import pytest

from ecogsource.batch import BatchProcessor, RecordingsReader, butterworth, standarize
from ecogsource.batch.pipeline import BatchPipeline, PipedTransformation

N_CHANNELS, N_OBSERVATIONS = 385, 2100
HOW = {"dtype": "int16", "n_channels": N_CHANNELS, "data_format": "wide"}


@pytest.fixture
def recorded():
    rng = np.random.default_rng(0)
    return rng.integers(-1000, 1000, (N_CHANNELS, N_OBSERVATIONS)).astype("int16")


@pytest.fixture
def path(tmp_path, recorded):
    path = str(tmp_path / "rawDataSample.bin")
    recorded.tofile(path)
    return path


def sum_one(batch):
    """Add one to every number."""
    return batch + 1


def max_in_channel(batch):
    """Find the largest number of every channel."""
    return np.max(batch, axis=0)


def test_multi_channel(path, recorded):
    bp = BatchProcessor(path, **HOW, max_memory="300MB")
    ((d, _, idx),) = bp.multi_channel()
    assert np.array_equal(d, recorded.T)
    assert idx[0] == slice(0, N_OBSERVATIONS)
    ((d, _, idx),) = bp.multi_channel(from_time=1000, to_time=2000, channels=[0, 1, 2])
    assert np.array_equal(d, recorded[:3, 1000:2000].T)

    bp2 = BatchProcessor(path, **HOW, max_memory="1KB", buffer_size=10)
    seen = []
    for d, idx_local, idx in bp2.multi_channel(from_time=0, to_time=1000, channels=[0, 1, 2]):
        assert d.nbytes <= 1024
        assert np.array_equal(d[idx_local], recorded.T[idx])
        seen.append(d[idx_local])
    assert len(seen) > 1
    assert np.array_equal(np.concatenate(seen), recorded[:3, :1000].T)


def test_multi_channel_apply_to_disk(path, recorded, tmp_path):
    modified = str(tmp_path / "tmp" / "modified.bin")
    os.mkdir(tmp_path / "tmp")
    bp = BatchProcessor(path, **HOW, max_memory="500MB")
    bp.multi_channel_apply(sum_one, mode="disk", output_path=modified, channels=[0, 1, 2])
    raw = RecordingsReader(path, **HOW)
    filtered = RecordingsReader(modified)
    assert np.array_equal(raw[:2000, 0], recorded[0, :2000])
    assert np.array_equal(filtered[:2000, 0], recorded[0, :2000] + 1)


def test_multi_channel_apply_in_memory(path, recorded):
    bp = BatchProcessor(path, **HOW, max_memory="1KB")
    res = bp.multi_channel_apply(max_in_channel, mode="memory", channels=[0, 1, 2])
    assert len(res) > 1
    assert res[0].shape == (3,)
    assert np.array_equal(np.max(np.stack(res, axis=0), axis=0), recorded[:3].max(axis=1))


def test_single_channel(path, recorded):
    bp = BatchProcessor(path, **HOW, max_memory="3KB")
    parts = {0: [], 1: [], 2: []}
    for d, ch in bp.single_channel(force_complete_channel_batch=False, channels=[0, 1, 2]):
        parts[ch].append(d)
    for ch, pieces in parts.items():
        assert len(pieces) == 2
        assert np.array_equal(np.concatenate(pieces), recorded[ch])
    with pytest.raises(ValueError, match="force_complete_channel_batch"):
        list(bp.single_channel())
    bp = BatchProcessor(path, **HOW, max_memory="1MB")
    pieces = list(bp.single_channel(from_time=1000, to_time=2000, channels=[0, 1, 2]))
    assert np.array_equal(pieces, recorded[:3, 1000:2000])


def test_single_channel_apply(path, tmp_path):
    filtered_path = str(tmp_path / "filtered.bin")
    bp = BatchProcessor(path, **HOW, max_memory="500MB")
    band = {"low_freq": 300, "high_factor": 0.1, "order": 3, "sampling_freq": 30000}
    bp.single_channel_apply(
        butterworth, mode="disk", output_path=filtered_path, **band, channels=[0, 1, 2]
    )
    raw = RecordingsReader(path, **HOW)
    filtered = RecordingsReader(filtered_path)
    assert filtered.shape == (N_OBSERVATIONS, 3)
    expected = butterworth(raw[:, 1], **band).astype(filtered.dtype)
    assert np.array_equal(filtered[:, 1], expected)


def test_pipeline(path, tmp_path):
    path_output = str(tmp_path / "tmp")
    pipeline = BatchPipeline(
        path,
        **HOW,
        max_memory="500MB",
        from_time=None,
        to_time=None,
        channels="all",
        output_path=path_output,
    )
    mode = {"mode": "single_channel_one_batch", "keep": True, "sampling_freq": 30000}
    band = {"low_freq": 300, "high_factor": 0.1, "order": 3}
    butterworth_op = PipedTransformation(butterworth, "filtered.bin", **mode, **band)
    standarize_op = PipedTransformation(standarize, "standarized.bin", **mode)
    pipeline.add([butterworth_op, standarize_op])
    pipeline.run()
    for name in ("filtered.bin", "standarized.bin"):
        reader = RecordingsReader(os.path.join(path_output, name))
        assert reader.shape == (N_OBSERVATIONS, N_CHANNELS)


def test_reader(tmp_path):
    wide_data = np.random.default_rng(2).random((50, 2000))
    path_to_wide, path_to_long = str(tmp_path / "wide.bin"), str(tmp_path / "long.bin")
    wide_data.tofile(path_to_wide)
    wide_data.T.tofile(path_to_long)
    reader_wide = RecordingsReader(
        path_to_wide, dtype="float64", n_channels=50, data_order="channels"
    )
    reader_long = RecordingsReader(
        path_to_long, dtype="float64", n_channels=50, data_order="samples"
    )
    for reader, order in ((reader_wide, "channels"), (reader_long, "samples")):
        assert reader.shape == reader.data.shape == (2000, 50)
        assert (reader.observations, reader.channels) == (2000, 50)
        assert (reader.dtype, reader.data_order) == (np.float64, order)
        assert np.array_equal(reader[1000:1500, 20:30], wide_data.T[1000:1500, 20:30])
