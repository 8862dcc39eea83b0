"""Reading with neo, as an oracle, and cleaning up the files that it leaves open."""

from __future__ import annotations

import gc
import logging
import warnings
from typing import Any, NamedTuple

import numpy as np
import pytest


class NeoStream(NamedTuple):
    """What neo says of one stream: channels x samples, and one value per channel."""

    values: np.ndarray
    gain: np.ndarray
    offset: np.ndarray
    names: list[str]


def neo_stream(reader_name: str, stream: str = "", **where: str) -> NeoStream:
    """Read the first stream whose name contains a text; skip where neo is absent."""
    rawio = pytest.importorskip("neo.rawio")
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            reader: Any = getattr(rawio, reader_name)(**where)
            reader.parse_header()
            found = _read(reader, stream)
        finally:
            logging.disable(logging.NOTSET)
            del reader
            gc.collect()
    return found


def _read(reader: Any, stream: str) -> NeoStream:
    names = reader.header["signal_streams"]["name"].tolist()
    index = next(i for i, name in enumerate(names) if stream in name)
    identifier = reader.header["signal_streams"]["id"][index]
    channels = reader.header["signal_channels"]
    channels = channels[channels["stream_id"] == identifier]
    chunk = reader.get_analogsignal_chunk(0, 0, None, None, stream_index=index)
    return NeoStream(
        np.array(chunk).T, channels["gain"], channels["offset"], channels["name"].tolist()
    )
