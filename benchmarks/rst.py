"""``python -m benchmarks.rst FROM.json TO.inc``: the matrix as tables for the documentation."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.bench_read import summary
from benchmarks.works import WORKS


def tables(kept: dict[str, Any]) -> str:
    """Return tables: times with the best peer, ratios to h5py, and what threads add.

    Parameters
    ----------
    kept : dict
        What ``--json`` wrote.
    """
    rows = {(row["layout"], row["work"]): row for row in kept["rows"]["read"]}
    layouts = list(dict.fromkeys(layout for layout, _ in rows))
    machine = kept["machine"]
    lines = [
        f"Python {machine['python'].split()[0]}, {machine['platform']}, {machine['cores']} cores.",
        "Each cell: ecogsource : best peer, in milliseconds.",
        "",
        *_table([["layout", *WORKS], *([n, *(_cell(rows[n, w]) for w in WORKS)] for n in layouts)]),
        "",
        "h5py's time over ours; the last column is our peak of memory beyond the result, in MB.",
        "",
        *_table(
            [
                ["layout", *WORKS, "peak"],
                *(
                    [n, *(_ratio(rows[n, w]) for w in WORKS), _peak(rows[n, "scan"])]
                    for n in layouts
                ),
            ]
        ),
        "",
        "Our time with one worker over our time with all.",
        "",
        *_table(
            [
                ["layout", *WORKS],
                *([n, *(_gain(rows[n, w]) for w in WORKS)] for n in layouts),
            ]
        ),
        "",
        *(f"* {line}" for line in summary(kept["rows"]["read"])),
    ]
    return "\n".join(lines) + "\n"


def _cell(row: dict[str, Any]) -> str:
    return f"{row['ours']:.3g} : {row['best peer']} {row['peer']:.3g}"


def _ratio(row: dict[str, Any]) -> str:
    return f"{row['h5py/ours']:.2f}" if row["h5py/ours"] else "–"


def _gain(row: dict[str, Any]) -> str:
    return f"{row['1 worker/ours']:.2f}" if row.get("1 worker/ours") else "–"


def _peak(row: dict[str, Any]) -> str:
    peak = row["peak beyond result, MB"]
    return "–" if peak is None else f"{peak:.1f}"


def _table(cells: list[list[str]]) -> list[str]:
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in cells:
        lines += [f"   {'* -' if i == 0 else '  -'} {text}" for i, text in enumerate(row)]
    return lines


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:3])
    target.write_text(tables(json.loads(source.read_text())))
