"""Packed recordings as Zarr groups: written piece by piece, resumable, checksummed, and read again.

A group grows under a hidden name beside its own, with a ledger of its finished pieces, and gets its
name when it is complete. A piece is all channels of as many samples as a chunk has.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecogsource.datasource.advise import advise_layout
from ecogsource.datasource.arrayfile import (
    CRC_ATTRIBUTE,
    PROVENANCE_ATTRIBUTE,
    TILE_ATTRIBUTE,
    crc_of,
    provenance_json,
)
from ecogsource.datasource.ledger import Ledger
from ecogsource.datasource.mirror import provenance
from ecogsource.datasource.origin import digest, job_key
from ecogsource.datasource.tiles import Grid
from ecogsource.datasource.verify import read_provenance
from ecogsource.datasource.working import Bar
from ecogsource.errors import DataPathError, FormatError, require
from ecogsource.safefile import file_lock, named_errors, sync_folder

from .packed import read_packed

if TYPE_CHECKING:
    from ecogsource.datasource.base import ElectrodeDataSource

    from .info import RecordingInfo

__all__ = ["read_info", "write_zarr"]

_FULL = (errno.ENOSPC, errno.EDQUOT)


def read_info(path: str | Path) -> RecordingInfo:
    """Describe a Zarr group that `ecogsource.io.convert` made.

    Parameters
    ----------
    path : path-like
        Its folder.

    Raises
    ------
    DataPathError
        If there is no such folder.
    FormatError
        If it is no such group.
    MissingDependencyError
        If zarr is not installed.
    """
    zarr = require("zarr", "zarr")
    filename = os.fspath(path)
    if not Path(path).exists():
        raise DataPathError(f"no such folder: {filename!r}")
    try:
        group = zarr.open_group(filename, mode="r")
    except Exception as error:  # zarr has its own classes, other ones in each version
        raise FormatError(f"{filename!r} is not a Zarr group: {error}") from error
    info = read_packed(filename, group, format="zarr")
    if info is None:
        raise FormatError(
            f"{filename!r} does not describe a recording; open one of its arrays with "
            "ecogsource.interop.zarr.open_zarr(path, name)"
        )
    return info


def write_zarr(
    sources: Sequence[ElectrodeDataSource],
    out: Path,
    attributes: Mapping[str, Any],
    *,
    chunks: tuple[int, int] | str | None,
    compression: str | int | None = None,
    if_exists: str = "raise",
    made_by: str = "convert",
    progress: bool | None = False,
) -> Path:
    """Write sources as the arrays of a Zarr group that appears when it is complete.

    Parameters
    ----------
    sources : sequence of MappedSource
        One per array, named by `electrode_field`.
    out : pathlib.Path
        Folder to make.
    attributes : mapping
        Attributes of the group.
    chunks : (int, int), str or None
        Shape of the chunks, or what to read fast.
    compression : 'gzip', int or None
        Deflate, with a level from 0 to 9; None for what Zarr does by itself.
    if_exists : {'reuse', 'replace', 'raise'}
        For an existing folder: keep it if it came of the same job, otherwise raise; replace it
        when the new one is complete; raise.
    made_by : str
        What is noted as having made it.
    progress : bool or None
        Show a progress bar; None: if it takes longer than two seconds.

    Raises
    ------
    MissingDependencyError
        If zarr is not installed.
    FileExistsError
        If `out` exists and may not be replaced.
    OSError
        With ``errno.ENOSPC`` if the disk is full; what was written is removed then.
    """
    zarr = require("zarr", "zarr")
    grids = [_grid(source, chunks) for source in sources]
    options = {"chunks": [list(shape) for _, shape in grids], "compression": compression}
    record = provenance(sources[0], made_by, options)
    key = job_key({**record, "attributes": digest(repr(sorted(attributes.items())).encode())})
    with named_errors(out), file_lock(out):
        if out.exists() and if_exists != "replace":
            made = read_provenance(out)
            if if_exists == "reuse" and key and made is not None and made.get("job") == key:
                return out
            raise FileExistsError(
                f"{str(out)!r} exists and is not the result of this conversion; choose another "
                "name, or give if_exists='replace'"
            )
        partial, keep = out.with_name(f".{out.name}.partial"), key is not None
        ledger = Ledger(out.with_name(f".{out.name}.ledger"), key or os.urandom(8).hex())
        bar = Bar(sum(len(grid) for grid, _ in grids), made_by, progress)
        try:
            if not ledger.entries:
                shutil.rmtree(partial, ignore_errors=True)
            group = zarr.open_group(str(partial), mode="a")
            for source, (grid, shape) in zip(sources, grids, strict=True):
                _write(group, source, grid, shape, compression, ledger, bar)
            group.attrs.update(dict(attributes))
            if sources[0].fs is not None:
                group.attrs["Fs"] = sources[0].fs
            group.attrs[PROVENANCE_ATTRIBUTE] = provenance_json({**record, "job": key})
            _publish(partial, out)
            keep = False
        except OSError as error:
            keep = keep and error.errno not in _FULL
            raise
        finally:
            bar.close()
            if keep:
                ledger.close()
            else:
                ledger.remove()
                shutil.rmtree(partial, ignore_errors=True)
    return out


def _grid(
    source: ElectrodeDataSource, chunks: tuple[int, int] | str | None
) -> tuple[Grid, tuple[int, int]]:
    """Choose the shape of the chunks, and the pieces: all channels of so many samples."""
    shape = (int(source.shape[0]), int(source.shape[1]))
    wanted: Any = chunks
    if chunks is None or isinstance(chunks, str):
        advice: Any = chunks or "time"
        wanted = advise_layout(shape, source.dtype.itemsize, advice, fs=source.fs).chunks or shape
    rows, samples = min(wanted[0], shape[0]), max(1, min(wanted[1], shape[1]))
    return Grid(shape[0], shape[1], shape[0], samples), (rows, samples)


def _write(
    group: Any,
    source: ElectrodeDataSource,
    grid: Grid,
    chunks: tuple[int, int],
    compression: str | int | None,
    ledger: Ledger,
    bar: Bar,
) -> None:
    name = source.electrode_field
    if name in group:
        array = group[name]
    else:
        create = getattr(group, "create_array", None) or group.create_dataset
        create(
            name,
            shape=source.shape,
            dtype=source.dtype,
            chunks=chunks,
            **_codec(group, compression),
        )
        array = group[name]
    crcs = []
    for piece in grid:
        _, _, start, stop = grid.bounds(piece)
        known = ledger.entries.get((name, piece))
        if known is None or crc_of(array[:, start:stop]) != known[0]:
            values = source[:, start:stop]
            array[:, start:stop] = values
            known = [crc_of(values)]
            ledger.add(name, piece, known)
        crcs.append(int(known[0]))
        bar.step()
    array.attrs[CRC_ATTRIBUTE] = crcs
    array.attrs[TILE_ATTRIBUTE] = [grid.tile_rows, grid.tile_samples]


def _codec(group: Any, compression: str | int | None) -> dict[str, Any]:
    """Say deflate as the installed version of Zarr wants to be told."""
    if compression is None:
        return {}
    level = 4 if isinstance(compression, str) else compression
    if hasattr(group, "create_array"):
        from zarr.codecs import GzipCodec

        return {"compressors": [GzipCodec(level=level)]}
    from numcodecs import GZip

    return {"compressor": GZip(level)}


def _publish(partial: Path, out: Path) -> None:
    """Bring a finished folder to the disk, and give it its name."""
    for folder, _, files in os.walk(partial):
        for file in files:
            descriptor = os.open(Path(folder, file), os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        sync_folder(folder)
    old = out.with_name(f".{out.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    with suppress(FileNotFoundError):
        out.replace(old)
    partial.replace(out)
    sync_folder(out.absolute().parent)
    shutil.rmtree(old, ignore_errors=True)
