"""The binary file that a batch operation makes: whole, resumable, with its sidecar."""

from __future__ import annotations

import hashlib
import json
import pickle
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import deflate
import numpy as np

from ecogsource.batch.execution import Job, Target
from ecogsource.batch.plan import Batch
from ecogsource.batch.sidecar import read_sidecar, sidecar_path, write_sidecar
from ecogsource.buffers import Buffer
from ecogsource.datasource.origin import files_of
from ecogsource.errors import FormatError
from ecogsource.safefile import check_disk_space, file_lock, publish

__all__ = ["OutputFile", "job_key", "refuse_input", "settled"]


def job_key(job: Job, batches: list[Batch], mode: str) -> str:
    """Name a piece of work, so that its output is recognised.

    Parameters
    ----------
    job : Job
        What is done.
    batches : list of Batch
        How the recording is cut.
    mode : str
        What the function gets.

    Returns
    -------
    str
        Hash of the input (how it is read, and of each file its name, size and time of change),
        the function's name and code, its arguments, and the limits. How it is cut is left out:
        the answer does not depend on it.
    """
    reader, function = job.reader, job.function
    parts = (
        mode,
        _input(reader.data),
        reader.shape,
        reader.dtype.str,
        reader.buffer_size,
        [_named(function), _named(job.cleanup)],
        sorted((name, _plain(value)) for name, value in job.options.items()),
        str(job.cast_dtype),
        [batches[0].start, batches[-1].stop],
        hashlib.sha256(
            b"".join(np.asarray(batch.channels).tobytes() for batch in batches[:1] + batches[-1:])
        ).hexdigest(),
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _input(data: Buffer) -> tuple[str, list[Any]]:
    """Describe what is read: the recipe of the buffer, and the state of its files."""
    content = hashlib.sha256()

    def add(part: pickle.PickleBuffer) -> None:
        content.update(part.raw())

    try:
        # Numbers in memory are part of the recipe: they pass by here without being copied.
        content.update(pickle.dumps(data, protocol=5, buffer_callback=add))
    except (pickle.PicklingError, TypeError, AttributeError):
        # What has no recipe cannot be recognised again: it is a work of its own.
        return uuid.uuid4().hex, []
    states = []
    for name in files_of(data):
        with suppress(OSError):
            found = Path(name).stat()
            states.append((name, found.st_size, found.st_mtime_ns))
    return content.hexdigest(), states


def refuse_input(path: Path, data: Buffer) -> None:
    """Refuse an output that would replace a file that the job reads.

    Parameters
    ----------
    path : Path
        The output file.
    data : Buffer
        What the job reads.

    Raises
    ------
    ValueError
        If `path` is, by whatever name, a file of `data`.
    """
    for name in files_of(data):
        if path.exists() and Path(name).exists() and path.samefile(name):
            raise ValueError(f"{str(path)!r} is a file which this job reads; choose another name")


def _named(function: Callable[..., Any] | None) -> str:
    code = getattr(function, "__code__", None)
    body = "" if code is None else hashlib.sha256(_code(code)).hexdigest()
    name = getattr(function, "__qualname__", type(function).__qualname__)
    return f"{getattr(function, '__module__', '')}.{name} {body}"


def _code(code: Any) -> bytes:
    inner = b"".join(_code(c) for c in code.co_consts if hasattr(c, "co_code"))
    plain = [c for c in code.co_consts if not hasattr(c, "co_code")]
    return bytes(code.co_code) + repr((plain, code.co_names)).encode() + inner


def _plain(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return (
            f"{value.dtype.str}{value.shape}{deflate.crc32(np.ascontiguousarray(value).tobytes())}"
        )
    return repr(value)


def settled(path: Path, if_file_exists: str, key: str) -> dict[str, Any] | None:
    """Decide what an existing output file means.

    Parameters
    ----------
    path : Path
        The output file.
    if_file_exists : {'overwrite', 'abort', 'skip'}
        What the caller wants.
    key : str
        The work that is asked for.

    Returns
    -------
    dict or None
        The sidecar of a complete file of the same work that may be kept; None to do the work.

    Raises
    ------
    ValueError
        If the file exists and the caller wants to abort, or the wish is not known.
    """
    if if_file_exists not in ("overwrite", "abort", "skip"):
        raise ValueError(
            f"if_file_exists is 'overwrite', 'abort' or 'skip', got {if_file_exists!r}"
        )
    if not path.exists():
        return None
    if if_file_exists == "abort":
        raise ValueError(
            f"{str(path)!r} exists already; choose another name, or if_file_exists='overwrite' "
            "or 'skip'"
        )
    if if_file_exists == "overwrite":
        return None
    try:
        found = read_sidecar(path)
    except FormatError:
        return None
    complete = found.get("job") == key and found.get("nbytes") == path.stat().st_size
    return found if complete else None


class OutputFile:
    """A binary file in the making.

    It grows under a hidden name beside its target. If the work is interrupted, a list of finished
    batches with their checksums stays beside it, and the same work goes on from there.

    Parameters
    ----------
    path : Path
        The target.
    key : str
        The work, as :func:`job_key` names it.
    """

    def __init__(self, path: Path, key: str) -> None:
        self.path = path
        self.key = key
        self.part = path.with_name(f".{path.name}.part")
        self._list = path.with_name(f".{path.name}.done")
        self._nbytes = 0

    @contextmanager
    def making(self) -> Iterator[OutputFile]:
        """Hold the lock on the target while it is made; clean up after a failure.

        Yields
        ------
        OutputFile
            This file. What is finished stays for a restart if the work is interrupted, and is
            thrown away if it fails.
        """
        with file_lock(self.path):
            try:
                yield self
            except Exception:
                self._discard()
                raise

    def finished(self, batches: list[Batch], target: Target) -> dict[tuple[int, int, int], int]:
        """Find the batches that an interrupted run has finished, and make the file large enough.

        Parameters
        ----------
        batches : list of Batch
            All batches.
        target : Target
            Layout of the file.

        Returns
        -------
        dict
            ``(start, stop, first channel)`` of each finished batch, with its checksum.
        """
        total = self._total(batches, target)
        done: dict[tuple[int, int, int], int] = {}
        with suppress(OSError, ValueError, KeyError, TypeError):
            lines = self._list.read_text(encoding="utf-8").splitlines()
            if json.loads(lines[0]) == self._head(total) and self.part.stat().st_size == total:
                for line in lines[1:]:
                    start, stop, channel, checksum = json.loads(line)
                    done[start, stop, channel] = checksum
        known = {place_of(batch): batch for batch in batches}
        done = {
            place: checksum
            for place, checksum in done.items()
            if place in known and self.checksum(known[place], target) == checksum
        }
        check_disk_space(self.path.absolute().parent, 0 if done else total)
        with open(self.part, "r+b" if done else "wb") as file:
            file.truncate(total)
        with open(self._list, "w", encoding="utf-8") as file:
            file.write(json.dumps(self._head(total)) + "\n")
            for place, checksum in done.items():
                file.write(json.dumps([*place, checksum]) + "\n")
        return done

    def note(self, batch: Batch, checksum: int) -> None:
        """Write down that a batch is finished, and the CRC-32 of its bytes."""
        line = [*place_of(batch), checksum]
        with open(self._list, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def checksum(self, batch: Batch, target: Target) -> int:
        """Compute the CRC-32 of what the file holds for a batch."""
        crc = 0
        rows = (batch.stop - batch.start) * target.row_bytes
        first = batch.start - target.origin
        channels = batch.channels if target.rows else batch.channels[:1]
        with open(self.part, "rb", buffering=0) as file:
            for channel in channels:
                skip = target.places[int(channel)] * target.rows if target.rows else 0
                file.seek((first + skip) * target.row_bytes)
                left = rows
                while left:
                    piece = file.read(min(left, 1 << 20))
                    crc = deflate.crc32(piece, crc)
                    left -= len(piece) or left
        return crc

    def append(self, results: list[Any]) -> None:
        """Add results of any shape at the end of the file."""
        with open(self.part, "ab" if self._nbytes else "wb") as file:
            for result in results:
                data = np.ascontiguousarray(result).tobytes()
                file.write(data)
                self._nbytes += len(data)

    def complete(self, values: dict[str, Any]) -> None:
        """Give the file its name, and write the sidecar.

        Parameters
        ----------
        values : dict
            ``dtype``, ``n_channels``, ``data_order``.
        """
        # Between the two steps the file has no sidecar, rather than that of an older one.
        with suppress(FileNotFoundError):
            sidecar_path(self.path).unlink()
        nbytes = self.part.stat().st_size
        publish(self.part, self.path)
        write_sidecar(self.path, {**values, "nbytes": nbytes, "job": self.key})
        self._discard()

    def _discard(self) -> None:
        for path in (self.part, self._list):
            with suppress(FileNotFoundError):
                path.unlink()

    def _head(self, total: int) -> dict[str, Any]:
        return {"job": self.key, "nbytes": total}

    @staticmethod
    def _total(batches: list[Batch], target: Target) -> int:
        if target.rows:
            return len(target.places) * target.rows * target.row_bytes
        return (batches[-1].stop - target.origin) * target.row_bytes


def place_of(batch: Batch) -> tuple[int, int, int]:
    """Give the place of a batch: its observations and its first channel."""
    return batch.start, batch.stop, int(batch.channels[0])
