"""The study's table: means, paired differences and their intervals, by hand; any networks, any number of studies."""

import math

import numpy as np
import pandas as pd
import pytest
from losspatterns.analysis.study import POOLED, TABLE, at_objective, equally_far, select_runs, study_table, study_tables
from losspatterns.errors import InputError
from simulated_studies import scores_of, study_of

PAIR = [("b", "a", "batch_norm")]
STAGES = [("untrained", 0), ("snapshot", 100), ("trained", 1000)]


def gaps(*values: float) -> dict[str, np.ndarray]:
    """A network whose gap on the squares is this; its tv is twice that, its objective minus that."""
    gap = np.array(values)
    return {"accuracy_white": 0.3 + gap, "accuracy_black": np.full(len(gap), 0.3), "tv": 2 * gap, "objective": -gap}


def two_networks(name: str = "s") -> tuple[pd.DataFrame, dict]:
    """Two squares; the second network has batch norm, under two protocols."""
    study = study_of(["a", "b"], PAIR, {0.5: 2}, name)
    return scores_of(study, {"b": ["batch", "identity"]}, {"a": gaps(0.40, 0.50), "b": gaps(0.30, 0.44)}), study


def row(table: pd.DataFrame, **which: object) -> pd.Series:
    """The one row of these values, about the gap at p = 0.5 at the end if nothing else is said."""
    which = {"quantity": "accuracy_gap", "probability": 0.5, "at": "passes", "image_passes": 1000} | which
    against = which.pop("against", None)
    kept = table[np.logical_and.reduce([table[key] == value for key, value in which.items()])]
    kept = kept[kept["against"].isna() if against is None else kept["against"] == against]
    (found,) = (found for _, found in kept.iterrows())
    return found


def test_differences_are_paired_by_square_under_every_protocol() -> None:
    scores, study = two_networks()
    better = scores["bn_protocol"] == "identity"
    scores.loc[better, ["accuracy_white", "accuracy_gap"]] += 0.15
    table = study_table(scores, study)
    found = row(table, bn_protocol="batch", network="b", against="a")
    half = 12.706204736432095 * math.sqrt(0.0008) / math.sqrt(2)  # t(0.975, 1); differences -0.10 and -0.06
    assert found["runs"] == 2 and found["mean"] == pytest.approx(-0.08) and found["sd"] == pytest.approx(math.sqrt(0.0008))
    assert (found["low"], found["high"]) == (pytest.approx(-0.08 - half), pytest.approx(-0.08 + half))
    assert row(table, bn_protocol="identity", network="b", against="a")["mean"] == pytest.approx(0.07)
    assert row(table, bn_protocol="batch", network="b")["mean"] == pytest.approx(0.37)
    assert row(table, bn_protocol="batch", network="b", quantity="accuracy_mean")["mean"] == pytest.approx(0.3 + 0.37 / 2)


def test_a_network_without_batch_norm_stands_once() -> None:
    """Under `none`, however many protocols the other network has; and only pairs that are named are compared."""
    scores, study = two_networks()
    table = study_table(scores, study)
    alone = table[(table["network"] == "a") & table["against"].isna() & (table["probability"] == 0.5)]
    assert set(alone["bn_protocol"]) == {"none"} and len(alone) == len(set(alone["quantity"]))
    assert set(table["against"].dropna()) == {"a"} and set(table.loc[table["against"].notna(), "network"]) == {"b"}
    plain = study_of(["a", "b"], [("b", "a", None)], {0.5: 2})
    neither = study_table(scores_of(plain, {}, {"a": gaps(0.4, 0.5), "b": gaps(0.3, 0.4)}), plain)
    assert set(neither["bn_protocol"]) == {"none"} and row(neither, network="b", against="a")["mean"] == pytest.approx(-0.1)


@pytest.mark.parametrize("networks", [["a", "b", "c"], ["c", "b", "a"], ["b", "a"]])
def test_the_order_and_the_number_of_networks_change_nothing(networks: list[str]) -> None:
    values = {"a": gaps(0.40, 0.50), "b": gaps(0.30, 0.44), "c": gaps(0.9, 0.1)}
    study = study_of(networks, PAIR, {0.5: 2})
    table = study_table(scores_of(study, {"b": ["batch"]}, values), study)
    assert row(table, network="b", against="a")["mean"] == pytest.approx(-0.08)
    assert len(table[table["against"].notna()]) == 2 * 6  # at p = 0.5 and pooled, six quantities


def test_two_studies_that_share_networks_keep_apart() -> None:
    (first, one), (second, two) = two_networks("s"), two_networks("t")
    second["accuracy_gap"] += 1
    both = study_tables(pd.concat([first, second]), [one, two])
    alone = study_tables(first, [one])
    assert set(both["study"]) == {"s", "t"}
    pd.testing.assert_frame_equal(both[both["study"] == "s"].reset_index(drop=True), alone)
    assert row(both, study="t", network="a")["mean"] == pytest.approx(row(alone, study="s", network="a")["mean"] + 1)


def test_one_square_has_no_interval() -> None:
    study = study_of(["a", "b"], PAIR, {0.5: 1})
    table = study_table(scores_of(study, {"b": ["batch"]}, {"a": gaps(0.4), "b": gaps(0.3)}), study)
    assert table["mean"].notna().all() and table[["low", "high", "sd"]].isna().all(axis=None)


def test_all_probabilities_are_pooled_too() -> None:
    study = study_of(["a", "b"], PAIR, {0.1: 1, 0.5: 2})
    table = study_table(scores_of(study, {"b": ["batch"]}, {"a": gaps(0.1, 0.4, 0.5), "b": gaps(0.4, 0.3, 0.44)}), study)
    pooled = row(table, network="b", against="a", probability=POOLED)
    assert pooled["runs"] == 3 and pooled["mean"] == pytest.approx((0.3 - 0.1 - 0.06) / 3)
    assert row(table, network="b", against="a", probability=0.1)["mean"] == pytest.approx(0.3)


def test_a_missing_run_is_named() -> None:
    scores, study = two_networks()
    lacking = scores[~((scores["network"] == "b") & (scores["seed"] == 50001))]
    with pytest.raises(
        InputError, match="found 0 test rows .* mask s_p50_1, network b, seed 50001, protocol batch; expected one"
    ):
        study_table(lacking, study)
    with pytest.raises(InputError, match="found 2 test rows .* mask s_p50_0, network a"):
        study_table(pd.concat([scores, scores[:1]]), study)


def test_a_scale_without_studies_has_an_empty_table() -> None:
    assert list(study_tables(two_networks()[0], []).columns) == TABLE
    assert study_tables(two_networks()[0], [study_of(["a"], [], {})]).empty


def curve(passes: list[float], validation: list[float], values: list[float]) -> pd.DataFrame:
    """One run's curve; all quantities are `values`."""
    names = ("accuracy_gap", "accuracy_mean", "accuracy_white", "accuracy_black", "tv", "objective")
    frame = pd.DataFrame({"image_passes": passes, "validation": validation, "mask": "m", "seed": 0})
    return frame.assign(**dict.fromkeys(names, values))


def test_a_curve_is_read_in_the_logarithm_of_its_passes() -> None:
    run = curve([0, 100, 10_000], [0.0, -1.0, -3.0], [0.0, 0.5, 0.3])
    found = at_objective(run, -2.0)
    assert found["accuracy_gap"] == pytest.approx(0.4) and found["image_passes"] == pytest.approx(1000)


def test_a_curve_is_read_where_it_comes_down_for_the_last_time() -> None:
    """Not where it first passed, on its way to a lower value than the one with which it ends."""
    run = curve([0, 10, 100, 1000], [0.0, -3.0, -1.0, -2.0], [0.0, 0.9, 0.2, 0.4])
    assert at_objective(run, -1.5)["accuracy_gap"] == pytest.approx(0.3)
    assert at_objective(run, -2.0)["accuracy_gap"] == pytest.approx(0.4)
    assert at_objective(run, 1.0)["accuracy_gap"] == 0.0


def curves(plain: dict, normed: dict) -> pd.DataFrame:
    """Curves of one square on networks a and b, as `select_runs` gives them."""
    return pd.concat([curve(**plain).assign(network="a"), curve(**normed).assign(network="b")])


def test_networks_are_compared_at_the_value_with_which_the_one_behind_ends() -> None:
    """The one behind is read at its end, though its lowest value came earlier."""
    plain = {"passes": [1, 10, 100], "validation": [0.0, -2.5, -2.0], "values": [0.0, 0.7, 0.6]}
    normed = {"passes": [1, 10, 100], "validation": [0.0, -2.0, -4.0], "values": [0.0, 0.4, 0.1]}
    found = equally_far(curves(plain, normed), "b", "a").loc[("m", 0)]
    assert found["accuracy_gap"] == pytest.approx(0.4 - 0.6) and found["image_passes"] == pytest.approx(10)
    back = equally_far(curves(plain, normed), "a", "b").loc[("m", 0)]
    assert back["accuracy_gap"] == pytest.approx(0.6 - 0.4) and back["image_passes"] == pytest.approx(100)


def test_the_objective_is_read_off_validation_images_alone() -> None:
    """The test objective plays no part, and without validation images nothing is compared at an equal objective."""
    study = study_of(["a", "b"], PAIR, {0.5: 1})
    of = {key: np.repeat(value[None], 3, 0) for key, value in gaps(0.4).items()}
    falling = of | {"objective": np.array([[0.0], [-1.0], [-2.0]])}
    given = {"b": ["batch"]}, {"a": falling, "b": falling}, STAGES
    without = study_table(scores_of(study, *given), study)
    assert set(without["at"]) == {"passes"} and set(without["image_passes"]) == {0, 100, 1000}
    scores = scores_of(study, *given, splits=("test", "validation"))
    scores.loc[scores["split"] == "test", "objective"] = 99.0
    table = study_table(scores, study)
    assert set(table["at"]) == {"passes", "objective"} and "objective" not in set(
        table.loc[table["at"] == "objective", "quantity"]
    )
    chosen = select_runs(scores, "d", ["b"], study["runs"], "batch", curves=True)
    assert chosen["validation"].tolist() == [0.0, -1.0, -2.0] and chosen["look"].tolist() == [0, 1, 2]
