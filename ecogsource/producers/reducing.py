"""Sums, extremes and moments of producers: the formulas of sources, on any number of axes."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ecogsource.datasource import reductions
from ecogsource.memory import check_allocation
from ecogsource.producers.base import ProducerBase
from ecogsource.producers.windows import along

__all__ = ["ReducingMixin"]

Axes = tuple[int, ...]


class _Rows:
    """A producer as a table: one row per result, one column per value that goes into it."""

    def __init__(self, pro: ReducingMixin, axes: Axes) -> None:
        self._pro = pro
        self._kept = [axis for axis in range(pro.ndim) if axis not in axes]
        # The axis of the samples varies slowest, so that chunks are neighbouring columns.
        self._order = [*self._kept, pro._axis, *(a for a in axes if a != pro._axis)]
        self.shape = self._table(pro.shape)
        self.dtype = pro.dtype

    def _table(self, shape: tuple[int, ...]) -> tuple[int, int]:
        rows = math.prod(shape[axis] for axis in self._kept)
        return rows, math.prod(shape[axis] for axis in self._order[len(self._kept) :])

    def iter_blocks(self, *, return_slice: bool) -> Iterator[Any]:
        """Give the chunks as tables, with where they are."""
        done = 0
        for _, chunk in self._pro._pass():
            block = chunk.transpose(self._order).reshape(self._table(chunk.shape))
            where = slice(done, done + block.shape[1])
            done = where.stop
            yield (block, (slice(None), where)) if return_slice else block


class ReducingMixin(ProducerBase):
    """Sums, extremes and moments, with NumPy's signatures, in one pass over the chunks."""

    def _reduce(
        self,
        name: str,
        axis: int | Axes | None,
        out: np.ndarray | None,
        *,
        keepdims: bool,
        merge: Callable[[_Rows], np.ndarray],
        **options: Any,
    ) -> Any:
        """Reduce: by the shared formulas over chunks, or within them where each is complete."""
        self._numeric(f"{name}()")
        axes = _normal_axes(axis, self.ndim)
        if self._axis in axes:
            kept = tuple(1 if a in axes else n for a, n in enumerate(self.shape))
            result = merge(_Rows(self, axes)).reshape(kept)
        else:
            result = self._within(name, axes, options)
        return reductions.finish(result, axes, out, keepdims=keepdims)

    def _within(self, name: str, axes: Axes, options: dict[str, Any]) -> np.ndarray:
        """Reduce other axes than that of the samples, chunk by chunk, with NumPy's function."""
        reduce = getattr(np, name)
        kept = tuple(1 if a in axes else n for a, n in enumerate(self.shape))
        off_axis = tuple(0 if a == self._axis else n for a, n in enumerate(self.shape))
        kind = reduce(np.ones([max(n, 1) for n in off_axis], self.dtype), **options).dtype
        check_allocation(math.prod(kept) * kind.itemsize, shape=kept, dtype=kind, what=name)
        result = np.empty(kept, kind)
        for window, chunk in self._pass():
            part = reduce(chunk, axis=axes, keepdims=True, **options)
            result[along(self._axis, self.ndim, window)] = part
        return result

    def min(
        self,
        axis: int | Axes | None = None,
        out: np.ndarray | None = None,
        *,
        keepdims: bool = False,
    ) -> Any:
        """Smallest value, as `numpy.min`.

        Parameters
        ----------
        axis : int, tuple of int, or None
            Axes to reduce; None for all of them.
        out : numpy.ndarray, optional
            Where to put the result.
        keepdims : bool
            Whether reduced axes stay, with length 1.

        Returns
        -------
        numpy.ndarray or scalar
            NaN where a NaN was met.

        Raises
        ------
        ValueError
            If there is nothing to reduce.
        TypeError
            If the producer gives items that are not arrays.
        """

        def merge(rows: _Rows) -> np.ndarray:
            return reductions.extreme(rows, np.minimum, (1,))

        return self._reduce("min", axis, out, keepdims=keepdims, merge=merge)

    def max(
        self,
        axis: int | Axes | None = None,
        out: np.ndarray | None = None,
        *,
        keepdims: bool = False,
    ) -> Any:
        """Largest value, as `numpy.max`; see :meth:`min`."""

        def merge(rows: _Rows) -> np.ndarray:
            return reductions.extreme(rows, np.maximum, (1,))

        return self._reduce("max", axis, out, keepdims=keepdims, merge=merge)

    def sum(
        self,
        axis: int | Axes | None = None,
        dtype: DTypeLike | None = None,
        out: np.ndarray | None = None,
        *,
        keepdims: bool = False,
    ) -> Any:
        """Sum, as `numpy.sum`.

        Parameters
        ----------
        axis : int, tuple of int, or None
            Axes to reduce; None for all of them.
        dtype : dtype_like, optional
            Type of the sum; NumPy's choice by default.
        out : numpy.ndarray, optional
            Where to put the result.
        keepdims : bool
            Whether reduced axes stay, with length 1.

        Returns
        -------
        numpy.ndarray or scalar
            Over the samples, single precision is added up in double.

        Raises
        ------
        TypeError
            If the producer gives items that are not arrays.
        """

        def merge(rows: _Rows) -> np.ndarray:
            return reductions.total(rows, (1,), dtype)

        return self._reduce("sum", axis, out, keepdims=keepdims, merge=merge, dtype=dtype)

    def mean(
        self,
        axis: int | Axes | None = None,
        dtype: DTypeLike | None = None,
        out: np.ndarray | None = None,
        *,
        keepdims: bool = False,
    ) -> Any:
        """Mean, as `numpy.mean`; parameters as for :meth:`sum`."""

        def merge(rows: _Rows) -> np.ndarray:
            return reductions.mean(rows, (1,), dtype)

        return self._reduce("mean", axis, out, keepdims=keepdims, merge=merge, dtype=dtype)

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

        `ddof` is subtracted from the number of values in the denominator.
        """

        def merge(rows: _Rows) -> np.ndarray:
            return reductions.variance(rows, (1,), dtype, ddof, np.asarray)

        options = {"dtype": dtype, "ddof": ddof}
        return self._reduce("var", axis, out, keepdims=keepdims, merge=merge, **options)

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

        def merge(rows: _Rows) -> np.ndarray:
            return reductions.variance(rows, (1,), dtype, ddof, np.sqrt)

        options = {"dtype": dtype, "ddof": ddof}
        return self._reduce("std", axis, out, keepdims=keepdims, merge=merge, **options)


def _normal_axes(axis: int | Axes | None, ndim: int) -> Axes:
    """Count axes from the start, as NumPy does."""
    if axis is None:
        return tuple(range(ndim))
    given = axis if isinstance(axis, tuple) else (axis,)
    normal = []
    for number in map(operator.index, given):
        if not -ndim <= number < ndim:
            raise np.exceptions.AxisError(number, ndim)
        normal.append(number % ndim)
    if len(set(normal)) != len(normal):
        raise ValueError("duplicate value in 'axis'")
    return tuple(sorted(normal))
