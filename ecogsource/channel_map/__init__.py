"""Channel maps: which electrode site each channel of a signal comes from.

`ChannelMap` knows sites on a grid, `CoordinateChannelMap` sites anywhere. A map has one entry per
channel of the source that it describes, in the same order: mask a source, and `subset` its map
with the same mask. Maps are values: every method that changes something returns a new map.
"""

from ecogsource.channel_map.common import common_sites
from ecogsource.channel_map.coordinates import CoordinateChannelMap
from ecogsource.channel_map.grid import ChannelMap
from ecogsource.channel_map.pairs import SitePairs

__all__ = ["ChannelMap", "CoordinateChannelMap", "SitePairs", "common_sites"]
