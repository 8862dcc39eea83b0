"""The dataset: everything that is known of one loaded recording, or of several joined ones."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np

from ecogsource._closing import Closing
from ecogsource.buffers import Buffer
from ecogsource.datasource import ElectrodeDataSource
from ecogsource.expconfig.bunch import Bunch

__all__ = ["Dataset"]


class Dataset(Bunch, Closing):
    """A recording with all that belongs to it; each entry is a key and an attribute.

    Loaders fill in

    ``data``
        The electrode channels: a `MappedSource` or `PlainArraySource`, channels x time.
    ``adc``, ``aux``, ...
        The aligned arrays of ``data``, under their own names.
    ``chan_map``
        `ChannelMap` of the active channels of ``data``, None without an electrode map.
    ``Fs``
        Samples per second.
    ``pos_edge``, ``neg_edge``
        Sample numbers of the rising and falling edges of the trigger, int64.
    ``trig_chan``
        The trigger lines themselves, lines x time; None without a trigger.
    ``ground_chans``, ``ref_chans``
        Sources of the channels that are not electrodes; None where there are none.
    ``bandpass``, ``notches``, ``units``
        How the data were filtered, and their unit.
    ``name``, ``session``, ``exp``
        Names of the recording and its session, and its `StimulatedExperiment`.

    It is a context manager, and pickles as a recipe as sources do.
    """

    def close(self) -> None:
        """Let go of all files. Reading opens them again."""
        for value in self.values():
            if isinstance(value, (ElectrodeDataSource, Buffer)):
                value.close()

    def __repr__(self) -> str:
        width = max((len(key) for key in self), default=0)
        lines = (f"{key:<{width}} : {_summary(value)}" for key, value in self.items())
        return "\n".join(lines) or "Dataset()"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{escape(str(key))}</th>"
            f"<td style='text-align:left'>{escape(_summary(value))}</td></tr>"
            for key, value in self.items()
        )
        return f"<table><caption>Dataset</caption>{rows}</table>"


def _summary(value: Any) -> str:
    """One line on a value: kind and shape of arrays, the value itself of small things."""
    if isinstance(value, (ElectrodeDataSource, Buffer, np.ndarray)):
        return f"{type(value).__name__} {tuple(value.shape)} {value.dtype.name}"
    return repr(value)
