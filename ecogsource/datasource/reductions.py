"""Sums, extremes and moments of sources and producers, one block at a time.

The types of the results are NumPy's. Means and variances are accumulated in double precision
and merged block by block with the update of Chan, Golub and LeVeque (1983, The American
Statistician 37:242-247), which stays accurate where the textbook formula
``mean(x**2) - mean(x)**2`` cancels.
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike


class Blocks(NamedTuple):
    """What a reduction needs of data that are gone through block by block.

    Parameters
    ----------
    shape : tuple of int
        Shape of the whole.
    dtype : numpy.dtype
        Type of the blocks.
    time_axis : int
        Axis along which the blocks lie, counted from the start.
    walk : callable
        Goes through all blocks once, with the index of each in the whole.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    time_axis: int
    walk: Callable[[], Iterator[tuple[np.ndarray, tuple[slice, ...]]]]


def normalize_axis(axis: int | tuple[int, ...] | None, ndim: int) -> tuple[int, ...]:
    """Give the axes of a reduction, counted from the start.

    Parameters
    ----------
    axis : int, tuple of int, or None
        Axes of an array; None for all.
    ndim : int
        Its number of axes.

    Returns
    -------
    tuple of int
        Rising axes.

    Raises
    ------
    numpy.exceptions.AxisError
        If there is no such axis.
    ValueError
        If an axis is named twice.
    """
    if axis is None:
        return tuple(range(ndim))
    axes = axis if isinstance(axis, tuple) else (axis,)
    normal = []
    for number in axes:
        position = operator.index(number)
        if not -ndim <= position < ndim:
            raise np.exceptions.AxisError(position, ndim)
        normal.append(position % ndim)
    if len(set(normal)) != len(normal):
        raise ValueError("duplicate value in 'axis'")
    return tuple(sorted(normal))


def finish(
    result: np.ndarray, axes: tuple[int, ...], out: np.ndarray | None, *, keepdims: bool
) -> Any:
    """Give a result the form in which NumPy hands it out.

    Parameters
    ----------
    result : numpy.ndarray
        Result with all axes kept.
    axes : tuple of int
        The axes that were reduced.
    out : numpy.ndarray or None
        Where the caller wants it.
    keepdims : bool
        Whether reduced axes stay, with length 1.

    Returns
    -------
    numpy.ndarray or scalar
        `out` if it was given.

    Raises
    ------
    ValueError
        If `out` has another shape.
    """
    if not keepdims:
        result = result.squeeze(axes)
    if out is not None:
        if out.shape != result.shape:
            raise ValueError(f"out has shape {out.shape}, the result has {result.shape}")
        out[...] = result
        return out
    return result[()] if result.ndim == 0 else result


def extreme(source: Blocks, ufunc: np.ufunc, axes: tuple[int, ...]) -> np.ndarray:
    """Reduce with `numpy.minimum` or `numpy.maximum`; NaN wins, as in NumPy.

    Parameters
    ----------
    source : Blocks
        What is reduced.
    ufunc : numpy.ufunc
        The binary function.
    axes : tuple of int
        Axes to reduce.

    Returns
    -------
    numpy.ndarray
        The result with all axes kept.

    Raises
    ------
    ValueError
        If there is nothing to reduce.
    """
    shape = _kept_shape(source.shape, axes)
    if any(source.shape[axis] == 0 for axis in axes):
        raise ValueError(
            f"zero-size array to reduction operation {ufunc.__name__} which has no identity"
        )
    result = np.empty(shape, source.dtype)
    started = False
    for block, index in source.walk():
        part = ufunc.reduce(block, axis=axes, keepdims=True)
        if source.time_axis not in axes:
            result[index] = part
        elif started:
            ufunc(result, part, out=result)
        else:
            result[...] = part
            started = True
    return result


def total(source: Blocks, axes: tuple[int, ...], dtype: DTypeLike | None) -> np.ndarray:
    """Sum.

    Parameters
    ----------
    source : Blocks
        What is summed.
    axes : tuple of int
        Axes to reduce.
    dtype : dtype_like or None
        Type of the sum; NumPy's choice if None.

    Returns
    -------
    numpy.ndarray
        The result with all axes kept.
    """
    kind = np.zeros(1, source.dtype).sum(dtype=dtype, keepdims=True).dtype
    # Single precision loses digits over many blocks; their sums are added in double.
    working = np.float64 if kind in (np.float16, np.float32) else kind
    result = np.zeros(_kept_shape(source.shape, axes), working)
    for block, index in source.walk():
        part = block.sum(axis=axes, keepdims=True, dtype=working)
        if source.time_axis in axes:
            result += part
        else:
            result[index] = part
    return result.astype(kind, copy=False)


def mean(source: Blocks, axes: tuple[int, ...], dtype: DTypeLike | None) -> np.ndarray:
    """Mean.

    Parameters
    ----------
    source : Blocks
        What is averaged.
    axes : tuple of int
        Axes to reduce.
    dtype : dtype_like or None
        Type of the mean; NumPy's choice if None.

    Returns
    -------
    numpy.ndarray
        The result with all axes kept; NaN with a warning if there is nothing to average.
    """
    kind = np.ones(1, source.dtype).mean(dtype=dtype).dtype
    count = _count(source.shape, axes)
    if count == 0:
        warnings.warn("Mean of empty slice.", RuntimeWarning, stacklevel=4)
        return np.full(_kept_shape(source.shape, axes), np.nan).astype(kind)
    working = np.float64 if kind.kind == "f" and kind.itemsize < 8 else kind
    return (total(source, axes, working) / count).astype(kind, copy=False)


def variance(
    source: Blocks,
    axes: tuple[int, ...],
    dtype: DTypeLike | None,
    ddof: float,
    root: Callable[..., Any],
) -> np.ndarray:
    """Variance, or a function of it.

    Parameters
    ----------
    source : Blocks
        What is reduced.
    axes : tuple of int
        Axes to reduce.
    dtype : dtype_like or None
        Type of the result; NumPy's choice if None.
    ddof : float
        The sum of squares is divided by ``count - ddof``.
    root : callable
        Applied to the variance in double precision: `numpy.sqrt` for a standard deviation.

    Returns
    -------
    numpy.ndarray
        The result with all axes kept; NaN with a warning where ``count <= ddof``.
    """
    kind = np.ones(1, source.dtype).var(dtype=dtype).dtype
    count = _count(source.shape, axes)
    shape = _kept_shape(source.shape, axes)
    if count <= ddof:
        warnings.warn("Degrees of freedom <= 0 for slice", RuntimeWarning, stacklevel=4)
        if count == 0:
            return np.full(shape, np.nan).astype(kind)
    squares = _sum_of_squares(source, axes, shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(root(squares / max(count - ddof, 0))).astype(kind, copy=False)


def _sum_of_squares(source: Blocks, axes: tuple[int, ...], shape: tuple[int, ...]) -> np.ndarray:
    """Sum of squared distances from the mean, in one pass."""
    working = np.complex128 if source.dtype.kind == "c" else np.float64
    squares, average, seen = np.zeros(shape), np.zeros(shape, working), 0
    for block, index in source.walk():
        count = _count(block.shape, axes)
        center = block.mean(axis=axes, keepdims=True, dtype=working)
        part = _squared(block - center).sum(axis=axes, keepdims=True)
        if source.time_axis not in axes:
            squares[index] = part
            continue
        both = seen + count
        step = center - average
        average += step * (count / both)
        squares += part + _squared(step) * (seen * count / both)
        seen = both
    return squares


def _squared(distance: np.ndarray) -> np.ndarray:
    """Square of the absolute values; may overwrite them."""
    if distance.dtype.kind == "c":
        return np.square(distance.real) + np.square(distance.imag)
    return np.square(distance, out=distance)


def _kept_shape(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(1 if axis in axes else length for axis, length in enumerate(shape))


def _count(shape: tuple[int, ...], axes: tuple[int, ...]) -> int:
    count = 1
    for axis in axes:
        count *= shape[axis]
    return count
