"""Figure 1, landscapes: the test loss around planes whose pictures can be read off, all on one logarithmic colour scale."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from matplotlib.figure import Figure

from .inputs import Surface, require_split
from .style import (
    DOUBLE,
    LINE,
    SMALL,
    LossRange,
    describe,
    draw_loss,
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

PER_ROW = 4
LARGEST = 1.9  # inches; fewer panels give a narrower figure, not larger panels
MARGIN, GAP, GROUP_GAP = 0.04, 0.08, 0.2  # inches: at the edge, between panels, between data sets
BAR = 0.75  # inches at the right for the colour bar, its ticks and its label


@styled
def landscapes(surfaces: Sequence[Surface], loss_range: LossRange = "auto") -> Figure:
    """Draw the test loss of each surface, grouped by data set in the order given. InputError for a train surface."""
    require_split(surfaces, "test")
    scale = loss_scale(surfaces, loss_range)
    datasets = list(dict.fromkeys(surface.dataset for surface in surfaces))
    ordered = sorted(surfaces, key=lambda surface: datasets.index(surface.dataset))
    lines = [
        [list(group) for _, group in groupby(ordered[start : start + PER_ROW], key=lambda surface: surface.dataset)]
        for start in range(0, len(ordered), PER_ROW)
    ]
    columns = max(sum(map(len, line)) for line in lines)
    space = max(GROUP_GAP * (len(line) - 1) + GAP * (sum(map(len, line)) - len(line)) for line in lines)
    side = min(LARGEST, (DOUBLE - MARGIN - BAR - space) / columns)
    height = side * max(surface.aspect for surface in surfaces)

    titles = [[wrap(group[0].dataset, len(group) * (side + GAP) - GAP) for group in line] for line in lines]
    header = LINE * max(len(title) for line in titles for title in line) + 0.06
    line_height = header + LINE + 0.08 + height + LINE + 0.14
    bar_left = MARGIN + columns * side + space + 0.1
    note = wrap(f"Test loss; {describe(ordered)}{frame_note(ordered)}.", bar_left + BAR - 0.2, SMALL)
    figure = new_figure(bar_left - 0.1 + BAR, 0.02 + len(lines) * line_height + LINE * len(note) + 0.03)

    for number, (line, line_titles) in enumerate(zip(lines, titles, strict=True)):
        top = 0.02 + number * line_height
        left = MARGIN
        for group, title in zip(line, line_titles, strict=True):
            right = left + len(group) * (side + GAP) - GAP
            write(figure, (left + right) / 2, top + header - 0.07, "\n".join(title), va="baseline")
            rule(figure, left, right, top + header - 0.03)
            for surface in group:
                write(figure, left + side / 2, top + header + LINE, surface.picture, va="baseline", fontsize=SMALL)
                panel_top = top + header + LINE + 0.06
                draw_loss(place(figure, left, panel_top, side, height), surface, scale)
                write(figure, left + side / 2, panel_top + height + 0.04, gap_text(surface), fontsize=SMALL)
                left += side + GAP
            left += GROUP_GAP - GAP
        loss_bar(figure, bar_left, top + header + LINE + 0.06, height, scale, "loss (nats)")
    write(figure, MARGIN, 0.02 + len(lines) * line_height, "\n".join(note), ha="left", fontsize=SMALL)
    return figure
