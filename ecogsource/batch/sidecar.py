"""The YAML file beside a binary file, which says how to read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ecogsource.errors import FormatError
from ecogsource.safefile import named_errors, publish

__all__ = ["read_sidecar", "sidecar_part", "sidecar_path", "write_sidecar"]

# Older files name the order by the shape of the array: wide is channels x observations.
ORDERS = {"channels": "channels", "samples": "samples", "wide": "channels", "long": "samples"}


def sidecar_path(path: Path) -> Path:
    """Name the sidecar of a binary file.

    Parameters
    ----------
    path : Path
        The binary file.

    Returns
    -------
    Path
        The same name with the extension ``.yaml``.
    """
    return path.with_suffix(".yaml")


def read_sidecar(path: Path) -> dict[str, Any]:
    """Read the sidecar of a binary file.

    Parameters
    ----------
    path : Path
        The binary file.

    Returns
    -------
    dict
        ``dtype``, ``n_channels``, ``data_order`` and whatever else stands there; empty if there
        is no sidecar. Only plain YAML values are read, never objects.

    Raises
    ------
    FormatError
        If the sidecar is not a YAML mapping, or says what makes no sense.
    """
    beside = sidecar_path(path)
    try:
        found = yaml.safe_load(beside.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise FormatError(f"{str(beside)!r} is not a plain YAML file: {error}") from error
    if not isinstance(found, dict):
        raise FormatError(
            f"{str(beside)!r} should hold lines such as 'dtype: int16', it holds "
            f"{type(found).__name__}"
        )
    if "data_order" not in found and "data_format" in found:
        found["data_order"] = found["data_format"]
    try:
        _check(found)
    except (TypeError, ValueError) as error:
        raise FormatError(f"{str(beside)!r}: {error}") from error
    return found


def _check(found: dict[str, Any]) -> None:
    if "dtype" in found and np.dtype(found["dtype"]).kind not in "biufc":
        raise ValueError(f"dtype is that of numbers, got {found['dtype']!r}")
    if "n_channels" in found and not (
        isinstance(found["n_channels"], int) and found["n_channels"] > 0
    ):
        raise ValueError(f"n_channels is a positive number, got {found['n_channels']!r}")
    normal_order(found.get("data_order"))


def sidecar_part(path: Path) -> Path:
    """Name the file that becomes the sidecar of a binary file when it is whole."""
    return path.with_name(f".{path.name}.yaml.part")


def write_sidecar(path: Path, values: dict[str, Any]) -> None:
    """Write the sidecar of a binary file; it appears whole or not at all.

    The caller holds the lock of the binary file: what a killed writer left is written over.

    Parameters
    ----------
    path : Path
        The binary file.
    values : dict
        Plain values.
    """
    part = sidecar_part(path)
    with named_errors(path):
        with open(part, "w", encoding="utf-8") as file:
            yaml.safe_dump(values, file, sort_keys=False)
        publish(part, sidecar_path(path))


def normal_order(data_order: str | None) -> str | None:
    """Give the order of a file its present name.

    Parameters
    ----------
    data_order : str or None
        ``'channels'`` or ``'samples'``; ``'wide'`` and ``'long'`` are older names of them.

    Returns
    -------
    str or None
        ``'channels'``, ``'samples'``, or None if it is not known.

    Raises
    ------
    ValueError
        If it is something else.
    """
    if data_order is None:
        return None
    if not isinstance(data_order, str) or data_order not in ORDERS:
        raise ValueError(f"data_order is 'channels' or 'samples', got {data_order!r}")
    return ORDERS[data_order]
