"""Recordings to try things on: simulated on first use, the same every time.

`paths` finds demonstration recordings by name, `make_lab` makes a folder that looks like the data
of a whole lab, and `Recorder` simulates recordings of any length.
"""

from __future__ import annotations

from ecogsource.demos.lab import Lab, make_lab, session_files
from ecogsource.demos.recordings import DemoPaths, paths
from ecogsource.demos.simulation import Recorder, Stimuli, grid_positions, tone_sequence

__all__ = [
    "DemoPaths",
    "Lab",
    "Recorder",
    "Stimuli",
    "grid_positions",
    "make_lab",
    "paths",
    "session_files",
    "tone_sequence",
]
