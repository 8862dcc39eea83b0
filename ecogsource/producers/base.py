"""What a producer is made of: where it takes its data, and how it cuts them."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ecogsource.datasource.blocks import comfortable_length
from ecogsource.indexing import BlockPlan, plan_blocks
from ecogsource.producers.adapters import normal_axis
from ecogsource.producers.walking import Origin, walk

if TYPE_CHECKING:
    from ecogsource.producers.core import Producer

__all__ = ["ProducerBase"]


class ProducerBase:
    """Data with an axis along which they are cut; see :class:`Producer`.

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
    """

    def __init__(
        self,
        origin: Origin,
        chunksize: int,
        axis: int,
        *,
        overlap: int = 0,
        prefetch: int | None = None,
    ) -> None:
        self._origin, self.axis = origin, operator.index(axis)
        self._axis = normal_axis(axis, len(origin.shape))
        if prefetch is not None and (prefetch := operator.index(prefetch)) < 0:
            raise ValueError(f"prefetch is {prefetch}; as many chunks cannot be read ahead")
        self._chunksize, self.overlap, self._prefetch = chunksize, operator.index(overlap), prefetch
        self._plan()

    def _like(self, origin: Origin, axis: int | None = None, **changes: Any) -> Producer:
        """Make a producer of something else that is otherwise the same."""
        options = {"overlap": self.overlap, "prefetch": self._prefetch, **changes}
        chunksize = options.pop("chunksize", self._chunksize)
        kind: Any = type(self)
        made: Producer = kind(origin, chunksize, self.axis if axis is None else axis, **options)
        return made

    @property
    def produced_from(self) -> Origin:
        """The buffer or stream that is walked over."""
        return self._origin

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of all chunks end to end, without what they share."""
        return tuple(self._origin.shape)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype:
        """Type of the chunks. For a generating function that of its first array."""
        return self._origin.dtype

    @property
    def nbytes(self) -> int:
        """Bytes of the whole."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def chunksize(self) -> int:
        """Samples per chunk; see :meth:`rechunk` for a producer of other chunks."""
        return self._chunksize

    def _plan(self) -> BlockPlan:
        return plan_blocks(self.shape[self._axis], self._chunksize, self.overlap)

    def _numeric(self, what: str) -> None:
        """Refuse what needs numbers, if there are none."""

    def _pass(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Go through everything once, in chunks that suit the storage, and say where they are."""
        size = self.shape[self._axis]
        sample_bytes = max(1, self.nbytes // max(1, size))
        length = max(self._chunksize, min(size, comfortable_length(sample_bytes)) // 8, 1)
        windows = plan_blocks(size, length)
        chunks = walk(self._origin, self._axis, windows, self._prefetch)
        return zip(windows, chunks, strict=True)
