"""The figures, one module per kind: add a module here and an entry to the config, and the figure is drawn.

A kind's module has
    Options   what its entry in the config may say: a pydantic model, every key with its description
    needs     (options, key, runs) -> Needs: which surfaces and scores it is drawn from; `key` is its entry's, for messages
    draw      (options, surfaces, scores, facts) -> Figure: surfaces in the order of `needs`, scores or None, facts of `needs`
    CAPTION   what the report says under it, in reStructuredText; its bold beginning is the figure's title in the menu
Snakemake imports every kind to plan a run, so matplotlib and pandas are imported where they are used: inside functions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from ..kinds import module_of, modules_with_options
from ..settings import LossRange, Protocol

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from ..runs import Run, Runs
    from .surfaces import Surface

    Surfaces, Scores = Sequence[Surface], pd.DataFrame | None
if not TYPE_CHECKING:  # what is imported for types alone
    Figure = Runs = Surfaces = Scores = Any
Facts = Mapping[str, Any]
ShownRange = Annotated[
    LossRange, Field(description="Ends of the loss's colour scale, [low, high] in nats; auto: from the surfaces drawn.")
]
ShownContours = Annotated[bool, Field(description="Contour lines at the ticks of the colour bars.")]
ShownProtocol = Annotated[Protocol, Field(description="Batch norm's statistics in networks that have batch norm.")]


@dataclass(frozen=True)
class Needs:
    """What a figure is drawn from.

    surfaces: (run, split, protocol) of each, in the order in which `draw` gets them. scores: whether it reads the table of
    scores. facts: anything else about the runs that it says, as plain JSON.
    """

    surfaces: list[tuple[Run, str, str]] = field(default_factory=list)
    scores: bool = False
    facts: dict[str, Any] = field(default_factory=dict)


def kinds() -> list[str]:
    """Names of all kinds of figure: the modules in this folder that define `Options`, sorted."""
    return modules_with_options(__file__)


def kind_module(name: str, key: str = "kind") -> ModuleType:
    """The module of a kind. InputError, naming `key`, if there is none of this name."""
    return module_of(__name__, kinds(), name, key)
