"""Whether two tables of scores agree, row by row, as far as two processors can.

The one idea: a row is compared only if both were asked the same question. What was asked is in the record of scores.csv: the
settings of every run. Compared are trained planes and their null controls. Not snapshots, and not the protocol `identity`:
networks that were not trained for it fail, by chance in one way or another.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pandas as pd

from ..errors import InputError
from ..method.settings import Recipe
from .scores import log_loss

RUN = ["dataset", "mask", "network", "seed"]
ROW = [*RUN, "split", "bn_protocol", "control"]
CONTROLS = ("trained", "untrained", "shuffled")
LOGS = ("loss_white", "loss_black")  # measures of which the logarithm is compared
# The largest difference between equal trainings on two processors, and with and without vector instructions, rounded up:
# docs/results.md, "Other processors". Of each measure: for pictures, for random squares, for null controls of either.
TOLERANCES = {
    "accuracy_gap": (0.04, 0.07, 0.02),
    "accuracy_white": (0.04, 0.04, 0.04),
    "accuracy_black": (0.05, 0.08, 0.04),
    "objective": (0.1, 0.25, math.inf),
    "auc": (0.01, 0.05, 0.01),
    "iou": (0.01, 0.12, 0.04),
    "loss_white": (0.15, 0.2, 0.25),
    "loss_black": (0.15, 0.25, 0.25),
    "tv": (0.02, 0.06, 0.06),
}


class Row(NamedTuple):
    """One row compared. `differences`: of each measure beyond its tolerance: found, expected, tolerance."""

    name: str
    differences: dict[str, tuple[float, float, float]]


def compared(ours: pd.DataFrame, theirs: pd.DataFrame) -> Iterator[Row]:
    """Each row that both have, of what `rows` returns, by its name."""
    for name in ours.index.intersection(theirs.index, sort=False):
        kind = 2 if theirs.at[name, "control"] != "trained" else int(not pd.isna(theirs.at[name, "probability"]))
        triples = {key: (ours.at[name, key], theirs.at[name, key], TOLERANCES[key][kind]) for key in TOLERANCES}
        apart = {key: (a, b, bound) for key, (a, b, bound) in triples.items() if not abs(a - b) <= bound}
        yield Row(name, {key: values for key, values in apart.items() if not all(map(math.isnan, values[:2]))})


def rows(path: str, scores: pd.DataFrame) -> pd.DataFrame:
    """The rows that are compared, by dataset/mask/network/seed/split/protocol/control, and of losses the logarithm. InputError
    if this, read from `path`, is no table of scores, or has a row twice."""
    if missing := [name for name in (*ROW, *TOLERANCES, "probability") if name not in scores]:
        raise InputError(f"{path}: no table of scores: it has no column {missing[0]}; expected a file like scores.csv")
    kept = scores[scores["control"].isin(CONTROLS) & (scores["bn_protocol"] != "identity")]
    kept = kept.set_index(kept[ROW].astype(str).agg("/".join, axis=1))
    if len(twice := kept.index[kept.index.duplicated()]):
        raise InputError(f"{path}: has the row {twice[0]} twice")
    try:
        kept = kept.astype(dict.fromkeys(TOLERANCES, float))
        return kept.assign(**{name: log_loss(kept[name]) for name in LOGS})
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: no table of scores ({error})") from None


def other_settings(found: Mapping[str, str], expected: Mapping[str, str]) -> dict[str, list[str]]:
    """Settings that differ, as "key: found, expected", each with the runs that it holds for. Arguments: run -> line of JSON.

    A key of the recipe that a side lacks, as it is of an older version, has its default there.
    """
    fields = Recipe.model_fields.items()
    defaults = {f"training.{name}": field.default for name, field in fields if not field.is_required()}
    differing = defaultdict(list)
    for run in found.keys() & expected.keys():
        ours, theirs = (defaults | dict(_flat("", json.loads(side[run]))) for side in (found, expected))
        for key in sorted(ours.keys() | theirs.keys()):
            if ours.get(key) != theirs.get(key):
                differing[f"{key}: {ours.get(key)}, reference {theirs.get(key)}"].append(run)
    return {key: sorted(runs) for key, runs in sorted(differing.items())}


def _flat(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict):
        yield key, value
        return
    for name, part in value.items():
        yield from _flat(f"{key}.{name}".lstrip("."), part)
