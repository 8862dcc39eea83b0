"""A process that reads slices of a source into shared memory.

For data that only h5py can read: its lock belongs to one process. The process is started once,
gets the source as its pickled recipe, and answers in order.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import traceback
import weakref
from collections import deque
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ecogsource.datasource.shared import SharedArray, shared_empty
from ecogsource.errors import WorkerError
from ecogsource.indexing import normalize_index

if TYPE_CHECKING:
    from ecogsource.datasource.base import ElectrodeDataSource

__all__ = ["ProcessReader"]

_DEFAULT_TIMEOUT = 120.0


class _Slice:
    """One slice asked of the process."""

    def __init__(self, reader: ProcessReader, array: SharedArray) -> None:
        self._reader = reader
        self._array: SharedArray | None = array
        self.answer: tuple[BaseException, str] | None = None
        self.done = False

    def result(self) -> NDArray[Any]:
        """Wait for the process and hand over the array, or raise what it raised."""
        self._reader._wait_for(self)
        if self.answer is not None:
            error, text = self.answer
            raise error from WorkerError(f"in the reading process:\n{text}")
        array, self._array = self._array, None
        if array is None:
            raise LookupError("this slice was handed over before")
        return array

    def cancel(self) -> bool:
        """Forget the result; the process may still read it."""
        return False


class ProcessReader:
    """Reads slices of a source in another process.

    Parameters
    ----------
    source : ElectrodeDataSource
        A source that can be pickled.
    timeout : float, optional
        Seconds that one slice may take; default 120.
    """

    def __init__(self, source: ElectrodeDataSource, *, timeout: float | None = None) -> None:
        self._source = source
        self._timeout = _DEFAULT_TIMEOUT if timeout is None else timeout
        self._asked: deque[_Slice] = deque()
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None
        self._finalizer: weakref.finalize[Any, Any] | None = None

    def submit(self, index: Any) -> _Slice:
        """Ask for a slice, starting the process if it is not running.

        Raises
        ------
        WorkerError
            If the process has died since the last slice.
        """
        connection = self._start()
        shape = normalize_index(index, self._source.shape).shape
        asked = _Slice(self, shared_empty(shape, self._source.dtype))
        try:
            connection.send((index, asked._array))
        except OSError as error:
            raise self._died() from error
        self._asked.append(asked)
        return asked

    def close(self) -> None:
        """Stop the process."""
        if self._finalizer is not None:
            self._finalizer()
        self._process = self._connection = self._finalizer = None
        self._asked.clear()

    def _start(self) -> Connection:
        if self._connection is not None:
            return self._connection
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        process = context.Process(
            target=_serve, args=(there, self._source), daemon=True, name="ecogsource-reader"
        )
        process.start()
        there.close()
        self._process, self._connection = process, here
        self._finalizer = weakref.finalize(self, _stop, process, here, os.getpid())
        return here

    def _wait_for(self, asked: _Slice) -> None:
        while not asked.done:
            process, connection = self._process, self._connection
            if process is None or connection is None:
                raise WorkerError("the reading process was closed before it answered")
            if not wait([connection, process.sentinel], self._timeout):
                self.close()
                raise WorkerError(
                    f"the reading process did not answer within {self._timeout:g} s and was "
                    "ended; give a longer timeout, or use the 'thread' backend"
                )
            try:
                answer = connection.recv()
            except (EOFError, OSError) as error:
                raise self._died() from error
            oldest = self._asked.popleft()
            oldest.answer, oldest.done = answer, True

    def _died(self) -> WorkerError:
        process = self._process
        if process is not None:
            process.join(5.0)
        code = None if process is None else process.exitcode
        self.close()
        return WorkerError(
            f"the reading process died (exit code {code}; a negative one is a signal, -9 often "
            "means out of memory). The next slice starts a new one. A script that uses the "
            "'process' backend needs its code under `if __name__ == '__main__':`"
        )


def _stop(process: BaseProcess, connection: Connection, owner: int) -> None:
    if os.getpid() != owner:
        return
    with contextlib.suppress(OSError):
        connection.close()
    # Without its connection an idle process ends by itself; one that hangs is ended.
    process.terminate()


def _serve(connection: Connection, source: ElectrodeDataSource) -> None:
    """Answer requests until the connection closes; runs in the reading process."""
    # A Ctrl-C is for the process that asks, which ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        try:
            index, target = connection.recv()
        except (EOFError, OSError):
            return
        answer: tuple[BaseException, str] | None = None
        try:
            with source.big_slices():
                source.read(index, out=np.asarray(target))
        except Exception as error:
            answer = (error, traceback.format_exc())
        del target
        try:
            connection.send(answer)
        except (EOFError, OSError):
            return
        except Exception:
            text = answer[1] if answer else ""
            connection.send((WorkerError("the reader raised an error that cannot be sent"), text))
