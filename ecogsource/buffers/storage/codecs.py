"""Undoing the filters of HDF5 chunks without HDF5, so that threads can do it side by side.

A codec takes the stored bytes and returns the bytes before the filter was applied. Deflate is
decoded by libdeflate, which at chunks of half a megabyte is about twice as fast as zlib or ISA-L
and lets go of the interpreter lock. The rarer codecs need the extra ``codecs``.
"""

from __future__ import annotations

import importlib.util
import zlib
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import deflate
import numpy as np

from ecogsource.buffers.storage.shuffle import unshuffle
from ecogsource.errors import MissingDependencyError

__all__ = ["SHUFFLE", "DamagedChunkError", "Filter", "can_decode", "decode", "require_library"]

Bytes: TypeAlias = "bytes | bytearray | memoryview"
Filter: TypeAlias = tuple[int, tuple[int, ...]]

DEFLATE, SHUFFLE, FLETCHER32, SZIP, NBIT, SCALEOFFSET = 1, 2, 3, 4, 5, 6
LZF, BLOSC, LZ4, BITSHUFFLE, ZSTD = 32000, 32001, 32004, 32008, 32015
NAMES = {
    LZF: "lzf",
    BLOSC: "blosc",
    LZ4: "lz4",
    BITSHUFFLE: "bitshuffle",
    ZSTD: "zstd",
    32026: "blosc2",
}
_BLOCK = 4096


class DamagedChunkError(ValueError):
    """The bytes of a chunk cannot be decoded; the reader adds which chunk it was."""


class _Step(NamedTuple):
    """What a codec needs to know: its parameters, and the bytes that must come out.

    After a compressor the number of bytes depends on the data: it is -1.
    """

    values: tuple[int, ...]
    nbytes: int


def can_decode(filters: Sequence[Filter]) -> bool:
    """Tell whether all filters of a dataset can be undone here."""
    return all(
        code in _CORE or (code in _EXTRA and _has_imagecodecs()) for code, _ in filters
    ) and _sizes_known(filters)


def _sizes_known(filters: Sequence[Filter]) -> bool:
    """Tell whether the size before each filter is known: at most one of them compresses."""
    return sum(code not in (SHUFFLE, FLETCHER32) for code, _ in filters) <= 1


def require_library(filters: Sequence[Filter], path: str) -> None:
    """Make sure that h5py can undo the filters of a dataset.

    Raises
    ------
    MissingDependencyError
        If it cannot, not even with hdf5plugin.
    """
    from h5py import h5z

    for code, _ in filters:
        if h5z.filter_avail(code):
            continue
        if importlib.util.find_spec("hdf5plugin"):
            importlib.import_module("hdf5plugin")
        if not h5z.filter_avail(code):
            raise MissingDependencyError(
                f"{path!r} is compressed with {NAMES.get(code, 'filter')} ({code}), which needs a "
                "package that is not installed. Install it with: pip install 'ecogsource[codecs]'"
            )


def decode(
    data: Bytes, filters: Sequence[Filter], mask: int, nbytes: int, *, keep_shuffle: bool
) -> tuple[Bytes, bool]:
    """Undo the filters of one chunk.

    Parameters
    ----------
    data : bytes-like
        The stored bytes.
    filters : sequence of (int, tuple of int)
        Codes and parameters, in the order in which they were applied.
    mask : int
        Bit i set means that filter i was not applied to this chunk.
    nbytes : int
        Bytes of the decoded chunk.
    keep_shuffle : bool
        Leave the bytes shuffled if that is the last thing to undo.

    Returns
    -------
    data : bytes-like
    shuffled : bool
        Whether the bytes are still shuffled.

    Raises
    ------
    DamagedChunkError
        If the bytes cannot be decoded, or a checksum does not fit.
    """
    steps: list[tuple[int, _Step]] = []
    for number, (code, values) in enumerate(filters):
        if mask >> number & 1:
            continue
        steps.append((code, _Step(values, nbytes)))
        if code not in (SHUFFLE, FLETCHER32):
            nbytes = -1
        elif code == FLETCHER32 and nbytes >= 0:
            nbytes += 4
    for number in reversed(range(len(steps))):
        code, step = steps[number]
        if code == SHUFFLE and number == 0 and keep_shuffle:
            return _sized(data, step.nbytes), True
        data = _sized(_CODECS[code](data, step), step.nbytes)
    return data, False


def _sized(data: Bytes, nbytes: int) -> Bytes:
    if nbytes >= 0 and len(data) != nbytes:
        raise DamagedChunkError(f"{nbytes} bytes expected after decoding, {len(data)} came out")
    return data


def _deflate(data: Bytes, step: _Step) -> Bytes:
    try:
        return deflate.zlib_decompress(data, step.nbytes)
    except deflate.DeflateError:
        # Only zlib tells what is wrong. No more is decoded than shows that it is too much.
        try:
            return zlib.decompressobj().decompress(data, step.nbytes + 1)
        except zlib.error as error:
            raise DamagedChunkError(f"deflate: {error}") from error


def _shuffle(data: Bytes, step: _Step) -> Bytes:
    return unshuffle(data, step.values[0])


def _fletcher32(data: Bytes, step: _Step) -> Bytes:
    body, stored = memoryview(data)[:-4], int.from_bytes(data[-4:], "little")
    found = fletcher32(body)
    # Releases of HDF5 before 1.6.3 stored the two bytes of each half the other way round.
    swapped = (found & 0x00FF00FF) << 8 | (found & 0xFF00FF00) >> 8
    if stored not in (found, swapped):
        raise DamagedChunkError(f"checksum {found:#010x} found, {stored:#010x} stored (fletcher32)")
    return body


def fletcher32(data: Bytes) -> int:
    """Return the Fletcher checksum of HDF5: 16-bit big-endian words, sums modulo 65535.

    Source: J. Fletcher, IEEE Trans. Commun. 30 (1982) 247; an odd last byte is a high byte.
    """
    words = np.frombuffer(data, ">u2", len(data) // 2)
    first = second = 0
    for start in range(0, len(words), _BLOCK * _BLOCK):
        part = words[start : start + _BLOCK * _BLOCK].astype(np.uint64)
        n = len(part)
        second += n * first + int((part * np.arange(n, 0, -1, dtype=np.uint64)).sum())
        first += int(part.sum())
    if len(data) % 2:
        first += data[-1] << 8
        second += first
    return _fold(second) << 16 | _fold(first)


def _fold(total: int) -> int:
    """Reduce modulo 65535 as repeated end-around carries do: only zero gives zero."""
    return (total - 1) % 65535 + 1 if total else 0


def _has_imagecodecs() -> bool:
    return importlib.util.find_spec("imagecodecs") is not None


def _imagecodec(name: str, data: Bytes, nbytes: int) -> Bytes:
    import imagecodecs

    try:
        return getattr(imagecodecs, f"{name}_decode")(bytes(data), out=nbytes)
    except (RuntimeError, ValueError) as error:
        raise DamagedChunkError(f"{name}: {error}") from error


def _lzf(data: Bytes, step: _Step) -> Bytes:
    return _imagecodec("lzf", data, step.nbytes)


def _zstd(data: Bytes, step: _Step) -> Bytes:
    return _imagecodec("zstd", data, step.nbytes)


def _blosc(data: Bytes, step: _Step) -> Bytes:
    return _imagecodec("blosc", data, step.nbytes)


def _blocks(data: Bytes, start: int, total: int, block: int) -> list[tuple[memoryview, int]]:
    """Split a stream of length-prefixed blocks into (bytes, decoded size)."""
    view, found = memoryview(data), []
    while total > 0:
        stored = int.from_bytes(view[start : start + 4], "big")
        start += 4
        if stored == 0 or start + stored > len(view):
            raise DamagedChunkError(f"a block of {stored} bytes at {start} of {len(view)}")
        found.append((view[start : start + stored], min(block, total)))
        start, total = start + stored, total - block
    return found


def _lz4(data: Bytes, step: _Step) -> Bytes:
    """Undo the LZ4 filter: total size, block size, then blocks with their stored sizes."""
    total, block = int.from_bytes(data[:8], "big"), int.from_bytes(data[8:12], "big")
    if total != step.nbytes or block == 0:
        raise DamagedChunkError(f"lz4: {step.nbytes} bytes expected, {total} announced")
    parts = [
        bytes(part) if len(part) == size else bytes(_imagecodec("lz4", part, size))
        for part, size in _blocks(data, 12, total, block)
    ]
    return b"".join(parts)


def _unmix(data: Bytes, itemsize: int, block: int) -> Bytes:
    import imagecodecs

    try:
        return imagecodecs.bitshuffle_decode(bytes(data), itemsize=itemsize, blocksize=block)
    except (RuntimeError, ValueError) as error:
        raise DamagedChunkError(f"bitshuffle: {error}") from error


def _bitshuffle(data: Bytes, step: _Step) -> Bytes:
    """Undo the bitshuffle filter, with or without LZ4 or Zstandard inside."""
    itemsize, block, packed = (*step.values[2:5], 0, 0)[:3]
    if packed == 0:
        return _unmix(data, itemsize, block)
    name = {2: "lz4", 3: "zstd"}.get(packed)
    total, block = int.from_bytes(data[:8], "big"), int.from_bytes(data[8:12], "big")
    if total != step.nbytes or block == 0 or name is None:
        raise DamagedChunkError(f"bitshuffle: {step.nbytes} bytes expected, {total} announced")
    # The last block is cut to whole groups of eight elements; what is left over is stored as is.
    whole = total // (8 * itemsize) * (8 * itemsize)
    parts = [
        bytes(_unmix(_imagecodec(name, part, size), itemsize, 0))
        for part, size in _blocks(data, 12, whole, block)
    ]
    parts.append(bytes(data[len(data) - (total - whole) :]) if total > whole else b"")
    return b"".join(parts)


_CORE: dict[int, Callable[[Bytes, _Step], Bytes]] = {
    DEFLATE: _deflate,
    SHUFFLE: _shuffle,
    FLETCHER32: _fletcher32,
}
_EXTRA: dict[int, Callable[[Bytes, _Step], Bytes]] = {
    LZF: _lzf,
    BLOSC: _blosc,
    LZ4: _lz4,
    BITSHUFFLE: _bitshuffle,
    ZSTD: _zstd,
}
_CODECS = {**_CORE, **_EXTRA}
