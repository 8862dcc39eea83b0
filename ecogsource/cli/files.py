"""Commands on single files and recordings: ``info``, ``formats``, ``convert``, ``verify``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ecogsource.cli.database import tell_session
from ecogsource.cli.text import say, table
from ecogsource.cli.tour import describe_source

__all__ = ["add_commands", "flat_options"]


def add_commands(commands: Any) -> None:
    """Add the commands of this module to the subparsers `commands`."""
    info = commands.add_parser("info", help="tell what is in a session, a recording or a file")
    info.add_argument("target", metavar="SESSION[/RECORDING] | FILE")
    add_flat_options(info)
    info.set_defaults(run=_info)

    formats = commands.add_parser("formats", help="list the file formats that can be opened")
    formats.set_defaults(run=_formats)

    verify = commands.add_parser("verify", help="compare files with the checksums they carry")
    verify.add_argument("files", nargs="+", metavar="FILE")
    verify.set_defaults(run=_verify)


def add_flat_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that describe a file which does not describe itself."""
    group = parser.add_argument_group("for files that do not say it themselves")
    group.add_argument("--dtype", help="type of a flat file's numbers, such as int16 or >f4")
    group.add_argument("--n-channels", type=int, metavar="N", help="channels of a flat file")
    group.add_argument("--fs", type=float, metavar="HZ", help="sampling rate")
    group.add_argument("--dataset", metavar="NAME", help="dataset of an HDF5 file")


def flat_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return those of the options of `add_flat_options` that were given."""
    names = ("dtype", "n_channels", "fs", "dataset")
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
    from ecogsource import io

    say(*str(io.describe(path, **options)).splitlines())
    return 0


def _formats(args: argparse.Namespace) -> int:
    from ecogsource import io

    rows = []
    for entry in io.formats():
        needs = "" if entry["installed"] else f"pip install 'ecogsource[{entry['extra']}]'"
        rows.append([entry["name"], entry["extensions"], entry["description"], needs])
    say(*table(rows, header=["format", "extensions", "written by", "to install"]))
    return 0


def _verify(args: argparse.Namespace) -> int:
    from ecogsource.datasource.verify import verify_file

    for name in args.files:
        report = verify_file(name)
        say(f"{name}: {report.checked} checksums agree")
    return 0
