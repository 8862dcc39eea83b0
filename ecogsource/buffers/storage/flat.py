"""Reading and writing arrays that lie in a file as they lie in memory: flat and contiguous data.

Small and sparse reads copy from a map of the file. Large dense ones go tile by tile, in threads:
runs of bytes are read straight to their place where they fit as they are, else through a scratch
array that stays in the cache while it is transposed, cast and scaled.
"""

from __future__ import annotations

import math
import mmap
import os
import threading
from collections.abc import Iterable, Sequence

import numpy as np

from ecogsource.buffers.storage.grid import (
    Box,
    Selector,
    bounds,
    boxes,
    is_unit,
    length,
    outer_shape,
    slice_of,
)
from ecogsource.buffers.storage.handles import POOL, Handle, HandlePool, Signature, signature_of
from ecogsource.buffers.storage.place import (
    Affine,
    assign_outer,
    copy_into,
    copy_tile,
    grid_slices,
    place,
)
from ecogsource.buffers.storage.threads import run, scratch
from ecogsource.errors import CorruptDataError, ReadOnlyError

__all__ = ["ContiguousStorage"]

SMALL_BYTES = 1 << 18
TILE_BYTES = 1 << 19
SPAN_BYTES = 1 << 20
WANTED_BYTES = 1 << 16
RUN_BYTES = 1 << 12
# Shorter runs that are cast or scaled are taken from the map, without a scratch array.
LONG_RUN_BYTES = 1 << 18
DENSE = 0.3
# What one access to a map brings in around it.
FAULT_BYTES = 1 << 16


class ContiguousStorage:
    """An array stored in C order at some offset of a file.

    Parameters
    ----------
    path : str
        The file.
    dtype : dtype
        Stored type, in the file's byte order.
    shape : tuple of int
        Shape of the array.
    offset : int
        Position of the first byte of the array.
    writeable : bool
        Whether `write_from` is allowed.
    signature : Signature, optional
        State of the file that `shape` and `offset` were found in; default its present state.
    pool : HandlePool
        Where descriptors come from.
    """

    def __init__(
        self,
        path: str,
        dtype: np.dtype,
        shape: tuple[int, ...],
        *,
        offset: int = 0,
        writeable: bool = False,
        signature: Signature | None = None,
        pool: HandlePool = POOL,
    ) -> None:
        self.path, self.dtype, self.shape, self.offset = path, dtype, shape, offset
        self.writeable = writeable
        self._pool = pool
        self._signature = signature_of(path) if signature is None else signature
        self._write_lock = threading.Lock()
        end = offset + math.prod(shape) * dtype.itemsize
        if end > self._signature.size:
            raise CorruptDataError(
                f"the data would end at byte {end}, the file has {self._signature.size}",
                path,
                self._signature.size,
            )
        sizes = [*shape[1:], dtype.itemsize]
        self._strides = tuple(math.prod(sizes[axis:]) for axis in range(len(shape)))

    def read_into(
        self, selectors: Sequence[Selector], out: np.ndarray, affine: Affine | None = None
    ) -> None:
        """Read a selection into `out`, cast and scaled.

        Parameters
        ----------
        selectors : sequence of int, range or int64 array
            One per axis, in bounds.
        out : ndarray
            Target of the selection's shape, not empty; any strides, any dtype.
        affine : Affine, optional
            Scaling, broadcastable to `out`.

        Raises
        ------
        CorruptDataError, DataPathError
            If the file changed or vanished since it was opened.
        """
        handle = self._pool.acquire(self.path, self._signature)
        try:
            written = self._pool.own_write(self.path)
            self._signature = handle.check(self._signature, written)
            nbytes = out.size * self.dtype.itemsize
            axis = self._run_axis(selectors)
            run_bytes = 0
            if axis < len(selectors):
                run_bytes = length(selectors[axis]) * self._strides[axis]
            if run_bytes == nbytes and RUN_BYTES <= nbytes <= SMALL_BYTES:
                self._read_one_run(handle, selectors, out, affine)
            elif nbytes <= SMALL_BYTES:
                self._read_small(handle, selectors, out, affine)
            elif run_bytes >= (RUN_BYTES if self._as_stored(out, affine) else LONG_RUN_BYTES):
                self._read_runs(handle, selectors, axis, out, affine)
            else:
                self._read_boxes(handle, selectors, out, affine)
        finally:
            self._pool.release(handle)

    def close(self) -> None:
        """Let go of the file; reading opens it again."""
        self._pool.forget(self.path)

    def temporary_bytes(self, selectors: Sequence[Selector]) -> int:
        """Return an upper bound of the bytes that a read needs besides its result, per thread."""
        size = math.prod(length(s) for s in selectors) * self.dtype.itemsize
        return min(4 * TILE_BYTES, 2 * size)

    def _read_small(
        self,
        handle: Handle,
        selectors: Sequence[Selector],
        out: np.ndarray,
        affine: Affine | None,
    ) -> None:
        keys = [slice_of(s) if isinstance(s, range) else s for s in selectors]
        place(self._view(handle), keys, out, (slice(None),) * out.ndim, affine)
        rows = out.size // length(selectors[-1]) if selectors else 1
        handle.touched(rows * FAULT_BYTES)

    def _read_one_run(
        self,
        handle: Handle,
        selectors: Sequence[Selector],
        out: np.ndarray,
        affine: Affine | None,
    ) -> None:
        """Read a selection that is one short run of bytes."""
        offset = self.offset
        for selector, stride in zip(selectors, self._strides, strict=True):
            offset += stride * (selector if isinstance(selector, int) else selector[0])
        if self._as_stored(out, affine) and out.flags.c_contiguous:
            handle.read(out, offset)
            return
        self._copy_run(handle, offset, out, affine)

    def _copy_run(
        self, handle: Handle, offset: int, target: np.ndarray, affine: Affine | None
    ) -> None:
        """Transpose, cast and scale one run of bytes on its way from the map, in one piece.

        Smaller pieces would stay nearer to the processor, but cost more calls than that gains.
        """
        copy_tile(target, np.ndarray(target.shape, self.dtype, handle.map(), offset), affine)
        handle.touched(target.size * self.dtype.itemsize)

    def _read_boxes(
        self,
        handle: Handle,
        selectors: Sequence[Selector],
        out: np.ndarray,
        affine: Affine | None,
    ) -> None:
        """Read short runs: whole rows of the first axis if most is wanted, else from the map."""
        intervals = [bounds(s) for s in selectors]
        rows = (intervals[0][1] - intervals[0][0]) * self._strides[0]
        if out.size * self.dtype.itemsize > DENSE * rows:
            reader = self._read_box
            edges = [max(1, TILE_BYTES // self._strides[0]), *self.shape[1:]]
            origin = [intervals[0][0], *[0] * (len(edges) - 1)]
        else:
            reader = self._copy_box
            spans = [high - low for low, high in intervals]
            density = out.size / math.prod(spans)
            edges = _tile_edges(spans, self.dtype.itemsize, density)
            origin = [low for low, _ in intervals]

        def work(box: Box) -> None:
            part = None if affine is None else affine.at(box.where)
            reader(handle, box, out, part)

        run(work, list(boxes(selectors, edges, origin)), out.size * self.dtype.itemsize)

    def _run_axis(self, selectors: Sequence[Selector]) -> int:
        """Return the axis from which on the selection is one run of bytes.

        It is the number of axes if the last one is not selected as neighbours in rising order.
        """
        axis = len(selectors)
        while axis and is_unit(selectors[axis - 1]):
            axis -= 1
            if length(selectors[axis]) < self.shape[axis]:
                break
        return axis

    def _read_runs(
        self,
        handle: Handle,
        selectors: Sequence[Selector],
        axis: int,
        out: np.ndarray,
        affine: Affine | None,
    ) -> None:
        """Read long runs of bytes, one per combination of positions before `axis`."""
        axes = tuple(None if isinstance(s, int) else slice(None) for s in selectors)
        whole = out[axes]
        scale = None if affine is None else affine.at(axes) if affine.varies else affine
        positions = [_positions(s) for s in selectors[:axis]]
        first = bounds(selectors[axis])[0]
        base = self.offset + first * self._strides[axis]
        edges, room = [1] * (axis + 1), TILE_BYTES
        for i in reversed(range(axis + 1)):
            step = self._strides[axis] if i == axis else 1
            edges[i] = max(1, min(whole.shape[i], room // step))
            room //= edges[i] * step

        def work(tile: tuple[slice, ...]) -> None:
            target = whole[tile]
            starts = [p[t.start : t.stop] for p, t in zip(positions, tile, strict=False)]
            offsets = self._offsets(base + tile[axis].start * self._strides[axis], starts)
            if self._as_stored(target, scale) and _rows_fit(target, axis):
                handle.copy_rows(_rows(target, axis), offsets)
                return
            full = (*tile, *[slice(None)] * (target.ndim - axis - 1))
            part = None if scale is None else scale.at(full)
            if axis == 0:
                self._copy_run(handle, offsets[0], target, part)
                return
            memory = scratch(target.size * self.dtype.itemsize)
            block = np.frombuffer(memory, self.dtype).reshape(target.shape)
            handle.read_rows(_rows(block, axis), offsets)
            copy_into(target, block, part)

        run(work, list(grid_slices(whole.shape[: axis + 1], edges)), out.size * self.dtype.itemsize)

    def _as_stored(self, target: np.ndarray, scale: Affine | None) -> bool:
        """Tell whether numbers go to a target as they are."""
        return scale is None and target.dtype == self.dtype

    def _offsets(self, begin: int, starts: Sequence[Sequence[int]]) -> Sequence[int]:
        """Return where the row of each combination of positions begins."""
        offsets = np.array([begin], dtype=np.int64)
        for positions, stride in zip(starts, self._strides, strict=False):
            ahead = np.asarray(positions, dtype=np.int64) * stride
            offsets = (offsets[:, None] + ahead).ravel()
        return offsets.tolist()

    def _read_box(self, handle: Handle, box: Box, out: np.ndarray, affine: Affine | None) -> None:
        """Read whole rows of the first axis, and keep what is wanted of them."""
        rows = box.extent[0]
        memory = scratch(rows * self._strides[0])
        block = np.frombuffer(memory, self.dtype).reshape((rows, *self.shape[1:]))
        handle.read(block, self.offset + box.start[0] * self._strides[0])
        inner = tuple(slice(a, a + n) for a, n in zip(box.start[1:], box.extent[1:], strict=True))
        place(block[(slice(None), *inner)], box.local, out, box.where, affine)

    def _copy_box(self, handle: Handle, box: Box, out: np.ndarray, affine: Affine | None) -> None:
        """Copy sparse positions from the map."""
        key = tuple(slice(a, a + n) for a, n in zip(box.start, box.extent, strict=True))
        place(self._view(handle)[key], box.local, out, box.where, affine)
        rows = math.prod(box.extent[:-1])
        span = box.extent[0] * self._strides[0]
        handle.touched(min(span, rows * (FAULT_BYTES + box.extent[-1] * self.dtype.itemsize)))

    def write_from(self, selectors: Sequence[Selector], values: np.ndarray) -> None:
        """Write values of the selection's shape; of repeated positions the last one wins.

        Raises
        ------
        ReadOnlyError
            If the storage was opened for reading only, or the file may not be written.
        """
        if not self.writeable:
            raise ReadOnlyError(f"{self.path!r} was opened for reading only")
        if 0 in outer_shape(selectors):
            return
        keys = [slice_of(s) if isinstance(s, range) else s for s in selectors]
        with self._write_lock:
            try:
                fd = os.open(self.path, os.O_RDWR)
            except PermissionError as error:
                raise ReadOnlyError(f"{self.path!r} may not be written: {error}") from error
            try:
                with mmap.mmap(fd, 0, access=mmap.ACCESS_WRITE) as shared:
                    view = np.ndarray(self.shape, self.dtype, shared, self.offset)
                    assign_outer(view, keys, values)
                    del view
            finally:
                os.close(fd)
            self._signature = self._pool.note_write(self.path)

    def _view(self, handle: Handle) -> np.ndarray:
        return np.ndarray(self.shape, self.dtype, handle.map(), self.offset)


def _positions(selector: Selector) -> Sequence[int]:
    if isinstance(selector, int):
        return (selector,)
    return selector if isinstance(selector, range) else selector.tolist()


def _rows(block: np.ndarray, axis: int) -> Iterable[np.ndarray]:
    """Return the parts of a block from `axis` on, in C order of the axes before."""
    if axis == 0:
        return (block,)
    if axis == 1:
        return block
    return (block[index] for index in np.ndindex(block.shape[:axis]))


def _rows_fit(target: np.ndarray, axis: int) -> bool:
    """Tell whether each row, from `axis` on, is contiguous."""
    return bool(target[(0,) * axis].flags.c_contiguous)


def _tile_edges(spans: Sequence[int], itemsize: int, density: float) -> list[int]:
    """Choose boxes that fit the cache but are worth the trouble, long along the last axes."""
    least = int(WANTED_BYTES / max(density, 1e-6))
    room = max(SPAN_BYTES, least) // itemsize
    edges = [1] * len(spans)
    for axis in reversed(range(len(spans))):
        edges[axis] = max(1, min(spans[axis], room))
        room //= edges[axis]
    return edges
