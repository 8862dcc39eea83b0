"""Flat files that go channel after channel, and telling them from others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ecogsource.datasource import MappedSource
from ecogsource.demos.noise import PinkNoise
from ecogsource.io import open_recording
from ecogsource.io.layouts import FlatLayout
from ecogsource.io.order import in_order, likely_order, order_warnings, smoothness


def waves(n_channels: int = 40, n_samples: int = 5000) -> np.ndarray:
    """Return rhythms around 20 Hz at a rate of 250 Hz, as field potentials are stored."""
    noise = PinkNoise(np.eye(n_channels), 250.0, seed=0, exponent=3.0, corner_hz=20.0)
    return np.concatenate(list(noise.blocks(n_samples)), axis=1).astype("f4")


def opened(path: Path, n_channels: int, order: str) -> tuple[MappedSource, FlatLayout]:
    recording = open_recording(path, dtype="float32", n_channels=n_channels, order=order)
    layout = recording.info.streams[0].segments[0].layout
    assert isinstance(layout, FlatLayout)
    return recording.source, layout


@pytest.mark.parametrize("said", ["samples", "channels"])
@pytest.mark.parametrize("true", ["samples", "channels"])
def test_brain_waves_are_found_in_their_order(tmp_path: Path, true: str, said: str) -> None:
    values = waves()
    (values.T if true == "samples" else values).tofile(tmp_path / "a.dat")
    source, layout = opened(tmp_path / "a.dat", len(values), said)
    assert likely_order(source, layout) == true
    right = in_order(source, layout, true)
    np.testing.assert_array_equal(right[:], values, strict=True)
    assert (right is source) == (said == true)


@pytest.mark.parametrize("said", ["samples", "channels"])
def test_noise_is_left_in_the_order_that_was_said(tmp_path: Path, said: str) -> None:
    values = np.random.default_rng(0).standard_normal((4, 3000)).astype("f4")
    values.T.tofile(tmp_path / "a.dat")
    source, layout = opened(tmp_path / "a.dat", 4, said)
    assert likely_order(source, layout) == said


def test_one_channel_has_one_order(tmp_path: Path) -> None:
    np.random.default_rng(0).standard_normal(3000).astype("f4").tofile(tmp_path / "a.dat")
    source, layout = opened(tmp_path / "a.dat", 1, "samples")
    assert likely_order(source, layout) == "samples"


def test_smoothness_of_noise_ramps_and_constants() -> None:
    noise = np.random.default_rng(0).standard_normal((5, 10_000))
    assert smoothness(noise) == pytest.approx(0.0, abs=0.03)
    assert smoothness(np.cumsum(noise, axis=1)) > 0.9
    assert smoothness(np.arange(100, dtype=np.uint8)[None]) > 0.9
    assert smoothness(np.ones((2, 50))) == 0.0


@pytest.mark.parametrize("true", ["samples", "channels"])
def test_who_does_not_say_the_order_is_warned(
    tmp_path: Path, true: str, caplog: pytest.LogCaptureFixture
) -> None:
    values = waves()
    (values.T if true == "samples" else values).tofile(tmp_path / "a.dat")
    facts = {"dtype": "float32", "n_channels": len(values)}
    with open_recording(tmp_path / "a.dat", **facts) as recording:
        warned = [text for text in recording.info.warnings if "probably stored so" in text]
    assert len(warned) == (true == "channels")
    if warned:
        assert "order='channels' reads it so; order='samples' says it is right" in warned[0]
        assert warned[0] in caplog.text
    with open_recording(tmp_path / "a.dat", order="samples", **facts) as recording:
        assert recording.info.warnings == ()


def test_the_real_file_that_goes_channel_after_channel(shared_data: Path) -> None:
    (path,) = (shared_data / "flat" / "peslab").glob("*.dat")
    with open_recording(path) as recording:
        assert any("order='channels' reads it so" in text for text in recording.info.warnings)


def test_a_file_that_cannot_be_looked_at_gets_no_warning(tmp_path: Path) -> None:
    layout = FlatLayout(str(tmp_path / "absent.dat"), np.dtype("f4"), (4, 100), "F")
    assert order_warnings(layout) == ()
