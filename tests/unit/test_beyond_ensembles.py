"""Ensembles of a plane's pixels: against plain networks, and a verdict that follows from the table."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from beyond_planes import CPU, MASK, tiny_dataset, tiny_plane
from configs import ROOT, layered, runs_of
from losspatterns.beyond import ensembles
from losspatterns.beyond.ensembles import (
    CHOICES,
    NETWORKS,
    PERTURBED,
    PLANE,
    Options,
    disagreements,
    draw,
    log_probabilities,
    measure,
    order_of,
    scores,
    table,
    trained_network,
    verdict,
)
from losspatterns.errors import InputError
from losspatterns.method.images import TrainingImages, channels_first
from losspatterns.method.origin import initialisations
from losspatterns.settings import WarmUp, parse_network

WHITE = np.argwhere(MASK == 1)
GIVEN = {"kind": "ensembles", "experiment": "e", "masks": ("corner",), "images": 40, "draws": 3, "batch": 8}
OPTIONS = Options(**GIVEN, sizes=(1, 2, 7), networks=(2, 7), learning_rates=(0.001, 0.01), trial=2, noise=(0.1, 0.2))


def plain(plane, trained, places: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Predicted probabilities (K, N, classes) of ordinary networks at pixels."""
    inputs = (channels_first(images).float() / 255 - trained.scaling.mean) / trained.scaling.std
    found = []
    for weights in plane.weights(torch.from_numpy(places)):
        found.append(torch.softmax(trained.network.ordinary(weights)(inputs), 1).detach().double().numpy())
    return np.stack(found)


def calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = ensembles.ECE_BINS) -> float:
    """Guo et al. 2017: mean over bins of confidence of |accuracy - confidence|, each weighted with its share of the images."""
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    of = np.ceil(confidence * bins).astype(int)
    return sum((of == k).mean() * abs(right[of == k].mean() - confidence[of == k].mean()) for k in set(of))


@pytest.fixture(scope="module")
def measured() -> pd.DataFrame:
    rows = []
    for seed in (1, 2, 3):
        dataset = tiny_dataset()
        found = measure(OPTIONS, *tiny_plane(dataset, seed), MASK, [dataset], CPU)
        rows += [{"mask": "corner", "network": "tiny", "seed": seed, **row} for row in found]
    return pd.DataFrame(rows)


def test_an_averaged_prediction_is_that_of_ordinary_networks() -> None:
    dataset = tiny_dataset()
    trained, _ = tiny_plane(dataset)
    labels = torch.from_numpy(dataset.y_test)
    probabilities = plain(trained.plane, trained, WHITE[:4], dataset.x_test).mean(0)
    weights = trained.plane.weights(torch.from_numpy(WHITE[:4]))
    logs = log_probabilities(trained.network, weights, trained.scaling.inputs(dataset.x_test))
    assert logs.shape == (4, 40, 3)
    assert logs.exp().mean(0).numpy() == pytest.approx(probabilities, abs=1e-6)
    assert scores(logs, labels) == pytest.approx(
        {
            "accuracy": (probabilities.argmax(1) == dataset.y_test).mean(),
            "nll": -np.log(probabilities[np.arange(40), dataset.y_test]).mean(),
            "ece": calibration_error(probabilities, dataset.y_test),
        },
        abs=1e-5,
    )


def test_an_ensemble_of_all_white_pixels_leaves_no_choice(measured: pd.DataFrame) -> None:
    dataset = tiny_dataset()
    trained, untrained = tiny_plane(dataset)
    for plane, names in ((trained.plane, CHOICES), (untrained, ["untrained plane"])):
        probabilities = plain(plane, trained, WHITE, dataset.x_test).mean(0)
        nll = -np.log(probabilities[np.arange(40), dataset.y_test]).mean()
        found = measured[(measured["seed"] == 1) & (measured["size"] == 7) & measured["models"].isin(names)]
        assert len(found) == len(names) and found["nll"].to_numpy() == pytest.approx(nll, abs=1e-5)


def test_a_white_pixel_by_itself_is_the_mean_over_all(measured: pd.DataFrame) -> None:
    dataset = tiny_dataset()
    trained, _ = tiny_plane(dataset)
    probabilities = plain(trained.plane, trained, WHITE, dataset.x_test)
    [row] = measured[(measured["seed"] == 1) & (measured["models"] == ensembles.SINGLE)].to_dict("records")
    assert row["nll"] == pytest.approx(-np.log(probabilities[:, np.arange(40), dataset.y_test]).mean(), abs=1e-5)
    assert row["accuracy"] == pytest.approx((probabilities.argmax(2) == dataset.y_test).mean(), abs=1e-5)


def test_disagreement_is_counted_for_each_distance(measured: pd.DataFrame) -> None:
    dataset = tiny_dataset()
    trained, _ = tiny_plane(dataset)
    classes = plain(trained.plane, trained, WHITE, dataset.x_test).argmax(2)
    of: dict[int, list[float]] = {}
    for i in range(len(WHITE)):
        for j in range(i):
            of.setdefault(round(float(np.hypot(*(WHITE[i] - WHITE[j])))), []).append(float((classes[i] != classes[j]).mean()))
    found = measured[(measured["seed"] == 1) & measured["distance"].notna()].set_index("distance")["disagreement"]
    assert found.to_dict() == pytest.approx({distance: np.mean(values) for distance, values in of.items()})
    pairs, different = disagreements(torch.eye(2, dtype=torch.float64)[torch.tensor([[0, 0], [0, 1], [1, 1]])])
    assert pairs.tolist() == [[0, 1], [0, 2], [1, 2]] and different.tolist() == [0.5, 1.0, 0.5]


def test_neighbours_lie_together_and_others_far_apart() -> None:
    places = np.argwhere(np.ones((6, 7)))
    first = {}
    for choice in CHOICES:
        order = order_of(choice, places, np.random.default_rng(0))
        assert sorted(order) == list(range(len(places)))
        distance = np.linalg.norm(places[order][:, None] - places[order][None], axis=-1)
        first[choice] = distance
    assert np.all(np.diff(first["neighbours"][0]) >= 0)
    spread = first["spread far"]
    for k in range(1, 20):  # each is the farthest of those left
        assert spread[k, :k].min() == max(spread[j, :k].min() for j in range(k, len(places)))


def test_an_independent_network_is_trained_by_ordinary_adam() -> None:
    dataset = tiny_dataset()
    settings = parse_network("network", {"kind": "conv", "channels": [4], "dense": [8], "pooled_size": 2})
    warm_up = WarmUp(origin_updates=0, origin_images=8, origin_learning_rate=0.001, standardise=True, augmentation="none")
    data = TrainingImages.of(dataset.x_train, dataset.y_train, warm_up, CPU)
    first, twin = (initialisations(settings, (1, 8, 9), 3, 5, 1)[0] for _ in range(2))
    found = trained_network(first, data, 35, 8, 0.01, 5)  # four updates
    optimizer = torch.optim.Adam(twin.module.parameters(), 0.01)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(5))
    for update in range(4):
        optimizer.param_groups[0]["lr"] = 0.01 * (1 - update / 4)
        batch = order[8 * update : 8 * update + 8]
        optimizer.zero_grad()
        logits = twin.module(data.scaling(data.images[batch].float() / 255))
        torch.nn.functional.cross_entropy(logits, data.labels[batch]).backward()
        optimizer.step()
    assert torch.allclose(found, twin.vector(), atol=1e-4)


def test_networks_share_the_plane_s_image_passes_and_choices_are_made_on_validation_images(measured: pd.DataFrame) -> None:
    networks = measured[measured["models"] == NETWORKS]
    total = 216 + 5 * 8  # of the plane and of its origin
    assert networks["passes"].tolist() == [total // 2, total // 7] * 3
    assert set(networks["choice"]) <= {0.001, 0.01} and networks["disagreement"].between(0, 1).all()
    assert set(measured[measured["models"] == PERTURBED]["choice"]) <= {0.1, 0.2}
    dataset = tiny_dataset()
    dataset.x_test[:], dataset.y_test[:] = 0, 0
    other = measure(OPTIONS, *tiny_plane(dataset, 1), MASK, [dataset], CPU)
    assert [row["choice"] for row in other] == pytest.approx(measured[measured["seed"] == 1]["choice"].tolist(), nan_ok=True)


def test_differences_are_paired_by_seed(measured: pd.DataFrame) -> None:
    found = table(OPTIONS, measured, [])
    of = measured[measured["size"] == 2].pivot(index="seed", columns="models", values="nll")
    differences = of[PLANE] - of[NETWORKS]
    [row] = found[(found["models"] == f"{PLANE} minus {NETWORKS}") & (found["size"] == 2)].to_dict("records")
    assert row["nll"] == pytest.approx(differences.mean())
    assert row["nll_high"] == pytest.approx(differences.mean() + 4.302653 * differences.std() / 3**0.5)
    texts = [line.get_label() for line in draw(OPTIONS, found, []).axes[0].lines]
    assert texts == [*CHOICES, NETWORKS, PERTURBED]


@pytest.mark.parametrize(
    ("sign", "half", "averaging", "networks", "word"),
    [
        (-1, 0.1, "helps", "better than", "better"),
        (1, 0.1, "harms", "worse than", "worse"),
        (1, 2.0, "is not told apart from a single pixel", "not told apart from", "not told apart"),
        (1, float("nan"), "is not told apart from a single pixel", "not told apart from", "not told apart"),
    ],
)
def test_the_verdict_follows_from_the_table(
    measured: pd.DataFrame, sign: int, half: float, averaging: str, networks: str, word: str
) -> None:
    found = table(OPTIONS, measured, [])
    minus = found["models"].str.contains(" minus ", na=False)
    found.loc[minus, ["nll", "nll_low", "nll_high"]] = [sign, sign - half, sign + half]
    found.loc[minus, ["accuracy", "accuracy_low", "accuracy_high"]] = [-sign, -sign - half, -sign + half]
    text = verdict(OPTIONS, found)
    assert f"averaging 7 white pixels that lie far apart {averaging}." in text
    assert f"as many of them are {networks} 2 and 7 independent networks." in text
    lines = [line for line in text.splitlines() if line.startswith("* ")]
    assert [line.partition(":")[0] for line in lines] == [
        "* 7 pixels minus each white pixel by itself, on average",
        "* 2 pixels minus 2 independent networks",
        "* 7 pixels minus 7 independent networks",
        "* 7 pixels minus the first of 2 independent networks alone",
    ]
    for line in lines:
        assert line.count(f", {word}") == 2
        assert f"NLL {sign:+.3f}".replace("-", "\N{MINUS SIGN}") in line


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"networks": [3]}, r"beyond.ensembles: networks: found 3, expected some of the sizes \[1, 2, 4\]"),
        ({"sizes": [0]}, r"beyond.ensembles.sizes\[0\]: found 0, expected at least 1"),
        ({"learning_rates": [-1.0]}, r"beyond.ensembles.learning_rates\[0\]: found -1.0, expected more than 0"),
        ({"experiment": "x"}, r"beyond.ensembles: experiment: 'x' is not in experiments"),
    ],
)
def test_bad_options_end_in_one_line(changed: dict, message: str) -> None:
    config = layered()
    config["beyond"]["ensembles"] |= changed
    with pytest.raises(InputError, match=message) as caught:
        runs_of(config).add_parts()
    assert "\n" not in str(caught.value)


def test_too_few_white_pixels_is_one_line() -> None:
    dataset = tiny_dataset()
    with pytest.raises(InputError, match="sizes: found 32, but corner has 7 white pixels"):
        measure(Options(**GIVEN), *tiny_plane(dataset), MASK, [dataset], CPU)


def test_planning_a_run_imports_no_metrics() -> None:
    program = (
        "import sys, losspatterns.beyond.ensembles; sys.exit(bool({'torch', 'torchmetrics', 'pandas'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT / "scripts", check=False).returncode == 0
