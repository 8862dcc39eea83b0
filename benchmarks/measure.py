"""Timing of works, interleaved between peers; bare reads as the floor; peak memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.files import Layout, Size
from benchmarks.peers import PEERS, Peer
from benchmarks.works import WORKS, Request


def best_of(repeats: int, works: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Run several works in turns and return the shortest time of each, in seconds."""
    found = dict.fromkeys(works, float("inf"))
    for _ in range(repeats):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            found[name] = min(found[name], time.perf_counter() - start)
    return found


def run_requests(peer: Peer, requests: list[Request]) -> float:
    """Read all requests, forgetting each result, and return the seconds taken."""
    start = time.perf_counter()
    for request in requests:
        peer.read(request)
    return time.perf_counter() - start


def check(peer: Peer, requests: list[Request], truth: np.ndarray) -> None:
    """Compare what a peer reads with the recording.

    Raises
    ------
    ValueError
        If a value differs.
    """
    for request in requests:
        if not np.array_equal(peer.read(request), truth[request.channels, request.times]):
            raise ValueError(f"{peer.name} reads wrong values from {peer.path} at {request}")


def floor(folder: Path, size: Size, requests: list[Request], work: str) -> float:
    """Return the seconds that bare positioned reads of as many bytes take."""
    path = folder / "flat_ct.dat"
    counts = [
        (size.channels if isinstance(r.channels, slice) else len(r.channels), r.times)
        for r in requests
    ]
    if work == "channel":
        counts = [(1, r.times) for r in requests]
    total = size.channels * size.samples * 2
    memory = bytearray(max(n * (t.stop - t.start) * 2 for n, t in counts))
    fd = os.open(path, os.O_RDONLY)
    try:
        start = time.perf_counter()
        for n, t in counts:
            nbytes = n * (t.stop - t.start) * 2
            at = min(t.start * size.channels * 2, total - nbytes)
            os.preadv(fd, [memoryview(memory)[:nbytes]], at)
        return time.perf_counter() - start
    finally:
        os.close(fd)


def peers_for(layout: Layout, chosen: list[str] | None = None) -> list[type[Peer]]:
    """Return the installed peers that can read a layout."""
    return [
        peer
        for peer in PEERS
        if peer.can(layout) and peer.version() and (not chosen or peer.name in chosen)
    ]


def cell(
    folder: Path,
    layout: Layout,
    work: str,
    truth: np.ndarray,
    *,
    repeats: int,
    chosen: list[str] | None,
) -> dict[str, float]:
    """Measure one cell of the matrix: the shortest time of each peer, in milliseconds."""
    size = Size(*truth.shape)
    requests = WORKS[work](size)
    found: dict[str, float] = {"floor": float("inf")}
    peers = peers_for(layout, chosen)
    for turn in range(repeats):
        found["floor"] = min(found["floor"], 1e3 * floor(folder, size, requests, work))
        # Each begins once: who comes later finds the bytes near the processor.
        first = turn % len(peers)
        for kind in peers[first:] + peers[:first]:
            if turn and found[kind.name] > 5e3:
                continue
            peer = kind(folder, layout, size)
            if turn == 0:
                check(peer, requests[:2], truth)
                peer.close()
                peer = kind(folder, layout, size)
            taken = 1e3 * run_requests(peer, requests)
            peer.close()
            found[kind.name] = min(found.get(kind.name, float("inf")), taken)
    return found


def peak_memory(folder: Path, layout: Layout, size: Size, peer: str) -> dict[str, float]:
    """Read half a recording in a fresh process; return its peak beyond the result, in MB.

    Counts anonymous memory: pages of the file cache that a map shows are the system's.
    """
    script = (
        "import json, sys; from benchmarks.measure import _measure_peak; "
        "print(json.dumps(_measure_peak(*json.loads(sys.argv[1]))))"
    )
    arguments = json.dumps([os.fspath(folder), layout.name, list(size), peer])
    done = subprocess.run(
        [sys.executable, "-c", script, arguments], check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def _measure_peak(folder: str, name: str, size: list[int], peer_name: str) -> dict[str, float]:
    import threading

    from benchmarks.files import LAYOUTS

    layout = next(item for item in LAYOUTS if item.name == name)
    kind = next(item for item in PEERS if item.name == peer_name)
    peer = kind(Path(folder), layout, Size(*size))
    peer.read(Request(slice(None), slice(0, 10)))
    done = threading.Event()
    peaks: list[int] = []

    def watch() -> None:
        while not done.wait(0.001):
            peaks.append(_anonymous())

    before = _anonymous()
    watcher = threading.Thread(target=watch)
    watcher.start()
    result = peer.read(Request(slice(None), slice(0, size[1] // 2)))
    done.set()
    watcher.join()
    peak = max([*peaks, _anonymous()])
    return {"result": result.nbytes / 1e6, "beyond": (peak - before - result.nbytes) / 1e6}


def _anonymous() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024
    return 0
