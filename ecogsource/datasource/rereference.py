"""Re-referenced views: the common average or the mean of the neighbours, taken off when read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecogsource.buffers import Buffer
from ecogsource.filters import filtered_dtype
from ecogsource.indexing import Selection

if TYPE_CHECKING:
    from ecogsource.datasource.base import ElectrodeDataSource
    from ecogsource.datasource.mapped import MappedSource

__all__ = ["CommonAverageBuffer", "LocalReferenceBuffer", "common_average", "local_reference"]

# Samples read at a time, over all channels: bounds the memory beside the result.
_BLOCK_BYTES = 4 << 20


class RereferencedBuffer(Buffer):
    """Channels x time with something taken off that depends on all channels.

    Parameters
    ----------
    buffer : Buffer
        Channels x time.
    """

    def __init__(self, buffer: Buffer) -> None:
        super().__init__(buffer.shape, filtered_dtype(buffer.dtype), filename=buffer.filename)
        self.buffer = buffer
        # Any row needs all of them: whoever reads by chunks shall take all rows at once.
        self.chunks = (buffer.shape[0], buffer.chunks[1] if buffer.chunks else 1)

    def _reference(self, block: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return what to take off `rows`, given all channels."""
        raise TypeError(f"{type(self).__name__} has no rule for its reference")

    def _read_into(self, selection: Selection, out: np.ndarray) -> None:
        channels, time = selection.selectors
        rows = np.atleast_1d(np.asarray(channels, dtype=np.int64))
        times = range(time, time + 1) if isinstance(time, int) else time
        target = out[np.newaxis] if isinstance(channels, int) else out
        target = target[..., np.newaxis] if isinstance(time, int) else target
        every = range(self.shape[0])
        for start in range(0, len(times), self._step):
            chosen = Selection.of((every, times[start : start + self._step]))
            block: NDArray[Any] = np.empty(chosen.shape, self.dtype)
            self.buffer.read_into(chosen, block)
            values = block[rows] - self._reference(block, rows)
            target[:, start : start + self._step] = values

    @property
    def _step(self) -> int:
        return max(1, _BLOCK_BYTES // (max(self.shape[0], 1) * self.dtype.itemsize))

    def _temporary_bytes(self, selection: Selection) -> int:
        return min(selection.size * self.shape[0] * self.dtype.itemsize, 3 * _BLOCK_BYTES)

    def close(self) -> None:
        """Let go of the files underneath."""
        self.buffer.close()


class CommonAverageBuffer(RereferencedBuffer):
    """Channels less the mean or median of all channels at each instant.

    Parameters
    ----------
    buffer : Buffer
        Channels x time.
    center : {'mean', 'median'}
        What is taken off.
    """

    def __init__(self, buffer: Buffer, center: Literal["mean", "median"] = "mean") -> None:
        if center not in ("mean", "median"):
            raise ValueError(f"center must be 'mean' or 'median', got {center!r}")
        super().__init__(buffer)
        self.center = center

    def _reference(self, block: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[Any]:
        if self.center == "median":
            return np.asarray(np.median(block, axis=0))
        return block.mean(axis=0, dtype=np.float64).astype(self.dtype)


class LocalReferenceBuffer(RereferencedBuffer):
    """Channels less the mean of their neighbours at each instant.

    Parameters
    ----------
    buffer : Buffer
        Channels x time.
    weights : ndarray, shape (channels, channels)
        Row c: what of each channel is taken off channel c.
    """

    def __init__(self, buffer: Buffer, weights: NDArray[np.float64]) -> None:
        super().__init__(buffer)
        self.weights = weights

    def _reference(self, block: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[Any]:
        return (self.weights[rows] @ block).astype(self.dtype)


def common_average(
    source: ElectrodeDataSource, center: Literal["mean", "median"] = "mean"
) -> MappedSource:
    """View a source less its common average; see `ElectrodeDataSource.car`."""
    return _view(source, CommonAverageBuffer(source.as_buffer(), center))


def local_reference(
    source: ElectrodeDataSource, neighbours: Any, radius: float | None
) -> MappedSource:
    """View a source less local averages; see `ElectrodeDataSource.local_ref`."""
    near = _neighbour_matrix(neighbours, len(source), radius)
    counts = near.sum(axis=1, keepdims=True)
    weights = near / np.maximum(counts, 1)
    return _view(source, LocalReferenceBuffer(source.as_buffer(), weights))


def _neighbour_matrix(neighbours: Any, count: int, radius: float | None) -> NDArray[np.bool_]:
    if radius is None:
        near = np.asarray(neighbours)
        if near.shape != (count, count) or near.dtype != bool:
            raise ValueError(
                f"without a radius, neighbours is a boolean matrix of shape {(count, count)}; "
                f"got {near.dtype} of shape {near.shape}"
            )
        return near & ~np.eye(count, dtype=bool)
    places = _coordinates(neighbours)
    if places.shape != (count, 2):
        raise ValueError(
            f"neighbours must give 2 coordinates for each of the {count} active channels, "
            f"got shape {places.shape}"
        )
    if not radius > 0:
        raise ValueError(f"radius must be positive, got {radius}")
    distances = np.hypot(*(places[:, np.newaxis] - places).transpose(2, 0, 1))
    near = distances <= radius
    return near & ~np.eye(count, dtype=bool)


def _coordinates(neighbours: ArrayLike | Any) -> NDArray[np.float64]:
    """Return (channels, 2) coordinates, asking a channel map for its own."""
    if hasattr(neighbours, "positions"):
        neighbours = neighbours.positions()
    return np.asarray(neighbours, dtype=np.float64)


def _view(source: ElectrodeDataSource, buffer: Buffer) -> MappedSource:
    from ecogsource.datasource.mapped import MappedSource

    return MappedSource(
        buffer,
        source.electrode_field,
        aligned_arrays=source.aligned_arrays,
        fs=source.fs,
        units=source.units,
        channel_names=source.channel_names,
    )
