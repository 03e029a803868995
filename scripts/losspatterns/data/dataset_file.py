"""A data set as one file: what every later stage reads, with no knowledge of where the images came from."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..records.artifacts import checksum, load_arrays, provenance, save_arrays

SPLITS = ("train", "validation", "test")
ARRAYS = tuple(f"{kind}_{split}" for split in SPLITS for kind in "xy")
VALIDATION_SHARE = 12  # one of so many training images is set aside
VALIDATION_SEED = 0
TRY_AGAIN = "name a source that is there, or delete the data set's file to look again"  # for a data set without images
FACTS = ("class_names", "source", "label", "licence", "checksum")


@dataclass(frozen=True)
class Dataset:
    """Images and labels in memory. x: uint8 (N, H, W, C); y: int64 (N,), the index into `class_names`.

    Choices (of recipes, of settings) are made on the validation images, and reported on the test images.
    `source` is the form of the source used, `label` what figures call these images, `checksum` the SHA-256 of the arrays.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_validation: np.ndarray
    y_validation: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    class_names: list[str]
    source: str
    label: str
    licence: str
    checksum: str

    @property
    def absent(self) -> bool:
        """Whether it has no images: an optional data set none of whose sources is there. `source` then says why."""
        return len(self.x_test) == 0


def absent_dataset(image_shape: Sequence[int], label: str, reason: str) -> Dataset:
    """A data set without images, which would be (H, W, C)."""
    images, labels = np.zeros((0, *image_shape), np.uint8), np.zeros(0, np.int64)
    arrays = (images, labels) * len(SPLITS)
    return Dataset(*arrays, [], reason, label, "none", checksum(*arrays))


def set_aside(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, ...]:
    """Published training images (N, ...) and labels (N,) -> those to train on, and a twelfth for validation: images, labels,
    images, labels; each in the published order. Which ones is fixed for each N."""
    order = np.random.default_rng(VALIDATION_SEED).permutation(len(images))
    count = max(1, len(images) // VALIDATION_SHARE)
    kept, aside = np.sort(order[count:]), np.sort(order[:count])
    return images[kept], labels[kept], images[aside], labels[aside]


def save_dataset(path: str | Path, dataset: Dataset) -> None:
    """Write a data set to a compressed .npz, with the provenance."""
    arrays, facts = ({name: getattr(dataset, name) for name in names} for names in (ARRAYS, FACTS))
    save_arrays(path, arrays, provenance(**facts))


def load_dataset(path: str | Path, optional: bool = False) -> Dataset:
    """Read what `save_dataset` wrote. InputError names the file if it is missing, damaged or foreign, or has no images and is
    not `optional`."""
    arrays, facts = load_arrays(path)
    try:
        dataset = Dataset(**arrays, **{name: facts[name] for name in FACTS})
    except (TypeError, KeyError):
        raise InputError(f"{path}: not a data set of this workflow; delete it and run again") from None
    if dataset.absent and not optional:
        raise InputError(f"{path}: has no images; {dataset.source}; {TRY_AGAIN}")
    return dataset
