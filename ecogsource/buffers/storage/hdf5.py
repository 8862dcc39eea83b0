"""One HDF5 dataset: chooses who reads it, and writes through the library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ecogsource.buffers.storage.flat import ContiguousStorage
from ecogsource.buffers.storage.grid import Selector, outer_shape
from ecogsource.buffers.storage.h5file import FILES, dataset_of
from ecogsource.buffers.storage.handles import POOL
from ecogsource.buffers.storage.layout import describe
from ecogsource.buffers.storage.library import LibraryReader
from ecogsource.buffers.storage.place import Affine
from ecogsource.errors import ReadOnlyError

if TYPE_CHECKING:
    import h5py

__all__ = ["HDF5Storage"]


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
            with FILES.lock:
                self.layout = describe(self._lend())
        except BaseException:
            self.close()
            raise
        self._reader: Any = self._choose()

    @property
    def writeable(self) -> bool:
        """Whether the dataset may be written."""
        return self.mode != "r"

    def read_into(
        self, selectors: Sequence[Selector], out: np.ndarray, affine: Affine | None = None
    ) -> None:
        """Read a selection into `out`, cast and scaled; see `ContiguousStorage.read_into`."""
        if out.size:
            self._reader.read_into(selectors, out, affine)

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

    def temporary_bytes(self, selectors: Sequence[Selector]) -> int:
        """Return an upper bound of the bytes that a read needs besides its result."""
        return int(self._reader.temporary_bytes(selectors))

    def close(self) -> None:
        """Let go of the file."""
        if self._counted:
            self._counted = False
            FILES.drop_writer(self._path)
        self._dataset = None

    def _lend(self) -> h5py.Dataset:
        """Return the open dataset; called with `FILES.lock` held."""
        if self._dataset is not None:
            if self._dataset.id.valid:
                return self._dataset
            self._dataset = None
        file = FILES.reader(self._path) if self.mode == "r" else FILES.writer(self._path)
        return dataset_of(file, self._name)

    def _library(self) -> LibraryReader:
        layout = self.layout
        return LibraryReader(self._lend, FILES.lock, layout.shape, layout.dtype, layout.chunks)

    def _choose(self) -> Any:
        layout = self.layout
        if layout.kind == "contiguous" and not self.writeable:
            return ContiguousStorage(
                layout.path,
                layout.dtype,
                layout.shape,
                offset=layout.offset,
                signature=layout.signature,
                pool=POOL,
            )
        return self._library()
