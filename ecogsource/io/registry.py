"""Which formats there are, and which one a path is.

The table holds names of modules, not modules: nothing is imported until a path asks for it. A
format is found by content (its first bytes, or the files in a folder) and by extension; where
several fit, each is asked in turn. Packages add formats through the entry point group
``ecogsource.formats`` (name: the format's name, object: a `Format`), or by `register_format`.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

from ecogsource.errors import DataPathError, FormatError

from .info import damage_is_typed

__all__ = ["FORMATS", "Format", "find_format", "formats", "register_format"]

HEAD_BYTES = 1024
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True)
class Format:
    """One file format.

    The module named by `module` offers ``read_info(path, **options) -> RecordingInfo``, and
    ``matches(path, head) -> bool`` if `magics` and `extensions` do not settle what a file is.

    Parameters
    ----------
    name : str
        Short name, as in ``open_recording(path, format=name)``.
    description : str
        What writes such files.
    module : str
        Module that reads them.
    extensions : tuple of str
        Lower-case suffixes with their dot.
    magics : tuple of bytes
        What the first bytes of a file may be.
    markers : tuple of str
        Glob patterns, one of which a folder of this format contains.
    extra : str
        The extra of ecogsource that reading needs; empty for none.
    requires : str
        The package which that extra installs.
    ask : bool
        The module's ``matches`` decides.
    """

    name: str
    description: str
    module: str
    extensions: tuple[str, ...] = ()
    magics: tuple[bytes, ...] = ()
    markers: tuple[str, ...] = ()
    extra: str = ""
    requires: str = ""
    ask: bool = False

    def load(self) -> ModuleType:
        """Import the module that reads the format."""
        return importlib.import_module(self.module)

    @property
    def installed(self) -> bool:
        """Whether what the format needs is there."""
        return not self.requires or importlib.util.find_spec(self.requires) is not None


_HERE = "ecogsource.io."
_BUILTIN = (
    Format(
        "edf",
        "European Data Format: EDF, EDF+C, EDF+D",
        _HERE + "edf.streams",
        (".edf",),
        (b"0       ",),
    ),
    Format(
        "bdf",
        "BioSemi 24-bit: BDF, BDF+C, BDF+D",
        _HERE + "edf.streams",
        (".bdf",),
        (b"\xffBIOSEMI",),
    ),
    Format(
        "intan",
        "Intan RHD2000 and RHS2000: one file, a file per signal, a file per channel, many files",
        _HERE + "intan",
        (".rhd", ".rhs"),
        (b"\x02\x27\x91\xc6", b"\xac\x27\x91\xd6"),
        ("info.rhd", "info.rhs", "*.rhd", "*.rhs"),
    ),
    Format(
        "blackrock",
        "Blackrock NSx continuous data and NEV events, specification 2.1 to 3.0",
        _HERE + "blackrock",
        (".ns1", ".ns2", ".ns3", ".ns4", ".ns5", ".ns6", ".nev"),
        (b"NEURALSG", b"NEURALCD", b"BRSMPGRP", b"NEURALEV", b"BREVENTS"),
        ("*.ns[1-6]", "*.nev"),
    ),
    Format(
        "openephys_binary",
        "Open Ephys binary format (structure.oebin)",
        _HERE + "openephys.binary",
        (".oebin", ".dat"),
        (),
        tuple(
            folder + "structure.oebin"
            for folder in (
                "",
                "recording*/",
                "experiment*/recording*/",
                "Record Node*/experiment*/recording*/",
            )
        ),
        ask=True,
    ),
    Format(
        "openephys_legacy",
        "Open Ephys format of .continuous files",
        _HERE + "openephys.legacy",
        (".continuous", ".openephys"),
        (b"header.format = 'Open Ephys Data Format'",),
        ("*.continuous", "Record Node*/*.continuous"),
    ),
    Format(
        "tdms",
        "National Instruments TDMS",
        _HERE + "tdms",
        (".tdms",),
        (b"TDSm",),
        extra="devices",
        requires="nptdms",
    ),
    Format(
        "spikeglx",
        "SpikeGLX .bin with its .meta",
        _HERE + "spikeglx",
        (".bin", ".meta"),
        (),
        ("*.ap.meta", "*.lf.meta", "*.nidq.meta", "*.obx.meta"),
        ask=True,
    ),
    Format(
        "ecube",
        "eCube .bin with an 8-byte header",
        _HERE + "ecube",
        (".bin",),
        (),
        ("Headstages_*_Channels_*.bin",),
        ask=True,
    ),
    Format(
        "neuroscope",
        "Neuroscope .dat, .eeg or .lfp with its .xml",
        _HERE + "neuroscope",
        (".dat", ".eeg", ".lfp", ".xml"),
        (),
        ("*.xml",),
        ask=True,
    ),
    Format(
        "brainvision",
        "BrainVision .vhdr, .eeg and .vmrk",
        _HERE + "brainvision",
        (".vhdr", ".ahdr", ".eeg", ".vmrk"),
        (b"Brain Vision Data Exchange Header", b"BrainVision Data Exchange Header"),
        ("*.vhdr",),
        ask=True,
    ),
    Format(
        "aolab",
        "aolab .dat with <recording>.experiment.json",
        _HERE + "aolab",
        (".dat",),
        ask=True,
    ),
    Format(
        "nwb",
        "Neurodata Without Borders: ElectricalSeries and TimeSeries in HDF5",
        _HERE + "nwb",
        (".nwb",),
        (HDF5_MAGIC,),
        ask=True,
    ),
    Format(
        "biocam",
        "3Brain BioCam HDF5",
        _HERE + "biocam",
        (".brw", ".h5"),
        (HDF5_MAGIC,),
        ask=True,
    ),
    Format(
        "hdf5",
        "HDF5 and MATLAB v7.3: packed recordings, PyTables, any dataset",
        _HERE + "hdf5",
        (".h5", ".hdf", ".hdf5", ".mat"),
        (HDF5_MAGIC,),
        ask=True,
    ),
    Format(
        "zarr",
        "Zarr groups that ecogsource.io.convert made",
        _HERE + "zarrfile",
        (".zarr",),
        (),
        ("zarr.json", ".zgroup"),
        extra="zarr",
        requires="zarr",
    ),
    Format("npy", "A NumPy array in a .npy file", _HERE + "flat", (".npy",), (b"\x93NUMPY",)),
    Format(
        "flat",
        "Raw binary numbers; give dtype=, n_channels= and fs=",
        _HERE + "flat",
        (".dat", ".bin", ".raw"),
    ),
    Format(
        "neo",
        "Anything else that neo.rawio reads",
        _HERE + "foreign",
        extra="devices",
        requires="neo",
        ask=True,
    ),
)

_formats: dict[str, Format] = {fmt.name: fmt for fmt in _BUILTIN}
_plugins_loaded: list[str] = []

FORMATS: Mapping[str, Format] = MappingProxyType(_formats)


def register_format(fmt: Format, *, replace: bool = False) -> None:
    """Add a format.

    Parameters
    ----------
    fmt : Format
        The format; it is asked before those that are there already.
    replace : bool
        Allow a name that is taken.

    Raises
    ------
    ValueError
        If the name is taken and `replace` is not given.
    """
    if fmt.name in _formats and not replace:
        raise ValueError(
            f"there is a format {fmt.name!r} already ({_formats[fmt.name].module}); "
            "give replace=True to replace it"
        )
    rest = {name: other for name, other in _formats.items() if name != fmt.name}
    _formats.clear()
    _formats.update({fmt.name: fmt, **rest})


def _load_plugins() -> None:
    if _plugins_loaded:
        return
    _plugins_loaded.append("done")
    for point in entry_points(group="ecogsource.formats"):
        if point.name not in _formats:
            register_format(point.load())


def formats() -> list[dict[str, Any]]:
    """List the formats.

    Returns
    -------
    list of dict
        One per format: ``name``, ``extensions``, ``description``, ``extra`` (what to install),
        ``installed``.
    """
    _load_plugins()
    return [
        {
            "name": fmt.name,
            "extensions": " ".join(fmt.extensions),
            "description": fmt.description,
            "extra": fmt.extra,
            "installed": fmt.installed,
        }
        for fmt in _formats.values()
    ]


def find_format(path: str | Path, name: str | None = None) -> Format:
    """Find the format of a file or folder.

    Parameters
    ----------
    path : path-like
        File or folder.
    name : str, optional
        Use this format without looking.

    Raises
    ------
    DataPathError
        If there is nothing at `path`.
    FormatError
        If no format fits, or there is none of that name.
    """
    _load_plugins()
    path = Path(path)
    if name is not None:
        if name not in _formats:
            raise FormatError(f"no format {name!r}; there are: {', '.join(_formats)}")
        return _formats[name]
    if not path.exists():
        raise DataPathError(f"no such file or folder: {str(path)!r}")
    if not path.is_dir() and not path.is_file():
        raise FormatError(f"{str(path)!r} is not a regular file")  # a pipe would never answer
    head = b"" if path.is_dir() else _head(path)
    for fmt in _candidates(path, head):
        with damage_is_typed(path):
            if not fmt.ask or fmt.load().matches(path, head):
                return fmt
    starts = "" if path.is_dir() else f" starts with {head[:8]!r} and"
    raise FormatError(
        f"{str(path)!r}{starts} is of no known format. Known extensions: "
        f"{' '.join(sorted({e for f in _formats.values() for e in f.extensions}))}. "
        "A raw binary file needs dtype= and n_channels= (on the command line --dtype and "
        "--n-channels)"
    )


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(HEAD_BYTES)
    except OSError as error:
        raise DataPathError(f"cannot open {str(path)!r}: {error.strerror}") from error


def _candidates(path: Path, head: bytes) -> Iterator[Format]:
    """Formats that may fit: by content, then by extension alone, then those that take anything."""
    anything = [f for f in _formats.values() if not f.extensions and not f.magics]
    if path.is_dir():
        for fmt in _formats.values():
            if any(next(path.glob(marker), None) is not None for marker in fmt.markers):
                yield fmt
        yield from anything
        return
    suffix = path.suffix.lower()
    by_content = [f for f in _formats.values() if any(_starts(head, m) for m in f.magics)]
    by_suffix = [f for f in _formats.values() if suffix in f.extensions and f not in by_content]
    yield from by_content
    yield from by_suffix
    yield from anything


def _starts(head: bytes, magic: bytes) -> bool:
    # HDF5 allows a user block of 512 bytes or a larger power of two before its magic; MATLAB
    # writes one of 512.
    return head.startswith(magic) or (magic == HDF5_MAGIC and head[512:520] == magic)
