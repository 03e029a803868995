"""The objective of multi-point optimization.

    minimise   mean over white pixels of L(w)  -  mean over black pixels of min(L(w), tau)

L(w) is the cross-entropy of the model at the pixel's weights w. Source: Skorokhodov & Burtsev, arXiv 1910.03867, section 3.

L is a mean over many images: 512 in the paper, nearly the data set's. An update has B images of a pixel and so only an estimate
of L, and what the recipe's `clamp` compares with tau makes a difference:

    mean      min(L_B, tau). The published way. With B = 512 it is the objective. With a few images training goes on until
              nearly every batch has a loss above tau, which is another objective.
    image     The mean of min(l, tau) over each image's loss l. Training goes on until nearly every image is classified wrongly.
    running   min(L_B, tau) if R < tau, else tau. R is a running mean of the pixel's losses in earlier updates, so of many
              images. So the gradient is 0 once L is above tau, whatever the batch at hand, as that of min(L, tau) is. L_B is
              clamped too: the few images with a very large loss would otherwise decide the update.

The recipe's `hard_weight` (1: off) counts a black pixel several times while R is far below the loss of guessing. R stays
low where white pixels are all around. Where every black pixel is above tau, the weight changes nothing.

A picture of shades has a target of the loss at each pixel instead, one for each of its channels (`shade_objective`).

A training asks an `Objective` for what its next update minimises. Which recipe (config/recipes.yaml) uses what:

    recipe      clamp     tau, nats      hard_weight   images of a pixel
    paper       mean      2.5            1             512, shared by all pixels
    faithful    running   5              1             8
    fast        mean      10             1             1
    annealed    running   10 to 2.5      4             1
    settled     running   10 to 5        1             1, then 8

`analysis.bias` measures how far a recipe's updates are from the exact gradient.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .settings import Recipe

FALL = 0.2  # the share of the updates after which tau falls from `tau_start`; chosen on the validation split
HARD = 1.5  # nats; with a lower running loss a black pixel is hard (`hard_weight`); chosen on the validation split


def objective(
    losses: Tensor, signs: Tensor, factors: Tensor, tau: float, clamp: str = "mean", running: Tensor | None = None
) -> Tensor:
    """The sum over the drawn pixels of factor * sign * (L if white, min(L, tau) if black), of losses (K, B) in nats.

    Signs (K,) are +1 for white and -1 for black, factors (K,) those of `pixel_factors`. So the sum is
        white_pixels * mean over white of L(w)  -  black_pixels * mean over black of min(L(w), tau)
    with the numbers of pixels that the recipe asks for: a multiple of the formula above if it asks for equally many of both.
    The recipe's `total_clip` bounds the norm of this sum's gradient by origin, right_parameter and up_parameter together.

    `clamp` says how min(L, tau) is estimated, see above; `running` (K,) are the losses R, NaN for a pixel that has none yet.
    """
    white = losses.mean(1)
    if clamp == "running":
        black = torch.where(running >= tau, tau, white.clamp(max=tau))
    else:
        black = white.clamp(max=tau) if clamp == "mean" else losses.clamp(max=tau).mean(1)
    return (factors * torch.where(signs > 0, white, -black)).sum()


HUBER = 1.0  # up to so large an error of the log loss a pixel pulls in proportion to it; chosen on the validation split


def shade_objective(losses: Tensor, channels: Tensor, factors: Tensor, targets: Tensor, running: Tensor) -> Tensor:
    """A sum whose gradient is that of: the sum over pixels of factor * Huber error of the log loss, log L - target.

    losses (K, B) in nats; channels (K, B), from 0 to C - 1: the channel that each image counts for, by its class; factors (K,);
    targets (K, C): the log loss that the pixel is to have on the images of each channel; running (K, C): the pixel's mean loss
    on them in earlier updates. The error's slope is taken at the running loss, a mean over many images: a batch has few.
    """
    slopes = (running.log() - targets).clamp(-HUBER, HUBER) / running
    return (factors[:, None] * slopes.gather(1, channels) * losses).mean(1).sum()


def pixel_factors(drawn: int, asked: int) -> Tensor:
    """The factor of each drawn pixel of a colour, (drawn,): one with fewer pixels than asked for weighs as much as another."""
    return torch.full((drawn,), asked / drawn)


def tau_at(recipe: Recipe, update: int) -> float:
    """tau in nats at an update (counted from 0). With `tau_start` it falls from there after FALL of the updates, evenly in its
    logarithm, and is the recipe's `tau` at the end; of a recipe with a `start`, at the end of that."""
    if recipe.tau_start is None:
        return recipe.tau
    share = min(1.0, max(0.0, (update / (recipe.start_updates or recipe.updates) - FALL) / (1 - FALL)))
    return recipe.tau_start * (recipe.tau / recipe.tau_start) ** share


def halves(targets: np.ndarray) -> np.ndarray:
    """Targets (H, W, C) of a picture of shades -> int8 (H, W): +1 for the half of the pixels with the lowest mean, -1 for the
    others."""
    means = targets.mean(axis=-1)
    signs = np.full(means.size, -1, dtype=np.int8)
    signs[np.argsort(means, axis=None, kind="stable")[: means.size // 2]] = 1
    return signs.reshape(means.shape)


def channels_of_classes(classes: int, channels: int) -> np.ndarray:
    """The channel (classes,) that each class's images count for: as equal groups of neighbouring classes as can be."""
    return np.repeat(np.arange(channels), [len(group) for group in np.array_split(np.arange(classes), channels)])


def channel_means(losses: Tensor, channels: Tensor, count: int) -> Tensor:
    """Losses (K, B) and their channels (K, B) -> the mean of each of `count` channels (K, count), NaN where there is none."""
    of_channel = (channels[..., None] == torch.arange(count, device=losses.device)).to(losses.dtype)
    return (losses[:, None] @ of_channel)[:, 0] / of_channel.sum(1)


@dataclass(frozen=True)
class TwoColours:
    """The objective of K pixels of white and black, as `plane_gradient` asks for it. The fields are as in `objective`."""

    signs: Tensor
    factors: Tensor
    tau: float
    clamp: str = "mean"
    running: Tensor | None = None

    def __call__(self, pixels: slice, losses: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The sum over some of the pixels, of the losses (k, B) of images with these labels (k, B); each pixel's mean loss."""
        known = None if self.running is None else self.running[pixels]
        value = objective(losses, self.signs[pixels], self.factors[pixels], self.tau, self.clamp, known)
        return value, losses.detach().mean(1)


@dataclass(frozen=True)
class Shades:
    """The objective of K pixels of shades, as `plane_gradient` asks for it. targets, factors, running as in `shade_objective`;
    channel_of (classes,): the channel that an image of a class counts for."""

    targets: Tensor
    channel_of: Tensor
    factors: Tensor
    running: Tensor

    def __call__(self, pixels: slice, losses: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """As that of `TwoColours`; each pixel's mean losses (k, C) on the images of each channel, NaN where there were none."""
        channels, targets = self.channel_of[labels], self.targets[pixels]
        value = shade_objective(losses, channels, self.factors[pixels], targets, self.running[pixels])
        return value, channel_means(losses.detach(), channels, targets.shape[1])


class Objective:
    """What the updates of a training minimise, and what is remembered for it.

    `running`: each pixel's running loss by its place in the mask (H, W), NaN where there is none; of shades (H, W, C).
    """

    def __init__(self, recipe: Recipe, mask: np.ndarray, classes: int, device: torch.device) -> None:
        """`mask` as in `Training`; `classes`: how many the data set has."""
        self.recipe, self.targets = recipe, None
        self.running = torch.full(mask.shape, float("nan"), device=device)
        if mask.dtype == np.float32:
            self.targets = torch.from_numpy(mask).to(device)
            self.channel_of = torch.from_numpy(channels_of_classes(classes, mask.shape[-1])).to(device)
            self.running.fill_(math.log(classes))  # of a model that knows nothing

    def at(self, update: int, coordinates: Tensor, signs: Tensor, factors: Tensor) -> TwoColours | Shades:
        """The objective of an update (counted from 0) that draws pixels at coordinates (K, 2), of these signs and factors."""
        recipe, where = self.recipe, coordinates.unbind(1)
        known = self.running[*where]
        if self.targets is not None:
            return Shades(self.targets[*where], self.channel_of, factors, known)
        if recipe.hard_weight != 1 and update >= FALL * recipe.updates:
            factors = torch.where((signs < 0) & (known < HARD), recipe.hard_weight * factors, factors)
        return TwoColours(signs, factors, tau_at(recipe, update), recipe.clamp, known)

    def remember(self, coordinates: Tensor, known: Tensor, seen: Tensor, images: int) -> None:
        """The pixels' mean losses in an update, (K,) or (K, C), of so many images each, enter the running ones, `known`."""
        count = max(1, images / (1 if self.targets is None else self.targets.shape[-1]))  # images behind a mean
        share = min(1.0, 2 * count / (self.recipe.running_images + count))
        moved = known.lerp(seen, share).where(~seen.isnan(), known)
        self.running[*coordinates.unbind(1)] = torch.where(known.isnan(), seen, moved)
