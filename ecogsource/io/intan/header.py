"""Headers of Intan RHD2000 and RHS2000 files.

The order of the fields is that of Intan's "RHD2000 Application Note: Data File Formats" and its
RHS2000 counterpart. All numbers are little-endian; texts are Qt strings: a byte count, then UTF-16.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecogsource.errors import CorruptDataError, DataPathError, FormatError

__all__ = ["RHD_MAGIC", "RHS_MAGIC", "IntanChannel", "IntanHeader", "read_header"]

RHD_MAGIC = 0xC6912702
RHS_MAGIC = 0xD69127AC

_RHD_KINDS = {0: "amplifier", 1: "aux", 2: "supply", 3: "adc", 4: "digital_in", 5: "digital_out"}
_RHS_KINDS = {0: "amplifier", 3: "adc", 4: "dac", 5: "digital_in", 6: "digital_out"}

_FILTERS = (
    ("dsp_enabled", "h"),
    ("actual_dsp_cutoff_frequency", "f"),
    ("actual_lower_bandwidth", "f"),
    ("actual_upper_bandwidth", "f"),
    ("desired_dsp_cutoff_frequency", "f"),
    ("desired_lower_bandwidth", "f"),
    ("desired_upper_bandwidth", "f"),
)
_RHS_FILTERS = (
    *_FILTERS[:3],
    ("actual_lower_settle_bandwidth", "f"),
    ("actual_upper_bandwidth", "f"),
    *_FILTERS[4:6],
    ("desired_lower_settle_bandwidth", "f"),
    ("desired_upper_bandwidth", "f"),
)
_IMPEDANCE = (
    ("notch_filter_mode", "h"),
    ("desired_impedance_test_frequency", "f"),
    ("actual_impedance_test_frequency", "f"),
)
_RHS_STIM = (
    ("amp_settle_mode", "h"),
    ("charge_recovery_mode", "h"),
    ("stim_step_size", "f"),
    ("charge_recovery_current_limit", "f"),
    ("charge_recovery_target_voltage", "f"),
)


@dataclass(frozen=True)
class IntanChannel:
    """One enabled channel of the header.

    Parameters
    ----------
    kind : str
        ``"amplifier"``, ``"aux"``, ``"supply"``, ``"adc"``, ``"dac"``, ``"digital_in"`` or
        ``"digital_out"``.
    native_name, custom_name : str
        Name of the hardware channel and the user's name for it.
    native_order : int
        Number of the channel at its port; for digital channels, its bit in the stored word.
    chip_channel : int
        Channel of the chip.
    impedance, impedance_phase : float
        Measured impedance in ohms and degrees.
    """

    kind: str
    native_name: str
    custom_name: str
    native_order: int
    chip_channel: int
    impedance: float
    impedance_phase: float


@dataclass(frozen=True)
class IntanHeader:
    """A parsed header.

    Parameters
    ----------
    path : str
        The file.
    rhs : bool
        An RHS2000 (stimulator) file.
    version : (int, int)
        Version of the file format.
    sample_rate : float
        Rate of the amplifiers in Hz.
    fields : dict
        All further fields.
    channels : tuple of IntanChannel
        Enabled channels in the order of the file.
    n_temperature : int
        How many temperature sensors are stored.
    header_bytes : int
        Size of the header.
    file_bytes : int
        Size of the file.
    """

    path: str
    rhs: bool
    version: tuple[int, int]
    sample_rate: float
    fields: dict[str, Any]
    channels: tuple[IntanChannel, ...]
    n_temperature: int
    header_bytes: int
    file_bytes: int

    @property
    def block_samples(self) -> int:
        """Samples in a data block: 60 in RHD files before version 2.0, else 128."""
        return 60 if not self.rhs and self.version[0] < 2 else 128

    def of_kind(self, kind: str) -> tuple[IntanChannel, ...]:
        """Channels of one kind."""
        return tuple(channel for channel in self.channels if channel.kind == kind)


class _Cursor:
    """Reads fields one after the other and knows where it is."""

    def __init__(self, data: bytes, path: str) -> None:
        self.data, self.path, self.position = data, path, 0

    def take(self, code: str) -> Any:
        size = struct.calcsize("<" + code)
        raw = self.data[self.position : self.position + size]
        if len(raw) < size:
            raise CorruptDataError("the file ends inside its header", self.path, self.position)
        self.position += size
        return struct.unpack("<" + code, raw)[0]

    def text(self) -> str:
        length = self.take("I")
        if length == 0xFFFFFFFF:
            return ""
        if length > len(self.data) - self.position or length % 2:
            raise CorruptDataError(
                f"a text of {length} bytes does not fit into the header", self.path, self.position
            )
        raw = self.data[self.position : self.position + length]
        self.position += length
        return raw.decode("utf-16-le", "replace")

    def table(self, table: tuple[tuple[str, str], ...]) -> dict[str, Any]:
        return {name: self.take(code) for name, code in table}


def read_header(path: str | Path) -> IntanHeader:
    """Read the header of an RHD or RHS file.

    Parameters
    ----------
    path : path-like
        ``*.rhd``, ``*.rhs`` or ``info.rhd``/``info.rhs``.

    Raises
    ------
    DataPathError
        If there is no such file.
    FormatError
        If it does not start with the magic number of Intan, or its version is not supported.
    CorruptDataError
        If the file ends inside its header.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(0)
            # Headers take about 50 bytes a channel; 4 MB hold any that hardware can make.
            data = stream.read(min(size, 2**22))
    except OSError as error:
        raise DataPathError(f"cannot open {str(path)!r}: {error.strerror}") from error
    return _parse(data, str(path), size)


def _parse(data: bytes, path: str, size: int) -> IntanHeader:
    cursor = _Cursor(data, path)
    magic = cursor.take("I")
    if magic not in {RHD_MAGIC, RHS_MAGIC}:
        raise FormatError(
            f"{path!r} is not an Intan file: byte 0 holds {magic:#010x}, expected "
            f"{RHD_MAGIC:#010x} (RHD) or {RHS_MAGIC:#010x} (RHS)"
        )
    rhs = magic == RHS_MAGIC
    version = (cursor.take("h"), cursor.take("h"))
    if not 1 <= version[0] <= 3:
        raise FormatError(
            f"{path!r}: version {version[0]}.{version[1]} of the file format (byte 4) is not "
            "supported, expected 1.0 to 3.x"
        )
    rate = float(cursor.take("f"))
    if not rate > 0:
        raise FormatError(f"{path!r}: the sampling rate (byte 8) is {rate} Hz")
    fields = _parse_fields(cursor, version, rhs=rhs)
    channels = _parse_channels(cursor, rhs=rhs)
    temperature = fields.get("num_temp_sensor_channels", 0)
    return IntanHeader(
        path, rhs, version, rate, fields, channels, temperature, cursor.position, size
    )


def _parse_fields(cursor: _Cursor, version: tuple[int, int], *, rhs: bool) -> dict[str, Any]:
    fields = cursor.table(_RHS_FILTERS if rhs else _FILTERS)
    fields |= cursor.table(_IMPEDANCE)
    if rhs:
        fields |= cursor.table(_RHS_STIM)
    fields["notes"] = [cursor.text() for _ in range(3)]
    if rhs:
        fields["dc_amplifier_data_saved"] = cursor.take("h")
        fields["board_mode"] = cursor.take("h")
        fields["reference_channel"] = cursor.text()
        return fields
    if version >= (1, 1):
        fields["num_temp_sensor_channels"] = cursor.take("h")
    if version >= (1, 3):
        fields["board_mode"] = cursor.take("h")
    if version >= (2, 0):
        fields["reference_channel"] = cursor.text()
    return fields


def _parse_channels(cursor: _Cursor, *, rhs: bool) -> tuple[IntanChannel, ...]:
    channels = []
    for _ in range(cursor.take("h")):
        cursor.text()
        cursor.text()
        enabled, count, _amplifiers = (cursor.take("h") for _ in range(3))
        # A group that is switched off keeps its count but lists no channels.
        for _ in range(count if enabled else 0):
            channel = _parse_channel(cursor, rhs=rhs)
            if channel is not None:
                channels.append(channel)
    return tuple(channels)


def _parse_channel(cursor: _Cursor, *, rhs: bool) -> IntanChannel | None:
    native, custom = cursor.text(), cursor.text()
    order, _custom_order, code, enabled, chip = (cursor.take("h") for _ in range(5))
    # RHS files store a command stream before the board stream.
    for _ in range(6 if rhs else 5):
        cursor.take("h")
    magnitude, phase = cursor.take("f"), cursor.take("f")
    kinds = _RHS_KINDS if rhs else _RHD_KINDS
    if code not in kinds:
        raise FormatError(
            f"{cursor.path!r}: channel {native!r} has signal type {code} "
            f"(before byte {cursor.position}), expected one of {sorted(kinds)}"
        )
    if not enabled:
        return None
    return IntanChannel(kinds[code], native, custom, order, chip, magnitude, phase)
