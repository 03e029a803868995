"""More pictures: each with its test loss and test accuracy below it.

Pictures stand side by side, one block each. A block has one column per surface (here test alone; in `train_and_test`, both) and
one row per quantity; loss and accuracy each have one scale for the whole figure.
"""

from collections.abc import Sequence
from itertools import product

from pydantic import Field

from ..config.fields import Several
from . import Facts, Figure, FigureOptions, Needs, Picture, Scores, ShownContours, ShownRange, Surfaces, style
from .surfaces import Surface

CAPTION = """\
**More pictures.** Top to bottom: the picture, the test loss and the test accuracy over the plane that was trained to show it.
Each row has one colour scale. The dashed frame is the edge of the picture; the gap is the mean test accuracy of the white
pixels minus that of the black ones.
"""
COLUMNS = 6  # at most, side by side
LARGEST = 1.35  # inches
MARGIN, GAP, BLOCK_GAP = 0.22, 0.06, 0.16  # inches: left edge with the row labels, between panels, between pictures


class Options(FigureOptions):
    """Pictures of one experiment."""

    experiment: str = Field(description="The experiment that trains the pictures.")
    masks: Several[str] = Field(max_length=18, description="The masks, in the order drawn.")
    loss_range: ShownRange = "auto"
    contours: ShownContours = False


def needs(options: Options, splits: Sequence[str] = ("test",)) -> Needs:
    """The surfaces of each picture, in turn."""
    asked = product(enumerate(options.masks), splits)
    return Needs([Picture(options.experiment, mask, split=split, at=f"masks[{n}]") for (n, mask), split in asked])


def draw(options: Options, surfaces: Surfaces, scores: Scores, facts: Facts) -> Figure:
    """Draw a column per surface."""
    return draw_blocks(options, [[surface] for surface in surfaces], ("picture", "loss", "accuracy"))


def draw_blocks(options: Options, blocks: Sequence[Sequence[Surface]], rows: Sequence[str]) -> Figure:
    """Draw the blocks, each of as many surfaces of one picture; rows: which of picture, loss and accuracy, in this order.

    All surfaces are of one data set.
    """
    surfaces = [surface for block in blocks for surface in block]
    scales = {
        "loss": style.loss_scale(surfaces, options.loss_range, options.contours),
        "accuracy": style.accuracy_scale(surfaces, options.contours),
    }
    per_block = len(blocks[0])
    per_band = min(len(blocks), COLUMNS // per_block)
    bands = [blocks[start : start + per_band] for start in range(0, len(blocks), per_band)]
    space = MARGIN + per_band * (per_block - 1) * GAP + (per_band - 1) * BLOCK_GAP
    side = style.panel_width(per_band * per_block, space, LARGEST)
    block_width = per_block * (side + GAP) - GAP
    bar_left = MARGIN + per_band * (block_width + BLOCK_GAP) - BLOCK_GAP + 0.1
    width = bar_left - 0.1 + style.BAR

    names = [style.wrap(block[0].picture, block_width) for block in blocks]
    splits = per_block > 1
    header = style.LINE * max(map(len, names)) + 0.06 + (style.LINE + 0.06 if splits else 0)
    title = style.wrap(surfaces[0].dataset, MARGIN + bar_left - 0.2)
    first = style.LINE * len(title) + 0.08
    note = style.wrap(f"{style.describe(surfaces)}.", width - 0.1, style.SMALL)
    rest = first + len(bands) * (header + (len(rows) - 1) * GAP + style.LINE + 0.14) + style.LINE * len(note) + 0.03
    height = style.panel_height((surface.aspect for surface in surfaces), side, len(bands) * len(rows), rest)
    band_height = header + len(rows) * (height + GAP) - GAP + style.LINE + 0.14
    figure = style.new_figure(width, rest + len(bands) * len(rows) * height)
    style.write(figure, (MARGIN + bar_left - 0.1) / 2, 0.02, "\n".join(title))

    for number, band in enumerate(bands):
        top = first + number * band_height
        tops = {row: top + header + index * (height + GAP) for index, row in enumerate(rows)}
        for row, panel_top in tops.items():
            style.write(figure, MARGIN - 0.06, panel_top + height / 2, row, ha="right", va="center", rotation=90)
        for position, block in enumerate(band):
            left = MARGIN + position * (block_width + BLOCK_GAP)
            name_bottom = top + header - (style.LINE + 0.11 if splits else 0.05)
            name = "\n".join(names[number * per_band + position])
            style.write(figure, left + block_width / 2, name_bottom, name, va="baseline")
            if splits:
                style.rule(figure, left, left + block_width, name_bottom + 0.05)
            for column, surface in enumerate(block):
                panel_left = left + column * (side + GAP)
                middle = panel_left + side / 2
                if splits:
                    style.small(figure, middle, top + header - 0.04, surface.made_by["split"], va="baseline")
                for row, panel_top in tops.items():
                    axes = style.place(figure, panel_left, panel_top, side, height)
                    if row == "picture":
                        style.draw_picture(axes, surface)
                    else:
                        style.draw_values(axes, surface, scales[row])
                style.small(figure, middle, tops[rows[-1]] + height + 0.04, style.gap_text(surface))
        for row, scale in scales.items():
            style.colour_bar(figure, bar_left, tops[row] + 0.07, height - 0.14, scale, "" if splits else "test ")
    style.small(figure, 0.05, first + len(bands) * band_height, "\n".join(note), ha="left")
    return figure
