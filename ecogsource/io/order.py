"""Telling whether a flat file goes sample after sample or channel after channel.

Nothing in a flat file says so. Read in the wrong order, the samples of a channel are values of
different channels and moments, and neighbours in time have nothing to do with each other; read in
the right order, a recording of brain waves is smooth.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecogsource.datasource import MappedSource

from .layouts import FlatLayout

__all__ = ["in_order", "likely_order", "order_warnings", "smoothness"]

ROUGH, SMOOTH = 0.3, 0.6
"""Below the one a signal is like noise, above the other it is not."""
LOOKED_AT = 4000
"""Samples from the middle of the file."""

ORDERS = {"samples": "F", "channels": "C"}


def smoothness(values: NDArray[Any]) -> float:
    """Return how alike neighbouring samples are: the median autocorrelation at lag one.

    Parameters
    ----------
    values : ndarray, shape (channels, samples)
        A stretch of a recording.

    Returns
    -------
    float
        From -1 to 1; 0 for white noise. Channels that are constant or hold NaN do not count.
    """
    centred = values.astype(np.float64) - values.mean(axis=1, keepdims=True, dtype=np.float64)
    power = np.sum(centred**2, axis=1)
    product = np.sum(centred[:, 1:] * centred[:, :-1], axis=1)
    counted = np.isfinite(power) & (power > 0)
    return float(np.median(product[counted] / power[counted])) if counted.any() else 0.0


def in_order(source: MappedSource, layout: FlatLayout, order: str) -> MappedSource:
    """Return a source of a flat file with its numbers taken in a given order.

    Parameters
    ----------
    source : MappedSource
        The whole file as it was opened.
    layout : FlatLayout
        Where its numbers are.
    order : {'samples', 'channels'}
        Sample after sample, or channel after channel.

    Returns
    -------
    MappedSource
        `source` itself if it was opened in that order.
    """
    if layout.order == ORDERS[order]:
        return source
    buffer = replace(layout, order=ORDERS[order]).open(source.data_buffer.units_scale)
    return MappedSource(
        buffer, fs=source.fs, units=source.units, channel_names=source.channel_names
    )


def likely_order(source: MappedSource, layout: FlatLayout) -> str:
    """Return the order in which a flat file is likely to be stored.

    Parameters
    ----------
    source, layout
        As for `in_order`.

    Returns
    -------
    {'samples', 'channels'}
        The order in which it was opened, unless that reads as noise and the other does not.
    """
    opened, other = ORDERS if layout.order == "F" else reversed(ORDERS)
    middle = source.shape[1] // 2
    stretch = np.s_[:, max(middle - LOOKED_AT // 2, 0) : middle + LOOKED_AT // 2]
    if source.shape[0] < 2 or smoothness(source[stretch]) > ROUGH:
        return opened
    swapped = in_order(source, layout, other)
    return other if smoothness(swapped[stretch]) > SMOOTH else opened


def order_warnings(layout: FlatLayout) -> tuple[str, ...]:
    """Say so if a flat file, opened as nobody said, reads as noise and the other way does not.

    Parameters
    ----------
    layout : FlatLayout
        Where its numbers are.

    Returns
    -------
    tuple of str
        One sentence, or none. A file that cannot be read is for its reader to complain about.
    """
    try:
        order = likely_order(MappedSource(layout.open()), layout)
    except (OSError, ValueError):
        return ()
    if layout.order == ORDERS[order]:
        return ()
    one, other = ("channel", "sample") if order == "channels" else ("sample", "channel")
    return (
        f"read {other} after {other} this is noise, read {one} after {one} it is smooth: it was "
        f"probably stored so. order={order!r} reads it so; order='{other}s' says it is right",
    )
