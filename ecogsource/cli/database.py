"""Commands on the session database and the parameters: ``sessions``, ``check``, ``params``."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from ecogsource.cli.text import say, table

__all__ = ["add_commands", "tell_session"]

BYTE_PARAMS = ("memory_limit", "chunk_cache")


def add_commands(commands: Any) -> None:
    """Add the commands of this module to the subparsers `commands`."""
    sessions = commands.add_parser("sessions", help="list or search the session database")
    sessions.add_argument("group", nargs="?", help="only sessions of this group")
    sessions.add_argument(
        "--find",
        metavar="QUERY",
        help="recordings whose fields fit, such as 'electrode=psv_61* resample_rate=2000'; a word "
        "without '=' is looked for in the session's name",
    )
    sessions.set_defaults(run=_sessions)

    check = commands.add_parser(
        "check", help="check every session: unknown keys, bad values, recordings not found"
    )
    check.add_argument("group", nargs="?", help="only sessions of this group")
    check.add_argument("--quiet", action="store_true", help="show only what is wrong")
    check.set_defaults(run=_check)

    params = commands.add_parser("params", help="show the global parameters in force")
    params.set_defaults(run=_params)


def _sessions(args: argparse.Namespace) -> int:
    from ecogsource import expconfig

    if args.find is not None:
        found = expconfig.find_sessions(args.find, args.group)
        rows = [
            [f"{row.session}/{row.recording}" if row.recording else row.session]
            + [f"{key} = {value}" for key, value in row.values.items()]
            for row in found
        ]
        say(*table(rows))
        say(f"{len(found)} found")
        return 0
    files = expconfig.list_sessions(args.group)
    say(*table([file.name, file.problem] for file in files))
    return 0


def _check(args: argparse.Namespace) -> int:
    from ecogsource import devices

    findings = devices.check_database(args.group)
    wrong = [finding for finding in findings if not finding.ok]
    shown = wrong if args.quiet else findings
    say(*table([one.kind, one.session, one.recording, one.message] for one in shown))
    say(f"{len(findings) - len(wrong)} recordings found, {len(wrong)} things wrong")
    return 1 if wrong else 0


def _params(args: argparse.Namespace) -> int:
    from ecogsource import params
    from ecogsource.memory import effective_limit, format_bytes

    rows = []
    for name, value in asdict(params.load_params()).items():
        shown = format_bytes(value) if name in BYTE_PARAMS else value
        if name == "memory_limit":
            shown = f"{shown} ({format_bytes(effective_limit())} with what is free now)"
        rows.append([name, shown])
    say(*table(rows))
    path = params.config_path()
    if path is None:
        default = params.user_config_path()
        say("", f"from the packaged defaults; your own go into the parameter file {default}")
    else:
        say("", f"from the parameter file {path}")
    return 0


def tell_session(session: str) -> None:
    """Print what a session file says: its own fields, then those of each recording.

    Parameters
    ----------
    session : str
        ``group/session``.
    """
    from ecogsource import devices, expconfig

    conf = expconfig.session_conf(session, devices.params_table)
    own = conf["session"]
    say(f"session {session} ({expconfig.find_conf(session)})")
    say(*(f"  {line}" for line in table(own.items())), "")
    for recording, fields in conf.items():
        if recording == "session":
            continue
        extra = [f"{key} = {value}" for key, value in fields.items() if own.get(key) != value]
        say(f"{recording}  {', '.join(extra)}".rstrip())
