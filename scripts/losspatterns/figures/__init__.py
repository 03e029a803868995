"""The figures, one module per kind: add a module here and an entry to the config, and the figure is drawn.

A kind's module has
    Options   what its entry in the config may say: a pydantic model, every key with its description
    needs     (options) -> Needs: which surfaces and scores it is drawn from, by name
    draw      (options, surfaces, scores, facts) -> Figure: surfaces in the order of `needs`; of a figure of studies the
              scores, and as facts the studies and the objectives (tau, images, clamp) of their trainings
    CAPTION   what the report says under it, in reStructuredText; its bold beginning is the figure's title in the menu
Snakemake imports every kind to plan a run, so matplotlib and pandas are imported where they are used: inside functions.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from ..config.model import Model, as_tuple, wrong
from ..kinds import module_of, modules_with_options
from ..networks.settings import Protocol

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from .surfaces import Surface

    Surfaces, Scores = Sequence[Surface], pd.DataFrame | None
if not TYPE_CHECKING:  # what is imported for types alone
    Figure = Surfaces = Scores = Any
Facts = Mapping[str, Any]


def _ascending(value: Any) -> Any:
    pair = isinstance(value, list | tuple) and len(value) == 2 and all(type(bound) in (int, float) for bound in value)
    if value != "auto" and not (pair and 0 < value[0] < value[1] < float("inf")):
        raise wrong("expected auto or [low, high], 0 < low < high", found=value)
    return value


LossRange = Annotated[Literal["auto"] | tuple[float, float], BeforeValidator(as_tuple), BeforeValidator(_ascending)]
ShownRange = Annotated[
    LossRange, Field(description="Ends of the loss's colour scale, [low, high] in nats; auto: from the surfaces drawn.")
]
ShownContours = Annotated[bool, Field(description="Contour lines at the ticks of the colour bars.")]
ShownProtocol = Annotated[Protocol, Field(description="Batch norm's statistics in networks that have batch norm.")]


class FigureOptions(Model):
    """The options of a figure."""

    kind: str = Field(description="The module in losspatterns/figures/ that draws it.")


@dataclass(frozen=True)
class Picture:
    """A picture's surface, of the first seed, and the first network unless one is named. `at`: the option."""

    experiment: str
    mask: str
    network: str | None = None
    split: str = "test"
    at: str = ""


@dataclass(frozen=True)
class Square:
    """The test surface of a study's square."""

    study: str
    probability: float
    square: int
    network: str
    bn_protocol: str


@dataclass(frozen=True)
class Curves:
    """The test scores of studies, by the option that names each. `labels`: some of their networks; `most`: so many at most."""

    studies: Mapping[str, str]
    bn_protocol: str
    labels: Collection[str]
    most: int


@dataclass(frozen=True)
class Needs:
    """What a figure is drawn from: surfaces, in the order in which `draw` gets them, and scores."""

    surfaces: Sequence[Picture | Square] = ()
    curves: Curves | None = None


def kinds() -> list[str]:
    """Names of all kinds of figure: the modules in this folder that define `Options`, sorted."""
    return modules_with_options(__file__)


def kind_module(name: str, key: str = "kind") -> ModuleType:
    """The module of a kind. InputError, naming `key`, if there is none of this name."""
    return module_of(__name__, kinds(), name, key)
