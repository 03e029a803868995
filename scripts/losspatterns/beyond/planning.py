"""Which planes and surfaces the parts of `snakemake beyond` need, and which files they make."""

from dataclasses import dataclass
from typing import Any

from .. import beyond
from ..config.model import line, plain
from ..runs.paths import at
from ..runs.planning import Runs


@dataclass(frozen=True)
class Part:
    """One part: its options, and what it needs."""

    kind: str
    options: Any
    needs: beyond.Needs
    caption: str

    @property
    def spec(self) -> str:
        """Kind and options, as one line of JSON."""
        return line(plain(self.options))

    def inputs(self, runs: Runs, name: str) -> dict[str, list[str]]:
        """The files that the table and figure of the part of this name are made from: `measured` and `surfaces`."""
        measured = [at(runs.files.measured, part=name, **run.wildcards) for run in self.needs.planes]
        return {"measured": measured, "surfaces": [at(runs.files.surface, **run.wildcards) for run in self.needs.surfaces]}


def parts_of(runs: Runs) -> dict[str, Part]:
    """The parts, by name; `runs` has then the runs that they need. InputError for one that asks for what is not there."""
    parts = {}
    for name, entry in runs.settings.beyond.items():
        if entry is not None:
            module, options = runs.options("beyond", name, entry, beyond)
            parts[name] = Part(entry["kind"], options, module.needs(options, f"beyond.{name}", runs), module.CAPTION)
    return parts
