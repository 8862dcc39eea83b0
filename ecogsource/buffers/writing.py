"""What assignment needs before it reaches the storage."""

from __future__ import annotations

from typing import Any

import numpy as np

from ecogsource.indexing import Selection, increasing


def broadcast_value(value: Any, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Broadcast what stands right of ``array[index] =`` as NumPy does.

    Parameters
    ----------
    value : array_like
        The value.
    shape : tuple of int
        Shape of what the index selects.
    dtype : numpy.dtype
        Type of the array that is written.

    Returns
    -------
    numpy.ndarray
        Read-only view of shape `shape`.

    Raises
    ------
    ValueError
        If the value does not broadcast to the shape.
    OverflowError
        If a Python integer is out of bounds for an integer type.
    """
    array = np.asarray(value)
    if not hasattr(value, "__array__"):
        # Python numbers are checked against the type they are stored as; arrays are cast.
        _check_bounds(array, dtype)
        checked = np.empty(array.shape, dtype)
        checked[...] = value
        array = checked
    while array.ndim > len(shape) and array.shape[0] == 1:
        array = array[0]
    try:
        return np.broadcast_to(array, shape)
    except ValueError as error:
        raise ValueError(
            f"could not broadcast input array from shape {array.shape} into shape {shape}"
        ) from error


def _check_bounds(array: np.ndarray, dtype: np.dtype) -> None:
    """Refuse integers that do not fit, which NumPy before 2 only warns of."""
    if not array.size or array.dtype.kind not in "iu" or dtype.kind not in "iu":
        return
    limits = np.iinfo(dtype)
    for extreme in (int(array.min()), int(array.max())):
        if not limits.min <= extreme <= limits.max:
            raise OverflowError(f"Python integer {extreme} out of bounds for {dtype}")


def rising_selection(selection: Selection, values: np.ndarray) -> tuple[Selection, np.ndarray]:
    """Sort a selection for writing and drop what a later value of the same place overwrites.

    Parameters
    ----------
    selection : Selection
        Any selection.
    values : numpy.ndarray
        Values of the selection's shape.

    Returns
    -------
    selection : Selection
        The same places, each once; every selector an int, a range of positive step, or a
        strictly rising list.
    values : numpy.ndarray
        Their values.
    """
    selectors = []
    axis = 0
    for selector in selection.selectors:
        rising, take = increasing(selector)
        selectors.append(rising)
        if take is not None:
            values = values[(slice(None),) * axis + (take,)]
        axis += not isinstance(selector, int)
    return Selection.of(tuple(selectors)), values
