"""Which room of the library may import which: the table below, held by reading every import statement."""

from __future__ import annotations

import ast
import graphlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "scripts/losspatterns"
MAY_IMPORT = {  # a room, or a module that stands alone: what it may import besides itself
    "errors": set(),
    "settings": {"errors"},
    "torchvision_compat": {"errors"},
    "drawing": {"errors", "settings"},
    "records": {"errors"},
    "cpu": {"errors"},
    "data": {"errors", "settings", "records", "torchvision_compat"},
    "networks": {"errors", "settings", "records", "cpu", "torchvision_compat"},
    "method": {"errors", "settings", "records", "data", "networks", "cpu"},
    "analysis": {"errors", "settings", "records", "data", "method"},
    "kinds": {"errors"},
    "figures": {"errors", "settings", "records", "data", "analysis", "kinds"},
    "beyond": {
        "errors",
        "settings",
        "records",
        "data",
        "networks",
        "method",
        "analysis",
        "figures",
        "kinds",
        "torchvision_compat",
    },
    "explore": {"errors", "settings", "records", "figures"},
    "runs": {"errors", "settings", "records", "figures", "beyond"},
}
FOR_TYPES_ONLY = {"figures": {"runs"}, "beyond": {"runs"}}  # below TYPE_CHECKING: no circle, as nothing runs
CLOSED = "cpu"  # other rooms import names of its __init__.py, never its modules
NEVER = {"snakemake", "benchmarks", "lib"}  # lib: what the benchmarks share
HEAVY = {"torch", "pandas", "matplotlib.pyplot", "numba", "scipy", "xarray", "h5py"}  # not for planning a run
DEFAULTS = {"results/downloads"}  # a setting of the user's, who may name any folder


class Import(NamedTuple):
    """One name that a module of the library imports. `target`: the module of the library that it comes from, or is."""

    module: str
    target: str
    for_types: bool

    @property
    def rooms(self) -> tuple[str, str]:
        return self.module.partition(".")[0], self.target.partition(".")[0]


def module_name(file: Path) -> str:
    """room.module; a room's __init__.py is the room."""
    return ".".join(file.relative_to(LIBRARY).with_suffix("").parts).removesuffix(".__init__") or "__init__"


MODULES = {module_name(file): file for file in sorted(LIBRARY.rglob("*.py"))}


def statements(tree: ast.AST, for_types: bool = False) -> Iterator[tuple[ast.AST, bool]]:
    """Every node, and whether it stands below `if TYPE_CHECKING`."""
    for node in ast.iter_child_nodes(tree):
        inside = for_types or (isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING")
        yield node, inside
        yield from statements(node, inside)


def imported_names(file: Path) -> Iterator[tuple[str, bool]]:
    """Absolute dotted names of all that a file imports, those within functions too."""
    for node, for_types in statements(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, for_types) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = file.parents[node.level - 1].relative_to(LIBRARY.parent)
                base = ".".join([*package.parts, *([node.module] if node.module else [])])
            yield from ((f"{base}.{alias.name}", for_types) for alias in node.names)


def imports() -> Iterator[Import]:
    """Every import of the library by the library."""
    for module, file in MODULES.items():
        for name, for_types in imported_names(file):
            if name.startswith("losspatterns."):
                name = name.removeprefix("losspatterns.")
                target = name if name in MODULES else name.rpartition(".")[0]
                yield Import(module, target or "__init__", for_types)


IMPORTS = list(imports())


def test_every_module_has_its_place_in_the_table() -> None:
    assert {name.partition(".")[0] for name in MODULES} - {"__init__"} == set(MAY_IMPORT)
    assert len(IMPORTS) > 50


def test_the_table_has_no_circles() -> None:
    assert list(graphlib.TopologicalSorter(MAY_IMPORT).static_order())


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_what_the_table_says(room: str) -> None:
    wrong = []
    for found in IMPORTS:
        ours, theirs = found.rooms
        allowed = MAY_IMPORT[room] | {room} | (FOR_TYPES_ONLY.get(room, set()) if found.for_types else set())
        if ours == room and theirs not in allowed:
            wrong.append(f"{found.module} imports {found.target}")
    assert wrong == []


def test_modules_import_each_other_in_no_circle() -> None:
    graph: dict[str, set[str]] = {}
    for found in IMPORTS:
        if not found.for_types and found.module != found.target:
            graph.setdefault(found.module, set()).add(found.target)
    assert list(graphlib.TopologicalSorter(graph).static_order())  # CycleError names a circle


def test_a_closed_room_has_one_door() -> None:
    through_walls = [
        f"{found.module} imports {found.target}"
        for found in IMPORTS
        if found.rooms[0] != CLOSED and found.target.startswith(f"{CLOSED}.")
    ]
    assert through_walls == []


def test_the_library_knows_neither_snakemake_nor_the_benchmarks() -> None:
    files = [*MODULES.values(), *(ROOT / "scripts").glob("*.py")]
    known = {(file.name, name) for file in files for name, _ in imported_names(file) if name.partition(".")[0] in NEVER}
    assert known == set()


def test_commands_do_not_import_each_other() -> None:
    commands = {file.stem for file in (ROOT / "scripts").glob("*.py")}
    files = [*MODULES.values(), *(ROOT / "scripts").glob("*.py")]
    assert [f"{f}: {name}" for f in files for name, _ in imported_names(f) if name.partition(".")[0] in commands] == []


def test_planning_a_run_loads_nothing_heavy() -> None:
    """What Snakemake imports when it starts, and every kind of figure, which it asks what to draw."""
    names = ["runs", "settings", "records.closure", "records.liveness", *(m for m in MODULES if m.startswith("figures."))]
    program = f"import sys, {', '.join(f'losspatterns.{name}' for name in names)}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=LIBRARY.parent, capture_output=True, text=True, check=True)
    assert HEAVY & set(done.stdout.split()) == set()


def texts(file: Path) -> Iterator[str]:
    """The string literals of a file; docstrings and other text that nothing uses left out."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    unused = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in unused:
            yield node.value


def test_paths_of_results_are_spelt_in_one_module() -> None:
    python = [file for file in (ROOT / "scripts").rglob("*.py") if file.name != "runs.py"]
    python += (ROOT / "benchmarks").rglob("*.py")
    spelt = {(file.name, text) for file in python for text in texts(file) if re.match(r"(results|figures)/", text)}
    assert {(name, text) for name, text in spelt if text not in DEFAULTS} == set()
    rules = [ROOT / "Snakefile", *(ROOT / "workflow").rglob("*.smk"), *(ROOT / "benchmarks").glob("*.smk")]
    assert [f"{file}: {line}" for file in rules for line in file.open() if re.search(r"[\"'](results|figures)/", line)] == []


def test_no_two_files_of_tests_have_one_name() -> None:
    """Pytest takes such files for one module, and ends with an error when it meets the second."""
    names = [file.name for file in (ROOT / "tests").rglob("test_*.py")]
    assert len(names) > 50 and len(names) == len(set(names))
