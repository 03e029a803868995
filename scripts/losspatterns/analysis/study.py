"""A study in numbers: means over its squares, and differences between networks with intervals and tests.

Networks are compared square by square (the same mask, seed, initialisation and images), so differences are paired: mean
+- t * sd / sqrt(n), 95 %, and a permutation test that flips the differences' signs. They are compared at equal image passes,
and where both have come equally far: at the objective's value that the one behind ends with (`at`: objective). The primary
comparison is set before anything is run: gap and white accuracy of batch norm minus plain, at the largest budget, pooled over
all probabilities, under the protocol `batch`. All others are secondary, and their p-values are corrected together (Holm).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..errors import InputError
from ..settings import BN_PROTOCOLS, NO_BATCH_NORM

QUANTITIES = ("accuracy_gap", "accuracy_white", "accuracy_black", "tv", "objective")
PRIMARY = ("accuracy_gap", "accuracy_white")
POOLED = "all"  # in place of a probability
TABLE = [
    *("study", "bn_protocol", "probability", "network", "quantity", "at", "image_passes", "runs", "mean", "sd"),
    *("difference", "difference_low", "difference_high", "p_permutation", "p_holm", "primary"),
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
    curves: bool = False,
) -> pd.DataFrame:
    """The test rows of trained planes, one per network and run; networks without batch norm have the protocol none.

    runs: mask and seed of each; bn_protocol: that of all networks with batch norm. With `curves` also those of the planes
    before and during training, in the order of `image_passes`, numbered in the column `look` from 0 on. InputError names the
    first missing run.
    """
    kinds = ["untrained", "snapshot", "trained"] if curves else ["trained"]
    rows = scores[(scores["dataset"] == dataset) & (scores["split"] == "test") & scores["control"].isin(kinds)]
    chosen = []
    for network in networks:
        of = rows[rows["network"] == network]
        protocol = NO_BATCH_NORM if NO_BATCH_NORM in set(of["bn_protocol"]) else bn_protocol
        for mask, seed in runs:
            found = of[(of["mask"] == mask) & (of["seed"] == seed) & (of["bn_protocol"] == protocol)]
            trained = int((found["control"] == "trained").sum())
            if trained != 1:
                run = f"dataset {dataset}, mask {mask}, network {network}, seed {seed}, protocol {protocol}"
                raise InputError(f"scores: found {trained} test rows of a trained plane for {run}; expected one")
            chosen.append(found.sort_values("image_passes").assign(look=range(len(found))))
    return pd.concat(chosen, ignore_index=True)


def interval(values: pd.Series) -> tuple[float, float, float]:
    """Mean and the ends of its 95 % interval; NaN ends for a single value."""
    from scipy.stats import t  # its import takes more than a second

    half = t.ppf(0.975, len(values) - 1) * values.sem()
    return float(values.mean()), float(values.mean() - half), float(values.mean() + half)


def permutation_p(differences: pd.Series) -> float:
    """Two-sided p-value of a mean difference of zero, by flipping signs of the paired differences; NaN for fewer than two."""
    from scipy.stats import permutation_test

    if len(differences) < 2 or not differences.any():
        return float("nan")
    found = permutation_test((differences.to_numpy(),), np.mean, permutation_type="samples", vectorized=True, rng=0)
    return float(found.pvalue)


def at_objective(curve: pd.DataFrame, objective: float) -> pd.Series:
    """QUANTITIES of one run's curve (rows by image passes) where its objective first reaches this value, interpolated."""
    values = curve[[*QUANTITIES, "image_passes"]].reset_index(drop=True)
    k = int((values["objective"] <= objective).to_numpy().argmax())
    if k == 0:
        return values.loc[0]
    before, after = values.loc[k - 1], values.loc[k]
    return before + (after - before) * (before["objective"] - objective) / (before["objective"] - after["objective"])


def equally_far(one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """The second of two curves' quantities, where both are equally far, minus those of the first; by mask and seed."""
    differences = {}
    for run, curve in other.groupby(["mask", "seed"]):
        first = one[(one["mask"] == run[0]) & (one["seed"] == run[1])]
        reached = max(curve["objective"].min(), first["objective"].min())
        differences[run] = at_objective(curve, reached) - at_objective(first, reached)
    return pd.DataFrame(differences).T


def numbers(quantity: str, values: pd.Series, differences: pd.Series) -> dict[str, Any]:
    """The columns of TABLE that follow from a quantity's values and their paired differences."""
    ends = dict(zip(("difference", "difference_low", "difference_high"), interval(differences), strict=True))
    return {"quantity": quantity, "runs": len(differences), "mean": values.mean(), "sd": values.std(), **ends}


def at_equal_passes(first: pd.DataFrame, own: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """A row for each look of a network's curves and each quantity; tested at the last look."""
    for look, these in own.groupby("look"):
        base = first[first["look"] == look].set_index(["mask", "seed"])
        by_run = these.set_index(["mask", "seed"])
        for quantity in QUANTITIES:
            differences = by_run[quantity] - base[quantity]
            row = numbers(quantity, by_run[quantity], differences)
            tested = {"p_permutation": permutation_p(differences)} if look == own["look"].max() else {}
            yield {**row, "at": "passes", "image_passes": by_run["image_passes"].mean(), **tested}


def at_equal_objective(first: pd.DataFrame, own: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """A row for each quantity, where a network's curve and that of `first` are equally far."""
    differences = equally_far(first, own)
    for quantity in QUANTITIES[:-1]:
        row = numbers(quantity, pd.Series(dtype=float), differences[quantity])
        yield {**row, "at": "objective", "p_permutation": permutation_p(differences[quantity])}


def study_table(
    scores: pd.DataFrame, name: str, dataset: str, networks: Sequence[str], runs: Sequence[tuple[str, int]]
) -> pd.DataFrame:
    """Of the study `name` a row per protocol found, probability (and all pooled), network, quantity and look of the curve.

    Other arguments as in `select_runs`. `difference`: to the first of `networks`, which is compared under each protocol if it
    has none itself.
    """
    from statsmodels.stats.multitest import multipletests

    its_own = scores["network"].isin(networks) & scores["mask"].isin([mask for mask, _ in runs])
    found = set(scores.loc[(scores["control"] == "trained") & its_own, "bn_protocol"])
    rows: list[dict[str, Any]] = []
    for protocol in [protocol for protocol in BN_PROTOCOLS if protocol in found] or [NO_BATCH_NORM]:
        chosen = select_runs(scores, dataset, networks, runs, protocol, curves=True)
        for probability, group in [*chosen.groupby("probability"), (POOLED, chosen)]:
            first = group[group["network"] == networks[0]]
            pooled = probability == POOLED and protocol == BN_PROTOCOLS[0]
            for network in networks:
                own = group[group["network"] == network]
                place = {"study": name, "bn_protocol": protocol, "probability": probability, "network": network}
                other = network != networks[0]
                for row in (*at_equal_passes(first, own), *(at_equal_objective(first, own) if other else ())):
                    tested = other and row["at"] == "passes" and "p_permutation" in row
                    normed = NO_BATCH_NORM not in set(own["bn_protocol"])
                    rows.append({**place, **row, "primary": tested and pooled and normed and row["quantity"] in PRIMARY})
    table = pd.DataFrame(rows, columns=TABLE)
    secondary = table["p_permutation"].notna() & ~table["primary"]
    if secondary.any():
        table.loc[secondary, "p_holm"] = multipletests(table.loc[secondary, "p_permutation"], method="holm")[1]
    return table


def study_tables(scores: pd.DataFrame, studies: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The tables of all studies (the other arguments of `study_table`), one below the other."""
    tables = [study_table(scores, **study) for study in studies]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=TABLE)
