"""Buffers that show arrays of other shapes as channels x time."""

from __future__ import annotations

import math

import numpy as np

from ecogsource.buffers import Buffer
from ecogsource.errors import FormatError
from ecogsource.indexing import Selection

__all__ = ["FieldsBuffer", "RowsBuffer", "same_fields"]

READ_ITEMS = 1 << 20
"""Numbers read at a time."""


def same_fields(dtype: np.dtype) -> np.dtype | None:
    """Return the type that all fields of a table share, or None if they differ."""
    if not dtype.names:
        return None
    kinds = {dtype[name] for name in dtype.names}
    kind = kinds.pop()
    if kinds or kind.kind not in "iuf" or kind.itemsize * len(dtype.names) != dtype.itemsize:
        return None
    return kind


class FieldsBuffer(Buffer):
    """A table whose fields are all of one type, as fields x rows.

    Parameters
    ----------
    table : Buffer
        One-dimensional, of a structured type.

    Raises
    ------
    FormatError
        If the fields differ in type.
    """

    def __init__(self, table: Buffer) -> None:
        kind = same_fields(table.map_dtype)
        names = table.map_dtype.names
        if kind is None or names is None or table.ndim != 1:
            raise FormatError(
                f"fields x rows needs a table of numbers of one type, got {table.map_dtype} of "
                f"shape {table.shape}"
            )
        super().__init__((len(names), len(table)), kind, filename=table.filename)
        self.table = table
        self._kind = kind

    def _read_into(self, selection: Selection, out: np.ndarray) -> None:
        fields, rows = selection.selectors
        if isinstance(rows, int):
            out, rows = out[..., None], range(rows, rows + 1)
        step = max(1, READ_ITEMS // self.shape[0])
        for start in range(0, len(rows), step):
            part = Selection.of((rows[start : start + step],))
            records = np.empty(part.shape, self.table.dtype)
            self.table.read_into(part, records)
            numbers = records.view(self._kind.newbyteorder("=")).reshape(len(records), -1)
            out[..., start : start + step] = numbers[:, fields].T

    def _temporary_bytes(self, selection: Selection) -> int:
        rows = selection.selectors[1]
        step = max(1, READ_ITEMS // self.shape[0])
        n_rows = 1 if isinstance(rows, int) else min(len(rows), step)
        return 2 * n_rows * self.table.dtype.itemsize

    def close(self) -> None:
        """Let go of the table's file."""
        self.table.close()


class RowsBuffer(Buffer):
    """An array of any number of dimensions, as rows x its last axis.

    A one-dimensional array becomes one row; the leading axes of others are run together in the
    order of C.

    Parameters
    ----------
    array : Buffer
        At least one-dimensional.
    """

    def __init__(self, array: Buffer) -> None:
        lead = array.shape[:-1]
        super().__init__(
            (math.prod(lead), array.shape[-1]), array.map_dtype, filename=array.filename
        )
        self.array = array
        self.dtype = array.dtype
        self.units_scale = array.units_scale

    def _read_into(self, selection: Selection, out: np.ndarray) -> None:
        rows, times = selection.selectors
        if isinstance(rows, int):
            out, rows = out[None], range(rows, rows + 1)
        lead = self.array.shape[:-1]
        for position, row in enumerate(np.asarray(rows).tolist()):
            cell = tuple(int(i) for i in np.unravel_index(row, lead)) if lead else ()
            self.array.read_into(Selection.of((*cell, times)), out[position, ...])

    def _temporary_bytes(self, selection: Selection) -> int:
        first = (0,) * (self.array.ndim - 1)
        return self.array._temporary_bytes(Selection.of((*first, selection.selectors[1])))

    def close(self) -> None:
        """Let go of the array's file."""
        self.array.close()
