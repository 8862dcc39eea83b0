"""Every exception that ecogsource raises on purpose.

Each class is also the builtin that a caller would expect, so that code which knows nothing of
ecogsource (``except FileNotFoundError``) still catches it. Messages say what was got, what was
expected, which file, and what to do about it.
"""

from __future__ import annotations

import importlib
from os import PathLike, fspath
from types import ModuleType

__all__ = [
    "BatchError",
    "ConfigError",
    "CorruptDataError",
    "DataPathError",
    "EcogSourceError",
    "FormatError",
    "GapError",
    "JoinError",
    "MemoryBlowOutError",
    "MissingDependencyError",
    "ReadOnlyError",
    "WorkerError",
    "require",
]


class EcogSourceError(Exception):
    """Base class of all errors raised by ecogsource."""


class MemoryBlowOutError(MemoryError, EcogSourceError):
    """An operation would allocate more than the memory limit allows."""


class ReadOnlyError(EcogSourceError, OSError):
    """A write was asked of data that are open for reading only."""


class DataPathError(EcogSourceError, FileNotFoundError):
    """A file, a dataset inside a file, a recording or a session was not found."""


class FormatError(EcogSourceError, ValueError):
    """A file is not what its name, its header or the caller says it is."""


class CorruptDataError(EcogSourceError, OSError):
    """Stored bytes are damaged.

    Parameters
    ----------
    message : str
        What is wrong.
    filename : path-like, optional
        The damaged file, also kept as an attribute.
    offset : int, optional
        Position of the damaged bytes in the file, also kept as an attribute.
    """

    def __init__(
        self,
        message: str,
        filename: str | PathLike[str] | None = None,
        offset: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.filename = None if filename is None else fspath(filename)
        self.offset = offset

    def __str__(self) -> str:
        where = [] if self.filename is None else [f"file {self.filename!r}"]
        if self.offset is not None:
            where.append(f"byte {self.offset}")
        return f"{self.message} ({', '.join(where)})" if where else self.message

    def __reduce__(self) -> tuple[type[CorruptDataError], tuple[object, ...]]:
        # OSError pickles its positional arguments only; workers must not lose file and offset.
        return type(self), (self.message, self.filename, self.offset)


class JoinError(EcogSourceError, ValueError):
    """Things that were to be joined do not fit together."""


class ConfigError(EcogSourceError, ValueError):
    """A parameter or session file holds something that it may not.

    Parameters
    ----------
    message : str
        What is wrong and what is allowed.
    filename : path-like, optional
        The file, also kept as an attribute.
    section, key : str, optional
        Where in the file, also kept as attributes.
    """

    def __init__(
        self,
        message: str,
        filename: str | PathLike[str] | None = None,
        section: str | None = None,
        key: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.filename = None if filename is None else fspath(filename)
        self.section = section
        self.key = key

    def __str__(self) -> str:
        parts = (("file", self.filename), ("section", self.section), ("key", self.key))
        where = ", ".join(f"{name} {value!r}" for name, value in parts if value is not None)
        return f"{self.message} ({where})" if where else self.message

    def __reduce__(self) -> tuple[type[ConfigError], tuple[object, ...]]:
        return type(self), (self.message, self.filename, self.section, self.key)


class GapError(EcogSourceError, ValueError):
    """A recording has a gap in time and the caller did not say how to treat it."""


class MissingDependencyError(EcogSourceError, ImportError):
    """An optional package is needed; the message gives the command that installs it."""


class WorkerError(EcogSourceError, RuntimeError):
    """A reading process died or did not answer in time."""


class BatchError(EcogSourceError, RuntimeError):
    """A function failed on one batch of a recording; the message says on which."""


def require(module: str, extra: str) -> ModuleType:
    """Import an optional dependency.

    Parameters
    ----------
    module : str
        Dotted name of the module to import.
    extra : str
        The extra of ecogsource that installs it.

    Returns
    -------
    module
        The imported module.

    Raises
    ------
    MissingDependencyError
        If the module is not installed; the message gives the ``pip`` command.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependencyError(
            f"{module!r} is needed for this and cannot be imported ({error}). "
            f"Install it with: pip install 'ecogsource[{extra}]'"
        ) from error
