"""Every real recording opens and holds what established readers say of it; each trap is a test."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecogsource.errors import FormatError, GapError
from ecogsource.io import Recording, describe, open_recording
from ecogsource.params import OVERRIDE

# Names of streams in the reference, and here.
INTAN = {
    "RHD2000 amplifier channel": "amplifier",
    "RHD2000 auxiliary input channel": "aux",
    "RHD2000 supply voltage channel": "supply",
    "USB board digital input channel": "digital_in",
}


def sha(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def name_of(entry: dict[str, Any], recording: Recording) -> str:
    """Find the stream that an entry of the reference speaks of."""
    label = str(entry["stream"])
    if entry["format"] == "Intan RHD":
        return INTAN[label.rsplit("/", 1)[-1]]
    if "#" in label:
        return label.rsplit("#", 1)[-1]
    if label.startswith("group="):
        return label.removeprefix("group=")
    if label.startswith("TimeSeries "):
        return label.removeprefix("TimeSeries ")
    names = recording.info.stream_names
    return label if label in names else names[0]


def entries(reference: list[dict[str, Any]]) -> list[dict[str, Any]]:
    skip = ("edf/", "bdf/", "hdf5/aopy/accllr")
    return [e for e in reference if "sha256_raw_all" in e and not e["file"].startswith(skip)]


def test_streams_match_the_reference(shared_data: Path, reference: list[dict[str, Any]]) -> None:
    checked = 0
    for entry in entries(reference):
        with open_recording(shared_data / entry["file"]) as recording:
            source = recording.streams[name_of(entry, recording)]
            raw = source.raw[:, :]
            n = entry["n_samples"]
            assert raw.dtype.name == entry["raw_dtype"], entry["file"]
            assert source.shape[0] == entry["n_channels"]
            assert source.shape[1] >= n
            assert sha(raw[:, :n].T) == entry["sha256_raw_all"], (entry["file"], entry["stream"])
            assert sha(raw[:, :1000].T) == entry["sha256_raw_all_first1000"]
            values = source[0, :n].astype(float)
            np.testing.assert_allclose(values[:5], entry["first5_ch0"], rtol=1e-5, atol=1e-4)
            np.testing.assert_allclose(values.mean(), entry["mean_ch0"], rtol=1e-4, atol=1e-3)
            names = entry["channel_names"]
            if names:
                assert source.channel_names[: len(names)] == names
            if entry["rate"] and "ephys2" not in entry["file"]:
                assert source.fs == pytest.approx(entry["rate"])
            checked += 1
    assert checked > 30


def test_physical_values_to_the_last_digit(
    shared_data: Path, reference: list[dict[str, Any]]
) -> None:
    with OVERRIDE.set(floating_point="double"):
        for entry in entries(reference):
            if entry.get("gain0") is None:
                continue
            with open_recording(shared_data / entry["file"]) as recording:
                stream = recording.info.stream(name_of(entry, recording))
                gain = 1.0 if stream.gain is None else stream.gain[0]
                offset = 0.0 if stream.offset is None else stream.offset[0]
                assert gain == pytest.approx(entry["gain0"])
                assert offset == pytest.approx(entry["offset0"])
                values = recording.streams[stream.name][0, :5]
                np.testing.assert_allclose(values, entry["first5_ch0"], rtol=1e-9)


def test_edf_and_bdf_match_the_reference(
    shared_data: Path, reference: list[dict[str, Any]]
) -> None:
    checked = 0
    for entry in reference:
        if "per_signal" not in entry:
            continue
        with open_recording(shared_data / entry["file"]) as recording:
            for number, signal in enumerate(entry["per_signal"]):
                stream, row = find_signal(recording, number)
                source = recording.streams[stream]
                digital = source.raw[row, :].astype(np.int32)
                assert sha(digital) == signal["sha256_dig_i32_all"], (entry["file"], signal)
                assert source.fs == pytest.approx(signal["fs"])
                mean = source[row, :].astype(float).mean()
                scale = max(abs(signal["pmin"]), abs(signal["pmax"]))
                np.testing.assert_allclose(mean, signal["mean"], atol=2e-6 * scale)
                checked += 1
    assert checked > 100


def find_signal(recording: Recording, number: int) -> tuple[str, int]:
    ordinary = sorted(i for s in recording.info.streams for i in s.channel_info["signal"])
    for stream in recording.info.streams:
        if ordinary[number] in stream.channel_info["signal"]:
            return stream.name, stream.channel_info["signal"].index(ordinary[number])
    raise AssertionError(number)


@pytest.mark.parametrize(
    ("name", "n_channels", "n_samples", "rate"),
    [("bdf/mne/test.bdf", 73, 2048, 2048.0), ("edf/mne/test_edf_stim_channel.edf", 25, 1228, 128)],
)
def test_headers_that_other_readers_refuse(
    shared_data: Path, name: str, n_channels: int, n_samples: int, rate: float
) -> None:
    with open_recording(shared_data / name) as recording:
        assert recording.source.shape == (n_channels, n_samples)
        assert recording.source.fs == pytest.approx(rate)


def test_onsets_of_edf_d_come_from_its_annotations(
    shared_data: Path, reference: list[dict[str, Any]]
) -> None:
    path = shared_data / "edf/edfarray/edfPlusD.edf"
    entry = next(e for e in reference if e.get("record_onsets_s"))
    with pytest.raises(GapError, match="5 gaps, the first after sample 200: sample 400 came"):
        open_recording(path)
    with open_recording(path, gaps="segment") as recording:
        onsets = [
            (s.start_sample + k * 200) / 200
            for s in recording.segments
            for k in range(s.shape[1] // 200)
        ]
        assert onsets == entry["record_onsets_s"]
        stored = np.concatenate([s.raw[0, :] for s in recording.segments]).astype(np.int32)
        assert sha(stored) == entry["sha256_raw_all"]
        with pytest.raises(GapError, match="use recording.segments_of"):
            _ = recording.source
        with pytest.raises(GapError, match="would hide a gap of 200 samples"):
            recording.segments[0].join(recording.segments[1])


def test_records_of_edf_d_are_those_of_its_continuous_parent(shared_data: Path) -> None:
    folder = shared_data / "edf/edfarray"
    with (
        open_recording(folder / "edfPlusD.edf", gaps="fill") as gapped,
        open_recording(folder / "edfPlusC.edf") as whole,
    ):
        filled, parent = gapped.source[:, :], whole.source[:, :]
        assert filled.shape == (11, 4000)
        recorded = gapped.source.data_buffer.recorded
        assert recorded.sum() == 2200
        np.testing.assert_array_equal(filled[:, recorded], parent[:, recorded])
        assert np.isnan(filled[:, ~recorded]).all()
        numbers = gapped.info.streams[0].sample_numbers()
        np.testing.assert_array_equal(numbers, np.flatnonzero(recorded))


def test_intan_aux_in_files_per_signal_has_the_rate_of_the_amplifiers(shared_data: Path) -> None:
    with open_recording(shared_data / "rhd/ephys2_one_file_per_signal") as recording:
        aux = recording.streams["aux"]
        assert aux.shape == (6, 10000)
        assert aux.fs == recording.source.fs == 30000
        blocks = aux.raw[:, :].reshape(6, 2500, 4)
        assert (blocks == blocks[:, :, :1]).all()


def test_blackrock_21_holds_every_frame(shared_data: Path) -> None:
    with open_recording(shared_data / "blackrock/ndr/example_2.ns2") as recording:
        assert recording.source.shape == (6, 3641)


def test_a_nev_alone_has_events_only(shared_data: Path, reference: list[dict[str, Any]]) -> None:
    entry = next(e for e in reference if e["file"].endswith(".nev"))
    with open_recording(shared_data / entry["file"]) as recording:
        spikes = recording.events.select("spike")
        units = dict(zip(*np.unique(spikes.label.astype(str), return_counts=True), strict=True))
        assert len(units) == entry["n_channels"]
        assert 276 in units.values()
        assert not recording.streams
        with pytest.raises(FormatError, match="no continuous data"):
            _ = recording.source


def test_streams_of_open_ephys_may_differ_in_length(shared_data: Path) -> None:
    folder = shared_data / "openephys_binary/aopy_2023-06-27_Neuropixel_LFP"
    with open_recording(folder) as recording:
        lengths = [source.shape[1] for source in recording.streams.values()]
        assert lengths == [1152, 1216]
        starts = [stream.times(0, 1)[0] for stream in recording.info.streams]
        np.testing.assert_allclose(starts, [80.4096, 80.3584])


def test_annotations(shared_data: Path, reference: list[dict[str, Any]]) -> None:
    for entry in reference:
        note = str(entry.get("note"))
        if not entry["file"].endswith((".edf", ".bdf")) or "annotations" not in note:
            continue
        expected = next(
            int(w)
            for w in note.replace(";", "").split()
            if w.isdigit() and (f"{w} annotations" in note)
        )
        gaps = "segment" if "edfPlusD" in entry["file"] else "raise"
        with open_recording(shared_data / entry["file"], gaps=gaps) as recording:
            assert len(recording.events) == expected, entry["file"]


def test_duplicate_labels_stay(shared_data: Path) -> None:
    with open_recording(shared_data / "edf/mne/duplicate_channel_labels.edf") as recording:
        assert recording.source.channel_names == ["EEG F1-Ref", "EEG F2-Ref", "EEG F1-Ref"]


def test_latin_1_header_of_brainvision(shared_data: Path, reference: list[dict[str, Any]]) -> None:
    name = "brainvision/mne/test_old_layout_latin1_software_filter.vhdr"
    entry = next(e for e in reference if e["file"] == name and e.get("reader") == "mne")
    with open_recording(shared_data / name) as recording:
        assert recording.source.shape == (29, 251)
        assert recording.source.units == "uV"
        first = recording.source[0, :5] * 1e-6
        np.testing.assert_allclose(first, entry["first5_ch0"], rtol=1e-6)


def test_pickles_in_hdf5_attributes_stay_pickled(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pickle

    def refuse(*_: Any) -> None:
        raise AssertionError("something was unpickled")

    monkeypatch.setattr(pickle, "loads", refuse)
    monkeypatch.setattr(pickle, "load", refuse)
    path = shared_data / "hdf5/aopy/aj20250319_05_te2540_emg.hdf"
    with open_recording(path) as recording:
        assert recording.source.shape == (88, 14720)
        assert recording.source.fs == 2048
        assert recording.source.channel_names[:2] == ["chan1", "chan2"]
        rows = recording.source[[80, 3], 10:14000:7]
    import h5py

    with h5py.File(path) as file:
        table = file["data"][()]
    expected = np.stack([table[f"chan{i + 1}"][10:14000:7] for i in (80, 3)])
    np.testing.assert_array_equal(rows, expected)


def test_what_is_no_recording_says_so(shared_data: Path) -> None:
    with pytest.raises(FormatError, match=r"no dataset of numbers.*data_altcond \(50, 3, 350\)"):
        open_recording(shared_data / "hdf5/aopy/accllr_test_data.hdf")
    with pytest.raises(FormatError, match="no known format"):
        open_recording(shared_data / "brainvision/mne/test.hpts")


def test_a_meta_without_its_data(shared_data: Path) -> None:
    from ecogsource.errors import DataPathError

    for meta in sorted((shared_data / "spikeglx").rglob("*.meta")):
        with pytest.raises(DataPathError, match=r"\.bin' is missing"):
            open_recording(meta)


def test_every_file_describes_itself(shared_data: Path, reference: list[dict[str, Any]]) -> None:
    for name in dict.fromkeys(entry["file"] for entry in reference):
        if "accllr" in name:
            continue
        text = str(describe(shared_data / name))
        assert name in text
