"""Averaged predictions of a plane's white pixels, and of networks that are trained or perturbed to compare them with."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import InputError
from ...settings import Recipe, parse_network, read
from ...torchvision_compat import with_torchvision

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ...data.dataset_file import Dataset
    from ...method.images import TrainingImages
    from ...method.plane import Plane
    from ...method.plane_file import TrainedPlane
    from ...networks.flat import FlatNetwork
    from ..ensembles import Options

QUANTITIES = ("accuracy", "nll", "ece", "disagreement")
COLUMNS = ("models", "size", "distance", *QUANTITIES, "choice", "passes")
CHOICES = ("neighbours", "spread far", "random")
SINGLE = "each white pixel"  # by itself: the mean over all of them
NETWORKS, PERTURBED = "independent networks", "perturbed network"
CONTROLS = ("untrained plane", "shuffled mask")
PLANE = "spread far"  # the choice of pixels that is compared with the independent networks
ECE_BINS = 15
AT_ONCE = 250  # images of one call


def order_of(choice: str, places: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Pixels at places (K, 2), in the order in which an ensemble takes them, from a random one on: indices (K,).

    neighbours: by distance from the first. spread far: each the farthest from those before. random: at random.
    """
    if choice == "random":
        return rng.permutation(len(places))
    first = int(rng.integers(len(places)))
    distance = np.linalg.norm(places - places[first], axis=1)
    if choice == "neighbours":
        return np.argsort(distance, kind="stable")
    order = [first]
    while len(order) < len(places):
        distance[order[-1]] = -1.0
        order.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(places - places[order[-1]], axis=1))
    return np.array(order)


def log_probabilities(network: FlatNetwork, weights: Iterable[Tensor], images: Tensor) -> Tensor:
    """Predicted log probabilities (K, N, classes) float64 of the models at weights (n,) for images (N, C, H, W).

    Batch norm takes the statistics of all images.
    """
    import torch

    from ...method.layers import OneModel

    parts = images.split(len(images) if network.norms else AT_ONCE)
    with torch.no_grad(), OneModel() if images.device.type == "cpu" else contextlib.nullcontext():
        logits = [torch.cat([network(vector, part) for part in parts]) for vector in weights]
        return torch.stack(logits).double().log_softmax(-1)


def scores(logs: Tensor, labels: Tensor) -> dict[str, float]:
    """Accuracy, negative log-likelihood (nats) and calibration error of the averaged probabilities of an ensemble: logs
    (m, N, classes), labels (N,)."""

    def calibration_error() -> Callable[..., Tensor]:
        from torchmetrics.functional.classification import multiclass_calibration_error

        return multiclass_calibration_error

    averaged = logs.logsumexp(0) - math.log(len(logs))
    chosen = averaged.gather(1, labels[:, None])
    given = averaged.exp(), labels, averaged.shape[1]
    return {
        "accuracy": float((averaged.argmax(1) == labels).double().mean()),
        "nll": float(-chosen.mean()),
        "ece": float(with_torchvision(calibration_error)(*given, n_bins=ECE_BINS, norm="l1")),
    }


def disagreements(logs: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """All pairs (P, 2) of K models with logs (K, N, classes), and how often their predicted classes differ (P,)."""
    predicted = logs.argmax(-1).cpu().numpy().astype(np.int16)
    pairs = np.array(list(combinations(range(len(predicted)), 2)), dtype=np.int64).reshape(-1, 2)
    return pairs, np.array([(predicted[i] != predicted[j]).mean() for i, j in pairs])


def trained_network(network: FlatNetwork, data: TrainingImages, passes: int, batch: int, rate: float, seed: int) -> Tensor:
    """The weights (n,) of an initialised network after ordinary training: Adam, `rate` falling to zero, `passes` images."""
    import torch

    from ...method.images import ImageStream
    from ...method.optimizers import Adam
    from ...method.origin import ordinary_gradient

    weights = network.vector().to(data.images.device)
    for parameter, part in zip(network.parameters, network.unflatten(weights).values(), strict=True):
        parameter.data = part
    stream, optimizer = ImageStream(data, torch.Generator().manual_seed(seed)), Adam(weights, torch.ones_like(weights))
    updates = max(1, passes // batch)
    for update in range(updates):
        images, labels = stream.take(batch)
        optimizer.step(ordinary_gradient(network, images, labels), rate * (1 - update / updates))
    return weights


def measure(
    options: Options,
    trained: TrainedPlane,
    untrained: Plane,
    mask: np.ndarray,
    datasets: Sequence[Dataset],
    device: torch.device,
) -> list[dict[str, Any]]:
    """A row for each kind of ensemble and size, with the mean over draws; and for each distance of pixels, rounded.

    InputError for a mask with too few white pixels.
    """
    import torch

    from ...analysis.scores import shuffled
    from ...method.images import TrainingImages, labels_on
    from ...method.origin import initialisations
    from ...method.surface import choose_images

    facts, data, largest = trained.provenance, datasets[0], max(options.sizes)
    places = np.argwhere(mask == 1)
    if len(places) < largest:
        raise InputError(f"sizes: found {largest}, but {facts['mask']['name']} has {len(places)} white pixels that are trained")
    index = choose_images(len(data.x_test), options.images, 0)
    test = trained.scaling.inputs(data.x_test[index])
    labels = labels_on(device, data.y_test[index])
    validation = trained.scaling.inputs(data.x_validation)
    answers = labels_on(device, data.y_validation)
    rng = np.random.default_rng(facts["seed"])
    rows: list[dict[str, Any]] = []

    def predict(weights: Iterable[Tensor], images: Tensor = test) -> Tensor:
        return log_probabilities(trained.network, weights, images)

    def at_pixels(plane: Plane, places: np.ndarray) -> Tensor:
        basis = plane.basis()
        return predict(plane.weights(place, basis)[0] for place in torch.from_numpy(places).to(device).split(1))

    def add(models: str, size: int, chosen: Sequence[Tensor], **more: float) -> None:
        of_draws = [scores(logs, labels) for logs in chosen]
        mean = {name: float(np.mean([draw[name] for draw in of_draws])) for name in of_draws[0]}
        rows.append({"models": models, "size": size, **mean, **more})

    # White pixels, and the same of the controls.
    white = at_pixels(trained.plane, places)
    elsewhere = np.argwhere(shuffled(mask, mask == 1)[0] == 1)
    pools = {choice: (white, choice) for choice in CHOICES}
    pools |= {CONTROLS[0]: (at_pixels(untrained, places), PLANE), CONTROLS[1]: (at_pixels(trained.plane, elsewhere), PLANE)}
    for models, (logs, choice) in pools.items():
        where = elsewhere if models == CONTROLS[1] else places
        orders = [order_of(choice, where, rng) for _ in range(options.draws)]
        for size in options.sizes:
            add(models, size, [logs[order[:size]] for order in orders])
    add(SINGLE, 1, white.split(1))
    pairs, different = disagreements(white)
    rounded = np.rint(np.linalg.norm(places[pairs[:, 0]] - places[pairs[:, 1]], axis=1)).astype(int)
    for distance in np.unique(rounded):
        rows.append({"models": "white pixels", "distance": distance, "disagreement": different[rounded == distance].mean()})

    # Independent networks: together they get the image passes of the plane and of its origin.
    recipe = read(Recipe, "training", {key: value for key, value in facts["training"].items() if key != "recipe"})
    passes = facts["image_passes"] + recipe.origin_updates * recipe.origin_images
    images = TrainingImages.of(data.x_train, data.y_train, recipe, device)
    settings = parse_network("network", facts["network"])
    count = sum(options.networks)
    seeds = np.random.SeedSequence([facts["seed"], 2]).generate_state(count + 1).tolist()

    def network_of(seed: int, passes: int, rate: float) -> Tensor:
        shape, classes = facts["image_shape"], facts["classes"]
        [network] = initialisations(settings, shape, classes, seed, 1, device)
        return trained_network(network, images, passes, options.batch, rate, seed)

    def loss(models: Sequence[Tensor]) -> float:
        return scores(predict(models, validation), answers)["nll"]

    of_rates = {rate: loss([network_of(seeds[-1], passes // options.trial, rate)]) for rate in options.learning_rates}
    rate, start, base = min(of_rates, key=of_rates.get), 0, None
    for size in sorted(options.networks):
        models = [network_of(seed, passes // size, rate) for seed in seeds[start : start + size]]
        base, start = models[0] if base is None else base, start + size
        logs = predict(models)
        apart = {"disagreement": disagreements(logs)[1].mean()} if size > 1 else {}
        add(NETWORKS, size, [logs], choice=rate, passes=passes // size, **apart)

    # The first of these networks, and noise on its weights.
    scale = torch.cat([part.square().mean().sqrt().expand(part.numel()) for part in trained.network.unflatten(base).values()])
    generator = torch.Generator().manual_seed(facts["seed"])
    directions = torch.randn(2 * largest, len(base), generator=generator).to(device) * scale
    of_noise = {noise: loss(list(base + noise * directions[:largest])) for noise in options.noise}
    noise = min(of_noise, key=of_noise.get)
    logs = predict(base + noise * directions)
    apart = disagreements(logs)[1].mean()
    for size in options.sizes:
        chosen = [logs[rng.permutation(len(logs))[:size]] for _ in range(options.draws)]
        add(PERTURBED, size, chosen, choice=noise, disagreement=apart)
    return [dict.fromkeys(COLUMNS, math.nan) | row for row in rows]
