"""An example lab in a folder: recordings of several systems and the session files that name them.

Everything is simulated, the same every time, and of the shape that real labs have: some files are
channels x time and some time x channels, some are compressed, one lies only on the "network
drive", one is a flat file; one array stores its electrodes in permuted rows and columns.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecogsource.demos.simulation import (
    Block,
    Recorder,
    Stimuli,
    grid_positions,
    tone_sequence,
)
from ecogsource.demos.store import StoredArray, write_flat, write_hdf5
from ecogsource.devices.electrodes import electrode_layout
from ecogsource.errors import FormatError
from ecogsource.safefile import atomic_path

__all__ = ["GROUPS", "Lab", "make_lab", "session_files"]

GROUPS = ("demo", "16011", "16017")
EDITION = 1
"""Raise it when the content of the lab changes, so that older folders are made anew."""

FS = 2000.0
INTERVAL_S = 0.6
MICROVOLTS_PER_STEP = 0.195

GRID_SESSION = "2024-03-18_grid64"
GRID_ELECTRODE = "grid_8x8_0.4"
ACTIVE_FOLDER = "Viventi 2016-09-01 Active Rat 16011"
TONE_FOLDER = "Viventi 2016-09-26 P4 Rat 16017"
FIRST_FOLDER = "Viventi 2016-09-12 P4 Rat 16017"

# How daq "2t-as daq v1" with headstage "zif26 to 2x uhdmi" acquires electrode "actv_64": the
# acquired column of each column of the grid, and the acquired row of each of its rows.
ACTIVE_COLUMNS = (2, 3, 0, 6, 7, 8, 9, 5)
ACTIVE_ROWS = (0, 1, 2, 3, 5, 6, 7, 4)
ACTIVE_GAIN = 10.0
ACTIVE_FS = 1000.0

DEAD_CHANNELS = (12, 40)

DAY = "2016-09-26_"
TONE_RECORDINGS = (
    "15-49-32_002",
    "16-02-50_004",
    "16-09-55_005",
    "16-17-23_006",
    "16-23-07_007",
    "16-48-13_009",
)
CLICK_RECORDING = "15-57-41_003"
QUIET_RECORDING = "15-41-20_001"


@dataclass(frozen=True)
class Lab:
    """Where the example lab is.

    Parameters
    ----------
    folder : pathlib.Path
        The folder that holds everything.
    """

    folder: Path

    @property
    def params(self) -> dict[str, Path]:
        """The global parameters to set, for ``OVERRIDE.set(**lab.params)``."""
        return {
            "local_exp": self.folder / "local",
            "network_exp": self.folder / "network",
            "user_sessions": self.folder / "sessions",
            "stash_path": self.folder / "stash",
        }

    @property
    def config(self) -> Path:
        """A parameter file that says the same, for ``$ECOGSOURCE_CONFIG``."""
        return self.folder / "ecogsource.ini"

    @property
    def mark(self) -> Path:
        """The file that says that the lab is complete, and with which settings it was made."""
        return self.folder / "lab.json"

    def files(self) -> list[Path]:
        """Return every file of the lab, sorted."""
        return sorted(path for path in self.folder.rglob("*") if path.is_file())


@dataclass(frozen=True)
class _Settings:
    """What decides the content of a lab."""

    groups: tuple[str, ...]
    seconds: float
    n_tones: int
    sessions: int
    edition: int = EDITION


def session_files() -> dict[str, str]:
    """Return the session files of the lab.

    Returns
    -------
    dict of str to str
        The text of each, by its name ``group/session.txt``.
    """
    root = files("ecogsource.demos") / "sessions"
    return {
        f"{group}/{entry.name}": entry.read_text(encoding="utf-8")
        for group in GROUPS
        for entry in sorted((root / group).iterdir(), key=lambda entry: entry.name)
    }


def make_lab(
    folder: Path | str,
    *,
    groups: Sequence[str] = GROUPS,
    seconds: float = 30.0,
    n_tones: int = 39,
    report: Callable[[Path], None] | None = None,
) -> Lab:
    """Make the example lab in a folder, or find it there.

    Parameters
    ----------
    folder : path-like
        A new or an empty folder, or one that holds an example lab already: that is used as it is
        if it was made with the same settings, and made anew otherwise.
    groups : sequence of str
        Which groups of sessions: ``"demo"`` (a 64-channel grid in several layouts), ``"16011"``
        (an active electrode array) and ``"16017"`` (tones played to a rat).
    seconds : float
        Length of each recording of group ``"demo"``. Memory does not depend on it.
    n_tones : int
        How many tones each recording of group ``"16017"`` has, 0.6 s apart.
    report : callable, optional
        Called with the path of each recording when it has been written.

    Returns
    -------
    Lab
        Its folder and the global parameters that make its sessions known.

    Raises
    ------
    FormatError
        If the folder holds other files.
    ValueError
        If a group is not known, or `seconds` or `n_tones` leaves nothing to record.
    """
    unknown = sorted(set(groups) - set(GROUPS))
    if unknown:
        raise ValueError(f"no example group {unknown[0]!r}; there are {', '.join(GROUPS)}")
    if seconds < 2 or n_tones < 1:
        raise ValueError(
            f"recordings need at least 2 s and one tone, got {seconds:g} s and {n_tones} tones"
        )
    lab = Lab(Path(folder).absolute())
    texts = zlib.crc32(json.dumps(session_files()).encode())
    settings = _Settings(tuple(groups), float(seconds), n_tones, texts)
    if _is_complete(lab, settings):
        return lab
    for path in lab.params.values():
        path.mkdir(parents=True, exist_ok=True)
    _write_texts(lab, groups)
    makers = {"demo": _make_grid, "16011": _make_active, "16017": _make_tones}
    written: list[str] = []
    for group in groups:
        for path in makers[group](lab, settings):
            written.append(str(path.relative_to(lab.folder)))
            if report is not None:
                report(path)
    with atomic_path(lab.mark) as temporary:
        text = json.dumps({"settings": _plain(settings), "recordings": written}, indent=2)
        temporary.write_text(text + "\n", encoding="utf-8")
    return lab


def _is_complete(lab: Lab, settings: _Settings) -> bool:
    """Return whether the folder holds this very lab; refuse folders that hold something else."""
    if lab.folder.is_dir() and not lab.config.exists() and any(lab.folder.iterdir()):
        raise FormatError(
            f"the folder {str(lab.folder)!r} holds files that are not an example lab; "
            "give a new or an empty folder"
        )
    try:
        made = json.loads(lab.mark.read_text(encoding="utf-8"))
        recordings = [lab.folder / name for name in made["recordings"]]
        same = made["settings"] == _plain(settings)
    except (OSError, ValueError, KeyError, TypeError):
        # Interrupted, or not written by this edition.
        return False
    return same and all(path.is_file() for path in recordings)


def _plain(settings: _Settings) -> dict[str, object]:
    return {**asdict(settings), "groups": list(settings.groups)}


def _write_texts(lab: Lab, groups: Sequence[str]) -> None:
    # The parameter file comes first: it tells an interrupted lab from somebody's own files.
    lines = ["[params]", *(f"{name} = {path}" for name, path in lab.params.items())]
    lab.config.write_text("\n".join(lines) + "\n", encoding="utf-8")
    lab.mark.unlink(missing_ok=True)
    for name, text in session_files().items():
        path = lab.params["user_sessions"] / name
        if path.parent.name in groups:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")


def _write_tables(folder: Path, recording: str, tones: Stimuli) -> None:
    for kind, values in (("tones", tones.tones_hz), ("amps", tones.levels_db)):
        lines = (f"{value:.0f}\n" for value in values)
        (folder / f"{recording}_{kind}.txt").write_text("".join(lines), encoding="utf-8")


def _sites(electrode: str) -> tuple[NDArray[np.float64], list[int]]:
    """Return the places of a named map's channels (mm), and the channels without electrode."""
    layout = electrode_layout(electrode)
    positions = np.zeros((layout.n_channels, 2))
    cells = np.stack(layout.channel_map.to_mat(), axis=1)
    positions[layout.electrode_channels] = np.asarray(layout.channel_map.pitch) * cells
    missing = np.setdiff1d(np.arange(layout.n_channels), layout.electrode_channels)
    return positions, missing.tolist()


def _make_grid(lab: Lab, settings: _Settings) -> Iterator[Path]:
    """Write the recordings of group ``demo``: the same grid in four layouts."""
    positions, _ = _sites(GRID_ELECTRODE)
    local, network = (
        lab.params[place] / "demo" / GRID_SESSION for place in ("local_exp", "network_exp")
    )
    marks = {"units_scale": MICROVOLTS_PER_STEP, "units": "uV"}
    plain = StoredArray("electrodes", "<i2", MICROVOLTS_PER_STEP, attributes=marks)
    layouts = {
        "rec_001": (local, plain),
        "rec_002": (local, replace(plain, time_first=True, chunks=(16, 4096), compressed=True)),
        "rec_003": (network, replace(plain, chunks=(8, 8192))),
    }
    n_samples = round(settings.seconds * FS)
    n_tones = int(settings.seconds / INTERVAL_S) - 1
    tables = lab.params["user_sessions"] / "demo"
    for number, (recording, (folder, layout)) in enumerate(layouts.items()):
        folder.mkdir(parents=True, exist_ok=True)
        recorder = Recorder(positions, FS, seed=100 + number, dead=DEAD_CHANNELS)
        tones = tone_sequence(n_tones, FS, INTERVAL_S, seed=100 + number)
        other = StoredArray("adc", "<f4", time_first=layout.time_first)
        arrays = {"data": layout, "adc": other, "aux": replace(other, key="aux")}
        path = folder / f"{recording}.h5"
        write_hdf5(path, recorder.blocks(n_samples, tones), n_samples, arrays, {"Fs": FS})
        _write_tables(tables, recording, tones)
        yield path
    recorder = Recorder(positions, FS, seed=103, dead=DEAD_CHANNELS)
    blocks = recorder.blocks(n_samples, tone_sequence(n_tones, FS, INTERVAL_S, seed=103))
    path = local / "rec_004.dat"
    write_flat(path, blocks, [replace(plain, time_first=True)], {"fs": FS, "offset": 0, **marks})
    yield path


def _make_active(lab: Lab, settings: _Settings) -> Iterator[Path]:
    """Write the recording of group ``16011``: an active array, as MATLAB stores it."""
    folder = lab.params["network_exp"] / ACTIVE_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    n_samples = 60_000
    recorder = Recorder(grid_positions(8, 8, 0.4), ACTIVE_FS, seed=200, n_adc=1)
    tones = tone_sequence(99, ACTIVE_FS, INTERVAL_S, seed=200)
    layout = StoredArray("acquired", "<f4", time_first=True, chunks=(11, 8192), compressed=True)
    scalars = {
        name: np.array([[value]])
        for name, value in (("Fs", ACTIVE_FS), ("numRow", 8.0), ("numCol", 10.0), ("numChan", 11.0))
    }
    path = folder / "test_001.mat"
    acquired = _acquire_active(recorder.blocks(n_samples, tones))
    write_hdf5(path, acquired, n_samples, {"data": layout}, scalars, matlab=True)
    yield path


def _acquire_active(blocks: Iterator[Block]) -> Iterator[Mapping[str, NDArray[np.float64]]]:
    """Put electrodes and trigger where this array's recorder puts them, in volts."""
    site = np.arange(64)
    channel = np.array(ACTIVE_COLUMNS)[site % 8] * 8 + np.array(ACTIVE_ROWS)[site // 8]
    rng = np.random.default_rng(201)
    for block in blocks:
        acquired = rng.normal(0.0, 2e-5, (88, block["adc"].shape[1]))
        acquired[channel] = ACTIVE_GAIN * 1e-6 * block["electrodes"]
        acquired[80:] += block["adc"]
        yield {"acquired": acquired}


def _make_tones(lab: Lab, settings: _Settings) -> Iterator[Path]:
    """Write the recordings of group ``16017``, as downsampled by an earlier session."""
    folder = lab.params["network_exp"] / TONE_FOLDER
    tables = lab.params["user_sessions"] / "16017"
    for number, recording in enumerate(TONE_RECORDINGS):
        seed = 300 + number
        tones = tone_sequence(settings.n_tones, FS, INTERVAL_S, seed=seed)
        # Recordings of one session are never equally long.
        extra_s = 1.2 + 0.13 * number
        path = folder / f"{DAY}{recording}_Fs2000.h5"
        _write_openephys(path, seed, INTERVAL_S * settings.n_tones + extra_s, tones)
        _write_tables(tables, DAY + recording, tones)
        yield path
    clicks = tone_sequence(10, FS, INTERVAL_S, seed=310)
    clicks = replace(clicks, tones_hz=np.full(10, 1000.0), levels_db=np.full(10, 70.0))
    path = folder / f"{DAY}{CLICK_RECORDING}_Fs2000.h5"
    _write_openephys(path, 310, 8.0, clicks)
    yield path
    silence = tone_sequence(0, FS, INTERVAL_S, seed=311)
    quiet = folder / f"{DAY}{QUIET_RECORDING}_Fs2000.h5"
    first = lab.params["network_exp"] / FIRST_FOLDER / "2016-09-12_11-20-05_001_Fs2000.h5"
    for seed, path in ((311, quiet), (312, first)):
        _write_openephys(path, seed, 8.0, silence)
        yield path


def _write_openephys(path: Path, seed: int, seconds: float, stimuli: Stimuli) -> None:
    positions, grounded = _sites("psv_61_intan2")
    recorder = Recorder(positions, FS, seed=seed, dead=grounded, n_adc=8)
    n_samples = round(seconds * FS)
    arrays = {
        "chdata": StoredArray("electrodes", "<f4"),
        "adc": StoredArray("adc", "<f4"),
        "aux": StoredArray("aux", "<f4"),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_hdf5(path, recorder.blocks(n_samples, stimuli), n_samples, arrays, {"Fs": FS})
