"""Buffers that look at other buffers differently."""

from __future__ import annotations

import numpy as np

from ..indexing import Selection
from .base import Buffer


class TransposedBuffer(Buffer):
    """A buffer with its axes in reverse order. Nothing is copied.

    Parameters
    ----------
    buffer : Buffer
        What it looks at.
    """

    def __init__(self, buffer: Buffer) -> None:
        super().__init__(
            buffer.shape[::-1],
            buffer.map_dtype,
            chunks=None if buffer.chunks is None else buffer.chunks[::-1],
            filename=buffer.filename,
            writeable=buffer.writeable,
        )
        self.buffer = buffer
        self.dtype = buffer.dtype
        self.units_scale = buffer.units_scale

    def _read_into(self, selection: Selection, out: np.ndarray) -> None:
        self.buffer.read_into(_reversed(selection), out.T)

    def write_from(self, selection: Selection, values: np.ndarray) -> None:
        """Write values to a selection; see :meth:`Buffer.write_from`."""
        values = np.broadcast_to(values, selection.shape)
        self.buffer.write_from(_reversed(selection), values.T)

    def _temporary_bytes(self, selection: Selection) -> int:
        return self.buffer._temporary_bytes(_reversed(selection))

    @property
    def raw(self) -> Buffer:
        """The same view of the numbers as stored."""
        return self if self.buffer.raw is self.buffer else TransposedBuffer(self.buffer.raw)

    @property
    def T(self) -> Buffer:  # noqa: N802 - NumPy's name
        """The buffer underneath."""
        return self.buffer

    def close(self) -> None:
        """Let go of the files of the buffer underneath."""
        self.buffer.close()


def _reversed(selection: Selection) -> Selection:
    return Selection(selection.selectors[::-1], selection.shape[::-1])
