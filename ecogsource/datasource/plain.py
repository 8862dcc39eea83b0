"""Sources whose data are in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ecogsource.buffers import ArrayBuffer
from ecogsource.datasource.aligned import join_aligned
from ecogsource.datasource.base import ElectrodeDataSource
from ecogsource.datasource.mapped import MappedSource, check_joinable
from ecogsource.memory import check_allocation


class PlainArraySource(ElectrodeDataSource):
    """Channels x time in memory, with the methods of a mapped source.

    Parameters
    ----------
    data_matrix : array_like
        Channels x time. An ``ndarray`` is used as it is, not copied.
    electrode_field : str
        Name of the data.
    channel_mask : array_like of bool, optional
        One value per channel; False leaves the channel out.
    aligned_arrays : mapping of str to array_like, optional
        Other arrays on the same clock. Each becomes an attribute of its name.
    fs : float, optional
        Samples per second, in Hz.
    units : str, optional
        Unit of the values.
    channel_names : sequence of str, optional
        One name per channel.

    Raises
    ------
    FormatError
        If the matrix is not two-dimensional, or if a mask, the names or an aligned array have
        the wrong length.
    """

    def __init__(
        self,
        data_matrix: ArrayLike,
        electrode_field: str = "data",
        channel_mask: ArrayLike | None = None,
        aligned_arrays: Mapping[str, Any] | None = None,
        *,
        fs: float | None = None,
        units: str | None = None,
        channel_names: Sequence[str] | None = None,
    ) -> None:
        aligned = {name: np.asarray(array) for name, array in (aligned_arrays or {}).items()}
        super().__init__(
            ArrayBuffer(data_matrix),
            electrode_field,
            None,
            channel_mask,
            aligned,
            # What is in memory already may be copied once more.
            raise_on_big_slice=False,
            fs=fs,
            units=units,
            channel_names=channel_names,
        )

    @property
    def data_matrix(self) -> np.ndarray:
        """The array itself, all channels x time, masked or not."""
        return self.data_buffer.array  # type: ignore[attr-defined]

    def join(
        self, other: ElectrodeDataSource, *more: ElectrodeDataSource
    ) -> PlainArraySource | MappedSource:
        """Join sources end to end.

        Parameters
        ----------
        other : PlainArraySource or MappedSource
            What follows this source.
        *more : PlainArraySource or MappedSource
            What follows that.

        Returns
        -------
        PlainArraySource or MappedSource
            A copy in memory if all parts are in memory, else a join without a copy.

        Raises
        ------
        JoinError
            If the sources differ in active channels, rate, units or aligned arrays.
        MemoryBlowOutError
            If a copy would exceed the memory limit.
        """
        parts: list[ElectrodeDataSource] = [self, other, *more]
        if not all(isinstance(part, PlainArraySource) for part in parts):
            return MappedSource.join(self, other, *more)  # type: ignore[arg-type]
        check_joinable(parts)
        dtype = np.result_type(*(part.dtype for part in parts))
        shape = (self.shape[0], sum(part.shape[1] for part in parts))
        nbytes = shape[0] * shape[1] * dtype.itemsize
        check_allocation(nbytes, shape=shape, dtype=dtype, what="join")
        return PlainArraySource(
            np.concatenate([part.read(()) for part in parts], axis=1),
            self.electrode_field,
            aligned_arrays=join_aligned([part.aligned_arrays for part in parts]),
            fs=self.fs,
            units=self.units,
            channel_names=self.channel_names,
        )
