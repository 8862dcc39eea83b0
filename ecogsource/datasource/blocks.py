"""Walking over a source, a block of time or a group of channels at a time."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np

from ecogsource.indexing import BlockPlan, plan_blocks
from ecogsource.memory import effective_limit

if TYPE_CHECKING:
    from ecogsource.buffers import Buffer

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

        Yields
        ------
        numpy.ndarray or (numpy.ndarray, tuple of slice)
            Arrays of shape (channels, samples), in :attr:`units`.

        Raises
        ------
        ValueError
            If the lengths make no sense.
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
            prefetch=prefetch,
            return_slice=return_slice,
        )

    def iter_channels(
        self,
        chans_per_block: int | None = None,
        use_max_memory: bool = False,  # noqa: FBT001, FBT002 - ecogdata's signature
        return_slice: bool = False,  # noqa: FBT001, FBT002
        *,
        prefetch: int | None = None,
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
            prefetch=prefetch,
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


def walk(
    source: WalkingMixin,
    indices: Iterator[tuple[slice, slice]],
    *,
    block_bytes: int,
    prefetch: int | None,
    return_slice: bool,
) -> Iterator[Any]:
    """Read one index after the other, the next ones in the background if that pays."""
    if prefetch is None:
        prefetch = source._read_ahead if block_bytes >= _WORTH_A_THREAD else 0
    if prefetch < 1:
        for index in indices:
            block: np.ndarray = source.read(index)
            yield (block, index) if return_slice else block
        return
    from ecogsource.datasource.prefetch import read_ahead

    wanted, places = itertools.tee(indices)
    blocks = read_ahead(source.read, wanted, depth=prefetch, nbytes=block_bytes)
    with closing(blocks):  # type: ignore[type-var]
        yield from zip(blocks, places, strict=True) if return_slice else blocks


def _chunk_length(source: WalkingMixin, axis: int) -> int | None:
    chunks = source.as_buffer().chunks
    return None if chunks is None else chunks[axis]
