"""Currents and flags out of the stimulation words of RHS recordings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ecogsource.buffers import Buffer
from ecogsource.io.layouts import Layout
from ecogsource.io.views import FramesBuffer

__all__ = ["StimulationBuffer", "StimulationLayout"]


class StimulationBuffer(FramesBuffer):
    """What Intan's stimulation words say: bits 0-7 a magnitude, bit 8 set if it is negative.

    Parameters
    ----------
    words : Buffer
        Unsigned integers of 16 bits, shape (channels, samples).
    part : {'current', 'flags'}
        The signed magnitude, in steps of the stimulator; or bits 13 to 15 (amplifier settle,
        charge recovery, compliance limit) as a number from 0 to 7.
    units_scale : float or (offset, factor), optional
        ``value = (stored + offset) * factor``.

    Notes
    -----
    The layout of the words is that of Intan's data file formats (RHS), and of its own reader.
    """

    def __init__(self, words: Buffer, part: str, units_scale: Any = None) -> None:
        dtype = np.dtype(np.int16 if part == "current" else np.uint8)
        super().__init__(words.shape, dtype, units_scale=units_scale, filename=words.filename)
        self.words, self.part = words, part

    def _frames(self, start: int, stop: int) -> np.ndarray:
        words = self.words[:, start:stop].T
        if self.part == "flags":
            return (words >> 13).astype(np.uint8)
        magnitude = (words & 0xFF).astype(np.int16)
        return np.where(words & 0x100, -magnitude, magnitude)

    def close(self) -> None:
        """Let go of the files underneath."""
        self.words.close()


@dataclass(frozen=True)
class StimulationLayout:
    """Currents or flags out of the stimulation words of an Intan RHS recording.

    Parameters
    ----------
    words : Layout
        The words, one row per channel.
    part : {'current', 'flags'}
        What of them.
    """

    words: Layout
    part: str

    @property
    def dtype(self) -> np.dtype:
        """Type of what is given."""
        return np.dtype(np.int16 if self.part == "current" else np.uint8)

    @property
    def shape(self) -> tuple[int, int]:
        """Channels and samples."""
        return self.words.shape

    def open(self, units_scale: Any = None) -> Buffer:
        """Make the buffer."""
        return StimulationBuffer(self.words.open(), self.part, units_scale)
