"""How stored numbers become a buffer of shape (channels, samples).

A layout is a small, hashable description that a format derives from headers. Its ``open`` makes
the buffer; until then no data file is touched. Every layout presents channels x samples, whatever
the order on disk, so that gains per channel are always a column.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ecogsource.indexing import simplify

if TYPE_CHECKING:
    from ecogsource.buffers import Buffer

__all__ = [
    "BitsLayout",
    "BoundLayout",
    "ChannelsLayout",
    "FlatLayout",
    "Hdf5Layout",
    "Layout",
    "RecordLayout",
]

Scale = Any


class Layout(Protocol):
    """What every layout offers."""

    @property
    def shape(self) -> tuple[int, int]:
        """Channels and samples."""

    @property
    def dtype(self) -> np.dtype:
        """Type of the stored numbers."""

    def open(self, units_scale: Scale = None) -> Buffer:
        """Make the buffer, of shape (channels, samples).

        Parameters
        ----------
        units_scale : optional
            As the buffers take it; arrays have the shape (channels, 1).
        """


@dataclass(frozen=True)
class FlatLayout:
    """Numbers end to end in a file.

    Parameters
    ----------
    filename : str
        The file.
    dtype : numpy.dtype
        Stored type with byte order.
    shape : (int, int)
        Channels and samples.
    order : {'F', 'C'}
        ``'F'``: sample by sample (multiplexed); ``'C'``: channel by channel (vectorized).
    offset : int
        Bytes before the first number.
    """

    filename: str
    dtype: np.dtype
    shape: tuple[int, int]
    order: str = "F"
    offset: int = 0

    def open(self, units_scale: Scale = None) -> Buffer:
        """Make the buffer."""
        from ecogsource.buffers import FlatBuffer

        return FlatBuffer(
            self.filename,
            self.dtype,
            self.shape,
            order=self.order,
            offset=self.offset,
            units_scale=units_scale,
        )


@dataclass(frozen=True)
class RecordLayout:
    """Channels interleaved by blocks: a header, then records of equal size.

    In each record a channel is a run of `per_record` numbers, `stride` bytes apart.

    Parameters
    ----------
    filename : str
        The file.
    dtype : numpy.dtype
        Type handed out with stored byte order; ``int32`` for 24-bit numbers.
    n_records, record_bytes : int
        How many records and how long they are.
    data_start : int
        Byte of the first record.
    channel_offsets : tuple of int
        Byte of each channel's first number inside a record.
    per_record : int
        Numbers of one channel in a record.
    stride : int
        Bytes between neighbouring numbers of a channel.
    packed24 : bool
        Numbers are 24-bit little-endian integers.
    """

    filename: str
    dtype: np.dtype
    n_records: int
    record_bytes: int
    data_start: int
    channel_offsets: tuple[int, ...]
    per_record: int
    stride: int
    packed24: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """Channels and samples."""
        return len(self.channel_offsets), self.n_records * self.per_record

    def open(self, units_scale: Scale = None) -> Buffer:
        """Make the buffer."""
        from .records import RecordBuffer

        return RecordBuffer(self, units_scale=units_scale)

    def records(self, start: int, stop: int) -> RecordLayout:
        """Return the same layout over records ``start`` to ``stop`` only."""
        return replace(
            self, n_records=stop - start, data_start=self.data_start + start * self.record_bytes
        )


@dataclass(frozen=True)
class Hdf5Layout:
    """A dataset of an HDF5 file.

    Parameters
    ----------
    filename, dataset : str
        The file and the full name of the dataset inside it.
    dtype : numpy.dtype
        Stored type.
    stored_shape : tuple of int
        Shape of the dataset: two axes, or one for a single channel.
    transposed : bool
        The dataset is samples x channels.
    """

    filename: str
    dataset: str
    dtype: np.dtype
    stored_shape: tuple[int, ...]
    transposed: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """Channels and samples."""
        if len(self.stored_shape) == 1:
            return 1, self.stored_shape[0]
        rows, columns = self.stored_shape
        return (columns, rows) if self.transposed else (rows, columns)

    def open(self, units_scale: Scale = None) -> Buffer:
        """Make the buffer."""
        from ecogsource.buffers import HDF5Buffer

        from .views import StackBuffer

        vector = len(self.stored_shape) == 1
        if units_scale is not None and (vector or self.transposed):
            axis = (-1,) if vector else (1, -1)
            units_scale = _each(units_scale, lambda part: np.reshape(part, axis))
        buffer = HDF5Buffer.from_path(self.filename, self.dataset, units_scale=units_scale)
        if vector:
            return StackBuffer([buffer])
        return buffer.T if self.transposed else buffer


@dataclass(frozen=True)
class BoundLayout:
    """Layouts end to end along one axis.

    Parameters
    ----------
    parts : tuple of Layout
        The parts in order.
    axis : {0, 1}
        0: each part is some channels; 1: each part is some samples.
    """

    parts: tuple[Layout, ...]
    axis: int

    @property
    def dtype(self) -> np.dtype:
        """Type of the stored numbers."""
        return self.parts[0].dtype

    @property
    def shape(self) -> tuple[int, int]:
        """Channels and samples."""
        channels, samples = self.parts[0].shape
        total = sum(part.shape[self.axis] for part in self.parts)
        return (total, samples) if self.axis == 0 else (channels, total)

    def open(self, units_scale: Scale = None) -> Buffer:
        """Make the buffer."""
        from ecogsource.buffers import BufferBinder

        if len(self.parts) == 1:
            return self.parts[0].open(units_scale)
        scales = [units_scale] * len(self.parts)
        if units_scale is not None and self.axis == 0:
            edges = np.cumsum([part.shape[0] for part in self.parts])[:-1]
            pieces = [_split(part, edges) for part in units_scale]
            scales = list(zip(*pieces, strict=True))
        buffers = [part.open(scale) for part, scale in zip(self.parts, scales, strict=True)]
        return BufferBinder(buffers, axis=self.axis)


@dataclass(frozen=True)
class ChannelsLayout:
    """Some channels of another layout.

    Parameters
    ----------
    base : Layout
        The layout with more channels.
    channels : tuple of int
        Those to take, in the order to take them.
    """

    base: Layout
    channels: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype:
        """Type of the stored numbers."""
        return self.base.dtype

    @property
    def shape(self) -> tuple[int, int]:
        """Channels and samples."""
        return len(self.channels), self.base.shape[1]

    def open(self, units_scale: Scale = None) -> Buffer:
        """Make the buffer."""
        from ecogsource.buffers.views import SelectedBuffer

        if units_scale is not None:
            units_scale = _each(units_scale, self._spread)
        positions = simplify(np.asarray(self.channels, dtype=np.int64))
        return SelectedBuffer(self.base.open(units_scale), 0, positions)

    def _spread(self, part: np.ndarray) -> np.ndarray:
        """Put values per chosen channel where those channels are in the base."""
        whole = np.ones((self.base.shape[0], 1))
        whole[list(self.channels)] = part
        return whole


def _each(units_scale: Scale, change: Callable[[np.ndarray], np.ndarray]) -> Scale:
    """Apply a change to what differs between channels."""
    return tuple(change(p) if isinstance(p, np.ndarray) else p for p in units_scale)


def _split(part: Any, edges: np.ndarray) -> list[Any]:
    return np.split(part, edges) if isinstance(part, np.ndarray) else [part] * (len(edges) + 1)


@dataclass(frozen=True)
class BitsLayout:
    """Single bits of a stream of words, each bit a channel of zeros and ones.

    Parameters
    ----------
    words : Layout
        One channel of unsigned words.
    bits : tuple of int
        Position of each channel's bit, 0 the lowest.
    """

    words: Layout
    bits: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype:
        """Type of the stored words, kept for the zeros and ones."""
        return self.words.dtype

    @property
    def shape(self) -> tuple[int, int]:
        """Channels and samples."""
        return len(self.bits), self.words.shape[1]

    def open(self, units_scale: Scale = None) -> Buffer:
        """Make the buffer; bits have no scale."""
        from .views import BitsBuffer

        return BitsBuffer(self.words.open(), self.bits)


@dataclass(frozen=True)
class TimeSliceLayout:
    """A range of samples of another layout.

    Parameters
    ----------
    base : Layout
        The layout with more samples.
    start, stop : int
        The samples to take.
    """

    base: Layout
    start: int
    stop: int

    @property
    def dtype(self) -> np.dtype:
        """Type of the stored numbers."""
        return self.base.dtype

    @property
    def shape(self) -> tuple[int, int]:
        """Channels and samples."""
        return self.base.shape[0], self.stop - self.start

    def open(self, units_scale: Scale = None) -> Buffer:
        """Make the buffer."""
        from ecogsource.buffers.views import SelectedBuffer

        return SelectedBuffer(self.base.open(units_scale), 1, range(self.start, self.stop))


@dataclass(frozen=True)
class InterleavedLayout:
    """A vector in an HDF5 file that holds sample after sample of all channels.

    Parameters
    ----------
    vector : Hdf5Layout
        The vector, one-dimensional.
    n_channels : int
        Numbers per sample.
    """

    vector: Hdf5Layout
    n_channels: int

    @property
    def dtype(self) -> np.dtype:
        """Type of the stored numbers."""
        return self.vector.dtype

    @property
    def shape(self) -> tuple[int, int]:
        """Channels and samples."""
        return self.n_channels, self.vector.stored_shape[0] // self.n_channels

    def open(self, units_scale: Scale = None) -> Buffer:
        """Make the buffer."""
        from ecogsource.buffers import HDF5Buffer

        from .views import InterleavedBuffer

        buffer = HDF5Buffer.from_path(self.vector.filename, self.vector.dataset)
        return InterleavedBuffer(buffer, self.n_channels, units_scale)


@dataclass(frozen=True)
class CompoundLayout:
    """A table in an HDF5 file whose columns are channels.

    Parameters
    ----------
    filename, dataset : str
        The file and the full name of the table.
    dtype : numpy.dtype
        Type of all columns.
    shape : (int, int)
        Columns and rows.
    """

    filename: str
    dataset: str
    dtype: np.dtype
    shape: tuple[int, int]

    def open(self, units_scale: Scale = None) -> Buffer:
        """Make the buffer."""
        from .views import CompoundBuffer

        return CompoundBuffer(self.filename, self.dataset, self.dtype, self.shape, units_scale)


@dataclass(frozen=True)
class TdmsLayout:
    """Channels of a TDMS file, read by npTDMS.

    Parameters
    ----------
    filename, group : str
        The file and the group in it.
    channels : tuple of str
        Names of the channels.
    dtype : numpy.dtype
        Type of the scaled numbers.
    n_samples : int
        Samples of each channel.
    """

    filename: str
    group: str
    channels: tuple[str, ...]
    dtype: np.dtype
    n_samples: int

    @property
    def shape(self) -> tuple[int, int]:
        """Channels and samples."""
        return len(self.channels), self.n_samples

    def open(self, units_scale: Scale = None) -> Buffer:
        """Make the buffer."""
        from .tdms import TdmsBuffer

        return TdmsBuffer(self, units_scale=units_scale)


@dataclass(frozen=True)
class NeoLayout:
    """A signal stream of a file that ``neo.rawio`` reads.

    Parameters
    ----------
    filename, reader : str
        The file, and the name of the class of ``neo.rawio``.
    block, segment, stream : int
        Indices in the sense of neo.
    dtype : numpy.dtype
        Stored type.
    shape : (int, int)
        Channels and samples.
    """

    filename: str
    reader: str
    block: int
    segment: int
    stream: int
    dtype: np.dtype
    shape: tuple[int, int]

    def open(self, units_scale: Scale = None) -> Buffer:
        """Make the buffer."""
        from .foreign import NeoBuffer

        return NeoBuffer(self, units_scale=units_scale)
