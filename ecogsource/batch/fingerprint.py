"""Names of pieces of work, by which a finished or interrupted output is recognised.

Two works with the same name must have the same result, so everything that could change it is part
of the name; what cannot be looked into makes the work one of its own, which is never recognised.
"""

from __future__ import annotations

import functools
import hashlib
import pickle
import types
import uuid
from contextlib import suppress
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from ecogsource.batch.job import Job
from ecogsource.batch.plan import Batch, chosen_channels, in_pieces
from ecogsource.buffers import Buffer
from ecogsource.datasource.origin import files_of

__all__ = ["fingerprint", "job_key"]

_PLAIN = (bool, int, float, complex, str, bytes, type(None), slice, range, PurePath)


def job_key(job: Job, batches: list[Batch]) -> str:
    """Name a piece of work, so that its output is recognised.

    Parameters
    ----------
    job : Job
        What is done.
    batches : list of Batch
        How the recording is cut.

    Returns
    -------
    str
        Hash of the input (how it is read, and of each file its name, size and time of change),
        the function (name, code, and the values it holds), its arguments, and the limits. How
        the recording is cut is left out, as the answer does not depend on it; but pieces of
        channels are another work than whole ones.
    """
    pieces = in_pieces(batches) if job.single else None
    return fingerprint(
        _input(job.reader.data),
        job.margin,
        (job.function, job.cleanup, job.options),
        None if job.cast_dtype is None else np.dtype(job.cast_dtype).str,
        (job.single, job.info, pieces),
        (batches[0].start, batches[-1].stop),
        np.asarray(chosen_channels(batches), np.int64),
    )


def _input(data: Buffer) -> tuple[Any, ...]:
    """Describe what is read: the recipe of the buffer, and the state of its files."""
    states = []
    for name in files_of(data):
        with suppress(OSError):
            found = Path(name).stat()
            states.append((name, found.st_size, found.st_mtime_ns))
    return data, data.shape, data.dtype.str, states


def fingerprint(*values: Any) -> str:
    """Hash values by what they are made of.

    Parameters
    ----------
    *values
        Numbers, text, arrays, containers and functions are taken apart; other objects are pickled.

    Returns
    -------
    str
        Equal for equal values in any process. A value that cannot be pickled is like no other.
    """
    hasher = _Hasher()
    hasher.add(values)
    return hasher.digest.hexdigest()


class _Hasher:
    """Feeds values to a hash, each with its type in front."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()
        # Objects that are being taken apart: functions may name themselves.
        self._open: set[int] = set()

    def add(self, value: Any) -> None:
        self._text(type(value).__qualname__)
        if isinstance(value, _PLAIN):
            self._text(repr(value))
        elif isinstance(value, (np.ndarray, np.generic)) and not value.dtype.hasobject:
            self._text(repr((value.dtype.descr, value.shape)))
            self.digest.update(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)
        elif id(value) in self._open:
            self._text("again")
        else:
            self._open.add(id(value))
            self._add_parts(value)
            self._open.discard(id(value))

    def _text(self, text: str) -> None:
        self.digest.update(f"{len(text)}:{text}".encode(errors="surrogatepass"))

    def _add_parts(self, value: Any) -> None:
        kind = type(value)
        if kind in (list, tuple):
            self._text(str(len(value)))
            for item in value:
                self.add(item)
        elif kind is dict:
            self.add(sorted(((fingerprint(key), item) for key, item in value.items()), key=_first))
        elif kind in (set, frozenset):
            self.add(sorted(fingerprint(item) for item in value))
        elif kind is functools.partial:
            self.add((value.func, value.args, value.keywords))
        elif kind is types.MethodType:
            self.add((value.__func__, value.__self__))
        elif kind is types.FunctionType:
            self._add_function(value)
        else:
            self._add_pickled(value)

    def _add_function(self, function: types.FunctionType) -> None:
        codes = _codes(function.__code__)
        names = {name for code in codes for name in code.co_names}
        known = {name: function.__globals__[name] for name in names & set(function.__globals__)}
        cells = [_content(cell) for cell in function.__closure__ or ()]
        self.add((function.__module__, function.__qualname__))
        for code in codes:
            plain = [c for c in code.co_consts if not isinstance(c, types.CodeType)]
            self.add((code.co_code, plain, code.co_names))
        self.add((function.__defaults__, function.__kwdefaults__, cells))
        # Helpers of the same file, and the numbers it keeps, belong to the function.
        self.add({name: item for name, item in known.items() if _belongs(item, function)})

    def _add_pickled(self, value: Any) -> None:
        def add(part: pickle.PickleBuffer) -> None:
            self.digest.update(part.raw())

        try:
            # Numbers in memory pass by here without being copied.
            self.digest.update(pickle.dumps(value, protocol=5, buffer_callback=add))
        except Exception:
            # Objects may raise anything when they are pickled; such a one has no name.
            self._text(uuid.uuid4().hex)


def _first(pair: tuple[str, Any]) -> str:
    return pair[0]


def _codes(code: types.CodeType) -> list[types.CodeType]:
    """Give a code object and those of the functions inside it."""
    inner = [c for c in code.co_consts if isinstance(c, types.CodeType)]
    return [code, *(found for c in inner for found in _codes(c))]


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        # A variable that was never set.
        return None


def _belongs(value: Any, function: types.FunctionType) -> bool:
    if isinstance(value, types.FunctionType):
        return value.__module__ == function.__module__
    return isinstance(value, (*_PLAIN, np.ndarray, np.generic, list, tuple, dict))
