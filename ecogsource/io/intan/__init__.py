"""Intan RHD2000 and RHS2000 recordings in all three file layouts."""

from .header import IntanChannel, IntanHeader, read_header
from .streams import read_info

__all__ = ["IntanChannel", "IntanHeader", "read_header", "read_info"]
