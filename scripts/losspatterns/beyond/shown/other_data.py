"""Planes on other data: on which side of guessing white and black pixels are."""

import math

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ...analysis.report import markdown
from ...data.dataset_file import TRY_AGAIN
from ...figures.style import DOUBLE, LINE, SMALL, listed, wrap
from ..other_data import CONTROLS, QUANTITIES, Options
from . import Mean, Surfaces, legend, log_ticks, over_seeds, panels

DIFFERENCE = "trained minus untrained"
LOOKS = {  # of what is drawn: words, marker, face, edge
    ("trained", "white"): ("white pixels", "o", "white", "0.25"),
    ("trained", "black"): ("black pixels", "o", "black", "black"),
    ("shuffled mask", "auc"): ("shuffled mask", "x", "tab:blue", "tab:blue"),
    ("untrained", "auc"): ("untrained plane", "s", "0.6", "0.6"),
    ("trained", "auc"): ("trained plane", "D", "tab:red", "tab:red"),
}


def table(options: Options, measured: pd.DataFrame, surfaces: Surfaces) -> pd.DataFrame:
    """Means and intervals over seeds of each data and control, and of trained minus untrained planes, paired."""
    about = ["data", "images", "guess", "missing"]
    rows = measured.fillna({"missing": ""})
    planes = rows[rows["missing"] == ""].set_index(["control", *about, "mask", "network", "seed"])[list(QUANTITIES)]
    minus = (planes.loc["trained"] - planes.loc["untrained"]).reset_index().assign(control=DIFFERENCE)
    return over_seeds(pd.concat([rows, minus], ignore_index=True), [*about, "control"], QUANTITIES)


def _by_control(table: pd.DataFrame) -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    """The rows of each control, by data; and those of data that are not there."""
    missing = table["missing"].fillna("") != ""
    rows = dict(iter(table[~missing].set_index("data", drop=False).groupby("control")))
    return rows, table[missing]


def verdict(options: Options, table: pd.DataFrame) -> str:
    """A table, and whether white and black pixels are on their side of guessing, and in order."""
    rows, gone = _by_control(table)
    here, guess = rows["trained"], rows["trained"]["guess"].iloc[0]
    plain = ["loss_white", "loss_black", "accuracy_white", "accuracy_black"]
    head = ["data", "AUC", "gap", *(name.replace("_", ", ") for name in plain), *(f"AUC, {name}" for name in CONTROLS[1:])]
    lines = []
    for name, row in here.iterrows():
        others = [f"{rows[control].loc[name, 'auc']:.2f}" for control in CONTROLS[1:]]
        means = [Mean.at(row, quantity).text() for quantity in ("auc", "accuracy_gap")]
        lines.append([name, *means, *(f"{row[quantity]:.2f}" for quantity in plain), *others])
    lines += [[name, "not available here", *[""] * (len(head) - 2)] for name in gone["data"]]

    def on(control: str, quantity: str, *words: str, value: float = 0.0) -> str:
        """On which data the quantity is above `value`, below it, neither: these words."""
        said = rows[control].apply(lambda row: Mean.at(row, quantity).says(*words, value=value), axis=1)
        return "; ".join(f"{word} on {listed(list(of))}" for word, of in rows[control]["data"].groupby(said, sort=False))

    guessing, zero = "are not told apart from guessing", ("above 0", "below 0", "not told apart from 0")
    order = "is still there", "is turned over", "is not told apart from chance"
    text = [
        f"Mean over {here['seeds'].iloc[0]} seeds (95 % interval); {here['images'].iloc[0]:,} test images; trained pixels.",
        f"A pixel counts as white if its loss is below that of guessing ({guess:.2f} nats), as black if above.",
        f"White pixels {on('trained', 'loss_white', 'turn black', 'stay white', guessing, value=guess)}.",
        f"Black pixels {on('trained', 'loss_black', 'stay black', 'turn white', guessing, value=guess)}.",
        f"The accuracy gap is {on('trained', 'accuracy_gap', *zero)}.",
        f"The order of the colours (AUC against 0.5) {on('trained', 'auc', *order, value=0.5)}.",
        f"Against the untrained plane, the AUC is {on(DIFFERENCE, 'auc', 'higher', 'lower', 'not told apart')}.",
        *(f"Not available here: {missing}; {TRY_AGAIN}." for missing in gone["missing"]),
    ]
    return markdown(head, lines, numbers=True) + "\n" + "\n".join(text) + "\n"


def draw(options: Options, table: pd.DataFrame, surfaces: Surfaces) -> Figure:
    """Three panels side by side, a line per data."""
    rows, gone = _by_control(table)
    here = rows["trained"]
    first, places = here.iloc[0], np.arange(len(here))
    text = f"{first['images']:,} test images; mean over {first['seeds']} seeds and 95 % interval"
    note = wrap("; not available here: ".join([text, ", ".join(gone["data"])][: 1 + bool(len(gone))]), DOUBLE - 0.2, SMALL)
    titles = "(a) loss (nats)", "(b) AUC of the loss", "(c) accuracy"
    figure, [axes] = panels(0.26 * len(here) + 1.05 + LINE * len(note), 1, 3, titles, sharey=True)
    chances = first["guess"], 0.5, math.exp(-first["guess"])
    for one, chance, kind in zip(axes, chances, ("loss_", "", "accuracy_"), strict=True):
        one.axvline(chance, color="0.5", linewidth=0.7, linestyle=(0, (3, 3)), zorder=1)
        for (control, of), (words, marker, face, edge) in LOOKS.items():
            if (of == "auc") == (kind == ""):
                mean = rows[control].loc[here.index, kind + of]
                low, high = (rows[control].loc[here.index, f"{kind}{of}_{end}"] for end in ("low", "high"))
                one.hlines(places, low.clip(lower=1e-2) if kind == "loss_" else low, high, color=edge, linewidth=1, zorder=2)
                look = {"markerfacecolor": face, "markeredgecolor": edge, "markersize": 4, "markeredgewidth": 0.9}
                one.plot(mean, places, marker, label=words, zorder=3, **look)
        if kind == "loss_":
            one.set_xscale("log")
            log_ticks(one.xaxis)
        else:
            one.set(xlim=(-0.03, 1.03), xticks=[0, 0.5, 1], xticklabels=["0", "0.5", "1"])
    axes[0].set_yticks(places, labels=here["data"])
    axes[0].set_ylim(len(here) - 0.5, -0.5)
    legend(figure, axes, "\n".join(note))
    return figure
