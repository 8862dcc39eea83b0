"""Scaling stored values, narrowed to what was selected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ecogsource.buffers.storage.copying import TILE_ELEMENTS
from ecogsource.params import load_params

if TYPE_CHECKING:
    from ecogsource.buffers.scaling import Scale
    from ecogsource.indexing import Selection

__all__ = ["Affine"]


class Affine(NamedTuple):
    """Value = (stored + offset) * factor, computed in one floating point type.

    Parameters
    ----------
    offset, factor : ndarray, or None for no change
        No dimensions, or as many as the selection, to which they broadcast.
    dtype : dtype
        The type in which the arithmetic is done.
    """

    offset: np.ndarray | None
    factor: np.ndarray | None
    dtype: np.dtype

    @classmethod
    def of(cls, scale: Scale | None, selection: Selection | None = None) -> Affine | None:
        """Take the numbers of a scale, narrowed to a selection if there is one."""
        if scale is None:
            return None
        if selection is not None:
            scale = scale.select(selection.selectors)
        factor = np.asarray(scale.factor, scale.dtype)
        if isinstance(scale.offset, float) and scale.offset == 0.0:
            return cls(None, factor, scale.dtype)
        return cls(np.asarray(scale.offset, scale.dtype), factor, scale.dtype)

    @property
    def varies(self) -> bool:
        """Whether the numbers differ along some axis."""
        return any(v is not None and v.ndim for v in (self.offset, self.factor))

    @property
    def T(self) -> Affine:
        """The same for the transposed selection."""
        offset, factor = (None if v is None else v.T for v in (self.offset, self.factor))
        return Affine(offset, factor, self.dtype)

    def temporary_bytes(self, size: int) -> int:
        """Return an upper bound of the bytes that scaling so many values takes, in all threads."""
        return min(size, TILE_ELEMENTS * load_params().workers) * self.dtype.itemsize

    def at(self, where: Sequence[slice | np.ndarray]) -> Affine:
        """Return the part that belongs to a piece of the selection."""
        return Affine(_part(self.offset, where), _part(self.factor, where), self.dtype)


def _part(value: np.ndarray | None, where: Sequence[slice | np.ndarray]) -> np.ndarray | None:
    if value is None or value.ndim == 0:
        return value
    for axis, key in enumerate(where):
        if value.shape[axis] != 1:
            value = value[(slice(None),) * axis + (key,)]
    return value
