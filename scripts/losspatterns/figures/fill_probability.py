"""Figure 6, the batch norm studies: accuracy gap, and accuracy of white and of black pixels, against the share of white pixels.

The one idea: a missing run is an error that names it, never a curve with fewer points or seeds than the configuration asks for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from string import ascii_lowercase
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..analysis.study import PAPER
from ..errors import InputError
from .inputs import check_options, read_options, words
from .style import DOUBLE, PROTOCOLS, SMALL, listed, new_figure, place, styled, wrap, write

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe and Ito: distinct to colour-blind eyes
MARKERS = ("o", "s", "^", "D", "v", "P")
SHIFT = 0.035  # to the right of p = 0.5, so that the published values hide no point of ours
ROW = 2.3  # inches from one study's panels to the next one's
EXPECTED = {
    "studies": "a list of objects",
    "dataset": "a data set's name",
    "networks": "a list of networks' names",
    "runs": "a list of pairs, a mask's name and a whole number, the seed",
    "title": "a text",
    "bn_protocols": "a protocol's name or a mapping from networks' to protocols' names",
    "labels": "a mapping from networks' names to texts",
    "paper": "true or false",
}


class Study(NamedTuple):
    """The rows that `select_runs` gives for its networks, in the order of the curves; `title` stands above its panels."""

    runs: pd.DataFrame
    networks: Sequence[str]
    title: str = ""


def read_studies(text: str) -> dict[str, Any]:
    """The options of the figure from JSON text. InputError for an unknown or missing key, or a value of the wrong kind."""
    required = {
        "studies": lambda value: _is_list(value, lambda item: isinstance(item, dict)),
        "bn_protocols": lambda value: _is_name(value) or _is_mapping(value),
    }
    of_a_study = {
        "dataset": _is_name,
        "networks": lambda value: _is_list(value, _is_name),
        "runs": lambda value: _is_list(value, _is_run),
    }
    optional = {"labels": _is_mapping, "paper": lambda value: isinstance(value, bool)}
    options = read_options(text, [*required, *optional], list(required))
    _check_values(options, {**required, **optional})
    for study in options["studies"]:
        of_it = {**of_a_study, "title": _is_name}
        _check_values(check_options(study, list(of_it), list(of_a_study)), of_it)
    if len(networks := _networks(study["networks"] for study in options["studies"])) > len(COLOURS):
        raise InputError(f"--options: networks are {', '.join(networks)}; expected at most {len(COLOURS)}")
    return options


def _check_values(options: Mapping[str, Any], kinds: Mapping[str, Callable[[Any], bool]]) -> None:
    for key, value in options.items():
        if not kinds[key](value):
            raise InputError(f"--options: {key} is {json.dumps(value)}; expected {EXPECTED[key]}")


def _networks(lists: Iterable[Sequence[str]]) -> list[str]:
    """All of them, none twice, in the order in which they come first."""
    return list(dict.fromkeys(chain.from_iterable(lists)))


def _is_name(value: Any) -> bool:
    return isinstance(value, str)


def _is_list(value: Any, item: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(map(item, value))


def _is_run(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and _is_name(value[0]) and type(value[1]) is int


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_name, value.values()))


def summarise(runs: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation (n - 1; NaN for one run) of each accuracy, by network and p, with the count of runs.

    Columns are pairs such as (accuracy_gap, mean); the index is (network, probability).
    """
    return runs.groupby(["network", "probability"], sort=True)[list(PAPER.columns)].agg(["mean", "std", "count"])


@styled
def fill_probability(studies: Sequence[Study], labels: Mapping[str, str] | None = None, show_paper: bool = True) -> Figure:
    """Draw a row of two panels for each study, one curve per network, mean and one standard deviation.

    labels: a network's name in the legend (its own name if it has none); for those labelled plain, batch norm or residual,
    `show_paper` adds the published values at p = 0.5.
    """
    names = {name: (labels or {}).get(name, words(name)) for name in _networks(study.networks for study in studies)}
    looks = dict(zip(names, zip(COLOURS, MARKERS, strict=True), strict=False))
    published = {name: PAPER.loc[label] for name, label in names.items() if show_paper and label in PAPER.index}
    below = ROW * (len(studies) - 1)
    height = 2.9 + below
    figure = new_figure(DOUBLE, height)
    panels = [[place(figure, left, 0.3 + ROW * row, 2.75, 1.75) for left in (0.5, 3.95)] for row in range(len(studies))]
    for study, (gaps, accuracies) in zip(studies, panels, strict=True):
        summary = summarise(study.runs)
        for network in study.networks:
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
        gaps.set_title(study.title, loc="right")
    for axes, letter in zip(chain.from_iterable(panels), ascii_lowercase, strict=False):
        axes.set(xlim=(0, 1), xticks=[0.1, 0.3, 0.5, 0.7, 0.9])
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_title(f"({letter})", loc="left")
    for axes in panels[-1]:
        axes.set(xlabel="probability p that a pixel is white")
    handles = [
        Line2D([], [], color=colour, marker=marker, markersize=3.5, label=names[network])
        for network, (colour, marker) in looks.items()
    ]
    handles += [Line2D([], [], color="0.3", linestyle=line, label=label) for line, label in (("-", "white"), ("--", "black"))]
    if published:
        open_marker = {"marker": "o", "color": "white", "mec": "0.3", "mew": 0.8, "ms": 4}
        handles.append(Line2D([], [], linestyle="", **open_marker, label="paper, p = 0.5 (drawn beside)"))
    where = 0.5, 1 - (2.5 + below) / height
    figure.legend(handles=handles, loc="center", bbox_to_anchor=where, ncols=len(handles), columnspacing=1.4)
    note = "\n".join(wrap(_note(studies), DOUBLE - 0.2, SMALL))
    write(figure, 0.1, 2.63 + below, note, ha="left", fontsize=SMALL)
    return figure


def _draw_curve(axes: Axes, curve: pd.DataFrame, colour: str, marker: str, line: str) -> None:
    axes.plot(curve.index, curve["mean"], line, color=colour, marker=marker, markersize=3.5, zorder=3)
    if (curve["count"] > 1).all():
        axes.fill_between(
            curve.index, curve["mean"] - curve["std"], curve["mean"] + curve["std"], color=colour, alpha=0.18, lw=0
        )


def _note(studies: Sequence[Study]) -> str:
    runs = pd.concat([study.runs for study in studies])
    counts = pd.concat([summarise(study.runs)[("accuracy_gap", "count")] for study in studies])
    if counts.max() == 1:
        spread = "n = 1 run per point"
    else:
        n = str(counts.max()) if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"
        spread = f"mean \N{PLUS-MINUS SIGN} standard deviation of n = {n} runs per point"
    protocols = [PROTOCOLS.get(name, name) for name in runs["bn_protocol"].unique() if name != "none"]
    normalised = f"; batch norm: {listed(protocols)}" if protocols else ""
    return f"{listed(list(runs['dataset_label'].unique()))}, test images; {spread}{normalised}."
