"""A drawing: one picture, its test loss and its test accuracy, side by side."""

from pydantic import Field

from . import Facts, Figure, FigureOptions, Needs, Picture, Scores, ShownRange, Surfaces, style

CAPTION = """\
**A drawing.** Left to right: the picture, and the test loss and test accuracy over the plane that was trained to show it. Each
pixel is one network. The gap is the mean test accuracy of the white pixels minus that of the black ones.
"""
SIDE = 1.75  # inches, at most
MARGIN, GAP = 0.06, 0.12  # inches


class Options(FigureOptions):
    """One picture."""

    experiment: str = Field(description="The experiment that trains the picture.")
    mask: str = Field(description="The mask that is drawn.")
    loss_range: ShownRange = "auto"


def needs(options: Options) -> Needs:
    """The picture's test surface."""
    return Needs([Picture(options.experiment, options.mask)])


def draw(options: Options, surfaces: Surfaces, scores: Scores, facts: Facts) -> Figure:
    """Draw three panels, each quantity with its colour bar."""
    (surface,) = surfaces
    scales = [style.loss_scale(surfaces, options.loss_range), style.accuracy_scale(surfaces)]
    side = style.panel_width(3, 2 * MARGIN + 3 * GAP + style.BAR, SIDE)
    width = 2 * MARGIN + 3 * side + 3 * GAP + 2 * style.BAR
    note = style.wrap(f"{surface.dataset}; {style.describe(surfaces)}; {style.gap_text(surface)}.", width - 0.1, style.SMALL)
    top, rest = style.LINE + 0.1, style.LINE * (1 + len(note)) + 0.16
    height = style.panel_height((surface.aspect for surface in surfaces), side, 1, rest)
    figure = style.new_figure(width, rest + height)
    for number, title in enumerate(("picture", "test loss", "test accuracy")):
        left = MARGIN + number * (side + GAP) + max(0, number - 1) * style.BAR
        axes = style.place(figure, left, top, side, height)
        style.write(figure, left + side / 2, top - 0.05, title, va="baseline")
        if number == 0:
            style.draw_picture(axes, surface)
        else:
            style.draw_values(axes, surface, scales[number - 1])
            style.colour_bar(figure, left + side + 0.08, top, height, scales[number - 1])
    style.small(figure, MARGIN, top + height + 0.06, "\n".join(note), ha="left")
    return figure
