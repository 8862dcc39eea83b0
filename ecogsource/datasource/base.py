"""What every source can do: channels x time, masked, guarded, walked over, reduced."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from ecogsource._closing import Closing
from ecogsource.buffers import Buffer, SelectedBuffer
from ecogsource.datasource.aligned import check_aligned
from ecogsource.datasource.blocks import WalkingMixin
from ecogsource.datasource.bridges import BridgeMixin
from ecogsource.datasource.processing import ProcessingMixin
from ecogsource.datasource.reducing import Axes, ReducingMixin
from ecogsource.datasource.reductions import Blocks, normalize_axis
from ecogsource.errors import FormatError
from ecogsource.indexing import (
    Selection,
    Selector,
    as_slice,
    compose_selector,
    normalize_index,
    simplify,
)
from ecogsource.memory import check_allocation, format_bytes

if TYPE_CHECKING:
    from typing_extensions import Self

# Which sources may be sliced without the guard, or give sources for slices of channels, in the
# running context: state of the caller, not of the source, so that threads do not disturb
# each other.
_UNGUARDED: ContextVar[frozenset[int]] = ContextVar("unguarded", default=frozenset())
_MAPS: ContextVar[frozenset[int]] = ContextVar("channels_are_maps", default=frozenset())


class ElectrodeDataSource(WalkingMixin, ReducingMixin, ProcessingMixin, BridgeMixin, Closing):
    """Channels x time, whatever the layout underneath.

    :class:`~ecogsource.datasource.MappedSource` (data on disk) and
    :class:`~ecogsource.datasource.PlainArraySource` (data in memory) are the sources to use.

    Parameters
    ----------
    data_buffer : Buffer
        Two-dimensional data: channels x time, or time x channels with `transpose`.
    electrode_field : str
        Name of the data in their file.
    electrode_channels : sequence of int, optional
        Which channels of the buffer are electrodes, in which order; all of them by default.
    channel_mask : array_like of bool, optional
        One value per electrode channel; False leaves the channel out.
    aligned_arrays : mapping of str to Buffer or array_like, optional
        Other arrays on the same clock. Each becomes an attribute of its name, with time on its
        last axis.
    transpose : bool
        Whether the buffer is time x channels.
    fs : float, optional
        Samples per second, in Hz.
    units : str, optional
        Unit of the values.
    channel_names : sequence of str, optional
        One name per electrode channel.

    Raises
    ------
    FormatError
        If the buffer is not two-dimensional, if there are electrode channels that the buffer
        does not have, if a mask, the names or an aligned array have the wrong length, or if
        `fs` is not a positive number.
    """

    def __init__(
        self,
        data_buffer: Buffer,
        electrode_field: str,
        electrode_channels: Sequence[int] | np.ndarray | None,
        channel_mask: ArrayLike | None,
        aligned_arrays: Mapping[str, Any] | None,
        *,
        transpose: bool = False,
        raise_on_big_slice: bool = True,
        fs: float | None = None,
        units: str | None = None,
        channel_names: Sequence[str] | None = None,
    ) -> None:
        if data_buffer.ndim != 2:
            raise FormatError(
                f"a source needs two-dimensional data, got shape {data_buffer.shape} "
                f"from {data_buffer.filename or data_buffer!r}"
            )
        self.data_buffer = data_buffer
        self.electrode_field = electrode_field
        self.fs = None if fs is None else float(fs)
        if self.fs is not None and not 0 < self.fs < math.inf:
            raise FormatError(f"fs must be a positive number of Hz, or None, got {fs}")
        self.units = units
        self._transpose = transpose
        self._raise_on_big_slice = raise_on_big_slice
        self._oriented = data_buffer.T if transpose else data_buffer
        self._electrode_channels = _electrodes(electrode_channels, self._oriented)
        self._names = _names(channel_names, len(self._electrode_channels))
        n_samples = self._oriented.shape[1]
        self.aligned_arrays = check_aligned(aligned_arrays or {}, n_samples, transpose=transpose)
        self.set_channel_mask(channel_mask)

    # -- channels ------------------------------------------------------------------------------

    @property
    def binary_channel_mask(self) -> np.ndarray:
        """The channel mask: one bool per electrode channel, a copy."""
        return self._mask.copy()

    def set_channel_mask(self, mask: ArrayLike | None) -> None:
        """Choose the active channels.

        Parameters
        ----------
        mask : array_like of bool, or None
            One value per electrode channel, whatever mask was set before; False leaves the
            channel out. None makes all of them active.

        Raises
        ------
        FormatError
            If the mask is not one boolean per electrode channel.
        """
        count = len(self._electrode_channels)
        chosen = np.ones(count, dtype=bool) if mask is None else np.asarray(mask)
        if chosen.dtype != bool and np.isin(chosen, (0, 1)).all():
            chosen = chosen.astype(bool)
        if chosen.dtype != bool or chosen.shape != (count,):
            raise FormatError(
                f"a channel mask for this source is {count} booleans, one per electrode channel; "
                f"got {chosen.dtype.name} of shape {chosen.shape}"
            )
        self._mask = chosen.copy()
        self._active_channels = self._electrode_channels[chosen]
        active = simplify(self._active_channels)
        if isinstance(active, range) and active == range(self._oriented.shape[0]):
            self._view = self._oriented
        else:
            self._view = SelectedBuffer(self._oriented, 0, active)
        self.shape: tuple[int, int] = (len(active), self._oriented.shape[1])
        self.dtype: np.dtype = self._view.dtype

    @property
    def channel_names(self) -> list[str] | None:
        """Names of the active channels, if they are known."""
        if self._names is None:
            return None
        return [name for name, keep in zip(self._names, self._mask, strict=True) if keep]

    @property
    def is_direct_map(self) -> bool:
        """Whether the active channels are the channels of the buffer, all and in order."""
        return self._view is self.data_buffer

    def select_channels(self, channels: Any) -> Self:
        """Make a source of some of the active channels, sharing the buffer.

        Parameters
        ----------
        channels : int, slice, list or mask
            Which of the active channels.

        Returns
        -------
        source
            A source of the same kind, with these as its electrode channels.

        Raises
        ------
        IndexError
            If there is no such channel.
        """
        rows = np.arange(len(self._active_channels))[channels].reshape(-1)
        names = self.channel_names
        return self._with_channels(
            self._active_channels[rows],
            None if names is None else [names[row] for row in rows],
        )

    def _with_channels(self, electrode_channels: np.ndarray, names: list[str] | None) -> Self:
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.__dict__.pop("_slice_cache", None)
        twin._electrode_channels, twin._names = electrode_channels, names
        twin.set_channel_mask(None)
        return twin

    @contextlib.contextmanager
    def channels_are_maps(self) -> Iterator[Self]:
        """Within this context, slicing only channels gives a source and reads nothing.

        Yields
        ------
        source
            This source. :meth:`select_channels` does the same without a context.
        """
        token = _MAPS.set(_MAPS.get() | {id(self)})
        try:
            yield self
        finally:
            _MAPS.reset(token)

    # -- reading and writing -------------------------------------------------------------------

    @property
    def ndim(self) -> int:
        """Two: channels and time."""
        return 2

    @property
    def writeable(self) -> bool:
        """Whether ``source[index] = values`` is allowed."""
        return self.data_buffer.writeable

    def as_buffer(self) -> Buffer:
        """View the active channels x time as a buffer, without the memory limit of a source.

        Returns
        -------
        Buffer
            A view; it keeps the channels that are active now.
        """
        return self._view

    def read_into(self, selection: Selection, out: np.ndarray) -> None:
        """Read a normalised selection of channels x time into memory of the caller.

        Parameters
        ----------
        selection : Selection
            Outer product of a selector of channels and one of time.
        out : numpy.ndarray
            Array of the selection's shape, of any strides.
        """
        self._view.read_into(selection, out)

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
            The values, in :attr:`units`: `out`, or a new array.

        Raises
        ------
        IndexError
            As NumPy does.
        MemoryBlowOutError
            If a new array would exceed the memory limit.
        """
        return self._view._read(normalize_index(index, self.shape), out, guarded=self._guarded())

    def __getitem__(self, index: Any) -> Any:
        if id(self) in _MAPS.get():
            channels = self._only_channels(index)
            if channels is not None:
                return self.select_channels(channels)
        result = self.read(index)
        return result[()] if result.ndim == 0 else result

    def _only_channels(self, index: Any) -> Any:
        """Give the channel part of an index that takes all of time, else None."""
        first, *rest = index if isinstance(index, tuple) and index else (index,)
        # What adds an axis, or chooses channels and samples at once, is none of channels.
        if first is None or isinstance(first, (tuple, bool, np.bool_)) or np.ndim(first) > 1:
            return None
        everything = all(
            item is Ellipsis or (isinstance(item, slice) and item == slice(None)) for item in rest
        )
        return first if everything and len(rest) < self.ndim else None

    def __setitem__(self, index: Any, value: ArrayLike) -> None:
        self._view[index] = value

    @property
    def oindex(self) -> Any:
        """Orthogonal indexing: ``source.oindex[channels, samples]`` crosses its lists."""
        return self._view.oindex

    def __array__(
        self,
        dtype: DTypeLike | None = None,
        copy: bool | None = None,  # noqa: FBT001 - NumPy's protocol
    ) -> np.ndarray:
        if copy is False:
            raise ValueError("a source cannot become an array without a copy")
        values = self.read(())
        return values if dtype is None else values.astype(dtype, copy=False)

    @property
    def raw(self) -> Self:
        """The same source of the stored numbers, without scaling."""
        raw = self.data_buffer.raw
        if raw is self.data_buffer:
            return self
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.__dict__.pop("_slice_cache", None)
        twin.data_buffer, twin.units = raw, None
        twin._oriented = raw.T if self._transpose else raw
        twin.set_channel_mask(self._mask)
        return twin

    def __len__(self) -> int:
        return self.shape[0]

    # -- the guard -----------------------------------------------------------------------------

    def _blocks(self, name: str, axis: int | Axes | None) -> tuple[Blocks, Axes]:
        walk = partial(self.iter_blocks, return_slice=True)
        return Blocks(self.shape, self.dtype, 1, walk), normalize_axis(axis, 2)

    def _guarded(self) -> bool:
        return self._raise_on_big_slice and id(self) not in _UNGUARDED.get()

    @contextlib.contextmanager
    def big_slices(self) -> Iterator[Self]:
        """Within this context, slices of this source are not held to the memory limit.

        Yields
        ------
        source
            This source.
        """
        token = _UNGUARDED.set(_UNGUARDED.get() | {id(self)})
        try:
            yield self
        finally:
            _UNGUARDED.reset(token)

    def _slice_logic(self, index: Any) -> tuple[Any, ...]:
        """Translate an index of this source for its buffer.

        Parameters
        ----------
        index : object
            Any index that NumPy accepts, but for those that pair two lists.

        Returns
        -------
        tuple of int, slice or numpy.ndarray
            One orthogonal selector per axis of `data_buffer`, in its order.

        Raises
        ------
        IndexError
            If the index pairs lists, or as NumPy does.
        """
        normal = normalize_index(index, self.shape)
        if normal.selection is None:
            raise IndexError("an index that pairs lists is no outer product of channels and time")
        channels, time = normal.selection.selectors
        through = compose_selector(channels, simplify(self._active_channels))
        pair: tuple[Selector, ...] = (time, through) if self._transpose else (through, time)
        return tuple(as_slice(s) if isinstance(s, range) else s for s in pair)

    def _check_slice_size(self, selection: tuple[Any, ...]) -> None:
        """Refuse a selection of the buffer that would exceed the memory limit.

        Parameters
        ----------
        selection : tuple
            As :meth:`_slice_logic` gives it.

        Raises
        ------
        MemoryBlowOutError
            Unless within :meth:`big_slices`, or if the source was made without the guard.
        """
        if not self._guarded():
            return
        normal = normalize_index(selection, self.data_buffer.shape)
        nbytes = int(np.prod(normal.shape, dtype=object)) * self.dtype.itemsize
        check_allocation(nbytes, shape=normal.shape, dtype=self.dtype)

    # -- everyday life -------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        # Called only for names that are not found otherwise; __dict__ because an unpickled
        # source asks before it has attributes.
        aligned = self.__dict__.get("aligned_arrays", {})
        if name in aligned:
            return aligned[name]
        known = f" and no aligned array {name!r} (has: {', '.join(aligned)})" if aligned else ""
        raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}{known}")

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.aligned_arrays]

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        # Slices that are being read belong to this process.
        state.pop("_slice_cache", None)
        return state

    def close(self) -> None:
        """Let go of the files; they are reopened if the source is read again."""
        self.data_buffer.close()
        for array in self.aligned_arrays.values():
            if isinstance(array, Buffer):
                array.close()

    def _facts(self) -> dict[str, str]:
        """Collect what the representations say."""
        n_channels, n_samples = self.shape
        facts = {"channels": f"{n_channels}", "samples": f"{n_samples}"}
        masked = int((~self._mask).sum())
        if masked:
            facts["channels"] += f" ({masked} masked)"
        if self.fs:
            facts["rate"] = f"{self.fs:g} Hz"
            facts["duration"] = f"{n_samples / self.fs:.3f} s"
        facts["dtype"] = self.dtype.name
        if self.units:
            facts["units"] = self.units
        facts["size"] = format_bytes(n_channels * n_samples * self.dtype.itemsize)
        if self.aligned_arrays:
            facts["aligned"] = ", ".join(
                f"{name} {tuple(array.shape)}" for name, array in self.aligned_arrays.items()
            )
        facts["data"] = repr(self.data_buffer)
        return facts

    def __repr__(self) -> str:
        facts = ", ".join(f"{name}: {value}" for name, value in self._facts().items())
        return f"<{type(self).__name__} {facts}>"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{escape(name)}</th>"
            f"<td style='text-align:left'>{escape(value)}</td></tr>"
            for name, value in self._facts().items()
        )
        return f"<table><caption>{escape(type(self).__name__)}</caption>{rows}</table>"


def _electrodes(channels: Sequence[int] | np.ndarray | None, oriented: Buffer) -> np.ndarray:
    count = oriented.shape[0]
    if channels is None:
        return np.arange(count)
    numbers = np.asarray(channels)
    if numbers.size == 0:
        numbers = numbers.astype(np.int64)
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
        raise FormatError(
            f"electrode_channels must be a list of channel numbers, got {numbers.dtype.name} "
            f"of shape {numbers.shape}"
        )
    wrong = numbers[(numbers < 0) | (numbers >= count)]
    if wrong.size:
        raise FormatError(
            f"electrode_channels names channel {wrong[0]}, but "
            f"{oriented.filename or 'the data'} has {count} channels (0 to {count - 1}); "
            "if the file is time x channels, pass transpose=True"
        )
    return numbers.astype(np.int64)


def _names(names: Sequence[str] | None, count: int) -> list[str] | None:
    if names is None:
        return None
    if len(names) != count:
        raise FormatError(f"got {len(names)} channel names for {count} electrode channels")
    return [str(name) for name in names]
