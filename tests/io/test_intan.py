"""Intan RHD and RHS files in all layouts, built from the application notes, and read by neo too."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ecogsource.errors import CorruptDataError, DataPathError, FormatError, GapError, JoinError
from ecogsource.io import open_recording
from ecogsource.io.intan import read_header
from tests.io.builders import Intan
from tests.io.peers import neo_stream


def stored(kind: str, words: np.ndarray) -> np.ndarray:
    """What a stream gives as stored; of stimulation, magnitude (8 bits) and sign (the ninth)."""
    if kind != "stim":
        return words
    return (words % 256).astype("i2") * np.where(words // 256 % 2, -1, 1).astype("i2")


def check_block_file(intan: Intan, path: Path) -> None:
    with open_recording(path) as recording:
        for kind, values in intan.values.items():
            if kind == "word":
                bits = recording.streams["digital_in"]
                np.testing.assert_array_equal(bits[:, :], intan.bits)
                continue
            source = recording.streams[kind]
            np.testing.assert_array_equal(source.raw[:, :], stored(kind, values))
            assert source.fs == pytest.approx(intan.rate * values.shape[1] / intan.samples)


@pytest.mark.parametrize("version", [(1, 0), (1, 2), (1, 5), (2, 0), (3, 0), (3, 3)])
def test_every_version_of_rhd(tmp_path: Path, version: tuple[int, int]) -> None:
    temperature = 2 if version >= (1, 1) else 0
    intan = Intan(version=version, temperature=temperature)
    check_block_file(intan, intan.write(tmp_path / "a.rhd"))


@pytest.mark.parametrize("dc", [True, False])
def test_rhs(tmp_path: Path, dc: bool) -> None:
    intan = Intan(rhs=True, dc=dc, version=(3, 0))
    check_block_file(intan, intan.write(tmp_path / "a.rhs"))


@pytest.mark.parametrize("folder", [False, True])
def test_stimulation_is_a_current_and_flags(tmp_path: Path, folder: bool) -> None:
    intan = Intan(rhs=True)
    path = intan.write_folder(tmp_path / "a") if folder else intan.write(tmp_path / "a.rhs")
    words = intan.values["stim"]
    with open_recording(path) as recording:
        stim, flags = recording.streams["stim"], recording.streams["stim_flags"]
        assert (stim.units, stim.raw.dtype, flags.dtype) == ("uA", np.int16, np.uint8)
        assert recording.info.stream("stim").gain.tolist() == [1.0] * 3
        np.testing.assert_array_equal(stim[:, :], stored("stim", words))
        np.testing.assert_array_equal(stim[2, 300:10:-7], stored("stim", words)[2, 300:10:-7])
        np.testing.assert_array_equal(flags[[1, 0], 5:50], (words >> 13)[[1, 0], 5:50])
        twin = pickle.loads(pickle.dumps(stim))
        np.testing.assert_array_equal(twin[:, 7], stim[:, 7])


def test_physical_values(tmp_path: Path) -> None:
    intan = Intan()
    with open_recording(intan.write(tmp_path / "a.rhd")) as recording:
        amplifier = recording.source
        assert amplifier.units == "uV"
        expected = 0.195 * (intan.values["amplifier"].astype(float) - 32768)
        np.testing.assert_allclose(amplifier[:, :], expected, rtol=1e-5, atol=1e-3)
        adc = recording.streams["adc"]
        expected = 0.00015259 * (intan.values["adc"].astype(float) - 32768)
        np.testing.assert_allclose(adc[:, :], expected, rtol=1e-5, atol=1e-6)
        aux = recording.streams["aux"]
        np.testing.assert_allclose(aux[:, :], intan.values["aux"] * 0.0000374, rtol=1e-5)
        assert amplifier.channel_names == ["A-000", "A-001", "A-002"]
        names = recording.info.streams[0].channel_info["custom_name"]
        assert names == ("my A-000", "my A-001", "my A-002")
        assert recording.info.header["notes"] == ["note 1", "", "µ"]


@pytest.mark.parametrize(("mode", "gain", "zero"), [(0, 5.0354e-5, 0), (13, 3.125e-4, 32768)])
def test_analogue_inputs_depend_on_the_board(
    tmp_path: Path, mode: int, gain: float, zero: int
) -> None:
    intan = Intan(board_mode=mode)
    with open_recording(intan.write(tmp_path / "a.rhd")) as recording:
        expected = gain * (intan.values["adc"].astype(float) - zero)
        np.testing.assert_allclose(recording.streams["adc"][:], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("rhs", [False, True])
def test_files_per_signal_or_channel(tmp_path: Path, rhs: bool, per_channel: bool) -> None:
    intan = Intan(rhs=rhs, first=40)
    folder = intan.write_folder(tmp_path / "session", per_channel=per_channel)
    info = folder / ("info.rhs" if rhs else "info.rhd")
    for path in (folder, info):
        with open_recording(path) as recording:
            for kind, values in intan.values.items():
                if kind == "word":
                    continue
                source = recording.streams[kind]
                np.testing.assert_array_equal(source.raw[:, :], stored(kind, values))
                assert source.fs == intan.rate
            bits = recording.streams["digital_in"]
            if not per_channel:
                np.testing.assert_array_equal(bits[:, :], intan.bits)
            assert recording.source.raw.dtype == np.int16
            expected = 0.195 * intan.values["amplifier"].astype(float)
            np.testing.assert_allclose(recording.source[:], expected, rtol=1e-5, atol=1e-3)
            assert recording.info.streams[0].start_sample == 40


def test_bits_per_channel_are_files(tmp_path: Path) -> None:
    intan = Intan()
    folder = intan.write_folder(tmp_path / "session", per_channel=True)
    with open_recording(folder) as recording:
        np.testing.assert_array_equal(recording.streams["digital_in"].raw[:, :], intan.bits)


def test_a_folder_of_one_minute_files_is_one_recording(tmp_path: Path) -> None:
    parts = []
    for i in range(3):
        part = Intan(seed=i, first=i * 4 * 128)
        part.write(tmp_path / f"rec_21030{i}.rhd")
        parts.append(part)
    with open_recording(tmp_path) as recording:
        whole = np.concatenate([part.values["amplifier"] for part in parts], axis=1)
        np.testing.assert_array_equal(recording.source.raw[:, :], whole)
        aux = np.concatenate([part.values["aux"] for part in parts], axis=1)
        np.testing.assert_array_equal(recording.streams["aux"].raw[:, 100:300], aux[:, 100:300])
        bits = np.concatenate([part.bits for part in parts], axis=1)
        np.testing.assert_array_equal(recording.streams["digital_in"][:, :], bits)


def test_a_missing_minute_is_a_gap(tmp_path: Path) -> None:
    for i in (0, 2):
        Intan(seed=i, first=i * 4 * 128).write(tmp_path / f"rec_{i}.rhd")
    with pytest.raises(GapError, match=r"'amplifier' has 1 gaps, the first after sample 512"):
        open_recording(tmp_path)
    recording = open_recording(tmp_path, gaps="fill")
    assert recording.source.shape == (3, 3 * 512)
    assert np.isnan(recording.source[:, 512:1024]).all()
    assert recording.streams["aux"].shape == (2, 3 * 128)
    assert [s.start_sample for s in recording.segments_of("aux")] == [0, 256]


def test_a_jump_of_the_timestamps_is_a_gap(tmp_path: Path) -> None:
    intan = Intan(jump_at=3, first=-128)
    path = intan.write(tmp_path / "a.rhd")
    with pytest.raises(GapError, match="the first after sample 256: sample 1256 came next"):
        open_recording(path)
    pieces = open_recording(path, gaps="segment").segments
    assert [(p.start_sample, p.shape[1]) for p in pieces] == [(-128, 384), (1256, 128)]
    np.testing.assert_array_equal(pieces[1].raw[:], intan.values["amplifier"][:, 384:])


def test_files_that_do_not_belong_together(tmp_path: Path) -> None:
    Intan().write(tmp_path / "a.rhd")
    Intan(amplifiers=4).write(tmp_path / "b.rhd")
    with pytest.raises(JoinError, match=r"b\.rhd' has other channels"):
        open_recording(tmp_path)


def test_an_empty_last_file_is_left_out(tmp_path: Path) -> None:
    Intan().write(tmp_path / "a.rhd")
    replace(Intan(), n_blocks=0).write(tmp_path / "b.rhd")
    assert open_recording(tmp_path).source.shape == (3, 512)


# -- damage ----------------------------------------------------------------------------------------


def test_truncated_inside_a_block(tmp_path: Path) -> None:
    intan = Intan()
    data = intan.bytes()
    path = tmp_path / "a.rhd"
    path.write_bytes(data[:-10])
    with pytest.raises(CorruptDataError, match="3 whole blocks of 1922 bytes and 1912") as info:
        open_recording(path)
    assert info.value.filename == str(path)
    with open_recording(path, allow_truncated=True) as recording:
        expected = intan.values["amplifier"][:, :384]
        np.testing.assert_array_equal(recording.source.raw[:, :], expected)


def test_truncation_anywhere_in_the_header(tmp_path: Path) -> None:
    header = Intan().header()
    path = tmp_path / "a.rhd"
    for length in range(1, len(header), 7):
        path.write_bytes(header[:length])
        with pytest.raises((CorruptDataError, FormatError)):
            open_recording(path)


def test_wrong_magic_and_unsupported_version(tmp_path: Path) -> None:
    path = tmp_path / "a.rhd"
    path.write_bytes(b"\0" * 200)
    with pytest.raises(FormatError, match="byte 0 holds 0x00000000, expected 0xc6912702"):
        open_recording(path)
    path.write_bytes(replace(Intan(), version=(9, 1)).header())
    with pytest.raises(FormatError, match=r"version 9\.1 of the file format \(byte 4\)"):
        open_recording(path)
    path.write_bytes(replace(Intan(), rate=0.0).header())
    with pytest.raises(FormatError, match=r"sampling rate \(byte 8\) is 0"):
        open_recording(path)


def test_a_text_longer_than_the_file(tmp_path: Path) -> None:
    data = bytearray(Intan().header())
    position = data.index("note 1".encode("utf-16-le")) - 4
    data[position : position + 4] = (2**30).to_bytes(4, "little")
    path = tmp_path / "a.rhd"
    path.write_bytes(data)
    with pytest.raises(CorruptDataError, match="a text of 1073741824 bytes does not fit") as info:
        read_header(path)
    assert info.value.offset == position + 4


def test_missing_files(tmp_path: Path) -> None:
    folder = Intan().write_folder(tmp_path / "signals")
    (folder / "auxiliary.dat").unlink()
    with pytest.raises(DataPathError, match=r"no data of the 2 aux channels.*'auxiliary.dat'"):
        open_recording(folder)
    folder = Intan().write_folder(tmp_path / "channels", per_channel=True)
    (folder / "amp-A-001.dat").unlink()
    with pytest.raises(DataPathError, match=r"1 channels are missing, first .*amp-A-001\.dat"):
        open_recording(folder)
    with pytest.raises(DataPathError, match=r"no \.rhd or \.rhs file"):
        open_recording(tmp_path, format="intan")


def test_files_of_different_lengths(tmp_path: Path) -> None:
    folder = Intan().write_folder(tmp_path / "a")
    data = (folder / "auxiliary.dat").read_bytes()
    (folder / "auxiliary.dat").write_bytes(data[:-8])
    with pytest.raises(CorruptDataError, match="'amplifier': 512, 'aux': 510"):
        open_recording(folder)
    assert open_recording(folder, allow_truncated=True).streams["aux"].shape == (2, 510)
    (folder / "auxiliary.dat").write_bytes(data[:-1])
    with pytest.raises(CorruptDataError, match="511 whole samples of 4 bytes and 3 bytes more"):
        open_recording(folder)
    (folder / "auxiliary.dat").write_bytes(data)
    (folder / "time.dat").write_bytes(b"\0" * 40)
    with pytest.raises(CorruptDataError, match="'time': 10"):
        open_recording(folder)
    folder = Intan().write_folder(tmp_path / "b", per_channel=True)
    (folder / "amp-A-002.dat").write_bytes(b"\0\0")
    with pytest.raises(CorruptDataError, match=r"different lengths: \[1, 512\]"):
        open_recording(folder)


# -- another reader --------------------------------------------------------------------------------


@pytest.mark.parametrize("rhs", [False, True])
def test_neo_reads_the_same(tmp_path: Path, rhs: bool) -> None:
    intan = Intan(rhs=rhs)
    path = intan.write(tmp_path / ("a.rhs" if rhs else "a.rhd"))
    names = {"amplifier": "amplifier", "adc": "ADC input", "digital_in": "digital input"}
    names |= {"stim": "Stim"} if rhs else {"aux": "auxiliary", "supply": "supply"}
    with open_recording(path) as recording:
        for ours, theirs in names.items():
            peer = neo_stream("IntanRawIO", theirs, filename=str(path))
            source = recording.streams[ours]
            np.testing.assert_array_equal(source.raw[:, :], peer.values)
            stream = recording.info.stream(ours)
            # neo gives stimulation in amperes.
            unit = 1e6 if ours == "stim" else 1.0
            gain = 1.0 if stream.gain is None else stream.gain[0]
            assert gain == pytest.approx(unit * peer.gain[0])
            mine = 0.0 if stream.offset is None else stream.offset[0]
            assert mine == pytest.approx(peer.offset[0])
