"""What happens to the results of batches: a list, or a file."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import numpy as np

from ecogsource.batch.execution import (
    Job,
    Placed,
    Target,
    place_results,
    run_ordered,
    worker_pool,
)
from ecogsource.batch.output import OutputFile, job_key, place_of, refuse_input, settled
from ecogsource.batch.plan import Batch
from ecogsource.datasource.prefetch import read_ahead
from ecogsource.errors import BatchError

__all__ = ["collect", "write_file"]


def collect(
    job: Job,
    batches: list[Batch],
    processes: int,
    executor: Executor | None,
    *,
    progress: bool,
) -> Iterator[Any]:
    """Give the results of all batches in order.

    Parameters
    ----------
    job : Job
        What to do.
    batches : list of Batch
        To what.
    processes : int
        Worker processes.
    executor : Executor or None
        Where to work instead.
    progress : bool
        Whether to show progress.

    Yields
    ------
    object
        Results.
    """
    with worker_pool(processes, executor) as (pool, under_way):
        for _, results in _outcomes(job, batches, pool, under_way, None, progress=progress):
            yield from results


def write_file(
    job: Job,
    batches: list[Batch],
    path: Path,
    if_file_exists: str,
    processes: int,
    executor: Executor | None,
    *,
    progress: bool,
) -> tuple[Path, dict[str, Any]]:
    """Write the results of all batches to a binary file with a sidecar.

    The first batch is done here and tells what results look like. If each observation gives one
    row, every batch has a place in the file: workers write there themselves, and an interrupted
    run can go on. Otherwise results are put one behind the other.

    Parameters
    ----------
    job : Job
        What to do.
    batches : list of Batch
        To what.
    path : Path
        The file to make.
    if_file_exists : {'overwrite', 'abort', 'skip'}
        What to do if it exists.
    processes : int
        Worker processes.
    executor : Executor or None
        Where to work instead; results travel back, as the workers may not see our files.
    progress : bool
        Whether to show progress.

    Returns
    -------
    path : Path
        The file.
    params : dict
        ``dtype, n_channels, data_order``.
    """
    refuse_input(path, job.reader.data)
    key = job_key(job, batches, "single" if job.single else "multi")
    found = settled(path, if_file_exists, key)
    if found is None:
        with OutputFile(path, key).making() as output:
            # Another process may have made it while we waited for the lock.
            found = settled(path, "skip" if if_file_exists == "skip" else "overwrite", key)
            if found is None:
                found = _fill(output, job, batches, processes, executor, progress=progress)
                output.complete(found)
    return path, {name: found[name] for name in ("dtype", "n_channels", "data_order")}


def _fill(
    output: OutputFile,
    job: Job,
    batches: list[Batch],
    processes: int,
    executor: Executor | None,
    *,
    progress: bool,
) -> dict[str, Any]:
    first = job.apply(batches[0], job.read(batches[0]))
    target = _layout(output.part, first, batches, single=job.single)
    with worker_pool(processes if len(batches) > 1 else 1, executor) as (pool, under_way):
        if target is None:
            output.append(first)
            rest = batches[1:]
            for batch, results in _outcomes(job, rest, pool, under_way, None, progress=progress):
                _check_alike(first, results, batch)
                output.append(results)
        else:
            done = output.finished(batches, target)
            if place_of(batches[0]) not in done:
                output.note(batches[0], place_results(first, batches[0], target))
            rest = [batch for batch in batches[1:] if place_of(batch) not in done]
            # Workers of our own see the same files; those of others may not.
            theirs = target if executor is None else None
            for batch, results in _outcomes(job, rest, pool, under_way, theirs, progress=progress):
                (placed,) = (
                    results
                    if theirs is not None
                    else [Placed(place_results(results, batch, target))]
                )
                output.note(batch, placed.checksum)
    return _described(first, batches, single=job.single)


def _outcomes(
    job: Job,
    batches: list[Batch],
    pool: Executor | None,
    under_way: int,
    target: Target | None,
    *,
    progress: bool,
) -> Iterator[tuple[Batch, list[Any]]]:
    if pool is None:
        outcomes = _here(job, batches, target)
    else:
        outcomes = run_ordered(job, batches, executor=pool, under_way=under_way, target=target)
    if not progress or len(batches) < 2:
        yield from outcomes
        return
    from tqdm.auto import tqdm

    yield from tqdm(outcomes, total=len(batches), unit="batch")


def _here(
    job: Job, batches: list[Batch], target: Target | None
) -> Iterator[tuple[Batch, list[Any]]]:
    """Work in this thread; the next batch is read meanwhile."""
    rows = max((batch.stop - batch.start for batch in batches), default=0)
    row_bytes = job.reader.dtype.itemsize * max((len(b.channels) for b in batches), default=0)
    ahead = read_ahead(job.read, batches, depth=1, nbytes=rows * row_bytes)
    for batch, data in zip(batches, ahead, strict=True):
        results = job.apply(batch, data)
        if target is not None:
            results = [Placed(place_results(results, batch, target))]
        yield batch, results


def _layout(path: Path, first: list[Any], batches: list[Batch], *, single: bool) -> Target | None:
    """Find the place of every batch in the file, if there is one."""
    arrays = [np.asarray(result) for result in first]
    rows = batches[0].stop - batches[0].start
    shape, dtype = arrays[0].shape, arrays[0].dtype
    fits = shape[:1] == (rows,) and all(a.shape == shape and a.dtype == dtype for a in arrays)
    if not fits or (single and len(shape) != 1):
        return None
    origin = batches[0].start
    places: dict[int, int] = {}
    if single:
        pieces = [(b.start, b.stop, int(c)) for b in batches for c in b.channels]
        if len(set(pieces)) != len(pieces):
            # A channel was asked for twice: its results have two places.
            return None
        channels = dict.fromkeys(channel for _, _, channel in pieces)
        places = {channel: place for place, channel in enumerate(channels)}
    return Target(
        str(path),
        int(np.prod(shape[1:], dtype=int)) * dtype.itemsize,
        max(batch.stop for batch in batches) - origin if single else 0,
        shape[1:],
        dtype.str,
        origin,
        places,
    )


def _check_alike(first: list[Any], results: list[Any], batch: Batch) -> None:
    expected, found = np.asarray(first[0]), np.asarray(results[0])
    if found.dtype != expected.dtype or found.shape[1:] != expected.shape[1:]:
        raise BatchError(
            f"{batch}: the result has shape {found.shape} and type {found.dtype}, that of the "
            f"first batch {expected.shape} and {expected.dtype}; pass cast_dtype to fix the type"
        )


def _described(first: list[Any], batches: list[Batch], *, single: bool) -> dict[str, Any]:
    array = np.asarray(first[0])
    if single:
        channels = sum(len(b.channels) for b in batches if b.start == batches[0].start)
        return {"dtype": array.dtype.name, "n_channels": channels, "data_order": "channels"}
    channels = int(np.prod(array.shape[1:], dtype=int)) if array.ndim > 1 else 1
    return {"dtype": array.dtype.name, "n_channels": channels, "data_order": "samples"}
