"""Arrays of any shape as channels x time, and what a survey says of somebody's HDF5 file."""

from __future__ import annotations

import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecogsource.buffers import ArrayBuffer, HDF5Buffer
from ecogsource.demos import shapes
from ecogsource.demos.shapes import FieldsBuffer, RowsBuffer, same_fields
from ecogsource.demos.survey import Dataset, survey_hdf5
from ecogsource.errors import DataPathError, FormatError

TABLE = np.dtype([("a", "<i2"), ("b", "<i2"), ("c", "<i2")])


def slices(n: int) -> st.SearchStrategy[object]:
    index = st.integers(-n, n - 1)
    return st.one_of(st.slices(n), index, st.lists(index, min_size=1, max_size=5))


def filled_table(n_rows: int) -> tuple[np.ndarray, np.ndarray]:
    numbers = np.arange(3 * n_rows, dtype="<i2").reshape(n_rows, 3)
    return numbers.view(TABLE).reshape(n_rows), numbers.T


@given(data=st.data(), rows=slices(3))
def test_rows_of_any_array_are_numpy(data: st.DataObject, rows: object) -> None:
    lead = data.draw(st.sampled_from([(), (3,), (1, 3), (3, 1, 1)]))
    array = np.arange(3 * 40).reshape(*lead, -1) if lead else np.arange(40)
    expected = array.reshape(-1, array.shape[-1])
    buffer = RowsBuffer(ArrayBuffer(array))
    assert buffer.shape == expected.shape
    times = data.draw(slices(expected.shape[1]))
    if len(expected) == 1:
        rows = 0
    if isinstance(rows, list) and isinstance(times, list):
        rows = rows[0]
    np.testing.assert_array_equal(buffer[rows, times], expected[rows, times], strict=True)


@given(rows=slices(3), times=slices(50))
def test_fields_of_a_table_are_numpy(rows: object, times: object) -> None:
    if isinstance(rows, list) and isinstance(times, list):
        rows = rows[0]
    table, expected = filled_table(50)
    buffer = FieldsBuffer(ArrayBuffer(table))
    assert buffer.shape == (3, 50)
    np.testing.assert_array_equal(buffer[rows, times], expected[rows, times], strict=True)


def test_a_large_table_is_read_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapes, "READ_ITEMS", 3 * 7)
    table, expected = filled_table(100)
    buffer = FieldsBuffer(ArrayBuffer(table))
    np.testing.assert_array_equal(buffer[::-1, 5:93], expected[::-1, 5:93])
    np.testing.assert_array_equal(buffer[:, 5], expected[:, 5])


@pytest.mark.parametrize(
    ("dtype", "kind"),
    [
        (TABLE, np.dtype("<i2")),
        (np.dtype("f4"), None),
        (np.dtype([("a", "i2"), ("b", "i4")]), None),
        (np.dtype([("a", "S2"), ("b", "S2")]), None),
        (np.dtype({"names": ["a", "b"], "formats": ["i2", "i2"], "offsets": [0, 4]}), None),
    ],
)
def test_which_tables_have_fields_of_one_type(dtype: np.dtype, kind: np.dtype | None) -> None:
    assert same_fields(dtype) == kind


def test_a_table_of_unlike_fields_is_an_error() -> None:
    table = ArrayBuffer(np.zeros(4, [("a", "i2"), ("b", "f4")]))
    with pytest.raises(FormatError, match="needs a table of numbers of one type"):
        FieldsBuffer(table)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "somebody.h5"
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as out:
        out["wide"] = rng.integers(-9, 9, (4, 500)).astype("i2")
        out["tall"] = rng.random((600, 5))
        out["tall"].attrs["SampleRate"] = 250
        out["line"] = np.arange(300)
        out["trials"] = rng.random((3, 2, 200))
        table, _ = filled_table(400)
        out.create_dataset("group/table", data=table, chunks=(64,), compression="gzip")
        out["group/fs"] = np.array([[1000.0]])
        out["words"] = ["a", "b"]
        out["few"] = np.arange(7)
        out["mixed"] = np.zeros(900, [("t", "f8"), ("code", "u1")])
        out["nothing"] = np.zeros((0, 5))
        out["noise"] = np.zeros((1, 30_000, 150), "u1")
    return path


def by_name(path: Path) -> dict[str, Dataset]:
    return {dataset.name: dataset for dataset in survey_hdf5(path)}


def test_every_dataset_is_judged(file: Path) -> None:
    found = by_name(file)
    assert {name: (d.layout, d.fs) for name, d in found.items()} == {
        "wide": ("channels x time", None),
        "tall": ("time x channels", 250.0),
        "line": ("rows", None),
        "trials": ("rows", None),
        "group/table": ("table", 1000.0),
        "group/fs": ("", None),
        "words": ("", None),
        "few": ("", None),
        "mixed": ("", None),
        "nothing": ("", None),
        "noise": ("", None),
    }
    assert found["wide"].remark == "4 channels of 500 samples, stored channels x time"
    assert found["trials"].remark.startswith("3 axes (3 x 2 x 200): pieces such as trials")
    assert (
        "400 rows of 3 int16 fields (a ... c), taken as 3 channels" in found["group/table"].remark
    )
    assert found["mixed"].remark == "a table of 900 rows of unlike fields (t, code)"
    assert found["words"].remark == "text or objects, not numbers"
    assert found["nothing"].remark == "empty"


def test_recordings_come_first_and_the_largest_in_front(file: Path) -> None:
    layouts = [dataset.layout for dataset in survey_hdf5(file)]
    assert layouts == sorted(layouts, key=lambda layout: not layout)
    assert survey_hdf5(file)[0].name == "tall"


def test_what_is_opened_is_the_array(file: Path) -> None:
    with h5py.File(file) as h5:
        expected = {
            "wide": h5["wide"][()],
            "tall": h5["tall"][()].T,
            "line": h5["line"][()][None],
            "trials": h5["trials"][()].reshape(6, 200),
            "group/table": h5["group/table"][()].view("<i2").reshape(-1, 3).T,
        }
    found = by_name(file)
    for name, values in expected.items():
        source = found[name].open()
        np.testing.assert_array_equal(source[:], values, strict=True)
        np.testing.assert_array_equal(source[-1, ::-7], values[-1, ::-7], strict=True)
        assert source.fs == found[name].fs
        source.close()
    assert found["group/table"].open().channel_names == ["a", "b", "c"]
    assert found["wide"].open(fs=99.0).fs == 99.0


def test_what_is_no_recording_is_not_opened(file: Path) -> None:
    with pytest.raises(FormatError, match="'few' of .* is too few numbers for a recording"):
        by_name(file)["few"].open()


def test_a_file_that_is_not_there_or_not_hdf5(tmp_path: Path) -> None:
    with pytest.raises(DataPathError, match="no such file"):
        survey_hdf5(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("hello")
    with pytest.raises(FormatError, match="is not an HDF5 file"):
        survey_hdf5(tmp_path / "text.h5")


def test_buffers_survive_a_trip_to_another_process(file: Path) -> None:
    for name, dataset in by_name(file).items():
        if dataset.layout:
            buffer = dataset.open().data_buffer
            twin = pickle.loads(pickle.dumps(buffer))
            np.testing.assert_array_equal(twin[:, :50], buffer[:, :50], err_msg=name, strict=True)


@pytest.mark.parametrize(
    ("shape", "dtype", "remark"),
    [
        ((20_001, 20_001), "u1", "too many channels either way"),
        ((5, 20_000, 150), "u1", "3 axes (5 x 20,000 x 150), not a recording"),
        ((50,), [("a", "i2"), ("b", "i2")], "a table of 50 rows: too little for a recording"),
        ((), "f8", "a single value"),
    ],
)
def test_what_is_too_much_or_too_little(
    tmp_path: Path, shape: tuple[int, ...], dtype: object, remark: str
) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as out:
        # Without data written, the file stays small.
        out.create_dataset("x", shape, np.dtype(dtype))
    (found,) = survey_hdf5(tmp_path / "a.h5")
    assert found.layout == ""
    assert remark in found.remark


@pytest.mark.parametrize("rate", ["unknown", -5.0, np.nan, [1.0, 2.0]])
def test_a_rate_that_makes_no_sense_is_no_rate(tmp_path: Path, rate: object) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as out:
        out["x"] = np.zeros((2, 200))
        out["x"].attrs["fs"] = rate
        out["fs"] = 250.0
    assert survey_hdf5(tmp_path / "a.h5")[0].fs == 250.0


def test_a_real_table_of_electromyograms(shared_data: Path) -> None:
    path = shared_data / "hdf5" / "aopy" / "aj20250319_05_te2540_emg.hdf"
    (dataset,) = survey_hdf5(path)
    source = dataset.open()
    assert source.shape == (88, 14720)
    assert source.dtype == np.int16
    assert source.fs == 2048.0
    table = HDF5Buffer.from_path(path, "data")[1000:1100]
    np.testing.assert_array_equal(source[7, 1000:1100], table["chan8"])
