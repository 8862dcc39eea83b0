"""Passive multiplexers: like active arrays, with named electrode maps."""

from __future__ import annotations

import dataclasses

import numpy as np

from ecogsource.devices.active import MultiplexedLoader, daq_facts
from ecogsource.devices.electrodes import ElectrodeLayout
from ecogsource.errors import ConfigError
from ecogsource.expconfig.bunch import nearest

__all__ = ["MuxLoader"]


class MuxLoader(MultiplexedLoader):
    """Loads recordings of multiplexer headstages (data in volts behind a gain).

    Some headstages sample their columns in an order of their own; it is looked up under the name
    of the headstage, ``<headstage>_<daq>`` or the daq, in ``data/active_daq.json``.

    Parameters
    ----------
    experiment_path, recording, electrode
        As for `FileLoader`.
    daq : str or None
        Name of the acquisition system, such as ``'mux7_1card'``; None where the headstage alone
        decides.
    headstage : str
        Such as ``'mux6'``; it decides the gain.
    bnc : int or sequence of int
        Acquired columns that are BNC inputs; by default all behind the electrode columns.
    **options
        See `LoadOptions`. ``trigger_idx`` counts the BNC inputs.
    """

    def gain(self) -> float:
        """Return the gain of the headstage.

        Raises
        ------
        ConfigError
            If the headstage is unknown.
        """
        gains = {name.lower(): gain for name, gain in daq_facts()["mux_gain"].items()}
        name = self.headstage.lower()
        if name not in gains:
            raise ConfigError(
                f"unknown multiplexer {self.headstage!r}{nearest(self.headstage, gains, '.')} "
                f"Known are {sorted(gains)}"
            )
        return float(gains[name])

    def sampling_order(self) -> list[int]:
        """Return the acquired column of each column of the electrode map.

        Returns
        -------
        list of int
            A permutation of the electrode columns.
        """
        n_cols = self.columns_and_rows[0]
        orders = daq_facts()["mux_sampling"]
        for name in (self.headstage, f"{self.headstage}_{self.daq}", self.daq):
            order = orders.get(str(name).lower())
            if order is not None and len(order) == n_cols:
                return list(order)
        return list(range(n_cols))

    def layout(self) -> ElectrodeLayout | None:
        """Put the channels of the named map where they are acquired; see `FileLoader.layout`."""
        layout = super().layout()
        if layout is None:
            return None
        n_rows = self.columns_and_rows[1]
        start = np.array(self.sampling_order(), dtype=np.int64) * n_rows
        acquired = (start[:, np.newaxis] + np.arange(n_rows)).ravel()
        if layout.n_channels > acquired.size:
            return layout
        channels = acquired[layout.electrode_channels]
        order = np.argsort(channels)
        return dataclasses.replace(
            layout,
            channel_map=layout.channel_map.subset(order),
            electrode_channels=channels[order],
            grounded_channels=np.sort(acquired[layout.grounded_channels]),
            reference_channels=np.sort(acquired[layout.reference_channels]),
            other_channels=np.sort(acquired[layout.other_channels]),
        )
