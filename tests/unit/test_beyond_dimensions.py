"""More directions than two: numbers follow from surfaces, words from numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from configs import layered, runs_of
from losspatterns.beyond import dimensions
from losspatterns.data import masks
from losspatterns.errors import InputError
from losspatterns.figures.style import styled
from losspatterns.method.plane import axis_names
from losspatterns.settings import parse_mask, read

OPTIONS = {
    "kind": "dimensions",
    "experiments": ["dimensions_015", "dimensions_05"],
    "sides": [[8], [2, 2, 2]],
    "solid_experiment": "dimensions_solid",
    "solid": "solid",
}
LP = parse_mask("masks.solid", {"kind": "voxels", "letters": ["L", "P"], "side": 6})


def options(**changes: Any) -> dimensions.Options:
    """The part's options, some of them changed."""
    return read(dimensions.Options, "beyond.dimensions", {**OPTIONS, **changes})


def surface(name: str, mask: np.ndarray, gap: float, seed: int, step: float) -> tuple[xr.Dataset, dict[str, Any]]:
    """What is read of a plane's surfaces: this gap where it is trained, on both splits, and none where it is not."""
    noise = 0.001 * np.random.default_rng([seed, round(100 * step)]).random(mask.shape)
    accuracy = 0.5 + gap / 2 * np.sign(mask) + noise
    loss = np.exp(-np.sign(gap) * mask + noise)
    stages = [(0.5 + noise, 1 + noise), (accuracy, loss)]  # untrained, trained
    names = ("stage", "split", "protocol", *axis_names(mask.ndim))
    splits = ["test"] if name == "solid" else ["validation", "test"]
    values = {
        key: (names, np.stack([np.stack([stage[k]] * len(splits))[:, None] for stage in stages]))
        for k, key in enumerate(("accuracy", "loss"))
    }
    values["mask"] = (tuple(f"mask_{axis}" for axis in axis_names(mask.ndim)), mask)
    found = xr.Dataset(values, {"stage": ["untrained", "trained"], "split": splits, "protocol": ["none"]})
    facts = {
        "mask": {"name": name},
        "training": {"step": step, "recipe": "fast", "tau": 10.0, "images": 4},
        "seed": seed,
        "image_passes": 1000,
    }
    return found, {**facts, "network": {"name": "study_plain"}, "dataset": {"label": "images"}}


def surfaces(gaps: dict[tuple[int, float], float], solid: float) -> list[tuple[xr.Dataset, dict[str, Any]]]:
    """Three seeds of each number of axes and step, and of the solid."""
    found = []
    for seed in (1, 2, 3):
        for (axes, step), gap in gaps.items():
            sides = {1: (8,), 3: (2, 2, 2)}[axes]
            mask = np.random.default_rng(seed).permutation(np.repeat([1, -1], 4)).astype(np.int8).reshape(sides)
            found.append(surface(f"points_{axes}", mask, gap + 0.01 * seed, seed, step))
        found.append(surface("solid", masks.make_mask("solid", LP)[0], solid + 0.01 * seed if solid else 0.0, seed, 0.3))
    return found


GROWING = {(1, 0.15): 0.2, (1, 0.5): 0.1, (3, 0.15): 0.3, (3, 0.5): 0.6}


def test_numbers_are_of_trained_points_alone() -> None:
    mask = np.array([[1, -1, 0], [-1, 1, 0]], np.int8)
    loss, accuracy = np.array([[0.1, 2.0, 9.0], [0.2, 0.3, 0.0]]), np.array([[0.9, 0.1, 0.0], [0.3, 0.7, 1.0]])
    found = dimensions.numbers(loss, accuracy, mask)
    assert found == pytest.approx({"accuracy_white": 0.8, "accuracy_black": 0.2, "gap": 0.6, "auc": 0.75})


def test_the_step_is_chosen_on_validation_images_and_the_rest_is_of_test_images() -> None:
    table = dimensions.table(options(), None, surfaces(GROWING, 0.5))
    points = dimensions.reported(table, "points")
    assert set(points["split"]) == {"test"} and dict(zip(points["axes"], points["step"], strict=True)) == {1: 0.15, 3: 0.5}
    assert points.groupby("axes")["gap"].mean().to_dict() == pytest.approx({1: 0.22, 3: 0.62}, abs=0.005)
    assert dimensions.slope(table)[0] == pytest.approx(0.2, abs=0.005)
    assert abs(dimensions.reported(table, "points", "untrained")["gap"]).max() < 0.01
    assert dimensions.reported(table, "solid")["auc"].tolist() == pytest.approx([1, 1, 1])


@pytest.mark.parametrize(
    ("gaps", "solid", "words"),
    [
        (GROWING, 0.5, ["**The gap grows with the number of axes**", "**The solid is there**"]),
        (
            {(1, 0.15): 0.6, (3, 0.15): 0.2},
            -0.5,
            ["**The gap falls with the number of axes**", "**The solid is not told"],
        ),
        ({(1, 0.15): 0.3, (3, 0.15): 0.3}, 0.0, ["**Gap and number of axes are not told apart**", "**The solid is not told"]),
    ],
)
def test_the_words_follow_from_the_table(gaps: dict[tuple[int, float], float], solid: float, words: list[str]) -> None:
    table = dimensions.table(options(), None, surfaces(gaps, solid))
    page = dimensions.verdict(options(), table)
    assert all(word in page for word in words)
    assert page.count("**") == 2 * len(words)


def test_an_interval_that_contains_zero_tells_nothing() -> None:
    table = dimensions.table(options(), None, surfaces(GROWING, 0.5))
    rows = (table["axes"] == 3) & (table["what"] == "points") & (table["seed"] == 1)
    assert "Differs: 3 axes and 1: 0.4" in dimensions.verdict(options(), table)
    table.loc[rows, "gap"] = -0.9
    assert "Not told apart: 3 axes and 1:" in dimensions.verdict(options(), table)
    assert "**Gap and number of axes are not told apart**" in dimensions.verdict(options(), table)


def test_a_table_read_again_gives_the_same_words(tmp_path: Any) -> None:
    table = dimensions.table(options(), None, surfaces(GROWING, 0.5))
    table.to_csv(tmp_path / "a.csv", index=False)
    assert dimensions.verdict(options(), pd.read_csv(tmp_path / "a.csv")) == dimensions.verdict(options(), table)


def test_the_letters_are_seen_from_their_sides() -> None:
    mask, picture = masks.make_mask("solid", LP)
    front, side = dimensions.projections(np.where(picture, 0.1, 5.0))
    assert np.array_equal(front < 1, picture.any(2)) and np.array_equal(side < 1, picture.any(1))
    given = surfaces(GROWING, 0.5)
    figure = styled(dimensions.draw)(options(), dimensions.table(options(), None, given), given)
    trained = [axes.images[0].get_array() for axes in figure.axes if axes.images][2:4]
    for image, sight in zip(trained, (2, 1), strict=True):
        assert np.array_equal(np.asarray(image) < 1, (mask == 1).any(sight))


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"sides": [[8], [3, 3]]}, r"beyond\.dimensions\.sides: found boxes of 8, 9 points"),
        ({"sides": [[4, 2], [2, 4]]}, r"beyond\.dimensions\.sides: found boxes of one number of axes"),
        ({"solid": "heart"}, r"beyond\.dimensions\.solid: found 'heart' of 2 axes, expected three"),
        ({"solid": "no"}, r"beyond\.dimensions\.solid: mask: 'no' is not in masks"),
        ({"experiments": ["no"]}, r"beyond\.dimensions\.experiments\[0\]: 'no' is not in experiments"),
    ],
)
def test_bad_options_end_in_one_line(changes: dict[str, Any], line: str) -> None:
    with pytest.raises(InputError, match=line):
        dimensions.needs(options(**changes), "beyond.dimensions", runs_of(layered()))


def test_every_seed_has_points_of_its_own() -> None:
    runs = runs_of(layered("smoke", {"experiments": {"dimensions_015": {"seeds": [0, 1]}, "dimensions_05": {"seeds": [0, 1]}}}))
    found = dimensions.needs(options(), "beyond.dimensions", runs).surfaces
    boxes = [run for run in found if run.mask != "solid"]
    assert len(boxes) == 8 and len({run.mask for run in boxes}) == 8
    assert all(runs.masks[run.mask].seed == run.seed for run in boxes)


def test_a_figure_of_a_picture_of_three_axes_is_refused() -> None:
    wrong = layered("smoke", {"figures": {"fig2_method": {"mask": "solid"}}})
    with pytest.raises(InputError, match=r"figures\.fig2_method.*'solid' has 3 axes; expected a picture of rows and columns"):
        runs_of(wrong)
