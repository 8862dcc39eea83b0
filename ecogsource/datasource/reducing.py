"""The reductions that sources offer, with NumPy's signatures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ecogsource.datasource import reductions


class ReducingMixin:
    """Sums, extremes and moments over blocks of a source; nothing is read as a whole."""

    shape: tuple[int, int]
    dtype: np.dtype

    def iter_blocks(self, *, return_slice: bool) -> Iterator[Any]:
        """Walk over time; sources provide this."""
        raise TypeError(f"{type(self).__name__} has no blocks")

    def min(
        self,
        axis: int | tuple[int, ...] | None = None,
        out: np.ndarray | None = None,
        *,
        keepdims: bool = False,
    ) -> Any:
        """Smallest value, as `numpy.min`, in one pass over blocks.

        Parameters
        ----------
        axis : int, tuple of int, or None
            Axes to reduce; None for both.
        out : numpy.ndarray, optional
            Where to put the result.
        keepdims : bool
            Whether reduced axes stay, with length 1.

        Returns
        -------
        numpy.ndarray or scalar
            In :attr:`units`; NaN where a NaN was met.

        Raises
        ------
        ValueError
            If there is nothing to reduce.
        """
        axes = reductions.normalize_axis(axis)
        result = reductions.extreme(self, np.minimum, axes)
        return reductions.finish(result, axes, out, keepdims=keepdims)

    def max(
        self,
        axis: int | tuple[int, ...] | None = None,
        out: np.ndarray | None = None,
        *,
        keepdims: bool = False,
    ) -> Any:
        """Largest value, as `numpy.max`; see :meth:`min`."""
        axes = reductions.normalize_axis(axis)
        result = reductions.extreme(self, np.maximum, axes)
        return reductions.finish(result, axes, out, keepdims=keepdims)

    def sum(
        self,
        axis: int | tuple[int, ...] | None = None,
        dtype: DTypeLike | None = None,
        out: np.ndarray | None = None,
        *,
        keepdims: bool = False,
    ) -> Any:
        """Sum, as `numpy.sum`, in one pass over blocks.

        Parameters
        ----------
        axis : int, tuple of int, or None
            Axes to reduce; None for both.
        dtype : dtype_like, optional
            Type of the sum; NumPy's choice by default.
        out : numpy.ndarray, optional
            Where to put the result.
        keepdims : bool
            Whether reduced axes stay, with length 1.

        Returns
        -------
        numpy.ndarray or scalar
            In :attr:`units`. Single precision is added up in double.
        """
        axes = reductions.normalize_axis(axis)
        result = reductions.total(self, axes, dtype)
        return reductions.finish(result, axes, out, keepdims=keepdims)

    def mean(
        self,
        axis: int | tuple[int, ...] | None = None,
        dtype: DTypeLike | None = None,
        out: np.ndarray | None = None,
        *,
        keepdims: bool = False,
    ) -> Any:
        """Mean, as `numpy.mean`; parameters as for :meth:`sum`."""
        axes = reductions.normalize_axis(axis)
        result = reductions.mean(self, axes, dtype)
        return reductions.finish(result, axes, out, keepdims=keepdims)

    def var(
        self,
        axis: int | tuple[int, ...] | None = None,
        dtype: DTypeLike | None = None,
        out: np.ndarray | None = None,
        *,
        ddof: float = 0,
        keepdims: bool = False,
    ) -> Any:
        """Variance, as `numpy.var`, by a stable single pass; parameters as for :meth:`sum`.

        `ddof` is subtracted from the number of values in the denominator. The result is in
        squared :attr:`units`.
        """
        axes = reductions.normalize_axis(axis)
        result = reductions.variance(self, axes, dtype, ddof, np.asarray)
        return reductions.finish(result, axes, out, keepdims=keepdims)

    def std(
        self,
        axis: int | tuple[int, ...] | None = None,
        dtype: DTypeLike | None = None,
        out: np.ndarray | None = None,
        *,
        ddof: float = 0,
        keepdims: bool = False,
    ) -> Any:
        """Spread: standard deviation, as `numpy.std`; parameters as for :meth:`var`."""
        axes = reductions.normalize_axis(axis)
        result = reductions.variance(self, axes, dtype, ddof, np.sqrt)
        return reductions.finish(result, axes, out, keepdims=keepdims)
