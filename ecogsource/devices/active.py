"""Actively multiplexed electrodes: columns and rows are acquired in an order of their own.

A recording holds, for every instant, all rows of the first acquired column, then all rows of the
second, and so on; behind the columns of electrodes come columns of BNC inputs. Which acquired
column and row a column and row of the array is, is data: ``data/active_daq.json``.

Packed files are HDF5 or MATLAB 7.3. The files of the acquisition system itself, TDMS, hold the same
numbers (``numRow``, ``numCol``, ``numChan``) as properties of the file.
"""

from __future__ import annotations

import abc
import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

from ecogsource.buffers import Buffer, HDF5Buffer, SelectedBuffer
from ecogsource.buffers.storage.h5file import open_file
from ecogsource.datasource import ElectrodeDataSource, MappedSource
from ecogsource.devices.electrodes import ElectrodeLayout
from ecogsource.devices.finding import FoundFile
from ecogsource.devices.lines import Lines, select_lines
from ecogsource.devices.loader import HDF5_SUFFIXES, MICROVOLT, FileLoader, PathArg
from ecogsource.devices.reading import read_scalar
from ecogsource.errors import ConfigError, FormatError
from ecogsource.expconfig.bunch import nearest
from ecogsource.expconfig.fields import INTEGER, SEQUENCE, TEXT, Table, none_or, one_of

if TYPE_CHECKING:
    from ecogsource.io import RecordingInfo
    from ecogsource.io.layouts import TdmsLayout

__all__ = ["ActiveLoader", "MultiplexedLoader", "daq_facts"]


@functools.cache
def daq_facts() -> Mapping[str, Any]:
    """Return the wiring and the gains of multiplexed systems.

    Returns
    -------
    mapping
        ``active`` (a list of wirings), ``active_gain``, ``mux_gain`` and ``mux_sampling``.
    """
    text = (files("ecogsource.devices") / "data" / "active_daq.json").read_text(encoding="utf-8")
    return MappingProxyType(json.loads(text))


class MultiplexedLoader(FileLoader, abc.ABC):
    """What active electrodes and passive multiplexers have in common.

    Parameters
    ----------
    experiment_path, recording, electrode
        As for `FileLoader`.
    daq, headstage : str
        Names of the acquisition system and the headstage.
    bnc : int or sequence of int
        Acquired columns that are BNC inputs; by default all behind the electrode columns.
    **options
        See `LoadOptions`. ``trigger_idx`` counts the BNC inputs.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".mat", ".h5", ".hdf5", ".hdf", ".tdms")
    trigger_array: ClassVar[str] = "bnc"
    fields: ClassVar[Table] = MappingProxyType(
        {
            "daq": none_or(TEXT),
            "headstage": TEXT,
            "bnc": none_or(one_of(INTEGER, SEQUENCE)),
        }
    )

    def __init__(
        self,
        experiment_path: PathArg | Iterable[PathArg | None],
        recording: str,
        electrode: str | None = None,
        daq: str | None = None,
        headstage: str = "",
        bnc: int | Sequence[int] | None = (),
        **options: Any,
    ) -> None:
        super().__init__(experiment_path, recording, electrode, **options)
        self.daq = daq
        self.headstage = headstage
        columns = np.atleast_1d(() if bnc is None else bnc)
        self.bnc_columns = tuple(int(column) for column in columns)

    @abc.abstractmethod
    def gain(self) -> float:
        """Return the gain between electrode and file."""

    @functools.cached_property
    def columns_and_rows(self) -> tuple[int, int, int]:
        """How many electrode columns, rows, and columns with BNC inputs the file has."""
        path = self.source_file.path
        names = ("numCol", "numRow", "numChan")
        if path.suffix.lower() in HDF5_SUFFIXES:
            with open_file(str(path)) as file:
                n_cols, n_rows, n_total = (int(read_scalar(file, name)) for name in names)
        else:
            header = _tdms_info(path).header
            n_cols, n_rows, n_total = (int(_property(path, header, name)) for name in names)
        return n_cols, n_rows, n_total

    def bnc_channels(self) -> list[int]:
        """Return the acquired channels of the BNC inputs, all rows of each.

        Returns
        -------
        list of int
            Numbers of channels.

        Raises
        ------
        ConfigError
            If a BNC column is not behind the electrode columns of the file.
        """
        n_cols, n_rows, n_total = self.columns_and_rows
        columns = self.bnc_columns or range(n_cols, n_total)
        wrong = [column for column in columns if not n_cols <= column < n_total]
        if wrong:
            raise ConfigError(
                f"bnc = {wrong[0]} is not a BNC column of {self.source_file.path}: "
                f"its {n_total} columns are {n_cols} of electrodes and, from {n_cols} on, "
                f"{n_total - n_cols} of BNC inputs"
            )
        return [column * n_rows + row for column in columns for row in range(n_rows)]

    def open_source(self, found: FoundFile) -> MappedSource:
        """Map all acquired channels; see `FileLoader.open_source`. BNC inputs stay in volts."""
        if found.path.suffix.lower() not in HDF5_SUFFIXES:
            return self.open_primary(found)
        with open_file(str(found.path)) as file:
            rate = self.read_rate(file)
            apart = "bnc" in file
        scale = self._scale(found)
        data = HDF5Buffer.from_path(found.path, "data", units_scale=scale)
        transpose = self._is_time_first(data, found)
        if apart:
            bnc: Buffer = HDF5Buffer.from_path(found.path, "bnc")
        else:
            raw = data.raw.T if transpose else data.raw
            bnc = SelectedBuffer(raw, 0, np.array(self.bnc_channels(), dtype=np.int64))
            bnc = bnc.T if transpose else bnc
        return MappedSource(
            data,
            "data",
            aligned_arrays={"bnc": bnc} if 0 not in bnc.shape else {},
            transpose=transpose,
            fs=rate,
            units=self.options.units,
        )

    def open_primary(self, found: FoundFile) -> MappedSource:
        """Map the TDMS file of the acquisition system; see `FileLoader.open_primary`.

        Raises
        ------
        FormatError
            If it lacks the numbers of rows and columns or the rate, or has other channels.
        """
        from ecogsource.io.tdms import TdmsBuffer

        info = _tdms_info(found.path)
        stream = info.stream(None)
        layout = cast("TdmsLayout", stream.segments[0].layout)
        rate = stream.fs
        if rate is None:
            rate = float(_property(found.path, info.header, "Fs"))
        data = TdmsBuffer(layout, units_scale=self._scale(found))
        n_cols, n_rows, n_total = self.columns_and_rows
        if data.shape[0] != n_total * n_rows:
            raise FormatError(
                f"{found.path} has {data.shape[0]} channels, but numRow and numChan say "
                f"{n_rows} x {n_total}"
            )
        channels = np.array(self.bnc_channels(), dtype=np.int64)
        aligned: dict[str, Buffer] = {}
        if n_total > n_cols:
            aligned["bnc"] = SelectedBuffer(TdmsBuffer(layout), 0, channels)
        return MappedSource(data, "data", aligned_arrays=aligned, fs=rate, units=self.options.units)

    def _scale(self, found: FoundFile) -> float | None:
        """Return the scale from what is stored to the unit asked for."""
        volts = MICROVOLT if found.downsampled else 1 / self.gain()
        factor = self.options.unit_factor(volts)
        return None if factor == 1.0 else factor

    def _is_time_first(self, data: Buffer, found: FoundFile) -> bool:
        n_cols, n_rows, n_total = self.columns_and_rows
        counts = {n_cols * n_rows, n_total * n_rows}
        if data.ndim == 2 and data.shape[1] in counts:
            return True
        if data.ndim == 2 and data.shape[0] in counts:
            return False
        raise FormatError(
            f"{found.path}: 'data' has shape {data.shape}, but numRow, numCol and numChan say "
            f"{n_rows} x {n_cols} or {n_rows} x {n_total} channels"
        )

    def downsample_attributes(self) -> dict[str, Any]:
        """Keep the numbers of columns and rows; see `FileLoader.downsample_attributes`."""
        n_cols, n_rows, n_total = self.columns_and_rows
        return {"numCol": n_cols, "numRow": n_rows, "numChan": n_total}

    def trigger_lines(self, data: ElectrodeDataSource) -> Lines | None:
        """Return the first row of each BNC input named; see `FileLoader.trigger_lines`."""
        wanted = self.options.trigger_lines
        if not wanted:
            return None
        n_rows = self.columns_and_rows[1]
        array = data.aligned_arrays.get(self.trigger_array)
        lines, n_lines = select_lines(array, [line * n_rows for line in wanted])
        if lines is None:
            self.glitch(
                f"no trigger line {max(wanted)} in {self.source_file.path}: "
                f"it has {n_lines // n_rows} BNC inputs"
            )
        return lines


def _tdms_info(path: Path) -> RecordingInfo:
    from ecogsource.io import open_recording

    with open_recording(path) as recording:
        return recording.info


def _property(path: Path, header: Mapping[str, Any], name: str) -> Any:
    """Look a number up among the properties of a file, in whatever case."""
    found = [value for key, value in header.items() if key.lower() == name.lower()]
    if not found:
        known = sorted(key for key in header if key != "groups")
        raise FormatError(f"{path} has no property {name!r}; there are {known}")
    return found[0]


class ActiveLoader(MultiplexedLoader):
    """Loads recordings of active electrode arrays (data in volts behind a gain).

    Parameters
    ----------
    experiment_path, recording
        As for `FileLoader`.
    electrode, daq, headstage : str
        They name the wiring together.
    bnc : int or sequence of int
        Acquired columns that are BNC inputs; by default all behind the electrode columns.
    **options
        See `LoadOptions`. ``trigger_idx`` counts the BNC inputs.
    """

    names_own_electrodes: ClassVar[bool] = True

    @functools.cached_property
    def wiring(self) -> Mapping[str, Any]:
        """Acquired columns and rows of this system, in array order."""
        wirings = daq_facts()["active"]
        mine = {"daq": self.daq, "headstage": self.headstage, "electrode": self.electrode}
        fitting = wirings
        for key, value in mine.items():
            known = sorted({wiring[key] for wiring in fitting})
            fitting = [w for w in fitting if w[key].lower() == str(value).lower()]
            if not fitting:
                raise ConfigError(
                    f"no active array with {key} {value!r}{nearest(str(value), known, '.')} "
                    f"Known here are {known} (asked for: {mine})"
                )
        return fitting[0]

    def gain(self) -> float:
        """Return the gain of the acquisition system."""
        return float(daq_facts()["active_gain"][self.wiring["daq"]])

    def layout(self) -> ElectrodeLayout:
        """Place every acquired channel; see `FileLoader.layout`.

        Raises
        ------
        ConfigError
            If the file has fewer rows or columns than the array is wired to.
        """
        n_cols, n_rows, _ = self.columns_and_rows
        cols, rows = self.wiring["col"], self.wiring["row"]
        if max(cols) >= n_cols or len(rows) != n_rows:
            raise ConfigError(
                f"{self.source_file.path} has {n_rows} rows x {n_cols} columns, but electrode "
                f"{self.electrode!r} needs {len(rows)} rows and at least {max(cols) + 1} columns"
            )
        sites: list[Any] = ["other"] * self.full_source.shape[0]
        for j, col in enumerate(cols):
            for i, row in enumerate(rows):
                sites[col * n_rows + row] = [i, j]
        pitch = self.wiring["pitch_mm"]
        pitch = tuple(pitch) if isinstance(pitch, list) else pitch
        return ElectrodeLayout.from_sites(str(self.electrode), sites, (len(rows), len(cols)), pitch)
