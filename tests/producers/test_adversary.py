"""A producer does not write over what it reads."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from ecogsource import MappedSource, producer

PIPELINES = {
    "plain": lambda pro: pro,
    "rechunked": lambda pro: pro.rechunk(7),
    "decimated": lambda pro: pro.decimate(2),
    "computed": lambda pro: abs(pro - pro.mean(axis=-1, keepdims=True)),
    "masked": lambda pro: producer(pro, 5, -1, mask=np.arange(400) % 2 == 0),
}


@pytest.mark.parametrize("pipeline", PIPELINES.values(), ids=PIPELINES)
@pytest.mark.parametrize("kind", ["path", "source"])
def test_saving_over_the_recording_is_refused(tmp_path, pipeline, kind):
    path = tmp_path / "rec.h5"
    with h5py.File(path, "w") as file:
        file["data"] = np.random.default_rng(0).standard_normal((2, 400))
    before = path.read_bytes()
    data = path if kind == "path" else MappedSource.from_hdf_sources(path, "data")
    pro = pipeline(producer(data, 50, -1))
    with pytest.raises(ValueError, match="which this producer reads"):
        pro.to_file(path)
    assert path.read_bytes() == before
    assert pro.to_file(tmp_path / "other.h5").exists()
