"""Walking over a source, a block of time or a group of channels at a time."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from ecogsource.buffers.storage.cache import passing_through
from ecogsource.indexing import BlockPlan, plan_blocks
from ecogsource.memory import effective_limit

if TYPE_CHECKING:
    from ecogsource.buffers import Buffer

Backend = Literal["thread", "process"]

# A block that nobody gave a size to: large enough that the overhead of a read disappears,
# small enough to leave room for what is done with it.
_COMFORTABLE = 32 * 2**20
_SHARE_OF_LIMIT = 4
# Handing a block from one thread to another takes about as long as reading one of this size.
_WORTH_A_THREAD = 1 << 18


def comfortable_length(item_bytes: int, storage_length: int | None = None) -> int:
    """Choose how many samples or channels to read at a time.

    Parameters
    ----------
    item_bytes : int
        Bytes of one sample of all channels, or of one channel of all samples.
    storage_length : int, optional
        Length of the storage chunks along that axis; the choice is a multiple of it if it can.

    Returns
    -------
    int
        At least 1.
    """
    budget = min(_COMFORTABLE, effective_limit() // _SHARE_OF_LIMIT)
    length = max(1, budget // max(1, item_bytes))
    if storage_length and length > storage_length:
        length -= length % storage_length
    return length


class WalkingMixin:
    """Walking over a source, forwards or backwards, reading ahead."""

    shape: tuple[int, int]
    dtype: np.dtype
    # How many blocks are read ahead unless the caller says otherwise.
    _read_ahead = 0

    def read(self, index: Any, out: np.ndarray | None = None) -> np.ndarray:
        """Read what an index selects; sources provide this."""
        raise TypeError(f"{type(self).__name__} cannot be read")

    def __len__(self) -> int:
        return self.shape[0]

    def as_buffer(self) -> Buffer:
        """View the active channels as a buffer; sources provide this."""
        raise TypeError(f"{type(self).__name__} has no buffer")

    def iter_blocks(
        self,
        block_length: int | None = None,
        overlap: int = 0,
        start_offset: int = 0,
        return_slice: bool = False,  # noqa: FBT001, FBT002 - ecogdata's signature
        reverse: bool = False,  # noqa: FBT001, FBT002
        partial_block: bool = True,  # noqa: FBT001, FBT002
        *,
        prefetch: int | None = None,
        backend: Backend = "thread",
        timeout: float | None = None,
    ) -> Iterator[Any]:
        """Walk over time, block by block.

        Parameters
        ----------
        block_length : int, optional
            Samples per block; by default what is comfortable for the memory and the storage.
        overlap : int
            Samples that neighbouring blocks share.
        start_offset : int
            Sample at which the first block starts.
        return_slice : bool
            Give ``(block, index)`` pairs, where ``source[index]`` is the block.
        reverse : bool
            Go backwards: the same blocks, last first, each reversed in time.
        partial_block : bool
            Whether to give the rest at the end that does not fill a block.
        prefetch : int, optional
            How many blocks to read ahead in the background; by default one for data on disk.
        backend : {'thread', 'process'}
            Who reads ahead. A process, started once and filling shared memory, pays for
            computations that hold the interpreter lock, and for data that only h5py can read.
        timeout : float, optional
            Seconds that a reading process may take for one block (default 120).

        Yields
        ------
        numpy.ndarray or (numpy.ndarray, tuple of slice)
            Arrays of shape (channels, samples), in :attr:`units`.

        Raises
        ------
        ValueError
            If the lengths make no sense, or a process is asked to read nothing ahead.
        WorkerError
            If a reading process cannot be started, died, or took too long.
        """
        times = block_slices(
            self,
            block_length,
            overlap,
            start_offset,
            reverse=reverse,
            partial_block=partial_block,
        )
        longest = min(times.block_length, self.shape[1])
        return walk(
            self,
            ((slice(None), time) for time in times),
            block_bytes=longest * self.shape[0] * self.dtype.itemsize,
            once=not overlap,
            ahead=Ahead(prefetch, backend, timeout),
            return_slice=return_slice,
        )

    def iter_channels(
        self,
        chans_per_block: int | None = None,
        use_max_memory: bool = False,  # noqa: FBT001, FBT002 - ecogdata's signature
        return_slice: bool = False,  # noqa: FBT001, FBT002
        *,
        prefetch: int | None = None,
        backend: Backend = "thread",
        timeout: float | None = None,
    ) -> Iterator[Any]:
        """Walk over channels, some at a time, each with all its samples.

        Parameters
        ----------
        chans_per_block : int, optional
            Channels at a time; by default what is comfortable for the memory and the storage.
        use_max_memory : bool
            Take as many channels as the memory limit allows.
        return_slice : bool
            Give ``(block, index)`` pairs, where ``source[index]`` is the block.
        prefetch : int, optional
            How many groups to read ahead in the background; by default one for data on disk,
            none with `use_max_memory`.
        backend, timeout
            See `iter_blocks`.

        Yields
        ------
        numpy.ndarray or (numpy.ndarray, tuple of slice)
            Arrays of shape (channels, samples), in :attr:`units`.
        """
        rows = channel_slices(self, chans_per_block, use_max_memory=use_max_memory)
        if prefetch is None and use_max_memory:
            prefetch = 0
        return walk(
            self,
            ((row, slice(None)) for row in rows),
            block_bytes=min(rows.block_length, len(self)) * self.shape[1] * self.dtype.itemsize,
            once=True,
            ahead=Ahead(prefetch, backend, timeout),
            return_slice=return_slice,
        )


def block_slices(
    source: WalkingMixin,
    block_length: int | None,
    overlap: int,
    start_offset: int,
    *,
    reverse: bool,
    partial_block: bool,
) -> BlockPlan:
    """Plan blocks of time of a source; see `WalkingMixin.iter_blocks`."""
    if block_length is None:
        sample_bytes = source.shape[0] * source.dtype.itemsize
        block_length = comfortable_length(sample_bytes, _chunk_length(source, 1)) + overlap
    return plan_blocks(
        source.shape[1],
        block_length,
        overlap,
        start_offset,
        reverse=reverse,
        partial_block=partial_block,
    )


def channel_slices(
    source: WalkingMixin, chans_per_block: int | None, *, use_max_memory: bool
) -> BlockPlan:
    """Plan groups of channels of a source; see `WalkingMixin.iter_channels`."""
    if chans_per_block is None:
        channel_bytes = max(1, source.shape[1] * source.dtype.itemsize)
        if use_max_memory:
            chans_per_block = max(1, effective_limit() // channel_bytes)
        else:
            chans_per_block = comfortable_length(channel_bytes, _chunk_length(source, 0))
    return plan_blocks(source.shape[0], chans_per_block)


class Ahead(NamedTuple):
    """How to read ahead: how many blocks (None: as it pays), who reads, how long it may take."""

    depth: int | None
    backend: Backend
    timeout: float | None


def walk(
    source: WalkingMixin,
    indices: Iterator[tuple[slice, slice]],
    *,
    block_bytes: int,
    once: bool,
    ahead: Ahead,
    return_slice: bool,
) -> Iterator[Any]:
    """Read one index after the other, the next ones in the background if that pays.

    `once` says that no two indices select the same element.
    """
    depth = _depth(source, block_bytes, ahead)
    walked = source.shape[0] * source.shape[1] if once else 0
    if depth < 1:
        for index in indices:
            with passing_through(walked):
                block: np.ndarray = source.read(index)
            yield (block, index) if return_slice else block
        return
    from ecogsource.datasource.prefetch import background_reader, read_ahead

    reader = background_reader(source, ahead.backend, ahead.timeout, walked)
    wanted, places = itertools.tee(indices)
    blocks = read_ahead(source.read, wanted, depth=depth, nbytes=block_bytes, reader=reader)
    with closing(reader), closing(blocks):  # type: ignore[type-var]
        yield from zip(blocks, places, strict=True) if return_slice else blocks


def _depth(source: WalkingMixin, block_bytes: int, ahead: Ahead) -> int:
    """Tell how many blocks to read ahead."""
    if ahead.backend not in ("thread", "process"):
        raise ValueError(f"backend must be 'thread' or 'process', got {ahead.backend!r}")
    if ahead.backend == "process":
        depth = 1 if ahead.depth is None else ahead.depth
        if depth < 1:
            raise ValueError(f"a process reads ahead: prefetch must be at least 1, got {depth}")
        return depth
    if ahead.depth is None:
        return source._read_ahead if block_bytes >= _WORTH_A_THREAD else 0
    return ahead.depth


def _chunk_length(source: WalkingMixin, axis: int) -> int | None:
    chunks = source.as_buffer().chunks
    return None if chunks is None else chunks[axis]
