"""Stored numbers to physical units and back."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from ecogsource.errors import FormatError
from ecogsource.indexing import Selector
from ecogsource.params import load_params

UnitsScale: TypeAlias = "float | tuple[ArrayLike, ArrayLike]"


class Scale:
    """The line from stored numbers to units: ``value = (stored + offset) * factor``.

    Parameters
    ----------
    offset, factor : float or numpy.ndarray
        Numbers, or arrays with as many dimensions as the buffer that broadcast to its shape.
    dtype : numpy.dtype
        Floating-point type of the arithmetic and of the values.
    """

    __slots__ = ("dtype", "factor", "offset", "varies")

    def __init__(self, offset: Any, factor: Any, dtype: np.dtype) -> None:
        self.offset, self.factor, self.dtype = offset, factor, dtype
        self.varies = isinstance(offset, np.ndarray) or isinstance(factor, np.ndarray)

    @classmethod
    def parse(cls, units_scale: Any, shape: tuple[int, ...]) -> Scale | None:
        """Read the `units_scale` argument of a buffer.

        Parameters
        ----------
        units_scale : float, array_like, tuple of (offset, factor), or None
            A factor, or an offset and a factor; each a number or an array that broadcasts to
            `shape`, such as one gain per channel.
        shape : tuple of int
            Shape of the buffer.

        Returns
        -------
        Scale or None
            None if the numbers are handed out as stored.

        Raises
        ------
        FormatError
            If an offset or factor does not broadcast to `shape`, is not a finite number, or if
            a factor is zero.
        """
        if units_scale is None:
            return None
        offset, factor = units_scale if isinstance(units_scale, tuple) else (0.0, units_scale)
        single = load_params().floating_point == "single"
        dtype = np.dtype(np.float32 if single else np.float64)
        return cls(
            _coefficient(offset, shape, dtype, "offset"),
            _coefficient(factor, shape, dtype, "factor"),
            dtype,
        )

    def select(self, selectors: tuple[Selector, ...]) -> Scale:
        """Narrow the scale to a selection, so that it broadcasts to the selection's shape.

        Parameters
        ----------
        selectors : tuple of int, range or numpy.ndarray
            One canonical selector per axis of the buffer.

        Returns
        -------
        Scale
            Itself if offset and factor are plain numbers.
        """
        if not self.varies:
            return self
        return Scale(_narrow(self.offset, selectors), _narrow(self.factor, selectors), self.dtype)

    def convert(self, stored: np.ndarray, out: np.ndarray) -> None:
        """Scale stored numbers straight into their place.

        Parameters
        ----------
        stored : numpy.ndarray
            Numbers as stored.
        out : numpy.ndarray
            Where the values go; same shape. It may be `stored` itself if its type fits.
        """
        # ``dtype`` sets the precision of the arithmetic, whatever the type of ``out``; the
        # ufunc then casts in pieces that stay in the cache.
        if isinstance(self.offset, float) and self.offset == 0.0:
            np.multiply(stored, self.factor, out=out, dtype=self.dtype, casting="unsafe")
            return
        np.add(stored, self.offset, out=out, dtype=self.dtype, casting="unsafe")
        np.multiply(out, self.factor, out=out, dtype=self.dtype, casting="unsafe")

    def invert(self, values: np.ndarray, map_dtype: np.dtype) -> np.ndarray:
        """Turn values in units into numbers to store, rounding to integers where those are stored.

        Parameters
        ----------
        values : numpy.ndarray
            Values in units.
        map_dtype : numpy.dtype
            Type that is stored.

        Returns
        -------
        numpy.ndarray
            Numbers of type `map_dtype`.

        Raises
        ------
        ValueError
            If a value cannot be stored as an integer: not finite, or out of range.
        """
        stored = np.asarray(values, dtype=np.float64) / self.factor - self.offset
        if map_dtype.kind not in "iu":
            return stored.astype(map_dtype)
        stored = np.rint(stored)
        limits = np.iinfo(map_dtype)
        # Written so that NaN fails too.
        if not ((stored >= limits.min) & (stored <= limits.max)).all():
            raise ValueError(
                f"a value lies outside what {map_dtype.name} can store with this scale: "
                f"stored numbers must be finite and from {limits.min} to {limits.max}"
            )
        return stored.astype(map_dtype)


def _coefficient(value: Any, shape: tuple[int, ...], dtype: np.dtype, name: str) -> Any:
    array = np.asarray(value, dtype=np.float64)
    if not np.isfinite(array).all() or (name == "factor" and (array == 0).any()):
        rule = "finite and not zero" if name == "factor" else "finite"
        raise FormatError(f"units_scale: the {name} must be {rule}, got {value!r}")
    if array.size == 1:
        return float(array.reshape(()))
    try:
        np.broadcast_to(array, shape)
    except ValueError as error:
        raise FormatError(
            f"units_scale: {name} of shape {array.shape} does not broadcast to the shape of the "
            f"data, {shape}"
        ) from error
    return array.reshape((1,) * (len(shape) - array.ndim) + array.shape).astype(dtype)


def _narrow(coefficient: Any, selectors: tuple[Selector, ...]) -> Any:
    if not isinstance(coefficient, np.ndarray):
        return coefficient
    for axis in range(len(selectors) - 1, -1, -1):
        selector = selectors[axis]
        if isinstance(selector, int):
            position = selector if coefficient.shape[axis] > 1 else 0
            coefficient = coefficient.take(position, axis=axis)
        elif coefficient.shape[axis] > 1:
            coefficient = coefficient.take(np.asarray(selector, dtype=np.int64), axis=axis)
    return coefficient
