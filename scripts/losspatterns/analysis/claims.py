"""The paper's claims against a scale's scores: one row each, with the published number, ours, the tolerance, the verdict."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pandas as pd

LEAST_AUC, LEAST_GAP, MOST_GAP_OF_CONTROL = 0.95, 0.3, 0.15  # of a picture that is there, and of one that is not
LEAST_CORRELATION = 0.95  # of the log loss on training and test images
HEAD = ("claim of the paper", "published", "measured at this scale", "counts as reproduced if", "verdict")
UNDECIDED = "not decidable at this budget"
DIFFERENCES = (  # claim, labels of the two networks' kinds, quantity, published difference at p = 0.5, its sign
    ("Batch norm narrows the gap", "batch norm", "accuracy_gap", "-0.05", -1),
    ("Batch norm raises the accuracy of white pixels", "batch norm", "accuracy_white", "+0.04", +1),
    ("Batch norm raises the accuracy of black pixels", "batch norm", "accuracy_black", "+0.09", +1),
    ("Batch norm makes the surface smoother (total variation)", "batch norm", "tv", "smaller, no number", -1),
    ("Residual connections widen the gap", "residual", "accuracy_gap", "+0.03", +1),
)


def claims(scores: pd.DataFrame, study: pd.DataFrame) -> pd.DataFrame:
    """The claims that a scale tests, columns HEAD. `scores`, `study`: the tables of `snakemake all`."""
    return pd.DataFrame([*_pictures(scores), *_differences(scores, study), *_memory(scores)], columns=HEAD)


def _pictures(scores: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    """Whether pictures are there, by data set, and whether training and test images show the same one."""
    pictures = scores[(scores["split"] == "test") & scores["probability"].isna() & scores["objective"].notna()]
    for label, group in pictures.groupby("dataset_label", sort=False):
        trained, others = group[group["control"] == "trained"], group[group["control"].isin(["untrained", "shuffled"])]
        found = f"{len(trained)} pictures: AUC {_range(trained['auc'])}, gap {_range(trained['accuracy_gap'])}; "
        found += f"untrained and shuffled controls: gap {_range(others['accuracy_gap'])}"
        there = trained["auc"].min() >= LEAST_AUC and trained["accuracy_gap"].min() >= LEAST_GAP
        there &= others["accuracy_gap"].abs().max() <= MOST_GAP_OF_CONTROL
        bound = f"every AUC >= {LEAST_AUC}, gap >= {LEAST_GAP}, gap of controls within +-{MOST_GAP_OF_CONTROL}"
        yield f"Loss surfaces contain any picture: {label}", "shown, no number", found, bound, _verdict(there)
        alike = trained["train_correlation"].dropna()
        if len(alike):
            found = f"correlation of the log loss {_range(alike)}"
            bound = f"every correlation >= {LEAST_CORRELATION}"
            same = alike.min() >= LEAST_CORRELATION
            yield f"Train and test surfaces look alike: {label}", "shown, no number", found, bound, _verdict(same)


def _differences(scores: pd.DataFrame, study: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    """What the studies say of batch norm (statistics of the batch) and of residual connections, at the largest budget.

    Decided is what holds at equal passes and at an equal objective: else the networks are only not equally far in training.
    """
    normed = set(scores.loc[scores["bn_protocol"] == "batch", "network"])
    pooled = study[(study["bn_protocol"] == "batch") & (study["probability"].astype(str) == "all")]
    for claim, kind, quantity, published, sign in DIFFERENCES:
        rows = pooled[(pooled["quantity"] == quantity) & pooled["p_permutation"].notna()]
        equal = rows[rows["at"] == "objective"].set_index("network")
        for _, row in rows[rows["at"] == "passes"].iterrows():
            if (row["network"] in normed) != (kind == "batch norm"):
                continue
            far = equal.loc[row["network"]]
            p = row["p_permutation"] if row["primary"] else row["p_holm"]
            which = "primary" if row["primary"] else "Holm"
            found = f"{_interval(row)}, p = {p:.2g} ({which}), n = {row['runs']} pairs"
            found += f", {row['image_passes'] / 1e6:.2f} million passes"
            found += f"; at an equal objective {_interval(far)}"
            side = _side(row)
            verdict = _verdict(side == sign) if p < 0.05 and side and side == _side(far) else UNDECIDED
            yield claim, published, found, "both 95 % intervals on the paper's side of 0, p < 0.05", verdict


def _side(row: pd.Series) -> int:
    """The sign of a difference whose interval does not contain 0; else 0."""
    low, high = row["difference_low"], row["difference_high"]
    return int(low > 0) - int(high < 0)


def _interval(row: pd.Series) -> str:
    return f"{row['difference']:+.3f} [{row['difference_low']:+.3f}, {row['difference_high']:+.3f}]"


def _memory(scores: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    trained = scores[(scores["split"] == "test") & (scores["control"] == "trained")]
    pixels = trained["trained_pixels"]
    counts = " to ".join(f"{count}" for count in sorted({pixels.min(), pixels.max()}))
    found = f"{counts} trained pixels in three vectors of weights"
    claim = "A plane holds K models in the memory of three"
    yield claim, "1,150 in three", found, "more than 3 trained pixels on every plane", _verdict(pixels.min() > 3)


def _range(values: pd.Series) -> str:
    return f"{values.min():.2f}" if len(values) == 1 else f"{values.min():.2f} to {values.max():.2f}"


def _verdict(holds: bool) -> str:
    return "reproduced" if holds else "not reproduced"


def markdown(head: Sequence[str], rows: Iterable[Sequence[Any]], numbers: bool = False) -> str:
    """A table in Markdown; `numbers` stand at the right, in all columns but the first."""
    lines = [head, ["---", *["---:" if numbers else "---"] * (len(head) - 1)], *rows]
    return "".join(f"| {' | '.join(str(cell).replace('|', '&#124;') for cell in line)} |\n" for line in lines)
