"""The cells of the producers notebook of openseize run with the imports renamed."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from ecogsource import demos, producer
from ecogsource.io import edf


@pytest.fixture
def data():
    return np.random.default_rng(1234).random((4, 1_000_000))


def test_cells_on_an_array(data):
    pro = producer(data, chunksize=300000, axis=-1)
    assert sys.getsizeof(pro) < 200
    assert "(4, 1000000)" in str(pro)
    for _ in range(2):  # not exhausted by the first loop
        shapes = [subarr.shape for subarr in pro]
        assert shapes == [(4, 300000)] * 3 + [(4, 100000)]
    first = next(iter(pro))
    assert first[0, :2].round(8).tolist() == [0.97669977, 0.38019574]
    assert np.array_equal(np.concatenate(list(pro), axis=1), data)
    assert np.array_equal(pro.to_array(), data)


def test_cells_on_a_sequence_of_anything():
    my_seq = [
        "(Knight) Tis but a scratch.",
        "(Arthur) A scratch? Your arm's off!",
        "(Knight) No, it isn't.",
        "(Arthur) Well, what's that then?",
    ]
    scene = producer(my_seq, chunksize=1, axis=-1)
    assert list(scene) == [[line] for line in my_seq]


def test_cells_on_a_file():
    assert "recording_001.edf" in demos.paths.available
    assert "recording_001.edf" in repr(demos.paths.available)
    reader = edf.Reader(demos.paths.locate("recording_001_short.edf"))
    values = reader.read(start=0, stop=10)
    assert values.shape == (4, 10)
    assert values.dtype == np.float64
    header = reader.header
    assert header["names"][:4] == [f"EEG EEG_{n}_SA-B" for n in (1, 2, 3, 4)]
    assert header["names"][4] == "EDF Annotations"
    assert header["reserved_0"] == "EDF+C"
    assert reader.channels == [0, 1, 2, 3]
    assert "EEG EEG_1_SA-B" in str(reader)
    pro = producer(reader, chunksize=30000, axis=-1)
    assert pro.shape == reader.shape
    assert np.array_equal(next(iter(pro))[:, :10], values)
    assert producer.__doc__ is not None
    assert edf.Reader.__doc__ is not None
