"""Files that are whole or absent: temporary name, fsync, rename, and one writer at a time.

Everything that ecogsource writes goes through here, so that a reader of a name sees the old file,
the new file, or none, whatever happens to the writing process.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from ecogsource.errors import DataPathError
from ecogsource.memory import format_bytes

__all__ = [
    "atomic_open",
    "atomic_path",
    "check_disk_space",
    "file_lock",
    "named_errors",
    "publish",
    "reserve",
    "reserve_file",
    "sync_folder",
]

_POLL_SECONDS = 0.05
# What systems say that have no place left, on the disk or in the user's share of it.
_FULL = (errno.ENOSPC, errno.EDQUOT)


def check_disk_space(folder: str | os.PathLike[str], nbytes: int) -> None:
    """Refuse to start writing what cannot fit.

    Parameters
    ----------
    folder : path-like
        Existing folder that will hold the file.
    nbytes : int
        Bytes to be written.

    Raises
    ------
    OSError
        With ``errno.ENOSPC`` if the file system has less free space than that.
    DataPathError
        If the folder does not exist.
    """
    try:
        free = shutil.disk_usage(folder).free
    except FileNotFoundError as error:
        raise DataPathError(
            f"the folder {os.fspath(folder)!r} to write to does not exist; create it first"
        ) from error
    if nbytes > free:
        raise OSError(
            errno.ENOSPC,
            f"writing takes {format_bytes(nbytes)} and {format_bytes(free)} are free; free some "
            "space or choose another folder (the parameter stash_path for temporary files)",
            os.fspath(folder),
        )


def reserve(descriptor: int, nbytes: int) -> None:
    """Allocate the blocks of an open file, so that a full disk shows before the work is done.

    Parameters
    ----------
    descriptor : int
        File descriptor open for writing; negative for none.
    nbytes : int
        Size that the file will have.

    Raises
    ------
    OSError
        With ``errno.ENOSPC`` if the blocks are not to be had.
    """
    if descriptor < 0 or nbytes <= 0 or not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(descriptor, 0, nbytes)
    except OSError as error:
        # Some network file systems cannot allocate ahead; writing will tell.
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            raise


def reserve_file(path: str | os.PathLike[str]) -> None:
    """Allocate the blocks of a file that was laid out and closed; see `reserve`.

    Writing through a map to a disk that is full ends the program, and HDF5 does not recover from
    it: both must have their blocks before they begin.
    """
    with open(path, "r+b") as file:
        reserve(file.fileno(), os.fstat(file.fileno()).st_size)


def sync_folder(folder: str | os.PathLike[str]) -> None:
    """Make a rename in `folder` survive a power cut (nothing to do on Windows)."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def publish(temporary: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Give a finished file its name: fsync, ``os.replace``, fsync of the folder.

    Parameters
    ----------
    temporary : path-like
        The finished file, closed, in the folder of `target`.
    target : path-like
        Its name; an existing file is replaced in one step.
    """
    descriptor = os.open(temporary, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(temporary, target)  # noqa: PTH105 - the atomic call, by its name
    sync_folder(Path(target).absolute().parent)


@contextmanager
def named_errors(target: str | os.PathLike[str]) -> Iterator[None]:
    """Let errors of the hidden files beside `target` name the file that the user asked for.

    Parameters
    ----------
    target : path-like
        The file to be made.

    Raises
    ------
    OSError
        Of the same number and kind, naming `target` and its folder.
    """
    path = Path(target)
    try:
        yield
    except OSError as error:
        hidden, full = error.filename, error.errno in _FULL
        beside = isinstance(hidden, (str, os.PathLike)) and _is_beside(Path(hidden), path)
        if not (beside or (full and hidden is None)):
            raise
        advice = "free some space" if full else "change its rights"
        raise OSError(
            error.errno,
            f"{error.strerror}: cannot write {path.name!r} in the folder "
            f"{os.fspath(path.absolute().parent)!r}; choose another one, or {advice}",
            os.fspath(path),
        ) from error


def _is_beside(hidden: Path, target: Path) -> bool:
    """Tell whether a name is one that we made up for `target`."""
    return hidden.parent == target.parent and hidden.name.startswith(f".{target.stem}")


@contextmanager
def atomic_path(target: str | os.PathLike[str], *, nbytes: int = 0) -> Iterator[Path]:
    """Write a file under a temporary name that becomes `target` only when all went well.

    Parameters
    ----------
    target : path-like
        Final name, in an existing folder.
    nbytes : int
        Expected size; the free space is checked first.

    Yields
    ------
    Path
        Unused name in the same folder with the same suffix. The block must create that file and
        close it. If the block raises, the file is removed and `target` is left as it was.

    Raises
    ------
    OSError
        With ``errno.ENOSPC`` if the disk is too full.
    DataPathError
        If the folder of `target` does not exist, or the block made no file.
    """
    target = Path(target)
    check_disk_space(target.absolute().parent, nbytes)
    temporary = target.with_name(f".{target.stem}.{uuid.uuid4().hex[:12]}.tmp{target.suffix}")
    try:
        with named_errors(target):
            yield temporary
            if not temporary.exists():
                raise DataPathError(f"nothing was written to {str(temporary)!r}")
            publish(temporary, target)
    finally:
        # Where nothing may be written nothing can be removed, nor was it made.
        with suppress(OSError):
            temporary.unlink()


@contextmanager
def atomic_open(
    target: str | os.PathLike[str], mode: str = "wb", *, nbytes: int = 0, **options: Any
) -> Iterator[IO[Any]]:
    """Open a file for writing that appears as `target` when the block ends without an error.

    Parameters
    ----------
    target : path-like
        Final name, in an existing folder.
    mode : {'wb', 'w'}
        Bytes or text.
    nbytes : int
        Expected size; the free space is checked first.
    **options
        Passed to :func:`open`.

    Yields
    ------
    file object

    Raises
    ------
    ValueError
        If `mode` is not one that writes a new file.
    OSError, DataPathError
        As for :func:`atomic_path`.
    """
    if mode not in ("w", "wb", "wt"):
        raise ValueError(f"atomic_open writes new files: mode 'w' or 'wb', got {mode!r}")
    with atomic_path(target, nbytes=nbytes) as temporary, open(temporary, mode, **options) as file:
        yield file


def _try_lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
            return False
        raise
    return True


def _same_file(descriptor: int, path: Path) -> bool:
    """Tell whether `path` still names the open file (its last holder removes it)."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def try_file_lock(path: Path) -> int | None:
    """Open and lock `path`, or return None if another holder has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if _try_lock(descriptor) and _same_file(descriptor, path):
            return descriptor
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _lock_of(target: Path, lock: Path) -> int | None:
    with named_errors(target):
        return try_file_lock(lock)


@contextmanager
def file_lock(target: str | os.PathLike[str], *, timeout: float | None = None) -> Iterator[None]:
    """Let one process (and thread) at a time make a file.

    Parameters
    ----------
    target : path-like
        The file to be made; the lock is ``.<name>.lock`` beside it.
    timeout : float, optional
        Seconds to wait for another process; default for ever.

    Raises
    ------
    TimeoutError
        If another process still holds the lock after `timeout` seconds.
    DataPathError
        If the folder of `target` does not exist.

    Notes
    -----
    The system releases the lock when its holder ends, however it ends. On file systems without
    locks (some network mounts) the ``OSError`` of the system is passed on.
    """
    target = Path(target)
    path = target.with_name(f".{target.name}.lock")
    deadline = None if timeout is None else time.monotonic() + timeout
    try:
        while (descriptor := _lock_of(target, path)) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(
                    f"another process is making {str(target)!r} since more than {timeout} s; "
                    f"wait for it, or end it (its lock is {str(path)!r})"
                )
            time.sleep(_POLL_SECONDS)
    except FileNotFoundError as error:
        raise DataPathError(
            f"the folder {str(target.absolute().parent)!r} to write to does not exist"
        ) from error
    try:
        yield
    finally:
        # Removed while still held: whoever waits sees that its file is no longer the named one.
        with suppress(OSError):
            path.unlink()
        os.close(descriptor)
