"""Copies of sources: every option against NumPy, and what a copied file carries."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecogsource.buffers import ArrayBuffer, HDF5Buffer
from ecogsource.datasource import MappedSource, PlainArraySource, arrayfile, mirror
from ecogsource.datasource.advise import advise_layout
from ecogsource.datasource.tempfiles import TempFilePool
from ecogsource.datasource.tiles import Grid, plan_grid
from ecogsource.datasource.verify import read_provenance, verify_file
from ecogsource.errors import (
    CorruptDataError,
    DataPathError,
    FormatError,
    MemoryBlowOutError,
    ReadOnlyError,
)
from ecogsource.params import OVERRIDE

CHANNELS, SAMPLES = 10, 3000
RNG = np.random.default_rng(5)
RAW = RNG.integers(-2000, 2000, (SAMPLES, CHANNELS)).astype("i2")
SCALE = 0.5
ELECTRODES = [7, 2, 3, 9, 0]
MASK = np.array([True, True, False, True, True])
ACTIVE = [7, 2, 9, 0]
ADC = RNG.standard_normal((SAMPLES, 2))
TRIGGER = (np.arange(SAMPLES) % 700 < 5).astype("u1")


@pytest.fixture
def source(tmp_path: Path) -> MappedSource:
    """Time x channels, scaled, electrodes out of order, one masked."""
    path = tmp_path / "recording.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("chdata", data=RAW, chunks=(500, 4), compression="gzip")
        file["adc"], file["trigger"] = ADC, TRIGGER
    return MappedSource.from_hdf_sources(
        str(path),
        "chdata",
        ["adc", "trigger"],
        units_scale=SCALE,
        transpose=True,
        electrode_channels=ELECTRODES,
        channel_mask=MASK,
        fs=1000.0,
        units="uV",
        channel_names=list("abcde"),
    )


EXPECTED = (RAW.T.astype(np.float32) * np.float32(SCALE))[ACTIVE]


def assert_is_copy(copy: Any, source: MappedSource) -> None:
    np.testing.assert_array_equal(copy[:], EXPECTED, strict=True)
    np.testing.assert_array_equal(np.asarray(copy.adc[:]), ADC.T, strict=True)
    np.testing.assert_array_equal(np.asarray(copy.trigger[:]), TRIGGER, strict=True)
    assert (copy.fs, copy.units, copy.channel_names) == (1000.0, "uV", list("abde"))


def test_temporary_writeable_mirror(source: MappedSource) -> None:
    copy = source.mirror(writeable=True, mapped=True, copy="all")
    assert_is_copy(copy, source)
    assert isinstance(copy, MappedSource)
    assert copy.writeable
    assert copy.is_direct_map
    assert copy.data_buffer.shape == copy.shape == (4, SAMPLES)
    assert Path(copy.data_buffer.filename).parent == TempFilePool.default().folder
    copy[:, :100] = 0
    copy.trigger[:3] = 9
    expected = EXPECTED.copy()
    expected[:, :100] = 0
    np.testing.assert_array_equal(copy[:], expected)
    assert list(copy.trigger[:5]) == [9, 9, 9, 1, 1]
    np.testing.assert_array_equal(source[:], EXPECTED)


def test_read_only_mirror(source: MappedSource) -> None:
    copy = source.mirror(writeable=False)
    with pytest.raises(ReadOnlyError):
        copy[0, 0] = 1
    plain = source.mirror(writeable=False, mapped=False)
    with pytest.raises((ReadOnlyError, ValueError)):
        plain[0, 0] = 1


def test_mirror_in_memory(source: MappedSource) -> None:
    copy = source.mirror(mapped=False)
    assert isinstance(copy, PlainArraySource)
    assert_is_copy(copy, source)
    assert isinstance(copy.adc, np.ndarray)
    copy[0] = 0
    assert not copy[0].any()


def test_channel_compatible(source: MappedSource) -> None:
    copy = source.mirror(channel_compatible=True)
    assert_is_copy(copy, source)
    assert copy.data_buffer.shape == (CHANNELS, SAMPLES)
    np.testing.assert_array_equal(copy.data_buffer[:], RAW.T * np.float32(SCALE))
    np.testing.assert_array_equal(copy.binary_channel_mask, MASK)
    copy.set_channel_mask(None)
    np.testing.assert_array_equal(copy._electrode_channels, ELECTRODES)
    plain = source.mirror(channel_compatible=True, mapped=False)
    assert plain.data_buffer.shape == (5, SAMPLES)
    assert_is_copy(plain, source)


@pytest.mark.parametrize("mapped", [True, False])
@pytest.mark.parametrize("copy", ["all", "electrode", "aligned", ""])
def test_copy_modes(source: MappedSource, copy: str, mapped: bool) -> None:
    made = source.mirror(copy=copy, mapped=mapped)
    data = EXPECTED if copy in ("all", "electrode") else np.zeros_like(EXPECTED)
    adc = ADC.T if copy in ("all", "aligned") else np.zeros_like(ADC.T)
    np.testing.assert_array_equal(made[:], data, strict=True)
    np.testing.assert_array_equal(np.asarray(made.adc[:]), adc, strict=True)


def test_new_sources(source: MappedSource, tmp_path: Path) -> None:
    matrix, adc = np.zeros((4, SAMPLES)), np.zeros((2, SAMPLES))
    made = source.mirror(mapped=False, new_sources={"chdata": matrix, "adc": adc})
    np.testing.assert_array_equal(matrix, EXPECTED)
    assert made.adc is adc
    assert made.data_buffer.array is matrix
    with h5py.File(tmp_path / "mine.h5", "w") as file:
        file["mine"] = np.zeros((4, SAMPLES), "f4")
    mine = HDF5Buffer.from_path(tmp_path / "mine.h5", "mine", mode="r+")
    made = source.mirror(new_sources={"chdata": mine})
    assert made.data_buffer is mine
    assert_is_copy(made, source)
    with pytest.raises(ValueError, match=r"new_sources names 'bnc'; this source has chdata, adc"):
        source.mirror(new_sources={"bnc": adc})
    with pytest.raises(ValueError, match=r"has shape \(2, 3\), the copy has \(2, 3000\)"):
        source.mirror(new_sources={"adc": np.zeros((2, 3))})


LAYOUTS: list[dict[str, Any]] = [
    {},
    {"chunks": (3, 700)},
    {"chunks": (3, 700), "compression": "gzip"},
    {"compression": 1},
    {"chunks": "window", "compression": 9},
    {"chunks": "channel"},
]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("tile_bytes", [2000, 1 << 20])
def test_named_file_is_plain_hdf5(
    source: MappedSource,
    tmp_path: Path,
    layout: dict[str, Any],
    tile_bytes: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mirror, "TILE_BYTES", tile_bytes)
    target = tmp_path / "copy.h5"
    copy = source.mirror(filename=target, writeable=False, **layout)
    assert_is_copy(copy, source)
    copy.close()
    report = verify_file(target)
    assert report.sealed
    assert set(report.arrays) == {"chdata", "adc", "trigger"}
    assert report.unsealed == ("Fs",)
    with h5py.File(target, "r") as file:
        dataset = file["chdata"]
        np.testing.assert_array_equal(dataset[()], EXPECTED, strict=True)
        assert file["Fs"][()] == 1000.0
        assert (dataset.compression == "gzip") == ("compression" in layout)
        if isinstance(layout.get("chunks"), tuple):
            assert dataset.chunks == layout["chunks"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["copy.h5", "recording.h5"]


def test_provenance(source: MappedSource, tmp_path: Path) -> None:
    target = tmp_path / "copy.h5"
    source.mirror(filename=target, writeable=False).close()
    record = read_provenance(target)
    assert record is not None
    status = (tmp_path / "recording.h5").stat()
    first = record["origin"]["files"][0]
    assert first["file"] == str(tmp_path / "recording.h5")
    assert (first["size"], first["mtime_ns"]) == (status.st_size, status.st_mtime_ns)
    assert record["origin"]["channels"] == ACTIVE
    assert record["origin"]["units_scale"] == SCALE
    assert record["options"]["copy"] == "all"
    assert record["made_by"] == "ecogsource mirror"
    assert read_provenance(tmp_path / "recording.h5") is None


def test_provenance_of_thousands_of_files_fits(tmp_path: Path) -> None:
    text = arrayfile.provenance_json({"files": [], "origin": {"files": ["x" * 100] * 5000}})
    assert len(text) < 60_000


def test_an_existing_file_is_replaced(source: MappedSource, tmp_path: Path) -> None:
    target = tmp_path / "copy.h5"
    target.write_bytes(b"something else")
    source.mirror(filename=target, writeable=False)
    assert verify_file(target).sealed


def test_damage_is_found(source: MappedSource, tmp_path: Path) -> None:
    target = tmp_path / "copy.h5"
    source.mirror(filename=target, writeable=False).close()
    with h5py.File(target, "r") as file:
        offset = file["chdata"].id.get_offset()
    with open(target, "rb+") as file:
        file.seek(offset + 5000)
        byte = file.read(1)
        file.seek(offset + 5000)
        file.write(bytes([byte[0] ^ 1]))
    with pytest.raises(CorruptDataError, match="do not have their checksum") as caught:
        verify_file(target)
    assert caught.value.filename == str(target)
    assert caught.value.offset is not None
    assert caught.value.offset <= offset + 5000


def test_damage_of_a_compressed_file_is_found(source: MappedSource, tmp_path: Path) -> None:
    target = tmp_path / "copy.h5"
    source.mirror(filename=target, writeable=False, chunks=(2, 500), compression="gzip").close()
    with h5py.File(target, "r") as file:
        info = file["chdata"].id.get_chunk_info(3)
    with open(target, "rb+") as file:
        file.seek(info.byte_offset + info.size // 2)
        file.write(b"\xff\x00\xff\x00\xff")
    with pytest.raises(CorruptDataError, match="rows .*, samples"):
        verify_file(target)


def test_verify_refuses_other_files(source: MappedSource, tmp_path: Path) -> None:
    with pytest.raises(DataPathError, match="there is no file"):
        verify_file(tmp_path / "nothing.h5")
    with pytest.raises(FormatError, match="not written by ecogsource"):
        verify_file(tmp_path / "recording.h5")
    (tmp_path / "text.h5").write_text("hello")
    with pytest.raises(FormatError, match="not an HDF5 file"):
        verify_file(tmp_path / "text.h5")


def test_a_writeable_mirror_has_no_checksums(source: MappedSource, tmp_path: Path) -> None:
    target = tmp_path / "copy.h5"
    copy = source.mirror(filename=target)
    copy[:, 0] = 1
    copy.close()
    report = verify_file(target)
    assert not report.sealed
    assert report.checked == 0
    assert set(report.unsealed) == {"chdata", "adc", "trigger", "Fs"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"copy": "some"}, "copy must be one of"),
        ({"mapped": False, "filename": "x.h5"}, "has no filename"),
        ({"mapped": False, "chunks": (1, 10)}, "mapped=False is memory"),
        ({"shared": True}, "give mapped=False"),
        ({"compression": "zip"}, "compression must be 'gzip'"),
        ({"compression": 11}, "compression must be 'gzip'"),
        ({"chunks": (0, 10)}, "two positive numbers"),
        ({"chunks": "diagonal"}, r"two numbers or one of .*window.*got .diagonal"),
        ({"new_rate_ratio": 0}, "at least 1"),
        ({"new_rate_ratio": 1.5}, "must be an integer"),
        ({"aligned": "guess"}, "aligned must be one of"),
    ],
)
def test_impossible_options(
    source: MappedSource, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        source.mirror(**options)


def test_a_source_is_not_written_over_itself(source: MappedSource, tmp_path: Path) -> None:
    before = (tmp_path / "recording.h5").read_bytes()
    with pytest.raises(ValueError, match="a file that this source reads"):
        source.mirror(filename=tmp_path / "recording.h5")
    with pytest.raises(ValueError, match="a file that this source reads"):
        source.filter_array(out=tmp_path / "recording.h5", design_kwargs={"hi": 100})
    assert (tmp_path / "recording.h5").read_bytes() == before


def test_missing_folder_and_memory(source: MappedSource, tmp_path: Path) -> None:
    with pytest.raises(DataPathError, match="does not exist"):
        source.mirror(filename=tmp_path / "no" / "copy.h5")
    with OVERRIDE.set(memory_limit=10_000), pytest.raises(MemoryBlowOutError, match="in memory"):
        source.mirror(mapped=False)
    with OVERRIDE.set(memory_limit=10_000):
        copy = source.mirror()
    assert_is_copy(copy, source)


def test_to_map_and_pickle() -> None:
    x = np.arange(60.0).reshape(3, 20)
    mapped = PlainArraySource(x, aligned_arrays={"t": np.arange(20)}, fs=5.0).to_map()
    assert mapped.writeable
    twin = pickle.loads(pickle.dumps(mapped))
    np.testing.assert_array_equal(twin[:], x, strict=True)
    np.testing.assert_array_equal(twin.t[:], np.arange(20), strict=True)


def test_arrays_of_any_number_of_axes(tmp_path: Path) -> None:
    x = np.arange(40.0).reshape(2, 20)
    video = np.arange(3 * 4 * 20).reshape(3, 4, 20)
    source = PlainArraySource(x, aligned_arrays={"video": video})
    target = tmp_path / "copy.h5"
    copy = source.mirror(filename=target, writeable=False)
    np.testing.assert_array_equal(copy.video[:], video, strict=True)
    assert verify_file(target).arrays["video"] == 1


@pytest.mark.parametrize("shape", [(0, 50), (3, 0), (1, 1)])
def test_empty_and_tiny(tmp_path: Path, shape: tuple[int, int]) -> None:
    source = MappedSource(ArrayBuffer(np.ones(shape, "i2")))
    copy = source.mirror(filename=tmp_path / "copy.h5", writeable=False)
    assert copy.shape == shape
    np.testing.assert_array_equal(copy[:], np.ones(shape, "i2"), strict=True)
    compressed = source.mirror(filename=tmp_path / "gzip.h5", compression="gzip")
    assert compressed.shape == shape


@pytest.mark.parametrize("big", [">i2", ">f8"])
def test_big_endian_data(tmp_path: Path, big: str) -> None:
    x = np.arange(200).reshape(2, 100).astype(big)
    copy = MappedSource(ArrayBuffer(x)).mirror(filename=tmp_path / "c.h5", writeable=False)
    np.testing.assert_array_equal(copy[:], x)
    assert verify_file(tmp_path / "c.h5").sealed


@given(
    rows=st.integers(1, 300),
    samples=st.integers(1, 100_000),
    itemsize=st.sampled_from([1, 2, 4, 8]),
    multiple=st.tuples(st.integers(1, 64), st.integers(1, 20_000)),
    tile_bytes=st.integers(100, 1 << 22),
    whole_rows=st.booleans(),
)
def test_grids_cover_everything_once(
    rows: int,
    samples: int,
    itemsize: int,
    multiple: tuple[int, int],
    tile_bytes: int,
    whole_rows: bool,
) -> None:
    grid = plan_grid(
        rows, samples, itemsize, multiple=multiple, tile_bytes=tile_bytes, whole_rows=whole_rows
    )
    assert len(grid) <= 15_000
    assert grid.tile_rows == rows or grid.tile_rows % min(multiple[0], rows) == 0
    assert grid.tile_samples == samples or grid.tile_samples % min(multiple[1], samples) == 0
    area = 0
    last = 0
    for piece in list(grid)[:500]:
        first_row, last_row, start, stop = grid.bounds(piece)
        assert grid.piece_at(first_row, start) == piece
        assert grid.piece_at(last_row - 1, stop - 1) == piece
        area += (last_row - first_row) * (stop - start)
        last = piece
    if last == len(grid) - 1:
        assert area == rows * samples


def test_grid_order() -> None:
    grid = Grid(5, 10, 2, 4)
    assert grid.shape == (3, 3)
    assert grid.bounds(0) == (0, 2, 0, 4)
    assert grid.bounds(8) == (4, 5, 8, 10)


def test_layout_advice() -> None:
    shape = (256, 10_000_000)
    assert advise_layout(shape, 2, "time").chunks == (64, 8192)
    assert advise_layout(shape, 2, "channel").chunks is None
    assert advise_layout(shape, 2, "channel", compression=True).chunks == (1, 1 << 19)
    assert advise_layout(shape, 2, "window", fs=1000.0).chunks == (16, 512)
    assert advise_layout((3, 40), 4, "time").chunks == (3, 40)
    assert advise_layout((0, 0), 4, "window").chunks == (1, 1)
    source = PlainArraySource(np.zeros((4, 100)), fs=10.0)
    assert source.advise_layout("channel").reason
    with pytest.raises(ValueError, match="'time', 'channel' or 'window', got 'row'"):
        source.advise_layout("row")  # type: ignore[arg-type]


def test_progress_bar_counts_pieces(source: MappedSource, capsys: pytest.CaptureFixture) -> None:
    source.mirror(progress=True)
    assert "copying: 100%" in capsys.readouterr().err
    source.mirror(progress=False)
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_files_are_let_go(source: MappedSource, tmp_path: Path) -> None:
    for number in range(3):
        source.mirror(filename=tmp_path / f"b{number}.h5", compression="gzip").close()
    held = [str(link.resolve()) for link in Path("/proc/self/fd").iterdir()]
    assert [name for name in held if "/.b" in name] == []
