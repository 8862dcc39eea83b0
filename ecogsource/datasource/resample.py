"""Downsampled copies of sources: into a source that exists, or into a file that is kept."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecogsource.datasource.arrayfile import PROVENANCE_ATTRIBUTE
from ecogsource.datasource.mirror import (
    MirrorOptions,
    fill_array,
    plan_copies,
    write_copies,
)
from ecogsource.datasource.origin import refuse_own_source
from ecogsource.datasource.verify import read_provenance
from ecogsource.errors import ReadOnlyError

if TYPE_CHECKING:
    from ecogsource.datasource.base import ElectrodeDataSource

__all__ = ["change_rate", "downsample_to_file", "scale_edges"]


def scale_edges(edges: ArrayLike, ratio: int) -> NDArray[np.int64]:
    """Translate sample numbers to the clock of a downsampled copy.

    Parameters
    ----------
    edges : array_like of int
        Sample numbers, such as trigger edges.
    ratio : int
        Downsampling ratio.

    Returns
    -------
    ndarray of int64
        The output sample whose group of `ratio` inputs holds the edge; where a trigger array
        downsampled by the rule ``'edges'`` rises.
    """
    return np.asarray(edges, dtype=np.int64) // ratio


def change_rate(
    source: ElectrodeDataSource,
    ratio: int,
    target: ElectrodeDataSource,
    *,
    aligned: str = "auto",
    progress: bool | None = None,
) -> None:
    """Downsample into a source that exists; see `ElectrodeDataSource.batch_change_rate`."""
    options = MirrorOptions(ratio=ratio, aligned=aligned, progress=progress)
    options.check(None)
    plans = plan_copies(source, options)
    shape = plans[0].spec.shape
    if target.shape != shape:
        raise ValueError(f"the new source has shape {target.shape}; downsampling gives {shape}")
    if not target.writeable:
        raise ReadOnlyError("the new source is open for reading only; make it writeable")
    if target.dtype.kind != "f":
        raise TypeError(f"downsampled values are not integers: the new source is {target.dtype}")
    refuse_own_source(source, target)
    fill_array(plans[0], target, options)
    for plan in plans[1:]:
        kept = target.aligned_arrays.get(plan.spec.name)
        if kept is None:
            continue
        if tuple(kept.shape) != plan.spec.shape:
            raise ValueError(
                f"aligned array {plan.spec.name!r} of the new source has shape "
                f"{tuple(kept.shape)}; downsampling gives {plan.spec.shape}"
            )
        fill_array(plan, kept, options)


def downsample_to_file(
    source: ElectrodeDataSource,
    filename: str | os.PathLike[str],
    ratio: int,
    *,
    if_exists: Literal["reuse", "replace", "raise"] = "reuse",
    chunks: tuple[int, int] | str | None = None,
    compression: str | int | None = None,
    aligned: str = "auto",
    extra_attrs: Mapping[str, Any] | None = None,
    progress: bool | None = None,
) -> Path:
    """Write a downsampled copy that is kept, once.

    Parameters
    ----------
    source : ElectrodeDataSource
        The original; only its active channels are kept.
    filename : path-like
        The HDF5 file to make. It gets one dataset for the electrode data, one for each aligned
        array, of the source's names, and ``Fs``, the new rate in Hz.
    ratio : int
        Input samples per output sample.
    if_exists : {'reuse', 'replace', 'raise'}
        ``'reuse'`` keeps a file that was made of the same data with the same options, and makes
        an outdated one anew; a file that ecogsource did not make is never overwritten so.
    chunks, compression
        As for `ElectrodeDataSource.mirror`.
    aligned : {'auto', 'antialias', 'aggregate', 'edges', 'decimate'}
        How aligned arrays are downsampled: filtered like the signal; averaged over each group of
        `ratio` samples; the maximum of each group, which keeps the edges of triggers; or every
        `ratio`-th sample. ``'auto'``: edges for integers and booleans, filtered for the others.
    extra_attrs : mapping, optional
        Further attributes of the file.
    progress : bool, optional
        Show a progress bar; by default if it takes longer than two seconds.

    Returns
    -------
    Path
        `filename`.

    Raises
    ------
    FileExistsError
        With ``'raise'``, or if the existing file was not made by ecogsource.
    ValueError
        Bad ratio or options.
    OSError
        With ``errno.ENOSPC`` if the disk is full; an old file is left as it was.

    Notes
    -----
    The signal equals ``scipy.signal.decimate(x, r, ftype='fir')`` applied for each ``r`` in
    ``ecogsource.filters.decimation_stages(ratio)``. Several processes may ask for the same file
    at once: one makes it, the others wait and use it. An interrupted call is resumed by the next.
    """
    if if_exists not in ("reuse", "replace", "raise"):
        raise ValueError(f"if_exists must be 'reuse', 'replace' or 'raise', got {if_exists!r}")
    path = Path(filename)
    options = MirrorOptions(
        ratio=ratio,
        writeable=False,
        chunks=chunks,
        compression=compression,
        aligned=aligned,
        progress=progress,
    )
    options.check(filename)

    def accept(key: str) -> bool:
        if not path.exists() or if_exists == "replace":
            return False
        made = read_provenance(path)
        if if_exists == "raise" or made is None:
            raise FileExistsError(
                f"{str(path)!r} exists"
                + ("" if made else f" and was not made by ecogsource (no {PROVENANCE_ATTRIBUTE})")
                + "; choose another name, or pass if_exists='replace'"
            )
        return made.get("job") == key

    write_copies(
        source,
        plan_copies(source, options),
        path,
        options,
        keep=True,
        made_by="downsample",
        accept=accept,
        extra=extra_attrs,
    )
    return path
