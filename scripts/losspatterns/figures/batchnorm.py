"""Batch norm: one random square and the loss of planes trained to show it without and with batch norm, on one scale."""

from string import ascii_lowercase

from pydantic import Field

from ..config.fields import Fraction, Several
from . import Facts, Figure, FigureOptions, Needs, Scores, ShownContours, ShownProtocol, ShownRange, Square, Surfaces, style
from .surfaces import Surface

CAPTION = """\
**Batch norm.** (a) A random square: pixels are white with the probability given. (b), (c) Test loss of planes trained to show
it, without and with batch norm, on one logarithmic colour scale. The statistics that batch norm uses at evaluation stand in
the title, because they can change the result. The gap is the mean test accuracy of the white pixels minus that of the black
ones.
"""
PER_ROW = 4
MARGIN, GAP = 0.04, 0.14  # inches: left edge, between panels


class Options(FigureOptions):
    """One random square of a study, under several of its networks."""

    study: str = Field(description="The study that trains the square.")
    probability: Fraction = Field(description="The square's probability that a pixel is white, one of the study's.")
    square: int = Field(0, ge=0, description="Which of the study's squares of this probability, counted from 0.")
    networks: Several[str] = Field(description="Networks of the study, in the order drawn.")
    bn_protocol: ShownProtocol = "batch"
    loss_range: ShownRange = "auto"
    contours: ShownContours = False


def needs(options: Options) -> Needs:
    """The square's test surface for each network."""
    which = options.study, options.probability, options.square
    return Needs([Square(*which, network, options.bn_protocol) for network in options.networks])


def variant(surface: Surface) -> str:
    """What sets this surface apart in the batch norm study: batch norm and its statistics, residual connections."""
    network, protocol = surface.made_by["network"], surface.made_by["bn_protocol"]
    name = f"batch norm, {style.protocol_name(protocol)}" if network["batch_norm"] else "without batch norm"
    return f"{name}, residual" if network.get("residual", False) else name


def draw(options: Options, surfaces: Surfaces, scores: Scores, facts: Facts) -> Figure:
    """Draw the mask, then the test loss of each surface in the order given."""
    scale = style.loss_scale(surfaces, options.loss_range, options.contours)
    names = [f"mask, p = {options.probability:g}", *map(variant, surfaces)]
    columns = min(len(names), PER_ROW)
    side = style.panel_width(columns, MARGIN + GAP * (columns - 1))
    titles = [style.wrap(f"({letter}) {name}", side) for letter, name in zip(ascii_lowercase, names, strict=False)]
    header = style.LINE * max(map(len, titles)) + 0.05
    bar_left = MARGIN + columns * side + (columns - 1) * GAP + 0.1
    images = style.listed([f"{surface.made_by['images']:,}" for surface in surfaces])
    text = f"Test loss on {surfaces[0].dataset}; {images} images per point; {style.networks_of(surfaces)}."
    note = style.wrap(text, bar_left + style.BAR - 0.2, style.SMALL)
    rows = -(-len(names) // PER_ROW)
    rest = 0.05 + rows * (header + style.LINE + 0.14) + style.LINE * len(note)
    height = style.panel_height((surface.aspect for surface in surfaces), side, rows, rest)
    line_height = header + height + style.LINE + 0.14
    figure = style.new_figure(bar_left - 0.1 + style.BAR, rest + rows * height)

    for number, title in enumerate(titles):
        left = MARGIN + number % PER_ROW * (side + GAP)
        top = 0.02 + number // PER_ROW * line_height + header
        style.write(figure, left + side / 2, top - 0.06, "\n".join(title), va="baseline")
        axes = style.place(figure, left, top, side, height)
        if number == 0:
            style.draw_picture(axes, surfaces[0])
        else:
            style.draw_values(axes, surfaces[number - 1], scale)
            style.small(figure, left + side / 2, top + height + 0.04, style.gap_text(surfaces[number - 1]))
    for row in range(rows):
        style.colour_bar(figure, bar_left, 0.02 + row * line_height + header, height, scale)
    style.small(figure, MARGIN, 0.02 + rows * line_height, "\n".join(note), ha="left")
    return figure
