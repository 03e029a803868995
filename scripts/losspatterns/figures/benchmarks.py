"""The benchmarks: what a gap costs in image passes and in seconds, and the engine next to a plain loop.

The one idea: variants named as their recipe (paper, fast) carry the comparison and are drawn bold; the others change one
setting of a recipe and stay thin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from ..errors import InputError
from .inputs import read_options, words
from .style import DOUBLE, LINE, SMALL, listed, new_figure, place, styled, wrap, write

BOLD = {"paper": "#D55E00", "fast": "#0072B2"}  # Okabe and Ito: distinct to colour-blind eyes
THIN = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9", "0.35", "#882255")
ENGINES = {"ours": "black", "plain": "0.6"}
ENGINE_NAMES = {"ours": "this engine", "plain": "plain loop"}
REDUCED = "#0072B2"  # the engine in bfloat16
DASHED = (0, (3, 1.5))
COLUMNS = {
    "quality": ("mask", "variant", "recipe", "seed", "image_passes", "seconds", "gap", "network", "dataset_label"),
    "throughput": (
        *("device_name", "threads", "network", "batch_norm", "pixels", "images"),
        *("engine", "precision", "share_of_matmul"),
    ),
    "surfaces": ("threads", "network", "batch_norm", "engine", "evaluations_per_second", "low", "high", "points", "images"),
    "memory": ("mask", "network", "weights", "pixels", "plane_bytes", "models_bytes"),
}
LEFT, RIGHT, WIDE, HIGH = 0.55, 4.0, 2.75, 1.45  # inches: panels of the gap
BELOW, GAP = 0.4, 0.3  # inches below a panel for its axis, and above the next


def read_labels(text: str) -> dict[str, str]:
    """Variant -> what the figure calls it, in the order of the legend, from JSON text. InputError if it is anything else."""
    labels = read_options(text, allowed=["labels"], required=["labels"])["labels"]
    if not isinstance(labels, dict) or not labels or not all(isinstance(value, str) for value in labels.values()):
        raise InputError(f"--options: labels is {labels!r}; expected a mapping from variants' names to texts")
    return labels


def check_tables(labels: Mapping[str, str], **tables: pd.DataFrame) -> None:
    """InputError if a table lacks a column or rows, or has a variant without a label."""
    for name, table in tables.items():
        if missing := [column for column in COLUMNS[name] if column not in table.columns]:
            raise InputError(f"{name}: no column {', '.join(missing)}; found {', '.join(table.columns)}")
        if table.empty:
            raise InputError(f"{name}: no rows")
    if unknown := [name for name in tables["quality"]["variant"].unique() if name not in labels]:
        raise InputError(f"quality: no label for the variant {unknown[0]}; labels are for {', '.join(labels)}")


@styled
def benchmarks(
    quality: pd.DataFrame,
    throughput: pd.DataFrame,
    surfaces: pd.DataFrame,
    memory: pd.DataFrame,
    labels: Mapping[str, str],
) -> Figure:
    """Draw the four tables: a row of panels per mask, gap against passes and seconds; below, speed and memory.

    quality: rows of checkpoints; labels: variant -> text, in the order of the legend. InputError as in `check_tables`.
    """
    check_tables(labels, quality=quality, throughput=throughput, surfaces=surfaces, memory=memory)
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
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter(FuncFormatter(_short))
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.set_title(f"({letter}{row + 1 if len(masks) > 1 else ''}) {title}", loc="left")
            axes.axhline(0, color="0.8", linewidth=0.6, zorder=0)
            axes.spines[["top", "right"]].set_visible(False)
            axes.set_ylim(min(-0.02, 1.05 * curves["gap"].min()), max(0.1, 1.08 * curves["gap"].max()))
        passes.set_ylabel("test gap (white \N{MINUS SIGN} black)")
        for target in (0.2, 0.3, 0.4):
            if target < curves["gap"].max():
                for axes in (passes, seconds):
                    axes.axhline(target, color="0.9", linewidth=0.5, zorder=0)
    _draw_share(place(figure, LEFT + 0.1, lower, 1.6, 1.35), throughput)
    _draw_surfaces(place(figure, LEFT + 2.3, lower, 1.6, 1.35), surfaces)
    _draw_memory(place(figure, LEFT + 4.6, lower, 1.6, 1.35), memory)
    for k, line in enumerate(small):
        write(figure, 0.1, lower + 1.35 + 0.55 + k * LINE, line, ha="left", fontsize=SMALL)
    return figure


def _line_styles(quality: pd.DataFrame, labels: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """How each variant that was run is drawn, in the order of the labels."""
    found = set(quality["variant"])
    own = {name for name, recipe in zip(quality["variant"], quality["recipe"], strict=True) if name == recipe}
    thin = [name for name in labels if name in found - own]
    looks = [{"color": colour, "linestyle": line} for line in ("-", DASHED) for colour in THIN]
    if len(thin) > len(looks):
        raise InputError(f"quality: {len(thin)} variants beside the recipes; the figure has looks for {len(looks)}")
    thin_looks = dict(zip(thin, looks, strict=False))
    return {
        name: {"color": BOLD.get(name, "black"), "linewidth": 1.8, "zorder": 4}
        if name in own
        else {**thin_looks[name], "linewidth": 0.8, "zorder": 3}
        for name in labels
        if name in found
    }


def _draw_gap(axes: Axes, rows: pd.DataFrame, cost: str, style: Mapping[str, Any]) -> None:
    """Mean over the seeds at each checkpoint, and a band from the lowest to the highest seed."""
    if rows.empty:
        return
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
    axes.set_xticks(sorted(rows["images"].unique()), labels=[str(count) for count in sorted(rows["images"].unique())])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.3g}%"))
    axes.margins(x=0.1)
    axes.set_title("(c) training", loc="left")
    axes.spines[["top", "right"]].set_visible(False)
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
    top = rows["high"].max()
    axes.set(ylim=(0, 1.4 * top), ylabel="points \N{MULTIPLICATION SIGN} images\nper second")
    axes.set_xticks(range(len(kinds)), labels=["with\nbatch norm" if normed else "no\nbatch norm" for normed in kinds])
    axes.yaxis.set_major_formatter(FuncFormatter(_short))
    axes.set_xlim(-0.6, len(kinds) - 0.4)
    axes.set_title("(d) surfaces", loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    handles = [Line2D([], [], color=colour, linewidth=4, label=ENGINE_NAMES[name]) for name, colour in ENGINES.items()]
    axes.legend(handles=handles, loc="upper left", borderaxespad=0.1, handlelength=1, labelspacing=0.25)


def _draw_memory(axes: Axes, rows: pd.DataFrame) -> None:
    rows = rows.drop_duplicates("pixels").sort_values("pixels")
    megabytes = rows[["models_bytes", "plane_bytes"]] / 1e6
    axes.plot(rows["pixels"], megabytes["models_bytes"], color=ENGINES["plain"], marker="o", markersize=3)
    axes.plot(rows["pixels"], megabytes["plane_bytes"], color=ENGINES["ours"], marker="o", markersize=3)
    axes.set(xscale="log", yscale="log", xlabel="trained pixels of a picture", ylabel="megabytes")
    low, high = megabytes.to_numpy().min(), megabytes.to_numpy().max()
    axes.set_ylim(low / 3, high * 6)
    axes.margins(x=0.12)
    middle = len(rows) // 2
    at = rows["pixels"].iloc[middle]
    axes.annotate("a plane", (at, low), (0, -10), textcoords="offset points", ha="center", fontsize=SMALL)
    text = "one model per pixel"
    axes.annotate(text, (0.03, 0.93), xycoords="axes fraction", color="0.45", ha="left", fontsize=SMALL)
    ticks = _spaced(rows["pixels"].tolist())
    axes.set_xticks(ticks, labels=[str(tick) for tick in ticks])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(_short))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_title("(e) memory", loc="left")
    axes.spines[["top", "right"]].set_visible(False)


def _short(value: float, _: object = None) -> str:
    """A number as it is read: 50, 20k, 1M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _spaced(values: Sequence[int]) -> list[int]:
    """The values whose labels have room on a logarithmic axis: each at least 1.5 times the one before."""
    kept: list[int] = []
    for value in values:
        if not kept or value >= 1.5 * kept[-1]:
            kept.append(value)
    return kept


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
