"""The one function that makes producers."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from ecogsource.errors import FormatError
from ecogsource.producers.adapters import Request, adapt, find_adapter, normal_axis
from ecogsource.producers.compose import pack_mask
from ecogsource.producers.core import ItemProducer, Producer
from ecogsource.producers.feeds import ItemsBuffer

__all__ = ["producer"]

_VIEW = ("start", "stop", "reverse", "overlap", "prefetch", "strict_mask")


def producer(
    data: Any,
    chunksize: int,
    axis: int = -1,
    shape: tuple[int, ...] | None = None,
    mask: Any = None,
    **kwargs: Any,
) -> Producer:
    """Make an iterable that gives data in chunks, as often as needed.

    Parameters
    ----------
    data : object
        An array, memory map, buffer, source, recording or one of its streams, a path, a reader
        with a method ``read(start, stop)``, an HDF5 or Zarr dataset, a dask array, a sequence of
        any of these (joined end to end, without a copy), a sequence of anything else (given in
        slices), a function that yields arrays, or another producer (which stays as it is).
    chunksize : int
        Samples per chunk; the last chunk may be shorter.
    axis : int
        Axis of the samples.
    shape : tuple of int, optional
        Shape of the whole. A generating function needs it; for other data it is checked.
    mask : array_like of bool, or anything that can be produced from, optional
        One boolean per sample; only samples where it is True are given, in chunks of full
        length. Where mask and data differ in length the shorter one ends the production, with a
        warning; with ``strict_mask=True`` that is an error.
    start, stop : int, optional
        First sample, and the one after the last, as in a slice; counted before the mask.
    reverse : bool, optional
        Run backwards: chunks of the reversed array.
    overlap : int, optional
        Samples that neighbouring chunks share.
    prefetch : int, optional
        How many chunks to read ahead in the background. By default one, for data on disk, if
        the first chunks show that it saves time.
    **kwargs
        Anything else goes to what opens a path (`open_recording`), to the `read` of a reader, or
        to a generating function. A generating function gets *all* keywords, those named above
        too: restrict its producer with ``pro.slice(start, stop)`` and the like.

    Returns
    -------
    Producer
        Iterating it yields arrays that belong to the caller, of the type of `data`; lists or
        other slices for a sequence of items that are not arrays.

    Raises
    ------
    TypeError
        If nothing can be produced from `data`, such as an iterator that runs only once, or a
        keyword is unknown.
    FormatError
        If `shape` is missing or wrong, or a mask is not boolean or, with `strict_mask`, not as
        long as the data.
    JoinError
        If the arrays of a sequence differ off the axis.
    DataPathError
        If there is nothing at a path.
    numpy.exceptions.AxisError
        If the data have no such axis.
    ValueError
        If `chunksize` is not a positive whole number, `overlap` does not fit it, or `prefetch`
        is negative.

    Examples
    --------
    >>> import numpy as np
    >>> pro = producer(np.arange(10).reshape(2, 5), chunksize=2, axis=-1)
    >>> [chunk.shape for chunk in pro]
    [(2, 2), (2, 2), (2, 1)]
    """
    length = _whole(chunksize)
    view: dict[str, Any] = {}
    if not find_adapter(data).takes_all_keywords:
        view = {name: kwargs.pop(name) for name in _VIEW if name in kwargs}
    shape = None if shape is None else _lengths(shape)
    origin = adapt(data, Request(axis, length, shape, kwargs))
    if shape is not None and tuple(origin.shape) != shape:
        raise FormatError(f"shape is {shape}, but the data have shape {tuple(origin.shape)}")
    if not origin.shape:
        raise FormatError("a single value has no axis to produce along")
    kind = (
        ItemProducer
        if isinstance(origin, ItemsBuffer) or isinstance(data, ItemProducer)
        else Producer
    )
    pro = kind(origin, length, axis, overlap=view.get("overlap", 0), prefetch=view.get("prefetch"))
    return _restricted(pro, view, mask)


def _restricted(pro: Producer, view: dict[str, Any], mask: Any) -> Producer:
    size = pro.shape[normal_axis(pro.axis, pro.ndim)]
    start, stop, _ = slice(view.get("start"), view.get("stop")).indices(size)
    if mask is not None:
        packed = pack_mask(mask, size, strict=bool(view.get("strict_mask")))
        start, stop = packed.rank(start), packed.rank(stop)
        pro = pro.masked(packed)
    pro = pro.slice(start, max(start, stop))
    return pro.flip() if view.get("reverse") else pro


def _lengths(shape: Any) -> tuple[int, ...]:
    lengths = tuple(map(operator.index, shape if np.iterable(shape) else (shape,)))
    if any(n < 0 for n in lengths):
        raise FormatError(f"shape is {lengths}; a length cannot be negative")
    return lengths


def _whole(chunksize: Any) -> int:
    """Take a whole number, also if it is written as a float such as 30e4."""
    if isinstance(chunksize, float | np.floating) and float(chunksize).is_integer():
        chunksize = int(chunksize)
    try:
        length = operator.index(chunksize)
    except TypeError:
        raise ValueError(f"chunksize must be a whole number, got {chunksize!r}") from None
    if length < 1:
        raise ValueError(f"chunksize is {length}; a chunk needs at least 1 sample")
    return length
