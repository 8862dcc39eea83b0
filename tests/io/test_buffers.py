"""Buffers of this room against NumPy: any index, any scale, any stride of the target."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecogsource.buffers import ArrayBuffer, Buffer, HDF5Buffer
from ecogsource.errors import CorruptDataError, FormatError, GapError, ReadOnlyError
from ecogsource.indexing import normalize_outer
from ecogsource.io.layouts import (
    BitsLayout,
    BoundLayout,
    ChannelsLayout,
    CompoundLayout,
    FlatLayout,
    Hdf5Layout,
    InterleavedLayout,
    Layout,
    RecordLayout,
    TimeSliceLayout,
)
from ecogsource.io.records import RecordBuffer
from ecogsource.io.views import BitsBuffer, GapFillBuffer, StackBuffer
from ecogsource.params import OVERRIDE
from tests.io.builders import ramp
from tests.oracle import assert_same, check_read, native
from tests.strategies import indices, make_array

C, N = 4, 60
# A quarter of the profile's examples: there are many stores, and each example reads four times.
fewer = settings(max_examples=settings().max_examples // 4)


def records(path: Path, array: np.ndarray, *, pad: int = 6, lead: int = 300) -> Layout:
    """Lay an array out as records of 12 samples, with other bytes around each channel."""
    per, size = 12, array.dtype.itemsize
    out = bytes(range(256))[: lead % 256] + b"\1" * (lead - lead % 256)
    for record in range(array.shape[1] // per):
        out += b"\xaa" * pad
        for row in array[:, record * per : (record + 1) * per]:
            out += np.ascontiguousarray(row).tobytes()
    path.write_bytes(out)
    return RecordLayout(
        str(path),
        array.dtype,
        array.shape[1] // per,
        pad + per * size * len(array),
        lead,
        tuple(pad + i * per * size for i in range(len(array))),
        per,
        size,
    )


def frames(path: Path, array: np.ndarray) -> Layout:
    """One sample per record, as in Blackrock's packets."""
    path.write_bytes(
        b"".join(b"\xff" * 13 + np.ascontiguousarray(column).tobytes() for column in array.T)
    )
    size = array.dtype.itemsize
    offsets = tuple(13 + i * size for i in range(len(array)))
    n = 13 + len(array) * size
    return RecordLayout(str(path), array.dtype, array.shape[1], n, 0, offsets, 1, size)


def scattered(path: Path, array: np.ndarray) -> Layout:
    """Channels in another order than their bytes, at uneven distances."""
    base = records(path, array)
    assert isinstance(base, RecordLayout)
    wide = RecordLayout(
        base.filename,
        base.dtype,
        base.n_records,
        base.record_bytes,
        base.data_start,
        tuple(base.channel_offsets[i] for i in (2, 0, 3, 1)),
        base.per_record,
        base.stride,
    )
    return ChannelsLayout(wide, (1, 3, 0, 2))


def flat(path: Path, array: np.ndarray) -> Layout:
    path.write_bytes(b"12345678" + array.T.tobytes())
    return FlatLayout(str(path), array.dtype, array.shape, "F", 8)


def bound(path: Path, array: np.ndarray) -> Layout:
    parts = [
        records(path.with_name(f"{path.name}{i}"), array[:, i : i + 12]) for i in range(0, N, 12)
    ]
    return BoundLayout(tuple(parts), 1)


def rows(path: Path, array: np.ndarray) -> Layout:
    parts = [records(path.with_name(f"{path.name}{i}"), array[i : i + 1]) for i in range(C)]
    return BoundLayout(tuple(parts), 0)


def sliced(path: Path, array: np.ndarray) -> Layout:
    wide = np.concatenate([array[:, :12], array, array[:, -12:]], axis=1)
    return TimeSliceLayout(records(path, wide), 12, 12 + N)


def hdf5(path: Path, array: np.ndarray) -> Layout:
    with h5py.File(path, "w") as file:
        file.create_dataset("x/data", data=array.T, chunks=(7, 3), compression="gzip")
    return Hdf5Layout(str(path), "x/data", array.dtype, (N, C), transposed=True)


def interleaved(path: Path, array: np.ndarray) -> Layout:
    with h5py.File(path, "w") as file:
        file.create_dataset("raw", data=array.T.reshape(-1), chunks=(50,))
    return InterleavedLayout(Hdf5Layout(str(path), "raw", array.dtype, (N * C,)), C)


def compound(path: Path, array: np.ndarray) -> Layout:
    kind = np.dtype([(f"f{i}", array.dtype) for i in range(C)])
    table = np.zeros(N, kind)
    for i in range(C):
        table[f"f{i}"] = array[i]
    with h5py.File(path, "w") as file:
        file.create_dataset("t", data=table, chunks=(9,), compression="gzip")
    return CompoundLayout(str(path), "t", array.dtype, (C, N))


STORES: dict[str, Callable[[Path, np.ndarray], Layout]] = {
    f.__name__: f
    for f in (records, frames, scattered, flat, bound, rows, sliced, hdf5, interleaved, compound)
}
every_store = pytest.mark.parametrize("store", STORES.values(), ids=STORES.keys())


@every_store
@fewer
@given(data=st.data())
def test_reading_is_numpy(
    store: Callable[[Path, np.ndarray], Layout], tmp_path: Path, data: st.DataObject
) -> None:
    dtype = data.draw(st.sampled_from(["<i2", ">i2", "<u2", "<f4", "<i4"]))
    array = make_array((C, N), dtype, data.draw(st.integers(0, 2**16)))
    path = tmp_path / f"{np.random.default_rng().integers(1 << 60)}.bin"
    layout = store(path, array)
    assert layout.shape == (C, N)
    buffer = layout.open()
    assert (buffer.shape, buffer.dtype) == ((C, N), native(array).dtype)
    for _ in range(4):
        check_read(buffer, native(array), data.draw(indices((C, N))))
    buffer.close()


@every_store
def test_scales_per_channel(store: Callable[[Path, np.ndarray], Layout], tmp_path: Path) -> None:
    array = ramp(C, N)
    gain, offset = np.array([0.5, 2.0, 0.25, 4.0]), np.array([0.0, 8.0, -3.0, 5.0])
    for precision, kind in (("single", np.float32), ("double", np.float64)):
        with OVERRIDE.set(floating_point=precision):
            layout = store(tmp_path / f"{precision}.bin", array)
            buffer = layout.open((offset[:, None], gain[:, None]))
            expected = (array.astype(kind) + offset[:, None].astype(kind)) * gain[:, None].astype(
                kind
            )
            assert_same(buffer[...], expected)
            for index in (np.s_[2], np.s_[:, 17], np.s_[::-1, 50:3:-7], np.s_[[3, 1], 5:40:4]):
                check_read(buffer, expected, index)
            check_read(buffer, expected, np.s_[[0, 2, 2], [1, 59, 30]])
            assert_same(buffer.raw[...], native(array))
            one = layout.open((1.0, 0.5))
            assert_same(one[1, :5], (array[1, :5].astype(kind) + kind(1)) * kind(0.5))


@every_store
def test_the_caller_owns_the_memory(
    store: Callable[[Path, np.ndarray], Layout], tmp_path: Path
) -> None:
    array = ramp(C, N)
    buffer = store(tmp_path / "a.bin", array).open()
    wide = np.zeros((2 * N, 3 * C), dtype=np.float64)
    out = wide[::-2, ::3].T
    buffer.read_into(normalize_outer(np.s_[:, :], (C, N)), out)
    np.testing.assert_array_equal(out, array)
    selection = normalize_outer(np.s_[[3, 0], 59:2:-3], (C, N))
    small = np.zeros(selection.shape, np.int32)
    buffer.read_into(selection, small)
    np.testing.assert_array_equal(small, array[[3, 0], 59:2:-3])


@every_store
def test_buffers_pickle_and_refuse_writing(
    store: Callable[[Path, np.ndarray], Layout], tmp_path: Path
) -> None:
    array = ramp(C, N)
    layout = store(tmp_path / "a.bin", array)
    buffer = layout.open(None)
    twin: Buffer = pickle.loads(pickle.dumps(buffer))
    assert_same(twin[1:, ::3], array[1:, ::3])
    assert pickle.loads(pickle.dumps(layout)) == layout
    with pytest.raises(ReadOnlyError):
        buffer[0, 0] = 1
    buffer.close()
    assert_same(buffer[0, :3], array[0, :3])


def test_threads_read_at_once(tmp_path: Path) -> None:
    array = ramp(C, 12000)
    buffer = records(tmp_path / "a.bin", array).open()
    starts = np.random.default_rng(0).integers(0, 11000, 200).tolist()
    with ThreadPoolExecutor(8) as pool:
        pieces = list(pool.map(lambda s: buffer[:, s : s + 900], starts))
    for start, piece in zip(starts, pieces, strict=True):
        np.testing.assert_array_equal(piece, array[:, start : start + 900])


@fewer
@given(data=st.data())
def test_24_bit_numbers(tmp_path: Path, data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    array = rng.integers(-(2**23), 2**23, (C, N), dtype=np.int32)
    array[:, :2] = [[-(2**23), 2**23 - 1]] * C
    out = b"h"
    for record in range(5):
        piece = np.ascontiguousarray(array[:, record * 12 : record * 12 + 12])
        out += piece.view(np.uint8).reshape(C, 12, 4)[..., :3].tobytes()
    path = tmp_path / f"{rng.integers(1 << 60)}.bdf"
    path.write_bytes(out)
    offsets = tuple(i * 36 for i in range(C))
    layout = RecordLayout(str(path), np.dtype("<i4"), 5, 144, 1, offsets, 12, 3, packed24=True)
    buffer = layout.open()
    for _ in range(4):
        check_read(buffer, array, data.draw(indices((C, N))))
    with pytest.raises(FormatError, match="at least one byte before"):
        RecordLayout(str(path), np.dtype("<i4"), 1, 144, 0, offsets, 12, 3, packed24=True).open()


def test_large_24_bit_reads_are_decoded_by_tiles(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    array = rng.integers(-(2**23), 2**23, (8, 64 * 1024), dtype=np.int32)
    blocks = array.reshape(8, 64, 1024).transpose(1, 0, 2)
    body = np.ascontiguousarray(blocks).view(np.uint8).reshape(64, 8, 1024, 4)[..., :3]
    (tmp_path / "a.bdf").write_bytes(b"x" * 7 + body.tobytes())
    offsets = tuple(i * 3072 for i in range(8))
    layout = RecordLayout(
        str(tmp_path / "a.bdf"), np.dtype("<i4"), 64, 8 * 3072, 7, offsets, 1024, 3, packed24=True
    )
    assert_same(layout.open()[...], array)
    gain = np.linspace(1, 2, 8)[:, None]
    expected = array.astype(np.float32) * gain.astype(np.float32)
    assert_same(layout.open((0.0, gain))[:, 5:-9], expected[:, 5:-9])
    assert_same(layout.open()[[7, 2], 100:60000:3], array[[7, 2], 100:60000:3])


def test_a_file_shorter_than_its_layout(tmp_path: Path) -> None:
    layout = records(tmp_path / "a.bin", ramp(C, N))
    assert isinstance(layout, RecordLayout)
    whole = (tmp_path / "a.bin").read_bytes()
    (tmp_path / "a.bin").write_bytes(whole[:-1])
    with pytest.raises(CorruptDataError, match=f"end at byte {len(whole)}, the file has") as info:
        RecordBuffer(layout)
    assert info.value.offset == len(whole) - 1


def test_a_file_that_shrinks_while_open(tmp_path: Path) -> None:
    buffer = records(tmp_path / "a.bin", ramp(C, N)).open()
    assert buffer[0, 0] == ramp(C, N)[0, 0]
    with (tmp_path / "a.bin").open("r+b") as stream:
        stream.truncate(100)
    with pytest.raises(CorruptDataError, match="changed after it was opened"):
        buffer[:, :]


# -- views -----------------------------------------------------------------------------------------


@fewer
@given(data=st.data())
def test_gaps_are_filled(data: st.DataObject) -> None:
    parts = [ramp(3, n, seed=n) for n in (7, 1, 12)]
    line = np.full((3, 30), np.nan, np.float32)
    for start, part in zip((0, 10, 18), parts, strict=True):
        line[:, start : start + part.shape[1]] = part
    buffer = GapFillBuffer([ArrayBuffer(part) for part in parts], (0, 10, 18))
    for _ in range(4):
        check_read(buffer, line, data.draw(indices((3, 30))))
    assert buffer.recorded.sum() == 20


def test_fill_values_keep_integers_where_they_can() -> None:
    parts = [ArrayBuffer(np.array([[1, 2]], dtype=np.int16)) for _ in range(2)]
    assert GapFillBuffer(parts, (0, 3), 0).dtype == np.int16
    assert_same(GapFillBuffer(parts, (0, 3), -5)[0], np.array([1, 2, -5, 1, 2], np.int16))
    assert GapFillBuffer(parts, (0, 3), 0.5).dtype == np.float32
    assert GapFillBuffer(parts, (0, 3), 1e6).dtype == np.float32


def test_gap_filling_keeps_scale_and_raw() -> None:
    parts = [ArrayBuffer(np.array([[1, 2]], dtype=np.int16), 0.5) for _ in range(2)]
    buffer = GapFillBuffer(parts, (0, 3))
    assert_same(buffer[0], np.array([0.5, 1, np.nan, 0.5, 1], np.float32))
    assert_same(buffer.raw[0], np.array([1, 2, np.nan, 1, 2], np.float32))


def test_overlapping_segments_have_no_time_line() -> None:
    parts = [ArrayBuffer(np.zeros((1, 5))) for _ in range(2)]
    with pytest.raises(GapError, match=r"starts at sample 4, before the previous one ends at 5"):
        GapFillBuffer(parts, (0, 4))


@fewer
@given(data=st.data())
def test_bits_are_channels(data: st.DataObject) -> None:
    words = ramp(1, 40, "<u2")
    bits = (3, 0, 15)
    expected = np.stack([(words[0] >> b) & 1 for b in bits]).astype(np.uint16)
    buffer = BitsBuffer(ArrayBuffer(words), bits)
    for _ in range(4):
        check_read(buffer, expected, data.draw(indices((3, 40))))


def test_bits_of_a_layout(tmp_path: Path) -> None:
    words = ramp(1, 24, "<u2")
    layout = BitsLayout(records(tmp_path / "w.bin", words), (1, 2))
    assert layout.shape == (2, 24)
    assert_same(layout.open(None)[1], (words[0] >> 2) & 1)


@fewer
@given(data=st.data())
def test_stacked_vectors(data: st.DataObject) -> None:
    array = ramp(3, 25)
    buffer = StackBuffer([ArrayBuffer(row) for row in array])
    for _ in range(4):
        check_read(buffer, array, data.draw(indices((3, 25))))
    assert buffer.raw is buffer


def test_stacked_vectors_must_agree() -> None:
    with pytest.raises(FormatError, match="differ in length or type"):
        StackBuffer([ArrayBuffer(np.zeros(3)), ArrayBuffer(np.zeros(4))])


def test_vectors_of_hdf5_are_one_channel(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file["v"] = np.arange(10, dtype=np.int16)
    layout = Hdf5Layout(str(tmp_path / "v.h5"), "v", np.dtype("i2"), (10,))
    assert layout.shape == (1, 10)
    assert_same(layout.open((1.0, np.array([[2.0]])))[0, 3:5], np.array([8, 10], np.float32))
    assert isinstance(HDF5Buffer.from_path(tmp_path / "v.h5", "v"), HDF5Buffer)
