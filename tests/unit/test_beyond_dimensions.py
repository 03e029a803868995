"""More directions than two: numbers follow from surfaces, words from numbers."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from losspatterns.beyond.dimensions import Options
from losspatterns.beyond.shown import dimensions
from losspatterns.data import masks
from losspatterns.data.mask_settings import parse_mask
from losspatterns.figures.style import styled
from losspatterns.method.plane import axis_names

OPTIONS = Options(kind="dimensions", experiments=["a"], sides=[[8], [2, 2, 2]], solid_experiment="b", solid="solid")
LP = parse_mask("masks.solid", {"kind": "voxels", "letters": ["L", "P"], "side": 6})
GROWING = {(1, 0.15): 0.2, (1, 0.5): 0.1, (3, 0.15): 0.3, (3, 0.5): 0.6}


def surface(name: str, mask: np.ndarray, gap: float, seed: int, step: float) -> tuple[xr.Dataset, dict[str, Any]]:
    """What is read of a plane's surfaces: this gap where it is trained, on both splits, and none where it is not."""
    noise = 0.001 * np.random.default_rng([seed, round(100 * step)]).random(mask.shape)
    accuracy = 0.5 + gap / 2 * np.sign(mask) + noise
    loss = np.exp(-np.sign(gap) * mask + noise)
    shown = {"accuracy": (0.5 + noise, accuracy), "loss": (1 + noise, loss)}  # untrained, trained
    names, splits = axis_names(mask.ndim), ["test"] if name == "solid" else ["validation", "test"]
    values = {
        key: (("stage", "split", "protocol", *names), np.stack([np.stack([of] * len(splits))[:, None] for of in stages]))
        for key, stages in shown.items()
    }
    values["mask"] = (tuple(f"mask_{axis}" for axis in names), mask)
    found = xr.Dataset(values, {"stage": ["untrained", "trained"], "split": splits, "protocol": ["none"]})
    made_by = {"mask": {"name": name}, "training": {"step": step, "recipe": "fast", "tau": 10.0, "images": 4}}
    made_by |= {"seed": seed, "image_passes": 1000, "network": {"name": "study_plain"}, "dataset": {"label": "images"}}
    return found, made_by


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


def test_numbers_are_of_trained_points_alone() -> None:
    mask = np.array([[1, -1, 0], [-1, 1, 0]], np.int8)
    loss, accuracy = np.array([[0.1, 2.0, 9.0], [0.2, 0.3, 0.0]]), np.array([[0.9, 0.1, 0.0], [0.3, 0.7, 1.0]])
    found = dimensions.numbers(loss, accuracy, mask)
    assert found == pytest.approx({"accuracy_white": 0.8, "accuracy_black": 0.2, "gap": 0.6, "auc": 0.75})


def test_the_step_is_chosen_on_validation_images_and_the_rest_is_of_test_images() -> None:
    table = dimensions.table(OPTIONS, None, surfaces(GROWING, 0.5))
    points = dimensions.reported(table, "points")
    assert set(points["split"]) == {"test"} and dict(zip(points["axes"], points["step"], strict=True)) == {1: 0.15, 3: 0.5}
    assert points.groupby("axes")["gap"].mean().to_dict() == pytest.approx({1: 0.22, 3: 0.62}, abs=0.005)
    assert dimensions.slope(table).value == pytest.approx(0.2, abs=0.005)
    assert abs(dimensions.reported(table, "points", "untrained")["gap"]).max() < 0.01
    assert dimensions.reported(table, "solid")["auc"].tolist() == pytest.approx([1, 1, 1])


@pytest.mark.parametrize(
    ("gaps", "solid", "words"),
    [
        (GROWING, 0.5, ("The gap grows with the number of axes", "The solid is there")),
        ({(1, 0.15): 0.6, (3, 0.15): 0.2}, -0.5, ("The gap falls with the number of axes", "The solid is not told apart")),
        ({(1, 0.15): 0.3, (3, 0.15): 0.3}, 0.0, ("Not told apart: gap and the number of axes", "The solid is not told apart")),
    ],
)
def test_the_words_follow_from_the_table(
    tmp_path: Path, gaps: dict[tuple[int, float], float], solid: float, words: tuple[str, str]
) -> None:
    table = dimensions.table(OPTIONS, None, surfaces(gaps, solid))
    page = dimensions.verdict(OPTIONS, table)
    assert all(f"**{word}" in page for word in words) and page.count("**") == 2 * len(words)
    table.to_csv(tmp_path / "a.csv", index=False)
    assert dimensions.verdict(OPTIONS, pd.read_csv(tmp_path / "a.csv")) == page


def test_an_interval_that_contains_zero_tells_nothing() -> None:
    table = dimensions.table(OPTIONS, None, surfaces(GROWING, 0.5))
    rows = (table["axes"] == 3) & (table["what"] == "points") & (table["seed"] == 1)
    assert "Differs: 3 axes and 1: 0.4" in dimensions.verdict(OPTIONS, table)
    table.loc[rows, "gap"] = -0.9
    assert "Not told apart: 3 axes and 1:" in dimensions.verdict(OPTIONS, table)
    assert "**Not told apart: gap and the number of axes**" in dimensions.verdict(OPTIONS, table)


def test_the_letters_are_seen_from_their_sides() -> None:
    given, picture = surfaces(GROWING, 0.5), masks.make_mask("solid", LP)
    figure = styled(dimensions.draw)(OPTIONS, dimensions.table(OPTIONS, None, given), given)
    images = [np.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images]
    for row, sight in enumerate((2, 1)):  # mask, trained, untrained
        assert np.array_equal(images[3 * row], picture[1].any(sight))
        assert np.array_equal(images[3 * row + 1] < 1, (picture[0] == 1).any(sight))
