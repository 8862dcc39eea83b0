"""Masks along an axis, packed eight samples to a byte, and buffers seen through them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from ecogsource.buffers import ArrayBuffer, Buffer
from ecogsource.buffers.views import ViewBuffer
from ecogsource.errors import FormatError
from ecogsource.indexing import Selection, Selector, as_slice, simplify

__all__ = ["MaskedBuffer", "PackedMask"]

# Samples per counted block of a mask: a multiple of 8.
_BLOCK = 2**16
# Unpack at most this many blocks of a mask at a time.
_GROUP = 16
# Data on disk: a gap of the mask at least this long is not read over.
_GAP = 1024
# Otherwise they are read over, this many bytes (but at least so many samples) at a time ...
_SCRATCH_BYTES = 2**20
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
        counts = [self._flags(b, b + 1).sum() for b in range(self._n_blocks)]
        self._before = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)

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
        return np.unpackbits(bits, count=min(stop * _BLOCK, self.size) - first * _BLOCK)

    def upto(self, size: int) -> PackedMask:
        """Cut the mask off after some samples."""
        if size >= self.size:
            return self
        flags = (self._flags(b, b + 1) for b in range(-(-size // _BLOCK)))
        return PackedMask(part[: size - i * _BLOCK] for i, part in enumerate(flags))

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
        if first >= stop:
            return np.zeros(0, np.int64)
        low = int(np.searchsorted(self._before, first, side="right")) - 1
        high = int(np.searchsorted(self._before, stop, side="left"))
        found = []
        for block in range(low, high, _GROUP):
            until = min(block + _GROUP, high)
            if self._before[block] < self._before[until]:
                found.append(np.flatnonzero(self._flags(block, until)) + block * _BLOCK)
        positions = np.concatenate(found)
        skip = first - int(self._before[low])
        return positions[skip : skip + stop - first]


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

    def _over(self, buffer: Buffer) -> Buffer:
        return MaskedBuffer(buffer, self.axis, self.mask)

    def _temporary_bytes(self, selection: Selection) -> int:
        return _SCRATCH_BYTES

    def _read_into(self, selection: Selection, out: np.ndarray) -> None:
        selectors, axis = selection.selectors, self.axis
        wanted = selectors[axis]
        if isinstance(wanted, int):
            position = int(self.mask.positions(wanted, wanted + 1)[0])
            inside = (*selectors[:axis], position, *selectors[axis + 1 :])
            self.buffer.read_into(Selection.of(inside), out)
            return
        if isinstance(wanted, range):
            rising = wanted[::-1] if wanted.step < 0 else wanted
            positions = self.mask.positions(rising.start, rising[-1] + 1)[:: rising.step]
            lead = sum(not isinstance(s, int) for s in selectors[:axis])
            if wanted.step < 0:
                out = out[(*[slice(None)] * lead, slice(None, None, -1))]
        else:
            low = int(wanted.min())
            positions = self.mask.positions(low, int(wanted.max()) + 1)[wanted - low]
        _gather(self.buffer, axis, positions, Selection.of(selectors), out)


def _gather(
    buffer: Buffer, axis: int, positions: np.ndarray, selection: Selection, out: np.ndarray
) -> None:
    """Read scattered positions along one axis, in runs, or picked from a stretch read whole."""
    selectors = selection.selectors
    lead = sum(not isinstance(s, int) for s in selectors[:axis])

    def place(where: slice) -> np.ndarray:
        return out[(*[slice(None)] * lead, where)]

    def read(selector: range | np.ndarray, target: np.ndarray) -> None:
        inside = (*selectors[:axis], selector, *selectors[axis + 1 :])
        buffer.read_into(Selection.of(inside), target)

    array = _array_of(buffer, axis, selectors)
    if array is not None:
        _pick(array, positions, lead, out)
        return
    sample_bytes = max(1, selection.size // max(1, len(positions))) * buffer.dtype.itemsize
    for where in _stretches(positions, max(_LEAST_STRETCH, _SCRATCH_BYTES // sample_bytes)):
        part, target = positions[where], place(where)
        hull = range(int(part[0]), int(part[-1]) + 1)
        if len(hull) == len(part):
            read(hull, target)
        elif _SPARSE * len(part) < len(hull):
            read(simplify(part), target)
        else:
            shape = (*target.shape[:lead], len(hull), *target.shape[lead + 1 :])
            scratch = np.empty(shape, buffer.dtype)
            read(hull, scratch)
            _take(scratch, part - hull.start, lead, target)


def _array_of(buffer: Buffer, axis: int, selectors: tuple[Selector, ...]) -> np.ndarray | None:
    """Give what a selection takes of an array in memory, with the whole of one axis."""
    if not isinstance(buffer, ArrayBuffer) or buffer._scale is not None:
        return None
    others = (*selectors[:axis], range(buffer.shape[axis]), *selectors[axis + 1 :])
    if any(isinstance(s, np.ndarray) for s in others):
        return None
    return buffer.array[tuple(as_slice(s) if isinstance(s, range) else s for s in others)]


def _stretches(positions: np.ndarray, most: int) -> Iterator[slice]:
    """Cut rising positions where they are far apart, and where a stretch becomes too long."""
    for run in _runs(positions, _GAP):
        start = run.start
        while start < run.stop:
            first, last = int(positions[start]), int(positions[run.stop - 1])
            until = run.stop
            if last - first >= most and last - first != run.stop - 1 - start:
                until = start + int(np.searchsorted(positions[start : run.stop], first + most))
            yield slice(start, until)
            start = until


def _runs(positions: np.ndarray, gap: int) -> Iterator[slice]:
    """Cut rising positions where neighbours are more than a gap apart."""
    edges = (np.flatnonzero(np.diff(positions) > gap) + 1).tolist()
    return (slice(start, stop) for start, stop in pairwise([0, *edges, len(positions)]))


def _pick(array: np.ndarray, positions: np.ndarray, axis: int, out: np.ndarray) -> None:
    """Pick positions of an array in memory: run by run where runs are long."""
    n_runs = 1 + np.count_nonzero(np.diff(positions) != 1)
    if len(positions) < _LONG_RUN * n_runs:
        _take(array, positions, axis, out)
        return
    lead = (slice(None),) * axis
    for where in _runs(positions, 1):
        first = int(positions[where.start])
        inside = slice(first, first + where.stop - where.start)
        np.copyto(out[(*lead, where)], array[(*lead, inside)], casting="same_kind")


def _take(array: np.ndarray, positions: np.ndarray, axis: int, out: np.ndarray) -> None:
    """Pick positions along an axis; row by row, NumPy is twice as fast where rows are long."""
    if axis == array.ndim - 1 and array.ndim > 1 and len(array) * 64 < array.size:
        for row, target in zip(array, out, strict=True):
            _take(row, positions, axis - 1, target)
        return
    if out.dtype == array.dtype and out.flags.c_contiguous:
        array.take(positions, axis=axis, out=out, mode="clip")
    else:
        out[...] = array.take(positions, axis=axis)
