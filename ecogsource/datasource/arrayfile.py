"""Writing arrays to an HDF5 file in pieces: in threads, resumable, with checksums, whole or absent.

HDF5 promises nothing about a file whose writer was killed. So the library only touches a file for
a moment: it lays out the arrays, is closed, and the samples are then written at their known
positions by positioned writes, outside its lock. Compressed pieces go to a spool file and are
put into their HDF5 file at the very end. A job of the same key goes on where one was killed; every
piece that its ledger names is checked before it is believed.
"""

from __future__ import annotations

import errno
import json
import os
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ecogsource.datasource.ledger import Ledger
from ecogsource.datasource.tiles import Grid
from ecogsource.safefile import check_disk_space, file_lock, named_errors, publish, reserve_file

if TYPE_CHECKING:
    import h5py

__all__ = ["ArrayFile", "ArraySpec", "array_file"]

CRC_ATTRIBUTE = "ecogsource_crc32"
TILE_ATTRIBUTE = "ecogsource_tile"
PROVENANCE_ATTRIBUTE = "ecogsource_provenance"

# HDF5 keeps an attribute of up to 64 KiB in the header of its object.
_ATTRIBUTE_LIMIT = 60_000
_LISTED = 50


@dataclass(frozen=True)
class ArraySpec:
    """An array to be written.

    Attributes
    ----------
    name : str
        Dataset.
    shape : tuple of int
        Time is the last axis.
    dtype : numpy.dtype
        Stored type.
    grid : Grid
        Pieces, of the array seen as (all other axes together) x time. Whole chunks if chunked.
    chunks : tuple of int, optional
        Chunk shape of a dataset of two axes; contiguous if None.
    level : int, optional
        Deflate level (0 to 9, after shuffling the bytes); uncompressed if None.
    filled : bool
        False for an array that stays zero and gets no checksums.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    grid: Grid
    chunks: tuple[int, ...] | None = None
    level: int | None = None
    filled: bool = True

    @property
    def nbytes(self) -> int:
        """Bytes of the array, uncompressed."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    @property
    def disk_bytes(self) -> int:
        """Bytes that it will surely take on the disk; nobody knows of compressed ones."""
        return self.nbytes if self.level is None else 0

    @property
    def pieces(self) -> range:
        """Numbers of the pieces that are to be written."""
        return range(len(self.grid) if self.filled and self.nbytes else 0)


def crc_of(values: NDArray[Any]) -> int:
    """Return the CRC-32 of the little-endian bytes of an array in C order."""
    little = values.astype(values.dtype.newbyteorder("<"), copy=False)
    return zlib.crc32(np.ascontiguousarray(little).reshape(-1).view(np.uint8).data)


class ArrayFile:
    """An HDF5 file while it is being made; see :func:`array_file`.

    Parameters
    ----------
    target : Path
        Final name.
    specs : sequence of ArraySpec
        The arrays.
    key : str
        Names the job, for resumption.
    attributes : mapping
        Attributes of the file.
    scalars : mapping
        Further small datasets, written as they are.
    sealed : bool
        Whether the file carries checksums.
    """

    def __init__(
        self,
        target: Path,
        specs: Sequence[ArraySpec],
        key: str,
        attributes: Mapping[str, Any],
        scalars: Mapping[str, Any],
        *,
        sealed: bool = True,
    ) -> None:
        self.target = target
        self.specs = {spec.name: spec for spec in specs}
        self._attributes, self._scalars = dict(attributes), dict(scalars)
        self._sealed = sealed
        self.partial = target.with_name(f".{target.name}.partial")
        self.spool = target.with_name(f".{target.name}.spool")
        self._guard = threading.Lock()
        self._key = key
        self._descriptors: list[int] = []
        # What an interrupted job left is used again or deleted.
        left = sum(path.stat().st_size for path in (self.partial, self.spool) if path.exists())
        needed = sum(spec.disk_bytes for spec in specs)
        check_disk_space(target.absolute().parent, max(0, needed - left))
        self._ledger = Ledger(target.with_name(f".{target.name}.ledger"), key)

    def open(self) -> None:
        """Lay the file out, or find what an interrupted job of the same key left."""
        if not self._resume():
            self._start()
        flags = os.O_RDWR | getattr(os, "O_BINARY", 0)
        for path in (self.partial, self.spool):
            self._descriptors.append(os.open(path, flags | os.O_CREAT, 0o666))
        self._file, self._spool_file = self._descriptors
        self._spool_end = os.fstat(self._spool_file).st_size
        self._believe_ledger()

    # -- the life of the file --------------------------------------------------------------------

    def _resume(self) -> bool:
        """Find the layout of a file left by a killed writer, if it belongs to this job."""
        if not self._ledger.entries or ("", 0) not in self._ledger.entries:
            return False
        if ("", 1) in self._ledger.entries:
            # The writer died while HDF5 had the file open: nothing is known about it.
            return False
        try:
            self._offsets = self._read_offsets()
        except (OSError, KeyError):
            return False
        return True

    def _start(self) -> None:
        path = self._ledger.path
        self._ledger.remove()
        self._discard()
        self._ledger = Ledger(path, self._key)
        _lay_out(self.partial, self.specs.values(), self._scalars)
        self._offsets = self._read_offsets()
        reserve_file(self.partial)
        self._ledger.add("", 0, [0])

    def _read_offsets(self) -> dict[str, int]:
        import h5py

        offsets = {}
        with h5py.File(self.partial, "r") as file:
            for spec in self.specs.values():
                if spec.chunks is None:
                    offset = file[spec.name].id.get_offset()
                    if offset is None and spec.nbytes:
                        raise KeyError(spec.name)
                    offsets[spec.name] = offset or 0
        return offsets

    def _believe_ledger(self) -> None:
        """Strike out the pieces whose bytes do not have the checksum the ledger names."""
        for name, piece in list(self._ledger.entries):
            if name in self.specs and not self._check_piece(name, piece):
                self._ledger.forget(name, piece)

    def _check_piece(self, name: str, piece: int) -> bool:
        spec = self.specs[name]
        if piece not in spec.pieces:
            return False
        crc, *places = self._ledger.entries[name, piece]
        if spec.chunks is None:
            return crc_of(self._read_piece(spec, piece)) == crc
        _, spool_crc, *numbers = self._ledger.entries[name, piece]
        stored = [
            _read_at(self._spool_file, int(size), int(offset))
            for offset, size in zip(numbers[::2], numbers[1::2], strict=True)
        ]
        return bool(places) and zlib.crc32(b"".join(stored)) == spool_crc

    def _discard(self) -> None:
        for path in (self.partial, self.spool):
            with suppress(FileNotFoundError):
                path.unlink()

    def close(self, *, keep: bool) -> None:
        """Close the files; keep them for a restart, or delete them."""
        while self._descriptors:
            os.close(self._descriptors.pop())
        if keep:
            self._ledger.close()
        else:
            self._ledger.remove()
            self._discard()

    def finish(self) -> None:
        """Seal the file and give it its name.

        Raises
        ------
        RuntimeError
            If pieces are missing.
        """
        for name in self.specs:
            if missing := len(self.pending(name)):
                raise RuntimeError(f"{missing} pieces of {name!r} were never written")
        self._ledger.add("", 1, [0])
        self._seal()
        publish(self.partial, self.target)

    def _seal(self) -> None:
        import h5py

        with h5py.File(self.partial, "r+") as file:
            for name, spec in self.specs.items():
                dataset = file[name]
                if spec.chunks is not None:
                    self._unspool(spec, dataset)
                if spec.pieces and self._sealed:
                    crcs = [self._ledger.entries[name, piece][0] for piece in spec.pieces]
                    dataset.attrs[CRC_ATTRIBUTE] = np.array(crcs, dtype=np.uint32)
                    dataset.attrs[TILE_ATTRIBUTE] = (spec.grid.tile_rows, spec.grid.tile_samples)
            for name, value in self._attributes.items():
                file.attrs[name] = value

    def _unspool(self, spec: ArraySpec, dataset: h5py.Dataset) -> None:
        for piece in spec.pieces:
            numbers = self._ledger.entries[spec.name, piece][2:]
            places = zip(numbers[::2], numbers[1::2], strict=True)
            for origin, (offset, size) in zip(_chunk_origins(spec, piece), places, strict=True):
                stored = _read_at(self._spool_file, int(size), int(offset))
                dataset.id.write_direct_chunk(origin[-len(spec.shape) :], stored)

    # -- pieces ----------------------------------------------------------------------------------

    def pending(self, name: str) -> list[int]:
        """Return the pieces of an array that are still to be written."""
        return [p for p in self.specs[name].pieces if (name, p) not in self._ledger.entries]

    def write(self, name: str, piece: int, values: NDArray[Any]) -> None:
        """Write one piece; safe in threads.

        Parameters
        ----------
        name : str
            Array.
        piece : int
            Number of the piece in the grid.
        values : ndarray, shape (rows, samples) of that piece
            Cast to the stored type.
        """
        spec = self.specs[name]
        values = np.ascontiguousarray(values, dtype=spec.dtype)
        crc = crc_of(values)
        if spec.chunks is None:
            for offset, part in self._runs(spec, piece, values):
                _write_at(self._file, part, offset)
            self._ledger.add(name, piece, [crc])
            return
        chunks = [_encode(chunk, spec.level) for chunk in _cut_chunks(spec, piece, values)]
        sizes = [len(chunk) for chunk in chunks]
        with self._guard:
            start = self._spool_end
            self._spool_end += sum(sizes)
        stored = b"".join(chunks)
        _write_at(self._spool_file, stored, start)
        offsets = start + np.cumsum([0, *sizes[:-1]])
        places = [int(n) for pair in zip(offsets, sizes, strict=True) for n in pair]
        self._ledger.add(name, piece, [crc, zlib.crc32(stored), *places])

    def _runs(
        self, spec: ArraySpec, piece: int, values: NDArray[Any]
    ) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield file offset and array for each run of bytes of a piece of a contiguous array."""
        first_row, last_row, start, stop = spec.grid.bounds(piece)
        base = self._offsets[spec.name]
        itemsize, samples = spec.dtype.itemsize, spec.grid.samples
        if stop - start == samples:
            yield base + first_row * samples * itemsize, values
            return
        for row in range(first_row, last_row):
            yield base + (row * samples + start) * itemsize, values[row - first_row]

    def _read_piece(self, spec: ArraySpec, piece: int) -> NDArray[Any]:
        first_row, last_row, start, stop = spec.grid.bounds(piece)
        values = np.zeros((last_row - first_row, stop - start), spec.dtype)
        for offset, part in self._runs(spec, piece, values):
            stored = _read_at(self._file, part.nbytes, offset)
            flat = part.reshape(-1).view(np.uint8)
            flat[: len(stored)] = np.frombuffer(stored, np.uint8)
        return values


@contextmanager
def array_file(
    target: Path,
    specs: Sequence[ArraySpec],
    key: str | None,
    *,
    attributes: Mapping[str, Any],
    scalars: Mapping[str, Any] | None = None,
    sealed: bool = True,
    accept: Callable[[], bool] | None = None,
) -> Iterator[ArrayFile | None]:
    """Make an HDF5 file in pieces; it gets its name when the block ends without an error.

    Parameters
    ----------
    target : Path
        Final name; an existing file stays until the new one is complete.
    specs : sequence of ArraySpec
        The arrays.
    key : str or None
        Names the job: sources, options, versions. An interrupted job of the same key and target
        goes on. None: nothing is kept.
    attributes, scalars : mapping
        Attributes of the file, and further small datasets.
    sealed : bool
        Whether the file carries checksums; they would be wrong after the first change.
    accept : callable, optional
        Asked once no other process is writing: True if the target is already what is wanted.

    Yields
    ------
    ArrayFile or None
        None if the target was accepted as it is.

    Raises
    ------
    OSError
        With ``errno.ENOSPC`` if the disk is full; what was written is removed then.
    """
    with ExitStack() as stack:
        stack.enter_context(named_errors(target))
        stack.enter_context(file_lock(target))
        if accept is not None and accept():
            yield None
            return
        job = key or os.urandom(8).hex()
        file = ArrayFile(target, specs, job, attributes, scalars or {}, sealed=sealed)
        keep = key is not None
        try:
            file.open()
            yield file
            file.finish()
            keep = False
        except OSError as error:
            keep = keep and error.errno not in (errno.ENOSPC, errno.EDQUOT)
            raise
        finally:
            file.close(keep=keep)


def provenance_json(record: Mapping[str, Any]) -> str:
    """Write provenance as JSON that fits an HDF5 attribute: long lists are cut."""
    text = json.dumps(record, default=str)
    if len(text) < _ATTRIBUTE_LIMIT:
        return text
    short = {**record, "origin": {k: _cut(v) for k, v in record.get("origin", {}).items()}}
    return json.dumps(short, default=str)


def _cut(value: Any) -> Any:
    """Cut a long list and say how long it was."""
    if isinstance(value, list) and len(value) > _LISTED:
        return [*value[:_LISTED], f"... {len(value)} in all"]
    return value


def _lay_out(path: Path, specs: Any, scalars: Mapping[str, Any]) -> None:
    """Make the file with all its datasets, contiguous ones allocated and never filled."""
    import h5py

    with h5py.File(path, "w") as file:
        for spec in specs:
            if spec.chunks is not None:
                file.create_dataset(
                    spec.name,
                    spec.shape,
                    spec.dtype,
                    chunks=spec.chunks,
                    compression=spec.level,
                    shuffle=spec.level is not None,
                )
                continue
            properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            properties.set_layout(h5py.h5d.CONTIGUOUS)
            properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
            properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
            dtype = h5py.h5t.py_create(spec.dtype, logical=True)
            space = h5py.h5s.create_simple(spec.shape)
            links = h5py.h5p.create(h5py.h5p.LINK_CREATE)
            links.set_create_intermediate_group(True)
            h5py.h5d.create(file.id, spec.name.encode(), dtype, space, properties, links)
        for name, value in scalars.items():
            file.create_dataset(name, data=value)


def _cut_chunks(spec: ArraySpec, piece: int, values: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Yield the storage chunks of a piece, those at the end filled up with zeros."""
    first_row, _, start, _ = spec.grid.bounds(piece)
    rows, samples = (1, *(spec.chunks or ()))[-2:]
    for row, sample in _chunk_origins(spec, piece):
        part = values[row - first_row :, sample - start :][:rows, :samples]
        if part.shape != (rows, samples):
            full = np.zeros((rows, samples), spec.dtype)
            full[: part.shape[0], : part.shape[1]] = part
            part = full
        yield np.ascontiguousarray(part)


def _chunk_origins(spec: ArraySpec, piece: int) -> Iterator[tuple[int, int]]:
    first_row, last_row, start, stop = spec.grid.bounds(piece)
    rows, samples = (1, *(spec.chunks or ()))[-2:]
    for row in range(first_row, last_row, rows):
        for sample in range(start, stop, samples):
            yield row, sample


def _encode(chunk: NDArray[Any], level: int | None) -> bytes:
    if level is None:
        return chunk.tobytes()
    shuffled = chunk.reshape(-1).view(np.uint8).reshape(-1, chunk.itemsize).T.tobytes()
    if level == 0:
        return zlib.compress(shuffled, 0)
    import deflate

    # libdeflate: the same format as zlib, several times faster, with the GIL released.
    return bytes(deflate.zlib_compress(shuffled, level))


def _write_at(descriptor: int, data: Any, offset: int) -> None:
    """Write all bytes at an offset."""
    view = memoryview(data).cast("B")
    while view:
        if hasattr(os, "pwrite"):
            written = os.pwrite(descriptor, view, offset)
        else:
            with _SEEK_GUARD:
                os.lseek(descriptor, offset, os.SEEK_SET)
                written = os.write(descriptor, view)
        view, offset = view[written:], offset + written


def _read_at(descriptor: int, size: int, offset: int) -> bytes:
    """Read up to `size` bytes at an offset; fewer at the end of the file."""
    parts = []
    while size > 0:
        if hasattr(os, "pread"):
            part = os.pread(descriptor, size, offset)
        else:
            with _SEEK_GUARD:
                os.lseek(descriptor, offset, os.SEEK_SET)
                part = os.read(descriptor, size)
        if not part:
            break
        parts.append(part)
        size, offset = size - len(part), offset + len(part)
    return b"".join(parts)


# Where input and output have no position of their own.
_SEEK_GUARD = threading.Lock()
