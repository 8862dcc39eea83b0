"""Checking what a set of windows is asked for."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ecogsource.windows.parts import Part
from ecogsource.windows.starts import Strata, Stretches

__all__ = [
    "common_type",
    "events_of",
    "numbers_of",
    "offsets_of",
    "one_of",
    "positive",
    "shard_of",
    "strata_of",
    "word",
]

# Sums of a few such numbers stay within 64 bits.
_HUGE = 2**60


def positive(value: Any, name: str) -> int:
    """Check a whole number of at least 1."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(
            f"{name} is a whole number, got {value!r}; from seconds it is round(seconds * fs)"
        ) from None
    if number < 1:
        raise ValueError(f"{name} must be at least 1, got {number}")
    if number >= _HUGE:
        raise ValueError(f"{name} must be below 2**60, got {number}")
    return number


def word(value: Any, name: str) -> int:
    """Check a whole number that 64 bits hold."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is a whole number, got {value!r}") from None
    if not 0 <= number < 2**64:
        raise ValueError(f"{name} must be from 0 to 2**64 - 1, got {number}")
    return number


def one_of(value: str, allowed: tuple[str, ...], name: str) -> str:
    """Check a choice."""
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}, expected one of {', '.join(map(repr, allowed))}")
    return value


def offsets_of(offset: Any) -> range:
    """Check the offsets from an event, in samples: one, or a range of step 1."""
    try:
        found = offset if isinstance(offset, range) else range(operator.index(offset), offset + 1)
    except TypeError:
        raise TypeError(f"offset is a whole number of samples, got {offset!r}") from None
    if found.step != 1 or not found or not -_HUGE < found.start < found.stop < _HUGE:
        raise ValueError(f"offset must be an int or a range of step 1, got {offset!r}")
    return found


def shard_of(shard: tuple[int, int]) -> tuple[int, int]:
    """Check which of how many readers."""
    number, count = map(operator.index, shard)
    if not 0 <= number < count:
        raise ValueError(f"shard is (k, n) with k from 0 to n - 1, got {shard!r}")
    return number, count


def numbers_of(indices: Any, count: int) -> NDArray[np.int64]:
    """Check numbers of windows, and count negative ones from the end."""
    numbers = np.asarray(indices)
    if numbers.ndim != 1 or (numbers.dtype.kind not in "iu" and numbers.size):
        raise IndexError(f"windows are numbered by a list of integers, got {indices!r}")
    wrong = numbers >= count
    if numbers.dtype.kind != "u":
        wrong |= numbers < -count
    if wrong.any():
        raise IndexError(f"window {numbers[wrong][0]} of {count}")
    numbers = numbers.astype(np.int64)
    return np.where(numbers < 0, numbers + count, numbers)


def common_type(parts: Sequence[Part], dtype: DTypeLike | None) -> np.dtype:
    """Find the type of windows.

    Parameters
    ----------
    parts : sequence of Part
        The sources.
    dtype : dtype_like or None
        The type that the caller wants.

    Returns
    -------
    numpy.dtype
        That, or one that holds the values of all sources.

    Raises
    ------
    ValueError
        If values would have to be cast to another kind.
    """
    found = np.result_type(*{part.buffer.dtype for part in parts})
    if any(part.factor != 1.0 for part in parts):
        found = np.result_type(found, np.float32)
    wanted = found if dtype is None else np.dtype(dtype)
    if wanted.kind not in "biufc":
        raise ValueError(f"windows hold numbers, not {wanted}")
    for part in parts:
        if not np.can_cast(part.buffer.dtype, wanted, "same_kind"):
            raise ValueError(f"{part.buffer.dtype} of {part.name!r} cannot be read as {wanted}")
    if not np.can_cast(found, wanted, "same_kind"):
        raise ValueError(f"values in other units are {found}, which cannot be read as {wanted}")
    return wanted


def strata_of(
    by: str | None,
    weights: Any,
    stretches: Stretches,
    parts: Sequence[Part],
    events: Sequence[NDArray[np.int64]] | None,
) -> Strata | None:
    """Tell the stratum of every stretch of starts, and the share of every stratum.

    Parameters
    ----------
    by : {'file', 'session', 'event'}, or None
        What makes a stratum.
    weights : sequence or mapping of float, or None
        Relative shares; those that a mapping leaves out are 0.
    stretches : Stretches
        The stretches of starts.
    parts : sequence of Part
        The sources.
    events : sequence of ndarray, or None
        Events of each source.

    Returns
    -------
    Strata or None
        None if nothing is weighted.

    Raises
    ------
    ValueError
        If weights do not fit the strata, or are negative, or all 0.
    """
    if by is None:
        return None
    if by == "event":
        first = np.cumsum([0, *map(len, events or ())])
        names: list[Any] = list(range(int(first[-1])))
        stratum = first[stretches.part] + stretches.event
    elif by == "session":
        names = list(dict.fromkeys(part.group for part in parts))
        number = {name: place for place, name in enumerate(names)}
        stratum = np.array([number[part.group] for part in parts])[stretches.part]
    else:
        given = np.array([part.given for part in parts])
        names, stratum = list(range(int(given.max()) + 1)), given[stretches.part]
    return Strata(np.asarray(stratum, dtype=np.int64), _weights_of(weights, names))


def _weights_of(weights: Any, names: list[Any]) -> NDArray[np.float64]:
    if weights is None:
        return np.ones(len(names))
    if isinstance(weights, Mapping):
        unknown = set(weights) - set(names)
        if unknown:
            raise ValueError(f"weights for {sorted(map(str, unknown))}; there are only {names}")
        weights = [weights.get(name, 0.0) for name in names]
    array = np.asarray(weights, dtype=np.float64)
    if array.shape != (len(names),) or not (array >= 0).all() or not 0 < array.sum() < np.inf:
        raise ValueError(
            f"weights are {len(names)} numbers, 0 or more and not all 0; got shape {array.shape}"
        )
    return array


def events_of(around: Any, parts: Sequence[Part], given: list[Any]) -> list[NDArray[np.int64]]:
    """Find the events of every source.

    Parameters
    ----------
    around : str, ndarray or sequence of ndarray
        Name of an attribute of what was given, or one array (or None) for each of it.
    parts : sequence of Part
        The sources.
    given : list
        What they came from.

    Returns
    -------
    list of ndarray, shape (events,), int64
        Samples of the events of every part.

    Raises
    ------
    ValueError
        If there are no such lists, or not one for each, or they are no sample numbers.
    """
    if isinstance(around, str):
        missing = [thing for thing in given if not hasattr(thing, around)]
        if missing:
            raise ValueError(f"{missing[0]!r} has no attribute {around!r} that could hold events")
        lists: list[Any] = [getattr(thing, around) for thing in given]
    elif isinstance(around, np.ndarray) and around.ndim == 1 and around.dtype.kind in "iu":
        lists = [around]
    else:
        lists = list(around)
    if len(lists) != len(given):
        raise ValueError(f"around holds {len(lists)} lists of events for {len(given)} sources")
    if len(parts) != len(given):
        raise ValueError(
            "events count the samples of a continuous recording, but one of the sources has gaps; "
            "give its segments as sources, each with its events"
        )
    return [samples_of(events) for events in lists]


def samples_of(events: Any) -> NDArray[np.int64]:
    """Check a list of sample numbers; None is an empty one."""
    samples = np.asarray([] if events is None else events)
    if samples.ndim != 1 or (samples.size and samples.dtype.kind not in "iu"):
        raise ValueError(
            f"events are lists of sample numbers, got {samples.dtype} of shape {samples.shape}"
        )
    # What lies beyond any recording stays there.
    if samples.dtype.kind == "u":
        samples = np.minimum(samples, samples.dtype.type(min(_HUGE, np.iinfo(samples.dtype).max)))
    return np.clip(samples.astype(np.int64), -_HUGE, _HUGE)
