"""What buffers share: points, joins, views, and refusals."""

from __future__ import annotations

import logging
from pathlib import Path

import h5py
import numpy as np
import pytest

from ecogsource.buffers import (
    ArrayBuffer,
    Buffer,
    BufferBinder,
    HDF5Buffer,
    ReadOnlyBuffer,
    SelectedBuffer,
    as_buffer,
)
from ecogsource.datasource import PlainArraySource
from ecogsource.errors import JoinError, MemoryBlowOutError, ReadOnlyError
from ecogsource.indexing import normalize_outer
from ecogsource.params import OVERRIDE
from tests.oracle import assert_same, check_read, check_write
from tests.strategies import make_array


class Counting(ArrayBuffer):
    """Counts the elements that are read."""

    elements = 0

    def _read_into(self, selection, out):
        self.elements += selection.size
        super()._read_into(selection, out)


def test_scattered_points_read_little_more_than_themselves() -> None:
    array = make_array((3000, 2000), "<i4", 0)
    buffer = Counting(array)
    rng = np.random.default_rng(1)
    index = rng.integers(-3000, 3000, 500), rng.integers(-2000, 2000, 500)
    check_read(buffer, array, index)
    assert buffer.elements <= max(16 * 500, 1 << 14) * 4
    buffer.elements = 0
    far = np.array([0, 2999]), np.array([0, 1999])
    check_read(buffer, array, far)
    assert buffer.elements == 4


def test_points_of_a_large_array_are_read_in_pieces() -> None:
    array = np.zeros((40, 40, 1 << 17), dtype=np.int8)
    array[7, 9] = 3
    buffer = Counting(array)
    diagonal = np.arange(40)
    assert_same(buffer[diagonal, diagonal, ::4], array[diagonal, diagonal, ::4])
    check_read(buffer, array, np.s_[[7, 7, 0], :2, [5, 9, 9]])


def test_points_named_twice_keep_the_last_value() -> None:
    array = np.zeros((50, 60), dtype=np.int64)
    index = np.s_[[3, 4, 3, 49], [5, 6, 5, 59]]
    check_write(ArrayBuffer(array.copy()), array, index, np.arange(4) + 1)
    assert array[3, 5] == 3


def test_a_layout_that_can_do_nothing_says_so() -> None:
    buffer = Buffer((3,), "i2", writeable=True)
    with pytest.raises(TypeError, match="Buffer cannot be read"):
        buffer[0]
    with pytest.raises(TypeError, match="Buffer cannot be written"):
        buffer[0] = 1
    with pytest.raises(TypeError, match="without dimensions"):
        len(Buffer((), "i2"))
    assert buffer.raw is buffer
    assert buffer._temporary_bytes(normalize_outer(0, (3,))) == 0


def test_what_a_list_takes_beside_its_result() -> None:
    buffer = ArrayBuffer(np.zeros((2, 100)))
    assert buffer._temporary_bytes(normalize_outer(np.s_[:, [5, 1, 2]], (2, 100))) == 48
    assert buffer._temporary_bytes(normalize_outer(np.s_[:, 5:9], (2, 100))) == 0
    with OVERRIDE.set(memory_limit=3_000_000):
        wide = ArrayBuffer(np.zeros((2, 100_000)))
        assert wide[:, ::-1].shape == (2, 100_000)
        with pytest.raises(MemoryBlowOutError, match="temporary"):
            wide[:, np.r_[5, 0:99_999]]


def test_bad_writes_may_be_logged_instead(caplog: pytest.LogCaptureFixture) -> None:
    buffer = Buffer((3,), "i2")
    buffer._raise_bad_write = False
    with caplog.at_level(logging.WARNING):
        buffer[0] = 1
        buffer.write_from(normalize_outer(0, (3,)), np.array(1))
    assert len(caplog.records) == 2
    assert "nothing was written" in caplog.text


def test_values_that_do_not_fit() -> None:
    buffer = ArrayBuffer(np.zeros((3, 4)))
    with pytest.raises(ValueError, match=r"from shape \(3,\) into shape \(3, 4\)"):
        buffer[:] = [1, 2, 3]
    buffer[1:2] = np.ones((1, 1, 4))
    assert buffer[1].sum() == 4
    buffer[[]] = 1
    buffer[[0, 1], [1, 2]] = 5
    assert buffer[1, 2] == 5
    scaled = ArrayBuffer(np.zeros(3), 2.0)
    scaled[1] = 5
    assert scaled.array.tolist() == [0, 2.5, 0]


def test_what_becomes_a_buffer(tmp_path: Path) -> None:
    array = np.arange(6.0).reshape(2, 3)
    buffer = as_buffer(array)
    assert as_buffer(buffer) is buffer
    assert_same(as_buffer(array.tolist())[...], array)
    assert_same(as_buffer(PlainArraySource(array, channel_mask=[False, True]))[...], array[1:])
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = array
    with h5py.File(tmp_path / "a.h5") as file:
        mapped = as_buffer(file["data"])
        assert isinstance(mapped, HDF5Buffer)
        assert_same(mapped[...], array)
    mapped_file = np.memmap(tmp_path / "b.dat", "f8", "w+", shape=(2, 3))
    assert as_buffer(mapped_file).filename == str(tmp_path / "b.dat")


def test_a_read_only_view() -> None:
    array = np.zeros((3, 4))
    view = ReadOnlyBuffer(ArrayBuffer(array, 2.0))
    assert view[1:, 2].tolist() == [0, 0]
    with pytest.raises(ReadOnlyError):
        view[0] = 1
    with pytest.raises(ReadOnlyError):
        view.write_from(normalize_outer(0, (3, 4)), np.ones(4))
    assert isinstance(view.raw, ReadOnlyBuffer)
    assert view.raw.dtype == float
    assert view.dtype == np.float32
    chosen = SelectedBuffer(ArrayBuffer(array, 2.0), 1, range(3, 0, -1))
    raw = chosen.raw
    assert raw.shape == (3, 3)
    assert raw.raw is raw


class TestJoins:
    def test_flat_however_they_are_nested(self) -> None:
        part = ArrayBuffer(np.arange(6).reshape(2, 3))
        joined = (part + part) + (part + part)
        assert len(joined.buffers) == 4
        assert joined.shape == (2, 12)
        joined.write_from(normalize_outer(np.s_[:, 3:3], joined.shape), np.zeros((2, 0)))
        rows = BufferBinder([part, part], axis=0)
        assert len((rows + part).buffers) == 3
        assert (rows + part).shape == (6, 3)
        # Joined along another axis, a binder stays one part.
        assert len(BufferBinder([joined, joined], axis=0).buffers) == 2
        assert "4 parts along axis 1" in repr(joined)
        assert "writeable" in repr(joined)

    def test_an_integer_finds_its_part(self) -> None:
        parts = [np.full((1, n), k) for k, n in enumerate([50, 30, 0, 7])]
        joined = BufferBinder([ArrayBuffer(part) for part in parts])
        whole = np.hstack(parts)
        for sample in range(-87, 87):
            assert joined[0, sample] == whole[0, sample]
        assert_same(joined[:, -5:], whole[:, -5:])
        assert_same(joined[:, -40:], whole[:, -40:])
        assert_same(joined[0, [60, 10, 86, 10]], whole[0, [60, 10, 86, 10]])
        with pytest.raises(IndexError, match="index 87 is out of bounds"):
            joined[0, 87]

    def test_memory_that_a_shuffled_list_takes(self) -> None:
        joined = BufferBinder([ArrayBuffer(np.zeros((2, 100)))] * 2)
        back_and_forth = normalize_outer(np.s_[:, [150, 1, 199, 0]], joined.shape)
        assert joined._temporary_bytes(back_and_forth) >= 4 * 8
        assert joined._temporary_bytes(normalize_outer(np.s_[:, :150], joined.shape)) == 0

    def test_stored_numbers(self) -> None:
        parts = [ArrayBuffer(np.ones((2, 3), "i2"), scale) for scale in (2.0, 3.0)]
        joined = BufferBinder(parts)
        assert_same(joined[0], np.array([2, 2, 2, 3, 3, 3], np.float32))
        raw = joined.raw
        assert raw.dtype == np.int16
        assert raw.raw is raw

    def test_a_long_join_costs_what_it_touches(self) -> None:
        parts = [Counting(np.full((1, 10), k)) for k in range(10_000)]
        joined = BufferBinder(parts)
        assert joined[0, 54_321] == 5432
        assert sum(part.elements for part in parts) == 1

    @pytest.mark.parametrize(
        ("odd", "message"),
        [
            (np.zeros((2, 3), "f4"), "part 1.*dtype <f4, 2 of the 3 parts have <i2"),
            (np.zeros((4, 3), "i2"), r"part 1.*shape off the axis \(4,\).*have \(2,\)"),
            (np.zeros(3, "i2"), "part 1.*number of dimensions 1"),
        ],
    )
    def test_parts_that_do_not_fit(self, odd: np.ndarray, message: str) -> None:
        usual = ArrayBuffer(np.zeros((2, 3), "i2"))
        with pytest.raises(JoinError, match=message):
            BufferBinder([usual, ArrayBuffer(odd), usual])

    def test_the_odd_file_is_named(self, tmp_path: Path) -> None:
        for name, dtype in (("a", "i2"), ("odd", "i4"), ("b", "i2")):
            with h5py.File(tmp_path / f"{name}.h5", "w") as file:
                file["data"] = np.zeros((2, 3), dtype)
        files = [tmp_path / f"{name}.h5" for name in ("a", "odd", "b")]
        with pytest.raises(JoinError, match="odd.h5"):
            BufferBinder([HDF5Buffer.from_path(file, "data") for file in files])

    def test_write_modes_that_differ(self) -> None:
        usual = ArrayBuffer(np.zeros((2, 3)))
        with pytest.raises(JoinError, match="write mode read-only, 2 of the 3"):
            BufferBinder([usual, usual, ReadOnlyBuffer(usual)])

    def test_nothing_to_join(self) -> None:
        with pytest.raises(JoinError, match="sequence of buffers is empty"):
            BufferBinder([])
        with pytest.raises(JoinError, match="axis 2: the data have 2"):
            BufferBinder([ArrayBuffer(np.zeros((2, 3)))], axis=2)
