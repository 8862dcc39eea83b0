"""Sources whose data stay on disk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike, fsdecode
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ecogsource.buffers import Buffer, BufferBinder, HDF5Buffer, ReadOnlyBuffer, as_buffer
from ecogsource.datasource.aligned import join_aligned
from ecogsource.datasource.base import ElectrodeDataSource
from ecogsource.errors import JoinError


class MappedSource(ElectrodeDataSource):
    """Channels x time on disk, sliced like a NumPy array.

    Parameters
    ----------
    data_buffer : Buffer, h5py.Dataset or array_like
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
    raise_on_big_slice : bool
        Whether slices are held to the memory limit.
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
        does not have, or if a mask, the names or an aligned array have the wrong length.

    Examples
    --------
    >>> source = MappedSource(np.arange(12.0).reshape(3, 4), channel_mask=[True, False, True])
    >>> source[:, -2:]
    array([[ 2.,  3.],
           [10., 11.]])
    """

    _read_ahead = 1

    def __init__(
        self,
        data_buffer: Any,
        electrode_field: str = "data",
        electrode_channels: Sequence[int] | np.ndarray | None = None,
        channel_mask: ArrayLike | None = None,
        aligned_arrays: Mapping[str, Any] | None = None,
        transpose: bool = False,  # noqa: FBT001, FBT002 - ecogdata's signature
        raise_on_big_slice: bool = True,  # noqa: FBT001, FBT002
        *,
        fs: float | None = None,
        units: str | None = None,
        channel_names: Sequence[str] | None = None,
    ) -> None:
        super().__init__(
            as_buffer(data_buffer),
            electrode_field,
            electrode_channels,
            channel_mask,
            aligned_arrays,
            transpose=transpose,
            raise_on_big_slice=raise_on_big_slice,
            fs=fs,
            units=units,
            channel_names=channel_names,
        )

    @classmethod
    def from_hdf_sources(
        cls,
        files: Any,
        electrode_field: str,
        aligned_arrays: Iterable[str | tuple[str, Any]] = (),
        units_scale: Any = None,
        transpose: bool = False,  # noqa: FBT001, FBT002 - ecogdata's signature
        real_slices: bool = True,  # noqa: FBT001, FBT002
        *,
        mode: str = "r",
        **same: Any,
    ) -> MappedSource:
        """Map one dataset of one or many HDF5 files, joined end to end.

        Parameters
        ----------
        files : path, h5py.File, or sequence of them
            The files, in order.
        electrode_field : str
            Name of the dataset.
        aligned_arrays : iterable of str or (str, units_scale)
            Names of other datasets on the same clock, with a scale of their own if they have
            one.
        units_scale : float or (offset, factor), optional
            ``value = (stored + offset) * factor`` for the electrode data.
        transpose : bool
            Whether the files are time x channels.
        real_slices : bool
            Accepted for users of ecogdata; reading is always exact.
        mode : {'r', 'r+'}
            Whether files given by path may be written.
        **same
            All other parameters of :class:`MappedSource`.

        Returns
        -------
        MappedSource
            One source.

        Raises
        ------
        DataPathError
            If a file or a dataset does not exist.
        FormatError
            If a file is not HDF5.
        JoinError
            If the files do not fit together.
        """
        single = isinstance(files, (str, bytes, PathLike)) or not isinstance(files, Sequence)
        parts = [files] if single else list(files)
        axis = 0 if transpose else -1

        def bind(field: str, scale: Any) -> Buffer:
            buffers = [_hdf5_buffer(part, field, scale, mode, real_slices) for part in parts]
            return buffers[0] if len(buffers) == 1 else _bind_along_time(buffers, axis)

        aligned = {}
        for item in aligned_arrays:
            name, scale = item if isinstance(item, tuple) else (item, None)
            aligned[name] = bind(name, scale)
        return cls(
            bind(electrode_field, units_scale),
            electrode_field,
            aligned_arrays=aligned,
            transpose=transpose,
            **same,
        )

    def join(self, other: ElectrodeDataSource, *more: ElectrodeDataSource) -> MappedSource:
        """Join sources end to end; nothing is copied.

        Parameters
        ----------
        other : MappedSource or PlainArraySource
            What follows this source.
        *more : MappedSource or PlainArraySource
            What follows that.

        Returns
        -------
        MappedSource
            All samples, one after the other, and their aligned arrays. Files may differ in
            orientation. It is writeable if the files are; parts in memory follow them.

        Raises
        ------
        JoinError
            If the sources differ in active channels, rate, units, aligned arrays, or in whether
            their files may be written.
        """
        parts: list[ElectrodeDataSource] = [self, other, *more]
        check_joinable(parts)
        same_layout = all(
            part._oriented.shape[0] == self._oriented.shape[0]
            and np.array_equal(part._electrode_channels, self._electrode_channels)
            and np.array_equal(part._mask, self._mask)
            for part in parts
        )
        straight = same_layout and all(part._transpose == self._transpose for part in parts)
        if straight:
            buffers = [part.data_buffer for part in parts]
        elif same_layout:
            buffers = [part._oriented for part in parts]
        else:
            buffers = [part.as_buffer() for part in parts]
        if not all(part.writeable for part in parts):
            # What is in memory can always be written; in a join with files it follows them.
            buffers = [
                buffer if isinstance(part, MappedSource) else ReadOnlyBuffer(buffer)
                for buffer, part in zip(buffers, parts, strict=True)
            ]
        transpose = straight and self._transpose
        return MappedSource(
            BufferBinder(buffers, axis=0 if transpose else -1),
            self.electrode_field,
            self._electrode_channels if same_layout else None,
            self._mask if same_layout else None,
            join_aligned([part.aligned_arrays for part in parts]),
            transpose,
            self._raise_on_big_slice,
            fs=self.fs,
            units=self.units,
            channel_names=self._names if same_layout else self.channel_names,
        )


def check_joinable(parts: Sequence[ElectrodeDataSource]) -> None:
    """Refuse to join sources that do not fit together.

    Parameters
    ----------
    parts : sequence of ElectrodeDataSource
        The sources, in order.

    Raises
    ------
    JoinError
        Naming the first part that differs from the first one, and in what.
    """
    first = parts[0]
    for number, part in enumerate(parts[1:], start=1):
        if part.shape[0] != first.shape[0]:
            raise JoinError(
                f"cannot join: part {number} has {part.shape[0]} active channels, part 0 has "
                f"{first.shape[0]}; set the same channel mask, or use join_datasets() to keep "
                "the channels that all parts share"
            )
        for name in ("fs", "units", "channel_names"):
            mine, theirs = getattr(first, name), getattr(part, name)
            if mine is not None and theirs is not None and mine != theirs:
                raise JoinError(f"cannot join: part {number} has {name} {theirs}, part 0 {mine}")


def _hdf5_buffer(
    part: Any,
    field: str,
    scale: Any,
    mode: str,
    real_slices: bool,  # noqa: FBT001
) -> HDF5Buffer:
    if isinstance(part, (str, bytes, PathLike)):
        return HDF5Buffer.from_path(fsdecode(part), field, units_scale=scale, mode=mode)
    if field not in part:
        return HDF5Buffer.from_path(part.filename, field)
    return HDF5Buffer(part[field], scale, real_slices)


def _bind_along_time(buffers: list[Any], axis: int) -> BufferBinder:
    # An array without channels has one axis, whatever the orientation of the data.
    return BufferBinder(buffers, axis=axis if buffers[0].ndim > 1 else 0)
