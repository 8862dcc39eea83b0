"""Every bridge against the other package's own reading of the same data."""

from __future__ import annotations

import inspect
import pickle
import re
import textwrap
from pathlib import Path
from typing import Any, ClassVar

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal

from ecogsource.datasource import MappedSource, PlainArraySource
from ecogsource.errors import DataPathError, FormatError, GapError, JoinError
from tests.oracle import assert_same, check_read, check_write
from tests.strategies import indices, make_array


@pytest.fixture
def array() -> np.ndarray:
    return make_array((6, 5000), "<i2", 1)


@pytest.fixture
def files(array: np.ndarray, tmp_path: Path) -> list[Path]:
    """Three files end to end, one of them time x channels."""
    paths = []
    for number, part in enumerate(np.split(array, [1700, 3100], axis=1)):
        paths.append(tmp_path / f"{number}.h5")
        with h5py.File(paths[-1], "w") as file:
            file.create_dataset("data", data=part, chunks=(3, 400), compression="gzip")
            file["Fs"] = 1000.0
    return paths


@pytest.fixture
def source(files: list[Path]) -> MappedSource:
    return MappedSource.from_hdf_sources(
        files, "data", units_scale=0.5, fs=1000, units="uV", channel_names=list("abcdef")
    )


@pytest.fixture
def expected(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32) * np.float32(0.5)


class Watched(PlainArraySource):
    """Notes what is read."""

    reads: ClassVar[list[Any]] = []

    def read(self, index: Any, out: Any = None) -> np.ndarray:
        self.reads.append(index)
        return super().read(index, out)


class TestDask:
    @pytest.fixture(autouse=True)
    def _dask(self) -> None:
        pytest.importorskip("dask.array", reason="dask is not installed")

    def test_blocks_follow_files_and_chunks(
        self, source: MappedSource, expected: np.ndarray
    ) -> None:
        import dask

        with dask.config.set({"array.chunk-size": "12 kB"}):
            lazy = source.to_dask()
        assert lazy.shape == source.shape
        assert lazy.dtype == np.float32
        borders = np.cumsum(lazy.chunks[1])
        assert {1700, 3100, 5000} <= set(borders.tolist())
        inner = [b for b in borders if b < 1700]
        assert inner
        assert all(b % 400 == 0 for b in inner)
        assert_same(lazy.compute(), expected)
        assert_same(lazy[[4, 1], 1690:1710:3].compute(), expected[[4, 1], 1690:1710:3])
        assert_same(source.to_dask(chunks=(2, 999)).sum(axis=0).compute(), expected.sum(axis=0))
        assert source.to_dask().name == source.to_dask().name
        assert len(pickle.dumps(lazy)) < 200_000

    def test_each_task_reads_once(self, array: np.ndarray) -> None:
        Watched.reads.clear()
        Watched(array).to_dask(chunks=(6, 1000)).compute(scheduler="synchronous")
        assert sorted(time.start for _, time in Watched.reads) == [0, 1000, 2000, 3000, 4000]

    def test_slices_reach_the_reading(self, array: np.ndarray) -> None:
        Watched.reads.clear()
        lazy = Watched(array).to_dask(chunks=(6, 1000))[1:3, 990:1010:4]
        assert_same(lazy.compute(scheduler="synchronous"), array[1:3, 990:1010:4])
        samples = [len(range(5000)[time]) for _, time in Watched.reads]
        assert sum(samples) == 5

    def test_any_source_slices_as_in_numpy(self, tmp_path: Path) -> None:
        from ecogsource.interop.dask import from_recordings

        array = make_array((5, 60), "<i2", 4)
        for number, part in enumerate((array[:, :25], array[:, 25:])):
            with h5py.File(tmp_path / f"{number}.h5", "w") as file:
                file.create_dataset("data", data=part.T, chunks=(7, 2))
        joined = MappedSource.from_hdf_sources(
            sorted(tmp_path.glob("*.h5")), "data", transpose=True, units_scale=(1, 0.5)
        )
        joined.set_channel_mask([True, False, True, True, True])
        expected = (array[[0, 2, 3, 4]].astype("f4") + 1) * np.float32(0.5)
        parts = [MappedSource(expected[:, :9]), MappedSource(expected[:, 9:])]
        for lazy in (
            joined.to_dask(),
            joined.to_dask(chunks=(3, 11)),
            from_recordings(parts, chunks=(2, 7)),
        ):
            for index in (
                np.s_[:], np.s_[-1], np.s_[:, 24:26], np.s_[::-1, 50:3:-6], np.s_[[3, 0, 0]],
                np.s_[:, [59, 0, 30]], np.s_[2, 30], np.s_[..., None], np.s_[1:1], np.s_[:, 60:],
            ):  # fmt: skip
                assert_same(np.asarray(lazy[index].compute()), np.asarray(expected[index]))
            assert_same(pickle.loads(pickle.dumps(lazy)).compute(), expected)

    def test_a_long_recipe_is_in_the_graph_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from ecogsource.interop import dask as bridge

        source = MappedSource(np.arange(2000).reshape(2, 1000))
        monkeypatch.setattr(bridge, "_SHORT_RECIPE", 100)
        lazy = bridge.to_dask(source, chunks=(2, 10))
        assert len(pickle.dumps(dict(lazy.__dask_graph__()))) < 100_000
        assert_same(lazy.compute(scheduler="synchronous"), source[:])

    def test_empty_sources(self) -> None:
        assert MappedSource(np.zeros((3, 0))).to_dask().compute().shape == (3, 0)

    def test_many_recordings(self, files: list[Path], array: np.ndarray) -> None:
        from ecogsource.interop.dask import from_recordings

        assert_same(from_recordings(files, dataset="data").compute(), array)
        mixed = [MappedSource(array[:, :10], fs=1000.0), array[:, 10:20]]
        with pytest.raises(JoinError, match="recording 1 has 6 channels of int16 at None"):
            from_recordings(mixed)
        mixed[1] = MappedSource(array[:, 10:20], fs=1000.0)
        assert_same(from_recordings(mixed).compute(), array[:, :20])
        with pytest.raises(JoinError, match="sequence of recordings is empty"):
            from_recordings([])

    def test_the_cut_does_not_show(self, source: MappedSource, expected: np.ndarray) -> None:
        from ecogsource.interop.dask import downsample, map_with_margin

        whole = signal.decimate(expected.astype(float), 5, ftype="fir", axis=1)
        for chunks in ("auto", (2, 77), (6, 1000)):
            np.testing.assert_allclose(
                downsample(source, 5, chunks=chunks).compute(), whole, rtol=1e-9, atol=1e-9
            )
        taps = signal.firwin(31, 0.2)

        def smooth(block: np.ndarray) -> np.ndarray:
            return signal.oaconvolve(block.astype(float), taps[None], mode="same", axes=1)

        whole = smooth(expected)
        for chunks in ((6, 333), (1, 5000)):
            found = map_with_margin(source, smooth, 15, chunks=chunks, dtype=float).compute()
            np.testing.assert_allclose(found, whole, atol=1e-6)
        with pytest.raises(ValueError, match="margin is -1"):
            map_with_margin(source, smooth, -1)

    def test_a_cluster_runs_batches(self, files: list[Path]) -> None:
        distributed = pytest.importorskip("distributed", reason="distributed is not installed")
        from ecogsource.batch import BatchProcessor

        session = MappedSource.from_hdf_sources(files, "data", fs=1000)
        with (
            distributed.LocalCluster(
                n_workers=2, threads_per_worker=1, dashboard_address=":0", processes=False
            ) as cluster,
            distributed.Client(cluster) as client,
        ):
            batches = BatchProcessor(session, max_memory="6KB", show_progress_bar=False)
            peaks = batches.multi_channel_apply(
                np.max, "memory", axis=0, executor=client.get_executor()
            )
        assert_same(np.max(peaks, axis=0), session.max(axis=1))

    @pytest.mark.parametrize("processes", [False, True], ids=["threads", "processes"])
    def test_the_worked_example(
        self,
        files: list[Path],
        array: np.ndarray,
        processes: bool,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """The code of the page filters and downsamples a session on a cluster, to Zarr."""
        dask = pytest.importorskip("dask", reason="dask is not installed")
        distributed = pytest.importorskip("distributed", reason="distributed is not installed")
        zarr = pytest.importorskip("zarr", reason="zarr is not installed")
        page = Path(__file__).resolve().parents[2] / "docs" / "howto_batch.rst"
        blocks = re.findall(
            r"^\.\. code-block:: python\n\n((?:   .*\n|\n)+)",
            page.read_text(encoding="utf-8"),
            re.MULTILINE,
        )
        (code,) = (block for block in blocks if "downsample(session" in block)
        options = {"processes": processes, "threads_per_worker": 1, "dashboard_address": ":0"}
        names: dict[str, Any] = {
            "files": files,
            "LocalCluster": lambda n_workers: distributed.LocalCluster(2, **options),
            "Client": distributed.Client,
        }
        monkeypatch.chdir(tmp_path)
        with dask.config.set({"array.chunk-size": "6 kB"}):
            exec(textwrap.dedent(code), names)
        stored = np.asarray(zarr.open(str(tmp_path / "session_2000Hz.zarr")))
        assert names["slow"].npartitions > len(files)
        assert_same(stored, names["slow"].compute(scheduler="synchronous"))
        whole = signal.decimate(names["band"](array), 10, ftype="fir", axis=1)
        np.testing.assert_allclose(stored, whole, rtol=0, atol=1e-9 * np.abs(whole).max())
        assert np.abs(whole).max() > 100

    def test_filtered_before(self, source: MappedSource, expected: np.ndarray) -> None:
        from ecogsource.interop.dask import downsample

        def slope(block: np.ndarray) -> np.ndarray:
            return np.gradient(block.astype(float), axis=1)

        whole = signal.decimate(slope(expected), 5, ftype="fir", axis=1)
        for chunks in ("auto", (2, 77)):
            found = downsample(source, 5, slope, 1, chunks=chunks).compute()
            np.testing.assert_allclose(found, whole, rtol=1e-9, atol=1e-9)
        with pytest.raises(ValueError, match="margin is -2"):
            downsample(source, 5, slope, -2)


class TestXarray:
    @pytest.fixture(autouse=True)
    def _xarray(self) -> None:
        pytest.importorskip("xarray", reason="xarray is not installed")

    def test_it_is_read_when_it_is_used(self, source: MappedSource, expected: np.ndarray) -> None:
        import xarray

        reads: list[Any] = []
        read_into = source.data_buffer._read_into
        source.data_buffer._read_into = lambda s, out: (reads.append(s), read_into(s, out))[1]
        lazy = source.to_xarray()
        chosen = lazy.sel(channel=["e", "b"]).isel(time=slice(100, 200, 2))
        assert reads == []
        assert_same(chosen.values, expected[[4, 1], 100:200:2])
        assert sum(selection.size for selection in reads) == 100
        assert isinstance(lazy, xarray.DataArray)
        np.testing.assert_allclose(chosen.time, np.arange(100, 200, 2) / 1000)
        assert lazy.attrs == {"fs": 1000.0, "units": "uV"}
        assert_same(lazy.isel(channel=[5, 5], time=[7, 3]).values, expected[[5, 5]][:, [7, 3]])
        points = xarray.DataArray([0, 1, 2], dims="p")
        assert_same(lazy.isel(channel=points, time=points).values, expected[[0, 1, 2], [0, 1, 2]])
        bare = MappedSource(np.ones((2, 3))).to_xarray()
        assert bare.channel.values.tolist() == [0, 1]
        assert "time" not in bare.coords


class TestZarr:
    @pytest.fixture(autouse=True)
    def _zarr(self) -> None:
        pytest.importorskip("zarr", reason="zarr is not installed")

    @given(data=st.data())
    def test_any_index_reads_and_writes(self, data: st.DataObject, tmp_path_factory: Any) -> None:
        import zarr

        from ecogsource.interop.zarr import ZarrBuffer

        array = make_array((5, 9), "<i2", data.draw(st.integers(0, 9)))
        path = tmp_path_factory.mktemp("z") / "a.zarr"
        zarr.save(str(path), array)
        buffer = ZarrBuffer(path, writeable=True)
        check_read(buffer, array, data.draw(indices(array.shape)))
        check_write(buffer, array, data.draw(indices(array.shape)), 7)
        assert_same(np.asarray(zarr.open(str(path), mode="r")), array)
        scaled = ZarrBuffer(path, units_scale=(1, 0.5))
        assert_same(scaled[1], (array[1].astype("f4") + 1) * np.float32(0.5))
        assert_same(pickle.loads(pickle.dumps(scaled))[1], scaled[1])
        per_row = ZarrBuffer(path, units_scale=np.arange(1, 6)[:, None])
        assert_same(per_row[3], array[3].astype("f4") * np.float32(4))

    def test_a_copy(self, source: MappedSource, expected: np.ndarray, tmp_path: Path) -> None:
        import zarr

        from ecogsource.interop.zarr import ZarrBuffer, open_zarr, to_zarr

        source.set_channel_mask([True] * 5 + [False])
        copy = to_zarr(source, tmp_path / "c.zarr", chunks=(5, 500))
        assert_same(copy[:], expected[:5])
        assert copy.fs == 1000
        assert copy.channel_names == list("abcde")
        assert copy.data_buffer.chunks == (5, 500)
        peer = zarr.open(str(tmp_path / "c.zarr"), mode="r")["data"]
        assert_same(np.asarray(peer), expected[:5])
        with pytest.raises(FileExistsError):
            to_zarr(source, tmp_path / "c.zarr")
        to_zarr(source, tmp_path / "c.zarr", replace=True)
        with pytest.raises(DataPathError, match="no array 'lfp'.*it has: data"):
            open_zarr(tmp_path / "c.zarr", "lfp")
        with pytest.raises(DataPathError, match=r"no such folder.*d\.zarr"):
            ZarrBuffer(tmp_path / "d.zarr")
        with pytest.raises(FormatError, match="a Zarr group with data"):
            ZarrBuffer(tmp_path / "c.zarr")
        (tmp_path / "e.zarr").mkdir()
        with pytest.raises(FormatError, match="is not Zarr"):
            ZarrBuffer(tmp_path / "e.zarr")
        zarr.save(str(tmp_path / "s.zarr"), np.array([1j, 2]))
        with pytest.raises(FormatError, match="which are no numbers"):
            ZarrBuffer(tmp_path / "s.zarr")


class TestSpikeInterface:
    @pytest.fixture(autouse=True)
    def _spikeinterface(self) -> None:
        pytest.importorskip("spikeinterface.core", reason="spikeinterface is not installed")

    def test_there(self, source: MappedSource, expected: np.ndarray) -> None:
        recording = source.to_spikeinterface()
        assert recording.get_num_samples() == 5000
        assert recording.get_sampling_frequency() == 1000
        assert_same(recording.get_traces(), expected.T)
        assert_same(
            recording.get_traces(start_frame=1690, end_frame=1720, channel_ids=["e", "b"]),
            expected[[4, 1], 1690:1720].T,
        )
        assert recording.get_channel_gains().tolist() == [1.0] * 6
        assert_same(pickle.loads(pickle.dumps(recording)).get_traces(), expected.T)
        with pytest.raises(FormatError, match="needs a rate"):
            MappedSource(np.zeros((2, 3))).to_spikeinterface()

    def test_and_back(self, array: np.ndarray) -> None:
        from spikeinterface import core

        from ecogsource.interop.spikeinterface import from_spikeinterface

        peer = core.NumpyRecording([np.ascontiguousarray(array.T)], 500.0)
        source = from_spikeinterface(peer)
        assert source.fs == 500
        assert_same(source[:], array)
        assert_same(source[[4, 0, 0], 4000:10:-7], array[[4, 0, 0], 4000:10:-7])
        assert source[3, 7] == array[3, 7]
        peer.set_channel_gains([1.0, 2, 3, 4, 5, 6])
        peer.set_channel_offsets([0.0, 1, 2, 3, 4, 5])
        scaled = from_spikeinterface(peer)
        assert scaled.units == "uV"
        options = inspect.signature(peer.get_traces).parameters
        wish = "return_in_uV" if "return_in_uV" in options else "return_scaled"
        traces = peer.get_traces(**{wish: True})
        np.testing.assert_allclose(scaled[:], traces.T, rtol=1e-6)
        peer.set_channel_gains([0.0, 2, 3, 4, 5, 6])
        with pytest.raises(FormatError, match="gain of 0"):
            from_spikeinterface(peer)
        two = core.NumpyRecording([np.ascontiguousarray(array.T)] * 2, 500.0)
        with pytest.raises(GapError, match="has 2 segments.*segment=0"):
            from_spikeinterface(two)
        assert from_spikeinterface(two, segment=1).shape == array.shape


class TestMne:
    @pytest.fixture(autouse=True)
    def _mne(self) -> None:
        pytest.importorskip("mne", reason="mne is not installed")

    def test_it_loads_when_asked(self, source: MappedSource, expected: np.ndarray) -> None:
        import mne

        raw = source.to_mne()
        assert not raw.preload
        assert raw.ch_names == list("abcdef")
        np.testing.assert_allclose(raw.get_data(), expected * 1e-6)
        np.testing.assert_allclose(raw.get_data(["e"], 1690, 1720), expected[[4], 1690:1720] * 1e-6)
        peer = mne.io.RawArray(expected.astype(float) * 1e-6, raw.info, verbose=False)
        cut = raw.copy().pick(["b", "f"]).crop(1.0, 3.0)
        np.testing.assert_allclose(
            cut.load_data(verbose=False).get_data(),
            peer.pick(["b", "f"]).crop(1.0, 3.0).get_data(),
        )
        with pytest.raises(FormatError, match="MNE needs a rate and samples"):
            MappedSource(np.zeros((2, 3))).to_mne()


class TestNwb:
    def test_a_file(self, source: MappedSource, expected: np.ndarray, tmp_path: Path) -> None:
        pynwb = pytest.importorskip("pynwb", reason="pynwb is not installed")
        from ecogsource import open_recording
        from ecogsource.interop.nwb import to_nwb

        path = to_nwb(source, tmp_path / "a.nwb", location="cortex")
        with pynwb.NWBHDF5IO(str(path), "r") as file:
            series = file.read().acquisition["data"]
            assert_same(series.data[:], expected.T)
            assert series.rate == 1000
            assert series.conversion == 1e-6
            assert list(series.electrodes["label"].data[:]) == list("abcdef")
        with open_recording(path) as recording:
            np.testing.assert_allclose(recording.source.raw[:], expected)
        with pytest.raises(FormatError, match="NWB needs a rate and volts"):
            to_nwb(MappedSource(np.zeros((2, 3)), fs=10), tmp_path / "b.nwb")
        with pytest.raises(FormatError, match=r"NWB needs data: the source has \(2, 0\)"):
            to_nwb(MappedSource(np.zeros((2, 0)), fs=10, units="V"), tmp_path / "b.nwb")
        assert not (tmp_path / "b.nwb").exists()

    def test_it_is_written_in_blocks(
        self,
        source: MappedSource,
        expected: np.ndarray,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        pynwb = pytest.importorskip("pynwb", reason="pynwb is not installed")
        from ecogsource.interop import nwb

        sample = expected[:, 0].nbytes
        monkeypatch.setattr(nwb, "_CHUNK", 64 * sample)
        monkeypatch.setattr(nwb, "_BUFFER", 640 * sample)
        reads: list[int] = []
        read_into = source.data_buffer._read_into
        source.data_buffer._read_into = lambda s, out: (reads.append(s.size), read_into(s, out))[1]
        path = nwb.to_nwb(source, tmp_path / "a.nwb")
        n_samples = expected.shape[1]
        assert len(reads) == -(-n_samples // 640)
        assert sum(reads) == expected.size
        with pynwb.NWBHDF5IO(str(path), "r") as file:
            stored = file.read().acquisition["data"].data
            assert stored.chunks == (64, 6)
            assert_same(stored[:], expected.T)
