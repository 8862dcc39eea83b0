"""A source without files: an array with the attributes that pictures use."""

from __future__ import annotations

from typing import Any

import numpy as np


class ArraySource:
    """Channels x time in memory, which remembers every index that it was read with."""

    def __init__(
        self,
        values: np.ndarray,
        fs: float | None = None,
        units: str | None = None,
        channel_names: list[str] | None = None,
    ) -> None:
        self.values = values
        self.shape = values.shape
        self.dtype = values.dtype
        self.fs = fs
        self.units = units
        self.channel_names = channel_names
        self.largest_read = 0

    def __getitem__(self, index: Any) -> np.ndarray:
        read = self.values[index]
        self.largest_read = max(self.largest_read, read.nbytes)
        return read
