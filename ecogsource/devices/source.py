"""The file behind a recording: found, mapped, downsampled."""

from __future__ import annotations

import copy
import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar

import numpy as np

from ecogsource.buffers import HDF5Buffer
from ecogsource.buffers.storage.h5file import open_file
from ecogsource.datasource import MappedSource
from ecogsource.devices.finding import (
    FoundFile,
    find_recording,
    find_stored,
    folders_of,
    stored_name,
)
from ecogsource.devices.options import LoadOptions
from ecogsource.devices.reading import downsample_target, rate_ratio, read_scalar
from ecogsource.devices.vendor import open_vendor
from ecogsource.errors import DataPathError
from ecogsource.expconfig.fields import Table

__all__ = ["HDF5_SUFFIXES", "MICROVOLT", "PathArg", "RecordingFile"]

PathArg = str | os.PathLike[str]
Self = TypeVar("Self", bound="RecordingFile")

HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf", ".mat")
MICROVOLT = 1e-6


class RecordingFile:
    """The file of one recording of one acquisition system.

    This is the part of a `FileLoader` that knows files; the parameters are documented there.

    Parameters
    ----------
    experiment_path : path-like or sequence of path-like
        Folder of the recording; of several, the first that has it.
    recording : str
        Name of the recording, without suffix.
    electrode : str, optional
        Name of the electrode array.
    **options
        See `LoadOptions`.

    Raises
    ------
    ConfigError
        If an option has a value that is not allowed.
    TypeError
        If an option is unknown.
    """

    suffixes: ClassVar[tuple[str, ...]] = HDF5_SUFFIXES
    data_array: str = "data"
    aligned_names: ClassVar[tuple[str, ...]] = ()
    vendor_arrays: ClassVar[Mapping[str, str]] = MappingProxyType(
        {"adc": "adc", "aux": "aux", "digital": "digital"}
    )
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
        cls: type[Self],
        folders: Sequence[PathArg | None],
        recording: str,
        fields: Mapping[str, Any],
    ) -> Self:
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
        RecordingFile
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

    def original_file(self) -> Path | None:
        """Return the recording itself, also where a downsampled file is loaded in its place.

        Returns
        -------
        Path or None
            None if only a downsampled file is there.
        """
        if not self.source_file.downsampled:
            return self.source_file.path
        try:
            return find_recording(self.folders, self.recording, self.suffixes)
        except DataPathError:
            return None

    # -- the data ---------------------------------------------------------------------------

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
            The main stream of the recording, with the streams on its clock.

        Raises
        ------
        ConfigError
            If the recording is in another unit than the one asked for.
        """
        options = self.options
        return open_vendor(
            found.path,
            options.units,
            self.vendor_arrays,
            field=self.data_array,
            gaps=options.gaps,
        )

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
            ``<recording>_Fs<rate>.h5``. An existing one is used as it is, or replaced if the
            option ``use_stored`` is off.

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
            self.downsample_source(),
            target,
            ratio,
            if_exists="reuse" if self.options.use_stored else "replace",
            extra_attrs=self.downsample_attributes(),
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
