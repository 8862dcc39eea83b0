"""Blackrock Neural Systems: NSx continuous data and NEV events."""

from .nsx import read_info

__all__ = ["read_info"]
