"""Filter design: band edges in hertz in, second-order sections or taps out (through SciPy)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecogsource.filters.kernels import FirKernel, Float64, Kernel, SosKernel

__all__ = ["FilterDesign", "design_filter", "design_notch", "notch_lines"]

_ALIASES = {
    "butter": "butterworth",
    "butterworth": "butterworth",
    "cheby2": "chebyshev2",
    "chebyshev2": "chebyshev2",
    "ellip": "elliptic",
    "elliptic": "elliptic",
    "fir": "fir",
}


@dataclass(frozen=True)
class FilterDesign:
    """A designed filter.

    Attributes
    ----------
    ftype : str
        Family: ``'butterworth'``, ``'chebyshev2'``, ``'elliptic'``, ``'fir'`` or ``'notch'``.
    fs : float
        Sampling rate, Hz.
    sos : ndarray, shape (sections, 6), or None
        Second-order sections of a recursive filter.
    taps : ndarray, shape (taps,), or None
        Impulse response of an FIR filter.
    """

    ftype: str
    fs: float
    sos: Float64 | None = None
    taps: Float64 | None = None

    @property
    def kernel(self) -> Kernel:
        """The filter as a step over blocks."""
        if self.taps is not None:
            return FirKernel(self.taps)
        return SosKernel(self.sos if self.sos is not None else np.empty((0, 6)))

    def response(self, frequencies: NDArray[Any]) -> NDArray[np.complex128]:
        """Return the complex gain of one forward pass.

        Parameters
        ----------
        frequencies : ndarray
            Hz.

        Returns
        -------
        ndarray of complex128, same shape
        """
        from scipy.signal import freqz, sosfreqz

        if self.taps is not None:
            gain = freqz(self.taps, 1, worN=frequencies, fs=self.fs)[1]
        else:
            gain = sosfreqz(self.sos, worN=frequencies, fs=self.fs)[1]
        return np.asarray(gain, dtype=np.complex128)


def _band(lo: float | None, hi: float | None, fs: float, *, stop: bool) -> tuple[str, Any]:
    """Return SciPy's name of the band and its edge or edges."""
    if not (math.isfinite(fs) and fs > 0):
        raise ValueError(f"the sampling rate must be a positive number of Hz, got {fs!r}")
    low, high = lo or None, hi or None
    for name, edge in (("lo", low), ("hi", high)):
        if edge is not None and not 0 < edge < fs / 2:
            raise ValueError(
                f"{name}={edge} Hz is outside the band 0 < f < {fs / 2} Hz of data at {fs} Hz"
            )
    if low is not None and high is not None:
        if low >= high:
            raise ValueError(f"lo={low} Hz must be below hi={high} Hz")
        return ("bandstop" if stop else "bandpass"), (low, high)
    if stop:
        raise ValueError("a band-stop filter needs both lo and hi")
    if low is not None:
        return "highpass", low
    if high is not None:
        return "lowpass", high
    raise ValueError("give lo, hi, or both (Hz)")


def design_filter(
    ftype: str = "butterworth",
    *,
    fs: float,
    lo: float | None = None,
    hi: float | None = None,
    order: int | None = None,
    stop: bool = False,
    ripple: float = 0.5,
    attenuation: float = 40.0,
    width: float | None = None,
) -> FilterDesign:
    """Design a low-, high-, band-pass or band-stop filter.

    Parameters
    ----------
    ftype : {'butterworth', 'chebyshev2', 'elliptic', 'fir'}
        Family; ``'butter'``, ``'cheby2'`` and ``'ellip'`` are accepted.
    fs : float
        Sampling rate, Hz.
    lo, hi : float, optional
        Band edges, Hz. Only `lo`: high-pass; only `hi`: low-pass; 0 is the same as absent. They
        are the -3 dB points of a Butterworth, the edges of the stop band of a Chebyshev II, of
        the pass band of an elliptic, and the -6 dB points of an FIR filter.
    order : int, optional
        Order of a recursive filter (default 4; a band filter has twice as many poles), or number
        of taps less one of an FIR filter (made even).
    stop : bool
        Stop the band between `lo` and `hi` instead of passing it.
    ripple : float
        Pass-band ripple of an elliptic filter, dB.
    attenuation : float
        Stop-band attenuation of Chebyshev II and elliptic filters, dB.
    width : float, optional
        Transition width that sets the length of an FIR filter, Hz; default a quarter of the
        lowest edge, but at least 2 Hz or the edge itself if that is less. The length is
        ``3.3 * fs / width``, the rule for a Hamming window (Oppenheim and Schafer,
        *Discrete-Time Signal Processing*).

    Returns
    -------
    FilterDesign

    Raises
    ------
    ValueError
        Unknown family, impossible band or order.
    """
    family = _ALIASES.get(ftype.lower())
    if family is None:
        raise ValueError(
            f"unknown filter type {ftype!r}; known: butterworth, chebyshev2, elliptic, fir"
        )
    if order is not None and order < 1:
        raise ValueError(f"the order must be at least 1, got {order}")
    fs = float(fs)
    btype, edges = _band(lo, hi, fs, stop=stop)
    if family == "fir":
        lowest = float(np.min(edges))
        width = min(max(lowest / 4, 2.0), lowest) if width is None else width
        n_taps = (order if order is not None else math.ceil(3.3 * fs / width)) // 2 * 2 + 1
        from scipy.signal import firwin

        taps = firwin(max(n_taps, 3), edges, pass_zero=btype, fs=fs, window="hamming")
        return FilterDesign(family, fs, taps=taps)
    from scipy.signal import butter, cheby2, ellip

    order = 4 if order is None else order
    if family == "butterworth":
        sos = butter(order, edges, btype, fs=fs, output="sos")
    elif family == "chebyshev2":
        sos = cheby2(order, attenuation, edges, btype, fs=fs, output="sos")
    else:
        sos = ellip(order, ripple, attenuation, edges, btype, fs=fs, output="sos")
    return FilterDesign(family, fs, sos=sos)


def notch_lines(
    lines: float | Iterable[float], fs: float, nmax: float | None = None
) -> tuple[float, ...]:
    """Return the frequencies to notch out.

    Parameters
    ----------
    lines : float or iterable of float
        One number: that frequency and its harmonics. Several: exactly those.
    fs : float
        Sampling rate, Hz.
    nmax : float, optional
        Highest harmonic, Hz; default everything below the Nyquist frequency.

    Returns
    -------
    tuple of float
        Hz, increasing.

    Raises
    ------
    ValueError
        If a frequency is not between 0 and the Nyquist frequency.
    """
    nyquist = fs / 2
    if isinstance(lines, Iterable):
        found = sorted({float(line) for line in lines})
    else:
        base = float(lines)
        if not 0 < base < nyquist:
            raise ValueError(f"line frequency {base} Hz is outside 0 < f < {nyquist} Hz")
        count = math.ceil(nyquist / base) - 1
        found = [base * k for k in range(1, count + 1)]
        if nmax is not None:
            found = [line for line in found if line <= nmax]
    if not found:
        raise ValueError(f"no line frequency is left to notch out of {lines!r} (nmax={nmax})")
    for line in found:
        if not 0 < line < nyquist:
            raise ValueError(f"line frequency {line} Hz is outside 0 < f < {nyquist} Hz")
    return tuple(found)


def design_notch(
    fs: float,
    lines: float | Iterable[float] = 60.0,
    *,
    width: float = 3.0,
    nmax: float | None = None,
) -> FilterDesign:
    """Design one second-order notch per line frequency, in cascade.

    Parameters
    ----------
    fs : float
        Sampling rate, Hz.
    lines : float or iterable of float
        One number: that frequency and its harmonics up to `nmax`. Several: exactly those.
    width : float
        Distance of the -3 dB points of each notch, Hz.
    nmax : float, optional
        Highest harmonic, Hz.

    Returns
    -------
    FilterDesign
        With ``ftype='notch'``.

    Raises
    ------
    ValueError
        If a frequency is not below the Nyquist frequency or `width` is not positive.
    """
    from scipy.signal import iirnotch

    if not width > 0:
        raise ValueError(f"the notch width must be positive, got {width} Hz")
    sections = []
    for line in notch_lines(lines, float(fs), nmax):
        numerator, denominator = iirnotch(line, line / width, fs=fs)
        sections.append(np.concatenate([numerator, denominator]))
    return FilterDesign("notch", float(fs), sos=np.array(sections))
