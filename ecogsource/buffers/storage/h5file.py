"""Opening HDF5 files through h5py, with typed errors and a bounded pool of open files."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from ecogsource.buffers.storage.signature import signature_of
from ecogsource.errors import CorruptDataError, DataPathError, FormatError

if TYPE_CHECKING:
    import h5py

__all__ = ["FILES", "FilePool", "dataset_of", "open_file"]

OPEN_FILES = 32
LISTED = 20


def open_file(path: str, mode: str = "r") -> h5py.File:
    """Open an HDF5 file.

    Parameters
    ----------
    path : str
        The file.
    mode : {'r', 'r+'}
        Read only, or read and write. Reading takes no lock, so that files on read-only or network
        mounts can be read and nobody who writes is kept waiting.

    Raises
    ------
    DataPathError
        If there is no such file, or it cannot be opened in this mode now.
    FormatError
        If it is not an HDF5 file.
    CorruptDataError
        If it is an HDF5 file that was truncated.
    """
    import h5py

    signature = signature_of(path)
    try:
        return _open(path, mode)
    except OSError as error:
        if signature.size == 0 or not h5py.is_hdf5(path):
            raise FormatError(
                f"{path!r} is not an HDF5 file ({signature.size} bytes, no HDF5 signature)"
            ) from error
        if "truncated" in str(error):
            raise CorruptDataError(
                f"the HDF5 file is truncated: {error}", path, signature.size
            ) from error
        raise DataPathError(
            f"{path!r} cannot be opened with mode {mode!r} now ({error}). "
            "Is it open for writing here or in another program?"
        ) from error


def _open(path: str, mode: str) -> h5py.File:
    import h5py

    if mode != "r":
        return h5py.File(path, mode)
    # The library refuses a second handle whose way of locking differs from that of the first.
    for locking in (False, True):
        try:
            return h5py.File(path, mode, locking=locking)
        except OSError as error:
            if "locking" not in str(error):
                raise
    return h5py.File(path, mode, locking="best-effort")


def dataset_of(file: h5py.File, name: str) -> h5py.Dataset:
    """Return a dataset of an open file.

    Raises
    ------
    DataPathError
        If there is no dataset of that name; the message lists those that there are.
    """
    import h5py

    try:
        found = file[name]
    except (KeyError, ValueError) as error:
        raise DataPathError(
            f"no dataset {name!r} in {file.filename!r} ({error}). {_listing(file)}"
        ) from error
    if not isinstance(found, h5py.Dataset):
        raise DataPathError(
            f"{name!r} in {file.filename!r} is a {type(found).__name__.lower()}, "
            f"expected a dataset. {_listing(file)}"
        )
    return found


def _listing(file: h5py.File) -> str:
    import h5py

    found: list[str] = []

    def note(name: str, item: object) -> bool | None:
        if isinstance(item, h5py.Dataset):
            found.append(f"{name!r} {item.shape} {item.dtype}")
        return True if len(found) > LISTED else None

    file.visititems(note)
    if not found:
        return "The file holds no dataset."
    more = ", ..." if len(found) > LISTED else ""
    return f"It has: {', '.join(found[:LISTED])}{more}"


def _is_current(file: h5py.File, path: str) -> bool:
    """Tell whether an open file is valid, and still the one of that name."""
    if not file.id.valid:
        return False
    try:
        status = os.stat(path)  # noqa: PTH116 - the path is a plain string
    except OSError:
        return True  # deleted: what is open is all there is
    return os.path.samestat(status, os.fstat(file.id.get_vfd_handle()))


class FilePool:
    """Files opened by h5py, for what needs the library.

    Files opened for reading are closed again when others are needed; a file opened for writing
    stays open until everybody who writes to it has closed.

    Parameters
    ----------
    limit : int
        Largest number of files kept open for reading.
    """

    def __init__(self, limit: int = OPEN_FILES) -> None:
        self.limit = limit
        # One lock for all use: HDF5 runs under one lock anyway, and nobody closes a file in use.
        self.lock = threading.RLock()
        self._readers: OrderedDict[str, h5py.File] = OrderedDict()
        self._writers: dict[str, h5py.File] = {}
        self._users: dict[str, int] = {}
        self._pid = os.getpid()

    def reader(self, path: str) -> h5py.File:
        """Return a file open for reading (or writing); call and use with `lock` held."""
        self._check_process()
        writer = self._writers.get(path)
        if writer is not None and _is_current(writer, path):
            return writer
        file = self._readers.get(path)
        if file is None or not _is_current(file, path):
            self.forget(path)
            file = self._readers[path] = open_file(path)
        self._readers.move_to_end(path)
        while len(self._readers) > self.limit:
            self._readers.popitem(last=False)[1].close()
        return file

    def writer(self, path: str) -> h5py.File:
        """Return a file open for writing; call and use with `lock` held."""
        self._check_process()
        file = self._writers.get(path)
        if file is None or not _is_current(file, path):
            if file is not None and file.id.valid:
                file.close()
            self.forget(path)
            file = self._writers[path] = open_file(path, "r+")
        return file

    def add_writer(self, path: str) -> None:
        """Count one more user of a file open for writing."""
        with self.lock:
            self._users[path] = self._users.get(path, 0) + 1

    def drop_writer(self, path: str) -> bool:
        """Count one user less; the last one closes the file. Return whether it was closed."""
        with self.lock:
            self._users[path] = self._users.get(path, 1) - 1
            if self._users[path] > 0:
                return False
            del self._users[path]
            file = self._writers.pop(path, None)
            if file is None or not file.id.valid:
                return False
            file.close()
            return True

    def has_writer(self, path: str) -> bool:
        """Tell whether this process has a file open for writing through this pool."""
        return path in self._writers

    def forget(self, path: str) -> None:
        """Close a file that is open for reading."""
        with self.lock:
            file = self._readers.pop(path, None)
            if file is not None and file.id.valid:
                file.close()

    def clear(self) -> None:
        """Close all files that are open for reading."""
        for path in list(self._readers):
            self.forget(path)

    def _check_process(self) -> None:
        if self._pid != os.getpid():
            # Handles of the parent are left alone: closing them here could flush its data.
            _ABANDONED.extend((*self._readers.values(), *self._writers.values()))
            self._readers, self._writers = OrderedDict(), {}
            self._pid = os.getpid()

    def _after_fork(self) -> None:
        self.lock = threading.RLock()


_ABANDONED: list[h5py.File] = []
FILES = FilePool()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=FILES._after_fork)
