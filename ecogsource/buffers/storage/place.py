"""Bringing what is wanted of a block of stored values to its place in the result."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ecogsource.buffers.storage import loops
from ecogsource.buffers.storage.affine import Affine
from ecogsource.buffers.storage.copying import copy_into
from ecogsource.buffers.storage.grid import Key
from ecogsource.buffers.storage.threads import scratch

__all__ = ["assign_outer", "drop_integers", "place", "single_list", "take_outer"]

ROW_LOOP_LIMIT = 64


def take_outer(block: np.ndarray, keys: Sequence[Key]) -> np.ndarray:
    """Return the outer-product selection of a block: a view where all keys are basic.

    Parameters
    ----------
    block : ndarray
        Any array.
    keys : sequence of int, slice or int64 array
        One per axis of `block`; an integer drops its axis.
    """
    view = block[(*(slice(None) if isinstance(k, np.ndarray) else k for k in keys), ...)]
    axis = 0
    for key in keys:
        if isinstance(key, np.ndarray):
            view = _take(view, axis, key)
        axis += not isinstance(key, int)
    return view


def _take(array: np.ndarray, axis: int, positions: np.ndarray) -> np.ndarray:
    if loops.available():
        # NumPy would look at a map unguarded.
        shape = (*array.shape[:axis], len(positions), *array.shape[axis + 1 :])
        values = np.empty(shape, array.dtype)
        if loops.take(values, array, axis, positions, None):
            return values
    key: Any = (*(slice(None),) * axis, positions)
    return array[key]


def assign_outer(out: np.ndarray, where: Sequence[Key], values: np.ndarray) -> None:
    """Store values at an outer-product selection; of repeated positions the last one wins.

    Parameters
    ----------
    out : ndarray
        Target.
    where : sequence of int, slice or int64 array
        One per axis of `out`; an integer has no axis in `values`.
    values : ndarray
        Broadcastable to the selection.
    """
    view = out[(*(key if isinstance(key, int) else slice(None) for key in where), ...)]
    keys = [key for key in where if not isinstance(key, int)]
    if sum(isinstance(key, np.ndarray) for key in keys) > 1:
        keys = list(np.ix_(*(_positions(k, n) for k, n in zip(keys, view.shape, strict=True))))
    view[tuple(keys)] = values


def _positions(key: slice | np.ndarray, n: int) -> np.ndarray:
    if isinstance(key, slice):
        return np.arange(n, dtype=np.int64)[key]
    return key


def place(
    block: np.ndarray,
    local: Sequence[Key],
    out: np.ndarray,
    where: Sequence[slice | np.ndarray],
    affine: Affine | None = None,
) -> None:
    """Copy a selection of a block to its place in the result, cast and scaled on the way.

    Parameters
    ----------
    block : ndarray
        Stored values.
    local : sequence of int, slice or int64 array
        What of `block` is wanted, one key per axis; integers drop their axis.
    out : ndarray
        The whole result; any strides, and any dtype the values cast to.
    where : sequence of slice or int64 array
        Where in `out` it goes, one key per axis of `out`.
    affine : Affine, optional
        Scaling, already restricted to `where`.
    """
    for key in (*local, *where):
        if isinstance(key, np.ndarray):
            _place_lists(block, local, out, where, affine)
            return
    copy_into(out[(*where, ...)], block[(*local, ...)], affine)


def _place_lists(
    block: np.ndarray,
    local: Sequence[Key],
    out: np.ndarray,
    where: Sequence[slice | np.ndarray],
    affine: Affine | None,
) -> None:
    """Place with lists: one short list row by row as views, others by gathering and scattering."""
    block, keys = drop_integers(block, local)
    if _take_into(out, where, block, keys, affine):
        return
    if _last_only(keys, where):
        block = block[tuple(keys[:-1])]
        if block.flags.c_contiguous:
            copy_into(out[(*where, ...)], _take_last(block, keys[-1]), affine)
            return
        keys = [*(slice(None),) * (len(keys) - 1), keys[-1]]
    rows = single_list(keys, where)
    if rows is not None:
        axis, pairs = rows
        before = (slice(None),) * axis
        source = block[tuple(_all_if_list(keys, axis))]
        target = out[tuple(_all_if_list(where, axis))]
        for i, (one, to) in enumerate(pairs):
            if affine is None:
                here: Any = (*before, to, ...)
                there: Any = (*before, one, ...)
                copy_into(target[here], source[there])
                continue
            part = affine.at((*before, slice(i, i + 1)))
            copy_into(
                target[(*before, slice(to, to + 1))], source[(*before, slice(one, one + 1))], part
            )
        return
    values = take_outer(block, keys)
    if affine is not None:
        scaled = np.empty(values.shape, affine.dtype)
        copy_into(scaled, values, affine)
        values = scaled
    assign_outer(out, where, values)


def _take_into(
    out: np.ndarray,
    where: Sequence[Key],
    block: np.ndarray,
    keys: Sequence[slice | np.ndarray],
    affine: Affine | None,
) -> bool:
    """Copy with the loops in C if there is one list, of the block."""
    listed = [axis for axis, key in enumerate(keys) if isinstance(key, np.ndarray)]
    if len(listed) != 1 or any(isinstance(key, np.ndarray) for key in where):
        return False
    axis = listed[0]
    source = block[tuple(_all_if_list(keys, axis))]
    positions: Any = keys[axis]
    return loops.take(out[(*where, ...)], source, axis, positions, affine)


def _last_only(keys: Sequence[Key], where: Sequence[Key]) -> bool:
    """Tell whether the only list is that of the block's last axis."""
    return isinstance(keys[-1], np.ndarray) and not any(
        isinstance(key, np.ndarray) for key in (*keys[:-1], *where)
    )


def _take_last(block: np.ndarray, positions: Any) -> np.ndarray:
    """Gather from the last axis, row by row: each line of memory is looked at once."""
    shape = (*block.shape[:-1], len(positions))
    nbytes = math.prod(shape) * block.dtype.itemsize
    values = np.frombuffer(scratch(nbytes, "taken"), block.dtype).reshape(shape)
    # All positions are in bounds: with another mode than "raise", `out` is filled as it is.
    np.take(block, positions, axis=-1, out=values, mode="clip")
    return values


def drop_integers(
    block: np.ndarray, keys: Sequence[Key]
) -> tuple[np.ndarray, list[slice | np.ndarray]]:
    """Apply the integers of an outer-product key, and return what is left of both."""
    view = block[(*(key if isinstance(key, int) else slice(None) for key in keys), ...)]
    return view, [key for key in keys if not isinstance(key, int)]


def single_list(
    local: Sequence[slice | np.ndarray], where: Sequence[slice | np.ndarray]
) -> tuple[int, list[tuple[int, int]]] | None:
    """Find the one axis with a short list on either side.

    Returns
    -------
    axis : int
    pairs : list of (int, int)
        Positions in the block and in the result. ``None`` for both if several axes have lists, or
        the list is long.
    """
    listed = [
        axis
        for axis, keys in enumerate(zip(local, where, strict=True))
        if any(isinstance(key, np.ndarray) for key in keys)
    ]
    if len(listed) != 1:
        return None
    axis = listed[0]
    one, to = local[axis], where[axis]
    count = len(one if isinstance(one, np.ndarray) else np.asarray(to))
    if count > ROW_LOOP_LIMIT:
        return None
    return axis, list(zip(_counted(one, count), _counted(to, count), strict=True))


def _counted(key: slice | np.ndarray, count: int) -> Iterable[int]:
    if isinstance(key, np.ndarray):
        return key.tolist()
    start, step = key.start or 0, key.step or 1
    return range(start, start + count * step, step)


def _all_if_list(keys: Sequence[slice | np.ndarray], axis: int) -> Iterator[slice | np.ndarray]:
    for i, key in enumerate(keys):
        yield slice(None) if i == axis else key
