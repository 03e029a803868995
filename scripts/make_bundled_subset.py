"""Make the bundled subset of FashionMNIST from the full set: the first 1,200 train and 200 test images of each class.

Run once, by the maintainers; the result is part of the repository. Equal inputs give an equal file, so its provenance holds
the subset's own rule and the full set's checksum, and no versions.

    python scripts/make_bundled_subset.py --mirror /usr/share/datasets/fashion-mnist
"""

from __future__ import annotations

import argparse

import numpy as np
from losspatterns.data.dataset_file import Dataset, save_dataset
from losspatterns.data.datasets import BUNDLED_SUBSET, fetch
from losspatterns.errors import run_script
from losspatterns.records.artifacts import checksum
from losspatterns.settings import DatasetSettings

TRAIN_IMAGES, TEST_IMAGES = 1200, 200  # of each class


def first_of_each_class(labels: np.ndarray, count: int) -> np.ndarray:
    """Indices of the first `count` images of each class, ascending: the original order is kept."""
    return np.sort(np.concatenate([np.flatnonzero(labels == label)[:count] for label in np.unique(labels)]))


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the bundled subset of FashionMNIST.")
    parser.add_argument("--mirror", required=True, help="a folder with the four files of FashionMNIST")
    parser.add_argument("--output", default=str(BUNDLED_SUBSET), help="the file to write, .npz (default: the bundled one)")
    arguments = parser.parse_args()
    settings = DatasetSettings(kind="FashionMNIST", sources=[{"mirror": [arguments.mirror]}])
    full = fetch("fashion_mnist", settings)
    train, test = first_of_each_class(full.y_train, TRAIN_IMAGES), first_of_each_class(full.y_test, TEST_IMAGES)
    arrays = (full.x_train[train], full.y_train[train], full.x_test[test], full.y_test[test])
    subset = Dataset(*arrays, full.class_names, "bundled", "FashionMNIST, bundled subset", full.licence, checksum(*arrays))
    rule = f"the first {TRAIN_IMAGES} train and {TEST_IMAGES} test images of each class, in their original order"
    save_dataset(arguments.output, subset, made_by={"subset": rule, "full_set": full.checksum})


if __name__ == "__main__":
    run_script(main)
