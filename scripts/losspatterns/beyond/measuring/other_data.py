"""The pixels of a plane on images and labels that it was not trained for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import InputError
from ...settings import NO_BATCH_NORM

if TYPE_CHECKING:
    import torch

    from ...data.dataset_file import Dataset
    from ...method.plane import Plane
    from ...method.plane_file import TrainedPlane
    from ..other_data import Options

QUANTITIES = ("accuracy_white", "accuracy_black", "accuracy_gap", "loss_white", "loss_black", "auc")
CONTROLS = ("trained", "untrained", "shuffled mask")


def variants(
    own: Dataset, others: Sequence[Dataset], count: int, seed: int
) -> Iterator[tuple[str, np.ndarray, np.ndarray, str]]:
    """Of each data that a plane is looked at on: name, at most `count` images (N, H, W, C), labels (N,), why there are none.

    Class names are permuted by a random cycle, so that each class gets another's name. Noise: the pixels of all images
    exchanged at random, so that it has their values and nothing else of them.
    """
    from ...method.surface import choose_images

    def chosen(data: Dataset) -> tuple[np.ndarray, np.ndarray]:
        index = choose_images(len(data.x_test), count, 0)
        return data.x_test[index], data.y_test[index]

    images, labels = chosen(own)
    rng = np.random.default_rng(seed)
    cycle, renamed = rng.permutation(len(own.class_names)), np.empty(len(own.class_names), np.int64)
    renamed[cycle] = np.roll(cycle, 1)
    yield own.label, images, labels, ""
    yield "class names permuted", images, renamed[labels], ""
    yield "labels shuffled", images, rng.permutation(labels), ""
    yield "noise", rng.permutation(images.ravel()).reshape(images.shape), labels, ""
    for other in others:
        yield (other.label, *chosen(other), other.source if other.absent else "")


def measure(
    options: Options,
    trained: TrainedPlane,
    untrained: Plane,
    mask: np.ndarray,
    datasets: Sequence[Dataset],
    device: torch.device,
) -> list[dict[str, Any]]:
    """A row for each data and control. InputError for a data set with another number of classes."""
    import torch

    from ...analysis.scores import auc, shuffled
    from ...method.images import labels_on
    from ...method.surface import evaluate_points

    own, *others = datasets
    classes = len(own.class_names)
    for other in others:
        if not other.absent and len(other.class_names) != classes:
            raise InputError(f"datasets: {other.label} has {len(other.class_names)} classes, the planes tell {classes} apart")
    coordinates = torch.from_numpy(np.argwhere(mask != 0)).to(device)
    white = mask[mask != 0] == 1
    protocol = "batch" if trained.network.norms else NO_BATCH_NORM
    rows = []
    for data, images, labels, missing in variants(own, others, options.images, trained.provenance["seed"]):
        about = {"data": data, "images": len(images), "guess": math.log(classes), "missing": missing}
        if missing:
            rows.append({**about, "control": "trained", **dict.fromkeys(QUANTITIES, math.nan)})
            continue
        given = trained.scaling.inputs(images), labels_on(device, labels), protocol
        found = {
            name: evaluate_points(trained.network, plane, coordinates, *given)
            for name, plane in (("trained", trained.plane), ("untrained", untrained))
        }
        found["shuffled mask"] = found["trained"]
        for control, (loss, accuracy) in found.items():
            of = shuffled(white, white)[0] if control == "shuffled mask" else white
            row = {
                f"{name}_{colour}": values[pixels].mean()
                for name, values in (("accuracy", accuracy), ("loss", loss))
                for colour, pixels in (("white", of), ("black", ~of))
            }
            row["accuracy_gap"] = row["accuracy_white"] - row["accuracy_black"]
            rows.append({**about, "control": control, **row, "auc": auc(-loss, of)})
    return rows
