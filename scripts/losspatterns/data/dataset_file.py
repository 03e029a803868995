"""A data set as one file: what every later stage reads, with no knowledge of where the images came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..records.artifacts import checksum, load_arrays, provenance, save_arrays


@dataclass(frozen=True)
class Dataset:
    """Images and labels in memory. x: uint8 (N, H, W, C); y: int64 (N,), the index into `class_names`.

    `source` is the form of the source used, `label` what figures call these images, `checksum` the SHA-256 of the four arrays.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    class_names: list[str]
    source: str
    label: str
    licence: str
    checksum: str


def save_dataset(path: str | Path, dataset: Dataset, made_by: Mapping[str, Any] | None = None) -> None:
    """Write a data set to a compressed .npz; `made_by` replaces the provenance, the usual one being code and versions."""
    arrays = {name: getattr(dataset, name) for name in ("x_train", "y_train", "x_test", "y_test")}
    facts = {name: getattr(dataset, name) for name in ("class_names", "source", "label", "licence", "checksum")}
    save_arrays(path, arrays, {**(provenance() if made_by is None else made_by), **facts})


def load_dataset(path: str | Path) -> Dataset:
    """Read what `save_dataset` wrote. InputError names the file if it is missing, damaged, foreign or not what was written."""
    arrays, facts = load_arrays(path)
    try:
        dataset = Dataset(**arrays, **{name: facts[name] for name in ("class_names", "source", "label", "licence", "checksum")})
    except (TypeError, KeyError):
        raise InputError(f"{path}: not a data set of this workflow; delete it and run again") from None
    found = checksum(dataset.x_train, dataset.y_train, dataset.x_test, dataset.y_test)
    if found != dataset.checksum:
        raise InputError(f"{path}: its arrays have checksum {found}, expected {dataset.checksum}; delete it and run again")
    return dataset
