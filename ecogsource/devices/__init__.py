"""Acquisition systems: one loader class per system turns a recording into a dataset.

Names are imported when they are first used. ``params_table`` holds the session fields of all
devices, for `ecogsource.expconfig.session_info`.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "ActiveLoader": "active",
    "BlackrockLoader": "packed",
    "Dataset": "dataset",
    "ElectrodeLayout": "electrodes",
    "FileLoader": "loader",
    "Finding": "check",
    "GenericLoader": "generic",
    "LOADERS": "registry",
    "LoadOptions": "options",
    "MuxLoader": "mux",
    "OpenEphysLoader": "packed",
    "RHDLoader": "packed",
    "TriggerWarning": "loader",
    "available_electrodes": "electrodes",
    "check_database": "check",
    "electrode_layout": "electrodes",
    "find_edges": "triggers",
    "find_loader": "registry",
    "find_words": "triggers",
    "register_loader": "registry",
}

__all__ = [  # noqa: PLE0604  computed from strings above
    *_HOMES,
    "params_table",
]


def __getattr__(name: str) -> Any:
    """Import the home of a public name on first use."""
    if name == "params_table":
        # Not kept here: a loader registered later adds its fields.
        return importlib.import_module("ecogsource.devices.registry").all_fields()
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"ecogsource.devices.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
