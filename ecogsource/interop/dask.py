"""Sources as dask arrays: scheduling is dask's, reading stays ours.

A task carries the recipe of a source (a few hundred bytes), opens it where it runs, once per
process, and reads its block with one call of the read path. Blocks follow the storage chunks and
the borders of joined files, so that no chunk is decoded for two tasks where that can be avoided.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ecogsource.buffers import BufferBinder
from ecogsource.datasource import MappedSource
from ecogsource.datasource.base import ElectrodeDataSource
from ecogsource.errors import JoinError, require
from ecogsource.filters import decimate_range, decimated_length

__all__ = ["downsample", "from_recordings", "map_with_margin", "to_dask"]

_EXTRA = "dask"


def to_dask(source: ElectrodeDataSource, chunks: Any = "auto") -> Any:
    """Make a dask array of a source.

    Parameters
    ----------
    source : MappedSource or PlainArraySource
        Channels x time.
    chunks : 'auto', int, or tuple
        Sizes of the blocks, as dask takes them. ``'auto'`` follows dask's parameter
        ``array.chunk-size`` in multiples of the storage chunks, and ends blocks where joined
        files end.

    Returns
    -------
    dask.array.Array
        Channels x time, lazy; each task reads one block.

    Raises
    ------
    MissingDependencyError
        If dask is not installed.
    """
    da = require("dask.array", _EXTRA)
    return da.map_blocks(
        _read_block,
        _recipe(source),
        chunks=_blocks(source, chunks),
        dtype=source.dtype,
        meta=np.empty((0, 0), source.dtype),
        name=f"ecogsource-{_token(source, chunks)}",
    )


def from_recordings(recordings: Sequence[Any], chunks: Any = "auto", **options: Any) -> Any:
    """Make one dask array of many recordings, end to end.

    Parameters
    ----------
    recordings : sequence of path, Recording, Dataset or source
        In order of time. Each block reads one of them only, and its task carries only that
        one's recipe.
    chunks : 'auto', int, or tuple
        Sizes of the blocks within each recording.
    **options
        Passed to :func:`ecogsource.open_recording` for paths.

    Returns
    -------
    dask.array.Array
        Channels x time.

    Raises
    ------
    JoinError
        If there is nothing to join, or if recordings differ in channels or rate.
    MissingDependencyError
        If dask is not installed.
    """
    da = require("dask.array", _EXTRA)
    sources = [_source_of(recording, options) for recording in recordings]
    if not sources:
        raise JoinError("there is nothing to join: the sequence of recordings is empty")
    first = sources[0]
    for number, source in enumerate(sources):
        if (source.shape[0], source.fs) != (first.shape[0], first.fs):
            raise JoinError(
                f"cannot join: recording {number} has {source.shape[0]} channels at {source.fs} "
                f"Hz, recording 0 has {first.shape[0]} at {first.fs} Hz"
            )
    return da.concatenate([to_dask(source, chunks) for source in sources], axis=1)


def map_with_margin(
    source: ElectrodeDataSource,
    function: Callable[[np.ndarray], np.ndarray],
    margin: int,
    *,
    chunks: Any = "auto",
    dtype: DTypeLike | None = None,
) -> Any:
    """Apply a function to every block of a source, with some samples around it.

    Parameters
    ----------
    source : MappedSource or PlainArraySource
        Channels x time.
    function : callable
        Gets an array of channels x samples and returns one of the same shape.
    margin : int
        Samples to read before and after each block; they are cut off the result again. At the
        ends of the source there are none. The result does not depend on the blocks if the
        function looks no further than this.
    chunks : 'auto', int, or tuple
        Sizes of the blocks.
    dtype : dtype_like, optional
        Type of the result; that of the source by default.

    Returns
    -------
    dask.array.Array
        Channels x time, lazy.

    Raises
    ------
    ValueError
        If `margin` is negative.
    """
    da = require("dask.array", _EXTRA)
    if margin < 0:
        raise ValueError(f"margin is {margin}; it cannot be negative")
    kind = np.dtype(source.dtype if dtype is None else dtype)
    return da.map_blocks(
        _mapped_block,
        _recipe(source),
        function,
        margin,
        chunks=_blocks(source, chunks),
        dtype=kind,
        meta=np.empty((0, 0), kind),
    )


def downsample(source: ElectrodeDataSource, ratio: int, *, chunks: Any = "auto") -> Any:
    """Downsample a source with an anti-alias filter, block by block.

    Parameters
    ----------
    source : MappedSource or PlainArraySource
        Channels x time.
    ratio : int
        Samples of the source per sample of the result.
    chunks : 'auto', int, or tuple
        Sizes of the blocks of the result.

    Returns
    -------
    dask.array.Array of float64
        Channels x ``ceil(samples / ratio)``: the numbers that
        :func:`ecogsource.filters.decimate_range` gives for the whole, whatever the blocks.

    Raises
    ------
    ValueError
        If `ratio` is not a positive integer.
    """
    da = require("dask.array", _EXTRA)
    shape = (source.shape[0], decimated_length(source.shape[1], ratio))
    blocks = da.core.normalize_chunks(
        (-1, "auto") if chunks == "auto" else chunks, shape=shape, dtype=np.float64
    )
    return da.map_blocks(
        _downsampled_block,
        _recipe(source),
        ratio,
        chunks=blocks,
        dtype=np.float64,
        meta=np.empty((0, 0)),
    )


class _Recipe:
    """A source, pickled by its recipe; dask sees one opaque object and looks no further."""

    def __init__(self, source: ElectrodeDataSource) -> None:
        self.source = source

    def __dask_tokenize__(self) -> str:
        return _token(self.source, None)


def _recipe(source: ElectrodeDataSource) -> _Recipe:
    return _Recipe(source)


def _token(source: ElectrodeDataSource, chunks: Any) -> str:
    tokenize = require("dask.base", _EXTRA).tokenize
    name: str = tokenize(pickle.dumps(source), repr(chunks))
    return name


def _location(block_info: Any) -> tuple[slice, slice]:
    rows, times = block_info[None]["array-location"]
    return slice(*rows), slice(*times)


def _read_block(recipe: _Recipe, block_info: Any = None) -> np.ndarray:
    return recipe.source.read(_location(block_info))


def _mapped_block(
    recipe: _Recipe, function: Callable[..., Any], margin: int, block_info: Any = None
) -> np.ndarray:
    rows, times = _location(block_info)
    low, high = max(0, times.start - margin), min(recipe.source.shape[1], times.stop + margin)
    result = np.asarray(function(recipe.source.read((rows, slice(low, high)))))
    ahead = times.start - low
    return result[:, ahead : ahead + times.stop - times.start]


def _downsampled_block(recipe: _Recipe, ratio: int, block_info: Any = None) -> np.ndarray:
    rows, times = _location(block_info)
    source = recipe.source

    def read(start: int, stop: int) -> np.ndarray:
        return source.read((rows, slice(start, stop)))

    return decimate_range(read, source.shape[1], ratio, times.start, times.stop)


def _blocks(source: ElectrodeDataSource, chunks: Any) -> tuple[tuple[int, ...], ...]:
    """Work out the sizes of the blocks along both axes."""
    da = require("dask.array", _EXTRA)
    buffer = source.as_buffer()
    if chunks != "auto":
        plain: tuple[tuple[int, ...], ...] = da.core.normalize_chunks(
            chunks, shape=source.shape, dtype=source.dtype
        )
        return plain
    if buffer.chunks is None:
        wanted: Any = (-1, "auto")
        stored = None
    else:
        wanted = "auto"
        stored = tuple(max(1, min(c, n)) for c, n in zip(buffer.chunks, source.shape, strict=True))
    rows, _ = da.core.normalize_chunks(
        wanted, shape=source.shape, dtype=source.dtype, previous_chunks=stored
    )
    times: list[int] = []
    for length in _file_lengths(source):
        _, part = da.core.normalize_chunks(
            (rows, "auto" if length else 0),
            shape=(source.shape[0], length),
            dtype=source.dtype,
            previous_chunks=stored,
        )
        times += [size for size in part if size]
    return rows, tuple(times) or (0,)


def _file_lengths(source: ElectrodeDataSource) -> list[int]:
    buffer = source.data_buffer
    axis = 0 if source._transpose else 1
    if isinstance(buffer, BufferBinder) and buffer.axis == axis:
        return [part.shape[axis] for part in buffer.buffers]
    return [source.shape[1]]


def _source_of(recording: Any, options: dict[str, Any]) -> ElectrodeDataSource:
    if isinstance(recording, ElectrodeDataSource):
        return recording
    for name in ("source", "data"):
        found = getattr(recording, name, None)
        if isinstance(found, ElectrodeDataSource):
            return found
    if hasattr(recording, "__fspath__") or isinstance(recording, str):
        from ecogsource.io import open_recording

        return open_recording(recording, **options).source
    return MappedSource(recording)
