"""Recipes against the published objective: the mean of many updates against the exact gradient of the black term."""

from pathlib import Path

import pytest
import torch
import yaml
from losspatterns.analysis.bias import Bias, black_bias, black_term
from losspatterns.method.training import Training
from test_training import MASK, prepared

RECIPES = yaml.safe_load((Path(__file__).parents[2] / "config" / "recipes.yaml").read_text(encoding="utf-8"))["recipes"]
ESTIMATE = ("clamp", "images", "shared_images", "running_images", "pixel_sampling")  # what of a recipe estimates the objective
TAU = 2.0  # the toy problem has four classes: chance is 1.39
FEW = {"clamp": "mean", "images": 1, "tau": 5 * TAU}  # one image and a higher limit, as the recipe `fast`


def prepared_at(updates: int) -> tuple[Training, torch.Tensor]:
    """A training that has followed the exact objective for so many updates, and the exact gradient of its black term there."""
    training = prepared(images=200, shared_images=True, tau=TAU, updates=100, white_pixels=5, black_pixels=5)
    for _ in range(updates):
        training.step()
    return training, black_term(training, training.stream.data)


def bias_of(estimate: dict, plane: Training, exact: torch.Tensor, draws: int) -> Bias:
    """The bias of a way to estimate the objective, on this plane."""
    training = prepared(**{"tau": TAU, "shared_images": False, "white_pixels": 5, "black_pixels": 5, **estimate})
    training.parameters.copy_(plane.parameters)
    return black_bias(training, exact, draws, settle=20)


def estimate_of(recipe: str) -> dict:
    """What of a recipe estimates the objective; its tau is the objective's own."""
    return {key: RECIPES[recipe][key] for key in ESTIMATE if key in RECIPES[recipe]}


@pytest.mark.parametrize(("updates", "error", "cosine"), [(0, 0.05, 0.999), (30, 0.25, 0.99), (60, 2.0, 0.9)])
def test_the_recipe_faithful_is_true_to_the_objective(updates: int, error: float, cosine: float) -> None:
    """At the start, on the way, and where nearly all black pixels are beyond tau, so that little is left of the gradient."""
    plane, exact = prepared_at(updates)
    found = bias_of(estimate_of("faithful"), plane, exact, 200)
    assert found.error < error and found.cosine > cosine and found.noise < max(error, 0.1)
    other = bias_of(FEW, plane, exact, 200)
    assert updates == 0 or other.error > 4 * found.error


def test_the_published_recipe_is_the_objective() -> None:
    plane, exact = prepared_at(30)
    found = bias_of(estimate_of("paper"), plane, exact, 40)
    assert found.error < 0.02 and found.cosine > 0.999


def test_the_exact_gradient_is_zero_where_every_black_pixel_is_beyond_tau() -> None:
    plane, _ = prepared_at(0)
    plane.recipe = plane.recipe.model_copy(update={"tau": 1e-3})
    assert float(black_term(plane, plane.stream.data).norm()) == 0
    assert MASK.min() == -1
