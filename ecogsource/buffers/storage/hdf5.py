"""One HDF5 dataset: chooses who reads it, and writes through the library."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ecogsource.buffers.storage.affine import Affine
from ecogsource.buffers.storage.cache import CACHE
from ecogsource.buffers.storage.chunked import INDICES, ChunkedStorage
from ecogsource.buffers.storage.codecs import can_decode, require_library
from ecogsource.buffers.storage.flat import ContiguousStorage
from ecogsource.buffers.storage.grid import Selector, outer_shape
from ecogsource.buffers.storage.h5file import FILES, dataset_of
from ecogsource.buffers.storage.handles import POOL
from ecogsource.buffers.storage.layout import (
    ChunkIndex,
    check_sources,
    dense_grid,
    describe,
    read_index,
)
from ecogsource.buffers.storage.library import LibraryReader
from ecogsource.buffers.storage.signature import signature_of
from ecogsource.errors import CorruptDataError, DataPathError, ReadOnlyError

if TYPE_CHECKING:
    import h5py

__all__ = ["HDF5Storage"]

Reader: TypeAlias = "ContiguousStorage | ChunkedStorage | LibraryReader"


class HDF5Storage:
    """A dataset of an HDF5 file.

    Parameters
    ----------
    path : str
        The file.
    name : str
        The dataset.
    mode : {'r', 'r+'}
        Whether `write_from` is allowed.
    dataset : h5py.Dataset, optional
        The dataset, already open; used as long as it stays open.

    Raises
    ------
    DataPathError, FormatError, CorruptDataError
        See `open_file` and `dataset_of`.
    """

    def __init__(
        self, path: str, name: str, *, mode: str = "r", dataset: h5py.Dataset | None = None
    ) -> None:
        self._path, self._name, self.mode = path, name, mode
        self._dataset = dataset
        self._counted = mode != "r" and dataset is None
        if self._counted:
            FILES.add_writer(path)
        try:
            self._describe()
        except BaseException:
            self.close()
            raise

    def _describe(self) -> None:
        self._generation = POOL.generation(self._path)
        with FILES.lock:
            self.layout = describe(self._lend())
            self._reader = self._choose()
            if not isinstance(self._reader, LibraryReader):
                # An open handle would keep others in this process from writing the file.
                FILES.forget(self._path)

    @property
    def writeable(self) -> bool:
        """Whether the dataset may be written."""
        return self.mode != "r"

    def read_into(
        self, selectors: Sequence[Selector], out: np.ndarray, affine: Affine | None = None
    ) -> None:
        """Read a selection into `out`, cast and scaled; see `ContiguousStorage.read_into`."""
        if self._generation != POOL.generation(self._path):
            self._follow_writes()
        reader = self._reader
        if isinstance(reader, LibraryReader):
            self._check_files()
        elif FILES.has_writer(self._path):
            reader = self._library()
        reader.read_into(selectors, out, affine)

    def _follow_writes(self) -> None:
        """Look again at a file that this process wrote to since it was opened."""
        if POOL.own_write(self._path) == signature_of(self._path):
            self._describe()

    def _check_files(self) -> None:
        """Check what the library does not: that the files are there, and are the same."""
        layout = self.layout
        if layout.signature is None or self.writeable or FILES.has_writer(self._path):
            return
        check_sources(layout)
        if layout.growing:
            return
        found = signature_of(layout.path)
        if found != layout.signature:
            raise CorruptDataError(
                f"the file changed after it was opened: it had {layout.signature.size} bytes and "
                f"now has {found.size}, or its time of modification moved. Open it again",
                layout.path,
            )

    def write_from(self, selectors: Sequence[Selector], values: np.ndarray) -> None:
        """Write values of the selection's shape; of repeated positions the last one wins.

        Raises
        ------
        ReadOnlyError
            If the dataset was opened for reading only.
        """
        if not self.writeable:
            raise ReadOnlyError(
                f"dataset {self._name!r} of {self._path!r} is open for reading only"
            )
        if 0 in outer_shape(selectors):
            return
        self._library().write_from(selectors, values)
        CACHE.discard(self._path)

    def temporary_bytes(self, selectors: Sequence[Selector]) -> int:
        """Return an upper bound of the bytes that a read needs besides its result."""
        return self._reader.temporary_bytes(selectors)

    def close(self) -> None:
        """Let go of the file; reading opens it again."""
        POOL.forget(self._path)
        FILES.forget(self._path)
        if self._counted:
            self._counted = False
            if FILES.drop_writer(self._path):
                POOL.note_write(self._path)
        self._dataset = None

    def _lend(self) -> h5py.Dataset:
        """Return the open dataset; called with `FILES.lock` held."""
        if self._dataset is not None:
            if self._dataset.id.valid:
                return self._dataset
            self._dataset = None
        self._refuse_another()
        file = FILES.reader(self._path) if self.mode == "r" else FILES.writer(self._path)
        return dataset_of(file, self._name)

    def _refuse_another(self) -> None:
        """Raise if another file has taken the name of the one that was described."""
        layout = getattr(self, "layout", None)
        if layout is None or layout.signature is None or not Path(self._path).exists():
            return
        if signature_of(self._path)[:2] != layout.signature[:2]:
            raise DataPathError(f"{self._path!r} was replaced after it was opened. Open it again.")

    def _library(self) -> LibraryReader:
        layout = self.layout
        return LibraryReader(self._lend, FILES.lock, layout.shape, layout.dtype, layout.chunks)

    def _choose(self) -> Reader:
        layout = self.layout
        signature = layout.signature
        if self.writeable or layout.kind == "library" or signature is None:
            require_library(layout.filters, layout.path)
            return self._library()
        if layout.kind == "contiguous":
            return ContiguousStorage(
                layout.path,
                layout.dtype,
                layout.shape,
                offset=layout.offset,
                signature=signature,
            )
        if can_decode(layout.filters) and dense_grid(layout):
            return ChunkedStorage(layout, signature, self._index)
        require_library(layout.filters, layout.path)
        return self._library()

    def _index(self) -> ChunkIndex:
        key = (self._path, self._name, self.layout.signature)
        return INDICES.get(key, self._read_index)

    def _read_index(self) -> ChunkIndex:
        with FILES.lock:
            index = read_index(self._lend(), self.layout)
            FILES.forget(self._path)
            return index
