"""Figure 6, the batch norm study: accuracy gap, and accuracy of white and of black pixels, against the share of white pixels.

The one idea: a missing run is an error that names it, never a curve with fewer points or seeds than the configuration asks for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..errors import InputError
from ..study import PAPER
from .inputs import read_options, words
from .style import DOUBLE, PROTOCOLS, SMALL, listed, new_figure, place, styled, wrap, write

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe and Ito: distinct to colour-blind eyes
MARKERS = ("o", "s", "^", "D", "v", "P")
SHIFT = 0.035  # to the right of p = 0.5, so that the published values hide no point of ours
EXPECTED = {
    "dataset": "a data set's name",
    "networks": f"a list of one to {len(COLOURS)} networks' names",
    "masks": "a list of masks' names",
    "seeds": "a list of whole numbers",
    "bn_protocols": "a protocol's name or a mapping from networks' to protocols' names",
    "labels": "a mapping from networks' names to texts",
    "paper": "true or false",
}


def read_study(text: str) -> dict[str, Any]:
    """The options of the figure from JSON text. InputError for an unknown or missing key, or a value of the wrong kind."""
    required = {
        "dataset": _is_name,
        "networks": lambda value: _is_list(value, _is_name) and len(value) <= len(COLOURS),
        "masks": lambda value: _is_list(value, _is_name),
        "seeds": lambda value: _is_list(value, lambda seed: type(seed) is int),
        "bn_protocols": lambda value: _is_name(value) or _is_mapping(value),
    }
    optional = {"labels": _is_mapping, "paper": lambda value: isinstance(value, bool)}
    options = read_options(text, allowed=[*required, *optional], required=list(required))
    for key, value in options.items():
        if not (required | optional)[key](value):
            raise InputError(f"--options: {key} is {json.dumps(value)}; expected {EXPECTED[key]}")
    return options


def _is_name(value: Any) -> bool:
    return isinstance(value, str)


def _is_list(value: Any, item: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(map(item, value))


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_name, value.values()))


def summarise(runs: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation (n - 1; NaN for one run) of each accuracy, by network and p, with the count of runs.

    Columns are pairs such as (accuracy_gap, mean); the index is (network, probability).
    """
    return runs.groupby(["network", "probability"], sort=True)[list(PAPER.columns)].agg(["mean", "std", "count"])


@styled
def fill_probability(
    runs: pd.DataFrame, networks: Sequence[str], labels: Mapping[str, str] | None = None, show_paper: bool = True
) -> Figure:
    """Draw the rows that `select_runs` gives, one curve per network in this order, mean and one standard deviation.

    labels: a network's name in the legend (its own name if it has none); for those labelled plain, batch norm or residual,
    `show_paper` adds the published values at p = 0.5.
    """
    names = {network: (labels or {}).get(network, words(network)) for network in networks}
    summary = summarise(runs)
    figure = new_figure(DOUBLE, 2.9)
    left = place(figure, 0.5, 0.3, 2.75, 1.75)
    right = place(figure, 3.95, 0.3, 2.75, 1.75)
    handles = []
    paper_shown = False
    for (network, label), colour, marker in zip(names.items(), COLOURS, MARKERS, strict=False):
        curves = summary.loc[network]
        for axes, column, line in (
            (left, "accuracy_gap", "-"),
            (right, "accuracy_white", "-"),
            (right, "accuracy_black", "--"),
        ):
            _draw_curve(axes, curves[column], colour, marker, line)
            if show_paper and label in PAPER.index:
                paper_shown = True
                axes.plot(0.5 + SHIFT, PAPER.loc[label, column], marker, color="white", mec=colour, mew=0.8, ms=4, zorder=4)
        handles.append(Line2D([], [], color=colour, marker=marker, markersize=3.5, label=label))
    handles += [Line2D([], [], color="0.3", linestyle=line, label=label) for line, label in (("-", "white"), ("--", "black"))]
    if paper_shown:
        handles.append(
            Line2D(
                [], [], linestyle="", marker="o", color="white", mec="0.3", mew=0.8, ms=4, label="paper, p = 0.5 (drawn beside)"
            )
        )
    left.set(ylabel="accuracy gap (white \N{MINUS SIGN} black)")
    right.set(ylabel="mean accuracy", ylim=(0, 1))
    left.set_ylim(bottom=min(0.0, left.get_ylim()[0]))
    for axes, panel in ((left, "(a)"), (right, "(b)")):
        axes.set(xlabel="probability p that a pixel is white", xlim=(0, 1), xticks=[0.1, 0.3, 0.5, 0.7, 0.9])
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_title(panel, loc="left")
    figure.legend(handles=handles, loc="center", bbox_to_anchor=(0.5, 1 - 2.5 / 2.9), ncols=len(handles), columnspacing=1.4)
    write(figure, 0.1, 2.63, "\n".join(wrap(_note(runs, summary), DOUBLE - 0.2, SMALL)), ha="left", fontsize=SMALL)
    return figure


def _draw_curve(axes: Axes, curve: pd.DataFrame, colour: str, marker: str, line: str) -> None:
    axes.plot(curve.index, curve["mean"], line, color=colour, marker=marker, markersize=3.5, zorder=3)
    if (curve["count"] > 1).all():
        axes.fill_between(
            curve.index, curve["mean"] - curve["std"], curve["mean"] + curve["std"], color=colour, alpha=0.18, lw=0
        )


def _note(runs: pd.DataFrame, summary: pd.DataFrame) -> str:
    counts = summary[("accuracy_gap", "count")]
    if counts.max() == 1:
        spread = "n = 1 run per point"
    else:
        n = str(counts.max()) if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"
        spread = f"mean \N{PLUS-MINUS SIGN} standard deviation of n = {n} runs per point"
    protocols = [PROTOCOLS.get(name, name) for name in runs["bn_protocol"].unique() if name != "none"]
    normalised = f"; batch norm: {listed(protocols)}" if protocols else ""
    return f"{listed(list(runs['dataset_label'].unique()))}, test images; {spread}{normalised}."
