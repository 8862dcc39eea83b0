"""Moving stored values to their final place: select, transpose, cast and scale in one pass.

Work goes tile by tile, so that what was just read or decoded is still in the processor's cache
when it is transposed, cast and scaled, and no temporary of the size of the result is ever made.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ecogsource.buffers.storage.grid import Key
from ecogsource.buffers.storage.threads import scratch
from ecogsource.params import load_params

if TYPE_CHECKING:
    from ecogsource.buffers.scaling import Scale
    from ecogsource.indexing import Selection

__all__ = [
    "UNSIGNED",
    "Affine",
    "assign_outer",
    "copy_into",
    "copy_near",
    "drop_integers",
    "grid_slices",
    "place",
    "single_list",
    "take_outer",
]

# Smaller tiles would stay nearer to the processor, but every call lets go of the interpreter lock,
# and threads that take it from each other all the time gain nothing.
TILE_ELEMENTS = 1 << 19
# Of columns that are looked at one by one in the file: their lines stay in the cache.
COLUMN_TILE_ELEMENTS = 1 << 17
# Fewer elements are turned faster as they are.
TURNED_ELEMENTS = 1 << 12
TURNED_ROWS = 512
RUN_BYTES = 128
LINE_BYTES = 64
COLLIDING_BYTES = 256
ROW_LOOP_LIMIT = 64
SHORT_ROW = 128
NEAR_ELEMENTS = 1 << 18
UNSIGNED = {n: np.dtype(f"u{n}") for n in (1, 2, 4, 8)}


class Affine(NamedTuple):
    """Value = (stored + offset) * factor, computed in one floating point type.

    Parameters
    ----------
    offset, factor : ndarray, or None for no change
        No dimensions, or as many as the selection, to which they broadcast.
    dtype : dtype
        The type in which the arithmetic is done.
    """

    offset: np.ndarray | None
    factor: np.ndarray | None
    dtype: np.dtype

    @classmethod
    def of(cls, scale: Scale | None, selection: Selection | None = None) -> Affine | None:
        """Take the numbers of a scale, narrowed to a selection if there is one."""
        if scale is None:
            return None
        if selection is not None:
            scale = scale.select(selection.selectors)
        factor = np.asarray(scale.factor, scale.dtype)
        if isinstance(scale.offset, float) and scale.offset == 0.0:
            return cls(None, factor, scale.dtype)
        return cls(np.asarray(scale.offset, scale.dtype), factor, scale.dtype)

    @property
    def varies(self) -> bool:
        """Whether the numbers differ along some axis."""
        return any(v is not None and v.ndim for v in (self.offset, self.factor))

    @property
    def T(self) -> Affine:
        """The same for the transposed selection."""
        offset, factor = (None if v is None else v.T for v in (self.offset, self.factor))
        return Affine(offset, factor, self.dtype)

    def temporary_bytes(self, size: int) -> int:
        """Return an upper bound of the bytes that scaling so many values takes, in all threads."""
        return min(size, TILE_ELEMENTS * load_params().workers) * self.dtype.itemsize

    def at(self, where: Sequence[slice | np.ndarray]) -> Affine:
        """Return the part that belongs to a piece of the selection."""
        return Affine(_part(self.offset, where), _part(self.factor, where), self.dtype)


def _part(value: np.ndarray | None, where: Sequence[slice | np.ndarray]) -> np.ndarray | None:
    if value is None or value.ndim == 0:
        return value
    for axis, key in enumerate(where):
        if value.shape[axis] != 1:
            value = value[(slice(None),) * axis + (key,)]
    return value


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
            view = view[(slice(None),) * axis + (key,)]
        axis += not isinstance(key, int)
    return view


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


def copy_into(target: np.ndarray, source: np.ndarray, affine: Affine | None = None) -> None:
    """Copy an array into another of the same shape, cast and scaled on the way.

    Parameters
    ----------
    target, source : ndarray
        Same shape, any strides and dtypes.
    affine : Affine, optional
        Scaling, broadcastable to `target`.

    Notes
    -----
    NumPy copies what runs the same way in both at the speed of memory, however large. Only what
    must be turned or scaled is cut into tiles that stay in the cache between the steps.
    """
    turned = (
        target.ndim > 1
        and target.size >= TURNED_ELEMENTS
        and _fast_axis(target) != _fast_axis(source)
    )
    runs = turned and _in_runs(source)
    if runs and affine is None and _turned_at_once(target, source):
        return
    copy = _turn_tile if runs else _copy_tile
    most = COLUMN_TILE_ELEMENTS if turned and not runs else TILE_ELEMENTS
    if target.size <= most or (affine is None and not turned):
        copy(target, source, affine)
        return
    for tile in _tiles(target, source, most):
        copy(target[tile], source[tile], None if affine is None else affine.at(tile))


def _copy_tile(target: np.ndarray, source: np.ndarray, affine: Affine | None) -> None:
    if affine is None:
        np.copyto(target, source, casting="unsafe")
        return
    values = target
    if target.dtype != affine.dtype:
        values = np.empty(target.shape, affine.dtype)
    _scale(values, source, affine)
    if values is not target:
        np.copyto(target, values, casting="unsafe")


def copy_near(target: np.ndarray, source: np.ndarray, affine: Affine | None) -> None:
    """Do what `copy_into` does, for a source of some 100 KB that was just read or decoded."""
    if affine is None and source.size < TURNED_ELEMENTS:
        np.copyto(target, source, casting="unsafe")
    elif affine is None and source.ndim > 1 and (axis := _fast_axis(target)) != _fast_axis(source):
        _turn(target, source, axis)
    else:
        copy_into(target, source, affine)


def _in_runs(source: np.ndarray) -> bool:
    """Tell whether an array lies in runs of bytes that are worth copying as they are."""
    run = source.itemsize
    for stride, n in sorted(zip(map(abs, source.strides), source.shape, strict=True)):
        if n > 1 and stride != run:
            break
        run *= n
    return run >= RUN_BYTES


def _turn_tile(target: np.ndarray, source: np.ndarray, affine: Affine | None) -> None:
    """Copy a tile whose memory order changes: first as it lies, to memory near the processor.

    Rows are read in streams then, and each line of memory once.
    """
    before, after = affine, None
    if affine is not None and target.dtype == affine.dtype and _better_after(target, source):
        before, after = None, affine
    values = _like(source, target.dtype if before is None else before.dtype)
    _scale(values, source, before)
    _turn(target, values, _fast_axis(target))
    _apply(target, after)


def _better_after(target: np.ndarray, source: np.ndarray) -> bool:
    """Tell whether arithmetic is faster in the rows of the result than in those of the source.

    Padded rows are loops of their own: short ones cost more than the values in them. But the rows
    of a large tile of the result have left the cache by then.
    """
    return target.size <= NEAR_ELEMENTS or source.shape[_fast_axis(source)] < SHORT_ROW


def _turn(target: np.ndarray, source: np.ndarray, axis: int, start: int = 0) -> None:
    """Copy columns to rows, some hundred at a time, whose lines fit the innermost cache."""
    before, n = (slice(None),) * axis, target.shape[axis]
    step = _rows_at_once(abs(source.strides[axis]), n)
    for first in range(start, n, step):
        rows = (*before, slice(first, first + step))
        np.copyto(target[rows], source[rows], casting="unsafe")


def _rows_at_once(apart: int, n: int) -> int:
    """Tell how many lines of a column fit the innermost cache, of rows so many bytes apart."""
    if apart < LINE_BYTES:
        # Narrow rows share lines: all of a column fits.
        return n
    # An even number of lines apart, they use every other set of the cache: half as many fit.
    return TURNED_ROWS // 2 if apart % (2 * LINE_BYTES) == 0 else TURNED_ROWS


def _turned_at_once(target: np.ndarray, source: np.ndarray) -> bool:
    """Do what `_turn` does in one call, if the rows of the source are far from colliding.

    A copy would put the axes into the order of the target's memory; the loop of a universal
    function takes them as they are given, blocks of rows first.
    """
    unsigned, axis = UNSIGNED.get(target.itemsize), _fast_axis(target)
    apart, n = abs(source.strides[axis]), target.shape[axis]
    step = _rows_at_once(apart, n)
    if (
        unsigned is None
        or target.dtype != source.dtype
        or apart % COLLIDING_BYTES == 0
        or n < 2 * step
    ):
        return False
    done = n - n % step
    rows = (*(slice(None),) * axis, slice(0, done))
    blocks = (_in_blocks(array[rows].view(unsigned), axis, step) for array in (source, target))
    np.positive(*blocks, order="C")
    _turn(target, source, axis, done)
    return True


def _in_blocks(array: np.ndarray, axis: int, step: int) -> np.ndarray:
    """View an array in blocks along an axis, their number first."""
    shape, strides = list(array.shape), list(array.strides)
    blocks, shape[axis] = shape[axis] // step, step
    strides = [strides[axis] * step, *strides]
    return np.lib.stride_tricks.as_strided(array, (blocks, *shape), strides)


def _scale(values: np.ndarray, source: np.ndarray, affine: Affine | None) -> None:
    np.copyto(values, source, casting="unsafe")
    _apply(values, affine)


def _apply(values: np.ndarray, affine: Affine | None) -> None:
    if affine is None:
        return
    if affine.offset is not None:
        np.add(values, affine.offset, out=values)
    if affine.factor is not None:
        np.multiply(values, affine.factor, out=values)


def _like(source: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return scratch memory with the shape and the order of axes of an array.

    Rows a multiple of 256 bytes apart would put the elements of a column on few sets of the cache,
    where they push each other out; such rows are set one cache line further apart.
    """
    strides = [0] * source.ndim
    size = dtype.itemsize
    for number, axis in enumerate(_by_distance(source)):
        if number == 1 and size % COLLIDING_BYTES == 0:
            size += LINE_BYTES
        strides[axis] = size
        size *= source.shape[axis]
    return np.ndarray(source.shape, dtype, scratch(size, "turned"), 0, strides)


def _by_distance(array: np.ndarray) -> Sequence[int]:
    """Return the axes, that whose neighbours are closest in memory first."""
    strides = array.strides
    if len(strides) == 2:
        return (1, 0) if abs(strides[1]) <= abs(strides[0]) else (0, 1)
    return sorted(range(array.ndim - 1, -1, -1), key=lambda axis: abs(strides[axis]))


def _tiles(target: np.ndarray, source: np.ndarray, most: int) -> Iterator[tuple[slice, ...]]:
    """Cut the shape of two arrays into tiles of so many elements, compact on both sides."""
    shape = target.shape
    edges = list(shape)
    fast = {_fast_axis(target), _fast_axis(source)}
    for axis in sorted(range(len(shape)), key=lambda a: (a in fast, -abs(target.strides[a]))):
        total = math.prod(edges)
        if total <= most:
            break
        least = 256 if axis in fast else 1
        edges[axis] = min(shape[axis], max(least, edges[axis] * most // total, 1))
    return grid_slices(shape, edges)


def _fast_axis(array: np.ndarray) -> int:
    """Return the axis along which neighbours are closest in memory."""
    if array.ndim == 2:
        (n, m), (across, along) = array.shape, array.strides
        return int(m > 1 and (n <= 1 or abs(along) < abs(across)))
    fast, least = 0, -1
    for axis, (n, stride) in enumerate(zip(array.shape, array.strides, strict=True)):
        if n > 1 and (least < 0 or abs(stride) < least):
            fast, least = axis, abs(stride)
    return fast


def grid_slices(shape: Sequence[int], edges: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    """Yield the tiles of a grid over a shape, last axis fastest."""
    if not shape:
        yield ()
        return
    n, edge = shape[0], edges[0]
    for start in range(0, n, edge):
        for rest in grid_slices(shape[1:], edges[1:]):
            yield (slice(start, min(n, start + edge)), *rest)
