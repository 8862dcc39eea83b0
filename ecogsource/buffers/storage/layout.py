"""How a dataset lies in its HDF5 file: found out once, through h5py, before the bytes are read."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ecogsource.buffers.storage.handles import Signature, signature_of
from ecogsource.errors import DataPathError

if TYPE_CHECKING:
    import h5py

__all__ = ["ChunkIndex", "Layout", "check_sources", "dense_grid", "describe", "read_index"]

DENSE_CELLS = 1 << 22
MISSING = -1


@dataclass(frozen=True, slots=True)
class Layout:
    """Where and how a dataset is stored.

    Attributes
    ----------
    path, name : str
        File, and dataset inside the file.
    signature : Signature or None
        State of the file at the time; ``None`` if there is no such file (memory, streams).
    shape : tuple of int
    dtype : dtype
        Stored type, in the file's byte order.
    chunks : tuple of int or None
    kind : {'contiguous', 'chunked', 'library'}
        Who can read it: ``'library'`` means that only h5py can.
    offset : int
        First byte of contiguous data.
    filters : tuple of (int, tuple of int)
        Codes and parameters of the filters, in the order in which they were applied.
    fill : numpy scalar or None
        What chunks that were never written hold.
    sources : tuple of str
        Other files that hold the values of a virtual or external dataset.
    growing : bool
        Whether the file is read while somebody writes to it (SWMR).
    """

    path: str
    name: str
    signature: Signature | None
    shape: tuple[int, ...]
    dtype: np.dtype
    chunks: tuple[int, ...] | None
    kind: str
    offset: int = 0
    filters: tuple[tuple[int, tuple[int, ...]], ...] = ()
    fill: Any = None
    sources: tuple[str, ...] = ()
    growing: bool = False


@dataclass(frozen=True, slots=True)
class ChunkIndex:
    """Where each chunk of a dataset lies, as arrays over the grid of chunks.

    Attributes
    ----------
    offsets : ndarray of int64
        Position of each chunk in the file; -1 where none was written.
    sizes : ndarray of int64
        Stored bytes.
    masks : ndarray of uint32
        Bit i set means that filter i was skipped.
    """

    offsets: np.ndarray
    sizes: np.ndarray
    masks: np.ndarray


def describe(dataset: h5py.Dataset) -> Layout:
    """Find out how a dataset is stored.

    Raises
    ------
    DataPathError
        If the file of a virtual or external dataset's values is missing.
    """
    file = dataset.file
    path = os.path.abspath(file.filename)  # noqa: PTH100 - resolve() would follow links
    try:
        signature = signature_of(path)
    except DataPathError:
        signature = None
    kind, offset = _kind(dataset)
    if signature is None or not dataset.name or file.driver not in ("sec2", "stdio"):
        kind = "library"
    if file.swmr_mode:
        kind = "library"
    layout = Layout(
        path=path,
        name=dataset.name or "",
        signature=signature,
        shape=() if dataset.shape is None else dataset.shape,
        dtype=dataset.dtype,
        chunks=dataset.chunks,
        kind=kind,
        offset=offset,
        filters=_filters(dataset),
        fill=_fill(dataset, kind),
        sources=_sources(dataset),
        growing=file.swmr_mode,
    )
    check_sources(layout)
    return layout


def _kind(dataset: h5py.Dataset) -> tuple[str, int]:
    from h5py import h5d

    plain = dataset.dtype.kind in "iufc" and _plain_type(dataset)
    if not plain or not dataset.shape or dataset.is_virtual or dataset.external:
        return "library", 0
    layout = dataset.id.get_create_plist().get_layout()
    if layout == h5d.CONTIGUOUS:
        offset = dataset.id.get_offset()
        return ("library", 0) if offset is None else ("contiguous", offset)
    if layout == h5d.CHUNKED and hasattr(dataset.id, "chunk_iter"):
        return "chunked", 0
    return "library", 0


def _plain_type(dataset: h5py.Dataset) -> bool:
    """Tell whether the stored bytes are the bytes of the NumPy type."""
    from h5py import h5t

    stored = dataset.id.get_type()
    return bool(stored.equal(h5t.py_create(dataset.dtype)))


def _filters(dataset: h5py.Dataset) -> tuple[tuple[int, tuple[int, ...]], ...]:
    plist = dataset.id.get_create_plist()
    found = (plist.get_filter(i) for i in range(plist.get_nfilters()))
    return tuple((code, tuple(values)) for code, _, values, _ in found)


def _fill(dataset: h5py.Dataset, kind: str) -> Any:
    if kind != "chunked":
        return None
    value = np.zeros((), dataset.dtype)
    plist = dataset.id.get_create_plist()
    from h5py import h5d

    if plist.fill_value_defined() != h5d.FILL_VALUE_UNDEFINED:
        plist.get_fill_value(value)
    return value[()]


def _sources(dataset: h5py.Dataset) -> tuple[str, ...]:
    """Return the other files that the values of a dataset come from."""
    if dataset.is_virtual:
        names = [source.file_name for source in dataset.virtual_sources()]
    else:
        names = [name for name, _, _ in dataset.external or ()]
    # "." is the file itself; "%b" stands for a number that HDF5 counts up.
    return tuple(sorted({name for name in names if name != "." and "%" not in name}))


def check_sources(layout: Layout) -> None:
    """Make sure that the values of a virtual or external dataset are there.

    HDF5 does not: where a file is missing it silently gives fill values.

    Raises
    ------
    DataPathError
        If a file is missing.
    """
    folder = Path(layout.path).parent
    for name in layout.sources:
        if not Path(name).exists() and not (folder / name).exists():
            raise DataPathError(
                f"dataset {layout.name!r} of {layout.path!r} has values in {name!r}, which is "
                "missing. They would read as fill values"
            )


def dense_grid(layout: Layout) -> bool:
    """Tell whether the index of a chunked dataset is small enough to be held as dense arrays."""
    return math.prod(_grid(layout)) <= DENSE_CELLS


def _grid(layout: Layout) -> tuple[int, ...]:
    return tuple(-(-n // c) for n, c in zip(layout.shape, layout.chunks or (), strict=True))


def read_index(dataset: h5py.Dataset, layout: Layout) -> ChunkIndex:
    """Read the index of a chunked dataset."""
    chunks, grid = layout.chunks or (), _grid(layout)
    offsets = np.full(grid, MISSING, dtype=np.int64)
    sizes = np.zeros(grid, dtype=np.int64)
    masks = np.zeros(grid, dtype=np.uint32)

    def note(info: h5py.h5d.StoreInfo) -> None:
        cell = tuple(o // c for o, c in zip(info.chunk_offset, chunks, strict=True))
        offsets[cell] = info.byte_offset
        sizes[cell] = info.size
        masks[cell] = info.filter_mask

    if 0 not in grid and dataset.id.get_num_chunks():
        dataset.id.chunk_iter(note)
        offsets[offsets >= 0] += _base_shift(dataset, offsets, sizes)
    return ChunkIndex(offsets, sizes, masks)


def _base_shift(dataset: h5py.Dataset, offsets: np.ndarray, sizes: np.ndarray) -> int:
    """Return what must be added to the offsets of a file with a user block.

    Releases of HDF5 differ in whether they count from the start of the file or of the HDF5 data,
    so one chunk is looked at.
    """
    base = dataset.file.userblock_size
    if base == 0:
        return 0
    cell = tuple(int(i) for i in np.argwhere(offsets >= 0)[0])
    chunks = dataset.chunks or ()
    corner = tuple(i * c for i, c in zip(cell, chunks, strict=True))
    stored = bytes(dataset.id.read_direct_chunk(corner)[1])
    with Path(dataset.file.filename).open("rb") as file:
        file.seek(int(offsets[cell]))
        return 0 if file.read(int(sizes[cell])) == stored else base
