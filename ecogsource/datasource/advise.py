"""Which HDF5 layout suits how an array will be read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["LayoutAdvice", "advise_layout"]

Access = Literal["time", "channel", "window"]

# A chunk is the least that is read and decoded: large enough for the disk, small enough for a
# cache and for several to be decoded at once.
_CHUNK_BYTES = 1 << 20
_WINDOW_BYTES = 1 << 18
_WINDOW_SECONDS = 1.0
_WINDOW_CHANNELS = 16


@dataclass(frozen=True)
class LayoutAdvice:
    """A suggested layout.

    Attributes
    ----------
    chunks : (int, int) or None
        Channels and samples per chunk; None for contiguous storage.
    reason : str
        Why.
    """

    chunks: tuple[int, int] | None
    reason: str


def advise_layout(
    shape: tuple[int, int],
    itemsize: int,
    access: Access = "time",
    *,
    fs: float | None = None,
    compression: bool = False,
) -> LayoutAdvice:
    """Suggest chunks for channels x time.

    Parameters
    ----------
    shape : (int, int)
        Channels and samples.
    itemsize : int
        Bytes per value.
    access : {'time', 'channel', 'window'}
        Mostly blocks of time over all channels, whole channels, or short windows of a few
        channels at random times.
    fs : float, optional
        Samples per second; windows are taken to last a second.
    compression : bool
        Whether chunks will be compressed.

    Returns
    -------
    LayoutAdvice

    Raises
    ------
    ValueError
        Unknown pattern of access.
    """
    channels, samples = max(shape[0], 1), max(shape[1], 1)
    if access == "channel":
        if not compression:
            return LayoutAdvice(None, "channels lie in one piece each in contiguous storage")
        chunks = _fit(1, _CHUNK_BYTES // itemsize, channels, samples)
        return LayoutAdvice(chunks, "one channel per chunk: reading a channel decodes no other")
    if access == "time":
        rows = min(channels, 64)
        length = _CHUNK_BYTES // (itemsize * rows)
        chunks = _fit(rows, length, channels, samples)
        return LayoutAdvice(
            chunks, f"a block of time touches few chunks of {rows} channels, each read in one go"
        )
    if access != "window":
        raise ValueError(f"access must be 'time', 'channel' or 'window', got {access!r}")
    rows = min(channels, _WINDOW_CHANNELS)
    longest = _WINDOW_BYTES // (itemsize * rows)
    length = longest if fs is None else min(longest, max(256, round(fs * _WINDOW_SECONDS)))
    chunks = _fit(rows, length, channels, samples)
    return LayoutAdvice(
        chunks, "small chunks: a window decodes at most about one chunk too much at each end"
    )


def _fit(rows: int, length: int, channels: int, samples: int) -> tuple[int, int]:
    """Cut a chunk to the array, its length to a power of two that pages and codecs like."""
    power = 1 << max(length.bit_length() - 1, 8)
    return min(rows, channels), min(power, samples)
