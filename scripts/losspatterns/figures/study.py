"""The batch norm study: accuracy gap, and accuracy of white and of black pixels, against the probability of white pixels.

The one idea: a missing run is an error that names it, never a curve with fewer points or seeds than the config asks for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ..config.fields import Several, Shown
from . import Curves, Facts, Figure, FigureOptions, Needs, Scores, ShownProtocol, Surfaces
from .style import DOUBLE, LINE, SMALL, listed, new_figure, place, protocol_name, small, wrap
from .surfaces import words

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D


CAPTION = """\
**The batch norm study**, a row for each of its settings. Left: test accuracy gap (mean over white pixels minus mean over black
pixels); right: mean test accuracy of the white (solid) and of the black pixels (dashed), for random squares whose pixels are
white with probability *p*. Lines are means over squares, bands one standard deviation (n - 1); with one square there is no
band. Open markers: values read off the published curves at *p* = 0.5, drawn slightly to the right of it. The statistics that
batch norm uses at evaluation are named below the panels, and so is how training estimates the objective.
"""
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe and Ito: distinct to colour-blind eyes
MARKERS = ("o", "s", "^", "D", "v", "P")
SHIFT = 0.035  # to the right of p = 0.5, so that the published values hide no point of ours
ROW = 2.3  # inches from one study's panels to the next one's
PAPER_TAU, PAPER_IMAGES = 5.0, 512  # of the paper's random squares: tau in nats, images per pixel and update


class Options(FigureOptions):
    """Studies, a row of panels each."""

    studies: Several[str] = Field(max_length=3, description="Names of studies, from top to bottom.")
    bn_protocol: ShownProtocol = "batch"
    labels: dict[str, Shown | None] = Field(
        {}, description="Networks' names in the legend; the paper's: plain, batch norm, residual."
    )
    paper: bool = Field(True, description="Whether the published values at p = 0.5 stand beside the paper's variants.")


def needs(options: Options) -> Needs:
    """The scores of every study."""
    named = {f"studies[{number}]": name for number, name in enumerate(options.studies)}
    return Needs(curves=curves(named, options.bn_protocol, options.labels))


def curves(studies: Mapping[str, str], bn_protocol: str, labels: Mapping[str, str | None]) -> Curves:
    """As many curves at most as there are colours; `labels` by network, None for none."""
    return Curves(studies, bn_protocol, [name for name, label in labels.items() if label is not None], len(COLOURS))


def looks_of(
    studies: Sequence[Mapping[str, Any]], labels: Mapping[str, str | None]
) -> tuple[dict[str, str], dict[str, tuple[str, str]]]:
    """The networks' names in the legend, and their colours and markers."""
    given = {name: label for name, label in labels.items() if label is not None}
    names = {name: given.get(name, words(name)) for name in _each_once(study["networks"] for study in studies)}
    return names, dict(zip(names, zip(COLOURS, MARKERS, strict=True), strict=False))


def legend_handles(names: Mapping[str, str], looks: Mapping[str, tuple[str, str]]) -> list[Line2D]:
    """An entry per network, then the lines of white and of black pixels; arguments as `looks_of` gives them."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=colour, marker=marker, markersize=3.5, label=names[network])
        for network, (colour, marker) in looks.items()
    ]
    return handles + [
        Line2D([], [], color="0.3", linestyle=line, label=name) for line, name in (("-", "white"), ("--", "black"))
    ]


def _each_once(lists: Iterable[Sequence[str]]) -> list[str]:
    """All of them, none twice, in the order in which they come first."""
    return list(dict.fromkeys(chain.from_iterable(lists)))


def summarise(runs: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation (n - 1; NaN for one run) of each accuracy, by network and p, with the count of runs.

    Columns are pairs such as (accuracy_gap, mean); the index is (network, probability).
    """
    from ..analysis.claims import PAPER

    return runs.groupby(["network", "probability"], sort=True)[list(PAPER.columns)].agg(["mean", "std", "count"])


def draw(options: Options, surfaces: Surfaces, scores: Scores, facts: Facts) -> Figure:
    """Draw a row of two panels for each study, one curve per network, mean and one standard deviation.

    InputError if the scores lack a run.
    """
    from matplotlib.lines import Line2D

    from ..analysis.claims import PAPER
    from ..analysis.study import select_runs

    studies = facts["studies"]
    selected = [
        select_runs(scores, study["dataset"], study["networks"], study["runs"], options.bn_protocol) for study in studies
    ]
    names, looks = looks_of(studies, options.labels)
    published = {name: PAPER.loc[label] for name, label in names.items() if options.paper and label in PAPER.index}
    texts = [_note(selected), objective_note(facts["objectives"])]
    note = [line for text in texts for line in wrap(text, DOUBLE - 0.6, SMALL)]
    below = ROW * (len(studies) - 1)
    height = 2.9 + below + LINE * (len(note) - 1)
    figure = new_figure(DOUBLE, height)
    panels = [[place(figure, left, 0.3 + ROW * row, 2.75, 1.75) for left in (0.5, 3.95)] for row in range(len(studies))]
    for study, runs, (gaps, accuracies) in zip(studies, selected, panels, strict=True):
        summary = summarise(runs)
        for network in study["networks"]:
            for axes, column, line in (
                (gaps, "accuracy_gap", "-"),
                (accuracies, "accuracy_white", "-"),
                (accuracies, "accuracy_black", "--"),
            ):
                colour, marker = looks[network]
                _draw_curve(axes, summary.loc[network][column], colour, marker, line)
                if network in published:
                    at = 0.5 + SHIFT, published[network][column]
                    axes.plot(*at, marker, color="white", mec=colour, mew=0.8, ms=4, zorder=4)
    lowest, highest = zip(*(gaps.get_ylim() for gaps, _ in panels), strict=True)
    for study, (gaps, accuracies) in zip(studies, panels, strict=True):
        gaps.set(ylabel="accuracy gap (white \N{MINUS SIGN} black)", ylim=(min(0.0, *lowest), max(highest)))
        accuracies.set(ylabel="mean accuracy", ylim=(0, 1))
        gaps.set_title(study["title"], loc="right")
    for axes, letter in zip(chain.from_iterable(panels), ascii_lowercase, strict=False):
        axes.set(xlim=(0, 1), xticks=[0.1, 0.3, 0.5, 0.7, 0.9])
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_title(f"({letter})", loc="left")
    for axes in panels[-1]:
        axes.set(xlabel="probability p that a pixel is white")
    handles = legend_handles(names, looks)
    if published:
        open_marker = {"marker": "o", "color": "white", "mec": "0.3", "mew": 0.8, "ms": 4}
        handles.append(Line2D([], [], linestyle="", **open_marker, label="paper, p = 0.5 (drawn beside)"))
    where = 0.5, 1 - (2.5 + below) / height
    figure.legend(handles=handles, loc="center", bbox_to_anchor=where, ncols=len(handles), columnspacing=1.4)
    small(figure, 0.1, 2.63 + below, "\n".join(note), ha="left")
    return figure


def _draw_curve(axes: Axes, curve: pd.DataFrame, colour: str, marker: str, line: str) -> None:
    axes.plot(curve.index, curve["mean"], line, color=colour, marker=marker, markersize=3.5, zorder=3)
    if (curve["count"] > 1).all():
        low, high = curve["mean"] - curve["std"], curve["mean"] + curve["std"]
        axes.fill_between(curve.index, low, high, color=colour, alpha=0.18, lw=0)


def _note(selected: Sequence[pd.DataFrame]) -> str:
    import pandas as pd

    runs = pd.concat(selected)
    counts = pd.concat([summarise(part)[("accuracy_gap", "count")] for part in selected])
    if counts.max() == 1:
        spread = "n = 1 run per point"
    else:
        n = str(counts.max()) if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"
        spread = f"mean \N{PLUS-MINUS SIGN} standard deviation of n = {n} runs per point"
    return f"{listed(list(runs['dataset_label'].unique()))}, test images; {spread}{protocol_note(runs)}."


def protocol_note(runs: pd.DataFrame) -> str:
    """How batch norm took its statistics, to go on in a note; empty without batch norm."""
    protocols = [protocol_name(name) for name in runs["bn_protocol"].unique() if name != "none"]
    return f"; batch norm: {listed(protocols)}" if protocols else ""


def objective_note(objectives: Sequence[Sequence[float]]) -> str:
    """A sentence on how min(L, tau) was estimated (tau, images, clamp); empty if as in the paper."""
    how = {"mean": "of the mean loss of", "image": "of each of", "running": "of a running mean loss, with gradients of"}
    others = [objective for objective in objectives if objective != [PAPER_TAU, PAPER_IMAGES, "mean"]]
    if not others:
        return ""
    ours = listed([f"{how[clamp]} {images} image{'s' * (images > 1)} at {tau:g} nats" for tau, images, clamp in others])
    return f"Training clamps a black pixel's loss by way {ours}; the paper, of {PAPER_IMAGES} images at {PAPER_TAU:g} nats."
