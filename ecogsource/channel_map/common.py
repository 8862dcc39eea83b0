"""The sites that several channel maps share: what remains when recordings are joined."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecogsource.channel_map.grid import ChannelMap

__all__ = ["common_sites"]


def common_sites(maps: Sequence[ChannelMap]) -> list[NDArray[np.int64]]:
    """Find the channels of several maps that sit at the same sites.

    Parameters
    ----------
    maps : sequence of ChannelMap
        At least one map; all of one geometry.

    Returns
    -------
    list of ndarray of int64
        For every map the positions of its channels at the common sites. All have one length, and
        the k-th entries are channels at one site; the order is that of the first map.

    Raises
    ------
    ValueError
        If no map is given, the geometries differ, or one map is a grid and another is not.
    """
    if not maps:
        raise ValueError("at least one channel map is needed")
    shapes = {(type(chan_map).__name__, chan_map.geometry) for chan_map in maps}
    if len(shapes) > 1:
        raise ValueError(f"channel maps of different electrode arrays: {sorted(shapes)}")
    # Recordings of one session mostly share one map: each distinct map is looked at once.
    distinct: list[ChannelMap] = []
    which = []
    for chan_map in maps:
        number = next((k for k, one in enumerate(distinct) if one == chan_map), len(distinct))
        if number == len(distinct):
            distinct.append(chan_map)
        which.append(number)
    places = [_site_places(chan_map) for chan_map in distinct]
    shared = reduce(lambda a, b: a & b, (set(place) for place in places))
    in_order = [site for site in places[0] if site in shared]
    found = [np.array([place[site] for site in in_order], dtype=np.int64) for place in places]
    return [found[number] for number in which]


def _site_places(chan_map: ChannelMap) -> dict[tuple[Any, Any], int]:
    """Position of the first channel at each site, in the order of the map."""
    places: dict[tuple[Any, Any], int] = {}
    rows, cols = chan_map.to_mat()
    for position, site in enumerate(zip(rows.tolist(), cols.tolist(), strict=True)):
        places.setdefault(site, position)
    return places
