"""Windows of datasets in chunks without filters, many chunks with one call.

A window of all channels touches dozens of chunks, hundreds where they are small, as h5py's default
ones are. Placed one by one they cost more in bookkeeping than in bytes. Where there are the loops
in C, they go through a table of chunks themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ecogsource.buffers.storage import loops
from ecogsource.buffers.storage.affine import Affine
from ecogsource.buffers.storage.grid import Selector
from ecogsource.buffers.storage.handles import FAULT_BYTES, Handle
from ecogsource.buffers.storage.layout import ChunkIndex, Layout
from ecogsource.buffers.storage.threads import run

__all__ = ["all_there", "forward", "read_windowed"]

# What one call is worth while other threads work too.
PART_BYTES = 1 << 20
# What is so far apart is read by itself; as in the loops.
LONG_BYTES = 1 << 12
# More rows in any order are cheaper chunk by chunk.
ROWS = 64


class _Part(NamedTuple):
    """Rows and columns of a window, as positions in the dataset and in the result."""

    rows: range
    columns: range
    where: tuple[slice, slice]


def read_windowed(
    handle: Handle,
    index: ChunkIndex,
    layout: Layout,
    selectors: Sequence[Selector],
    out: np.ndarray,
    affine: Affine | None,
    *,
    complete: bool,
) -> bool:
    """Read a window of a dataset without filters, of one dimension or two.

    Parameters
    ----------
    handle : Handle
        The file.
    index : ChunkIndex
        Where the chunks are.
    layout : Layout
        Of the dataset; chunked.
    selectors : sequence of int, range or int64 array
        Positions wanted along each axis.
    out : ndarray
        Target of the selection's shape.
    affine : Affine, optional
        One scaling for all.
    complete : bool
        Whether all chunks of the dataset are known to be in the file.

    Returns
    -------
    bool
        False if that is nothing for the loops in C, or a chunk is missing or damaged: what is in
        `out` does not count then.
    """
    edges, table, sizes = layout.chunks or (), index.offsets, index.sizes
    if len(edges) > 2 or not loops.available() or (affine is not None and affine.varies):
        return False
    if len(edges) == 1:
        # One row.
        selectors, edges, table, sizes = (0, *selectors), (1, *edges), table[None], sizes[None]
    (lines, positions), out = forward(selectors, out)
    if isinstance(positions, np.ndarray) or (isinstance(lines, np.ndarray) and len(lines) > ROWS):
        return False
    read = max(out.nbytes, _read_bytes(lines, positions, edges[1], layout.dtype.itemsize))
    if isinstance(lines, range):
        near = slice(lines[0] // edges[0], lines[-1] // edges[0] + 1)
        parts = list(_parts(lines, positions, edges, read))
    else:
        near = slice(int(lines.min()) // edges[0], int(lines.max()) // edges[0] + 1)
        parts = [
            _Part(range(row, row + 1), positions, (slice(n, n + 1), slice(None)))
            for n, row in enumerate(lines.tolist())
        ]
    touched = (near, slice(positions[0] // edges[1], positions[-1] // edges[1] + 1))
    nbytes = edges[0] * edges[1] * layout.dtype.itemsize
    offsets = table[touched]
    if not complete and not all_there(offsets, sizes[touched], nbytes, handle.size):
        return False
    handle.fetch(
        int(offsets[0, 0]),
        int(offsets[-1, -1]),
        lambda: ((offset, nbytes) for offset in offsets.ravel().tolist()),
    )
    origin = (near.start * edges[0], touched[1].start * edges[1])
    failed = []
    stored = np.empty((), layout.dtype)
    # What goes straight to its place need not be in a map.
    mapped = (
        len(parts) == 1
        and not _straight(out, layout.dtype, affine)
        and handle.stays_mapped(out.size * layout.dtype.itemsize)
    )
    file = handle.map() if mapped else handle.fd

    def work(part: _Part) -> None:
        first = (part.rows.start - origin[0], part.columns.start - origin[1])
        step = (part.rows.step, part.columns.step)
        target = out[part.where]
        if not loops.read_chunks(
            file, target, stored, offsets, first, step, (edges[0], edges[1]), affine
        ):
            failed.append(part)

    run(work, parts, read)
    if mapped:
        handle.touched(offsets.size * FAULT_BYTES + out.nbytes)
    return not failed


def forward(
    selectors: Sequence[Selector], out: np.ndarray
) -> tuple[list[range | np.ndarray], np.ndarray]:
    """Return selectors without integers and steps backwards, and the result as they see it."""
    found: list[range | np.ndarray] = []
    for axis, selector in enumerate(selectors):
        if isinstance(selector, int):
            # It has no axis in the result.
            out, selector = np.expand_dims(out, axis), range(selector, selector + 1)
        elif isinstance(selector, range) and selector.step < 0:
            out, selector = np.flip(out, axis), selector[::-1]
        found.append(selector)
    return found, out


def all_there(offsets: np.ndarray, sizes: np.ndarray, nbytes: int, end: int) -> bool:
    """Tell whether chunks of `nbytes` were all written, whole, and lie before the file's end."""
    written = bool(offsets.min() >= 0 and sizes.min() >= nbytes)
    return written and int((offsets + sizes).max()) <= end


def _read_bytes(rows: range | np.ndarray, columns: range, width: int, itemsize: int) -> int:
    """Tell about how many bytes are read: what is near what is wanted comes with it."""
    near = columns.step * itemsize < LONG_BYTES
    along = (columns[-1] - columns[0] + 1 if near else len(columns)) * itemsize
    if isinstance(rows, range) and rows.step * width * itemsize < LONG_BYTES:
        return along * (rows[-1] - rows[0] + 1)
    return along * len(rows)


def _straight(out: np.ndarray, dtype: np.dtype, affine: Affine | None) -> bool:
    """Tell whether rows of the file are rows of the result."""
    return affine is None and out.dtype == dtype and out.strides[1] == out.itemsize


def _parts(rows: range, columns: range, edges: Sequence[int], nbytes: int) -> Iterator[_Part]:
    """Cut a window, between chunks if there are enough, into parts of about the same size."""
    count = -(-nbytes // PART_BYTES)
    everything = slice(None)
    if count == 1:
        yield _Part(rows, columns, (everything, everything))
        return
    across, along = (
        positions[-1] // edge - positions[0] // edge + 1
        for positions, edge in zip((rows, columns), edges, strict=True)
    )
    if across >= along:
        for cut in _cuts(rows, edges[0] if across >= count else 1, count):
            yield _Part(rows[cut], columns, (cut, everything))
    else:
        for cut in _cuts(columns, edges[1] if along >= count else 1, count):
            yield _Part(rows, columns[cut], (everything, cut))


def _cuts(positions: range, edge: int, count: int) -> Iterator[slice]:
    """Cut positions into so many slices, each beginning in a chunk of its own."""
    first, end = positions[0] // edge, positions[-1] // edge + 1
    start = 0
    for number in range(1, count + 1):
        border = (first + (end - first) * number // count) * edge
        stop = min(len(positions), max(start, -((positions.start - border) // positions.step)))
        if stop > start:
            yield slice(start, stop)
        start = stop
