"""The contract of an array on disk, and the one door that every index goes through."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from ecogsource._closing import Closing
from ecogsource.buffers import points
from ecogsource.buffers.scaling import Scale
from ecogsource.buffers.writing import broadcast_value, rising_selection
from ecogsource.errors import ReadOnlyError
from ecogsource.indexing import Index, Selection, normalize_index, normalize_outer
from ecogsource.memory import check_allocation

if TYPE_CHECKING:
    from ecogsource.buffers.binder import BufferBinder

logger = logging.getLogger(__name__)

# Temporaries are a few tiles, or as large as the result: below this size they are not counted,
# because counting them would take longer than a small read.
_NEGLIGIBLE = 1 << 20


class Buffer(Closing):
    """An array that may be on disk, read and written with NumPy's indexing.

    A storage layout becomes a buffer by deriving from this class and giving `_read_into` (and
    `_write_from`, if it can be written). All else is here.

    Parameters
    ----------
    shape : tuple of int
        Shape of the stored array.
    map_dtype : dtype_like
        Type of the stored numbers.
    units_scale : float or (offset, factor), optional
        ``value = (stored + offset) * factor``, in the precision of the `floating_point`
        parameter. Either may be an array that broadcasts to `shape`.
    chunks : tuple of int, optional
        Shape of the storage chunks, if the array is stored in chunks.
    filename : str, optional
        File that holds the array.
    writeable : bool
        Whether ``buffer[index] = value`` is allowed.

    Attributes
    ----------
    shape : tuple of int
        Shape of the array.
    ndim : int
        Number of axes.
    map_dtype : numpy.dtype
        Type of the stored numbers.
    dtype : numpy.dtype
        Type of what is read: native byte order, floating point if there is a scale.
    units_scale : float, (offset, factor) or None
        The scale, as given.
    chunks, filename, writeable
        As given.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        map_dtype: DTypeLike,
        *,
        units_scale: Any = None,
        chunks: tuple[int, ...] | None = None,
        filename: str | None = None,
        writeable: bool = False,
    ) -> None:
        self.shape = tuple(int(n) for n in shape)
        self.ndim = len(self.shape)
        self.map_dtype = np.dtype(map_dtype)
        self.chunks = chunks
        self.filename = filename
        self.writeable = writeable
        self._raise_bad_write = True
        self._set_scale(units_scale)

    def _set_scale(self, units_scale: Any) -> None:
        self.units_scale = units_scale
        self._scale = Scale.parse(units_scale, self.shape)
        native = self.map_dtype.newbyteorder("=")
        self.dtype: np.dtype = native if self._scale is None else self._scale.dtype

    # -- what a storage layout provides --------------------------------------------------------

    def _read_into(self, selection: Selection, out: np.ndarray) -> None:
        """Read a selection that is not empty into `out`, scaled, whatever strides it has."""
        raise TypeError(f"{type(self).__name__} cannot be read")

    def _write_from(self, selection: Selection, values: np.ndarray) -> None:
        """Store values of type `map_dtype`; every selector is an int or rises strictly."""
        raise TypeError(f"{type(self).__name__} cannot be written")

    def _temporary_bytes(self, selection: Selection) -> int:
        """Bytes that reading a selection needs beside its result."""
        return 0

    def close(self) -> None:
        """Let go of files that this buffer holds open; it reopens them when it is read again."""

    # -- reading -------------------------------------------------------------------------------

    def read_into(self, selection: Selection, out: np.ndarray) -> None:
        """Read a selection into memory of the caller. All reading comes down to this.

        Parameters
        ----------
        selection : Selection
            Normalised outer product, as :func:`ecogsource.indexing.normalize_outer` makes it.
        out : numpy.ndarray
            Array of the selection's shape, of any strides, of a type that `dtype` can be cast
            to within its kind.

        Raises
        ------
        ValueError
            If `out` has another shape.
        TypeError
            If `out` is of a type that `dtype` cannot be cast to within its kind.
        """
        if out.shape != selection.shape:
            raise ValueError(f"out has shape {out.shape}, the selection has {selection.shape}")
        self._check_type(out)
        if out.size:
            self._read_into(selection, out)

    def read(self, index: Any, out: np.ndarray | None = None) -> np.ndarray:
        """Read what an index selects.

        Parameters
        ----------
        index : object
            Any index that NumPy accepts.
        out : numpy.ndarray, optional
            Where to put the result; a new array if not given.

        Returns
        -------
        numpy.ndarray
            The selected values: `out`, or a new C-contiguous array.

        Raises
        ------
        IndexError
            As NumPy does.
        MemoryBlowOutError
            If a new array would exceed the memory limit.
        ValueError
            If `out` does not have the shape of the result.
        TypeError
            If `out` is of a type that `dtype` cannot be cast to within its kind.
        """
        return self._read(normalize_index(index, self.shape), out)

    def _read(self, index: Index, out: np.ndarray | None, *, guarded: bool = True) -> np.ndarray:
        if out is None:
            if guarded:
                self._guard(index)
            out = np.empty(index.shape, self.dtype)
        elif out.shape != index.shape:
            raise ValueError(f"out has shape {out.shape}, the result has {index.shape}")
        else:
            self._check_type(out)
        if not out.size:
            return out
        target = index.view(out)
        if index.core_shape is not None and not np.may_share_memory(target, out):
            # The strides of the caller's array allow no view: read aside and copy.
            out[...] = self._read(index, None, guarded=guarded)
        elif index.points is not None:
            points.read(self, index.points, target)
        elif index.selection is not None:
            self._read_into(index.selection, target)
        return out

    def _check_type(self, out: np.ndarray) -> None:
        """Refuse to lose what NumPy's ``copyto`` refuses to lose, whatever storage is below."""
        if out.dtype != self.dtype and not np.can_cast(self.dtype, out.dtype, "same_kind"):
            raise TypeError(
                f"values of type {self.dtype} cannot be read into an array of type {out.dtype}"
            )

    def _guard(self, index: Index) -> None:
        nbytes = math.prod(index.shape) * self.dtype.itemsize
        extra = 0
        if nbytes > _NEGLIGIBLE and index.selection is not None:
            extra = self._temporary_bytes(index.selection)
        check_allocation(nbytes, shape=index.shape, dtype=self.dtype, temporary=extra)

    def __getitem__(self, index: Any) -> Any:
        result = self.read(index)
        return result[()] if result.ndim == 0 else result

    @property
    def oindex(self) -> OuterIndexer:
        """Orthogonal indexing: ``buffer.oindex[rows, columns]`` crosses its lists.

        Each list, range or mask selects along its own axis, as with :func:`numpy.ix_`.
        """
        return OuterIndexer(self)

    def __array__(
        self,
        dtype: DTypeLike | None = None,
        copy: bool | None = None,  # noqa: FBT001 - NumPy's protocol
    ) -> np.ndarray:
        if copy is False:
            raise ValueError("data on disk cannot become an array without a copy")
        values = self.read(())
        return values if dtype is None else values.astype(dtype, copy=False)

    # -- writing -------------------------------------------------------------------------------

    def write_from(self, selection: Selection, values: np.ndarray) -> None:
        """Write values to a selection.

        Parameters
        ----------
        selection : Selection
            Normalised outer product.
        values : numpy.ndarray
            Values in units, of the selection's shape or one that broadcasts to it. Where a list
            repeats a position, the last value stays.

        Raises
        ------
        ReadOnlyError
            If the buffer cannot be written.
        ValueError
            If the values do not fit the shape, or cannot be stored.
        """
        if not self._may_write() or not selection.size:
            return
        values = np.broadcast_to(values, selection.shape)
        selection, values = rising_selection(selection, values)
        if self._scale is not None:
            values = self._scale.select(selection.selectors).invert(values, self.map_dtype)
        self._write_from(selection, values)

    def __setitem__(self, index: Any, value: ArrayLike) -> None:
        if not self._may_write():
            return
        normal = normalize_index(index, self.shape)
        values = broadcast_value(value, normal.shape, self.dtype)
        if not values.size:
            return
        values = normal.view(values)
        if normal.points is not None:
            points.write(self, normal.points, values)
        elif normal.selection is not None:
            self.write_from(normal.selection, values)

    def _may_write(self) -> bool:
        if self.writeable:
            return True
        message = (
            f"{self!r} is open for reading only; open it with mode 'r+', or make a writeable "
            "copy with mirror(writeable=True)"
        )
        if self._raise_bad_write:
            raise ReadOnlyError(message)
        logger.warning("nothing was written: %s", message)
        return False

    # -- views and everyday life ---------------------------------------------------------------

    @property
    def raw(self) -> Buffer:
        """The same data as stored, without a scale."""
        if self._scale is None:
            return self
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin._set_scale(None)
        return twin

    @property
    def T(self) -> Buffer:
        """A view with the axes in reverse order."""
        from ecogsource.buffers.views import TransposedBuffer

        return TransposedBuffer(self)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the whole array, once read."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of an array without dimensions")
        return self.shape[0]

    def __add__(self, other: Buffer) -> BufferBinder:
        from ecogsource.buffers.binder import BufferBinder

        return BufferBinder([self, other])

    def __repr__(self) -> str:
        parts = [f"shape={self.shape}", f"dtype={self.dtype.name}"]
        if self._scale is not None:
            parts.append(f"map_dtype={self.map_dtype.name}")
        if self.chunks is not None:
            parts.append(f"chunks={self.chunks}")
        if self.filename is not None:
            parts.append(f"filename={self.filename!r}")
        parts.append("writeable" if self.writeable else "read-only")
        return f"<{type(self).__name__} {', '.join(parts)}>"


class OuterIndexer:
    """What ``buffer.oindex`` is: brackets with orthogonal meaning.

    Parameters
    ----------
    buffer : Buffer
        The buffer that is indexed.
    """

    __slots__ = ("_buffer",)

    def __init__(self, buffer: Buffer) -> None:
        self._buffer = buffer

    def __getitem__(self, index: Any) -> Any:
        selection = normalize_outer(index, self._buffer.shape)
        result = self._buffer._read(Index(selection.shape, selection), None)
        return result[()] if result.ndim == 0 else result

    def __setitem__(self, index: Any, value: ArrayLike) -> None:
        selection = normalize_outer(index, self._buffer.shape)
        values = broadcast_value(value, selection.shape, self._buffer.dtype)
        self._buffer.write_from(selection, values)
