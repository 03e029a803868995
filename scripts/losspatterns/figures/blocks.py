"""Pictures side by side, one block per picture: what the figures `pictures` and `train_and_test` are made of.

A block has one column per surface (test alone, or train and test) and one row per quantity; loss and accuracy each have one
scale for the whole figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from ..settings import FigureOptions, Several
from . import ShownRange
from .style import (
    DOUBLE,
    LINE,
    SMALL,
    accuracy_bar,
    accuracy_scale,
    describe,
    draw_accuracy,
    draw_loss,
    draw_picture,
    frame_note,
    gap_text,
    loss_bar,
    loss_scale,
    new_figure,
    place,
    rule,
    styled,
    wrap,
    write,
)
from .surfaces import Surface

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 6  # at most, side by side
LARGEST = 1.35  # inches
MARGIN, GAP, BLOCK_GAP = 0.22, 0.06, 0.16  # inches: left edge with the row labels, between panels, between pictures
BAR = 0.75


class PictureOptions(FigureOptions):
    """Pictures of one experiment."""

    experiment: str = Field(description="The experiment that trains the pictures.")
    masks: Several[str] = Field(description="The masks, in the order drawn.")
    loss_range: ShownRange = "auto"


@styled
def draw_blocks(options: PictureOptions, blocks: Sequence[Sequence[Surface]], rows: Sequence[str]) -> Figure:
    """Draw the blocks, each of as many surfaces of one picture; rows: which of picture, loss and accuracy, in this order.

    All surfaces are of one data set.
    """
    surfaces = [surface for block in blocks for surface in block]
    scale = loss_scale(surfaces, options.loss_range)
    accuracies = accuracy_scale(surfaces)
    per_block = len(blocks[0])
    per_band = min(len(blocks), COLUMNS // per_block)
    bands = [blocks[start : start + per_band] for start in range(0, len(blocks), per_band)]
    space = per_band * (per_block - 1) * GAP + (per_band - 1) * BLOCK_GAP
    side = min(LARGEST, (DOUBLE - MARGIN - BAR - space) / (per_band * per_block))
    height = side * max(surface.aspect for surface in surfaces)
    block_width = per_block * (side + GAP) - GAP
    bar_left = MARGIN + per_band * (block_width + BLOCK_GAP) - BLOCK_GAP + 0.1
    width = bar_left - 0.1 + BAR

    names = [wrap(block[0].picture, block_width) for block in blocks]
    splits = per_block > 1
    header = LINE * max(map(len, names)) + 0.06 + (LINE + 0.06 if splits else 0)
    band_height = header + len(rows) * (height + GAP) - GAP + LINE + 0.14
    title = wrap(surfaces[0].dataset, width - 0.1)
    first = LINE * len(title) + 0.08
    note = wrap(f"{describe(surfaces)}{frame_note(surfaces)}.", width - 0.1, SMALL)
    figure = new_figure(width, first + len(bands) * band_height + LINE * len(note) + 0.03)
    write(figure, (MARGIN + bar_left - 0.1) / 2, 0.02, "\n".join(title))

    for number, band in enumerate(bands):
        top = first + number * band_height
        tops = {row: top + header + index * (height + GAP) for index, row in enumerate(rows)}
        for row, panel_top in tops.items():
            write(figure, MARGIN - 0.06, panel_top + height / 2, row, ha="right", va="center", rotation=90)
        for position, block in enumerate(band):
            left = MARGIN + position * (block_width + BLOCK_GAP)
            name_bottom = top + header - (LINE + 0.11 if splits else 0.05)
            name = "\n".join(names[number * per_band + position])
            write(figure, left + block_width / 2, name_bottom, name, va="baseline")
            if splits:
                rule(figure, left, left + block_width, name_bottom + 0.05)
            for column, surface in enumerate(block):
                panel_left = left + column * (side + GAP)
                middle = panel_left + side / 2
                if splits:
                    write(figure, middle, top + header - 0.04, surface.made_by["split"], va="baseline", fontsize=SMALL)
                for row, panel_top in tops.items():
                    axes = place(figure, panel_left, panel_top, side, height)
                    if row == "picture":
                        draw_picture(axes, surface)
                    elif row == "loss":
                        draw_loss(axes, surface, scale)
                    else:
                        draw_accuracy(axes, surface, accuracies)
                write(figure, middle, tops[rows[-1]] + height + 0.04, gap_text(surface), fontsize=SMALL)
        prefix = "" if splits else "test "
        loss_bar(figure, bar_left, tops["loss"] + 0.07, height - 0.14, scale, f"{prefix}loss (nats)")
        accuracy_bar(figure, bar_left, tops["accuracy"] + 0.07, height - 0.14, accuracies, f"{prefix}accuracy")
    write(figure, 0.05, first + len(bands) * band_height, "\n".join(note), ha="left", fontsize=SMALL)
    return figure
