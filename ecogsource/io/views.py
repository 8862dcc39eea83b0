"""Buffers that show other buffers as channels x samples."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from ecogsource.buffers import Buffer
from ecogsource.buffers.storage.codecs import require_library
from ecogsource.buffers.storage.h5file import FILES
from ecogsource.buffers.storage.layout import filters_of
from ecogsource.errors import FormatError, GapError
from ecogsource.indexing import (
    Selection,
    as_slice,
    split_selector,
)

from .info import damage_is_typed

__all__ = [
    "BitsBuffer",
    "CompoundBuffer",
    "FramesBuffer",
    "GapFillBuffer",
    "InterleavedBuffer",
    "StackBuffer",
]

TILE = 1 << 18


class _View(Buffer):
    """A buffer over another one; it scales nothing itself."""

    def __init__(self, buffer: Buffer, shape: tuple[int, ...]) -> None:
        super().__init__(shape, buffer.map_dtype, filename=buffer.filename)
        self.buffer = buffer
        self.dtype = buffer.dtype
        self.units_scale = buffer.units_scale

    def close(self) -> None:
        """Let go of the files underneath."""
        self.buffer.close()


class StackBuffer(Buffer):
    """One-dimensional buffers of equal length as the rows of one buffer.

    Parameters
    ----------
    rows : sequence of Buffer
        Each of shape (samples,).

    Raises
    ------
    FormatError
        If they differ in length or type.
    """

    def __init__(self, rows: Sequence[Buffer]) -> None:
        kinds = {(row.shape, row.dtype) for row in rows}
        if len(kinds) != 1:
            raise FormatError(f"channels differ in length or type: {sorted(map(str, kinds))}")
        first = rows[0]
        super().__init__((len(rows), *first.shape), first.map_dtype, filename=first.filename)
        self.rows = tuple(rows)
        self.dtype = first.dtype
        self.units_scale = first.units_scale

    def _read_into(self, selection: Selection, out: np.ndarray) -> None:
        channels, times = selection.selectors
        inner = Selection.of((times,))
        if isinstance(channels, int):
            self.rows[channels].read_into(inner, out)
            return
        for position, channel in enumerate(np.asarray(channels).tolist()):
            self.rows[channel].read_into(inner, out[position, ...])

    def _temporary_bytes(self, selection: Selection) -> int:
        return self.rows[0]._temporary_bytes(Selection.of((selection.selectors[1],)))

    @property
    def raw(self) -> Buffer:
        """The same rows as stored."""
        if all(row.raw is row for row in self.rows):
            return self
        return StackBuffer([row.raw for row in self.rows])

    def close(self) -> None:
        """Let go of the files of all rows."""
        for row in self.rows:
            row.close()


class BitsBuffer(_View):
    """Single bits of words, as channels of zeros and ones.

    Parameters
    ----------
    words : Buffer
        Unsigned integers, shape (1, samples).
    bits : sequence of int
        Position of each channel's bit.
    """

    def __init__(self, words: Buffer, bits: Sequence[int]) -> None:
        super().__init__(words, (len(bits), words.shape[1]))
        self.bits = np.asarray(bits, dtype=np.int64)

    def _read_into(self, selection: Selection, out: np.ndarray) -> None:
        channels, times = selection.selectors
        if isinstance(times, int):
            out, times = out[..., None], range(times, times + 1)
        bits = self.bits[channels if isinstance(channels, int) else np.asarray(channels)]
        for start in range(0, len(times), TILE):
            part = times[start : start + TILE]
            inner = Selection.of((0, part))
            words = np.empty(inner.shape, self.buffer.dtype)
            self.buffer.read_into(inner, words)
            shifts = np.asarray(bits, words.dtype)[..., None]
            values = (words >> shifts) & words.dtype.type(1)
            out[..., start : start + len(part)] = values.reshape(*bits.shape, -1)

    def _temporary_bytes(self, selection: Selection) -> int:
        return (2 + len(self.bits)) * TILE * self.dtype.itemsize


class FramesBuffer(Buffer):
    """Channels x samples of something that reads stretches of samples x channels.

    Derived classes give `_frames`. Stretches are read in tiles, then transposed, thinned and
    scaled.
    """

    def _frames(self, start: int, stop: int) -> np.ndarray:
        """Stored numbers of a stretch, shape (stop - start, channels)."""
        raise TypeError(f"{type(self).__name__} reads no stretches")

    @property
    def _tile(self) -> int:
        return max(1, TILE // self.shape[0])

    def _read_into(self, selection: Selection, out: np.ndarray) -> None:
        channels, times = selection.selectors
        if isinstance(times, int):
            out, times = out[..., None], range(times, times + 1)
        key = np.asarray(channels) if isinstance(channels, np.ndarray) else _key(channels)
        for start in range(0, len(times), self._tile):
            part = times[start : start + self._tile]
            values = self._samples(np.asarray(part, dtype=np.int64))[:, key].T
            where = out[..., start : start + len(part)]
            if self._scale is None:
                np.copyto(where, values, casting="same_kind")
            elif isinstance(channels, int):
                scale = self._scale.select((range(channels, channels + 1), part))
                scale.convert(values[None], where[None])
            else:
                self._scale.select((channels, part)).convert(values, where)

    def _samples(self, times: np.ndarray) -> np.ndarray:
        """Samples x channels at any times, by as few stretches as fit the budget."""
        steps = np.diff(times)
        if (steps < 0).any():
            order = np.argsort(times, kind="stable")
            values = np.empty((len(times), self.shape[0]), self.map_dtype)
            values[order] = self._samples(times[order])
            return values
        first, stop = int(times[0]), int(times[-1]) + 1
        if (steps == 1).all():
            return self._frames(first, stop)
        if stop - first <= 4 * self._tile:
            return self._frames(first, stop)[times - first]
        middle = len(times) // 2
        return np.concatenate([self._samples(times[:middle]), self._samples(times[middle:])])

    def _temporary_bytes(self, selection: Selection) -> int:
        return 6 * TILE * self.map_dtype.itemsize


def _key(channels: int | range) -> int | slice:
    return channels if isinstance(channels, int) else as_slice(channels)


class InterleavedBuffer(FramesBuffer):
    """Channels x samples of a one-dimensional buffer that stores sample after sample.

    Parameters
    ----------
    buffer : Buffer
        Shape (samples * n_channels,), without a scale.
    n_channels : int
        Numbers per sample.
    units_scale : float or (offset, factor), optional
        ``value = (stored + offset) * factor``; arrays as (channels, 1).
    """

    def __init__(self, buffer: Buffer, n_channels: int, units_scale: Any = None) -> None:
        super().__init__(
            (n_channels, buffer.shape[0] // n_channels),
            buffer.map_dtype,
            units_scale=units_scale,
            filename=buffer.filename,
        )
        self.buffer = buffer

    def _frames(self, start: int, stop: int) -> np.ndarray:
        n = self.shape[0]
        return self.buffer.read(slice(start * n, stop * n)).reshape(-1, n)

    def close(self) -> None:
        """Let go of the file."""
        self.buffer.close()


class CompoundBuffer(FramesBuffer):
    """Channels x samples of an HDF5 table whose columns are channels of one type.

    Parameters
    ----------
    filename, dataset : str
        The file and the full name of the table in it.
    dtype : numpy.dtype
        Type of all columns.
    shape : (int, int)
        Columns and rows of the table.
    units_scale : float or (offset, factor), optional
        ``value = (stored + offset) * factor``; arrays as (channels, 1).
    """

    def __init__(
        self,
        filename: str,
        dataset: str,
        dtype: np.dtype,
        shape: tuple[int, int],
        units_scale: Any = None,
    ) -> None:
        super().__init__(shape, dtype, units_scale=units_scale, filename=filename)
        self.dataset = dataset
        self._path = filename

    def _frames(self, start: int, stop: int) -> np.ndarray:
        with FILES.lock:
            item = FILES.reader(self._path)[self.dataset]
            require_library(filters_of(item), self._path)
            with damage_is_typed(self._path):
                rows = item[start:stop]
        return rows.view(self.map_dtype).reshape(-1, self.shape[0])

    def close(self) -> None:
        """Let go of the file; it is opened again when it is read again."""
        FILES.forget(self._path)


class GapFillBuffer(Buffer):
    """Stretches of channels x samples on one continuous time line, with a value in the gaps.

    Parameters
    ----------
    parts : sequence of Buffer
        Channels x samples, in the order of time.
    starts : sequence of int
        Position of each part's first sample on the time line; the first is 0.
    fill_value : float
        What is read where nothing was recorded. NaN makes integers floating point.

    Raises
    ------
    GapError
        If parts overlap, so that no honest time line exists.
    """

    def __init__(
        self, parts: Sequence[Buffer], starts: Sequence[int], fill_value: float = np.nan
    ) -> None:
        self.parts = tuple(parts)
        self.starts = tuple(int(start) for start in starts)
        self.fill_value = fill_value
        edges: list[int] = []
        for start, part in zip(self.starts, self.parts, strict=True):
            if edges and start < edges[-1]:
                raise GapError(
                    f"a segment starts at sample {start}, before the previous one ends at "
                    f"{edges[-1]}: overlapping segments have no common time line. "
                    "Use gaps='segment'"
                )
            edges += [start, start + part.shape[1]]
        first = self.parts[0]
        super().__init__((first.shape[0], edges[-1]), first.map_dtype, filename=first.filename)
        self.dtype = np.result_type(first.dtype, _smallest(fill_value, first.dtype))
        self.units_scale = first.units_scale
        # Odd pieces are gaps: [part 0][gap][part 1][gap]...
        self._edges = edges

    def _read_into(self, selection: Selection, out: np.ndarray) -> None:
        channels, times = selection.selectors
        for piece in split_selector(times, self._edges):
            target = out if piece.where is None else out[..., piece.where]
            if piece.part % 2:
                target[...] = self.fill_value
            else:
                inside = Selection.of((channels, piece.selector))
                self.parts[piece.part // 2].read_into(inside, target)
            if isinstance(piece.where, np.ndarray):
                out[..., piece.where] = target

    def _temporary_bytes(self, selection: Selection) -> int:
        lists = isinstance(selection.selectors[1], np.ndarray)
        copy = selection.size * self.dtype.itemsize if lists else 0
        return copy + self.parts[0]._temporary_bytes(selection)

    @cached_property
    def recorded(self) -> np.ndarray:
        """Where the time line holds data: bool, shape (samples,)."""
        mask = np.zeros(self.shape[1], dtype=bool)
        for start, part in zip(self.starts, self.parts, strict=True):
            mask[start : start + part.shape[1]] = True
        return mask

    @property
    def raw(self) -> Buffer:
        """The same time line of stored numbers, which integers fill with `fill_value` too."""
        if all(part.raw is part for part in self.parts):
            return self
        return GapFillBuffer([part.raw for part in self.parts], self.starts, self.fill_value)

    def close(self) -> None:
        """Let go of the files of all parts."""
        for part in self.parts:
            part.close()


def _smallest(fill_value: float, dtype: np.dtype) -> np.dtype:
    """Type that a fill value asks for: that of the data if it can hold the value exactly."""
    if dtype.kind == "f":
        return dtype
    if np.isfinite(fill_value) and float(fill_value).is_integer():
        limits = np.iinfo(dtype)
        if limits.min <= fill_value <= limits.max:
            return dtype
    return np.dtype(np.float32)
