"""What is done to every batch, and where its results go. It travels to workers as a recipe."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import deflate
import numpy as np

from ecogsource.batch.plan import Batch
from ecogsource.batch.readers import RecordingsReader
from ecogsource.errors import BatchError

__all__ = ["Job", "Placed", "Target", "as_results", "place_results"]

# Waiting for the disk at the end takes longer than handing it over piece by piece.
_START_WRITING = getattr(os, "POSIX_FADV_DONTNEED", None)


@dataclass(frozen=True)
class Target:
    """Where workers put their results themselves.

    Parameters
    ----------
    path : str
        File, large enough already.
    row_bytes : int
        Bytes of one row of results.
    rows : int
        Rows of one channel of the file; 0 if all channels of an observation lie together.
    row_shape : tuple of int
        Shape of a row.
    dtype : str
        Type of the results.
    origin : int
        Observation of the first row.
    places : dict, optional
        For each channel of the recording, its place in the file.
    """

    path: str
    row_bytes: int
    rows: int
    row_shape: tuple[int, ...]
    dtype: str
    origin: int
    places: dict[int, int] = field(default_factory=dict)

    def offset(self, batch: Batch, channel: int) -> int:
        """Give the place of a batch in the file.

        Parameters
        ----------
        batch : Batch
            Which batch.
        channel : int
            Which of its channels, if each has a place of its own.

        Returns
        -------
        int
            In bytes.
        """
        row = batch.start - self.origin
        if self.rows:
            row += self.places[int(channel)] * self.rows
        return row * self.row_bytes


@dataclass(frozen=True)
class Placed:
    """What is said of results that are in their file.

    Parameters
    ----------
    checksum : int
        CRC-32 of the bytes that were written.
    """

    checksum: int


@dataclass(frozen=True)
class Job:
    """What is done to every batch.

    Parameters
    ----------
    reader : RecordingsReader
        What is read.
    function : callable
        What is applied.
    options : dict
        Its keyword arguments.
    margin : int
        Observations that each batch gets on both sides.
    cleanup : callable or None
        Applied to the result: ``cleanup(result, idx_local, idx, buffer_size)``.
    cast_dtype : dtype_like or None
        Type to cast results to.
    single : bool
        Whether the function gets one channel at a time, as a one-dimensional array.
    info : bool
        Whether it is told where its data lie.
    """

    reader: RecordingsReader
    function: Callable[..., Any]
    options: dict[str, Any]
    margin: int = 0
    cleanup: Callable[..., Any] | None = None
    cast_dtype: Any = None
    single: bool = False
    info: bool = False

    def read(self, batch: Batch, empty: Callable[..., np.ndarray] = np.empty) -> np.ndarray:
        """Read the data of a batch, with margins.

        Parameters
        ----------
        batch : Batch
            Which.
        empty : callable
            ``empty(shape, dtype)`` makes the array that is filled.

        Returns
        -------
        numpy.ndarray
            Observations x channels.
        """
        return self.reader.read_padded(
            batch.start,
            batch.stop,
            batch.channels,
            self.margin,
            order="F" if self.single else "C",
            empty=empty,
        )

    def without_reader(self) -> Job:
        """Give the job for workers that are handed the data of each batch."""
        return replace(self, reader=None)  # type: ignore[arg-type]

    def local(self, batch: Batch) -> tuple[slice, slice]:
        """Give the index of a batch inside its data, without the margins."""
        return slice(self.margin, self.margin + batch.stop - batch.start), slice(None)

    def apply(self, batch: Batch, data: np.ndarray, **extra: Any) -> list[Any]:
        """Apply the function to the data of a batch.

        Parameters
        ----------
        batch : Batch
            Which batch.
        data : numpy.ndarray
            Observations x channels.
        **extra
            More keyword arguments of the function.

        Returns
        -------
        list
            One result, or one for each channel.

        Raises
        ------
        BatchError
            If the function fails; its own exception is the cause.
        """
        options = {**self.options, **extra}
        if self.info:
            options |= {"idx_local": self.local(batch), "idx": batch.place}
        pieces = list(data.T) if self.single else [data]
        try:
            return [self._finish(self.function(piece, **options), batch) for piece in pieces]
        except Exception as error:
            raise BatchError(f"{batch} failed: {type(error).__name__}: {error}") from error

    def _finish(self, result: Any, batch: Batch) -> Any:
        if self.cleanup is not None:
            result = self.cleanup(result, self.local(batch), batch.place, self.margin)
        return result if self.cast_dtype is None else np.asarray(result).astype(self.cast_dtype)

    def compute(
        self, batch: Batch, target: Target | None = None, data: np.ndarray | None = None
    ) -> list[Any]:
        """Read a batch, apply the function, and write the results if there is a target.

        Parameters
        ----------
        batch : Batch
            Which batch.
        target : Target, optional
            Where results go.
        data : numpy.ndarray, optional
            The data of the batch, if they are not to be read.

        Returns
        -------
        list
            Results, or what was written.
        """
        results = self.apply(batch, self.read(batch) if data is None else data)
        if target is None:
            return results
        return [Placed(place_results(results, batch, target))]


def as_results(results: list[Any], batch: Batch) -> list[np.ndarray]:
    """Give results as arrays that a binary file can hold.

    Parameters
    ----------
    results : list
        What the function returned.
    batch : Batch
        For which batch.

    Returns
    -------
    list of numpy.ndarray
        C-contiguous arrays of numbers.

    Raises
    ------
    BatchError
        If a result is no array of numbers.
    """
    arrays = []
    for result in results:
        kind = type(result).__name__
        if not isinstance(result, tuple):
            try:
                array = np.ascontiguousarray(result)
            except ValueError:
                array = np.empty(0, object)
            kind = f"{kind} of type {array.dtype}"
            if array.dtype.kind in "biufc":
                arrays.append(array.reshape(np.shape(result)))
                continue
        raise BatchError(
            f"{batch}: the function returned {kind}, and a file holds arrays of numbers only; "
            "return one array, or use mode='memory'"
        )
    return arrays


def place_results(results: list[Any], batch: Batch, target: Target) -> int:
    """Write the results of a batch to their place in the output file.

    Parameters
    ----------
    results : list of array_like
        One array with a row per observation, or one per channel.
    batch : Batch
        The batch.
    target : Target
        The file.

    Returns
    -------
    int
        CRC-32 of the bytes that were written.

    Raises
    ------
    BatchError
        If a result has another shape or type than that of the first batch.
    """
    expected = batch.stop - batch.start, *target.row_shape
    checksum = 0
    with open(target.path, "r+b", buffering=0) as file:
        for channel, array in zip(batch.channels, as_results(results, batch), strict=False):
            if array.shape != expected or array.dtype.str != target.dtype:
                raise BatchError(
                    f"{batch}: the result has shape {array.shape} and type {array.dtype}; the "
                    f"first batch promised {expected} and {np.dtype(target.dtype)}; pass "
                    "cast_dtype to fix the type"
                )
            view = array.reshape(-1).view(np.uint8).data
            # libdeflate's is ten times as fast as zlib's, and the bytes are hot.
            checksum = deflate.crc32(view, checksum)
            _write_all(file, view, target.offset(batch, channel))
    return checksum


def _write_all(file: Any, view: memoryview, offset: int) -> None:
    file.seek(offset)
    left = view
    while len(left):
        left = left[file.write(left) :]
    if _START_WRITING is not None:
        os.posix_fadvise(file.fileno(), offset, len(view), _START_WRITING)
