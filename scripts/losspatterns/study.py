"""The batch norm study in numbers: every protocol, means over seeds, and differences to the first network with intervals.

A difference is taken seed by seed (the same mask and seed of both networks), so its interval is that of paired samples:
mean +- t * sd / sqrt(n), 95 %, Student's t with n - 1 degrees of freedom; with one seed there is none.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from scipy import stats

from .figures.fill_probability import select_runs
from .specs import BN_PROTOCOLS

QUANTITIES = ("accuracy_gap", "accuracy_white", "accuracy_black", "tv")
COLUMNS = [
    *("bn_protocol", "probability", "network", "quantity", "seeds", "mean", "sd"),
    *("difference", "difference_low", "difference_high"),
]


def interval(values: pd.Series) -> tuple[float, float, float]:
    """Mean and the ends of its 95 % interval; NaN ends for a single value."""
    mean, count = float(values.mean()), len(values)
    if count < 2:
        return mean, float("nan"), float("nan")
    half = float(stats.t.ppf(0.975, count - 1) * values.std() / count**0.5)
    return mean, mean - half, mean + half


def study_table(
    scores: pd.DataFrame, dataset: str, networks: Sequence[str], masks: Sequence[str], seeds: Sequence[int]
) -> pd.DataFrame:
    """A row per protocol found, probability, network and quantity (gap, accuracies, total variation); arguments as in
    `select_runs`. `difference`: to the first of `networks`, which is compared under each protocol if it has none itself."""
    found = set(scores.loc[(scores["control"] == "trained") & scores["network"].isin(networks), "bn_protocol"])
    rows = []
    for protocol in [name for name in BN_PROTOCOLS if name in found] or ["none"]:
        runs = select_runs(scores, dataset, networks, masks, seeds, protocol)
        for probability, group in runs.groupby("probability"):
            by_network = {network: part.set_index(["mask", "seed"]) for network, part in group.groupby("network")}
            first = by_network[networks[0]]
            for network in networks:
                for quantity in QUANTITIES:
                    values = by_network[network][quantity]
                    row = (protocol, probability, network, quantity, len(values), values.mean(), values.std())
                    rows.append((*row, *interval(values - first[quantity])))
    return pd.DataFrame(rows, columns=COLUMNS)
