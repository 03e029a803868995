"""Which source files of this project a script runs: the script and, through its imports, the library's modules.

The workflow gives their digest to the script's rule, so that an edit reruns what it touches and nothing else; comments,
docstrings and layout do not count. A user's own network, and the files beside it that it imports, are inputs of the rules.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

SCRIPTS = Path(__file__).parents[2]


def code_files(script: Path) -> list[Path]:
    """The script and every module beside it that it imports, directly or through another; sorted, the script first.

    SyntaxError, with the file's name, for one that is no Python.
    """
    root = script.parent
    found: set[Path] = set()
    waiting = [script]
    while waiting:
        file = waiting.pop()
        if file in found:
            continue
        found.add(file)
        for node in _parsed(file.read_bytes(), str(file)).imports:
            waiting += [path for path in _imported(node, file, root) if path.is_file()]
    return [script, *sorted(found - {script})]


def code_digest(files: Iterable[Path]) -> str:
    """SHA-256 (hex) of what source files mean: their code without comments, docstrings and layout, ordered by name."""
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(f"{file.name}\n{_parsed(file.read_bytes(), str(file)).meaning}\n".encode())
    return digest.hexdigest()


@cache
def script_digest(name: str) -> str:
    """The digest of a script of this project, by its file name, and of every module that it runs."""
    return code_digest(code_files(SCRIPTS / name))


class _Source(NamedTuple):
    """`meaning`: the code in one layout, without comments and docstrings; `imports`: the statements among it."""

    meaning: str
    imports: list[ast.Import | ast.ImportFrom]


@cache
def _parsed(source: bytes, name: str) -> _Source:
    tree = ast.parse(source, name)
    imports = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            imports.append(node)
        elif isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(node):
            node.body = node.body[1:] or [ast.Pass()]
    return _Source(ast.unparse(tree), imports)


def _imported(node: ast.Import | ast.ImportFrom, file: Path, root: Path) -> list[Path]:
    """The files that an import statement may run: the module, its packages, and names that are modules themselves."""
    if isinstance(node, ast.Import):
        targets = [alias.name.split(".") for alias in node.names]
        base = root
    else:
        base = file.parents[node.level - 1] if node.level else root
        module = node.module.split(".") if node.module else []
        targets = [module, *([*module, alias.name] for alias in node.names)]
    files = []
    for target in targets:
        for depth in range(len(target) + 1):
            place = base.joinpath(*target[:depth])
            files += [place / "__init__.py", place.with_suffix(".py")] if place != root else []
    return files
