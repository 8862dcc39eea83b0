"""Those who read: ecogsource, and the libraries it is compared with.

Each peer reads one request as a channels x time array in C order, the way its documentation
suggests to a careful user.
"""

from __future__ import annotations

import importlib.metadata
import mmap
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from benchmarks.files import Layout, Size
from benchmarks.works import Request


class Peer:
    """One reader of one file.

    Parameters
    ----------
    folder : Path
        Where the files are.
    layout : Layout
        Which of them.
    size : Size
        Of the recording.
    """

    name = ""
    package = ""

    def __init__(self, folder: Path, layout: Layout, size: Size) -> None:
        self.layout, self.size = layout, size
        self.path = layout.path(folder)
        self.shape = size[::-1] if layout.time_first else tuple(size)
        self.open(folder)

    @classmethod
    def can(cls, layout: Layout) -> bool:
        """Tell whether it reads such files."""
        return layout.kind == "hdf5"

    @classmethod
    def version(cls) -> str | None:
        """Return its version, or ``None`` if it is not installed."""
        try:
            return importlib.metadata.version(cls.package)
        except importlib.metadata.PackageNotFoundError:
            return None

    def open(self, folder: Path) -> None:
        """Open the file."""

    def close(self) -> None:
        """Close the file."""

    def get(self, key: tuple[Any, Any]) -> np.ndarray:
        """Read a key given in the file's order of axes."""
        raise NotImplementedError

    def read(self, request: Request) -> np.ndarray:
        """Read a request: channels x time, C order."""
        if self.layout.time_first:
            found = self.get((request.times, request.channels)).T
        else:
            found = self.get((request.channels, request.times))
        result = np.ascontiguousarray(found)
        # Some hand out a view of a map, of which nothing was read yet.
        return result.copy() if _is_map(result) else result


def _is_map(array: object) -> bool:
    while isinstance(array, np.ndarray):
        array = array.base
    return isinstance(array, mmap.mmap)


class Ours(Peer):
    """ecogsource."""

    name, package = "ecogsource", "ecogsource"

    @classmethod
    def can(cls, layout: Layout) -> bool:
        """Read everything."""
        return True

    @classmethod
    def version(cls) -> str | None:
        """Return the version of the tree that is measured."""
        return "this tree"

    def open(self, folder: Path) -> None:
        """Open the file, with nothing kept from before."""
        from ecogsource.buffers import FlatBuffer, HDF5Buffer, clear_chunk_cache

        clear_chunk_cache()
        if self.layout.kind == "flat":
            buffer: Any = FlatBuffer(self.path, np.int16, self.shape)
        else:
            buffer = HDF5Buffer.from_path(self.path, "data")
        self.buffer = buffer.T if self.layout.time_first else buffer

    def read(self, request: Request) -> np.ndarray:
        """Index, as a user does."""
        return self.buffer[request.channels, request.times]

    def close(self) -> None:
        """Let go of the file, and of its map."""
        self.buffer.close()


class Alone(Ours):
    """ecogsource with one worker: what threads add."""

    name = "ecogsource, 1 worker"

    def read(self, request: Request) -> np.ndarray:
        """Index, as a user does, in this thread alone."""
        from ecogsource.params import OVERRIDE

        with OVERRIDE.set(workers=1):
            return super().read(request)


class Memmap(Peer):
    """NumPy's memory map; of contiguous HDF5 datasets too."""

    name, package = "memmap", "numpy"

    @classmethod
    def can(cls, layout: Layout) -> bool:
        """Read flat files."""
        return layout.kind == "flat"

    def open(self, folder: Path) -> None:
        """Map the file."""
        self.array = np.memmap(self.path, np.int16, "r", shape=self.shape)

    def get(self, key: tuple[Any, Any]) -> np.ndarray:
        """Index the map."""
        return self.array[key]

    def read(self, request: Request) -> np.ndarray:
        """Copy, so that the bytes are really read."""
        if not self.layout.time_first:
            return np.array(self.array[request.channels, request.times], order="C")
        return np.array(self.array[request.times, request.channels].T, order="C")


class H5py(Peer):
    """h5py, indexed with what is wanted."""

    name, package = "h5py", "h5py"

    def open(self, folder: Path) -> None:
        """Open the dataset."""
        self.file = h5py.File(self.path, "r")
        self.data: Any = self.file["data"]

    def get(self, key: tuple[Any, Any]) -> np.ndarray:
        """Index the dataset."""
        return self.data[key]

    def close(self) -> None:
        """Close the file."""
        self.file.close()


class Bounding(Peer):
    """Something that reads plain slices only; NumPy takes lists and steps from those."""

    def slab(self, key: tuple[slice, slice]) -> np.ndarray:
        """Read plain slices."""
        raise NotImplementedError

    def get(self, key: tuple[Any, Any]) -> np.ndarray:
        """Read the bounding slices, then take."""
        box, inner = [], []
        for part, n in zip(key, self.shape, strict=True):
            if isinstance(part, slice):
                start, stop, step = part.indices(n)
                box.append(slice(start, stop))
                inner.append(slice(None, None, step))
            else:
                box.append(slice(int(part[0]), int(part[-1]) + 1))
                inner.append(part - part[0])
        return self.slab((box[0], box[1]))[tuple(inner)]


class H5pySlices(H5py, Bounding):
    """h5py with plain slices, NumPy doing the rest."""

    name = "h5py slices"

    def slab(self, key: tuple[slice, slice]) -> np.ndarray:
        """Read with h5py."""
        return self.data[key]

    get = Bounding.get


class Hidefix(Bounding):
    """hidefix, in Rust."""

    name, package = "hidefix", "hidefix"

    def open(self, folder: Path) -> None:
        """Index the file."""
        import hidefix

        self.data = hidefix.Index(os.fspath(self.path)).dataset("data")

    @classmethod
    def can(cls, layout: Layout) -> bool:
        """Read chunked datasets."""
        return layout.chunks is not None

    def slab(self, key: tuple[slice, slice]) -> np.ndarray:
        """Read with hidefix, which drops axes of length one."""
        return np.reshape(self.data[key], [part.stop - part.start for part in key])


class Pyfive(Peer):
    """pyfive, in Python."""

    name, package = "pyfive", "pyfive"

    def open(self, folder: Path) -> None:
        """Open the dataset."""
        import pyfive

        self.file = pyfive.File(os.fspath(self.path))
        self.data = self.file["data"]

    def get(self, key: tuple[Any, Any]) -> np.ndarray:
        """Index the dataset."""
        return self.data[key]

    def close(self) -> None:
        """Close the file."""
        self.file.close()


class Dask(H5py):
    """dask over h5py, threaded."""

    name, package = "dask", "dask"

    def open(self, folder: Path) -> None:
        """Wrap the dataset."""
        import dask.array

        super().open(folder)
        chunks = self.data.chunks or "auto"
        self.array = dask.array.from_array(self.data, chunks=chunks)

    def get(self, key: tuple[Any, Any]) -> np.ndarray:
        """Index and compute."""
        return self.array[key].compute(scheduler="threads")


class Zarr(Peer):
    """zarr-python 3, on a twin with the same chunks and codec."""

    name, package = "zarr", "zarr"

    @classmethod
    def can(cls, layout: Layout) -> bool:
        """Read the twins of chunked files."""
        return layout.chunks is not None

    def open(self, folder: Path) -> None:
        """Open the twin."""
        import zarr

        self.array = zarr.open_array(self.layout.twin(folder), mode="r")

    def get(self, key: tuple[Any, Any]) -> np.ndarray:
        """Index orthogonally."""
        return self.array.oindex[key]


class Tensorstore(Zarr):
    """tensorstore, on the same twin."""

    name, package = "tensorstore", "tensorstore"

    def open(self, folder: Path) -> None:
        """Open the twin."""
        import tensorstore

        path = os.fspath(self.layout.twin(folder))
        spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": path}}
        self.store = tensorstore.open(spec, read=True).result()

    def get(self, key: tuple[Any, Any]) -> np.ndarray:
        """Index orthogonally and wait."""
        return self.store.oindex[key].read().result()


class SpikeInterface(Peer):
    """SpikeInterface's reader of flat files."""

    name, package = "spikeinterface", "spikeinterface"

    @classmethod
    def can(cls, layout: Layout) -> bool:
        """Read flat time x channels."""
        return layout.kind == "flat" and layout.time_first

    def open(self, folder: Path) -> None:
        """Open the file."""
        from spikeinterface.core import BinaryRecordingExtractor

        self.recording = BinaryRecordingExtractor(
            [self.path], 1000.0, "int16", num_channels=self.size.channels
        )

    def get(self, key: tuple[Any, Any]) -> np.ndarray:
        """Get traces; NumPy takes steps."""
        times, channels = key
        ids = self.recording.channel_ids[channels]
        start, stop, step = times.indices(self.size.samples)
        traces = self.recording.get_traces(start_frame=start, end_frame=stop, channel_ids=ids)
        return traces[::step]


class Neo(SpikeInterface):
    """neo's raw reader of flat files."""

    name, package = "neo", "neo"

    def open(self, folder: Path) -> None:
        """Open the file and parse its (absent) header."""
        from neo.rawio import RawBinarySignalRawIO

        self.reader = RawBinarySignalRawIO(
            os.fspath(self.path),
            dtype="int16",
            sampling_rate=1000.0,
            nb_channel=self.size.channels,
            bytesoffset=0,
        )
        self.reader.parse_header()

    def get(self, key: tuple[Any, Any]) -> np.ndarray:
        """Get a chunk; NumPy takes steps."""
        times, channels = key
        start, stop, step = times.indices(self.size.samples)
        chunk = self.reader.get_analogsignal_chunk(
            block_index=0,
            seg_index=0,
            i_start=start,
            i_stop=stop,
            stream_index=0,
            channel_indexes=channels,
        )
        return chunk[::step]


PEERS: tuple[type[Peer], ...] = (
    Ours,
    Alone,
    Memmap,
    H5py,
    H5pySlices,
    Hidefix,
    Pyfive,
    Dask,
    Zarr,
    Tensorstore,
    SpikeInterface,
    Neo,
)
