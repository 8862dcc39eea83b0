"""Commands on single files and recordings: ``info``, ``formats``, ``convert``, ``verify``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from ecogsource.cli.database import tell_session
from ecogsource.cli.text import say, table
from ecogsource.cli.tour import describe_source
from ecogsource.errors import FormatError
from ecogsource.memory import format_bytes

__all__ = ["add_commands", "add_flat_options", "flat_options", "with_options"]

T = TypeVar("T")


def add_commands(commands: Any) -> None:
    """Add the commands of this module to the subparsers `commands`."""
    info = commands.add_parser("info", help="tell what is in a session, a recording or a file")
    info.add_argument("target", metavar="SESSION[/RECORDING] | FILE")
    add_flat_options(info)
    info.set_defaults(run=_info)

    formats = commands.add_parser("formats", help="list the file formats that can be opened")
    formats.set_defaults(run=_formats)

    convert = commands.add_parser(
        "convert", help="make one packed HDF5 or Zarr file of a recording, or of a whole session"
    )
    convert.add_argument("source", metavar="IN", help="file or folder of a recording")
    convert.add_argument(
        "target", type=Path, metavar="OUT", help="the file to make: .h5, .hdf5, .hdf or .zarr"
    )
    convert.add_argument(
        "--session",
        action="store_true",
        help="IN is the name of a session, OUT a folder: each of its recordings becomes a file",
    )
    convert.add_argument(
        "--gaps",
        choices=("raise", "segment", "fill"),
        default="raise",
        help="where the recording has gaps: refuse, note where they are, or fill them with NaN "
        "(default: %(default)s)",
    )
    convert.add_argument(
        "--chunks",
        choices=("time", "channel", "both"),
        default="time",
        help="what is read fast from the new file (default: %(default)s)",
    )
    convert.add_argument(
        "--gzip", type=int, choices=range(10), metavar="LEVEL", help="compress with this level"
    )
    convert.add_argument("--replace", action="store_true", help="replace a file that is there")
    add_flat_options(convert)
    convert.set_defaults(run=_convert)

    verify = commands.add_parser("verify", help="compare files with the checksums they carry")
    verify.add_argument("files", nargs="+", metavar="FILE")
    verify.set_defaults(run=_verify)


def add_flat_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that describe a file which does not describe itself."""
    group = parser.add_argument_group("for files that do not say it themselves")
    group.add_argument("--dtype", help="type of a flat file's numbers, such as int16 or >f4")
    group.add_argument("--n-channels", type=int, metavar="N", help="channels of a flat file")
    group.add_argument("--fs", type=float, metavar="HZ", help="sampling rate")
    group.add_argument(
        "--order",
        choices=("samples", "channels"),
        help="whether a flat file goes sample after sample or channel after channel",
    )
    group.add_argument("--dataset", metavar="NAME", help="dataset of an HDF5 file")


def with_options(work: Callable[..., T], *args: Any, **options: Any) -> T:
    """Call `work`; an option that a file's format does not have is said to be wrong."""
    try:
        return work(*args, **options)
    except TypeError as error:
        if "has no option" in str(error):
            raise FormatError(str(error)) from error
        raise


def flat_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return those of the options of `add_flat_options` that were given."""
    names = ("dtype", "n_channels", "fs", "order", "dataset")
    return {name: getattr(args, name) for name in names if getattr(args, name) is not None}


def _info(args: argparse.Namespace) -> int:
    target = args.target
    if Path(target).exists():
        return _info_file(Path(target), flat_options(args))
    parts = target.strip("/").split("/")
    if len(parts) < 3:
        tell_session(target.strip("/"))
        return 0
    return _info_recording("/".join(parts[:-1]), parts[-1])


def _info_recording(session: str, recording: str) -> int:
    from ecogsource import datasets

    with datasets.load_experiment_auto(session, recording) as dataset:
        say(f"{session}/{recording}: {describe_source(dataset.data)}", "")
        say(*repr(dataset).splitlines())
    return 0


def _info_file(path: Path, options: dict[str, Any]) -> int:
    import h5py

    from ecogsource import io
    from ecogsource.demos.survey import survey_hdf5

    try:
        say(*str(with_options(io.describe, path, **options)).splitlines())
    except FormatError:
        # An HDF5 file that holds no recording holds something all the same.
        if path.is_dir() or not h5py.is_hdf5(path):
            raise
        say(f"{path} holds no recording, but", "")
        say(*table([one.name, one.remark] for one in survey_hdf5(path)))
    return 0


def _formats(args: argparse.Namespace) -> int:
    from ecogsource import io

    rows = []
    for entry in io.formats():
        needs = "" if entry["installed"] else f"pip install 'ecogsource[{entry['extra']}]'"
        rows.append([entry["name"], entry["extensions"], entry["description"], needs])
    say(*table(rows, header=["format", "extensions", "written by", "to install"]))
    return 0


def _convert(args: argparse.Namespace) -> int:
    from ecogsource import io

    if args.session:
        args.target.mkdir(parents=True, exist_ok=True)
        jobs = [(path, args.target / f"{name}.h5") for name, path in _recordings(args.source)]
    else:
        jobs = [(Path(args.source), args.target)]
    for source, target in jobs:
        made = with_options(
            io.convert,
            source,
            target,
            gaps=args.gaps,
            chunks=args.chunks,
            compression=args.gzip,
            if_exists="replace" if args.replace else "reuse",
            progress=sys.stderr.isatty(),
            **flat_options(args),
        )
        size = sum(one.stat().st_size for one in [made, *made.rglob("*")] if one.is_file())
        say(f"{source} -> {made}  {format_bytes(size)}")
    return 0


def _recordings(session: str) -> list[tuple[str, Path]]:
    """Return name and file of each recording of a session."""
    from ecogsource import datasets, expconfig

    names = [name for name in expconfig.session_conf(session) if name != "session"]
    return [(name, datasets.loader_for(session, name).source_file.path) for name in names]


def _verify(args: argparse.Namespace) -> int:
    from ecogsource.datasource.verify import verify_file

    for name in args.files:
        report = verify_file(name)
        rest = f"; none for {', '.join(report.unsealed)}" if report.unsealed else ""
        say(f"{name}: {report.checked} checksums agree{rest}")
    return 0
