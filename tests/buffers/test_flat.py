"""Raw binary files: layouts, sizes, writing, and what is wrong with them."""

from __future__ import annotations

import logging
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecogsource.buffers import FlatBuffer
from ecogsource.buffers.storage import flat as storage
from ecogsource.buffers.storage import handles
from ecogsource.errors import (
    CorruptDataError,
    DataPathError,
    FormatError,
    ReadOnlyError,
)
from ecogsource.params import OVERRIDE


@pytest.fixture
def path(tmp_path: Path) -> Path:
    np.arange(60, dtype="i2").tofile(tmp_path / "a.dat")
    return tmp_path / "a.dat"


def test_the_unknown_length_is_found_and_the_rest_reported(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert FlatBuffer(path, "i2", (5, -1)).shape == (5, 12)
    assert FlatBuffer(path, "i2", (-1, 4)).shape == (15, 4)
    assert FlatBuffer(path, "i2", -1, offset=10).shape == (55,)
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        buffer = FlatBuffer(path, "i2", (-1, 7))
    assert buffer.shape == (8, 7)
    assert "8 bytes after the last whole sample are left out" in caplog.text
    np.testing.assert_array_equal(buffer[:], np.arange(56).reshape(8, 7))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"shape": (61,)}, r"too short: shape \(61,\) of int16 needs 122 bytes .* there are 120"),
        ({"shape": (60,), "offset": 2}, "needs 120 bytes after the offset, there are 118"),
        ({"shape": (1,), "offset": 500}, "there are 0"),
        ({"shape": (-1, -1)}, "at most one of them -1"),
        ({"shape": (-2, 3)}, "lengths must be at least 0"),
        ({"shape": (-1, 0)}, "-1 cannot be found, the rest is empty"),
        ({"shape": (3,), "order": "A"}, "order must be 'C' or 'F', got 'A'"),
        ({"shape": (3,), "offset": -1}, "offset must be at least 0, got -1"),
        ({"shape": (3,), "dtype": object}, "cannot be read from a file"),
        ({"shape": (3,), "dtype": "V0"}, "cannot be read from a file"),
    ],
)
def test_what_does_not_fit_is_refused(path: Path, how: dict[str, object], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        FlatBuffer(path, **{"dtype": "i2", **how})  # type: ignore[arg-type]


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataPathError, match=r"cannot open .*gone\.dat"):
        FlatBuffer(tmp_path / "gone.dat", "i2", (3,))


def test_empty_and_scalar_arrays(path: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.dat").touch()
    assert FlatBuffer(tmp_path / "empty.dat", "i2", (0, 3))[:].shape == (0, 3)
    assert FlatBuffer(path, "i2", ())[()] == 0
    assert FlatBuffer(path, "i2", (6, 10))[2:2, :].shape == (0, 10)


def test_it_is_read_only_unless_asked(path: Path) -> None:
    buffer = FlatBuffer(path, "i2", (60,))
    with pytest.raises(ReadOnlyError, match="open for reading only"):
        buffer[0] = 1
    with pytest.raises(ReadOnlyError, match=r"a\.dat' was opened for reading only"):
        buffer._storage.write_from((range(1),), np.zeros(1, "i2"))


def test_a_file_without_the_right_to_write(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = FlatBuffer(path, "i2", (60,), writeable=True)

    def denied(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(ReadOnlyError, match="may not be written: .*Permission denied"):
        buffer[3] = 4


def test_writes_are_seen_by_everybody_in_the_process(path: Path) -> None:
    reader = FlatBuffer(path, "i2", (6, 10))
    other = FlatBuffer(path, ">i2", (10, 6), order="F", writeable=True)
    assert reader[1, 1] == 11
    for value in range(3):
        other[1, 1] = value
        assert reader[1, 1] == np.array(value, ">i2").view("<i2")
    other[1:1, 1] = 5
    other._storage.write_from((range(0), 3), np.zeros(0, "i2"))
    writer = FlatBuffer(path, "i2", (6, 10), writeable=True)
    writer[[1, 1], ::-1] = np.arange(20).reshape(2, 10)
    np.testing.assert_array_equal(reader[1], np.arange(19, 9, -1))


def test_it_pickles_as_a_recipe(path: Path) -> None:
    gains = np.arange(1, 7.0)[:, None]
    buffer = FlatBuffer(path, ">i2", (-1, 10), offset=0, units_scale=(1.0, gains), writeable=True)
    again = pickle.loads(pickle.dumps(buffer))
    assert (again.shape, again.map_dtype, again.writeable) == ((6, 10), np.dtype(">i2"), True)
    np.testing.assert_array_equal(again[:], buffer[:])
    assert len(pickle.dumps(buffer)) < 2000


def test_the_storage_refuses_data_beyond_the_end(path: Path) -> None:
    with pytest.raises(CorruptDataError, match=r"would end at byte 122, the file has 120"):
        storage.ContiguousStorage(os.fspath(path), np.dtype("i2"), (61,))


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("stored", ["<i2", ">i2"])
@pytest.mark.parametrize("scale", [None, 0.5, (1.0, np.linspace(1, 2, 40)[:, None])])
@pytest.mark.parametrize("mapped", [True, False], ids=["mapped", "too large to stay mapped"])
def test_large_reads_of_every_kind(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    workers: int,
    order: str,
    stored: str,
    scale: object,
    mapped: bool,
) -> None:
    if not mapped:
        monkeypatch.setattr(handles, "MAPPED_LIMIT", 0)
    truth = np.random.default_rng(0).integers(-999, 999, (40, 50_000)).astype(stored)
    (tmp_path / "a.dat").write_bytes(truth.tobytes(order))  # type: ignore[arg-type]
    buffer = FlatBuffer(tmp_path / "a.dat", stored, truth.shape, order=order, units_scale=scale)
    expected = truth.astype("i2")
    if scale is not None:
        offset, factor = scale if isinstance(scale, tuple) else (0.0, scale)
        expected = (truth.astype("f4") + np.float32(offset)) * np.asarray(factor, "f4")
    some = np.array([3, 30, 7, 7, 21])
    most = np.arange(39)
    with OVERRIDE.set(workers=workers):
        for index in (
            np.s_[:],
            np.s_[:, 100:40_000],
            np.s_[5:35, 100:40_000],
            np.s_[1:, 1:],
            np.s_[5:35, 100:40_000:10],
            np.s_[::-1, 40_000:100:-3],
            np.s_[7, :],
            np.s_[7, ::-1],
            np.s_[:, 3],
            (some, slice(10, 49_000)),
            (most, slice(10, 49_000)),
            (some, slice(10, 49_000, 2)),
            (slice(2, 38), np.arange(49_999, 0, -7)),
            (slice(2, 38), np.random.default_rng(1).integers(0, 50_000, 9000)),
            (slice(2, 38, 3), np.arange(50_000)[np.random.default_rng(1).random(50_000) < 0.5]),
        ):
            np.testing.assert_array_equal(buffer[index], expected[index])
            assert buffer[index].dtype == expected.dtype
        out = np.zeros((50_000, 40), "f8")
        buffer.read((), out=out.T)
        np.testing.assert_array_equal(out.T, expected)


def test_a_gain_per_sample_of_one_channel(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "PART_BYTES", 8)
    gains = np.arange(1, 11.0)
    buffer = FlatBuffer(path, "i2", (6, 10), units_scale=gains)
    truth = np.arange(60).reshape(6, 10) * gains
    np.testing.assert_array_equal(buffer[3, 2:9], truth[3, 2:9])
    np.testing.assert_array_equal(buffer[3], truth[3])


@settings(max_examples=40)
@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9)),
    data=st.data(),
)
def test_the_large_path_is_numpy_too(
    tmp_path_factory: pytest.TempPathFactory, shape: tuple[int, ...], data: st.DataObject
) -> None:
    """Every selector in three dimensions, with the limits so low that nothing is small."""
    truth = np.arange(np.prod(shape), dtype="i4").reshape(shape)
    path = tmp_path_factory.mktemp("flat") / "a.dat"
    truth.tofile(path)
    buffer = FlatBuffer(path, "i4", shape)
    key = tuple(
        data.draw(
            st.one_of(
                st.integers(0, n - 1),
                st.slices(n),
                st.lists(st.integers(0, n - 1), min_size=1, max_size=5),
            )
        )
        for n in shape
    )
    lists = [np.atleast_1d(np.arange(n)[k]) for k, n in zip(key, shape, strict=True)]
    expected = truth[np.ix_(*lists)].squeeze(
        tuple(axis for axis, k in enumerate(key) if isinstance(k, int))
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage, "PART_BYTES", data.draw(st.sampled_from([0, 40, 10**9])))
        patch.setattr(storage, "RUN_BYTES", data.draw(st.sampled_from([1, 16, 10**6])))
        patch.setattr(storage, "ROW_BYTES", data.draw(st.sampled_from([1, 16, 10**6])))
        patch.setattr(storage, "SMALL_BYTES", data.draw(st.sampled_from([1, 10**6])))
        patch.setattr(storage, "NEAR_BYTES", data.draw(st.sampled_from([1, 10**6])))
        np.testing.assert_array_equal(buffer.oindex[key], expected)


def test_what_is_dense_is_read_by_position(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_c: bool
) -> None:
    truth = np.random.default_rng(0).integers(-999, 999, (30_000, 40)).astype("i2")
    truth.tofile(tmp_path / "a.dat")
    buffer = FlatBuffer(tmp_path / "a.dat", "i2", truth.shape)
    rows = FlatBuffer(tmp_path / "a.dat", "i2", (20, 60_000))

    def no_map(self: handles.Handle) -> None:
        raise AssertionError("a map was used")

    monkeypatch.setattr(handles.Handle, "map", no_map)
    np.testing.assert_array_equal(buffer[:4000], truth[:4000])
    np.testing.assert_array_equal(buffer.T[:, :3000], truth.T[:, :3000])
    np.testing.assert_array_equal(buffer[200:2000, 7:30], truth[200:2000, 7:30])
    np.testing.assert_array_equal(rows[3:9, 50:20_000], truth.reshape(20, -1)[3:9, 50:20_000])
    wide = np.zeros((6, 20_000), "i2")
    rows.read((slice(3, 9), slice(50, 19_750)), out=wide[:, 100:-200])
    np.testing.assert_array_equal(wide[:, 100:-200], truth.reshape(20, -1)[3:9, 50:19_750])
    assert not wide[:, :100].any()
    assert not wide[:, -200:].any()
    cube = FlatBuffer(tmp_path / "a.dat", "i2", (4, 10, 30_000))
    for index in (np.s_[2, 3:9, 50:], np.s_[2, ::3, 50:20_000], np.s_[1:, 4, :20_000]):
        np.testing.assert_array_equal(cube[index], truth.reshape(cube.shape)[index])
    indices = {
        "large": (buffer, np.s_[:, 7:30]),
        "short rows that are far from each other": (rows, np.s_[:, 7:9]),
    }
    for what, (flat, index) in indices.items():
        if in_c:
            np.testing.assert_array_equal(flat[index], truth.reshape(flat.shape)[index], what)
        else:
            with pytest.raises(AssertionError, match="a map was used"):
                flat[index]
    for sparse in (np.s_[:, 7:9], np.s_[5, 8:10], np.s_[::9, ::4]):
        with pytest.raises(AssertionError, match="a map was used"):
            buffer[sparse]


def test_long_runs_with_a_gain_for_every_channel(tmp_path: Path) -> None:
    array = np.arange(4 * 200_000, dtype=np.int16).reshape(4, 200_000)
    array.tofile(tmp_path / "gains.dat")
    gains = np.array([0.5, 2.0, 0.25, 4.0])[:, None]
    buffer = FlatBuffer(tmp_path / "gains.dat", "<i2", array.shape, units_scale=gains)
    expected = array.astype(np.float32) * gains.astype(np.float32)
    np.testing.assert_array_equal(buffer[:], expected)
    np.testing.assert_array_equal(buffer[[3, 1]], expected[[3, 1]])
    np.testing.assert_array_equal(buffer[2], expected[2])


@settings(max_examples=60)
@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9)),
    gap=st.sampled_from([0, 8, 1 << 16]),
    data=st.data(),
)
def test_the_runs_that_are_fetched_hold_what_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    shape: tuple[int, ...],
    gap: int,
    data: st.DataObject,
) -> None:
    path = tmp_path_factory.mktemp("runs") / "a.dat"
    truth = np.arange(np.prod(shape), dtype="i2").reshape(shape)
    path.write_bytes(b"xxx" + truth.tobytes())
    reader = storage.ContiguousStorage(os.fspath(path), np.dtype("i2"), shape, offset=3)
    keys = tuple(
        data.draw(
            st.one_of(
                st.integers(0, n - 1),
                st.slices(n)
                .filter(lambda s, n=n: len(range(n)[s]))
                .map(lambda s, n=n: range(n)[s]),
                st.lists(st.integers(0, n - 1), min_size=1, max_size=5).map(np.array),
            )
        )
        for n in shape
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage, "FAULT_BYTES", gap)
        runs = reader._runs(keys)
    fetched = {byte for offset, nbytes in runs for byte in range(offset, offset + nbytes)}
    assert min(fetched) >= 3
    assert max(fetched) < path.stat().st_size
    lists = [np.atleast_1d(np.arange(n)[k]) for k, n in zip(keys, shape, strict=True)]
    wanted = {3 + 2 * int(number) + b for number in truth[np.ix_(*lists)].ravel() for b in (0, 1)}
    assert wanted <= fetched
    if gap == 0 and len(runs) == 1:
        assert len(fetched) <= max(wanted) - min(wanted) + 1
