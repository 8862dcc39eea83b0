"""Random windows over many recordings, for machine learning."""

from ecogsource.windows.datafile import DataFile
from ecogsource.windows.dataset import Window, WindowDataset
from ecogsource.windows.masks import grow_mask

__all__ = ["DataFile", "Window", "WindowDataset", "grow_mask"]
