"""HDF5 and MATLAB v7.3 files: packed recordings, PyTables tables, any dataset that fits.

A dataset of one or two axes of numbers is a stream; its longer axis is time unless the caller says
otherwise. Known names come first (``data``, ``chdata``, ``amplifier_data``), then the largest.
Attributes that pickle Python objects, as PyTables writes them, are never unpickled.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ecogsource.buffers.storage.h5file import dataset_of, open_file
from ecogsource.errors import DataPathError, FormatError

from .info import RecordingInfo, Segment, StreamInfo
from .layouts import BoundLayout, CompoundLayout, Hdf5Layout, Layout
from .packed import read_packed

if TYPE_CHECKING:
    import h5py

__all__ = ["matches", "read_info"]

_MAIN = ("data", "chdata", "amplifier_data")
_KINDS = {
    "adc": "adc",
    "board_adc_data": "adc",
    "bnc": "adc",
    "aux": "aux",
    "aux_input_data": "aux",
    "supply_voltage_data": "supply",
}
_RATES = ("Fs", "fs", "samplerate", "sample_rate", "sampling_rate", "samplingRate", "rate")
INTAN_MICROVOLTS = 0.195


def matches(path: Path, head: bytes) -> bool:
    """Tell whether h5py recognises a file, wherever its user block ends, or its name says so."""
    import h5py

    return bool(h5py.is_hdf5(path)) or path.suffix.lower() in {".h5", ".hdf", ".hdf5", ".mat"}


def read_info(
    path: str | Path,
    *,
    dataset: str | None = None,
    fs: float | None = None,
    transpose: bool | None = None,
    units: str | None = None,
    gain: Any = None,
) -> RecordingInfo:
    """Describe an HDF5 or MATLAB v7.3 file.

    Parameters
    ----------
    path : path-like
        The file.
    dataset : str, optional
        The only dataset to use. A dataset of object references (a MATLAB cell) stands for what
        it refers to.
    fs : float, optional
        Sampling rate in Hz; by default from the file (``Fs`` and the like, as dataset or
        attribute).
    transpose : bool, optional
        Whether datasets are samples x channels; by default the longer axis is time.
    units : str, optional
        Unit of the main stream.
    gain : float or array_like, optional
        Units per stored number of the main stream, one value or one per channel.

    Raises
    ------
    FormatError
        If it is not an HDF5 file, or no dataset is channels x time.
    DataPathError
        If there is no such file or dataset.
    CorruptDataError
        If the file was truncated.
    """
    filename = str(path)
    _refuse_old_matlab(Path(path))
    with open_file(filename) as file:
        packed = read_packed(filename, file) if dataset is None else None
        if packed is not None and (fs, transpose, units, gain) == (None,) * 4:
            return packed
        found = {dataset: dataset_of(file, dataset)} if dataset is not None else _datasets(file)
        rate = float(fs) if fs is not None else _rate(file)
        streams = []
        for name, item in found.items():
            layout = _layout(filename, file, item, transpose=transpose)
            if layout is not None:
                streams.append(_stream(name, item, layout, fs or _own_rate(item) or rate))
        header = _header(file)
        if not streams:
            raise FormatError(
                f"{filename!r} holds no dataset of numbers with one or two axes"
                f"{'' if dataset is None else f' under {dataset!r}'}: "
                f"{_listing(file)}. Open one with HDF5Buffer.from_path(filename, dataset)"
            )
    streams.sort(key=_rank)
    streams[0] = _main(streams[0], units, gain)
    return RecordingInfo(filename, "hdf5", tuple(streams), header)


def _refuse_old_matlab(path: Path) -> None:
    with path.open("rb") as stream:
        head = stream.read(10)
    if head == b"MATLAB 5.0":
        raise FormatError(
            f"{str(path)!r} is a MATLAB file of version 5 to 7.2 (byte 0: {head!r}), which is "
            "not HDF5. Save it with save(..., '-v7.3')"
        )


def _rank(stream: StreamInfo) -> tuple[int, int]:
    base = stream.name.rsplit("/", 1)[-1]
    known = _MAIN.index(base) if base in _MAIN else len(_MAIN)
    return known, -stream.n_channels * stream.n_samples


def _datasets(file: h5py.File) -> dict[str, h5py.Dataset]:
    """Datasets that may be streams: numbers, more than one, not MATLAB's own."""
    import h5py

    found: dict[str, h5py.Dataset] = {}

    def note(name: str, item: Any) -> None:
        if not isinstance(item, h5py.Dataset) or name.startswith("#"):
            return
        numbers = item.size is not None and item.size > 1 and item.ndim < 3
        numbers = numbers and _matlab_class(item) not in {"char", "cell", "struct"}
        # An empty MATLAB array is stored as the list of its lengths.
        numbers = numbers and "MATLAB_empty" not in item.attrs
        referring = name.rsplit("/", 1)[-1] in _MAIN and _holds_references(item)
        if referring or (numbers and item.dtype.kind != "O"):
            found[name] = item

    file.visititems(note)
    return found


def _matlab_class(item: h5py.Dataset) -> str:
    """Class of a MATLAB variable; text is stored as numbers too."""
    return _text(item.attrs.get("MATLAB_class")) or ""


def _holds_references(item: h5py.Dataset) -> bool:
    import h5py

    return h5py.check_ref_dtype(item.dtype) is h5py.Reference


def _listing(file: h5py.File) -> str:
    import h5py

    lines: list[str] = []

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and len(lines) < 20:
            lines.append(f"{name} {item.shape} {item.dtype}"[:80])

    file.visititems(note)
    return "; ".join(lines) or "it is empty"


def _layout(
    filename: str, file: h5py.File, item: h5py.Dataset, *, transpose: bool | None
) -> Layout | None:
    name, dtype = item.name or "", item.dtype
    shape: tuple[int, ...] = tuple(item.shape or ())
    if _holds_references(item):
        return _referred(filename, file, item, transpose=transpose)
    if dtype.names is not None:
        return _compound(filename, item)
    if dtype.kind not in "iuf" or len(shape) not in (1, 2) or 0 in shape:
        return None
    turned = (shape[0] > shape[-1] if transpose is None else transpose) and len(shape) == 2
    return Hdf5Layout(filename, name, dtype, shape, bool(turned))


def _referred(
    filename: str, file: h5py.File, item: h5py.Dataset, *, transpose: bool | None
) -> Layout | None:
    """What object references point at: one array, or one per channel."""
    references = np.asarray(item[()]).reshape(-1)
    if not len(references) or not all(references):
        raise DataPathError(f"{item.name!r} of {filename!r} holds references to nothing")
    targets = [file[reference] for reference in references]
    parts = [_layout(filename, file, target, transpose=transpose) for target in targets]
    if any(part is None for part in parts):
        return None
    layouts = [part for part in parts if part is not None]
    if len(layouts) == 1:
        return layouts[0]
    lengths = {layout.shape[1] for layout in layouts}
    if len(lengths) > 1:
        raise FormatError(
            f"{item.name!r} of {filename!r} refers to arrays of different lengths: "
            f"{sorted(lengths)}; they cannot be the channels of one stream"
        )
    return BoundLayout(tuple(layouts), 0)


def _compound(filename: str, item: h5py.Dataset) -> Layout | None:
    """A table whose columns are channels: all of one type, without padding."""
    fields = [item.dtype[i] for i in range(len(item.dtype.names))]
    kind = fields[0]
    plain = kind.kind in "iuf" and all(field == kind for field in fields)
    if not plain or kind.itemsize * len(fields) != item.dtype.itemsize or item.ndim != 1:
        return None
    return CompoundLayout(filename, item.name or "", kind, (len(fields), item.shape[0]))


def _scalar(value: Any) -> float | None:
    try:
        array = np.asarray(value)
        number = float(array.reshape(-1)[0]) if array.size == 1 else float("nan")
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) and number > 0 else None


def _own_rate(item: h5py.Dataset) -> float | None:
    for name in _RATES:
        # Attributes are read by name: others may hold pickled objects, which stay unread.
        if name in item.attrs and (rate := _scalar(item.attrs[name])) is not None:
            return rate
    # A variable beside it in the same group, as in a MATLAB structure.
    return None if item.parent.name == "/" else _rate(item.parent)


def _rate(file: h5py.Group) -> float | None:
    import h5py

    for name in _RATES:
        if name in file.attrs and (rate := _scalar(file.attrs[name])) is not None:
            return rate
        found = file.get(name)
        if isinstance(found, h5py.Dataset) and found.dtype.kind in "iuf" and found.size == 1:
            return _scalar(found[()])
    rate = _intan_header(file).get("sample_rate")
    return None if rate is None else _scalar(rate)


def _intan_header(file: h5py.Group) -> dict[str, Any]:
    text = file.attrs.get("JSON_header")
    if text is None:
        return {}
    try:
        header = json.loads(text)
    except (TypeError, ValueError):
        return {}
    return header if isinstance(header, dict) else {}


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else None


def _stream(name: str, item: h5py.Dataset, layout: Layout, rate: float | None) -> StreamInfo:
    n = layout.shape[0]
    base = name.rsplit("/", 1)[-1]
    names = item.dtype.names or tuple(str(i) for i in range(n))
    gain, unit = None, _text(item.attrs.get("units")) or ""
    scale = item.attrs.get("units_scale")
    if scale is not None and np.asarray(scale).dtype.kind in "iuf" and np.size(scale) in (1, n):
        gain = np.broadcast_to(np.asarray(scale, float).reshape(-1), (n,)).copy()
    elif base == "amplifier_data" and layout.dtype.kind in "iu":
        gain, unit = np.full(n, INTAN_MICROVOLTS), "uV"
    kind = "electrode" if base in _MAIN else _KINDS.get(base, "signal")
    return StreamInfo(name, kind, rate, tuple(names), (unit,) * n, (Segment(layout),), gain)


def _main(stream: StreamInfo, units: str | None, gain: Any) -> StreamInfo:
    n = stream.n_channels
    if gain is None and units is None:
        return stream
    return StreamInfo(
        stream.name,
        stream.kind,
        stream.fs,
        stream.channel_names,
        stream.channel_units if units is None else (units,) * n,
        stream.segments,
        stream.gain if gain is None else np.broadcast_to(np.asarray(gain, float), (n,)).copy(),
    )


def _header(file: h5py.File) -> dict[str, Any]:
    """Plain attributes and single numbers of the file."""
    header: dict[str, Any] = dict(_plain_attributes(file))
    header |= _intan_header(file)
    for name, item in file.items():
        if getattr(item, "size", None) == 1 and item.dtype.kind in "iufb":
            header[name] = np.asarray(item[()]).reshape(-1)[0].item()
    return header


def _plain_attributes(file: h5py.File) -> Iterator[tuple[str, Any]]:
    for name in file.attrs:
        try:
            value = file.attrs[name]
        except (OSError, TypeError):
            continue
        if name != "JSON_header" and (isinstance(value, str) or np.ndim(value) == 0):
            yield name, _text(value) or (value.item() if hasattr(value, "item") else str(value))
