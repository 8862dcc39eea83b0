"""Masks along an axis, packed eight samples to a byte, and buffers seen through them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, TypeGuard, cast

import numpy as np

from ecogsource.buffers import ArrayBuffer, Buffer
from ecogsource.buffers.views import ViewBuffer
from ecogsource.datasource.blockmemory import BlockMemory
from ecogsource.errors import FormatError
from ecogsource.indexing import Selection, Selector, as_slice, simplify

__all__ = ["MaskedBuffer", "PackedMask", "masked"]

# Samples per counted block of a mask: a multiple of 8.
_BLOCK = 2**11
# Unpack at most this many blocks of a mask at a time.
_GROUP = 16
# How many bits of a byte are set.
_ONES = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1, dtype=np.uint8)
# Data on disk: a gap of the mask at least this long is not read over.
_GAP = 1024
# Otherwise they are read over, this many bytes (but at least so many samples) at a time ...
_SCRATCH_BYTES = 2**18
_LEAST_STRETCH = 4096
# ... unless the mask keeps fewer than one sample in this many.
_SPARSE = 8
# Data in memory: longer runs are copied run by run, shorter ones are picked sample by sample.
_LONG_RUN = 128


class PackedMask:
    """A boolean per sample, an eighth of a byte each.

    Parameters
    ----------
    parts : iterable of array_like
        The mask in consecutive parts, whose lengths are multiples of 8 but for the last. Numbers
        are taken if they are all 0 or 1.

    Attributes
    ----------
    size : int
        Number of samples.
    count : int
        Number of samples that are kept.

    Raises
    ------
    FormatError
        If a part is not one-dimensional or not boolean.
    """

    def __init__(self, parts: Iterable[Any]) -> None:
        packed, self.size = [], 0
        for part in parts:
            values = _booleans(part)
            packed.append(np.packbits(values))
            self.size += len(values)
        self._bits = np.concatenate(packed) if packed else np.zeros(0, np.uint8)
        # How many samples are kept before each block.
        ones = [np.zeros(1, np.int64)]
        for start in range(0, len(self._bits), _SCRATCH_BYTES):
            ones.append(_ones_of_blocks(self._bits[start : start + _SCRATCH_BYTES]))
        self._before = np.cumsum(np.concatenate(ones))

    @property
    def count(self) -> int:
        """Number of samples that are kept."""
        return int(self._before[-1])

    @property
    def _n_blocks(self) -> int:
        return -(-self.size // _BLOCK)

    def _flags(self, first: int, stop: int) -> np.ndarray:
        """Unpack some blocks."""
        bits = self._bits[first * _BLOCK // 8 : stop * _BLOCK // 8]
        count = min(stop * _BLOCK, self.size) - first * _BLOCK
        # NumPy finds what is not zero ten times faster among booleans.
        return np.unpackbits(bits, count=count).view(bool)

    def upto(self, size: int) -> PackedMask:
        """Cut the mask off after some samples."""
        if size >= self.size:
            return self
        blocks = range(-(-size // _BLOCK))
        return PackedMask(self._flags(b, b + 1)[: size - b * _BLOCK] for b in blocks)

    def rank(self, position: int) -> int:
        """Count what is kept before a sample."""
        block = min(position, self.size) // _BLOCK
        if block >= self._n_blocks:
            return self.count
        rest = min(position, self.size) - block * _BLOCK
        return int(self._before[block]) + int(self._flags(block, block + 1)[:rest].sum())

    def inside(self, start: int, stop: int) -> np.ndarray:
        """Give the samples kept between two positions, counted from the first of these."""
        stop = min(stop, self.size)
        if start >= stop:
            return np.zeros(0, np.int64)
        first = start // _BLOCK
        flags = self._flags(first, -(-stop // _BLOCK))
        return np.flatnonzero(flags[start - first * _BLOCK : stop - first * _BLOCK])

    def positions(self, first: int, stop: int) -> np.ndarray:
        """Give the positions of kept samples by their number.

        Parameters
        ----------
        first, stop : int
            Number of the first, and the number after the last, among the samples kept.

        Returns
        -------
        numpy.ndarray
            Rising positions, int64.
        """
        parts = [np.asarray(part, np.int64) for part in self.pieces(first, stop)]
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)

    def pieces(self, first: int, stop: int) -> Iterator[range | np.ndarray]:
        """Give the positions of kept samples by their number, piece by piece.

        Parameters
        ----------
        first, stop : int
            Number of the first, and the number after the last, among the samples kept.

        Yields
        ------
        range or numpy.ndarray
            Long runs as ranges, other positions as rising arrays, in order.
        """
        if first >= stop:
            return
        low = int(self._before.searchsorted(first, side="right")) - 1
        high = int(self._before.searchsorted(stop, side="left"))
        for block in range(low, high, _GROUP):
            until = min(block + _GROUP, high)
            before, after = int(self._before[block]), int(self._before[until])
            if before == after:
                continue
            # Which of the samples kept in this group are wanted.
            wanted = slice(max(0, first - before), min(stop, after) - before)
            begin = block * _BLOCK
            if after - before == min(until * _BLOCK, self.size) - begin:
                yield range(begin + wanted.start, begin + wanted.stop)
                continue
            flags = self._flags(block, until)
            changes = flags[1:] != flags[:-1]
            if np.count_nonzero(changes) * _LONG_RUN < 2 * (after - before):
                edges = np.flatnonzero(changes) + 1
                yield from _runs_between(edges, flags, begin, wanted)
            else:
                yield np.flatnonzero(flags)[wanted] + begin


def _ones_of_blocks(bits: np.ndarray) -> np.ndarray:
    """Count the bits that are set in each block of packed ones; the last may be shorter."""
    whole = len(bits) // 8 * 8
    if whole < len(bits):
        bits = np.concatenate([bits, np.zeros(whole + 8 - len(bits), np.uint8)])
    if hasattr(np, "bitwise_count"):  # since NumPy 2.0
        counts = np.bitwise_count(bits.view(np.uint64))
    else:
        counts = _ONES.take(bits)
    edges = np.arange(0, len(counts), _BLOCK * len(counts) // (8 * len(bits)))
    return np.add.reduceat(counts, edges, dtype=np.uint16).astype(np.int64)


def _runs_between(
    edges: np.ndarray, flags: np.ndarray, begin: int, wanted: slice
) -> Iterator[range]:
    """Give runs of kept samples, cut to those that are wanted."""
    bounds = [0] * bool(flags[0]) + edges.tolist() + [len(flags)] * bool(flags[-1])
    done = 0
    for start, stop in zip(bounds[::2], bounds[1::2], strict=True):
        low = max(wanted.start - done, 0)
        high = min(wanted.stop - done, stop - start)
        if low < high:
            yield range(begin + start + low, begin + start + high)
        done += stop - start


def _booleans(part: Any) -> np.ndarray:
    values = np.asarray(part)
    if values.ndim != 1:
        raise FormatError(f"a mask has one axis, that of the samples; got shape {values.shape}")
    if values.dtype != bool:
        if values.dtype.kind not in "iuf" or not np.isin(values, (0, 1)).all():
            raise FormatError(
                f"a mask is boolean: True for samples to keep; got values of type {values.dtype}"
            )
        values = values.astype(bool)
    return values


def masked(buffer: Buffer, axis: int, mask: PackedMask) -> MaskedBuffer:
    """See a buffer through a mask, in the way that suits what it is made of; see `MaskedBuffer`."""
    return (MaskedArray if _is_plain_array(buffer) else MaskedBuffer)(buffer, axis, mask)


class MaskedBuffer(ViewBuffer):
    """The samples of a buffer that a mask keeps.

    Parameters
    ----------
    buffer : Buffer
        What it looks at.
    axis : int
        Axis of the mask, counted from the start.
    mask : PackedMask
        One boolean per sample, not longer than the axis.
    """

    def __init__(self, buffer: Buffer, axis: int, mask: PackedMask) -> None:
        shape = (*buffer.shape[:axis], mask.count, *buffer.shape[axis + 1 :])
        super().__init__(buffer, shape, None)
        self.writeable = False
        self.axis, self.mask = axis, mask
        # What is stored is smaller than what becomes of it: it is scaled only where it is kept.
        self._stored = buffer if buffer._scale is None else buffer.raw

    def _over(self, buffer: Buffer) -> Buffer:
        return masked(buffer, self.axis, self.mask)

    def _temporary_bytes(self, selection: Selection) -> int:
        # What is read over, what is kept of it, and the positions.
        return 4 * _SCRATCH_BYTES

    def _read_into(self, selection: Selection, out: np.ndarray) -> None:
        selectors, axis = selection.selectors, self.axis
        wanted = selectors[axis]
        if isinstance(wanted, int):
            position = int(self.mask.positions(wanted, wanted + 1)[0])
            inside = (*selectors[:axis], position, *selectors[axis + 1 :])
            self.buffer.read_into(Selection.of(inside), out)
            return
        lead = sum(not isinstance(s, int) for s in selectors[:axis])
        pieces: Iterable[range | np.ndarray]
        if isinstance(wanted, range) and wanted.step in (1, -1):
            rising = wanted if wanted.step == 1 else wanted[::-1]
            pieces = self.mask.pieces(rising.start, rising.stop)
            if wanted.step == -1:
                out = out[(*[slice(None)] * lead, slice(None, None, -1))]
        else:
            numbers = np.asarray(wanted)
            low = int(numbers.min())
            positions = self.mask.positions(low, int(numbers.max()) + 1)[numbers - low]
            inside = (*selectors[:axis], simplify(positions), *selectors[axis + 1 :])
            self.buffer.read_into(Selection.of(inside), out)
            return
        array = _array_of(self.buffer, axis, selectors)
        before, done = (slice(None),) * lead, 0
        for piece in pieces:
            target = out[(*before, slice(done, done + len(piece)))]
            if array is None:
                self._gather(piece, selectors, lead, target)
            else:
                _pick(array, piece, lead, target)
            done += len(piece)

    def _gather(
        self,
        piece: range | np.ndarray,
        selectors: tuple[Selector, ...],
        lead: int,
        out: np.ndarray,
    ) -> None:
        """Read positions along the axis of the mask."""
        axis, buffer = self.axis, self.buffer

        def inside(selector: range | np.ndarray) -> Selection:
            return Selection.of((*selectors[:axis], selector, *selectors[axis + 1 :]))

        if isinstance(piece, range):
            buffer.read_into(inside(piece), out)
            return
        width = max(1, out.size // len(piece)) * self._stored.dtype.itemsize
        length = max(_LEAST_STRETCH, _SCRATCH_BYTES // width)
        for where in _stretches(piece, length):
            part, target = piece[where], out[(*[slice(None)] * lead, where)]
            if _SPARSE * len(part) < int(part[-1]) + 1 - int(part[0]):
                buffer.read_into(inside(simplify(part)), target)
            else:
                self._read_over(part, inside, lead, target)

    def _read_over(
        self,
        part: np.ndarray,
        inside: Callable[[range | np.ndarray], Selection],
        lead: int,
        out: np.ndarray,
    ) -> None:
        """Read the stretch that holds some positions, and pick these."""
        stored, scale = self._stored, self.buffer._scale
        selection = inside(range(int(part[0]), int(part[-1]) + 1))
        stretch = np.empty(selection.shape, stored.dtype)
        stored.read_into(selection, stretch)
        kept = out if scale is None else np.empty(out.shape, stored.dtype)
        _take(stretch, part - part[0], lead, kept)
        if scale is not None:
            scale.select(inside(part).selectors).convert(kept, out)


class MaskedArray(MaskedBuffer):
    """What a mask keeps of an array in memory.

    Looking for what is kept of one small window takes longer than to copy it, so a walk looks for
    it in all windows at once.
    """

    def walk(self, windows: Sequence[slice], prefetch: int | None) -> Iterator[np.ndarray]:
        """Give one array per window; see :func:`~ecogsource.producers.walking.walk`."""
        from ecogsource.producers.walking import read_windows

        if prefetch:
            yield from read_windows(self, self.axis, windows, prefetch)
            return
        array = cast("ArrayBuffer", self.buffer).array
        axis, memory = self.axis, BlockMemory()
        before, after = self.shape[:axis], self.shape[axis + 1 :]
        inside: Any = (slice(None),) * axis
        pieces: Iterator[range | np.ndarray] = iter(())
        piece: range | np.ndarray = range(0)
        position = -1
        for window in windows:
            if window.start != position:
                pieces, piece = self.mask.pieces(window.start, self.mask.count), range(0)
            length, done = window.stop - window.start, 0
            chunk = memory.empty((*before, length, *after), self.dtype)
            while done < length:
                if len(piece) == 0:
                    piece = next(pieces)
                part = piece[: length - done]
                _pick(array, part, axis, chunk[(*inside, slice(done, done + len(part)))])
                piece, done = piece[len(part) :], done + len(part)
            position = window.stop
            yield chunk
            del chunk


def _pick(array: np.ndarray, piece: range | np.ndarray, axis: int, out: np.ndarray) -> None:
    """Copy neighbouring positions, or positions one by one."""
    if isinstance(piece, range):
        out[...] = array[(*(slice(None),) * axis, slice(piece.start, piece.stop))]
    else:
        _take(array, piece, axis, out)


def _is_plain_array(buffer: Buffer) -> TypeGuard[ArrayBuffer]:
    """Tell whether a buffer is an array in memory, as it is."""
    return isinstance(buffer, ArrayBuffer) and buffer._scale is None


def _array_of(buffer: Buffer, axis: int, selectors: tuple[Selector, ...]) -> np.ndarray | None:
    """Give what a selection takes of an array in memory, with the whole of one axis."""
    if not _is_plain_array(buffer):
        return None
    others = (*selectors[:axis], range(buffer.shape[axis]), *selectors[axis + 1 :])
    if any(isinstance(s, np.ndarray) for s in others):
        return None
    return buffer.array[tuple(as_slice(s) if isinstance(s, range) else s for s in others)]


def _stretches(positions: np.ndarray, most: int) -> Iterator[slice]:
    """Cut rising positions where they are far apart, and where a stretch becomes too long."""
    edges = []
    # A look at every 64th tells of most masks that they have no gaps.
    coarse = positions[::64]
    widest = (coarse[1:] - coarse[:-1]).max(initial=positions[-1] - coarse[-1])
    if widest > _GAP:
        edges = (np.flatnonzero(np.diff(positions) > _GAP) + 1).tolist()
    for start, stop in pairwise([0, *edges, len(positions)]):
        while start < stop:
            first, until = int(positions[start]), stop
            if int(positions[stop - 1]) - first >= most:
                until = start + int(np.searchsorted(positions[start:stop], first + most))
            yield slice(start, until)
            start = until


def _take(array: np.ndarray, positions: np.ndarray, axis: int, out: np.ndarray) -> None:
    """Pick positions along an axis; row by row, NumPy is twice as fast where rows are long."""
    if axis == array.ndim - 1 and array.ndim > 1 and len(array) * 64 < array.size:
        for row, target in zip(array, out, strict=True):
            _take(row, positions, axis - 1, target)
        return
    if out.dtype == array.dtype and out.flags.c_contiguous:
        array.take(positions, axis=axis, out=out, mode="wrap")
    else:
        out[...] = array.take(positions, axis=axis)
