"""Planes on other data: do black and white stay when images or labels are not those that the plane was trained for?"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from pydantic import Field

from ..analysis.scores import auc, shuffled
from ..config.fields import Many, Several
from ..data.dataset_file import Dataset
from ..errors import InputError
from ..networks.settings import NO_BATCH_NORM
from . import Needs, PartOptions, Runs, Subject

CAPTION = """\
**Planes on other data.** Trained planes on images and labels that they were not trained for, at the trained pixels; mean over
seeds and its 95 % interval. (a) Mean loss of the white and of the black pixels; dashed: the loss of guessing. (b) AUC of the
loss, black above white; dashed: chance. (c) Mean accuracy of the white and of the black pixels; dashed: guessing.
"""
QUANTITIES = ("accuracy_white", "accuracy_black", "accuracy_gap", "loss_white", "loss_black", "auc")
CONTROLS = ("trained", "untrained", "shuffled mask")


class Options(PartOptions):
    """Pictures of one experiment, on their own test images, permuted and shuffled labels, noise and other data sets."""

    experiment: str = Field(description="The experiment's name.")
    masks: Several[str] = Field(description="Names of masks.")
    images: int = Field(500, ge=1, description="Test images of each data set.")
    datasets: Many[str] = Field((), description="Names of other data sets, with images of the same shape and as many classes.")


def needs(options: Options, key: str, runs: Runs) -> Needs:
    """Every seed of every picture, and the other data sets. InputError for one whose images have another shape."""
    planes = [run for mask in options.masks for run in runs.pictures(key, options.experiment, mask)]
    own = runs.settings.datasets[planes[0].dataset].image_shape
    for name in options.datasets:
        runs.known(f"{key}: datasets", name, "datasets")
        if (found := runs.settings.datasets[name].image_shape) != own:
            sizes = [" x ".join(map(str, shape)) for shape in (found, own)]
            raise InputError(f"{key}: datasets: {name} has images of {sizes[0]}, {planes[0].dataset} of {sizes[1]}")
    return Needs(planes=planes, datasets=list(options.datasets))


def variants(
    own: Dataset, others: Sequence[Dataset], count: int, seed: int
) -> Iterator[tuple[str, np.ndarray, np.ndarray, str]]:
    """Of each data that a plane is looked at on: name, at most `count` images (N, H, W, C), labels (N,), why there are none.

    Class names are permuted by a random cycle, so that each class gets another's name. Noise: the pixels of all images
    exchanged at random, so that it has their values and nothing else of them.
    """
    from ..method.surface import choose_images

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


def measure(options: Options, subject: Subject) -> list[dict[str, Any]]:
    """A row for each data and control. InputError for a data set with another number of classes."""
    import torch

    from ..method.images import labels_on
    from ..method.surface import evaluate_points

    (own, *others), trained, mask = subject.datasets, subject.trained, subject.mask
    classes = len(own.class_names)
    for other in others:
        if not other.absent and len(other.class_names) != classes:
            raise InputError(f"datasets: {other.label} has {len(other.class_names)} classes, the planes tell {classes} apart")
    coordinates = torch.from_numpy(np.argwhere(mask != 0)).to(subject.device)
    white = mask[mask != 0] == 1
    protocol = "batch" if trained.network.norms else NO_BATCH_NORM
    rows = []
    for data, images, labels, missing in variants(own, others, options.images, trained.provenance["seed"]):
        about = {"data": data, "images": len(images), "guess": math.log(classes), "missing": missing}
        if missing:
            rows.append({**about, "control": "trained", **dict.fromkeys(QUANTITIES, math.nan)})
            continue
        given = trained.scaling.inputs(images), labels_on(subject.device, labels), protocol
        of_trained, of_untrained = (
            evaluate_points(trained.network, plane, coordinates, *given) for plane in (trained.plane, subject.untrained)
        )
        found = (of_trained, white), (of_untrained, white), (of_trained, shuffled(white, white)[0])
        for control, ((loss, accuracy), of) in zip(CONTROLS, found, strict=True):
            row = {"accuracy_white": accuracy[of].mean(), "accuracy_black": accuracy[~of].mean()}
            row |= {"loss_white": loss[of].mean(), "loss_black": loss[~of].mean()}
            row["accuracy_gap"] = row["accuracy_white"] - row["accuracy_black"]
            rows.append({**about, "control": control, **row, "auc": auc(-loss, of)})
    return rows
