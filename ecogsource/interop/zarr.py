"""Zarr arrays as buffers, and sources as Zarr groups."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np

from ecogsource.buffers import Buffer
from ecogsource.buffers.storage.affine import Affine
from ecogsource.buffers.storage.library import LibraryReader
from ecogsource.datasource import MappedSource
from ecogsource.datasource.base import ElectrodeDataSource
from ecogsource.errors import DataPathError, FormatError, require
from ecogsource.indexing import Selection
from ecogsource.io.zarrfile import write_zarr

__all__ = ["ZarrBuffer", "open_zarr", "to_zarr"]

_EXTRA = "zarr"


class ZarrBuffer(Buffer):
    """A Zarr array as a buffer: any index that NumPy takes, with scaling.

    Parameters
    ----------
    path : path-like
        Folder of the array or of a group that holds it.
    name : str
        Name of the array in the group; empty if `path` is the array.
    units_scale : float or (offset, factor), optional
        ``value = (stored + offset) * factor``.
    writeable : bool
        Whether ``buffer[index] = value`` is allowed.

    Raises
    ------
    DataPathError
        If there is no such folder or array.
    FormatError
        If it is no Zarr array of numbers.
    MissingDependencyError
        If zarr is not installed.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        name: str = "",
        *,
        units_scale: Any = None,
        writeable: bool = False,
    ) -> None:
        self.path, self.name = os.fspath(path), name
        self._open_array(writeable=writeable)
        array = self._array
        if np.dtype(array.dtype).kind not in "biuf":
            raise FormatError(f"{self.path!r} holds {array.dtype}, which are no numbers")
        super().__init__(
            tuple(array.shape),
            array.dtype,
            units_scale=units_scale,
            chunks=tuple(array.chunks),
            filename=self.path,
            writeable=writeable,
        )
        self._library = LibraryReader(
            lambda: self._array, threading.RLock(), self.shape, self.map_dtype, self.chunks
        )

    def _open_array(self, *, writeable: bool) -> None:
        zarr = require("zarr", _EXTRA)
        if not Path(self.path).exists():
            raise DataPathError(f"no such folder: {self.path!r}")
        try:
            found = zarr.open(self.path, mode="r+" if writeable else "r")
        except Exception as error:
            raise FormatError(f"{self.path!r} is not Zarr: {error}") from error
        if self.name:
            if not hasattr(found, "keys") or self.name not in found:
                has = ", ".join(sorted(found)) if hasattr(found, "keys") else "an array only"
                raise DataPathError(f"no array {self.name!r} in {self.path!r}; it has: {has}")
            found = found[self.name]
        if not hasattr(found, "chunks"):
            raise FormatError(
                f"{self.path!r} is a Zarr group with {', '.join(sorted(found))}: give the name "
                "of an array"
            )
        self._array = found

    def _read_into(self, selection: Selection, out: np.ndarray) -> None:
        affine = Affine.of(self._scale)
        if affine is not None and affine.varies:
            affine = Affine.of(self._scale, selection)
        self._library.read_into(selection.selectors, out, affine)

    def _write_from(self, selection: Selection, values: np.ndarray) -> None:
        self._library.write_from(selection.selectors, values)

    def _temporary_bytes(self, selection: Selection) -> int:
        nbytes = self._library.temporary_bytes(selection.selectors)
        affine = Affine.of(self._scale)
        return nbytes if affine is None else nbytes + affine.temporary_bytes(selection.size)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.path, self.name, self.units_scale, self.writeable)


def _reopen(path: str, name: str, units_scale: Any, writeable: bool) -> ZarrBuffer:  # noqa: FBT001
    return ZarrBuffer(path, name, units_scale=units_scale, writeable=writeable)


def open_zarr(
    path: str | os.PathLike[str], name: str = "data", *, units_scale: Any = None, **options: Any
) -> MappedSource:
    """Open a Zarr array as a source.

    Parameters
    ----------
    path : path-like
        Folder of a group, such as :func:`to_zarr` makes.
    name : str
        Name of the array in it; empty if `path` is the array.
    units_scale : float or (offset, factor), optional
        ``value = (stored + offset) * factor``.
    **options
        Passed to :class:`~ecogsource.MappedSource`; the rate comes from the attribute ``Fs`` of
        the group if it is there.

    Returns
    -------
    MappedSource
        Channels x time.
    """
    buffer = ZarrBuffer(path, name, units_scale=units_scale)
    if name and "fs" not in options:
        group = require("zarr", _EXTRA).open(os.fspath(path), mode="r")
        options["fs"] = group.attrs.get("Fs")
    return MappedSource(buffer, name or "data", **options)


def to_zarr(
    source: ElectrodeDataSource,
    path: str | os.PathLike[str],
    *,
    chunks: tuple[int, int] | str | None = None,
    replace: bool = False,
) -> MappedSource:
    """Copy a source to a Zarr group, which appears when it is complete.

    Parameters
    ----------
    source : MappedSource or PlainArraySource
        What is copied: its active channels, in its units.
    path : path-like
        Folder to make.
    chunks : (int, int), {'time', 'channel', 'window'} or None
        Shape of the chunks, or what should be fast to read.
    replace : bool
        Whether an existing folder may be replaced.

    Returns
    -------
    MappedSource
        The copy.

    Raises
    ------
    FileExistsError
        If the folder exists and is not to be replaced.
    MissingDependencyError
        If zarr is not installed.
    """
    out = Path(path)
    if_exists = "replace" if replace else "raise"
    attributes = {"units": source.units} if source.units else {}
    write_zarr([source], out, attributes, chunks=chunks, if_exists=if_exists, made_by="to_zarr")
    return open_zarr(
        out, source.electrode_field, units=source.units, channel_names=source.channel_names
    )
