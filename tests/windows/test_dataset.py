"""What is read is what lies there, in every layout, type and unit; batches equal single reads."""

from __future__ import annotations

import os
import pickle
import sys
import threading
from pathlib import Path

import h5py
import numpy as np
import pytest

from ecogsource import (
    OVERRIDE,
    BufferBinder,
    FlatBuffer,
    MappedSource,
    MemoryBlowOutError,
    PlainArraySource,
    open_recording,
)
from ecogsource.datasets import load_experiment_auto
from ecogsource.demos import make_lab
from ecogsource.errors import DataPathError, FormatError, JoinError
from ecogsource.windows import DataFile, WindowDataset
from tests.windows.helper import mask_of, write_recording


def check(windows: WindowDataset, arrays: list[np.ndarray]) -> None:
    """Compare every window, alone and in a batch, with the slice of an array."""
    indices = np.random.default_rng(0).permutation(len(windows))
    batch = windows.batch(indices)
    assert batch.shape == (len(windows), *windows.shape)
    assert batch.dtype == windows.dtype
    for place, index in enumerate(indices.tolist()):
        source, start, stop, _ = windows.locate(index)
        expected = arrays[source][:, start:stop].astype(windows.dtype)
        single = windows[index]
        assert (single.shape, single.dtype) == (windows.shape, windows.dtype)
        assert single.flags.c_contiguous
        assert single.flags.writeable
        assert np.array_equal(single, expected)
        assert np.array_equal(batch[place], expected)


# -- every kind of source ----------------------------------------------------------------------


@pytest.fixture
def many(tmp_path):
    """One of every kind, 3 channels each, and what they hold."""
    rng = np.random.default_rng(3)
    arrays = [rng.integers(-999, 999, (3, n)).astype(np.float32) for n in (400, 333, 250, 90, 500)]
    flat = tmp_path / "flat.bin"
    arrays[0].T.astype(">i2").tofile(flat)
    with h5py.File(tmp_path / "packed.h5", "w") as file:
        file.create_dataset("data", data=arrays[1], chunks=(2, 64), compression="gzip")
        file.create_dataset("wide", data=np.repeat(arrays[2].T, 2, axis=1))
    sources = [
        MappedSource(FlatBuffer(flat, ">i2", (-1, 3)), transpose=True),
        MappedSource.from_hdf_sources(tmp_path / "packed.h5", "data"),
        MappedSource.from_hdf_sources(
            tmp_path / "packed.h5", "wide", transpose=True, electrode_channels=[0, 2, 4]
        ),
        arrays[3],
        PlainArraySource(np.vstack([arrays[4], arrays[4]]), channel_mask=[1, 1, 1, 0, 0, 0]),
    ]
    return sources, arrays


@pytest.mark.parametrize("options", [{}, {"stride": 13}, {"by": "file", "stratify": True}])
def test_windows_of_a_mixture(many, options):
    sources, arrays = many
    check(WindowDataset(sources, 20, **options), arrays)


@pytest.mark.parametrize(
    "channels", [[2, 0], slice(None, None, -1), [True, False, True], 1, [1, 1], [1]]
)
def test_channels_of_a_mixture(many, channels):
    sources, arrays = many
    windows = WindowDataset(sources, 20, channels)
    check(windows, [a[[1]] if channels == 1 else a[channels] for a in arrays])


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2"])
def test_types(many, dtype):
    sources, arrays = many
    windows = WindowDataset(sources, 20, dtype=dtype)
    assert windows.dtype == np.dtype(dtype)
    check(windows, arrays)


def test_the_type_holds_all_values():
    arrays = [np.arange(20, dtype=np.int16).reshape(2, 10), np.ones((2, 10), np.uint16)]
    assert WindowDataset(arrays, 3).dtype == np.int32
    check(WindowDataset(arrays, 3), arrays)
    with pytest.raises(ValueError, match="cannot be read as int16"):
        WindowDataset([arrays[0], np.ones((2, 10))], 3, dtype=np.int16)


def test_joined_files_are_one_time_line(tmp_path):
    path, data = write_recording(tmp_path, n_samples=100)
    buffer = FlatBuffer(path, "<f4", (-1, 3))
    source = MappedSource(BufferBinder([buffer, buffer], axis=0), transpose=True)
    windows = WindowDataset(source, 30, stride=10)
    assert any(windows.locate(i).start < 100 < windows.locate(i).stop for i in range(len(windows)))
    check(windows, [np.hstack([data, data])])


def test_paths_files_and_recordings(tmp_path):
    first, a = write_recording(tmp_path, rec_id="one", n_samples=300)
    with h5py.File(tmp_path / "packed.h5", "w") as file:
        file["data"], file["Fs"] = a * 2, 1000.0
    windows = WindowDataset([first, str(first), DataFile(first), tmp_path / "packed.h5"], 50)
    check(windows, [a, a, a, a * 2])
    assert windows.fs == 1000
    with pytest.raises(DataPathError, match="there is no"):
        WindowDataset(tmp_path / "none.h5", 5)
    with pytest.raises(DataPathError, match="there is no file and no session 'no/such'"):
        WindowDataset("no/such", 5)


def test_sessions_by_name(tmp_path):
    lab = make_lab(tmp_path, groups=("demo",), seconds=2)
    name = "demo/2024-03-18_grid64"
    with OVERRIDE.set(**lab.params):
        recordings = [load_experiment_auto(name, f"rec_00{n}") for n in range(1, 5)]
        windows = WindowDataset(name, 100, stride=300, by=None)
        check(windows, [recording.data[:] for recording in recordings])
        assert len({part.group for part in windows._parts}) == 1
        events = WindowDataset(recordings[:3], 100, around="pos_edge", offset=-20, stride=1)
        starts = [
            e - 20 for e in recordings[0].pos_edge if 20 <= e <= recordings[0].data.shape[1] - 80
        ]
        assert [w.start for w in map(events.locate, range(len(events))) if w.source == 0] == starts


def test_no_window_straddles_a_gap_of_a_recording():
    class Recording:
        gaps = "segment"
        segments = (PlainArraySource(np.zeros((2, 30))), PlainArraySource(np.ones((2, 40))))

    windows = WindowDataset([Recording(), np.full((2, 25), 2.0)], 20, stride=1)
    assert len(windows.sources) == 3
    check(windows, [np.zeros((2, 30)), np.ones((2, 40)), np.full((2, 25), 2.0)])
    by_file = WindowDataset([Recording(), np.ones((2, 25))], 20, by="file", weights=[0, 1])
    assert {by_file.locate(i).source for i in range(len(by_file))} == {2}
    with pytest.raises(ValueError, match="one of the sources has gaps"):
        WindowDataset(Recording(), 20, around=[[3]])
    with pytest.raises(FormatError, match="has 2 stretches; mask each of them"):
        WindowDataset(Recording(), 20, masks=[np.zeros(70, bool)])


# -- sources that do not fit -------------------------------------------------------------------


def named(names, fs=1000.0, units="uV"):
    data = np.array([[int(name[1:])] * 50 for name in names], dtype=float)
    return PlainArraySource(data, channel_names=names, fs=fs, units=units)


def test_channels_by_name():
    sources = [named(["c1", "c2", "c3"]), named(["c3", "c4", "c1"])]
    common = WindowDataset(sources, 5, "common")
    assert common.shape == (2, 5)
    for i in range(4):
        assert common[i][:, 0].tolist() == [1, 3]
    assert WindowDataset(sources, 5, ["c3", "c1"])[0][:, 0].tolist() == [3, 1]
    assert WindowDataset(sources, 5, "c1")[0].shape == (1, 5)
    with pytest.raises(JoinError, match="has no active channel 'c2'"):
        WindowDataset(sources, 5, ["c2"])
    with pytest.raises(JoinError, match="no channel name in common"):
        WindowDataset([named(["c1"]), named(["c2"])], 5, "common")
    with pytest.raises(JoinError, match="has no names of channels"):
        WindowDataset([np.zeros((2, 9))], 5, "common")


@pytest.mark.parametrize(
    ("sources", "options", "error", "message"),
    [
        ([], {}, JoinError, "there are no sources"),
        ([object()], {}, FormatError, "cannot take windows from a object"),
        (
            [named(["c1"]), named(["c1", "c2"])],
            {},
            JoinError,
            "has 2, .* has 1. Give channels='com",
        ),
        (
            [named(["c1"]), named(["c1"], fs=500)],
            {},
            JoinError,
            "one rate: .* has 500 Hz, .* 1000 Hz",
        ),
        ([named(["c1"]), named(["c1"], units="V")], {}, JoinError, r"different units \(uV, V\)"),
        ([named(["c1"], units="g")], {"units": "uV"}, FormatError, "is in g, not a kind of uV"),
        ([named(["c1"], units="kV")], {"units": "uV"}, FormatError, "cannot convert 'kV'"),
        ([named(["c1"], units=None)], {"units": "uV"}, FormatError, "is in unknown units"),
        ([named(["c1"])], {"channels": 1}, IndexError, "."),
        (
            [named(["c1"])],
            {"channels": np.zeros((2, 2), int)},
            IndexError,
            "does not select channels",
        ),
        ([named(["c1"])], {"masks": [np.zeros(9, bool)]}, FormatError, "is 50 booleans"),
        ([named(["c1"])], {"masks": []}, FormatError, "masks must be a list of 1"),
        (
            [np.zeros((1, 9))],
            {"masks": [mask_of(9, (1, 2))], "mask_pad_t": 1},
            FormatError,
            "the rate of .* is not known",
        ),
    ],
)
def test_sources_that_do_not_fit(sources, options, error, message):
    with pytest.raises(error, match=message):
        WindowDataset(sources, 5, **options)


def test_units_are_converted():
    sources = [named(["c1"], units="uV"), named(["c1"], units="mV"), named(["c1"], units="V")]
    windows = WindowDataset(sources, 5, units="uV", stride=50)
    assert [float(windows[i][0, 0]) for i in range(3)] == [1.0, 1e3, 1e6]
    assert windows.batch([2, 0])[:, 0, 0].tolist() == [1e6, 1.0]
    assert windows.units == "uV"
    assert WindowDataset(sources[0], 5).units == "uV"
    whole = PlainArraySource(np.full((1, 9), 3, dtype=np.int16), units="mV")
    converted = WindowDataset(whole, 5, units="uV")
    assert (converted.dtype, converted[0][0, 0]) == (np.float32, 3000)
    with pytest.raises(ValueError, match="cannot be read as int16"):
        WindowDataset(whole, 5, units="uV", dtype=np.int16)


# -- masks -------------------------------------------------------------------------------------


def test_masks_of_files_exclude_fill_or_are_ignored(tmp_path):
    bad = mask_of(500, (100, 160))
    path, data = write_recording(tmp_path, n_samples=500, masks={"hf": bad})
    file = DataFile(path)
    excluding = WindowDataset(file, 30, n_windows=300)
    check(excluding, [data])
    assert not any(bad[excluding.locate(i).start :][:30].any() for i in range(300))
    filling = WindowDataset(file, 30, mask="fill", mask_value=np.nan, stride=7)
    expected = data.copy()
    expected[:, bad] = np.nan
    for i in range(len(filling)):
        start = filling.locate(i).start
        assert np.array_equal(filling[i], expected[:, start : start + 30], equal_nan=True)
    again = filling.batch(range(len(filling)))
    assert np.array_equal(again, np.stack(list(filling)), equal_nan=True)
    check(WindowDataset(file, 30, mask="ignore", stride=7), [data])


def test_masks_given_are_added_and_padded(tmp_path):
    path, _ = write_recording(tmp_path, n_samples=500, masks={"hf": mask_of(500, (100, 160))})
    windows = WindowDataset(
        DataFile(path), 30, masks=[mask_of(500, (300, 301))], mask_pad_t=0.01, stride=1
    )
    starts = {windows.locate(i).start for i in range(len(windows))}
    assert starts == {*range(61), *range(170, 261), *range(311, 471)}


# -- reproducible, wherever it is read ---------------------------------------------------------


def test_windows_depend_on_seed_epoch_and_index_only(many):
    sources, _ = many
    options = {"length": 20, "n_windows": 3000}
    windows = WindowDataset(sources, seed=7, **options)
    places = [windows.locate(i) for i in range(3000)]
    again = WindowDataset(sources, seed=7, **options)
    assert [again.locate(i) for i in reversed(range(3000))] == places[::-1]
    assert [WindowDataset(sources, seed=8, **options).locate(i) for i in range(99)] != places[:99]
    again.set_epoch(1)
    assert [again.locate(i) for i in range(99)] != places[:99]
    again.set_epoch(0)
    assert again.locate(2999) == places[2999]
    assert again.locate(-1) == places[-1]


def test_it_pickles_small_and_gives_the_same_windows(tmp_path):
    path, _ = write_recording(tmp_path, n_samples=5000)
    windows = WindowDataset(DataFile(path), 30, seed=3)
    windows.set_epoch(4)
    expected = windows.batch(range(40))
    dumped = pickle.dumps(windows)
    assert len(dumped) < 8000
    again = pickle.loads(dumped)
    assert np.array_equal(again.batch(range(40)), expected)


def test_plans_that_are_kept_are_bounded(monkeypatch):
    monkeypatch.setattr("ecogsource.windows.dataset._KEPT_BLOCKS", 3)
    windows = WindowDataset(np.zeros((1, 100)), 10, n_windows=10**9)
    for i in range(0, 10**9, 10**8):
        windows.locate(i)
        assert len(windows._plans) <= 3


# -- batches -----------------------------------------------------------------------------------


def test_batches_by_any_number_of_threads(many):
    sources, _ = many
    windows = WindowDataset(sources, 90, n_windows=3000, dtype="f8")
    indices = np.random.default_rng(1).integers(-3000, 3000, 700)
    expected = np.stack([windows[int(i)] for i in indices])
    for workers in (1, 2, 5):
        assert np.array_equal(windows.batch(indices, workers=workers), expected)
    out = np.full((700, 3, 90), -1.0, np.float32)
    assert windows.batch(indices, out) is out
    assert np.array_equal(out, expected)
    assert windows.batch([]).shape == (0, 3, 90)


def test_batches_are_read_by_as_many_threads_as_asked_for():
    """Each reader waits until another one reads too: with one thread nobody ever comes."""
    windows = WindowDataset(np.zeros((4, 40_000)), 10_000, n_windows=64)
    meeting, readers, read = threading.Barrier(2, timeout=20), set(), windows._read

    def slowly(part, start, out):
        if threading.get_ident() not in readers:
            readers.add(threading.get_ident())
            meeting.wait()
        read(part, start, out)

    windows._read = slowly
    windows.batch(range(64), workers=2)
    assert len(readers) == 2
    meeting.abort()
    windows._read = lambda *place: readers.add(threading.get_ident())
    readers.clear()
    windows.batch(range(64), workers=1)
    assert readers == {threading.get_ident()}


def test_batches_read_in_the_order_of_the_files():
    class Spy(PlainArraySource):
        pass

    sources = [PlainArraySource(np.zeros((1, 1000))) for _ in range(3)]
    windows = WindowDataset(sources, 10, n_windows=100)
    seen = []
    windows._read = lambda part, start, out: seen.append((part, start))
    windows.batch(range(100), workers=1)
    assert seen == sorted(seen)
    assert len(seen) == 100


def test_batches_refuse_what_does_not_fit():
    windows = WindowDataset(np.zeros((1, 100)), 10)
    with pytest.raises(ValueError, match=r"out has shape \(2, 1, 10\), the batch has \(1, 1, 10\)"):
        windows.batch([0], np.zeros((2, 1, 10)))
    for wrong in ([10], [-11]):
        with pytest.raises(IndexError, match=f"window {wrong[0]} of 10"):
            windows.batch(wrong)
        with pytest.raises(IndexError, match="of 10"):
            windows[wrong[0]]
    for wrong in ([0.5], [[0]], 3):
        with pytest.raises(IndexError, match="numbered by a list of integers"):
            windows.batch(wrong)
    with pytest.raises(TypeError):
        windows[0.5]
    with OVERRIDE.set(memory_limit=100), pytest.raises(MemoryBlowOutError, match="batch of shape"):
        windows.batch(range(9))


@pytest.mark.parametrize("shuffle", [False, True])
def test_batches_do_not_depend_on_the_number_of_readers(shuffle):
    data = np.arange(1000.0).reshape(1, 1000)
    windows = WindowDataset(data, 10, stride=9)
    alone = list(windows.batches(16, shuffle=shuffle))
    assert [len(batch) for batch in alone] == [16] * 6 + [15]
    firsts = np.concatenate(alone)[:, 0, 0]
    assert sorted(firsts) == list(range(0, 991, 9))
    assert (firsts.tolist() == sorted(firsts)) != shuffle
    for readers in (2, 3):
        shards = [
            list(windows.batches(16, shuffle=shuffle, shard=(k, readers))) for k in range(readers)
        ]
        for number, batch in enumerate(alone):
            assert np.array_equal(shards[number % readers][number // readers], batch)
    assert len(list(windows.batches(16, drop_last=True))) == 6
    windows.set_epoch(1)
    again = np.concatenate(list(windows.batches(16, shuffle=shuffle)))[:, 0, 0]
    assert (again.tolist() == firsts.tolist()) != shuffle


def test_a_transform_sees_every_window():
    data = np.arange(100.0).reshape(2, 50)
    windows = WindowDataset(data, 5, stride=5, transform=lambda window: window.mean(axis=1))
    assert windows[1].tolist() == [7, 57]
    assert windows.batch([1, 0]).tolist() == [[7, 57], [2, 52]]
    assert np.array_equal(np.stack(list(windows)), windows.batch(range(10)))


def test_repr_says_what_it_is():
    windows = WindowDataset(np.zeros((3, 100)), 10, n_windows=7)
    assert repr(windows) == (
        "<WindowDataset 7 windows of 3 channels x 10 samples, random out of 91, mask='exclude', "
        "from 1 sources>"
    )
    assert "stride 4" in repr(WindowDataset(np.zeros((3, 100)), 10, stride=4))


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
def test_many_files_need_few_descriptors(tmp_path):
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    write_recording(tmp_path, n_samples=40)
    before = descriptors()
    source = tmp_path / "rec001.SC32.clfp.dat"
    files = []
    for number in range(2000):
        link = tmp_path / f"r{number}.SC32.clfp.dat"
        os.link(source, link)
        files.append(DataFile(link, tmp_path / "rec001.experiment.json"))
    windows = WindowDataset(files, 10, by="file", stratify=True, n_windows=4000)
    windows.batch(range(4000))
    for number in range(0, 4000, 3):
        windows[number]
    assert descriptors() - before < 400


def test_the_real_grid(shared_data):
    path = shared_data / "flat" / "peslab" / "recTEST.LM1_ECOG_3.clfp_ds250.dat"
    stored = np.fromfile(path, np.float32).reshape(-1, 62).T
    windows = WindowDataset(path, 250, seed=1)
    assert len(windows) == 40
    assert windows.n_starts == 9751
    check(windows, [stored])


def test_a_real_recording_with_gaps(shared_data):
    path = shared_data / "edf" / "edfarray" / "edfPlusD.edf"
    segments = open_recording(path, gaps="segment").segments
    windows = WindowDataset(path, 150, stride=10)
    assert len(windows.sources) == len(segments) == 6
    check(windows, [segment[:] for segment in segments])
    train, test = WindowDataset(path, 60, seed=1).split("time", (0.6, 0.4))
    assert len(train) > len(test) > 0
    whole = train.split("file", (1.0,))[0]
    assert len(whole) == len(train)


class TestWhatMakesNoSense:
    @pytest.mark.parametrize(
        ("options", "error", "message"),
        [
            ({"length": 2**63}, ValueError, "length must be below"),
            ({"length": 1001}, ValueError, "no place for a window of 1001 samples"),
            ({"stride": 2**70}, ValueError, "stride must be below"),
            ({"n_windows": 2**70}, ValueError, "n_windows must be below"),
            ({"seed": 1.5}, TypeError, "seed is a whole number, got 1.5"),
            ({"seed": np.int8(-1)}, ValueError, "seed must be from 0"),
            ({"around": [np.array([5])], "offset": 1.5}, TypeError, "offset is a whole number"),
            ({"around": [np.array([5])], "offset": 2**63}, ValueError, "offset must be an int"),
            ({"around": [np.array([5])], "offset": range(0)}, ValueError, "offset must be an int"),
            ({"mask_pad_t": -1.0}, ValueError, "mask_pad_t is -1.0; times are seconds, 0 or more"),
            ({"mask_pad_t": np.nan}, ValueError, "mask_pad_t is nan"),
            ({"mask": "fill", "mask_value": np.nan}, ValueError, "cannot be stored in int16"),
            ({"dtype": "U3"}, ValueError, "windows hold numbers, not <U3"),
        ],
    )
    def test_options(self, options, error, message):
        data = np.zeros((2, 1000), dtype="i2")
        with pytest.raises(error, match=message):
            WindowDataset(data, **{"length": 10, **options})

    @pytest.mark.parametrize("name", ["", "  ", [""], {"monday": [""]}])
    def test_empty_names(self, name):
        with pytest.raises(DataPathError, match="is the name of nothing"):
            WindowDataset(name, 10)

    def test_numbers_that_64_bits_do_not_hold(self):
        windows = WindowDataset(np.zeros((2, 1000)), 10)
        for index in (np.array([2**64 - 1], dtype="u8"), np.array([2**63], dtype="u8")):
            with pytest.raises(IndexError, match=f"window {index[0]} of 100"):
                windows.batch(index)
        with pytest.raises(IndexError, match="window -101 of 100"):
            windows.batch([0, -101])

    def test_events_beyond_everything_are_left_out(self):
        far = [np.array([2**64 - 5, 20], dtype="u8"), np.array([-(2**63), 2**63 - 1, 20])]
        for events in far:
            windows = WindowDataset(np.zeros((2, 1000)), 10, around=events, stride=1)
            assert [windows.locate(i).start for i in range(len(windows))] == [20]

    @pytest.mark.parametrize("shard", [(0, 0), (2, 2), (-1, 2)])
    def test_shards(self, shard):
        with pytest.raises(ValueError, match="shard is"):
            list(WindowDataset(np.zeros((2, 1000)), 10).batches(4, shard=shard))

    @pytest.mark.parametrize("gap", [-1, 2**65])
    def test_gaps(self, gap):
        with pytest.raises(ValueError, match="gap must be 0 samples or more"):
            WindowDataset(np.zeros((2, 1000)), 10).split(gap=gap)

    def test_transforms(self):
        def fails(window):
            raise KeyError(f"window of {window.shape}")

        windows = WindowDataset(np.zeros((2, 1000)), 10, transform=fails)
        for read in (lambda: windows[0], lambda: windows.batch([0]), lambda: next(iter(windows))):
            with pytest.raises(KeyError, match="window of"):
                read()
        with pytest.raises(ValueError, match="no windows are asked for"):
            windows.batch([])

    def test_numpy_integers_are_integers(self):
        data = np.arange(2000.0).reshape(2, 1000)
        ours = WindowDataset(data, 10, n_windows=7, seed=3)
        theirs = WindowDataset(data, np.int32(10), n_windows=np.int16(7), seed=np.uint64(3))
        theirs.set_epoch(np.int64(0))
        assert np.array_equal(ours.batch(range(7)), theirs.batch(np.arange(7, dtype="u1")))
