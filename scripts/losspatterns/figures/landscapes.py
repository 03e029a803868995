"""Landscapes: the test loss over planes that were trained to show a picture, all on one logarithmic colour scale."""

from itertools import groupby

from pydantic import Field

from ..config.fields import Many
from ..config.model import Model
from . import Facts, Figure, FigureOptions, Needs, Picture, Scores, ShownContours, ShownRange, Surfaces, style

CAPTION = """\
**Landscapes.** Test loss (mean cross-entropy) over planes in weight space that were trained to show a picture. Each pixel is
one model; the dashed frame is the edge of the picture, beyond it nothing was trained. All panels share one logarithmic colour
scale: its neutral colour stands between the typical loss of white and of black pixels, and an end marked < or > is exceeded
somewhere. The gap is the mean test accuracy of the white pixels minus that of the black ones; ignored pixels do not count.
"""
PER_ROW = 4
MARGIN, GAP, GROUP_GAP = 0.04, 0.08, 0.2  # inches: at the edge, between panels, between data sets


class Panel(Model):
    """One picture of the figure."""

    experiment: str = Field(description="The experiment that trains the picture.")
    mask: str = Field(description="The mask that is drawn.")
    network: str | None = Field(None, description="One of the experiment's networks; null: its first.")


class Options(FigureOptions):
    """Pictures of any data sets, side by side."""

    panels: Many[Panel] = Field(
        min_length=1, max_length=24, description="The pictures in the order drawn, data set by data set."
    )
    loss_range: ShownRange = "auto"
    contours: ShownContours = False


def needs(options: Options) -> Needs:
    """The test surface of each panel."""
    asked = enumerate(options.panels)
    return Needs([Picture(panel.experiment, panel.mask, panel.network, at=f"panels[{n}]") for n, panel in asked])


def draw(options: Options, surfaces: Surfaces, scores: Scores, facts: Facts) -> Figure:
    """Draw the test loss of each surface, grouped by data set in the order given."""
    scale = style.loss_scale(surfaces, options.loss_range, options.contours)
    datasets = list(dict.fromkeys(surface.dataset for surface in surfaces))
    ordered = sorted(surfaces, key=lambda surface: datasets.index(surface.dataset))
    lines = [
        [list(group) for _, group in groupby(ordered[start : start + PER_ROW], key=lambda surface: surface.dataset)]
        for start in range(0, len(ordered), PER_ROW)
    ]
    columns = max(sum(map(len, line)) for line in lines)
    space = max(GROUP_GAP * (len(line) - 1) + GAP * (sum(map(len, line)) - len(line)) for line in lines)
    side = style.panel_width(columns, MARGIN + space)
    titles = [[style.wrap(group[0].dataset, len(group) * (side + GAP) - GAP) for group in line] for line in lines]
    header = style.LINE * max(len(title) for line in titles for title in line) + 0.06
    bar_left = MARGIN + columns * side + space + 0.1
    note = style.wrap(f"Test loss; {style.describe(ordered)}.", bar_left + style.BAR - 0.2, style.SMALL)
    rest = 0.05 + len(lines) * (header + 2 * style.LINE + 0.22) + style.LINE * len(note)
    height = style.panel_height((surface.aspect for surface in surfaces), side, len(lines), rest)
    line_height = header + 2 * style.LINE + 0.22 + height
    figure = style.new_figure(bar_left - 0.1 + style.BAR, rest + len(lines) * height)

    for number, (line, line_titles) in enumerate(zip(lines, titles, strict=True)):
        top = 0.02 + number * line_height
        left = MARGIN
        for group, title in zip(line, line_titles, strict=True):
            right = left + len(group) * (side + GAP) - GAP
            style.write(figure, (left + right) / 2, top + header - 0.07, "\n".join(title), va="baseline")
            style.rule(figure, left, right, top + header - 0.03)
            for surface in group:
                style.small(figure, left + side / 2, top + header + style.LINE, surface.picture, va="baseline")
                panel_top = top + header + style.LINE + 0.06
                style.draw_values(style.place(figure, left, panel_top, side, height), surface, scale)
                style.small(figure, left + side / 2, panel_top + height + 0.04, style.gap_text(surface))
                left += side + GAP
            left += GROUP_GAP - GAP
        style.colour_bar(figure, bar_left, top + header + style.LINE + 0.06, height, scale)
    style.small(figure, MARGIN, 0.02 + len(lines) * line_height, "\n".join(note), ha="left")
    return figure
