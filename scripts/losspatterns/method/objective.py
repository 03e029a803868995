"""The objective of multi-point optimization.

    minimise   mean over white pixels of L(w)  -  mean over black pixels of min(L(w), tau)

L(w) is the cross-entropy of the model at the pixel's weights w. Source: Skorokhodov & Burtsev, arXiv 1910.03867, section 3.
"""

from __future__ import annotations

import torch
from torch import Tensor


def objective(losses: Tensor, signs: Tensor, factors: Tensor, tau: float) -> Tensor:
    """The sum over the drawn pixels of factor * sign * (L if white, min(L, tau) if black), of losses (K,) in nats.

    Signs (K,) are +1 for white and -1 for black, factors (K,) those of `pixel_factors`. So the sum is
        white_pixels * mean over white of L(w)  -  black_pixels * mean over black of min(L(w), tau)
    with the numbers of pixels that the recipe asks for: a multiple of the formula above if it asks for equally many of both.
    The recipe's `total_clip` bounds the norm of this sum's gradient by origin, right_parameter and up_parameter together.

    L is the mean loss over the B images that the pixel gets in this update, and the clamp is applied to that mean. So a black
    pixel's part is E[min(L_B, tau)] over batches of B images. The paper has B = 512, nearly the data set's loss. With one or
    two images it is another objective: training goes on until nearly every image of a black model is wrong.
    """
    white, black = losses, losses.clamp(max=tau)
    return (factors * torch.where(signs > 0, white, -black)).sum()


def pixel_factors(drawn: int, asked: int) -> Tensor:
    """The factor of each drawn pixel of a colour, (drawn,): one with fewer pixels than asked for weighs as much as another."""
    return torch.full((drawn,), asked / drawn)
