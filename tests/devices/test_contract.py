"""What every loader promises, on a small recording of its own system."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecogsource.datasource import MappedSource, PlainArraySource
from ecogsource.devices import (
    ActiveLoader,
    BlackrockLoader,
    Dataset,
    FileLoader,
    GenericLoader,
    MuxLoader,
    OpenEphysLoader,
    RHDLoader,
)
from ecogsource.errors import DataPathError, ReadOnlyError
from tests.devices.files import PULSES, pulse_line, write_active, write_packed

N_SAMPLES = 1000
INTS = np.random.default_rng(3).integers(-3000, 3000, (64, N_SAMPLES)).astype(np.int16)
ADC = pulse_line(N_SAMPLES)[np.newaxis]

Make = Callable[..., FileLoader]


def _active(folder: Path) -> Make:
    write_active(folder / "rec.mat", N_SAMPLES)
    names = ("actv_64", "2t-as daq v1", "zif26 to 2x uhdmi")
    return lambda **options: ActiveLoader(folder, "rec", *names, trigger_idx=0, **options)


def _mux(folder: Path) -> Make:
    write_active(folder / "rec.h5", N_SAMPLES, rows=15, cols=4)
    names = ("ratv3_mux6_15row", None, "mux6")
    return lambda **options: MuxLoader(folder, "rec", *names, trigger_idx=0, **options)


def _open_ephys(folder: Path) -> Make:
    write_packed(folder / "rec.h5", INTS, "chdata", adc=ADC, aux=np.zeros((3, N_SAMPLES)))
    return lambda **options: OpenEphysLoader(
        folder, "rec", "psv_61_intan2", trigger_idx=0, **options
    )


def _rhd(folder: Path) -> Make:
    write_packed(folder / "rec.h5", INTS, "amplifier_data", header=True, board_adc_data=ADC)
    return lambda **options: RHDLoader(folder, "rec", "ratv5_intan", trigger_idx=0, **options)


def _blackrock(folder: Path) -> Make:
    write_packed(folder / "rec.h5", INTS, trig_idx=np.array(PULSES))
    return lambda **options: BlackrockLoader(folder, "rec", "psv_61_gray", trigger_idx=0, **options)


def _generic(folder: Path) -> Make:
    write_packed(folder / "rec.h5", INTS.T, adc=ADC.T)
    return lambda **options: GenericLoader(
        folder, "rec", "grid_8x8", trigger_idx=0, units_scale=0.5, **options
    )


@pytest.fixture(params=[_active, _mux, _open_ephys, _rhd, _blackrock, _generic])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    return request.param(tmp_path)


def test_channels_and_map_agree(make: Make) -> None:
    chan_map, electrodes, others, references = make().make_channel_map()
    assert chan_map is not None
    assert len(chan_map) == len(electrodes)
    assert not set(electrodes) & {*others, *references}
    assert electrodes == sorted(electrodes)
    dataset = make().create_dataset()
    assert dataset.data.shape == (len(electrodes), N_SAMPLES)
    assert dataset.chan_map == chan_map


def test_ways_to_load_give_the_same(make: Make) -> None:
    mapped, loaded, writeable = (make(mapped=how).create_dataset() for how in (True, False, "r+"))
    expected = mapped.data[:, :]
    assert expected.dtype == np.float32
    for dataset in (loaded, writeable):
        np.testing.assert_array_equal(dataset.data[:, :], expected)
        assert list(dataset) == list(mapped)
        for name, array in dataset.data.aligned_arrays.items():
            np.testing.assert_array_equal(array[...], mapped[name][...])
            assert array is dataset[name]
    assert isinstance(mapped.data, MappedSource)
    assert isinstance(loaded.data, PlainArraySource)
    with pytest.raises(ReadOnlyError):
        mapped.data[0, 0] = 1
    writeable.data[:, :5] = 7
    np.testing.assert_array_equal(writeable.data[:, :6][:, :5], 7)
    np.testing.assert_array_equal(mapped.data[:, :5], expected[:, :5])


@pytest.mark.parametrize(
    "index", [np.s_[::-3, 5:700:7], np.s_[[3, 0, 3], -10:], np.s_[2], np.s_[..., -1]]
)
def test_slices_are_those_of_numpy(make: Make, index: Any) -> None:
    data = make().create_dataset().data
    whole = data[:, :]
    got = data[index]
    assert got.shape == whole[index].shape
    np.testing.assert_array_equal(got, whole[index])


def test_triggers(make: Make) -> None:
    dataset = make().create_dataset()
    assert dataset.pos_edge.dtype == np.int64
    assert dataset.pos_edge.tolist() == list(PULSES)


def test_the_keys_of_a_dataset(make: Make) -> None:
    dataset = make().create_dataset()
    assert isinstance(dataset, Dataset)
    keys = {"data", "chan_map", "Fs", "pos_edge", "neg_edge", "trig_chan", "units", "name"}
    keys |= {"bandpass", "notches", "ground_chans", "ref_chans"}
    assert keys <= set(dataset)
    assert (dataset.name, dataset.Fs, dataset.units) == ("rec", 1000.0, "uV")
    assert dataset.data.fs == 1000.0


def test_downsampling(make: Make) -> None:
    dataset = make(resample_rate=250, save_downsamp=False).create_dataset()
    assert dataset.Fs == 250.0
    assert dataset.data.shape[1] == N_SAMPLES // 4
    assert dataset.pos_edge.tolist() == [start // 4 for start in PULSES]


def test_pickling_and_closing(make: Make) -> None:
    with make().create_dataset() as dataset:
        copied = pickle.loads(pickle.dumps(dataset))
        np.testing.assert_array_equal(copied.data[:3, :9], dataset.data[:3, :9])
    assert dataset.data[0, :2].shape == (2,)


def test_a_recording_that_is_not_there(make: Make, tmp_path: Path) -> None:
    loader = make()
    loader.recording = "other"
    with pytest.raises(DataPathError) as caught:
        loader.create_dataset()
    for suffix in loader.suffixes:
        assert str(tmp_path / f"other{suffix}") in str(caught.value)
