"""Cutting a set of sources into parts that share no sample."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ecogsource.windows.draws import mixed_order
from ecogsource.windows.parts import Part

__all__ = ["Bounds", "plan", "shares_of"]

Bounds = list[list[tuple[int, int]]]
"""For every source, the stretches of samples that windows may lie in."""


def shares_of(fractions: Any) -> list[float]:
    """Check the shares of a split.

    Parameters
    ----------
    fractions : sequence of float, or mapping of str to float
        The shares.

    Returns
    -------
    list of float
        The same.

    Raises
    ------
    ValueError
        If one is not above 0, or together they are more than 1.
    """
    shares = [
        float(f) for f in (fractions.values() if isinstance(fractions, Mapping) else fractions)
    ]
    if not shares or not all(share > 0 for share in shares) or sum(shares) > 1 + 1e-9:
        raise ValueError(f"fractions must be above 0 and at most 1 together, got {shares}")
    return shares


def plan(
    by: str,
    parts: Sequence[Part],
    bounds: Bounds,
    shares: Sequence[float],
    *,
    gap: int,
    seed: int,
) -> list[Bounds]:
    """Plan a split.

    Parameters
    ----------
    by : {'time', 'file', 'session'}
        What is cut.
    parts : sequence of Part
        The sources.
    bounds : list
        What of each source there is to be cut.
    shares : sequence of float
        Share of each part of the split.
    gap : int
        Samples between neighbours in time.
    seed : int
        Of the order in which files or sessions are dealt out.

    Returns
    -------
    list
        Bounds of each part of the split.

    Raises
    ------
    ValueError
        If it cannot be done without sharing samples.
    """
    if not 0 <= operator.index(gap) < 2**60:
        raise ValueError(f"gap must be 0 samples or more, got {gap}")
    if by == "time":
        _refuse_overlaps(parts)
        return [_cut(bounds, low, high, gap) for low, high in _edges(shares)]
    if by not in ("file", "session"):
        raise ValueError(f"by is {by!r}, expected 'time', 'file' or 'session'")
    units = _units(parts, by)
    if len(units) < len(shares):
        raise ValueError(f"{len(units)} {by}s cannot be dealt out to {len(shares)} parts")
    sizes = [sum(b - a for n in unit for a, b in bounds[n]) for unit in units]
    dealt = _deal(sizes, shares, mixed_order(seed, 0, len(units)).tolist())
    chosen = [
        {n for unit, to in zip(units, dealt, strict=True) if to == k for n in unit}
        for k in range(len(shares))
    ]
    return [[b if n in mine else [] for n, b in enumerate(bounds)] for mine in chosen]


def _edges(shares: Sequence[float]) -> list[tuple[float, float]]:
    ends = np.minimum(np.cumsum(shares), 1.0).tolist()
    return list(zip([0.0, *ends[:-1]], ends, strict=True))


def _cut(bounds: Bounds, low: float, high: float, gap: int) -> Bounds:
    """Take a share of the samples of every source, from `low` to `high` of all of them."""
    cut: Bounds = []
    for stretches in bounds:
        total = sum(stop - start for start, stop in stretches)
        first, last = round(low * total), round(high * total)
        # Half of the gap comes off either side of an inner edge.
        first += (gap + 1) // 2 if low > 0 else 0
        last -= gap // 2 if high < 1 else 0
        mine, seen = [], 0
        for start, stop in stretches:
            a, b = max(first - seen, 0), min(last - seen, stop - start)
            if b > a:
                mine.append((start + a, start + b))
            seen += stop - start
        cut.append(mine)
    return cut


def _refuse_overlaps(parts: Sequence[Part]) -> None:
    """Refuse sources that share a file but not its time line: cuts would not coincide."""
    seen: dict[str, Part] = {}
    for part in parts:
        for home in part.files:
            other = seen.setdefault(home, part)
            segments = all(hasattr(p.source, "start_sample") for p in (part, other))
            if other.n_samples != part.n_samples and not segments:
                raise ValueError(
                    f"{home!r} is in sources of different length ({other.n_samples} and "
                    f"{part.n_samples} samples), so a cut in time would leave the same samples "
                    "on both sides; split by='file'"
                )


def _units(parts: Sequence[Part], by: str) -> list[list[int]]:
    """Group the sources that must stay together: of one session, or sharing a file."""
    parent = list(range(len(parts)))

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = number = parent[parent[number]]
        return number

    first_with: dict[str, int] = {}
    for number, part in enumerate(parts):
        for key in [*part.files, *([f"session {part.group}"] if by == "session" else [])]:
            parent[root(number)] = root(first_with.setdefault(key, number))
    units: dict[int, list[int]] = {}
    for number in range(len(parts)):
        units.setdefault(root(number), []).append(number)
    return sorted(units.values())


def _deal(sizes: Sequence[int], shares: Sequence[float], order: Sequence[int]) -> list[int]:
    """Deal units out to parts: each next one to the part that lacks most of its share."""
    total = sum(sizes)
    lacking = [share * total for share in shares]
    empty = set(range(len(shares)))
    dealt = [-1] * len(sizes)
    for turn, unit in enumerate(order):
        # Parts without a unit come first when there are only as many units left as such parts.
        candidates = empty if len(order) - turn <= len(empty) else range(len(shares))
        chosen = max(candidates, key=lambda k: lacking[k])
        if sum(shares) < 1 - 1e-9 and lacking[chosen] < sizes[unit] / 2 and not empty:
            continue
        dealt[unit] = chosen
        lacking[chosen] -= sizes[unit]
        empty.discard(chosen)
    return dealt
