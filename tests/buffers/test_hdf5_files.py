"""HDF5 files that only the library reads, and files that are missing or damaged."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from ecogsource.buffers import HDF5Buffer, chunk_cache_info, clear_chunk_cache
from ecogsource.buffers.storage.h5file import FILES
from ecogsource.buffers.storage.library import LibraryReader
from ecogsource.errors import (
    CorruptDataError,
    DataPathError,
    FormatError,
)
from tests.buffers.hdf5_common import TRUTH, reader_of, same


def test_values_kept_in_the_header(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple((3, 4))
        h5py.h5d.create(file.id, b"x", h5py.h5t.STD_I16BE, space, dcpl=plist)
        file["x"][...] = truth = np.arange(12).reshape(3, 4)
    buffer = HDF5Buffer.from_path(tmp_path / "a.h5", "x")
    assert isinstance(reader_of(buffer), LibraryReader)
    np.testing.assert_array_equal(buffer[::-1], truth[::-1])


def test_compounds_strings_and_booleans(tmp_path: Path) -> None:
    kinds = np.dtype([("a", "<i2"), ("b", "<f4", (2,))])
    arrays = {
        "compound": np.zeros(7, kinds),
        "bytes": np.array([b"ab", b"c"] * 4),
        "flags": np.arange(9) % 2 == 0,
        "complex": np.arange(6) * (1 + 2j),
    }
    arrays["compound"]["a"] = np.arange(7)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array, chunks=(4,))
        file["empty"] = h5py.Empty("f4")
    for name, array in arrays.items():
        buffer = HDF5Buffer.from_path(tmp_path / "a.h5", name)
        for index in (np.s_[:], np.s_[::-1], np.s_[[3, 3, 1]], 2):
            np.testing.assert_array_equal(buffer[index], array[index])


def test_a_null_dataset_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["nothing"] = h5py.Empty("f4")
    with pytest.raises(FormatError, match=r"'/nothing' of .* has no values \(null dataspace\)"):
        HDF5Buffer.from_path(tmp_path / "a.h5", "nothing")


def virtual_file(folder: Path) -> Path:
    layout = h5py.VirtualLayout((3, 10), "i4")
    for i in range(3):
        with h5py.File(folder / f"part{i}.h5", "w") as file:
            file["x"] = np.arange(10, dtype="i4") + 10 * i
        layout[i] = h5py.VirtualSource(f"part{i}.h5", "x", (10,))
    with h5py.File(folder / "all.h5", "w", libver="latest") as file:
        file.create_virtual_dataset("x", layout, fillvalue=-1)
    return folder / "all.h5"


def test_virtual_datasets_and_their_sources(tmp_path: Path) -> None:
    path = virtual_file(tmp_path)
    truth = np.arange(30, dtype="i4").reshape(3, 10)
    buffer = HDF5Buffer.from_path(path, "x")
    same(buffer, truth, (np.s_[:], np.s_[::-1, 3:8:2], np.s_[[2, 0], [1, 1]]))
    (tmp_path / "part1.h5").unlink()
    with pytest.raises(DataPathError, match=r"has values in 'part1\.h5', which is missing"):
        buffer[:]
    with pytest.raises(DataPathError, match="would read as fill values"):
        HDF5Buffer.from_path(path, "x")


def test_a_virtual_dataset_of_its_own_file(tmp_path: Path) -> None:
    layout = h5py.VirtualLayout((2, 10), "i4")
    with h5py.File(tmp_path / "a.h5", "w", libver="latest") as file:
        file["x"] = np.arange(10, dtype="i4")
        layout[0] = layout[1] = h5py.VirtualSource(file["x"])
        file.create_virtual_dataset("twice", layout)
    buffer = HDF5Buffer.from_path(tmp_path / "a.h5", "twice")
    np.testing.assert_array_equal(buffer[:, ::-2], np.tile(np.arange(10), (2, 1))[:, ::-2])


def test_a_virtual_source_without_its_dataset(tmp_path: Path) -> None:
    path = virtual_file(tmp_path)
    with h5py.File(tmp_path / "part2.h5", "r+") as file:
        del file["x"]
    with pytest.raises(DataPathError, match=r"has values in dataset 'x' of 'part2\.h5'.*missing"):
        HDF5Buffer.from_path(path, "x")


def test_external_values(tmp_path: Path) -> None:
    values = np.arange(20, dtype="i4")
    values.tofile(tmp_path / "raw.bin")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", (20,), "i4", external=[(tmp_path / "raw.bin", 0, 80)])
    buffer = HDF5Buffer.from_path(tmp_path / "a.h5", "x")
    same(buffer, values, (np.s_[::-2], np.s_[[3, 19]]))
    (tmp_path / "raw.bin").unlink()
    with pytest.raises(DataPathError, match=r"raw\.bin', which is missing"):
        HDF5Buffer.from_path(tmp_path / "a.h5", "x")


def test_a_file_that_grows_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", libver="latest") as writer:
        dataset = writer.create_dataset("x", data=np.arange(10), chunks=(4,), maxshape=(None,))
        writer.swmr_mode = True
        with h5py.File(path, "r", libver="latest", swmr=True) as file:
            buffer = HDF5Buffer(file["x"])
            assert isinstance(reader_of(buffer), LibraryReader)
            np.testing.assert_array_equal(buffer[:], np.arange(10))
            dataset[3] = 77
            dataset.flush()
            file["x"].refresh()
            assert buffer[3] == 77


def test_what_the_library_reads_is_checked_too(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["x"] = np.array([b"a", b"b"])
    buffer = HDF5Buffer.from_path(path, "x")
    assert buffer[0] == b"a"
    os.utime(path, ns=(0, 0))
    with pytest.raises(CorruptDataError, match="changed after it was opened"):
        buffer[0]
    FILES.clear()


def test_missing_files_and_datasets(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["group/x"] = TRUTH
    with pytest.raises(DataPathError, match=r"gone\.h5.*No such file"):
        HDF5Buffer.from_path(tmp_path / "gone.h5", "x")
    message = r"no dataset 'y' in .*It has: 'group/x' \(24, 5000\) int16"
    with pytest.raises(DataPathError, match=message):
        HDF5Buffer.from_path(path, "y")
    with pytest.raises(DataPathError, match=r"'group' in .* is a group, expected a dataset"):
        HDF5Buffer.from_path(path, "group")
    with pytest.raises(DataPathError, match="no dataset"):
        HDF5Buffer.from_path(path, "")
    with pytest.raises(ValueError, match="mode must be 'r' or 'r\\+', got 'w'"):
        HDF5Buffer.from_path(path, "group/x", mode="w")


def test_listings_are_short(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "many.h5", "w") as file:
        for i in range(30):
            file[f"{i:02d}"] = i
    with pytest.raises(DataPathError, match=r"'19' \(\) int64, \.\.\.$"):
        HDF5Buffer.from_path(tmp_path / "many.h5", "x")
    h5py.File(tmp_path / "none.h5", "w").close()
    with pytest.raises(DataPathError, match="The file holds no dataset"):
        HDF5Buffer.from_path(tmp_path / "none.h5", "x")


def test_files_that_are_not_hdf5(tmp_path: Path) -> None:
    for content in (b"", b"not at all an HDF5 file" * 100):
        (tmp_path / "a.h5").write_bytes(content)
        with pytest.raises(FormatError, match=rf"is not an HDF5 file \({len(content)} bytes"):
            HDF5Buffer.from_path(tmp_path / "a.h5", "x")


def test_a_truncated_file(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["x"] = TRUTH
    os.truncate(path, path.stat().st_size - 1000)
    with pytest.raises(CorruptDataError, match="the HDF5 file is truncated"):
        HDF5Buffer.from_path(path, "x")


def test_a_file_open_for_writing_in_this_process(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    truth = TRUTH.copy()
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("x", data=TRUTH, chunks=(5, 700))
        buffer = HDF5Buffer.from_path(path, "x")
        for value in range(3):
            truth[3] = dataset[3] = value
            same(buffer, truth)


def test_a_file_locked_by_a_reader(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["x"] = TRUTH
    with h5py.File(path, "r"), pytest.raises(DataPathError, match=r"mode 'r\+' now.*for writing"):
        HDF5Buffer.from_path(path, "x", mode="r+")


@pytest.mark.parametrize("locking", [True, "best-effort"])
def test_a_file_open_with_locks_is_read_all_the_same(tmp_path: Path, locking: object) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["x"] = TRUTH
    with h5py.File(path, "r", locking=locking):
        same(HDF5Buffer.from_path(path, "x"), TRUTH)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("offset", "size"), [(10**9, None), (None, 10**9), (None, 5)])
def test_an_index_that_points_nowhere(
    tmp_path: Path, packed: bool, offset: int | None, size: int | None
) -> None:
    path = tmp_path / "a.h5"
    how = {"compression": "gzip"} if packed else {}
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=TRUTH, chunks=(6, 1000), **how)
    buffer = HDF5Buffer.from_path(path, "x")
    reader = reader_of(buffer)
    index = reader._load_index()  # type: ignore[attr-defined]
    index.offsets[0, 0] = offset or index.offsets[0, 0]
    index.sizes[0, 0] = size or index.sizes[0, 0]
    reader._load_index = lambda: index  # type: ignore[attr-defined]
    with pytest.raises(CorruptDataError, match=r"chunk \(0, 0\) of dataset '/x' is damaged"):
        buffer[:]


def test_counters(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=TRUTH, chunks=(24, 1000), compression="gzip")
    clear_chunk_cache()
    buffer = HDF5Buffer.from_path(tmp_path / "a.h5", "x")
    for start in range(0, 4000, 500):
        buffer[:, start : start + 1000]
    info = chunk_cache_info()
    assert (info.misses, info.hits) == (5, 7)


def test_real_files(shared_data: Path) -> None:
    folder = shared_data / "hdf5" / "aopy"
    checked = 0
    for path in sorted(folder.glob("*.hdf")):
        with h5py.File(path) as file:
            names: list[str] = []
            file.visit(names.append)
            for name in names:
                if not isinstance(file[name], h5py.Dataset):
                    continue
                if file[name].dtype.kind == "O" or not file[name].shape:
                    continue
                buffer = HDF5Buffer.from_path(path, name)
                # Tables hold NaN, which equals nothing: compare the bytes.
                assert buffer[:].tobytes() == file[name][()].tobytes()
                assert buffer[::-3].tobytes() == file[name][()][::-3].tobytes()
                checked += 1
    assert checked > 5
