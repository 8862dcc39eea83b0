"""Downsampled copies against SciPy, and aligned arrays on the new clock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal

from ecogsource.datasource import MappedSource, PlainArraySource, mirror
from ecogsource.datasource.resample import downsample_to_file, scale_edges
from ecogsource.datasource.verify import read_provenance, verify_file
from ecogsource.errors import MemoryBlowOutError, ReadOnlyError
from ecogsource.filters import decimation_stages
from ecogsource.params import OVERRIDE

FS = 20_000.0
RNG = np.random.default_rng(1)
X = 10 + RNG.standard_normal((5, 30_011)).cumsum(axis=1)
EDGES = np.sort(RNG.choice(30_000, 40, replace=False))
TRIGGER = np.zeros(30_011, bool)
TRIGGER[EDGES] = True
ADC = RNG.standard_normal((2, 30_011)).cumsum(axis=1)


def plain(**more: Any) -> PlainArraySource:
    return PlainArraySource(X, aligned_arrays={"trigger": TRIGGER, "adc": ADC}, fs=FS, **more)


@pytest.fixture
def on_disk(tmp_path: Path) -> MappedSource:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("data", data=X, chunks=(2, 4096), compression="gzip")
        file["trigger"], file["adc"] = TRIGGER.astype("u1"), ADC
    return MappedSource.from_hdf_sources(
        str(tmp_path / "x.h5"), "data", ["trigger", "adc"], fs=FS, units="V"
    )


def scipy_decimated(x: np.ndarray, ratio: int) -> np.ndarray:
    for stage in decimation_stages(ratio):
        x = signal.decimate(x, stage, ftype="fir")
    return x


def assert_close(result: np.ndarray, expected: np.ndarray) -> None:
    assert result.shape == expected.shape
    np.testing.assert_allclose(result, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())


@pytest.mark.parametrize("ratio", [2, 7, 10, 40])
@pytest.mark.parametrize("tile_bytes", [5000, 1 << 22])
def test_file_is_scipys_decimation(
    on_disk: MappedSource,
    tmp_path: Path,
    ratio: int,
    tile_bytes: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mirror, "TILE_BYTES", tile_bytes)
    target = tmp_path / "down.h5"
    assert downsample_to_file(on_disk, target, ratio, extra_attrs={"note": "n"}) == target
    with h5py.File(target, "r") as file:
        assert_close(file["data"][()], scipy_decimated(X, ratio))
        assert_close(file["adc"][()], scipy_decimated(ADC, ratio))
        rises = file["trigger"][()]
        assert file["Fs"][()] == FS / ratio
        assert file.attrs["note"] == "n"
    np.testing.assert_array_equal(np.flatnonzero(rises), np.unique(scale_edges(EDGES, ratio)))
    assert verify_file(target).sealed


@pytest.mark.parametrize("mapped", [True, False])
def test_mirror_at_a_lower_rate(on_disk: MappedSource, mapped: bool) -> None:
    copy = on_disk.mirror(10, mapped=mapped)
    assert_close(copy[:], scipy_decimated(X, 10))
    assert (copy.fs, copy.units) == (2000.0, "V")
    assert copy.trigger.shape == (3002,)


def test_downsample_and_load(on_disk: MappedSource) -> None:
    loaded = on_disk.downsample_and_load(20)
    assert isinstance(loaded, PlainArraySource)
    assert_close(loaded[:], scipy_decimated(X, 20))
    with OVERRIDE.set(memory_limit=20_000), pytest.raises(MemoryBlowOutError):
        on_disk.downsample_and_load(10)


def test_batch_change_rate() -> None:
    source = plain()
    target = source.mirror(10, copy="")
    assert not target[:].any()
    assert source.batch_change_rate(10, target) is target
    assert_close(target[:], scipy_decimated(X, 10))
    np.testing.assert_array_equal(
        np.flatnonzero(target.trigger[:]), np.unique(scale_edges(EDGES, 10))
    )
    source.batch_change_rate(10, target, antialias_aligned=True)
    assert_close(target.adc[:], scipy_decimated(ADC, 10))
    source.batch_change_rate(10, target, aggregate_aligned=True)
    assert_close(target.adc[:, :3001], ADC[:, :30_010].reshape(2, 3001, 10).mean(axis=2))
    assert_close(target.adc[:, 3001], ADC[:, 30_010])


def test_aligned_by_choice() -> None:
    source = plain()
    taken = source.mirror(10, mapped=False, aligned="decimate")
    np.testing.assert_array_equal(taken.adc, ADC[:, ::10], strict=True)
    np.testing.assert_array_equal(taken.trigger, TRIGGER[::10], strict=True)
    mean = source.mirror(10, mapped=False, aligned="aggregate")
    np.testing.assert_allclose(mean.trigger[:3001].sum() * 10, TRIGGER[:30_010].sum(), rtol=1e-6)
    assert mean.trigger.dtype == np.float32
    edges = source.mirror(10, mapped=False, aligned="edges")
    assert edges.trigger.dtype == bool
    assert edges.adc[0, 5] == ADC[0, 50:60].max()
    smooth = source.mirror(10, mapped=False, aligned="antialias")
    assert_close(smooth.adc, scipy_decimated(ADC, 10))


@given(edges=st.sets(st.integers(0, 499), max_size=20), ratio=st.integers(1, 30))
def test_trigger_edges_stay_at_their_sample(edges: set[int], ratio: int) -> None:
    trigger = np.zeros(500, "u1")
    trigger[sorted(edges)] = 1
    source = PlainArraySource(np.zeros((1, 500)), aligned_arrays={"trigger": trigger})
    down = source.mirror(ratio, mapped=False, copy="aligned").trigger
    expected = np.unique(scale_edges(sorted(edges), ratio)) if edges else []
    np.testing.assert_array_equal(np.flatnonzero(down), expected)


@pytest.mark.parametrize(
    ("given_dtype", "expected"), [("f4", "f4"), ("f8", "f8"), ("i2", "f4"), ("i4", "f8")]
)
def test_types(given_dtype: str, expected: str) -> None:
    x = (X[:, :2000]).astype(given_dtype)
    down = PlainArraySource(x).mirror(5, mapped=False)
    assert down.dtype == expected
    reference = scipy_decimated(x.astype("f8"), 5)
    np.testing.assert_allclose(down[:], reference, rtol=1e-6 if expected == "f4" else 1e-9)


def test_stored_copies_are_made_once(on_disk: MappedSource, tmp_path: Path) -> None:
    target = tmp_path / "down.h5"
    downsample_to_file(on_disk, target, 10)
    made = target.stat().st_ino
    downsample_to_file(on_disk, target, 10)
    assert target.stat().st_ino == made
    with pytest.raises(FileExistsError, match="choose another name"):
        downsample_to_file(on_disk, target, 10, if_exists="raise")
    # Other options: the old file is outdated.
    downsample_to_file(on_disk, target, 20)
    again = target.stat().st_ino
    assert again != made
    record = read_provenance(target)
    assert record is not None
    assert record["options"]["ratio"] == 20
    downsample_to_file(on_disk, target, 20, if_exists="replace")
    assert target.stat().st_ino != again


def test_a_file_of_others_is_kept(on_disk: MappedSource, tmp_path: Path) -> None:
    target = tmp_path / "mine.h5"
    with h5py.File(target, "w") as file:
        file["data"] = [1, 2, 3]
    before = target.read_bytes()
    with pytest.raises(FileExistsError, match="was not made by ecogsource"):
        downsample_to_file(on_disk, target, 10)
    assert target.read_bytes() == before
    downsample_to_file(on_disk, target, 10, if_exists="replace")
    assert verify_file(target).sealed


def test_refusals(on_disk: MappedSource, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'reuse', 'replace' or 'raise', got 'ask'"):
        downsample_to_file(on_disk, tmp_path / "a.h5", 2, if_exists="ask")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 1"):
        downsample_to_file(on_disk, tmp_path / "a.h5", 0)
    source = plain()
    with pytest.raises(ValueError, match=r"has shape \(5, 3002\); downsampling gives \(5, 6003\)"):
        source.batch_change_rate(5, source.mirror(10, copy=""))
    with pytest.raises(ReadOnlyError, match="open for reading only"):
        source.batch_change_rate(10, source.mirror(10, writeable=False))
    counts = PlainArraySource(np.zeros((5, 3002), "i2"))
    with pytest.raises(TypeError, match="the new source is int16"):
        source.batch_change_rate(10, counts)
    assert not (tmp_path / "a.h5").exists()
