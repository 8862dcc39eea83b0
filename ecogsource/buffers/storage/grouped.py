"""Small chunks without filters, many at a time: one copy for a row of neighbours.

h5py's default chunks are small and narrow, so that a window of all channels touches dozens. Read
one by one they cost more in bookkeeping than in bytes. Here the wanted rows of neighbouring chunks
are read side by side into one scratch array and placed with one copy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ecogsource.buffers.storage.grid import Selector
from ecogsource.buffers.storage.handles import Handle
from ecogsource.buffers.storage.layout import ChunkIndex
from ecogsource.buffers.storage.place import Affine, copy_into
from ecogsource.buffers.storage.threads import run, scratch

__all__ = ["read_grouped"]

GROUP_BYTES = 1 << 19
SMALL_CHUNK_BYTES = 1 << 16


class _Group(NamedTuple):
    """Neighbouring chunks: where their wanted rows begin, and where those go."""

    offsets: list[int]
    rows: slice
    columns: slice
    # Columns wanted inside the chunk; a group of several wants them all.
    inside: slice


def read_grouped(
    handle: Handle,
    index: ChunkIndex,
    chunks: tuple[int, int],
    dtype: np.dtype,
    selectors: Sequence[Selector],
    out: np.ndarray,
    affine: Affine | None,
) -> bool:
    """Read a dense window of a dataset with two axes and small chunks without filters.

    Parameters
    ----------
    handle : Handle
        The file.
    index : ChunkIndex
        Where the chunks are.
    chunks : (int, int)
        Their shape.
    dtype : dtype
        Stored type.
    selectors : sequence of range
        Positions wanted; neighbours in rising order.
    out : ndarray
        Target of the selection's shape.
    affine : Affine, optional
        One scaling for all.

    Returns
    -------
    bool
        False if the window is not of that kind; nothing was read then.
    """
    rows, columns = selectors
    if not (isinstance(rows, range) and isinstance(columns, range)):
        return False
    height, width = chunks
    row_bytes = width * dtype.itemsize
    first, last = columns[0] // width, columns[-1] // width
    tall = min(height, len(rows))
    if rows.step != 1 or columns.step != 1 or last - first < 3:
        return False
    if tall * row_bytes > SMALL_CHUNK_BYTES:
        return False
    part = np.s_[rows[0] // height : rows[-1] // height + 1, first : last + 1]
    offsets, sizes = index.offsets[part], index.sizes[part]
    nbytes = height * row_bytes
    if offsets.min() < 0 or sizes.min() < nbytes or (offsets + sizes).max() > handle.size:
        return False

    def read(group: _Group) -> None:
        target = out[group.rows, group.columns]
        count, n = len(group.offsets), len(target)
        memory = scratch(count * n * row_bytes)
        block = np.frombuffer(memory, dtype).reshape(count, n, width)
        handle.read_rows(block, group.offsets)
        if count == 1:
            copy_into(target, block[0, :, group.inside], affine)
        else:
            copy_into(target.reshape(n, count, width), block.transpose(1, 0, 2), affine)

    groups = list(_groups(offsets, rows, columns, chunks, row_bytes))
    run(read, groups, out.size * dtype.itemsize)
    return True


def _groups(
    offsets: np.ndarray, rows: range, columns: range, chunks: tuple[int, int], row_bytes: int
) -> Iterator[_Group]:
    height, width = chunks
    for number, line in enumerate(offsets):
        base = (rows[0] // height + number) * height
        low, high = max(rows[0], base), min(rows[-1] + 1, base + height)
        starts = (line + (low - base) * row_bytes).tolist()
        where = slice(low - rows[0], high - rows[0])
        most = max(1, GROUP_BYTES // ((high - low) * row_bytes))
        for span in _spans(columns, width, len(starts), most):
            left = (columns[0] // width + span.start) * width
            begin = max(columns[0], left)
            end = min(columns[-1] + 1, left + len(span) * width)
            yield _Group(
                starts[span.start : span.stop],
                where,
                slice(begin - columns[0], end - columns[0]),
                slice(begin - left, end - left),
            )


def _spans(columns: range, width: int, count: int, most: int) -> Iterator[range]:
    """Cut a row of chunks: those cut by the window alone, the whole ones by groups."""
    start, stop = 0, count
    if columns[0] % width:
        yield range(1)
        start = 1
    if (columns[-1] + 1) % width:
        yield range(count - 1, count)
        stop = count - 1
    for at in range(start, stop, most):
        yield range(at, min(stop, at + most))
