"""Byte sizes in words, and how much memory and how many cores this process may really use.

Containers and batch systems give a process less than the machine has; what they allow is read
from the control groups (versions 1 and 2). Every function that reads the system takes the folder
that stands for ``/``, so that tests can show it another machine.
"""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

from ecogsource.errors import ConfigError

_ROOT = Path("/")
_UNITS = {"": 1, "B": 1} | {
    prefix + suffix: base**power
    for power, prefix in enumerate("KMGTP", start=1)
    for suffix, base in (("", 1000), ("B", 1000), ("IB", 1024))
}
_SIZE = re.compile(
    r"([-+]?[0-9][0-9_]*\.?[0-9]*(?:e[-+]?[0-9]+)?|\.[0-9]+)\s*([a-z]*)", re.IGNORECASE
)


def parse_bytes(size: str | float) -> int:
    """Turn a byte size in words or numbers into a number of bytes.

    Parameters
    ----------
    size : str, int or float
        ``"2GB"``, ``"1.5 GB"``, ``"160B"``, ``"64MiB"``, ``2e9``. Units are case-insensitive.
        ``KB, MB, GB, TB, PB`` (or the bare letter) are powers of 1000, ``KiB, MiB, GiB, TiB,
        PiB`` powers of 1024.

    Returns
    -------
    int
        Bytes, never negative; fractions of a byte are dropped.

    Raises
    ------
    ConfigError
        If the size cannot be understood, is negative or is not finite.
    """
    if isinstance(size, str):
        match = _SIZE.fullmatch(size.strip())
        unit = match and _UNITS.get(match[2].upper())
        if match is None or unit is None:
            raise ConfigError(
                f"{size!r} is not a byte size; write a number of bytes, or a number with one of "
                "B, KB, MB, GB, TB (powers of 1000), KiB, MiB, GiB, TiB (powers of 1024)"
            )
        number = match[1]
        # Whole numbers stay exact: a float holds no more than 53 bits.
        count = int(number) * unit if number.lstrip("+-").isdecimal() else float(number) * unit
    elif isinstance(size, bool):
        raise ConfigError(f"{size!r} is not a byte size; write a number of bytes or e.g. '2GB'")
    else:
        try:
            count = float(size) if not hasattr(size, "__index__") else size.__index__()
        except (TypeError, ValueError):
            raise ConfigError(
                f"{size!r} is not a byte size; write a number of bytes or e.g. '2GB'"
            ) from None
    if not math.isfinite(count) or count < 0:
        raise ConfigError(f"{size!r} is not a byte size; it must be finite and not negative")
    return int(count)


def format_bytes(n: int) -> str:
    """Write a number of bytes for people, in powers of 1000.

    Parameters
    ----------
    n : int
        Number of bytes.

    Returns
    -------
    str
        For example ``"160 B"``, ``"1.5 GB"``; three significant digits.
    """
    sign, size = ("-", -float(n)) if n < 0 else ("", float(n))
    if size < 1000:
        return f"{sign}{int(size)} B"
    for prefix in "KMGTP":
        size /= 1000
        # 999.6 would be written as 1e+03: it belongs to the next unit.
        if size < 999.5 or prefix == "P":
            break
    digits = f"{size:.3g}" if size < 1000 else f"{size:.0f}"
    return f"{sign}{digits} {prefix}B"


def available_memory(root: Path = _ROOT) -> int:
    """Tell how many bytes this process could still allocate.

    Parameters
    ----------
    root : Path, optional
        The folder that stands for ``/`` when control groups are read.

    Returns
    -------
    int
        The smaller of what the machine has free and what the control groups (versions 1 and 2,
        this group and all above it) leave: limit minus usage, where cached file pages, which the
        kernel drops on demand, count as free.
    """
    free = psutil.virtual_memory().available
    for folder in _group_folders("memory", root):
        limit = _read_int(folder / "memory.max")
        usage = _read_int(folder / "memory.current")
        if limit is None:
            limit = _read_int(folder / "memory.limit_in_bytes")
            usage = _read_int(folder / "memory.usage_in_bytes")
        if limit is not None and usage is not None:
            free = min(free, limit - usage + _file_pages(folder))
    return max(free, 0)


def available_cores(root: Path = _ROOT) -> int:
    """Tell how many cores this process may use.

    Parameters
    ----------
    root : Path, optional
        The folder that stands for ``/`` when control groups are read.

    Returns
    -------
    int
        The smallest of the machine's cores, the process's affinity and the control groups' CPU
        quotas (rounded up); at least 1.
    """
    cores = float(os.cpu_count() or 1)
    if hasattr(os, "sched_getaffinity"):
        cores = min(cores, len(os.sched_getaffinity(0)))
    for folder in _group_folders("cpu", root):
        quota, period = (
            _read_int(folder / "cpu.cfs_quota_us"),
            _read_int(folder / "cpu.cfs_period_us"),
        )
        words = _read_text(folder / "cpu.max").split()
        if len(words) == 2 and words[0].isdecimal():
            quota, period = int(words[0]), int(words[1])
        if quota is not None and period and quota > 0:
            cores = min(cores, quota / period)
    return max(1, math.ceil(cores))


def peak_memory(root: Path = _ROOT) -> int:
    """Tell the most memory that this process ever occupied.

    Parameters
    ----------
    root : Path, optional
        The folder that stands for ``/``.

    Returns
    -------
    int
        Bytes of resident memory, mapped pages of files included. On Linux since the program was
        started: ``getrusage`` also counts what the process held before, as the copy of its parent.
    """
    for line in _read_text(root / "proc/self/status").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows counts it elsewhere.
        return int(psutil.Process().memory_info().peak_wset)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts kibibytes, macOS bytes.
    return int(peak) if sys.platform == "darwin" else int(peak) * 1024


def _group_folders(controller: str, root: Path) -> Iterator[Path]:
    """Yield this process's control group and its ancestors, for both versions.

    Without a namespace of its own a container sees a group path that is not mounted: its real
    limits then stand at the mount point, which the climb reaches as well.
    """
    mount = root / "sys/fs/cgroup"
    for line in _read_text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        bases = [mount / controllers, mount / controller] if controllers else [mount]
        for base in dict.fromkeys(bases):
            folder = base / group.strip("/")
            yield folder
            yield from (parent for parent in folder.parents if parent.is_relative_to(base))


def _file_pages(folder: Path) -> int:
    """Bytes of cached file pages that a control group would give back."""
    stat = dict(
        line.split(maxsplit=1)
        for line in _read_text(folder / "memory.stat").splitlines()
        if len(line.split()) == 2
    )
    prefix = "total_" if "total_inactive_file" in stat else ""
    return sum(int(stat.get(f"{prefix}{kind}_file", 0)) for kind in ("inactive", "active"))


def _read_int(path: Path) -> int | None:
    """Read a number; None where the file is absent or says ``max``."""
    try:
        return int(_read_text(path))
    except ValueError:
        return None


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
