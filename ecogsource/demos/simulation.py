"""A simulated recorder of brain waves from the surface of the cortex.

The signals have what makes real recordings awkward: a background that falls off with frequency
and is shared by neighbours, waves that travel over the grid after each stimulus, mains hum with
harmonics, dead channels, and analog lines on the same clock that carry the trigger. Everything
follows from a seed, and comes out block by block, so the length is not bounded by memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ecogsource.demos.noise import PinkNoise, spatial_mixing

__all__ = ["Block", "Recorder", "Stimuli", "grid_positions", "tone_sequence"]

Block = Mapping[str, NDArray[np.float64]]

TONES_HZ = tuple(500 * 2 ** (step / 2) for step in range(13))
"""Half-octave steps from 500 Hz to 32 kHz."""
LEVELS_DB = (70, 60, 50)

LATENCY_S = 0.010
"""From the stimulus to the first response, where the wave begins."""
SPEED_MM_S = 150.0
"""Of travelling waves over the cortex; 0.1 to 0.8 m/s is common."""
SPREAD_MM = 1.0
RESPONSE_S = 0.25
"""Length of the window in which one stimulus has an effect."""
PULSE_S = 0.02
PULSE_V = 5.0

# Peaks of the evoked wave: (seconds after onset, width in seconds, relative amplitude).
PEAKS = ((0.010, 0.003, 0.45), (0.024, 0.007, -1.0), (0.062, 0.022, 0.5))


def grid_positions(rows: int, columns: int, pitch_mm: float) -> NDArray[np.float64]:
    """Return the places of a row-major grid of electrodes.

    Parameters
    ----------
    rows, columns : int
        Size of the grid.
    pitch_mm : float
        Distance between neighbours, in mm.

    Returns
    -------
    ndarray, shape (rows * columns, 2), float64
        Vertical and horizontal position, in mm.
    """
    row, column = np.divmod(np.arange(rows * columns), columns)
    return pitch_mm * np.column_stack([row, column]).astype(np.float64)


@dataclass(frozen=True)
class Stimuli:
    """What was played when.

    Parameters
    ----------
    samples : ndarray, shape (events,), int64
        Onsets on the recording's clock.
    tones_hz : ndarray, shape (events,), float64
        Pitch of each tone.
    levels_db : ndarray, shape (events,), float64
        Loudness of each tone.

    Raises
    ------
    ValueError
        If the onsets do not rise, or there are not as many pitches and levels.
    """

    samples: NDArray[np.int64]
    tones_hz: NDArray[np.float64]
    levels_db: NDArray[np.float64]

    def __post_init__(self) -> None:
        lengths = len(self.samples), len(self.tones_hz), len(self.levels_db)
        if len(set(lengths)) > 1:
            raise ValueError(
                "onsets, pitches and levels must be as many: there are {}, {} and {}".format(
                    *lengths
                )
            )
        if np.any(np.diff(self.samples) < 0):
            raise ValueError("onsets of stimuli must rise")

    def __len__(self) -> int:
        """Return the number of stimuli."""
        return len(self.samples)


def tone_sequence(n_tones: int, fs: float, interval_s: float, seed: int) -> Stimuli:
    """Draw a random sequence of tones with a jittered interval.

    Every combination of pitch and loudness comes equally often, as far as `n_tones` divides.

    Parameters
    ----------
    n_tones : int
        How many.
    fs : float
        Sampling rate of the recording, in Hz.
    interval_s : float
        Mean time between onsets, in seconds; the first tone comes after one interval.
    seed : int
        Two calls with the same arguments give the same sequence.

    Returns
    -------
    Stimuli
        Onsets, pitches and levels, each of shape (n_tones,).
    """
    rng = np.random.default_rng([seed, 1])
    conditions = np.array([(tone, level) for level in LEVELS_DB for tone in TONES_HZ])
    order = rng.permutation(np.arange(n_tones) % len(conditions))
    onset_s = interval_s * (1 + np.arange(n_tones) + rng.uniform(-0.15, 0.15, n_tones))
    return Stimuli(
        samples=np.round(onset_s * fs).astype(np.int64),
        tones_hz=conditions[order, 0],
        levels_db=conditions[order, 1],
    )


@dataclass(frozen=True)
class Recorder:
    """The settings of one simulated recording; `blocks` makes its signals.

    Parameters
    ----------
    positions : ndarray, shape (channels, 2), float64
        Where each recorded channel's electrode is, in mm.
    fs : float
        Sampling rate, in Hz.
    seed : int
        Two recorders with the same settings give the same numbers.
    dead : sequence of int
        Channels that see nothing of the brain.
    background_uv : float
        Standard deviation of the background, in microvolts.
    evoked_uv : float
        Height of the wave that a tone of 70 dB evokes, in microvolts.
    line_hz : float
        Mains frequency; its harmonics come too.
    n_adc, n_aux : int
        How many analog lines (the first carries the trigger) and accelerometer axes.
    """

    positions: NDArray[np.float64]
    fs: float
    seed: int
    dead: Sequence[int] = ()
    background_uv: float = 45.0
    evoked_uv: float = 220.0
    line_hz: float = 60.0
    n_adc: int = 2
    n_aux: int = 3
    _setup: dict[str, NDArray[np.float64]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng([self.seed, 2])
        n_channels = len(self.positions)
        hum_uv = 9.0 * rng.lognormal(0.0, 0.5, n_channels)
        harmonics = np.array([1.0, 0.15, 0.4, 0.2])
        hum = hum_uv[:, None] * harmonics * np.exp(2j * np.pi * rng.random((n_channels, 4)))
        alive = np.ones((n_channels, 1))
        alive[list(self.dead)] = 0.0
        object.__setattr__(self, "_setup", {"hum": hum, "alive": alive})

    @property
    def n_channels(self) -> int:
        """Number of electrode channels."""
        return len(self.positions)

    def blocks(self, n_samples: int, stimuli: Stimuli) -> Iterator[Block]:
        """Yield the recording, block after block.

        Parameters
        ----------
        n_samples : int
            Length of the recording.
        stimuli : Stimuli
            What is played while it runs.

        Yields
        ------
        dict of str to ndarray
            ``electrodes`` (channels x time, microvolts), ``adc`` (lines x time, volts) and ``aux``
            (axes x time, volts), all float64 and of the same length.
        """
        mixing = spatial_mixing(self.positions, length_mm=1.2)
        background = PinkNoise(mixing, self.fs, self.seed)
        start = 0
        for number, signal in enumerate(background.blocks(n_samples)):
            stop = start + signal.shape[1]
            rng = np.random.default_rng([self.seed, 3, number])
            signal *= self.background_uv
            self._add_responses(signal, start, stimuli)
            signal *= self._setup["alive"]
            signal += self._hum(start, stop)
            signal += rng.normal(0.0, 2.0, signal.shape)
            yield {
                "electrodes": signal,
                "adc": self._analog_lines(start, stop, stimuli, rng),
                "aux": self._accelerometer(start, stop, rng),
            }
            start = stop

    def origin(self, tone_hz: float) -> NDArray[np.float64]:
        """Return where on the grid the wave of a tone begins, shape (2,), in mm.

        Low tones lie at one side of the grid and high tones at the other.
        """
        low, high = self.positions.min(axis=0), self.positions.max(axis=0)
        octave = np.log2(tone_hz / TONES_HZ[0]) / np.log2(TONES_HZ[-1] / TONES_HZ[0])
        along = 0.15 + 0.7 * octave
        return low + (high - low) * np.array([0.65 - 0.3 * octave, along])

    def _add_responses(self, signal: NDArray[np.float64], start: int, stimuli: Stimuli) -> None:
        """Add to `signal`, which begins at sample `start`, the waves of the stimuli around it."""
        stop = start + signal.shape[1]
        length = round(RESPONSE_S * self.fs)
        first, last = np.searchsorted(stimuli.samples, [start - length, stop])
        for event in range(first, last):
            onset = int(stimuli.samples[event])
            begin, end = max(onset, start), min(onset + length, stop)
            seconds = np.arange(begin - onset, end - onset) / self.fs
            wave = self._response(seconds, stimuli, event)
            signal[:, begin - start : end - start] += wave

    def _response(
        self, seconds: NDArray[np.float64], stimuli: Stimuli, event: int
    ) -> NDArray[np.float64]:
        """Return the wave of one stimulus on all channels at `seconds` after its onset."""
        origin = self.origin(float(stimuli.tones_hz[event]))
        distance = np.linalg.norm(self.positions - origin, axis=1)
        loudness = 10 ** ((stimuli.levels_db[event] - LEVELS_DB[0]) / 40)
        trial = np.random.default_rng([self.seed, 4, event]).lognormal(0.0, 0.2)
        height = self.evoked_uv * loudness * trial * np.exp(-0.5 * (distance / SPREAD_MM) ** 2)
        late = seconds - LATENCY_S - distance[:, None] / SPEED_MM_S
        wave = np.zeros_like(late)
        for peak_s, width_s, relative in PEAKS:
            wave += relative * np.exp(-0.5 * ((late - peak_s) / width_s) ** 2)
        return height[:, None] * wave

    def _hum(self, start: int, stop: int) -> NDArray[np.float64]:
        turn = 2j * np.pi * self.line_hz / self.fs * np.arange(start, stop)
        below_nyquist = [n for n in range(4) if (n + 1) * self.line_hz < self.fs / 2]
        waves = np.exp(np.multiply.outer(np.array(below_nyquist) + 1, turn))
        hum: NDArray[np.float64] = (self._setup["hum"][:, below_nyquist] @ waves).real
        return hum

    def _analog_lines(
        self, start: int, stop: int, stimuli: Stimuli, rng: np.random.Generator
    ) -> NDArray[np.float64]:
        lines = rng.normal(0.0, 0.01, (self.n_adc, stop - start))
        length = round(PULSE_S * self.fs)
        for event in range(*np.searchsorted(stimuli.samples, [start - length, stop])):
            onset = int(stimuli.samples[event]) - start
            pulse = slice(max(onset, 0), max(onset + length, 0))
            lines[0, pulse] += PULSE_V
        return lines

    def _accelerometer(
        self, start: int, stop: int, rng: np.random.Generator
    ) -> NDArray[np.float64]:
        seconds = np.arange(start, stop) / self.fs
        breath = np.sin(2 * np.pi * 1.4 * seconds)
        tilt = 1.5 + 0.1 * np.arange(self.n_aux)
        sway = np.multiply.outer(0.02 * (1 + np.arange(self.n_aux)), breath)
        return tilt[:, None] + sway + rng.normal(0.0, 0.004, sway.shape)
