"""What happens to the results of batches: a list, or a file."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import numpy as np

from ecogsource.batch.fingerprint import job_key
from ecogsource.batch.job import Job, Placed, Target, as_results, place_results
from ecogsource.batch.output import OutputFile, place_of, refuse_names, settled
from ecogsource.batch.plan import Batch, chosen_channels
from ecogsource.batch.pools import Workers, run_ordered, workers_for
from ecogsource.datasource.blockmemory import BlockMemory
from ecogsource.datasource.prefetch import read_ahead
from ecogsource.errors import BatchError

__all__ = ["collect", "read_batches", "write_file"]


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
    with workers_for(processes, executor) as workers:
        for _, results in _outcomes(job, batches, workers, None, progress=progress):
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
    refuse_names(path, job.reader.data)
    key = job_key(job, batches)
    found = settled(path, if_file_exists, key)
    output = OutputFile(path, key)
    if found is None or output.left_over():
        with output.making():
            # Another process may have made it while we waited for the lock.
            found = settled(path, "skip" if if_file_exists == "skip" else "overwrite", key)
            if found is None:
                with workers_for(processes if len(batches) > 1 else 1, executor) as workers:
                    found = _fill(output, job, batches, workers, progress=progress)
                output.complete(found)
            else:
                output.discard()
    return path, {name: found[name] for name in ("dtype", "n_channels", "data_order")}


def _fill(
    output: OutputFile, job: Job, batches: list[Batch], workers: Workers | None, *, progress: bool
) -> dict[str, Any]:
    """Write the results of all batches and describe them; the first batch is done here."""
    head, rest = batches[0], batches[1:]
    first = as_results(job.apply(head, job.read(head)), head)
    described = _described(first[0], batches, single=job.single)
    target = _layout(output.part, first, batches, single=job.single)
    if target is None:
        rows = first[0].shape[1:], first[0].dtype
        output.append(first)
        del first
        for batch, results in _outcomes(job, rest, workers, None, progress=progress):
            arrays = as_results(results, batch)
            _check_alike(rows, arrays, batch)
            output.append(arrays)
        return described
    done = output.finished(batches, target)
    if place_of(head) not in done:
        output.note(head, place_results(first, head, target))
    del first
    rest = [batch for batch in rest if place_of(batch) not in done]
    theirs = target if workers is None or workers.see_our_files else None
    for batch, results in _outcomes(job, rest, workers, theirs, progress=progress):
        placed = results[0] if theirs else Placed(place_results(results, batch, target))
        output.note(batch, placed.checksum)
    return described


def _outcomes(
    job: Job,
    batches: list[Batch],
    workers: Workers | None,
    target: Target | None,
    *,
    progress: bool,
) -> Iterator[tuple[Batch, list[Any]]]:
    if workers is None:
        outcomes = _here(job, batches, target)
    else:
        outcomes = run_ordered(job, batches, workers, target)
    if not progress or len(batches) < 2:
        yield from outcomes
        return
    from tqdm.auto import tqdm

    yield from tqdm(outcomes, total=len(batches), unit="batch")


def _here(
    job: Job, batches: list[Batch], target: Target | None
) -> Iterator[tuple[Batch, list[Any]]]:
    """Work in this thread; the next batch is read meanwhile."""
    for batch, data in read_batches(job, batches):
        yield batch, job.compute(batch, target, data)


def read_batches(job: Job, batches: list[Batch]) -> Iterator[tuple[Batch, np.ndarray]]:
    """Read batches, each while the one before is being used, into the memory of one that is not.

    Parameters
    ----------
    job : Job
        Who reads.
    batches : list of Batch
        What.

    Yields
    ------
    batch : Batch
        In order.
    data : numpy.ndarray
        Observations x channels, with margins.
    """
    longest = max((batch.stop - batch.start for batch in batches), default=0) + 2 * job.margin
    widest = max((len(batch.channels) for batch in batches), default=0)
    nbytes = longest * widest * job.reader.dtype.itemsize
    memory = BlockMemory()
    ahead = read_ahead(lambda batch: job.read(batch, memory.empty), batches, nbytes=nbytes)
    for batch in batches:
        # Nothing here may hold on to an array: a loop over zip() would.
        yield batch, next(ahead)


def _layout(
    path: Path, first: list[np.ndarray], batches: list[Batch], *, single: bool
) -> Target | None:
    """Find the place of every batch in the file, if there is one."""
    rows = batches[0].stop - batches[0].start
    shape, dtype = first[0].shape, first[0].dtype
    fits = shape[:1] == (rows,) and all(a.shape == shape and a.dtype == dtype for a in first)
    if not fits or (single and len(shape) != 1):
        return None
    origin = batches[0].start
    channels = chosen_channels(batches) if single else []
    places = {channel: place for place, channel in enumerate(channels)}
    if len(places) != len(channels):
        # A channel was asked for twice: its results have two places.
        return None
    return Target(
        str(path.absolute()),
        int(np.prod(shape[1:], dtype=int)) * dtype.itemsize,
        batches[-1].stop - origin if single else 0,
        shape[1:],
        dtype.str,
        origin,
        places,
    )


def _check_alike(
    rows: tuple[tuple[int, ...], np.dtype], arrays: list[np.ndarray], batch: Batch
) -> None:
    for array in arrays:
        if (array.shape[1:], array.dtype) != rows:
            raise BatchError(
                f"{batch}: the result has shape {array.shape} and type {array.dtype}, the first "
                f"one had rows of shape {rows[0]} and type {rows[1]}; pass cast_dtype to fix the "
                "type"
            )


def _described(first: np.ndarray, batches: list[Batch], *, single: bool) -> dict[str, Any]:
    # The name of a type is silent about the order of its bytes.
    dtype = first.dtype.name if first.dtype.isnative else first.dtype.str
    if single:
        channels = len(chosen_channels(batches))
        return {"dtype": dtype, "n_channels": channels, "data_order": "channels"}
    channels = int(np.prod(first.shape[1:], dtype=int)) if first.ndim > 1 else 1
    return {"dtype": dtype, "n_channels": channels, "data_order": "samples"}
