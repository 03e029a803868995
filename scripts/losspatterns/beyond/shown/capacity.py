"""Capacity: passes to a gap and largest gaps of trainings, and lines through them."""

from collections.abc import Mapping
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, NullLocator

from ...analysis.censored import fit_line
from ...analysis.report import markdown
from ...analysis.scores import shuffled
from ...figures.style import SMALL
from ...networks.flat import FlatNetwork
from ...networks.modules import build
from ...networks.settings import parse_network
from ..capacity import AGAINST, Options
from . import Mean, Surfaces, legend, log_ticks, number, panels

# What `passes` is: to the gap; all there were; to the first look. Its side for a fit, its marker and words in the figure.
SIDES = {
    "reached": (0, "o", "a training"),
    "not reached": (1, "^", "gap not reached: more passes"),
    "at most": (-1, "v", "reached at the first look"),
}
BLUE = "#0072B2"


def passes_to(gap: float, passes: np.ndarray, gaps: np.ndarray) -> tuple[float, str]:
    """Image passes at which a curve first reaches the gap, interpolated in their logarithm, and which of SIDES that is.

    passes (K,) ascending from 0, gaps (K,).
    """
    if not (gaps >= gap).any():
        return float(passes[-1]), "not reached"
    k = int((gaps >= gap).argmax())
    if k < 2:
        return float(passes[1]), "at most"
    share = (gap - gaps[k - 1]) / (gaps[k] - gaps[k - 1])
    return float(passes[k - 1] * (passes[k] / passes[k - 1]) ** share), "reached"


def look_at(options: Options, data: xr.Dataset, made_by: Mapping[str, Any]) -> dict[str, Any]:
    """What one training came to: its columns of the table."""
    mask, entry = data["mask"].values, made_by["mask"]
    places = {"row": np.arange(mask.shape[0]), "column": np.arange(mask.shape[1])}
    accuracy = data["accuracy"].isel(protocol=0).sel(places)

    def gaps(split: str, mask: np.ndarray) -> np.ndarray:
        of_stage = accuracy.sel(split=split).values
        return of_stage[:, mask == 1].mean(1) - of_stage[:, mask == -1].mean(1)

    test = gaps("test", mask)
    best = 1 + int(gaps("validation", mask)[1:].argmax())
    passes, side = passes_to(options.gap, data["image_passes"].values, test)
    network = build(parse_network("network", made_by["network"]), made_by["image_shape"], made_by["classes"])
    return {
        "mask": entry["name"],
        "network": made_by["network"]["name"],
        "seed": made_by["seed"],
        "trained_pixels": int((mask != 0).sum()),
        "weights": FlatNetwork(network).size,
        "cells": entry["cells"][1] if entry["kind"] == "grid" else np.nan,
        "permuted": int("permuted" in entry),
        "passes": passes,
        "side": side,
        "largest_gap": test[best],
        "untrained_gap": test[0],
        "shuffled_gap": gaps("test", shuffled(mask, mask > 0)[0])[best],
        "all_passes": int(data["image_passes"].values[-1]),
    }


def table(options: Options, measured: None, surfaces: Surfaces) -> pd.DataFrame:
    """A row for each training of each comparison."""
    looks, rows = [look_at(options, *surface) for surface in surfaces], []
    for comparison, (against, _) in AGAINST.items():
        own = [look for look in looks if options.compares(comparison, look["mask"], look["network"])]
        own.sort(key=itemgetter(against, "mask", "seed"))
        rows += [{"comparison": comparison, **look, "against": look[against]} for look in own]
    return pd.DataFrame(rows)


class Fit(NamedTuple):
    """A comparison's trainings, their places on a logarithmic axis (of `order` 1 and 10), and two lines against log10 of these:
    of log10 passes and of the largest gap. `texts`: the slopes as they are written, the first of `order` as a multiple."""

    rows: pd.DataFrame
    x: pd.Series
    slopes: list[Mean]
    intercepts: list[float]
    texts: list[str]


def fits(table: pd.DataFrame) -> dict[str, Fit]:
    """The lines of each comparison; NaN where there is none."""
    found = {}
    for name, rows in table.groupby("comparison", sort=False):
        x = 10.0 ** rows["against"] if name == "order" else rows["against"]
        side = rows["side"].map({word: side for word, (side, *_) in SIDES.items()})
        lines = [fit_line(np.log10(x), *of) for of in ((np.log10(rows["passes"]), side), (rows["largest_gap"], 0 * side))]
        slopes = [Mean(*line[:3]) for line in lines]
        passes = Mean(*(10**value for value in slopes[0])) if name == "order" else slopes[0]
        found[name] = Fit(rows, x, slopes, [line.intercept for line in lines], [passes.text(), slopes[1].text()])
    return found


def sentences(table: pd.DataFrame) -> list[str]:
    """What each comparison says, and whether a picture of many edges takes longer, by chessboards and by permuted pixels."""
    said, longer, unchanged = [], {}, "not told apart from no change"
    for name, fit in fits(table).items():
        words, order, (passes, gap) = AGAINST[name][1], name == "order", fit.slopes
        first = f"with {words}, as a multiple of the picture's own:" if order else f"as a power of {words}: exponent"
        more = "more passes, more than in proportion" if not order and passes.low > 1 else "more passes"
        missed = (fit.rows["side"] == "not reached").sum()
        said.append(
            f"**{name.capitalize()}.** Passes {first} {fit.texts[0]} ({passes.says(more, 'fewer passes', unchanged)}); "
            f"largest gap, {'difference' if order else 'change per tenfold'}: {fit.texts[1]} "
            f"({gap.says('a larger gap', 'a smaller gap', unchanged)}); "
            f"{f'{missed} of {len(fit.rows)} trainings did not reach' if missed else 'all trainings reached'} the gap."
        )
        longer[name] = "take longer" if passes.low > 0 else "are not seen to take longer"
    edges = f"finer chessboards {longer['frequency']}, and permuted pixels {longer['order']}"
    return [*said, f"**Pictures with thin lines and many edges: {edges}.**"]


def verdict(options: Options, table: pd.DataFrame) -> str:
    """A row for each point of each comparison, and what the fits say."""
    head = ("", "network", "trained pixels", "runs", "reached", "passes (median)", "largest gap", "untrained", "shuffled mask")
    lines = []
    for (comparison, against, pixels), rows in table.groupby(["comparison", "against", "trained_pixels"], sort=False):
        words = AGAINST[comparison][1]
        pictures = (f"the picture, {rows['mask'].iloc[0]}", f"its {words}")
        name = pictures[int(against)] if comparison == "order" else f"{against:,.0f} {words}"
        reached = (rows["side"] != "not reached").sum()
        median = f"{rows['passes'].median():,.0f}" if 2 * reached > len(rows) else f"> {rows['all_passes'].median():,.0f}"
        controls = [number(rows[name].mean()) for name in ("untrained_gap", "shuffled_gap")]
        gap = Mean.of(rows["largest_gap"]).text()
        lines.append([name, " ".join(rows["network"].unique()), pixels, len(rows), reached, median, gap, *controls])
    notes = (
        f"Passes to a test gap of {options.gap:g}. Intervals are 95 %: of a mean over seeds (t), of a slope by its likelihood, "
        "in which trainings that did not reach the gap count as longer than they were. All looks at a training are of one "
        "training, whose learning rate falls until its end: they are not finished trainings. The networks are small, and the "
        "objective is that of the recipe `fast`, not the paper's."
    )
    *said, edges = sentences(table)
    return "\n".join([markdown(head, lines), *(f"* {text}" for text in said), "", edges, "", notes, ""])


def draw(options: Options, table: pd.DataFrame, surfaces: Surfaces) -> Figure:
    """A column for each comparison: passes to the gap above, the largest gap below."""
    figure, axes = panels(4.1, 2, 4, sharex="col", sharey="row")
    for letter, both, (name, fit) in zip("abcd", axes.T, fits(table).items(), strict=True):
        order, points = name == "order", fit.rows.groupby("against")
        beside = points["seed"].rank() - (points["seed"].transform("size") + 1) / 2
        ends = np.array([fit.x.min(), fit.x.max()])
        for one, column, slope, start in zip(both, ("passes", "largest_gap"), fit.slopes, fit.intercepts, strict=True):
            for side, (_, marker, words) in SIDES.items():
                own = fit.rows["side"] == side
                look = {"color": BLUE, "markerfacecolor": BLUE if side == "reached" else "white", "zorder": 3}
                one.plot((fit.x * 1.03**beside)[own], fit.rows[column][own], marker, markersize=3.2, label=words, **look)
            values = start + slope.value * np.log10(ends)
            one.plot(ends, 10**values if column == "passes" else values, color="#D55E00", label="fit")
        upper, lower = both
        upper.set_title(f"({letter}) {name}\n{'×' if order else 'exponent'} {fit.texts[0]}", loc="left", fontsize=SMALL)
        lower.set_title(f"{'change' if order else 'slope'} {fit.texts[1]}", loc="left", fontsize=SMALL)
        lower.plot(fit.x.unique(), points["shuffled_gap"].mean(), color="0.6", zorder=1, label="shuffled mask")
        lower.axhline(options.gap, color="0.25", linewidth=0.6, linestyle=":", label="the gap to reach")
        lower.set(xscale="log", xlabel="" if order else AGAINST[name][1], xlim=(ends[0] / 1.3, ends[1] * 1.3))
        shown = ["picture", "permuted"] if order else map(EngFormatter(places=0, sep=""), fit.x.unique())
        lower.set_xticks(fit.x.unique(), labels=shown)
        lower.xaxis.set_minor_locator(NullLocator())
    first, second = axes[:, 0]
    first.set(yscale="log", ylabel=f"passes to a gap of {options.gap:g}")
    first.set_ylim(0.9 * table["passes"].min(), 1.15 * table["all_passes"].max())
    log_ticks(first.yaxis, written=EngFormatter(sep=""))
    lowest = min(0, *table[["largest_gap", "shuffled_gap"]].min())
    second.set(ylabel="largest gap", ylim=(lowest - 0.03, 1.08 * table["largest_gap"].max()))
    legend(figure, [first, second])
    return figure
