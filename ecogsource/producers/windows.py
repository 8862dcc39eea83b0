"""Windows along an axis, and cutting a stream of arrays into them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np

from ecogsource.errors import FormatError
from ecogsource.indexing import Selection, plan_blocks

__all__ = ["Windows", "along", "cut", "grid_from", "window_selection"]


class Windows(Sequence[slice]):
    """Windows that are another sequence's, each changed by a function when it is asked for.

    Parameters
    ----------
    windows : sequence of slice
        What is changed.
    change : callable
        ``change(window) -> window``.
    """

    def __init__(self, windows: Sequence[slice], change: Callable[[slice], slice]) -> None:
        self._windows, self._change = windows, change

    def __len__(self) -> int:
        return len(self._windows)

    @overload
    def __getitem__(self, index: int) -> slice: ...
    @overload
    def __getitem__(self, index: slice) -> Windows: ...
    def __getitem__(self, index: int | slice) -> slice | Windows:
        if isinstance(index, slice):
            return Windows(self._windows[index], self._change)
        return self._change(self._windows[index])


def grid_from(position: int, size: int, length: int) -> Sequence[slice]:
    """Cut an axis into blocks of a fixed grid, beginning with the one that holds a position.

    Parameters
    ----------
    position : int
        A sample; blocks before it are left out.
    size : int
        Length of the axis.
    length : int
        Length of a block; blocks begin at its multiples.

    Returns
    -------
    sequence of slice
        The blocks, the last one possibly shorter.
    """
    return plan_blocks(size, length, start_offset=position // length * length)


def along(axis: int, ndim: int, window: Any) -> tuple[Any, ...]:
    """Index one axis and take the others whole."""
    return (*[slice(None)] * axis, window, *[slice(None)] * (ndim - axis - 1))


def window_selection(shape: tuple[int, ...], axis: int, window: slice) -> Selection:
    """Select a window along one axis and the others whole.

    Parameters
    ----------
    shape : tuple of int
        Shape of the array.
    axis : int
        Axis of the window, counted from the start.
    window : slice
        With a start and a stop inside the axis.

    Returns
    -------
    Selection
        The selection, as buffers take it.
    """
    inside = range(window.start, window.stop)
    selectors = (*map(range, shape[:axis]), inside, *map(range, shape[axis + 1 :]))
    return Selection(selectors, (*shape[:axis], len(inside), *shape[axis + 1 :]))


class _Supply:
    """Consecutive arrays, taken from as needed.

    An array is let go of before the next one is asked for, so that a generator may fill the same
    array again and again.
    """

    def __init__(self, pieces: Iterable[np.ndarray], axis: int, position: int) -> None:
        self._pieces = iter(pieces)
        self._axis = axis
        self._piece: np.ndarray | None = None
        self._used = 0
        self.position = position

    def _next(self) -> np.ndarray:
        """Give the array in hand, or the next one that holds anything."""
        while self._piece is None:
            piece = next(self._pieces, None)
            if piece is None:
                raise FormatError(f"the data end at sample {self.position}, more were expected")
            if piece.shape[self._axis]:
                self._piece, self._used = piece, 0
        return self._piece

    def whole(self, window: slice) -> np.ndarray | None:
        """Hand over the next array as it is, if it is exactly the window."""
        self.skip(window.start)
        piece = self._next()
        length = window.stop - window.start
        if self._used or self.position != window.start or piece.shape[self._axis] != length:
            return None
        self._piece = None
        self.position += length
        return piece

    def skip(self, position: int) -> None:
        """Go on to a sample."""
        while self.position < position:
            self._advance(self._next(), position - self.position)

    def _advance(self, piece: np.ndarray, most: int) -> slice:
        """Use up to `most` samples of the array in hand; give where they are."""
        size = piece.shape[self._axis]
        part = slice(self._used, min(self._used + most, size))
        self._used = part.stop
        self.position += part.stop - part.start
        if self._used == size:
            self._piece = None
        return part

    def fill(self, window: slice, done: np.ndarray | None) -> np.ndarray:
        """Copy samples up to the end of a window; its beginning may be there already."""
        axis = self._axis
        shape, dtype = self._like(done)
        out = np.empty((*shape[:axis], window.stop - window.start, *shape[axis + 1 :]), dtype)
        filled = 0
        if done is not None:
            filled = done.shape[axis]
            out[along(axis, out.ndim, slice(0, filled))] = done
        self.skip(window.start)
        while filled < out.shape[axis]:
            piece = self._next()
            part = self._advance(piece, out.shape[axis] - filled)
            where = slice(filled, filled + part.stop - part.start)
            np.copyto(
                out[along(axis, out.ndim, where)],
                piece[along(axis, out.ndim, part)],
                casting="same_kind",
            )
            filled = where.stop
            del piece
        return out

    def _like(self, done: np.ndarray | None) -> tuple[tuple[int, ...], np.dtype]:
        model = self._next() if done is None else done
        return model.shape, model.dtype

    def drain(self) -> None:
        """Run to the end, so that a stream which checks its length does so."""
        for _ in self._pieces:
            pass


def cut(
    pieces: Iterable[np.ndarray],
    windows: Sequence[slice],
    axis: int,
    *,
    position: int = 0,
    size: int,
    fresh: bool = False,
) -> Iterator[np.ndarray]:
    """Cut consecutive arrays of any lengths into windows.

    Parameters
    ----------
    pieces : iterable of ndarray
        Consecutive arrays that are equal off the axis.
    windows : sequence of slice
        What to give, with rising starts and stops; windows may overlap and leave gaps.
    axis : int
        Axis of the windows, counted from the start.
    position : int
        The sample at which the first array begins.
    size : int
        Length of the whole; a window that ends there makes the stream run to its end.
    fresh : bool
        Whether the arrays belong to nobody else; those that fit are then given without a copy.

    Yields
    ------
    ndarray
        One array per window.

    Raises
    ------
    FormatError
        If the arrays end before the last window.
    """
    supply = _Supply(pieces, axis, position)
    kept: np.ndarray | None = None
    for number, window in enumerate(windows):
        chunk = None if kept is not None or not fresh else supply.whole(window)
        if chunk is None:
            chunk = supply.fill(window, kept)
        upcoming = windows[number + 1].start if number + 1 < len(windows) else window.stop
        kept = None
        if upcoming < window.stop:
            shared = slice(upcoming - window.start, None)
            kept = chunk[along(axis, chunk.ndim, shared)].copy()
        if window.stop == size:
            supply.drain()
        yield chunk
        del chunk
