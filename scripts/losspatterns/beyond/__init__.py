"""Beyond the paper: experiments on planes, run by `snakemake beyond`. A kind of part is two modules.

<kind>.py, what is asked and measured:
    Options   what its entry in config/beyond.yaml may say: a pydantic model, every key with its description
    needs     (options, key, runs) -> Needs: what it is made from; `key` is its entry's, for messages
    measure   (options, Subject) -> rows (dicts) of one plane; only if it needs `planes`
    CAPTION   what the report says under its figure, in reStructuredText
shown/<kind>.py, what was found; an edit of it measures nothing again:
    table     (options, measured, surfaces) -> the part's table (.csv): `measured` are the rows of all planes, with the columns
              dataset, mask, network, seed before them; `surfaces` what `load_labelled` reads, in the order of `needs`
    verdict   (options, table) -> what the part found, in Markdown
    draw      (options, table, surfaces) -> Figure
Snakemake imports <kind>.py to plan a run, so torch is imported where it is used: inside functions.
Choices (a learning rate, a level) are made on the validation split; what a part reports is measured on test images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ..config.model import Model
from ..kinds import module_of, modules_with_options

if TYPE_CHECKING:
    import numpy as np
    import torch

    from ..data.dataset_file import Dataset
    from ..method.plane import Plane
    from ..method.plane_file import TrainedPlane
    from ..runs.planning import Runs
    from ..runs.specs import Run
if not TYPE_CHECKING:  # what is imported for types alone: it is no part of what measures
    Run = Runs = Any


class PartOptions(Model):
    """The options of a part of `snakemake beyond`."""

    kind: str = Field(description="The module in losspatterns/beyond/ that measures and draws it.")


@dataclass(frozen=True)
class Needs:
    """What a part is made from.

    planes: those that `measure` is called with, one job each. datasets: names of other data sets that it gets, after the
    plane's own. surfaces: the planes whose surfaces `table` and `draw` get.
    """

    planes: list[Run] = field(default_factory=list)
    datasets: list[str] = field(default_factory=list)
    surfaces: list[Run] = field(default_factory=list)


@dataclass(frozen=True)
class Subject:
    """What `measure` looks at: a trained plane, the plane that it was trained from, its mask (H, W), its data set and then
    others, which may have no images if they are optional (`absent`)."""

    trained: TrainedPlane
    untrained: Plane
    mask: np.ndarray
    datasets: Sequence[Dataset]
    device: torch.device


def kinds() -> list[str]:
    """Names of all kinds of part, sorted."""
    return modules_with_options(__file__)


def kind_module(name: str, key: str = "kind") -> ModuleType:
    """The module of a kind that asks and measures. InputError, naming `key`, if there is none of this name."""
    return module_of(__name__, kinds(), name, key)


def shown_module(name: str) -> ModuleType:
    """The module of a kind that shows what was found."""
    return module_of(f"{__name__}.shown", kinds(), name, "kind")
