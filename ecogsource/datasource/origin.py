"""Where a source comes from: the provenance of copies, and the name of the job that makes them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ecogsource.buffers import Buffer, BufferBinder

if TYPE_CHECKING:
    from ecogsource.datasource.base import ElectrodeDataSource

__all__ = ["files_of", "job_key", "leaf_buffers", "origin_of", "package_version"]


def package_version() -> str:
    """Return the installed version of ecogsource."""
    try:
        return version("ecogsource")
    except PackageNotFoundError:
        return "unknown"


def leaf_buffers(buffer: Buffer) -> Iterator[Buffer]:
    """Yield the storage underneath views and binders."""
    if isinstance(buffer, BufferBinder):
        for part in buffer.buffers:
            yield from leaf_buffers(part)
    elif isinstance(getattr(buffer, "buffer", None), Buffer):
        yield from leaf_buffers(buffer.buffer)  # type: ignore[attr-defined]
    else:
        yield buffer


def files_of(data: Any) -> list[str]:
    """Return the names of the files that something reads, each once.

    Parameters
    ----------
    data : Buffer or object of this package
        Buffers are found wherever they are kept: in views, joins, pipelines.

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
        ``files`` (name, dataset, size, modification time of each; None for data in memory), and
        shape, types, scale, channels and rate. Fit for JSON.
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
    }


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
    if any(item is None for item in record["origin"]["files"]):
        return None
    return digest(json.dumps(record, sort_keys=True, default=str).encode())
