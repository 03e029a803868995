"""Whether two tables of scores agree, row by row, as far as two processors can.

The one idea: a row is compared only if both were asked the same question. What was asked is in the record of scores.csv: the
settings of every run. Compared are trained planes. Not snapshots and null controls, and not the protocol `identity`: networks
that were not trained for it fail, by chance in one way or another.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pandas as pd

from ..settings import Recipe

RUN = ["dataset", "mask", "network", "seed"]
ROW = [*RUN, "split", "bn_protocol"]
# The largest difference between equal trainings on two processors, and with and without vector instructions, rounded up:
# docs/results.md, "Other processors". Of each measure: for the 5 pictures and the 18 random squares of the default scale.
TOLERANCES = {
    "accuracy_gap": (0.04, 0.07),
    "accuracy_white": (0.04, 0.02),
    "accuracy_black": (0.05, 0.08),
    "objective": (0.08, 0.25),
    "auc": (0.01, 0.03),
    "iou": (0.01, 0.12),
}


class Row(NamedTuple):
    """One row compared. `differences`: of each measure beyond its tolerance: found, expected, tolerance."""

    name: str
    differences: dict[str, tuple[float, float, float]]


def compared(found: pd.DataFrame, expected: pd.DataFrame) -> Iterator[Row]:
    """Each row that both tables have, by its name."""
    ours, theirs = rows(found), rows(expected)
    for name in ours.index.intersection(theirs.index, sort=False):
        square = int(not pd.isna(theirs.at[name, "probability"]))
        triples = {key: (float(ours.at[name, key]), float(theirs.at[name, key]), TOLERANCES[key][square]) for key in TOLERANCES}
        apart = {key: (a, b, bound) for key, (a, b, bound) in triples.items() if not abs(a - b) <= bound}
        yield Row(name, {key: values for key, values in apart.items() if not all(map(math.isnan, values[:2]))})


def rows(scores: pd.DataFrame) -> pd.DataFrame:
    """The rows that are compared, by dataset/mask/network/seed/split/protocol."""
    kept = scores[(scores["control"] == "trained") & (scores["bn_protocol"] != "identity")]
    return kept.set_index(kept[ROW].astype(str).agg("/".join, axis=1))


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
