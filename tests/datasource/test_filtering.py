"""Filtered sources against SciPy on the whole array, and re-referenced views against NumPy."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal

from ecogsource.buffers import FlatBuffer
from ecogsource.datasource import MappedSource, PlainArraySource, filtering
from ecogsource.datasource.verify import verify_file
from ecogsource.errors import MemoryBlowOutError, ReadOnlyError
from ecogsource.params import OVERRIDE

FS = 1000.0
BAND = {"lo": 5, "hi": 100}
SOS = signal.butter(4, (5, 100), "bandpass", fs=FS, output="sos")
X = 50 + np.random.default_rng(0).standard_normal((7, 5000)).cumsum(axis=1)
ZERO_PHASE = signal.sosfiltfilt(SOS, X)
TRIGGER = np.arange(5000) % 100 < 3


def assert_close(result: Any, expected: np.ndarray) -> None:
    values = result[:]
    assert values.shape == expected.shape
    np.testing.assert_allclose(values, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())


def plain() -> PlainArraySource:
    return PlainArraySource(X.copy(), aligned_arrays={"trigger": TRIGGER}, fs=FS, units="uV")


def small_pieces(monkeypatch: pytest.MonkeyPatch, keep: int, elements: int) -> None:
    monkeypatch.setattr(filtering, "_keep_bytes", lambda: keep)
    monkeypatch.setattr(filtering, "_BLOCK_ELEMENTS", elements)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize(("keep", "elements"), [(1 << 26, 1 << 19), (100_000, 2048), (0, 1024)])
def test_to_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int, keep: int, elements: int
) -> None:
    small_pieces(monkeypatch, keep, elements)
    target = tmp_path / "filtered.h5"
    with OVERRIDE.set(workers=workers):
        result = plain().filter_array(out=target, design_kwargs=BAND)
    assert_close(result, ZERO_PHASE)
    assert not result.writeable
    assert (result.fs, result.units) == (FS, "uV")
    np.testing.assert_array_equal(result.trigger[:], TRIGGER, strict=True)
    assert verify_file(target).sealed


@pytest.mark.parametrize("layout", ["c x t", "t x c", "chunked", "masked"])
@pytest.mark.parametrize("keep", [1 << 26, 0])
def test_layouts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str, keep: int) -> None:
    small_pieces(monkeypatch, keep, 4096)
    mask = None
    if layout == "chunked":
        with h5py.File(tmp_path / "x.h5", "w") as file:
            file.create_dataset("data", data=X, chunks=(3, 1000), compression="gzip")
        source = MappedSource.from_hdf_sources(str(tmp_path / "x.h5"), "data", fs=FS)
    else:
        turned = layout == "t x c"
        stored = np.ascontiguousarray(X.T if turned else X)
        stored.tofile(tmp_path / "x.dat")
        buffer = FlatBuffer(tmp_path / "x.dat", "f8", stored.shape)
        mask = np.arange(7) % 3 > 0 if layout == "masked" else None
        source = MappedSource(buffer, transpose=turned, channel_mask=mask, fs=FS)
    expected = ZERO_PHASE if mask is None else ZERO_PHASE[mask]
    result = source.filter_array(inplace=False, design_kwargs=BAND)
    assert result.writeable
    assert_close(result, expected)


@pytest.mark.parametrize("keep", [1 << 26, 0])
def test_in_place(monkeypatch: pytest.MonkeyPatch, keep: int) -> None:
    small_pieces(monkeypatch, keep, 1024)
    mapped = plain().mirror()
    assert mapped.filter_array("butterworth", design_kwargs=BAND) is mapped
    assert_close(mapped, ZERO_PHASE)
    memory = plain()
    assert memory.filter_array(design_kwargs=BAND) is memory
    assert_close(memory, ZERO_PHASE)


def test_in_memory_copy() -> None:
    source = plain()
    result = source.filter_array(inplace=False, design_kwargs=BAND)
    assert isinstance(result, PlainArraySource)
    assert_close(result, ZERO_PHASE)
    np.testing.assert_array_equal(source[:], X)
    counts = PlainArraySource((X * 10).astype("i2"), "counts", fs=FS)
    floats = counts.filter_array(inplace=False, design_kwargs=BAND)
    assert floats.dtype == np.float64
    assert_close(floats, signal.sosfiltfilt(SOS, (X * 10).astype("i2")))


def test_into_another_source() -> None:
    source, target = plain(), plain().mirror(copy="")
    assert source.filter_array(out=target, design_kwargs=BAND) is target
    assert_close(target, ZERO_PHASE)


def test_forward_only() -> None:
    result = plain().filter_array(
        "cheby2",
        inplace=False,
        design_kwargs={"lo": 20, "ord": 3, "rstop": 50, "Fs": FS},
        filt_kwargs={"filtfilt": False},
    )
    assert_close(result, signal.sosfilt(signal.cheby2(3, 50, 20, "high", fs=FS, output="sos"), X))


def test_other_families_and_padding() -> None:
    sos = signal.ellip(2, 1, 30, 40, "low", fs=FS, output="sos")
    design = {"hi": 40, "order": 2, "ripple": 1, "attenuation": 30}
    result = plain().filter_array(
        "ellip", inplace=False, design_kwargs=design, filt_kwargs={"padlen": 200}
    )
    assert_close(result, signal.sosfiltfilt(sos, X, padlen=200))
    taps = signal.firwin(101, 40, fs=FS)
    result = plain().filter_array("fir", inplace=False, design_kwargs={"hi": 40, "order": 100})
    assert_close(result, signal.filtfilt(taps, 1, X))


def test_float32_keeps_its_type(tmp_path: Path) -> None:
    source = PlainArraySource(X.astype("f4"), fs=FS)
    result = source.filter_array(out=tmp_path / "f.h5", design_kwargs=BAND)
    assert result.dtype == np.float32
    expected = signal.sosfiltfilt(SOS, X.astype("f4").astype("f8"))
    np.testing.assert_array_equal(result[:], expected.astype("f4"), strict=True)


@given(lines=st.sampled_from([50.0, [60, 120], (50, 100, 150)]), filtfilt=st.booleans())
def test_notch(lines: Any, filtfilt: bool) -> None:
    from ecogsource.filters import design_notch

    source = PlainArraySource(X[:2, :1500].copy(), fs=FS)
    result = source.notch_filter(lines=lines, nwid=2.0, nmax=200, filtfilt=filtfilt)
    assert result is source
    sos = design_notch(FS, lines, width=2.0, nmax=200).sos
    run = signal.sosfiltfilt if filtfilt else signal.sosfilt
    assert_close(result, run(sos, X[:2, :1500]))


def test_notch_takes_out_the_line(tmp_path: Path) -> None:
    time = np.arange(8000) / FS
    x = np.sin(2 * np.pi * 13 * time) + 5 * np.sin(2 * np.pi * 60 * time)
    source = PlainArraySource(np.stack([x, 2 * x]), fs=FS)
    clean = source.notch_filter(FS, 60.0, out=tmp_path / "clean.h5")
    middle = slice(2000, 6000)
    np.testing.assert_allclose(clean[0, middle], np.sin(2 * np.pi * 13 * time[middle]), atol=0.03)


def test_refusals(tmp_path: Path) -> None:
    source = plain()
    read_only = source.mirror(writeable=False)
    with pytest.raises(ReadOnlyError, match="needs a writeable source"):
        read_only.filter_array(design_kwargs=BAND)
    with pytest.raises(ReadOnlyError, match="needs a writeable source"):
        source.filter_array(out=read_only, design_kwargs=BAND)
    with pytest.raises(ValueError, match=r"out has shape \(2, 10\), the source has \(7, 5000\)"):
        source.filter_array(out=PlainArraySource(np.zeros((2, 10))), design_kwargs=BAND)
    counts = PlainArraySource(np.zeros((2, 500), "i2"), fs=FS)
    with pytest.raises(TypeError, match="this source stores int16"):
        counts.filter_array(design_kwargs=BAND)
    with pytest.raises(ValueError, match="give Fs"):
        PlainArraySource(X).filter_array(design_kwargs=BAND)
    with pytest.raises(ValueError, match="give Fs"):
        PlainArraySource(X).notch_filter()
    with pytest.raises(TypeError, match=r"unknown filter option \['axis'\]"):
        source.filter_array(design_kwargs=BAND, filt_kwargs={"axis": 0})
    with pytest.raises(TypeError, match="given twice"):
        source.filter_array(design_kwargs={**BAND, "fs": 1, "Fs": 2})
    with pytest.raises(ValueError, match="more than 27 samples, got 20"):
        PlainArraySource(X[:, :20], fs=FS).filter_array(
            out=tmp_path / "short.h5", design_kwargs=BAND
        )
    assert not (tmp_path / "short.h5").exists()
    with OVERRIDE.set(memory_limit=1000), pytest.raises(MemoryBlowOutError, match="filtered"):
        source.filter_array(inplace=False, design_kwargs=BAND)


def test_no_channels_or_no_samples() -> None:
    source = PlainArraySource(X.copy(), channel_mask=np.zeros(7, bool), fs=FS)
    assert source.filter_array(inplace=False, design_kwargs=BAND).shape == (0, 5000)
    empty = PlainArraySource(np.zeros((3, 0)), fs=FS)
    forward = {"filtfilt": False}
    result = empty.filter_array(inplace=False, design_kwargs=BAND, filt_kwargs=forward)
    assert result.shape == (3, 0)


# -- references --------------------------------------------------------------------------------

INDICES = [
    np.s_[:],
    np.s_[2],
    np.s_[:, 7],
    np.s_[3, 7],
    np.s_[[5, 0, 5], 100:50:-3],
    np.s_[1:4, [9, 2, 2]],
    np.s_[:, 10:10],
]


@pytest.mark.parametrize("center", ["mean", "median"])
@pytest.mark.parametrize("index", INDICES, ids=str)
def test_common_average(center: Any, index: Any) -> None:
    mask = np.array([1, 1, 0, 1, 1, 1, 1], bool)
    source = PlainArraySource(X, channel_mask=mask, aligned_arrays={"t": TRIGGER}, fs=FS)
    view = source.car(center=center)
    active = X[mask]
    expected = active - getattr(np, center)(active, axis=0)
    np.testing.assert_allclose(view[index], expected[index], atol=1e-9)
    assert view[index].shape == expected[index].shape
    assert not view.writeable
    assert (view.fs, view.t[2], view.t[3]) == (FS, True, False)


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_local_reference(index: Any) -> None:
    places = np.array([(i // 3, i % 3) for i in range(7)], float)
    view = plain().local_ref(places, radius=1.0)
    expected = X.copy()
    for channel in range(7):
        near = np.abs(places - places[channel]).sum(axis=1) == 1
        if near.any():
            expected[channel] -= X[near].mean(axis=0)
    np.testing.assert_allclose(view[index], expected[index], atol=1e-9)
    matrix = np.abs(places[:, None] - places).sum(axis=2) == 1
    np.testing.assert_allclose(plain().local_ref(matrix)[:], expected, atol=1e-9)


def test_local_reference_of_a_channel_map() -> None:
    from ecogsource.channel_map import ChannelMap

    chan_map = ChannelMap(list(range(7)), (3, 3), col_major=False, pitch=0.4)
    view = plain().local_ref(chan_map, radius=0.5)
    np.testing.assert_allclose(view[0], X[0] - (X[1] + X[3]) / 2, atol=1e-9)


def test_a_channel_without_neighbours_is_unchanged() -> None:
    places = np.array([(i, 0.0) for i in (0, 1, 2, 3, 4, 5, 50)])
    np.testing.assert_array_equal(plain().local_ref(places, radius=1)[6], X[6])


def test_references_read_in_blocks_and_pickle(tmp_path: Path) -> None:
    from ecogsource.datasource import rereference

    mapped = plain().mirror(filename=tmp_path / "x.h5", writeable=False)
    view = pickle.loads(pickle.dumps(mapped.car()))
    expected = X - X.mean(axis=0)
    original = rereference._BLOCK_BYTES
    try:
        rereference._BLOCK_BYTES = 7 * 8 * 100
        np.testing.assert_allclose(view[:], expected, atol=1e-9)
    finally:
        rereference._BLOCK_BYTES = original
    copy = view.mirror(mapped=False)
    np.testing.assert_allclose(copy[:], expected, atol=1e-9)


def test_bad_references() -> None:
    source = plain()
    with pytest.raises(ValueError, match="'mean' or 'median', got 'mode'"):
        source.car(center="mode")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"boolean matrix of shape \(7, 7\)"):
        source.local_ref(np.zeros((7, 2)))
    with pytest.raises(ValueError, match=r"each of the 7 active channels, got shape \(3, 2\)"):
        source.local_ref(np.zeros((3, 2)), radius=1)
    with pytest.raises(ValueError, match="radius must be positive"):
        source.local_ref(np.zeros((7, 2)), radius=0)
