"""What parts of `snakemake beyond` measure on a plane itself, beside its surfaces: a module for each kind that does.

They are apart from the parts, so that an edit of a table or a figure measures nothing again. A module has
    measure   (options, trained, untrained, mask, datasets, device) -> rows (dicts) of one plane. `options` are the part's;
              `trained` is what `load_trained` gives, `untrained` the plane that it was trained from; a data set that is
              optional may have no images (`absent`)
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from ...kinds import module_of


def measuring_module(kind: str, key: str) -> ModuleType:
    """The module of a kind. InputError, naming `key`, for a kind that measures no planes."""
    return module_of(__name__, sorted(file.stem for file in Path(__file__).parent.glob("[!_]*.py")), kind, key)
