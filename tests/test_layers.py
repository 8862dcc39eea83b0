"""The order of the rooms, lazy imports, and the sizes that keep files readable: by reading code."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "ecogsource"
FILES = sorted(PACKAGE.rglob("*.py"))
LAYERS = (
    ("errors",),
    ("_closing", "_machine"),
    ("params",),
    ("memory",),
    ("safefile",),
    ("indexing",),
    ("buffers",),
    ("filters",),
    ("datasource",),
    ("io",),
    ("channel_map",),
    ("expconfig",),
    ("devices",),
    ("datasets",),
    ("producers", "batch", "windows"),
    ("interop", "demos", "view"),
    ("cli",),
)
RANK = {room: rank for rank, layer in enumerate(LAYERS) for room in layer}
HEAVY = {
    *("IPython", "bokeh", "dask", "distributed", "edfio", "hdf5plugin", "ipywidgets", "matplotlib"),
    *("neo", "nptdms", "pandas", "probeinterface", "pynwb", "scipy", "torch", "xarray", "zarr"),
}


class Import(NamedTuple):
    """One import statement: what it names, and the innermost function that holds it."""

    target: str
    line: int
    function: ast.FunctionDef | ast.AsyncFunctionDef | None
    typing_only: bool


def room_of(path: Path) -> str:
    """Name the room that a file belongs to; the package's own ``__init__`` has none."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> Iterator[Import]:
    """List the imports of a file with absolute module names."""
    package = (PACKAGE.name, *path.relative_to(PACKAGE).parts[:-1])

    def visit(node: ast.AST, function, typing_only: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(alias.name, child.lineno, function, typing_only)
            elif isinstance(child, ast.ImportFrom):
                base = package[: len(package) - child.level + 1] if child.level else ()
                module = ".".join((*base, *filter(None, [child.module])))
                for alias in child.names:
                    # `from ecogsource import view` names a room, not an object of the package.
                    target = f"{module}.{alias.name}" if module == PACKAGE.name else module
                    yield Import(target, child.lineno, function, typing_only)
            elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield from visit(child, child, typing_only)
            else:
                guarded = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)
                yield from visit(child, function, typing_only or guarded)

    yield from visit(ast.parse(path.read_text(encoding="utf-8")), None, False)


def is_convenience(function: ast.FunctionDef | ast.AsyncFunctionDef | None) -> bool:
    """Whether a function is one import and one line: the only place of an upward import."""
    if function is None:
        return False
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return len(body) == 2 and isinstance(body[1], ast.Return | ast.Expr)


def test_every_file_belongs_to_a_known_room():
    rooms = {room_of(path) for path in FILES}
    assert rooms - {"__init__", "__main__"} <= set(RANK)


def test_imports_point_down_only():
    upward, between_equals = [], set()
    for path in FILES:
        room = room_of(path)
        if room not in RANK:
            continue
        for found in imports_of(path):
            parts = found.target.split(".")
            if parts[0] != PACKAGE.name or len(parts) < 2 or parts[1] not in RANK:
                continue
            target = parts[1]
            if RANK[target] > RANK[room]:
                if not (found.typing_only or is_convenience(found.function)):
                    where = f"{path.relative_to(PACKAGE.parent)}:{found.line}"
                    upward.append(f"{where} imports {found.target}")
            elif target != room and RANK[target] == RANK[room]:
                between_equals.add((room, target))
    assert upward == []
    assert [pair for pair in between_equals if pair[::-1] in between_equals] == []


def test_the_package_itself_is_never_imported_for_its_names():
    """Inside, names come from their rooms: the lazy table is for users."""
    wrong = [
        f"{path.relative_to(PACKAGE.parent)}:{found.line} {found.target}"
        for path in FILES
        for found in imports_of(path)
        if found.target.startswith(f"{PACKAGE.name}.")
        and (name := found.target.split(".")[1]) not in RANK
        and name != "__version__"
    ]
    assert wrong == []


def test_heavy_packages_are_imported_inside_functions_only():
    wrong = [
        f"{path.relative_to(PACKAGE.parent)}:{found.line} {found.target}"
        for path in FILES
        for found in imports_of(path)
        if found.target.split(".")[0] in HEAVY and found.function is None and not found.typing_only
    ]
    assert wrong == []


def loaded_after(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after running some code."""
    script = f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout))


def test_importing_the_package_imports_no_room_and_nothing_heavy():
    loaded = loaded_after("import ecogsource")
    assert {name.split(".")[0] for name in loaded} & (HEAVY | {"numpy", "h5py", "tqdm"}) == set()
    assert {name for name in loaded if name.startswith("ecogsource.")} == set()


def test_using_every_public_name_loads_nothing_heavy():
    code = "import ecogsource\nfor name in ecogsource.__all__: getattr(ecogsource, name)"
    assert {name.split(".")[0] for name in loaded_after(code)} & HEAVY == set()


def test_public_names_resolve_to_what_their_rooms_hold():
    import ecogsource

    assert len(set(ecogsource.__all__)) == len(ecogsource.__all__)
    for name in ecogsource.__all__:
        assert getattr(ecogsource, name) is not None
        assert name in dir(ecogsource)
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = ecogsource.no_such_name


def test_rooms_are_there_without_importing_them():
    loaded = loaded_after("import ecogsource\nassert ecogsource.memory.parse_bytes('1KB') == 1000")
    assert "ecogsource.memory" in loaded
    assert "ecogsource.buffers" not in loaded


def functions() -> Iterator[tuple[Path, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield path, node


def test_no_file_is_longer_than_500_lines():
    files = [*FILES, *PACKAGE.rglob("*.[ch]")]
    sizes = {str(p): p.read_text(encoding="utf-8").count("\n") for p in files}
    assert {path: size for path, size in sizes.items() if size > 500} == {}


def test_no_function_is_longer_than_60_lines():
    long = {}
    for path, node in functions():
        body = node.body[1:] if ast.get_docstring(node) else node.body
        if body and (size := body[-1].end_lineno - body[0].lineno + 1) > 60:
            long[f"{path}:{node.lineno} {node.name}"] = size
    assert long == {}


def test_nothing_is_left_unfinished():
    words = re.compile(r"\b(TODO|FIXME|XXX|NotImplementedError)\b")
    wrong = [
        f"{path}:{number}: {line.strip()}"
        for path in FILES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if words.search(line)
    ]
    assert wrong == []
