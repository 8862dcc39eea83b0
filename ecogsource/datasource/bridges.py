"""One-line ways from a source to other packages; the bridges stand in `ecogsource.interop`."""

from __future__ import annotations

from typing import Any


class BridgeMixin:
    """Ways to other packages, each imported when it is used."""

    def to_dask(self, chunks: Any = "auto") -> Any:
        """Make a dask array; see :func:`ecogsource.interop.dask.to_dask`."""
        from ecogsource.interop import dask

        return dask.to_dask(self, chunks)  # type: ignore[arg-type]

    def to_xarray(self) -> Any:
        """Make an xarray.DataArray; see :func:`ecogsource.interop.xarray.to_xarray`."""
        from ecogsource.interop import xarray

        return xarray.to_xarray(self)  # type: ignore[arg-type]

    def to_spikeinterface(self) -> Any:
        """Make a recording; see :func:`ecogsource.interop.spikeinterface.to_spikeinterface`."""
        from ecogsource.interop import spikeinterface

        return spikeinterface.to_spikeinterface(self)  # type: ignore[arg-type]

    def to_mne(self, *, kind: str = "ecog") -> Any:
        """Make an MNE Raw object; see :func:`ecogsource.interop.mne.to_mne`."""
        from ecogsource.interop import mne

        return mne.to_mne(self, kind=kind)  # type: ignore[arg-type]

    def plot(self, *args: Any, **kwargs: Any) -> Any:
        """Draw traces; see :func:`ecogsource.view.plot`."""
        from ecogsource import view

        return view.plot(self, *args, **kwargs)
