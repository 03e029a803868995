"""What code a script of this project runs, as one digest: an edit reruns what it touches and nothing else.

The one idea: code is followed name by name. A script counts whole; of a module that it imports count the definitions that it
reaches by name, what these use, and so on. Comments, docstrings, layout and the descriptions of settings do not count. So an
edit of settings.py, which every script imports, reruns only the scripts that use what was edited.

Not seen: code that is reached without being named (`importlib`, `globals`, `__subclasses__`, `__init_subclass__`); a script
that imports a module by a name in its arguments gives that name to `script_digest`. Digests are the same under every version of
Python.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, cached_property
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any, NamedTuple

SCRIPTS = Path(__file__).resolve().parents[2]
KEPT = Path(cache_from_source(__file__)).with_name("digests.json")  # beside what Python keeps of this module
SKIPPED = ("ctx", "kind", "type_comment", "type_ignores")  # of a syntax tree: no meaning, or said elsewhere in it
WORDS = ("description", "examples")  # arguments of pydantic's Field that are text for readers


def code_files(script: Path) -> list[Path]:
    """A user's script and every module beside it that it reaches, directly or through another; sorted, the script first.

    SyntaxError, with the file's name, for one that is no Python.
    """
    return [script, *sorted(set(reached(script, library=script.parent)) - {script})]


@cache
def script_digest(name: str, *modules: str) -> str:
    """The digest of a script of this project and of all that it reaches.

    name: its file in scripts/, or benchmarks/<file>. modules: those that it imports by a name in its arguments, as
    "losspatterns.figures.method"; they count whole, with what they reach. Of "module:function", that function counts.

    Digests are kept in KEPT until a file of this project changes: to read the code takes half of Snakemake's start.
    """
    asked, digests = " ".join((name, *modules)), _kept()
    if asked not in digests:
        digests[asked] = closure_digest((SCRIPTS.parent if "/" in name else SCRIPTS) / name, modules)
        with contextlib.suppress(OSError):  # nowhere to keep them: then the code is read each time
            _keep(digests)
    return digests[asked]


def _keep(digests: Mapping[str, str]) -> None:
    KEPT.parent.mkdir(exist_ok=True)
    part = KEPT.with_suffix(f".{os.getpid()}")
    try:
        part.write_text(json.dumps({"sources": _sources(), "digests": digests}))
        part.replace(KEPT)
    finally:
        part.unlink(missing_ok=True)


@cache
def _kept() -> dict[str, str]:
    """The digests that were kept, if they are of the files as they are now; those that this process finds are added."""
    try:
        kept = json.loads(KEPT.read_text())
        return kept["digests"] if kept["sources"] == _sources() else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


@cache
def _sources() -> str:
    """SHA-256 (hex) of all code of this project."""
    digest = hashlib.sha256()
    for folder in (SCRIPTS, SCRIPTS.parent / "benchmarks"):
        for file in sorted(folder.rglob("*.py")):
            digest.update(f"{file.relative_to(SCRIPTS.parent)} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def script_name(file: Path) -> str | None:
    """The name by which `script_digest` knows a file; None if it is no script of this project."""
    names = {SCRIPTS: file.name, SCRIPTS.parent / "benchmarks": f"benchmarks/{file.name}"}
    return names.get(file.parent.resolve())


def closure_digest(script: Path, modules: Iterable[str] = (), library: Path = SCRIPTS) -> str:
    """SHA-256 (hex) of a script and of all that it reaches; other arguments as in `reached`."""
    digest = hashlib.sha256()
    for file, units in sorted(reached(script, modules, library).items()):
        for unit in units:
            digest.update(f"{file.relative_to(library.parent)}\n{unit.meaning.text}\n".encode())
    return digest.hexdigest()


def reached(script: Path, modules: Iterable[str] = (), library: Path = SCRIPTS) -> dict[Path, list[Unit]]:
    """Of every file that a script imports, the statements that it reaches, in order; perhaps none.

    modules: dotted names of modules that count whole, or module:function. library: the folder that packages are looked for
    in, after the script's.
    """
    roots = (script.parent, library)
    read: dict[Path, Module] = {}
    found: dict[Path, set[Unit]] = {}
    waiting: list[Unit] = []

    def load(*files: Path | None) -> None:
        """An import of these files: what stands in them outside of definitions runs."""
        for file in files:
            if file and file not in found:
                found[file], read[file] = set(), _module(file, file.read_bytes(), roots)
                load(*_packages(file, roots))
                for unit in read[file].units:
                    if unit.always:
                        add(unit)
                    if isinstance(unit.node, ast.Import | ast.ImportFrom):
                        load(*(path for module, submodule, _ in unit.targets for path in (module, submodule)))

    def add(unit: Unit) -> None:
        if unit not in found[unit.file]:
            found[unit.file].add(unit)
            waiting.append(unit)

    for name in ("", *modules):
        module, _, function = name.partition(":")
        file = _find(roots, module.split(".")) if name else script
        load(file)
        for unit in read[file].defined[function] if function else read[file].units:
            add(unit)
    while waiting:
        unit = waiting.pop()
        used = [other for name in unit.meaning.names for other in read[unit.file].defined.get(name, ())]
        for module, submodule, name in unit.targets:
            load(module, submodule)
            named = read[module].defined.get(name) if module else None
            used += named or read[submodule or module].units
        for other in used:
            add(other)
    return {file: [unit for unit in read[file].units if unit in chosen] for file, chosen in found.items()}


class Unit:
    """A statement at the top of a module, or one name of an import there.

    `names`: what it defines. `always`: it counts whenever its module is imported, as it does more than to define a name.
    `meaning`: see `_Meaning`. `targets`: what the imports in it mean, see `_targets`.
    """

    def __init__(self, node: ast.stmt, file: Path, roots: tuple[Path, ...]) -> None:
        self.node, self.file, self.roots = node, file, roots
        self.names = _defined(node)
        self.always = not self.names

    @cached_property
    def meaning(self) -> _Meaning:
        return _Meaning(self.node)

    @cached_property
    def targets(self) -> list[tuple[Path | None, Path | None, str]]:
        return [target for node in self.meaning.imports for target in _targets(node, self.file, self.roots)]


class Module(NamedTuple):
    """The units of a module, in order, and those that define a name."""

    units: list[Unit]
    defined: dict[str, list[Unit]]


@cache
def _module(file: Path, source: bytes, roots: tuple[Path, ...]) -> Module:
    units: list[Unit] = []
    defined: dict[str, list[Unit]] = defaultdict(list)
    for node in ast.parse(source, str(file)).body:
        parts = [node]
        if isinstance(node, ast.Import):
            parts = [ast.Import([alias]) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parts = [ast.ImportFrom(node.module, [alias], node.level) for alias in node.names]
        units += [Unit(part, file, roots) for part in parts if not _silent(part)]
    for unit in units:
        for name in unit.names:
            defined[name].append(unit)
    for unit in units:  # a decorator of this project may enter what it decorates into a table
        for decorator in getattr(unit.node, "decorator_list", []):
            makers = [made for name in _Meaning(getattr(decorator, "func", decorator)).names for made in defined.get(name, [])]
            unit.always |= any(maker.targets or not isinstance(maker.node, ast.Import | ast.ImportFrom) for maker in makers)
    return Module(units, defined)


def _defined(node: ast.stmt) -> frozenset[str]:
    """The names that a statement defines, if it does no more than that."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return frozenset([node.name])
    if isinstance(node, ast.Import | ast.ImportFrom):
        if getattr(node, "module", "") == "__future__" or node.names[0].name == "*":
            return frozenset()
        return frozenset((alias.asname or alias.name).partition(".")[0] for alias in node.names)
    if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        parts = [part for target in targets for part in ast.walk(target)]
        if not any(isinstance(part, ast.Attribute | ast.Subscript) for part in parts):
            return frozenset(part.id for part in parts if isinstance(part, ast.Name))
    return frozenset()


def _silent(node: Any) -> bool:
    """Whether a statement does nothing: docstrings, `pass`, imports for type checkers."""
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING" and not node.orelse
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    return isinstance(node, ast.Pass)


class _Meaning:
    """What code means. `text`: the code in one layout; `names`: all that it names; `imports`: its import statements."""

    def __init__(self, node: ast.AST) -> None:
        self.names: set[str] = set()
        self.imports: list[ast.Import | ast.ImportFrom] = []
        self.text = self._text(node)

    def _text(self, node: Any) -> str:
        """The syntax tree as text: as `ast.dump` has it, but without what differs between versions of Python."""
        kind = type(node)
        if kind is ast.Name:
            self.names.add(node.id)
            return node.id
        if kind is ast.Constant:
            return f"={node.value!a}"
        if kind is ast.JoinedStr:  # versions of Python cut its plain text differently
            return "f" + "".join([self._piece(part) for part in node.values])
        if kind is list:
            return ",".join([self._text(part) for part in node if not _silent(part)])
        if not isinstance(node, ast.AST):
            return ascii(node)
        if kind is ast.Import or kind is ast.ImportFrom:
            self.imports.append(node)
        fields = []
        for name in kind._fields:
            value = getattr(node, name, None)
            if value is None or value == [] or name in SKIPPED:
                continue
            if name in ("annotation", "returns"):  # names in quotes are names
                quoted = [str(part.value) for part in ast.walk(value) if isinstance(part, ast.Constant)]
                self.names.update(re.findall(r"\w+", " ".join(quoted)))
            elif name == "keywords":
                function = getattr(node, "func", None)
                if "Field" in (getattr(function, "id", ""), getattr(function, "attr", "")):
                    value = [keyword for keyword in value if keyword.arg not in WORDS]
            fields.append(f"{name}={self._text(value)}")
        return f"{kind.__name__}({';'.join(fields)})"

    def _piece(self, part: ast.expr) -> str:
        """A part of an f-string: plain text, its braces doubled, or an expression in braces."""
        if not isinstance(part, ast.Constant):
            return f"{{{self._text(part)}}}"
        return part.value.encode("unicode_escape").decode().replace("{", "{{").replace("}", "}}")


def _targets(node: ast.AST, file: Path, roots: tuple[Path, ...]) -> Iterator[tuple[Path | None, Path | None, str]]:
    """Of an import statement in `file`, per name: the module that the name is imported from, the module that it may be itself,
    and the name. Nothing for modules from elsewhere, and for other statements."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            if module := _find(roots, alias.name.split(".")):
                yield None, module, ""
    elif isinstance(node, ast.ImportFrom):
        bases = (file.parents[node.level - 1],) if node.level else roots
        parts = node.module.split(".") if node.module else []
        for alias in node.names:
            module, submodule = _find(bases, parts), _find(bases, [*parts, alias.name])
            if module or submodule:
                yield module, submodule, alias.name


def _find(folders: Iterable[Path], parts: list[str]) -> Path | None:
    """The file of the module with these names, below the first of the folders that has it."""
    for folder in folders:
        place = os.path.join(folder, *parts)  # faster than pathlib, and most modules are from elsewhere
        for file in (os.path.join(place, "__init__.py"), f"{place}.py" if parts else ""):
            if os.path.isfile(file):
                return Path(file)
    return None


def _packages(file: Path, roots: tuple[Path, ...]) -> Iterator[Path]:
    """The packages that a module is in: Python runs them first."""
    for folder in file.parents:
        if folder in roots or not (folder / "__init__.py").is_file():
            return
        yield folder / "__init__.py"
