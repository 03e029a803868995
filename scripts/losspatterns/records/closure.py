"""What code a script of this project runs, as one digest: an edit of a module reruns the scripts that import it.

A script and every module that it reaches by import statements count, wherever in a file these stand. Imports for type checkers
do not. Of a module counts its syntax tree, without comments, docstrings, layout, descriptions of settings and options, and
texts of errors and messages. Digests are the same under every version of Python.
"""

import ast
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

SCRIPTS = Path(__file__).resolve().parents[2]
SKIPPED = ("ctx", "kind", "type_comment", "type_ignores")  # of a syntax tree: no meaning, or said elsewhere in it
DESCRIBED = ("Field", "add_argument", "ArgumentParser")  # calls; their arguments WORDS are text for readers
WORDS = {"description", "examples", "help"}
MESSAGES = ("print", "report")  # functions that say something


def code_files(script: Path) -> list[Path]:
    """A user's script and every module beside it that it reaches, directly or through another; sorted, the script first.

    SyntaxError, with the file's name, for one that is no Python.
    """
    return [script, *sorted(reached([script], script.parent) - {script})]


@cache
def script_digest(name: str, *modules: str) -> str:
    """SHA-256 (hex) of a script of this project and of all that it reaches.

    name: its file in scripts/, or benchmarks/<file>. modules: those that it imports by a name in its arguments, as
    "losspatterns.figures.method".
    """
    script = (SCRIPTS.parent if "/" in name else SCRIPTS) / name
    named = [file for module in modules for file in _modules((SCRIPTS,), tuple(module.split(".")))]
    lines = [f"{file.relative_to(SCRIPTS.parent)} {_read(file)[1]}\n" for file in sorted(reached([script, *named], SCRIPTS))]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def script_name(file: Path) -> str | None:
    """The name by which `script_digest` knows a file; None if it is no script of this project."""
    names = {SCRIPTS: file.name, SCRIPTS.parent / "benchmarks": f"benchmarks/{file.name}"}
    return names.get(file.parent.resolve())


def reached(files: Iterable[Path], library: Path) -> set[Path]:
    """These files and all that they import, of modules beside the first of them and in the folder `library`."""
    waiting = list(files)
    roots = (waiting[0].parent, library)
    found: set[Path] = set()
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            for level, name in _read(file)[0]:
                folders = (file.parents[level - 1],) if level else roots
                waiting += _modules(folders, tuple(name.split(".") if name else ()))
    return found


@cache
def _modules(folders: tuple[Path, ...], parts: tuple[str, ...]) -> list[Path]:
    """The files that an import of this dotted name runs: the module's and its packages', in the first folder that has some."""
    for folder in folders:
        places = [folder.joinpath(*parts[: k + 1]) for k in range(len(parts))]
        if files := [file for place in places for file in (place / "__init__.py", place.with_suffix(".py")) if file.is_file()]:
            return files
    return []


@cache
def _read(file: Path) -> tuple[list[tuple[int, str]], str]:
    """What a file imports, as levels and dotted names, and the digest of what its code means."""
    imports: list[tuple[int, str]] = []
    text = _meaning(ast.parse(file.read_bytes(), str(file)), imports)
    return imports, hashlib.sha256(text.encode()).hexdigest()


def _meaning(node: Any, imports: list[tuple[int, str]], told: bool = False, texts: frozenset[str] = frozenset()) -> str:
    """A syntax tree as text, without what differs between versions of Python. `told`: it is what an error or a message says;
    `texts`: variables that hold nothing else."""
    kind = type(node)
    if kind is ast.Name:
        return node.id
    if kind is list:
        return ",".join([_meaning(part, imports, told, texts) for part in node if not _silent(part)])
    if kind is ast.Constant:
        return "text" if told and isinstance(node.value, str) else f"={node.value!a}"
    if not isinstance(node, ast.AST):
        return ascii(node)
    if kind is ast.JoinedStr:  # versions of Python cut its plain text differently
        text = "".join([_piece(part, imports) for part in node.values])
        return "text" if told else f"f{text}"
    if kind is ast.Import:
        imports += [(0, alias.name) for alias in node.names]
    elif kind is ast.ImportFrom:
        imports += [(node.level, f"{node.module}.{alias.name}" if node.module else alias.name) for alias in node.names]
    elif kind is ast.FunctionDef:
        texts = _texts(node)
    elif kind is ast.Call and _called(node) in ("import_module", "__import__"):
        names = [str(part.value) for part in node.args[:1] if isinstance(part, ast.Constant)]
        imports += [(len(name) - len(name.lstrip(".")), name.lstrip(".")) for name in names]
    told = told or _says(node) or (kind is ast.Assign and getattr(node.targets[0], "id", "") in texts)
    fields = []
    for name in kind._fields:
        value = getattr(node, name, None)
        if value is None or value == [] or name in SKIPPED:
            continue
        if name == "keywords" and kind is ast.Call and _called(node) in DESCRIBED:
            value = [keyword for keyword in value if keyword.arg not in WORDS]
        fields.append(f"{name}={_meaning(value, imports, told, texts)}")
    return f"{kind.__name__}({';'.join(fields)})"


def _called(call: ast.Call) -> str:
    """The name of the function or method that is called, without what stands before a dot."""
    return getattr(call.func, "id", None) or getattr(call.func, "attr", "")


def _says(node: ast.AST) -> bool:
    """Whether a statement raises an error, or prints or reports something."""
    call = node.value if isinstance(node, ast.Expr) else None
    return isinstance(node, ast.Raise) or (isinstance(call, ast.Call) and _called(call) in MESSAGES)


def _texts(function: ast.FunctionDef) -> frozenset[str]:
    """The variables that a function uses in errors and messages alone."""
    used: tuple[set[str], set[str]] = set(), set()
    waiting: list[tuple[ast.AST, bool]] = [(function, False)]
    while waiting:
        node, says = waiting.pop()
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            used[says].add(node.id)
        waiting += [(child, says or _says(node)) for child in ast.iter_child_nodes(node)]
    return frozenset(used[True] - used[False])


def _piece(part: ast.expr, imports: list[tuple[int, str]]) -> str:
    """A part of an f-string: plain text, its braces doubled, or an expression in braces."""
    if not isinstance(part, ast.Constant):
        return f"{{{_meaning(part, imports)}}}"
    return part.value.encode("unicode_escape").decode().replace("{", "{{").replace("}", "}}")


def _silent(node: Any) -> bool:
    """Whether a statement does nothing: docstrings, `pass`, imports for type checkers."""
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING" and not node.orelse
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    return isinstance(node, ast.Pass)
