"""Functions of buffers and streams, computed when they are read."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from ecogsource.buffers import ArrayBuffer, Buffer
from ecogsource.errors import FormatError
from ecogsource.indexing import Piece, Selection, plan_blocks, split_selector
from ecogsource.producers.streams import Stream
from ecogsource.producers.walking import Origin, walk
from ecogsource.producers.windows import Windows, along, cut, grid_from, window_selection

__all__ = ["Call", "MappedBuffer", "MappedStream"]


class Call(NamedTuple):
    """A function and how it is called.

    Parameters
    ----------
    function : callable
        Called with one array per input.
    inputs : tuple of (Buffer or Stream, int)
        Each input with the axis along which it is cut.
    length : int
        The function is called with this many samples of each input, those from
        ``k * length`` to ``(k + 1) * length``, so that its result does not depend on how it is
        read.
    margin : int
        Further samples on both sides, as far as there are any, whose results are dropped.
    """

    function: Callable[..., Any]
    inputs: tuple[tuple[Origin, int], ...]
    length: int
    margin: int = 0

    @property
    def size(self) -> int:
        """Number of samples of each input."""
        origin, axis = self.inputs[0]
        return int(origin.shape[axis])

    @property
    def fresh(self) -> bool:
        """Whether results are new arrays; a function may fill the same array again and again."""
        return getattr(self.function, "fresh", isinstance(self.function, np.ufunc))

    @property
    def label(self) -> str:
        """The function's name."""
        return f"{getattr(self.function, '__name__', self.function)}"

    def widened(self, window: slice) -> slice:
        """Add the margin to a window."""
        margin = self.margin
        return slice(max(0, window.start - margin), min(self.size, window.stop + margin))

    def over(self, blocks: Sequence[slice], prefetch: int | None) -> Iterator[Any]:
        """Call the function for each block, with its margin."""
        windows = Windows(blocks, self.widened) if self.margin else blocks
        walks = [walk(origin, axis, windows, prefetch) for origin, axis in self.inputs]
        for chunks in zip(*walks, strict=True):
            yield self.function(*chunks)


class MappedBuffer(Buffer):
    """A function of buffers that gives as many samples as it takes; computed when it is read.

    Parameters
    ----------
    call : Call
        The function and its inputs.
    shape : tuple of int
        Shape of the whole result.
    axis : int
        Axis of the result that goes with the inputs' axes, counted from the start.
    dtype : numpy.dtype
        Type of the result.
    """

    def __init__(self, call: Call, shape: tuple[int, ...], axis: int, dtype: Any) -> None:
        super().__init__(shape, dtype)
        self.call, self.axis = call, axis
        self._last = threading.local()

    @property
    def slow(self) -> bool:
        """Computing is done where it is asked for; only what it reads is read ahead."""
        return False

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.call, self.shape, self.axis, self.dtype)

    def walk(self, windows: Sequence[slice], prefetch: int | None) -> Iterator[np.ndarray]:
        """Give one array per window; see :func:`ecogsource.producers.walking.walk`."""
        if not len(windows):
            return iter(())
        blocks = grid_from(windows[0].start, self.shape[self.axis], self.call.length)
        pieces = self._computed(blocks, prefetch)
        begin, size = blocks[0].start, self.shape[self.axis]
        return cut(pieces, windows, self.axis, position=begin, size=size, fresh=self.call.fresh)

    def _computed(self, blocks: Sequence[slice], prefetch: int | None) -> Iterator[np.ndarray]:
        for block, result in zip(blocks, self.call.over(blocks, prefetch), strict=True):
            yield self._checked(result, block)

    def _checked(self, result: Any, block: slice) -> np.ndarray:
        """Refuse results of another shape, and drop those of the margin."""
        wide = self.call.widened(block)
        values = _as_result(result, self.dtype, self.call)
        expected = window_selection(self.shape, self.axis, wide).shape
        if values.shape != expected:
            raise FormatError(
                f"{self.call.label}() gave an array of shape {values.shape} for samples "
                f"{wide.start} to {wide.stop}; its shape rule says {expected}"
            )
        inside = slice(block.start - wide.start, block.stop - wide.start)
        return values[along(self.axis, self.ndim, inside)]

    def _temporary_bytes(self, selection: Selection) -> int:
        block = slice(0, min(self.call.length, self.shape[self.axis]))
        return window_selection(self.shape, self.axis, block).size * self.dtype.itemsize

    def _read_into(self, selection: Selection, out: np.ndarray) -> None:
        selectors, axis, length = selection.selectors, self.axis, self.call.length
        lead: tuple[Any, ...] = tuple(
            slice(None) for s in selectors[:axis] if not isinstance(s, int)
        )
        offsets = range(0, self.shape[axis] + length, length)
        for piece in split_selector(selectors[axis], offsets):
            block = ArrayBuffer(self._block(piece))
            inside = Selection.of((*selectors[:axis], piece.selector, *selectors[axis + 1 :]))
            if piece.where is None:
                block.read_into(inside, out)
            elif isinstance(piece.where, slice):
                block.read_into(inside, out[(*lead, piece.where)])
            else:
                values = np.empty(inside.shape, self.dtype)
                block.read_into(inside, values)
                out[(*lead, piece.where)] = values

    def _block(self, piece: Piece) -> np.ndarray:
        """Compute a block, or give the last one again: neighbours are often asked for in turn."""
        part, values = getattr(self._last, "block", (None, None))
        if part != piece.part or values is None:
            start = piece.part * self.call.length
            block = slice(start, min(start + self.call.length, self.shape[self.axis]))
            values = next(self._computed([block], 0))
            if not self.call.fresh:
                values = values.copy()
        inside = piece.selector
        whole = isinstance(inside, range) and len(inside) == values.shape[self.axis]
        self._last.block = (None, None) if whole else (piece.part, values)
        return values


class MappedStream(Stream):
    """A function of buffers and streams, computed in order.

    Parameters
    ----------
    call : Call
        The function and its inputs.
    shape : tuple of int
        Shape of the whole result.
    axis : int
        Axis along which the results lie end to end, counted from the start.
    dtype : numpy.dtype
        Type of the result.
    lengths : 'same', callable or None
        Results are as long as the arrays that the function was called with; or their shapes
        follow from those of the arrays by a rule; or they have any length, and must be as long
        as `shape` together.
    """

    def __init__(
        self,
        call: Call,
        shape: tuple[int, ...],
        axis: int,
        dtype: Any,
        lengths: Literal["same"] | Callable[..., tuple[int, ...]] | None,
    ) -> None:
        super().__init__(shape, axis, dtype)
        self.call, self.lengths = call, lengths

    @property
    def fresh(self) -> bool:
        """Whether the arrays of :meth:`pieces` belong to nobody else."""
        return self.call.fresh

    def pieces(self, prefetch: int | None) -> Iterator[np.ndarray]:
        """Give the results of the function, without the margins."""
        call, done = self.call, 0
        blocks = plan_blocks(call.size, call.length)
        for block, result in zip(blocks, call.over(blocks, prefetch), strict=True):
            wide = call.widened(block)
            values = _as_result(result, self.dtype, call)
            self._check(values, wide)
            if call.margin:
                inside = slice(block.start - wide.start, block.stop - wide.start)
                values = values[along(self.axis, self.ndim, inside)]
            done += values.shape[self.axis]
            if done > self.size:
                break
            yield values
        if done != self.size:
            raise FormatError(
                f"{call.label}() gave {done} samples along axis {self.axis}"
                f"{' and more' if done > self.size else ''}; by its shape {self.shape} it is "
                f"{self.size}"
            )

    def _check(self, values: np.ndarray, window: slice) -> None:
        axis, shape = self.axis, values.shape
        expected: tuple[int | str, ...]
        if self.lengths == "same":
            expected = window_selection(self.shape, axis, window).shape
        elif self.lengths is None:
            expected = (*self.shape[:axis], "any", *self.shape[axis + 1 :])
            if values.ndim == self.ndim:
                shape = (*shape[:axis], "any", *shape[axis + 1 :])
        else:
            inputs = [window_selection(o.shape, a, window).shape for o, a in self.call.inputs]
            expected = tuple(self.lengths(*inputs))
        if shape != expected:
            raise FormatError(
                f"{self.call.label}() gave an array of shape {values.shape} for samples "
                f"{window.start} to {window.stop}; its shape rule says {expected}"
            )


def _as_result(result: Any, dtype: np.dtype, call: Call) -> np.ndarray:
    values = np.asarray(result)
    if values.dtype == dtype:
        return values
    if not np.can_cast(values.dtype, dtype, "same_kind"):
        raise FormatError(
            f"{call.label}() gave values of type {values.dtype}, which do not fit {dtype}; "
            "say what it gives with map(..., dtype=...)"
        )
    return values.astype(dtype)
