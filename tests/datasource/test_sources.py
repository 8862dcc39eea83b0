"""Sources against NumPy: masks, electrode subsets, transposed files, scales, joins, writes."""

from __future__ import annotations

import pickle
import threading
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecogsource.buffers import FlatBuffer, HDF5Buffer
from ecogsource.datasource import ElectrodeDataSource, MappedSource, PlainArraySource
from ecogsource.errors import (
    DataPathError,
    FormatError,
    JoinError,
    MemoryBlowOutError,
    ReadOnlyError,
)
from ecogsource.params import OVERRIDE
from tests.contracts.layouts import LAYOUTS
from tests.oracle import assert_same, check_read, check_write, native
from tests.strategies import DTYPES, indices, make_array, outer_indices, outer_of


@st.composite
def sources(draw: st.DrawFn, folder: Path, **options: Any) -> tuple[MappedSource, np.ndarray]:
    """Give a source with everything drawn at random, and the array that it stands for."""
    stored = make_array(
        draw(st.tuples(st.integers(1, 7), st.integers(0, 12))),
        draw(st.sampled_from(DTYPES)),
        draw(st.integers(0, 1000)),
    )
    transpose = draw(st.booleans())
    electrodes = draw(
        st.none() | st.lists(st.integers(0, len(stored) - 1), unique=True, min_size=1)
    )
    expected = native(stored if electrodes is None else stored[electrodes])
    mask = draw(st.none() | st.lists(st.booleans(), min_size=len(expected), max_size=len(expected)))
    layout = draw(st.sampled_from(sorted(LAYOUTS)))
    buffer = LAYOUTS[layout](stored.T if transpose else stored, folder, **options)
    source = MappedSource(buffer, "data", electrodes, mask, transpose=transpose)
    return source, expected if mask is None else expected[np.array(mask, bool)]


@given(st.data())
def test_a_source_reads_as_its_array(tmp_path_factory: Any, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("files")
    source, array = data.draw(sources(folder))
    assert source.shape == array.shape
    assert source.dtype == array.dtype
    for _ in range(5):
        check_read(source, array, data.draw(indices(array.shape)))
    index = data.draw(outer_indices(array.shape))
    assert_same(source.oindex[index], outer_of(array, index))


@given(st.data())
def test_a_source_is_written_as_its_array(tmp_path_factory: Any, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("files")
    source, array = data.draw(sources(folder, writeable=True))
    assert source.writeable
    for seed in range(3):
        index = data.draw(indices(array.shape))
        try:
            shape = array[index].shape
        except IndexError:
            shape = ()
        check_write(source, array, index, make_array(shape, array.dtype.str, seed))


@given(st.data())
def test_joins_read_and_write_across_their_parts(
    tmp_path_factory: Any, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("files")
    lengths = data.draw(st.lists(st.integers(0, 9), min_size=2, max_size=7))
    whole = make_array((4, sum(lengths)), "<i2", data.draw(st.integers(0, 99)))
    mask = data.draw(st.none() | st.just([True, False, True, True]))
    parts = []
    for number, part in enumerate(np.split(whole, np.cumsum(lengths)[:-1], axis=1)):
        transpose = data.draw(st.booleans())
        names = sorted(LAYOUTS) if number else ["flat C", "hdf5 gzip"]
        store = LAYOUTS[data.draw(st.sampled_from(names))]
        buffer = store(part.T if transpose else part, folder, writeable=True)
        parts.append(MappedSource(buffer, channel_mask=mask, transpose=transpose))
    joined = parts[0].join(*parts[1:])
    if mask is not None:
        np.testing.assert_array_equal(joined.binary_channel_mask, mask)
        whole = whole[np.array(mask)]
    assert joined.shape == whole.shape
    for _ in range(4):
        check_read(joined, whole, data.draw(indices(whole.shape)))
    index = data.draw(indices(whole.shape))
    check_write(joined, whole, index, 77)


@pytest.fixture
def array() -> np.ndarray:
    return make_array((8, 500), "<i2", 4)


@pytest.fixture
def source(array: np.ndarray, tmp_path: Path) -> MappedSource:
    """Eight channels in a compressed file that is time x channels, of which two are lists."""
    with h5py.File(tmp_path / "rec.h5", "w") as file:
        file.create_dataset("data", data=array.T, chunks=(64, 4), compression="gzip")
        file["adc"] = np.arange(1000.0).reshape(500, 2)
        file["events"] = np.arange(500)
    return MappedSource.from_hdf_sources(
        tmp_path / "rec.h5",
        "data",
        ("adc", ("events", 0.5)),
        transpose=True,
        fs=250,
        units="uV",
        channel_names=[f"e{number}" for number in range(8)],
    )


class TestChannels:
    def test_a_mask_is_always_about_all_electrodes(
        self, source: MappedSource, array: np.ndarray
    ) -> None:
        mask = source.binary_channel_mask
        mask[:3] = False
        assert source.shape == (8, 500), "the mask that is handed out is a copy"
        source.set_channel_mask(mask)
        assert source.shape == (5, 500)
        assert source.data_buffer.shape == (500, 8)
        assert source._active_channels.tolist() == [3, 4, 5, 6, 7]
        assert source._electrode_channels.tolist() == list(range(8))
        assert source.channel_names == ["e3", "e4", "e5", "e6", "e7"]
        assert_same(source[0], array[3])
        source.set_channel_mask([1, 0, 0, 0, 0, 0, 0, 1])
        assert_same(source[:], array[[0, 7]])
        source.set_channel_mask(None)
        assert len(source) == 8

    @pytest.mark.parametrize(
        ("mask", "message"),
        [
            ([True] * 7, r"8 booleans, one per electrode channel; got bool of shape \(7,\)"),
            ([3] * 8, "8 booleans.*got int64"),
            (np.ones((8, 1), bool), r"of shape \(8, 1\)"),
        ],
    )
    def test_masks_that_do_not_fit(self, source: MappedSource, mask: Any, message: str) -> None:
        with pytest.raises(FormatError, match=message):
            source.set_channel_mask(mask)
        assert len(source) == 8

    @pytest.mark.parametrize(
        ("channels", "message"),
        [
            ([0, 8], "names channel 8, but .* has 8 channels.*transpose=True"),
            ([-1], "names channel -1"),
            ([0.5], "list of channel numbers, got float64"),
            ([[0]], r"of shape \(1, 1\)"),
        ],
    )
    def test_electrodes_that_the_file_lacks(
        self, array: np.ndarray, channels: Any, message: str
    ) -> None:
        with pytest.raises(FormatError, match=message):
            MappedSource(array, electrode_channels=channels)

    def test_no_electrodes_at_all(self, array: np.ndarray) -> None:
        assert MappedSource(array, electrode_channels=[])[:].shape == (0, 500)

    def test_names_must_fit(self, array: np.ndarray) -> None:
        with pytest.raises(FormatError, match="got 2 channel names for 8 electrode channels"):
            MappedSource(array, channel_names=["a", "b"])
        assert MappedSource(array).channel_names is None

    def test_data_must_be_channels_by_time(self) -> None:
        with pytest.raises(FormatError, match=r"two-dimensional data, got shape \(4,\)"):
            MappedSource(np.zeros(4))

    def test_direct_maps(self, source: MappedSource, array: np.ndarray) -> None:
        assert not source.is_direct_map
        direct = MappedSource(array)
        assert direct.is_direct_map
        direct.set_channel_mask([True] * 7 + [False])
        assert not direct.is_direct_map

    def test_some_channels_as_a_source(self, source: MappedSource, array: np.ndarray) -> None:
        source.set_channel_mask([False] + [True] * 7)
        with source.channels_are_maps() as same:
            assert same is source
            chosen = source[0:2]
            assert isinstance(chosen, MappedSource)
            assert isinstance(source[3], MappedSource)
            assert isinstance(source[[1, 2], :], MappedSource)
            assert isinstance(source[1:, ...], MappedSource)
            assert isinstance(source[0:2, :10], np.ndarray)
            assert isinstance(source[()], np.ndarray)
        assert isinstance(source[0:2], np.ndarray)
        assert chosen.data_buffer is source.data_buffer
        assert chosen.channel_names == ["e1", "e2"]
        assert_same(chosen[:], array[1:3])
        assert chosen.adc is source.adc
        unnamed = MappedSource(array).select_channels([5, 5, 0])
        assert_same(unnamed[:], array[[5, 5, 0]])
        with pytest.raises(IndexError):
            source.select_channels(9)

    @pytest.mark.parametrize(
        "index",
        [
            np.s_[0, np.array([1, 2])],
            np.s_[[0], np.arange(500)],
            np.s_[[0, 3], [5, 6]],
            np.s_[..., 5:9],
            np.s_[..., np.array([5, 9])],
            np.s_[0, None],
            np.s_[None],
            np.s_[True],
            np.s_[[[0, 1], [2, 3]]],
            np.s_[np.arange(8)[:, None] > np.arange(500) % 7],
            np.s_[2, np.arange(500) > 490],
        ],
    )
    def test_other_indices_are_read_as_ever(
        self, source: MappedSource, array: np.ndarray, index: Any
    ) -> None:
        with source.channels_are_maps():
            result = source[index]
        assert isinstance(result, np.ndarray)
        assert_same(result, array[index])

    def test_indices_of_channels_give_sources(
        self, source: MappedSource, array: np.ndarray
    ) -> None:
        for index in (np.s_[...], np.s_[..., :], np.array([3, 1]), np.arange(8) > 4, -1, [2]):
            with source.channels_are_maps():
                result = source[index]
            assert isinstance(result, MappedSource)
            assert_same(result[:], np.atleast_2d(array[index]))
        with source.channels_are_maps(), pytest.raises(IndexError, match="too many indices"):
            source[:, :, :]

    def test_how_an_index_looks_to_the_buffer(self, source: MappedSource) -> None:
        time, channels = source._slice_logic(np.s_[2:5, 0:100])
        assert (time, channels) == (slice(0, 100, 1), slice(2, 5, 1))
        source.set_channel_mask([True, False, True, True, False, True, True, True])
        time, channels = source._slice_logic(np.s_[[0, 3], 10:20])
        assert time == slice(10, 20, 1)
        assert channels == slice(0, 10, 5)
        _, channels = source._slice_logic(np.s_[1:4])
        assert channels.tolist() == [2, 3, 5]
        assert source._slice_logic(np.s_[3, 5]) == (5, 5)
        with pytest.raises(IndexError, match="pairs lists"):
            source._slice_logic(np.s_[[0, 1], [2, 3]])


class TestGuard:
    def test_too_large_a_slice(self, source: MappedSource, array: np.ndarray) -> None:
        everything = source._slice_logic(np.s_[:, :])
        with OVERRIDE.set(memory_limit=2000):
            with pytest.raises(MemoryBlowOutError, match=r"big_slices.*memory_limit"):
                source[:]
            with pytest.raises(MemoryBlowOutError, match=r"\(500, 8\)"):
                source._check_slice_size(everything)
            with source.big_slices() as same:
                assert same is source
                source._check_slice_size(everything)
                assert_same(source[:], array)
            with pytest.raises(MemoryBlowOutError):
                np.asarray(source)
            source._check_slice_size(source._slice_logic(np.s_[0]))

    def test_it_can_be_switched_off(self, array: np.ndarray, tmp_path: Path) -> None:
        array.tofile(tmp_path / "a.dat")
        buffer = FlatBuffer(tmp_path / "a.dat", "<i2", array.shape)
        free = MappedSource(buffer, raise_on_big_slice=False)
        with OVERRIDE.set(memory_limit=2000):
            assert_same(free[:], array)
            free._check_slice_size(free._slice_logic(np.s_[:]))

    def test_contexts_do_not_leak_to_other_threads(self, source: MappedSource) -> None:
        seen: list[Any] = []
        with source.big_slices(), source.channels_are_maps():
            thread = threading.Thread(
                target=lambda: seen.extend([source._guarded(), type(source[:2, :])])
            )
            thread.start()
            thread.join()
            assert not source._guarded()
        assert seen == [True, np.ndarray]

    def test_the_caller_gives_the_memory(self, source: MappedSource, array: np.ndarray) -> None:
        out = np.empty((8, 500), np.float32)
        with OVERRIDE.set(memory_limit=100):
            assert source.read(np.s_[:], out=out) is out
        np.testing.assert_array_equal(out, array)


class TestUnits:
    def test_scaled_and_raw(self, array: np.ndarray, tmp_path: Path) -> None:
        array.tofile(tmp_path / "a.dat")
        buffer = FlatBuffer(tmp_path / "a.dat", "<i2", array.shape, units_scale=0.195)
        source = MappedSource(buffer, channel_mask=[True] * 6 + [False] * 2, units="uV")
        assert source.dtype == np.float32
        assert_same(source[:], array[:6].astype(np.float32) * np.float32(0.195))
        assert source.raw.units is None
        assert_same(source.raw[:], array[:6])
        raw = source.raw
        assert raw.raw is raw

    def test_raw_of_a_transposed_file(self, array: np.ndarray, tmp_path: Path) -> None:
        array.T.tofile(tmp_path / "a.dat")
        buffer = FlatBuffer(tmp_path / "a.dat", "<i2", (500, 8), units_scale=2)
        assert_same(MappedSource(buffer, transpose=True).raw[1:3], array[1:3])


class TestAligned:
    def test_time_is_their_last_axis(self, source: MappedSource) -> None:
        assert source.adc.shape == (2, 500)
        np.testing.assert_array_equal(source.adc[:, 3], [6, 7])
        assert source.events[10] == 5.0
        assert list(source.aligned_arrays) == ["adc", "events"]
        assert "adc" in dir(source)
        with pytest.raises(AttributeError, match=r"no aligned array 'aux' \(has: adc, events\)"):
            _ = source.aux
        with pytest.raises(AttributeError, match="has no attribute 'aux'$"):
            _ = MappedSource(np.zeros((2, 3))).aux

    def test_they_may_lie_the_other_way_round_than_the_data(self, array: np.ndarray) -> None:
        time_first = MappedSource(array, aligned_arrays={"adc": np.zeros((500, 2))})
        assert time_first.adc.shape == (2, 500)
        time_last = MappedSource(array.T, transpose=True, aligned_arrays={"a": np.zeros((2, 500))})
        assert time_last.a.shape == (2, 500)

    @pytest.mark.parametrize("wrong", [np.zeros((2, 499)), np.zeros(501), np.float64(3)])
    def test_of_another_length(self, array: np.ndarray, wrong: Any) -> None:
        with pytest.raises(FormatError, match=r"'adc' has shape .*length of the data, 500"):
            MappedSource(array, aligned_arrays={"adc": wrong})


class TestBlocks:
    @pytest.mark.parametrize("prefetch", [0, 1, 3])
    @pytest.mark.parametrize("reverse", [False, True])
    def test_blocks_are_slices(
        self, source: MappedSource, array: np.ndarray, prefetch: int, reverse: bool
    ) -> None:
        source.set_channel_mask([True] * 7 + [False])
        found = list(source.iter_blocks(64, 10, 5, True, reverse, prefetch=prefetch))
        assert len(found) == 9
        for block, index in found:
            assert_same(block, array[:7][index])
        start = -1 if reverse else 0
        assert found[start][0][0, start] == array[0, 5]
        plain = source.iter_blocks(64, 10, 5, reverse=reverse, prefetch=prefetch)
        for block, (same, _) in zip(plain, found, strict=True):
            assert_same(block, same)

    def test_blocks_join_to_the_whole(self, source: MappedSource, array: np.ndarray) -> None:
        assert_same(np.concatenate(list(source.iter_blocks()), axis=1), array)
        assert_same(np.concatenate(list(source.iter_blocks(33)), axis=1), array)
        backwards = list(source.iter_blocks(33, reverse=True))
        assert_same(np.concatenate(backwards, axis=1), array[:, ::-1])
        whole = list(source.iter_blocks(33, partial_block=False))
        assert [block.shape[1] for block in whole] == [33] * 15
        with OVERRIDE.set(memory_limit=200):
            columns = list(source.iter_blocks())
        assert {block.shape[1] for block in columns} <= {1, 2, 3, 4, 5}
        assert_same(np.concatenate(columns, axis=1), array)

    def test_what_is_read_ahead_is_read_with_the_same_settings(self, source: MappedSource) -> None:
        with OVERRIDE.set(memory_limit=2000):
            with pytest.raises(MemoryBlowOutError):
                list(source.iter_blocks(500, prefetch=1))
            with source.big_slices():
                (block,) = source.iter_blocks(500, prefetch=1)
        assert block.shape == (8, 500)

    def test_a_walk_over_years_begins_at_once(self) -> None:
        endless = MappedSource(np.broadcast_to(np.int16(3), (2, 10**12)))
        for prefetch in (0, 2):
            blocks = endless.iter_blocks(10, return_slice=True, prefetch=prefetch)
            block, (_, time) = next(blocks)
            assert (block.shape, time) == ((2, 10), slice(0, 10))
            blocks.close()

    def test_blocks_that_make_no_sense(self, source: MappedSource) -> None:
        with pytest.raises(ValueError, match="overlap is 20"):
            source.iter_blocks(10, 20)

    @pytest.mark.parametrize("prefetch", [0, 1])
    def test_channels(self, source: MappedSource, array: np.ndarray, prefetch: int) -> None:
        found = list(source.iter_channels(3, return_slice=True, prefetch=prefetch))
        assert [len(block) for block, _ in found] == [3, 3, 2]
        for block, index in found:
            assert_same(block, array[index])
        assert_same(np.concatenate(list(source.iter_channels())), array)
        (everything,) = source.iter_channels(use_max_memory=True)
        assert_same(everything, array)
        with OVERRIDE.set(memory_limit=2500):
            assert len(list(source.iter_channels(use_max_memory=True))) == 4

    def test_a_source_without_samples(self) -> None:
        empty = MappedSource(np.zeros((3, 0)))
        assert list(empty.iter_blocks()) == []
        assert list(MappedSource(np.zeros((0, 3))).iter_channels()) == []


class TestJoins:
    def test_aligned_arrays_follow(self, source: MappedSource, array: np.ndarray) -> None:
        joined = source.join(source, source)
        assert joined.shape == (8, 1500)
        assert joined.adc.shape == (2, 1500)
        assert joined.events[1000] == 0
        assert joined.fs == 250
        assert joined.units == "uV"
        assert joined.channel_names == source.channel_names
        assert len(joined.data_buffer.buffers) == 3
        assert_same(joined[2, 490:510], np.concatenate([array[2, 490:], array[2, :10]]))

    def test_different_electrodes_join_by_their_order(self, array: np.ndarray) -> None:
        first = MappedSource(array, electrode_channels=[0, 1, 2])
        second = MappedSource(array, channel_mask=[False] * 5 + [True] * 3)
        joined = first.join(second)
        assert_same(joined[:], np.hstack([array[:3], array[5:]]))

    def test_parts_that_do_not_fit(self, source: MappedSource, array: np.ndarray) -> None:
        with pytest.raises(JoinError, match="part 1 has 3 active channels, part 0 has 8.*mask"):
            source.join(source.select_channels(slice(3)))
        other = MappedSource(array, fs=500)
        with pytest.raises(JoinError, match=r"part 1 has fs 500.0, part 0 250.0"):
            source.join(other)
        with pytest.raises(JoinError, match="part 1 has units mV"):
            source.join(MappedSource(array, units="mV"))
        with pytest.raises(JoinError, match="part 1 has no aligned array 'adc'"):
            source.join(PlainArraySource(array, fs=250))
        with pytest.raises(JoinError, match="write mode writeable"):
            source.join(MappedSource(array, aligned_arrays=dict(source.aligned_arrays)))
        odd = {"a": np.zeros((2, 500))}, {"a": np.zeros((3, 500))}
        with pytest.raises(JoinError, match="aligned arrays 'a'"):
            PlainArraySource(array, aligned_arrays=odd[0]).join(
                PlainArraySource(array, aligned_arrays=odd[1])
            )

    def test_in_memory(self, array: np.ndarray) -> None:
        part = PlainArraySource(array, aligned_arrays={"t": np.arange(500)}, fs=10)
        joined = part.join(part, part)
        assert isinstance(joined, PlainArraySource)
        assert_same(joined.data_matrix, np.hstack([array] * 3))
        assert joined.t.shape == (1500,)
        with OVERRIDE.set(memory_limit=9000), pytest.raises(MemoryBlowOutError, match="join"):
            part.join(part)

    def test_in_memory_with_mapped(self, array: np.ndarray, tmp_path: Path) -> None:
        part = PlainArraySource(array)
        assert part.join(MappedSource(array)).writeable
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file["data"] = array
        joined = part.join(MappedSource.from_hdf_sources(tmp_path / "a.h5", "data"))
        assert isinstance(joined, MappedSource)
        assert not joined.writeable
        assert_same(joined[:, ::-1], np.hstack([array] * 2)[:, ::-1])


class TestFiles:
    def test_many_files_are_one(self, array: np.ndarray, tmp_path: Path) -> None:
        for number, part in enumerate(np.split(array, 5, axis=1)):
            with h5py.File(tmp_path / f"{number}.h5", "w") as file:
                file["data"] = part
                file["t"] = np.arange(100)
        files = sorted(tmp_path.glob("*.h5"))
        source = MappedSource.from_hdf_sources(files, "data", ["t"], units_scale=2)
        assert_same(source[:, 95:305:3], array[:, 95:305:3].astype(np.float32) * 2)
        assert source.t.shape == (500,)
        opened = [h5py.File(path) for path in files]
        same = MappedSource.from_hdf_sources(opened, "data")
        with pytest.raises(DataPathError, match="adc.*data"):
            MappedSource.from_hdf_sources(opened, "adc")
        for file in opened:
            file.close()
        assert_same(same[3], array[3])
        one = MappedSource.from_hdf_sources(str(files[0]), "data", mode="r+")
        one[0, :5] = 1
        one.close()
        assert (MappedSource.from_hdf_sources(files[:1], "data")[0, :5] == 1).all()

    def test_writing_to_a_recording(self, source: MappedSource) -> None:
        assert not source.writeable
        with pytest.raises(ReadOnlyError, match=r"rec\.h5.*mirror\(writeable=True\)"):
            source[:, :10] = 0

    def test_pickling_reopens(self, source: MappedSource, array: np.ndarray) -> None:
        source.set_channel_mask([False] * 4 + [True] * 4)
        payload = pickle.dumps(source)
        assert len(payload) < 10_000
        twin = pickle.loads(payload)
        assert_same(twin[:], array[4:])
        assert twin.fs == 250
        np.testing.assert_array_equal(twin.adc[:], source.adc[:])

    def test_contexts(self, source: MappedSource, array: np.ndarray) -> None:
        with source as same:
            assert same is source
        assert_same(np.asarray(source), array)
        assert_same(np.asarray(source, dtype=float), array.astype(float))
        with pytest.raises(ValueError, match="without a copy"):
            source.__array__(copy=False)
        assert source.ndim == 2

    def test_how_it_looks(self, source: MappedSource) -> None:
        source.set_channel_mask([False] + [True] * 7)
        text = repr(source)
        for fact in ("7 (1 masked)", "500", "250 Hz", "2.000 s", "int16", "uV", "adc (2, 500)"):
            assert fact in text
            assert fact in source._repr_html_()
        assert "&lt;HDF5Buffer" in source._repr_html_()
        assert repr(PlainArraySource(np.zeros((2, 3)))).startswith("<PlainArraySource channels: 2")


def test_both_kinds_are_sources(array: np.ndarray) -> None:
    for kind in (MappedSource, PlainArraySource):
        source = kind(array)
        assert isinstance(source, ElectrodeDataSource)
        source[1, 5:10] = 3
        assert (source[1, 5:10] == 3).all()


def test_an_hdf5_dataset_is_taken_as_it_is(tmp_path: Path, array: np.ndarray) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = array
    with h5py.File(tmp_path / "a.h5", "r") as file:
        source = MappedSource(file["data"])
        assert isinstance(source.data_buffer, HDF5Buffer)
        assert_same(source[:], array)
