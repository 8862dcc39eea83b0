"""What the files beside a flat recording say: the experiment's JSON, and the masks."""

from __future__ import annotations

import json
import logging
import os
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ecogsource.errors import DataPathError, FormatError
from ecogsource.windows.unpickle import load_plain_pickle

__all__ = ["Drive", "Masks", "RecordingName", "load_masks", "parse_name", "read_drive", "typed_as"]

# Rates in Hz and types of the kinds of file that the acquisition and its processing write. None:
# what the experiment file says of the acquisition.
_KINDS: dict[str, tuple[float | None, str | None]] = {
    "raw": (None, None),
    "lfp": (1000.0, "<f4"),
    "clfp": (1000.0, "<f4"),
}
_FORMATS = {"ushort": "<u2", "short": "<i2", "float": "<f4", "double": "<f8"}
_TIME_MASKS = ("hf", "sat")
_CHANNEL_MASK = "ch"

logger = logging.getLogger(__name__)


class RecordingName(NamedTuple):
    """The parts of ``<rec_id>.<drive>.<rec_type>.dat``."""

    rec_id: str
    drive: str
    rec_type: str


class Drive(NamedTuple):
    """What the experiment file says of one microdrive and of the acquisition.

    Attributes
    ----------
    labels : tuple of str
        Label of each electrode, in the order of the channels.
    positions : tuple of (float, float)
        Where each electrode is, x and y in mm; NaN where the file does not say.
    rate : float or None
        Rate of the acquisition, in Hz.
    data_format : str or None
        Name of the type of the acquired numbers.
    """

    labels: tuple[str, ...]
    positions: tuple[tuple[float, float], ...]
    rate: float | None
    data_format: str | None


class Masks(NamedTuple):
    """Masks of one file: True is bad.

    Attributes
    ----------
    samples : ndarray, shape (n_samples,), bool
        Which samples are bad.
    channels : ndarray, shape (n_channels,), bool
        Which channels are bad.
    """

    samples: NDArray[np.bool_]
    channels: NDArray[np.bool_]


def parse_name(path: Path) -> RecordingName:
    """Take the name of a data file apart.

    Raises
    ------
    FormatError
        If it does not have the four parts.
    """
    parts = path.name.split(".")
    if len(parts) < 4 or not all(parts):
        raise FormatError(
            f"{str(path)!r} is not named <recording>.<drive>.<type>.dat, such as "
            "rec001.LM1_ECOG_3.clfp.dat"
        )
    return RecordingName(".".join(parts[:-3]), parts[-3], parts[-2])


def read_drive(path: Path, name: str) -> Drive:
    """Read what an experiment file says of a drive.

    Parameters
    ----------
    path : Path
        The experiment file.
    name : str
        Name of the drive.

    Raises
    ------
    DataPathError
        If there is no such file.
    FormatError
        If it is not what it should be, or knows no such drive.
    """
    try:
        stamp = path.stat().st_mtime_ns
    except OSError as error:
        raise DataPathError(
            f"no experiment file {str(path)!r} ({error.strerror}); it names the drives and their "
            "electrodes. Give its place with exp_file_path="
        ) from error
    drives = _read_experiment(str(path), stamp)
    if name not in drives:
        raise FormatError(
            f"{str(path)!r} has no drive {name!r}, only: {', '.join(drives) or 'none'}"
        )
    return drives[name]


@lru_cache(maxsize=256)
def _read_experiment(path: str, stamp: int) -> dict[str, Drive]:
    """Parse an experiment file once per state of it: all files of a recording share one."""
    try:
        hardware = json.loads(Path(path).read_text(encoding="utf-8"))["hardware"]
        acquisition = hardware.get("acquisition", {})
        drives = [
            (str(d["name"]), _listed(d["electrodes"])) for d in _listed(hardware["microdrive"])
        ]
        rate, data_format = acquisition.get("samplingrate"), acquisition.get("data_format")
        return {
            name: Drive(
                tuple(str(e.get("label", number)) for number, e in enumerate(electrodes)),
                tuple(_position(e) for e in electrodes),
                None if rate is None else float(rate),
                data_format,
            )
            for name, electrodes in drives
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(
            f"{path!r} is not an experiment file: expected JSON with hardware.microdrive, a list "
            f"of drives with name and electrodes ({type(error).__name__}: {error})"
        ) from error


def _listed(value: Any) -> list[Any]:
    # MATLAB writes a list of one as the one.
    return value if isinstance(value, list) else [value]


def _position(electrode: dict[str, Any]) -> tuple[float, float]:
    place = electrode.get("position") or {}
    return float(place.get("x", np.nan)), float(place.get("y", np.nan))


def typed_as(
    rec_type: str, drive: Drive, *, srate: float | None, dtype: Any
) -> tuple[float, np.dtype]:
    """Find rate and type of a kind of recording.

    Parameters
    ----------
    rec_type : str
        Such as ``raw``, ``lfp``, ``clfp``, or one of these with ``_ds`` and the rate that it was
        downsampled to, such as ``clfp_ds250``.
    drive : Drive
        What the experiment file says.
    srate : float, optional
        Rate in Hz, if the caller knows better.
    dtype : dtype_like, optional
        Type, if the caller knows better.

    Returns
    -------
    srate : float
        Samples per second, in Hz.
    dtype : numpy.dtype
        Type of the stored numbers.

    Raises
    ------
    FormatError
        If either is not known.
    """
    base, found = rec_type, re.fullmatch(r"(.+)_ds(\d+(?:\.\d+)?)", rec_type)
    rate: float | None = None
    if found:
        base, rate = found[1], float(found[2])
    kind_rate, kind_type = _KINDS.get(base, (None, None))
    if base == "raw":
        kind_rate, kind_type = drive.rate, _FORMATS.get(drive.data_format or "ushort")
    rate = rate or kind_rate
    rate = float(srate) if srate is not None else rate
    stored = dtype if dtype is not None else kind_type
    if not rate or rate <= 0 or stored is None:
        raise FormatError(
            f"rate and number type of a {rec_type!r} recording are not known (known: "
            f"{', '.join(_KINDS)}, and these with _ds<rate>); give srate= and dtype="
        )
    return rate, np.dtype(stored)


def load_masks(path: Path | None, n_samples: int, n_channels: int) -> Masks:
    """Load the masks of a file.

    Parameters
    ----------
    path : Path or None
        A ``.pkl`` or ``.npz`` that holds boolean arrays: ``hf`` and ``sat``, one value per
        sample, and ``ch``, one per channel. None: nothing is masked.
    n_samples, n_channels : int
        Their lengths.

    Raises
    ------
    DataPathError
        If the file cannot be read.
    FormatError
        If it holds anything else than plain arrays, or these are no such masks.
    """
    # Without masks there is nothing to store: one value stands for all.
    samples: NDArray[np.bool_] = np.broadcast_to(np.False_, (n_samples,))
    channels = np.zeros(n_channels, dtype=bool)
    if path is None:
        return Masks(samples, channels)
    stored = _load_npz(path) if path.suffix == ".npz" else load_plain_pickle(path)
    if not isinstance(stored, dict):
        raise FormatError(
            f"{str(path)!r} holds a {type(stored).__name__}, expected a dict of masks"
        )
    known = {*_TIME_MASKS, _CHANNEL_MASK}
    if not known & set(stored):
        raise FormatError(
            f"{str(path)!r} holds {', '.join(map(repr, stored)) or 'nothing'}; masks are named "
            f"{', '.join(_TIME_MASKS)} (one value per sample) and {_CHANNEL_MASK} (per channel)"
        )
    if set(stored) - known:
        logger.warning("%s: %s not used", path, ", ".join(map(repr, set(stored) - known)))
    for name in _TIME_MASKS:
        if name in stored:
            samples = samples | _checked(stored[name], n_samples, "sample", name, path)
    if _CHANNEL_MASK in stored:
        channels = _checked(stored[_CHANNEL_MASK], n_channels, "channel", _CHANNEL_MASK, path)
    return Masks(samples, channels)


def _checked(value: Any, count: int, per: str, name: str, path: Path) -> NDArray[np.bool_]:
    array = np.asarray(value)
    if array.dtype.kind not in "bui" or array.size != count or (array > 1).any():
        raise FormatError(
            f"mask {name!r} of {os.fspath(path)!r} is {array.dtype} of shape {array.shape}; "
            f"expected one boolean per {per}, {count} of them"
        )
    return array.reshape(count).astype(bool)


def _load_npz(path: Path) -> dict[str, Any]:
    try:
        # Opened here: numpy.load leaves the file open where it is not a zip file.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except FileNotFoundError as error:
        raise DataPathError(f"cannot read {str(path)!r}: {error.strerror}") from error
    except Exception as error:
        # Damaged zip files raise errors of several packages.
        raise FormatError(f"{str(path)!r} is not a .npz file of plain arrays: {error}") from error
