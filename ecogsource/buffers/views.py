"""Buffers that look at other buffers differently. Nothing is copied."""

from __future__ import annotations

import numpy as np

from ecogsource.buffers.base import Buffer
from ecogsource.indexing import Selection, compose_selector


class ViewBuffer(Buffer):
    """A buffer that passes every selection on to another buffer.

    A view says in :meth:`underneath` what its selections mean there.

    Parameters
    ----------
    buffer : Buffer
        What it looks at.
    shape : tuple of int
        Shape of the view.
    chunks : tuple of int or None
        Shape of the storage chunks, as the view shows them.

    Attributes
    ----------
    buffer : Buffer
        What it looks at.
    """

    def __init__(
        self, buffer: Buffer, shape: tuple[int, ...], chunks: tuple[int, ...] | None
    ) -> None:
        super().__init__(
            shape,
            buffer.map_dtype,
            chunks=chunks,
            filename=buffer.filename,
            writeable=buffer.writeable,
        )
        self.buffer = buffer
        # The buffer underneath scales; the view shows what comes of it.
        self.dtype = buffer.dtype
        self.units_scale = buffer.units_scale

    def underneath(self, selection: Selection) -> Selection:
        """Translate a selection of this view for the buffer underneath.

        Parameters
        ----------
        selection : Selection
            Selection in this view.

        Returns
        -------
        Selection
            The same elements of the buffer underneath.
        """
        return selection

    def _arrange(self, array: np.ndarray) -> np.ndarray:
        """View an array of a selection's shape in the shape it has underneath."""
        return array

    def _over(self, buffer: Buffer) -> Buffer:
        """Make the same view of another buffer."""
        return type(self)(buffer)  # type: ignore[call-arg]

    def _read_into(self, selection: Selection, out: np.ndarray) -> None:
        self.buffer.read_into(self.underneath(selection), self._arrange(out))

    def write_from(self, selection: Selection, values: np.ndarray) -> None:
        """Write values to a selection; see :meth:`Buffer.write_from`."""
        if self._may_write() and selection.size:
            values = np.broadcast_to(values, selection.shape)
            self.buffer.write_from(self.underneath(selection), self._arrange(values))

    def _temporary_bytes(self, selection: Selection) -> int:
        return self.buffer._temporary_bytes(self.underneath(selection))

    @property
    def raw(self) -> Buffer:
        """The same view of the numbers as stored."""
        raw = self.buffer.raw
        return self if raw is self.buffer else self._over(raw)

    def close(self) -> None:
        """Let go of the files of the buffer underneath."""
        self.buffer.close()


class TransposedBuffer(ViewBuffer):
    """A buffer with its axes in reverse order.

    Parameters
    ----------
    buffer : Buffer
        What it looks at.
    """

    def __init__(self, buffer: Buffer) -> None:
        chunks = None if buffer.chunks is None else buffer.chunks[::-1]
        super().__init__(buffer, buffer.shape[::-1], chunks)

    def underneath(self, selection: Selection) -> Selection:
        """Reverse the order of the axes; see :meth:`ViewBuffer.underneath`."""
        return Selection(selection.selectors[::-1], selection.shape[::-1])

    def _arrange(self, array: np.ndarray) -> np.ndarray:
        return array.T

    @property
    def T(self) -> Buffer:
        """The buffer underneath."""
        return self.buffer


class SelectedBuffer(ViewBuffer):
    """Some positions along one axis of a buffer, such as the good channels.

    Parameters
    ----------
    buffer : Buffer
        What it looks at.
    axis : int
        The axis along which it selects, counted from the start.
    positions : range or numpy.ndarray
        Which positions, in which order; inside the axis, not negative.
    """

    def __init__(self, buffer: Buffer, axis: int, positions: range | np.ndarray) -> None:
        shape = (*buffer.shape[:axis], len(positions), *buffer.shape[axis + 1 :])
        super().__init__(buffer, shape, buffer.chunks)
        self.axis = axis
        self.positions = positions

    def underneath(self, selection: Selection) -> Selection:
        """Look through the positions; see :meth:`ViewBuffer.underneath`."""
        selectors, axis = selection.selectors, self.axis
        through = compose_selector(selectors[axis], self.positions)
        return Selection((*selectors[:axis], through, *selectors[axis + 1 :]), selection.shape)

    def _over(self, buffer: Buffer) -> Buffer:
        return SelectedBuffer(buffer, self.axis, self.positions)


class ReadOnlyBuffer(ViewBuffer):
    """A buffer that refuses to be written, whatever is underneath.

    Parameters
    ----------
    buffer : Buffer
        What it looks at.
    """

    def __init__(self, buffer: Buffer) -> None:
        super().__init__(buffer, buffer.shape, buffer.chunks)
        self.writeable = False
