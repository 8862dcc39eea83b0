"""The reductions that sources and producers offer, with NumPy's signatures."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ecogsource.datasource import reductions
from ecogsource.datasource.reductions import Blocks

Axes = tuple[int, ...]


class ReducingMixin:
    """Sums, extremes and moments in one pass over blocks; nothing is read as a whole."""

    def _blocks(self, name: str, axis: int | Axes | None) -> tuple[Blocks, Axes]:
        """Give what is reduced, and its axes counted from the start; owners provide this."""
        raise TypeError(f"{type(self).__name__} has no blocks")

    def min(
        self,
        axis: int | Axes | None = None,
        out: np.ndarray | None = None,
        *,
        keepdims: bool = False,
    ) -> Any:
        """Smallest value, as `numpy.min`, in one pass over blocks.

        Parameters
        ----------
        axis : int, tuple of int, or None
            Axes to reduce; None for all.
        out : numpy.ndarray, optional
            Where to put the result.
        keepdims : bool
            Whether reduced axes stay, with length 1.

        Returns
        -------
        numpy.ndarray or scalar
            In the units of the data; NaN where a NaN was met.

        Raises
        ------
        ValueError
            If there is nothing to reduce.
        TypeError
            If the data are no numbers, such as the items of a producer.
        """
        blocks, axes = self._blocks("min", axis)
        result = reductions.extreme(blocks, np.minimum, axes)
        return reductions.finish(result, axes, out, keepdims=keepdims)

    def max(
        self,
        axis: int | Axes | None = None,
        out: np.ndarray | None = None,
        *,
        keepdims: bool = False,
    ) -> Any:
        """Largest value, as `numpy.max`; see :meth:`min`."""
        blocks, axes = self._blocks("max", axis)
        result = reductions.extreme(blocks, np.maximum, axes)
        return reductions.finish(result, axes, out, keepdims=keepdims)

    def sum(
        self,
        axis: int | Axes | None = None,
        dtype: DTypeLike | None = None,
        out: np.ndarray | None = None,
        *,
        keepdims: bool = False,
    ) -> Any:
        """Sum, as `numpy.sum`, in one pass over blocks.

        Parameters
        ----------
        axis : int, tuple of int, or None
            Axes to reduce; None for all.
        dtype : dtype_like, optional
            Type of the sum; NumPy's choice by default.
        out : numpy.ndarray, optional
            Where to put the result.
        keepdims : bool
            Whether reduced axes stay, with length 1.

        Returns
        -------
        numpy.ndarray or scalar
            In the units of the data. Single precision is added up in double.
        """
        blocks, axes = self._blocks("sum", axis)
        result = reductions.total(blocks, axes, dtype)
        return reductions.finish(result, axes, out, keepdims=keepdims)

    def mean(
        self,
        axis: int | Axes | None = None,
        dtype: DTypeLike | None = None,
        out: np.ndarray | None = None,
        *,
        keepdims: bool = False,
    ) -> Any:
        """Mean, as `numpy.mean`; parameters as for :meth:`sum`."""
        blocks, axes = self._blocks("mean", axis)
        result = reductions.mean(blocks, axes, dtype)
        return reductions.finish(result, axes, out, keepdims=keepdims)

    def var(
        self,
        axis: int | Axes | None = None,
        dtype: DTypeLike | None = None,
        out: np.ndarray | None = None,
        *,
        ddof: float = 0,
        keepdims: bool = False,
    ) -> Any:
        """Variance, as `numpy.var`, by a stable single pass; parameters as for :meth:`sum`.

        `ddof` is subtracted from the number of values in the denominator. The result is in
        squared units.
        """
        blocks, axes = self._blocks("var", axis)
        result = reductions.variance(blocks, axes, dtype, ddof, np.asarray)
        return reductions.finish(result, axes, out, keepdims=keepdims)

    def std(
        self,
        axis: int | Axes | None = None,
        dtype: DTypeLike | None = None,
        out: np.ndarray | None = None,
        *,
        ddof: float = 0,
        keepdims: bool = False,
    ) -> Any:
        """Spread: standard deviation, as `numpy.std`; parameters as for :meth:`var`."""
        blocks, axes = self._blocks("std", axis)
        result = reductions.variance(blocks, axes, dtype, ddof, np.sqrt)
        return reductions.finish(result, axes, out, keepdims=keepdims)
