"""Writing a packed recording as a Zarr group."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecogsource.datasource.advise import advise_layout
from ecogsource.errors import require

if TYPE_CHECKING:
    from ecogsource.datasource import MappedSource

__all__ = ["write_zarr"]


def write_zarr(
    sources: Sequence[MappedSource],
    out: Path,
    attributes: Mapping[str, Any],
    *,
    chunks: tuple[int, int] | str | None,
    if_exists: str,
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
    if_exists : {'reuse', 'replace', 'raise'}
        Whether an existing folder may be replaced.

    Raises
    ------
    MissingDependencyError
        If zarr is not installed.
    FileExistsError
        If `out` exists and `if_exists` is not ``'replace'``.
    """
    zarr = require("zarr", "zarr")
    if out.exists() and if_exists != "replace":
        raise FileExistsError(f"{str(out)!r} exists; give if_exists='replace' to replace it")
    temporary = out.with_name(f".{out.stem}.{uuid.uuid4().hex[:12]}.tmp.zarr")
    try:
        group = zarr.open_group(str(temporary), mode="w")
        group.attrs.update(dict(attributes))
        if sources[0].fs is not None:
            group.attrs["Fs"] = sources[0].fs
        for source in sources:
            _write(group, source, chunks)
        old = out.with_name(f"{temporary.name}.old")
        if out.exists():
            out.replace(old)
        temporary.replace(out)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        with suppress(FileNotFoundError):
            shutil.rmtree(temporary)
    return out


def _write(group: Any, source: MappedSource, chunks: tuple[int, int] | str | None) -> None:
    shape = (int(source.shape[0]), int(source.shape[1]))
    wanted: Any = chunks
    if chunks is None or isinstance(chunks, str):
        advice: Any = chunks or "time"
        wanted = advise_layout(shape, source.dtype.itemsize, advice, fs=source.fs).chunks or shape
    rows, samples = min(wanted[0], shape[0]), max(1, min(wanted[1], shape[1]))
    create = getattr(group, "create_array", None) or group.create_dataset
    array = create(source.electrode_field, shape=shape, dtype=source.dtype, chunks=(rows, samples))
    for start in range(0, shape[1], samples):
        array[:, start : start + samples] = source[:, start : start + samples]
