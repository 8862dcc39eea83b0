"""Which class loads the recordings of which headstage."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import TYPE_CHECKING

from ecogsource.errors import ConfigError
from ecogsource.expconfig.bunch import nearest
from ecogsource.expconfig.fields import BASE_TABLE, Table

if TYPE_CHECKING:
    from ecogsource.devices.loader import FileLoader

__all__ = ["LOADERS", "all_fields", "find_loader", "register_loader"]

#: Entry points of this group, named like a headstage, add loaders.
ENTRY_POINTS = "ecogsource.loaders"

_ACTIVE = "ecogsource.devices.active:ActiveLoader"
_MUX = "ecogsource.devices.mux:MuxLoader"
_OPEN_EPHYS = "ecogsource.devices.packed:OpenEphysLoader"
_RHD = "ecogsource.devices.packed:RHDLoader"
_BLACKROCK = "ecogsource.devices.packed:BlackrockLoader"

_loaders: dict[str, str] = {
    "generic": "ecogsource.devices.generic:GenericLoader",
    "active": _ACTIVE,
    "zif26 to 2x uhdmi": _ACTIVE,
    "zif26 to 2x 20 pins harwin to 2x uhdmi": _ACTIVE,
    "zif to 50mil": _ACTIVE,
    "zif51_p4-50_demux-14c20r": _ACTIVE,
    "mux3": _MUX,
    "mux4": _MUX,
    "mux5": _MUX,
    "mux6": _MUX,
    "mux7": _MUX,
    "mux7_lg": _MUX,
    "joe_mux3": _MUX,
    "stim_mux1": _MUX,
    "stim_mux64": _MUX,
    "stim_v4": _MUX,
    "openephys": _OPEN_EPHYS,
    "open-ephys": _OPEN_EPHYS,
    "oephys": _OPEN_EPHYS,
    "intan_rhd": _RHD,
    "intan": _RHD,
    "rhd": _RHD,
    "blackrock": _BLACKROCK,
}

#: Headstage -> ``'module:Class'``, read-only.
LOADERS: Mapping[str, str] = MappingProxyType(_loaders)


def register_loader(headstage: str, target: str, *, clobber: bool = False) -> None:
    """Add a loader.

    Parameters
    ----------
    headstage : str
        Name that sessions use; case does not matter.
    target : str
        ``'module:Class'`` of a subclass of `FileLoader`; imported when it is used.
    clobber : bool
        Whether an existing loader of that name is replaced.

    Raises
    ------
    ValueError
        If the name is taken, or `target` is not written like that.
    """
    name = headstage.lower()
    if ":" not in target:
        raise ValueError(f"a loader is given as 'module:Class', got {target!r}")
    if name in _loaders and not clobber and _loaders[name] != target:
        raise ValueError(
            f"headstage {headstage!r} is loaded by {_loaders[name]}; use clobber=True to replace it"
        )
    _loaders[name] = target
    all_fields.cache_clear()


@functools.cache
def _load_entry_points() -> None:
    for point in entry_points(group=ENTRY_POINTS):
        _loaders.setdefault(point.name.lower(), point.value)


def find_loader(headstage: str) -> type[FileLoader]:
    """Return the class that loads recordings of a headstage.

    Parameters
    ----------
    headstage : str
        Name, in any case.

    Returns
    -------
    type
        A subclass of `FileLoader`.

    Raises
    ------
    ConfigError
        If the headstage is unknown; the message gives the nearest names.
    """
    _load_entry_points()
    name = str(headstage).lower()
    if name not in _loaders:
        raise ConfigError(
            f"unknown headstage {headstage!r}{nearest(str(headstage), _loaders, '.')} "
            f"Known are {', '.join(sorted(_loaders))}"
        )
    return _imported(_loaders[name])


@functools.cache
def all_fields() -> Table:
    """Return the session fields of all devices: what ``ecogsource.devices.params_table`` is.

    Returns
    -------
    mapping of str to Field
        The shared fields and those that every known loader adds.
    """
    _load_entry_points()
    table = dict(BASE_TABLE)
    for target in dict.fromkeys(_loaders.values()):
        table |= {k: v for k, v in _imported(target).fields.items() if k not in table}
    return MappingProxyType(table)


def _imported(target: str) -> type[FileLoader]:
    module, _, attribute = target.partition(":")
    loader: type[FileLoader] = getattr(importlib.import_module(module), attribute)
    return loader
