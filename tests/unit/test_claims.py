"""The paper's claims against scores: which verdict follows from which numbers."""

from __future__ import annotations

import pandas as pd
import pytest
from losspatterns.analysis.claims import HEAD, UNDECIDED, claims, markdown


def pictures(auc: float = 0.99, gap: float = 0.6, correlation: float = 0.97) -> pd.DataFrame:
    """Scores of a picture, its controls, and a square without batch norm and with it."""
    base = {
        "objective": -4.0,
        "split": "test",
        "dataset_label": "Data",
        "trained_pixels": 90,
        "bn_protocol": "none",
        "network": "conv",
    }
    rows = [
        base | {"control": "trained", "auc": auc, "accuracy_gap": gap, "train_correlation": correlation},
        base | {"control": "untrained", "auc": 0.45, "accuracy_gap": 0.0},
        base | {"control": "shuffled", "auc": 0.55, "accuracy_gap": 0.0},
        base | {"control": "trained", "probability": 0.5, "network": "norm", "bn_protocol": "batch"},
    ]
    return pd.DataFrame(rows)


def study(difference: float, half: float, p: float, equally_far: float | None = None) -> pd.DataFrame:
    """The pooled rows of the gap with batch norm, at equal passes and at an equal objective (there the same, if not given);
    and what must not count: another protocol, a snapshot, one probability."""
    row = {
        "bn_protocol": "batch",
        "probability": "all",
        "network": "norm",
        "quantity": "accuracy_gap",
        "at": "passes",
        "image_passes": 5e5,
        "runs": 10,
        "difference": difference,
        "difference_low": difference - half,
        "difference_high": difference + half,
        "p_permutation": p,
        "p_holm": 1.0,
        "primary": True,
    }
    far = difference if equally_far is None else equally_far
    equal = {"difference": far, "difference_low": far - half, "difference_high": far + half, "primary": False}
    others = [{"bn_protocol": "identity"}, {"p_permutation": None}, {"probability": "0.5"}]
    return pd.DataFrame([row, row | equal | {"at": "objective"}, *(row | {"difference": 9.0} | other for other in others)])


def verdict(table: pd.DataFrame, claim: str) -> str:
    """The verdict of the one claim that begins so."""
    (row,) = (row for _, row in table.iterrows() if row[HEAD[0]].startswith(claim))
    return row["verdict"]


@pytest.mark.parametrize(
    ("difference", "half", "p", "expected"),
    [
        (-0.1, 0.05, 0.001, "reproduced"),
        (0.1, 0.05, 0.001, "not reproduced"),
        (-0.1, 0.15, 0.2, UNDECIDED),
        (-0.1, 0.05, 0.2, UNDECIDED),
    ],
)
def test_a_difference_counts_if_interval_and_test_agree(difference: float, half: float, p: float, expected: str) -> None:
    table = claims(pictures(), study(difference, half, p))
    assert verdict(table, "Batch norm narrows the gap") == expected
    assert not table[HEAD[0]].str.startswith("Residual").any()


def test_networks_that_are_not_equally_far_decide_nothing() -> None:
    for far in (0.0, 0.1):
        assert verdict(claims(pictures(), study(-0.1, 0.05, 0.001, far)), "Batch norm narrows the gap") == UNDECIDED


@pytest.mark.parametrize("weak", [{"auc": 0.9}, {"gap": 0.2}])
def test_a_picture_counts_if_it_is_there_and_its_controls_are_not(weak: dict[str, float]) -> None:
    assert verdict(claims(pictures(), study(-0.1, 0.05, 0.001)), "Loss surfaces contain any picture: Data") == "reproduced"
    assert verdict(claims(pictures(**weak), study(-0.1, 0.05, 0.001)), "Loss surfaces contain") == "not reproduced"


def test_a_photograph_is_none_of_the_paper_s_pictures() -> None:
    shaded = pictures(auc=0.5).assign(objective=float("nan"))
    both = pd.concat([pictures(), shaded])
    assert verdict(claims(both, study(-0.1, 0.05, 0.001)), "Loss surfaces contain any picture: Data") == "reproduced"


def test_train_and_test_surfaces_look_alike_or_not() -> None:
    for correlation, expected in ((0.97, "reproduced"), (0.5, "not reproduced")):
        table = claims(pictures(correlation=correlation), study(-0.1, 0.05, 0.001))
        assert verdict(table, "Train and test surfaces look alike") == expected


def test_the_page_is_a_table() -> None:
    table = claims(pictures(), study(-0.1, 0.05, 0.001)).replace({"shown, no number": "a | label of a user's"})
    lines = markdown(list(table.columns), table.to_numpy().tolist()).splitlines()
    assert len(lines) == 2 + len(table) and all(line.count(" | ") == len(HEAD) - 1 for line in lines)
    assert (
        "-0.100 [-0.150, -0.050], p = 0.001 (primary), n = 10 pairs, 0.50 million passes; at an equal objective -0.100"
        in lines[4]
    )
