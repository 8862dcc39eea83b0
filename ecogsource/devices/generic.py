"""Any HDF5 or flat file: the session says what the file does not."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from ecogsource.buffers import Buffer, FlatBuffer, HDF5Buffer
from ecogsource.buffers.storage.h5file import open_file
from ecogsource.datasource import ElectrodeDataSource, MappedSource
from ecogsource.devices.finding import FoundFile
from ecogsource.devices.loader import HDF5_SUFFIXES, FileLoader, PathArg
from ecogsource.devices.reading import read_scalar
from ecogsource.devices.vendor import open_vendor
from ecogsource.errors import ConfigError, FormatError
from ecogsource.expconfig.bunch import nearest
from ecogsource.expconfig.fields import (
    BOOL,
    INTEGER,
    NUMBER,
    SEQUENCE,
    TEXT,
    Table,
    choice,
    none_or,
    one_of,
)

__all__ = ["GenericLoader"]

FLAT_SUFFIXES = (".dat", ".bin", ".raw", ".flat")
_VENDOR_SUFFIXES = (".edf", ".bdf", ".rhd", ".nwb", ".tdms", ".vhdr", ".ns6", ".ns5", ".ns2")
_USUAL_DATA = ("data", "chdata", "amplifier_data")
_USUAL_ALIGNED = ("adc", "aux", "board_adc_data", "bnc", "triggers", "stim", "digital")


@dataclass(frozen=True, kw_only=True)
class _FileFields:
    """What a session may say of a file."""

    dataset: str | None = None
    fs: float | None = None
    transpose: bool | None = None
    units_scale: float | tuple[float, ...] | None = None
    aligned_arrays: tuple[str, ...] | None = None
    trigger_field: str | None = None
    event_field: str | None = None
    dtype: str | None = None
    n_channels: int | None = None
    order: str | None = None
    offset: int | None = None


class GenericLoader(FileLoader):
    """Loads HDF5 files, flat binary files with a few facts, and anything `open_recording` opens.

    For a flat file ``recording.dat`` a file ``recording.json`` beside it may hold the facts
    instead of the session.

    Parameters
    ----------
    experiment_path, recording, electrode
        As for `FileLoader`.
    dataset : str, optional
        Name of the data in an HDF5 file; found if it is a usual one or the only candidate.
        ``data_field`` is the same.
    fs : float, optional
        Samples per second, where the file has no ``Fs``.
    transpose : bool, optional
        Whether an HDF5 file is time x channels; by default if it has more rows than columns.
    units_scale : float or (offset, factor), optional
        ``value = (stored + offset) * factor`` in `units`; an attribute of the data of this name
        is used where it is not given.
    aligned_arrays : sequence of str, optional
        Names of arrays on the same clock; by default the usual ones that are there.
    trigger_field : str, optional
        The aligned array whose rows are the trigger lines; the first that there is by default.
    event_field : str, optional
        A dataset of sample numbers of events, in place of trigger lines.
    dtype, n_channels, order, offset : optional
        Of a flat file: type of the numbers; number of channels; ``'C'`` if all channels of a
        sample lie together (the default), ``'F'`` if all samples of a channel do; bytes before
        the data.
    **options
        See `LoadOptions`. ``units`` names what the values are in; files that say it themselves
        are believed.
    """

    suffixes: ClassVar[tuple[str, ...]] = (
        *HDF5_SUFFIXES,
        *FLAT_SUFFIXES,
        *_VENDOR_SUFFIXES,
        "",
    )
    fields: ClassVar[Table] = MappingProxyType(
        {
            "dataset": none_or(TEXT),
            "data_field": none_or(TEXT),
            "fs": none_or(NUMBER),
            "transpose": none_or(BOOL),
            "units_scale": none_or(one_of(NUMBER, SEQUENCE)),
            "aligned_arrays": none_or(SEQUENCE),
            "trigger_field": none_or(TEXT),
            "event_field": none_or(TEXT),
            "dtype": none_or(TEXT),
            "n_channels": none_or(INTEGER),
            "order": none_or(choice("C", "F")),
            "offset": none_or(INTEGER),
        }
    )

    def __init__(
        self,
        experiment_path: PathArg | Iterable[PathArg | None],
        recording: str,
        electrode: str | None = None,
        **options: Any,
    ) -> None:
        data_field = options.pop("data_field", None)
        own = {name: options.pop(name) for name in self.fields if name in options}
        super().__init__(experiment_path, recording, electrode, **options)
        if data_field is not None:
            own.setdefault("dataset", data_field)
        self.facts = _FileFields(**own)
        self.data_array = self.facts.dataset or "data"

    def open_source(self, found: FoundFile) -> MappedSource:
        """Map all channels of a file; see `FileLoader.open_source`."""
        suffix = found.path.suffix.lower()
        if suffix in HDF5_SUFFIXES:
            return self._open_hdf5(found)
        if suffix in FLAT_SUFFIXES:
            return self._open_flat(found.path)
        return open_vendor(found.path, None, self.vendor_arrays, gaps=self.options.gaps)

    # -- HDF5 -------------------------------------------------------------------------------

    def _open_hdf5(self, found: FoundFile) -> MappedSource:
        facts = self.facts
        with open_file(str(found.path)) as file:
            name = self._data_name(file)
            attributes = dict(file[name].attrs)
            in_file = "Fs" in file or "Fs" in file.attrs
            rate = read_scalar(file, "Fs") if facts.fs is None and in_file else facts.fs
            aligned = self._aligned_names(file, file[name].shape)
        scale = None
        if not found.downsampled:
            scale = facts.units_scale if facts.units_scale is not None else _scale_of(attributes)
        data = HDF5Buffer.from_path(found.path, name, units_scale=scale)
        if data.ndim != 2:
            raise FormatError(f"{found.path}: {name!r} has shape {data.shape}, not 2 dimensions")
        transpose = facts.transpose
        if transpose is None or found.downsampled:
            transpose = not found.downsampled and data.shape[0] > data.shape[1]
        return MappedSource(
            data,
            name,
            aligned_arrays={one: HDF5Buffer.from_path(found.path, one) for one in aligned},
            transpose=transpose,
            fs=rate,
            units=self.options.units,
        )

    def _data_name(self, file: Any) -> str:
        """Name of the data: the one given, a usual one, or the only two-dimensional one."""
        given = self.facts.dataset
        there = [name for name in file if getattr(file[name], "ndim", 0) == 2]
        if given is not None:
            if given not in file:
                raise FormatError(
                    f"{file.filename} has no dataset {given!r}{nearest(given, file, '.')} "
                    f"It holds {sorted(file)}"
                )
            return given
        for name in _USUAL_DATA:
            if name in there:
                return name
        if len(there) == 1:
            return str(there[0])
        raise FormatError(
            f"{file.filename}: which dataset holds the data? It has {sorted(file)}; set dataset"
        )

    def _aligned_names(self, file: Any, shape: tuple[int, ...]) -> list[str]:
        if self.facts.aligned_arrays is not None:
            missing = [name for name in self.facts.aligned_arrays if name not in file]
            if missing:
                raise FormatError(
                    f"{file.filename} has no aligned arrays {missing}; it holds {sorted(file)}"
                )
            return list(self.facts.aligned_arrays)
        n_samples = max(shape, default=0)
        return [
            name
            for name in _USUAL_ALIGNED
            if name in file and n_samples in getattr(file[name], "shape", ())
        ]

    # -- flat -------------------------------------------------------------------------------

    def _open_flat(self, path: Path) -> MappedSource:
        facts = {**_sidecar(path), **_given(self.facts)}
        missing = [name for name in ("dtype", "n_channels") if facts.get(name) is None]
        if missing:
            raise ConfigError(
                f"the flat file {path} needs {' and '.join(missing)}: set them in the session, "
                f"or in {path.with_suffix('.json').name} beside the file"
            )
        by_sample = str(facts.get("order") or "C").upper() == "C"
        n_channels = int(facts["n_channels"])
        try:
            dtype = np.dtype(facts["dtype"])
        except TypeError as error:
            raise ConfigError(f"dtype = {facts['dtype']!r} of {path} is not a type") from error
        buffer: Buffer = FlatBuffer(
            path,
            dtype,
            (-1, n_channels) if by_sample else (n_channels, -1),
            offset=int(facts.get("offset") or 0),
            units_scale=_scale_of(facts),
        )
        fs = facts.get("fs")
        return MappedSource(
            buffer,
            "data",
            transpose=by_sample,
            fs=None if fs is None else float(fs),
            units=self.options.units,
        )

    # -- triggers ---------------------------------------------------------------------------

    def find_triggers(self, data: ElectrodeDataSource) -> dict[str, Any]:
        """Read events, or find edges on the trigger lines; see `FileLoader.find_triggers`."""
        field, path = self.facts.event_field, self.source_file.path
        if field is None or path.suffix.lower() not in HDF5_SUFFIXES:
            return super().find_triggers(data)
        with open_file(str(path)) as file:
            present = field in file
        if not present:
            self.glitch(f"no events {field!r} in {path}")
            return super().find_triggers(data)
        stamps = np.ravel(HDF5Buffer.from_path(path, field)[...]).astype(np.int64)
        return {"pos_edge": stamps, "neg_edge": np.zeros(0, dtype=np.int64), "trig_chan": None}

    @property
    def trigger_array(self) -> str:  # type: ignore[override]
        """The aligned array with the trigger lines."""
        given = self.facts.trigger_field
        if given is not None:
            return given
        aligned = self.full_source.aligned_arrays
        return next((name for name in _USUAL_ALIGNED if name in aligned), "adc")


def _scale_of(facts: Any) -> Any:
    """Return ``units_scale`` as buffers take it, None if it is not there."""
    scale = facts.get("units_scale")
    if scale is None:
        return None
    values = np.ravel(np.asarray(scale, dtype=np.float64)).tolist()
    return values[0] if len(values) == 1 else tuple(values)


def _given(facts: _FileFields) -> dict[str, Any]:
    return {name: value for name, value in vars(facts).items() if value is not None}


def _sidecar(path: Path) -> dict[str, Any]:
    """Facts from ``<recording>.json`` beside a flat file, none if there is no such file."""
    sidecar = path.with_suffix(".json")
    if not sidecar.is_file():
        return {}
    try:
        facts = json.loads(sidecar.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FormatError(f"{sidecar} cannot be read: {error}") from error
    if not isinstance(facts, dict):
        raise FormatError(f"{sidecar} is not a JSON object")
    return facts
