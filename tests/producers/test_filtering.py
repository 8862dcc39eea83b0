"""Filters of producers: what SciPy gives on the whole array, whatever the chunks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from ecogsource.filters import DecimateStream, design_filter, design_notch, run_stream
from ecogsource.producers import producer
from tests.producers.helper import check

FS = 1000.0
X = np.random.default_rng(0).standard_normal((3, 30_000)).cumsum(axis=1)
BAND = design_filter(fs=FS, lo=5.0, hi=100.0)


def sources(array, axis):
    yield producer(array, 700, axis)
    yield producer(lambda: np.split(array, [99, 8000], axis=axis), 700, axis, shape=array.shape)


@pytest.mark.parametrize("axis", [1, 0])
def test_a_causal_filter(axis):
    array = X if axis else X.T
    expected = signal.sosfilt(BAND.sos, array, axis=axis)
    for pro in sources(array, axis):
        for made in (pro.filter(BAND), pro.filter(BAND.sos), pro.filter_band(fs=FS, lo=5, hi=100)):
            assert made.shape == array.shape
            np.testing.assert_allclose(made.to_array(), expected, atol=1e-9)
        check(pro.filter(BAND).rechunk(11_111), pro.filter(BAND).to_array())


def test_taps_notches_and_types():
    taps = signal.firwin(31, 100, fs=FS)
    pro = producer(X.astype("f4"), 700, -1)
    made = pro.filter(taps)
    assert made.dtype == np.float32
    np.testing.assert_allclose(made.to_array(), signal.lfilter(taps, 1, X), atol=1e-3)
    notch = design_notch(FS, 60.0)
    expected = signal.sosfilt(notch.sos, X)
    got = producer(X, 700, -1).filter_notch(fs=FS, lines=60.0).to_array()
    np.testing.assert_allclose(got, expected, atol=1e-9)
    whole = producer(np.arange(90, dtype="i2"), 20, 0).filter(taps)
    assert whole.dtype == np.float64


def test_starting_as_if_the_first_sample_had_lasted():
    high = design_filter(fs=FS, lo=5.0)
    pro = producer(X + 1000.0, 700, -1)
    steady = pro.filter(high, initial="steady").to_array()
    assert np.abs(steady[:, 0]).max() < 1e-6
    assert np.abs(pro.filter(high).to_array()[:, 0]).min() > 100


@pytest.mark.parametrize("axis", [1, 0])
def test_zero_phase(axis):
    array = X if axis else X.T
    expected = signal.sosfiltfilt(BAND.sos, array, axis=axis)
    made = producer(array, 700, axis).filter_band(fs=FS, lo=5, hi=100, zero_phase=True)
    np.testing.assert_allclose(made.to_array(), expected, atol=1e-7)
    np.testing.assert_allclose(made.flip().to_array(), np.flip(expected, axis), atol=1e-7)
    stream = producer(lambda: [array], 700, axis, shape=array.shape)
    with pytest.raises(ValueError, match="zero_phase=True needs the end"):
        stream.filter(BAND, zero_phase=True)


def test_decimate():
    expected = np.concatenate(list(run_stream([X], DecimateStream(10))), axis=-1)
    for pro in sources(X, 1):
        made = pro.decimate(10)
        assert made.shape == (3, 3000)
        np.testing.assert_allclose(made.to_array(), expected, atol=1e-9)
        assert [c.shape[1] for c in made] == [700, 700, 700, 700, 200]
    tall = producer(X.T, 700, 0).decimate(7)
    assert tall.shape == (4286, 3)
    check(tall.rechunk(99), tall.to_array())


def test_filters_of_lazy_results_and_slices():
    pro = (producer(X, 700, -1) * 2).filter(BAND).slice(1000, 2000)
    expected = signal.sosfilt(BAND.sos, X * 2)[:, 1000:2000]
    np.testing.assert_allclose(pro.to_array(), expected, atol=1e-9)


def test_what_is_no_filter():
    pro = producer(X, 700, -1)
    with pytest.raises(ValueError, match=r"second-order sections of shape \(sections, 6\)"):
        pro.filter(np.ones((3, 5)))
    with pytest.raises(ValueError):
        pro.filter_band(fs=FS)
    with pytest.raises(ValueError):
        pro.decimate(0)
    with pytest.raises(TypeError, match="real numbers"):
        (pro + 1j).filter(BAND)
