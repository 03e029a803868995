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
    loss_scale,
    new_figure,
    styled,
    wrap,
)

PER_ROW = 4
LARGEST = 1.6  # inches; fewer panels give a narrower figure, not larger panels
BAR = 0.62  # inches at the right for the colour bar, its ticks and its label


@styled
def landscapes(surfaces: Sequence[Surface], loss_range: LossRange = "auto") -> Figure:
    """Draw the test loss of each surface, grouped by data set in the order given. InputError for a train surface."""
    require_split(surfaces, "test")
    scale = loss_scale(surfaces, loss_range)
    datasets = list(dict.fromkeys(surface.dataset for surface in surfaces))
    ordered = sorted(surfaces, key=lambda surface: datasets.index(surface.dataset))
    lines = [ordered[start : start + PER_ROW] for start in range(0, len(ordered), PER_ROW)]
    margin, gap, group_gap = 0.04, 0.1, 0.2
    columns = len(lines[0])
    side = min(LARGEST, (DOUBLE - margin - BAR - group_gap * (columns - 1)) / columns)
    height = side * max(surface.aspect for surface in surfaces)
    groups = [[list(group) for _, group in groupby(line, key=lambda surface: surface.dataset)] for line in lines]
    extents = [len(group) * (side + gap) - gap for line in groups for group in line]
    titles = [wrap(group[0].dataset, extent) for line in groups for group, extent in zip(line, extents[:0], strict=False)]
    titles = [wrap(group[0].dataset, extent) for (group, extent) in zip(sum(groups, []), extents, strict=True)]
    header = LINE * max(map(len, titles)) + 0.06
    line_height = header + LINE + 0.06 + height + LINE + 0.12
    width = max(
        margin + sum(len(group) * (side + gap) - gap for group in line) + group_gap * (len(line) - 1) + BAR for line in groups
    )
    note = wrap(describe(ordered), width - 2 * margin, SMALL)
    figure = new_figure(width, len(lines) * line_height + LINE * len(note) + 0.04)
    return figure
