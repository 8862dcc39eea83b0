"""One packed file from any recording: verified, atomic, resumable."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecogsource.datasource import MappedSource
from ecogsource.datasource.mirror import MirrorOptions, plan_copies, write_copies
from ecogsource.datasource.verify import read_provenance, verify_file
from ecogsource.errors import FormatError

from .info import RecordingInfo, StreamInfo
from .layouts import BoundLayout
from .packed import EVENTS_DATASET, describe_recording, event_table
from .recording import Recording, read_info, refuse_gaps

if TYPE_CHECKING:
    from ecogsource.buffers import Buffer

__all__ = ["convert"]

_HDF5 = (".h5", ".hdf5", ".hdf")
_EXISTS = ("reuse", "replace", "raise")


def convert(
    path: str | Path,
    out: str | Path,
    *,
    gaps: str = "raise",
    chunks: tuple[int, int] | str | None = "time",
    compression: str | int | None = None,
    if_exists: str = "reuse",
    verify: bool = True,
    progress: bool = False,
    format: str | None = None,
    **options: Any,
) -> Path:
    """Make one packed HDF5 (or Zarr) file of a recording.

    Numbers are written as stored, with gains, units, names, clocks and events beside them, so
    that `open_recording` of the packed file gives the same streams. The main stream is the
    dataset ``data``, its rate the dataset ``Fs``.

    Parameters
    ----------
    path : path-like
        File or folder of a recording.
    out : path-like
        The file to make: ``.h5``, ``.hdf5``, ``.hdf`` or ``.zarr``. It appears when it is
        complete; an interrupted conversion is resumed by the next.
    gaps : {'raise', 'segment', 'fill'}
        If the recording has gaps: refuse; keep the stretches one after the other and note where
        they belong; or write a continuous time line of values in units, NaN in the gaps.
    chunks : (int, int), str or None
        Shape of the storage chunks (channels, samples); or what to read fast: ``'time'``,
        ``'channel'``, ``'both'``; None for contiguous data without compression.
    compression : 'gzip', int or None
        Deflate, with a level from 0 to 9. None is no compression in HDF5, and what Zarr does by
        itself in Zarr.
    if_exists : {'reuse', 'replace', 'raise'}
        For an `out` that is there: keep it if it is the result of the same conversion of the
        same file, otherwise raise; make it anew; raise.
    verify : bool
        Read the finished file again and compare its checksums.
    progress : bool
        Show a progress bar.
    format, **options
        As for `open_recording`.

    Returns
    -------
    pathlib.Path
        `out`.

    Raises
    ------
    GapError
        If the recording has gaps and `gaps` is ``'raise'``.
    FormatError
        If `out` has another suffix, or the recording holds no samples.
    FileExistsError
        If `out` exists and may not be replaced.
    OSError
        With ``errno.ENOSPC`` if the disk is full.
    MissingDependencyError
        If Zarr is asked for and not installed.
    """
    out = Path(out)
    if if_exists not in _EXISTS:
        raise ValueError(f"if_exists must be one of {_EXISTS}, got {if_exists!r}")
    if out.suffix.lower() not in (*_HDF5, ".zarr"):
        raise FormatError(
            f"{str(out)!r}: packed files end in {', '.join(_HDF5)} or .zarr, not {out.suffix!r}"
        )
    info = read_info(path, format=format, **options)
    recording = Recording(info, gaps=gaps)
    for stream in info.streams if gaps == "raise" else ():
        refuse_gaps(info, stream)
    if not info.streams:
        raise FormatError(f"{info.path!r} holds no continuous data to convert")
    sources = _sources(info, recording)
    pairs = zip(info.stream_names, sources, strict=True)
    datasets = {name: source.electrode_field for name, source in pairs}
    attributes = describe_recording(info, datasets, filled=gaps == "fill" and _has_gaps(info))
    if info.events:
        sources.append(MappedSource(event_table(info), EVENTS_DATASET))
    if out.suffix.lower() == ".zarr":
        from .zarrfile import write_zarr

        write_zarr(
            sources,
            out,
            attributes,
            chunks=chunks,
            compression=compression,
            if_exists=if_exists,
            progress=progress,
        )
        recording.close()
        if verify:
            verify_file(out)
        return out
    made = MirrorOptions(
        writeable=False, copy="all", chunks=chunks, compression=compression, progress=progress
    )
    made.check(out)
    plans = [plan for source in sources for plan in plan_copies(source, made)]
    write_copies(
        sources[0],
        plans,
        out,
        made,
        keep=True,
        made_by="convert",
        accept=_accept(out, if_exists),
        extra=attributes,
    )
    recording.close()
    if verify:
        verify_file(out)
    return out


def _has_gaps(info: RecordingInfo) -> bool:
    return any(stream.gaps for stream in info.streams)


def _accept(out: Path, if_exists: str) -> Callable[[str], bool]:
    def accept(key: str) -> bool:
        if not out.exists() or if_exists == "replace":
            return False
        made = read_provenance(out)
        if if_exists == "reuse" and made is not None and made.get("job") == key:
            return True
        raise FileExistsError(
            f"{str(out)!r} exists and is not the result of this conversion; choose another name, "
            "or give if_exists='replace'"
        )

    return accept


def _sources(info: RecordingInfo, recording: Recording) -> list[MappedSource]:
    """Sources of stored numbers, named as their datasets; the main one first."""
    names: dict[str, str] = {}
    for stream in info.streams:
        name = re.sub(r"[^\w.-]+", "_", stream.name).strip("_.") or "stream"
        while name in names.values() or name in {"Fs", EVENTS_DATASET, "data"}:
            name += "_"
        names[stream.name] = name if names else "data"
    fill = recording.gaps == "fill" and _has_gaps(info)
    return [
        MappedSource(
            recording.streams[stream.name].data_buffer if fill else _stored(stream),
            names[stream.name],
            fs=stream.fs,
            units=stream.units,
        )
        for stream in info.streams
    ]


def _stored(stream: StreamInfo) -> Buffer:
    layouts = tuple(segment.layout for segment in stream.segments)
    return layouts[0].open() if len(layouts) == 1 else BoundLayout(layouts, 1).open()
