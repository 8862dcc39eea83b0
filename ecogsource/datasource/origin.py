"""Where a source comes from: the provenance of copies, and the name of the job that makes them."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import pickle
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ecogsource.buffers import Buffer
from ecogsource.buffers.storage.layout import Layout

if TYPE_CHECKING:
    from ecogsource.datasource.base import ElectrodeDataSource

__all__ = [
    "files_of",
    "job_key",
    "leaf_buffers",
    "origin_of",
    "package_version",
    "refuse_own_file",
    "refuse_own_source",
]


def package_version() -> str:
    """Return the installed version of ecogsource."""
    try:
        return version("ecogsource")
    except PackageNotFoundError:
        return "unknown"


def leaf_buffers(buffer: Buffer) -> Iterator[Buffer]:
    """Yield the storage underneath views, joins and time lines with gaps, each once."""
    seen: set[int] = set()
    waiting = [buffer]
    while waiting:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        inner = list(_buffers_in(item))
        if not inner:
            yield item
        waiting += reversed(inner)


def _buffers_in(buffer: Buffer) -> Iterator[Buffer]:
    for held in _held_by(buffer):
        for item in held if isinstance(held, (list, tuple)) else (held,):
            if isinstance(item, Buffer):
                yield item


def files_of(data: Any) -> list[str]:
    """Return the names of the files that something reads, each once.

    Parameters
    ----------
    data : Buffer or object of this package
        Buffers are found wherever they are kept: in views, joins, pipelines. The files behind
        virtual and external datasets count too.

    Returns
    -------
    list of str
        Absolute names.
    """
    names: dict[str, None] = {}
    waiting, seen = [data], {id(data)}
    while waiting:
        item = waiting.pop()
        if isinstance(item, Buffer) and item.filename is not None:
            names[item.filename] = None
        if isinstance(item, Layout):
            folder = Path(item.path).parent
            names |= dict.fromkeys(str(folder / name) for name in item.sources)
        for inner in _held_by(item):
            if id(inner) not in seen:
                seen.add(id(inner))
                waiting.append(inner)
    return list(names)


def _held_by(item: Any) -> list[Any]:
    """Return what an object of ours, or a plain container, holds."""
    if isinstance(item, (list, tuple)):
        return list(item)
    if isinstance(item, dict):
        return list(item.values())
    if not type(item).__module__.startswith("ecogsource."):
        return []
    slots = [name for kind in type(item).__mro__ for name in getattr(kind, "__slots__", ())]
    inner = [getattr(item, name) for name in slots if hasattr(item, name)]
    return [*inner, *getattr(item, "__dict__", {}).values()]


def _file_record(buffer: Buffer) -> dict[str, Any] | None:
    if buffer.filename is None:
        return None
    try:
        status = Path(buffer.filename).stat()
    except OSError:
        return None
    return {
        "file": buffer.filename,
        "dataset": getattr(buffer, "dataset_name", None),
        "size": status.st_size,
        "mtime_ns": status.st_mtime_ns,
    }


def origin_of(source: ElectrodeDataSource) -> dict[str, Any]:
    """Describe what a source reads.

    Returns
    -------
    dict
        ``files`` (name, dataset, size, modification time of each; None for data in memory),
        shape, types, scale, channels and rate, and ``recipe``, which differs if anything is done
        to the data in between (None if that cannot be told). Fit for JSON.
    """
    buffers = [source.data_buffer, *source.aligned_arrays.values()]
    leaves = [
        leaf
        for buffer in buffers
        for leaf in (leaf_buffers(buffer) if isinstance(buffer, Buffer) else [None])
    ]
    files = [None if leaf is None else _file_record(leaf) for leaf in leaves]
    scale = source.data_buffer.units_scale
    return {
        "files": files,
        "shape": [int(n) for n in source.shape],
        "dtype": source.dtype.str,
        "stored_dtype": source.data_buffer.map_dtype.str,
        "units_scale": None if scale is None else _jsonable(scale),
        "channels": [int(c) for c in source._active_channels],
        "aligned": list(source.aligned_arrays),
        "fs": source.fs,
        "units": source.units,
        "recipe": _recipe(buffers),
    }


def _recipe(buffers: list[Any]) -> str | None:
    """Name what buffers do to the data that they read: views, references, fill values."""
    pickled = io.BytesIO()
    pickler = pickle.Pickler(pickled, protocol=5)
    # Without its memo, equal recipes are equal bytes, whether or not they share their parts.
    pickler.fast = True
    try:
        pickler.dump([buffer for buffer in buffers if isinstance(buffer, Buffer)])
    except Exception:
        # There are many ways to have no recipe, and one consequence.
        return None
    return digest(pickled.getvalue())


def _jsonable(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return [_jsonable(item) for item in value]
    array = np.asarray(value)
    if array.size > 16:
        return f"array of shape {array.shape}, sha256 {digest(array.tobytes())}"
    return array.tolist()


def digest(data: bytes) -> str:
    """Return a short name of some bytes."""
    return hashlib.sha256(data).hexdigest()[:32]


def job_key(record: dict[str, Any]) -> str | None:
    """Name a job by its provenance record; None if its data cannot be recognised again."""
    origin = record["origin"]
    if origin["recipe"] is None or any(item is None for item in origin["files"]):
        return None
    return digest(json.dumps(record, sort_keys=True, default=str).encode())


def refuse_own_file(source: ElectrodeDataSource, path: Path) -> None:
    """Refuse to write to a folder, or over a file that the source reads.

    Raises
    ------
    IsADirectoryError, ValueError
    """
    if path.is_dir():
        raise IsADirectoryError(
            errno.EISDIR, "this is a folder; give the name of a file in it", os.fspath(path)
        )
    for name in _files_of_source(source):
        if path.exists() and Path(name).exists() and path.samefile(name):
            raise ValueError(f"{str(path)!r} is a file that this source reads; choose another name")


def refuse_own_source(source: ElectrodeDataSource, target: Any) -> None:
    """Refuse to write into a buffer or source whose files the source reads.

    Raises
    ------
    ValueError
    """
    data = getattr(target, "data_buffer", target)
    written = {os.path.realpath(name) for name in files_of(data)}
    for name in _files_of_source(source):
        if os.path.realpath(name) in written:
            raise ValueError(
                f"the target writes to {name!r}, which this source reads; write to another file"
            )


def _files_of_source(source: ElectrodeDataSource) -> list[str]:
    return files_of([source.data_buffer, list(source.aligned_arrays.values())])
