"""The benchmarks: what a gap costs in image passes and in seconds, and the engine next to a plain loop.

The one idea: variants named as their recipe (paper, fast) carry the comparison and are drawn bold; the others change one
setting of a recipe and stay thin.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import pandas as pd
from losspatterns.figures.style import DOUBLE, LINE, SMALL, listed, new_figure, place, styled, wrap, write
from losspatterns.figures.surfaces import words
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from .curves import GAPS

BOLD = {"paper": "#D55E00", "fast": "#0072B2"}  # Okabe and Ito: distinct to colour-blind eyes
THIN = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9", "0.35", "#882255")
ENGINES = {"ours": "black", "plain": "0.6"}
ENGINE_NAMES = {"ours": "this engine", "plain": "plain loop"}
REDUCED = "#0072B2"  # the engine in bfloat16
DASHED = (0, (3, 1.5))
LEFT, RIGHT, WIDE, HIGH = 0.55, 4.0, 2.75, 1.45  # inches: panels of the gap
BELOW, GAP = 0.4, 0.3  # inches below a panel for its axis, and above the next


@styled
def benchmarks(
    quality: pd.DataFrame,
    throughput: pd.DataFrame,
    surfaces: pd.DataFrame,
    memory: pd.DataFrame,
    labels: Mapping[str, str],
) -> Figure:
    """Draw the four tables: a row of panels per mask, gap against passes and seconds; below, speed and memory.

    quality: rows of checkpoints; labels: variant -> text, in the order of the legend.
    """
    masks = list(quality["mask"].unique())
    styles = _line_styles(quality, labels)
    columns = min(3, len(styles))
    legend = LINE * 1.25 * -(-len(styles) // columns) + 0.1
    lower = legend + GAP + len(masks) * (HIGH + BELOW + GAP)
    network = throughput["network"].iloc[0]
    throughput, surfaces, memory = (_shown(table, network) for table in (throughput, surfaces, memory))
    throughput = throughput[throughput["pixels"] == throughput["pixels"].max()]
    small = _small_print(quality, throughput, surfaces, memory)
    height = lower + 1.35 + 0.65 + LINE * len(small)
    figure = new_figure(DOUBLE, height)
    handles = [Line2D([], [], **style, label=labels[name]) for name, style in styles.items()]
    figure.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, 1 - 0.02 / height), ncols=columns)
    for row, mask in enumerate(masks):
        top = legend + GAP + row * (HIGH + BELOW + GAP)
        curves = quality[quality["mask"] == mask]
        title = f"{words(mask)}, network {listed([words(name) for name in curves['network']])}"
        passes, seconds = place(figure, LEFT, top, WIDE, HIGH), place(figure, RIGHT, top, WIDE, HIGH)
        for axes, cost, letter, label in (
            (passes, "image_passes", "a", "image passes"),
            (seconds, "seconds", "b", "seconds of training"),
        ):
            for name, style in styles.items():
                _draw_gap(axes, curves[curves["variant"] == name], cost, style)
            axes.set(xscale="log", xlabel=label)
            shown = {"major_formatter": FuncFormatter(_short), "minor_formatter": NullFormatter()}
            axes.xaxis.set(major_locator=LogLocator(subs=(1, 2, 5)), **shown)
            _finish(axes, f"({letter}{row + 1 if len(masks) > 1 else ''}) {title}")
            axes.axhline(0, color="0.8", linewidth=0.6, zorder=0)
            for target in GAPS:
                if target < curves["gap"].max():
                    axes.axhline(target, color="0.9", linewidth=0.5, zorder=0)
            axes.set_ylim(min(-0.02, 1.05 * curves["gap"].min()), max(0.1, 1.08 * curves["gap"].max()))
        passes.set_ylabel("test gap (white \N{MINUS SIGN} black)")
    _draw_share(place(figure, LEFT + 0.1, lower, 1.6, 1.35), throughput)
    _draw_surfaces(place(figure, LEFT + 2.3, lower, 1.6, 1.35), surfaces)
    _draw_memory(place(figure, LEFT + 4.6, lower, 1.6, 1.35), memory)
    for k, line in enumerate(small):
        write(figure, 0.1, lower + 1.35 + 0.55 + k * LINE, line, ha="left", fontsize=SMALL)
    return figure


def _line_styles(quality: pd.DataFrame, labels: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """How each variant that was run is drawn, in the order of the labels."""
    recipes = dict(zip(quality["variant"], quality["recipe"], strict=True))
    looks = itertools.cycle({"color": colour, "linestyle": line} for line in ("-", DASHED) for colour in THIN)
    return {
        name: {"color": BOLD.get(name, "black"), "linewidth": 1.8, "zorder": 4}
        if recipes[name] == name
        else {**next(looks), "linewidth": 0.8, "zorder": 3}
        for name in labels
        if name in recipes
    }


def _draw_gap(axes: Axes, rows: pd.DataFrame, cost: str, style: Mapping[str, Any]) -> None:
    """Mean over the seeds at each checkpoint, and a band from the lowest to the highest seed."""
    groups = rows[rows["image_passes"] > 0].groupby("image_passes")
    where = groups[cost].mean()
    axes.plot(where, groups["gap"].mean(), **style)
    if rows["seed"].nunique() > 1:
        low, high = groups["gap"].min(), groups["gap"].max()
        axes.fill_between(where, low, high, color=style["color"], alpha=0.18, linewidth=0, zorder=style["zorder"] - 2)


def _shown(table: pd.DataFrame, network: str) -> pd.DataFrame:
    """What a small panel shows of a table: that network, or its first one, with the fewest threads."""
    shown = table[table["network"] == (network if network in set(table["network"]) else table["network"].iloc[0])]
    return shown[shown["threads"] == shown["threads"].min()] if "threads" in shown else shown


def _draw_share(axes: Axes, rows: pd.DataFrame) -> None:
    top = rows["share_of_matmul"].max()
    for (engine, precision, normed), curve in rows.groupby(["engine", "precision", "batch_norm"]):
        curve = curve.sort_values("images")
        line, colour = DASHED if normed else "-", ENGINES[engine] if precision == "float32" else REDUCED
        axes.plot(curve["images"], curve["share_of_matmul"], color=colour, linestyle=line, marker="o", markersize=3)
    axes.set_xscale("log", base=2)
    axes.set(xlabel="images per pixel", ylabel="share of the rate of\na matrix product", ylim=(0, 1.55 * top))
    counts = sorted(rows["images"].unique())
    axes.set_xticks(counts, labels=map(str, counts))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.3g}%"))
    axes.margins(x=0.1)
    _finish(axes, "(c) training")
    handles = [Line2D([], [], color=colour, label=ENGINE_NAMES[name]) for name, colour in ENGINES.items()]
    if (rows["precision"] != "float32").any():
        handles.insert(1, Line2D([], [], color=REDUCED, label="in bfloat16"))
    if rows["batch_norm"].any():
        handles.append(Line2D([], [], color="0.3", linestyle=DASHED, label="with batch norm"))
    axes.legend(handles=handles, loc="upper left", borderaxespad=0.1, handlelength=1.8, labelspacing=0.25)


def _draw_surfaces(axes: Axes, rows: pd.DataFrame) -> None:
    kinds = [normed for normed in (False, True) if normed in set(rows["batch_norm"])]
    for place_at, normed in enumerate(kinds):
        for side, engine in ((-0.19, "ours"), (0.19, "plain")):
            row = rows[(rows["batch_norm"] == normed) & (rows["engine"] == engine)].iloc[0]
            value = row["evaluations_per_second"]
            axes.bar(place_at + side, value, 0.34, color=ENGINES[engine])
            spread = [[value - row["low"]], [row["high"] - value]]
            axes.errorbar(place_at + side, value, spread, color="0.35", linewidth=0.8, capsize=2)
    axes.set(ylim=(0, 1.4 * rows["high"].max()), ylabel="points \N{MULTIPLICATION SIGN} images\nper second")
    axes.set_xlim(-0.6, len(kinds) - 0.4)
    axes.set_xticks(range(len(kinds)), labels=["with\nbatch norm" if normed else "no\nbatch norm" for normed in kinds])
    axes.yaxis.set_major_formatter(FuncFormatter(_short))
    _finish(axes, "(d) surfaces")
    handles = [Line2D([], [], color=colour, linewidth=4, label=ENGINE_NAMES[name]) for name, colour in ENGINES.items()]
    axes.legend(handles=handles, loc="upper left", borderaxespad=0.1, handlelength=1, labelspacing=0.25)


def _draw_memory(axes: Axes, rows: pd.DataFrame) -> None:
    rows = rows.drop_duplicates("pixels").sort_values("pixels")
    megabytes = rows[["models_bytes", "plane_bytes"]] / 1e6
    for name, engine in (("models_bytes", "plain"), ("plane_bytes", "ours")):
        axes.plot(rows["pixels"], megabytes[name], color=ENGINES[engine], marker="o", markersize=3)
    axes.set(xscale="log", yscale="log", xlabel="trained pixels of a picture", ylabel="megabytes")
    low, high = megabytes.to_numpy().min(), megabytes.to_numpy().max()
    axes.set_ylim(low / 3, high * 6)
    axes.margins(x=0.12)
    at = rows["pixels"].iloc[len(rows) // 2]
    axes.annotate("a plane", (at, low), (0, -10), textcoords="offset points", ha="center", fontsize=SMALL)
    axes.annotate("one model per pixel", (0.03, 0.93), xycoords="axes fraction", color="0.45", ha="left", fontsize=SMALL)
    ticks = rows["pixels"].agg(["min", "max"]).unique()
    axes.set_xticks(ticks, labels=map(str, ticks))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set(major_formatter=FuncFormatter(_short), minor_formatter=NullFormatter())
    _finish(axes, "(e) memory")


def _finish(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left")
    axes.spines[["top", "right"]].set_visible(False)


def _short(value: float, _: object = None) -> str:
    """A number as it is read: 50, 20k, 1M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _small_print(quality: pd.DataFrame, throughput: pd.DataFrame, surfaces: pd.DataFrame, memory: pd.DataFrame) -> list[str]:
    """Lines below the panels: data, seeds, device, and which rows of the tables are drawn."""
    speed, points, plane = throughput.iloc[0], surfaces.iloc[0], memory.iloc[0]
    seeds = quality.groupby(["mask", "variant"])["seed"].nunique()
    count = f"{seeds.min()} to {seeds.max()}" if seeds.min() < seeds.max() else f"{seeds.max()}"
    spread = f"mean of {count} seeds, band from lowest to highest" if seeds.max() > 1 else "one seed"
    threads = f"{speed['threads']} thread{'s' if speed['threads'] > 1 else ''}"
    text = (
        f"(a, b) {listed(list(quality['dataset_label'].unique()))}, test images; {spread}; each line is one training length, "
        f"evaluation not timed. (c, d) {speed['device_name']}, {threads}: (c) network "
        f"{words(speed['network'])}, {speed['pixels']} pixels, each on its own images; (d) network {words(points['network'])}, "
        f"{points['points']} points on {points['images']} images, median and range of the rounds. (e) network "
        f"{words(plane['network'])}, {plane['weights']:,} weights."
    )
    return wrap(text, DOUBLE - 0.6, SMALL)  # hinted glyphs are wider than their outlines
