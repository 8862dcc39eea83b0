"""What a hostile or an unlucky user does to sources."""

from __future__ import annotations

import errno
import os
import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scipy import signal

from ecogsource import MappedSource, PlainArraySource
from ecogsource.buffers import HDF5Buffer
from ecogsource.datasource import TempFilePool, mirror
from ecogsource.datasource.resample import downsample_to_file
from ecogsource.datasource.verify import read_provenance, verify_file
from ecogsource.errors import FormatError
from ecogsource.filters import FirStream, run_stream
from ecogsource.io.views import GapFillBuffer


def test_files_by_paths_of_bytes(tmp_path):
    values = np.arange(6, dtype="i2").reshape(2, 3)
    path = tmp_path / "% é.h5"
    with h5py.File(path, "w") as file:
        file["data"] = values
    name = os.fsencode(path)
    assert np.array_equal(MappedSource.from_hdf_sources(name, "data")[:], values)
    joined = MappedSource.from_hdf_sources([name, path, str(path)], "data")
    assert np.array_equal(joined[:], np.hstack([values] * 3))


@pytest.mark.parametrize("fs", [0, -5.0, float("nan"), float("inf")])
@pytest.mark.parametrize("kind", [MappedSource, PlainArraySource])
def test_a_rate_that_is_none_is_refused(kind, fs):
    with pytest.raises(FormatError, match=f"fs must be a positive number of Hz, or None, got {fs}"):
        kind(np.zeros((2, 3)), fs=fs)


X = np.random.default_rng(0).standard_normal((4, 3000))


def on_disk(path: Path, values: np.ndarray = X, **options: Any) -> MappedSource:
    with h5py.File(path, "w") as file:
        file.create_dataset("data", data=values, **options)
    return MappedSource.from_hdf_sources(str(path), "data", fs=1000.0)


def virtual_source(folder: Path) -> MappedSource:
    on_disk(folder / "inside.h5")
    layout = h5py.VirtualLayout(X.shape, X.dtype)
    layout[:] = h5py.VirtualSource("inside.h5", "data", shape=X.shape)
    with h5py.File(folder / "virtual.h5", "w") as file:
        file.create_virtual_dataset("data", layout)
    return MappedSource.from_hdf_sources(str(folder / "virtual.h5"), "data", fs=1000.0)


def gappy_source(folder: Path) -> MappedSource:
    parts = [on_disk(folder / name).data_buffer for name in ("first.h5", "inside.h5")]
    return MappedSource(GapFillBuffer(parts, [0, 4000], 0.0), fs=1000.0)


def aligned_source(folder: Path) -> MappedSource:
    on_disk(folder / "inside.h5")
    other = HDF5Buffer.from_path(folder / "inside.h5", "data")
    return MappedSource(X, aligned_arrays={"other": other}, fs=1000.0)


def joined_source(folder: Path) -> MappedSource:
    return on_disk(folder / "first.h5").join(on_disk(folder / "inside.h5")).car()


WRITERS: dict[str, Callable[[MappedSource, Path], Any]] = {
    "mirror": lambda source, path: source.mirror(filename=path),
    "downsample": lambda source, path: downsample_to_file(source, path, 4, if_exists="replace"),
    "filter": lambda source, path: source.filter_array(out=path, design_kwargs={"hi": 50}),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
@pytest.mark.parametrize("make", [virtual_source, gappy_source, aligned_source, joined_source])
def test_no_file_that_is_read_is_written_over(
    tmp_path: Path,
    make: Callable[[Path], MappedSource],
    write: Callable[[MappedSource, Path], Any],
) -> None:
    source = make(tmp_path)
    os.link(tmp_path / "inside.h5", tmp_path / "other name.h5")
    before = (tmp_path / "inside.h5").read_bytes()
    for name in ("inside.h5", "other name.h5"):
        with pytest.raises(ValueError, match=f"{name}' is a file that this source reads"):
            write(source, tmp_path / name)
    assert (tmp_path / "inside.h5").read_bytes() == before


def test_no_source_is_filled_from_its_own_file(tmp_path: Path) -> None:
    source = on_disk(tmp_path / "x.h5")
    backwards = MappedSource(source.data_buffer, "data", [3, 2, 1, 0], fs=1000.0)
    own = MappedSource(HDF5Buffer.from_path(tmp_path / "x.h5", "data", mode="r+"))
    with pytest.raises(ValueError, match=r"x.h5', which this source reads"):
        backwards.batch_change_rate(1, own)
    with pytest.raises(ValueError, match=r"x.h5', which this source reads"):
        backwards.filter_array(out=own, design_kwargs={"hi": 50})
    with pytest.raises(ValueError, match=r"x.h5', which this source reads"):
        backwards.mirror(new_sources={"data": own.data_buffer})
    np.testing.assert_array_equal(own[:], X)


def test_a_channel_held_twice_is_not_filtered_in_place() -> None:
    source = MappedSource(X.copy(), "data", [0, 1, 0], fs=1000.0)
    with pytest.raises(ValueError, match="holds twice cannot be filtered in place"):
        source.filter_array(design_kwargs={"hi": 50})
    np.testing.assert_array_equal(source[:], X[[0, 1, 0]])


def test_what_is_done_to_the_data_names_the_job(tmp_path: Path) -> None:
    """A file of the plain recording is not taken for one of its re-referenced view."""
    source = on_disk(tmp_path / "x.h5")
    parts = [source.data_buffer, source.data_buffer]
    views = [
        source,
        source.car(),
        source.car(center="median"),
        MappedSource(GapFillBuffer(parts, [0, 4000], 0.0), fs=1000.0),
        MappedSource(GapFillBuffer(parts, [0, 4000], 9.0), fs=1000.0),
    ]
    path = tmp_path / "slow.h5"
    keys = []
    for view in views:
        downsample_to_file(view, path, 5)
        made = path.stat().st_ino
        downsample_to_file(pickle.loads(pickle.dumps(view)), path, 5)
        assert path.stat().st_ino == made
        with h5py.File(path) as file:
            np.testing.assert_array_equal(file["data"][:], view.downsample_and_load(5)[:])
        provenance = read_provenance(path)
        assert provenance is not None
        keys.append(provenance["job"])
    assert len(set(keys)) == len(views)


def test_a_folder_is_no_target(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for write in WRITERS.values():
        with pytest.raises(IsADirectoryError, match="this is a folder"):
            write(MappedSource(X, fs=1000.0), tmp_path / "folder")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_errors_name_the_file_that_was_asked_for(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    write: Callable[[MappedSource, Path], Any],
) -> None:
    really = os.open

    def forbidding(path: Any, flags: int, *args: Any, **options: Any) -> int:
        if flags & os.O_CREAT and str(path).startswith(str(tmp_path)):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return really(path, flags, *args, **options)

    monkeypatch.setattr(os, "open", forbidding)
    target = tmp_path / "copy.h5"
    with pytest.raises(PermissionError) as caught:
        write(MappedSource(X, fs=1000.0), target)
    assert caught.value.filename == str(target)
    assert f"cannot write 'copy.h5' in the folder '{tmp_path}'" in str(caught.value)
    assert ".lock" not in str(caught.value)


def test_no_temporary_files_where_nothing_may_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidding(prefix: str, dir: str) -> str:
        raise PermissionError(errno.EACCES, "Permission denied", f"{dir}/{prefix}x")

    monkeypatch.setattr(tempfile, "mkdtemp", forbidding)
    with pytest.raises(PermissionError, match="set the parameter stash_path") as caught:
        TempFilePool(tmp_path)
    assert caught.value.filename == str(tmp_path)


@pytest.mark.parametrize("chunks", [(0, 4), (1, 2, 3), (5,)])
def test_bad_chunks(tmp_path: Path, chunks: Any) -> None:
    with pytest.raises(ValueError, match="chunks must be two positive numbers"):
        MappedSource(X).mirror(filename=tmp_path / "x.h5", chunks=chunks)
    with pytest.raises(ValueError, match=r"chunks must be two numbers or one of .* got 'rows'"):
        MappedSource(X).mirror(filename=tmp_path / "x.h5", chunks="rows")
    assert not list(tmp_path.iterdir())


DTYPES = [">f4", ">i2", "<u2", "bool", "<f2", "<i8", "<u8", "<c8", "S3"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("options", [{}, {"compression": "gzip"}], ids=["contiguous", "gzip"])
def test_odd_types_are_copied(tmp_path: Path, dtype: str, options: dict[str, Any]) -> None:
    values = (100 * X).astype(dtype)
    source = on_disk(tmp_path / "x.h5", values)
    copy = source.mirror(filename=tmp_path / "copy.h5", writeable=False, **options)
    np.testing.assert_array_equal(copy[:], values)
    assert copy.dtype == source.dtype
    assert verify_file(tmp_path / "copy.h5").sealed


@pytest.mark.parametrize("dtype", DTYPES[:7])
def test_odd_types_are_filtered_and_downsampled(tmp_path: Path, dtype: str) -> None:
    values = (100 * X).astype(dtype)
    source = on_disk(tmp_path / "x.h5", values)
    numbers = values.astype(float)
    filtered = source.filter_array(out=tmp_path / "filtered.h5", design_kwargs={"hi": 50})
    expected = signal.sosfiltfilt(signal.butter(4, 50, fs=1000, output="sos"), numbers)
    close = {"rtol": 0, "atol": 1e-6 * np.abs(expected).max()}
    np.testing.assert_allclose(filtered[:], expected, **close)
    slow = source.mirror(5, filename=tmp_path / "slow.h5")
    expected = signal.decimate(numbers, 5, ftype="fir")
    close["atol"] *= 1000 if dtype == "<f2" else 1
    np.testing.assert_allclose(slow[:], expected, **close)


@pytest.mark.parametrize("dtype", DTYPES[7:])
def test_what_is_no_real_number_is_not_averaged(tmp_path: Path, dtype: str) -> None:
    source = on_disk(tmp_path / "x.h5", (100 * X).astype(dtype))
    with pytest.raises(TypeError, match="downsampling averages real numbers, got dtype"):
        source.downsample_and_load(4)
    with pytest.raises(TypeError, match="filters take real numbers"):
        source.filter_array(out=tmp_path / "filtered.h5", design_kwargs={"hi": 50})


@pytest.mark.parametrize("shape", [(0, 100), (3, 0), (3, 1), (0, 0), (1, 2)])
@pytest.mark.parametrize("options", [{}, {"compression": "gzip"}, {"chunks": (2, 10)}])
def test_sources_without_much(
    tmp_path: Path, shape: tuple[int, int], options: dict[str, Any]
) -> None:
    values = np.ones(shape, "f4")
    source = on_disk(tmp_path / "x.h5", values)
    copy = source.mirror(filename=tmp_path / "copy.h5", writeable=False, **options)
    np.testing.assert_array_equal(copy[:], values, strict=True)
    slow = source.mirror(5, filename=tmp_path / "slow.h5", **options)
    assert slow.shape == (shape[0], -(-shape[1] // 5))
    forward = {"filtfilt": False}
    out = source.filter_array(inplace=False, design_kwargs={"hi": 50}, filt_kwargs=forward)
    assert out.shape == shape
    assert sum(b.shape[1] for b in source.iter_blocks(10, prefetch=1)) == shape[1]
    assert sum(len(b) for b in source.iter_channels(2)) == shape[0]
    if shape[1] < 15:
        with pytest.raises(ValueError, match="needs more than"):
            source.filter_array(inplace=False, design_kwargs={"hi": 50})


def with_gap() -> np.ndarray:
    values = X.copy()
    values[1, 1000:1004] = np.nan
    values[2, 7] = np.inf
    return values


@pytest.mark.parametrize("ratio", [2, 10])
@pytest.mark.parametrize("tile_bytes", [1 << 12, 1 << 20])
def test_a_gap_spreads_no_further_than_the_filter(
    monkeypatch: pytest.MonkeyPatch, ratio: int, tile_bytes: int
) -> None:
    monkeypatch.setattr(mirror, "TILE_BYTES", tile_bytes)
    slow = MappedSource(with_gap(), fs=1000.0).downsample_and_load(ratio)[:]
    near = 10 * ratio
    windows = [slice(max(0, at - near), at + near + 1) for at in range(0, 3000, ratio)]
    hit = np.stack([~np.isfinite(with_gap()[:, w]).all(axis=1) for w in windows], axis=1)
    np.testing.assert_array_equal(np.isnan(slow), hit)
    expected = signal.decimate(with_gap(), ratio, ftype="fir")
    # SciPy fills its window up with taps of zero, which a gap turns into NaN too.
    finite = np.isfinite(expected)
    assert finite.sum() >= (~hit).sum() - 2
    np.testing.assert_allclose(slow[finite], expected[finite], rtol=0, atol=1e-12)


@pytest.mark.parametrize("block_length", [10, 999, 100_000])
def test_a_gap_in_a_stream(block_length: int) -> None:
    taps = signal.firwin(31, 0.2)
    expected = signal.lfilter(taps, 1.0, with_gap())
    blocks = [with_gap()[:, at : at + block_length] for at in range(0, 3000, block_length)]
    out = np.concatenate(list(run_stream(blocks, FirStream(taps))), axis=1)
    np.testing.assert_array_equal(np.isnan(out), ~np.isfinite(expected))
    finite = np.isfinite(expected)
    np.testing.assert_allclose(out[finite], expected[finite], rtol=0, atol=1e-12)
