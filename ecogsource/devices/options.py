"""What can be asked of every loader."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any, Literal

from ecogsource.errors import ConfigError
from ecogsource.expconfig.bunch import nearest

__all__ = ["UNITS", "LoadOptions"]

#: Volts in one unit.
UNITS = {"V": 1.0, "mV": 1e-3, "uV": 1e-6, "µV": 1e-6, "nV": 1e-9}


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """Options of loading, the same for all devices.

    Parameters
    ----------
    bandpass : (float, float), optional
        Pass band in Hz; -1, 0 or None for an end that is open.
    notches : sequence of float, optional
        Frequencies in Hz to remove.
    causal_filtering : bool
        Filter forwards only; the default filters forwards and backwards, without delay.
    units : str
        Unit of the data: ``'V'``, ``'mV'``, ``'uV'`` or ``'nV'``. The generic loader takes any
        text as the name of what the file holds.
    load_channels : sequence of int, optional
        Load only the electrodes among these acquired channels.
    trigger_idx : int or sequence of int, optional
        Line or lines that carry the trigger. Several are read as the bits of a word.
    mapped : bool or 'r+'
        True: data stay on disk, read-only. ``'r+'``: in a temporary copy that can be written.
        False: in memory.
    resample_rate : float, optional
        Samples per second wanted: a whole fraction of the rate of the recording.
    use_stored : bool
        Whether an existing downsampled file is used.
    save_downsamp : bool
        Whether a downsampled file is kept; otherwise it is temporary.
    store_path : path-like, optional
        Folder of downsampled files; that of the recording if not given.
    electrode_connectors : sequence, optional
        For arrays with several connectors: which connector (numbers from 0, or letters from a)
        is plugged where the first, second, ... part of the channels is acquired.
    raise_on_glitch : bool
        Whether a missing trigger line is an error; otherwise it is a warning.
    gaps : {'raise', 'fill'}
        What to do with files of an acquisition system in which time is missing: refuse them, or
        fill the gaps with NaN.
    car : bool
        Subtract the mean of all channels at every sample, after loading.
    local_ref : bool
        Subtract the mean of the neighbouring electrodes at every sample, after loading.

    Raises
    ------
    ConfigError
        If a value is not allowed.
    """

    bandpass: Sequence[float | None] | None = None
    notches: Sequence[float] | float | None = None
    causal_filtering: bool = False
    units: str = "uV"
    load_channels: Sequence[int] | None = None
    trigger_idx: int | Sequence[int] | None = None
    mapped: bool | Literal["r+", "r"] = True
    resample_rate: float | None = None
    use_stored: bool = True
    save_downsamp: bool = True
    store_path: str | Path | None = None
    electrode_connectors: Sequence[Any] | None = None
    raise_on_glitch: bool = False
    gaps: Literal["raise", "fill"] = "raise"
    car: bool = False
    local_ref: bool = False

    def __post_init__(self) -> None:
        if self.mapped not in (True, False, "r", "r+"):
            raise ConfigError(f"mapped must be True, False or 'r+', got {self.mapped!r}")
        if self.bandpass is not None and len(self.bandpass) != 2:
            raise ConfigError(f"bandpass is (low, high) in Hz, got {self.bandpass!r}")
        if self.resample_rate is not None and not self.resample_rate > 0:
            raise ConfigError(f"resample_rate must be above 0 Hz, got {self.resample_rate!r}")
        if self.gaps not in {"raise", "fill"}:
            raise ConfigError(f"gaps must be 'raise' or 'fill', got {self.gaps!r}")
        if self.car and self.local_ref:
            raise ConfigError("car and local_ref are two ways to re-reference; choose one")

    @classmethod
    def names(cls) -> list[str]:
        """Names of all options."""
        return [field.name for field in dataclasses.fields(cls)]

    @classmethod
    def from_keywords(cls, keywords: dict[str, Any], also: Iterable[str] = ()) -> LoadOptions:
        """Make options from keyword arguments.

        Parameters
        ----------
        keywords : dict
            Names and values.
        also : iterable of str
            Other names that the caller takes, for the hint in the error.

        Returns
        -------
        LoadOptions
            The options.

        Raises
        ------
        TypeError
            If a name is not known; the message gives the nearest one.
        """
        names = cls.names()
        for name in keywords:
            if name not in names:
                known = sorted({*names, *also})
                raise TypeError(f"unknown load option {name!r}{nearest(name, known)}")
        return cls(**keywords)

    @property
    def trigger_lines(self) -> tuple[int, ...]:
        """The trigger lines as a tuple."""
        if self.trigger_idx is None:
            return ()
        lines: Any = self.trigger_idx
        return (int(lines),) if isinstance(lines, Integral) else tuple(int(one) for one in lines)

    @property
    def notch_lines(self) -> tuple[float, ...]:
        """The frequencies to remove as a tuple."""
        if self.notches is None:
            return ()
        if isinstance(self.notches, (int, float)):
            return (float(self.notches),)
        return tuple(float(line) for line in self.notches)

    @property
    def band(self) -> tuple[float | None, float | None] | None:
        """The pass band with None for open ends; None if both are open."""
        if self.bandpass is None:
            return None
        low, high = (
            float(f) if isinstance(f, (int, float)) and f > 0 else None for f in self.bandpass
        )
        return None if low is None and high is None else (low, high)

    def unit_factor(self, volts: float) -> float:
        """Return what turns stored numbers into the unit asked for.

        Parameters
        ----------
        volts : float
            Volts per stored number.

        Returns
        -------
        float
            Units per stored number.

        Raises
        ------
        ConfigError
            If the unit is not one of voltage.
        """
        units = {unit.lower(): factor for unit, factor in UNITS.items()}
        if self.units.lower() not in units:
            raise ConfigError(f"unknown units {self.units!r}; expected one of {list(UNITS)}")
        return volts / units[self.units.lower()]
