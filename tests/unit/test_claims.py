"""The paper's claims against scores: which verdict follows from which numbers, for any networks and studies."""

import numpy as np
import pandas as pd
import pytest
from losspatterns.analysis.claims import CLAIMS, HEAD, NOT_TESTED, OPEN, PAPER, REFUTED, REPRODUCED, claims, size_of
from losspatterns.analysis.report import markdown
from simulated_studies import drawn, scores_of, study_of

NARROWS, NOT_NARROWED = "Batch norm narrows the gap", "Residual connections do not narrow the gap"


def squares(
    networks: list[str],
    comparisons: list[tuple[str, str, str | None]],
    effects: dict,
    counts: dict | None = None,
    sd: float = 0.01,
) -> tuple[pd.DataFrame, dict]:
    """Scores and study: networks whose name has `bn` have batch norm; squares of each p differ by `sd` around the effects."""
    study = study_of(networks, comparisons, counts or {0.5: 10})
    values = drawn(np.random.default_rng(0), len(study["runs"]), sd, effects)
    return scores_of(study, {name: ["batch"] for name in networks if "bn" in name}, values), study


def found(table: pd.DataFrame, claim: str, study: str = "s") -> pd.Series:
    """The one row of a claim."""
    (row,) = (row for _, row in table.iterrows() if row["claim of the paper"] == claim and row["study"] in (study, ""))
    return row


def verdicts(table: pd.DataFrame, claim: str) -> tuple[str, str]:
    row = found(table, claim)
    return row["direction"], row["size"]


def test_the_published_numbers_are_the_paper_s() -> None:
    """Read off its figure 6 at p = 0.5: gaps 0.44, 0.39 and 0.47; white 0.77 and 0.81, black 0.33 and 0.42."""
    numbers = {(claim.of, claim.quantity): claim.published for claim in CLAIMS}
    assert numbers == {
        ("batch_norm", "accuracy_gap"): -0.05,
        ("batch_norm", "accuracy_mean"): 0.065,
        ("batch_norm", "tv"): None,
        ("batch_norm", "accuracy_white"): 0.04,
        ("batch_norm", "accuracy_black"): 0.09,
        ("residual", "accuracy_gap"): 0.03,
    }
    assert all(np.sign(claim.published) == claim.sign for claim in CLAIMS if claim.published is not None)
    assert PAPER.loc["plain", "accuracy_gap"] == 0.44


@pytest.mark.parametrize(
    ("effect", "sd", "expected"),
    [
        (-0.05, 0.01, (REPRODUCED, REPRODUCED)),
        (-0.15, 0.01, (REPRODUCED, REFUTED)),
        (+0.05, 0.01, (REFUTED, REFUTED)),
        (0.0, 0.01, (OPEN, REFUTED)),
        (0.0, 0.3, (OPEN, OPEN)),
    ],
)
def test_direction_and_size_are_two_verdicts(effect: float, sd: float, expected: tuple[str, str]) -> None:
    scores, study = squares(["plain", "bn"], [("bn", "plain", "batch_norm")], {"plain": {}, "bn": {"gap": effect}}, sd=sd)
    assert verdicts(claims(scores, [study]), NARROWS) == expected


def test_size_needs_an_interval_that_contains_the_number_and_not_0() -> None:
    assert size_of(np.array([-0.05, -0.06, -0.04]), -0.05) == REPRODUCED
    assert size_of(np.array([-0.05, -0.20, +0.10]), -0.05) == OPEN
    assert size_of(np.array([0.05, 0.06, 0.04]), -0.05) == REFUTED
    assert size_of(np.array([-0.05]), -0.05) == OPEN and size_of(np.array([1.0, 2.0]), None) == "no number"


EFFECTS = {"plain": {}, "bn": {"gap": -0.05, "mean": 0.065, "tv": -0.1}, "wide": {"gap": 0.3}, "res": {"gap": 0.03}}


@pytest.mark.parametrize(
    ("networks", "comparisons", "expected"),
    [
        (["plain", "wide", "bn"], [("bn", "plain", "batch_norm"), ("wide", "plain", None)], {NARROWS: REPRODUCED}),
        (["bn", "plain"], [("bn", "plain", "batch_norm")], {NARROWS: REPRODUCED}),
        (["res", "plain"], [("res", "plain", "residual")], {NOT_NARROWED: REPRODUCED}),
        (
            ["res", "bn", "plain"],
            [("bn", "plain", "batch_norm"), ("res", "plain", "residual")],
            {NARROWS: REPRODUCED, NOT_NARROWED: REPRODUCED},
        ),
        (["plain", "wide"], [("wide", "plain", None)], {}),
    ],
)
def test_a_claim_is_about_the_networks_that_the_study_names_for_it(networks, comparisons, expected) -> None:
    """Whatever their order, and whatever other networks the study has."""
    effects = {"plain": EFFECTS["plain"], **{name: EFFECTS[name] for name in networks}}
    scores, study = squares(networks, comparisons, effects)
    table = claims(scores, [study])
    for claim in (NARROWS, NOT_NARROWED):
        row = found(table, claim)
        assert row["direction"] == expected.get(claim, NOT_TESTED)
        if claim in expected:
            network = "bn" if claim == NARROWS else "res"
            assert row["tested on"].startswith(f"{network} minus plain, ")
            assert float(row["measured"].split()[0]) == pytest.approx(EFFECTS[network]["gap"], abs=0.02)
    assert not table["tested on"].str.startswith("wide").any()


def test_every_claim_has_its_row() -> None:
    pairs = [("bn", "plain", "batch_norm"), ("res", "plain", "residual")]
    scores, study = squares(["plain", "bn", "res"], pairs, {name: EFFECTS[name] for name in ("plain", "bn", "res")})
    table = claims(scores, [study])
    assert all((table["claim of the paper"] == claim.text).sum() == 1 for claim in CLAIMS)
    assert all("4 tests by Holm" in found(table, claim.text)["measured"] for claim in CLAIMS if claim.tested)
    assert all(found(table, claim.text)["direction"] == "descriptive" for claim in CLAIMS if not claim.tested)
    assert verdicts(table, "Batch norm makes the surface smoother (total variation)") == (REPRODUCED, "no number")
    left_out = table.loc[table["direction"] == NOT_TESTED, "claim of the paper"]
    assert len(left_out) == 3 and left_out.str.startswith("All of it by the published procedure").any()
    nothing = claims(scores, [])
    assert (nothing["direction"] == NOT_TESTED).sum() == len(CLAIMS) + 3


def test_too_few_pairs_say_how_many_would_do() -> None:
    scores, study = squares(["plain", "bn"], [("bn", "plain", "batch_norm")], {"plain": {}, "bn": {"gap": -0.15}}, {0.5: 5})
    row = found(claims(scores, [study]), NARROWS)
    assert (row["direction"], row["size"]) == (OPEN, REFUTED)
    assert "too few pairs for any p below 0.05 (7 would do)" in row["measured"] and ", 5 pairs," in row["tested on"]
    scores, study = squares(["plain", "bn"], [("bn", "plain", "batch_norm")], {"plain": {}, "bn": {"gap": -0.15}}, {0.5: 7})
    assert found(claims(scores, [study]), NARROWS)["direction"] == REPRODUCED


def test_the_paper_s_number_is_tested_at_its_probability() -> None:
    """The other probabilities have another effect; they stand in rows of their own, which test nothing."""
    counts = {0.1: 10, 0.5: 10}
    scores, study = squares(["plain", "bn"], [("bn", "plain", "batch_norm")], {"plain": {}, "bn": {"gap": -0.05}}, counts)
    scores.loc[(scores["probability"] == 0.1) & (scores["network"] == "bn"), "accuracy_gap"] += 0.2
    table = claims(scores, [study])
    assert verdicts(table, NARROWS) == (REPRODUCED, REPRODUCED) and "p = 0.5, 10 pairs" in found(table, NARROWS)["tested on"]
    pooled = found(table, f"{NARROWS}, pooled over p")
    assert pooled["direction"] == "descriptive" and "20 pairs" in pooled["tested on"] and "p = 0.0" not in pooled["measured"]
    each = found(table, f"{NARROWS}, at every p")
    assert each["direction"] == "descriptive" and each["measured"].startswith("p = 0.1: +0.1")


def test_a_study_without_the_paper_s_probability_tests_no_size() -> None:
    scores, study = squares(
        ["plain", "bn"], [("bn", "plain", "batch_norm")], {"plain": {}, "bn": {"gap": -0.15}}, {0.3: 5, 0.7: 5}
    )
    row = found(claims(scores, [study]), NARROWS)
    assert (row["direction"], row["size"]) == (REPRODUCED, "not tested: no squares with p = 0.5")
    assert "all p pooled, 10 pairs" in row["tested on"]


def test_two_studies_are_two_families() -> None:
    first, one = squares(["plain", "bn"], [("bn", "plain", "batch_norm")], {"plain": {}, "bn": {"gap": -0.05}})
    second, two = squares(["plain", "bn"], [("bn", "plain", "batch_norm")], {"plain": {}, "bn": {"gap": +0.05}})
    second, two = second.assign(study="t"), two | {"name": "t"}
    second["mask"] = second["mask"].str.replace("s_", "t_")
    two["runs"] = [[mask.replace("s_", "t_"), seed] for mask, seed in two["runs"]]
    table = claims(pd.concat([first, second]), [one, two])
    rows = table[table["claim of the paper"] == NARROWS].set_index("study")
    assert rows["direction"].to_dict() == {"s": REPRODUCED, "t": REFUTED}


def test_networks_without_any_difference_end_well() -> None:
    scores, study = squares(["plain", "bn"], [("bn", "plain", "batch_norm")], {"plain": {}, "bn": {}}, sd=0.0)
    assert verdicts(claims(scores, [study]), NARROWS) == (OPEN, REFUTED)


def test_squares_that_are_still_to_come_are_told() -> None:
    scores, study = squares(["plain", "bn"], [("bn", "plain", "batch_norm")], {"plain": {}, "bn": {}})
    assert "squares are there" not in found(claims(scores, [study]), NARROWS)["tested on"]
    table = claims(scores, [study | {"planned": 30}])
    assert "10 of the study's 30 squares are there" in found(table, NARROWS)["tested on"]


def pictures(split: str = "test", **changes: float) -> pd.DataFrame:
    """Scores of a picture and its untrained plane."""
    base = {
        **{"dataset": "d", "mask": "cat", "network": "conv", "seed": 0, "bn_protocol": "none", "split": split, "study": None},
        **{"dataset_label": "Data", "objective": -4.0, "trained_pixels": 90, "recipe": "fast", "probability": None},
        **{"weights": 1000, "plane_bytes": 12_004, "training_bytes": 48_000, "gap_error": 0.01, "train_correlation": 0.99},
    }
    trained = {"control": "trained", "auc": 0.99, "accuracy_gap": 0.6, "shuffled_p": 0.001}
    untrained = {"control": "untrained", "auc": 0.5, "accuracy_gap": 0.0, "shuffled_p": None}
    return pd.DataFrame([base | trained | changes, base | untrained])


ANY, SAME = "Loss surfaces contain any picture: Data", "Train and test surfaces show the same picture: Data"


@pytest.mark.parametrize("weak", [{"auc": 0.9}, {"accuracy_gap": 0.2}, {"shuffled_p": 0.3}])
def test_a_picture_counts_if_it_is_there_and_chance_does_not_show_it(weak: dict[str, float]) -> None:
    row = found(claims(pictures(), []), ANY)
    assert row["direction"] == "reproduced for these pictures" and row["tested on"].startswith(
        "1 of 1 planes have their picture (cat)"
    )
    row = found(claims(pictures(**weak), []), ANY)
    assert row["direction"] == REFUTED and row["tested on"].startswith("0 of 1 planes")


def test_a_photograph_is_none_of_the_paper_s_pictures() -> None:
    shaded = pictures(auc=0.5).assign(objective=float("nan"), mask="portrait")
    assert found(claims(pd.concat([pictures(), shaded]), []), ANY)["tested on"].startswith("1 of 1 planes")


@pytest.mark.parametrize(
    ("train", "expected"),
    [
        ({"accuracy_gap": 0.62}, REPRODUCED),
        ({"accuracy_gap": 0.9}, REFUTED),  # learned by heart
        ({"accuracy_gap": 0.68}, OPEN),  # within the images' error of the bound
        ({"accuracy_gap": 0.0}, REFUTED),
    ],
)
def test_train_and_test_show_the_same_picture_or_not(train: dict[str, float], expected: str) -> None:
    table = claims(pd.concat([pictures(), pictures("train", **train)]), [])
    assert found(table, SAME)["direction"] == expected


def test_planes_without_a_picture_are_not_alike() -> None:
    """Though the losses of untrained planes on training and test images are as good as the same."""
    flat = {"accuracy_gap": 0.01, "train_correlation": 0.999}
    table = claims(pd.concat([pictures(**flat), pictures("train", **flat)]), [])
    assert found(table, SAME)["direction"] == REFUTED


def test_memory_counts_the_optimizer_and_planes_whose_picture_is_there() -> None:
    name = "A plane holds K models in less memory than K models take"
    row = found(claims(pictures(), []), name)
    assert row["direction"] == REPRODUCED  # 90 models of 4,000 bytes; with Adam's moments 1,080,000 bytes
    assert "30 times the memory of the plane, and 22 times that of its training" in row["measured"]
    assert found(claims(pictures().assign(training_bytes=2e6), []), name)["direction"] == REFUTED
    assert found(claims(pictures(accuracy_gap=0.1), []), name)["direction"] == OPEN


def test_scores_without_test_images_end_well() -> None:
    table = claims(pictures("train"), [])
    assert set(table["direction"]) == {NOT_TESTED}


def test_the_page_is_a_table() -> None:
    table = claims(pictures(), []).replace({"shown, no number": "a | label of a user's"})
    lines = markdown(list(table.columns), table.to_numpy().tolist()).splitlines()
    assert len(lines) == 2 + len(table) and all(line.count(" | ") == len(HEAD) - 1 for line in lines)
