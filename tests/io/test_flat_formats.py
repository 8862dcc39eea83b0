"""Formats whose data are plain arrays beside a text header."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from ecogsource.errors import CorruptDataError, DataPathError, FormatError, GapError
from ecogsource.io import open_recording
from tests.io.builders import ramp
from tests.io.peers import neo_stream

# -- SpikeGLX --------------------------------------------------------------------------------------


def glx(folder: Path, name: str, meta: dict[str, str], values: np.ndarray) -> Path:
    data = values.T.astype("<i2").tobytes()
    fields = {"fileSizeBytes": str(len(data)), "nSavedChans": str(len(values)), **meta}
    text = "".join(f"{key}={value}\n" for key, value in fields.items())
    (folder / f"{name}.meta").write_text(text)
    (folder / f"{name}.bin").write_bytes(data)
    return folder / f"{name}.bin"


IMEC = {
    "typeThis": "imec",
    "imSampRate": "30000",
    "imAiRangeMax": "0.6",
    "acqApLfSy": "4,4,1",
    "snsApLfSy": "3,0,1",
    "snsSaveChanSubset": "0:1,3,8",
    "firstSample": "900",
    "~imroTbl": "(641251510,3,4)(0 0 0 500 250)(1 0 0 250 125)(2 0 0 50 5)(3 0 0 1000 500)",
    "~snsChanMap": "(4,0,1)(AP0;0:0)(AP1;1:1)(AP3;3:3)(SY0;8:4)",
}


def test_neuropixels_gains_follow_the_saved_channels(tmp_path: Path) -> None:
    values = ramp(4, 200)
    path = glx(tmp_path, "run_g0_t0.imec0.ap", IMEC, values)
    for given in (path, path.with_suffix(".meta"), tmp_path):
        with open_recording(given) as recording:
            assert list(recording.streams) == ["imec0.ap", "imec0.ap sync"]
            source = recording.source
            assert (source.units, source.fs) == ("uV", 30000)
            assert source.channel_names == ["AP0", "AP1", "AP3"]
            gain = 1e6 * 0.6 / 512 / np.array([500, 250, 1000])
            expected = values[:3] * gain[:, None]
            np.testing.assert_allclose(source[:, :], expected, rtol=1e-6)
            np.testing.assert_array_equal(source.raw[::-1, 5:9], values[2::-1, 5:9])
            np.testing.assert_array_equal(recording.streams["imec0.ap sync"][0, :], values[3])
            assert recording.info.streams[0].start_sample == 900


def test_neuropixels_2_and_lf(tmp_path: Path) -> None:
    meta = IMEC | {"imDatPrb_type": "24", "imMaxInt": "8192", "imAiRangeMax": "0.5"}
    path = glx(tmp_path, "a_g0_t0.imec.ap", meta, ramp(4, 9))
    np.testing.assert_allclose(open_recording(path).info.streams[0].gain, 1e6 * 0.5 / 8192 / 80)
    meta = IMEC | {"snsApLfSy": "0,2,1", "snsSaveChanSubset": "4,7,8"}
    path = glx(tmp_path, "b_g0_t0.imec.lf", meta, ramp(3, 9))
    gain = 1e6 * 0.6 / 512 / np.array([250, 500])
    np.testing.assert_allclose(open_recording(path).info.streams[0].gain, gain)
    meta = IMEC | {"imChan0apGain": "100"}
    path = glx(tmp_path, "c_g0_t0.imec.ap", meta, ramp(4, 9))
    np.testing.assert_allclose(open_recording(path).info.streams[0].gain, 1e6 * 0.6 / 512 / 100)


def test_nidq_and_onebox(tmp_path: Path) -> None:
    nidq = {"typeThis": "nidq", "niSampRate": "25000.5", "niAiRangeMax": "5"}
    nidq |= {"snsMnMaXaDw": "1,1,1,1", "niMNGain": "200", "niMAGain": "2"}
    values = ramp(4, 30)
    with open_recording(glx(tmp_path, "a_g0_t0.nidq", nidq, values)) as recording:
        assert [(s.kind, s.n_channels) for s in recording.info.streams] == [
            ("adc", 3),
            ("digital", 1),
        ]
        gain = 5 / 32768 / np.array([200, 2, 1])
        np.testing.assert_allclose(recording.source[:, :], values[:3] * gain[:, None], rtol=1e-6)
    obx = {"typeThis": "obx", "obSampRate": "30000", "obAiRangeMax": "5", "snsXaDwSy": "2,1,1"}
    with open_recording(glx(tmp_path, "b_g0_t0.obx0.obx", obx, values)) as recording:
        assert [s.n_channels for s in recording.info.streams] == [2, 2]


def test_probe_and_nidq_of_a_run_are_streams(tmp_path: Path) -> None:
    glx(tmp_path, "run_g0_t0.imec0.ap", IMEC, ramp(4, 20))
    nidq = {
        "typeThis": "nidq",
        "niSampRate": "25000",
        "niAiRangeMax": "5",
        "snsMnMaXaDw": "0,0,1,0",
    }
    glx(tmp_path, "run_g0_t0.nidq", nidq, ramp(1, 20))
    with open_recording(tmp_path) as recording:
        assert list(recording.streams) == ["imec0.ap", "nidq", "imec0.ap sync"]
    glx(tmp_path, "other_g0_t0.nidq", nidq, ramp(1, 20))
    with pytest.raises(FormatError, match=r"several runs \['other_g0_t0', 'run_g0_t0'\]"):
        open_recording(tmp_path)


def test_damage_of_spikeglx(tmp_path: Path) -> None:
    path = glx(tmp_path, "run_g0_t0.imec0.ap", IMEC, ramp(4, 20))
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    with pytest.raises(CorruptDataError, match="promises 160 bytes, the file has 157: 19 whole"):
        open_recording(path)
    assert open_recording(path, allow_truncated=True).source.shape == (3, 19)
    meta = path.with_suffix(".meta")
    meta.write_text(meta.read_text().replace("imec\n", "imex\n"))
    path.write_bytes(whole)
    with pytest.raises(FormatError, match="typeThis='imex' is not supported"):
        open_recording(path)
    meta.write_text("typeThis=imec\nnSavedChans=4\n")
    with pytest.raises(FormatError, match="has none of imSampRate"):
        open_recording(path)
    meta.write_text("hello")
    with pytest.raises(FormatError, match="no typeThis and nSavedChans"):
        open_recording(path)
    meta.unlink()
    with pytest.raises(DataPathError, match="is missing; SpikeGLX data cannot be read"):
        open_recording(path, format="spikeglx")


# -- BrainVision -----------------------------------------------------------------------------------


def vhdr(folder: Path, values: np.ndarray, code: str = "INT_16", **extra: str) -> Path:
    common = {"DataFile": "a.eeg", "MarkerFile": "a.vmrk", "DataFormat": "BINARY"}
    common |= {"DataOrientation": "MULTIPLEXED", "NumberOfChannels": str(len(values))}
    common |= {"SamplingInterval": "2000"} | {k: v for k, v in extra.items() if k != "UseBig"}
    names = ["Fp1,,0.5,µV", "Fp\\12,Ref,,mV", "C3,,2"]
    text = "Brain Vision Data Exchange Header File Version 1.0\n; a comment\n\n[Common Infos]\n"
    text += "".join(f"{k}={v}\n" for k, v in common.items())
    text += f"\n[Binary Infos]\nBinaryFormat={code}\n"
    text += "UseBigEndianOrder=YES\n" * ("UseBig" in extra)
    text += "\n[Channel Infos]\n" + "".join(f"Ch{i + 1}={n}\n" for i, n in enumerate(names))
    (folder / "a.vhdr").write_text(text + "\n[Comment]\nx=1\n", encoding="utf-8")
    vectorized = common["DataOrientation"] == "VECTORIZED"
    stored = values if vectorized else values.T
    (folder / "a.eeg").write_bytes(np.ascontiguousarray(stored).tobytes())
    markers("Mk1=New Segment,,1,1,0,20210302040506000000\n", folder)
    return folder / "a.vhdr"


def markers(text: str, folder: Path) -> None:
    head = "Brain Vision Data Exchange Marker File, Version 1.0\n[Common Infos]\nDataFile=a.eeg\n"
    (folder / "a.vmrk").write_text(f"{head}\n[Marker Infos]\n{text}", encoding="utf-8")


@pytest.mark.parametrize(
    ("code", "dtype"),
    [("INT_16", "<i2"), ("UINT_16", "<u2"), ("INT_32", "<i4"), ("IEEE_FLOAT_32", "<f4")],
)
@pytest.mark.parametrize("orientation", ["MULTIPLEXED", "VECTORIZED"])
def test_every_layout_of_brainvision(
    tmp_path: Path, code: str, dtype: str, orientation: str
) -> None:
    values = ramp(3, 100, "<i2").astype(dtype)
    path = vhdr(tmp_path, values, code, DataOrientation=orientation, DataPoints="100")
    for given in (path, tmp_path / "a.eeg", tmp_path / "a.vmrk", tmp_path):
        with open_recording(given) as recording:
            source = recording.source
            np.testing.assert_array_equal(source.raw[:, :], values)
            expected = values.astype(float) * np.array([[0.5], [1.0], [2.0]])
            np.testing.assert_allclose(source[:, :], expected, rtol=1e-6)
            assert source.fs == 500
            assert source.channel_names == ["Fp1", "Fp,2", "C3"]
            assert recording.info.streams[0].channel_units == ("uV", "mV", "uV")
            assert recording.info.start_datetime == datetime(2021, 3, 2, 4, 5, 6)


def test_big_endian_brainvision(tmp_path: Path) -> None:
    values = ramp(3, 10, ">i2")
    path = vhdr(tmp_path, values, UseBig="YES")
    np.testing.assert_array_equal(open_recording(path).source.raw[:, :], values)


def test_a_new_segment_may_be_a_gap(tmp_path: Path) -> None:
    values = ramp(3, 100)
    path = vhdr(tmp_path, values)
    later = "Mk1=New Segment,,1,1,0,20210302040506000000\nMk2=Stimulus,S  1,11,1,0\n"
    later += "Mk3=New Segment,,51,1,0,20210302040507000000\nMk4=Response,a\\1b,61,5,0\n"
    markers(later, tmp_path)
    with pytest.raises(GapError, match="after sample 50: sample 500 came next"):
        open_recording(path)
    with open_recording(path, gaps="segment") as recording:
        assert [(s.start_sample, s.shape[1]) for s in recording.segments] == [(0, 50), (500, 50)]
        np.testing.assert_array_equal(recording.segments[1].raw[:, :], values[:, 50:])
        events = [(e.kind, e.label, e.sample, e.time) for e in recording.events]
        assert events[1] == ("Stimulus", "S  1", 10, 0.02)
        assert events[3] == ("Response", "a,b", 510, 1.02)


def test_damage_of_brainvision(tmp_path: Path) -> None:
    path = vhdr(tmp_path, ramp(3, 100), DataPoints="120")
    with pytest.raises(CorruptDataError, match="promises 120 samples, the file has 100"):
        open_recording(path)
    assert open_recording(path, allow_truncated=True).source.shape == (3, 100)
    text = path.read_text(encoding="utf-8").replace("DataPoints=120", "DataPoints=100")
    for old, new, message in (
        ("Brain Vision Data", "Brian Vision Data", "is not a BrainVision header: it starts"),
        ("DataFormat=BINARY", "DataFormat=ASCII", "DataFormat=ASCII.* not supported"),
        ("SamplingInterval=2000", "SamplingInterval=x", "SamplingInterval is 'x', not a number"),
        ("SamplingInterval=2000", "SamplingInterval=0", "SamplingInterval is 0.0, it must be pos"),
        ("Ch3=", "Ch4=", "Ch3 of 3 channels is not described"),
        (",0.5,", ",half,", "resolution of Ch1 is 'half'"),
    ):
        path.write_text(text.replace(old, new), encoding="utf-8")
        with pytest.raises(FormatError, match=message):
            open_recording(path)
    path.write_text(text, encoding="utf-8")
    markers("Mk1=New Segment,,first,1,0\n", tmp_path)
    with pytest.raises(FormatError, match="has no valid position"):
        open_recording(path)
    (tmp_path / "a.eeg").unlink()
    with pytest.raises(DataPathError, match=r"names DataFile='a\.eeg'"):
        open_recording(path)
    path.unlink()
    with pytest.raises(DataPathError, match=r"needs its header 'a\.vhdr'"):
        open_recording(tmp_path / "a.vmrk")


def test_neo_reads_the_same_brainvision(tmp_path: Path) -> None:
    path = vhdr(tmp_path, ramp(3, 60))
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("Ref,,mV", "Ref,0.1,mV"), encoding="utf-8")
    peer = neo_stream("BrainVisionRawIO", filename=str(path))
    with open_recording(path) as recording:
        np.testing.assert_array_equal(recording.source.raw[:, :], peer.values)
    with open_recording(path, format="neo") as through_neo, open_recording(path) as direct:
        assert type(through_neo.source.data_buffer).__name__ == "NeoBuffer"
        np.testing.assert_array_equal(through_neo.source.raw[:, :], direct.source.raw[:, :])
        through = through_neo.source[[2, 0], 50:3:-2]
        np.testing.assert_allclose(through, direct.source[[2, 0], 50:3:-2], rtol=1e-6)
        assert through_neo.source.fs == 500


# -- Neuroscope ------------------------------------------------------------------------------------

XML = """<parameters><acquisitionSystem><nBits>{bits}</nBits><nChannels>3</nChannels>
<samplingRate>20000</samplingRate><voltageRange>20</voltageRange>
<amplification>1000</amplification><offset>0</offset></acquisitionSystem>
<fieldPotentials><lfpSamplingRate>1250</lfpSamplingRate></fieldPotentials>
<anatomicalDescription><channelGroups><group><channel skip="0">2</channel><channel>0</channel>
</group></channelGroups></anatomicalDescription></parameters>"""


def test_neuroscope(tmp_path: Path) -> None:
    values, slow = ramp(3, 160), ramp(3, 10)
    (tmp_path / "s.xml").write_text(XML.format(bits=16))
    (tmp_path / "s.dat").write_bytes(values.T.tobytes() + b"\1")
    (tmp_path / "s.lfp").write_bytes(slow.T.tobytes())
    with open_recording(tmp_path / "s.dat") as recording:
        np.testing.assert_array_equal(recording.source.raw[:, :], values)
        assert (recording.source.fs, recording.source.units) == (20000, "mV")
        assert "1 bytes after the last whole sample" in recording.info.warnings[0]
        assert recording.info.streams[0].channel_info["group"] == (0, None, 0)
    with open_recording(tmp_path / "s.xml") as recording:
        assert [(n, s.fs) for n, s in recording.streams.items()] == [("dat", 20000), ("lfp", 1250)]
    (tmp_path / "s.dat").write_bytes(values.T.tobytes())
    peer = neo_stream("NeuroScopeRawIO", filename=str(tmp_path / "s.xml"))
    with open_recording(tmp_path / "s.dat") as recording:
        np.testing.assert_allclose(recording.info.streams[0].gain, peer.gain)


def test_damage_of_neuroscope(tmp_path: Path) -> None:
    xml = tmp_path / "s.xml"
    xml.write_text(XML.format(bits=7))
    with pytest.raises(FormatError, match="7 bits and 3 channels"):
        open_recording(xml)
    xml.write_text("<acquisitionSystem")
    with pytest.raises(FormatError, match="not valid XML"):
        open_recording(xml)
    xml.write_text("<p><acquisitionSystem/></p>")
    with pytest.raises(FormatError, match="no acquisitionSystem/nBits"):
        open_recording(xml)
    xml.write_text(XML.format(bits=16))
    with pytest.raises(DataPathError, match=r"no data beside .*looked for \.dat, \.eeg, \.lfp"):
        open_recording(xml)


# -- eCube -----------------------------------------------------------------------------------------


def test_ecube(tmp_path: Path) -> None:
    values = ramp(4, 50)
    path = tmp_path / "Headstages_4_Channels_int16_2021-05-06_11-47-02.bin"
    path.write_bytes((99).to_bytes(8, "little") + values.T.tobytes())
    with open_recording(path) as recording:
        np.testing.assert_array_equal(recording.source[:, :], values)
        assert recording.source.fs == 25000
        assert recording.info.header["Headstages"]["timestamp"] == 99
    with pytest.raises(DataPathError, match="no settings"):
        open_recording(path, scaled=True)
    settings = "<S><PROCESSOR><DATA_INFO><SOURCE>Headstages</SOURCE><SAMPLERATE>24000</SAMPLERATE>"
    settings += "</DATA_INFO><CHANNEL_INFO>"
    settings += "".join(f'<CHANNEL name="H{i}" voltsperbit="{i + 1}e-7"/>' for i in range(6))
    (tmp_path / "settings.xml").write_text(settings + "</CHANNEL_INFO></PROCESSOR></S>")
    (tmp_path / "settings0.xml").write_text("broken")
    word = tmp_path / "DigitalPanel_64_Channels_bool_masked_uint64_2021-05-06_11-47-02.bin"
    word.write_bytes(b"\0" * 8 + np.arange(50, dtype="<u8").tobytes())
    with open_recording(tmp_path, scaled=False) as recording:
        assert list(recording.streams) == ["Headstages", "DigitalPanel"]
        np.testing.assert_array_equal(recording.streams["DigitalPanel"][0, :], np.arange(50))
        assert recording.source.channel_names == ["H0", "H1", "H2", "H3"]
    with open_recording(path, scaled=True) as recording:
        assert (recording.source.fs, recording.source.units) == (24000, "V")
        expected = values * (np.arange(1, 5) * 1e-7)[:, None]
        np.testing.assert_allclose(recording.source[:, :], expected, rtol=1e-6)
    odd = tmp_path / "x.bin"
    odd.write_bytes(b"0" * 20)
    with pytest.raises(FormatError, match="not a name that eCube gives"):
        open_recording(odd, format="ecube")


# -- aolab -----------------------------------------------------------------------------------------


def test_aolab(tmp_path: Path) -> None:
    place = [{"label": f"E{i}", "position": {"row": i, "col": 2 * i}} for i in range(3)]
    drives = [{"name": "other", "electrodes": [{}]}, {"name": "LM1", "electrodes": place}]
    hardware = {"microdrive": drives, "acquisition": {"samplingrate": 30000}}
    (tmp_path / "rec001.experiment.json").write_text(json.dumps({"hardware": hardware}))
    values = np.random.default_rng(0).standard_normal((3, 40)).astype("<f4")
    (tmp_path / "rec001.LM1.clfp_ds250.dat").write_bytes(values.T.tobytes())
    (tmp_path / "rec001.LM1.lfp.dat").write_bytes(values.T.tobytes())
    (tmp_path / "rec001.LM1.raw.dat").write_bytes(ramp(3, 20, "<u2").T.tobytes())
    for kind, fs in (("clfp_ds250", 250), ("lfp", 1000)):
        with open_recording(tmp_path / f"rec001.LM1.{kind}.dat") as recording:
            np.testing.assert_array_equal(recording.source[:, :], values)
            assert recording.source.fs == fs
            assert recording.source.channel_names == ["E0", "E1", "E2"]
            np.testing.assert_array_equal(recording.info.sites, [[0, 0], [1, 2], [2, 4]])
    with open_recording(tmp_path / "rec001.LM1.raw.dat") as recording:
        assert (recording.source.dtype, recording.source.fs) == (np.uint16, 30000)
    (tmp_path / "rec001.LM1.lfp_ds10.dat").write_bytes(values.tobytes())
    with open_recording(tmp_path / "rec001.LM1.lfp_ds10.dat", order="channels") as recording:
        np.testing.assert_array_equal(recording.source[:, :], values)
    with pytest.raises(FormatError, match="order must be 'samples' or 'channels', got 'C'"):
        open_recording(tmp_path / "rec001.LM1.lfp_ds10.dat", order="C")
    (tmp_path / "rec001.LM9.lfp.dat").write_bytes(b"")
    with pytest.raises(FormatError, match=r"no drive 'LM9': \['LM1', 'other'\]"):
        open_recording(tmp_path / "rec001.LM9.lfp.dat")
    (tmp_path / "rec001.experiment.json").write_text("{}")
    with pytest.raises(FormatError, match="lists no hardware"):
        open_recording(tmp_path / "rec001.LM1.lfp.dat")
    (tmp_path / "rec001.experiment.json").unlink()
    with pytest.raises(DataPathError, match=r"needs 'rec001\.experiment\.json'"):
        open_recording(tmp_path / "rec001.LM1.lfp.dat", format="aolab")
    with pytest.raises(FormatError, match="is not <recording>"):
        open_recording(tmp_path / "rec001.LM1.raw.dat".replace("raw", "x"), format="aolab")


# -- raw binary and .npy ---------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["samples", "channels", "C", "F", None])
def test_raw_binary(tmp_path: Path, order: str | None) -> None:
    values = ramp(3, 50, ">i4")
    stored = values if order in ("channels", "F") else values.T
    path = tmp_path / "a.xyz"
    path.write_bytes(b"head" + stored.tobytes())
    options = {} if order is None else {"order": order}
    with open_recording(
        path, dtype=">i4", n_channels=3, fs=100, offset=4, gain=0.5, units="mV", **options
    ) as recording:
        source = recording.source
        np.testing.assert_array_equal(source.raw[:, :], values)
        np.testing.assert_allclose(source[1, :], values[1] * 0.5, rtol=1e-6)
        assert (source.fs, source.units) == (100, "mV")


def test_raw_binary_described_by_a_sidecar(tmp_path: Path) -> None:
    values = ramp(2, 30)
    (tmp_path / "a.dat").write_bytes(values.T.tobytes())
    side = {"dtype": "<i2", "n_channels": 2, "fs": 50.0, "order": "C", "offset": 0}
    (tmp_path / "a.json").write_text(json.dumps(side | {"units_scale": 2.0, "units": "uV"}))
    with open_recording(tmp_path / "a.dat") as recording:
        np.testing.assert_array_equal(recording.source[:, :], values.astype(np.float32) * 2)
        assert (recording.source.fs, recording.source.units) == (50, "uV")
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(FormatError, match=r"a\.json' is not valid JSON"):
        open_recording(tmp_path / "a.dat")


def test_raw_binary_that_is_not_described(tmp_path: Path) -> None:
    path = tmp_path / "a.dat"
    path.write_bytes(b"\0" * 21)
    with pytest.raises(FormatError, match="does not say what it holds; give dtype= and n_chan"):
        open_recording(path)
    for options, message in (
        ({"dtype": "nonsense"}, "dtype='nonsense' is not a type of numbers"),
        ({"dtype": "c16"}, "not a type of real numbers"),
        ({"dtype": "i2", "n_channels": 0}, "at least one channel"),
        ({"dtype": "i2", "order": "sideways"}, "order is 'samples' or 'channels'"),
        ({"dtype": "i2", "fs": -1}, "fs=-1 is not a sampling rate"),
    ):
        with pytest.raises(FormatError, match=message):
            open_recording(path, **options)
    with pytest.raises(CorruptDataError, match="ends inside its header of 50 bytes"):
        open_recording(path, dtype="i2", offset=50)
    assert "1 bytes after" in open_recording(path, dtype="i2").info.warnings[0]


@pytest.mark.parametrize("fortran", [False, True])
@pytest.mark.parametrize("turned", [False, True])
def test_npy(tmp_path: Path, fortran: bool, turned: bool) -> None:
    values = ramp(3, 50)
    array = values.T if turned else values
    np.save(
        tmp_path / "a.npy", np.asfortranarray(array) if fortran else np.ascontiguousarray(array)
    )
    with open_recording(tmp_path / "a.npy", fs=10) as recording:
        np.testing.assert_array_equal(recording.source[:, :], values)
        assert recording.source.fs == 10
    np.save(tmp_path / "v.npy", values[0])
    assert open_recording(tmp_path / "v.npy").source.shape == (1, 50)


def test_damage_of_npy(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((2, 2, 2)))
    with pytest.raises(FormatError, match=r"shape \(2, 2, 2\), expected 1 or 2 axes"):
        open_recording(path)
    np.save(path, np.zeros((2, 20)))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CorruptDataError, match="ends at byte"):
        open_recording(path)
    path.write_bytes(b"\x93NUMPY\x01\x00\x05\x00{oops")
    with pytest.raises(FormatError, match=r"is not a \.npy file"):
        open_recording(path)
    np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(FormatError, match="not a type of real numbers"):
        open_recording(path)


def test_a_comma_in_a_marker_that_is_not_coded(tmp_path: Path) -> None:
    path = vhdr(tmp_path, ramp(3, 100))
    text = "Mk1=New Segment,,1,1,0,20210302040506000000\nMk2=Comment,well, yes,11,2,0\n"
    markers(text + "Mk3=Comment,a,1,2,31,1,0\n", tmp_path)
    with open_recording(path) as recording:
        events = [(e.label, e.sample) for e in recording.events]
    assert events == [("", 0), ("well, yes", 10), ("a,1,2", 30)]


def test_a_folder_of_neuroscope(tmp_path: Path) -> None:
    values = ramp(3, 160)
    (tmp_path / "s.xml").write_text(XML.format(bits=16))
    (tmp_path / "other.xml").write_text("<settings/>")
    (tmp_path / "s.dat").write_bytes(values.T.tobytes())
    with open_recording(tmp_path) as recording:
        np.testing.assert_array_equal(recording.source.raw[:, :], values)
    (tmp_path / "t.xml").write_text(XML.format(bits=16))
    with pytest.raises(FormatError, match=r"holds 2 recordings \['s.xml', 't.xml'\]"):
        open_recording(tmp_path)
