"""Which room of the library may import which: the table below, held by reading every import statement."""

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
MAY_IMPORT = {  # a room, or a module that stands alone: what it may import besides itself. Extras come last: none imports them
    "errors": "",
    "torchvision_compat": "errors",
    "kinds": "errors",
    "config": "errors",
    "cpu": "errors",
    "records": "errors config",
    "data": "errors config records torchvision_compat",
    "networks": "errors config records cpu torchvision_compat",
    "method": "errors config records data networks cpu",
    "analysis": "errors config records data networks method",
    "figures": "errors config records data networks analysis kinds",
    "runs": "errors config records data networks method analysis figures",
    "drawing": "errors config data runs",
    "explore": "errors config records figures networks",
    "beyond": "errors config records data networks method analysis figures kinds runs torchvision_compat",
}
CLOSED = "cpu"  # other rooms import names of its __init__.py, never its modules
NEVER = {"snakemake", "benchmarks", "lib"}  # lib: what the benchmarks share
HEAVY = {"torch", "pandas", "matplotlib.pyplot", "numba", "scipy", "xarray", "h5py"}  # not for planning a run
DEFAULTS = {"results/downloads"}  # a setting of the user's, who may name any folder


class Import(NamedTuple):
    """One name that a module of the library imports, if only for types. `target`: the module that it comes from, or is."""

    module: str
    target: str


def module_name(file: Path) -> str:
    """room.module; a room's __init__.py is the room."""
    return ".".join(file.relative_to(LIBRARY).with_suffix("").parts).removesuffix(".__init__") or "__init__"


MODULES = {module_name(file): file for file in sorted(LIBRARY.rglob("*.py"))}


def imported_names(file: Path) -> Iterator[str]:
    """Absolute dotted names of all that a file imports, those within functions too."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = file.parents[node.level - 1].relative_to(LIBRARY.parent)
                base = ".".join([*package.parts, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def imports() -> Iterator[Import]:
    """Every import of the library by the library."""
    for module, file in MODULES.items():
        for name in imported_names(file):
            if name.startswith("losspatterns."):
                name = name.removeprefix("losspatterns.")
                target = name if name in MODULES else name.rpartition(".")[0]
                yield Import(module, target or "__init__")


IMPORTS = list(imports())


def test_every_module_has_its_place_in_the_table() -> None:
    assert {name.partition(".")[0] for name in MODULES} - {"__init__"} == set(MAY_IMPORT)
    assert len(IMPORTS) > 50


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_what_the_table_says(room: str) -> None:
    """The table has no circle: a room imports those above it."""
    allowed = MAY_IMPORT[room].split()
    assert set(allowed) <= set(list(MAY_IMPORT)[: list(MAY_IMPORT).index(room)])
    wrong = [f"{module} imports {target}" for module, target in IMPORTS if room_of(module) == room != room_of(target)]
    assert [line for line in wrong if room_of(line.split()[-1]) not in allowed] == []


def test_modules_import_each_other_in_no_circle() -> None:
    graph: dict[str, set[str]] = {}
    for module, target in IMPORTS:
        if module != target:
            graph.setdefault(module, set()).add(target)
    assert list(graphlib.TopologicalSorter(graph).static_order())  # CycleError names a circle


def room_of(module: str) -> str:
    """The room that a module is in."""
    return module.partition(".")[0]


def test_a_closed_room_has_one_door() -> None:
    through_walls = [
        f"{found.module} imports {found.target}"
        for found in IMPORTS
        if room_of(found.module) != CLOSED and found.target.startswith(f"{CLOSED}.")
    ]
    assert through_walls == []


def test_the_library_knows_neither_snakemake_nor_the_benchmarks() -> None:
    """Nor do its commands, but the one that describes the config."""
    files = [*MODULES.values(), *(f for f in (ROOT / "scripts").glob("*.py") if f.stem != "describe_config")]
    known = {(file.name, name) for file in files for name in imported_names(file) if name.partition(".")[0] in NEVER}
    assert known == set()


def test_commands_do_not_import_each_other() -> None:
    commands = {file.stem for file in (ROOT / "scripts").glob("*.py")}
    files = [*MODULES.values(), *(ROOT / "scripts").glob("*.py")]
    assert [f"{f}: {name}" for f in files for name in imported_names(f) if name.partition(".")[0] in commands] == []


def test_planning_a_run_loads_nothing_heavy() -> None:
    """What Snakemake imports when it starts, and every kind of figure, which it asks what to draw."""
    names = ["runs.planning", "beyond.planning", "records.closure", "records.liveness"]
    names += [module for module in MODULES if module.startswith("figures.")]
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
    python = [file for file in (ROOT / "scripts").rglob("*.py") if file.name != "paths.py"]
    python += (ROOT / "benchmarks").rglob("*.py")
    spelt = {(file.name, text) for file in python for text in texts(file) if re.match(r"(results|figures)/", text)}
    assert {(name, text) for name, text in spelt if text not in DEFAULTS} == set()
    rules = [ROOT / "Snakefile", *(ROOT / "workflow").rglob("*.smk"), *(ROOT / "benchmarks").glob("*.smk")]
    assert [f"{file}: {line}" for file in rules for line in file.open() if re.search(r"[\"'](results|figures)/", line)] == []


def test_no_two_files_of_tests_have_one_name() -> None:
    """Pytest takes such files for one module, and ends with an error when it meets the second."""
    names = [file.name for file in (ROOT / "tests").rglob("test_*.py")]
    assert len(names) > 50 and len(names) == len(set(names))
