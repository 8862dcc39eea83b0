"""Raw binary files, whose meaning the caller gives, and ``.npy`` files."""

from __future__ import annotations

import json
import tokenize
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ecogsource.errors import CorruptDataError, FormatError

from ._text import read_text, whole_frames
from .info import RecordingInfo, Segment, StreamInfo
from .layouts import FlatLayout
from .order import order_warnings

__all__ = ["read_info"]

_ORDERS = {"samples": "F", "channels": "C", "C": "F", "F": "C"}


def read_info(
    path: str | Path,
    *,
    dtype: DTypeLike | None = None,
    n_channels: int | None = None,
    fs: float | None = None,
    order: str | None = None,
    offset: int | None = None,
    gain: Any = None,
    units: str | None = None,
) -> RecordingInfo:
    """Describe a raw binary file, or an array in a ``.npy`` file.

    What is not given is looked for in a JSON file of the same name beside the data, with the
    keys ``dtype, n_channels, fs, order, offset, units_scale, units``.

    Parameters
    ----------
    path : path-like
        The file.
    dtype : dtype_like
        Type of the numbers, with byte order if it is not the machine's.
    n_channels : int
        Channels per sample; 1 if not given but `dtype` is.
    fs : float, optional
        Sampling rate in Hz.
    order : {'samples', 'channels'}
        Whether the file goes sample by sample (the default; also ``'C'``, as the order of an
        array of samples x channels) or channel by channel (also ``'F'``). Where nobody says, some
        samples are looked at, and a warning tells if they look like the other one.
    offset : int
        Bytes before the first number.
    gain : float or array_like, optional
        Units per bit, one value or one per channel.
    units : str, optional
        Unit of the values.

    Raises
    ------
    FormatError
        If no `dtype` is known, or an option makes no sense.
    CorruptDataError
        If the file is shorter than `offset`.
    """
    path = Path(path)
    if path.suffix.lower() == ".npy":
        return _npy(path, fs=fs, units=units, gain=gain)
    side = _sidecar(path)
    dtype = side.get("dtype") if dtype is None else dtype
    if dtype is None:
        raise FormatError(
            f"{str(path)!r} is a raw binary file that does not say what it holds; give dtype= and "
            "n_channels= (and fs=, order=, offset= where needed), on the command line --dtype and "
            "--n-channels"
        )
    kind = _dtype(dtype)
    n = int(side.get("n_channels", 1)) if n_channels is None else int(n_channels)
    order = side.get("order") if order is None else order
    said, order = order is not None, order or "samples"
    skip = int(side.get("offset", 0)) if offset is None else int(offset)
    if order not in _ORDERS or n < 1 or skip < 0:
        raise FormatError(
            f"order={order!r}, n_channels={n}, offset={skip}: order is 'samples' or 'channels', "
            "at least one channel, offset at least 0"
        )
    frames, warnings = whole_frames(path, kind.itemsize * n, skip)
    layout = FlatLayout(str(path), kind, (n, frames), _ORDERS[order], skip)
    if not said:
        warnings += order_warnings(layout)
    fs = side.get("fs") if fs is None else fs
    gain = side.get("units_scale") if gain is None else gain
    stream = _stream(layout, fs, units or side.get("units"), gain)
    return RecordingInfo(str(path), "flat", (stream,), side, warnings=warnings)


def _dtype(value: Any) -> np.dtype:
    try:
        kind = np.dtype(value)
    except TypeError as error:
        raise FormatError(f"dtype={value!r} is not a type of numbers: {error}") from error
    if kind.kind not in "iuf":
        raise FormatError(f"dtype={value!r} is not a type of real numbers")
    return kind


def _sidecar(path: Path) -> dict[str, Any]:
    file = path.with_suffix(".json")
    if not file.exists():
        return {}
    try:
        fields = json.loads(read_text(file))
    except ValueError as error:
        raise FormatError(f"{str(file)!r} is not valid JSON: {error}") from error
    return fields if isinstance(fields, dict) else {}


def _stream(layout: FlatLayout, fs: Any, units: str | None, gain: Any) -> StreamInfo:
    n = layout.shape[0]
    if fs is not None and not float(fs) > 0:
        raise FormatError(f"fs={fs} is not a sampling rate in Hz")
    return StreamInfo(
        "data",
        "electrode",
        None if fs is None else float(fs),
        tuple(str(i) for i in range(n)),
        (units or "",) * n,
        (Segment(layout),),
        None if gain is None else np.broadcast_to(np.asarray(gain, float), (n,)).copy(),
    )


def _npy(path: Path, *, fs: float | None, units: str | None, gain: Any) -> RecordingInfo:
    with path.open("rb") as stream:
        try:
            version = np.lib.format.read_magic(stream)
            read = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            shape, fortran, dtype = read(stream)
        except (ValueError, SyntaxError, tokenize.TokenError) as error:
            raise FormatError(f"{str(path)!r} is not a .npy file: {error} (byte 0)") from error
        start = stream.tell()
    if len(shape) not in (1, 2):
        raise FormatError(f"{str(path)!r} holds an array of shape {shape}, expected 1 or 2 axes")
    kind = _dtype(dtype)
    needed = start + kind.itemsize * int(np.prod(shape, dtype=object))
    if path.stat().st_size < needed:
        raise CorruptDataError(
            f"an array of shape {shape} ends at byte {needed}", path, path.stat().st_size
        )
    rows, columns = shape if len(shape) == 2 else (1, shape[0])
    # The longer axis is time, as for other files that do not say.
    turned = rows > columns
    size = (columns, rows) if turned else (rows, columns)
    layout = FlatLayout(str(path), kind, size, "F" if turned != fortran else "C", start)
    stream_info = _stream(layout, fs, units, gain)
    return RecordingInfo(str(path), "npy", (stream_info,), {"shape": shape, "dtype": str(dtype)})
