"""The numbers that pictures show, against NumPy and SciPy on the whole array."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from ecogsource import view
from ecogsource.view import decimate
from tests.view.helper import ArraySource


def test_short_stretch_comes_back_whole() -> None:
    values = np.arange(30.0).reshape(3, 10)
    positions, drawn = view.read_envelope(values, 2, 9, [2, 0])
    np.testing.assert_array_equal(positions, np.arange(2, 9))
    np.testing.assert_array_equal(drawn, values[[2, 0], 2:9])


@pytest.mark.parametrize("n_samples", [101, 1000, 1003])
def test_envelope_holds_the_extremes_of_every_bin(
    monkeypatch: pytest.MonkeyPatch, n_samples: int
) -> None:
    monkeypatch.setattr(decimate, "READ_BYTES", 2 * 2 * 64)
    values = np.random.default_rng(0).integers(-99, 99, (4, n_samples)).astype(np.int16)
    source = ArraySource(values)
    positions, drawn = view.read_envelope(source, 0, n_samples, [1, 3], max_points=100)
    length = -(-2 * n_samples // 100)
    bins = [values[[1, 3], at : at + length] for at in range(0, n_samples, length)]
    assert drawn.dtype == np.int16
    assert drawn.shape == (2, 2 * len(bins)) == (2, len(positions))
    for number, cells in enumerate(bins):
        np.testing.assert_array_equal(drawn[:, 2 * number], cells.min(axis=1))
        np.testing.assert_array_equal(drawn[:, 2 * number + 1], cells.max(axis=1))
    assert len(positions) <= 100
    assert np.all(np.diff(positions) > 0)
    assert source.largest_read <= 2 * 2 * 64


def test_envelope_keeps_a_single_spike() -> None:
    values = np.zeros((1, 100_000))
    values[0, 54_321] = 7.0
    _, drawn = view.read_envelope(values, 0, 100_000, [0], max_points=500)
    assert drawn.max() == 7.0


def test_evoked_average_is_the_mean_of_the_windows() -> None:
    values = np.random.default_rng(1).standard_normal((3, 500))
    events = np.array([2, 100, 250, 499])  # the first and the last reach over an end
    average = view.evoked_average(values, events, 10, 40)
    windows = np.mean([values[:, e - 10 : e + 40] for e in (100, 250)], axis=0)
    expected = windows - windows[:, :10].mean(axis=1, keepdims=True)
    assert average.shape == (3, 50)
    np.testing.assert_allclose(average, expected)


def test_evoked_average_without_a_baseline() -> None:
    values = np.arange(20.0).reshape(1, 20)
    np.testing.assert_allclose(view.evoked_average(values, np.array([5]), 0, 3), [[5, 6, 7]])


def test_no_event_inside_is_an_error() -> None:
    with pytest.raises(ValueError, match="none of 2 events has 5 samples before it and 5 after"):
        view.evoked_average(np.zeros((1, 20)), np.array([1, 19]), 5, 5)


@pytest.mark.parametrize("fs", [250.0, 1001.0])
def test_spectrum_is_welch(monkeypatch: pytest.MonkeyPatch, fs: float) -> None:
    monkeypatch.setattr(decimate, "READ_BYTES", 8 * 3 * 1500)
    values = np.random.default_rng(2).standard_normal((3, 5000)) + 4.0
    frequency, density = view.power_spectrum(values, fs, window_s=1.0, start=100, stop=4900)
    expected_frequency, expected = signal.welch(
        values[:, 100:4900],
        fs,
        window="hann",
        nperseg=round(fs),
        noverlap=round(fs) - round(fs) // 2,
    )
    np.testing.assert_allclose(frequency, expected_frequency)
    np.testing.assert_allclose(density, expected, rtol=1e-8, atol=1e-12)


def test_spectrum_of_a_short_stretch_uses_one_window() -> None:
    values = np.random.default_rng(3).standard_normal((2, 64))
    frequency, density = view.power_spectrum(values, 1000.0)
    assert frequency.shape == (33,)
    assert density.shape == (2, 33)


def test_deviation_survives_a_large_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decimate, "READ_BYTES", 8 * 300)
    values = np.random.default_rng(4).standard_normal((3, 1000))
    values += np.array([[0.0], [1e6], [-1e8]])
    deviation = view.channel_deviation(values, start=5)
    np.testing.assert_allclose(deviation, values[:, 5:].std(axis=1), rtol=1e-6)


def test_gaps_of_nan_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decimate, "READ_BYTES", 8 * 2 * 150)
    values = np.random.default_rng(5).standard_normal((2, 1000))
    values[1, 300:700] = np.nan
    deviation = view.channel_deviation(values)
    np.testing.assert_allclose(deviation, np.nanstd(values, axis=1))
    _, density = view.power_spectrum(values, 100.0)
    _, before = view.power_spectrum(values[:, :300], 100.0)
    _, after = view.power_spectrum(values[:, 700:], 100.0)
    np.testing.assert_allclose(density, (5 * before + 5 * after) / 10)
    values[0] = np.nan
    assert np.isnan(view.channel_deviation(values)[0])
    assert np.isnan(view.power_spectrum(values, 100.0)[1]).all()


def test_grid_image_puts_values_on_their_sites() -> None:
    sites = np.array([[3, 5], [4, 7], [3, 6]])
    image = view.grid_image(np.array([1.0, 2.0, 3.0]), sites)
    np.testing.assert_array_equal(image, [[1, 3, np.nan], [np.nan, np.nan, 2]])


def test_grid_image_needs_a_site_for_each_value() -> None:
    with pytest.raises(ValueError, match=r"4 values need sites of shape \(4, 2\), got \(3, 2\)"):
        view.grid_image(np.zeros(4), np.zeros((3, 2), dtype=int))
