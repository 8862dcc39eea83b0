"""The matrix: eight layouts times six works, ours against every peer that is installed."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

from benchmarks.files import FULL, LAYOUTS, SMOKE, make
from benchmarks.measure import cell, peak_memory, peers_for
from benchmarks.peers import PEERS, Alone, Ours
from benchmarks.works import WORKS


def run(
    folder: Path,
    smoke: bool,  # noqa: FBT001 - the registry's signature
    *,
    layouts: list[str] | None = None,
    works: list[str] | None = None,
    peers: list[str] | None = None,
    repeats: int | None = None,
    memory: bool = True,
) -> list[dict[str, Any]]:
    """Measure the matrix.

    Parameters
    ----------
    folder : Path
        Where the files are, or are made.
    smoke : bool
        Small files, one repeat, every value checked.
    layouts, works, peers : list of str, optional
        Only these.
    repeats : int, optional
        How often each cell is measured; the shortest time counts.
    memory : bool
        Whether to measure peak memory too.

    Returns
    -------
    list of dict
        One per cell: times in ms, and the ratios to the floor, to h5py and to the best peer.
    """
    size = SMOKE if smoke else FULL
    folder = folder / f"{size.channels}x{size.samples}"
    truth = make(folder, size)
    rows = []
    for layout in LAYOUTS:
        if layouts and layout.name not in layouts:
            continue
        peak = peak_memory(folder, layout, size, "ecogsource")["beyond"] if memory else None
        for work in WORKS:
            if works and work not in works:
                continue
            count = repeats or (1 if smoke else 5)
            times = cell(folder, layout, work, truth, repeats=count, chosen=peers)
            rows.append(_row(layout.name, work, times, peak))
            print(
                f"{layout.name}/{work}", {k: round(v, 2) for k, v in times.items()}, file=sys.stderr
            )
    return rows


def _row(layout: str, work: str, times: dict[str, float], peak: float | None) -> dict[str, Any]:
    ours, alone = times[Ours.name], times.get(Alone.name)
    others = {k: v for k, v in times.items() if k not in (Ours.name, Alone.name, "floor")}
    best = min(others, key=others.__getitem__, default=None)
    row: dict[str, Any] = {
        "layout": layout,
        "work": work,
        "floor": times["floor"],
        "ours": ours,
        "h5py": times.get("h5py"),
        "best peer": best,
        "peer": others[best] if best else None,
        "ours/floor": ours / times["floor"],
        "ours/peer": ours / others[best] if best else None,
        "h5py/ours": times["h5py"] / ours if "h5py" in times else None,
        "1 worker/ours": alone / ours if alone else None,
        "peak beyond result, MB": peak,
    }
    row.update({f"ms {name}": value for name, value in others.items()})
    return row


def summary(rows: list[dict[str, Any]]) -> list[str]:
    """Return the sentences below the table."""
    ratios = [row["h5py/ours"] for row in rows if row["h5py/ours"]]
    lines = []
    if ratios:
        mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
        lines.append(f"geometric mean over {len(ratios)} HDF5 cells: {mean:.2f} x h5py")
    for layout in ("gzip_ct", "gzip_tc"):
        gains = [
            f"{row['work']} {row['1 worker/ours']:.2f}"
            for row in rows
            if row["layout"] == layout and row.get("1 worker/ours")
        ]
        if gains:
            lines.append(f"{layout}, time with one worker over ours: {', '.join(gains)}")
    slower = [
        f"{row['layout']}/{row['work']} {row['ours/peer']:.2f} ({row['best peer']})"
        for row in rows
        if row["ours/peer"] and row["ours/peer"] > 1.05
    ]
    lines.append(f"slower than the best peer: {', '.join(slower) or 'nowhere'}")
    absent = [peer.name for peer in PEERS if peer.version() is None]
    lines.append(f"not installed: {', '.join(absent) or 'none'}")
    versions = {p.name: p.version() for layout in LAYOUTS for p in peers_for(layout)}
    lines.append(", ".join(f"{name} {version}" for name, version in versions.items()))
    return lines
