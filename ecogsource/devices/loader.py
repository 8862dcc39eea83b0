"""The six steps from the name of a recording to a dataset, shared by all devices."""

from __future__ import annotations

import copy
import dataclasses
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from ecogsource.buffers import HDF5Buffer
from ecogsource.buffers.storage.h5file import open_file
from ecogsource.channel_map import ChannelMap
from ecogsource.datasource import ElectrodeDataSource, MappedSource
from ecogsource.devices.dataset import Dataset
from ecogsource.devices.electrodes import ElectrodeLayout, electrode_layout
from ecogsource.devices.finding import (
    FoundFile,
    find_recording,
    find_stored,
    folders_of,
    stored_name,
)
from ecogsource.devices.lines import Lines, line_triggers, select_lines
from ecogsource.devices.options import LoadOptions
from ecogsource.devices.reading import (
    chosen_channels,
    downsample_target,
    load_to_memory,
    rate_ratio,
    read_scalar,
    rereferenced,
    without_bad_channels,
)
from ecogsource.errors import ConfigError, FormatError
from ecogsource.expconfig.fields import Table

__all__ = ["FileLoader", "TriggerWarning"]

PathArg = str | os.PathLike[str]

HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf", ".mat")
MICROVOLT = 1e-6


class TriggerWarning(UserWarning):
    """A trigger line that the session names is not there."""


class FileLoader:
    """Loads a recording of one acquisition system.

    `create_dataset` takes six steps, each a method that a device may override: find the file, or
    a stored downsampled one (`find_source`); make the channel map (`make_channel_map`);
    downsample to a file (`create_downsample_file`); map or load (`open_source`,
    `map_or_load`); filter and re-reference (`apply_filters`); find the triggers
    (`find_triggers`). A device that only stores its arrays under other names overrides the class
    attributes alone.

    Parameters
    ----------
    experiment_path : path-like or sequence of path-like
        Folder of the recording; of several, the first that has it.
    recording : str
        Name of the recording, without suffix.
    electrode : str, optional
        Name of the electrode array, see `ecogsource.devices.electrodes`. Without one all channels
        are electrodes and there is no channel map.
    **options
        See `LoadOptions`.

    Attributes
    ----------
    suffixes : tuple of str
        Endings of this device's files, in the order of preference. Files that are not HDF5 are
        opened by `ecogsource.io.open_recording`.
    data_array : str
        Name of the electrode data in an HDF5 file.
    aligned_names : tuple of str
        Names of arrays on the same clock, loaded where they are present.
    trigger_array : str
        The aligned array whose rows are the trigger lines.
    volts_per_bit : float
        What one stored number is in volts.
    transpose : bool
        Whether files are time x channels.
    names_own_electrodes : bool
        Whether electrodes have names of this device's own instead of those in
        `ecogsource.devices.electrodes`.
    fields : mapping of str to Field
        Session fields that this device adds.

    Raises
    ------
    ConfigError
        If the electrode is unknown or an option has a value that is not allowed.
    TypeError
        If an option is unknown.
    """

    suffixes: ClassVar[tuple[str, ...]] = HDF5_SUFFIXES
    data_array: str = "data"
    aligned_names: ClassVar[tuple[str, ...]] = ()
    trigger_array: ClassVar[str] = "adc"
    volts_per_bit: float = MICROVOLT
    transpose: ClassVar[bool] = False
    names_own_electrodes: ClassVar[bool] = False
    fields: ClassVar[Table] = MappingProxyType({})

    def __init__(
        self,
        experiment_path: PathArg | Iterable[PathArg | None],
        recording: str,
        electrode: str | None = None,
        **options: Any,
    ) -> None:
        self.folders = folders_of(experiment_path)
        self.recording = str(recording)
        self.electrode = electrode
        self.options = LoadOptions.from_keywords(options, self.fields)

    @classmethod
    def from_fields(
        cls,
        folders: Sequence[PathArg | None],
        recording: str,
        fields: Mapping[str, Any],
    ) -> FileLoader:
        """Make a loader from the fields of a session.

        Parameters
        ----------
        folders : sequence of path-like
            Where to look for the recording.
        recording : str
            Name of the recording.
        fields : mapping
            Typed fields; those that loading does not know are ignored.

        Returns
        -------
        FileLoader
            A loader of this class.
        """
        known = {*LoadOptions.names(), *cls.fields}
        keywords = {name: value for name, value in fields.items() if name in known}
        return cls(folders, recording, fields.get("electrode"), **keywords)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.recording!r}, electrode={self.electrode!r})"

    # -- step 1: the file -------------------------------------------------------------------

    @cached_property
    def source_file(self) -> FoundFile:
        """The file to load, found on first use."""
        return self.find_source()

    def find_source(self) -> FoundFile:
        """Find a stored downsampled file of the rate asked for, else the recording itself.

        Returns
        -------
        FoundFile
            The file.

        Raises
        ------
        DataPathError
            If there is none; it names every path tried.
        """
        options = self.options
        tried: list[Path] = []
        if options.resample_rate is not None and options.use_stored:
            stores = folders_of([options.store_path, *self.folders])
            stored = find_stored(stores, self.recording, options.resample_rate)
            if stored is not None:
                return FoundFile(stored, downsampled=True)
            name = stored_name(self.recording, options.resample_rate)
            tried = [folder / name for folder in stores]
        return FoundFile(find_recording(self.folders, self.recording, self.suffixes, tried))

    # -- step 2: the channels ---------------------------------------------------------------

    def layout(self) -> ElectrodeLayout | None:
        """Return what every acquired channel is.

        Returns
        -------
        ElectrodeLayout or None
            None if no electrode is named: all channels are electrodes without a map.
        """
        if self.electrode is None:
            return None
        layout = electrode_layout(self.electrode)
        connectors = self.options.electrode_connectors
        return layout if not connectors else layout.rewired(connectors)

    def make_channel_map(
        self,
    ) -> tuple[ChannelMap | None, list[int], list[int], list[int]]:
        """Sort the acquired channels.

        Returns
        -------
        channel_map : ChannelMap or None
            Sites of the electrode channels, in their order; None without an electrode map.
        electrode_channels : list of int
            Acquired channels that are electrodes.
        other_channels : list of int
            Grounded channels and those with another use.
        ref_channels : list of int
            Reference channels.

        Raises
        ------
        ConfigError
            If the map has more channels than the recording, or `load_channels` names channels
            that are not electrodes.
        """
        n_channels = self.count_channels()
        layout = self.layout()
        path = self.source_file.path
        if layout is None:
            wanted = chosen_channels(None, list(range(n_channels)), self.options, path)
            return *wanted, [], []
        if layout.n_channels > n_channels:
            raise ConfigError(
                f"the electrode {self.electrode!r} has {layout.n_channels} channels, but {path} "
                f"holds {n_channels}; is it the right electrode, or is the file time x channels?"
            )
        other = sorted([*layout.grounded_channels.tolist(), *layout.other_channels.tolist()])
        electrodes = layout.electrode_channels.tolist()
        wanted = chosen_channels(layout.channel_map, electrodes, self.options, path)
        return *wanted, other, layout.reference_channels.tolist()

    def count_channels(self) -> int:
        """Count the acquired channels of the recording."""
        return self.full_source.shape[0]

    # -- steps 3 and 4: downsample, map or load ---------------------------------------------

    @cached_property
    def full_source(self) -> MappedSource:
        """All acquired channels of the found file, in units, read-only; opened on first use."""
        return self.open_source(self.source_file)

    def open_source(self, found: FoundFile) -> MappedSource:
        """Map all acquired channels of a file.

        Parameters
        ----------
        found : FoundFile
            A recording of this device, or a downsampled file.

        Returns
        -------
        MappedSource
            Channels x time in the unit asked for, with the rate and the aligned arrays.

        Raises
        ------
        FormatError
            If the file does not hold what this device stores.
        """
        if found.path.suffix.lower() not in HDF5_SUFFIXES:
            return self.open_primary(found)
        with open_file(str(found.path)) as file:
            rate = self.read_rate(file)
            names = [name for name in self.aligned_names if name in file]
        stored = HDF5Buffer.from_path(found.path, self.data_array)
        scale = self.units_scale(stored.map_dtype, found)
        data = HDF5Buffer.from_path(found.path, self.data_array, units_scale=scale)
        transpose = self.transpose and not found.downsampled
        return MappedSource(
            data,
            self.data_array,
            aligned_arrays={name: HDF5Buffer.from_path(found.path, name) for name in names},
            transpose=transpose,
            fs=rate,
            units=self.options.units,
        )

    def units_scale(self, dtype: np.dtype[Any], found: FoundFile) -> Any:
        """Return the scale from stored numbers to the unit asked for.

        Parameters
        ----------
        dtype : numpy.dtype
            Type of the stored numbers. Floating-point numbers are taken to be microvolts;
            unsigned integers have their zero in the middle.
        found : FoundFile
            Where they are stored.

        Returns
        -------
        float, (offset, factor) or None
            As `Buffer` takes it.
        """
        is_float = found.downsampled or dtype.kind == "f"
        factor = self.options.unit_factor(MICROVOLT if is_float else self.volts_per_bit)
        if dtype.kind == "u":
            return -float(2 ** (8 * dtype.itemsize - 1)), factor
        return None if factor == 1.0 else factor

    def open_primary(self, found: FoundFile) -> MappedSource:
        """Map a recording as its acquisition system wrote it.

        Parameters
        ----------
        found : FoundFile
            A file or folder that is not HDF5.

        Returns
        -------
        MappedSource
            The main stream of the recording.
        """
        from ecogsource.io import open_recording

        return open_recording(found.path).source

    def read_rate(self, file: Any) -> float:
        """Read the sampling rate from an open HDF5 file.

        Parameters
        ----------
        file : h5py.File
            The file.

        Returns
        -------
        float
            Samples per second.

        Raises
        ------
        FormatError
            If the file does not say.
        """
        return read_scalar(file, "Fs")

    def create_downsample_file(self, rate: float, store_path: PathArg | None = None) -> Path:
        """Write the recording at a lower rate, all channels, in microvolts.

        Parameters
        ----------
        rate : float
            Samples per second; a whole fraction of the rate of the recording.
        store_path : path-like, optional
            Folder to write to; that of the recording if not given, or a temporary one where that
            cannot be written or the option ``save_downsamp`` is off.

        Returns
        -------
        Path
            ``<recording>_Fs<rate>.h5``. An existing one is used as it is.

        Raises
        ------
        ConfigError
            If the rates do not divide.
        """
        from ecogsource.datasource.resample import downsample_to_file

        ratio = rate_ratio(self.full_source.fs, rate, self.source_file.path)
        folder = self.source_file.path.parent if store_path is None else Path(store_path)
        target = downsample_target(
            folder,
            stored_name(self.recording, rate),
            keep=self.options.save_downsamp,
            asked=store_path is not None,
        )
        written = downsample_to_file(
            self.downsample_source(), target, ratio, extra_attrs=self.downsample_attributes()
        )
        return Path(written)

    def downsample_source(self) -> MappedSource:
        """Return what a downsampled file is made of: all channels, in microvolts.

        Returns
        -------
        MappedSource
            By default the source itself, opened in microvolts.
        """
        loader = copy.copy(self)
        loader.options = dataclasses.replace(self.options, units="uV")
        return loader.open_source(self.source_file)

    def downsample_attributes(self) -> dict[str, Any]:
        """Return what a downsampled file has to know besides the data.

        Returns
        -------
        dict
            Attributes of the file.
        """
        return {}

    def map_or_load(self, source: MappedSource) -> ElectrodeDataSource:
        """Leave the data on disk, copy them to a writeable file, or load them.

        Parameters
        ----------
        source : MappedSource
            The electrode channels, read-only.

        Returns
        -------
        MappedSource or PlainArraySource
            As the option ``mapped`` says; a writeable copy also if filters are to be applied.

        Raises
        ------
        MemoryBlowOutError
            If data to be loaded exceed the memory limit.
        """
        if self.options.mapped is False:
            return load_to_memory(source)
        if self.options.mapped == "r+" or self.options.band or self.options.notch_lines:
            return source.mirror(writeable=True, mapped=True, copy="all")
        return source

    # -- step 5: filters --------------------------------------------------------------------

    def apply_filters(self, data: ElectrodeDataSource) -> ElectrodeDataSource:
        """Filter in place, as the options say.

        Parameters
        ----------
        data : MappedSource or PlainArraySource
            Writeable if there is anything to filter.

        Returns
        -------
        MappedSource or PlainArraySource
            The filtered data.
        """
        options = self.options
        filtfilt = not options.causal_filtering
        if options.band is not None:
            ends = zip(("lo", "hi"), options.band, strict=True)
            data = data.filter_array(
                inplace=True,
                design_kwargs={name: end for name, end in ends if end is not None},
                filt_kwargs={"filtfilt": filtfilt},
            )
        if options.notch_lines:
            data = data.notch_filter(lines=options.notch_lines, inplace=True, filtfilt=filtfilt)
        return data

    # -- step 6: triggers -------------------------------------------------------------------

    def trigger_lines(self, data: ElectrodeDataSource) -> Lines | None:
        """Return the lines named by ``trigger_idx``.

        Parameters
        ----------
        data : MappedSource or PlainArraySource
            The loaded data.

        Returns
        -------
        Buffer or ndarray, shape (lines, time), or None
            None if the session names no line.

        Raises
        ------
        FormatError
            If a line is not there and ``raise_on_glitch`` is set; otherwise it is a
            `TriggerWarning` and the result is None.
        """
        wanted = self.options.trigger_lines
        if not wanted:
            return None
        array = data.aligned_arrays.get(self.trigger_array)
        lines, n_lines = select_lines(array, wanted)
        if lines is None:
            absent = [line for line in wanted if not 0 <= line < n_lines]
            self.glitch(
                f"no trigger line {absent[0]} in {self.source_file.path}: "
                f"{self.trigger_array!r} has {n_lines} lines"
            )
        return lines

    def glitch(self, message: str) -> None:
        """Warn of a missing trigger, or raise, as ``raise_on_glitch`` says.

        Parameters
        ----------
        message : str
            What is missing.

        Raises
        ------
        FormatError
            If ``raise_on_glitch`` is set.
        """
        if self.options.raise_on_glitch:
            raise FormatError(message)
        warnings.warn(message, TriggerWarning, stacklevel=2)

    def find_triggers(self, data: ElectrodeDataSource) -> dict[str, Any]:
        """Find the edges of the trigger.

        Parameters
        ----------
        data : MappedSource or PlainArraySource
            The loaded data.

        Returns
        -------
        dict
            Entries of the dataset, see `ecogsource.devices.lines.line_triggers`.
        """
        return line_triggers(self.trigger_lines(data))

    # -- all six ----------------------------------------------------------------------------

    def create_dataset(self) -> Dataset:
        """Load the recording.

        Returns
        -------
        Dataset
            See there.

        Raises
        ------
        DataPathError
            If the recording is not found; it names every path tried.
        ConfigError
            If session and recording do not fit together.
        FormatError
            If the file is not of this device.
        """
        self._downsample_if_asked()
        chan_map, electrodes, others, references = self.make_channel_map()
        source = self.full_source.select_channels(electrodes)
        source, chan_map = without_bad_channels(source, chan_map)
        source = rereferenced(source, self.options, chan_map)
        data = self.apply_filters(self.map_or_load(source))
        dataset = Dataset(data=data)
        dataset.update(data.aligned_arrays)
        dataset.chan_map = chan_map
        dataset.Fs = data.fs
        dataset.update(self.extra_entries())
        dataset.update(self.find_triggers(data))
        for name, channels in (("ground_chans", others), ("ref_chans", references)):
            dataset[name] = self.full_source.select_channels(channels) if channels else None
        dataset.bandpass = self.options.band
        dataset.notches = self.options.notch_lines or None
        dataset.units = self.options.units
        dataset.name = self.recording
        return dataset

    def extra_entries(self) -> dict[str, Any]:
        """Return what this device adds to its datasets.

        Returns
        -------
        dict
            Entries of the dataset, before the triggers are looked for.
        """
        return {}

    def _downsample_if_asked(self) -> None:
        rate = self.options.resample_rate
        if rate is None or self.source_file.downsampled:
            return
        if rate_ratio(self.full_source.fs, rate, self.source_file.path) == 1:
            return
        path = self.create_downsample_file(rate, self.options.store_path)
        self.__dict__.pop("full_source", None)
        self.source_file = FoundFile(path, downsampled=True)
