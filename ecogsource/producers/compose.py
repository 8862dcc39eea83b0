"""Producers made of producers: functions, masks, joins, other chunks. Nothing is read."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike

from ecogsource.buffers import ArrayBuffer, Buffer
from ecogsource.errors import FormatError, JoinError
from ecogsource.indexing import plan_blocks
from ecogsource.producers.adapters import Request, adapt, join_origins, normal_axis
from ecogsource.producers.base import ProducerBase
from ecogsource.producers.lazy import Call, MappedBuffer, MappedStream
from ecogsource.producers.masks import PackedMask, masked
from ecogsource.producers.streams import MaskedStream
from ecogsource.producers.walking import Origin, narrow, walk
from ecogsource.producers.windows import window_selection

if TYPE_CHECKING:
    from ecogsource.producers.core import Producer

__all__ = ["ComposingMixin", "Zipped", "apply", "pack_mask"]

_MASK_LENGTH = 2**20


class ComposingMixin(ProducerBase):
    """What makes new producers of a producer, which stays as it is."""

    # -- other chunks --------------------------------------------------------------------------

    def rechunk(self, chunksize: int, overlap: int = 0) -> Producer:
        """Make a producer of the same data in chunks of another length.

        Parameters
        ----------
        chunksize : int
            Samples per chunk.
        overlap : int
            Samples that neighbouring chunks share.

        Raises
        ------
        ValueError
            If `chunksize` is not positive, or `overlap` is negative or not less than it.
        """
        return self._like(self._origin, chunksize=operator.index(chunksize), overlap=overlap)

    def slice(self, start: int | None = None, stop: int | None = None) -> Producer:
        """Make a producer of some of the samples.

        Parameters
        ----------
        start, stop : int, optional
            First sample, and the one after the last, as in a slice.
        """
        positions = range(self._origin.shape[self._axis])[start:stop]
        return self._like(narrow(self._origin, self._axis, positions))

    def flip(self) -> Producer:
        """Make a producer of the samples in reverse order.

        Raises
        ------
        ValueError
            If the data come in order, such as those of a generating function.
        """
        positions = range(self._origin.shape[self._axis])[::-1]
        return self._like(narrow(self._origin, self._axis, positions))

    def masked(self, mask: Any) -> Producer:
        """Make a producer of the samples where a mask is True, in chunks of full length.

        Parameters
        ----------
        mask : array_like of bool, or anything that can be produced from
            One boolean per sample. Where mask and data differ in length the shorter one ends the
            production, with a warning. A mask is gone through once, now, and kept with an eighth
            of a byte per sample.

        Raises
        ------
        FormatError
            If the mask is not boolean or not one-dimensional.
        """
        axis = self._axis
        packed = pack_mask(mask, self._origin.shape[axis])
        if isinstance(self._origin, Buffer):
            return self._like(masked(self._origin, axis, packed))
        return self._like(MaskedStream(self._origin, packed))

    # -- several at once -----------------------------------------------------------------------

    def concatenate(self, *others: Any) -> Producer:
        """Make a producer that goes on with other data along the same axis.

        Parameters
        ----------
        *others : producer, or anything that can be produced from
            What follows, in order.

        Raises
        ------
        JoinError
            If the data differ off the axis.
        """
        self._numeric("concatenate()")
        request = Request(self.axis, self._chunksize, None, {})
        origins = [self._origin, *(adapt(other, request) for other in others)]
        return self._like(join_origins(origins, self._axis, self._chunksize))

    def zip(self, *others: Producer) -> Zipped:
        """Go through several producers together.

        Parameters
        ----------
        *others : Producer
            Producers of as many samples; their chunks are cut like those of this one.

        Returns
        -------
        Zipped
            An iterable of tuples of chunks; its `map` makes a producer.

        Raises
        ------
        JoinError
            If the producers differ in their number of samples.
        """
        return Zipped(self, *others)  # type: ignore[arg-type]

    def map(
        self,
        function: Callable[..., Any],
        *,
        shape: tuple[int, ...] | Callable[..., tuple[int, ...]] | None = None,
        dtype: DTypeLike | None = None,
        margin: int = 0,
        axis: int | None = None,
        **kwargs: Any,
    ) -> Producer:
        """Make a producer of a function of the chunks.

        The function is called with the chunks of this producer (and `margin` further samples on
        both sides, as far as there are any), however the result is cut afterwards.

        Parameters
        ----------
        function : callable
            Takes an array, returns an array. What it returns is copied, as it may use the same
            memory for its next result; results of NumPy's universal functions are not.
        shape : tuple of int or callable, optional
            Shape of the whole result; or the rule by which the shape of a result follows from
            the shape of the argument, for chunks and for the whole. By default results have the
            shape of the arguments. If the result has as many samples as this producer, each call
            must give as many as it got.
        dtype : dtype_like, optional
            Type of the result. By default the function is called once, now, on the first chunk.
        margin : int
            How many samples on both sides a result depends on. With it, a function of
            neighbourhoods gives the same whatever the chunks.
        axis : int, optional
            Axis of the samples in the result; by default that of this producer.
        **kwargs
            Passed on to the function.

        Returns
        -------
        Producer
            Of the results, end to end, in chunks of the same `chunksize`.

        Raises
        ------
        FormatError
            During iteration, if a result does not have the shape or type that was said.
        ValueError
            If `margin` is negative, or given for results of other lengths.
        """
        options = {"shape": shape, "dtype": dtype, "margin": margin, "axis": axis}
        return Zipped(self).map(function, **options, **kwargs)  # type: ignore[arg-type]


class Zipped:
    """Several producers that are gone through together.

    Parameters
    ----------
    *producers : Producer
        Producers of equally many samples. Chunks are cut like those of the first.
    """

    def __init__(self, *producers: Producer) -> None:
        first = producers[0]
        for number, pro in enumerate(producers):
            pro._numeric("going through several producers together")
            if pro.shape[pro._axis] != first.shape[first._axis]:
                raise JoinError(
                    f"producer {number} has {pro.shape[pro._axis]} samples, the first has "
                    f"{first.shape[first._axis]}; restrict them with slice(start, stop)"
                )
        options = first.chunksize, first.overlap
        self.producers = (first, *(pro.rechunk(*options) for pro in producers[1:]))

    def __len__(self) -> int:
        return len(self.producers[0])

    def __iter__(self) -> Iterator[tuple[np.ndarray, ...]]:
        return zip(*self.producers, strict=True)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {', '.join(map(repr, self.producers))}>"

    def map(
        self,
        function: Callable[..., Any],
        *,
        shape: tuple[int, ...] | Callable[..., tuple[int, ...]] | None = None,
        dtype: DTypeLike | None = None,
        margin: int = 0,
        axis: int | None = None,
        **kwargs: Any,
    ) -> Producer:
        """Make a producer of a function of one chunk of each; see :meth:`Producer.map`.

        By default results have the shape of the first argument. A shape rule gets one shape per
        producer.
        """
        first = self.producers[0]
        if (margin := operator.index(margin)) < 0:
            raise ValueError(f"margin is {margin}; it cannot be negative")
        call = Call(
            partial(function, **kwargs) if kwargs else function,
            tuple((pro.produced_from, pro._axis) for pro in self.producers),
            first.chunksize,
            margin,
        )
        rule = _first_shape if shape is None else shape
        return apply(call, rule, dtype, first, axis)


def _first_shape(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    return shapes[0]


def apply(
    call: Call,
    shape: tuple[int, ...] | Callable[..., tuple[int, ...]],
    dtype: DTypeLike | None,
    like: Producer,
    axis: int | None = None,
) -> Producer:
    """Make a producer of what a call gives.

    Parameters
    ----------
    call : Call
        A function and its inputs.
    shape : tuple of int or callable
        Shape of the whole result, or the rule of shapes.
    dtype : dtype_like or None
        Type of the result; found by a call if None.
    like : Producer
        What the new producer is like.
    axis : int, optional
        Axis of the samples in the result; by default that of `like`.

    Returns
    -------
    Producer
        Of the results, end to end.

    Raises
    ------
    ValueError
        If there is a margin and the results have other lengths.
    """
    first = slice(0, min(call.length, call.size))

    def shapes(window: slice) -> list[tuple[int, ...]]:
        return [window_selection(o.shape, a, window).shape for o, a in call.inputs]

    if callable(shape):
        rule, whole = shape, tuple(shape(*shapes(slice(0, call.size))))
    else:
        rule, whole = None, tuple(shape)
    axis = like.axis if axis is None else axis
    position = normal_axis(axis, len(whole))
    keeps_length = whole[position] == call.size
    if rule is not None and keeps_length:
        keeps_length = rule(*shapes(first))[position] == first.stop
    if call.margin and not keeps_length:
        raise ValueError(
            f"a margin needs results of as many samples as the arguments have; by its shape "
            f"{whole} the result has {whole[position]} of {call.size} samples"
        )
    if dtype is None:
        dtype = _probe(call, first)
    if keeps_length and all(isinstance(origin, Buffer) for origin, _ in call.inputs):
        made: Origin = MappedBuffer(call, whole, position, dtype)
    else:
        made = MappedStream(call, whole, position, dtype, "same" if keeps_length else rule)
    return like._like(made, axis, overlap=0)


def _probe(call: Call, first: slice) -> np.dtype:
    """Find the type of the results."""
    if first.start == first.stop:
        return np.result_type(*(origin.dtype for origin, _ in call.inputs))
    (result,) = call.over([first], 0)
    return np.asarray(result).dtype


def pack_mask(mask: Any, size: int, *, strict: bool = False) -> PackedMask:
    """Go through a mask once and keep it packed, as long as the data at most.

    Parameters
    ----------
    mask : PackedMask, array_like of bool, or anything that can be produced from
        One boolean per sample.
    size : int
        Number of samples of the data.
    strict : bool
        Whether a mask of another length is an error, not a warning.

    Returns
    -------
    PackedMask
        Of `size` samples, or fewer if the mask is shorter.

    Raises
    ------
    FormatError
        If the mask is not boolean or not one-dimensional, or `strict` and of another length.
    """
    if isinstance(mask, PackedMask):
        return mask.upto(size)
    data = np.asarray(mask) if isinstance(mask, list | tuple) else mask
    origin = adapt(data, Request(0, _MASK_LENGTH, None, {}))
    if isinstance(origin, ArrayBuffer):
        packed = PackedMask([origin.array])
    else:
        packed = PackedMask(walk(origin, 0, plan_blocks(origin.shape[0], _MASK_LENGTH)))
    if packed.size != size:
        lengths = f"the mask has {packed.size} samples, the data have {size}"
        if strict:
            raise FormatError(lengths)
        message = f"{lengths}: production ends with the shorter one"
        warnings.warn(message, UserWarning, stacklevel=4)
    return packed.upto(size)
