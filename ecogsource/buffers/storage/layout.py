"""How a dataset lies in its HDF5 file: found out once, through h5py, before the bytes are read."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ecogsource.buffers.storage.signature import Signature, signature_of
from ecogsource.errors import CorruptDataError, DataPathError, FormatError

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
        Whether the file is read while somebody writes to it: in SWMR mode, or in this process.
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
    masks : ndarray of int64
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
    if dataset.shape is None:
        raise FormatError(
            f"dataset {dataset.name!r} of {file.filename!r} has no values (null dataspace)"
        )
    path = os.path.abspath(file.filename)  # noqa: PTH100 - resolve() would follow links
    try:
        signature = signature_of(path)
    except DataPathError:
        signature = None
    kind, offset = _kind(dataset)
    if signature is None or not dataset.name or file.driver not in ("sec2", "stdio"):
        kind = "library"
    growing = file.swmr_mode or _written_here(file)
    if growing:
        kind = "library"
    layout = Layout(
        path=path,
        name=dataset.name or "",
        signature=signature,
        shape=dataset.shape,
        dtype=dataset.dtype,
        chunks=dataset.chunks,
        kind=kind,
        offset=offset,
        filters=filters_of(dataset),
        fill=_fill(dataset, kind),
        sources=_sources(dataset),
        growing=growing,
    )
    check_sources(layout)
    return layout


def _written_here(file: h5py.File) -> bool:
    """Tell whether this process has the file open for writing through h5py."""
    from h5py import h5f

    name = file.id.name
    return any(
        other.get_intent() & h5f.ACC_RDWR and other.name == name
        for other in h5f.get_obj_ids(h5f.OBJ_ALL, h5f.OBJ_FILE)
    )


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


def filters_of(dataset: h5py.Dataset) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """Return the codes and parameters of the filters, in the order in which they were applied."""
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
    """Return the other files that the values of a dataset come from.

    Raises
    ------
    DataPathError
        If one of them lacks the dataset it should have.
    """
    if dataset.is_virtual:
        names = [source.file_name for source in dataset.virtual_sources()]
        _check_source_datasets(dataset)
    else:
        names = [name for name, _, _ in dataset.external or ()]
    # "." is the file itself; "%b" stands for a number that HDF5 counts up.
    return tuple(sorted({name for name in names if name != "." and "%" not in name}))


def _check_source_datasets(dataset: h5py.Dataset) -> None:
    import h5py

    folder = Path(dataset.file.filename).resolve().parent
    wanted = {(source.file_name, source.dset_name) for source in dataset.virtual_sources()}
    for name, inside in sorted(wanted):
        if name == "." or "%" in name + inside:
            continue
        path = next((p for p in (Path(name), folder / name) if p.exists()), None)
        if path is None:
            continue  # `check_sources` says so
        with h5py.File(path, "r", locking=False) as file:
            if inside not in file:
                raise DataPathError(
                    f"dataset {dataset.name!r} of {dataset.file.filename!r} has values in dataset "
                    f"{inside!r} of {name!r}, which is missing. They would read as fill values"
                )


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
    """Read the index of a chunked dataset.

    Raises
    ------
    CorruptDataError
        If it names chunks outside of the dataset.
    """
    chunks, grid = layout.chunks or (), _grid(layout)
    found: list[tuple[int, ...]] = []

    def note(info: h5py.h5d.StoreInfo) -> None:
        found.append((info.byte_offset, info.size, info.filter_mask, *info.chunk_offset))

    if 0 not in grid and dataset.id.get_num_chunks():
        dataset.id.chunk_iter(note)
    table = np.array(found, dtype=np.int64).reshape(len(found), 3 + len(chunks))
    cells = _true_cells(dataset, table[:, 3:] // np.array(chunks))
    if (cells >= np.array(grid)).any():
        raise CorruptDataError(
            f"the index of dataset {layout.name!r} names chunks outside of its shape", layout.path
        )
    where = tuple(cells.T)
    offsets = np.full(grid, MISSING, dtype=np.int64)
    sizes = np.zeros(grid, dtype=np.int64)
    masks = np.zeros(grid, dtype=np.int64)
    offsets[where], sizes[where], masks[where] = table[:, 0], table[:, 1], table[:, 2]
    offsets[offsets >= 0] += _base_shift(dataset, offsets, sizes)
    return ChunkIndex(offsets, sizes, masks)


def _true_cells(dataset: h5py.Dataset, cells: np.ndarray) -> np.ndarray:
    """Repair the positions of chunks as HDF5 2.0 (and before) tells them.

    With one unlimited axis that is not the first, the "extensible array" index of new files counts
    chunks with that axis as the slowest, but the iterator steps as if it were in its place, and as
    if it never ended: all chunks seem to lie in the first row. Whether that happened is found out
    by asking for a chunk that exists only if it did.

    Parameters
    ----------
    cells : ndarray of int64, shape (chunks, axes)
        Positions in the grid, as told.
    """
    limits = dataset.maxshape
    unlimited = [axis for axis, n in enumerate(limits) if n is None]
    if len(unlimited) != 1 or unlimited[0] == 0 or cells[:, : unlimited[0]].any():
        return cells
    axis = unlimited[0]
    most = [0 if n is None else -(-n // c) for n, c in zip(limits, dataset.chunks, strict=True)]
    after = most[axis + 1 :]
    number = cells[:, axis] * math.prod(after)
    for i in range(len(after)):
        number += cells[:, axis + 1 + i] * math.prod(after[i + 1 :])
    repaired = np.empty_like(cells)
    for i in reversed([i for i in range(len(most)) if i != axis]):
        number, repaired[:, i] = np.divmod(number, most[i])
    repaired[:, axis] = number
    told = set(map(tuple, cells.tolist()))
    for cell in map(tuple, repaired.tolist()):
        if cell not in told:
            return repaired if _has_chunk(dataset, cell) else cells
    return cells


def _has_chunk(dataset: h5py.Dataset, cell: tuple[int, ...]) -> bool:
    corner = tuple(i * c for i, c in zip(cell, dataset.chunks, strict=True))
    if any(start >= n for start, n in zip(corner, dataset.shape, strict=True)):
        return False
    try:
        dataset.id.read_direct_chunk(corner)
    except (OSError, RuntimeError, ValueError):
        return False
    return True


def _base_shift(dataset: h5py.Dataset, offsets: np.ndarray, sizes: np.ndarray) -> int:
    """Return what must be added to the offsets of a file with a user block.

    Releases of HDF5 differ in whether they count from the start of the file or of the HDF5 data,
    so one chunk is looked at.
    """
    base = dataset.file.userblock_size
    if base == 0 or (offsets < 0).all():
        return 0
    cell = tuple(int(i) for i in np.argwhere(offsets >= 0)[0])
    chunks = dataset.chunks or ()
    corner = tuple(i * c for i, c in zip(cell, chunks, strict=True))
    stored = bytes(dataset.id.read_direct_chunk(corner)[1])
    with Path(dataset.file.filename).open("rb") as file:
        file.seek(int(offsets[cell]))
        return 0 if file.read(int(sizes[cell])) == stored else base
