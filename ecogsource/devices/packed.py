"""Recordings of Open Ephys, Intan and Blackrock systems, packed into HDF5 files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from ecogsource.buffers import HDF5Buffer
from ecogsource.buffers.storage.h5file import open_file
from ecogsource.datasource import ElectrodeDataSource
from ecogsource.devices.loader import FileLoader
from ecogsource.devices.reading import read_scalar
from ecogsource.errors import FormatError

__all__ = ["BlackrockLoader", "OpenEphysLoader", "RHDLoader"]

_INTAN_BIT = 0.195e-6
_BLACKROCK_BIT = 8e-3 / 2**15
_BLACKROCK_FS = 30_000.0


class OpenEphysLoader(FileLoader):
    """Loads Open Ephys recordings: packed ``.h5`` files, or the folders of the system itself.

    See `FileLoader` for the parameters. Integers are 0.195 µV per bit; floating-point numbers are
    microvolts.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".h5", ".hdf5", ".hdf", "")
    data_array = "chdata"
    aligned_names: ClassVar[tuple[str, ...]] = ("adc", "aux")
    volts_per_bit = _INTAN_BIT


class RHDLoader(FileLoader):
    """Loads Intan RHD recordings: packed ``.h5`` files, ``.rhd`` files, or folders.

    See `FileLoader` for the parameters. Integers are 0.195 µV per bit; floating-point numbers are
    microvolts.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".h5", ".hdf5", ".hdf", ".rhd", "")
    data_array = "amplifier_data"
    aligned_names: ClassVar[tuple[str, ...]] = ("board_adc_data", "board_dig_in_data")
    vendor_arrays: ClassVar[Mapping[str, str]] = MappingProxyType(
        {"adc": "board_adc_data", "digital": "board_dig_in_data", "aux": "aux"}
    )
    trigger_array: ClassVar[str] = "board_adc_data"
    volts_per_bit = _INTAN_BIT

    def read_rate(self, file: Any) -> float:
        """Read the sampling rate from the JSON header, or from ``Fs``."""
        header = file.attrs.get("JSON_header")
        if header is None:
            return read_scalar(file, "Fs")
        try:
            return float(json.loads(header)["sample_rate"])
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(
                f"{file.filename}: the attribute JSON_header gives no sample_rate: {error!r}"
            ) from error


class BlackrockLoader(FileLoader):
    """Loads Blackrock recordings: packed ``.h5`` files, or ``.ns6``, ``.ns5``, ``.ns2`` files.

    See `FileLoader` for the parameters. Integers span 8 mV in either direction; the rate is 30 kHz
    where the file does not say. Triggers are stored as sample numbers.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".h5", ".hdf5", ".hdf", ".mat", ".ns6", ".ns5", ".ns2")
    volts_per_bit = _BLACKROCK_BIT

    def read_rate(self, file: Any) -> float:
        """Read ``Fs``; 30 kHz where it is not there."""
        return read_scalar(file, "Fs") if "Fs" in file or "Fs" in file.attrs else _BLACKROCK_FS

    def find_triggers(self, data: ElectrodeDataSource) -> dict[str, Any]:
        """Read the sample numbers of the triggers; see `FileLoader.find_triggers`."""
        none = np.zeros(0, dtype=np.int64)
        entries = {"pos_edge": none, "neg_edge": none, "trig_chan": None}
        path = self.original_file()
        ratio = 1.0
        if path is None:
            if self.options.trigger_lines:
                self.glitch(
                    f"the triggers of {self.source_file.path} are in the recording itself, which "
                    f"is in none of {[str(folder) for folder in self.folders]}"
                )
            return entries
        if path.suffix.startswith(".ns"):
            return super().find_triggers(data)
        with open_file(str(path)) as file:
            if self.source_file.downsampled:
                ratio = self.read_rate(file) / float(data.fs or self.read_rate(file))
            present = "trig_idx" in file
        if present:
            stamps = np.ravel(HDF5Buffer.from_path(path, "trig_idx")[...])
            entries["pos_edge"] = np.floor(stamps / ratio).astype(np.int64)
        elif self.options.trigger_lines:
            self.glitch(f"no 'trig_idx' in {path}")
        return entries
