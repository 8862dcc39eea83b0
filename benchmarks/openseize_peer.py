"""Openseize's producers, timed by an interpreter that has it.

Openseize needs NumPy < 2, so that it cannot live in the environment of the tests: the benchmark
of producers runs this file with the interpreter named in $ECOGSOURCE_OPENSEIZE_PYTHON.
"""

import json
import sys
import time

import numpy as np


def make(data, mask, path, chunksize):
    """Return a producer from a reader or an array, with or without a mask."""
    from openseize import producer
    from openseize.file_io.edf import Reader

    values = np.load(path + ".npy") if data == "array" else Reader(path)
    flags = None if mask == "no" else np.load(f"{path}.{mask}.npy")
    return producer(values, chunksize, axis=-1, mask=flags)


def main():
    """Time one work after a warm-up, and write seconds and a checksum as JSON."""
    data, mask, path, chunksize = sys.argv[1:]
    total, count, best = 0.0, 0, float("inf")
    for chunk in make(data, mask, path, int(chunksize)):
        total += float(chunk.sum())
        count += chunk.shape[-1]
    for _ in range(3):
        pro = make(data, mask, path, int(chunksize))
        start = time.perf_counter()
        for _ in pro:
            pass
        best = min(best, time.perf_counter() - start)
    sys.stdout.write(json.dumps({"seconds": best, "total": total, "count": count}) + "\n")


if __name__ == "__main__":
    main()
