"""What reading takes beside its result stays within what the guard is told."""

from __future__ import annotations

import threading
import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest

from ecogsource.buffers import Buffer, FlatBuffer, HDF5Buffer
from ecogsource.buffers.storage import handles, threads
from ecogsource.indexing import Selection
from ecogsource.params import OVERRIDE

SHAPE = (32_768, 256)
# Of the selection, and of the bookkeeping of Python.
SLACK = 1 << 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("temporaries")
    data = np.random.default_rng(0).integers(0, 99, SHAPE).astype("i1")
    data.tofile(path / "x.dat")
    data[:, :250].tofile(path / "odd.dat")
    with h5py.File(path / "x.h5", "w") as file:
        file.create_dataset("gzip", data=data, chunks=(4096, 256), compression="gzip")
        file.create_dataset("chunked", data=data, chunks=(4096, 256))
    return path


@pytest.mark.parametrize(
    "scale", [None, 0.5, (1, np.full((1, 256), 0.5))], ids=["stored", "one scale", "scales"]
)
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("workers", [1, 2, 8])
@pytest.mark.parametrize("kind", ["flat", "odd", "columns", "gzip", "chunked"])
def test_reading_keeps_to_what_it_announces(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    workers: int,
    turned: bool,
    scale: object,
) -> None:
    # Memory that a thread kept from another read would not be counted.
    monkeypatch.setattr(threads, "_LOCAL", threading.local())
    with OVERRIDE.set(workers=workers, floating_point="double", chunk_cache=0):
        buffer: Buffer
        if kind in ("flat", "odd", "columns"):
            name, shape = ("x.dat", SHAPE) if kind == "flat" else ("odd.dat", (SHAPE[0], 250))
            if isinstance(scale, tuple):
                scale = (1, np.full((1, shape[1]), 0.5))
            buffer = FlatBuffer(folder / name, "i1", shape, units_scale=scale)
        else:
            buffer = HDF5Buffer.from_path(folder / "x.h5", kind, units_scale=scale)
        view = buffer.T if turned else buffer
        ranges = [range(n) for n in buffer.shape]
        if kind == "columns":
            monkeypatch.setattr(handles, "MAPPED_LIMIT", 0)
            ranges[1] = range(10, 190)
        selection = Selection.of(tuple(reversed(ranges)) if turned else tuple(ranges))
        out = np.empty(selection.shape, view.dtype)
        tracemalloc.start()
        try:
            view.read_into(selection, out)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak <= view._temporary_bytes(selection) + SLACK
