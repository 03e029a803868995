"""Planes on other data: the measure against plain networks, and a verdict that follows from the table."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from beyond_planes import MASK, absent, over_three_seeds, subject, tiny_dataset
from losspatterns.beyond.other_data import CONTROLS, Options, measure, variants
from losspatterns.beyond.shown.other_data import DIFFERENCE, draw, table, verdict
from losspatterns.errors import InputError
from losspatterns.method.images import channels_first

OPTIONS = Options(kind="other_data", experiment="e", masks=("corner",), images=30, datasets=("mnist", "kmnist"))


@pytest.fixture(scope="module")
def measured() -> pd.DataFrame:
    return over_three_seeds(measure, OPTIONS, tiny_dataset(), tiny_dataset("other", seed=7), absent())


@pytest.mark.parametrize("control", ["trained", "untrained"])
@pytest.mark.parametrize("number", [0, 1, 3, 4])
def test_the_measure_is_that_of_plain_networks(measured: pd.DataFrame, number: int, control: str) -> None:
    own, other = tiny_dataset(), tiny_dataset("other", seed=7)
    looked_at = subject(own)
    trained, plane = looked_at.trained, looked_at.trained.plane if control == "trained" else looked_at.untrained
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
    assert "not available here: MNIST" in draw(OPTIONS, found, []).legends[0].get_title().get_text()


def table_of(white: float, black: float, auc: float, half: float) -> pd.DataFrame:
    """A table with one data set; all intervals are so wide on each side."""
    values = {"accuracy_white": 0.5, "accuracy_black": 0.5, "accuracy_gap": 0.0, "loss_white": white, "loss_black": black}
    row = {"data": "tiny", "images": 30, "guess": math.log(10), "missing": "", "seeds": 3}
    for name, value in {**values, "auc": auc}.items():
        row |= {name: value, f"{name}_low": value - half, f"{name}_high": value + half}
    difference = {"auc": auc - 0.5, "auc_low": auc - 0.5 - half, "auc_high": auc - 0.5 + half}
    controls = [{**row, "control": control} for control in CONTROLS]
    return pd.DataFrame([*controls, {**row, **difference, "control": DIFFERENCE}])


@pytest.mark.parametrize(
    ("numbers", "white", "black", "order", "more"),
    [
        ((0.5, 9.0, 0.9, 0.1), "stay white", "stay black", "is still there", "higher"),
        ((9.0, 0.5, 0.1, 0.1), "turn black", "turn white", "is turned over", "lower"),
        ((2.0, 2.5, 0.6, 0.5), *["are not told apart from guessing"] * 2, "is not told apart from chance", "not told apart"),
        (
            (0.5, 9.0, 0.9, math.nan),
            *["are not told apart from guessing"] * 2,
            "is not told apart from chance",
            "not told apart",
        ),
    ],
)
def test_the_verdict_follows_from_the_table(numbers: tuple[float, ...], white: str, black: str, order: str, more: str) -> None:
    text = verdict(OPTIONS, table_of(*numbers))
    assert f"White pixels {white} on tiny." in text and f"Black pixels {black} on tiny." in text
    assert f"(AUC against 0.5) {order} on tiny." in text
    assert f"Against the untrained plane, the AUC is {more} on tiny." in text


def test_another_number_of_classes_is_one_line() -> None:
    with pytest.raises(InputError, match="datasets: letters has 4 classes, the planes tell 3 apart"):
        measure(OPTIONS, subject(tiny_dataset(), tiny_dataset("letters", classes=4)))
