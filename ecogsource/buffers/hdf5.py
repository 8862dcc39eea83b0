"""A dataset of an HDF5 file as a buffer."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ecogsource.buffers.base import Buffer
from ecogsource.buffers.storage.affine import Affine
from ecogsource.buffers.storage.h5file import dataset_of
from ecogsource.buffers.storage.hdf5 import HDF5Storage
from ecogsource.indexing import Selection

if TYPE_CHECKING:
    import h5py


class HDF5Buffer(Buffer):
    """An HDF5 dataset, contiguous, chunked or compressed, of any number of dimensions.

    Parameters
    ----------
    dataset : h5py.Dataset
        An open dataset. One that is open for reading may be closed at once: its bytes are read
        from the file directly. One that is open for writing is written through h5py.
    units_scale : float or (offset, factor), optional
        ``value = (stored + offset) * factor``; see `Buffer`.
    real_slices : bool
        Has no effect: every read is made of plain slices. Accepted because programs pass it.
    raise_bad_write : bool
        Whether writing to a dataset that is open for reading raises `ReadOnlyError`. If not, a
        warning is logged and nothing is written.

    Raises
    ------
    DataPathError
        If it is a file or a group, or if a virtual or external dataset lacks a file it needs.
    TypeError
        If it is nothing of h5py.

    See Also
    --------
    HDF5Buffer.from_path : opens a dataset by the names of file and dataset.
    """

    def __init__(
        self,
        dataset: h5py.Dataset,
        units_scale: Any = None,
        real_slices: bool = False,  # noqa: FBT001, FBT002 - a fixed signature
        raise_bad_write: bool = True,  # noqa: FBT001, FBT002 - a fixed signature
    ) -> None:
        if not hasattr(dataset, "file"):
            raise TypeError(
                f"expected an open h5py.Dataset, got {type(dataset).__name__}; "
                "HDF5Buffer.from_path(filename, dataset) opens one by name"
            )
        file = dataset.file
        if not hasattr(dataset, "shape"):
            dataset = dataset_of(file, dataset.name or "/")  # raises: it is a file or a group
        mode = "r" if file.mode == "r" else "r+"
        path = os.path.abspath(file.filename)  # noqa: PTH100 - resolve() would follow links
        storage = HDF5Storage(path, dataset.name or "", mode=mode, dataset=dataset)
        self._start(storage, units_scale, raise_bad_write=raise_bad_write)

    @classmethod
    def from_path(
        cls,
        filename: str | bytes | os.PathLike[str],
        dataset: str,
        *,
        units_scale: Any = None,
        mode: str = "r",
        raise_bad_write: bool = True,
    ) -> HDF5Buffer:
        """Open a dataset by name.

        Parameters
        ----------
        filename : path-like
            An HDF5 file.
        dataset : str
            Path of the dataset in the file, such as ``'data'`` or ``'group/data'``.
        units_scale : float or (offset, factor), optional
            ``value = (stored + offset) * factor``; see `Buffer`.
        mode : {'r', 'r+'}
            Read only, or read and write.
        raise_bad_write : bool
            Whether writing to a buffer opened with ``'r'`` raises.

        Returns
        -------
        HDF5Buffer

        Raises
        ------
        DataPathError
            If there is no such file or dataset; the message lists the datasets there are.
        FormatError
            If it is not an HDF5 file.
        CorruptDataError
            If the file was truncated.
        ValueError
            If the mode is neither ``'r'`` nor ``'r+'``.
        """
        if mode not in ("r", "r+"):
            raise ValueError(f"mode must be 'r' or 'r+', got {mode!r}")
        path = os.path.abspath(os.fsdecode(filename))  # noqa: PTH100 - resolve() would follow links
        buffer = cls.__new__(cls)
        storage = HDF5Storage(path, dataset, mode=mode)
        buffer._start(storage, units_scale, raise_bad_write=raise_bad_write)
        return buffer

    def _start(self, storage: HDF5Storage, units_scale: Any, *, raise_bad_write: bool) -> None:
        layout = storage.layout
        super().__init__(
            layout.shape,
            layout.dtype,
            units_scale=units_scale,
            chunks=layout.chunks,
            filename=layout.path,
            writeable=storage.writeable,
        )
        self._raise_bad_write = raise_bad_write
        self._storage = storage

    @property
    def dataset_name(self) -> str:
        """Path of the dataset in its file."""
        return self._storage.layout.name

    def close(self) -> None:
        """Let go of the file; reading opens it again."""
        self._storage.close()

    def _set_scale(self, units_scale: Any) -> None:
        super()._set_scale(units_scale)
        self._affine = Affine.of(self._scale)

    def _read_into(self, selection: Selection, out: np.ndarray) -> None:
        affine = self._affine
        if affine is not None and affine.varies:
            affine = Affine.of(self._scale, selection)
        self._storage.read_into(selection.selectors, out, affine)

    def _write_from(self, selection: Selection, values: np.ndarray) -> None:
        self._storage.write_from(selection.selectors, values)

    def _temporary_bytes(self, selection: Selection) -> int:
        nbytes = self._storage.temporary_bytes(selection.selectors)
        if self._affine is not None:
            nbytes += self._affine.temporary_bytes(selection.size)
        return nbytes

    def __reduce__(self) -> tuple[Callable[..., HDF5Buffer], tuple[Any, ...]]:
        layout = self._storage.layout
        if layout.signature is None or not layout.name:
            raise pickle.PicklingError(f"{self!r} has no file from which it could be opened again")
        options = {
            "units_scale": self.units_scale,
            "mode": self._storage.mode,
            "raise_bad_write": self._raise_bad_write,
        }
        return _reopen, (layout.path, layout.name, options)


def _reopen(filename: str, dataset: str, options: dict[str, Any]) -> HDF5Buffer:
    return HDF5Buffer.from_path(filename, dataset, **options)
