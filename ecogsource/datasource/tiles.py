"""Cutting a (rows x time) array into the pieces that are computed, written and checked one by one.

Nothing here touches data.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Grid", "plan_grid"]

# Checksums are an HDF5 attribute, which holds less than 64 KiB.
MAX_TILES = 15_000
TILE_BYTES = 8 << 20
# Rows are split before the run of samples per row falls below this.
_SHORTEST_RUN = 4096


@dataclass(frozen=True)
class Grid:
    """A regular cut of rows and samples.

    Attributes
    ----------
    rows, samples : int
        Size of the array.
    tile_rows, tile_samples : int
        Size of a piece; the last ones may be smaller.
    """

    rows: int
    samples: int
    tile_rows: int
    tile_samples: int

    @property
    def shape(self) -> tuple[int, int]:
        """Number of pieces along rows and along time."""
        return -(-self.rows // self.tile_rows), -(-self.samples // self.tile_samples)

    def __len__(self) -> int:
        return math.prod(self.shape)

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self)))

    def bounds(self, piece: int) -> tuple[int, int, int, int]:
        """Return first and last (exclusive) row and sample of a piece (row groups outermost)."""
        row, column = divmod(piece, self.shape[1])
        first_row, first = row * self.tile_rows, column * self.tile_samples
        return (
            first_row,
            min(first_row + self.tile_rows, self.rows),
            first,
            min(first + self.tile_samples, self.samples),
        )

    def piece_at(self, row: int, sample: int) -> int:
        """Return the number of the piece that holds an element."""
        return row // self.tile_rows * self.shape[1] + sample // self.tile_samples


def plan_grid(
    rows: int,
    samples: int,
    itemsize: int,
    *,
    multiple: tuple[int, int] = (1, 1),
    tile_bytes: int = TILE_BYTES,
    whole_rows: bool = False,
) -> Grid:
    """Choose the pieces of an array.

    Parameters
    ----------
    rows, samples : int
        Size of the array.
    itemsize : int
        Bytes per element.
    multiple : (int, int)
        Storage chunks; a piece is made of whole ones.
    tile_bytes : int
        Wanted size of a piece. Larger pieces are made where there would be more than 15000.
    whole_rows : bool
        Make pieces of few rows and many samples, for arrays that store row after row.

    Returns
    -------
    Grid
        All rows per piece (unless `whole_rows`), as long as the runs of samples do not become
        very short.
    """
    rows, samples = max(rows, 1), max(samples, 1)
    tile_bytes = max(tile_bytes, -(-rows * samples * itemsize // (MAX_TILES // 4)))
    row_step, step = min(multiple[0], rows), min(multiple[1], samples)
    shortest = samples if whole_rows else min(samples, max(_SHORTEST_RUN, step))
    tile_rows = min(rows, max(row_step, tile_bytes // (itemsize * shortest)))
    tile_rows = min(rows, _whole(tile_rows, row_step))
    tile_samples = min(samples, max(1, tile_bytes // (itemsize * tile_rows)))
    return Grid(rows, samples, tile_rows, min(samples, _whole(tile_samples, step)))


def _whole(size: int, step: int) -> int:
    """Round to whole steps, down if at least one remains."""
    return max(size // step, 1) * step
