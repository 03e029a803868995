"""Figure 3, batch norm: one random square and the loss of planes fitted to it without and with batch norm, on one scale."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from ..errors import InputError
from .inputs import Surface, require_equal, require_split
from .style import (
    DOUBLE,
    LINE,
    PROTOCOLS,
    SMALL,
    LossRange,
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

PER_ROW = 4
LARGEST = 1.9  # inches
MARGIN, GAP = 0.04, 0.14
BAR = 0.75


def variant(surface: Surface) -> str:
    """What sets this surface apart in the batch norm study: batch norm and its statistics, residual connections."""
    network, protocol = surface.made_by["network"], surface.made_by["bn_protocol"]
    name = f"batch norm, {PROTOCOLS.get(protocol, protocol)}" if network.get("batch_norm", False) else "without batch norm"
    return f"{name}, residual" if network.get("residual", False) else name


@styled
def batch_norm(surfaces: Sequence[Surface], loss_range: LossRange = "auto") -> Figure:
    """Draw the mask, then the test loss of each surface in the order given.

    InputError if the surfaces differ in mask or data set, or one of them is a train surface.
    """
    require_split(surfaces, "test")
    require_equal(surfaces, "data set", lambda surface: surface.dataset)
    for surface in surfaces[1:]:
        if not np.array_equal(surface.mask, surfaces[0].mask):
            raise InputError(f"{surface.source}: another mask than {surfaces[0].source}; this figure compares within one")
    scale = loss_scale(surfaces, loss_range)
    probability = surfaces[0].made_by["mask"].get("probability")
    names = [surfaces[0].picture if probability is None else f"mask, p = {probability:g}", *map(variant, surfaces)]
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
