"""Figures 4 and 5: more pictures, loss and accuracy of each.

The one idea: both figures are blocks side by side, one block per picture. A block has one column per surface (figure 4: test;
figure 5: train and test) and one row per quantity; loss and accuracy each have one scale for the whole figure.
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from ..errors import InputError
from .inputs import Surface, require_equal, require_split
from .style import (
    DOUBLE,
    LINE,
    SMALL,
    LossRange,
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

COLUMNS = 6  # at most, side by side
LARGEST = 1.35  # inches
MARGIN, GAP, BLOCK_GAP = 0.22, 0.06, 0.16  # inches: left edge with the row labels, between panels, between pictures
BAR = 0.75


@styled
def pictures_on_test(surfaces: Sequence[Surface], loss_range: LossRange = "auto") -> Figure:
    """Figure 4. Each picture with its test loss and test accuracy. InputError for a train surface or a second data set."""
    require_split(surfaces, "test")
    return _draw([[surface] for surface in surfaces], ("picture", "loss", "accuracy"), loss_range)


@styled
def pictures_on_train_and_test(surfaces: Sequence[Surface], loss_range: LossRange = "auto") -> Figure:
    """Figure 5. Each picture's loss and accuracy, train on the left, test on the right.

    The surfaces come in any order; pictures are drawn in the order in which they appear first. InputError if a picture lacks a
    split or has one twice, or there is a second data set.
    """
    blocks: dict[tuple[object, ...], dict[str, Surface]] = {}
    for surface in surfaces:
        made_by = surface.made_by
        run = (made_by["mask"]["name"], made_by["network"]["name"], made_by["seed"], made_by["bn_protocol"])
        block = blocks.setdefault(run, {})
        if made_by["split"] in block:
            raise InputError(f"{surface.source}: the same run and split as {block[made_by['split']].source}; give it once")
        block[made_by["split"]] = surface
    for block in blocks.values():
        for split in ("train", "test"):
            if split not in block:
                raise InputError(f"{next(iter(block.values())).source}: the surface of the {split} split is missing beside it")
    return _draw([[block["train"], block["test"]] for block in blocks.values()], ("loss", "accuracy"), loss_range)


def _draw(blocks: Sequence[Sequence[Surface]], rows: Sequence[str], loss_range: LossRange) -> Figure:
    surfaces = [surface for block in blocks for surface in block]
    require_equal(surfaces, "data set", lambda surface: surface.dataset)
    scale = loss_scale(surfaces, loss_range)
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
