"""The cells of ecogdata's notebook on joining run with the imports renamed."""

from __future__ import annotations

import numpy as np
import pytest

from ecogsource.datasets import join_datasets, load_datasets, load_experiment_auto
from ecogsource.datasource import BufferBinder, HDF5Buffer, MappedSource, PlainArraySource
from ecogsource.demos import make_lab
from ecogsource.expconfig import OVERRIDE, available_sessions, session_conf


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    return make_lab(tmp_path_factory.mktemp("lab"), groups=["16017"], n_tones=4)


@pytest.fixture
def session(lab):
    OVERRIDE.update(lab.params)
    return available_sessions("16017")[1]


@pytest.fixture
def recordings(session):
    info = session_conf(session)
    found = []
    for key in info:
        if "tones_tab" not in info[key]:
            continue
        if info[key].tones_tab.endswith("txt"):
            found.append(key)
    return found


def sizes(joined_set):
    shapes = [joined_set[attr].shape for attr in ["data", "adc", "aux", "pos_edge"]]
    return [*shapes, len(joined_set.exp)]


def expected_sizes(n_channels, n_samples, n_tones=8):
    return [(n_channels, n_samples), (8, n_samples), (3, n_samples), (n_tones,), n_tones]


def test_cells_that_find_recordings(recordings):
    assert len(recordings) == 6
    assert recordings[0] == "2016-09-26_15-49-32_002"


def test_cells_that_join_sources(session, recordings):
    dataset = load_experiment_auto(session, recordings[0], mapped="r+")
    dataset2 = load_experiment_auto(session, recordings[1], mapped="r+")
    assert "MappedSource" in str(dataset)
    assert {k: getattr(dataset.data, k) for k in dataset.data.aligned_arrays} == {
        "adc": dataset.adc,
        "aux": dataset.aux,
    }
    joined_dataset = dataset.data.join(dataset2.data)
    t1, t2 = dataset.data.shape[1], dataset2.data.shape[1]
    assert joined_dataset.shape == (61, t1 + t2)
    assert type(dataset.data.data_buffer) is HDF5Buffer
    assert type(joined_dataset.data_buffer) is BufferBinder
    spanning = np.r_[dataset.data[0, -200:], dataset2.data[0, :200]]
    assert np.array_equal(joined_dataset[0, t1 - 200 : t1 + 200], spanning)


def test_cells_that_join_datasets(session, recordings):
    dataset = load_experiment_auto(session, recordings[0], mapped="r+")
    dataset2 = load_experiment_auto(session, recordings[1], mapped="r+")
    n_samples = dataset.data.shape[1] + dataset2.data.shape[1]
    mask = dataset.data.binary_channel_mask
    mask[:10] = False
    dataset.data.set_channel_mask(mask)
    dataset.chan_map = dataset.chan_map.subset(mask)
    joined_set = join_datasets([dataset, dataset2])
    assert sizes(joined_set) == expected_sizes(51, n_samples)
    assert joined_set.chan_map.image()
    mapped = joined_set.data[:, -3000:]

    dataset2.data.set_channel_mask(None)
    joined_set = join_datasets([dataset, dataset2], source_type="loaded", popdata=False)
    assert sizes(joined_set) == expected_sizes(51, n_samples)
    assert type(joined_set.data) is PlainArraySource
    assert np.array_equal(joined_set.data[:, -3000:], mapped)

    for source_type, kind in (("mapped", MappedSource), ("loaded", PlainArraySource)):
        dataset2 = load_experiment_auto(session, recordings[1], mapped=False)
        joined_set = join_datasets([dataset, dataset2], source_type=source_type)
        assert type(joined_set.data) is kind
        assert sizes(joined_set) == expected_sizes(51, n_samples)
        assert np.array_equal(joined_set.data[:, -3000:], mapped)


def test_cells_that_load_several(session, recordings):
    full_dataset = load_datasets(session, recordings[:4], load_kwargs={"mapped": "r+"})
    assert full_dataset.name == ", ".join(recordings[:4])
    assert full_dataset.data.shape[0] == 61
    assert len(full_dataset.exp) == 16
