"""Temporary files that disappear: at exit, or, after a crash, when the next process starts.

They stay if the lab says so (the parameter ``clear_temp_converted``).

A pool is a folder with a lock file that its process keeps locked. The system releases the lock
when the process ends in whatever way, so a pool whose lock can be had belongs to nobody.
"""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

from ecogsource._closing import Closing
from ecogsource.errors import DataPathError
from ecogsource.params import load_params
from ecogsource.safefile import check_disk_space, try_file_lock

__all__ = ["TempFilePool"]

logger = logging.getLogger(__name__)

_PREFIX = "ecogsource-pool-"
_LOCK = ".lock"
# In a pool that nobody may remove but its user.
_KEEP = ".keep"
# A pool folder without a lock file is one that is just being made, unless it is this old.
_GRACE_SECONDS = 3600.0


class TempFilePool(Closing):
    """A folder of temporary files, removed with everything in it.

    Parameters
    ----------
    folder : path-like, optional
        Where to make the pool; default the parameter ``stash_path``, or the system's temporary
        folder if that is not set. Pools of crashed processes found there are removed.
    keep : bool
        Leave the pool and its files when it is closed, and when its process crashes. So do the
        temporary copies of sources if the parameter ``clear_temp_converted`` is off when the
        first of them is made.

    Attributes
    ----------
    folder : Path
        The pool's own folder.

    Raises
    ------
    DataPathError
        If `folder` does not exist.

    Examples
    --------
    >>> with TempFilePool() as pool:
    ...     path = pool.new(".h5")
    """

    _default: TempFilePool | None = None
    _guard = threading.Lock()

    def __init__(self, folder: str | os.PathLike[str] | None = None, *, keep: bool = False) -> None:
        parent = _parent_folder() if folder is None else Path(folder)
        if not parent.is_dir():
            raise DataPathError(
                f"the folder {str(parent)!r} for temporary files does not exist; create it, or "
                "set the parameter stash_path"
            )
        self.remove_stale(parent)
        self._pid = os.getpid()
        self._lock: int | None = None
        while self._lock is None:
            self.folder = _new_folder(parent)
            # None: another process took the unlocked folder for a stale one.
            self._lock = try_file_lock(self.folder / _LOCK)
        self._keep = keep
        if keep:
            (self.folder / _KEEP).touch()
        self._count = 0
        atexit.register(self.close)

    @classmethod
    def default(cls) -> TempFilePool:
        """Return the pool of this process, made on first use (again after a fork)."""
        with cls._guard:
            pool = cls._default
            if pool is None or pool._pid != os.getpid() or not pool.folder.is_dir():
                pool = cls._default = cls(keep=not load_params().clear_temp_converted)
            return pool

    def new(self, suffix: str = ".h5", *, nbytes: int = 0) -> Path:
        """Return the name of a new file in the pool; the file is not created.

        Parameters
        ----------
        suffix : str
            End of the name.
        nbytes : int
            Expected size; the free space is checked.

        Raises
        ------
        OSError
            With ``errno.ENOSPC`` if the disk is too full.
        """
        check_disk_space(self.folder, nbytes)
        with self._guard:
            self._count += 1
            return self.folder / f"{self._count:06d}{suffix}"

    def close(self) -> None:
        """Remove the pool and its files, unless they are kept; in a forked child do nothing."""
        atexit.unregister(self.close)
        if self._pid != os.getpid() or self._lock is None:
            return
        if self._keep:
            os.close(self._lock)
            self._lock = None
            logger.info("temporary files were kept in %s", self.folder)
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._lock)
        self._lock = None
        # Windows does not delete a file that is still locked.
        shutil.rmtree(self.folder, ignore_errors=True)

    @staticmethod
    def remove_stale(folder: str | os.PathLike[str]) -> list[Path]:
        """Remove the pools in `folder` whose process has ended, but for those that are kept.

        Parameters
        ----------
        folder : path-like
            Where pools are made.

        Returns
        -------
        list of Path
            The pools that were removed.
        """
        removed = []
        for pool in sorted(Path(folder).glob(f"{_PREFIX}*")):
            # What cannot be looked at belongs to another user.
            with suppress(OSError):
                if _remove_if_stale(pool):
                    removed.append(pool)
        if removed:
            logger.info("removed %d stale pools of temporary files in %s", len(removed), folder)
        return removed


def _parent_folder() -> Path:
    stash = load_params().stash_path
    return Path(tempfile.gettempdir()) if stash is None else stash


def _new_folder(parent: Path) -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    except OSError as error:
        raise OSError(
            error.errno,
            f"{error.strerror}: no temporary files can be made in this folder; set the parameter "
            "stash_path to one that may be written",
            os.fspath(parent),
        ) from error


def _remove_if_stale(pool: Path) -> bool:
    if (pool / _KEEP).exists():
        return False
    lock = pool / _LOCK
    if not lock.exists():
        if time.time() - pool.stat().st_mtime < _GRACE_SECONDS:
            return False
        shutil.rmtree(pool, ignore_errors=True)
        return True
    descriptor = try_file_lock(lock)
    if descriptor is None:
        return False
    try:
        shutil.rmtree(pool, ignore_errors=True)
    finally:
        os.close(descriptor)
    return True
