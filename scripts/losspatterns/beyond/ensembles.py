"""A plane as an ensemble: averaged predictions of its white pixels, beside independent networks at equal image passes."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from ..errors import InputError
from ..settings import Count, PartOptions, Positive, Several, parse_network, recipe_of
from ..torchvision_compat import with_torchvision
from . import Needs

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from matplotlib.figure import Figure
    from torch import Tensor

    from ..data.dataset_file import Dataset
    from ..method.images import TrainingImages
    from ..method.plane import Plane
    from ..method.plane_file import TrainedPlane
    from ..networks.flat import FlatNetwork
    from ..runs import Runs

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

    from ..method.layers import OneModel

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

    from ..analysis.scores import shuffled
    from ..method.images import TrainingImages, labels_on
    from ..method.origin import initialisations
    from ..method.surface import choose_images

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
        mean = {name: float(np.mean([found[name] for found in of_draws])) for name in of_draws[0]}
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
    recipe = recipe_of(facts["training"])
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


def table(options: Options, measured: pd.DataFrame, surfaces: Sequence[Any]) -> pd.DataFrame:
    """Means and intervals over seeds of each kind of ensemble and size, and of differences that are paired by seed; the
    disagreement at each distance."""
    import pandas as pd

    from .seeds import over_seeds

    of_size = measured.dropna(subset=["size"]).set_index(["mask", "network", "seed"])
    differences = []

    def compare(name: str, first: tuple[str, int], second: tuple[str, int]) -> None:
        one, other = (
            of_size[(of_size["models"] == models) & (of_size["size"] == size)][list(QUANTITIES[:3])]
            for models, size in (first, second)
        )
        differences.append((one - other).reset_index().assign(models=name, size=first[1]))

    largest = max(options.sizes)
    compare(f"{PLANE} minus {SINGLE}", (PLANE, largest), (SINGLE, 1))
    for size in sorted(options.networks):
        compare(f"{PLANE} minus {NETWORKS}", (PLANE, size), (NETWORKS, size))
        compare(f"{PLANE} minus {PERTURBED}", (PLANE, size), (PERTURBED, size))
    compare(f"{PLANE} minus the first network", (PLANE, largest), (NETWORKS, min(options.networks)))
    return over_seeds(pd.concat([measured, *differences], ignore_index=True), ["models", "size", "distance"], QUANTITIES)


def _two(sizes: Sequence[int]) -> list[int]:
    """One in the middle and the largest, of those that are shown where there is no place for all."""
    return [sorted(sizes)[len(sizes) // 2], max(sizes)]


def verdict(options: Options, table: pd.DataFrame) -> str:
    """A table of ensembles and of paired differences, and the answer."""
    from ..analysis.claims import markdown
    from ..figures.style import listed
    from .seeds import side_of, written

    of_size = table.dropna(subset=["size"])
    largest, shown = max(options.sizes), {1, *_two(options.sizes)}
    lines = []
    for models in (SINGLE, *CHOICES, NETWORKS, PERTURBED, *CONTROLS):
        rows = of_size[(of_size["models"] == models) & (of_size["size"].isin(shown) | (models == NETWORKS))]
        for _, row in rows.iterrows():
            lines.append([models, f"{row['size']:.0f}", *(written(row, name, 3) for name in QUANTITIES[:3])])
    head = ["models", "m", "accuracy", "NLL (nats)", "calibration error"]
    minus = [
        [row["models"], f"{row['size']:.0f}", *(written(row, name, 3, signed=True) for name in QUANTITIES[:3])]
        for _, row in of_size[of_size["models"].str.contains(" minus ")].iterrows()
    ]

    def found(models: str, size: int) -> Any:
        return of_size[(of_size["models"] == models) & (of_size["size"] == size)].iloc[0]

    def differs(row: Any) -> str:
        """Differences in NLL and accuracy, each with what it says."""
        parts = [
            f"{title} {written(row, name, 3, signed=True)}, {better[sign * side_of(row, name)]}"
            for name, title, sign in (("nll", "NLL", -1), ("accuracy", "accuracy", 1))
        ]
        return "; ".join(parts)

    better = {1: "better", -1: "worse", 0: "not told apart"}
    helps = {1: "helps", -1: "harms", 0: "is not told apart from a single pixel"}
    than = {1: "better than", -1: "worse than", 0: "not told apart from"}
    averaged = found(f"{PLANE} minus {SINGLE}", largest)
    compared = {size: found(f"{PLANE} minus {NETWORKS}", size) for size in sorted(options.networks) if size > 1}
    answers: dict[str, list[str]] = {}
    for size, row in compared.items():
        answers.setdefault(than[-side_of(row, "nll")], []).append(f"{size}")
    text = [f"By the NLL, averaging {largest} white pixels that lie far apart {helps[-side_of(averaged, 'nll')]}."]
    if answers:
        said = listed([f"{which} {listed(of)}" for which, of in answers.items()])
        text.append(f"At equal image passes, as many of them are {said} {NETWORKS}.")
    text += ["", f"Mean over {averaged['seeds']} seeds (95 % interval); differences are paired by seed:", ""]
    text.append(f"* {largest} pixels minus {SINGLE} by itself, on average: {differs(averaged)}")
    text += [f"* {size} pixels minus {size} {NETWORKS}: {differs(row)}" for size, row in compared.items()]
    first = min(options.networks)
    one = f"the first of {first} {NETWORKS} alone" if first > 1 else "one network with all image passes"
    text.append(f"* {largest} pixels minus {one}: {differs(found(f'{PLANE} minus the first network', largest))}")
    return f"{markdown(head, lines, numbers=True)}\n{markdown(head, minus, numbers=True)}\n" + "\n".join(text) + "\n"


def draw(options: Options, table: pd.DataFrame, surfaces: Sequence[Any]) -> Figure:
    """Four panels side by side."""
    from matplotlib.ticker import MaxNLocator, NullLocator

    from ..figures.style import DOUBLE, SMALL, new_figure, place, small

    figure = new_figure(DOUBLE, 2.5)
    looks = {
        "neighbours": ("tab:blue", "v", "-"),
        "spread far": ("tab:red", "D", "-"),
        "random": ("tab:orange", "o", "-"),
        NETWORKS: ("black", "s", "--"),
        PERTURBED: ("0.55", "x", ":"),
    }
    of_size = table.dropna(subset=["size"])
    titles = ("(a) accuracy", "(b) NLL (nats)", "(c) calibration error", "(d) disagreement")
    for number, (quantity, title) in enumerate(zip(QUANTITIES, titles, strict=True)):
        axes = place(figure, 0.35 + 1.7 * number, 0.28, 1.3, 1.45)
        for models, (colour, marker, line) in looks.items() if number < 3 else ():
            of = of_size[of_size["models"] == models]
            style = {"color": colour, "marker": marker, "markersize": 3, "linewidth": 1.0, "label": models}
            axes.plot(of["size"], of[quantity], line, zorder=3, **style)
            axes.fill_between(of["size"], of[f"{quantity}_low"], of[f"{quantity}_high"], color=colour, alpha=0.12, lw=0)
        if number < 3:
            axes.set(xscale="log", xlabel="models m")
            axes.set_xticks(sorted(options.sizes), labels=[f"{size}" for size in sorted(options.sizes)])
            axes.xaxis.set_minor_locator(NullLocator())
        else:
            of = table.dropna(subset=["distance"]).sort_values("distance")
            axes.plot(of["distance"], of[quantity], color="tab:red")
            axes.fill_between(of["distance"], of[f"{quantity}_low"], of[f"{quantity}_high"], color="tab:red", alpha=0.15, lw=0)
            for models in (NETWORKS, PERTURBED):
                for _, row in of_size[(of_size["models"] == models) & of_size[quantity].notna()].iterrows():
                    if row["size"] in (_two(options.networks) if models == NETWORKS else [max(options.sizes)]):
                        axes.axhline(row[quantity], color=looks[models][0], linestyle=looks[models][2], linewidth=0.9)
                        mark = f"m = {row['size']:.0f}" if models == NETWORKS else ""
                        axes.text(0.3, row[quantity], mark, color=looks[models][0], fontsize=SMALL, va="bottom")
            axes.set(xlabel="distance of two pixels", ylim=(0, None))
        axes.set_title(title, loc="left")
        axes.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
        axes.spines[["top", "right"]].set_visible(False)
        if number == 0:
            handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, loc="center", bbox_to_anchor=(0.5, 1 - 2.2 / 2.5), ncols=5, columnspacing=1.4)
    first = min(options.networks)
    base = f"the first of {first} {NETWORKS}" if first > 1 else "a network with all image passes"
    note = f"perturbed: {base}; mean over {of_size['seeds'].iloc[0]} seeds and 95 % interval"
    small(figure, 0.1, 2.32, note, ha="left")
    return figure
