"""How far a recipe's updates are from the gradient of the published objective: its black term, on a plane that stands still.

The exact gradient takes L(w) over all images at hand. The recipe's is the mean of many of its updates, each with the pixels,
images and estimate of min(L, tau) that the recipe draws; the plane is not moved between them.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ..method.images import TrainingImages
from ..method.objective import TwoColours, pixel_factors
from ..method.training import Training
from ..method.update import plane_gradient


class Bias(NamedTuple):
    """`error`: |mean - exact| / |exact|. `cosine` of mean and exact. `noise`: the part of `error` that more draws would remove,
    from the two halves of the draws."""

    error: float
    cosine: float
    noise: float


def black_term(training: Training, data: TrainingImages) -> Tensor:
    """The gradient (3 n,) of the objective's black term by origin and directions, with L over all of `data`, as one batch."""
    pixels, tau = training.pixels[-1], training.recipe.tau
    asked = training.recipe.black_pixels
    factors, signs = pixel_factors(len(pixels), asked).to(training.device), -torch.ones(len(pixels), device=training.device)
    images = data.scaling(data.images.float() / 255)
    pixels = pixels.to(training.device)
    asked = training.network, training.plane, pixels, images, data.labels, TwoColours(signs, factors, tau)
    return plane_gradient(*asked, pixels_per_chunk=1).vectors.flatten()


def black_bias(training: Training, exact: Tensor, draws: int, settle: int) -> Bias:
    """Of the training's recipe on its present plane. `exact`: what `black_term` gives. Running losses have `settle` updates to
    settle, then `draws` updates count."""
    training.factors[training.signs > 0] = 0
    for _ in range(settle):
        training.gradient()
    halves = [sum(training.gradient().vectors.flatten() for _ in range(draws // 2)) / (draws // 2) for _ in range(2)]
    mean, norm = sum(halves) / 2, exact.norm()
    cosine = float(mean @ exact / (mean.norm() * norm))
    return Bias(float((mean - exact).norm() / norm), cosine, float((halves[0] - halves[1]).norm() / (2 * norm)))
