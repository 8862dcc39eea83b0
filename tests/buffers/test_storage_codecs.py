"""Every codec, on files written by HDF5 itself, and what happens to damaged bytes."""

from __future__ import annotations

import importlib.util
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from ecogsource.buffers import HDF5Buffer, clear_chunk_cache
from ecogsource.buffers.storage import codecs
from ecogsource.buffers.storage.chunked import ChunkedStorage
from ecogsource.buffers.storage.codecs import DamagedChunkError, decode, fletcher32
from ecogsource.buffers.storage.library import LibraryReader
from ecogsource.errors import CorruptDataError, MissingDependencyError

TRUTH = np.random.default_rng(0).integers(-300, 300, (20, 1000)).cumsum(axis=1) // 50


def make(path: Path, dtype: str = "i2", **how: object) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=TRUTH.astype(dtype), chunks=(6, 300), **how)
    return path


def plugin(name: str, **how: object) -> dict[str, object]:
    hdf5plugin = pytest.importorskip("hdf5plugin")
    return dict(getattr(hdf5plugin, name)(**how))


@pytest.mark.parametrize("dtype", ["<i2", ">i2", "<f4", ">f8", "u1", "<c16", "<i8"])
@pytest.mark.parametrize(
    "how",
    [
        {},
        {"compression": "gzip"},
        {"compression": "gzip", "compression_opts": 9, "shuffle": True},
        {"shuffle": True},
        {"fletcher32": True},
        {"compression": "gzip", "shuffle": True, "fletcher32": True},
    ],
    ids=str,
)
def test_what_needs_no_extra(tmp_path: Path, dtype: str, how: dict[str, object]) -> None:
    buffer = HDF5Buffer.from_path(make(tmp_path / "a.h5", dtype, **how), "x")
    assert isinstance(buffer._storage._reader, ChunkedStorage)
    expected = TRUTH.astype(dtype).astype(np.dtype(dtype).newbyteorder("="))
    for index in (np.s_[:], np.s_[3, 5:900:7], np.s_[[2, 19, 2], ::-1], np.s_[:, [1, 999]]):
        np.testing.assert_array_equal(buffer[index], expected[index])


EXTRA = {
    "lzf": {"compression": "lzf"},
    "lzf+shuffle+fletcher32": {"compression": "lzf", "shuffle": True, "fletcher32": True},
    "zstd": ("Zstd", {}),
    "lz4": ("LZ4", {}),
    "lz4 small blocks": ("LZ4", {"nbytes": 100}),
    "blosc": ("Blosc", {}),
    "blosc bitshuffle": ("Blosc", {"cname": "zstd", "shuffle": 2}),
    "bitshuffle": ("Bitshuffle", {"cname": "none"}),
    "bitshuffle lz4": ("Bitshuffle", {"cname": "lz4"}),
    "bitshuffle lz4 small blocks": ("Bitshuffle", {"cname": "lz4", "nelems": 128}),
    "bitshuffle zstd": ("Bitshuffle", {"cname": "zstd"}),
}


def settings_of(name: str) -> dict[str, object]:
    found = EXTRA[name]
    return plugin(found[0], **found[1]) if isinstance(found, tuple) else found


@pytest.mark.parametrize("name", EXTRA)
@pytest.mark.parametrize("dtype", ["<i2", "<f4"])
def test_what_the_extra_decodes(tmp_path: Path, name: str, dtype: str) -> None:
    pytest.importorskip("imagecodecs")
    buffer = HDF5Buffer.from_path(make(tmp_path / "a.h5", dtype, **settings_of(name)), "x")
    assert isinstance(buffer._storage._reader, ChunkedStorage)
    np.testing.assert_array_equal(buffer[:], TRUTH.astype(dtype))
    np.testing.assert_array_equal(buffer[[7, 1], ::3], TRUTH.astype(dtype)[[7, 1], ::3])


@pytest.mark.parametrize("name", EXTRA)
def test_without_the_extra_the_library_decodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = make(tmp_path / "a.h5", **settings_of(name))
    monkeypatch.setattr(codecs, "_has_imagecodecs", lambda: False)
    buffer = HDF5Buffer.from_path(path, "x")
    assert isinstance(buffer._storage._reader, LibraryReader)
    np.testing.assert_array_equal(buffer[:], TRUTH)


def test_blosc2_is_left_to_the_library(tmp_path: Path) -> None:
    buffer = HDF5Buffer.from_path(make(tmp_path / "a.h5", **plugin("Blosc2")), "x")
    assert isinstance(buffer._storage._reader, LibraryReader)
    np.testing.assert_array_equal(buffer[5], TRUTH[5])


def test_scaleoffset_is_left_to_the_library(tmp_path: Path) -> None:
    buffer = HDF5Buffer.from_path(make(tmp_path / "a.h5", scaleoffset=0), "x")
    assert isinstance(buffer._storage._reader, LibraryReader)
    np.testing.assert_array_equal(buffer[:, ::-7], TRUTH[:, ::-7])


def test_a_filter_that_nobody_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    monkeypatch.setattr("h5py.h5z.filter_avail", lambda code: code < 10)
    monkeypatch.setattr(codecs.importlib, "import_module", loaded.append)
    message = r"compressed with zstd \(32015\).*pip install 'ecogsource\[codecs\]'"
    with pytest.raises(MissingDependencyError, match=message):
        codecs.require_library([(1, ()), (codecs.ZSTD, ())], "a.h5")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingDependencyError, match=r"filter \(31999\)"):
        codecs.require_library([(31999, ())], "a.h5")


def test_two_compressors_are_left_to_the_library() -> None:
    assert codecs.can_decode([(codecs.SHUFFLE, (2,)), (codecs.DEFLATE, (4,))])
    assert not codecs.can_decode([(codecs.DEFLATE, (4,)), (codecs.DEFLATE, (4,))])
    assert not codecs.can_decode([(codecs.NBIT, ())])


@pytest.mark.parametrize("n", [0, 1, 2, 101, 4096, 77_777])
def test_fletcher32_is_that_of_the_library(tmp_path: Path, n: int) -> None:
    data = np.random.default_rng(n).integers(0, 256, n, np.uint8)
    if n == 0:
        assert fletcher32(b"") == 0
        return
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dataset = file.create_dataset("x", data=data, chunks=(n,), fletcher32=True)
        stored = dataset.id.read_direct_chunk((0,))[1]
    assert fletcher32(stored[:-4]) == int.from_bytes(stored[-4:], "little")


def test_fletcher32_with_swapped_bytes_of_old_releases() -> None:
    body = bytes(range(100))
    right = fletcher32(body)
    swapped = (right & 0x00FF00FF) << 8 | (right & 0xFF00FF00) >> 8
    for checksum in (right, swapped):
        stored = body + checksum.to_bytes(4, "little")
        assert decode(stored, [(3, ())], 0, 100, keep_shuffle=True) == (body, False)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"fletcher32": True}, r"checksum 0x\w{8} found, 0x\w{8} stored \(fletcher32\)"),
        ({"compression": "gzip"}, "deflate: Error -3 while decompressing data"),
    ],
)
def test_a_flipped_byte_names_its_place(
    tmp_path: Path, how: dict[str, object], message: str
) -> None:
    path = make(tmp_path / "a.h5", **how)
    with h5py.File(path) as file:
        info = file["x"].id.get_chunk_info_by_coord((6, 300))
    data = bytearray(path.read_bytes())
    data[info.byte_offset + 20] ^= 0x55
    path.write_bytes(data)
    buffer = HDF5Buffer.from_path(path, "x")
    clear_chunk_cache()
    np.testing.assert_array_equal(buffer[:6], TRUTH[:6])
    with pytest.raises(CorruptDataError, match=message) as caught:
        buffer[:]
    assert "chunk (1, 1) of dataset '/x' is damaged" in str(caught.value)
    assert caught.value.filename == str(path)
    assert caught.value.offset == info.byte_offset


@pytest.mark.parametrize("name", ["lzf", "zstd", "lz4", "blosc", "bitshuffle lz4", "bitshuffle"])
def test_damaged_bytes_of_other_codecs(tmp_path: Path, name: str) -> None:
    pytest.importorskip("imagecodecs")
    path = make(tmp_path / "a.h5", **settings_of(name))
    with h5py.File(path) as file:
        info = file["x"].id.get_chunk_info(0)
        filters = [file["x"].id.get_create_plist().get_filter(0)]
    stored = path.read_bytes()[info.byte_offset : info.byte_offset + info.size]
    known = [(filters[0][0], filters[0][2])]
    wrong = [stored[: len(stored) // 2], b""]
    if name != "bitshuffle":  # any bytes are bits of something
        wrong.append(b"\xff" * len(stored))
    for damaged in wrong:
        with pytest.raises(DamagedChunkError):
            decode(damaged, known, 0, 6 * 300 * 2, keep_shuffle=False)


def test_a_bitshuffle_of_nothing() -> None:
    pytest.importorskip("imagecodecs")
    with pytest.raises(DamagedChunkError, match="bitshuffle"):
        decode(b"12345", [(codecs.BITSHUFFLE, (0, 2, 0, 0, 0))], 0, 5, keep_shuffle=False)


def test_sizes_that_do_not_fit() -> None:
    packed = zlib.compress(bytes(100))
    for nbytes in (99, 101):
        with pytest.raises(DamagedChunkError, match=f"{nbytes} bytes expected after decoding"):
            decode(packed, [(codecs.DEFLATE, ())], 0, nbytes, keep_shuffle=False)
    with pytest.raises(DamagedChunkError, match="10 bytes expected"):
        decode(b"abc", [(codecs.SHUFFLE, (2,))], 0, 10, keep_shuffle=True)


def test_filters_that_were_skipped() -> None:
    body = bytes(range(8))
    filters = [(codecs.SHUFFLE, (2,)), (codecs.DEFLATE, (4,))]
    assert decode(body, filters, 0b11, 8, keep_shuffle=True) == (body, False)
    assert decode(zlib.compress(body), filters, 0b01, 8, keep_shuffle=True) == (body, False)
    assert decode(body, filters, 0b10, 8, keep_shuffle=True) == (body, True)
    assert decode(body, filters, 0b10, 8, keep_shuffle=False)[0] == body[::2][:0] + bytes(
        [0, 4, 1, 5, 2, 6, 3, 7]
    )
