"""Walks over a recording with a reading process, in ways that end badly. Run as a program.

Usage: reader_driver.py FILE START_METHOD WAY
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sys

import numpy as np

from ecogsource.datasource import MappedSource
from ecogsource.datasource.process_reader import ProcessReader
from ecogsource.errors import WorkerError
from ecogsource.params import OVERRIDE, load_params


class Telling(MappedSource):
    """A source whose samples are a parameter that is overridden."""

    def read(self, index, out=None):
        out = super().read(index, out)
        out[...] = load_params().chunk_cache
        return out


def say(*words):
    sys.stdout.write(" ".join(str(word) for word in words) + "\n")
    sys.stdout.flush()


def readers():
    return [p for p in multiprocessing.active_children() if p.name == "ecogsource-reader"]


def read_all(source):
    blocks = [b.copy() for b in source.iter_blocks(70, prefetch=2, backend="process")]
    say(np.array_equal(np.concatenate(blocks, axis=1), source[:]), len(readers()))
    with OVERRIDE.set(chunk_cache=4321):
        telling = Telling(source.data_buffer)
        say(*{int(v) for b in telling.iter_blocks(90, backend="process") for v in b.flat})


def leave(source):
    for _ in source.iter_blocks(30, prefetch=2, backend="process"):
        break
    del _
    gc.collect()
    say(len(readers()))


def fail(source):
    try:
        for _ in source.iter_blocks(30, backend="process"):
            raise RuntimeError("in the loop")
    except RuntimeError:
        gc.collect()
        say(len(readers()))


def interrupted(source):
    try:
        for _ in source.iter_blocks(10, prefetch=2, backend="process"):
            say("walking", readers()[0].pid)
            signal.pause()
    except KeyboardInterrupt:
        say("interrupted", len(readers()))


def killed_reader(source):
    blocks = source.iter_blocks(10, prefetch=1, backend="process")
    next(blocks)
    os.kill(readers()[0].pid, signal.SIGKILL)
    try:
        for _ in blocks:
            pass
    except WorkerError as error:
        say("exit code -9" in str(error), len(readers()))


def daemon(source):
    child = multiprocessing.Process(target=in_daemon, args=(source,), daemon=True)
    child.start()
    child.join()


def in_daemon(source):
    try:
        next(source.iter_blocks(10, backend="process"))
    except WorkerError as error:
        say(error)


def not_sent(source):
    source.secret = lambda: None
    try:
        next(source.iter_blocks(10, backend="process"))
    except WorkerError as error:
        say("could not be started" in str(error), len(readers()))


def orphan(source):
    reader = ProcessReader(source)
    reader.submit(np.s_[:, :10]).result()
    say(reader._process.pid)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    # Shells start what runs in the background with Ctrl-C ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    file, method, way = sys.argv[1:]
    if method != "unset":
        multiprocessing.set_start_method(method)
    globals()[way](MappedSource.from_hdf_sources(file, "data"))
