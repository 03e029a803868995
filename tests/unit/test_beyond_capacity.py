"""Capacity: what is read off a training, which runs are compared, and words that follow from the numbers."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from configs import layered
from figure_checks import check_texts
from losspatterns.beyond import capacity
from losspatterns.errors import InputError
from losspatterns.figures.style import styled
from losspatterns.runs import Runs
from losspatterns.settings import check

PASSES = np.array([0, 100, 200, 400, 800])
OPTIONS = capacity.Options(
    kind="capacity",
    experiment="e",
    network="a",
    gap=0.4,
    pixels=[["s"], ["m"]],
    weights=["s"],
    frequency=[["s"], ["m"]],
    order=[["s"], ["m"]],
)


def surface(
    gaps: Any, validation: Any = None, mask: str = "s", network: str = "a", seed: int = 0, entry: Any = None, side: int = 2
) -> tuple[xr.Dataset, dict[str, Any]]:
    """Surfaces of a training whose white pixels have these accuracies, its black ones none, and whose padding has others."""
    picture = np.where(np.arange(side * side).reshape(side, side) % 2, -1, 1).astype(np.int8)
    places = np.arange(-1, side + 1)
    accuracy = np.full((5, 2, 1, side + 2, side + 2), 9.0)
    for number, values in enumerate((gaps if validation is None else validation, gaps)):
        accuracy[:, number, 0, 1:-1, 1:-1] = np.asarray(values)[:, None, None] * (picture == 1)
    data = xr.Dataset(
        {
            "accuracy": (("stage", "split", "protocol", "row", "column"), accuracy),
            "mask": (("mask_row", "mask_column"), picture),
            "image_passes": (("stage",), PASSES),
        },
        {"split": ["validation", "test"], "protocol": ["none"], "row": places, "column": places},
    )
    entry = {"kind": "grid", "cells": [side, side]} if entry is None else entry
    channels, dense = ([1], [2]) if network == "a" else ([2], [8])
    made_by = {
        "mask": {"name": mask, **entry},
        "network": {"name": network, "kind": "conv", "channels": channels, "dense": dense},
    }
    return data, {**made_by, "seed": seed, "image_shape": [1, 28, 28], "classes": 10}


@pytest.mark.parametrize(
    ("gaps", "passes", "side"),
    [
        ([0, 0.1, 0.3, 0.5, 0.2], 200 * 2**0.5, "reached"),  # half way between two looks, in the logarithm
        ([0, 0.1, 0.4, 0.5, 0.6], 200, "reached"),
        ([0, 0.1, 0.2, 0.3, 0.39], 800, "not reached"),
        ([0, 0.5, 0.2, 0.3, 0.3], 100, "at most"),
        ([0.4, 0.5, 0.2, 0.3, 0.3], 100, "at most"),
    ],
)
def test_passes_to_a_gap(gaps: list[float], passes: float, side: str) -> None:
    found, which = capacity.passes_to(0.4, PASSES, np.array(gaps, dtype=float))
    assert (found, which) == (pytest.approx(passes), side)


def test_a_training_s_row_by_hand() -> None:
    row = capacity.look_at(OPTIONS, *surface([0.1, 0.2, 0.5, 0.6, 0.7], validation=[0.9, 0.1, 0.3, 0.8, 0.7]))
    assert row["largest_gap"] == pytest.approx(0.6)  # the state is validation's best but the untrained, its gap test's
    assert row["untrained_gap"] == pytest.approx(0.1) and row["trained_pixels"] == 4 and row["cells"] == 2
    assert row["passes"] == pytest.approx(100 * 2 ** (2 / 3)) and row["side"] == "reached" and row["all_passes"] == 800
    assert row["weights"] == (9 + 1) + (16 * 2 + 2) + (2 * 10 + 10)
    assert row["shuffled_gap"] in (pytest.approx(-0.6), pytest.approx(0.0), pytest.approx(0.6))


def numbers(pixels: float = 1.0, cells: float = 1.0, order: float = 0.3, gap: float = -0.1, missed: int = 0) -> pd.DataFrame:
    """Passes that grow by these exponents, largest gaps by `gap` a tenfold; `missed` of each comparison miss the gap."""
    draw = np.random.default_rng(0)
    rows = []
    for comparison, exponent, at in (
        ("pixels", pixels, (10, 30, 100)),
        ("weights", -pixels, (10, 30, 100)),
        ("frequency", cells, (2, 4, 8)),
        ("order", order, (0, 1)),
    ):
        for place, against in enumerate(at):
            for seed in range(4):
                x = against if comparison == "order" else np.log10(against)
                not_reached = place == len(at) - 1 and seed < missed
                row = {"comparison": comparison, "mask": "m", "network": "a", "seed": seed, "trained_pixels": 64}
                row |= {"weights": 100, "passes": 10 ** (3 + exponent * x + 0.02 * draw.normal()), "against": against}
                row |= {"side": capacity.SIDES[int(not_reached)], "largest_gap": 0.6 + gap * x + 0.01 * draw.normal()}
                rows.append(row | {"untrained_gap": 0.0, "shuffled_gap": 0.01, "all_passes": 10_000})
    return pd.DataFrame(rows)


def test_the_table_has_each_training_where_it_is_compared() -> None:
    other = {"kind": "grid", "cells": [3, 3], "permuted": 1}
    planes = [
        surface(0.1 * np.arange(5)),
        surface(0.1 * np.arange(5), network="b"),
        surface(PASSES, mask="m", entry=other, side=3),
    ]
    table = capacity.table(OPTIONS, None, planes)
    found = {
        name: list(zip(rows["against"], rows["mask"], rows["network"], strict=True))
        for name, rows in table.groupby("comparison")
    }
    assert found["pixels"] == [(4, "s", "a"), (9, "m", "a")] and found["frequency"] == [(2, "s", "a"), (3, "m", "a")]
    assert found["order"] == [(0, "s", "a"), (1, "m", "a")]
    assert [(mask, network) for _, mask, network in found["weights"]] == [("s", "a"), ("s", "b")]


def test_the_words_follow_from_the_numbers() -> None:
    words = capacity.verdict(OPTIONS, numbers())
    line, _ = capacity.fitted(numbers(), "pixels")
    assert (
        line.slope == pytest.approx(1, abs=0.05)
        and f"trained pixels: exponent {capacity.interval_text(line)} (more passes)" in words
    )
    assert words.count("(more passes)") == 3 and words.count("(fewer passes)") == 1
    assert words.count("all trainings reached the gap") == 4 and words.count("(a smaller gap)") == 4
    assert "Pictures with thin lines and many edges take longer: finer chessboards do, and so do permuted pixels." in words
    opposite = capacity.verdict(OPTIONS, numbers(pixels=-1.0, cells=-1.0, order=-0.3, gap=0.1))
    assert (
        opposite.count("(fewer passes)") == 3 and opposite.count("(more passes)") == 1 and opposite.count("(a larger gap)") == 4
    )
    assert "is not seen here." in opposite and "take longer:" not in opposite
    assert "finer chessboards take longer; for permuted pixels that is not" in capacity.verdict(OPTIONS, numbers(order=-0.3))
    assert "permuted pixels take longer; for finer chessboards that is not" in capacity.verdict(OPTIONS, numbers(cells=0.0))
    assert "not told apart from no change" in capacity.sentences(numbers(cells=0.0))[2]


def test_what_did_not_reach_the_gap_is_told_and_counted() -> None:
    words = capacity.verdict(OPTIONS, numbers(missed=3))
    assert "3 of 12 trainings did not reach the gap" in words and "| 4 | 1 | > 10,000 |" in words
    steeper, plain = (capacity.fitted(numbers(missed=missed), "pixels")[0] for missed in (3, 0))
    assert steeper.slope > plain.slope
    none = numbers()
    none["side"] = capacity.SIDES[1]
    assert capacity.sentences(none)[0].count("no fit") == 1 and "is not seen here" in capacity.thin_lines(none)


@pytest.mark.parametrize("missed", [0, 4])
def test_the_figure_shows_the_fits(missed: int) -> None:
    table = numbers(missed=missed)
    figure = styled(capacity.draw)(OPTIONS, table, [])
    texts = [capacity.interval_text(capacity.fitted(table, name)[0], name == "order") for name in capacity.AGAINST]
    check_texts(figure, "passes to a gap of 0.4", "largest gap", *texts)
    assert len(figure.axes) == 8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": "conv"}, r"^beyond\.capacity\.network: network: 'conv' is not in experiments\.capacity\.networks"),
        ({"weights": ["nobody"]}, r"^beyond\.capacity\.weights: mask: 'nobody' is not in masks"),
        (
            {"pixels": [["random5_1", "random5_2"], ["random6_1"]]},
            r"^beyond\.capacity\.pixels\[0\]: found 2 masks, expected 1, or 3",
        ),
        ({"frequency": [["board8_2"], ["knight"]]}, r"^beyond\.capacity\.frequency\[1\]: found 'knight', expected kind: grid"),
        (
            {"order": [["board8_2"], ["board8_4"]]},
            r"^beyond\.capacity\.order\[1\]: found 'board8_4', expected one with `permuted`",
        ),
        (
            {"order": [["knight8"], ["random8_1", "random8_2", "random8_3"]]},
            r"^beyond\.capacity\.order\[1\]: found 'random8_1', expected the picture 'knight8', but for `permuted`",
        ),
        ({"order": [["board8_2"]]}, r"^beyond\.capacity\.order: found .*, expected 2 or more entries"),
        ({"gap": 2}, r"^beyond\.capacity\.gap: found 2, expected "),
    ],
)
def test_bad_options_end_in_one_line(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        Runs(check(layered("default", {"beyond": {"capacity": change}}))).add_parts()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"surface": {"snapshots": False}}, r"^experiments\.capacity: found snapshots: 8, surface\.snapshots: false, but"),
        ({"snapshots": 0}, r"^experiments\.capacity: found snapshots: 0, surface\.snapshots: true, but beyond\.capacity needs"),
        ({"surface": {"splits": ["test"]}}, r"^experiments\.capacity\.surface\.splits: found \['test'\], but .* 'validation'"),
    ],
)
def test_an_experiment_that_lacks_a_look_ends_in_one_line(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Runs(check(layered("default", {"experiments": {"capacity": change}}))).add_parts()


@pytest.mark.parametrize("scale", ["default", "hour", "smoke"])
def test_random_pictures_are_one_for_each_seed(scale: str) -> None:
    config = copy.deepcopy(layered(scale))
    config["beyond"] = {"capacity": config["beyond"]["capacity"]}
    runs = Runs(check(config))
    runs.add_parts()
    planes = runs.parts["capacity"].needs.surfaces
    assert len({run.path for run in planes}) == len(planes) > 0
    if scale != "smoke":
        assert all(run.mask.endswith(f"_{run.seed}") for run in planes if run.mask.startswith("random"))
        assert {run.seed for run in planes} == {1, 2, 3}
