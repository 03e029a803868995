"""From an artifact back to the dataset: what made each step, and whether every file is still the one that was read.

The one idea: records (`artifacts`) name their inputs with the checksum of what was read, so following them needs neither the
config nor Snakemake.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..errors import InputError
from .artifacts import read_record
from .closure import SCRIPTS, script_digest

INCLUDED = SCRIPTS / "losspatterns/data"  # data of this repository: looked for here too, as Snakemake may run elsewhere


def trace(paths: Iterable[str | Path]) -> dict[str, dict[str, Any]]:
    """The records of the artifacts at `paths` and of all that they were made from, by path.

    Names of inputs are relative to the current folder. InputError if an artifact is missing, damaged, or not the one that was
    read for what was made from it.
    """
    found: dict[str, dict[str, Any]] = {}
    ends: set[str] = set()  # scores of other runs: what they were made from is elsewhere
    waiting = [(Path(path).as_posix(), None, None) for path in paths]
    while waiting:
        path, reader, content = waiting.pop(0)
        if path not in found:
            ours = INCLUDED / Path(path).name
            found[path] = read_record(ours if ours.exists() and not Path(path).exists() else path)
        if reader is not None and found[path]["content"] != content:
            raise InputError(
                f"{reader}: was made from another {path} (checksum {content[:12]}, it is now {found[path]['content'][:12]}); "
                f"touch {path}, then run snakemake again"
            )
        ends.update(found[path]["made_by"].get("parts", ()))
        if path not in ends:
            waiting += [(name, path, checksum) for name, checksum in found[path]["inputs"].items()]
    return found


def same_code(record: dict[str, Any]) -> bool | None:
    """Whether the code that made an artifact means what the code here means; None if no script of this project made it."""
    made_by = record["made_by"]
    if made_by.get("script") is None:
        return None
    try:
        return script_digest(made_by["script"], *made_by.get("modules", [])) == made_by["code"]
    except FileNotFoundError:
        return False


def mixtures(found: dict[str, dict[str, Any]]) -> list[str]:
    """A line for each package, and for the compiled kernels, of which these records name more than one version."""
    used: dict[str, Counter[str]] = defaultdict(Counter)
    for record in found.values():
        if record["made_by"].get("script"):  # not the data of this repository
            facts = {"compiled kernels": record["made_by"].get("kernels", "on"), **record["made_by"].get("versions", {})}
            for name, version in facts.items():
                used[name][version] += 1
    lines = []
    for name, counts in used.items():
        if len(counts) > 1:
            files = ", ".join(f"{version} ({count} files)" for version, count in counts.most_common())
            lines.append(f"made by different versions of {name}: {files}; docs/running.md says how to make all by one")
    return lines


def compare_with_manifest(path: str, found: dict[str, dict[str, Any]]) -> None:
    """InputError if the manifest at `path` is damaged, or if it knows one of these artifacts as another file."""
    read_record(path)
    listed = json.loads(Path(path).read_text(encoding="utf-8"))
    for name, record in found.items():
        if name in listed and listed[name]["checksum"] != record["content"]:
            raise InputError(f"{name}: is not the file that {path} lists; delete it and {name}.json, then run snakemake again")


def manifest(paths: Iterable[str | Path]) -> dict[str, dict[str, Any]]:
    """For every artifact behind `paths`: its checksum (clock times left out), what made it, and what it was made from."""
    return {
        path: {"checksum": record["content"], "made_by": record["made_by"], "inputs": sorted(record["inputs"])}
        for path, record in sorted(trace(paths).items())
    }
