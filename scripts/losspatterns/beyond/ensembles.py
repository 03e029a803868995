"""A plane as an ensemble: averaged predictions of its white pixels, beside independent networks at equal image passes."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from ..analysis.scores import shuffled
from ..config.fields import Count, Positive, Several
from ..errors import InputError
from ..method.settings import recipe_of
from ..networks.settings import parse_network
from ..torchvision_compat import with_torchvision
from . import Needs, PartOptions, Runs, Subject

if TYPE_CHECKING:
    from torch import Tensor

    from ..method.images import TrainingImages
    from ..method.plane import Plane
    from ..networks.flat import FlatNetwork

CAPTION = """\
**A plane as an ensemble.** Averaged predicted probabilities of m models; mean over seeds and its 95 % interval. Of the plane:
white pixels that are neighbours, spread far, or random. Independent networks: m networks that share the plane's image passes.
Perturbed network: one of these networks with Gaussian noise on its weights. (a) Accuracy. (b) Negative log-likelihood. (c)
Calibration error. (d) Share of test images on which two white pixels predict different classes, against their distance; lines
across: the same of two independent networks, and of two perturbed ones.
"""
QUANTITIES = ("accuracy", "nll", "ece", "disagreement")
COLUMNS = ("models", "size", "distance", *QUANTITIES, "choice", "passes")
CHOICES = ("neighbours", "spread far", "random")
SINGLE = "each white pixel"  # by itself: the mean over all of them
NETWORKS, PERTURBED = "independent networks", "perturbed network"
CONTROLS = ("untrained plane", "shuffled mask")
PLANE = "spread far"  # the choice of pixels that is compared with the independent networks
ECE_BINS = 15
AT_ONCE = 250  # images of one call


class Options(PartOptions):
    """Pictures of one experiment, and the ensembles that are made of their white pixels."""

    experiment: str = Field(description="The experiment's name.")
    masks: Several[str] = Field(description="Names of masks.")
    images: Count = Field(2000, description="Test images.")
    sizes: Several[Count] = Field((1, 2, 4, 8, 16, 32), description="Models of an ensemble.")
    draws: Count = Field(10, description="Ensembles of each size whose scores are averaged.")
    networks: Several[Count] = Field(
        (1, 2, 4, 8, 16, 32), description="Independent networks: the sizes for which they are trained."
    )
    batch: Count = Field(32, description="Images of one of their Adam updates.")
    learning_rates: Several[Positive] = Field((0.003, 0.01), description="Of their Adam: chosen on validation images.")
    trial: Count = Field(8, description="It is chosen by networks that get one of so many parts of the image passes.")
    noise: Several[Positive] = Field(
        (0.02, 0.05, 0.1, 0.2, 0.4),
        description="On the perturbed network, in units of a layer's RMS: chosen on validation.",
    )


def needs(options: Options, key: str, runs: Runs) -> Needs:
    """Every seed of every picture. InputError for networks that no ensemble of the plane is compared with."""
    if strange := sorted(set(options.networks) - set(options.sizes)):
        raise InputError(f"{key}: networks: found {strange[0]}, expected some of the sizes {list(options.sizes)}")
    return Needs(planes=[run for mask in options.masks for run in runs.pictures(key, options.experiment, mask)])


def order_of(choice: str, places: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Pixels at places (K, 2), in the order in which an ensemble takes them, from a random one on: indices (K,).

    neighbours: by distance from the first. spread far: each the farthest from those before. random: at random.
    """
    if choice == "random":
        return rng.permutation(len(places))
    order = [int(rng.integers(len(places)))]
    distance = np.linalg.norm(places - places[order[0]], axis=1)
    if choice == "neighbours":
        return np.argsort(distance, kind="stable")
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

    from ..method.layers import OneModel

    parts = images.split(len(images) if network.norms else AT_ONCE)
    with torch.no_grad(), OneModel() if images.device.type == "cpu" else contextlib.nullcontext():
        logits = [torch.cat([network(vector, part) for part in parts]) for vector in weights]
        return torch.stack(logits).double().log_softmax(-1)


def scores(logs: Tensor, labels: Tensor) -> dict[str, float]:
    """Accuracy, negative log-likelihood (nats) and calibration error of the averaged probabilities of an ensemble: logs
    (m, N, classes), labels (N,)."""
    averaged = logs.logsumexp(0) - math.log(len(logs))

    def calibration_error() -> Tensor:
        from torchmetrics.functional.classification import multiclass_calibration_error

        return multiclass_calibration_error(averaged.exp(), labels, averaged.shape[1], n_bins=ECE_BINS, norm="l1")

    return {
        "accuracy": float((averaged.argmax(1) == labels).double().mean()),
        "nll": float(-averaged.gather(1, labels[:, None]).mean()),
        "ece": float(with_torchvision(calibration_error)),
    }


def disagreements(logs: Tensor) -> np.ndarray:
    """How often the predicted classes of any two of K models differ, in scipy's order of pairs (P,): logs (K, N, classes)."""
    from scipy.spatial.distance import pdist

    return pdist(logs.argmax(-1).cpu().numpy(), "hamming")


def trained_network(network: FlatNetwork, data: TrainingImages, passes: int, batch: int, rate: float, seed: int) -> Tensor:
    """The weights (n,) of an initialised network after ordinary training: Adam, `rate` falling to zero, `passes` images."""
    import torch

    from ..method.images import ImageStream
    from ..method.optimizers import Adam
    from ..method.origin import ordinary_gradient

    weights = network.vector().to(data.images.device)
    for parameter, part in zip(network.parameters, network.unflatten(weights).values(), strict=True):
        parameter.data = part
    stream, optimizer = ImageStream(data, torch.Generator().manual_seed(seed)), Adam(weights, torch.ones_like(weights))
    updates = max(1, passes // batch)
    for update in range(updates):
        images, labels = stream.take(batch)
        optimizer.step(ordinary_gradient(network, images, labels), rate * (1 - update / updates))
    return weights


def measure(options: Options, subject: Subject) -> list[dict[str, Any]]:
    """A row for each kind of ensemble and size, with the mean over draws; and for each distance of pixels, rounded.

    InputError for a mask with too few white pixels.
    """
    import torch
    from scipy.spatial.distance import pdist

    from ..method.images import TrainingImages, labels_on
    from ..method.origin import initialisations
    from ..method.surface import choose_images

    trained, mask, device, data = subject.trained, subject.mask, subject.device, subject.datasets[0]
    facts, largest, places = trained.provenance, max(options.sizes), np.argwhere(mask == 1)
    if len(places) < largest:
        raise InputError(f"sizes: found {largest}, but {facts['mask']['name']} has {len(places)} white pixels that are trained")
    index = choose_images(len(data.x_test), options.images, 0)
    test, labels = trained.scaling.inputs(data.x_test[index]), labels_on(device, data.y_test[index])
    validation, answers = trained.scaling.inputs(data.x_validation), labels_on(device, data.y_validation)
    rng = np.random.default_rng(facts["seed"])
    rows: list[dict[str, Any]] = []

    def predict(weights: Iterable[Tensor]) -> Tensor:
        return log_probabilities(trained.network, weights, test)

    def loss(weights: Iterable[Tensor]) -> float:
        return scores(log_probabilities(trained.network, weights, validation), answers)["nll"]

    def at_pixels(plane: Plane, places: np.ndarray) -> Tensor:
        basis = plane.basis()
        return predict(plane.weights(place, basis)[0] for place in torch.from_numpy(places).to(device).split(1))

    def add(models: str, size: int, chosen: Sequence[Tensor], **more: float) -> None:
        of_draws = [scores(logs, labels) for logs in chosen]
        mean = {name: float(np.mean([found[name] for found in of_draws])) for name in of_draws[0]}
        rows.append({"models": models, "size": size, **mean, **more})

    # White pixels, and the same of the controls.
    white = at_pixels(trained.plane, places)
    elsewhere = np.argwhere(shuffled(mask, mask == 1)[0] == 1)
    pools = {choice: (white, choice, places) for choice in CHOICES}
    pools[CONTROLS[0]] = at_pixels(subject.untrained, places), PLANE, places
    pools[CONTROLS[1]] = at_pixels(trained.plane, elsewhere), PLANE, elsewhere
    for models, (logs, choice, where) in pools.items():
        orders = [order_of(choice, where, rng) for _ in range(options.draws)]
        for size in options.sizes:
            add(models, size, [logs[order[:size]] for order in orders])
    add(SINGLE, 1, white.split(1))
    rounded, different = np.rint(pdist(places)).astype(int), disagreements(white)
    for distance in np.unique(rounded):
        rows.append({"models": "white pixels", "distance": distance, "disagreement": different[rounded == distance].mean()})

    # Independent networks: together they get the image passes of the plane and of its origin.
    recipe = recipe_of(facts["training"])
    passes = facts["image_passes"] + recipe.origin_updates * recipe.origin_images
    images = TrainingImages.of(data.x_train, data.y_train, len(data.class_names), recipe, device)
    made_of = parse_network("network", facts["network"]), facts["image_shape"], facts["classes"]
    seeds = np.random.SeedSequence([facts["seed"], 2]).generate_state(sum(options.networks) + 1).tolist()

    def network_of(seed: int, passes: int, rate: float) -> Tensor:
        [network] = initialisations(*made_of, seed, 1, device)
        return trained_network(network, images, passes, options.batch, rate, seed)

    of_rates = {rate: loss([network_of(seeds[-1], passes // options.trial, rate)]) for rate in options.learning_rates}
    rate, left, base = min(of_rates, key=of_rates.get), iter(seeds), None
    for size in sorted(options.networks):
        models = [network_of(next(left), passes // size, rate) for _ in range(size)]
        base, logs = models[0] if base is None else base, predict(models)
        apart = {"disagreement": disagreements(logs).mean()} if size > 1 else {}
        add(NETWORKS, size, [logs], choice=rate, passes=passes // size, **apart)

    # The first of these networks, and noise on its weights.
    scale = torch.cat([part.square().mean().sqrt().expand(part.numel()) for part in trained.network.unflatten(base).values()])
    generator = torch.Generator().manual_seed(facts["seed"])
    directions = torch.randn(2 * largest, len(base), generator=generator).to(device) * scale
    of_noise = {noise: loss(base + noise * directions[:largest]) for noise in options.noise}
    noise = min(of_noise, key=of_noise.get)
    logs = predict(base + noise * directions)
    apart = disagreements(logs).mean()
    for size in options.sizes:
        chosen = [logs[rng.permutation(len(logs))[:size]] for _ in range(options.draws)]
        add(PERTURBED, size, chosen, choice=noise, disagreement=apart)
    return [dict.fromkeys(COLUMNS, math.nan) | row for row in rows]
