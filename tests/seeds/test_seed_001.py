"""The cells of ecogdata's notebook on mapped sources run with the imports renamed."""

from __future__ import annotations

import os

import h5py
import numpy as np
import pytest

from ecogsource.datasource import MappedSource, MemoryBlowOutError
from ecogsource.demos import make_lab
from ecogsource.devices import ActiveLoader, params_table
from ecogsource.expconfig import OVERRIDE, load_params, session_info


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    return make_lab(tmp_path_factory.mktemp("lab"), groups=["16011"])


@pytest.fixture
def loader(lab):
    OVERRIDE.update(lab.params)
    info = session_info("16011/2016-09-01_active", params_table=params_table)
    f_path = os.path.join(info.nwk_path, "test_001.mat")
    with h5py.File(f_path, "r") as f:
        assert f["data"].shape == (60000, 88)
    names = (info.nwk_path, "test_001", info.electrode, info.daq, info.headstage)
    return ActiveLoader(*names, bnc=info.bnc, trigger_idx=0, mapped=True)


@pytest.fixture
def mapped_source(loader):
    return loader.create_dataset().data


def test_cells_on_the_channel_map(loader):
    channel_map, electrode_channels, other_channels, ref_channels = loader.make_channel_map()
    assert len(electrode_channels) == 64
    assert max(electrode_channels) < 80
    assert electrode_channels != list(range(64))
    assert len(other_channels) == 24
    assert not ref_channels
    places = [(int(i), int(j)) for i, j in zip(*channel_map.to_mat(), strict=True)][:16]
    assert sorted(i for i, _ in places[:8]) == list(range(8))
    assert len({j for _, j in places[:8]}) == 1
    assert len({j for _, j in places}) == 2


def test_cells_on_channel_masks(loader):
    dataset = loader.create_dataset()
    assert "MappedSource" in str(dataset)
    mapped_source = dataset.data
    assert mapped_source.shape == (64, 60000)
    assert mapped_source.data_buffer.shape == (60000, 88)
    mask = mapped_source.binary_channel_mask
    mask[:8] = False
    before = list(mapped_source._active_channels)
    mapped_source.set_channel_mask(mask)
    assert list(mapped_source._active_channels) == before[8:]
    assert mapped_source.shape == (56, 60000)
    assert mapped_source.data_buffer.shape == (60000, 88)
    figure, colorbar = dataset.chan_map.subset(mask).image()
    assert figure.axes
    assert colorbar is not None
    mask[:] = True
    mapped_source.set_channel_mask(mask)
    mapped_source.set_channel_mask(None)
    assert mapped_source.shape == (64, 60000)


def test_cells_on_slices(mapped_source):
    active = mapped_source._active_channels
    time, channels = mapped_source._slice_logic(np.s_[5:15, 0:1000])
    assert time == slice(0, 1000, 1)
    assert list(channels) == list(active[5:15])
    time, channels = mapped_source._slice_logic(np.s_[[1, 4, 10], 10:20])
    assert list(channels) == list(active[[1, 4, 10]])
    time, channel = mapped_source._slice_logic(np.s_[30, 10:20])
    assert (time, channel) == (slice(10, 20, 1), active[30])


def test_cells_on_the_memory_limit(mapped_source):
    normal = load_params().memory_limit
    max_samps = int(1e5 / mapped_source.dtype.itemsize / len(mapped_source)) + 1
    buffer_slice = mapped_source._slice_logic(np.s_[:, :max_samps])
    try:
        OVERRIDE["memory_limit"] = 1e5
        with pytest.raises(MemoryBlowOutError, match="100096 bytes"):
            mapped_source._check_slice_size(buffer_slice)
        with mapped_source.big_slices():
            mapped_source._check_slice_size(buffer_slice)
    finally:
        del OVERRIDE["memory_limit"]
    assert load_params().memory_limit == normal


def test_cells_on_caching_and_maps_of_channels(mapped_source):
    mapped_source.cache_slice(np.s_[:, :50000])
    assert np.array_equal(mapped_source.get_cached_slice(), mapped_source[:, :50000])
    data_ch0 = mapped_source[0:2]
    assert type(data_ch0) is np.ndarray
    with mapped_source.channels_are_maps():
        new_map = mapped_source[0:2]
    assert type(new_map) is MappedSource
    assert new_map.data_buffer is mapped_source.data_buffer
    assert np.array_equal(new_map[:], data_ch0)


def test_cells_on_mirrors(mapped_source):
    rw_source = mapped_source.mirror(writeable=True, mapped=True, copy="all")
    assert not mapped_source.writeable
    assert rw_source.writeable
    assert rw_source.data_buffer.filename != mapped_source.data_buffer.filename
    assert rw_source.is_direct_map
    assert rw_source.shape == rw_source.data_buffer.shape == (64, 60000)
    expected = mapped_source[:5, 98:101]
    expected[:, :2] = 0
    rw_source[:, :100] = 0
    assert np.array_equal(rw_source[:5, 98:101], expected)
