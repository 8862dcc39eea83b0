"""Finding the file of a recording, in every folder where it may be."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from ecogsource.errors import DataPathError

__all__ = [
    "FoundFile",
    "find_recording",
    "find_stored",
    "folders_of",
    "stored_name",
]

_STORED = re.compile(r"(?P<recording>.+)_Fs(?P<rate>\d+(?:\.\d+)?)\.h5")


@dataclass(frozen=True)
class FoundFile:
    """A file to load.

    Attributes
    ----------
    path : Path
        A file, or the folder of a recording of many files.
    downsampled : bool
        Whether it was written by downsampling: floating point, microvolts, channels x time.
    """

    path: Path
    downsampled: bool = False


def folders_of(paths: str | PathLike[str] | Iterable[str | PathLike[str] | None]) -> list[Path]:
    """Return one path, or several of which some are None, as a list of folders.

    Parameters
    ----------
    paths : path-like or iterable of path-like
        Where recordings are, in the order of preference.

    Returns
    -------
    list of Path
        Without repetition.
    """
    given = [paths] if isinstance(paths, (str, PathLike)) else [p for p in paths if p is not None]
    return list(dict.fromkeys(Path(path).expanduser() for path in given))


def stored_name(recording: str, rate: float) -> str:
    """Name of the downsampled file of a recording.

    Parameters
    ----------
    recording : str
        Name of the recording.
    rate : float
        Samples per second.

    Returns
    -------
    str
        Such as ``rec_Fs2000.h5``.
    """
    return f"{recording}_Fs{rate:g}.h5"


def find_stored(folders: Sequence[Path], recording: str, rate: float) -> Path | None:
    """Find the downsampled file of a recording.

    Parameters
    ----------
    folders : sequence of Path
        Where to look, in order.
    recording : str
        Name of the recording.
    rate : float
        Samples per second.

    Returns
    -------
    Path or None
        None if there is none.
    """
    for folder in folders:
        path = folder / stored_name(recording, rate)
        if path.is_file():
            return path
    return None


def find_recording(
    folders: Sequence[Path],
    recording: str,
    suffixes: Sequence[str],
    also_tried: Iterable[Path] = (),
) -> Path:
    """Find the file or folder of a recording.

    Parameters
    ----------
    folders : sequence of Path
        Where to look, in order.
    recording : str
        Name of the recording, with or without suffix.
    suffixes : sequence of str
        Endings of file names, in the order of preference; an empty one is the name itself.
    also_tried : iterable of Path
        What was looked for in vain before, for the message.

    Returns
    -------
    Path
        The first that exists.

    Raises
    ------
    DataPathError
        If there is none; it names every path tried, and downsampled files that there are.
    """
    tried = [path for path in also_tried if not path.exists()]
    for folder in folders:
        for suffix in suffixes:
            path = folder / f"{recording}{suffix}"
            if path.exists():
                return path
            tried.append(path)
    if not folders:
        raise DataPathError(
            f"no folder to look for the recording {recording!r} in: neither exp_path nor nwk_path "
            "is set"
        )
    looked = "\n  ".join(str(path) for path in tried)
    raise DataPathError(
        f"no recording {recording!r}. Looked for\n  {looked}{_hints(folders, recording)}"
    )


def _hints(folders: Sequence[Path], recording: str) -> str:
    hints = []
    for folder in folders:
        if not folder.is_dir():
            hints.append(f"\nThe folder {folder} does not exist.")
            continue
        for path in sorted(folder.glob(f"{glob_escape(recording)}_Fs*.h5")):
            match = _STORED.fullmatch(path.name)
            if match:
                hints.append(f"\n{path} is there: load it with resample_rate={match['rate']}.")
    return "".join(hints)


def glob_escape(text: str) -> str:
    """Make a name match only itself in a pattern.

    Parameters
    ----------
    text : str
        Any name.

    Returns
    -------
    str
        The pattern.
    """
    return re.sub(r"([*?[])", r"[\1]", text)
