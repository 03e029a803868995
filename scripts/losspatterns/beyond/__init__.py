"""Beyond the paper: experiments on planes, one module per kind, run by `snakemake beyond`.

A kind's module has
    Options   what its entry in config/beyond.yaml may say: a pydantic model, every key with its description
    needs     (options, key, runs) -> Needs: which planes and surfaces it is measured on; `key` is its entry's, for messages
    measure   (options, trained, untrained, mask, datasets, device) -> rows (dicts) of one plane; only if it needs `planes`.
              `trained` is what `load_trained` gives, `untrained` the plane that it was trained from; a data set that is
              optional may have no images (`absent`)
    table     (options, measured, surfaces) -> the part's table (.csv): `measured` are the rows of all planes, with the columns
              dataset, mask, network, seed before them; `surfaces` what `load_labelled` reads, in the order of `needs`
    verdict   (options, table) -> what the part found, in Markdown: a table and a sentence or two
    draw      (options, table, surfaces) -> Figure
    CAPTION   what the report says under it, in reStructuredText
Snakemake imports every kind to plan a run, so torch, matplotlib and pandas are imported where they are used: inside functions.
Choices (a learning rate, a level) are made on the validation split; what a part reports is measured on test images.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ..kinds import module_of, modules_with_options

if TYPE_CHECKING:
    from ..runs import Run
if not TYPE_CHECKING:  # what is imported for types alone
    Run = Any


@dataclass(frozen=True)
class Needs:
    """What a part is made from.

    planes: those that `measure` is called with, one job each. datasets: names of other data sets that it gets, after the
    plane's own. surfaces: the planes whose surfaces `table` and `draw` get.
    """

    planes: list[Run] = field(default_factory=list)
    datasets: list[str] = field(default_factory=list)
    surfaces: list[Run] = field(default_factory=list)


def kinds() -> list[str]:
    """Names of all kinds of part, sorted."""
    return modules_with_options(__file__)


def kind_module(name: str, key: str = "kind") -> ModuleType:
    """The module of a kind. InputError, naming `key`, if there is none of this name."""
    return module_of(__name__, kinds(), name, key)
