"""Damaged headers of every format: a typed error, or a recording that can still be read."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecogsource.errors import CorruptDataError, EcogSourceError
from ecogsource.io import open_recording
from ecogsource.io.foreign import NeoBuffer
from ecogsource.io.info import damage_is_typed
from ecogsource.io.layouts import NeoLayout
from tests.io.builders import Edf, Intan, continuous, nev, nsx, nsx_21, oebin, ramp
from tests.io.test_flat_formats import IMEC, XML, glx, vhdr


def edf(folder: Path) -> Path:
    return Edf(reserved="EDF+D", tals=("+1\x14x\x14\x00",)).write(folder / "a.edf")


def bdf(folder: Path) -> Path:
    return Edf(bdf=True).write(folder / "a.bdf")


def rhd(folder: Path) -> Path:
    return Intan().write(folder / "a.rhd")


def rhs(folder: Path) -> Path:
    return Intan(rhs=True).write(folder / "a.rhs")


def ns5(folder: Path) -> Path:
    (folder / "a.ns5").write_bytes(nsx([(0, ramp(2, 20)), (50, ramp(2, 5))]))
    return folder / "a.ns5"


def ns2(folder: Path) -> Path:
    (folder / "a.ns2").write_bytes(nsx_21(ramp(2, 20)))
    return folder / "a.ns2"


def nev_alone(folder: Path) -> Path:
    (folder / "a.nev").write_bytes(nev([(5, 0, b"\1\0\5\0"), (9, 3, b"\1\0")]))
    return folder / "a.nev"


def oe_legacy(folder: Path) -> Path:
    (folder / "100_CH1.continuous").write_bytes(continuous(ramp(1, 2048)[0], [0, 1024], "CH1"))
    return folder / "100_CH1.continuous"


def oe_binary(folder: Path) -> Path:
    oebin(folder / "r", ramp(2, 30), 0, ["CH1", "CH2"])
    return folder / "r" / "structure.oebin"


def spikeglx(folder: Path) -> Path:
    return glx(folder, "run_g0_t0.imec0.ap", IMEC, ramp(4, 20)).with_suffix(".meta")


def brainvision(folder: Path) -> Path:
    return vhdr(folder, ramp(3, 30))


def brainvision_markers(folder: Path) -> Path:
    return vhdr(folder, ramp(3, 30)).with_suffix(".vmrk")


def neuroscope(folder: Path) -> Path:
    (folder / "s.xml").write_text(XML.format(bits=16))
    (folder / "s.dat").write_bytes(ramp(3, 20).T.tobytes())
    return folder / "s.xml"


def npy(folder: Path) -> Path:
    np.save(folder / "a.npy", ramp(2, 20))
    return folder / "a.npy"


def hdf5(folder: Path) -> Path:
    with h5py.File(folder / "a.h5", "w") as file:
        file["data"] = ramp(2, 50)
        file["Fs"] = 10.0
    return folder / "a.h5"


MAKERS = (
    *(edf, bdf, rhd, rhs, ns5, ns2, nev_alone, oe_legacy, oe_binary, spikeglx),
    *(brainvision, brainvision_markers, neuroscope, npy, hdf5),
)


def try_to_read(path: Path) -> None:
    with (
        contextlib.suppress(EcogSourceError),
        open_recording(path, gaps="segment") as recording,
    ):
        for name in recording.streams:
            for piece in recording.segments_of(name):
                assert piece[:, :5].shape[0] == piece.shape[0]
        len(recording.events)


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
@settings(max_examples=settings().max_examples // 6)
@given(data=st.data())
def test_changed_bytes(make: Callable[[Path], Path], tmp_path: Path, data: st.DataObject) -> None:
    folder = tmp_path / "it"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    path = make(folder)
    content = bytearray(path.read_bytes())
    limit = min(len(content), 1500)
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, limit - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try_to_read(path)


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
@settings(max_examples=settings().max_examples // 12)
@given(data=st.data())
def test_cut_files(make: Callable[[Path], Path], tmp_path: Path, data: st.DataObject) -> None:
    folder = tmp_path / "it"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    path = make(folder)
    content = path.read_bytes()
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try_to_read(path)


def test_a_count_beyond_the_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = nev_alone(tmp_path)
    content = bytearray(path.read_bytes())
    content[332:336] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    with pytest.raises(CorruptDataError, match="announces 4294967295 extended headers of 32"):
        open_recording(path)


def test_what_libraries_call_plainly_an_exception_is_damage(tmp_path: Path) -> None:
    def parse(error: BaseException) -> None:
        with damage_is_typed(tmp_path / "x.tdms"):
            raise error

    with pytest.raises(CorruptDataError, match=r"cannot be understood \(Exception: no such scale"):
        parse(Exception("no such scale"))
    for error in (MemoryError(), PermissionError(13, "denied"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            parse(error)


def test_what_neo_trips_over_while_it_reads_is_damage(tmp_path: Path) -> None:
    class Reader:
        def get_analogsignal_chunk(self, *_: object, **__: object) -> None:
            raise AssertionError("a block is missing")

    layout = NeoLayout(str(tmp_path / "x.plx"), "PlexonRawIO", 0, 0, 0, np.dtype("i2"), (2, 50))
    buffer = NeoBuffer(layout)
    buffer._reader = Reader()
    with pytest.raises(CorruptDataError, match=r"AssertionError: a block is missing.*x\.plx"):
        buffer[:, :5]
