"""Ensembles of a plane's pixels: against plain networks, and a verdict that follows from the table."""

import numpy as np
import pandas as pd
import pytest
import torch
from beyond_planes import CPU, MASK, over_three_seeds, subject, tiny_dataset
from figure_checks import check_layout
from losspatterns.beyond.ensembles import (
    CHOICES,
    ECE_BINS,
    NETWORKS,
    PERTURBED,
    PLANE,
    SINGLE,
    Options,
    disagreements,
    log_probabilities,
    measure,
    order_of,
    scores,
    trained_network,
)
from losspatterns.beyond.shown.ensembles import draw, table, verdict
from losspatterns.errors import InputError
from losspatterns.figures.style import styled
from losspatterns.method.images import TrainingImages, channels_first
from losspatterns.method.origin import initialisations
from losspatterns.method.settings import WarmUp
from losspatterns.networks.settings import parse_network

WHITE = np.argwhere(MASK == 1)
GIVEN = {"kind": "ensembles", "experiment": "e", "masks": ("corner",), "images": 40, "draws": 3, "batch": 8}
OPTIONS = Options(**GIVEN, sizes=(1, 2, 7), networks=(2, 7), learning_rates=(0.001, 0.01), trial=2, noise=(0.1, 0.2))
DATA = tiny_dataset()
TRAINED, UNTRAINED = subject(DATA).trained, subject(DATA).untrained


def plain(plane, places: np.ndarray = WHITE) -> np.ndarray:
    """Predicted probabilities (K, N, classes) of ordinary networks at pixels."""
    inputs = (channels_first(DATA.x_test).float() / 255 - TRAINED.scaling.mean) / TRAINED.scaling.std
    weights = plane.weights(torch.from_numpy(places))
    return np.stack([torch.softmax(TRAINED.network.ordinary(each)(inputs), 1).detach().double().numpy() for each in weights])


def nll(probabilities: np.ndarray) -> float:
    """Of the right classes, their probabilities standing last but one and last."""
    return -np.log(probabilities[..., np.arange(40), DATA.y_test]).mean()


def calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = ECE_BINS) -> float:
    """Guo et al. 2017: mean over bins of confidence of |accuracy - confidence|, each weighted with its share of the images."""
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    of = np.ceil(confidence * bins).astype(int)
    return sum((of == k).mean() * abs(right[of == k].mean() - confidence[of == k].mean()) for k in set(of))


@pytest.fixture(scope="module")
def measured() -> pd.DataFrame:
    return over_three_seeds(measure, OPTIONS, DATA)


def test_an_averaged_prediction_is_that_of_ordinary_networks() -> None:
    weights = TRAINED.plane.weights(torch.from_numpy(WHITE[:4]))
    logs = log_probabilities(TRAINED.network, weights, TRAINED.scaling.inputs(DATA.x_test))
    mean = plain(TRAINED.plane, WHITE[:4]).mean(0)
    assert logs.shape == (4, 40, 3) and logs.exp().mean(0).numpy() == pytest.approx(mean, abs=1e-6)
    expected = {
        "accuracy": (mean.argmax(1) == DATA.y_test).mean(),
        "nll": nll(mean),
        "ece": calibration_error(mean, DATA.y_test),
    }
    assert scores(logs, torch.from_numpy(DATA.y_test)) == pytest.approx(expected, abs=1e-5)


def test_an_ensemble_of_all_white_pixels_leaves_no_choice_and_a_single_one_is_their_mean(measured: pd.DataFrame) -> None:
    first = measured[measured["seed"] == 1]
    for plane, names in ((TRAINED.plane, CHOICES), (UNTRAINED, ["untrained plane"])):
        found = first[(first["size"] == 7) & first["models"].isin(names)]
        assert len(found) == len(names) and found["nll"].to_numpy() == pytest.approx(nll(plain(plane).mean(0)), abs=1e-5)
    [row] = first[first["models"] == SINGLE].to_dict("records")
    assert row["nll"] == pytest.approx(nll(plain(TRAINED.plane)), abs=1e-5)
    assert row["accuracy"] == pytest.approx((plain(TRAINED.plane).argmax(2) == DATA.y_test).mean(), abs=1e-5)


def test_disagreement_is_counted_for_each_distance(measured: pd.DataFrame) -> None:
    classes, of = plain(TRAINED.plane).argmax(2), {}
    for i in range(len(WHITE)):
        for j in range(i):
            of.setdefault(round(float(np.hypot(*(WHITE[i] - WHITE[j])))), []).append(float((classes[i] != classes[j]).mean()))
    found = measured[(measured["seed"] == 1) & measured["distance"].notna()].set_index("distance")["disagreement"]
    assert found.to_dict() == pytest.approx({distance: np.mean(values) for distance, values in of.items()})
    different = disagreements(torch.eye(2, dtype=torch.float64)[torch.tensor([[0, 0], [0, 1], [1, 1]])])
    assert different.tolist() == [0.5, 1.0, 0.5]  # of models 0 and 1, 0 and 2, 1 and 2


def test_neighbours_lie_together_and_others_far_apart() -> None:
    places, first = np.argwhere(np.ones((6, 7))), {}
    for choice in CHOICES:
        order = order_of(choice, places, np.random.default_rng(0))
        assert sorted(order) == list(range(len(places)))
        first[choice] = np.linalg.norm(places[order][:, None] - places[order][None], axis=-1)
    assert np.all(np.diff(first["neighbours"][0]) >= 0)
    spread = first["spread far"]
    for k in range(1, 20):  # each is the farthest of those left
        assert spread[k, :k].min() == max(spread[j, :k].min() for j in range(k, len(places)))


def test_an_independent_network_is_trained_by_ordinary_adam() -> None:
    settings = parse_network("network", {"kind": "conv", "channels": [4], "dense": [8], "pooled_size": 2})
    warm_up = WarmUp(origin_updates=0, origin_images=8, origin_learning_rate=0.001, standardise=True, augmentation="none")
    data = TrainingImages.of(DATA.x_train, DATA.y_train, len(DATA.class_names), warm_up, CPU)
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
    other = tiny_dataset()
    other.x_test[:], other.y_test[:] = 0, 0
    found = [row["choice"] for row in measure(OPTIONS, subject(other))]
    assert found == pytest.approx(measured[measured["seed"] == 1]["choice"].tolist(), nan_ok=True)


def test_differences_are_paired_by_seed(measured: pd.DataFrame) -> None:
    found = table(OPTIONS, measured, [])
    of = measured[measured["size"] == 2].pivot(index="seed", columns="models", values="nll")
    differences = of[PLANE] - of[NETWORKS]
    [row] = found[(found["models"] == f"{PLANE} minus {NETWORKS}") & (found["size"] == 2)].to_dict("records")
    assert row["nll"] == pytest.approx(differences.mean())
    assert row["nll_high"] == pytest.approx(differences.mean() + 4.302653 * differences.std() / 3**0.5)
    figure = styled(draw)(OPTIONS, found, [])
    check_layout(figure)
    assert [line.get_label() for line in figure.axes[0].lines] == [*CHOICES, NETWORKS, PERTURBED]


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
    for quantity, side in (("accuracy", -sign), ("nll", sign), ("ece", sign)):
        found.loc[minus, [quantity, f"{quantity}_low", f"{quantity}_high"]] = [side, side - half, side + half]
    text = verdict(OPTIONS, found)
    assert f"averaging 7 white pixels that lie far apart {averaging}." in text
    assert f"as many of them are {networks} 2 and 7 independent networks." in text
    assert "The first network: the first of 2 independent networks." in text
    lines = [line for line in text.splitlines() if " minus " in line]
    assert [line.split(" | ")[:2] for line in lines] == [
        [f"| {PLANE} minus {other}", size]
        for other, size in (
            *((SINGLE, "7"), (NETWORKS, "2"), (PERTURBED, "2"), (NETWORKS, "7"), (PERTURBED, "7")),
            ("the first network", "7"),
        )
    ]
    shown = f"{sign:+.3f}".replace("-", "\N{MINUS SIGN}")
    assert all(line.count(f", {word} |") == 3 and shown in line for line in lines)


def test_too_few_white_pixels_is_one_line() -> None:
    with pytest.raises(InputError, match="sizes: found 32, but corner has 7 white pixels"):
        measure(Options(**GIVEN), subject(DATA))
