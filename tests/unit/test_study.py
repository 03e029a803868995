"""The study's table: means, paired differences and their intervals, by hand."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from losspatterns.analysis.study import TABLE, interval, study_table, study_tables

RUNS = [("m", 0), ("m", 1), ("n", 0), ("n", 1)]


def scores() -> pd.DataFrame:
    """Two networks, two seeds, one probability; the second has batch norm under two protocols."""
    rows = []
    for seed, plain, batch, identity in ((0, 0.40, 0.30, 0.45), (1, 0.50, 0.44, 0.55)):
        for network, protocol, gap in (("a", "none", plain), ("b", "batch", batch), ("b", "identity", identity)):
            for control in ("trained", "untrained"):
                run = {"dataset": "d", "dataset_label": "D", "mask": "m", "probability": 0.5, "network": network, "seed": seed}
                run |= {"split": "test", "bn_protocol": protocol, "control": control, "accuracy_gap": gap, "tv": 2 * gap}
                rows.append(run | {"accuracy_white": 0.3 + gap, "accuracy_black": 0.3})
    return pd.DataFrame(rows)


def test_differences_are_paired_by_seed_under_every_protocol() -> None:
    table = study_table(scores(), "e", "d", ["a", "b"], RUNS[:2]).set_index(["bn_protocol", "network", "quantity"])
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
    assert table["difference"].notna().all() and table["difference_low"].isna().all() and table["sd"].isna().all()


def test_a_probability_with_several_masks_has_a_run_for_each_mask_and_seed() -> None:
    more = scores().assign(mask="n")
    more.loc[more["network"] == "b", "accuracy_gap"] += 0.2
    table = study_table(pd.concat([scores(), more]), "e", "d", ["a", "b"], RUNS)
    row = table.set_index(["bn_protocol", "network", "quantity"]).loc[("batch", "b", "accuracy_gap")]
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
