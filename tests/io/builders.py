"""Small files of every format, built byte by byte from the specifications, with what they hold."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np


def ramp(channels: int, samples: int, dtype: str = "<i2", seed: int = 0) -> np.ndarray:
    """Random numbers over the whole range of a type."""
    limits = np.iinfo(dtype)
    rng = np.random.default_rng(seed)
    values = rng.integers(limits.min, limits.max, (channels, samples), endpoint=True)
    return values.astype(dtype)


# -- EDF and BDF -----------------------------------------------------------------------------------


@dataclass
class Edf:
    """An EDF or BDF file of signals with their own numbers of samples per record."""

    n_records: int = 4
    per_record: Sequence[int] = (10, 10, 10)
    bdf: bool = False
    reserved: str = ""
    duration: str = "1"
    labels: Sequence[str] | None = None
    onsets: Sequence[float] | None = None
    tals: Sequence[str] = ()
    physical: tuple[str, str] = ("-1000", "1000")
    digital: tuple[str, str] = ("-2048", "2047")
    stated_records: str | None = None
    seed: int = 0
    digital_values: list[np.ndarray] = field(default_factory=list)

    @property
    def annotated(self) -> bool:
        return self.reserved[3:4] == "+"

    def bytes(self) -> bytes:
        size, tal_samples = (3, 40) if self.bdf else (2, 60)
        counts = [*self.per_record, *([tal_samples] if self.annotated else [])]
        names = list(self.labels or [f"ch{i}" for i in range(len(self.per_record))])
        names += ["BDF Annotations" if self.bdf else "EDF Annotations"] * self.annotated
        n = len(counts)
        version = b"\xffBIOSEMI" if self.bdf else b"0       "
        stated = self.stated_records or str(self.n_records)
        text = f"{'X X X X':<80}{'Startdate 02-MAR-2021 X X X':<80}02.03.2104.05.06"
        text += f"{256 * (n + 1):<8}{self.reserved:<44}{stated:<8}{self.duration:<8}{n:<4}"
        columns: list[tuple[int, list[str]]] = [
            (16, names),
            (80, ["AgAgCl"] * n),
            (8, ["uV"] * n),
            (8, [self.physical[0]] * n),
            (8, [self.physical[1]] * n),
            (8, [self.digital[0]] * n),
            (8, [self.digital[1]] * n),
            (80, ["HP:0.1Hz"] * n),
            (8, [str(c) for c in counts]),
            (32, [""] * n),
        ]
        header = text + "".join(f"{value:<{width}}" for width, row in columns for value in row)
        return version + header.encode("latin-1") + self._records(size, tal_samples)

    def _records(self, size: int, tal_samples: int) -> bytes:
        rng = np.random.default_rng(self.seed)
        low, high = int(self.digital[0]), int(self.digital[1])
        self.digital_values = [
            rng.integers(low, high, c * self.n_records, endpoint=True) for c in self.per_record
        ]
        body = []
        for record in range(self.n_records):
            for count, values in zip(self.per_record, self.digital_values, strict=True):
                piece = values[record * count : (record + 1) * count].astype("<i4")
                as_bytes = piece.view(np.uint8).reshape(-1, 4)
                body.append(as_bytes[:, :size].tobytes())
            if self.annotated:
                onset = record if self.onsets is None else self.onsets[record]
                tal = f"+{onset:g}\x14\x14\x00".encode()
                tal += b"".join(t.encode() for t in self.tals) if record == 0 else b""
                body.append(tal.ljust(size * tal_samples, b"\x00"))
        return b"".join(body)

    def write(self, path: Path) -> Path:
        path.write_bytes(self.bytes())
        return path


# -- Intan -----------------------------------------------------------------------------------------


def qt(text: str) -> bytes:
    """A Qt string."""
    raw = text.encode("utf-16-le")
    return struct.pack("<I", len(raw)) + raw


@dataclass
class Intan:
    """An Intan recording; `values` holds what is stored, per kind of channel."""

    amplifiers: int = 3
    aux: int = 2
    supply: int = 1
    adc: int = 1
    digital: Sequence[int] = (0, 5)
    temperature: int = 0
    n_blocks: int = 4
    version: tuple[int, int] = (3, 0)
    rhs: bool = False
    board_mode: int = 1
    rate: float = 20000.0
    first: int = 0
    jump_at: int | None = None
    dc: bool = True
    seed: int = 0
    values: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def n(self) -> int:
        return 60 if not self.rhs and self.version[0] < 2 else 128

    @property
    def samples(self) -> int:
        return self.n * self.n_blocks

    def header(self) -> bytes:
        magic = 0xD69127AC if self.rhs else 0xC6912702
        out = struct.pack("<Ihhf", magic, *self.version, self.rate)
        if self.rhs:
            out += struct.pack("<hffffffff", 1, *[1.0] * 8) + struct.pack("<hff", 0, 1.0, 1.0)
            out += struct.pack("<hhfff", 0, 0, 1e-6, 1e-9, 0.0)
            out += qt("note") * 3 + struct.pack("<hh", int(self.dc), 0) + qt("REF")
        else:
            out += struct.pack("<hffffff", 1, *[1.0] * 6) + struct.pack("<hff", 0, 1.0, 1.0)
            out += qt("note 1") + qt("") + qt("µ")
            out += struct.pack("<h", self.temperature) if self.version >= (1, 1) else b""
            out += struct.pack("<h", self.board_mode) if self.version >= (1, 3) else b""
            out += qt("REF") if self.version >= (2, 0) else b""
        channels = self._channels()
        out += struct.pack("<h", 2)
        out += qt("Port A") + qt("A") + struct.pack("<hhh", 1, len(channels), self.amplifiers)
        out += b"".join(channels)
        # A group that is off keeps its count.
        return out + qt("Port B") + qt("B") + struct.pack("<hhh", 0, 32, 32)

    def _channels(self) -> list[bytes]:
        digital_code = 5 if self.rhs else 4
        kinds = [(0, f"A-{i:03}", i) for i in range(self.amplifiers)]
        if not self.rhs:
            kinds += [(1, f"A-AUX{i + 1}", i) for i in range(self.aux)]
            kinds += [(2, f"A-VDD{i + 1}", i) for i in range(self.supply)]
        kinds += [(3, f"ANALOG-IN-{i + 1}", i) for i in range(self.adc)]
        kinds += [(digital_code, f"DIGITAL-IN-{b + 1:02}", b) for b in self.digital]
        extra = 6 if self.rhs else 5
        made = [
            qt(name)
            + qt(f"my {name}")
            + struct.pack("<hhhhh", order, order, code, 1, order)
            + struct.pack(f"<{extra}h", *range(extra))
            + struct.pack("<ff", 1e5, -45.0)
            for code, name, order in kinds
        ]
        off = qt("A-031") + qt("off") + struct.pack("<hhhhh", 31, 31, 0, 0, 31)
        return [*made, off + struct.pack(f"<{extra}h", *range(extra)) + struct.pack("<ff", 0, 0)]

    def _draw(self) -> None:
        rng = np.random.default_rng(self.seed)

        def words(rows: int, columns: int) -> np.ndarray:
            return rng.integers(0, 2**16, (rows, columns)).astype("<u2")

        n = self.samples
        self.values = {"amplifier": words(self.amplifiers, n)}
        if self.rhs:
            self.values |= {"dc": words(self.amplifiers, n)} if self.dc else {}
            self.values["stim"] = words(self.amplifiers, n)
        else:
            self.values["aux"] = words(self.aux, n // 4)
            self.values["supply"] = words(self.supply, self.n_blocks)
            self.values["temperature"] = words(self.temperature, self.n_blocks).view("<i2")
        self.values["adc"] = words(self.adc, n)
        self.values["word"] = words(1 if self.digital else 0, n)
        self.values = {k: v for k, v in self.values.items() if v.size}

    @property
    def bits(self) -> np.ndarray:
        return np.stack([(self.values["word"][0] >> b) & 1 for b in self.digital]).astype("<u2")

    def stamps(self) -> np.ndarray:
        stamps = np.arange(self.samples, dtype="<i4") + self.first
        if self.jump_at is not None:
            stamps[self.jump_at * self.n :] += 1000
        return stamps

    def bytes(self) -> bytes:
        self._draw()
        stamps = self.stamps()
        body = [self.header()]
        for block in range(self.n_blocks):
            body.append(stamps[block * self.n : (block + 1) * self.n].tobytes())
            for values in self.values.values():
                per = values.shape[1] // self.n_blocks
                body.append(values[:, block * per : (block + 1) * per].tobytes())
        return b"".join(body)

    def write(self, path: Path) -> Path:
        path.write_bytes(self.bytes())
        return path

    def write_folder(self, folder: Path, *, per_channel: bool = False) -> Path:
        """One file per signal, or per channel: amplifiers signed, aux repeated four times."""
        folder.mkdir(parents=True, exist_ok=True)
        self._draw()
        suffix = "rhs" if self.rhs else "rhd"
        (folder / f"info.{suffix}").write_bytes(self.header())
        (folder / "time.dat").write_bytes(self.stamps().tobytes())
        self.values["amplifier"] = self.values["amplifier"].view("<i2")
        if "aux" in self.values:
            self.values["aux"] = np.repeat(self.values["aux"], 4, axis=1)
        if "supply" in self.values:
            self.values["supply"] = np.repeat(self.values["supply"], self.n, axis=1)
        names = {
            "amplifier": ("amplifier", "amp-A-{:03}", 0),
            "dc": ("dcamplifier", "dc-A-{:03}", 0),
            "stim": ("stim", "stim-A-{:03}", 0),
            "aux": ("auxiliary", "aux-A-AUX{}", 1),
            "supply": ("supply", "vdd-A-VDD{}", 1),
            "adc": ("analogin", "board-ANALOG-IN-{}", 1),
        }
        for kind, (together, single, base) in names.items():
            if kind not in self.values:
                continue
            if per_channel:
                for i, row in enumerate(self.values[kind]):
                    (folder / (single.format(i + base) + ".dat")).write_bytes(row.tobytes())
            else:
                (folder / f"{together}.dat").write_bytes(self.values[kind].T.tobytes())
        if self.digital and per_channel:
            for bit, row in zip(self.digital, self.bits, strict=True):
                (folder / f"board-DIGITAL-IN-{bit + 1:02}.dat").write_bytes(row.tobytes())
        elif self.digital:
            (folder / "digitalin.dat").write_bytes(self.values["word"].tobytes())
        return folder


# -- Blackrock -------------------------------------------------------------------------------------


def nsx_header(version: tuple[int, int], n_channels: int, period: int, resolution: int) -> bytes:
    """Basic and extended headers of NSx 2.2, 2.3 and 3.0."""
    magic = b"BRSMPGRP" if version >= (3, 0) else b"NEURALCD"
    clock = (2020, 5, 2, 14, 10, 11, 12, 500)
    out = struct.pack(
        "<8sBBI16s256sII8HI",
        magic,
        *version,
        314 + 66 * n_channels,
        b"30 kS/s",
        b"a comment",
        period,
        resolution,
        *clock,
        n_channels,
    )
    for i in range(n_channels):
        out += struct.pack(
            "<2sH16sBBhhhh16sIIHIIH",
            *(b"CC", i + 1, f"elec{i + 1}".encode(), 1, i, -32764, 32764, -8191, 8191, b"uV"),
            *(300, 1, 1, 7_500_000, 3, 1),
        )
    return out


def nsx(
    pieces: Sequence[tuple[int, np.ndarray]],
    version: tuple[int, int] = (2, 3),
    period: int = 1,
    resolution: int = 30000,
) -> bytes:
    """NSx file of data packets: (timestamp, channels x samples)."""
    out = nsx_header(version, len(pieces[0][1]), period, resolution)
    code = "<BQI" if version >= (3, 0) else "<BII"
    for stamp, values in pieces:
        out += struct.pack(code, 1, stamp, values.shape[1]) + values.T.astype("<i2").tobytes()
    return out


def nsx_21(values: np.ndarray, period: int = 30) -> bytes:
    """NSx file of specification 2.1."""
    ids = [1, 2, *range(129, 127 + len(values))]
    out = struct.pack("<8s16sII", b"NEURALSG", b"1 kS/s", period, len(values))
    return out + struct.pack(f"<{len(ids)}I", *ids) + values.T.astype("<i2").tobytes()


def nev(packets: Sequence[tuple[int, int, bytes]], size: int = 104) -> bytes:
    """NEV 2.3 file of packets: (timestamp, id, rest)."""
    clock = (2020, 5, 2, 14, 10, 11, 12, 500)
    label = struct.pack("<8sH16s6s", b"NEUEVLBL", 1, b"elec1", b"")
    out = struct.pack(
        "<8sBBHIIII8H32s256sI",
        *(b"NEURALEV", 2, 3, 1, 336 + 32, size, 30000, 30000, *clock, b"test", b"note", 1),
    )
    out += label
    for stamp, number, rest in packets:
        out += (struct.pack("<IH", stamp, number) + rest).ljust(size, b"\0")
    return out


# -- Open Ephys ------------------------------------------------------------------------------------


def continuous(
    values: np.ndarray, stamps: Sequence[int], name: str, *, version: str = "0.4"
) -> bytes:
    """One .continuous file: 1024 samples per record."""
    text = (
        "header.format = 'Open Ephys Data Format'; \n"
        f"header.version = {version}; \nheader.header_bytes = 1024;\n"
        "header.description = 'each record contains ...'; \n"
        "header.date_created = '3-Mar-2021 040506';\n"
        f"header.channel = '{name}';\nheader.channelType = 'Continuous';\n"
        "header.sampleRate = 30000;\nheader.blockLength = 1024;\nheader.bufferSize = 1024;\n"
        "header.bitVolts = 0.195;\n"
    )
    out = text.encode().ljust(1024)
    for i, stamp in enumerate(stamps):
        piece = values[i * 1024 : (i + 1) * 1024].astype(">i2").tobytes()
        out += struct.pack("<qHH", stamp, 1024, 0) + piece + bytes([0, 1, 2, 3, 4, 5, 6, 7, 8, 255])
    return out


def oebin(folder: Path, values: np.ndarray, first: int, names: Sequence[str], **extra: Any) -> Path:
    """One recording of the binary format, with one stream and one TTL line."""
    import json

    data = folder / "continuous" / "Rhythm-100.0"
    events = folder / "events" / "Rhythm-100.0" / "TTL"
    data.mkdir(parents=True)
    events.mkdir(parents=True)
    numbers = np.arange(values.shape[1], dtype=np.int64) + first
    (data / "continuous.dat").write_bytes(values.T.astype("<i2").tobytes())
    np.save(data / "sample_numbers.npy", numbers)
    np.save(data / "timestamps.npy", numbers / 1000.0)
    np.save(events / "sample_numbers.npy", np.array([first + 5, first + 9]))
    np.save(events / "timestamps.npy", np.array([first + 5, first + 9]) / 1000.0)
    np.save(events / "states.npy", np.array([1, -1], dtype=np.int16))
    channels = [{"channel_name": n, "bit_volts": 0.25, "units": ""} for n in names]
    stream = {"folder_name": "Rhythm-100.0/", "sample_rate": 1000, "channels": channels}
    ttl = {"folder_name": "Rhythm-100.0/TTL/", "sample_rate": 1000, "channel_name": "TTL"}
    content = {"GUI version": "0.6.7", "continuous": [stream], "events": [ttl], **extra}
    (folder / "structure.oebin").write_text(json.dumps(content))
    return folder
