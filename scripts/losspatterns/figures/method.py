"""The method: a picture on its pixel grid, the plane of weights that it is fitted to, and the surface that results.

The one idea: the same picture is seen three times from the same side (row 0 far away, columns left to right), so that a pixel
can be followed from the grid to its point on the plane and to its loss.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from . import Facts, Figure, FigureOptions, Needs, Picture, Scores, ShownRange, Surfaces, style
from .surfaces import Surface

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CAPTION = """\
**The method.** (a) The picture on its pixel grid. White pixels are trained to a low loss, black ones to a high loss; pixels
inside a region of one colour are ignored. (b) The plane that is fitted to it, as a schematic: one point, and so one model,
per pixel. The direction *up* runs along increasing row index *i*, *right* along increasing column index *j*; *i*\\
:sub:`0`, *j*\\ :sub:`0` is the centre of the picture and *s* the step. (c) The loss of the trained plane over the picture,
seen from the same side; height and colour are the same logarithmic scale.
"""
POINTS = 26  # at most, along each side of the drawn plane
EYE, TILT = 3.4, 2.4  # distance of the eye from the plane's centre, and how much of the plane's depth is seen
TINTS = {"white": "1.0", "white, ignored": "0.82", "black": "0.0", "black, ignored": "0.4"}
ARROW = "#D55E00"
SIDE = 1.85  # inches


class Options(FigureOptions):
    """One picture."""

    experiment: str = Field(description="The experiment that trains the picture.")
    mask: str = Field(description="The mask that is drawn.")
    loss_range: ShownRange = "auto"


def needs(options: Options) -> Needs:
    """The picture's test surface."""
    return Needs([Picture(options.experiment, options.mask)])


def draw(options: Options, surfaces: Surfaces, scores: Scores, facts: Facts) -> Figure:
    """Draw picture, plane and surface. The plane is a schematic: directions are unit arrows, points are thinned out."""
    from matplotlib.patches import Patch

    from ..data.masks import fill

    (surface,) = surfaces
    scale = style.loss_scale([surface], options.loss_range)
    described = f"{style.describe([surface], framed=False)}; {style.gap_text(surface)}"
    note = style.wrap(f"{surface.dataset}; {surface.made_by['split']} loss, {described}.", 6.7, style.SMALL)
    header = style.LINE + 0.08
    figure = style.new_figure(style.DOUBLE, header + SIDE + 0.36 + style.LINE * len(note) + 0.05)
    plane_left, surface_left = 2.1, 4.15
    style.write(figure, 0.06 + SIDE / 2, 0.02, "(a) picture")
    style.write(figure, plane_left + 1.0, 0.02, "(b) plane in weight space")
    style.write(figure, surface_left + 1.05, 0.02, "(c) loss surface")
    _draw_grid(style.place(figure, 0.06, header, SIDE, SIDE), surface.mask)
    handles = [Patch(facecolor=tint, edgecolor=style.EDGE, linewidth=0.5, label=label) for label, tint in TINTS.items()]
    legend = style.place(figure, 0.06, header + SIDE + 0.02, SIDE, 0.3, frameon=False, xticks=[], yticks=[])
    sizes = {"handlelength": 1, "handleheight": 1, "columnspacing": 1.2, "labelspacing": 0.25, "borderpad": 0}
    legend.legend(handles=handles, loc="center", ncols=2, **sizes)
    _draw_plane(style.place(figure, plane_left, header, 2.0, SIDE), fill(surface.mask))
    equation = "$w_{ij} = o + s\\,[(i - i_0)\\,\\mathbf{up} + (j - j_0)\\,\\mathbf{right}]$"
    style.small(figure, plane_left + 1.0, header + SIDE + 0.05, equation, parse_math=True)
    indices = "row $i$ from the top, column $j$ from the left"
    style.small(figure, plane_left + 1.0, header + SIDE + 0.2, indices, parse_math=True)
    _draw_relief(style.place(figure, surface_left, header - 0.12, 2.1, SIDE + 0.4, projection="3d"), surface, scale)
    style.colour_bar(figure, style.DOUBLE - 0.68, header + 0.15, SIDE - 0.3, scale)
    style.small(figure, 0.06, header + SIDE + 0.36, "\n".join(note), ha="left")
    return figure


def _draw_grid(axes: Axes, mask: np.ndarray) -> None:
    """The ternary mask, one square per pixel."""
    from matplotlib.colors import ListedColormap

    from ..data.masks import fill

    tint = np.where(fill(mask), 0, 2) + (mask == 0)
    tints = ListedColormap(list(TINTS.values()))
    axes.pcolormesh(tint, cmap=tints, vmin=0, vmax=3, edgecolors="0.6", linewidth=0.25)
    axes.set(aspect="equal", xticks=[], yticks=[])
    axes.invert_yaxis()


def _seen(x: np.ndarray | float, y: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """Perspective of the plane: x to the right, y towards the reader (the row index grows that way), both about -1 .. 1."""
    distance = 1 - np.asarray(y) / EYE
    return np.asarray(x) / distance, TILT * (1 - 1 / distance)


def _draw_plane(axes: Axes, picture: np.ndarray) -> None:
    """The plane with one point per pixel, thinned out if there are many, and its origin and directions."""
    height, width = picture.shape
    stride = -(-max(height, width) // POINTS)
    rows, columns = (np.arange((size - 1) % stride // 2, size, stride) for size in (height, width))
    reach = max(height, width) / 2
    y, x = np.meshgrid((rows - (height - 1) / 2) / reach, (columns - (width - 1) / 2) / reach, indexing="ij")
    edge_x, edge_y = width / 2 / reach + 0.05, height / 2 / reach + 0.05
    corners = _seen(np.array([-1, 1, 1, -1]) * edge_x, np.array([-1, -1, 1, 1]) * edge_y)
    axes.fill(*corners, facecolor="#DCE9F3", edgecolor=style.EDGE, linewidth=0.6)
    sizes = 160 / max(len(rows), len(columns)) / (1 - y / EYE) ** 2
    colours = np.where(picture[np.ix_(rows, columns)], "white", "black").ravel()
    axes.scatter(*_seen(x, y), s=sizes, c=colours, edgecolors=style.EDGE, linewidth=0.35)
    origin = _seen(0.0, 0.0)
    for end, label, settings in (
        ((edge_x + 0.3, 0.0), "right", {"xytext": (0, 4), "ha": "center", "va": "bottom"}),
        ((0.0, edge_y + 0.3), "up", {"xytext": (5, 0), "ha": "left", "va": "center"}),
    ):
        arrow = {"arrowstyle": "-|>", "color": ARROW, "linewidth": 1.4, "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", _seen(*end), origin, arrowprops=arrow)
        axes.annotate(label, _seen(*end), textcoords="offset points", color=ARROW, **settings)
    above = _seen(-0.4, -edge_y)
    line = {"arrowstyle": "-", "color": ARROW, "linewidth": 0.7, "shrinkA": 1, "shrinkB": 0}
    label_at = above[0], above[1] + 0.2
    axes.annotate("origin", origin, label_at, ha="center", va="bottom", color=ARROW, arrowprops=line)
    axes.plot(*origin, "o", color=ARROW, markersize=4)
    side = max(_seen(edge_x, edge_y)[0], _seen(edge_x + 0.3, 0.0)[0]) + 0.05
    axes.set(aspect="equal", xlim=(-side, side), ylim=(_seen(0.0, edge_y + 0.3)[1] - 0.1, above[1] + 0.5))
    axes.set_axis_off()


def _draw_relief(axes: Axes, surface: Surface, scale: style.Scale) -> None:
    """The loss over the picture (without padding) as a relief: height and colour are both the level on the loss scale."""
    import matplotlib

    height, width = surface.mask.shape
    rows, columns = ((axis >= 0) & (axis <= size - 1) for axis, size in ((surface.rows, height), (surface.columns, width)))
    level = np.asarray(scale.norm(surface.loss[np.ix_(rows, columns)]))
    x, y = np.meshgrid(surface.columns[columns], -surface.rows[rows])
    colours = matplotlib.colormaps[scale.colours](level)
    relief = axes.plot_surface(x, y, level, facecolors=colours, rstride=1, cstride=1, linewidth=0.15, shade=False)
    relief.set_edgecolor("0.3")
    axes.view_init(elev=50, azim=-90)
    axes.set_box_aspect((1, (height - 1) / (width - 1), 0.28), zoom=1.3)
    axes.set_axis_off()
