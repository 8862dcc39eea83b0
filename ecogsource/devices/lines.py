"""From trigger lines of a recording to the entries of a dataset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ecogsource.buffers import Buffer, SelectedBuffer, as_buffer
from ecogsource.devices.triggers import find_edges, words_of_edges
from ecogsource.params import load_params

__all__ = ["Lines", "line_triggers", "select_lines"]

Lines: TypeAlias = "Buffer | NDArray[Any]"

# A line of this many bytes is read once and kept while its edges are found; a longer one is read
# block by block, three times.
_LINE_BYTES = 1 << 28
_BLOCK_BYTES = 1 << 22
# Lines of one word never switch at quite the same sample.
_WORD_WIDTH = 2


def select_lines(array: Lines | None, wanted: Sequence[int]) -> tuple[Lines | None, int]:
    """Take some rows of an aligned array.

    Parameters
    ----------
    array : Buffer or ndarray, shape (lines, time) or (time,), or None
        The array.
    wanted : sequence of int
        Rows.

    Returns
    -------
    lines : Buffer or ndarray, shape (len(wanted), time), or None
        The rows, on disk as long as they are not read; None if one of them is not there. An array
        of one dimension is returned as it is.
    n_lines : int
        How many lines there are.
    """
    if array is None:
        return None, 0
    n_lines = 1 if array.ndim == 1 else array.shape[0]
    if not all(0 <= line < n_lines for line in wanted):
        return None, n_lines
    if array.ndim == 1:
        return array, 1
    rows = np.array(wanted, dtype=np.int64)
    return array[rows] if isinstance(array, np.ndarray) else SelectedBuffer(array, 0, rows), n_lines


def line_triggers(lines: Lines | None) -> dict[str, Any]:
    """Find the triggers on one or several lines.

    Parameters
    ----------
    lines : Buffer or ndarray, shape (lines, time) or (time,), or None
        One line has edges; several are the bits of words, the first one the lowest.

    Returns
    -------
    dict
        ``pos_edge`` and ``neg_edge``, int64 sample numbers (for words: where one starts, and
        where all lines become low); ``trig_chan``, the lines; and for several lines
        ``trig_words``, the word that starts at each of ``pos_edge``.
    """
    if lines is None:
        none = np.zeros(0, dtype=np.int64)
        return {"pos_edge": none, "neg_edge": none, "trig_chan": None}
    if lines.ndim == 1 or lines.shape[0] == 1:
        one = find_edges(_whole_or_blocks(lines, 0))
        return {"pos_edge": one.rising, "neg_edge": one.falling, "trig_chan": lines}
    edges = [find_edges(_whole_or_blocks(lines, row)) for row in range(lines.shape[0])]
    times, words = words_of_edges(edges, lines.shape[1], min_width=_WORD_WIDTH)
    return {
        "pos_edge": times[words != 0],
        "neg_edge": times[words == 0],
        "trig_words": words[words != 0],
        "trig_chan": lines,
    }


def _whole_or_blocks(lines: Any, row: int) -> Any:
    """One line as an array if it is short, else a function that reads it in blocks."""
    line = as_buffer(lines)
    n_samples = line.shape[-1]

    def part(start: int, stop: int) -> NDArray[Any]:
        return line[start:stop] if line.ndim == 1 else line[row, start:stop]

    limit = min(_LINE_BYTES, load_params().memory_limit // 4)
    if n_samples * line.dtype.itemsize <= limit:
        return part(0, n_samples)
    step = max(1, min(_BLOCK_BYTES, limit) // line.dtype.itemsize)

    def blocks() -> Iterator[NDArray[Any]]:
        return (part(start, start + step) for start in range(0, n_samples, step))

    return blocks
