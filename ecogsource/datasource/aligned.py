"""Arrays on the clock of a source: triggers, ADC lines, auxiliary channels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ecogsource.buffers import Buffer, BufferBinder, as_buffer
from ecogsource.errors import FormatError, JoinError


def check_aligned(
    arrays: Mapping[str, Any], n_samples: int, *, transpose: bool
) -> dict[str, Buffer | np.ndarray]:
    """Check that arrays have the length of the data, and put time on their last axis.

    Parameters
    ----------
    arrays : mapping of str to Buffer, h5py.Dataset or array_like
        The arrays.
    n_samples : int
        Length that they must have.
    transpose : bool
        Whether they come, like the data, with time on the first axis.

    Returns
    -------
    dict of str to Buffer or numpy.ndarray
        Arrays in memory stay what they are; all others are buffers.

    Raises
    ------
    FormatError
        If an array has another length.
    """
    checked: dict[str, Buffer | np.ndarray] = {}
    for name, given in arrays.items():
        array = given if isinstance(given, np.ndarray) else as_buffer(given)
        time_axis = 0 if transpose else -1
        if array.ndim and array.shape[time_axis] != n_samples:
            # A file may hold its auxiliary channels the other way round than its data.
            time_axis = -1 if transpose else 0
        if not array.ndim or array.shape[time_axis] != n_samples:
            raise FormatError(
                f"aligned array {name!r} has shape {array.shape}; one of its outer axes must "
                f"have the length of the data, {n_samples} samples"
            )
        checked[name] = array.T if time_axis == 0 and array.ndim > 1 else array
    return checked


def join_aligned(
    sets: list[dict[str, Buffer | np.ndarray]],
) -> dict[str, Buffer | np.ndarray]:
    """Join the aligned arrays of several sources along time.

    Parameters
    ----------
    sets : list of dict
        Aligned arrays, by name, of each source.

    Returns
    -------
    dict of str to Buffer or numpy.ndarray
        Arrays in memory if all parts are, else binders.

    Raises
    ------
    JoinError
        If a name is missing somewhere, or if arrays do not fit.
    """
    joined: dict[str, Buffer | np.ndarray] = {}
    for name in dict.fromkeys(name for arrays in sets for name in arrays):
        missing = [number for number, arrays in enumerate(sets) if name not in arrays]
        if missing:
            raise JoinError(
                f"cannot join: part {missing[0]} has no aligned array {name!r}; take it out of "
                "the aligned_arrays of the others, or add it there"
            )
        parts = [arrays[name] for arrays in sets]
        if all(isinstance(part, np.ndarray) for part in parts):
            try:
                joined[name] = np.concatenate(parts, axis=-1)
            except ValueError as error:
                raise JoinError(f"cannot join aligned arrays {name!r}: {error}") from error
        else:
            joined[name] = BufferBinder([as_buffer(part) for part in parts], axis=-1)
    return joined
