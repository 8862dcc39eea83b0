"""Filtering whole sources: in place, into another source, or into a file.

Channels are independent, so groups of them are filtered by as many threads as there are workers;
a group walks through time in blocks with its state carried. Memory is a fixed budget per worker,
whatever the length of the recording.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ecogsource.buffers import Buffer, HDF5Buffer
from ecogsource.datasource.arrayfile import (
    PROVENANCE_ATTRIBUTE,
    ArrayFile,
    ArraySpec,
    array_file,
    provenance_json,
)
from ecogsource.datasource.mirror import (
    CopyPlan,
    MirrorOptions,
    plan_copies,
    provenance,
    rate_scalar,
)
from ecogsource.datasource.origin import (
    digest,
    job_key,
    refuse_own_file,
    refuse_own_source,
)
from ecogsource.datasource.signals import Signal, electrode_signal, produce, time_is_outer
from ecogsource.datasource.tempfiles import TempFilePool
from ecogsource.datasource.tiles import MAX_TILES, Grid
from ecogsource.datasource.working import run_jobs
from ecogsource.errors import ReadOnlyError
from ecogsource.filters import (
    FilterDesign,
    design_filter,
    filter_causal,
    filtered_dtype,
    zero_phase,
)
from ecogsource.memory import check_allocation, effective_limit
from ecogsource.params import load_params

if TYPE_CHECKING:
    from ecogsource.datasource.base import ElectrodeDataSource

__all__ = ["FilterJob", "design_from_kwargs", "filter_source", "rate_of"]

# Names that ecogdata gives to the parameters of a design.
_DESIGN_NAMES = {"Fs": "fs", "ord": "order", "rstop": "attenuation", "rpass": "ripple"}

_KEEP_BYTES = 64 << 20
_BLOCK_ELEMENTS = 1 << 19


@dataclass(frozen=True)
class FilterJob:
    """What is to be done to each channel.

    Attributes
    ----------
    design : FilterDesign
        The filter.
    filtfilt : bool
        Forward and backward, or forward only.
    padlen : int, optional
        Edge extension of the former.
    progress : bool, optional
        Show a progress bar; by default if it takes longer than two seconds.
    """

    design: FilterDesign
    filtfilt: bool = True
    padlen: int | None = None
    progress: bool | None = None

    @classmethod
    def of(
        cls, design: FilterDesign, options: Mapping[str, Any], *, progress: bool | None
    ) -> FilterJob:
        """Make a job from the keyword arguments of a user.

        Raises
        ------
        TypeError
            If an option is unknown.
        """
        unknown = set(options) - {"filtfilt", "padlen"}
        if unknown:
            raise TypeError(f"unknown filter option {sorted(unknown)}; known: filtfilt, padlen")
        return cls(design, progress=progress, **options)

    def check(self, n_samples: int) -> None:
        """Refuse a signal that is shorter than the edge extension, before anything is written."""
        pad = self.design.kernel.pad_length if self.padlen is None else self.padlen
        if self.filtfilt and n_samples <= pad:
            raise ValueError(
                f"a zero-phase filter with an edge extension of {pad} samples needs more than "
                f"{pad} samples, got {n_samples}; shorten it with padlen, or filter forward only "
                "(filtfilt=False)"
            )

    def record(self) -> dict[str, Any]:
        """Describe the job for the provenance and the job's key."""
        design = self.design
        return {
            "ftype": design.ftype,
            "fs": design.fs,
            "sos": None if design.sos is None else design.sos.tolist(),
            "taps": None if design.taps is None else digest(design.taps.tobytes()),
            "filtfilt": self.filtfilt,
            "padlen": self.padlen,
        }


def rate_of(given: float | None, source_fs: float | None) -> float:
    """Return the sampling rate to design for.

    Raises
    ------
    ValueError
        If neither the caller nor the source knows it.
    """
    if given is not None:
        return float(given)
    if source_fs is None:
        raise ValueError("the source does not know its sampling rate: give Fs (Hz)")
    return float(source_fs)


def design_from_kwargs(
    ftype: str, source_fs: float | None, kwargs: Mapping[str, Any]
) -> FilterDesign:
    """Design a filter from the keyword arguments of a user, of ecogsource or ecogdata."""
    named = {_DESIGN_NAMES.get(name, name): value for name, value in kwargs.items()}
    if len(named) != len(kwargs):
        raise TypeError(f"a parameter of the design is given twice: {', '.join(kwargs)}")
    named["fs"] = rate_of(named.get("fs"), source_fs)
    return design_filter(ftype, **named)


def filter_source(
    source: ElectrodeDataSource,
    job: FilterJob,
    *,
    inplace: bool,
    out: str | os.PathLike[str] | ElectrodeDataSource | None,
) -> ElectrodeDataSource:
    """Filter a source; see `ElectrodeDataSource.filter_array`."""
    job.check(source.shape[1])
    if isinstance(out, (str, os.PathLike)):
        return _filter_to_file(source, job, Path(out), named=True)
    if out is None and inplace:
        out = source
    if out is not None:
        _filter_into(source, job, out)
        return out
    from ecogsource.datasource.plain import PlainArraySource

    if isinstance(source, PlainArraySource):
        dtype = filtered_dtype(source.dtype)
        nbytes = source.shape[0] * source.shape[1] * dtype.itemsize
        check_allocation(nbytes, shape=source.shape, dtype=dtype, what="filtered array")
        matrix = {source.electrode_field: np.empty(source.shape, dtype)}
        made = source.mirror(mapped=False, copy="aligned", new_sources=matrix)
        _filter_into(source, job, made)
        return made
    path = TempFilePool.default().new(nbytes=source.shape[0] * source.shape[1] * 8)
    return _filter_to_file(source, job, path, named=False)


def _filter_into(source: ElectrodeDataSource, job: FilterJob, out: ElectrodeDataSource) -> None:
    if out.shape != source.shape:
        raise ValueError(f"out has shape {out.shape}, the source has {source.shape}")
    if not out.writeable:
        raise ReadOnlyError(
            "filtering in place needs a writeable source: make a copy with mirror(), or pass "
            "out= a filename, or inplace=False"
        )
    if out.dtype.kind != "f":
        raise TypeError(
            f"filtered values are not integers, and this source stores {out.dtype}: pass out= a "
            "filename, or inplace=False"
        )
    if out is not source:
        refuse_own_source(source, out)
    elif len(set(source._active_channels.tolist())) < source.shape[0]:
        raise ValueError(
            "a channel that the source holds twice cannot be filtered in place: it "
            "would be filtered twice; pass out= a filename, or inplace=False"
        )
    # The view underneath is not held to the memory limit: blocks are bounded here.
    target = out.as_buffer()
    signal = electrode_signal(source)

    def write(rows: slice, start: int, values: NDArray[Any]) -> None:
        target[rows, start : start + values.shape[1]] = values

    _filter_groups(signal, job, _group_grid(signal), write, skip=lambda group: False)


def _filter_to_file(
    source: ElectrodeDataSource, job: FilterJob, path: Path, *, named: bool
) -> ElectrodeDataSource:
    from ecogsource.datasource.mapped import MappedSource

    refuse_own_file(source, path)
    options = MirrorOptions(writeable=not named, progress=job.progress)
    plans = plan_copies(source, options)
    signal, grid = plans[0].signal, _group_grid(plans[0].signal)
    data = ArraySpec(signal.name, source.shape, filtered_dtype(source.dtype), grid)
    aligned = plans[1:]
    specs = [data, *(plan.spec for plan in aligned)]
    record = provenance(source, "filter", job.record())
    key = job_key({**record, "grids": [str(spec.grid) for spec in specs]})
    record["job"] = key
    with array_file(
        path,
        specs,
        key if named else None,
        attributes={PROVENANCE_ATTRIBUTE: provenance_json(record)},
        scalars=rate_scalar(source, plans, 1),
        sealed=named,
    ) as file:
        if file is not None:
            _copy_aligned(file, aligned)
            _filter_pending(file, data, signal, job)
    mode = "r" if named else "r+"
    arrays = {spec.name: HDF5Buffer.from_path(path, spec.name, mode=mode) for spec in specs}
    field = source.electrode_field
    return MappedSource(
        arrays.pop(field),
        field,
        aligned_arrays=arrays,
        fs=source.fs,
        units=source.units,
        channel_names=source.channel_names,
    )


def _copy_aligned(file: ArrayFile, plans: list[CopyPlan]) -> None:
    for plan in plans:
        make = produce(plan.signal, plan.mode, 1)
        for piece in file.pending(plan.spec.name):
            file.write(plan.spec.name, piece, make(plan.spec.grid.bounds(piece)))


def _filter_pending(file: ArrayFile, data: ArraySpec, signal: Signal, job: FilterJob) -> None:
    """Filter the groups of channels of which a piece is missing."""
    grid = data.grid
    pending = set(file.pending(data.name))

    def write(rows: slice, start: int, values: NDArray[Any]) -> None:
        file.write(data.name, grid.piece_at(rows.start, start), values)

    def done(group: int) -> bool:
        blocks = grid.shape[1]
        return not pending.intersection(range(group * blocks, (group + 1) * blocks))

    _filter_groups(signal, job, grid, write, skip=done)


def _group_grid(signal: Signal) -> Grid:
    """Choose groups of channels and the length of blocks.

    Where whole channels fit the budget, as many as fit: nothing is computed twice. Where time is
    the outer axis of the file (or a channel is too long), large groups, to read few pieces.
    """
    workers = load_params().workers
    keep = _keep_bytes()
    rows, samples = max(signal.rows, 1), max(signal.samples, 1)
    chunk_rows, chunk_samples = min(signal.multiple[0], rows), min(signal.multiple[1], samples)
    fitting = keep // (8 * samples)
    share = -(-rows // workers)
    if isinstance(signal.array, Buffer) and time_is_outer(signal.array):
        group = share
    elif fitting >= chunk_rows:
        group = min(fitting // chunk_rows * chunk_rows, share)
    else:
        group = min(chunk_rows, share)
    group = max(1, -(-group // chunk_rows) * chunk_rows if group < rows else rows)
    group = min(group, rows)
    block = max(1024, min(_BLOCK_ELEMENTS, keep // 32) // group)
    groups = -(-rows // group)
    block = max(block, -(-samples * groups // (MAX_TILES // 2)))
    if block > chunk_samples:
        block -= block % chunk_samples
    return Grid(rows, samples, group, min(block, samples))


def _keep_bytes() -> int:
    return min(_KEEP_BYTES, effective_limit() // (4 * load_params().workers))


def _filter_groups(
    signal: Signal,
    job: FilterJob,
    grid: Grid,
    write: Callable[[slice, int, NDArray[Any]], None],
    *,
    skip: Callable[[int], bool],
) -> None:
    kernel, keep = job.design.kernel, _keep_bytes()

    def work(group: int) -> None:
        first = group * grid.tile_rows
        rows = slice(first, min(first + grid.tile_rows, grid.rows))

        def read(start: int, stop: int) -> NDArray[Any]:
            return signal.read(rows, start, stop)

        def put(start: int, values: NDArray[Any]) -> None:
            write(rows, start, values)

        if job.filtfilt:
            zero_phase(
                kernel,
                read,
                put,
                grid.samples,
                block_length=grid.tile_samples,
                keep_bytes=keep,
                pad_length=job.padlen,
            )
        else:
            filter_causal(kernel, read, put, grid.samples, block_length=grid.tile_samples)

    empty = not (signal.rows and signal.samples)
    groups = [] if empty else [group for group in range(grid.shape[0]) if not skip(group)]
    run_jobs(
        work,
        groups,
        workers=load_params().workers,
        total=len(groups),
        progress=job.progress,
        label="filtering",
    )
