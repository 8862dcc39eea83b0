"""Joining datasets against concatenating arrays."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecogsource.buffers import ArrayBuffer, ReadOnlyBuffer
from ecogsource.channel_map import ChannelMap
from ecogsource.datasets import Dataset, join_datasets
from ecogsource.datasource import MappedSource, PlainArraySource
from ecogsource.errors import JoinError, MemoryBlowOutError
from ecogsource.expconfig import StimulatedExperiment
from ecogsource.params import OVERRIDE

N_SITES = 6


def make_set(
    number: int,
    n_samples: int = 20,
    *,
    sites: list[int] | None = None,
    loaded: bool = False,
    transpose: bool = False,
    writeable: bool = False,
    mask: list[bool] | None = None,
    **changes: Any,
) -> Dataset:
    """Return a dataset whose value at site s and sample t is 1000 * number + 100 * s + t."""
    places = list(range(N_SITES)) if sites is None else sites
    values = 1000.0 * number + 100.0 * np.array(places)[:, None] + np.arange(n_samples)
    adc = np.arange(2.0 * n_samples).reshape(2, n_samples) + number
    if loaded:
        data: Any = PlainArraySource(values, aligned_arrays={"adc": adc}, fs=100.0, units="uV")
    else:
        buffers = [ArrayBuffer(array.T if transpose else array) for array in (values, adc)]
        data_buffer, line = buffers if writeable else map(ReadOnlyBuffer, buffers)
        data = MappedSource(
            data_buffer, aligned_arrays={"adc": line}, transpose=transpose, fs=100.0, units="uV"
        )
    chan_map = ChannelMap(places, (2, 3))
    if mask is not None:
        data.set_channel_mask(mask)
        chan_map = chan_map.subset(mask)
    edges = np.array([2, 7])
    entries = {
        "data": data,
        "adc": data.adc,
        "chan_map": chan_map,
        "Fs": 100.0,
        "pos_edge": edges,
        "neg_edge": edges + 1,
        "trig_chan": data.adc,
        "units": "uV",
        "bandpass": None,
        "notches": None,
        "ground_chans": None,
        "name": f"rec{number}",
        "exp": StimulatedExperiment(edges, {"tones": [100.0 * number, 1.0]}),
        "animal": "rat",
        "day": number,
    }
    return Dataset({**entries, **changes})


@given(st.data())
def test_any_mixture_is_a_concatenation(data: st.DataObject) -> None:
    expected = None
    sets, active = [], []
    for number in range(data.draw(st.integers(1, 4))):
        sites = data.draw(st.permutations(range(N_SITES)))
        mask = data.draw(st.lists(st.booleans(), min_size=N_SITES, max_size=N_SITES))
        mask[sites.index(3)] = True
        flags = {name: data.draw(st.booleans()) for name in ("loaded", "transpose", "writeable")}
        n_samples = data.draw(st.integers(1, 9))
        sets.append(make_set(number, n_samples, sites=sites, mask=mask, **flags))
        active.append([site for site, keep in zip(sites, mask, strict=True) if keep])
    shared = [site for site in active[0] if all(site in one for one in active)]
    parts = [
        1000.0 * number + 100.0 * np.array(shared)[:, None] + np.arange(one.data.shape[1])
        for number, one in enumerate(sets)
    ]
    expected = np.concatenate(parts, axis=1)
    kind = data.draw(st.sampled_from(["", "mapped", "loaded"]))
    before = [(one.data.shape, len(one), one.data.writeable) for one in sets]
    joined = join_datasets(sets, source_type=kind)
    values = joined.data[:, :]
    assert values.shape == expected.shape
    np.testing.assert_array_equal(values, expected)
    assert list(joined.chan_map) == shared
    adc = np.concatenate([np.asarray(one.adc[...]) for one in sets], axis=1)
    np.testing.assert_array_equal(joined.adc[...], adc)
    assert before == [(one.data.shape, len(one), one.data.writeable) for one in sets]
    if kind:
        assert isinstance(joined.data, PlainArraySource if kind == "loaded" else MappedSource)


@pytest.mark.parametrize("loaded", [(False, False), (True, True), (False, True), (True, False)])
def test_everything_else_is_joined_too(loaded: tuple[bool, bool]) -> None:
    sets = [make_set(k, 20 + k, loaded=flag) for k, flag in enumerate(loaded)]
    joined = join_datasets(sets)
    assert isinstance(joined.data, PlainArraySource if all(loaded) else MappedSource)
    assert joined.pos_edge.tolist() == [2, 7, 22, 27]
    assert joined.neg_edge.tolist() == [3, 8, 23, 28]
    assert joined.exp.time_stamps.tolist() == [2, 7, 22, 27]
    assert joined.exp.tones.tolist() == [0, 1, 100, 1]
    assert joined.name == "rec0, rec1"
    assert joined.trig_chan.shape[1] == 41
    assert (joined.Fs, joined.units, joined.animal) == (100.0, "uV", "rat")
    assert "day" not in joined
    assert joined.ground_chans is None
    assert joined.data.fs == 100.0


def test_joins_of_joins() -> None:
    first = join_datasets([make_set(0), make_set(1)])
    joined = join_datasets([first, make_set(2)])
    assert joined.data.shape == (6, 60)
    assert joined.exp.time_stamps.tolist() == [2, 7, 22, 27, 42, 47]
    assert joined.name == "rec0, rec1, rec2"


def test_popping_data() -> None:
    sets = [make_set(0, loaded=True), make_set(1, loaded=True)]
    joined = join_datasets(sets, popdata=True)
    assert joined.data.shape == (6, 40)
    assert all("data" not in one and "adc" not in one for one in sets)
    with pytest.raises(JoinError, match="rec0 has no data: an earlier join with popdata=True"):
        join_datasets(sets)


def test_shared_memory() -> None:
    joined = join_datasets([make_set(0), make_set(1)], source_type="loaded", shared_mem=True)
    assert isinstance(joined.data, PlainArraySource)
    copied = pickle.loads(pickle.dumps(joined.data))
    np.testing.assert_array_equal(copied[:, :], joined.data[:, :])


def test_what_is_loaded_is_in_memory_whole() -> None:
    sets = [make_set(k, ground_chans=make_set(k, sites=[5]).data) for k in range(2)]
    joined = join_datasets(sets, source_type="loaded")
    assert isinstance(joined.ground_chans, PlainArraySource)
    assert isinstance(joined.trig_chan, np.ndarray)
    assert isinstance(joined.adc, np.ndarray)
    np.testing.assert_array_equal(joined.trig_chan, joined.adc)
    assert joined.ground_chans[0, 20] == 1500


def test_sources_that_are_not_electrodes_are_joined() -> None:
    sets = [make_set(k, ground_chans=make_set(k, sites=[5]).data) for k in range(2)]
    joined = join_datasets(sets)
    assert joined.ground_chans.shape == (1, 40)
    assert joined.ground_chans[0, 20] == 1500


def test_words_are_joined() -> None:
    sets = [make_set(k, trig_words=np.array([k, 5])) for k in range(2)]
    assert join_datasets(sets).trig_words.tolist() == [0, 5, 1, 5]


def test_without_channel_maps() -> None:
    sets = [make_set(0, chan_map=None), make_set(1, chan_map=None)]
    joined = join_datasets(sets)
    assert joined.chan_map is None
    assert joined.data.shape == (6, 40)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Fs": 50.0}, r"rec1 has Fs 50\.0, rec0 has 100\.0"),
        ({"units": "mV"}, "rec1 has units 'mV'"),
        ({"bandpass": (1, 2)}, r"rec1 has bandpass \(1, 2\)"),
        ({"chan_map": None}, "rec1 has no channel map"),
        ({"chan_map": ChannelMap([0, 1], (2, 3))}, "has 2 channels, its data have 6 active"),
        ({"chan_map": ChannelMap(range(6), (3, 2))}, "different electrode arrays"),
        ({"mask": [True] * 3 + [False] * 3}, None),
    ],
)
def test_sets_that_do_not_fit(changes: dict[str, Any], message: str | None) -> None:
    first = make_set(0)
    if message is None:
        first = make_set(0, mask=[False] * 3 + [True] * 3)
        message = "no electrode site is active in all sets"
    with pytest.raises(JoinError, match=message):
        join_datasets([first, make_set(1, **changes)])


def test_bad_calls() -> None:
    with pytest.raises(JoinError, match="nothing to join"):
        join_datasets([])
    with pytest.raises(JoinError, match="source_type must be"):
        join_datasets([make_set(0)], source_type="ram")  # type: ignore[arg-type]
    with (
        OVERRIDE.set(memory_limit=100),
        pytest.raises(MemoryBlowOutError, match="join"),
    ):
        join_datasets([make_set(0), make_set(1)], source_type="loaded")
