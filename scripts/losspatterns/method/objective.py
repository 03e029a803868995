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

`analysis.bias` measures how far a recipe's updates are from the exact gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor


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
