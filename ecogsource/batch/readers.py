"""Recordings indexed as observations x channels, whatever the order of the file."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ecogsource.batch.sidecar import normal_order, read_sidecar
from ecogsource.buffers import ArrayBuffer, Buffer, FlatBuffer, as_buffer
from ecogsource.errors import FormatError
from ecogsource.indexing import Selection, normalize_outer

__all__ = ["BinaryReader", "MemoryMap", "RecordingsReader"]

LOADERS = ("memmap", "array", "python")


class BinaryReader(FlatBuffer):
    """A large binary file, indexed like an array.

    Parameters
    ----------
    path_to_file : path-like
        The file.
    dtype : dtype_like
        Type of the stored numbers.
    shape : tuple of int
        Shape of the array; one length may be -1.
    order : {'F', 'C'}
        ``'C'``: the last axis is contiguous in the file; ``'F'``: the first one is.

    Raises
    ------
    DataPathError
        If there is no such file.
    FormatError
        If the file is shorter than the shape needs.
    """

    def __init__(
        self,
        path_to_file: str | os.PathLike[str],
        dtype: DTypeLike,
        shape: tuple[int, ...],
        order: str = "F",
    ) -> None:
        super().__init__(path_to_file, dtype, shape, order=order)


class MemoryMap(FlatBuffer):
    """A binary file with the arguments of :class:`numpy.memmap`.

    Unlike NumPy's, it holds no file open between reads, gives fresh arrays instead of views,
    and can be sent to another process.

    Parameters
    ----------
    filename : path-like
        The file.
    dtype : dtype_like
        Type of the stored numbers.
    mode : {'r', 'r+'}
        Whether it may be written.
    offset : int
        Bytes before the first number.
    shape : int or tuple of int, optional
        Shape of the array; by default the whole file in one dimension.
    order : {'C', 'F'}
        ``'C'``: the last axis is contiguous in the file; ``'F'``: the first one is.

    Raises
    ------
    ValueError
        If `mode` would create or replace the file.
    DataPathError
        If there is no such file.
    FormatError
        If the file is shorter than the shape needs.
    """

    def __init__(
        self,
        filename: str | os.PathLike[str],
        dtype: DTypeLike = np.uint8,
        mode: str = "r",
        offset: int = 0,
        shape: int | tuple[int, ...] | None = None,
        order: str = "C",
    ) -> None:
        if mode not in ("r", "r+"):
            raise ValueError(f"mode is 'r' or 'r+', got {mode!r}: a recording is never replaced")
        super().__init__(
            filename,
            dtype,
            -1 if shape is None else shape,
            order=order,
            offset=offset,
            writeable=mode == "r+",
        )


class RecordingsReader:
    """A recording, always indexed as observations x channels.

    Parameters
    ----------
    path_to_recordings : path-like, source, buffer, recording or dataset
        A flat binary file, or anything else that has data: a file of an acquisition system, a
        recording of a session (``'group/session/recording'``), a source (channels x time), or a
        buffer (in the order that `data_order` says).
    dtype : dtype_like, optional
        Type of the numbers of a binary file; from its YAML sidecar if not given.
    n_channels : int, optional
        Channels of a binary file; from its sidecar if not given.
    data_order : {'channels', 'samples'}, optional
        Which values lie together: all of a channel, or all of a sample. From the sidecar if not
        given; ``'samples'`` for buffers.
    loader : {'memmap', 'array', 'python'}
        ``'array'`` loads everything into memory; the others read what is asked for.
    buffer_size : int
        Observations to add before and after each slice, zeros beyond the ends.
    return_data_index : bool
        Whether indexing gives ``(data, index)``, where ``data[index]`` is without the buffer.
    data_format : {'wide', 'long'}, optional
        Older name of `data_order`: ``'wide'`` is ``'channels'``, ``'long'`` is ``'samples'``.

    Attributes
    ----------
    data : Buffer
        What is read, observations x channels.

    Raises
    ------
    ValueError
        If the size of the file does not fit the type and the number of channels, or an argument
        is not one of those above.
    FormatError
        If a binary file has no sidecar and the arguments do not say how to read it.
    DataPathError
        If there is no such file.
    """

    def __init__(
        self,
        path_to_recordings: Any,
        dtype: DTypeLike | None = None,
        n_channels: int | None = None,
        data_order: str | None = None,
        loader: str = "memmap",
        buffer_size: int = 0,
        return_data_index: bool = False,  # noqa: FBT001, FBT002 - YASS's signature
        *,
        data_format: str | None = None,
    ) -> None:
        if loader not in LOADERS:
            raise ValueError(f"loader is one of {', '.join(LOADERS)}, got {loader!r}")
        if buffer_size < 0:
            raise ValueError(f"buffer_size is at least 0, got {buffer_size}")
        order = normal_order(data_order if data_order is not None else data_format)
        self.data, self._order = _open(path_to_recordings, dtype, n_channels, order)
        if loader == "array":
            self.data = ArrayBuffer(self.data[...], writeable=False)
        self.buffer_size = buffer_size
        self._return_data_index = return_data_index

    @property
    def shape(self) -> tuple[int, int]:
        """Observations, channels."""
        return self.data.shape[0], self.data.shape[1]

    @property
    def observations(self) -> int:
        """Number of observations."""
        return self.data.shape[0]

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.data.shape[1]

    @property
    def dtype(self) -> np.dtype:
        """Type of the numbers that are read."""
        return self.data.dtype

    @property
    def data_order(self) -> str:
        """``'channels'`` or ``'samples'``: which values lie together in the file."""
        return self._order

    def __len__(self) -> int:
        return self.observations

    def __getitem__(self, index: Any) -> Any:
        if not self.buffer_size:
            data = self.data[index]
            return (data, index) if self._return_data_index else data
        selection = normalize_outer(index, self.data.shape)
        time, channels = selection.selectors
        if not isinstance(time, range) or time.step != 1:
            raise IndexError("with a buffer, observations are selected by a slice of step 1")
        data = self.read_padded(time.start, time.stop, channels, self.buffer_size)
        if not self._return_data_index:
            return data
        inside = slice(self.buffer_size, self.buffer_size + len(time))
        return data, (inside, slice(None))[: data.ndim]

    def read_padded(
        self,
        start: int,
        stop: int,
        channels: Any,
        margin: int,
        *,
        order: str = "C",
        empty: Callable[..., np.ndarray] = np.empty,
    ) -> np.ndarray:
        """Read observations with a margin, zeros beyond the ends of the recording.

        Parameters
        ----------
        start, stop : int
            Observations, inside the recording.
        channels : int, range or numpy.ndarray
            Canonical selector of channels.
        margin : int
            How many observations more on each side.
        order : {'C', 'F'}
            Whether observations or channels lie together in memory.
        empty : callable
            ``empty(shape, dtype)`` makes a C-contiguous array.

        Returns
        -------
        numpy.ndarray
            Shape ``(stop - start + 2 * margin, channels)``, of the type of the data.
        """
        low, high = max(0, start - margin), min(self.observations, stop + margin)
        selection = Selection.of((range(low, high), channels))
        shape = (stop - start + 2 * margin, *selection.shape[1:])
        data = empty(shape[::-1], self.dtype).T if order == "F" else empty(shape, self.dtype)
        ahead = low - (start - margin)
        data[:ahead] = 0
        data[ahead + high - low :] = 0
        self.data.read_into(selection, data[ahead : ahead + high - low])
        return data

    def __repr__(self) -> str:
        return (
            f"<RecordingsReader {self.observations} observations x {self.channels} channels, "
            f"{self.dtype.name}, data_order={self.data_order!r}>"
        )


def _open(
    data: Any, dtype: DTypeLike | None, n_channels: int | None, order: str | None
) -> tuple[Buffer, str]:
    """Give anything as a buffer of observations x channels, with its order."""
    if isinstance(data, (str, bytes, os.PathLike)):
        return _open_path(os.fsdecode(data), dtype, n_channels, order)
    # A recording or a dataset of a session stands for its main source.
    for name in ("source", "data"):
        if hasattr(data, "as_buffer") or isinstance(data, (Buffer, np.ndarray)):
            break
        data = getattr(data, name, data)
    buffer = as_buffer(data)
    if buffer.ndim != 2:
        raise FormatError(f"a recording has two dimensions, got shape {buffer.shape}")
    if hasattr(data, "as_buffer"):
        return buffer.T, "channels"
    if order == "channels":
        return buffer.T, order
    return buffer, "samples"


def _open_path(
    name: str, dtype: DTypeLike | None, n_channels: int | None, order: str | None
) -> tuple[Buffer, str]:
    path = Path(name)
    if not path.exists() and name.count("/") == 2 and not path.is_absolute():
        from ecogsource.datasets import load_experiment_auto

        session, recording = name.rsplit("/", 1)
        return _open(load_experiment_auto(session, recording).data, None, None, None)
    if dtype is None or n_channels is None or order is None:
        beside = _sidecar_of(path)
        dtype = beside.get("dtype") if dtype is None else dtype
        n_channels = beside.get("n_channels") if n_channels is None else n_channels
        order = normal_order(beside.get("data_order")) if order is None else order
    if dtype is None and n_channels is None and order is None:
        from ecogsource.io import open_recording

        return _open(open_recording(path).source, None, None, None)
    if dtype is None or n_channels is None or order is None:
        raise FormatError(
            f"{name!r} has no YAML file beside it that says how to read it: give dtype, "
            f"n_channels and data_order (got {dtype}, {n_channels}, {order})"
        )
    return _open_flat(path, np.dtype(dtype), n_channels, order), order


def _sidecar_of(path: Path) -> dict[str, Any]:
    """Read the sidecar of a file; that of another file with the same stem is none."""
    from ecogsource.io.registry import find_format

    found = read_sidecar(path)
    nbytes = found.get("nbytes")
    if nbytes is None or not path.exists() or path.stat().st_size == nbytes:
        return found
    with suppress(FormatError):
        if find_format(path).name != "flat":
            return {}
    raise FormatError(
        f"{str(path)!r} holds {path.stat().st_size} bytes, the YAML file beside it describes "
        f"{nbytes}: the file is not complete, or the YAML file belongs to another one; give dtype, "
        "n_channels and data_order to read it all the same"
    )


def _open_flat(path: Path, dtype: np.dtype, n_channels: int, order: str) -> Buffer:
    if n_channels < 1:
        raise ValueError(f"n_channels is at least 1, got {n_channels}")
    numbers = FlatBuffer(path, np.uint8, -1).shape[0] / dtype.itemsize
    if numbers % n_channels:
        raise ValueError(
            f"{str(path)!r} holds {numbers:g} numbers of type {dtype.name}, which is no multiple "
            f"of {n_channels} channels: dtype, n_channels or the file is wrong"
        )
    shape = (int(numbers) // n_channels, n_channels)
    return FlatBuffer(path, dtype, shape, order="C" if order == "samples" else "F")
