"""Copies of sources: on disk or in memory, all channels or the active ones, at a lower rate."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ecogsource.buffers import HDF5Buffer
from ecogsource.datasource.advise import advise_layout
from ecogsource.datasource.arrayfile import (
    PROVENANCE_ATTRIBUTE,
    ArrayFile,
    ArraySpec,
    array_file,
    provenance_json,
)
from ecogsource.datasource.origin import (
    job_key,
    origin_of,
    package_version,
    refuse_own_file,
    refuse_own_source,
)
from ecogsource.datasource.shared import shared_empty
from ecogsource.datasource.signals import (
    Signal,
    aligned_signals,
    electrode_signal,
    produce,
    produced_dtype,
    produced_shape,
    resolve_aligned,
)
from ecogsource.datasource.tempfiles import TempFilePool
from ecogsource.datasource.tiles import TILE_BYTES, Grid, plan_grid
from ecogsource.datasource.working import run_jobs
from ecogsource.filters import decimation_stages
from ecogsource.memory import check_allocation, effective_limit
from ecogsource.params import load_params

if TYPE_CHECKING:
    from ecogsource.datasource.base import ElectrodeDataSource
    from ecogsource.datasource.mapped import MappedSource

__all__ = ["CopyPlan", "MirrorOptions", "mirror", "plan_copies", "write_copies"]

_PATTERNS = ("time", "channel", "window")
_COPY_MODES = ("all", "electrode", "aligned", "")
# Of libdeflate, which is about as dense at its lowest level as zlib at 4.
_DEFAULT_LEVEL = 1


@dataclass(frozen=True)
class MirrorOptions:
    """The options of `ElectrodeDataSource.mirror`, which documents them."""

    ratio: int = 1
    writeable: bool = True
    mapped: bool = True
    channel_compatible: bool = False
    copy: str = "all"
    chunks: tuple[int, int] | str | None = None
    compression: str | int | None = None
    aligned: str = "auto"
    shared: bool = False
    resume: bool = True
    progress: bool | None = None
    dtype: str | None = None

    def check(self, filename: Any) -> None:
        """Refuse options that are unknown or contradict each other."""
        decimation_stages(self.ratio)
        resolve_aligned(self.aligned, np.dtype(float))
        if self.copy not in _COPY_MODES:
            raise ValueError(f"copy must be one of {_COPY_MODES}, got {self.copy!r}")
        if isinstance(self.chunks, str) and self.chunks not in _PATTERNS:
            raise ValueError(
                f"chunks must be two numbers or one of {_PATTERNS}, got {self.chunks!r}"
            )
        if not self.mapped and filename is not None:
            raise ValueError("a copy in memory (mapped=False) has no filename")
        if not self.mapped and (self.chunks is not None or self.compression is not None):
            raise ValueError("chunks and compression are for files; mapped=False is memory")
        if self.mapped and self.shared:
            raise ValueError("shared=True is for memory: give mapped=False")
        if self.compression is not None and self.level is None:
            raise ValueError(
                f"compression must be 'gzip', a level from 0 to 9, or None; "
                f"got {self.compression!r}"
            )

    @property
    def level(self) -> int | None:
        """Deflate level, None for none."""
        if self.compression == "gzip":
            return _DEFAULT_LEVEL
        if isinstance(self.compression, int) and 0 <= self.compression <= 9:
            return int(self.compression)
        return None


@dataclass(frozen=True)
class CopyPlan:
    """One array of a copy.

    Attributes
    ----------
    signal : Signal
        The original.
    mode : str
        How it is downsampled.
    filled : bool
        Whether it is copied, or only made.
    spec : ArraySpec
        The array to be made.
    """

    signal: Signal
    mode: str
    filled: bool
    spec: ArraySpec


def mirror(
    source: ElectrodeDataSource,
    filename: str | os.PathLike[str] | None,
    options: MirrorOptions,
    new_sources: Mapping[str, Any] | None,
) -> ElectrodeDataSource:
    """Copy a source; see `ElectrodeDataSource.mirror`."""
    options.check(filename)
    given = dict(new_sources or {})
    plans = plan_copies(source, options)
    _check_given(plans, given)
    for array in given.values():
        refuse_own_source(source, array)
    if filename is not None:
        refuse_own_file(source, Path(filename))
    targets = _fill_given(plans, given, options)
    rest = [plan for plan in plans if plan.spec.name not in given]
    if not options.mapped:
        targets |= _copy_to_memory(rest, options)
    elif rest:
        nbytes = sum(plan.spec.disk_bytes for plan in rest)
        path = TempFilePool.default().new(nbytes=nbytes) if filename is None else Path(filename)
        write_copies(source, rest, path, options, keep=filename is not None and options.resume)
        mode = "r+" if options.writeable else "r"
        for plan in rest:
            targets[plan.spec.name] = HDF5Buffer.from_path(path, plan.spec.name, mode=mode)
    return _assemble(source, targets, options)


def plan_copies(source: ElectrodeDataSource, options: MirrorOptions) -> list[CopyPlan]:
    """Plan the arrays of a copy, the electrode data first."""
    channels = "active"
    if options.channel_compatible:
        channels = "all" if options.mapped else "electrodes"
    filled = options.copy in ("all", "electrode")
    data = electrode_signal(source, channels)
    plans = [_plan(data, "antialias", source.fs, options, filled=filled)]
    filled = options.copy in ("all", "aligned")
    for signal in aligned_signals(source):
        mode = resolve_aligned(options.aligned, signal.dtype)
        plans.append(_plan(signal, mode, source.fs, options, filled=filled))
    return plans


def _plan(
    signal: Signal, mode: str, fs: float | None, options: MirrorOptions, *, filled: bool
) -> CopyPlan:
    shape = produced_shape(signal.shape, options.ratio)
    dtype = produced_dtype(signal.dtype, mode, options.ratio)
    return CopyPlan(signal, mode, filled, _spec(signal, shape, dtype, fs, options, filled=filled))


def _spec(
    signal: Signal,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    fs: float | None,
    options: MirrorOptions,
    *,
    filled: bool,
) -> ArraySpec:
    chunks = _chunks(shape, dtype, fs, options) if len(shape) == 2 else None
    # A piece of the copy is computed from `ratio` times as many samples, in double precision.
    per_value = dtype.itemsize if options.ratio == 1 else 8 * options.ratio
    budget = min(TILE_BYTES, effective_limit() // (6 * load_params().workers))
    if len(shape) == 2:
        rows, samples = signal.multiple
        multiple = chunks or (rows, max(1, samples // options.ratio))
        grid = plan_grid(
            shape[0],
            shape[1],
            per_value,
            multiple=multiple,
            tile_bytes=budget,
            whole_rows=signal.row_major and chunks is None,
        )
    else:
        grid = plan_grid(signal.rows, shape[-1], per_value, tile_bytes=budget)
        grid = Grid(grid.rows, grid.samples, grid.rows, grid.tile_samples)
    level = options.level if chunks else None
    return ArraySpec(signal.name, shape, dtype, grid, chunks, level, filled)


def _chunks(
    shape: tuple[int, ...], dtype: np.dtype[Any], fs: float | None, options: MirrorOptions
) -> tuple[int, int] | None:
    wanted = options.chunks
    if wanted is None and options.level is None:
        return None
    if 0 in shape:
        return None
    if wanted is None or isinstance(wanted, str):
        rate = None if fs is None else fs / options.ratio
        access: Any = wanted or "time"
        compressed = options.level is not None
        plane = (shape[0], shape[1])
        return advise_layout(plane, dtype.itemsize, access, fs=rate, compression=compressed).chunks
    sizes = [int(n) for n in wanted]
    if len(sizes) != 2 or min(sizes) < 1:
        raise ValueError(f"chunks must be two positive numbers, got {wanted}")
    rows, samples = sizes
    return min(rows, shape[0]), min(samples, shape[1])


def _check_given(plans: Sequence[CopyPlan], given: Mapping[str, Any]) -> None:
    known = {plan.spec.name: plan.spec for plan in plans}
    for name, array in given.items():
        if name not in known:
            raise ValueError(f"new_sources names {name!r}; this source has {', '.join(known)}")
        if tuple(array.shape) != known[name].shape:
            raise ValueError(
                f"new_sources[{name!r}] has shape {tuple(array.shape)}, "
                f"the copy has {known[name].shape}"
            )


def _fill_given(
    plans: Sequence[CopyPlan], given: Mapping[str, Any], options: MirrorOptions
) -> dict[str, Any]:
    for plan in plans:
        if plan.filled and plan.spec.name in given:
            fill_array(plan, given[plan.spec.name], options)
    return dict(given)


def fill_array(plan: CopyPlan, target: Any, options: MirrorOptions) -> None:
    """Compute a planned array into an array, buffer or source of its shape."""
    make = produce(plan.signal, plan.mode, options.ratio)
    grid, shape = plan.spec.grid, plan.spec.shape

    def work(piece: int) -> None:
        first_row, last_row, start, stop = bounds = grid.bounds(piece)
        values = make(bounds)
        if len(shape) == 2:
            target[first_row:last_row, start:stop] = values
        else:
            target[..., start:stop] = values.reshape(*shape[:-1], stop - start)

    _run(work, [(plan.spec.name, piece) for piece in plan.spec.pieces], options, strip=True)


def _copy_to_memory(plans: Sequence[CopyPlan], options: MirrorOptions) -> dict[str, Any]:
    nbytes = sum(plan.spec.nbytes for plan in plans)
    if plans:
        first = plans[0].spec
        check_allocation(nbytes, shape=first.shape, dtype=first.dtype, what="copy in memory")
    targets = {}
    for plan in plans:
        make = shared_empty if options.shared else np.zeros
        target = make(plan.spec.shape, plan.spec.dtype)
        if plan.filled:
            fill_array(plan, target, options)
        target.flags.writeable = options.writeable
        targets[plan.spec.name] = target
    return targets


def write_copies(
    source: ElectrodeDataSource,
    plans: Sequence[CopyPlan],
    path: Path,
    options: MirrorOptions,
    *,
    keep: bool,
    made_by: str = "mirror",
    accept: Callable[[str], bool] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write planned arrays to a file that appears when it is complete.

    Parameters
    ----------
    source : ElectrodeDataSource
        The original.
    plans : sequence of CopyPlan
        The arrays.
    path : Path
        The file.
    options : MirrorOptions
        How.
    keep : bool
        Whether an interrupted job may be resumed.
    made_by : str
        For the provenance.
    accept : callable, optional
        Asked with the job's key: True if the file is already what is wanted.
    extra : mapping, optional
        Further attributes of the file.
    """
    refuse_own_file(source, path)
    record = provenance(source, made_by, asdict(options))
    key = job_key({**record, "grids": [str(plan.spec.grid) for plan in plans]})
    record["job"] = key
    attributes = {PROVENANCE_ATTRIBUTE: provenance_json(record), **(extra or {})}
    makers = {p.spec.name: produce(p.signal, p.mode, options.ratio) for p in plans}
    specs = [plan.spec for plan in plans]
    with array_file(
        path,
        specs,
        key if keep else None,
        attributes=attributes,
        scalars=rate_scalar(source, plans, options.ratio),
        sealed=not (options.mapped and options.writeable),
        accept=None if accept is None or key is None else lambda: accept(key),
    ) as file:
        if file is None:
            return
        pieces = [(s.name, piece) for s in specs for piece in file.pending(s.name)]
        _run(_writer(file, makers), pieces, options)


def _writer(file: ArrayFile, makers: Mapping[str, Any]) -> Callable[[tuple[str, int]], None]:
    def work(item: tuple[str, int]) -> None:
        name, piece = item
        file.write(name, piece, makers[name](file.specs[name].grid.bounds(piece)))

    return work


def _run(
    work: Callable[[Any], None],
    pieces: list[tuple[str, int]],
    options: MirrorOptions,
    *,
    strip: bool = False,
) -> None:
    run_jobs(
        work,
        [piece for _, piece in pieces] if strip else pieces,
        workers=load_params().workers,
        total=len(pieces),
        progress=options.progress,
        label="copying" if options.ratio == 1 else "downsampling",
    )


def provenance(
    source: ElectrodeDataSource, made_by: str, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Describe how a file was made: program, version, options, origin."""
    kept = {name: value for name, value in options.items() if name not in ("progress", "resume")}
    return {
        "made_by": f"ecogsource {made_by}",
        "version": package_version(),
        "options": kept,
        "origin": origin_of(source),
    }


def rate_scalar(
    source: ElectrodeDataSource, plans: Sequence[CopyPlan], ratio: int
) -> dict[str, Any]:
    """Return the dataset ``Fs`` (Hz), unless the rate is unknown or the name is taken."""
    if source.fs is None or any(plan.spec.name == "Fs" for plan in plans):
        return {}
    return {"Fs": source.fs / ratio}


def _assemble(
    source: ElectrodeDataSource, targets: Mapping[str, Any], options: MirrorOptions
) -> ElectrodeDataSource:
    from ecogsource.datasource.mapped import MappedSource
    from ecogsource.datasource.plain import PlainArraySource

    compatible = options.channel_compatible
    field = source.electrode_field
    common: dict[str, Any] = {
        "fs": None if source.fs is None else source.fs / options.ratio,
        "units": source.units,
        "channel_names": source._names if compatible else source.channel_names,
        "channel_mask": source.binary_channel_mask if compatible else None,
        "aligned_arrays": {name: targets[name] for name in source.aligned_arrays},
    }
    if not options.mapped:
        return PlainArraySource(targets[field], field, **common)
    electrodes = source._electrode_channels if compatible else None
    result: MappedSource = MappedSource(targets[field], field, electrodes, **common)
    return result
