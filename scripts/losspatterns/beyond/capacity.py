"""Capacity: how much picture does a network hold? Passes to a gap, and the largest gap, against pixels, weights and detail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from ..errors import InputError
from ..settings import Fraction, Many, PartOptions, Several
from . import Needs

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..analysis.censored import Line
    from ..runs import Run, Runs

    Surfaces = Sequence[tuple[xr.Dataset, Mapping[str, Any]]]

CAPTION = """\
**Capacity.** Above: image passes to the gap; below: the largest gap of a training (the state is chosen on the validation
split, its gap is of test images). (a) Random pictures of several sizes. (b) Networks of several sizes, on one random picture a
seed. (c) Chessboards of more and more cells on the same pixels. (d) A picture, and its pixels in random order. A point is one
training; a triangle, one that did not reach the gap. Lines: fits that count those too, with their exponents (above) and slopes
per tenfold (below), and 95 % intervals. Grey: the gap of a shuffled mask.
"""
# A comparison -> what it is made against: the column of the table, and the words for it.
AGAINST = {
    "pixels": ("trained_pixels", "trained pixels"),
    "weights": ("weights", "weights"),
    "frequency": ("cells", "cells per side"),
    "order": ("permuted", "pixels in random order"),
}
SIDES = {0: "reached", 1: "not reached", -1: "at most"}  # what `passes` is: to the gap; all there were; to the first look
MINUS, INFINITY, TIMES = "\N{MINUS SIGN}", "\N{INFINITY}", "\N{MULTIPLICATION SIGN} "
Masks = Several[str]
OF_MASKS = "One mask, or one for each seed of the experiment."


class Options(PartOptions):
    """An experiment that evaluates its snapshots on the validation and the test split, and which of its planes are compared."""

    experiment: str = Field(description="The experiment's name.")
    network: str = Field(description="The network of all comparisons but that of weights.")
    gap: Fraction = Field(0.4, description="The accuracy gap to reach.")
    pixels: Many[Masks] = Field(min_length=2, description=f"Random pictures, a list for each size. {OF_MASKS}")
    weights: Masks = Field(description=f"A picture that is trained on every network. {OF_MASKS}")
    frequency: Many[Masks] = Field(
        min_length=2, description=f"Chessboards (kind grid, ternary: false), a list for each. {OF_MASKS}"
    )
    order: Many[Masks] = Field(min_length=2, max_length=2, description=f"A picture, and the same with `permuted`. {OF_MASKS}")

    def points(self, comparison: str) -> list[tuple[str, ...]]:
        """The masks of each point of a comparison."""
        return [self.weights] if comparison == "weights" else list(getattr(self, comparison))

    def compares(self, comparison: str, mask: str, network: str) -> bool:
        """Whether a plane is part of a comparison."""
        known = any(mask in masks for masks in self.points(comparison))
        return known and (comparison == "weights" or network == self.network)


def needs(options: Options, key: str, runs: Runs) -> Needs:
    """The surfaces of all snapshots. InputError for masks that fit no seed or comparison, and surfaces that lack a look."""
    chosen: dict[str, Run] = {}
    for comparison in AGAINST:
        for number, masks in enumerate(options.points(comparison)):
            at = f"{key}.{comparison}" + f"[{number}]" * (comparison != "weights")
            found = [run for mask in masks for run in runs.pictures(at, options.experiment, mask)]
            runs.picture(f"{key}.network", options.experiment, masks[0], options.network)
            seeds = list(dict.fromkeys(run.seed for run in found))
            if len(masks) not in (1, len(seeds)):
                raise InputError(f"{at}: found {len(masks)} masks, expected 1, or {len(seeds)}: one for each seed")
            for mask in masks:
                entry = runs.masks[mask]
                if comparison == "frequency" and (entry.kind != "grid" or entry.ternary):
                    raise InputError(f"{at}: found {mask!r}, expected kind: grid, ternary: false: equally many trained pixels")
                if comparison != "order":
                    continue
                if (entry.permuted is not None) != bool(number):
                    expected = "one with `permuted`" if number else "a picture that is not permuted"
                    raise InputError(f"{at}: found {mask!r}, expected {expected}")
                base = options.order[0][0]
                if entry.model_copy(update={"permuted": None}) != runs.masks[base]:
                    raise InputError(f"{at}: found {mask!r}, expected the picture {base!r}, but for `permuted`")
            of_seed = dict(zip(seeds, masks * len(seeds), strict=False))
            for run in found:
                if run.mask == of_seed[run.seed] and options.compares(comparison, run.mask, run.network):
                    chosen[run.path] = run
    for run in chosen.values():
        for split in ("validation", "test"):
            run.has(key, split, run.protocols[0])
        if not run.surface.snapshots or not run.snapshots:
            found = f"found snapshots: {run.snapshots}, surface.snapshots: {str(run.surface.snapshots).lower()}"
            raise InputError(f"{run.experiment}: {found}, but {key} needs states during training, evaluated: 8 and true")
    return Needs(surfaces=list(chosen.values()))


def passes_to(gap: float, passes: np.ndarray, gaps: np.ndarray) -> tuple[float, str]:
    """Image passes at which a curve first reaches the gap, interpolated in their logarithm, and which of SIDES that is.

    passes (K,) ascending from 0, gaps (K,).
    """
    reached = np.flatnonzero(gaps >= gap)
    if len(reached) == 0:
        return float(passes[-1]), SIDES[1]
    k = int(reached[0])
    if k < 2:
        return float(passes[1]), SIDES[-1]
    share = (gap - gaps[k - 1]) / (gaps[k] - gaps[k - 1])
    return float(passes[k - 1] * (passes[k] / passes[k - 1]) ** share), SIDES[0]


def look_at(options: Options, data: xr.Dataset, made_by: Mapping[str, Any]) -> dict[str, Any]:
    """What one training came to: its columns of the table."""
    from ..analysis.scores import shuffled
    from ..networks.flat import FlatNetwork
    from ..networks.modules import build
    from ..settings import parse_network

    mask = data["mask"].values
    places = {"row": np.arange(mask.shape[0]), "column": np.arange(mask.shape[1])}
    accuracy = data["accuracy"].isel(protocol=0).sel(places)

    def gaps(split: str, mask: np.ndarray) -> np.ndarray:
        of_stage = accuracy.sel(split=split).values
        return of_stage[:, mask == 1].mean(1) - of_stage[:, mask == -1].mean(1)

    test = gaps("test", mask)
    best = 1 + int(gaps("validation", mask)[1:].argmax())
    passes, side = passes_to(options.gap, data["image_passes"].values, test)
    network = build(parse_network("network", made_by["network"]), made_by["image_shape"], made_by["classes"])
    entry = made_by["mask"]
    return {
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
    import pandas as pd

    names = [(facts["mask"]["name"], facts["network"]["name"], facts["seed"]) for _, facts in surfaces]
    looks = [look_at(options, *surface) for surface in surfaces]
    rows = [
        {"comparison": comparison, "mask": mask, "network": network, "seed": seed, **look}
        for comparison in AGAINST
        for (mask, network, seed), look in zip(names, looks, strict=True)
        if options.compares(comparison, mask, network)
    ]
    for row in rows:
        row["against"] = row[AGAINST[row["comparison"]][0]]
    order = list(AGAINST)
    return pd.DataFrame(
        sorted(rows, key=lambda row: (order.index(row["comparison"]), row["against"], row["mask"], row["seed"]))
    )


def fitted(table: pd.DataFrame, comparison: str) -> tuple[Line, Line]:
    """The lines of log10 passes and of the largest gap against log10 of the comparison's column (of `order`: 0 and 1)."""
    from ..analysis.censored import fit_line

    rows = table[table["comparison"] == comparison]
    x = rows["against"] if comparison == "order" else np.log10(rows["against"])
    side = rows["side"].map({word: number for number, word in SIDES.items()})
    return fit_line(x, np.log10(rows["passes"]), side), fit_line(x, rows["largest_gap"], 0 * side)


def _number(value: float) -> str:
    return f"{value:.2f}".replace("-", MINUS).replace("inf", INFINITY)


def interval_text(line: Line, ratio: bool = False) -> str:
    """A slope and its interval, or what ten to their power is; of a line that cannot be told: no fit."""
    if np.isnan(line.slope):
        return "no fit"
    slope, low, high = (10.0**value if ratio else value for value in (line.slope, line.low, line.high))
    return f"{_number(slope)} [{_number(low)}, {_number(high)}]"


def _told(line: Line, rising: str, falling: str) -> str:
    """Which way a slope goes, if its interval says it."""
    if np.isnan(line.slope):
        return "no line can be fitted"
    return rising if line.low > 0 else falling if line.high < 0 else "not told apart from no change"


def sentences(table: pd.DataFrame) -> list[str]:
    """What each comparison says."""
    said = []
    for comparison, (_, words) in AGAINST.items():
        passes, gap = fitted(table, comparison)
        rising = "more passes, more than in proportion" if comparison != "order" and passes.low > 1 else "more passes"
        rows = table[table["comparison"] == comparison]
        missed = int((rows["side"] == SIDES[1]).sum())
        known = f"{missed} of {len(rows)} trainings did not reach the gap" if missed else "all trainings reached the gap"
        if comparison == "order":
            first = f"Passes with {words}, as a multiple of the picture's own: {interval_text(passes, ratio=True)}"
            second = f"largest gap, difference: {interval_text(gap)}"
        else:
            first = f"Passes as a power of {words}: exponent {interval_text(passes)}"
            second = f"largest gap, change per tenfold: {interval_text(gap)}"
        said.append(
            f"**{comparison.capitalize()}.** {first} ({_told(passes, rising, 'fewer passes')}); "
            f"{second} ({_told(gap, 'a larger gap', 'a smaller gap')}); {known}."
        )
    return said


def thin_lines(table: pd.DataFrame) -> str:
    """Whether a picture of many edges takes longer, by chessboards and by permuted pixels."""
    lines = [fitted(table, comparison)[0] for comparison in ("frequency", "order")]
    longer = [line.low > 0 for line in lines]  # no: also where there is no line
    if all(longer):
        return "Pictures with thin lines and many edges take longer: finer chessboards do, and so do permuted pixels."
    if not any(longer):
        return "That pictures with thin lines and many edges take longer is not seen here."
    found, other = ("finer chessboards", "permuted pixels") if longer[0] else ("permuted pixels", "finer chessboards")
    return f"Of pictures with thin lines and many edges, {found} take longer; for {other} that is not seen here."


def verdict(options: Options, table: pd.DataFrame) -> str:
    """A row for each point of each comparison, and what the fits say."""
    from ..analysis.claims import markdown
    from ..analysis.study import interval

    head = ("", "network", "trained pixels", "runs", "reached", "passes (median)", "largest gap", "untrained", "shuffled mask")
    lines = []
    for (comparison, against, pixels), rows in table.groupby(["comparison", "against", "trained_pixels"], sort=False):
        words = AGAINST[comparison][1]
        pictures = (f"the picture, {rows['mask'].iloc[0]}", f"its {words}")
        name = pictures[int(against)] if comparison == "order" else f"{against:,.0f} {words}"
        reached = int((rows["side"] != SIDES[1]).sum())
        median = f"{rows['passes'].median():,.0f}" if 2 * reached > len(rows) else f"> {rows['all_passes'].median():,.0f}"
        mean, low, high = interval(rows["largest_gap"])
        gap = _number(mean) + (f" [{_number(low)}, {_number(high)}]" if np.isfinite(low) else "")
        controls = [_number(rows[name].mean()) for name in ("untrained_gap", "shuffled_gap")]
        network = " ".join(dict.fromkeys(rows["network"]))
        lines.append([name, network, pixels, len(rows), reached, median, gap, *controls])
    notes = (
        f"Passes to a test gap of {options.gap:g}. Intervals are 95 %: of a mean over seeds (t), of a slope by its likelihood, "
        "in which trainings that did not reach the gap count as longer than they were. All looks at a training are of one "
        "training, whose learning rate falls until its end: they are not finished trainings. The networks are small, and the "
        "objective is that of the recipe `fast`, not the paper's."
    )
    return "\n".join(
        [markdown(head, lines), *(f"* {text}" for text in sentences(table)), "", f"**{thin_lines(table)}**", "", notes, ""]
    )


def draw(options: Options, table: pd.DataFrame, surfaces: Surfaces) -> Figure:
    """A column for each comparison: passes to the gap above, the largest gap below."""
    from matplotlib.lines import Line2D

    from ..figures.style import DOUBLE, new_figure, place

    figure = new_figure(DOUBLE, 4.1)
    height, floor = (0.9 * table["passes"].min(), 1.15 * table["all_passes"].max()), min(0, table["shuffled_gap"].min())
    for number, comparison in enumerate(AGAINST):
        rows = table[table["comparison"] == comparison]
        left = 0.55 + 1.61 * number
        above, below = (place(figure, left, top, 1.34, 1.25) for top in (0.42, 2.14))
        passes, gap = fitted(table, comparison)
        ratio = comparison == "order"
        power = TIMES if ratio else "exponent "
        title = f"({'abcd'[number]}) {comparison}\n{power}{interval_text(passes, ratio)}"
        above.set_title(title, loc="left", fontsize=6.5)
        below.set_title(f"{'difference' if ratio else 'slope'} {interval_text(gap)}", loc="left", fontsize=6.5)
        _points(above, rows, "passes", passes, ratio)
        _points(below, rows, "largest_gap", gap, ratio)
        control = rows.groupby("against")["shuffled_gap"].mean()
        below.plot(control.index, control, color="0.6", lw=1.1, zorder=1)
        below.axhline(options.gap, color="0.25", lw=0.6, ls=":")
        above.set(yscale="log", ylim=height)
        below.set(ylim=(floor - 0.03, 1.08 * table["largest_gap"].max()))
        for axes in (above, below):
            _scale(axes, rows, ratio, number == 0)
        below.set_xlabel("" if ratio else AGAINST[comparison][1])
        if number == 0:
            above.set_ylabel(f"passes to a gap of {options.gap:g}")
            below.set_ylabel("largest gap")
    looks = {"linestyle": "", "color": "#0072B2", "markersize": 4}
    handles = [
        Line2D([], [], marker="o", **looks, label="a training"),
        Line2D([], [], marker="^", mfc="white", **looks, label="gap not reached: more passes"),
        Line2D([], [], color="#D55E00", label="fit"),
        Line2D([], [], color="0.6", label="shuffled mask"),
        Line2D([], [], color="0.25", lw=0.6, ls=":", label="the gap to reach"),
    ]
    figure.legend(handles=handles, loc="center", bbox_to_anchor=(0.5, 0.035), ncols=len(handles), columnspacing=1.4)
    return figure


def _points(axes: Axes, rows: pd.DataFrame, column: str, line: Line, linear: bool) -> None:
    """Every training, and the line."""
    beside = rows.groupby("against")["seed"].rank() - (rows.groupby("against")["seed"].transform("size") + 1) / 2
    x = rows["against"] + 0.06 * beside if linear else rows["against"] * (1 + 0.03 * beside)
    for (_, row), at in zip(rows.iterrows(), x, strict=True):
        missed = column == "passes" and row["side"] != SIDES[0]
        marker = {SIDES[1]: "^", SIDES[-1]: "v"}.get(row["side"], "o") if missed else "o"
        face = "white" if missed else "#0072B2"
        axes.plot(at, row[column], marker, color="#0072B2", mfc=face, markersize=3.2, mew=0.8, zorder=3)
    if not np.isnan(line.slope):
        ends = np.array([rows["against"].min(), rows["against"].max()])
        values = line.intercept + line.slope * (ends if linear else np.log10(ends))
        axes.plot(ends, 10**values if column == "passes" else values, color="#D55E00", zorder=2)


def _short(value: float) -> str:
    return f"{value:.0f}" if value < 1000 else f"{value / 1000:.0f}k"


def _scale(axes: Axes, rows: pd.DataFrame, linear: bool, first: bool) -> None:
    """Ticks where points are."""
    from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

    values = sorted(set(rows["against"]))
    if linear:
        axes.set(xlim=(-0.5, 1.5))
        axes.set_xticks([0, 1], labels=["picture", "permuted"])
    else:
        axes.set(xscale="log", xlim=(values[0] / 1.3, values[-1] * 1.3))
        axes.set_xticks(values, labels=[_short(value) for value in values])
        axes.xaxis.set_minor_locator(NullLocator())
    if axes.get_yscale() == "log":
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
        axes.yaxis.set_major_formatter(lambda value, _: _short(value))
        axes.yaxis.set_minor_locator(NullLocator())
    if not first:
        axes.yaxis.set_major_formatter(NullFormatter())
    axes.spines[["top", "right"]].set_visible(False)
