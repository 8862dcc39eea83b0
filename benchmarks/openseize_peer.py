"""Openseize's producers, timed by an interpreter that has it.

Openseize needs NumPy < 2, so that it cannot live in the environment of the tests: the benchmark
of producers runs this file with the interpreter named in $ECOGSOURCE_OPENSEIZE_PYTHON.
"""

import json
import sys
import time

import numpy as np


def make(work, path, chunksize):
    """Return a producer for a kind of work, and the sum it must give."""
    from openseize import producer

    mask = None
    if "mask" in work:
        mask = np.load(path + (".runs.npy" if "runs" in work else ".scattered.npy"))
    if "array" in work:
        return producer(np.load(path + ".npy"), chunksize, axis=-1, mask=mask)
    from openseize.file_io.edf import Reader

    return producer(Reader(path), chunksize, axis=-1, mask=mask)


def main():
    """Time each work once after a warm-up, and write seconds and a checksum as JSON."""
    path, chunksize, works = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    found = {}
    for work in works:
        pro = make(work, path, chunksize)
        total, count = 0.0, 0
        for chunk in pro:
            total += float(chunk.sum())
            count += chunk.shape[-1]
        best = float("inf")
        for _ in range(2):
            start = time.perf_counter()
            for chunk in make(work, path, chunksize):
                chunk.shape
            best = min(best, time.perf_counter() - start)
        found[work] = {"seconds": best, "total": total, "count": count}
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
