"""Small readings that several formats share."""

from __future__ import annotations

from pathlib import Path

from ecogsource.errors import CorruptDataError, DataPathError

__all__ = ["clean_unit", "read_text", "whole_frames"]


def clean_unit(text: str) -> str:
    """Write the micro sign of a unit as ``u``: ``'µV'`` (either micro sign) becomes ``'uV'``."""
    return text.strip().replace("\u00b5", "u").replace("\u03bc", "u")


def read_text(path: Path) -> str:
    """Read a text file that is UTF-8, or Latin-1 as older software wrote it.

    Raises
    ------
    DataPathError
        If it cannot be opened.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataPathError(f"cannot open {str(path)!r}: {error.strerror}") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def whole_frames(path: Path, frame_bytes: int, offset: int = 0) -> tuple[int, tuple[str, ...]]:
    """Count the whole samples of a file that does not say how many it has.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    frame_bytes : int
        Bytes of one sample of all channels.
    offset : int
        Bytes before the first.

    Returns
    -------
    frames : int
        Whole samples.
    warnings : tuple of str
        Says how many bytes are left over, if any.
    """
    size = path.stat().st_size
    if size < offset:
        raise CorruptDataError(f"the file ends inside its header of {offset} bytes", path, size)
    frames, rest = divmod(size - offset, frame_bytes)
    if not rest:
        return frames, ()
    return frames, (
        f"{rest} bytes after the last whole sample ({frames} of {frame_bytes} bytes) are ignored",
    )
