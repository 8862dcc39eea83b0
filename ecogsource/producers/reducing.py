"""Sums, extremes and moments of producers: those of sources, on any number of axes."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from ecogsource.datasource.reducing import Axes
from ecogsource.datasource.reducing import ReducingMixin as SharedReductions
from ecogsource.datasource.reductions import Blocks, normalize_axis
from ecogsource.memory import check_allocation
from ecogsource.producers.base import ProducerBase
from ecogsource.producers.windows import along

__all__ = ["ReducingMixin"]


class ReducingMixin(ProducerBase, SharedReductions):
    """Sums, extremes and moments, with NumPy's signatures, in one pass over the chunks."""

    def _blocks(self, name: str, axis: int | Axes | None) -> tuple[Blocks, Axes]:
        self._numeric(f"{name}()")
        axes = normalize_axis(axis, self.ndim)
        kept = tuple(1 if a in axes else n for a, n in enumerate(self.shape))
        check_allocation(8 * math.prod(kept), shape=kept, dtype=self.dtype, what=name)

        def walk() -> Iterator[tuple[np.ndarray, tuple[slice, ...]]]:
            for window, chunk in self._pass():
                yield chunk, along(self._axis, self.ndim, window)

        return Blocks(self.shape, self.dtype, self._axis, walk), axes
