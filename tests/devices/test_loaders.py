"""Every loader on a small file of its system, against NumPy."""

from __future__ import annotations

import json
import pickle
import struct
from importlib.metadata import EntryPoint
from pathlib import Path

import h5py
import numpy as np
import pytest

from ecogsource.datasource import MappedSource, PlainArraySource
from ecogsource.devices import (
    LOADERS,
    ActiveLoader,
    BlackrockLoader,
    FileLoader,
    GenericLoader,
    LoadOptions,
    MuxLoader,
    OpenEphysLoader,
    RHDLoader,
    TriggerWarning,
    electrode_layout,
    find_loader,
    params_table,
    register_loader,
)
from ecogsource.devices import registry as registry_module
from ecogsource.devices.active import daq_facts
from ecogsource.errors import (
    ConfigError,
    DataPathError,
    FormatError,
    MemoryBlowOutError,
)
from ecogsource.params import OVERRIDE
from tests.devices.files import PULSES, pulse_line, write_active, write_packed
from tests.io.builders import nev, nsx, ramp

RNG = np.random.default_rng(0)
INTS = RNG.integers(-3000, 3000, (64, 1000)).astype(np.int16)
FLOATS = RNG.normal(size=(64, 1000)).astype(np.float32)
ADC = np.stack([pulse_line(1000), np.zeros(1000, np.float32)])


# -- one per system --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wiring", daq_facts()["active"], ids=lambda w: f"{w['daq']} {w['headstage']}"
)
def test_active_electrodes_sit_where_the_wiring_says(tmp_path: Path, wiring: dict) -> None:
    rows, cols = wiring["row"], wiring["col"]
    n_cols = len(cols) + len(wiring["extra_col"])
    data = write_active(tmp_path / "rec.mat", 500, rows=len(rows), cols=n_cols)
    loader = ActiveLoader(
        tmp_path, "rec", wiring["electrode"], wiring["daq"], wiring["headstage"], bnc=n_cols
    )
    chan_map, electrodes, others, references = loader.make_channel_map()
    assert chan_map is not None
    assert chan_map.geometry == (len(rows), len(cols))
    assert len(chan_map) == len(electrodes) == len(rows) * len(cols)
    assert sorted(electrodes + others) == list(range(len(rows) * (n_cols + 1)))
    assert references == []
    for i, row in enumerate(rows):
        for j, col in enumerate(cols):
            assert electrodes[chan_map.lookup(i, j)] == col * len(rows) + row
    dataset = loader.create_dataset()
    # The gain of 10 lies between electrode and file, and volts become microvolts.
    np.testing.assert_allclose(
        dataset.data[:, :], data.T[electrodes] / 10 * 1e6, rtol=1e-5, atol=1e-6
    )
    assert dataset.units == dataset.data.units == "uV"


def test_active_electrodes_of_the_document(tmp_path: Path) -> None:
    write_active(tmp_path / "test_001.mat")
    loader = ActiveLoader(
        tmp_path,
        "test_001",
        "actv_64",
        "2t-as daq v1",
        "zif26 to 2x uhdmi",
        bnc=(10,),
        trigger_idx=0,
        mapped=True,
    )
    _, electrodes, others, _ = loader.make_channel_map()
    assert len(electrodes) == 64
    # leakage columns 1 and 4, and the BNC column 10
    assert others == [*range(8, 16), *range(32, 40), *range(80, 88)]
    dataset = loader.create_dataset()
    assert dataset.data.shape == (64, 1000)
    assert dataset.data.data_buffer.shape == (1000, 88)
    assert not dataset.data.writeable
    assert dataset.bnc.shape == (8, 1000)
    assert dataset.pos_edge.tolist() == list(PULSES)
    assert dataset.Fs == 1000.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"daq": "2t-as daq v3"},
            "with daq '2t-as daq v3'; did you mean '2t-as daq v",
        ),
        ({"headstage": "zif26 to 2x uhdm"}, "did you mean 'zif26 to 2x uhdmi'"),
        ({"electrode": "actv_65"}, "electrode 'actv_65'; did you mean 'actv_64'"),
        ({"bnc": 3}, r"bnc = 3 is not a BNC column.*11 columns are 10 of electrodes"),
    ],
)
def test_active_arrays_that_are_unknown(tmp_path: Path, changes: dict, message: str) -> None:
    write_active(tmp_path / "rec.mat")
    names = {
        "electrode": "actv_64",
        "daq": "2t-as daq v1",
        "headstage": "zif26 to 2x uhdmi",
        **changes,
    }
    with pytest.raises(ConfigError, match=message):
        ActiveLoader(tmp_path, "rec", **names).create_dataset()


def test_active_files_of_the_wrong_size(tmp_path: Path) -> None:
    names = ("actv_64", "2t-as daq v1", "zif26 to 2x uhdmi")
    write_active(tmp_path / "rec.mat", rows=6)
    with pytest.raises(ConfigError, match="6 rows x 10 columns, but electrode 'actv_64' needs 8"):
        ActiveLoader(tmp_path, "rec", *names).create_dataset()
    write_active(tmp_path / "odd.mat")
    with h5py.File(tmp_path / "odd.mat", "r+") as file:
        del file["numRow"]
        file["numRow"] = 7.0
    with pytest.raises(FormatError, match=r"shape \(1000, 88\), but numRow, numCol and numChan"):
        ActiveLoader(tmp_path, "odd", *names).create_dataset()


def test_active_arrays_as_their_system_wrote_them(tmp_path: Path) -> None:
    """TDMS holds the same channels, one by one, and the numbers as properties of the file."""
    nptdms = pytest.importorskip("nptdms")
    data = write_active(tmp_path / "packed.h5")
    numbers = {"numRow": 8, "numCol": 10, "numchan": 11}

    def write(name: str, properties: dict[str, object], increment: bool) -> None:
        each = {"wf_increment": 1e-3} if increment else {}
        with nptdms.TdmsWriter(tmp_path / name) as writer:
            channels = [
                nptdms.ChannelObject("data", f"ch{i:03d}", values.astype(np.float32), each)
                for i, values in enumerate(data.T)
            ]
            writer.write_segment([nptdms.RootObject(properties), *channels])

    names = ("actv_64", "2t-as daq v1", "zif26 to 2x uhdmi")
    packed = ActiveLoader(tmp_path, "packed", *names, trigger_idx=0).create_dataset()
    write("a.tdms", numbers, True)
    write("b.tdms", {**numbers, "Fs": 1000.0}, False)
    for name in ("a", "b"):
        loader = ActiveLoader(tmp_path, name, *names, trigger_idx=0)
        dataset = loader.create_dataset()
        np.testing.assert_allclose(dataset.data[:, :], packed.data[:, :], rtol=1e-6)
        np.testing.assert_array_equal(dataset.bnc[:, :], packed.bnc[:, :])
        assert dataset.chan_map == packed.chan_map
        assert (dataset.Fs, dataset.units) == (1000.0, packed.units)
        assert dataset.pos_edge.tolist() == list(PULSES)
    slow = ActiveLoader(tmp_path, "a", *names, resample_rate=500, store_path=tmp_path)
    assert slow.create_dataset().data.shape == (64, 500)
    write("c.tdms", {"numRow": 8, "numCol": 10}, True)
    with pytest.raises(
        FormatError, match=r"no property 'numChan'; there are \['numCol', 'numRow'\]"
    ):
        ActiveLoader(tmp_path, "c", *names).create_dataset()
    write("d.tdms", {**numbers, "numchan": 12}, True)
    with pytest.raises(FormatError, match="has 88 channels, but numRow and numChan say 8 x 12"):
        ActiveLoader(tmp_path, "d", *names).create_dataset()


def test_multiplexers_sample_columns_in_their_own_order(tmp_path: Path) -> None:
    data = write_active(tmp_path / "rec.h5", rows=15, cols=4, bnc=2)
    loader = MuxLoader(tmp_path, "rec", "ratv4_mux6_15row", None, "mux6", bnc=(4, 5), trigger_idx=1)
    dataset = loader.create_dataset()
    layout = electrode_layout("ratv4_mux6_15row")
    order = daq_facts()["mux_sampling"]["mux6"]
    for channel in range(0, 60, 7):
        acquired = order[channel // 15] * 15 + channel % 15
        site = layout.channel_map.rlookup(channel)
        ours = dataset.chan_map.lookup(*site)
        np.testing.assert_allclose(
            dataset.data[ours], data.T[acquired] / 20 * 1e6, rtol=1e-5, atol=1e-6
        )
    assert dataset.bnc.shape == (30, 1000)
    assert dataset.pos_edge.tolist() == list(PULSES)
    with pytest.raises(ConfigError, match="unknown multiplexer 'mux66'; did you mean 'mux6'"):
        MuxLoader(tmp_path, "rec", None, None, "mux66").create_dataset()


def test_multiplexers_without_an_order_or_a_map(tmp_path: Path) -> None:
    data = write_active(tmp_path / "rec.h5", rows=16, cols=4, bnc=0)
    whole = MuxLoader(tmp_path, "rec", None, None, "mux3").create_dataset()
    np.testing.assert_allclose(whole.data[:, :], data.T / 10 * 1e6, rtol=1e-5, atol=1e-6)
    assert "bnc" not in whole
    assert MuxLoader(tmp_path, "rec", None, "7", "mux3").sampling_order() == [0, 1, 2, 3]
    assert MuxLoader(tmp_path, "rec", None, "1card", "mux7").sampling_order() == [1, 2, 0, 3]
    with pytest.raises(ConfigError, match="has 128 channels, but .* holds 64"):
        MuxLoader(tmp_path, "rec", "psv_128_rhd", None, "mux3").create_dataset()


def test_open_ephys(tmp_path: Path) -> None:
    write_packed(tmp_path / "rec.h5", INTS, "chdata", adc=ADC, aux=np.zeros((3, 1000)))
    dataset = OpenEphysLoader(tmp_path, "rec", "psv_61_intan2", trigger_idx=0).create_dataset()
    layout = electrode_layout("psv_61_intan2")
    assert dataset.data.shape == (61, 1000)
    np.testing.assert_allclose(
        dataset.data[:, :], INTS[layout.electrode_channels] * np.float32(0.195), rtol=1e-6
    )
    np.testing.assert_array_equal(dataset.adc[...], ADC)
    assert dataset.aux.shape == (3, 1000)
    assert dataset.pos_edge.tolist() == list(PULSES)
    assert dataset.neg_edge.tolist() == [start + 20 for start in PULSES]
    np.testing.assert_array_equal(dataset.ground_chans.raw[:, :], INTS[layout.grounded_channels])
    assert dataset.ref_chans is None
    assert dataset.chan_map == layout.channel_map


def test_reference_channels_are_a_source(tmp_path: Path) -> None:
    write_packed(tmp_path / "rec.h5", INTS, "chdata")
    dataset = OpenEphysLoader(tmp_path, "rec", "rat_refelectrode_intan").create_dataset()
    channels = electrode_layout("rat_refelectrode_intan").reference_channels
    np.testing.assert_array_equal(dataset.ref_chans.raw[:, :], INTS[channels])


def test_intan_packed(tmp_path: Path) -> None:
    stored = (INTS.astype(np.int32) + 32768).astype(np.uint16)
    write_packed(
        tmp_path / "rec.h5", stored, "amplifier_data", fs=20_000.0, header=True, board_adc_data=ADC
    )
    dataset = RHDLoader(tmp_path, "rec", trigger_idx=0, units="mV").create_dataset()
    np.testing.assert_allclose(dataset.data[:, :], INTS * 0.195e-3, rtol=1e-5, atol=1e-7)
    assert dataset.Fs == 20_000.0
    assert dataset.chan_map is None
    assert dataset.pos_edge.tolist() == list(PULSES)
    with h5py.File(tmp_path / "rec.h5", "r+") as file:
        file.attrs["JSON_header"] = "{}"
    with pytest.raises(FormatError, match="gives no sample_rate"):
        RHDLoader(tmp_path, "rec").create_dataset()


def test_blackrock_packed(tmp_path: Path) -> None:
    write_packed(tmp_path / "rec.h5", INTS, fs=None, trig_idx=np.array([[5, 9]]))
    dataset = BlackrockLoader(tmp_path, "rec").create_dataset()
    np.testing.assert_allclose(dataset.data[:, :], INTS * (8000 / 2**15), rtol=1e-5, atol=1e-6)
    assert dataset.Fs == 30_000.0
    assert dataset.pos_edge.tolist() == [5, 9]
    write_packed(tmp_path / "bare.h5", INTS)
    with pytest.warns(TriggerWarning, match="no 'trig_idx'"):
        BlackrockLoader(tmp_path, "bare", trigger_idx=0).create_dataset()


# -- generic ---------------------------------------------------------------------------------


@pytest.mark.parametrize("transposed", [False, True])
def test_generic_hdf5_either_way_round(tmp_path: Path, transposed: bool) -> None:
    turn = np.transpose if transposed else np.asarray
    write_packed(tmp_path / "rec.h5", turn(INTS), adc=turn(ADC))
    dataset = GenericLoader(
        tmp_path, "rec", "grid_8x8", trigger_idx=0, units_scale=0.5, units="mV"
    ).create_dataset()
    np.testing.assert_array_equal(dataset.data[:, :], INTS * np.float32(0.5))
    np.testing.assert_array_equal(dataset.adc[...], ADC)
    assert dataset.pos_edge.tolist() == list(PULSES)
    assert dataset.units == "mV"


def test_generic_facts_of_an_hdf5_file(tmp_path: Path) -> None:
    path = tmp_path / "rec.hdf"
    write_packed(path, INTS[:, :40], "signal", fs=None, marks=np.array([3, 8]), line=ADC[:, :40])
    dataset = GenericLoader(
        tmp_path,
        "rec",
        data_field="signal",
        transpose=True,
        fs=250,
        units_scale=(10, 2.0),
        aligned_arrays=["other"],
        event_field="marks",
    )
    with pytest.raises(FormatError, match=r"no aligned arrays \['other'\]; it holds"):
        dataset.create_dataset()
    dataset = GenericLoader(
        tmp_path,
        "rec",
        dataset="signal",
        transpose=True,
        fs=250,
        units_scale=(10, 2.0),
        event_field="marks",
    ).create_dataset()
    np.testing.assert_array_equal(dataset.data[:, :], (INTS[:, :40].T + np.float32(10)) * 2)
    assert dataset.Fs == 250.0
    assert dataset.pos_edge.tolist() == [3, 8]
    with pytest.raises(FormatError, match="no dataset 'signl'; did you mean 'signal'"):
        GenericLoader(tmp_path, "rec", dataset="signl").create_dataset()
    with pytest.raises(FormatError, match="which dataset holds the data"):
        GenericLoader(tmp_path, "rec").create_dataset()


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("sidecar", [False, True])
def test_generic_flat_files(tmp_path: Path, order: str, sidecar: bool) -> None:
    stored = INTS.T if order == "C" else INTS
    facts = {"dtype": ">i2", "n_channels": 64, "order": order, "offset": 8, "fs": 500.0}
    (tmp_path / "a.b.dat").write_bytes(b"\0" * 8 + stored.astype(">i2").tobytes())
    if sidecar:
        (tmp_path / "a.b.json").write_text(json.dumps({**facts, "units_scale": 2.0}))
        dataset = GenericLoader(tmp_path, "a.b", "grid_8x8").create_dataset()
        np.testing.assert_array_equal(dataset.data[:, :], INTS * np.float32(2))
    else:
        dataset = GenericLoader(tmp_path, "a.b", **facts).create_dataset()
        np.testing.assert_array_equal(dataset.data[:, :], INTS)
    assert dataset.Fs == 500.0


def test_generic_files_that_are_odd(tmp_path: Path) -> None:
    write_packed(tmp_path / "three.h5", np.zeros((2, 3, 4)))
    with pytest.raises(FormatError, match=r"'data' has shape \(2, 3, 4\), not 2 dimensions"):
        GenericLoader(tmp_path, "three", dataset="data").create_dataset()
    write_packed(tmp_path / "one.h5", INTS, "volts", fs=None)
    dataset = GenericLoader(tmp_path, "one", event_field="marks").create_dataset
    with pytest.warns(TriggerWarning, match="no events 'marks'"):
        assert dataset().Fs is None
    with pytest.raises(FormatError, match="does not say its sampling rate"):
        GenericLoader(tmp_path, "one", resample_rate=100).create_dataset()
    write_packed(tmp_path / "lines.h5", INTS, stim=ADC, adc=ADC * 0)
    named = GenericLoader(tmp_path, "lines", trigger_field="stim", trigger_idx=0)
    assert named.create_dataset().pos_edge.tolist() == list(PULSES)


def test_generic_flat_files_without_facts(tmp_path: Path) -> None:
    (tmp_path / "rec.dat").write_bytes(INTS.tobytes())
    with pytest.raises(ConfigError, match=r"needs dtype and n_channels.*rec\.json beside"):
        GenericLoader(tmp_path, "rec").create_dataset()
    with pytest.raises(ConfigError, match="dtype = 'int99'"):
        GenericLoader(tmp_path, "rec", dtype="int99", n_channels=2).create_dataset()
    (tmp_path / "rec.json").write_text("[1]")
    with pytest.raises(FormatError, match="is not a JSON object"):
        GenericLoader(tmp_path, "rec").create_dataset()
    (tmp_path / "rec.json").write_text("{")
    with pytest.raises(FormatError, match="cannot be read"):
        GenericLoader(tmp_path, "rec").create_dataset()


def test_a_real_ecog_grid(shared_data: Path) -> None:
    folder = shared_data / "flat" / "peslab"
    name = "recTEST.LM1_ECOG_3.clfp_ds250"
    # This file was written channel after channel: read so, neighbouring samples are alike.
    facts = {"dtype": "float32", "n_channels": 62, "fs": 250, "order": "F"}
    dataset = GenericLoader(folder, name, **facts).create_dataset()
    stored = np.fromfile(folder / f"{name}.dat", np.float32).reshape(62, -1)
    np.testing.assert_array_equal(dataset.data[:, 100:200], stored[:, 100:200])
    trace = dataset.data[0]
    assert np.corrcoef(trace[1:], trace[:-1])[0, 1] > 0.5


def test_files_as_their_system_wrote_them(shared_data: Path) -> None:
    folder = shared_data / "rhd"
    dataset = RHDLoader(folder, "sampledata").create_dataset()
    assert dataset.data.shape == (32, 31104)
    assert dataset.Fs == 20_000.0
    assert dataset.units == "uV"
    with pytest.raises(ConfigError, match="is read in uV; set units = uV, not mV"):
        RHDLoader(folder, "sampledata", units="mV").create_dataset()
    many = RHDLoader(folder, "ephys2_one_file_per_signal").create_dataset()
    assert many.board_dig_in_data.shape == (4, 10000)
    generic = GenericLoader(shared_data / "edf" / "mne", "test").create_dataset()
    assert generic.data.shape == (139, 3072)


def test_events_of_the_system_are_triggers(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "openephys_legacy"
    options = {"trigger_idx": 1, "store_path": tmp_path}
    dataset = OpenEphysLoader(folder, "v0.6.7_RecordNode101", **options).create_dataset()
    # The recording starts at sample 251635 of its clock, the event is at 252488.
    assert dataset.pos_edge.tolist() == [853]
    assert dataset.neg_edge.tolist() == [853]
    assert dataset.trig_chan is None
    slow = OpenEphysLoader(folder, "v0.6.7_RecordNode101", resample_rate=4000, **options)
    assert slow.create_dataset().pos_edge.tolist() == [85]
    with pytest.warns(TriggerWarning, match="no trigger line 999"):
        OpenEphysLoader(folder, "v0.6.7_RecordNode101", trigger_idx=999).create_dataset()
    words = OpenEphysLoader(folder, "v0.6.7_RecordNode101", trigger_idx=(1, 2)).create_dataset()
    assert words.pos_edge.size == words.trig_words.size


@pytest.mark.parametrize("period", [1, 30])
def test_changes_of_a_digital_input_are_triggers(tmp_path: Path, period: int) -> None:
    """Words of a .nev file; one packet is of the serial input, one after the end."""
    words = [(60, 0b101), (90, 0b100), (150, 0b110), (160, 0b111), (181, 0), (40_000_000, 1)]
    packets = [(tick, 0, struct.pack("<BBH", 1, 0, word)) for tick, word in words]
    packets.insert(2, (120, 0, struct.pack("<BBH", 0x80, 0, 7)))
    (tmp_path / "rec.nev").write_bytes(nev(packets))
    suffix = "ns6" if period == 1 else "ns2"
    # The recording was paused: ticks before 30 and from 9030 to 12030 were not sampled.
    pieces = [(30, ramp(61, 9000 // period)), (12_030, ramp(61, 3000 // period))]
    (tmp_path / f"rec.{suffix}").write_bytes(nsx(pieces, period=period))

    def edges(line: object, **options: object) -> dict[str, list[int]]:
        loader = BlackrockLoader(tmp_path, "rec", trigger_idx=line, gaps="fill", **options)
        dataset = loader.create_dataset()
        names = ("pos_edge", "neg_edge", "trig_words")
        return {name: dataset[name].tolist() for name in names if name in dataset}

    def samples(*ticks: int) -> list[int]:
        return [-(-(tick - 30) // period) for tick in ticks]

    assert edges(0) == {"pos_edge": samples(60, 160), "neg_edge": samples(90, 181)}
    assert edges(1) == {"pos_edge": samples(150), "neg_edge": samples(181)}
    found = edges((0, 1))
    assert found["pos_edge"] == samples(60, 150, 160)
    assert found["trig_words"] == [1, 2, 3]
    with pytest.warns(TriggerWarning, match="no trigger line 9"):
        edges(9)


# -- options ---------------------------------------------------------------------------------


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    write_packed(tmp_path / "rec.h5", FLOATS, "chdata", adc=ADC)
    return tmp_path


def load(folder: Path, **options: object) -> object:
    return OpenEphysLoader(folder, "rec", "psv_61_intan2", **options).create_dataset()


def test_mapped_or_loaded(packed: Path) -> None:
    channels = electrode_layout("psv_61_intan2").electrode_channels
    mapped, loaded, writeable = (
        load(packed, mapped=how, trigger_idx=0) for how in (True, False, "r+")
    )
    assert isinstance(mapped.data, MappedSource)
    assert not mapped.data.writeable
    assert isinstance(loaded.data, PlainArraySource)
    assert isinstance(loaded.adc, np.ndarray)
    assert isinstance(writeable.data, MappedSource)
    assert writeable.data.writeable
    assert Path(writeable.data.data_buffer.filename).parent != packed
    for dataset in (mapped, loaded, writeable):
        np.testing.assert_array_equal(dataset.data[:, :], FLOATS[channels])
        assert dataset.data.fs == dataset.Fs == 1000.0
        assert dataset.pos_edge.tolist() == list(PULSES)


def test_loading_more_than_memory_is_refused(packed: Path) -> None:
    with OVERRIDE.set(memory_limit=100_000), pytest.raises(MemoryBlowOutError):
        load(packed, mapped=False)
    with OVERRIDE.set(memory_limit=100_000):
        assert load(packed).data.shape == (61, 1000)


def test_some_channels_only(packed: Path) -> None:
    dataset = load(packed, load_channels=[5, 0])
    np.testing.assert_array_equal(dataset.data[:, :], FLOATS[[0, 5]])
    layout = electrode_layout("psv_61_intan2")
    assert dataset.chan_map == layout.channel_map.subset([0, 4])
    with pytest.raises(ConfigError, match=r"names \[1, 99\], which are no electrodes"):
        load(packed, load_channels=[0, 1, 99])


def test_channels_masked_for_all_recordings(packed: Path) -> None:
    with OVERRIDE.set(channel_mask=(0, 3)):
        dataset = load(packed)
    assert dataset.data.shape == (59, 1000)
    assert len(dataset.chan_map) == 59


def test_band_and_notches(packed: Path) -> None:
    time = np.arange(1000) / 1000
    waves = np.sin(2 * np.pi * 20 * time) + np.sin(2 * np.pi * 60 * time)
    write_packed(packed / "rec.h5", np.tile(waves, (64, 1)).astype(np.float32), "chdata")
    spectrum = np.abs(np.fft.rfft(load(packed).data[0]))
    for mapped in (False, True):
        dataset = load(packed, notches=60, mapped=mapped)
        notched = np.abs(np.fft.rfft(dataset.data[0, :]))
        assert notched[60] < 0.2 * spectrum[60]
        assert notched[20] > 0.9 * spectrum[20]
        assert dataset.notches == (60.0,)
    low = load(packed, bandpass=(-1, 40), mapped=False)
    assert low.bandpass == (None, 40.0)
    assert np.abs(np.fft.rfft(low.data[0]))[60] < 0.2 * spectrum[60]
    causal = load(packed, bandpass=(None, 40), mapped=False, causal_filtering=True)
    assert not np.allclose(causal.data[0], low.data[0])


@pytest.mark.parametrize("mapped", [True, False, "r+"])
def test_references(packed: Path, mapped: object) -> None:
    channels = electrode_layout("psv_61_intan2").electrode_channels
    plain = FLOATS[channels]
    common = load(packed, car=True, mapped=mapped)
    np.testing.assert_allclose(common.data[:, :], plain - plain.mean(axis=0), atol=1e-5)
    local = load(packed, local_ref=True, mapped=mapped)
    rows, cols = local.chan_map.to_mat()
    near = (np.hypot(rows - rows[10], cols - cols[10]) < 1.5) & (np.arange(61) != 10)
    np.testing.assert_allclose(local.data[10, :], plain[10] - plain[near].mean(axis=0), atol=1e-5)


def test_a_local_reference_needs_a_map(packed: Path) -> None:
    with pytest.raises(ConfigError, match="needs an electrode map"):
        OpenEphysLoader(packed, "rec", local_ref=True).create_dataset()
    free = OpenEphysLoader(packed, "rec", "rat_varspace_intan", local_ref=True).create_dataset()
    assert not np.array_equal(free.data[:, :10], FLOATS[:61, :10])


# -- downsampled files -----------------------------------------------------------------------


def test_downsampling_to_a_file_beside_the_recording(packed: Path) -> None:
    dataset = load(packed, resample_rate=250, trigger_idx=0)
    stored = packed / "rec_Fs250.h5"
    assert stored.is_file()
    assert dataset.Fs == 250.0
    assert dataset.data.shape == (61, 250)
    assert dataset.adc.shape == (2, 250)
    assert dataset.pos_edge.tolist() == [start // 4 for start in PULSES]
    time = stored.stat().st_mtime_ns
    again = load(packed, resample_rate=250, mapped=False)
    assert stored.stat().st_mtime_ns == time
    np.testing.assert_array_equal(again.data[:, :], dataset.data[:, :])
    (packed / "rec.h5").unlink()
    assert load(packed, resample_rate=250).data.shape == (61, 250)


def test_downsampled_files_in_other_places(packed: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    assert load(packed, resample_rate=500, store_path=store).Fs == 500.0
    assert [path.name for path in store.glob("*.h5")] == ["rec_Fs500.h5"]
    temporary = load(packed, resample_rate=250, save_downsamp=False)
    assert temporary.Fs == 250.0
    assert not (packed / "rec_Fs250.h5").exists()
    assert load(packed, resample_rate=1000).data.shape == (61, 1000)
    loader = OpenEphysLoader(packed, "rec", "psv_61_intan2")
    assert loader.create_downsample_file(500, store) == store / "rec_Fs500.h5"


def test_stored_files_can_be_ignored(packed: Path) -> None:
    write_packed(packed / "rec_Fs250.h5", np.zeros((64, 250), np.float32), "chdata", fs=250.0)
    assert not load(packed, resample_rate=250).data[0].any()
    fresh = load(packed, resample_rate=250, use_stored=False, save_downsamp=False)
    assert fresh.data[0].any()
    assert not load(packed, resample_rate=250).data[0].any()
    assert load(packed, resample_rate=250, use_stored=False).data[0].any()
    assert load(packed, resample_rate=250).data[0].any()


@pytest.mark.parametrize(("rate", "nearest"), [(300, "250 and 333.333"), (1500, "1000")])
def test_rates_that_do_not_divide(packed: Path, rate: float, nearest: str) -> None:
    with pytest.raises(ConfigError, match=f"{rate} is no whole fraction.*{nearest}"):
        load(packed, resample_rate=rate)


def test_active_recordings_downsample_with_their_bnc_apart(tmp_path: Path) -> None:
    write_active(tmp_path / "rec.mat")
    names = ("actv_64", "2t-as daq v1", "zif26 to 2x uhdmi")
    options = {"trigger_idx": 0, "resample_rate": 500}
    whole = ActiveLoader(tmp_path, "rec", *names, bnc=10, mapped=False).create_dataset()
    first = ActiveLoader(tmp_path, "rec", *names, bnc=10, **options).create_dataset()
    (tmp_path / "rec.mat").unlink()
    second = ActiveLoader(tmp_path, "rec", *names, bnc=10, **options).create_dataset()
    for dataset in (first, second):
        assert dataset.data.shape == (64, 500)
        assert dataset.bnc.shape == (8, 500)
        assert dataset.chan_map == whole.chan_map
        assert dataset.pos_edge.tolist() == [start // 2 for start in PULSES]
        np.testing.assert_allclose(dataset.data[:, 250], whole.data[:, 500], rtol=1e-2, atol=1e-3)


def test_blackrock_triggers_follow_the_rate(tmp_path: Path) -> None:
    write_packed(tmp_path / "rec.h5", INTS, fs=2000.0, trig_idx=np.array([5, 90]))
    options = {"resample_rate": 1000, "trigger_idx": 0}
    assert BlackrockLoader(tmp_path, "rec", **options).create_dataset().pos_edge.tolist() == [2, 45]
    (tmp_path / "rec.h5").unlink()
    with pytest.warns(TriggerWarning, match="in the recording itself, which is in none"):
        BlackrockLoader(tmp_path, "rec", **options).create_dataset()


# -- triggers --------------------------------------------------------------------------------


def test_several_lines_are_words(packed: Path) -> None:
    lines = np.stack([pulse_line(1000, (100, 300)), pulse_line(1000, (300, 700))])
    write_packed(packed / "rec.h5", FLOATS, "chdata", adc=lines)
    dataset = load(packed, trigger_idx=(0, 1))
    assert dataset.pos_edge.tolist() == [100, 300, 700]
    assert dataset.trig_words.tolist() == [1, 3, 2]
    assert dataset.neg_edge.tolist() == [120, 320, 720]
    assert dataset.trig_chan.shape == (2, 1000)
    loaded = load(packed, trigger_idx=(0, 1), mapped=False)
    assert loaded.trig_words.tolist() == [1, 3, 2]


def test_an_absent_trigger_line(packed: Path) -> None:
    with pytest.warns(TriggerWarning, match=r"no trigger line 7 in .*rec\.h5: 'adc' has 2 lines"):
        dataset = load(packed, trigger_idx=7)
    assert dataset.pos_edge.shape == (0,)
    assert dataset.trig_chan is None
    with pytest.raises(FormatError, match="no trigger line 7"):
        load(packed, trigger_idx=7, raise_on_glitch=True)
    write_active(packed / "rec.mat")
    names = ("actv_64", "2t-as daq v1", "zif26 to 2x uhdmi")
    with pytest.raises(FormatError, match="no trigger line 1 .* it has 1 BNC inputs"):
        ActiveLoader(packed, "rec", *names, trigger_idx=1, raise_on_glitch=True).create_dataset()


# -- finding and refusing --------------------------------------------------------------------


def test_the_network_is_the_second_place_to_look(tmp_path: Path) -> None:
    write_packed(tmp_path / "net" / "rec.h5", FLOATS, "chdata")
    folders = [tmp_path / "here", None, tmp_path / "net"]
    dataset = OpenEphysLoader(folders, "rec").create_dataset()
    assert dataset.data.shape == (64, 1000)
    write_packed(tmp_path / "here" / "rec.h5", FLOATS[:32], "chdata")
    assert OpenEphysLoader(folders, "rec").create_dataset().data.shape == (32, 1000)


def test_a_missing_recording_names_every_path_tried(tmp_path: Path) -> None:
    write_packed(tmp_path / "a" / "rec_Fs500.h5", FLOATS, "chdata")
    loader = OpenEphysLoader([tmp_path / "a", tmp_path / "b"], "rec", resample_rate=250)
    with pytest.raises(DataPathError) as caught:
        loader.create_dataset()
    message = str(caught.value)
    for folder in ("a", "b"):
        for name in ("rec_Fs250.h5", "rec.h5", "rec.hdf5"):
            assert str(tmp_path / folder / name) in message
    assert f"The folder {tmp_path / 'b'} does not exist" in message
    assert "load it with resample_rate=500" in message
    with pytest.raises(DataPathError, match="neither exp_path nor nwk_path"):
        OpenEphysLoader([None], "rec").create_dataset()


def test_a_map_with_more_sites_than_channels(tmp_path: Path) -> None:
    write_packed(tmp_path / "rec.h5", FLOATS[:32], "chdata")
    with pytest.raises(ConfigError, match="'psv_61_intan2' has 64 channels, but .* holds 32"):
        load(tmp_path)


def test_files_of_another_system(tmp_path: Path) -> None:
    write_packed(tmp_path / "bare.h5", FLOATS, "data", fs=None)
    with pytest.raises(FormatError, match=r"has no 'Fs'; it holds \['data'\]"):
        OpenEphysLoader(tmp_path, "bare").create_dataset()
    write_packed(tmp_path / "rec.h5", FLOATS, "data")
    with pytest.raises(DataPathError, match="chdata"):
        load(tmp_path)
    (tmp_path / "text.h5").write_bytes(b"no HDF5 at all")
    with pytest.raises(FormatError, match="not an HDF5 file"):
        OpenEphysLoader(tmp_path, "text").create_dataset()
    write_packed(tmp_path / "three.h5", FLOATS, "chdata", fs=None, Fs=np.zeros(3))
    with pytest.raises(FormatError, match="'Fs' is not one number"):
        OpenEphysLoader(tmp_path, "three").create_dataset()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"bandpas": (1, 2)}, TypeError, "unknown load option 'bandpas'; did you mean 'bandpass'"),
        ({"mapped": "w"}, ConfigError, "mapped must be"),
        ({"bandpass": (1, 2, 3)}, ConfigError, r"bandpass is \(low, high\)"),
        ({"resample_rate": 0}, ConfigError, "above 0 Hz"),
        ({"car": True, "local_ref": True}, ConfigError, "choose one"),
        ({"gaps": "segment"}, ConfigError, "gaps must be 'raise' or 'fill'"),
        ({"units": "furlong"}, ConfigError, "unknown units 'furlong'"),
        ({"electrode_connectors": ["a", "c"]}, ConfigError, "each connector"),
    ],
)
def test_bad_options(packed: Path, options: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        load(packed, **options)


def test_option_shapes() -> None:
    assert LoadOptions(trigger_idx=np.array([1, 2])).trigger_lines == (1, 2)
    assert LoadOptions(bandpass=(-1, 0)).band is None
    assert LoadOptions(notches=[60, 120]).notch_lines == (60.0, 120.0)
    assert LoadOptions(units="µV").unit_factor(1e-6) == pytest.approx(1)


# -- registry --------------------------------------------------------------------------------


def test_the_registry_is_lazy_and_guarded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "_loaders", dict(LOADERS))
    assert find_loader("OpenEphys") is OpenEphysLoader
    assert find_loader("zif26 to 2x uhdmi") is ActiveLoader
    assert find_loader("mux7_lg") is MuxLoader
    with pytest.raises(ConfigError, match="unknown headstage 'openephis'; did you mean 'open"):
        find_loader("openephis")
    with pytest.raises(ValueError, match="use clobber=True"):
        register_loader("rhd", "somewhere:Else")
    with pytest.raises(ValueError, match="'module:Class'"):
        register_loader("mine", "somewhere")
    register_loader("Mine", "tests.devices.test_loaders:TinyLoader")
    assert find_loader("mine") is not None
    register_loader("mine", "ecogsource.devices.generic:GenericLoader", clobber=True)
    assert find_loader("mine") is GenericLoader
    with pytest.raises(TypeError):
        LOADERS["x"] = "y"  # type: ignore[index]


def test_plug_ins_bring_loaders(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("Plugged", "tests.devices.test_loaders:TinyLoader", "ecogsource.loaders")
    monkeypatch.setattr(registry_module, "_loaders", dict(LOADERS))
    monkeypatch.setattr(registry_module, "entry_points", lambda group: [point])
    registry_module._load_entry_points.cache_clear()
    assert find_loader("plugged").__name__ == "TinyLoader"
    registry_module._load_entry_points.cache_clear()
    registry_module.all_fields.cache_clear()


class TinyLoader(FileLoader):
    """All that a new system needs: the names in its files."""

    data_array = "volts"
    volts_per_bit = 1e-6


def test_a_new_device_is_a_few_names(tmp_path: Path) -> None:
    write_packed(tmp_path / "rec.h5", INTS, "volts")
    dataset = TinyLoader(tmp_path, "rec").create_dataset()
    np.testing.assert_array_equal(dataset.data[:, :5], INTS[:, :5])
    assert repr(TinyLoader(tmp_path, "rec", "x")) == "TinyLoader('rec', electrode='x')"


def test_the_table_of_fields_holds_those_of_all_devices() -> None:
    assert {"mapped", "bnc", "units_scale", "tones_tab"} <= set(params_table)


def test_datasets_pickle_and_close(packed: Path) -> None:
    with load(packed, trigger_idx=0) as dataset:
        copied = pickle.loads(pickle.dumps(dataset))
        np.testing.assert_array_equal(copied.data[:, :9], dataset.data[:, :9])
        assert copied.chan_map == dataset.chan_map
    assert dataset.data[0, 0] == FLOATS[0, 0]
    assert "data         : MappedSource (61, 1000) float32" in repr(dataset)
    assert "<caption>Dataset</caption>" in dataset._repr_html_()
