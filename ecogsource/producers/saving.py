"""Writing producers to files, and finding again what was written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ecogsource.buffers import HDF5Buffer
from ecogsource.buffers.storage.h5file import open_file
from ecogsource.datasource.origin import files_of
from ecogsource.errors import FormatError
from ecogsource.producers.windows import along
from ecogsource.safefile import atomic_path, reserve_file

if TYPE_CHECKING:
    from ecogsource.producers.core import Producer

__all__ = ["save", "saved"]

# Attribute of datasets that were written here: they come back axis for axis, whatever their shape.
_MARK = "ecogsource_producer"
_HDF5 = (".h5", ".hdf", ".hdf5")


def saved(path: Path, dataset: str | None) -> HDF5Buffer | None:
    """Open what :func:`save` wrote to an HDF5 file.

    Parameters
    ----------
    path : pathlib.Path
        Any path.
    dataset : str, optional
        Name of the dataset; by default the only one that was written by :func:`save`.

    Returns
    -------
    HDF5Buffer or None
        None if the file holds nothing that was written here, or is no HDF5 file.
    """
    import h5py

    if path.suffix.lower() not in _HDF5 or not path.is_file() or not h5py.is_hdf5(path):
        return None
    marked: list[str] = []

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and _MARK in item.attrs:
            marked.append(name)

    with open_file(str(path)) as file:
        if dataset is None:
            file.visititems(note)
        elif dataset in file:
            note(dataset, file[dataset])
    return HDF5Buffer.from_path(path, marked[0]) if len(marked) == 1 else None


def save(pro: Producer, path: Path, dataset: str, attributes: Mapping[str, Any]) -> Path:
    """Write a producer to a file; see :meth:`Producer.to_file`."""
    pro._numeric("to_file()")
    write = _WRITERS.get(path.suffix.lower())
    if write is None:
        raise FormatError(
            f"cannot write {str(path)!r}: the suffix must be one of {', '.join(sorted(_WRITERS))}"
        )
    for name in files_of(pro._origin):
        if path.exists() and Path(name).exists() and path.samefile(name):
            raise ValueError(
                f"{str(path)!r} is a file which this producer reads; choose another name"
            )
    with atomic_path(path, nbytes=pro.nbytes) as temporary:
        write(pro, temporary, dataset, attributes)
    return path


def _write_npy(pro: Producer, path: Path, dataset: str, attributes: Mapping[str, Any]) -> None:
    if attributes:
        raise FormatError(
            f"a .npy file holds no attributes ({', '.join(attributes)}); write to .h5 for these"
        )
    target = np.lib.format.open_memmap(path, "w+", pro.dtype, pro.shape)
    reserve_file(path)
    for window, chunk in pro._pass():
        target[along(pro._axis, pro.ndim, window)] = chunk
    target.flush()


def _write_hdf5(pro: Producer, path: Path, dataset: str, attributes: Mapping[str, Any]) -> None:
    import h5py

    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    with h5py.File(path, "w") as file:
        target = file.create_dataset(dataset, pro.shape, pro.dtype, dcpl=properties)
        target.attrs[_MARK] = 1
        target.attrs.update(attributes)
    reserve_file(path)
    with h5py.File(path, "r+") as file:
        target = file[dataset]
        for window, chunk in pro._pass():
            target[along(pro._axis, pro.ndim, window)] = chunk


_Writer = Callable[["Producer", Path, str, Mapping[str, Any]], None]
_WRITERS: dict[str, _Writer] = {
    ".npy": _write_npy,
    ".h5": _write_hdf5,
    ".hdf": _write_hdf5,
    ".hdf5": _write_hdf5,
}
