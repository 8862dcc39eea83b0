"""Demonstration recordings by name, made on first use and kept in the user's cache folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecogsource.demos.edf import Annotation, EdfHeader, write_edf
from ecogsource.demos.noise import PinkNoise
from ecogsource.demos.simulation import Recorder, grid_positions, tone_sequence
from ecogsource.demos.store import StoredArray, write_hdf5
from ecogsource.errors import DataPathError, require

__all__ = ["DemoPaths", "Listing", "Remote", "paths"]

Maker = Callable[[Path], None]

EDITION = "1"
"""Part of the cache folder's name: raise it when a recording's content changes."""

STATES = ("rest", "exploring", "grooming", "freezing")
STATE_S = 20


@dataclass(frozen=True)
class Remote:
    """A recording that can be downloaded: where from, and the sha256 of the right file."""

    url: str
    sha256: str


class Listing(Mapping[str, str]):
    """Names of recordings and where each comes from; prints as a table."""

    def __init__(self, entries: Mapping[str, str]) -> None:
        self._entries = dict(entries)

    def __getitem__(self, name: str) -> str:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        width = max((len(name) for name in self), default=0)
        return "\n".join(f"{name:<{width}}  {where}" for name, where in self.items())


class DemoPaths:
    """Finds demonstration recordings by name.

    Parameters
    ----------
    makers : mapping of str to callable
        For each name a function that writes the recording to the path that it is given.
    folder : pathlib.Path, optional
        Where the files are kept; the user's cache folder by default.
    """

    def __init__(self, makers: Mapping[str, Maker], folder: Path | None = None) -> None:
        self._makers = dict(makers)
        self._folder = folder
        self._remotes: dict[str, Remote] = {}

    @property
    def folder(self) -> Path:
        """Where the files are kept."""
        if self._folder is not None:
            return self._folder
        import platformdirs

        return Path(platformdirs.user_cache_dir("ecogsource")) / f"demos-{EDITION}"

    @property
    def available(self) -> Listing:
        """Every recording's name, with the path of its file or how it is obtained."""
        entries = dict.fromkeys(self._makers, "made on first use")
        entries |= {name: remote.url for name, remote in self._remotes.items()}
        for name in entries:
            if (self.folder / name).is_file():
                entries[name] = str(self.folder / name)
        return Listing(dict(sorted(entries.items())))

    def register(self, name: str, url: str, sha256: str) -> None:
        """Add a recording that is downloaded on first use.

        Parameters
        ----------
        name : str
            The file's name, from now on known to `locate`.
        url : str
            Where it is downloaded from.
        sha256 : str
            Checksum of the right file, in hexadecimal.

        Raises
        ------
        ValueError
            If the name is taken or no plain file name.
        """
        if name in self._makers or name in self._remotes:
            raise ValueError(f"there is a recording named {name!r} already")
        if Path(name).name != name:
            raise ValueError(f"a recording is named like a file, without folders: got {name!r}")
        self._remotes[name] = Remote(url, sha256)

    def locate(self, name: str) -> Path:
        """Return the path of a recording, which is made or downloaded if it is not there.

        Parameters
        ----------
        name : str
            One of `available`.

        Returns
        -------
        pathlib.Path
            A complete file.

        Raises
        ------
        DataPathError
            If no recording has that name.
        MissingDependencyError
            If it has to be downloaded and pooch is not installed.
        """
        path = self.folder / name
        if name not in self._makers and name not in self._remotes:
            near = get_close_matches(name, self.available, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise DataPathError(
                f"no demonstration recording named {name!r}{hint} "
                f"There are: {', '.join(self.available)}"
            )
        if path.is_file():
            return path
        self.folder.mkdir(parents=True, exist_ok=True)
        if name in self._makers:
            self._makers[name](path)
            return path
        remote = self._remotes[name]
        pooch = require("pooch", "demos")
        found = pooch.retrieve(
            remote.url, known_hash=f"sha256:{remote.sha256}", fname=name, path=self.folder
        )
        return Path(found)


def make_eeg(path: Path, n_seconds: int) -> None:
    """Write four EEG channels of a mouse, at 5 kHz, to an EDF+C file.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    n_seconds : int
        Length of the recording; each second is one data record.
    """
    header = EdfHeader(
        names=[f"EEG EEG_{number}_SA-B" for number in (1, 2, 3, 4)],
        samples_per_record=5000,
        transducer="8401 HS:15279",
        patient="PIN-42 M 11-MAR-1952 Animal",
        recording="Startdate 15-AUG-2020 X X X",
        start_date="15.08.20",
        start_time="09.59.15",
    )
    fs = float(header.samples_per_record)
    rng = np.random.default_rng([1, 5])
    states = rng.integers(0, len(STATES), -(-n_seconds // STATE_S))
    notes = [
        Annotation(at, min(STATE_S, n_seconds - at), STATES[state])
        for at, state in zip(range(0, n_seconds, STATE_S), states, strict=True)
    ]
    blocks = _eeg_blocks(n_seconds * header.samples_per_record, fs, states)
    write_edf(path, header, blocks, n_seconds, notes)


def _eeg_blocks(
    n_samples: int, fs: float, states: NDArray[np.int64]
) -> Iterator[NDArray[np.float64]]:
    """Yield 1/f noise with a theta rhythm that depends on what the animal is doing."""
    mixing = np.asarray(np.linalg.cholesky(0.6 + 0.4 * np.eye(4)), dtype=np.float64)
    theta_uv = np.array([8.0, 45.0, 20.0, 30.0])
    start = 0
    for noise in PinkNoise(mixing, fs, seed=1).blocks(n_samples):
        samples = np.arange(start, start + noise.shape[1])
        state = states[samples // round(STATE_S * fs)]
        rhythm = theta_uv[state] * np.sin(2 * np.pi * 7.0 * samples / fs)
        yield 60.0 * noise + rhythm
        start += noise.shape[1]


def make_grid(path: Path) -> None:
    """Write 20 s of a 64-channel grid with tones every 0.6 s to an HDF5 file.

    Parameters
    ----------
    path : pathlib.Path
        The file: ``data`` (64 x time, int16, 0.195 µV per step), ``adc``, ``aux``, ``Fs``.
    """
    fs, n_samples = 2000.0, 40000
    recorder = Recorder(grid_positions(8, 8, 0.4), fs, seed=2, dead=(19, 44))
    tones = tone_sequence(32, fs, 0.6, seed=2)
    arrays = {
        "data": StoredArray(
            "electrodes", "<i2", 0.195, attributes={"units_scale": 0.195, "units": "uV"}
        ),
        "adc": StoredArray("adc", "<f4"),
        "aux": StoredArray("aux", "<f4"),
    }
    write_hdf5(path, recorder.blocks(n_samples, tones), n_samples, arrays, {"Fs": fs})


paths = DemoPaths(
    {
        "recording_001.edf": lambda path: make_eeg(path, 3775),
        "recording_001_short.edf": lambda path: make_eeg(path, 60),
        "grid64.h5": make_grid,
    }
)
"""The recordings that ecogsource can make by itself."""
