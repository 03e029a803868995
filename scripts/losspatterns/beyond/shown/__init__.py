"""What the parts found, one module per kind: table, verdict, figure. Here is what these have in common.

The one idea: a number stands with its interval over seeds, and a verdict's words follow from the side of a value on which the
whole interval lies.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from ...analysis.statistics import interval
from ...figures.style import DOUBLE, SMALL, new_figure

Surfaces = Sequence[tuple[xr.Dataset, Mapping[str, Any]]]
CONTROLS = {"trained": "trained", "untrained": "untrained", "shuffled": "trained"}  # and the stage that is scored


class Mean(NamedTuple):
    """A mean over seeds, or a slope, and the ends of its 95 % interval; NaN ends for a single seed."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, values: pd.Series) -> "Mean":
        """Of a value for each seed."""
        return cls(*interval(values))

    @classmethod
    def at(cls, row: Any, quantity: str) -> "Mean":
        """Of a quantity in a row of `over_seeds`."""
        return cls(row[quantity], row[f"{quantity}_low"], row[f"{quantity}_high"])

    def says(self, above: str, below: str, neither: str = "not told apart", value: float = 0.0) -> str:
        """One of these words, by the side of `value` on which the whole interval lies."""
        return above if self.low > value else below if self.high < value else neither

    def text(self, digits: int = 2, signed: bool = False) -> str:
        """As pages have it: 0.61 [0.55, 0.67], or without ends that are not known."""
        mean, low, high = (number(value, digits, signed) for value in self)
        return mean if math.isnan(self.low) else f"{mean} [{low}, {high}]"


def number(value: float, digits: int = 2, signed: bool = False) -> str:
    """A number with a true minus sign."""
    shown = f"{value:{'+' if signed else ''}.{digits}f}"
    return shown.replace("-", "\N{MINUS SIGN}").replace("inf", "\N{INFINITY}").replace("nan", "unknown")


def over_seeds(rows: pd.DataFrame, by: Sequence[str], quantities: Sequence[str]) -> pd.DataFrame:
    """A row for each group of the columns `by`, in their order: `seeds`; of each quantity its mean over seeds, and as
    <quantity>_low and <quantity>_high the ends of its 95 % interval. Pictures and networks of one seed are averaged first."""
    seeds = rows.groupby([*by, "seed"], sort=False, dropna=False)[list(quantities)].mean()
    groups = seeds.groupby(list(by), sort=False, dropna=False)
    found = {"seeds": groups.size()}
    for quantity in quantities:
        means = groups[quantity].agg(interval)
        found |= {f"{quantity}{end}": means.str[k] for k, end in enumerate(("", "_low", "_high"))}
    return pd.DataFrame(found).reset_index()


def panels(height: float, rows: int, columns: int, titles: Sequence[str] = (), **settings: Any) -> tuple[Figure, np.ndarray]:
    """A figure two columns wide and so many inches high, and its axes (rows, columns), with these titles side by side."""
    figure = new_figure(DOUBLE, height)
    figure.set_layout_engine("constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **settings)
    for one, title in zip_longest(axes.flat, titles):
        one.set_title(title, loc="left")
        one.spines[["top", "right"]].set_visible(False)
    return figure, axes


def draw_mean(axes: Axes, table: pd.DataFrame, against: str, quantity: str, **look: Any) -> None:
    """A quantity of `over_seeds` against a column, and its interval as a band."""
    axes.plot(table[against], table[quantity], **look)
    ends = table[f"{quantity}_low"], table[f"{quantity}_high"]
    axes.fill_between(table[against], *ends, color=look["color"], alpha=0.14, linewidth=0)


def legend(figure: Figure, axes: Sequence[Axes], note: str = "") -> None:
    """What is drawn in these axes, each once, below the panels; above it a note."""
    named = [pair for one in axes for pair in zip(*one.get_legend_handles_labels(), strict=True)]
    handles = {label: handle for handle, label in named}
    place = {"loc": "outside lower center", "ncols": len(handles), "columnspacing": 1.4}
    figure.legend(handles.values(), handles.keys(), title=note, title_fontsize=SMALL, **place)


def log_ticks(axis: Axis, base: float = 10, subs: Sequence[float] = (1, 3), written: Any = "{x:g}") -> None:
    """Ticks of a logarithmic axis at these multiples of the base's powers."""
    axis.set_major_locator(LogLocator(base, subs))
    axis.set_major_formatter(written)
    axis.set_minor_locator(NullLocator())
