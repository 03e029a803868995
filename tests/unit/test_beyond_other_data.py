"""Planes on other data: the measure against plain networks, and a verdict that follows from the table."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from beyond_planes import CPU, MASK, absent, tiny_dataset, tiny_plane
from configs import layered, runs_of
from losspatterns.beyond import other_data
from losspatterns.beyond.other_data import Options, draw, measure, table, variants, verdict
from losspatterns.errors import InputError
from losspatterns.method.images import channels_first

NEITHER = "are not told apart from guessing", "are not told apart from guessing", "is not told apart from chance"
OPTIONS = Options(kind="other_data", experiment="e", masks=("corner",), images=30, datasets=("mnist", "kmnist"))


@pytest.fixture(scope="module")
def measured() -> pd.DataFrame:
    rows = []
    for seed in (1, 2, 3):
        dataset, other = tiny_dataset(), tiny_dataset("other", seed=7)
        found = measure(OPTIONS, *tiny_plane(dataset, seed), MASK, [dataset, other, absent()], CPU)
        rows += [{"mask": "corner", "network": "tiny", "seed": seed, **row} for row in found]
    return pd.DataFrame(rows)


@pytest.mark.parametrize("control", ["trained", "untrained"])
@pytest.mark.parametrize("number", [0, 1, 3, 4])
def test_the_measure_is_that_of_plain_networks(measured: pd.DataFrame, number: int, control: str) -> None:
    own, other = tiny_dataset(), tiny_dataset("other", seed=7)
    trained, untrained = tiny_plane(own, 1)
    plane = trained.plane if control == "trained" else untrained
    name, images, labels, _ = list(variants(own, [other], 30, 1))[number]
    inputs = (channels_first(images).float() / 255 - trained.scaling.mean) / trained.scaling.std
    losses, correct = {1: [], -1: []}, {1: [], -1: []}
    for place, colour in zip(np.argwhere(MASK), MASK[MASK != 0], strict=True):
        [weights] = plane.weights(torch.from_numpy(place[None]))
        logits = trained.network.ordinary(weights)(inputs).detach()
        losses[colour].append(float(F.cross_entropy(logits, torch.from_numpy(labels))))
        correct[colour].append(float((logits.argmax(1).numpy() == labels).mean()))
    [row] = measured.query(f"seed == 1 and control == '{control}' and data == '{name}'").to_dict("records")
    order = np.mean([[white < black for white in losses[1]] for black in losses[-1]])
    expected = {
        "loss_white": np.mean(losses[1]),
        "loss_black": np.mean(losses[-1]),
        "accuracy_white": np.mean(correct[1]),
        "accuracy_gap": np.mean(correct[1]) - np.mean(correct[-1]),
        "auc": order,
    }
    assert {quantity: row[quantity] for quantity in expected} == pytest.approx(expected, abs=1e-5)
    assert row["guess"] == pytest.approx(math.log(3)) and row["images"] == 30


def test_other_data_is_what_it_is_called() -> None:
    own = tiny_dataset(classes=4)
    (_, images, labels, _), (_, _, renamed, _), (_, _, moved, _), (_, noise, same, _), (name, none, _, why) = variants(
        own, [absent()], 30, 1
    )
    pairs = set(zip(labels.tolist(), renamed.tolist(), strict=True))
    assert len(pairs) == 4 and len({new for _, new in pairs}) == 4 and all(old != new for old, new in pairs)
    assert np.array_equal(np.sort(moved), np.sort(labels)) and not np.array_equal(moved, labels)
    assert np.array_equal(np.sort(noise.ravel()), np.sort(images.ravel())) and np.array_equal(same, labels)
    assert np.ptp(noise.mean((0, 1, 3))) < 0.3 * np.ptp(images.mean((0, 1, 3))) or np.ptp(images.mean((0, 1, 3))) < 40
    assert (name, len(none), why) == ("MNIST", 0, absent().source)


def test_what_is_not_there_is_said_and_the_rest_is_measured(measured: pd.DataFrame) -> None:
    found = table(OPTIONS, measured, [])
    assert len(found) == 5 * 4 + 1 and set(found["seeds"]) == {3}
    text = verdict(OPTIONS, found)
    assert "| MNIST | not available here |" in text
    assert "\nNot available here: datasets.mnist.sources: none is available: mirror (no files); name a source that" in text
    note = " ".join(item.get_text() for item in draw(OPTIONS, found, []).texts)
    assert "not available here: MNIST" in note


def table_of(white: float, black: float, auc: float, half: float) -> pd.DataFrame:
    """A table with one data set; all intervals are so wide on each side."""
    values = {"accuracy_white": 0.5, "accuracy_black": 0.5, "accuracy_gap": 0.0, "loss_white": white, "loss_black": black}
    row = {"data": "tiny", "images": 30, "guess": math.log(10), "missing": "", "seeds": 3}
    for name, value in {**values, "auc": auc}.items():
        row |= {name: value, f"{name}_low": value - half, f"{name}_high": value + half}
    difference = {"auc": auc - 0.5, "auc_low": auc - 0.5 - half, "auc_high": auc - 0.5 + half}
    controls = [{**row, "control": control} for control in other_data.CONTROLS]
    return pd.DataFrame([*controls, {**row, **difference, "control": other_data.DIFFERENCE}])


@pytest.mark.parametrize(
    ("numbers", "white", "black", "order"),
    [
        ((0.5, 9.0, 0.9, 0.1), "stay white", "stay black", "is still there"),
        ((9.0, 0.5, 0.1, 0.1), "turn black", "turn white", "is turned over"),
        (
            (2.0, 2.5, 0.6, 0.5),
            "are not told apart from guessing",
            "are not told apart from guessing",
            "is not told apart from",
        ),
        (
            (0.5, 9.0, 0.9, math.nan),
            "are not told apart from guessing",
            "are not told apart from guessing",
            "is not told apart",
        ),
    ],
)
def test_the_verdict_follows_from_the_table(numbers: tuple[float, ...], white: str, black: str, order: str) -> None:
    text = verdict(OPTIONS, table_of(*numbers))
    assert f"White pixels {white} on tiny." in text and f"Black pixels {black} on tiny." in text
    assert f"(AUC against 0.5) {order}" in text
    more = {"is still there": "higher", "is turned over": "lower"}.get(order, "not told apart")
    assert f"Against the untrained plane, the AUC is {more} on tiny." in text


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"datasets": ["mnits"]}, r"beyond.other_data: datasets: 'mnits' is not in datasets; known are .*mnist"),
        ({"datasets": ["cifar10"]}, r"beyond.other_data: datasets: cifar10 has images of 32 x 32 x 3, fashion_mnist of 28 x"),
        ({"masks": ["nothing"]}, r"beyond.other_data: mask: 'nothing' is not in masks"),
        ({"images": 0}, r"beyond.other_data.images: found 0, expected at least 1"),
    ],
)
def test_bad_options_end_in_one_line(changed: dict, message: str) -> None:
    config = layered()
    config["beyond"]["other_data"] |= changed
    with pytest.raises(InputError, match=message) as caught:
        runs_of(config).add_parts()
    assert "\n" not in str(caught.value)


def test_another_number_of_classes_is_one_line() -> None:
    dataset, other = tiny_dataset(), tiny_dataset("letters", classes=4)
    with pytest.raises(InputError, match="datasets: letters has 4 classes, the planes tell 3 apart"):
        measure(OPTIONS, *tiny_plane(dataset), MASK, [dataset, other], CPU)
