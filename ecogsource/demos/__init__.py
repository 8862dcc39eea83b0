"""Recordings to try things on: made on first use, the same every time."""
