"""The six steps from the name of a recording to a dataset, shared by all devices."""

from __future__ import annotations

import warnings
from typing import Any

from ecogsource.channel_map import ChannelMap
from ecogsource.datasource import ElectrodeDataSource, MappedSource
from ecogsource.devices.dataset import Dataset
from ecogsource.devices.electrodes import ElectrodeLayout, electrode_layout
from ecogsource.devices.finding import FoundFile
from ecogsource.devices.lines import Lines, line_triggers, select_lines
from ecogsource.devices.reading import (
    chosen_channels,
    load_to_memory,
    rate_ratio,
    rereferenced,
    without_bad_channels,
)
from ecogsource.devices.source import HDF5_SUFFIXES, MICROVOLT, PathArg, RecordingFile
from ecogsource.devices.vendor import open_vendor, ttl_triggers
from ecogsource.errors import ConfigError, FormatError

__all__ = ["HDF5_SUFFIXES", "MICROVOLT", "FileLoader", "PathArg", "TriggerWarning"]


class TriggerWarning(UserWarning):
    """A trigger line that the session names is not there."""


class FileLoader(RecordingFile):
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
    vendor_arrays : mapping of str to str
        Kind of a stream of a vendor's file -> name of the aligned array made of it.
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

    # -- step 4: map or load ----------------------------------------------------------------

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
            Entries of the dataset, see `ecogsource.devices.lines.line_triggers`. Where there is
            no trigger array, the events of the acquisition system's own files are used.
        """
        lines = self.options.trigger_lines
        if lines and self.trigger_array not in data.aligned_arrays:
            path = self.original_file()
            if path is not None and path.suffix.lower() not in HDF5_SUFFIXES:
                fs = open_vendor(path, None, {}, gaps="fill").fs
                found = ttl_triggers(path, lines, fs / data.fs if fs and data.fs else 1.0)
                if found is not None:
                    return found
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
        dataset.units = data.units or self.options.units
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
