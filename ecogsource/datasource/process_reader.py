"""A process that reads slices of a source into shared memory.

For computations that hold the interpreter lock, and for data that only h5py can read: these locks
belong to one process. The process is started once, gets the source as its pickled recipe, and
answers in order.
"""

from __future__ import annotations

import contextlib
import copy
import multiprocessing
import os
import signal
import traceback
import weakref
from collections import OrderedDict, deque
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ecogsource.buffers import HDF5Buffer
from ecogsource.buffers.storage.cache import passing_through
from ecogsource.datasource.blockmemory import BlockMemory, form_of
from ecogsource.datasource.origin import leaf_buffers
from ecogsource.datasource.shared import SharedArray, new_shared
from ecogsource.errors import WorkerError
from ecogsource.params import OVERRIDE

if TYPE_CHECKING:
    from ecogsource.datasource.base import ElectrodeDataSource

__all__ = ["ProcessReader"]

_DEFAULT_TIMEOUT = 120.0
# How long an ended process may take to be gone; one that hangs in the system is left to it.
_END_SECONDS = 2.0
# Arrays that the reading process keeps attached, to be filled again.
_ATTACHED = 8


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
        A source that can be pickled and is not open for writing.
    timeout : float, optional
        Seconds that one slice may take, the start of the process included; default 120.
    recycle : bool
        Use the memory of results again that nobody looks at any more; see `BlockMemory`.
    walked : int
        Size of the walk that this reader reads for; see `passing_through`.

    Raises
    ------
    ValueError
        If the source is open for writing: HDF5 lets no other process open the file then.

    Notes
    -----
    The process is started by the method that ``multiprocessing.set_start_method`` has set, else
    by ``'spawn'``, which is safe whatever threads there are.
    """

    def __init__(
        self,
        source: ElectrodeDataSource,
        *,
        timeout: float | None = None,
        recycle: bool = False,
        walked: int = 0,
    ) -> None:
        for leaf in leaf_buffers(source.data_buffer):
            if isinstance(leaf, HDF5Buffer) and leaf.writeable:
                raise ValueError(
                    f"{leaf.filename!r} is open for writing, so that no other process can read "
                    "it: use the 'thread' backend, or open the file for reading only"
                )
        self._source = source
        self._walked = walked
        self._timeout = _DEFAULT_TIMEOUT if timeout is None else timeout
        self._memory = BlockMemory(new_shared) if recycle else None
        self._asked: deque[_Slice] = deque()
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None
        self._finalizer: weakref.finalize[Any, Any] | None = None

    def submit(self, index: Any) -> _Slice:
        """Ask for a slice, starting the process if it is not running.

        Parameters are those that hold for the calling thread now.

        Raises
        ------
        IndexError
            As NumPy does.
        MemoryBlowOutError
            If the slice exceeds the memory limit.
        OSError
            With ``errno.ENOSPC`` if the system has less shared memory than that.
        WorkerError
            If the process cannot be started, or has died since the last slice.
        """
        form = form_of(self._source, index)
        connection = self._start()
        keep = self._memory is not None
        target: Any = new_shared(*form) if self._memory is None else self._memory.empty(*form)
        asked = _Slice(self, target)
        try:
            connection.send((index, target.name_and_form(), keep, self._walked, dict(OVERRIDE)))
        except OSError as error:
            raise self._died() from error
        self._asked.append(asked)
        return asked

    def close(self) -> None:
        """End the process, whatever it is doing."""
        if self._finalizer is not None:
            self._finalizer()
        self._process = self._connection = self._finalizer = None
        # Only now, as the process must not attach to memory that was given back.
        self._asked.clear()

    def _start(self) -> Connection:
        if self._connection is not None:
            return self._connection
        # Without a tracker of the parent, a forked process would start one of its own, which
        # removes the shared memory when the process ends.
        with contextlib.suppress(ImportError):
            from multiprocessing import resource_tracker

            resource_tracker.ensure_running()
        method = multiprocessing.get_start_method(allow_none=True) or "spawn"
        context: BaseContext = multiprocessing.get_context(method)
        here, there = context.Pipe()
        process = context.Process(  # type: ignore[attr-defined]
            target=_serve,
            args=(there, _recipe(self._source)),
            daemon=True,
            name="ecogsource-reader",
        )
        try:
            with _interrupts_held():
                process.start()
        except Exception as error:
            here.close()
            raise WorkerError(
                f"the reading process could not be started ({type(error).__name__}: {error}); "
                "use the 'thread' backend"
            ) from error
        finally:
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
            process.join(_END_SECONDS)
        code = None if process is None else process.exitcode
        self.close()
        return WorkerError(
            f"the reading process died (exit code {code}; a negative one is a signal, -9 often "
            "means out of memory). The next slice starts a new one. A script that uses the "
            "'process' backend needs its code under `if __name__ == '__main__':`"
        )


def _recipe(source: ElectrodeDataSource) -> ElectrodeDataSource:
    """Make a twin without the aligned arrays, which nobody reads there."""
    twin = copy.copy(source)
    twin.aligned_arrays = {}
    return twin


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold a Ctrl-C back: a process that is started inside never sees it, this one does later."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _stop(process: BaseProcess, connection: Connection, owner: int) -> None:
    if os.getpid() != owner:
        return
    with contextlib.suppress(OSError):
        connection.close()
    # It writes nothing but shared memory, and it may be stuck: there is nothing to ask it.
    process.kill()
    process.join(_END_SECONDS)


def _serve(connection: Connection, source: ElectrodeDataSource) -> None:
    """Answer requests until the connection closes; runs in the reading process."""
    # A Ctrl-C is for the process that asks, which ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    sentinels = [] if parent is None else [parent.sentinel]
    attached: OrderedDict[str, SharedArray] = OrderedDict()
    while True:
        # Other processes may have inherited the connection: it does not close with its owner.
        if connection not in wait([connection, *sentinels]):
            return
        try:
            index, form, keep, walked, overrides = connection.recv()
        except (EOFError, OSError):
            return
        answer: tuple[BaseException, str] | None = None
        target = None
        try:
            target = _attach(form, attached if keep else None)
            with OVERRIDE.set(**overrides), source.big_slices(), passing_through(walked):
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


def _attach(form: tuple[Any, ...], attached: OrderedDict[str, SharedArray] | None) -> SharedArray:
    """Attach to an array of the process that asks, or find that it is attached."""
    if attached is None:
        return SharedArray.attach(*form)
    array = attached.pop(form[0], None)
    if array is None:
        array = SharedArray.attach(*form)
    attached[form[0]] = array
    while len(attached) > _ATTACHED:
        attached.popitem(last=False)
    return array
