"""The list of finished pieces of a file that is being made, so that a restart can go on.

One JSON line per piece. The first line names the job; a ledger of another job is thrown away. A
line is only believed if it is complete, and the piece it names only if its bytes on disk still
have the checksum of the line: no order of writes is assumed between the two files.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

__all__ = ["Ledger"]


class Ledger:
    """Finished pieces of one job.

    Parameters
    ----------
    path : Path
        The ledger's file; created if absent.
    key : str
        Names the job: what is made of what, with which options.

    Attributes
    ----------
    entries : dict
        ``(array name, piece number) -> list of numbers`` as given to `add`.
    """

    def __init__(self, path: Path, key: str) -> None:
        self.path = path
        self._guard = threading.Lock()
        self.entries = _read_entries(path, key)
        # Rewritten, so that a torn last line does not swallow the next one.
        self._file = open(path, "w", encoding="utf-8")  # noqa: SIM115 - closed by close()
        self._append({"job": key})
        for (name, piece), numbers in self.entries.items():
            self._append([name, piece, *numbers])

    def add(self, name: str, piece: int, numbers: Sequence[Any]) -> None:
        """Record that a piece is finished.

        Parameters
        ----------
        name : str
            Array.
        piece : int
            Its number.
        numbers : sequence
            What is needed to find and check it: first the CRC-32.
        """
        with self._guard:
            self.entries[name, piece] = list(numbers)
            self._append([name, piece, *numbers])

    def forget(self, name: str, piece: int) -> None:
        """Strike a piece out whose bytes are not there after all."""
        with self._guard:
            self.entries.pop((name, piece), None)

    def close(self) -> None:
        """Close the file and keep it for a restart."""
        self._file.close()

    def remove(self) -> None:
        """Delete the file: the job is over, or starts again from nothing."""
        self.close()
        with suppress(FileNotFoundError):
            self.path.unlink()

    def _append(self, line: Any) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


def _read_entries(path: Path, key: str) -> dict[tuple[str, int], list[Any]]:
    entries: dict[tuple[str, int], list[Any]] = {}
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    except FileNotFoundError:
        return entries
    # What follows the last line end is a torn line, or nothing.
    for number, line in enumerate(lines[:-1]):
        try:
            record = json.loads(line)
        except ValueError:
            break
        if number == 0:
            if record != {"job": key}:
                break
        elif isinstance(record, list) and len(record) >= 3:
            entries[str(record[0]), int(record[1])] = record[2:]
    return entries
