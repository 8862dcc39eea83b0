"""A batch job neither destroys what it reads nor mistakes one recording for another."""

from __future__ import annotations

import os

import h5py
import numpy as np
import pytest

from ecogsource import BatchProcessor, FlatBuffer, MappedSource, RecordingsReader
from ecogsource.batch import BatchPipeline, PipedTransformation

QUIET = {"show_progress_bar": False}
HOW = {"dtype": "int16", "n_channels": 4, "data_order": "samples", **QUIET}


@pytest.fixture
def values():
    return np.random.default_rng(0).integers(-99, 99, (50, 4)).astype("i2")


@pytest.fixture
def path(tmp_path, values):
    path = tmp_path / "raw.bin"
    values.tofile(path)
    return path


@pytest.mark.parametrize("name", ["raw.bin", "soft.bin", "hard.bin"])
@pytest.mark.parametrize("as_source", [False, True])
def test_output_over_the_input_is_refused(tmp_path, path, values, name, as_source):
    os.symlink(path, tmp_path / "soft.bin")
    os.link(path, tmp_path / "hard.bin")
    source = MappedSource(FlatBuffer(path, "i2", (50, 4)), transpose=True)
    source.set_channel_mask([True, False, True, True])
    bp = BatchProcessor(source, **QUIET) if as_source else BatchProcessor(path, **HOW)
    for apply in (bp.multi_channel_apply, bp.single_channel_apply):
        with pytest.raises(ValueError, match=rf"{name}.*which this job reads"):
            apply(np.abs, mode="disk", output_path=tmp_path / name)
    assert path.read_bytes() == values.tobytes()


def test_a_step_named_like_the_recording_is_refused(tmp_path, path, values):
    pipeline = BatchPipeline(path, **HOW, max_memory="1MB", output_path=tmp_path)
    pipeline.add([PipedTransformation(np.abs, "raw.bin", mode="multi_channel", keep=True)])
    with pytest.raises(ValueError, match="which this job reads"):
        pipeline.run()
    assert path.read_bytes() == values.tobytes()


def same_output(first, second, output):
    """Write the first, then skip to the second if it is taken for the same work."""
    for recording in (first, second):
        BatchProcessor(recording, **QUIET).multi_channel_apply(
            np.abs, mode="disk", output_path=output, if_file_exists="skip"
        )
    return RecordingsReader(output)[:]


def test_skip_tells_recordings_in_memory_apart(tmp_path, values):
    result = same_output(values, values + 1, tmp_path / "out.bin")
    assert np.array_equal(result, np.abs(values + 1))


def test_skip_tells_channel_masks_apart(tmp_path, path, values):
    sources = []
    for mask in ([True, True, False, False], [False, False, True, True]):
        source = MappedSource(FlatBuffer(path, "i2", (50, 4)), transpose=True)
        source.set_channel_mask(mask)
        sources.append(source)
    result = same_output(*sources, tmp_path / "out.bin")
    assert np.array_equal(result, np.abs(values[:, 2:]))


def test_skip_tells_datasets_and_joins_apart(tmp_path, values):
    for number in range(3):
        with h5py.File(tmp_path / f"{number}.h5", "w") as file:
            file["a"], file["b"] = values + number, values - number - 1

    def joined(field, *numbers):
        files = [tmp_path / f"{number}.h5" for number in numbers]
        return MappedSource.from_hdf_sources(files, field, transpose=True)

    result = same_output(joined("a", 0), joined("b", 0), tmp_path / "fields.bin")
    assert np.array_equal(result, np.abs(values - 1))
    result = same_output(joined("a", 0, 1), joined("a", 0, 2), tmp_path / "joins.bin")
    assert np.array_equal(result, np.abs(np.vstack([values, values + 2])))


def test_skip_still_skips_the_same_work(tmp_path, values):
    output = tmp_path / "out.bin"
    with h5py.File(tmp_path / "0.h5", "w") as file:
        file["a"] = values
    sources = []
    for _ in range(2):
        source = MappedSource.from_hdf_sources([tmp_path / "0.h5"] * 2, "a", transpose=True)
        source.set_channel_mask([True, False, True, True])
        sources.append(source)
    same_output(sources[0], sources[0], output)
    before = output.stat().st_mtime_ns, output.stat().st_ino
    same_output(*sources, output)
    assert (output.stat().st_mtime_ns, output.stat().st_ino) == before
