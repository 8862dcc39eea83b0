"""DataFile: names, rates, drives, times, masks - each of them a fault of the notebook's class."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecogsource import OVERRIDE, BufferBinder, MemoryBlowOutError
from ecogsource.errors import DataPathError, FormatError
from ecogsource.windows import DataFile
from tests.windows.helper import mask_of, write_experiment, write_recording

N = 3217
MASKS = {"hf": mask_of(N, (100, 110), (3000, N)), "sat": mask_of(N, (105, 130))}
BAD = mask_of(N, (100, 130), (3000, N))


@pytest.fixture
def recording(tmp_path):
    return write_recording(tmp_path, masks=MASKS)


# -- names, rates, types, drives ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("rec_type", "srate", "dtype"),
    [
        ("raw", 30000, np.uint16),
        ("lfp", 1000, np.float32),
        ("clfp", 1000, np.float32),
        ("clfp_ds250", 250, np.float32),
        ("raw_ds1000", 1000, np.uint16),
    ],
)
def test_every_type_has_its_rate_and_its_numbers(tmp_path, rec_type, srate, dtype):
    path, data = write_recording(tmp_path, rec_type)
    file = DataFile(path)
    assert (file.srate, file.data_type, file.n_sample) == (srate, np.dtype(dtype), N)
    assert file.t_total == N / srate
    assert (file.rec_id, file.microdrive_name, file.rec_type) == ("rec001", "SC32", rec_type)
    got = file.read()
    assert got.dtype == dtype
    assert np.array_equal(got, data)


def test_files_that_hold_channel_after_channel(tmp_path):
    path, data = write_recording(tmp_path)
    data.tofile(path)
    file = DataFile(path, order="channels")
    assert np.array_equal(file.read(), data)
    assert np.array_equal(DataFile(path, order="F").read(), data)
    assert np.array_equal(file.read(1.5, 0.2, [2, 0]), data[[2, 0], 1500:1700])
    with pytest.raises(FormatError, match="order must be 'samples' or 'channels', got 'K'"):
        DataFile(path, order="K")


def test_an_unknown_type_needs_rate_and_numbers(tmp_path):
    path, data = write_recording(tmp_path, "bipolar")
    with pytest.raises(FormatError, match="'bipolar' recording are not known.*srate= and dtype="):
        DataFile(path)
    file = DataFile(path, srate=500, dtype="<f4")
    assert (file.srate, file.t_total) == (500, N / 500)
    assert np.array_equal(file.read(), data)


def test_the_electrodes_are_those_of_the_drive_of_the_file(tmp_path):
    path, data = write_recording(tmp_path, drive="SC32")
    file = DataFile(path)
    assert file.ch_labels == ["SC32 E01", "SC32 E02", "SC32 E03"]
    assert file.ch_positions.tolist() == [[0, 1.5], [0.75, 1.5], [1.5, 1.5]]
    assert file.source.channel_names == file.ch_labels
    path, data = write_recording(tmp_path, drive="ECOG")
    assert (DataFile(path).n_ch, DataFile(path).read().shape) == (5, data.shape)


def test_names_with_dots_folders_and_home(tmp_path, monkeypatch):
    path, data = write_recording(tmp_path / "with.dots", rec_id="2018.rec001")
    assert DataFile(path).rec_id == "2018.rec001"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert np.array_equal(DataFile(f"~/with.dots/{path.name}").read(), data)


@pytest.mark.parametrize("name", ["rec001.dat", "rec001..clfp.dat", "rec001.clfp.dat"])
def test_a_name_without_its_parts(tmp_path, name):
    with pytest.raises(FormatError, match="is not named <recording>.<drive>.<type>.dat"):
        DataFile(tmp_path / name)


def test_the_experiment_file_may_lie_elsewhere(tmp_path):
    path, data = write_recording(tmp_path / "here")
    (tmp_path / "here" / "rec001.experiment.json").rename(tmp_path / "there.json")
    with pytest.raises(DataPathError, match="no experiment file.*exp_file_path="):
        DataFile(path)
    file = DataFile(path, tmp_path / "there.json")
    assert file.exp_file_path == str(tmp_path / "there.json")
    assert np.array_equal(file.read(), data)


def test_a_single_drive_that_matlab_wrote_without_a_list(tmp_path):
    path, data = write_recording(tmp_path)
    experiment = write_experiment(tmp_path, drives={"SC32": 3})
    stored = json.loads(experiment.read_text())
    stored["hardware"]["microdrive"] = stored["hardware"]["microdrive"][0]
    experiment.write_text(json.dumps(stored))
    assert np.array_equal(DataFile(path).read(), data)


def test_experiment_files_that_are_none(tmp_path):
    path, _ = write_recording(tmp_path)
    experiment = tmp_path / "rec001.experiment.json"
    for text in ("", "[]", "{}", '{"hardware": {"microdrive": [{"electrodes": 3}]}}'):
        experiment.write_text(text)
        with pytest.raises(FormatError, match="is not an experiment file"):
            DataFile(path, experiment)
    write_experiment(tmp_path, drives={"ECOG": 3})
    with pytest.raises(FormatError, match="has no drive 'SC32', only: ECOG"):
        DataFile(path)
    write_experiment(tmp_path, drives={"SC32": 0})
    with pytest.raises(FormatError, match="'SC32' has no electrodes"):
        DataFile(path)


def test_no_data_file(tmp_path):
    write_experiment(tmp_path)
    with pytest.raises(DataPathError, match="rec001.SC32.clfp.dat"):
        DataFile(tmp_path / "rec001.SC32.clfp.dat")


# -- times -------------------------------------------------------------------------------------


@given(st.integers(0, N), st.integers(0, N))
def test_times_of_samples_are_exact(shared_recording, start, count):
    file, data = shared_recording
    got = file.read(t_start=start / 1000, t_len=count / 1000)
    assert np.array_equal(got, data[:, start : start + count])


@pytest.fixture(scope="module")
def shared_recording(tmp_path_factory):
    path, data = write_recording(tmp_path_factory.mktemp("times"))
    return DataFile(path), data


@given(st.floats(0, (N - 700) / 1000))
def test_pieces_of_the_same_length_all_have_the_same_number_of_samples(shared_recording, t_start):
    file, data = shared_recording
    start = round(t_start * 1000)
    got = file.read(t_start, 0.7)
    assert got.shape == (3, 700)
    assert np.array_equal(got, data[:, start : start + 700])


def test_the_last_part_of_a_second_can_be_reached(shared_recording):
    file, data = shared_recording
    assert np.array_equal(file.read(3), data[:, 3000:])
    assert np.array_equal(file.read(3, None), data[:, 3000:])
    assert np.array_equal(file.read(3, 1), data[:, 3000:])
    seconds = [file.read(second, 1) for second in range(4)]
    assert np.array_equal(np.hstack(seconds), data)
    assert file.read(N / 1000).shape == (3, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-0.5,), "t_start is -0.5; times are seconds, 0 or more"),
        ((0, -2), "t_len is -2"),
        ((float("nan"),), "t_start is nan"),
        ((0, float("inf")), "t_len is inf"),
        ((3.3,), r"t_start is 3.3 s, but .* is only 3.217 s long"),
        ((0, 1, None, True, 0.0, -1), "mask_pad_t is -1"),
    ],
)
def test_times_that_are_none(shared_recording, arguments, message):
    with pytest.raises(ValueError, match=message):
        shared_recording[0].read(*arguments)


# -- channels ----------------------------------------------------------------------------------


def test_channels_by_every_kind_of_index(shared_recording):
    file, data = shared_recording
    for index in (
        1,
        [0],
        [2, 0],
        np.array([1, 1]),
        slice(None, None, -1),
        np.array([True, False, True]),
        [],
    ):
        expected = data[index] if not isinstance(index, list) else data[np.array(index, int)]
        got = file.read(1, 0.5, ch_idx=index)
        assert got.shape == (*expected.shape[:-1], 500)
        assert np.array_equal(got, expected[..., 1000:1500])
    with pytest.raises(IndexError):
        file.read(ch_idx=3)


def test_bad_channels_are_left_out_unless_asked_for(tmp_path):
    channels = np.array([False, True, False])
    path, data = write_recording(tmp_path, masks={"ch": channels})
    file = DataFile(path)
    assert file.ch_idx.tolist() == channels.tolist()
    assert np.array_equal(file.read(), data[[0, 2]])
    assert np.array_equal(file[:, 10:20], data[[0, 2], 10:20])
    assert np.array_equal(file.read(ch_idx=slice(None)), data)
    assert np.array_equal(file.read(ch_idx=1), data[1])
    assert file.source.channel_names == ["SC32 E01", "SC32 E03"]
    assert (file.shape, file.dtype) == ((2, N), np.float32)


# -- masks -------------------------------------------------------------------------------------


def test_no_mask_is_needed(shared_recording):
    file, data = shared_recording
    assert file.mask_file_path is None
    assert (file.data_mask.shape, file.data_mask.any(), file.ch_idx.any()) == ((N,), False, False)
    assert np.array_equal(file.read(mask_value=np.nan), data)


def test_bad_samples_are_overwritten(recording):
    path, data = recording
    file = DataFile(path)
    assert file.data_mask.tolist() == BAD.tolist()
    assert file.mask_file_path == str(path.with_suffix(".mask.pkl"))
    expected = data.copy()
    expected[:, BAD] = 0
    assert np.array_equal(file.read(mask_pad_t=0), expected)
    assert np.array_equal(file.read(use_mask=False), data)
    got = file.read(0.09, 0.05, mask_value=np.nan, mask_pad_t=0)
    assert np.isnan(got).tolist() == [BAD[90:140].tolist()] * 3
    assert file.read(mask_value=-3.5, mask_pad_t=0)[0, 100] == np.float32(-3.5)


@given(start=st.integers(0, N - 1), count=st.integers(1, 400), pad=st.integers(0, 300))
def test_padding_does_not_depend_on_where_one_reads(padded_recording, start, count, pad):
    file, _ = padded_recording
    grown = DataFile.grow_bool_array(BAD, pad)
    got = file.read(start / 1000, count / 1000, mask_value=np.nan, mask_pad_t=pad / 1000)
    assert np.isnan(got[0]).tolist() == grown[start : start + count].tolist()


@pytest.fixture(scope="module")
def padded_recording(tmp_path_factory):
    path, data = write_recording(tmp_path_factory.mktemp("padding"), masks=MASKS)
    return DataFile(path), data


def test_five_seconds_are_the_default_padding(recording):
    assert not DataFile(recording[0]).read().any()


def test_whole_numbers_hold_no_nan(tmp_path):
    path, data = write_recording(tmp_path, "raw", masks=MASKS)
    file = DataFile(path)
    got = file.read(mask_value=7, mask_pad_t=0)
    assert (got.dtype, set(got[:, BAD].ravel())) == (np.uint16, {7})
    for value in (np.nan, np.inf, -1, 2**16, 0.5):
        with pytest.raises(ValueError, match="cannot be stored in uint16 data"):
            file.read(mask_value=value)
    assert np.array_equal(file.read(mask_value=np.nan, use_mask=False), data)


def test_masks_as_npz(tmp_path):
    path, _ = write_recording(tmp_path)
    np.savez(path.with_suffix(".mask.npz"), **MASKS)
    assert DataFile(path).data_mask.tolist() == BAD.tolist()
    np.savez(tmp_path / "other.npz", sat=MASKS["sat"])
    other = DataFile(path, mask_file_path=tmp_path / "other.npz")
    assert other.data_mask.tolist() == MASKS["sat"].tolist()


def test_masks_of_numbers_0_and_1_and_others_that_are_named(tmp_path, caplog):
    path, _ = write_recording(tmp_path, masks={"hf": MASKS["hf"].astype(np.uint8), "odd": 1})
    assert DataFile(path).data_mask.tolist() == MASKS["hf"].tolist()
    assert "'odd' not used" in caplog.text


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ({"hf": np.zeros(N - 1, bool)}, "mask 'hf'.*one boolean per sample, 3217"),
        ({"ch": np.arange(3)}, "mask 'ch'.*one boolean per channel, 3"),
        ({"sat": np.zeros(N)}, "mask 'sat'.* is float64"),
        ({"saturated": np.zeros(N, bool)}, "holds 'saturated'; masks are named hf, sat"),
        ({}, "holds nothing"),
        ([1], "holds a list, expected a dict of masks"),
    ],
)
def test_masks_that_do_not_fit(tmp_path, masks, message):
    path, _ = write_recording(tmp_path, masks=masks)
    with pytest.raises(FormatError, match=message):
        DataFile(path)


def test_mask_files_that_are_none(tmp_path):
    path, _ = write_recording(tmp_path)
    with pytest.raises(DataPathError, match="no mask file"):
        DataFile(path, mask_file_path=tmp_path / "none.pkl")
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 no zip")
    with pytest.raises(FormatError, match="is not a .npz file of plain arrays"):
        DataFile(path, mask_file_path=tmp_path / "bad.npz")
    np.savez(tmp_path / "objects.npz", hf=np.array([{}], dtype=object))
    with pytest.raises(FormatError, match="is not a .npz file of plain arrays"):
        DataFile(path, mask_file_path=tmp_path / "objects.npz")


# -- like every other source -------------------------------------------------------------------


def test_it_slices_joins_and_pickles_like_everything_else(tmp_path):
    first, a = write_recording(tmp_path, rec_id="one", seed=1)
    second, b = write_recording(tmp_path, rec_id="two", seed=2, n_samples=500)
    one, two = DataFile(first, units="uV"), DataFile(second, units="uV")
    joined = one.source.join(two.source)
    assert isinstance(joined.data_buffer, BufferBinder)
    assert np.array_equal(joined[::-1, 3000:3400:7], np.hstack([a, b])[::-1, 3000:3400:7])
    assert (joined.fs, joined.units) == (1000.0, "uV")
    again = pickle.loads(pickle.dumps(one))
    assert np.array_equal(again.read(), a)


def test_reading_is_held_to_the_memory_limit(recording):
    with OVERRIDE.set(memory_limit=1000), pytest.raises(MemoryBlowOutError, match="3, 1000"):
        DataFile(recording[0]).read(0, 1)


def test_repr_says_what_it_is(tmp_path):
    path, _ = write_recording(tmp_path, masks={**MASKS, "ch": np.array([False, True, False])})
    text = repr(DataFile(path))
    assert str(path) in text
    assert "clfp of SC32: float32, 1000 Hz" in text
    assert "samples: 3217 (3.22 s, 7.68 % masked)" in text
    assert "channels: 3 (1 masked)" in text


def test_the_real_grid(shared_data):
    path = shared_data / "flat" / "peslab" / "recTEST.LM1_ECOG_3.clfp_ds250.dat"
    file = DataFile(path)
    stored = np.fromfile(path, np.float32).reshape(-1, 62).T
    assert (file.n_ch, file.n_sample, file.srate, file.t_total) == (62, 10000, 250, 40.0)
    assert file.ch_labels[0] == "LM1_ECOG_3  E01"
    assert np.array_equal(file.read(7.2, 1.5), stored[:, 1800:2175])
    assert np.array_equal(file.read(), stored)
    assert np.isfinite(file.ch_positions).all()


def test_the_real_grid_was_written_channel_after_channel(shared_data):
    """Whatever its reference says: only so are neighbours in time and on the grid alike."""
    path = shared_data / "flat" / "peslab" / "recTEST.LM1_ECOG_3.clfp_ds250.dat"
    likeness = {}
    for order in ("samples", "channels"):
        file = DataFile(path, order=order)
        data = file.read()
        in_time = np.mean([np.corrcoef(row[:-1], row[1:])[0, 1] for row in data])
        apart = np.linalg.norm(file.ch_positions[:, None] - file.ch_positions, axis=-1)
        pairs = np.triu_indices(file.n_ch, 1)
        on_grid = np.corrcoef(apart[pairs], np.corrcoef(data)[pairs])[0, 1]
        likeness[order] = in_time, on_grid
    assert abs(likeness["samples"][0]) < 0.05
    assert likeness["channels"][0] > 0.7
    assert likeness["channels"][1] < -0.3 < likeness["samples"][1]
