"""Checking a file that ecogsource wrote against the checksums it carries."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ecogsource.buffers.storage.h5file import open_file
from ecogsource.datasource.arrayfile import (
    CRC_ATTRIBUTE,
    PROVENANCE_ATTRIBUTE,
    TILE_ATTRIBUTE,
    crc_of,
)
from ecogsource.datasource.tiles import Grid
from ecogsource.errors import CorruptDataError, DataPathError, FormatError, require

__all__ = ["VerifyReport", "read_provenance", "verify_file"]


@dataclass(frozen=True)
class VerifyReport:
    """What was checked in a file that is sound.

    Attributes
    ----------
    filename : str
        The file.
    arrays : dict
        Dataset -> number of checksums that were compared.
    unsealed : tuple of str
        Datasets without checksums: empty ones, scalars, and those of a writeable mirror.
    provenance : dict
        How the file was made.
    """

    filename: str
    arrays: dict[str, int] = field(default_factory=dict)
    unsealed: tuple[str, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def checked(self) -> int:
        """Number of checksums that were compared."""
        return sum(self.arrays.values())

    @property
    def sealed(self) -> bool:
        """Whether the file carries checksums at all."""
        return bool(self.arrays)


def read_provenance(filename: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Return how a file or Zarr group was made, or None if ecogsource did not make it."""
    try:
        if Path(filename).is_dir():
            text = _open_group(filename).attrs.get(PROVENANCE_ATTRIBUTE)
        else:
            with open_file(os.fspath(filename), "r") as file:
                text = file.attrs.get(PROVENANCE_ATTRIBUTE)
    except (OSError, FormatError):
        return None
    if not isinstance(text, str):
        return None
    try:
        record = json.loads(text)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _open_group(path: str | os.PathLike[str]) -> Any:
    zarr = require("zarr", "zarr")
    try:
        return zarr.open_group(os.fspath(path), mode="r")
    except Exception as error:  # zarr has its own classes, other ones in each version
        raise FormatError(f"{os.fspath(path)!r} is not a Zarr group: {error}") from error


def verify_file(filename: str | os.PathLike[str]) -> VerifyReport:
    """Compare every checksum of a file with its data.

    Parameters
    ----------
    filename : path-like
        A mirror, a downsampled, filtered or converted file; or a converted Zarr group.

    Returns
    -------
    VerifyReport
        What was checked.

    Raises
    ------
    DataPathError
        If there is no such file.
    FormatError
        If it is neither HDF5 nor a Zarr group, or ecogsource did not write it.
    MissingDependencyError
        If it is a folder and zarr is not installed.
    CorruptDataError
        If data do not have their checksum; with file and, for contiguous arrays, byte offset.
    """
    import h5py

    path = Path(filename)
    if not path.exists():
        raise DataPathError(f"there is no file {str(path)!r}")
    if not path.is_dir() and not h5py.is_hdf5(path):
        raise FormatError(f"{str(path)!r} is not an HDF5 file")
    provenance = read_provenance(path)
    if provenance is None:
        raise FormatError(
            f"{str(path)!r} was not written by ecogsource (it has no attribute "
            f"{PROVENANCE_ATTRIBUTE!r}): there are no checksums to compare"
        )
    arrays: dict[str, int] = {}
    unsealed: list[str] = []
    if path.is_dir():
        for name, array in _open_group(path).arrays():
            if CRC_ATTRIBUTE in array.attrs:
                arrays[name] = _verify_array(path, array, name, base=None)
            else:
                unsealed.append(name)
        return VerifyReport(str(path), arrays, tuple(unsealed), provenance)

    def visit(name: str, node: Any) -> None:
        if not isinstance(node, h5py.Dataset):
            return
        if CRC_ATTRIBUTE in node.attrs:
            arrays[name] = _verify_array(path, node, node.name, base=node.id.get_offset())
        else:
            unsealed.append(name)

    with open_file(str(path), "r") as file:
        file.visititems(visit)
    return VerifyReport(str(path), arrays, tuple(unsealed), provenance)


def _verify_array(path: Path, array: Any, name: str, *, base: int | None) -> int:
    """Compare the checksums of an array of HDF5 or Zarr, whose bytes may lie at `base`."""
    rows = int(np.prod(array.shape[:-1], dtype=np.int64))
    samples = array.shape[-1]
    crcs = np.asarray(array.attrs[CRC_ATTRIBUTE])
    tile_rows, tile_samples = (int(n) for n in array.attrs[TILE_ATTRIBUTE])
    grid = Grid(rows, samples, tile_rows, tile_samples)
    if len(grid) != len(crcs):
        raise CorruptDataError(
            f"dataset {name!r} has {len(grid)} pieces and {len(crcs)} checksums", path
        )
    for piece in grid:
        first_row, last_row, start, stop = grid.bounds(piece)
        offset = None
        if base is not None:
            offset = base + (first_row * samples + start) * array.dtype.itemsize
        where = f"dataset {name!r}, rows {first_row}:{last_row}, samples {start}:{stop}"
        try:
            if array.ndim == 2:
                values = array[first_row:last_row, start:stop]
            else:
                values = array[..., start:stop].reshape(rows, stop - start)
        except (OSError, RuntimeError, ValueError) as error:
            raise CorruptDataError(f"{where}: cannot be decoded ({error})", path, offset) from error
        if crc_of(values) != int(crcs[piece]):
            raise CorruptDataError(f"{where}: the data do not have their checksum", path, offset)
    return len(grid)
