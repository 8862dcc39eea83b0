"""How the commands speak: lines to standard output, and numbers that people can read."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["duration", "indented", "say", "table"]

WIDTH = 100


def say(*lines: str) -> None:
    """Write lines to standard output."""
    for line in lines:
        sys.stdout.write(line + "\n")
    sys.stdout.flush()


def indented(text: str, by: int) -> list[str]:
    """Return the lines of `text` moved `by` columns to the right, long ones wrapped."""
    lines: list[str] = []
    for line in text.splitlines():
        # Short lines may be aligned with blanks, which wrapping would lose.
        lines += [line] if len(line) <= WIDTH - by else textwrap.wrap(line, WIDTH - by)
    return [" " * by + line for line in lines]


def table(rows: Iterable[Sequence[Any]], header: Sequence[str] = ()) -> list[str]:
    """Return rows of cells as aligned lines.

    Parameters
    ----------
    rows : iterable of sequences
        The cells, as many in each row; None shows as a dash.
    header : sequence of str
        Names of the columns.

    Returns
    -------
    list of str
        One line for each row, below the header if there is one.
    """
    cells = [["-" if cell is None else str(cell) for cell in row] for row in rows]
    if header:
        cells.insert(0, list(header))
    if not cells:
        return []
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def duration(seconds: float) -> str:
    """Return a length of time with three digits and a fitting unit."""
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        return f"{seconds * 1e3:.3g} ms"
    return f"{seconds:.3g} s" if seconds < 100 else f"{seconds:.0f} s"
