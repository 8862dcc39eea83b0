"""From what callers have to what a producer walks over: one small adapter for each kind."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ecogsource.buffers import ArrayBuffer, Buffer, BufferBinder, as_buffer
from ecogsource.buffers.views import ReadOnlyBuffer
from ecogsource.errors import DataPathError, FormatError
from ecogsource.producers.feeds import CastBuffer, ForeignBuffer, ItemsBuffer, ReaderBuffer
from ecogsource.producers.streams import GeneratorStream, JoinedStream

if TYPE_CHECKING:
    from ecogsource.producers.walking import Origin

__all__ = [
    "Adapter",
    "Request",
    "adapt",
    "find_adapter",
    "join_origins",
    "normal_axis",
    "register_adapter",
]


class Request(NamedTuple):
    """What is asked of an adapter beside the data.

    Parameters
    ----------
    axis : int
        Axis of the samples, as the caller counts it.
    chunksize : int
        Samples per chunk.
    shape : tuple of int, optional
        What the caller says about the shape.
    kwargs : mapping
        Further arguments, for opening a path, reading a reader or calling a function.
    """

    axis: int
    chunksize: int
    shape: tuple[int, ...] | None
    kwargs: Mapping[str, Any]

    def without_arguments(self, data: Any) -> None:
        """Refuse arguments that nothing takes."""
        if self.kwargs:
            raise TypeError(
                f"producing from {type(data).__name__} takes no argument "
                f"{', '.join(map(repr, self.kwargs))}"
            )


class Adapter(NamedTuple):
    """How one kind of data becomes a buffer or stream.

    Parameters
    ----------
    name : str
        What the kind is called in messages.
    accepts : callable
        ``accepts(data) -> bool``.
    adapt : callable
        ``adapt(data, request)`` gives a buffer or stream.
    takes_all_keywords : bool
        Whether every keyword of the caller is meant for the data, as with functions.
    """

    name: str
    accepts: Callable[[Any], bool]
    adapt: Callable[[Any, Request], Origin]
    takes_all_keywords: bool = False


def adapt(data: Any, request: Request) -> Origin:
    """Give data the form that a producer walks over.

    Parameters
    ----------
    data : object
        What the caller has.
    request : Request
        What is asked of it.

    Returns
    -------
    Buffer or Stream
        The same data; nothing is read but headers.

    Raises
    ------
    TypeError
        If nothing can be produced from such data.
    """
    return find_adapter(data).adapt(data, request)


def find_adapter(data: Any) -> Adapter:
    """Find out what kind of data these are.

    Raises
    ------
    TypeError
        If nothing can be produced from such data.
    """
    for adapter in _ADAPTERS:
        if adapter.accepts(data):
            return adapter
    if isinstance(data, Iterator):
        raise TypeError(
            f"a {type(data).__name__} can be gone through only once, a producer many times: pass "
            "the function that makes it, and the function's arguments as keywords"
        )
    names = ", ".join(adapter.name for adapter in _ADAPTERS)
    raise TypeError(f"nothing can be produced from {type(data).__name__}; known are: {names}")


def register_adapter(
    name: str, accepts: Callable[[Any], bool], adapt: Callable[[Any, Request], Origin]
) -> None:
    """Make a new kind of data producible; it is asked before those that are known.

    Parameters
    ----------
    name : str
        What the kind is called in messages.
    accepts : callable
        ``accepts(data) -> bool``.
    adapt : callable
        ``adapt(data, request)`` gives a :class:`~ecogsource.buffers.Buffer`. The request has
        `axis`, `chunksize`, `shape` and `kwargs`.

    Raises
    ------
    ValueError
        If there is an adapter of that name.
    """
    if any(adapter.name == name for adapter in _ADAPTERS):
        raise ValueError(f"there is an adapter for {name!r} already")
    _ADAPTERS.insert(0, Adapter(name, accepts, adapt))


def normal_axis(axis: int, ndim: int) -> int:
    """Count an axis from the start.

    Raises
    ------
    numpy.exceptions.AxisError
        If there is no such axis.
    TypeError
        If it is no whole number.
    """
    position = operator.index(axis)
    if not -ndim <= position < ndim:
        raise np.exceptions.AxisError(position, ndim)
    return position % ndim


def join_origins(origins: Sequence[Origin], axis: int, length: int) -> Origin:
    """Lay buffers and streams end to end, without copying.

    Parameters
    ----------
    origins : sequence of Buffer or Stream
        The parts.
    axis : int
        Axis of the join, counted from the start.
    length : int
        How many samples of a buffer are read at a time, if one of the parts is a stream.

    Returns
    -------
    Buffer or Stream
        Its type is the one to which NumPy promotes those of the parts.

    Raises
    ------
    JoinError
        If the parts differ off the axis.
    """
    if len(origins) == 1:
        return origins[0]
    dtype = np.result_type(*(part.dtype for part in origins))
    parts = []
    for part in origins:
        if not isinstance(part, Buffer):
            return JoinedStream(origins, axis, length)
        if part.dtype != dtype:
            part = CastBuffer(part, dtype)
        parts.append(ReadOnlyBuffer(part) if part.writeable else part)
    return BufferBinder(parts, axis)


# -- the kinds ---------------------------------------------------------------------------------


def _has(*names: str) -> Callable[[Any], bool]:
    return lambda data: all(hasattr(data, name) for name in names)


def _is_reader(data: Any) -> bool:
    return (
        callable(getattr(data, "read", None))
        and not hasattr(data, "__getitem__")
        and not (isinstance(data, Iterator))
    )


def _is_foreign(data: Any) -> bool:
    if not all(hasattr(data, name) for name in ("shape", "dtype", "__getitem__")):
        return False
    try:
        np.dtype(data.dtype)
    except TypeError:
        return False
    return True


def _from_producer(data: Any, request: Request) -> Origin:
    request.without_arguments(data)
    origin: Origin = data.produced_from
    if not isinstance(origin, Buffer) and normal_axis(request.axis, origin.ndim) != origin.axis:
        raise ValueError(
            f"these data are made in order along axis {origin.axis} and cannot be produced along "
            f"axis {request.axis}; write them to a file with to_file(path) first"
        )
    return origin


def _from_buffer(data: Any, request: Request) -> Buffer:
    request.without_arguments(data)
    return as_buffer(data)


def _from_hdf5(data: Any, request: Request) -> Buffer:
    if not data:
        raise ValueError("this HDF5 dataset is closed; open its file again, or pass its path")
    return _from_buffer(data, request)


def _from_array(data: np.ndarray, request: Request) -> Buffer:
    request.without_arguments(data)
    if isinstance(data, np.ma.MaskedArray):
        raise TypeError(
            "the mask of a masked array would be lost: pass array.filled(value), and a mask along "
            "the axis as mask="
        )
    return ArrayBuffer(data, writeable=False)


def _from_view(data: Any, request: Request) -> Buffer:
    buffer: Buffer = data.as_buffer(**request.kwargs)
    return buffer


def _from_recording(data: Any, request: Request) -> Buffer:
    request.without_arguments(data)
    return as_buffer(data.source)


def _from_path(data: Any, request: Request) -> Buffer:
    path = Path(os.fsdecode(data)).expanduser()
    if path.suffix == ".npy":
        request.without_arguments(path)
        if not path.is_file():
            raise DataPathError(f"there is no file {str(path)!r}")
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except ValueError as error:
            raise FormatError(f"{str(path)!r} is no NumPy file: {error}") from error
        return ArrayBuffer(array, writeable=False)
    from ecogsource.io import open_recording
    from ecogsource.producers.saving import saved

    if request.kwargs.keys() <= {"dataset"}:
        buffer = saved(path, request.kwargs.get("dataset"))
        if buffer is not None:
            return buffer
    return as_buffer(open_recording(path, **request.kwargs).source)


def _from_reader(data: Any, request: Request) -> Buffer:
    return ReaderBuffer(data, request.shape, **request.kwargs)


def _from_foreign(data: Any, request: Request) -> Buffer:
    request.without_arguments(data)
    return ForeignBuffer(data, normal_axis(request.axis, len(data.shape)))


def _from_array_like(data: Any, request: Request) -> Buffer:
    return _from_array(np.asarray(data), request)


def _from_function(data: Callable[..., Any], request: Request) -> GeneratorStream:
    if request.shape is None:
        raise FormatError(
            "producing from a function needs shape=, the shape of all its arrays end to end: "
            "it cannot be known before the function has run to its end"
        )
    axis = normal_axis(request.axis, len(request.shape))
    return GeneratorStream(partial(data, **request.kwargs), request.shape, axis)


def _from_sequence(data: Sequence[Any], request: Request) -> Origin:
    request.without_arguments(data)
    arrays = [_is_array(item) for item in data]
    if not any(arrays):
        return ItemsBuffer(data)
    if not all(arrays):
        odd = arrays.index(False)
        raise TypeError(
            f"item {odd} of the sequence is no array but {type(data[odd]).__name__}; either all "
            "items are arrays, which are joined, or none is"
        )
    inner = Request(request.axis, request.chunksize, None, {})
    origins = [adapt(item, inner) for item in data]
    return join_origins(origins, normal_axis(request.axis, origins[0].ndim), request.chunksize)


def _is_array(item: Any) -> bool:
    if isinstance(item, np.generic | str | bytes | os.PathLike):
        return False
    return hasattr(item, "shape") or hasattr(item, "as_buffer")


_ADAPTERS = [
    Adapter("producers", _has("produced_from"), _from_producer),
    Adapter("buffers", lambda data: isinstance(data, Buffer), _from_buffer),
    Adapter("sources and readers of ours", _has("as_buffer"), _from_view),
    Adapter("recordings", _has("streams", "source"), _from_recording),
    Adapter("arrays", lambda data: isinstance(data, np.ndarray), _from_array),
    Adapter("paths", lambda data: isinstance(data, str | bytes | os.PathLike), _from_path),
    Adapter("HDF5", lambda data: type(data).__module__.startswith("h5py."), _from_hdf5),
    Adapter("readers", _is_reader, _from_reader),
    Adapter("Zarr, Dask and other lazy arrays", _is_foreign, _from_foreign),
    Adapter("array-likes", _has("__array__"), _from_array_like),
    Adapter("sequences", lambda data: isinstance(data, Sequence), _from_sequence),
    Adapter("generating functions", callable, _from_function, takes_all_keywords=True),
]
