"""Anti-aliased downsampling by an integer ratio, in stages, in constant memory.

Each stage is a linear-phase low-pass of 20 * ratio + 1 taps (Hamming window, cut-off at the new
Nyquist frequency) centred on the samples that are kept: exactly
``scipy.signal.decimate(x, ratio, ftype='fir', zero_phase=True)``. A large ratio is split into
stages of at most 12, so its result is that function applied once per stage. Outside the signal
there are zeros.

Only the outputs that are kept are computed, as a matrix product of overlapping frames with a
banded matrix of taps, which runs at the speed of BLAS.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecogsource.filters.kernels import Float64, windows_with_gaps, without_gaps

__all__ = ["DecimateStream", "decimate_range", "decimated_length", "decimation_stages"]

# Largest ratio of one stage: SciPy's advice is to split above 13.
_LARGEST_STAGE = 12
# Outputs per frame: wide enough for BLAS, narrow enough that few products are with zero taps.
_OUTPUTS_PER_FRAME = 16
_FRAME_BYTES = 1 << 20
# Multiplications per product. OpenBLAS splits larger ones over threads of its own, which fight
# with ours: ten times slower on a busy machine.
_PRODUCT_SIZE = 1 << 18


def _checked_ratio(ratio: int) -> int:
    import operator

    try:
        value = operator.index(ratio)
    except TypeError:
        raise ValueError(f"the downsampling ratio must be an integer, got {ratio!r}") from None
    if value < 1:
        raise ValueError(f"the downsampling ratio must be at least 1, got {value}")
    return value


def decimation_stages(ratio: int) -> tuple[int, ...]:
    """Split a downsampling ratio into stages, the largest first.

    Parameters
    ----------
    ratio : int
        At least 1.

    Returns
    -------
    tuple of int
        Factors whose product is `ratio`, each at most 12 unless it is a larger prime; empty for 1.

    Examples
    --------
    >>> decimation_stages(10), decimation_stages(20), decimation_stages(30), decimation_stages(1)
    ((10,), (10, 2), (10, 3), ())
    """
    rest = _checked_ratio(ratio)
    primes: list[int] = []
    factor = 2
    while factor * factor <= rest:
        while rest % factor == 0:
            primes.append(factor)
            rest //= factor
        factor += 1
    if rest > 1:
        primes.append(rest)
    stages: list[int] = []
    for prime in reversed(primes):
        for position, stage in enumerate(stages):
            if stage * prime <= _LARGEST_STAGE:
                stages[position] *= prime
                break
        else:
            stages.append(prime)
    return tuple(sorted(stages, reverse=True))


def decimated_length(n_samples: int, ratio: int) -> int:
    """Return the number of samples that remain: samples 0, ratio, 2 * ratio, ... are kept."""
    return -(-n_samples // _checked_ratio(ratio))


def _stage_taps(ratio: int) -> Float64:
    from scipy.signal import firwin

    taps: Float64 = firwin(20 * ratio + 1, 1.0 / ratio, window="hamming")
    return taps


def _fir_keep(extended: Float64, taps: Float64, ratio: int, count: int) -> Float64:
    """Return `count` outputs; output m is taps . extended[m * ratio : m * ratio + len(taps)].

    An input that is not finite makes the outputs NaN in whose window it lies, and no others.
    """
    extended, gaps = without_gaps(extended)
    lead = extended.shape[:-1]
    rows = np.ascontiguousarray(extended).reshape(-1, extended.shape[-1])
    out = np.empty((len(rows), count))
    done = 0
    for per_frame in (_OUTPUTS_PER_FRAME, 1):
        n_frames = (count - done) // per_frame
        if n_frames:
            stop = done + n_frames * per_frame
            _frames_product(rows[:, done * ratio :], taps, ratio, per_frame, out[:, done:stop])
            done = stop
    result = out.reshape(*lead, count)
    if gaps is not None and count:
        hit = windows_with_gaps(gaps, len(taps))[..., ::ratio][..., :count]
        result[hit] = np.nan
    return result


def _frames_product(rows: Float64, taps: Float64, ratio: int, per_frame: int, out: Float64) -> None:
    """Fill `out` with `per_frame` outputs from each frame of input."""
    width = len(taps) + ratio * (per_frame - 1)
    banded = np.zeros((width, per_frame))
    for output in range(per_frame):
        banded[output * ratio : output * ratio + len(taps), output] = taps[::-1]
    small = max(1, _PRODUCT_SIZE // banded.size)
    step = small * max(1, _FRAME_BYTES // (width * 8 * small))
    n_frames = out.shape[1] // per_frame
    for row, target in zip(rows, out, strict=True):
        frames = np.lib.stride_tricks.sliding_window_view(row, width)[:: ratio * per_frame]
        for start in range(0, n_frames, step):
            stop = min(start + step, n_frames)
            # Overlapping rows are no BLAS matrix: copy a cache-sized piece of them.
            piece = np.ascontiguousarray(frames[start:stop])
            whole = len(piece) // small * small
            values = target[start * per_frame : stop * per_frame].reshape(-1, per_frame)
            stack = piece[:whole].reshape(-1, small, width)
            np.matmul(stack, banded, out=values[:whole].reshape(-1, small, per_frame))
            np.matmul(piece[whole:], banded, out=values[whole:])


def decimate_range(
    read: Callable[[int, int], NDArray[Any]],
    n_samples: int,
    ratio: int,
    start: int,
    stop: int,
) -> Float64:
    """Compute a range of the downsampled signal from the input around it.

    Parameters
    ----------
    read : callable
        ``read(start, stop)`` returns the samples as an array (*lead, stop - start).
    n_samples : int
        Length of the whole input.
    ratio : int
        Downsampling ratio.
    start, stop : int
        Range of output samples, within ``decimated_length(n_samples, ratio)``.

    Returns
    -------
    ndarray of float64, shape (*lead, stop - start)
        The same numbers whatever the range they are asked in.

    Raises
    ------
    ValueError
        If the range is outside the output or the ratio is not a positive integer.
    """
    stages = decimation_stages(ratio)
    length = decimated_length(n_samples, ratio)
    if not 0 <= start < stop <= length:
        raise ValueError(f"output range {start}:{stop} is not within 0:{length}")
    if not stages:
        return np.asarray(read(start, stop), dtype=np.float64)
    *earlier, last = stages
    before = int(np.prod(earlier, dtype=np.int64))
    n_inputs = decimated_length(n_samples, before)
    half = 10 * last
    low, high = start * last - half, (stop - 1) * last + half + 1
    inside = slice(max(low, 0), min(high, n_inputs))
    values = decimate_range(read, n_samples, before, inside.start, inside.stop)
    margins = [(0, 0)] * (values.ndim - 1) + [(inside.start - low, high - inside.stop)]
    return _fir_keep(np.pad(values, margins), _stage_taps(last), last, stop - start)


class _Stage:
    """One stage of a stream: keeps the input that later outputs still need."""

    def __init__(self, ratio: int) -> None:
        self.ratio = ratio
        self.taps = _stage_taps(ratio)
        self.half = 10 * ratio
        self.carry: Float64 | None = None

    def process(self, block: Float64) -> Float64:
        if self.carry is None:
            self.carry = np.zeros((*block.shape[:-1], self.half))
        extended = np.concatenate([self.carry, block], axis=-1)
        count = max(0, (extended.shape[-1] - len(self.taps)) // self.ratio + 1)
        self.carry = extended[..., count * self.ratio :].copy()
        return _fir_keep(extended, self.taps, self.ratio, count)

    def finish(self) -> Float64 | None:
        """Return the outputs whose window reaches past the end, which is zeros."""
        if self.carry is None:
            return None
        missing = np.zeros((*self.carry.shape[:-1], self.half))
        return self.process(missing)


class DecimateStream:
    """Anti-aliased downsampling over consecutive blocks.

    Parameters
    ----------
    ratio : int
        Input samples per output sample.

    Raises
    ------
    ValueError
        If `ratio` is not a positive integer.

    Notes
    -----
    The concatenated output (float64) equals ``scipy.signal.decimate(x, r, ftype='fir')`` of the
    whole array applied for each r in ``decimation_stages(ratio)``. Output m belongs to the time of
    input ``m * ratio``; a block's output comes about ``10 * ratio`` input samples late, and the
    last ones come from `finish`.
    """

    def __init__(self, ratio: int) -> None:
        self.ratio = _checked_ratio(ratio)
        self._stages = [_Stage(stage) for stage in decimation_stages(self.ratio)]
        self._lead: tuple[int, ...] = ()

    def process(self, block: NDArray[Any]) -> Float64:
        """Take the next block (*lead, time) and return the outputs that are ready."""
        values = np.asarray(block, dtype=np.float64)
        self._lead = values.shape[:-1]
        for stage in self._stages:
            values = stage.process(values)
        return values

    def finish(self) -> Float64:
        """Return the remaining outputs, shape (*lead, k)."""
        values = np.empty((*self._lead, 0))
        for stage in self._stages:
            fed = stage.process(values) if values.shape[-1] else values
            tail = stage.finish()
            values = fed if tail is None else np.concatenate([fed, tail], axis=-1)
        return values
