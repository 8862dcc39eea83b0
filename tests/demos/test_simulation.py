"""The simulated recorder: what it promises about its signals, and that they come in blocks."""

from __future__ import annotations

import numpy as np
import pytest

from ecogsource import view
from ecogsource.demos import Recorder, Stimuli, grid_positions, tone_sequence
from ecogsource.demos.noise import PinkNoise, spatial_mixing

FS = 1000.0
POSITIONS = grid_positions(4, 4, 0.5)


def whole(recorder: Recorder, n_samples: int, stimuli: Stimuli) -> dict[str, np.ndarray]:
    blocks = list(recorder.blocks(n_samples, stimuli))
    return {key: np.concatenate([block[key] for block in blocks], axis=1) for key in blocks[0]}


def silence() -> Stimuli:
    return tone_sequence(0, FS, 0.5, seed=0)


def test_grid_positions_run_along_rows() -> None:
    np.testing.assert_allclose(
        grid_positions(2, 3, 0.5), [[0, 0], [0, 0.5], [0, 1], [0.5, 0], [0.5, 0.5], [0.5, 1]]
    )


@pytest.mark.parametrize("n_samples", [1, 511, 512, 513, 2000])
def test_noise_comes_in_blocks_of_the_right_length(n_samples: int) -> None:
    noise = PinkNoise(np.eye(2), FS, seed=0, hop=512)
    lengths = [block.shape for block in noise.blocks(n_samples)]
    assert sum(length for _, length in lengths) == n_samples
    assert all(shape == (2, 512) for shape in lengths[:-1])


def test_noise_does_not_depend_on_its_length() -> None:
    noise = PinkNoise(np.eye(2), FS, seed=3, hop=256)
    long = np.concatenate(list(noise.blocks(1500)), axis=1)
    short = np.concatenate(list(noise.blocks(700)), axis=1)
    np.testing.assert_array_equal(long[:, :700], short)


def test_noise_is_pink_of_unit_variance_throughout() -> None:
    noise = PinkNoise(np.eye(4), FS, seed=1, exponent=1.0, hop=4096)
    values = np.concatenate(list(noise.blocks(200_000)), axis=1)
    assert values.std() == pytest.approx(1.0, rel=0.05)
    frequency, density = view.power_spectrum(values, FS)
    band = (frequency > 4) & (frequency < 400)
    slope = np.polyfit(np.log(frequency[band]), np.log(density.mean(axis=0)[band]), 1)[0]
    assert slope == pytest.approx(-1.0, abs=0.05)
    # The seams between segments are no louder or quieter than the middles.
    phase = (values**2).mean(axis=0)[: 48 * 4096].reshape(48, 8, 512).mean(axis=(0, 2))
    assert phase.max() / phase.min() < 1.4


def test_neighbours_are_more_alike_than_strangers() -> None:
    mixing = spatial_mixing(POSITIONS, length_mm=1.0)
    noise = PinkNoise(mixing, FS, seed=2, exponent=0.0, hop=4096)
    values = np.concatenate(list(noise.blocks(100_000)), axis=1)
    expected = np.exp(-np.linalg.norm(POSITIONS[:, None] - POSITIONS[None], axis=-1))
    np.testing.assert_allclose(np.corrcoef(values), expected, atol=0.03)


def test_mixing_survives_two_electrodes_in_one_place() -> None:
    mixing = spatial_mixing(np.zeros((3, 2)), length_mm=1.0)
    np.testing.assert_allclose(mixing @ mixing.T, np.ones((3, 3)), atol=1e-6)


def test_a_seed_gives_the_same_recording_every_time() -> None:
    tones = tone_sequence(5, FS, 0.5, seed=4)
    one, two, other = (whole(Recorder(POSITIONS, FS, seed=seed), 9000, tones) for seed in (4, 4, 5))
    for key in ("electrodes", "adc", "aux"):
        np.testing.assert_array_equal(one[key], two[key])
        assert not np.array_equal(one[key], other[key])


def test_arrays_have_the_shapes_that_were_asked_for() -> None:
    recorder = Recorder(POSITIONS, FS, seed=0, n_adc=3, n_aux=2)
    shapes = {key: values.shape for key, values in whole(recorder, 10_000, silence()).items()}
    assert recorder.n_channels == 16
    assert shapes == {"electrodes": (16, 10_000), "adc": (3, 10_000), "aux": (2, 10_000)}


def test_the_trigger_line_rises_at_every_stimulus() -> None:
    # 8192 is the border of two blocks: pulses lie across it and begin right at it.
    onsets = np.array([100, 8185, 8192 + 300, 16384, 19_990])
    stimuli = Stimuli(onsets, np.full(5, 1000.0), np.full(5, 70.0))
    lines = whole(Recorder(POSITIONS, FS, seed=0), 20_000, stimuli)["adc"]
    high = lines[0] > 2.5
    rises = np.flatnonzero(high[1:] & ~high[:-1]) + 1
    np.testing.assert_array_equal(rises, onsets)
    assert high.sum() == 4 * 20 + 10
    assert np.abs(lines[1]).max() < 0.1


def test_stimuli_evoke_a_wave_that_travels() -> None:
    positions = grid_positions(1, 12, 0.25)
    stimuli = Stimuli(np.arange(300, 59_000, 500), np.full(118, 500.0), np.full(118, 70.0))
    recorder = Recorder(positions, FS, seed=1, line_hz=51.3)
    values = whole(recorder, 60_000, stimuli)["electrodes"]
    average = view.evoked_average(values, stimuli.samples, 20, 150)
    distance = np.linalg.norm(positions - recorder.origin(500.0), axis=1)
    near, far = distance.argmin(), np.abs(distance - 1.3).argmin()
    assert average[near].min() < -100
    assert average[near].argmin() < average[far].argmin() < 20 + 80
    assert average[:, 20:].std() > 5 * average[:, :20].std()


def test_louder_tones_evoke_larger_waves() -> None:
    heights = []
    for level in (70.0, 50.0):
        stimuli = Stimuli(np.arange(500, 29_000, 500), np.full(57, 4000.0), np.full(57, level))
        values = whole(Recorder(POSITIONS, FS, seed=2), 30_000, stimuli)["electrodes"]
        heights.append(-view.evoked_average(values, stimuli.samples, 20, 150).min())
    assert heights[0] > 2 * heights[1]


def test_mains_hum_stands_out_with_its_harmonics() -> None:
    values = whole(Recorder(POSITIONS, FS, seed=0, line_hz=50.0), 60_000, silence())["electrodes"]
    frequency, density = view.power_spectrum(values, FS)
    power = density.mean(axis=0)
    for hz in (50, 150):
        at = int(np.abs(frequency - hz).argmin())
        assert power[at] > 10 * power[at + 5]


def test_dead_channels_see_the_mains_but_not_the_brain() -> None:
    recorder = Recorder(POSITIONS, FS, seed=0, dead=(3, 9))
    tones = tone_sequence(20, FS, 0.5, seed=0)
    deviation = whole(recorder, 12_000, tones)["electrodes"].std(axis=1)
    assert set(np.argsort(deviation)[:2]) == {3, 9}
    assert deviation[[3, 9]].max() < 0.5 * np.median(deviation)


def test_tones_are_balanced_and_jittered() -> None:
    tones = tone_sequence(78, FS, 0.6, seed=7)
    assert len(tones) == 78
    conditions = list(zip(tones.tones_hz, tones.levels_db, strict=True))
    assert len(set(conditions)) == 39
    assert all(conditions.count(condition) == 2 for condition in conditions)
    gaps = np.diff(tones.samples)
    assert gaps.min() > 300
    assert len(np.unique(gaps)) > 10
    assert tones.samples.dtype == np.int64


def test_stimuli_must_fit_together() -> None:
    with pytest.raises(ValueError, match="must be as many: there are 2, 1 and 2"):
        Stimuli(np.array([1, 2]), np.array([1.0]), np.array([1.0, 2.0]))
    with pytest.raises(ValueError, match="onsets of stimuli must rise"):
        Stimuli(np.array([2, 1]), np.array([1.0, 1.0]), np.array([1.0, 2.0]))
