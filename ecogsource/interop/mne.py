"""Sources as MNE Raw objects that load when they are asked."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from ecogsource.datasource.base import ElectrodeDataSource
from ecogsource.errors import FormatError, require

__all__ = ["to_mne"]

_EXTRA = "mne"
_TO_VOLTS = {"uV": 1e-6, "µV": 1e-6, "mV": 1e-3, "V": 1.0}


def to_mne(source: ElectrodeDataSource, *, kind: str = "ecog") -> Any:
    """Make an MNE Raw object of a source; data are read when they are used.

    Parameters
    ----------
    source : MappedSource or PlainArraySource
        Channels x time, with a rate.
    kind : str
        MNE's type of the channels, such as ``'ecog'``, ``'eeg'`` or ``'seeg'``.

    Returns
    -------
    mne.io.BaseRaw
        In volts, as MNE keeps data, if the units of the source are volts in some scale; else
        with its numbers unchanged.

    Raises
    ------
    FormatError
        If the rate of the source is not known, or there are no samples.
    MissingDependencyError
        If mne is not installed.
    """
    if not source.fs or not source.shape[1]:
        raise FormatError(
            f"MNE needs a rate and samples: fs is {source.fs}, there are {source.shape[1]} samples"
        )
    mne = require("mne", _EXTRA)
    names = source.channel_names or [f"{kind}{number:03d}" for number in range(len(source))]
    info = mne.create_info(names, source.fs, kind)
    return _raw_class()(source, info, _TO_VOLTS.get(source.units or "", 1.0))


@lru_cache(maxsize=1)
def _raw_class() -> Any:
    """Make the class that MNE reads from; its base class is MNE's."""
    base: Any = require("mne.io", _EXTRA).BaseRaw

    class RawSource(base):
        """A source behind MNE's interface."""

        def __init__(self, source: ElectrodeDataSource, info: Any, factor: float) -> None:
            super().__init__(
                info,
                preload=False,
                last_samps=[source.shape[1] - 1],
                filenames=[None],
                raw_extras=[{"source": source, "factor": factor}],
                verbose=False,
            )

        def _read_segment_file(
            self, data: Any, idx: Any, fi: int, start: int, stop: int, cals: Any, mult: Any
        ) -> None:
            extra = self._raw_extras[fi]
            times = slice(start, stop)
            if mult is None:
                data[:] = extra["source"].read((idx, times))
                data *= extra["factor"] * cals
            else:
                # Projections need all channels, or those that the matrix has columns for.
                rows = slice(None) if mult.shape[1] == len(extra["source"]) else idx
                data[:] = mult @ (extra["source"].read((rows, times)) * extra["factor"])

    return RawSource
