"""The command line: ``ecogsource COMMAND``.

Each command prints what functions of the library return. What goes wrong is said in one line on
standard error, with exit status 2; ``--debug`` shows the traceback instead.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import warnings
from collections.abc import Sequence
from importlib import metadata
from typing import TextIO

from ecogsource.cli import database, demo, files
from ecogsource.errors import EcogSourceError

__all__ = ["build_parser", "main"]


class _Version(argparse.Action):
    """Print the versions, and end; they are looked up only then."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from ecogsource.buffers.storage import loops

        loops_in_c = "yes" if loops.available() else "no, so reading is slower"
        versions = [f"{name} {metadata.version(name)}" for name in ("ecogsource", "numpy", "h5py")]
        python = f"Python {platform.python_version()} on {platform.platform()}"
        sys.stdout.write(f"{', '.join([*versions, python])}; loops in C: {loops_in_c}\n")
        parser.exit()


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; each subparser sets `run`, its function."""
    parser = argparse.ArgumentParser(
        prog="ecogsource",
        description="Recordings of any size as NumPy arrays: look at files and session databases.",
    )
    parser.add_argument(
        "--version", action=_Version, nargs=0, help="tell the versions that matter in a report"
    )
    parser.add_argument(
        "--debug", action="store_true", help="show the traceback of an error instead of one line"
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    demo.add_commands(commands)
    database.add_commands(commands)
    files.add_commands(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    argv : sequence of str, optional
        The words after ``ecogsource``; those of this process by default.

    Returns
    -------
    int
        Exit status: 0 when all is well, 1 when a check found something wrong, 2 after an error,
        130 when interrupted.
    """
    args = build_parser().parse_args(argv)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            # What libraries say to each other is nothing to whoever types a command.
            for category in (DeprecationWarning, PendingDeprecationWarning):
                warnings.simplefilter("ignore", category)
            warnings.showwarning = _show_warning
            return int(args.run(args))
    except (EcogSourceError, OSError, ValueError) as error:
        if args.debug:
            raise
        if isinstance(error, BrokenPipeError):
            # Whoever read our output has seen enough; nothing may be written to it at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        _complain(f"{type(error).__name__}: {error}")
        return 2
    except KeyboardInterrupt:
        _complain("interrupted")
        return 130


def _complain(message: str) -> None:
    """Write one line to standard error."""
    sys.stderr.write(f"ecogsource: {' '.join(message.split())}\n")


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Show a warning as one line, without the place in the code that only developers need."""
    _complain(f"{category.__name__}: {message}")
