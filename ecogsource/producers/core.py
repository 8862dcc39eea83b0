"""The producer: an iterable of arrays that are cut from anything along an axis."""

from __future__ import annotations

import math
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ecogsource.buffers import Buffer
from ecogsource.datasource.reducing import Axes, ReducingMixin
from ecogsource.datasource.reductions import Blocks, normalize_axis
from ecogsource.errors import MemoryBlowOutError
from ecogsource.indexing import Selection
from ecogsource.memory import check_allocation, format_bytes, parse_bytes
from ecogsource.producers.arithmetic import ArithmeticMixin
from ecogsource.producers.compose import ComposingMixin, Zipped
from ecogsource.producers.filtering import FilteringMixin
from ecogsource.producers.walking import Origin, as_walker, walk
from ecogsource.producers.windows import along, window_selection

__all__ = ["ItemProducer", "Producer", "Zipped"]


class Producer(ArithmeticMixin, ComposingMixin, FilteringMixin, ReducingMixin):
    """An iterable of arrays of a chosen length along an axis, as often as needed.

    Made by :func:`producer`. Several iterations may run at once. NumPy's functions of one or more
    arrays (``np.abs(pro)``, ``pro * 2``) give producers; nothing is computed until they are gone
    through.

    Parameters
    ----------
    origin : Buffer or Stream
        What is produced from.
    chunksize : int
        Samples per chunk; the last chunk may be shorter.
    axis : int
        Axis of the samples.
    overlap : int
        Samples that neighbouring chunks share.
    prefetch : int, optional
        How many chunks to read ahead.

    Attributes
    ----------
    axis : int
        Axis of the samples, as given.
    overlap : int
        Samples that neighbouring chunks share.
    """

    def __len__(self) -> int:
        return len(self._plan())

    def __bool__(self) -> bool:
        raise ValueError(
            "the truth value of a producer is ambiguous; ask len(pro), or reduce it with "
            "pro.max() or the like"
        )

    def __iter__(self) -> Iterator[Any]:
        plan = self._plan()
        if len(plan) and isinstance(self._origin, Buffer):
            selection = window_selection(self.shape, self._axis, plan[0])
            check_allocation(
                selection.size * self.dtype.itemsize,
                shape=selection.shape,
                dtype=self.dtype,
                what="chunk",
                temporary=self._origin._temporary_bytes(selection),
            )
        return walk(self._origin, self._axis, plan, self._prefetch)

    def to_array(
        self, dtype: DTypeLike | None = None, limit: int | float | str | None = None
    ) -> Any:
        """Read everything into one array.

        Parameters
        ----------
        dtype : dtype_like, optional
            Type of the array; by default that of the chunks.
        limit : int or str, optional
            Bytes that the array may take, such as ``"2GB"``; by default the memory limit.

        Returns
        -------
        numpy.ndarray
            All chunks end to end, without what they share.

        Raises
        ------
        MemoryBlowOutError
            If the array would take more than the limit.
        """
        kind = self.dtype if dtype is None else np.dtype(dtype)
        shape = self.shape
        nbytes = math.prod(shape) * kind.itemsize
        if limit is not None and nbytes > parse_bytes(limit):
            raise MemoryBlowOutError(
                f"an array of shape {shape} and type {kind} takes {format_bytes(nbytes)}, more "
                f"than the limit of {format_bytes(parse_bytes(limit))}: go through the chunks, "
                "or write them to a file with to_file(path)"
            )
        check_allocation(nbytes, shape=shape, dtype=kind, what="array")
        out = np.empty(shape, kind)
        buffer = self._origin
        if isinstance(buffer, Buffer) and kind == self.dtype and not as_walker(buffer, self._axis):
            buffer.read_into(Selection(tuple(map(range, shape)), shape), out)
            return out
        for window, chunk in self._pass():
            np.copyto(out[along(self._axis, out.ndim, window)], chunk, casting="unsafe")
        return out

    def __array__(
        self,
        dtype: DTypeLike | None = None,
        copy: bool | None = None,  # noqa: FBT001 - NumPy's protocol
    ) -> np.ndarray:
        if copy is False:
            raise ValueError("a producer cannot become an array without a copy")
        return self.to_array(dtype)

    def to_file(self, path: str | PathLike[str], dataset: str = "data", **attributes: Any) -> Path:
        """Write everything to a file, chunk by chunk.

        The file has its name only when it is complete, so that an interrupted job leaves nothing
        that looks finished.

        Parameters
        ----------
        path : path-like
            ``.npy`` for NumPy, ``.h5``, ``.hdf5`` or ``.hdf`` for HDF5. An existing file is
            replaced.
        dataset : str
            Name of the data in an HDF5 file.
        **attributes
            Attributes of the dataset in an HDF5 file, such as ``units="uV"``.

        Returns
        -------
        pathlib.Path
            The file; :func:`producer` takes it and gives the same shape and type.

        Raises
        ------
        FormatError
            If the suffix is another one.
        OSError
            With ``errno.ENOSPC`` if the disk is too full.
        """
        from ecogsource.producers.saving import save

        return save(self, Path(path), dataset, attributes)

    def as_buffer(self) -> Buffer:
        """View the data as a buffer, which can be read anywhere like an array.

        Returns
        -------
        Buffer
            What :class:`~ecogsource.MappedSource` and every other user of buffers takes.

        Raises
        ------
        TypeError
            If the data come in order, such as those of a generating function.
        """
        if not isinstance(self._origin, Buffer):
            raise TypeError(
                "these data come in order and cannot be read anywhere; write them to a file with "
                "to_file(path) and produce from the file"
            )
        return self._origin

    def _blocks(self, name: str, axis: int | Axes | None) -> tuple[Blocks, Axes]:
        self._numeric(f"{name}()")
        axes = normalize_axis(axis, self.ndim)
        kept = tuple(1 if a in axes else n for a, n in enumerate(self.shape))
        check_allocation(8 * math.prod(kept), shape=kept, dtype=self.dtype, what=name)

        def walk() -> Iterator[tuple[np.ndarray, tuple[slice, ...]]]:
            for window, chunk in self._pass():
                yield chunk, along(self._axis, self.ndim, window)

        return Blocks(self.shape, self.dtype, self._axis, walk), axes

    def __repr__(self) -> str:
        facts = [
            f"shape={self.shape}",
            f"dtype={_dtype_if_known(self._origin)}",
            f"chunksize={self._chunksize}",
            f"axis={self.axis}",
        ]
        if self.overlap:
            facts.append(f"overlap={self.overlap}")
        return (
            f"<{type(self).__name__} {', '.join(facts)}: {len(self)} chunks of "
            f"{type(self._origin).__name__}>"
        )


def _dtype_if_known(origin: Origin) -> str:
    # Asking a generator for its type runs it, which merely showing it must not.
    known = getattr(origin, "_dtype", origin)
    return "unknown" if known is None else str(origin.dtype)


class ItemProducer(Producer):
    """A producer of slices of a sequence whose items are not arrays.

    Its chunks are lists. It can be cut, masked and reversed, but there is no arithmetic.
    """

    def __iter__(self) -> Iterator[list[Any]]:
        return (chunk.tolist() for chunk in super().__iter__())

    def _numeric(self, what: str) -> None:
        """Refuse what needs numbers."""
        raise TypeError(
            f"{what} needs arrays, but this producer gives the items of a sequence that are none"
        )
