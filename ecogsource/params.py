"""The global parameters of a lab: where recordings and sessions are, memory, precision, workers.

They stand in an INI file, section ``[params]``: the file named by ``$ECOGSOURCE_CONFIG``, else
``ecogsource.ini`` in the user's configuration folder, else none. Keys that the file leaves out
keep the packaged defaults. Nothing is read at import: :func:`load_params` gives a frozen
:class:`Params`, and reads the file again only when it changed on disk. :data:`OVERRIDE` changes
single parameters for the process or, as a context manager, for one thread.
"""

from __future__ import annotations

import configparser
import dataclasses
import difflib
import operator
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ecogsource._machine import available_cores, parse_bytes
from ecogsource.errors import ConfigError, DataPathError

__all__ = ["OVERRIDE", "Override", "Params", "config_path", "load_params", "user_config_path"]

VARIABLE = "ECOGSOURCE_CONFIG"
SECTION = "params"
_DEFAULTS = Path(__file__).parent / "data" / "defaults.ini"
# Reads ask for the parameters at every slice; on a network home one os.stat may take milliseconds.
_STAT_INTERVAL = 0.05
# The table below os.environ, where the system has one: a key that is missing is found to be so
# without an exception, which would take longer than all else.
_VALUES: Mapping[Any, Any] = getattr(os.environ, "_data", os.environ)
_KEY = os.environ.encodekey(VARIABLE) if _VALUES is not os.environ else VARIABLE
_REFERENCE = re.compile(r"%\((\w+)\)s")
_ENVIRONMENT = re.compile(r"\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)\})")


@dataclasses.dataclass(frozen=True, slots=True)
class Params:
    """The values of all global parameters.

    Attributes
    ----------
    local_exp, network_exp : Path or None
        Folders of recordings on this computer and on a server.
    user_sessions : Path or None
        Folder of the session database.
    stash_path : Path or None
        Folder for temporary and downsampled files; None for the system's temporary folder.
    clear_temp_converted : bool
        Whether temporary copies (unnamed mirrors, conversions) are deleted when the process ends.
    floating_point : {"single", "double"}
        Precision of scaled samples.
    memory_limit : int
        The most bytes that one operation may allocate.
    channel_mask : tuple of int
        Electrode channels that loaders mask in every recording.
    workers : int
        Threads that read, decode and scale; at least 1.
    chunk_cache : int
        Bytes kept of decoded chunks, over all files.
    """

    local_exp: Path | None
    network_exp: Path | None
    user_sessions: Path | None
    stash_path: Path | None
    clear_temp_converted: bool
    floating_point: Literal["single", "double"]
    memory_limit: int
    channel_mask: tuple[int, ...]
    workers: int
    chunk_cache: int


def _parse_path(value: Any, folder: Path) -> Path | None:
    """Expand ``~`` and ``$VARIABLE``; a relative path starts at `folder`."""
    if value == "":
        return None

    def lookup(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name not in os.environ:
            raise ValueError(f"the environment variable {name} is not set")
        return os.environ[name]

    return folder / Path(_ENVIRONMENT.sub(lookup, os.fspath(value))).expanduser()


def _parse_flag(value: Any, _: Path) -> bool:
    if isinstance(value, bool):
        return value
    return configparser.ConfigParser.BOOLEAN_STATES[str(value).lower()]


def _parse_precision(value: Any, _: Path) -> str:
    if value not in {"single", "double"}:
        raise ValueError("unknown precision")
    return value


def _parse_limit(value: Any, _: Path) -> int:
    size = parse_bytes(value)
    if size == 0:
        raise ValueError("nothing could be read with a limit of 0")
    return size


def _parse_cache(value: Any, _: Path) -> int:
    return parse_bytes(value)


def _parse_channels(value: Any, _: Path) -> tuple[int, ...]:
    """Read ``"3, 17, 40-43"``, or take any sequence of channel numbers."""
    if not isinstance(value, str):
        channels = {operator.index(channel) for channel in value}
    else:
        channels = set()
        for word in filter(None, re.split(r"[,\s]+", value)):
            first, dash, last = word.partition("-")
            channels.update(range(int(first), int(last if dash else first) + 1))
            if dash and int(last) < int(first):
                raise ValueError(f"the range {word} is empty")
    if any(channel < 0 for channel in channels):
        raise ValueError("channels are counted from 0")
    return tuple(sorted(channels))


def _parse_workers(value: Any, _: Path) -> int:
    if value == "":
        return available_cores()
    workers = int(value) if isinstance(value, str) else operator.index(value)
    if workers < 1 or isinstance(value, bool):
        raise ValueError("it takes at least one")
    return workers


_PATH = (_parse_path, "a folder (~ and $VARIABLES are expanded) or nothing")
_FIELDS: dict[str, tuple[Callable[[Any, Path], Any], str]] = {
    "local_exp": _PATH,
    "network_exp": _PATH,
    "user_sessions": _PATH,
    "stash_path": _PATH,
    "clear_temp_converted": (_parse_flag, "yes or no (or true, false, on, off, 1, 0)"),
    "floating_point": (_parse_precision, "single or double"),
    "memory_limit": (_parse_limit, "bytes above 0, such as 500000000, 2GB or 1.5GiB"),
    "channel_mask": (_parse_channels, "channel numbers such as 3, 17, 40-43, or nothing"),
    "workers": (_parse_workers, "a whole number of at least 1, or nothing for all cores"),
    "chunk_cache": (_parse_cache, "bytes, such as 256MB, or 0 to keep none"),
}


def _parse(name: str, value: Any, folder: Path, filename: Path | None = None) -> Any:
    """Turn one raw value into the type of its parameter."""
    if name not in _FIELDS:
        raise ConfigError(
            f"unknown parameter {name!r}{_nearest(name, _FIELDS)}; known are {', '.join(_FIELDS)}",
            filename,
            SECTION,
            name,
        )
    parse, allowed = _FIELDS[name]
    try:
        return parse("" if value is None else value, folder)
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = error.message if isinstance(error, ConfigError) else str(error)
        raise ConfigError(
            f"{name} = {value!r} is not allowed ({reason}); allowed is {allowed}",
            filename,
            SECTION,
            name,
        ) from error


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    """Write a hint at the known name that was probably meant."""
    close = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _read_ini(path: Path) -> dict[str, str]:
    """Read the raw values of one parameter file."""
    parser = configparser.ConfigParser(interpolation=None)
    # Without this, keys would be lowered and a misspelt case accepted silently.
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    try:
        parser.read_string(path.read_text(encoding="utf-8-sig"), source=str(path))
    except (configparser.Error, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        section, key = getattr(error, "section", None), getattr(error, "option", None)
        raise ConfigError(
            f"the parameter file is not a valid INI file: {reason}; it should hold a section "
            f"[{SECTION}] with lines such as memory_limit = 2GB",
            path,
            section,
            key,
        ) from error
    except OSError as error:
        raise ConfigError(f"the parameter file cannot be read: {error.strerror}", path) from error
    for section in parser.sections():
        if section != SECTION:
            raise ConfigError(
                f"unknown section [{section}]; parameters stand in [{SECTION}]", path, section
            )
    return dict(parser[SECTION]) if parser.has_section(SECTION) else {}


def _resolve(name: str, raw: Mapping[str, str], path: Path, seen: tuple[str, ...] = ()) -> str:
    """Replace each ``%(other)s`` in a raw value; every other percent sign stays as it is."""
    if name in seen:
        cycle = " -> ".join((*seen, name))
        raise ConfigError(f"values refer to each other in a circle: {cycle}", path, SECTION, name)

    def lookup(match: re.Match[str]) -> str:
        if match[1] not in raw:
            raise ConfigError(
                f"{name} = {raw[name]!r} refers to an unknown parameter {match[1]!r}"
                f"{_nearest(match[1], raw)}",
                path,
                SECTION,
                name,
            )
        return _resolve(match[1], raw, path, (*seen, name))

    return _REFERENCE.sub(lookup, raw[name])


def _read_params(path: Path | None) -> Params:
    """Read, expand and check a parameter file on top of the packaged defaults."""
    own = {} if path is None else _read_ini(path)
    raw = _read_ini(_DEFAULTS) | own
    where = path or _DEFAULTS
    values = {name: _parse(name, _resolve(name, raw, where), where.parent, where) for name in raw}
    return Params(**values)


def config_path() -> Path | None:
    """Tell which parameter file is in force.

    Returns
    -------
    Path or None
        The file named by ``$ECOGSOURCE_CONFIG``, else ``ecogsource.ini`` in the user's
        configuration folder if it is there, else None (only the packaged defaults hold).

    Raises
    ------
    DataPathError
        If ``$ECOGSOURCE_CONFIG`` names a file that is not there.
    """
    return _find_config(os.environ.get(VARIABLE))[0]


def user_config_path() -> Path:
    """Tell where the user's parameter file is looked for.

    Returns
    -------
    Path
        ``ecogsource.ini`` in the user's configuration folder, whether it is there or not.
    """
    import platformdirs

    return platformdirs.user_config_path("ecogsource", appauthor=False) / "ecogsource.ini"


def _find_config(variable: str | None) -> tuple[Path | None, tuple[int, ...] | None]:
    """Find the parameter file and what identifies its present content."""
    path = Path(variable).expanduser().absolute() if variable else user_config_path()
    try:
        status = path.stat()
    except OSError as error:
        if variable:
            raise DataPathError(
                f"the parameter file {str(path)!r} cannot be read ({error.strerror}); the "
                f"environment variable {VARIABLE} names it: correct it or unset it"
            ) from error
        return None, None
    return path, (status.st_mtime_ns, status.st_size, status.st_ino)


class _State(NamedTuple):
    """What is known of the parameter file, and until when it is believed without looking."""

    variable: Any
    path: Path | None
    stamp: tuple[int, ...] | None
    until: float
    params: Params


class _ConfigFile:
    """The parameter file, parsed once per change. No lock: parsing twice at once does no harm."""

    def __init__(self) -> None:
        self._state: _State | None = None

    def params(self, *, fresh: bool) -> Params:
        variable = _VALUES.get(_KEY)
        state = self._state
        if (
            state is not None
            and not fresh
            and time.monotonic() < state.until
            and variable == state.variable
        ):
            return state.params
        path, stamp = _find_config(os.environ.get(VARIABLE))
        if state is not None and not fresh and (path, stamp) == (state.path, state.stamp):
            params = state.params
        else:
            params = _read_params(path)
        until = time.monotonic() + _STAT_INTERVAL
        self._state = _State(variable, path, stamp, until, params)
        return params


class _Layer:
    """Overridden values and the parameters that they last led to."""

    __slots__ = ("cached", "values")

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values
        self.cached: tuple[Params, Params] | None = None

    def over(self, base: Params) -> Params:
        if not self.values:
            return base
        cached = self.cached
        if cached is None or cached[0] is not base:
            cached = base, dataclasses.replace(base, **self.values)
            self.cached = cached
        return cached[1]


class Override(MutableMapping[str, Any]):
    """Parameters that hold instead of those in the file.

    ``OVERRIDE["memory_limit"] = 1e5`` and ``del OVERRIDE["memory_limit"]`` work on the whole
    process at once, from whatever thread. ``with OVERRIDE.set(memory_limit=1e5): ...`` holds for
    the block that it encloses only: other threads do not see it, and it takes precedence over
    values of the process. Values are checked when they are set, and take the types of
    :class:`Params` or text as in the file. Processes started by ``spawn`` begin without overrides.
    """

    def __init__(self) -> None:
        self._process = _Layer({})
        self._context: ContextVar[_Layer | None] = ContextVar("ecogsource_override", default=None)
        self._renew_lock()
        if hasattr(os, "register_at_fork"):
            # A fork may copy the lock while another thread holds it; the child then starts anew.
            os.register_at_fork(after_in_child=self._renew_lock)

    def _renew_lock(self) -> None:
        self._lock = threading.Lock()

    def _values(self) -> dict[str, Any]:
        context = self._context.get()
        return self._process.values | (context.values if context is not None else {})

    def __getitem__(self, name: str) -> Any:
        return self._values()[name]

    def __setitem__(self, name: str, value: Any) -> None:
        parsed = _parse(name, value, Path.cwd())
        with self._lock:
            self._process = _Layer({**self._process.values, name: parsed})

    def __delitem__(self, name: str) -> None:
        with self._lock:
            values = dict(self._process.values)
            del values[name]
            self._process = _Layer(values)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values())

    def __len__(self) -> int:
        return len(self._values())

    def __repr__(self) -> str:
        return f"OVERRIDE({self._values()})"

    def clear(self) -> None:
        """Drop all values of the process; those of an enclosing ``with`` block stay."""
        with self._lock:
            self._process = _Layer({})

    def set(self, **values: Any) -> AbstractContextManager[Params]:
        """Override parameters within a ``with`` block of this thread.

        Parameters
        ----------
        **values
            Parameters by name, as in :class:`Params` or as text.

        Returns
        -------
        context manager
            Its ``as`` value is the :class:`Params` that hold inside.

        Raises
        ------
        ConfigError
            At once, if a name is unknown or a value is not allowed.
        """
        folder = Path.cwd()
        return self._enclose({name: _parse(name, value, folder) for name, value in values.items()})

    @contextmanager
    def _enclose(self, values: dict[str, Any]) -> Iterator[Params]:
        outer = self._context.get()
        token = self._context.set(_Layer((outer.values if outer is not None else {}) | values))
        try:
            yield load_params()
        finally:
            self._context.reset(token)

    def over(self, base: Params) -> Params:
        """Lay the values in force for the calling thread over `base`.

        Parameters
        ----------
        base : Params
            The parameters without overrides.

        Returns
        -------
        Params
            `base` itself where nothing is overridden.
        """
        params = self._process.over(base)
        context = self._context.get()
        return params if context is None else context.over(params)


OVERRIDE = Override()
_CONFIG = _ConfigFile()


def load_params(*, fresh: bool = False) -> Params:
    """Give the global parameters that hold now, overrides included.

    This costs about a microsecond: the file is looked at no more than 20 times a second, and
    parsed only when it changed.

    Parameters
    ----------
    fresh : bool, optional
        Read the file again in any case.

    Returns
    -------
    Params
        Frozen; later changes of the file or of :data:`OVERRIDE` do not touch it.

    Raises
    ------
    ConfigError
        If the file cannot be parsed, or holds an unknown key or a value that is not allowed; it
        names file, section, key, value and what is allowed.
    DataPathError
        If ``$ECOGSOURCE_CONFIG`` names a file that is not there.
    """
    return OVERRIDE.over(_CONFIG.params(fresh=fresh))
