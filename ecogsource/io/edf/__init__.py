"""EDF, EDF+, BDF and BDF+: headers, annotations, streams, and the `Reader`."""

from .header import EdfHeader, read_header
from .reader import Reader

__all__ = ["EdfHeader", "Reader", "read_header"]
