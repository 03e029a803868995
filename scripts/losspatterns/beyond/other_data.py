"""Planes on other data: does a picture stay when images or labels are not those it was trained for?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from ..settings import PartOptions, Several
from . import Needs

if TYPE_CHECKING:
    import torch

    from ..data.dataset_file import Dataset
    from ..method.plane_file import TrainedPlane
    from ..runs import Runs

CAPTION = """\
**Planes on other data.** Accuracy gap of trained planes on images and labels that they were not trained for.
"""


class Options(PartOptions):
    """Pictures of one experiment, on their own test images, on permuted labels and on noise."""

    experiment: str = Field(description="The experiment's name.")
    masks: Several[str] = Field(description="Names of masks.")
    images: int = Field(500, ge=1, description="Test images of each data set.")


def needs(options: Options, key: str, runs: Runs) -> Needs:
    """Every seed of every picture."""
    return Needs(planes=[run for mask in options.masks for run in runs.pictures(key, options.experiment, mask)])


def measure(
    options: Options, trained: TrainedPlane, mask: np.ndarray, datasets: Sequence[Dataset], device: torch.device
) -> list[dict[str, Any]]:
    """A row for each data set."""
    raise NotImplementedError
