"""Named electrode arrays: for every acquired channel its site, or what else it is.

The maps that come with the package are data, in ``data/electrodes.json``; a lab adds its own as
files in the folder ``electrodes`` of its configuration: CSV with columns
``channel,row,col`` (or ``channel,x_mm,y_mm``), or probeinterface JSON. ``grid_<rows>x<cols>``, and
``grid_<rows>x<cols>_<pitch in mm>``, is a full grid whose channels run down the columns.
"""

from __future__ import annotations

import csv
import functools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecogsource.channel_map import ChannelMap, CoordinateChannelMap
from ecogsource.errors import ConfigError, FormatError, require
from ecogsource.expconfig.bunch import nearest
from ecogsource.params import config_path

__all__ = [
    "ElectrodeLayout",
    "available_electrodes",
    "electrode_folder",
    "electrode_layout",
    "from_probeinterface",
    "read_electrode",
    "to_probeinterface",
    "write_electrode",
]

GROUNDED, REFERENCE, OTHER = "grounded", "reference", "other"
_GRID_NAME = re.compile(r"grid_(\d+)x(\d+)(?:_(\d+(?:\.\d+)?))?")
_SUFFIXES = (".csv", ".json")


@dataclass(frozen=True, eq=False)
class ElectrodeLayout:
    """What every acquired channel of an electrode array is.

    Attributes
    ----------
    name : str
        Name of the array.
    channel_map : ChannelMap
        Sites of the electrode channels, in the order of `electrode_channels`.
    electrode_channels : ndarray of int64
        Acquired channels that are electrodes, ascending.
    grounded_channels, reference_channels, other_channels : ndarray of int64
        Acquired channels that are something else.
    n_channels : int
        How many channels are acquired.
    """

    name: str
    channel_map: ChannelMap
    electrode_channels: NDArray[np.int64]
    grounded_channels: NDArray[np.int64]
    reference_channels: NDArray[np.int64]
    other_channels: NDArray[np.int64]
    n_channels: int

    @classmethod
    def from_sites(
        cls,
        name: str,
        sites: Sequence[Any],
        geometry: Sequence[int] | str,
        pitch_mm: float | tuple[float, float] | None = None,
    ) -> ElectrodeLayout:
        """Make a layout from what is known of every channel.

        Parameters
        ----------
        name : str
            Name of the array.
        sites : sequence
            For every acquired channel ``[row, col]``, or ``'grounded'``, ``'reference'`` or
            ``'other'``.
        geometry : (int, int) or 'auto'
            Rows and columns of the grid; ``'auto'`` for sites at free coordinates.
        pitch_mm : float or (float, float), optional
            Distance of neighbouring sites; 1 if not known.

        Returns
        -------
        ElectrodeLayout
            The layout.

        Raises
        ------
        FormatError
            If a channel is none of these, or a site lies outside of the grid.
        """
        kinds = {kind: [] for kind in (GROUNDED, REFERENCE, OTHER)}  # type: dict[str, list[int]]
        electrodes: list[int] = []
        for channel, site in enumerate(sites):
            if isinstance(site, str):
                if site not in kinds:
                    raise FormatError(
                        f"channel {channel} of electrode {name!r} is {site!r}; expected a site or "
                        f"one of {list(kinds)}"
                    )
                kinds[site].append(channel)
            else:
                electrodes.append(channel)
        places = np.array([sites[k] for k in electrodes], dtype=np.float64).reshape(-1, 2)
        pitch = 1.0 if pitch_mm is None else pitch_mm
        try:
            chan_map = (
                CoordinateChannelMap(*places.T, pitch=pitch)
                if geometry == "auto"
                else ChannelMap.from_index(places, tuple(geometry), pitch=pitch)  # type: ignore[arg-type]
            )
        except (IndexError, ValueError) as error:
            raise FormatError(f"electrode {name!r}: {error}") from error
        grounded, reference, other = (
            np.array(kinds[kind], dtype=np.int64) for kind in (GROUNDED, REFERENCE, OTHER)
        )
        channels = np.array(electrodes, dtype=np.int64)
        return cls(name, chan_map, channels, grounded, reference, other, len(sites))

    def rewired(self, connectors: Sequence[Any]) -> ElectrodeLayout:
        """Return the layout with connectors plugged in another order.

        Parameters
        ----------
        connectors : sequence of int or str
            For the first, second, ... equal part of the acquired channels: the connector that is
            plugged there, counted from 0, or as letters from ``a``. Each is named once.

        Returns
        -------
        ElectrodeLayout
            The layout of the channels as acquired.

        Raises
        ------
        ConfigError
            If connectors are missing or named twice, or the channels do not divide equally.
        """
        numbers = [
            ord(c.lower()) - ord("a") if isinstance(c, str) and len(c) == 1 else c
            for c in connectors
        ]
        if sorted(numbers) != list(range(len(numbers))) or self.n_channels % len(numbers):
            raise ConfigError(
                f"electrode_connectors {list(connectors)!r} must name each connector of "
                f"{self.name!r} ({self.n_channels} channels) once, as numbers from 0 or letters "
                "from a"
            )
        size = self.n_channels // len(numbers)
        # original[k] is the channel of the map that is acquired as channel k
        original = np.concatenate([np.arange(n * size, (n + 1) * size) for n in numbers])
        acquired = np.argsort(original)
        order = np.argsort(acquired[self.electrode_channels])
        return replace(
            self,
            channel_map=self.channel_map.subset(order),
            electrode_channels=np.sort(acquired[self.electrode_channels]),
            grounded_channels=np.sort(acquired[self.grounded_channels]),
            reference_channels=np.sort(acquired[self.reference_channels]),
            other_channels=np.sort(acquired[self.other_channels]),
        )


@functools.cache
def _packaged() -> Mapping[str, Any]:
    text = (files("ecogsource.devices") / "data" / "electrodes.json").read_text(encoding="utf-8")
    return MappingProxyType(json.loads(text))


def electrode_folder() -> Path:
    """Return the folder in which a lab keeps maps of its own.

    Returns
    -------
    Path
        ``electrodes`` beside the parameter file; it need not exist.
    """
    config = config_path()
    if config is not None:
        return config.parent / "electrodes"
    import platformdirs

    return platformdirs.user_config_path("ecogsource", appauthor=False) / "electrodes"


def _own_files() -> dict[str, Path]:
    folder = electrode_folder()
    if not folder.is_dir():
        return {}
    return {p.stem: p for p in sorted(folder.iterdir()) if p.suffix.lower() in _SUFFIXES}


def available_electrodes() -> list[str]:
    """List the named electrode arrays.

    Returns
    -------
    list of str
        Sorted names: those of the package and those of the lab.
    """
    return sorted({*_packaged(), *_own_files()})


def electrode_layout(name: str) -> ElectrodeLayout:
    """Find an electrode array by name.

    Parameters
    ----------
    name : str
        One of `available_electrodes`, in any case, or ``grid_<rows>x<cols>[_<pitch>]``. A map of
        the lab takes precedence over one of the package.

    Returns
    -------
    ElectrodeLayout
        The layout.

    Raises
    ------
    ConfigError
        If there is no such array; the message gives the nearest names.
    """
    grid = _GRID_NAME.fullmatch(name.lower())
    if grid:
        rows, cols, pitch = int(grid[1]), int(grid[2]), float(grid[3] or 1)
        sites = [[row, col] for col in range(cols) for row in range(rows)]
        return ElectrodeLayout.from_sites(name, sites, (rows, cols), pitch)
    own = {stem.lower(): path for stem, path in _own_files().items()}
    if name.lower() in own:
        return read_electrode(own[name.lower()])
    packaged = {each.lower(): entry for each, entry in _packaged().items()}
    if name.lower() not in packaged:
        known = available_electrodes()
        raise ConfigError(
            f"unknown electrode {name!r}{nearest(name, known, '.')} Known are {', '.join(known)}, "
            f"grid_<rows>x<cols>, and files in {electrode_folder()}"
        )
    entry = packaged[name.lower()]
    return ElectrodeLayout.from_sites(name, entry["sites"], entry["geometry"], entry["pitch_mm"])


def read_electrode(path: Path | str) -> ElectrodeLayout:
    """Read an electrode array from a file.

    Parameters
    ----------
    path : path-like
        ``.csv``: a header line, then one line per channel. With columns ``channel,row,col`` sites
        are on a grid; with ``channel,x_mm,y_mm`` they lie anywhere. Lines with a word
        (``grounded``, ``reference``, ``other``) in place of the row are channels without site. A
        first line ``# pitch_mm = 0.4`` gives the pitch of a grid. ``.json``: probeinterface.

    Returns
    -------
    ElectrodeLayout
        Named like the file.

    Raises
    ------
    FormatError
        If the file is not such a table; it names the line.
    """
    path = Path(path)
    if path.suffix.lower() == ".json":
        require("probeinterface", "devices")
        from probeinterface import read_probeinterface

        return from_probeinterface(read_probeinterface(path).probes[0], path.stem)
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    pitch = 1.0
    if lines and lines[0].startswith("#"):
        _, _, value = lines.pop(0).partition("=")
        try:
            pitch = float(value)
        except ValueError:
            raise FormatError(f"{path}: line 1: expected '# pitch_mm = <number>'") from None
    rows = list(csv.DictReader(lines))
    fields = set(rows[0]) if rows else set()
    first, second = ("x_mm", "y_mm") if {"x_mm", "y_mm"} <= fields else ("row", "col")
    if not {"channel", first, second} <= fields:
        raise FormatError(
            f"{path}: expected columns channel,row,col or channel,x_mm,y_mm; got {sorted(fields)}"
        )
    sites = _sites_of_rows(path, rows, first, second)
    if first == "x_mm":
        swapped = [site if isinstance(site, str) else site[::-1] for site in sites]
        return ElectrodeLayout.from_sites(path.stem, swapped, "auto", 1.0)
    placed = np.array([site for site in sites if not isinstance(site, str)])
    shape = tuple((placed.max(axis=0) + 1).astype(int)) if placed.size else (1, 1)
    return ElectrodeLayout.from_sites(path.stem, sites, shape, pitch)


def _sites_of_rows(
    path: Path, rows: Sequence[Mapping[str, str]], first: str, second: str
) -> list[Any]:
    """One site or word per channel, channels 0 to n - 1 in any order."""
    sites: dict[int, Any] = {}
    for number, row in enumerate(rows, 2):
        word = (row[first] or "").strip().lower()
        try:
            channel = int(row["channel"])
            is_word = word in {GROUNDED, REFERENCE, OTHER}
            sites[channel] = word if is_word else [float(word), float(row[second])]
        except (TypeError, ValueError):
            raise FormatError(f"{path}: row {number}: cannot be read: {dict(row)}") from None
    if sorted(sites) != list(range(len(rows))):
        raise FormatError(f"{path}: channels must be 0 to {len(rows) - 1}, each once")
    return [sites[channel] for channel in range(len(rows))]


def write_electrode(layout: ElectrodeLayout, path: Path | str) -> None:
    """Write an electrode array to a CSV file that `read_electrode` reads.

    Parameters
    ----------
    layout : ElectrodeLayout
        The array.
    path : path-like
        The file.
    """
    chan_map = layout.channel_map
    free = isinstance(chan_map, CoordinateChannelMap)
    table: dict[int, tuple[Any, Any]] = {}
    for kind in (GROUNDED, REFERENCE, OTHER):
        table |= dict.fromkeys(getattr(layout, f"{kind}_channels").tolist(), (kind, ""))
    places = chan_map.positions() if free else np.stack(chan_map.to_mat(), axis=1)
    table |= zip(layout.electrode_channels.tolist(), map(tuple, places.tolist()), strict=True)
    lines = [] if free else [f"# pitch_mm = {chan_map.pitch[0]}"]
    lines.append("channel,x_mm,y_mm" if free else "channel,row,col")
    lines += [f"{channel},{a},{b}" for channel, (a, b) in sorted(table.items())]
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")


def from_probeinterface(probe: Any, name: str = "probe") -> ElectrodeLayout:
    """Take a layout from a probe of the probeinterface library.

    Parameters
    ----------
    probe : probeinterface.Probe
        A probe of one plane. Its device channels say which acquired channel each contact is
        wired to; contacts are numbered in order where it has none, and -1 is not wired.
    name : str
        Name of the layout.

    Returns
    -------
    ElectrodeLayout
        At free coordinates in mm. Acquired channels without contact are ``'other'``.

    Raises
    ------
    FormatError
        If the probe is not two-dimensional or one channel is wired to several contacts.
    """
    if probe.ndim != 2:
        raise FormatError(f"a probe of one plane is needed, got {probe.ndim} dimensions")
    scale = {"um": 1e-3, "mm": 1.0, "m": 1e3}[probe.si_units]
    wired = probe.device_channel_indices
    channels = np.arange(len(probe.contact_positions)) if wired is None else np.asarray(wired)
    sites: list[Any] = [OTHER] * (int(channels.max(initial=-1)) + 1)
    for channel, (x, y) in zip(channels.tolist(), probe.contact_positions, strict=True):
        if channel < 0:
            continue
        if sites[channel] != OTHER:
            raise FormatError(f"probe {name!r}: channel {channel} is wired to several contacts")
        sites[channel] = [float(y) * scale, float(x) * scale]
    return ElectrodeLayout.from_sites(name, sites, "auto", 1.0)


def to_probeinterface(layout: ElectrodeLayout) -> Any:
    """Make a probe of the probeinterface library.

    Parameters
    ----------
    layout : ElectrodeLayout
        The array.

    Returns
    -------
    probeinterface.Probe
        Contacts at x = column, y = row in mm, wired to the electrode channels.

    Raises
    ------
    MissingDependencyError
        If probeinterface is not installed.
    """
    probe = require("probeinterface", "devices").Probe(ndim=2, si_units="mm")
    probe.set_contacts(
        positions=layout.channel_map.positions(),
        shapes="circle",
        shape_params={"radius": 0.1},
    )
    probe.set_device_channel_indices(layout.electrode_channels)
    return probe
