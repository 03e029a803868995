"""The batch norm study in numbers: every protocol, means over runs, and differences to the first network with intervals.

A difference is taken run by run (the same mask and seed of both networks), so its interval is that of paired samples:
mean +- t * sd / sqrt(n), 95 %, Student's t with n - 1 degrees of freedom; with one run there is none. A probability may
have several masks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ..errors import InputError
from ..settings import BN_PROTOCOLS, NO_BATCH_NORM

QUANTITIES = ("accuracy_gap", "accuracy_white", "accuracy_black", "tv")
TABLE = [
    *("study", "bn_protocol", "probability", "network", "quantity", "runs", "mean", "sd"),
    *("difference", "difference_low", "difference_high"),
]

PAPER = pd.DataFrame(  # read off the published curves at p = 0.5, test
    {"accuracy_gap": (0.44, 0.39, 0.47), "accuracy_white": (0.77, 0.81, 0.78), "accuracy_black": (0.33, 0.42, 0.31)},
    index=["plain", "batch norm", "residual"],
)


def select_runs(
    scores: pd.DataFrame,
    dataset: str,
    networks: Sequence[str],
    runs: Sequence[tuple[str, int]],
    bn_protocol: str,
) -> pd.DataFrame:
    """The test rows of trained planes, one per network and run; networks without batch norm have the protocol none.

    runs: mask and seed of each; bn_protocol: that of all networks with batch norm. InputError names the first missing run.
    """
    trained = scores[(scores["dataset"] == dataset) & (scores["split"] == "test") & (scores["control"] == "trained")]
    chosen = []
    for network in networks:
        rows = trained[trained["network"] == network]
        protocol = NO_BATCH_NORM if NO_BATCH_NORM in set(rows["bn_protocol"]) else bn_protocol
        for mask, seed in runs:
            found = rows[(rows["mask"] == mask) & (rows["seed"] == seed) & (rows["bn_protocol"] == protocol)]
            run = f"dataset {dataset}, mask {mask}, network {network}, seed {seed}, protocol {protocol}"
            if len(found) != 1:
                raise InputError(f"scores: found {len(found)} test rows of a trained plane for {run}; expected one")
            chosen.append(found)
    return pd.concat(chosen, ignore_index=True)


def interval(values: pd.Series) -> tuple[float, float, float]:
    """Mean and the ends of its 95 % interval; NaN ends for a single value."""
    from scipy.stats import t  # its import takes more than a second

    half = t.ppf(0.975, len(values) - 1) * values.sem()
    return float(values.mean()), float(values.mean() - half), float(values.mean() + half)


def study_table(
    scores: pd.DataFrame, name: str, dataset: str, networks: Sequence[str], runs: Sequence[tuple[str, int]]
) -> pd.DataFrame:
    """A row per protocol found, probability, network and quantity (gap, accuracies, total variation) of the study `name`.

    Other arguments as in `select_runs`. `difference`: to the first of `networks`, which is compared under each protocol if it
    has none itself.
    """
    its_own = scores["network"].isin(networks) & scores["mask"].isin([mask for mask, _ in runs])
    found = set(scores.loc[(scores["control"] == "trained") & its_own, "bn_protocol"])
    rows = []
    for protocol in [protocol for protocol in BN_PROTOCOLS if protocol in found] or [NO_BATCH_NORM]:
        chosen = select_runs(scores, dataset, networks, runs, protocol)
        for probability, group in chosen.groupby("probability"):
            by_network = {network: part.set_index(["mask", "seed"]) for network, part in group.groupby("network")}
            first = by_network[networks[0]]
            for network in networks:
                for quantity in QUANTITIES:
                    values = by_network[network][quantity]
                    row = (name, protocol, probability, network, quantity, len(values), values.mean(), values.std())
                    rows.append((*row, *interval(values - first[quantity])))
    return pd.DataFrame(rows, columns=TABLE)


def study_tables(scores: pd.DataFrame, studies: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The tables of all studies (the other arguments of `study_table`), one below the other."""
    tables = [study_table(scores, **study) for study in studies]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=TABLE)
