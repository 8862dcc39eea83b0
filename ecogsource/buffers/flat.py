"""A raw binary file as a buffer."""

from __future__ import annotations

import logging
import math
import operator
import os
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ecogsource.buffers.base import Buffer
from ecogsource.buffers.storage.affine import Affine
from ecogsource.buffers.storage.flat import ContiguousStorage
from ecogsource.buffers.storage.signature import signature_of
from ecogsource.errors import FormatError
from ecogsource.indexing import Selection

logger = logging.getLogger(__name__)


class FlatBuffer(Buffer):
    """Numbers that lie in a file one after the other, without a header of their own.

    Parameters
    ----------
    filename : path-like
        The file.
    dtype : dtype_like
        Type of the stored numbers, in the file's byte order (``'>i2'`` for big-endian).
    shape : int or tuple of int
        Shape of the array. One length may be -1: it is found from the size of the file, and
        bytes left over after the last whole sample are reported as a warning.
    order : {'C', 'F'}
        ``'C'``: the last axis is contiguous in the file; ``'F'``: the first one is.
    offset : int
        Bytes before the first number.
    units_scale : float or (offset, factor), optional
        ``value = (stored + offset) * factor``; see `Buffer`.
    writeable : bool
        Whether ``buffer[index] = value`` is allowed.

    Raises
    ------
    DataPathError
        If there is no such file.
    FormatError
        If the file is shorter than the shape needs, or the arguments make no sense.
    """

    def __init__(
        self,
        filename: str | bytes | os.PathLike[str],
        dtype: DTypeLike,
        shape: int | tuple[int, ...],
        *,
        order: str = "C",
        offset: int = 0,
        units_scale: Any = None,
        writeable: bool = False,
    ) -> None:
        path = os.path.abspath(os.fsdecode(filename))  # noqa: PTH100 - resolve() would follow links
        stored = np.dtype(dtype)
        if order not in ("C", "F"):
            raise FormatError(f"order must be 'C' or 'F', got {order!r}")
        if offset < 0:
            raise FormatError(f"offset must be at least 0, got {offset}")
        if stored.hasobject or stored.itemsize == 0:
            raise FormatError(f"numbers of type {stored} cannot be read from a file")
        lengths = tuple(np.atleast_1d(np.asarray(shape, dtype=object)))
        signature = signature_of(path)
        full = _fit_shape(path, signature.size - offset, stored, lengths)
        super().__init__(full, stored, units_scale=units_scale, filename=path, writeable=writeable)
        self.order, self.offset = order, offset
        self._storage = ContiguousStorage(
            path,
            stored,
            full if order == "C" else full[::-1],
            offset=offset,
            writeable=writeable,
            signature=signature,
        )

    def close(self) -> None:
        """Let go of the file; reading opens it again."""
        self._storage.close()

    def announce(self, starts: Iterable[int], length: int) -> None:
        """Have the system fetch rows that are about to be read, from a disk that is slow to answer.

        Rows that are in memory already cost a microsecond. A file that is gone or may not be read
        is for whoever reads it to complain about.

        Parameters
        ----------
        starts : iterable of int
            First positions along the axis that is slowest in the file.
        length : int
            How many from each on.
        """
        self._storage.announce(starts, length)

    def is_in_memory(self, start: int, length: int) -> bool:
        """Tell whether rows are likely to be read without waiting for a disk.

        Parameters
        ----------
        start, length : int
            As for :meth:`announce`.

        Returns
        -------
        bool
            Whether both ends are in memory; also true where the system does not say.
        """
        return self._storage.is_in_memory(start, length)

    def _set_scale(self, units_scale: Any) -> None:
        super()._set_scale(units_scale)
        self._affine = Affine.of(self._scale)

    def _read_into(self, selection: Selection, out: np.ndarray) -> None:
        affine = self._affine
        if affine is not None and affine.varies:
            affine = Affine.of(self._scale, selection)
        if self.order == "C":
            self._storage.read_into(selection.selectors, out, affine)
        else:
            turned = affine.T if affine is not None else None
            self._storage.read_into(selection.selectors[::-1], out.T, turned)

    def _write_from(self, selection: Selection, values: np.ndarray) -> None:
        if self.order == "C":
            self._storage.write_from(selection.selectors, values)
        else:
            self._storage.write_from(selection.selectors[::-1], values.T)

    def _temporary_bytes(self, selection: Selection) -> int:
        nbytes = self._storage.temporary_bytes(selection.selectors)
        if self._affine is not None:
            nbytes += self._affine.temporary_bytes(selection.size)
        return nbytes

    def __reduce__(self) -> tuple[Callable[..., FlatBuffer], tuple[Any, ...]]:
        options = {
            "order": self.order,
            "offset": self.offset,
            "units_scale": self.units_scale,
            "writeable": self.writeable,
        }
        return _reopen, (self.filename, self.map_dtype.str, self.shape, options)


def _reopen(
    filename: str, dtype: str, shape: tuple[int, ...], options: dict[str, Any]
) -> FlatBuffer:
    return FlatBuffer(filename, dtype, shape, **options)


def _fit_shape(
    path: str, available: int, dtype: np.dtype, shape: tuple[int, ...]
) -> tuple[int, ...]:
    """Fill in a length of -1, and check that the file is long enough."""
    lengths = [operator.index(n) for n in shape]
    unknown = [axis for axis, n in enumerate(lengths) if n == -1]
    if len(unknown) > 1 or any(n < -1 for n in lengths):
        raise FormatError(
            f"shape {shape} of {path!r}: lengths must be at least 0, and at most one of them -1"
        )
    step = dtype.itemsize * math.prod(n for n in lengths if n != -1)
    if unknown:
        if step == 0:
            raise FormatError(f"shape {shape} of {path!r}: -1 cannot be found, the rest is empty")
        count, left = divmod(max(available, 0), step)
        lengths[unknown[0]] = count
        if left:
            logger.warning(
                "%s: %d bytes after the last whole sample are left out "
                "(%d samples of %d bytes were found)",
                path,
                left,
                count,
                step,
            )
        step *= count
    if step > available:
        raise FormatError(
            f"{path!r} is too short: shape {tuple(lengths)} of {dtype} needs {step} bytes after "
            f"the offset, there are {max(available, 0)}"
        )
    return tuple(lengths)
