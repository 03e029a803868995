"""All watched trainings together: their curves, what each gap cost, their memory (.csv), and a figure of the curves.

The one idea: a mean over seeds stands beside the number of seeds that it is of.
"""

import argparse
from collections.abc import Sequence
from itertools import product

import lib  # noqa: F401
import numpy as np
import pandas as pd
from losspatterns.errors import run_script
from losspatterns.figures.style import DOUBLE, LINE, PAGE, new_figure, save_figure, styled
from losspatterns.figures.surfaces import words
from losspatterns.records.artifacts import load_table, provenance, save_table
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

GAPS = (0.2, 0.3, 0.4)
COSTS = ("image_passes", "seconds")
SIZES = ["weights", "pixels", "plane_bytes", "models_bytes", "state_bytes", "seconds_per_save"]  # of quality.py
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "0.35", "#882255", "#999933", "#44AA99")
HIGH, ENTRIES = 2.1, 4  # inches of a panel with its labels; entries in a row of the legend


def crossing(cost: np.ndarray, gap: np.ndarray, target: float) -> float:
    """The cost at which the gap first reaches `target`, linear between checkpoints; NaN if it never does."""
    reached = np.flatnonzero(gap >= target)
    if not len(reached):
        return float("nan")
    around = slice(max(reached[0] - 1, 0), reached[0] + 1)
    return float(np.interp(target, gap[around], cost[around]))


def passes_to_gap(curves: pd.DataFrame, gaps: Sequence[float] = GAPS) -> pd.DataFrame:
    """A row per mask, variant and gap: image passes and seconds to the gap, mean, min and max over the seeds that reach it.

    A mean over fewer seeds than were run flatters the variant, so it stands beside both numbers and says so in its name.
    """
    rows = []
    for (mask, variant, _), curve in curves.groupby(["mask", "variant", "seed"], sort=False):
        gap, *costs = (curve.sort_values("image_passes")[name].to_numpy() for name in ("gap", *COSTS))
        for target in gaps:
            reached = {name: crossing(cost, gap, target) for name, cost in zip(COSTS, costs, strict=True)}
            rows.append({"mask": mask, "variant": variant, "gap": target, **reached})
    groups = pd.DataFrame(rows).groupby(["mask", "variant", "gap"], sort=False)
    table = groups.agg(seeds=("image_passes", "size"), seeds_reached=("image_passes", "count"))
    for cost, measure in product(COSTS, ("mean", "min", "max")):
        table[f"{cost}_{measure}_of_reached"] = groups[cost].agg(measure)
    return table.reset_index()


@styled
def draw(curves: pd.DataFrame) -> Figure:
    """Gap against image passes: a panel per mask and network; a line per variant, the mean of its seeds in their band."""
    panels, variants = list(curves.groupby(["mask", "network"], sort=False)), list(curves["variant"].unique())
    down = -(-len(panels) // 2)
    above = 0.1 + 1.3 * LINE * -(-len(variants) // ENTRIES)
    figure = new_figure(DOUBLE, min(PAGE, above + HIGH * down))
    figure.set_layout_engine("constrained", rect=(0, 0, 1, 1 - above / figure.get_figheight()), hspace=0.06)
    lines = {}
    for axes, ((mask, network), rows) in zip(figure.subplots(down, 2, squeeze=False).flat, panels, strict=False):
        for variant, curve in rows[rows["image_passes"] > 0].groupby("variant", sort=False):
            gap, colour = curve.groupby("image_passes")["gap"], COLOURS[variants.index(variant) % len(COLOURS)]
            lines[variant] = axes.plot(gap.mean(), color=colour, label=words(variant))[0]
            axes.fill_between(gap.mean().index, gap.min(), gap.max(), color=colour, alpha=0.18, linewidth=0)
        axes.axhline(0, color="0.8", linewidth=0.6, zorder=0)
        axes.set(xscale="log", xlabel="image passes", ylabel="test gap (white \N{MINUS SIGN} black)")
        axes.xaxis.set(major_locator=LogLocator(subs=(1, 2, 5)), minor_formatter=NullFormatter())
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.set_title(f"{words(mask)}, network {words(network)}", loc="left")
    for axes in figure.axes[len(panels) :]:
        axes.remove()
    figure.legend(handles=[lines[variant] for variant in variants], loc="upper center", ncols=ENTRIES)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--curves", nargs="+", required=True, help="curves of single trainings (.csv)")
    parser.add_argument("--quality", required=True, help="output: all curves (.csv)")
    parser.add_argument("--passes-to-gap", required=True, help="output: passes and seconds to each gap over the seeds (.csv)")
    parser.add_argument("--memory", required=True, help="output: bytes of plane, models and state of each training (.csv)")
    parser.add_argument("--output-stem", required=True, help="output: the figure's path without .pdf and .png")
    arguments = parser.parse_args()
    curves = pd.concat([load_table(path) for path in arguments.curves], ignore_index=True)
    memory = curves[["mask", "variant", "recipe", "seed", "network", "device", *SIZES]].drop_duplicates()
    save_table(arguments.quality, curves.drop(columns=SIZES), provenance())
    save_table(arguments.passes_to_gap, passes_to_gap(curves), provenance())
    save_table(arguments.memory, memory, provenance())
    save_figure(draw(curves), arguments.output_stem, provenance(figure="benchmarks"))


if __name__ == "__main__":
    run_script(main)
