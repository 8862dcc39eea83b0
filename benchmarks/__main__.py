"""``python -m benchmarks [NAME ...]``: run benchmarks and print their tables."""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def available() -> list[str]:
    """Return the names of the benchmarks: modules called ``bench_NAME``."""
    return sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(available())}")
    parser.add_argument("--smoke", action="store_true", help="small files, one repeat")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the rows")
    parser.add_argument("--folder", type=Path, default=HERE / "data", help="where the files go")
    parser.add_argument("--layouts", nargs="+", help="read: only these")
    parser.add_argument("--works", nargs="+", help="read: only these")
    parser.add_argument("--peers", nargs="+", help="read: only these")
    parser.add_argument("--repeats", type=int, help="read: the shortest of so many counts")
    options = parser.parse_args(arguments)
    unknown = set(options.names) - set(available())
    if unknown:
        parser.error(f"no benchmark {sorted(unknown)}; there are {available()}")
    kept = {}
    for name in options.names or available():
        print(f"== {name}")
        kept[name] = _run(name, options)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"machine": machine(), "rows": kept}, indent=1))
    return 0


def _run(name: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    module = importlib.import_module(f"benchmarks.bench_{name}")
    known = inspect.signature(module.run).parameters
    extra = {
        key: getattr(options, key)
        for key in ("layouts", "works", "peers", "repeats")
        if key in known
    }
    rows = module.run(options.folder, options.smoke, **extra)
    print(table(rows))
    for line in getattr(module, "summary", lambda _: [])(rows):
        print(line)
    return rows


def machine() -> dict[str, Any]:
    """Describe where the numbers come from."""
    return {"python": sys.version, "platform": platform.platform(), "cores": os.cpu_count()}


def table(rows: list[dict[str, Any]]) -> str:
    """Format rows as a table; columns whose name starts with ``ms`` are left to the JSON."""
    names = [n for n in dict.fromkeys(k for row in rows for k in row) if not n.startswith("ms ")]
    lines = [names, *([_text(row.get(name)) for name in names] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(names))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
