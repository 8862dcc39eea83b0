"""Endless correlated 1/f noise in constant memory.

Cortical background activity falls off with frequency and is shared between neighbouring
electrodes. Shaping one long noise in the frequency domain would need the whole recording in
memory, so the noise is made in segments that overlap by half and are cross-faded: the two fades
are a sine and a cosine, whose squares add up to one, so that the variance is the same everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ["PinkNoise", "spatial_mixing"]


def spatial_mixing(positions: NDArray[np.float64], length_mm: float) -> NDArray[np.float64]:
    """Return the matrix that gives independent noises a correlation falling off with distance.

    The correlation of two electrodes ``d`` mm apart is ``exp(-d / length_mm)``.

    Parameters
    ----------
    positions : ndarray, shape (channels, 2), float64
        Where the electrodes are, in mm.
    length_mm : float
        The distance at which the correlation has fallen to 1/e.

    Returns
    -------
    ndarray, shape (channels, channels), float64
        Lower triangular; ``matrix @ matrix.T`` is the correlation matrix.
    """
    distance = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    correlation = np.exp(-distance / length_mm)
    # A tiny ridge keeps the matrix positive definite when two electrodes share a position.
    return np.linalg.cholesky(correlation + 1e-9 * np.eye(len(positions)))


class PinkNoise:
    """Noise whose power falls as ``1 / f**exponent``, with unit standard deviation.

    Parameters
    ----------
    mixing : ndarray, shape (channels, sources), float64
        How independent noises combine into channels (see `spatial_mixing`).
    fs : float
        Sampling rate, in Hz.
    seed : int
        Two objects with the same seed and shape give the same noise.
    exponent : float
        Slope of the power spectrum on logarithmic axes, with the sign turned.
    corner_hz : float
        Below this frequency the spectrum is flat, as behind an amplifier's high-pass filter.
    hop : int
        Length of the blocks that come out, in samples.
    """

    def __init__(
        self,
        mixing: NDArray[np.float64],
        fs: float,
        seed: int,
        *,
        exponent: float = 1.6,
        corner_hz: float = 1.0,
        hop: int = 8192,
    ) -> None:
        self.mixing = mixing
        self.seed = seed
        self.hop = hop
        frequency = np.fft.rfftfreq(2 * hop, 1 / fs)
        gain = np.maximum(frequency, corner_hz) ** (-exponent / 2)
        gain[0] = 0.0
        # irfft divides by its length: this brings white noise of unit power back to unit power.
        self._gain = gain * hop / np.sqrt(np.sum(gain**2))
        phase = np.pi * (np.arange(2 * hop) + 0.5) / (2 * hop)
        self._fade = np.sin(phase)

    def segment(self, number: int) -> NDArray[np.float64]:
        """Return segment `number`, faded in and out, shape (channels, 2 * hop), float64."""
        rng = np.random.default_rng([self.seed, number])
        n_sources = self.mixing.shape[1]
        parts = rng.standard_normal((2, n_sources, len(self._gain)))
        spectrum = (parts[0] + 1j * parts[1]) * self._gain
        spectrum[:, 0] = spectrum[:, 0].real
        spectrum[:, -1] = spectrum[:, -1].real
        white = np.fft.irfft(spectrum, n=2 * self.hop, axis=-1)
        shaped: NDArray[np.float64] = (self.mixing @ white) * self._fade
        return shaped

    def blocks(self, n_samples: int) -> Iterator[NDArray[np.float64]]:
        """Yield `n_samples` samples in blocks of (channels, up to hop), float64."""
        tail = self.segment(0)[:, self.hop :]
        for number, start in enumerate(range(0, n_samples, self.hop), start=1):
            segment = self.segment(number)
            block = tail + segment[:, : self.hop]
            tail = segment[:, self.hop :].copy()
            yield block[:, : n_samples - start]
