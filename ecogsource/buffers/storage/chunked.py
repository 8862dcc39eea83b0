"""Reading chunked HDF5 datasets without HDF5: own positioned reads, decoding in threads."""

from __future__ import annotations

import itertools
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ecogsource.buffers.storage.affine import Affine
from ecogsource.buffers.storage.cache import CACHE, passing
from ecogsource.buffers.storage.codecs import SHUFFLE, DamagedChunkError, decode
from ecogsource.buffers.storage.grid import (
    Key,
    Selector,
    axis_pieces,
    key_count,
    length,
)
from ecogsource.buffers.storage.handles import POOL, Handle, HandlePool
from ecogsource.buffers.storage.layout import MISSING, ChunkIndex, Layout
from ecogsource.buffers.storage.loops import LostPagesError
from ecogsource.buffers.storage.place import place
from ecogsource.buffers.storage.shuffle import Shuffled
from ecogsource.buffers.storage.signature import Signature
from ecogsource.buffers.storage.threads import run, scratch
from ecogsource.buffers.storage.windowed import all_there, read_windowed
from ecogsource.errors import CorruptDataError
from ecogsource.params import load_params

__all__ = ["INDICES", "ChunkedStorage", "IndexCache"]

# From which part of the cache on a read is too large to be kept whole.
FLOOD = 1 / 8
# What the plan of a read takes in memory for each chunk.
CELL_BYTES = 500
KEPT_INDICES = 256


class IndexCache:
    """The chunk indices of the datasets used last, by file, dataset and state of the file.

    Parameters
    ----------
    limit : int
        Largest number of indices kept.
    """

    def __init__(self, limit: int = KEPT_INDICES) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._found: OrderedDict[object, ChunkIndex] = OrderedDict()

    def get(self, key: object, read: Callable[[], ChunkIndex]) -> ChunkIndex:
        """Return an index, reading it if it is not known."""
        with self._lock:
            index = self._found.get(key)
            if index is not None:
                self._found.move_to_end(key)
                return index
        index = read()
        with self._lock:
            self._found[key] = index
            while len(self._found) > self._limit:
                self._found.popitem(last=False)
        return index


INDICES = IndexCache()


class _Cell(NamedTuple):
    """One chunk, and what of it is wanted where."""

    number: int
    offset: int
    size: int
    mask: int
    local: tuple[Key, ...]
    where: tuple[slice | np.ndarray, ...]


class ChunkedStorage:
    """A chunked dataset whose bytes we read and decode ourselves.

    Parameters
    ----------
    layout : Layout
        A layout of kind ``'chunked'`` whose filters can be decoded.
    signature : Signature
        State of the file that the layout was found in.
    load_index : callable
        Returns the chunk index; called once, when the first data are read.
    pool : HandlePool
        Where descriptors come from.
    """

    def __init__(
        self,
        layout: Layout,
        signature: Signature,
        load_index: Callable[[], ChunkIndex],
        pool: HandlePool = POOL,
    ) -> None:
        self.layout = layout
        self.chunks = layout.chunks or ()
        self.dtype = layout.dtype
        self._native = layout.dtype.newbyteorder("=")
        self._signature = signature
        self._nbytes = math.prod(self.chunks) * self.dtype.itemsize
        self._pool = pool
        self._load_index = load_index
        self._index: ChunkIndex | None = None
        self._complete = False
        self._owner = (layout.path, layout.name, layout.signature)
        self._keep_shuffle = (
            bool(layout.filters)
            and layout.filters[0] == (SHUFFLE, (self.dtype.itemsize,))
            and Shuffled.supports(self.dtype)
        )

    def read_into(
        self, selectors: Sequence[Selector], out: np.ndarray, affine: Affine | None = None
    ) -> None:
        """Read a selection into `out`, cast and scaled; see `ContiguousStorage.read_into`.

        Raises
        ------
        CorruptDataError
            If a chunk cannot be read or decoded, or the file changed since it was opened.
        DataPathError
            If the file vanished.
        """
        handle = self._pool.acquire(self.layout.path, self._signature)
        try:
            handle.check(self._signature)
            if not self.layout.filters:
                index = self._known_index()
                if not read_windowed(
                    handle, index, self.layout, selectors, out, affine, complete=self._complete
                ):
                    nbytes = out.size * self.dtype.itemsize
                    run(self._plain(handle, out, affine), self._cells(selectors), nbytes)
                return
            cells = self._cells(selectors)
            nbytes = len(cells) * self._nbytes
            handle.fetch(
                cells[0].offset,
                cells[-1].offset,
                lambda: ((cell.offset, cell.size) for cell in cells if cell.size > 0),
            )
            run(self._filtered(handle, out, affine, nbytes), cells, nbytes)
        except LostPagesError as error:
            raise handle.lost(self._signature) from error
        finally:
            self._pool.release(handle)

    def temporary_bytes(self, selectors: Sequence[Selector]) -> int:
        """Return an upper bound of the bytes that a read needs besides its result."""
        touched = math.prod(
            min(length(s), -(-n // c) + 1)
            for s, n, c in zip(selectors, self.layout.shape, self.chunks, strict=True)
        )
        return CELL_BYTES * touched + 3 * self._nbytes * min(touched, load_params().workers)

    def _known_index(self) -> ChunkIndex:
        index = self._index
        if index is None:
            index = self._load_index()
            end = self._signature.size
            self._complete = all_there(index.offsets, index.sizes, self._nbytes, end)
            self._index = index
        return index

    def _cells(self, selectors: Sequence[Selector]) -> list[_Cell]:
        index = self._known_index()
        axes = [axis_pieces(s, c) for s, c in zip(selectors, self.chunks, strict=True)]
        grid = np.ix_(*([p.cell for p in pieces] for pieces in axes))
        numbers = np.ravel_multi_index(grid, index.offsets.shape).ravel()
        wheres = [[p.where for p in pieces if p.where is not None] for pieces in axes]
        fields = zip(
            numbers.tolist(),
            index.offsets.ravel()[numbers].tolist(),
            index.sizes.ravel()[numbers].tolist(),
            index.masks.ravel()[numbers].tolist(),
            itertools.product(*([p.local for p in pieces] for pieces in axes)),
            # An integer drops its axis, and has one piece only.
            itertools.product(*(where for where in wheres if where)),
            strict=True,
        )
        return [_Cell._make(cell) for cell in fields]

    def _filtered(
        self, handle: Handle, out: np.ndarray, affine: Affine | None, nbytes: int
    ) -> Callable[[_Cell], None]:
        """Return what reads one chunk of a dataset with filters.

        A read that decodes a large part of what the cache may hold does not flood it, nor does a
        walk over more than that: they keep only the chunks at their borders, which their
        neighbours will ask for.
        """
        limit = load_params().chunk_cache
        flood = nbytes > limit * FLOOD or passing() * self.dtype.itemsize > limit

        def read(cell: _Cell) -> None:
            local, where = cell.local, cell.where
            part = None if affine is None else affine.at(where)
            if cell.offset == MISSING:
                place(self._empty(), local, out, where, part)
                return
            key = (self._owner, cell.number)
            chunk = CACHE.get(key)
            if chunk is None:
                chunk = self._decode(handle, cell)
                if not (flood and self._used_up(cell)):
                    CACHE.put(key, chunk, limit)
            if isinstance(chunk, Shuffled):
                chunk.place(local, out, where, part, self._native)
            else:
                place(chunk, local, out, where, part)

        return read

    def _used_up(self, cell: _Cell) -> bool:
        """Tell whether all of a chunk is wanted."""
        count = math.prod(key_count(key) for key in cell.local)
        return count * self.dtype.itemsize >= self._nbytes

    def _decode(self, handle: Handle, cell: _Cell) -> np.ndarray | Shuffled:
        self._check_end(handle, cell)
        stored = scratch(cell.size)
        handle.read(stored, cell.offset)
        try:
            data, shuffled = decode(
                stored,
                self.layout.filters,
                cell.mask,
                self._nbytes,
                keep_shuffle=self._keep_shuffle,
            )
        except DamagedChunkError as error:
            raise self._damaged(handle, cell, error) from error
        if data is stored or isinstance(data, memoryview):
            data = bytes(data)
        if shuffled:
            return Shuffled(data, self.dtype, self.chunks)
        return np.frombuffer(data, self.dtype).reshape(self.chunks)

    def _check_end(self, handle: Handle, cell: _Cell) -> None:
        if cell.offset + cell.size > self._signature.size:
            beyond = ValueError(
                f"it would end at byte {cell.offset + cell.size} of {self._signature.size}"
            )
            raise self._damaged(handle, cell, beyond)

    def _damaged(self, handle: Handle, cell: _Cell, error: Exception) -> CorruptDataError:
        # A file that is being rewritten looks damaged too: that would be the better message.
        handle.check(self._signature)
        grid = tuple(-(-n // c) for n, c in zip(self.layout.shape, self.chunks, strict=True))
        chunk = tuple(int(i) for i in np.unravel_index(cell.number, grid))
        return CorruptDataError(
            f"chunk {chunk} of dataset {self.layout.name!r} is damaged: {error}",
            self.layout.path,
            cell.offset,
        )

    def _empty(self) -> np.ndarray:
        """Return a chunk that was never written: the fill value everywhere."""
        fill = np.asarray(self.layout.fill, self.dtype)
        return np.broadcast_to(fill, self.chunks)

    def _plain(
        self, handle: Handle, out: np.ndarray, affine: Affine | None
    ) -> Callable[[_Cell], None]:
        """Return what reads one chunk of a dataset without filters, from the map of the file."""

        def read(cell: _Cell) -> None:
            where = cell.where
            part = None if affine is None else affine.at(where)
            if cell.offset == MISSING:
                place(self._empty(), cell.local, out, where, part)
                return
            if cell.size < self._nbytes:
                short = ValueError(f"{self._nbytes} bytes needed, {cell.size} stored")
                raise self._damaged(handle, cell, short)
            self._check_end(handle, cell)
            block = np.ndarray(self.chunks, self.dtype, handle.map(), cell.offset)
            place(block, cell.local, out, where, part)
            handle.touched(self._nbytes)

        return read
