"""The command ``demo``: the main job on an example lab, or on somebody's own files."""

from __future__ import annotations

import argparse
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from ecogsource.cli.files import add_flat_options, flat_options
from ecogsource.cli.own import run_own_files
from ecogsource.cli.text import duration, say
from ecogsource.cli.tour import Tour, Trip, describe_source
from ecogsource.memory import format_bytes
from ecogsource.params import OVERRIDE

__all__ = ["add_commands"]

SESSION = "demo/2024-03-18_grid64"
JOINED = ("rec_001", "rec_002", "rec_003")
FLAT = "rec_004"


def add_commands(commands: Any) -> None:
    """Add the command of this module to the subparsers `commands`."""
    demo = commands.add_parser(
        "demo", help="do the main job on an example lab, or on your own files, step by step"
    )
    demo.add_argument(
        "folder",
        nargs="?",
        type=Path,
        default=Path("ecogsource-demo"),
        help="where the example lab and the pictures go (default: %(default)s)",
    )
    demo.add_argument(
        "--data", nargs="+", type=Path, metavar="PATH", help="your own files or folders instead"
    )
    demo.add_argument(
        "--seconds",
        type=float,
        default=30.0,
        metavar="S",
        help="length of each simulated recording (default: %(default)g)",
    )
    add_flat_options(demo)
    demo.set_defaults(run=_demo)


def _demo(args: argparse.Namespace) -> int:
    if args.data:
        return run_own_files(args.data, args.folder, flat_options(args))
    return _example_lab(args.folder, args.seconds)


def _example_lab(folder: Path, seconds: float) -> int:
    from ecogsource import demos

    say(f"An example lab in {folder}:", "")
    started = perf_counter()
    lab = demos.make_lab(folder, groups=["demo"], seconds=seconds, report=_report_file)
    written = [path for path in lab.files() if path.suffix in (".h5", ".dat")]
    size = format_bytes(sum(path.stat().st_size for path in written))
    took = duration(perf_counter() - started)
    say(f"    {len(written)} recordings of {seconds:g} s, {size}, ready after {took}", "")
    with OVERRIDE.set(**lab.params):
        trip = _load_and_join(tour := Tour())
        trip.run(tour, lab.folder / "overview.png")
    say(
        "To go on with this lab in a shell or a notebook:",
        f"    export ECOGSOURCE_CONFIG={lab.config}",
        "    ecogsource sessions",
    )
    return 0


def _report_file(path: Path) -> None:
    say(f"    {path.name:<12} {format_bytes(path.stat().st_size):>10}")


def _load_and_join(tour: Tour) -> Trip:
    """Name a session, load its recordings, join them."""
    from ecogsource import datasets, expconfig

    tour.step(
        "Name a session",
        f"session = {SESSION!r}\nsession_conf(session)",
        lambda: expconfig.session_conf(SESSION),
        lambda conf: f"recordings {', '.join(name for name in conf if name != 'session')}",
    )
    loaded = tour.step(
        "Load its HDF5 recordings: one is compressed, one on the network drive",
        f"sets = [load_experiment_auto(session, rec) for rec in {list(JOINED)}]",
        lambda: [datasets.load_experiment_auto(SESSION, name) for name in JOINED],
        lambda sets: "\n".join(_describe_set(one) for one in sets),
    )
    tour.step(
        "Load the flat recording the same way",
        f"flat = load_experiment_auto(session, {FLAT!r})",
        lambda: datasets.load_experiment_auto(SESSION, FLAT),
        lambda flat: describe_source(flat.data),
    )
    lengths = [one.data.shape[1] for one in loaded]
    joined = tour.step(
        "Join the recordings end to end",
        "joined = join_datasets(sets, popdata=False)",
        lambda: datasets.join_datasets(loaded, popdata=False),
        lambda one: f"{describe_source(one.data)}, {len(one.pos_edge)} stimuli",
    )
    sites = np.stack([np.asarray(axis) for axis in joined.chan_map.to_mat()], axis=1)
    return Trip(
        joined.data,
        title=f"{SESSION}: {' + '.join(JOINED)}",
        borders=np.cumsum(lengths)[:-1].tolist(),
        sites=sites,
        events=np.asarray(joined.pos_edge),
        parts=[one.data for one in loaded],
    )


def _describe_set(dataset: Any) -> str:
    buffer = dataset.data.data_buffer
    where = Path(buffer.filename).parent.parent.parent.name if buffer.filename else "memory"
    return f"{dataset.name}: {describe_source(dataset.data)}, on disk {buffer.shape} ({where})"
