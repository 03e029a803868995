"""A tiny plane with its data set, for the tests of the parts of `snakemake beyond`."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
from losspatterns.beyond import Subject
from losspatterns.data.dataset_file import Dataset, absent_dataset
from losspatterns.method.images import InputScaling, channels_first
from losspatterns.method.origin import initialisations
from losspatterns.method.plane import Plane
from losspatterns.method.plane_file import TrainedPlane
from losspatterns.method.settings import Recipe
from losspatterns.networks.flat import FlatNetwork
from losspatterns.networks.settings import parse_network

CPU = torch.device("cpu")
NETWORK = {"name": "tiny", "kind": "conv", "channels": [4], "dense": [8], "pooled_size": 2}
MASK = np.array([[1, 1, -1, 0], [1, 0, -1, -1], [1, 1, 1, -1], [0, 1, -1, -1]], np.int8)
RECIPE = {
    **{"updates": 3, "white_pixels": 4, "black_pixels": 4, "pixel_sampling": "epochs", "images": 2, "shared_images": False},
    **{"tau": 5.0, "clamp": "mean", "running_images": 64, "optimizer": "adam", "learning_rate": 0.001, "direction_rate": 1.0},
    **{"schedule": "constant", "warm_up": 0.0, "total_clip": 100.0, "step": 0.3, "learn_step": False, "origin_updates": 5},
    **{"origin_images": 8, "origin_learning_rate": 0.001, "standardise": True, "augmentation": "none"},
    **{"precision": "float32", "pixels_per_chunk": None},
}


def tiny_dataset(label: str = "tiny", classes: int = 3, seed: int = 0) -> Dataset:
    """Images (8, 9, 1) of stripes, a class each, that differ in their grey and noise."""
    rng = np.random.default_rng(seed)
    arrays = []
    for count in (60, 30, 40):
        labels = rng.integers(0, classes, count)
        images = rng.integers(0, 80, (count, 8, 9, 1))
        for image, of in zip(images, labels, strict=True):
            image[:, 2 * of : 2 * of + 2] += 150
        arrays += [images.astype(np.uint8), labels]
    return Dataset(*arrays, [f"class {k}" for k in range(classes)], "made up", label, "none", f"{label}{seed}")


def absent() -> Dataset:
    """A data set that is not there."""
    return absent_dataset((8, 9, 1), "MNIST", "datasets.mnist.sources: none is available: mirror (no files)")


def subject(*datasets: Dataset, seed: int = 1) -> Subject:
    """A plane of random weights in place of a trained one, one of others in place of the untrained, and these data sets."""
    own = datasets[0]
    settings, shape, classes = parse_network("network", NETWORK), (1, *own.x_train.shape[1:3]), len(own.class_names)
    vectors = [each.vector() for each in initialisations(settings, shape, classes, seed, 6)]
    [network] = initialisations(settings, shape, classes, seed, 1)
    scaling = InputScaling.of(channels_first(own.x_train), True, CPU)
    trained, untrained = (Plane(tuple(vectors[k : k + 3]), torch.tensor(0.3), MASK.shape) for k in (0, 3))
    training = {"recipe": "tiny", **Recipe(**RECIPE).model_dump(mode="json")}
    facts = {"seed": seed, "network": NETWORK, "image_shape": list(shape), "classes": classes, "training": training}
    facts |= {"mask": {"name": "corner"}, "image_passes": 216}
    return Subject(TrainedPlane(trained, {}, FlatNetwork(network.module), scaling, facts), untrained, MASK, datasets, CPU)


def over_three_seeds(measure: Callable[..., list[dict[str, Any]]], options: Any, *datasets: Dataset) -> pd.DataFrame:
    """What a part measures on the planes of three seeds, as it is summarised."""
    names = {"mask": "corner", "network": "tiny"}
    rows = [{**names, "seed": seed, **row} for seed in (1, 2, 3) for row in measure(options, subject(*datasets, seed=seed))]
    return pd.DataFrame(rows)
