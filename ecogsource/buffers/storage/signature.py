"""What tells two states of a file apart, and the error if it is not there."""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

from ecogsource.errors import DataPathError, FormatError

__all__ = ["ABSENT", "Signature", "absent_error", "signature_of", "state_of"]

# Other errors of the system, such as a lack of permission or of descriptors, say it themselves.
ABSENT = (FileNotFoundError, NotADirectoryError)


class Signature(NamedTuple):
    """What tells two states of a file apart: device, inode, bytes, time of change (ns)."""

    device: int
    inode: int
    size: int
    mtime_ns: int


def state_of(status: os.stat_result) -> Signature:
    """Return the signature of a file from what the system says of it."""
    return Signature(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def signature_of(path: str) -> Signature:
    """Return the signature of a file.

    Raises
    ------
    DataPathError
        If there is no such file.
    FormatError
        If the path is a folder.
    OSError
        As the system says, such as PermissionError.
    """
    try:
        status = os.stat(path)  # noqa: PTH116 - the path is a plain string on a hot path
    except ABSENT as error:
        raise absent_error(path, error) from error
    if not stat.S_ISREG(status.st_mode):
        what = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise FormatError(f"{path!r} is {what}, expected a file")
    return state_of(status)


def absent_error(path: str, error: OSError) -> DataPathError:
    """Return the error to raise for a file that is not there."""
    return DataPathError(f"cannot open {path!r}: {error.strerror}. Was it moved or deleted?")
