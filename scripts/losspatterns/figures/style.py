"""What every figure shares: sizes, colours, the loss scale, a drawn surface, and the way a figure reaches the disk.

The one idea: panels that are compared share one colour scale, and the scale is made here from all of them at once. Positions
are in inches from the top left corner of the figure, so that the layout can be read off the code.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..errors import InputError
from ..networks.settings import NO_BATCH_NORM
from ..records.artifacts import inputs_read, recorded_path
from .surfaces import Surface, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import FuncNorm, Normalize
    from matplotlib.figure import Figure
    from matplotlib.text import Text

DOUBLE = 6.9  # width in inches of two columns
PAGE = 9.5  # height in inches of a page
LOW, HIGH = 0.7, 3.5  # inches: least and largest height of a panel, whatever the shape of its picture
BAR = 0.75  # inches at the right for a colour bar, its ticks and its label
SMALL, NORMAL = 6.5, 7.5  # font sizes in points
LINE = 0.125  # inches from one line of text to the next
DPI = 300
EDGE = "0.25"
CONTOUR = {"colors": EDGE, "linewidths": 0.4}
AUTO_LIMITS = (0.01, 10_000)  # nats; an automatic scale ends here: beyond, a loss is as good as none, or as bad as any
LOSS_TICKS = (*(4.0**k for k in range(15)), 0.1, *(2.0**k for k in range(-2, 30)))  # in the order of preference

STYLE = {
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same everywhere
    "font.size": NORMAL,
    "axes.titlesize": NORMAL,
    "axes.labelsize": NORMAL,
    "axes.linewidth": 0.6,
    "axes.edgecolor": EDGE,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "lines.linewidth": 1.1,
    "pdf.fonttype": 42,  # whole TrueType fonts, which journals ask for
    "image.interpolation": "nearest",
    "text.parse_math": False,  # a dollar in a label is a dollar; a formula says parse_math=True
}


def protocol_name(protocol: str) -> str:
    """What figures call a protocol of batch norm."""
    return "no batch norm" if protocol == NO_BATCH_NORM else f"{words(protocol)} statistics"


def styled(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that draws or saves, under STYLE and else matplotlib's defaults, whatever the user's own are."""

    @functools.wraps(function)
    def inside(*arguments: Any, **settings: Any) -> Any:
        import matplotlib

        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            matplotlib.rcParams.update(STYLE)
            return function(*arguments, **settings)

    return inside


# Axes and words
def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches, with no window behind it. InputError if it is higher than a page."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if height > PAGE + 1e-6:
        raise InputError(f"the figure: found {height:.1f} inches of height, a page has {PAGE:g}; draw less in one figure")
    figure = Figure(figsize=(width, height), dpi=DPI)  # text is measured as it is written
    FigureCanvasAgg(figure)
    return figure


def place(figure: Figure, left: float, top: float, width: float, height: float, **settings: Any) -> Axes:
    """Axes whose top left corner is (left, top) inches from the figure's."""
    full_width, full_height = figure.get_size_inches()
    box = (left / full_width, 1 - (top + height) / full_height, width / full_width, height / full_height)
    return figure.add_axes(box, **settings)


def write(figure: Figure, left: float, top: float, text: str, **settings: Any) -> Text:
    """Text whose anchor is (left, top) inches from the figure's top left corner."""
    full_width, full_height = figure.get_size_inches()
    settings = {"ha": "center", "va": "top", "linespacing": 1.1} | settings
    return figure.text(left / full_width, 1 - top / full_height, text, **settings)


def small(figure: Figure, left: float, top: float, text: str, **settings: Any) -> Text:
    """As `write`, in small type."""
    return write(figure, left, top, text, fontsize=SMALL, **settings)


def wrap(text: str, width: float, size: float = NORMAL) -> list[str]:
    """The text in lines of at most `width` inches at this font size; a word that is longer stays whole."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(size=size)
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_to_path.get_text_width_height_descent(longer, font, ismath=False)[0] / 72 <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def listed(names: Sequence[str]) -> str:
    """Names without repeats, in order: 'a', 'a and b', 'a, b and c'."""
    names = list(dict.fromkeys(names))
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def networks_of(surfaces: Sequence[Surface]) -> str:
    """The networks of these surfaces: 'network: a', 'networks: a and b'."""
    names = {surface.network: None for surface in surfaces}
    return f"network{'s' if len(names) > 1 else ''}: {listed(names)}"


def describe(surfaces: Sequence[Surface], framed: bool = True) -> str:
    """One line on how these surfaces were computed: images per point, networks, batch norm; `framed`: and what the frame is."""
    images = listed([f"{surface.made_by['images']:,} {surface.made_by['split']}" for surface in surfaces])
    protocols = [surface.made_by["bn_protocol"] for surface in surfaces if surface.made_by["bn_protocol"] != NO_BATCH_NORM]
    normalised = f"; batch norm: {listed([protocol_name(name) for name in protocols])}" if protocols else ""
    frame = "; dashed: edge of the picture" if framed and any(surface.padded for surface in surfaces) else ""
    return f"{images} images per point; {networks_of(surfaces)}{normalised}{frame}"


def panel_width(columns: int, space: float, largest: float = 1.9) -> float:
    """Width in inches of panels side by side that, with `space` beside them and a colour bar, fill the page."""
    return min(largest, (DOUBLE - space - BAR) / columns)


def panel_height(aspects: Iterable[float], width: float, rows: int, rest: float) -> float:
    """Height in inches of panels of this width, in so many rows that share a page with `rest` inches of other things.

    aspects: height over width of each picture. One that is far from square stands in the middle of its panel.
    """
    wanted = width * max(aspects)
    return max(LOW, min(wanted, HIGH, (PAGE - rest) / rows))


def rule(figure: Figure, left: float, right: float, top: float) -> None:
    """A thin horizontal line under the title of a group of panels."""
    axes = place(figure, left, top, right - left, 0.01)
    axes.set_axis_off()
    axes.axhline(0.5, color=EDGE, linewidth=0.6)


# Colour scales
@dataclass(frozen=True)
class Scale:
    """The colours of one quantity, loss or accuracy, the ticks of its colour bar, and whether contour lines are drawn there. A
    loss scale is logarithmic from `low` to `middle` and from `middle` to `high`."""

    quantity: str
    colours: str
    norm: Normalize
    ticks: list[float]
    labels: list[str]
    contours: bool = False


def loss_scale(
    surfaces: Sequence[Surface], loss_range: Literal["auto"] | tuple[float, float] = "auto", contours: bool = False
) -> Scale:
    """The one loss scale of all surfaces of a figure.

    auto: from the 1st to the 99th percentile of the pictures' pixels (the padding, where the loss runs away, does not stretch
    it), within AUTO_LIMITS; the neutral colour stands at the geometric mean of the median losses of white and of black pixels,
    or at the logarithmic middle where that mean falls outside. [low, high]: plainly logarithmic. An end is labelled < or >
    where points lie beyond it.
    """
    from matplotlib.colors import FuncNorm

    values = np.concatenate([surface.loss.ravel() for surface in surfaces])
    pixels = np.concatenate([surface.at_pixels(surface.loss).ravel() for surface in surfaces])
    if loss_range == "auto":
        low, high = (float(np.clip(bound, *AUTO_LIMITS)) for bound in np.percentile(pixels, (1, 99)))
        low, high = _rounded(low, math.floor), _rounded(high, math.ceil)
        if low >= high:
            low, high = low / 2, high * 2
        masks = np.concatenate([surface.mask.ravel() for surface in surfaces])
        centre = float(np.sqrt(np.prod([np.median(pixels[masks == colour]) for colour in (1, -1)])))
    else:
        low, high = map(float, loss_range)
        centre = low
    middle = centre if low < centre < high else math.sqrt(low * high)
    knots = np.log([low, middle, high])
    levels = (0.0, 0.5, 1.0)
    forward, backward = (
        lambda loss: np.interp(np.log(np.maximum(loss, low)), knots, levels),
        lambda level: np.exp(np.interp(level, levels, knots)),
    )
    norm = FuncNorm((forward, backward), vmin=low, vmax=high)
    ticks = _ticks(norm, low, high)
    labels = [f"{tick:g}" for tick in ticks]
    if values.min() < low:
        labels[0] = f"<{labels[0]}"
    if values.max() > high:
        labels[-1] = f">{labels[-1]}"
    # The paper's colours; of photographs their own, light for a low loss.
    colours = "gray_r" if all(surface.target is not None for surface in surfaces) else "RdBu_r"
    return Scale("loss", colours, norm, ticks, labels, contours)


def _rounded(value: float, direction: Any) -> float:
    """The value rounded to one digit, down or up."""
    unit = 10.0 ** math.floor(math.log10(value))
    return float(f"{direction(value / unit) * unit:.3g}")


def _ticks(norm: FuncNorm, low: float, high: float) -> list[float]:
    """Both ends, and between them LOSS_TICKS wherever the colour bar has room for another label."""
    ticks = [low, high]
    for tick in LOSS_TICKS:
        if low < tick < high and min(abs(norm(tick) - norm(other)) for other in ticks) > 0.13:
            ticks.append(tick)
    return sorted(ticks)


def accuracy_scale(surfaces: Sequence[Surface], contours: bool = False) -> Scale:
    """The one linear accuracy scale of all surfaces of a figure: their whole range, rounded outwards to tenths."""
    from matplotlib.colors import Normalize

    values = np.concatenate([surface.accuracy.ravel() for surface in surfaces])
    low = math.floor(10 * values.min()) / 10
    high = max(math.ceil(10 * values.max()) / 10, low + 0.1)
    ticks = [tick / 10 for tick in range(round(10 * low), round(10 * high) + 1, 2 if high - low > 0.35 else 1)]
    return Scale("accuracy", "viridis", Normalize(low, high), ticks, [f"{tick:g}" for tick in ticks], contours)


def rgb(values: np.ndarray, scale: Scale) -> np.ndarray:
    """The colours of values (...) on a scale: uint8 (..., 3)."""
    import matplotlib

    return matplotlib.colormaps[scale.colours](scale.norm(values), bytes=True)[..., :3]


# Panels
def draw_values(axes: Axes, surface: Surface, scale: Scale) -> None:
    """Draw loss or accuracy of a surface as plain square pixels, row 0 on top, with contour lines if the scale has them; a
    dashed frame marks the picture's edge."""
    from matplotlib.patches import Rectangle

    axes.set(xticks=[], yticks=[])
    if surface.padded:
        height, width = surface.mask.shape
        for colour, dashes in (("0.8", "-"), (EDGE, (0, (3, 3)))):  # seen on any colour
            axes.add_patch(Rectangle((-0.5, -0.5), width, height, fill=False, color=colour, linewidth=0.5, linestyle=dashes))
    values = getattr(surface, scale.quantity)
    axes.imshow(values, norm=scale.norm, cmap=scale.colours, extent=surface.extent)
    levels = [tick for tick in scale.ticks if scale.contours and values.min() < tick < values.max()]
    if levels:
        axes.contour(surface.columns, surface.rows, values, levels, **CONTOUR)


def draw_picture(axes: Axes, surface: Surface) -> None:
    """Draw the picture in its colours, pixel for pixel where it stands on the surface."""
    height, width = surface.mask.shape
    left, right, bottom, top = surface.extent
    axes.imshow(surface.shades, cmap="gray", vmin=0, vmax=1, extent=(-0.5, width - 0.5, height - 0.5, -0.5))
    axes.set(xticks=[], yticks=[], facecolor="0.88", xlim=(left, right), ylim=(bottom, top))


def colour_bar(figure: Figure, left: float, top: float, height: float, scale: Scale, prefix: str = "") -> None:
    """Draw the colour bar of a scale, contour lines too; with ticks and label it takes 0.65 inches to the right of `left`."""
    from matplotlib.cm import ScalarMappable

    bar = figure.colorbar(ScalarMappable(scale.norm, scale.colours), cax=place(figure, left, top, 0.1, height))
    bar.outline.set_linewidth(0.6)
    bar.ax.minorticks_off()
    bar.set_ticks(scale.ticks, labels=scale.labels)
    if scale.contours:
        bar.ax.hlines(scale.ticks, 0, 1, **CONTOUR)
    label = f"{prefix}{scale.quantity}{' (nats)' if scale.quantity == 'loss' else ''}"
    write(figure, left + 0.5, top + height / 2, label, rotation=90, ha="left", va="center")


def gap_text(surface: Surface) -> str:
    """The accuracy gap as it is printed under a panel; of a photograph the likeness."""
    if surface.target is not None:
        return f"rank correlation {surface.likeness():.2f}"
    return f"gap {round(surface.gap(), 2) + 0:.2f}".replace("-", "\N{MINUS SIGN}")


# Files
def _require_room(figure: Figure) -> None:
    figure.draw_without_rendering()
    page = figure.bbox.padded(1)
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes if axes.get_legend())]
    for text in [*figure.texts, *(text for legend in legends for text in legend.get_texts())]:
        box = text.get_window_extent()
        if not (page.x0 <= box.x0 and page.y0 <= box.y0 and box.x1 <= page.x1 and box.y1 <= page.y1):
            raise InputError(f"the figure: no room for the text {text.get_text()!r}; give a shorter name, label or title")


@styled
def save_figure(figure: Figure, stem: str | Path, made_by: Mapping[str, Any]) -> None:
    """Write <stem>.pdf and <stem>.png, each atomically, provenance inside; equal figures give equal bytes.

    InputError if a text has more words than there is room for.
    """
    _require_room(figure)
    text = json.dumps({**made_by, "inputs": inputs_read()}, sort_keys=True)
    metadata = {
        ".pdf": {"CreationDate": None, "Title": Path(stem).name, "Keywords": text},
        ".png": {"Title": Path(stem).name, "Provenance": text},
    }
    for suffix, facts in metadata.items():
        with recorded_path(f"{stem}{suffix}", made_by) as temporary:
            figure.savefig(temporary, format=suffix[1:], dpi=DPI, metadata=facts)
