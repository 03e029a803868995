"""A study in numbers: means over its squares, and differences between its networks with intervals. No test and no verdict:
those are `claims`'.

Networks are compared square by square (the same mask, seed, initialisation and images), so differences are paired. They are
compared at equal image passes. As a sensitivity analysis also where both have come equally far (`at`: objective): at the
objective with which the one behind ended. The objective is read off validation images, on which no other quantity is measured.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..errors import InputError
from ..networks.settings import NO_BATCH_NORM
from .statistics import interval

QUANTITIES = ("accuracy_gap", "accuracy_mean", "accuracy_white", "accuracy_black", "tv", "objective")
POOLED = "all"  # in place of a probability
TABLE = [
    *("study", "bn_protocol", "probability", "network", "against", "quantity", "at", "image_passes", "runs"),
    *("mean", "sd", "low", "high"),
]
RUN = ["mask", "seed"]


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
    before and during training, in the order of `image_passes`, numbered in the column `look` from 0 on. The column
    `accuracy_mean` is the mean of white and black accuracy, `validation` the objective on validation images, NaN where it was
    not evaluated. InputError names the first missing run.
    """
    kinds = ["untrained", "snapshot", "trained"] if curves else ["trained"]
    rows = scores[(scores["dataset"] == dataset) & scores["control"].isin(kinds) & scores["network"].isin(networks)]
    plain = set(rows.loc[rows["bn_protocol"] == NO_BATCH_NORM, "network"])
    protocol = {network: NO_BATCH_NORM if network in plain else bn_protocol for network in networks}
    wanted = pd.DataFrame(
        [(network, *run, protocol[network]) for network in networks for run in runs], columns=["network", *RUN, "bn_protocol"]
    )
    key = list(wanted.columns)
    rows = wanted.assign(order=range(len(wanted))).merge(rows, on=key).sort_values(["order", "image_passes"], ignore_index=True)
    found = rows[rows["split"] == "test"].reset_index(drop=True)
    trained = found.loc[found["control"] == "trained", "order"].value_counts().reindex(range(len(wanted)), fill_value=0)
    if (trained != 1).any():
        missing = int((trained != 1).to_numpy().argmax())
        run = f"dataset {dataset}, mask {{mask}}, network {{network}}, seed {{seed}}, protocol {{bn_protocol}}"
        run = run.format(**wanted.loc[missing])
        raise InputError(f"scores: found {trained[missing]} test rows of a trained plane for {run}; expected one")
    held_out = rows[rows["split"] == "validation"].set_index(["order", "image_passes"])["objective"].rename("validation")
    table = found.join(held_out, on=["order", "image_passes"]) if len(held_out) else found.assign(validation=np.nan)
    mean = (table["accuracy_white"] + table["accuracy_black"]) / 2
    return table.assign(look=table.groupby("order").cumcount(), accuracy_mean=mean).drop(columns="order")


def paired(runs: pd.DataFrame, network: str, against: str) -> pd.DataFrame:
    """QUANTITIES of one network minus those of another, by mask and seed, of rows with one look each as `select_runs` gives."""
    own, other = (runs[runs["network"] == name].set_index(RUN)[[*QUANTITIES]] for name in (network, against))
    return own - other


def at_objective(curve: pd.DataFrame, objective: float) -> pd.Series:
    """QUANTITIES and image_passes of one run's curve (rows by image passes) where its validation objective last comes down to
    this value, interpolated in the logarithm of the image passes; at its end if it ends with this value or a higher one."""
    values = curve[[*QUANTITIES, "image_passes"]].reset_index(drop=True)
    reached = (curve["validation"] <= objective).to_numpy()
    if curve["validation"].iloc[-1] >= objective:
        return values.iloc[-1]
    comes_down = np.flatnonzero(reached[1:] & ~reached[:-1])
    if not len(comes_down):
        return values.loc[0]
    k = int(comes_down[-1]) + 1
    high, low = curve["validation"].iloc[[k - 1, k]]
    share = (high - objective) / (high - low)
    found = values.loc[k - 1] + (values.loc[k] - values.loc[k - 1]) * share
    first, last = np.log(np.maximum(values.loc[[k - 1, k], "image_passes"].astype(float), 1))
    found["image_passes"] = float(np.exp(first + (last - first) * share))
    return found


def equally_far(curves: pd.DataFrame, network: str, against: str) -> pd.DataFrame:
    """The network's QUANTITIES, where both networks are equally far, minus the other's, by mask and seed; and the passes that
    the network needs until there. Without rows if the objective was not evaluated on validation images."""
    differences = {}
    by_run = dict(list(curves.groupby(["network", *RUN])))
    for name, *run in by_run:
        first, own = by_run[against, *run], by_run[network, *run]
        if name != network or first["validation"].isna().any() or own["validation"].isna().any():
            continue
        reached = max(first["validation"].iloc[-1], own["validation"].iloc[-1])
        ours, theirs = at_objective(own, reached), at_objective(first, reached)
        differences[tuple(run)] = {**(ours - theirs)[[*QUANTITIES]], "image_passes": ours["image_passes"]}
    return pd.DataFrame(differences, index=[*QUANTITIES, "image_passes"]).T


def _row(quantity: str, values: pd.Series, passes: float, at: str = "passes") -> dict[str, Any]:
    mean, low, high = interval(values)
    numbers = {"runs": len(values), "mean": mean, "sd": values.std(), "low": low, "high": high}
    return {"quantity": quantity, "at": at, "image_passes": passes, **numbers}


def _rows(curves: pd.DataFrame, network: str, against: str | None) -> Iterator[dict[str, Any]]:
    """Of a network, or of its differences to another one: a row for each look and quantity, and at an equal objective."""
    for _, look in curves[curves["network"].isin([network, against])].groupby("look"):
        own = look[look["network"] == network]
        values = own if against is None else paired(look, network, against)
        for quantity in QUANTITIES:
            yield _row(quantity, values[quantity], own["image_passes"].mean())
    if against is not None and len(far := equally_far(curves, network, against)):
        for quantity in QUANTITIES[:-1]:
            yield _row(quantity, far[quantity], far["image_passes"].mean(), "objective")


def study_table(scores: pd.DataFrame, study: Mapping[str, Any]) -> pd.DataFrame:
    """Of a study a row per protocol, probability (and all pooled), network or pair of networks, quantity and look of the curve.

    study: `name`, `dataset`, `networks`, `runs` (mask and seed of each) and `comparisons` (`network`, `against`, `bn_protocol`
    of each). A row with `against` is about differences: network minus against. A comparison stands under every protocol that
    was evaluated; means of a network without batch norm stand once, under `none`. Columns TABLE.
    """
    rows: list[dict[str, Any]] = []
    of_study = scores[(scores["study"] == study["name"]) & (scores["control"] == "trained") & (scores["split"] == "test")]
    plain = set(of_study.loc[of_study["bn_protocol"] == NO_BATCH_NORM, "network"])
    pairs = list(dict.fromkeys((pair["network"], pair["against"]) for pair in study["comparisons"]))
    for protocol in dict.fromkeys(of_study["bn_protocol"]):
        none = protocol == NO_BATCH_NORM
        shown = [(name, None) for name in study["networks"] if (name in plain) == none]
        shown += [pair for pair in pairs if (plain >= set(pair)) == none]
        if not shown:
            continue
        names = [name for name in study["networks"] if any(name in pair for pair in shown)]
        curves = select_runs(scores, study["dataset"], names, study["runs"], protocol, curves=True)
        for probability, group in [*curves.groupby("probability"), (POOLED, curves)]:
            for network, against in shown:
                place = {"study": study["name"], "bn_protocol": protocol, "probability": probability}
                rows += [{**place, "network": network, "against": against, **row} for row in _rows(group, network, against)]
    return pd.DataFrame(rows, columns=TABLE)


def study_tables(scores: pd.DataFrame, studies: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The tables of all studies, one below the other."""
    tables = [study_table(scores, study) for study in studies if study["runs"]]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=TABLE)
