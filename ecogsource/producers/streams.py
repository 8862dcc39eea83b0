"""Streams: data that come in order and cannot be read anywhere, such as those of a generator."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ecogsource.errors import FormatError, JoinError
from ecogsource.indexing import plan_blocks
from ecogsource.producers.walking import Origin, shifted, walk
from ecogsource.producers.windows import along, cut

if TYPE_CHECKING:
    from ecogsource.filters import BlockStream
    from ecogsource.producers.masks import PackedMask

__all__ = [
    "FilteredStream",
    "GeneratorStream",
    "JoinedStream",
    "MaskedStream",
    "Stream",
    "StretchStream",
]


class Stream:
    """An array that is made in order, from its start, every time it is gone through.

    Parameters
    ----------
    shape : tuple of int
        Shape of the whole.
    axis : int
        Axis along which it is made, counted from the start.
    dtype : numpy.dtype
        Type of what is made.

    Attributes
    ----------
    shape, axis, dtype
        As given.
    """

    def __init__(self, shape: tuple[int, ...], axis: int, dtype: Any) -> None:
        self.shape, self.axis = tuple(shape), axis
        if dtype is not None:
            self.dtype = np.dtype(dtype)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def fresh(self) -> bool:
        """Whether the arrays of :meth:`pieces` belong to nobody else."""
        return True

    @property
    def size(self) -> int:
        """Length of the axis along which the stream runs."""
        return self.shape[self.axis]

    def pieces(self, prefetch: int | None) -> Iterator[np.ndarray]:
        """Give consecutive arrays of any lengths that make up the whole."""
        raise TypeError(f"{type(self).__name__} gives nothing")

    def walk(self, windows: Sequence[slice], prefetch: int | None) -> Iterator[np.ndarray]:
        """Give one array per window; see :func:`ecogsource.producers.walking.walk`."""
        pieces = self.pieces(prefetch)
        return cut(pieces, windows, self.axis, size=self.size, fresh=self.fresh)

    def between(self, positions: range) -> Stream:
        """Take a stretch of the stream.

        Raises
        ------
        ValueError
            If the positions run backwards.
        """
        if positions.step < 0:
            raise ValueError(
                "these data come in order and cannot be run backwards; write them to a file "
                "with to_file(path) and produce from the file"
            )
        return StretchStream(self, positions.start, positions.stop)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} shape={self.shape}>"


class GeneratorStream(Stream):
    """What a function yields.

    Parameters
    ----------
    function : callable
        Called without arguments for every pass; returns an iterable of arrays.
    shape : tuple of int
        Shape of all its arrays, end to end.
    axis : int
        Axis along which they lie end to end, counted from the start.
    """

    def __init__(
        self, function: Callable[..., Iterable[Any]], shape: tuple[int, ...], axis: int
    ) -> None:
        super().__init__(shape, axis, None)
        self.function = function
        self._dtype: np.dtype | None = None

    @property
    def dtype(self) -> np.dtype:
        """Type of the first array that is yielded; finding out may run the function to it."""
        if self._dtype is None:
            for piece in self.pieces(None):
                return piece.dtype
        return np.dtype(float) if self._dtype is None else self._dtype

    @property
    def fresh(self) -> bool:
        """False: a generator may fill the same array again and again."""
        return False

    def pieces(self, prefetch: int | None) -> Iterator[np.ndarray]:
        """Give what the function yields, checked."""
        position = 0
        made = self.function()
        if not isinstance(made, Iterable):
            raise TypeError(
                f"{self._name} must yield arrays or return an iterable of arrays; "
                f"it returned {type(made).__name__}"
            )
        for number, item in enumerate(made):
            piece = self._checked(item, number)
            position += piece.shape[self.axis]
            if position > self.size:
                raise FormatError(
                    f"{self._name} yields more than its shape {self.shape} says: {position} "
                    f"samples along axis {self.axis} with array {number}, {self.size} expected"
                )
            yield piece
        if position < self.size:
            raise FormatError(
                f"{self._name} yields less than its shape {self.shape} says: {position} "
                f"samples along axis {self.axis}, {self.size} expected"
            )

    @property
    def _name(self) -> str:
        inner = getattr(self.function, "func", self.function)
        return f"the generating function {getattr(inner, '__name__', inner)!s}()"

    def _checked(self, item: Any, number: int) -> np.ndarray:
        piece = np.asarray(item)
        axis, shape = self.axis, self.shape
        off_axis = shape[:axis] + shape[axis + 1 :]
        if piece.ndim != len(shape) or piece.shape[:axis] + piece.shape[axis + 1 :] != off_axis:
            expected = (*shape[:axis], "any", *shape[axis + 1 :])
            raise JoinError(
                f"{self._name} yields array {number} of shape {piece.shape}; with shape "
                f"{shape} and axis {axis} each must be ({', '.join(map(str, expected))})"
            )
        if self._dtype is None:
            self._dtype = piece.dtype
        elif piece.dtype != self._dtype:
            if not np.can_cast(piece.dtype, self._dtype, "same_kind"):
                raise JoinError(
                    f"{self._name} yields array {number} of type {piece.dtype}, which does not "
                    f"fit the type of the first, {self._dtype}"
                )
            piece = piece.astype(self._dtype)
        return piece


class StretchStream(Stream):
    """A stretch of another stream.

    Parameters
    ----------
    stream : Stream
        The other stream.
    start, stop : int
        First sample, and the one after the last.
    """

    def __init__(self, stream: Stream, start: int, stop: int) -> None:
        axis = stream.axis
        shape = (*stream.shape[:axis], stop - start, *stream.shape[axis + 1 :])
        super().__init__(shape, axis, None)
        self.stream, self.start = stream, start

    @property
    def dtype(self) -> np.dtype:
        """Type of what is made."""
        return self.stream.dtype

    def walk(self, windows: Sequence[slice], prefetch: int | None) -> Iterator[np.ndarray]:
        """Give one array per window; see :func:`ecogsource.producers.walking.walk`."""
        return self.stream.walk(shifted(windows, self.start), prefetch)

    def pieces(self, prefetch: int | None) -> Iterator[np.ndarray]:
        """Give the parts of the other stream's arrays that lie in the stretch."""
        stop, done = self.start + self.size, 0
        for piece in self.stream.pieces(prefetch):
            inside = slice(max(self.start - done, 0), min(stop - done, piece.shape[self.axis]))
            done += piece.shape[self.axis]
            if inside.start < inside.stop:
                yield piece[along(self.axis, self.ndim, inside)]
            if done >= stop and stop < self.stream.size:
                return


class JoinedStream(Stream):
    """Several buffers and streams end to end.

    Parameters
    ----------
    origins : sequence of Buffer or Stream
        The parts, equal off the axis.
    axis : int
        Axis of the join, counted from the start.
    length : int
        How many samples of a buffer are read at a time.
    """

    def __init__(self, origins: Sequence[Origin], axis: int, length: int) -> None:
        first = origins[0]
        off_axis = first.shape[:axis] + first.shape[axis + 1 :]
        for number, part in enumerate(origins):
            if part.shape[:axis] + part.shape[axis + 1 :] != off_axis:
                raise JoinError(
                    f"cannot join along axis {axis}: part {number} has shape {part.shape}, "
                    f"the first has {first.shape}"
                )
        total = sum(part.shape[axis] for part in origins)
        shape = (*first.shape[:axis], total, *first.shape[axis + 1 :])
        super().__init__(shape, axis, np.result_type(*(part.dtype for part in origins)))
        self.origins, self.length = tuple(origins), length

    def pieces(self, prefetch: int | None) -> Iterator[np.ndarray]:
        """Give the blocks of one part after the other."""
        for part in self.origins:
            blocks = plan_blocks(part.shape[self.axis], self.length)
            for block in walk(part, self.axis, blocks, prefetch):
                yield block.astype(self.dtype, copy=False)


class MaskedStream(Stream):
    """The samples of a stream that a mask keeps.

    Parameters
    ----------
    stream : Stream
        The stream.
    mask : PackedMask
        One boolean per sample; where it ends, the stream does.
    """

    def __init__(self, stream: Stream, mask: PackedMask) -> None:
        axis = stream.axis
        shape = (*stream.shape[:axis], mask.count, *stream.shape[axis + 1 :])
        super().__init__(shape, axis, None)
        self.stream, self.mask = stream, mask

    @property
    def dtype(self) -> np.dtype:
        """Type of what is made."""
        return self.stream.dtype

    def pieces(self, prefetch: int | None) -> Iterator[np.ndarray]:
        """Give what is kept of each array."""
        position = 0
        for piece in self.stream.pieces(prefetch):
            stop = position + piece.shape[self.axis]
            yield piece.take(self.mask.inside(position, stop), axis=self.axis)
            position = stop
            if position >= self.mask.size and position < self.stream.size:
                return


class FilteredStream(Stream):
    """What a filter with carried state makes of a buffer or stream.

    Parameters
    ----------
    origin : Buffer or Stream
        What is filtered.
    axis : int
        Axis of time, counted from the start.
    make : callable
        Makes a filter in its initial state, with time on its last axis.
    made : mapping
        `size` along the axis and `dtype` of the result.
    length : int
        How many samples are filtered at a time; no matter for the result.
    """

    def __init__(
        self,
        origin: Origin,
        axis: int,
        make: Callable[[], BlockStream],
        made: Mapping[str, Any],
        length: int,
    ) -> None:
        shape = (*origin.shape[:axis], made["size"], *origin.shape[axis + 1 :])
        super().__init__(shape, axis, made["dtype"])
        self.origin, self.make, self.length = origin, make, length

    def pieces(self, prefetch: int | None) -> Iterator[np.ndarray]:
        """Give filtered blocks."""
        from ecogsource.filters import run_stream

        blocks = plan_blocks(self.origin.shape[self.axis], self.length)
        inputs = walk(self.origin, self.axis, blocks, prefetch)
        time_last = (np.moveaxis(block, self.axis, -1) for block in inputs)
        for block in run_stream(time_last, self.make()):
            yield np.moveaxis(block, -1, self.axis).astype(self.dtype, copy=False)
