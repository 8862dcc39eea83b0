"""Sources as dask arrays: scheduling is dask's, reading stays ours.

A graph carries the recipe of a source, which is opened where it is used, once per process; a task
reads its block, or what is left of it when the array was sliced, with one call of the read path.
Blocks follow the storage chunks and the borders of joined files, so that no chunk is decoded for
two tasks where that can be avoided.
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
# In bytes; that of a file is some hundreds, that of a join of a thousand files a hundred thousand.
_SHORT_RECIPE = 10_000


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
    return _from_source(source, _blocks(source, chunks))


def _from_source(source: ElectrodeDataSource, blocks: tuple[tuple[int, ...], ...]) -> Any:
    """Make the array; dask hands slices of it down to the reading of each block."""
    da = require("dask.array", _EXTRA)
    recipe = pickle.dumps(source)
    tokenize = require("dask.base", _EXTRA).tokenize
    return da.from_array(
        _Lazy(source),
        chunks=blocks,
        name=f"ecogsource-{tokenize(recipe, blocks)}",
        asarray=False,
        # A long recipe is a key of its own and travels once to each worker.
        inline_array=len(recipe) <= _SHORT_RECIPE,
        meta=np.empty((0, 0), source.dtype),
    )


def from_recordings(recordings: Sequence[Any], chunks: Any = "auto", **options: Any) -> Any:
    """Make one dask array of many recordings, end to end.

    Parameters
    ----------
    recordings : sequence of path, Recording, Dataset or source
        In order of time. Each block reads one of them only.
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
        If there is nothing to join, or if recordings differ in channels, rate or type.
    MissingDependencyError
        If dask is not installed.
    """
    sources = [_source_of(recording, options) for recording in recordings]
    if not sources:
        raise JoinError("there is nothing to join: the sequence of recordings is empty")
    first = sources[0]
    for number, source in enumerate(sources):
        kind, expected = _kind(source), _kind(first)
        if kind != expected:
            raise JoinError(f"cannot join: recording {number} has {kind}, recording 0 {expected}")
    joined = MappedSource(
        BufferBinder([source.as_buffer() for source in sources], axis=1), fs=first.fs
    )
    # Recordings of the same length and storage are cut in the same way.
    known: dict[Any, tuple[tuple[int, ...], ...]] = {}
    times: list[int] = []
    for source in sources:
        key = source.shape, source.as_buffer().chunks
        if key not in known:
            known[key] = _blocks(source, chunks)
        times += known[key][1]
    return _from_source(joined, (known[first.shape, first.as_buffer().chunks][0], tuple(times)))


def _kind(source: ElectrodeDataSource) -> str:
    return f"{source.shape[0]} channels of {source.dtype} at {source.fs} Hz"


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
    _check_margin(margin)
    kind = np.dtype(source.dtype if dtype is None else dtype)
    return da.map_blocks(
        _mapped_block,
        _Recipe(source),
        function,
        margin,
        chunks=_blocks(source, chunks),
        dtype=kind,
        meta=np.empty((0, 0), kind),
    )


def downsample(
    source: ElectrodeDataSource,
    ratio: int,
    function: Callable[[np.ndarray], np.ndarray] | None = None,
    margin: int = 0,
    *,
    chunks: Any = "auto",
) -> Any:
    """Downsample a source with an anti-alias filter, block by block, as it is or filtered before.

    Parameters
    ----------
    source : MappedSource or PlainArraySource
        Channels x time.
    ratio : int
        Samples of the source per sample of the result.
    function : callable, optional
        What to do before, as for :func:`map_with_margin`.
    margin : int
        Samples that `function` looks to each side.
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
        If `ratio` is not a positive integer, or `margin` is negative.
    """
    da = require("dask.array", _EXTRA)
    _check_margin(margin)
    shape = (source.shape[0], decimated_length(source.shape[1], ratio))
    blocks = da.core.normalize_chunks(
        (-1, "auto") if chunks == "auto" else chunks, shape=shape, dtype=np.float64
    )
    return da.map_blocks(
        _downsampled_block,
        _Recipe(source),
        ratio,
        function,
        margin,
        chunks=blocks,
        dtype=np.float64,
        meta=np.empty((0, 0)),
    )


class _Lazy:
    """What dask takes for an array and slices."""

    ndim = 2

    def __init__(self, source: ElectrodeDataSource) -> None:
        self.source, self.shape, self.dtype = source, source.shape, source.dtype

    def __getitem__(self, index: Any) -> Any:
        return self.source.read(index)


class _Recipe:
    """A source, pickled by its recipe; dask sees one opaque object and looks no further."""

    def __init__(self, source: ElectrodeDataSource) -> None:
        self.source = source

    def __dask_tokenize__(self) -> str:
        name: str = require("dask.base", _EXTRA).tokenize(pickle.dumps(self.source))
        return name


def _location(block_info: Any) -> tuple[slice, slice]:
    rows, times = block_info[None]["array-location"]
    return slice(*rows), slice(*times)


def _check_margin(margin: int) -> None:
    if margin < 0:
        raise ValueError(f"margin is {margin}; it cannot be negative")


def _with_margin(
    source: ElectrodeDataSource,
    function: Callable[[np.ndarray], np.ndarray],
    margin: int,
    rows: slice,
    times: slice,
) -> np.ndarray:
    """Apply a function to some samples and those around them, and keep the former."""
    low, high = max(0, times.start - margin), min(source.shape[1], times.stop + margin)
    result = np.asarray(function(source.read((rows, slice(low, high)))))
    ahead = times.start - low
    return result[:, ahead : ahead + times.stop - times.start]


def _mapped_block(
    recipe: _Recipe, function: Callable[..., Any], margin: int, block_info: Any = None
) -> np.ndarray:
    return _with_margin(recipe.source, function, margin, *_location(block_info))


def _downsampled_block(
    recipe: _Recipe,
    ratio: int,
    function: Callable[..., Any] | None,
    margin: int,
    block_info: Any = None,
) -> np.ndarray:
    rows, times = _location(block_info)
    source = recipe.source

    def read(start: int, stop: int) -> np.ndarray:
        if function is None:
            return source.read((rows, slice(start, stop)))
        return _with_margin(source, function, margin, rows, slice(start, stop))

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
