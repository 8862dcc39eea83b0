"""The binary file that a batch operation makes: whole, resumable, with its sidecar."""

from __future__ import annotations

import glob
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import deflate
import numpy as np

from ecogsource.batch.job import Target
from ecogsource.batch.plan import Batch
from ecogsource.batch.sidecar import read_sidecar, sidecar_part, sidecar_path, write_sidecar
from ecogsource.buffers import Buffer, FlatBuffer
from ecogsource.datasource.origin import files_of, leaf_buffers
from ecogsource.errors import FormatError
from ecogsource.safefile import check_disk_space, file_lock, named_errors, publish, reserve

__all__ = ["OutputFile", "place_of", "refuse_names", "settled"]

_KEY_LETTERS = 16


def refuse_names(path: Path, data: Buffer) -> None:
    """Refuse an output that would harm what the job reads, or that cannot be written.

    Parameters
    ----------
    path : Path
        The output file.
    data : Buffer
        What the job reads.

    Raises
    ------
    ValueError
        If `path` is, by whatever name, a file of `data` or shares the sidecar of one, or if it
        is the name of a sidecar.
    IsADirectoryError
        If it is a folder.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{str(path)!r} is a folder; give the name of a file in it")
    beside = sidecar_path(path).absolute()
    if beside == path.absolute():
        raise ValueError(f"{str(path)!r} is the name of a sidecar; choose another extension")
    for name in files_of(data):
        if path.exists() and Path(name).exists() and path.samefile(name):
            raise ValueError(f"{str(path)!r} is a file which this job reads; choose another name")
    flat = [str(leaf.filename) for leaf in leaf_buffers(data) if isinstance(leaf, FlatBuffer)]
    for name in flat:
        if _resolved(sidecar_path(Path(name))) == _resolved(beside):
            raise ValueError(
                f"{str(path)!r} would share the sidecar {beside.name!r} with {name!r}, which this "
                "job reads; choose another name"
            )


def _resolved(path: Path) -> Path:
    return path.parent.resolve() / path.name


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
        The work, as :func:`~ecogsource.batch.fingerprint.job_key` names it.
    """

    def __init__(self, path: Path, key: str) -> None:
        self.path = path
        self.key = key
        # The name is that of the work: a worker that outlived a killed run of another work does
        # not find the file of this one.
        self.part = path.with_name(f".{path.name}.{key[:_KEY_LETTERS]}.part")
        self._list = path.with_name(f".{path.name}.done")
        self._fresh = True

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
            for old in self._parts():
                if old != self.part:
                    old.unlink(missing_ok=True)
            try:
                yield self
            except Exception:
                self.discard()
                raise

    def left_over(self) -> bool:
        """Tell whether a run that was killed, or one that goes on, left files beside the target."""
        lock = self.path.with_name(f".{self.path.name}.lock")
        beside = lock, self._list, sidecar_part(self.path), *self._parts()
        return any(path.exists() for path in beside)

    def _parts(self) -> list[Path]:
        # No more than our own names: there may be a target 'a.bin' and another one 'a.bin.bin'.
        hidden = f".{glob.escape(self.path.name)}.{'[0-9a-f]' * _KEY_LETTERS}.part"
        return list(self.path.parent.glob(hidden))

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
        with named_errors(self.path), open(self.part, "r+b" if done else "wb") as file:
            reserve(file.fileno(), total)
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
        channels = batch.channels if target.rows else batch.channels[:1]
        with open(self.part, "rb", buffering=0) as file:
            for channel in channels:
                file.seek(target.offset(batch, channel))
                left = rows
                while left and (piece := file.read(min(left, 1 << 20))):
                    crc = deflate.crc32(piece, crc)
                    left -= len(piece)
        return crc

    def append(self, arrays: list[np.ndarray]) -> None:
        """Add results of any shape at the end of the file."""
        with open(self.part, "wb" if self._fresh else "ab") as file:
            for array in arrays:
                file.write(array.reshape(-1).view(np.uint8).data)
        self._fresh = False

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
        self.discard()

    def discard(self) -> None:
        """Throw away what was not finished."""
        for path in (self.part, self._list, sidecar_part(self.path)):
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
