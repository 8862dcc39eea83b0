"""Streams of blocks against SciPy on the whole array."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal

from ecogsource.filters import (
    DecimateStream,
    FilterStream,
    FirKernel,
    FirStream,
    SosKernel,
    SosStream,
    decimate_range,
    decimated_length,
    decimation_stages,
    filter_causal,
    filtered_dtype,
    run_stream,
    zero_phase,
)

FS = 1000.0
SOS = {
    "band": signal.butter(4, (5, 100), "bandpass", fs=FS, output="sos"),
    "low": signal.butter(3, 40, "lowpass", fs=FS, output="sos"),
    "cheby2": signal.cheby2(5, 40, 30, "highpass", fs=FS, output="sos"),
    "ellip": signal.ellip(4, 0.5, 50, (8, 30), "bandstop", fs=FS, output="sos"),
}


def recording(channels: int, samples: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return 100.0 + rng.standard_normal((channels, samples)).cumsum(axis=1)


def cut(x: np.ndarray, lengths: list[int]) -> Iterator[np.ndarray]:
    """Cut `x` along time into blocks of the given lengths, repeated as often as needed."""
    start = 0
    while start < x.shape[-1]:
        for length in lengths:
            yield x[..., start : start + length]
            start += length


def assert_close(result: np.ndarray, expected: np.ndarray) -> None:
    assert result.shape == expected.shape
    assert result.dtype == expected.dtype
    np.testing.assert_allclose(result, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())


@pytest.mark.parametrize("name", SOS)
@given(lengths=st.lists(st.integers(1, 700), min_size=1, max_size=4), workers=st.integers(1, 3))
def test_sos_stream_is_sosfilt(name: str, lengths: list[int], workers: int) -> None:
    x = recording(3, 1500)
    pieces = run_stream(cut(x, lengths), SosStream(SOS[name], workers=workers))
    assert_close(np.concatenate(list(pieces), axis=1), signal.sosfilt(SOS[name], x))


@given(lengths=st.lists(st.integers(1, 700), min_size=1, max_size=4), taps=st.integers(1, 99))
def test_fir_stream_is_lfilter(lengths: list[int], taps: int) -> None:
    x = recording(2, 1300)
    h = np.hamming(taps)
    pieces = run_stream(cut(x, lengths), FirStream(h))
    assert_close(np.concatenate(list(pieces), axis=1), signal.lfilter(h, 1, x))


def test_steady_start_makes_no_transient() -> None:
    x = np.full((2, 400), 7.0)
    low = SosStream(SOS["low"], "steady").process(x)
    np.testing.assert_allclose(low, x, rtol=1e-9)
    fir = FirStream(np.full(11, 1 / 11), "steady").process(x)
    np.testing.assert_allclose(fir, x, rtol=1e-9)


@pytest.mark.parametrize(
    ("given_dtype", "expected"),
    [("f4", "f4"), ("f8", "f8"), ("f2", "f4"), ("i2", "f8"), ("u1", "f8"), ("?", "f8")],
)
def test_dtype_out(given_dtype: str, expected: str) -> None:
    assert filtered_dtype(given_dtype) == expected
    x = np.ones((2, 100)).astype(given_dtype)
    assert SosStream(SOS["low"]).process(x).dtype == expected


def test_float32_is_computed_in_float64() -> None:
    x = recording(2, 3000).astype(np.float32)
    out = np.concatenate(list(run_stream(cut(x, [64]), SosStream(SOS["band"]))), axis=1)
    np.testing.assert_array_equal(
        out, signal.sosfilt(SOS["band"], x.astype(float)).astype(np.float32)
    )


def test_one_dimensional_and_three_dimensional_blocks() -> None:
    x = recording(6, 500)
    assert_close(SosStream(SOS["low"]).process(x[0]), signal.sosfilt(SOS["low"], x[0]))
    cube = x.reshape(2, 3, 500)
    assert_close(SosStream(SOS["low"], workers=2).process(cube), signal.sosfilt(SOS["low"], cube))
    assert_close(FirStream([1, 1.0]).process(cube), signal.lfilter([1, 1], 1, cube))


def test_empty_blocks_pass() -> None:
    x = recording(2, 100)
    stream = SosStream(SOS["low"])
    assert stream.process(x[:, :0]).shape == (2, 0)
    assert_close(stream.process(x), signal.sosfilt(SOS["low"], x))
    assert stream.finish().shape == (2, 0)


def test_blocks_must_keep_their_rows() -> None:
    stream = SosStream(SOS["low"])
    stream.process(np.zeros((2, 10)))
    with pytest.raises(ValueError, match=r"leading shape \(2,\), got \(3,\)"):
        stream.process(np.zeros((3, 10)))
    with pytest.raises(ValueError, match="at least one axis"):
        stream.process(np.array(1.0))


def test_bad_stream_arguments() -> None:
    with pytest.raises(ValueError, match="workers must be at least 1"):
        SosStream(SOS["low"], workers=0)
    with pytest.raises(ValueError, match="initial must be"):
        FilterStream(FirKernel([1.0]), "zero")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="shape \\(sections, 6\\)"):
        SosKernel(np.zeros((2, 5)))
    with pytest.raises(ValueError, match="non-empty vector"):
        FirKernel([])
    with pytest.raises(TypeError, match="real numbers"):
        filtered_dtype("c8")


def run_whole(kernel: SosKernel | FirKernel, x: np.ndarray, **options: int) -> np.ndarray:
    out = np.full(x.shape, np.nan)

    def write(start: int, values: np.ndarray) -> None:
        out[..., start : start + values.shape[-1]] = values

    zero_phase(kernel, lambda a, b: x[..., a:b], write, x.shape[-1], **options)
    return out


@pytest.mark.parametrize("name", SOS)
@given(block=st.integers(1, 2500), keep=st.sampled_from([0, 20_000, 1 << 20]))
def test_zero_phase_is_sosfiltfilt(name: str, block: int, keep: int) -> None:
    x = recording(2, 2000)
    kernel = SosKernel(SOS[name])
    out = run_whole(kernel, x, block_length=max(block, 40), keep_bytes=keep)
    np.testing.assert_array_equal(out, run_whole(kernel, x, block_length=2000))
    assert_close(out, signal.sosfiltfilt(SOS[name], x))


@given(block=st.integers(50, 2500))
def test_zero_phase_fir_is_filtfilt(block: int) -> None:
    x = recording(2, 1500)
    h = signal.firwin(61, 50, fs=FS)
    assert_close(run_whole(FirKernel(h), x, block_length=block), signal.filtfilt(h, 1, x))


@pytest.mark.parametrize("pad", [0, 1, 100])
def test_zero_phase_pad_length(pad: int) -> None:
    x = recording(2, 500)
    sos = SOS["band"]
    expected = signal.sosfiltfilt(sos, x, padlen=pad)
    assert_close(run_whole(SosKernel(sos), x, pad_length=pad, block_length=64), expected)


def test_zero_phase_in_place() -> None:
    x = recording(2, 3000)
    expected = signal.sosfiltfilt(SOS["band"], x)

    def write(start: int, values: np.ndarray) -> None:
        x[:, start : start + values.shape[1]] = values

    kernel = SosKernel(SOS["band"])
    zero_phase(kernel, lambda a, b: x[:, a:b], write, 3000, block_length=128, keep_bytes=0)
    assert_close(x, expected)


def test_zero_phase_short_signal() -> None:
    with pytest.raises(ValueError, match=r"needs more than 27 samples, got 27"):
        run_whole(SosKernel(SOS["band"]), recording(1, 27))
    with pytest.raises(ValueError, match="block_length"):
        run_whole(SosKernel(SOS["band"]), recording(1, 100), block_length=0)


def test_causal_over_a_reader() -> None:
    x = recording(2, 1000)
    out = np.empty_like(x)

    def write(start: int, values: np.ndarray) -> None:
        out[:, start : start + values.shape[1]] = values

    filter_causal(SosKernel(SOS["low"]), lambda a, b: x[:, a:b], write, 1000, block_length=77)
    assert_close(out, signal.sosfilt(SOS["low"], x))


def scipy_decimated(x: np.ndarray, ratio: int) -> np.ndarray:
    for stage in decimation_stages(ratio):
        x = signal.decimate(x, stage, ftype="fir", zero_phase=True)
    return x


@pytest.mark.parametrize("ratio", [1, 2, 3, 10, 13, 20, 48])
@given(
    samples=st.integers(1, 3000),
    lengths=st.lists(st.integers(1, 900), min_size=1, max_size=4),
)
def test_decimate_stream_is_scipy(ratio: int, samples: int, lengths: list[int]) -> None:
    x = recording(2, samples)
    out = np.concatenate(list(run_stream(cut(x, lengths), DecimateStream(ratio))), axis=1)
    assert out.shape == (2, decimated_length(samples, ratio))
    assert_close(out, scipy_decimated(x, ratio))


@pytest.mark.parametrize("ratio", [1, 4, 10, 20, 31])
@given(samples=st.integers(400, 3000), data=st.data())
def test_decimate_range_is_a_piece_of_the_whole(
    ratio: int, samples: int, data: st.DataObject
) -> None:
    x = recording(2, samples)
    length = decimated_length(samples, ratio)
    start = data.draw(st.integers(0, length - 1))
    stop = data.draw(st.integers(start + 1, length))
    out = decimate_range(lambda a, b: x[:, a:b], samples, ratio, start, stop)
    expected = scipy_decimated(x, ratio)
    assert out.shape == (2, stop - start)
    np.testing.assert_allclose(out, expected[:, start:stop], rtol=1e-9, atol=1e-8)


@given(ratio=st.integers(1, 100_000))
def test_stages_multiply_to_the_ratio(ratio: int) -> None:
    stages = decimation_stages(ratio)
    assert int(np.prod(stages, dtype=np.int64)) == ratio
    for stage in stages:
        prime = all(stage % d for d in range(2, int(stage**0.5) + 1))
        assert stage <= 12 or prime


def test_decimation_rejects() -> None:
    for ratio in (0, -3):
        with pytest.raises(ValueError, match="at least 1"):
            DecimateStream(ratio)
    with pytest.raises(ValueError, match="must be an integer, got 2.5"):
        DecimateStream(2.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not within 0:10"):
        decimate_range(lambda a, b: np.zeros(b - a), 100, 10, 5, 11)
    assert DecimateStream(4).finish().shape == (0,)


def test_downsampling_does_not_alias() -> None:
    time = np.arange(20_000) / 20_000
    tone = np.sin(2 * np.pi * 1700 * time)  # folds to 300 Hz at 2 kHz
    kept = DecimateStream(10).process(tone)[50:-50]
    assert np.abs(tone[::10]).max() > 0.9
    assert np.abs(kept).max() < 2e-3
