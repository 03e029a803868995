"""The study's table: means, paired differences and their intervals, by hand."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from losspatterns.analysis.study import (
    POOLED,
    TABLE,
    at_objective,
    equally_far,
    interval,
    permutation_p,
    study_table,
    study_tables,
)

RUNS = [("m", 0), ("m", 1), ("n", 0), ("n", 1)]


def scores() -> pd.DataFrame:
    """Two networks, two seeds, one probability; the second has batch norm under two protocols."""
    rows = []
    for seed, plain, batch, identity in ((0, 0.40, 0.30, 0.45), (1, 0.50, 0.44, 0.55)):
        for network, protocol, gap in (("a", "none", plain), ("b", "batch", batch), ("b", "identity", identity)):
            for control in ("trained", "untrained"):
                run = {"dataset": "d", "dataset_label": "D", "mask": "m", "probability": 0.5, "network": network, "seed": seed}
                run |= {"split": "test", "bn_protocol": protocol, "control": control, "accuracy_gap": gap, "tv": 2 * gap}
                run |= {"accuracy_white": 0.3 + gap, "accuracy_black": 0.3, "objective": -gap * (control == "trained")}
                rows.append(run | {"image_passes": 1000 * (control == "trained")})
    return pd.DataFrame(rows)


def at_the_end(table: pd.DataFrame) -> pd.DataFrame:
    """The rows about trained planes at one probability, by protocol, network and quantity."""
    last = table[(table["at"] == "passes") & (table["image_passes"] == 1000) & (table["probability"] != POOLED)]
    return last.set_index(["bn_protocol", "network", "quantity"])


def test_differences_are_paired_by_seed_under_every_protocol() -> None:
    table = at_the_end(study_table(scores(), "e", "d", ["a", "b"], RUNS[:2]))
    assert set(table.index.get_level_values(0)) == {"batch", "identity"}
    row = table.loc[("batch", "b", "accuracy_gap")]
    assert (row["mean"], row["runs"]) == (pytest.approx(0.37), 2)
    assert row["difference"] == pytest.approx(-0.08)
    half = 12.706204736432095 * math.sqrt(0.0008) / math.sqrt(2)  # t(0.975, 1); differences -0.10 and -0.06
    assert row["difference_low"] == pytest.approx(-0.08 - half) and row["difference_high"] == pytest.approx(-0.08 + half)
    assert table.loc[("identity", "b", "accuracy_gap"), "difference"] == pytest.approx(0.05)
    assert (table.loc[("batch", "a")]["difference"] == 0).all()


def test_one_seed_has_no_interval() -> None:
    table = study_table(scores(), "e", "d", ["a", "b"], [("m", 1)])
    table = table[table["at"] == "passes"]
    assert table["difference"].notna().all() and table["difference_low"].isna().all() and table["sd"].isna().all()


def test_a_probability_with_several_masks_has_a_run_for_each_mask_and_seed() -> None:
    more = scores().assign(mask="n")
    more.loc[more["network"] == "b", "accuracy_gap"] += 0.2
    table = study_table(pd.concat([scores(), more]), "e", "d", ["a", "b"], RUNS)
    row = at_the_end(table).loc[("batch", "b", "accuracy_gap")]
    assert row["runs"] == 4 and row["difference"] == pytest.approx(-0.08 + 0.1)
    spread = pd.Series([-0.10, -0.06, 0.10, 0.14]).std()
    half = 3.182446305284263 * spread / 2  # t(0.975, 3)
    assert row["difference_high"] - row["difference"] == pytest.approx(half)


def test_a_study_looks_at_its_own_masks_only() -> None:
    """Another study of the same networks may have been evaluated under more protocols."""
    ours, other = scores(), scores().assign(mask="n")
    ours = ours[ours["bn_protocol"] != "identity"]
    table = study_table(pd.concat([ours, other]), "e", "d", ["a", "b"], RUNS[:2])
    assert set(table["bn_protocol"]) == {"batch"} and set(table["study"]) == {"e"}


def test_studies_stand_below_each_other_and_none_is_an_empty_table() -> None:
    study = {"dataset": "d", "networks": ["a", "b"], "runs": [list(run) for run in RUNS[:2]]}
    table = study_tables(scores(), [{"name": "e", **study}, {"name": "f", **study}])
    assert list(table.columns) == TABLE == list(study_tables(scores(), []).columns)
    pd.testing.assert_frame_equal(table[table["study"] == "e"], study_table(scores(), "e", **study))
    assert len(table) == 2 * (table["study"] == "f").sum() and study_tables(scores(), []).empty


def test_equal_differences_have_an_interval_without_width() -> None:
    assert interval(pd.Series([0.25, 0.25, 0.25])) == (0.25, 0.25, 0.25)


def test_flipped_signs_give_the_exact_p_of_a_few_differences() -> None:
    """Of 2^4 ways to give signs to four differences, two are as far from zero as four positive ones."""
    assert permutation_p(pd.Series([0.1, 0.2, 0.3, 0.4])) == pytest.approx(2 / 16)
    assert permutation_p(pd.Series([0.1, -0.1])) == 1
    assert math.isnan(permutation_p(pd.Series([0.1])))


def curve(seed: int, objectives: list[float], gaps: list[float]) -> pd.DataFrame:
    """One run's curve; the other quantities are those of the gap."""
    frame = pd.DataFrame({"mask": "m", "seed": seed, "image_passes": range(0, 100 * len(gaps), 100), "objective": objectives})
    return frame.assign(**dict.fromkeys(("accuracy_gap", "accuracy_white", "accuracy_black", "tv"), gaps))


def test_a_curve_is_read_where_its_objective_first_comes_so_far() -> None:
    run = curve(0, [0.0, -1.0, -3.0, -2.5], [0.0, 0.5, 0.3, 0.2])
    found = at_objective(run, -2.0)
    assert found["accuracy_gap"] == pytest.approx(0.4) and found["image_passes"] == pytest.approx(150)
    assert at_objective(run, 1.0)["accuracy_gap"] == 0.0


def test_networks_are_compared_where_the_one_behind_ends() -> None:
    plain, normed = curve(0, [0.0, -2.0], [0.0, 0.6]), curve(0, [0.0, -4.0], [0.0, 0.4])
    found = equally_far(plain, normed)
    assert found.loc[("m", 0), "accuracy_gap"] == pytest.approx(0.2 - 0.6)


def test_the_primary_comparison_is_batch_norm_s_gap_and_white_accuracy_pooled_at_the_end() -> None:
    table = study_table(scores(), "e", "d", ["a", "b"], RUNS[:2])
    primary = table[table["primary"]]
    assert list(primary["quantity"]) == ["accuracy_gap", "accuracy_white"]
    assert set(zip(primary["bn_protocol"], primary["probability"], primary["network"], strict=True)) == {("batch", POOLED, "b")}
    assert primary["p_holm"].isna().all() and primary["p_permutation"].notna().all()
    tested = table[table["p_holm"].notna()]
    assert len(tested) and (tested["p_holm"] >= tested["p_permutation"]).all()
