"""Selectors, selections, and how one selector looks through another."""

from __future__ import annotations

import math
from typing import NamedTuple, TypeAlias

import numpy as np

Selector: TypeAlias = "int | range | np.ndarray"
# Lists of up to that length are looked at number by number.
SHORT = 64


class Selection(NamedTuple):
    """An outer product of one selector per axis.

    Build it with :meth:`of`, which works out the shape.

    Parameters
    ----------
    selectors : tuple of int, range or numpy.ndarray
        One canonical selector per axis of the array that is read.
    shape : tuple of int
        Shape of what is selected: one length per axis whose selector is not an ``int``.
    """

    selectors: tuple[Selector, ...]
    shape: tuple[int, ...]

    @classmethod
    def of(cls, selectors: tuple[Selector, ...]) -> Selection:
        """Make a selection from its selectors.

        Parameters
        ----------
        selectors : tuple of int, range or numpy.ndarray
            One canonical selector per axis.

        Returns
        -------
        Selection
            The selectors with the shape they give.
        """
        return cls(selectors, tuple([len(s) for s in selectors if not isinstance(s, int)]))

    @property
    def size(self) -> int:
        """Number of elements selected."""
        return math.prod(self.shape)


def as_slice(selector: range) -> slice:
    """Turn a range of positions into the slice that selects them.

    Parameters
    ----------
    selector : range
        Non-negative positions.

    Returns
    -------
    slice
        ``numpy.arange(n)[slice]`` gives the same positions.

    Examples
    --------
    >>> as_slice(range(4, -1, -2))
    slice(4, None, -2)
    """
    if not selector:
        return slice(0, 0, 1)
    stop: int | None = selector.stop
    if selector.step < 0 and selector.stop < 0:
        # A stop below zero would be counted from the end.
        stop = None
    return slice(selector.start, stop, selector.step)


def is_unit_range(selector: Selector) -> bool:
    """Tell whether a selector is a plain run of neighbours in rising order.

    Parameters
    ----------
    selector : int, range or numpy.ndarray
        A canonical selector.

    Returns
    -------
    bool
        True for a ``range`` with step 1, and for ranges too short to have a step.
    """
    return isinstance(selector, range) and (selector.step == 1 or len(selector) <= 1)


def extremes(positions: np.ndarray) -> tuple[int, int]:
    """Return the lowest and the highest of some positions.

    Parameters
    ----------
    positions : numpy.ndarray
        One-dimensional, not empty.
    """
    if len(positions) <= SHORT:
        # A call of NumPy takes longer than looking at some ten numbers.
        values = positions.tolist()
        return min(values), max(values)
    return int(positions.min()), int(positions.max())


def simplify(positions: np.ndarray) -> range | np.ndarray:
    """Write a list of positions as a range where it is an arithmetic progression.

    Parameters
    ----------
    positions : numpy.ndarray
        One-dimensional, non-negative positions.

    Returns
    -------
    range or numpy.ndarray
        An equal range if the steps are constant and not zero, else `positions` unchanged.

    Examples
    --------
    >>> simplify(np.array([7, 5, 3]))
    range(7, 1, -2)
    """
    count = len(positions)
    if count == 0:
        return range(0)
    first = int(positions[0])
    if count == 1:
        return range(first, first + 1)
    step = int(positions[1]) - first
    # The ends are compared first: they reject most lists without looking at all of them.
    if step == 0 or int(positions[-1]) != first + step * (count - 1):
        return positions
    if count > 2 and not (np.diff(positions) == step).all():
        return positions
    return range(first, first + step * count, step)


def compose_selector(selector: Selector, through: range | np.ndarray) -> Selector:
    """Look through one selector at another: ``through[selector]``.

    Parameters
    ----------
    selector : int, range or numpy.ndarray
        Positions in `through`.
    through : range or numpy.ndarray
        Positions in the array underneath, such as the active channels of a source.

    Returns
    -------
    int, range or numpy.ndarray
        Positions in the array underneath; a range where the positions allow it.

    Examples
    --------
    >>> compose_selector(range(0, 2), np.array([4, 9, 5]))
    range(4, 14, 5)
    """
    if isinstance(selector, int):
        return int(through[selector])
    if isinstance(through, range):
        if isinstance(selector, range):
            return through[as_slice(selector)]
        return simplify(through.start + through.step * selector)
    if isinstance(selector, range):
        return simplify(through[as_slice(selector)])
    return simplify(through[selector])


def increasing(selector: Selector) -> tuple[Selector, slice | np.ndarray | None]:
    """Put a selector in strictly rising order, for writing.

    Parameters
    ----------
    selector : int, range or numpy.ndarray
        A canonical selector.

    Returns
    -------
    selector : int, range or numpy.ndarray
        The same positions, each once, rising.
    take : slice, numpy.ndarray or None
        What to take of the values so that they follow; None to take them as they are. Where a
        position was repeated its last value is taken, which is what NumPy's assignment leaves.
    """
    if isinstance(selector, int):
        return selector, None
    if isinstance(selector, range):
        if selector.step > 0:
            return selector, None
        return selector[::-1], slice(None, None, -1)
    if len(selector) < 2 or (np.diff(selector) > 0).all():
        return simplify(selector), None
    positions, first_from_end = np.unique(selector[::-1], return_index=True)
    return simplify(positions), len(selector) - 1 - first_from_end
