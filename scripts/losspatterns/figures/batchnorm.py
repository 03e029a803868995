"""Batch norm: one random square and the loss of planes trained to show it without and with batch norm, on one scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ..settings import FigureOptions, Fraction, Several
from . import Needs, ShownProtocol, ShownRange
from .style import (
    DOUBLE,
    LINE,
    OTHER_OBJECTIVE,
    PROTOCOLS,
    SMALL,
    draw_loss,
    draw_picture,
    gap_text,
    listed,
    loss_bar,
    loss_scale,
    new_figure,
    place,
    styled,
    wrap,
    write,
)
from .surfaces import Surface

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from ..runs import Runs

CAPTION = f"""\
**Batch norm.** (a) A random square: pixels are white with the probability given. (b), (c) Test loss of planes trained to show
it, without and with batch norm, on one logarithmic colour scale. The statistics that batch norm uses at evaluation stand in
the title, because they can change the result. The gap is the mean test accuracy of the white pixels minus that of the black
ones. {OTHER_OBJECTIVE}
"""
PER_ROW = 4
LARGEST = 1.9  # inches
MARGIN, GAP = 0.04, 0.14
BAR = 0.75


class Options(FigureOptions):
    """One random square of a study, under several of its networks."""

    study: str = Field(description="The study that trains the square.")
    probability: Fraction = Field(description="The square's probability that a pixel is white, one of the study's.")
    square: int = Field(0, ge=0, description="Which of the study's squares of this probability, counted from 0.")
    networks: Several[str] = Field(description="Networks of the study, in the order drawn.")
    bn_protocol: ShownProtocol = "batch"
    loss_range: ShownRange = "auto"


def needs(options: Options, key: str, runs: Runs) -> Needs:
    """The square's test surface for each network."""
    study = runs.study(f"{key}.study", options.study)
    chosen = [study.run(options.probability, options.square, network, key) for network in options.networks]
    return Needs([(run, "test", run.protocol(options.bn_protocol)) for run in chosen])


def variant(surface: Surface) -> str:
    """What sets this surface apart in the batch norm study: batch norm and its statistics, residual connections."""
    network, protocol = surface.made_by["network"], surface.made_by["bn_protocol"]
    name = f"batch norm, {PROTOCOLS.get(protocol, protocol)}" if network.get("batch_norm", False) else "without batch norm"
    return f"{name}, residual" if network.get("residual", False) else name


@styled
def draw(options: Options, surfaces: Sequence[Surface], scores: pd.DataFrame | None, facts: Mapping[str, Any]) -> Figure:
    """Draw the mask, then the test loss of each surface in the order given."""
    scale = loss_scale(surfaces, options.loss_range)
    names = [f"mask, p = {options.probability:g}", *map(variant, surfaces)]
    count = len(names)
    columns = min(count, PER_ROW)
    side = min(LARGEST, (DOUBLE - MARGIN - BAR - GAP * (columns - 1)) / columns)
    height = side * max(surface.aspect for surface in surfaces)
    titles = [wrap(f"({'abcdefghijklmnopqrstuvwxyz'[number]}) {name}", side) for number, name in enumerate(names)]
    header = LINE * max(map(len, titles)) + 0.05
    line_height = header + height + LINE + 0.14
    bar_left = MARGIN + columns * side + (columns - 1) * GAP + 0.1
    images = listed([f"{surface.made_by['images']:,}" for surface in surfaces])
    names_of_networks = list(dict.fromkeys(surface.network for surface in surfaces))
    networks = f"network{'s' if len(names_of_networks) > 1 else ''}: {listed(names_of_networks)}"
    text = f"Test loss on {surfaces[0].dataset}; {images} images per point; {networks}."
    note = wrap(text, bar_left + BAR - 0.2, SMALL)
    rows = -(-count // PER_ROW)
    figure = new_figure(bar_left - 0.1 + BAR, 0.02 + rows * line_height + LINE * len(note) + 0.03)

    for number, title in enumerate(titles):
        left = MARGIN + number % PER_ROW * (side + GAP)
        top = 0.02 + number // PER_ROW * line_height + header
        write(figure, left + side / 2, top - 0.06, "\n".join(title), va="baseline")
        axes = place(figure, left, top, side, height)
        if number == 0:
            draw_picture(axes, surfaces[0])
            continue
        draw_loss(axes, surfaces[number - 1], scale)
        write(figure, left + side / 2, top + height + 0.04, gap_text(surfaces[number - 1]), fontsize=SMALL)
    for row in range(rows):
        loss_bar(figure, bar_left, 0.02 + row * line_height + header, height, scale, "loss (nats)")
    write(figure, MARGIN, 0.02 + rows * line_height, "\n".join(note), ha="left", fontsize=SMALL)
    return figure
