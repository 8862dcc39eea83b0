"""Designs against SciPy's, and what they do to a tone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from ecogsource.filters import design_filter, design_notch, notch_lines


def test_families_are_scipys() -> None:
    sos = design_filter("butterworth", fs=1000, lo=5, hi=100).sos
    np.testing.assert_array_equal(
        sos, signal.butter(4, (5, 100), "bandpass", fs=1000, output="sos")
    )
    sos = design_filter("cheby2", fs=1000, hi=100, order=5, attenuation=50).sos
    np.testing.assert_array_equal(sos, signal.cheby2(5, 50, 100, "lowpass", fs=1000, output="sos"))
    sos = design_filter("ellip", fs=1000, lo=3, order=2, ripple=1, attenuation=30).sos
    np.testing.assert_array_equal(sos, signal.ellip(2, 1, 30, 3, "highpass", fs=1000, output="sos"))
    taps = design_filter("fir", fs=1000, lo=20, hi=80, order=200, stop=True).taps
    np.testing.assert_array_equal(taps, signal.firwin(201, (20, 80), pass_zero="bandstop", fs=1000))


@pytest.mark.parametrize("ftype", ["butterworth", "chebyshev2", "elliptic", "fir"])
@pytest.mark.parametrize(
    ("lo", "hi", "passed", "stopped"),
    [(10, 50, 25, 150), (None, 50, 5, 150), (50, 0, 150, 10)],
)
def test_bands(ftype: str, lo: float | None, hi: float, passed: float, stopped: float) -> None:
    design = design_filter(ftype, fs=1000, lo=lo, hi=hi)
    gain = np.abs(design.response(np.array([passed, stopped], dtype=float)))
    assert gain[0] > 0.9
    assert gain[1] < 0.05


def test_fir_length_follows_the_width() -> None:
    taps = design_filter("fir", fs=1000, hi=100, width=10).taps
    assert taps is not None
    assert len(taps) == 331


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ftype": "bessel", "hi": 3}, "unknown filter type 'bessel'"),
        ({}, "give lo, hi, or both"),
        ({"hi": 500}, r"hi=500 Hz is outside the band 0 < f < 500.0 Hz"),
        ({"lo": -1}, "lo=-1 Hz is outside"),
        ({"lo": 50, "hi": 20}, "lo=50 Hz must be below hi=20 Hz"),
        ({"lo": 50, "stop": True}, "needs both lo and hi"),
        ({"hi": 50, "order": 0}, "order must be at least 1"),
        ({"hi": 50, "fs": 0}, "sampling rate must be a positive number"),
    ],
)
def test_impossible_designs(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        design_filter(**{"fs": 1000, **options})  # type: ignore[arg-type]


def test_notch_removes_lines_and_leaves_the_rest() -> None:
    design = design_notch(1000, 60, nmax=200)
    assert design.sos is not None
    assert design.sos.shape == (3, 6)
    gain = np.abs(design.response(np.array([60.0, 120, 180, 30, 90, 240])))
    assert gain[:3].max() < 1e-6
    assert gain[3:].min() > 0.98
    half_power = np.abs(design_notch(1000, [50.0], width=4).response(np.array([48.0, 52.0])))
    np.testing.assert_allclose(half_power, 2**-0.5, rtol=0.02)


def test_lines() -> None:
    assert notch_lines(60, 500) == (60.0, 120.0, 180.0, 240.0)
    assert notch_lines(125, 500) == (125.0,)
    assert notch_lines([100, 50], 500, nmax=60) == (50.0, 100.0)
    with pytest.raises(ValueError, match="300.0 Hz is outside"):
        notch_lines([300], 500)
    with pytest.raises(ValueError, match="600.0 Hz is outside"):
        notch_lines(600, 500)
    with pytest.raises(ValueError, match="no line frequency is left"):
        notch_lines(60, 500, nmax=10)
    with pytest.raises(ValueError, match="width must be positive"):
        design_notch(500, 60, width=0)
