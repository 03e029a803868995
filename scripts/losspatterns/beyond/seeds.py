"""Numbers over seeds: means and their intervals, and how verdicts write them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..analysis.study import interval

if TYPE_CHECKING:
    import pandas as pd


def over_seeds(rows: pd.DataFrame, by: Sequence[str], quantities: Sequence[str]) -> pd.DataFrame:
    """A row for each group of the columns `by`, in their order: `seeds`; of each quantity its mean over seeds, and as
    <quantity>_low and <quantity>_high the ends of its 95 % interval. Pictures and networks of one seed are averaged first."""
    import pandas as pd

    found: list[dict[str, Any]] = []
    for group, of in rows.groupby(list(by), sort=False, dropna=False):
        seeds = of.groupby("seed")[list(quantities)].mean()
        row = dict(zip(by, group, strict=True)) | {"seeds": len(seeds)}
        for quantity in quantities:
            row |= zip((quantity, f"{quantity}_low", f"{quantity}_high"), interval(seeds[quantity]), strict=True)
        found.append(row)
    return pd.DataFrame(found)


def side_of(row: Any, quantity: str, value: float = 0.0) -> int:
    """On which side of `value` a quantity's whole interval lies: 1 above, -1 below, 0 not told apart from it."""
    return int(row[f"{quantity}_low"] > value) - int(row[f"{quantity}_high"] < value)


def written(row: Any, quantity: str, digits: int = 2, signed: bool = False) -> str:
    """A quantity and its interval, as `told` has it."""
    return told((row[quantity], row[f"{quantity}_low"], row[f"{quantity}_high"]), digits, signed)


def told(values: Sequence[float], digits: int = 2, signed: bool = False) -> str:
    """A mean and the ends of its interval, if they are known: 0.61 (0.55 to 0.67)."""
    mean, low, high = (f"{value:{'+' if signed else ''}.{digits}f}".replace("-", "\N{MINUS SIGN}") for value in values)
    return mean if math.isnan(values[1]) else f"{mean} ({low} to {high})"
