"""From anything that NumPy accepts as an index to canonical selectors."""

from __future__ import annotations

import operator
from math import prod
from typing import Any, NamedTuple

import numpy as np

from ecogsource.indexing.selection import Selection, Selector, extremes, simplify

_VALID = (
    "only integers, slices (`:`), ellipsis (`...`), numpy.newaxis (`None`) "
    "and integer or boolean arrays are valid indices"
)


class Points(NamedTuple):
    """Index arrays that are paired element by element rather than crossed.

    Parameters
    ----------
    axes : tuple of int
        The axes that are indexed together.
    positions : tuple of numpy.ndarray
        For each of them the positions, all one-dimensional and of the same length.
    selectors : tuple of (range or None)
        For every axis of the array its range, or None for the axes in `axes`.
    """

    axes: tuple[int, ...]
    positions: tuple[np.ndarray, ...]
    selectors: tuple[Selector | None, ...]


class Index(NamedTuple):
    """A normalised index.

    The result has `shape`. Reshaped to `core_shape` (no new axes, paired or many-dimensional
    index arrays laid flat) and transposed by `order`, it has the shape of `selection`, or, if
    the index is a set of points, the points first and then the ranges.

    Parameters
    ----------
    shape : tuple of int
        Shape of the result, as NumPy gives it.
    selection : Selection or None
        The outer product to read; None if the index is a set of points or selects nothing.
    points : Points or None
        The points to read, if the index pairs arrays.
    core_shape : tuple of int or None
        Shape to view the result in; None if it is the shape of the selection already.
    order : tuple of int or None
        Transposition of that view; None if it is in order already.
    """

    shape: tuple[int, ...]
    selection: Selection | None
    points: Points | None = None
    core_shape: tuple[int, ...] | None = None
    order: tuple[int, ...] | None = None

    def view(self, array: np.ndarray) -> np.ndarray:
        """View a result in the arrangement of the selection.

        Parameters
        ----------
        array : numpy.ndarray
            Array of shape `shape`.

        Returns
        -------
        numpy.ndarray
            A view wherever the strides allow one (always if `array` is C-contiguous).
        """
        if self.core_shape is not None:
            array = array.reshape(self.core_shape)
        return array if self.order is None else array.transpose(self.order)


def normalize_index(index: Any, shape: tuple[int, ...]) -> Index:
    """Work out what an index means for an array of a given shape.

    Every index that NumPy accepts is accepted, with NumPy's meaning: integers, slices,
    ellipsis, new axes, lists, integer arrays of any dimension, boolean masks of any dimension,
    and any mixture of them.

    Parameters
    ----------
    index : object
        What stands between the brackets of ``array[...]``.
    shape : tuple of int
        Shape of the array that is indexed.

    Returns
    -------
    Index
        The shape of the result and what to read for it.

    Raises
    ------
    IndexError
        As NumPy does: position out of bounds, too many indices, a mask of the wrong shape,
        arrays that do not broadcast, objects that are no index.
    TypeError, ValueError
        As NumPy does, for slices whose members are not integers or whose step is zero.
    """
    items = tuple(index) if isinstance(index, tuple) else (index,)
    plain = _plain(items, shape)
    if plain is not None:
        return Index(plain.shape, plain)
    entries = _expand(items, shape)
    if any(entry.arrays is not None for entry in entries):
        return _advanced(entries, shape)
    return _basic(entries)


def normalize_outer(index: Any, shape: tuple[int, ...]) -> Selection:
    """Work out an orthogonal index: every list selects along its own axis.

    Parameters
    ----------
    index : object
        An integer, slice, list, range, one-dimensional integer array or mask, ellipsis, or a
        tuple of them.
    shape : tuple of int
        Shape of the array that is indexed.

    Returns
    -------
    Selection
        The outer product.

    Raises
    ------
    IndexError
        If a position is out of bounds, an array has more than one dimension, there are too many
        indices, or an object is no index.
    """
    items = tuple(index) if isinstance(index, tuple) else (index,)
    plain = _plain(items, shape)
    if plain is not None:
        return plain
    selectors: list[Selector] = []
    for entry in _expand(items, shape):
        if entry.selector is not None:
            selectors.append(entry.selector)
        elif entry.divides:
            continue
        elif entry.arrays is None or len(entry.arrays) != 1 or entry.arrays[0].ndim != 1:
            raise IndexError(
                "an orthogonal index takes integers, slices, and one-dimensional lists or masks; "
                "no new axes and no arrays of other dimensions"
            )
        else:
            array = _in_bounds(entry.arrays[0], entry.axis, shape[entry.axis])
            selectors.append(simplify(array))
    return Selection.of(tuple(selectors))


def _plain(items: tuple[Any, ...], shape: tuple[int, ...]) -> Selection | None:
    """Integers and slices, or slices and one array: nearly every index has a short way."""
    if len(items) > len(shape):
        return None
    selectors: list[Selector] = []
    lengths = []
    listed = False
    for axis, (item, size) in enumerate(zip(items, shape, strict=False)):
        kind = type(item)
        if kind is slice:
            chosen = _range(item, size)
            selectors.append(chosen)
            lengths.append(len(chosen))
        elif kind is int:
            selectors.append(_position(item, axis, size))
        elif listed or kind is not np.ndarray or item.ndim != 1 or item.dtype.kind not in "iu":
            return None
        else:
            listed = True
            selectors.append(simplify(_in_bounds(item.astype(np.int64), axis, size)))
            lengths.append(len(item))
    if listed and len(lengths) < len(items):
        # Integers beside an array count as arrays.
        return None
    if len(items) < len(shape):
        rest = shape[len(items) :]
        selectors += map(range, rest)
        lengths += rest
    return Selection(tuple(selectors), tuple(lengths))


def _range(item: slice, size: int) -> range:
    chosen = range(size)[item]
    if item.step is not None and len(chosen) == 1:
        # A step past the end may be too large for what counts in bytes.
        return range(chosen.start, chosen.start + 1)
    return chosen


def _position(position: int, axis: int, size: int) -> int:
    if not -size <= position < size:
        raise IndexError(f"index {position} is out of bounds for axis {axis} with size {size}")
    return position + size if position < 0 else position


class _Entry(NamedTuple):
    """One item of an index: a selector, or index arrays, or (neither) a new axis.

    Index arrays stand for the axes from `axis` on. A mask without dimensions has none: it
    broadcasts as an array of length 1 (True) or 0 (False), which is its `width`.
    An ellipsis that stands for no axis still `divides` the arrays on its sides.
    """

    axis: int
    selector: Selector | None = None
    arrays: tuple[np.ndarray, ...] | None = None
    width: tuple[int, ...] = ()
    divides: bool = False


def _expand(items: tuple[Any, ...], shape: tuple[int, ...]) -> list[_Entry]:
    """Give every item its axis, check bounds, and fill in what an ellipsis stands for."""
    parsed = [_parse(item) for item in items]
    used = sum(_axes_used(item) for item in parsed)
    ellipses = sum(item is Ellipsis for item in parsed)
    if ellipses > 1:
        raise IndexError("an index can only have a single ellipsis ('...')")
    if used > len(shape):
        raise IndexError(
            f"too many indices for array: array is {len(shape)}-dimensional, "
            f"but {used} were indexed"
        )
    if not ellipses and used < len(shape):
        parsed.append(Ellipsis)
    entries: list[_Entry] = []
    axis = 0
    for item in parsed:
        if item is Ellipsis:
            free = range(axis, axis + len(shape) - used)
            entries += [_Entry(a, range(shape[a])) for a in free] or [_Entry(-1, divides=True)]
            axis += len(free)
            continue
        entries.append(_entry(item, axis, shape))
        axis += _axes_used(item)
    return entries


def _parse(item: Any) -> Any:
    """Reduce an item to None, Ellipsis, slice, int, or an integer or boolean array."""
    if item is None or item is Ellipsis or isinstance(item, slice):
        return item
    if not isinstance(item, (bool, np.bool_, np.ndarray)):
        try:
            return operator.index(item)
        except TypeError:
            pass
    array = np.asarray(item)
    if array.size == 0 and not isinstance(item, np.ndarray):
        array = array.astype(np.int64)
    if array.dtype.kind not in "biu":
        if array.ndim == 0:
            raise IndexError(_VALID)
        raise IndexError("arrays used as indices must be of integer (or boolean) type")
    if array.ndim == 0 and array.dtype.kind != "b":
        return int(array)
    return array


def _axes_used(item: Any) -> int:
    if item is None or item is Ellipsis:
        return 0
    if isinstance(item, np.ndarray) and item.dtype.kind == "b":
        return item.ndim
    return 1


def _entry(item: Any, axis: int, shape: tuple[int, ...]) -> _Entry:
    if item is None:
        return _Entry(-1)
    if isinstance(item, slice):
        return _Entry(axis, _range(item, shape[axis]))
    if isinstance(item, int):
        return _Entry(axis, _position(item, axis, shape[axis]))
    if item.dtype.kind == "b":
        width = (int(item),) if item.ndim == 0 else ()
        return _Entry(axis, arrays=_mask_positions(item, axis, shape), width=width)
    return _Entry(axis, arrays=(item.astype(np.int64),))


def _in_bounds(positions: np.ndarray, axis: int, size: int) -> np.ndarray:
    """Check an index array and count its negative positions from the start."""
    if positions.size:
        low, high = extremes(positions.reshape(-1))
        if low < -size or high >= size:
            worst = high if high >= size else low
            raise IndexError(f"index {worst} is out of bounds for axis {axis} with size {size}")
        if low < 0:
            return np.where(positions < 0, positions + size, positions)
    return positions


def _mask_positions(mask: np.ndarray, axis: int, shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    if mask.ndim == 0:
        return ()
    for offset, (length, size) in enumerate(zip(mask.shape, shape[axis:], strict=False)):
        # NumPy lets a mask without length pass on any axis: it selects nothing.
        if length not in (size, 0):
            raise IndexError(
                f"boolean index did not match indexed array along axis {axis + offset}; size of "
                f"axis is {size} but size of corresponding boolean axis is {length}"
            )
    return tuple(positions.astype(np.int64, copy=False) for positions in np.nonzero(mask))


def _basic(entries: list[_Entry]) -> Index:
    """Finish an index of integers, slices, ellipsis and new axes."""
    selection = Selection.of(tuple(e.selector for e in entries if e.selector is not None))
    kept = [e for e in entries if not isinstance(e.selector, int) and not e.divides]
    shape = tuple(_lengths(kept))
    return Index(shape, selection, None, None if shape == selection.shape else selection.shape)


def _advanced(entries: list[_Entry], array_shape: tuple[int, ...]) -> Index:
    """Finish an index that holds arrays; integers beside arrays count as arrays."""
    numbers = [
        number
        for number, entry in enumerate(entries)
        if entry.arrays is not None or isinstance(entry.selector, int)
    ]
    paired = _paired_arrays([entries[number] for number in numbers])
    cross = _broadcast(paired, [e.width for e in entries if e.width])
    if 0 not in cross:
        # NumPy does not look at positions that were broadcast away.
        paired = [(axis, _in_bounds(array, axis, array_shape[axis])) for axis, array in paired]
    together = numbers[-1] - numbers[0] + 1 == len(numbers)
    before = [e for e in entries[: numbers[0]] if not e.divides] if together else []
    chosen = set(numbers)
    first = numbers[0] if together else 0
    after = [
        e
        for number, e in enumerate(entries)
        if number >= first and number not in chosen and not e.divides
    ]
    shape = (*_lengths(before), *cross, *_lengths(after))
    if 0 in shape:
        return Index(shape, None)
    return _crossed(before, paired, cross, after, shape) or _pointwise(
        before, paired, cross, after, shape
    )


def _paired_arrays(entries: list[_Entry]) -> list[tuple[int, np.ndarray]]:
    """Give the index arrays with their axes; integers as arrays without dimensions."""
    paired = []
    for entry in entries:
        if entry.arrays is None:
            paired.append((entry.axis, np.asarray(entry.selector, dtype=np.int64)))
        else:
            paired += [(entry.axis + i, array) for i, array in enumerate(entry.arrays)]
    return paired


def _broadcast(
    paired: list[tuple[int, np.ndarray]], widths: list[tuple[int, ...]]
) -> tuple[int, ...]:
    shapes = [array.shape for _, array in paired] + widths
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError as error:
        raise IndexError(
            "shape mismatch: indexing arrays could not be broadcast together with shapes "
            + " ".join(str(shape) for shape in shapes)
        ) from error


def _lengths(entries: list[_Entry]) -> list[int]:
    return [1 if e.selector is None else len(e.selector) for e in entries]  # type: ignore[arg-type]


def _crossed(
    before: list[_Entry],
    paired: list[tuple[int, np.ndarray]],
    cross: tuple[int, ...],
    after: list[_Entry],
    shape: tuple[int, ...],
) -> Index | None:
    """Read arrays that vary along different dimensions (as from ``np.ix_``) as an outer product.

    A single array, of any dimension, is one too. None if the arrays vary together.
    """
    selectors = {e.axis: e.selector for e in before + after if e.selector is not None}
    varying: dict[int, int] = {}
    for axis, array in paired:
        if array.size == 1:
            selectors[axis] = int(array.reshape(-1)[0])
            continue
        selectors[axis] = simplify(array.reshape(-1))
        lead = len(cross) - array.ndim
        dims = [lead + i for i, length in enumerate(array.shape) if length != 1]
        if sum(other.size != 1 for _, other in paired) == 1:
            varying[dims[0]] = axis
        elif len(dims) > 1 or dims[0] in varying:
            return None
        else:
            varying[dims[0]] = axis
    axes = [e.axis for e in before if e.selector is not None]
    axes += [varying[dim] for dim in sorted(varying)]
    axes += [e.axis for e in after if e.selector is not None]
    core_shape = tuple(len(selectors[axis]) for axis in axes)  # type: ignore[arg-type]
    order = tuple(sorted(range(len(axes)), key=axes.__getitem__))
    selection = Selection.of(tuple(selectors[axis] for axis in sorted(selectors)))
    return Index(
        shape,
        selection,
        None,
        None if core_shape == shape else core_shape,
        None if order == tuple(range(len(axes))) else order,
    )


def _pointwise(
    before: list[_Entry],
    paired: list[tuple[int, np.ndarray]],
    cross: tuple[int, ...],
    after: list[_Entry],
    shape: tuple[int, ...],
) -> Index:
    ranges = {e.axis: e.selector for e in before + after if e.selector is not None}
    flat = tuple(np.broadcast_to(array, cross).reshape(-1) for _, array in paired)
    axes = tuple(axis for axis, _ in paired)
    ndim = len(ranges) + len(axes)
    points = Points(axes, flat, tuple(ranges.get(axis) for axis in range(ndim)))
    lead = [len(e.selector) for e in before if e.selector is not None]  # type: ignore[arg-type]
    rest = [len(e.selector) for e in after if e.selector is not None]  # type: ignore[arg-type]
    core_shape = (*lead, prod(cross), *rest)
    others = (i for i in range(len(core_shape)) if i != len(lead))
    order = (len(lead), *others)
    return Index(shape, None, points, core_shape, order)
