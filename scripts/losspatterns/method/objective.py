"""The objective of multi-point optimization.

    minimise   mean over white pixels of L(w)  -  mean over black pixels of min(L(w), tau)

L(w) is the cross-entropy of the model at the pixel's weights w. Source: Skorokhodov & Burtsev, arXiv 1910.03867, section 3.
"""

from __future__ import annotations

import torch
from torch import Tensor


def objective(losses: Tensor, signs: Tensor, factors: Tensor, tau: float) -> Tensor:
    """The sum over the drawn pixels of factor * sign * (L if white, min(L, tau) if black), of losses (K,) in nats.

    Signs (K,) are +1 for white and -1 for black, factors (K,) those of `pixel_factors`. Then the sum is the number of pixels asked
    for times the colour's mean:  white_pixels * mean of L(w)  -  black_pixels * mean of min(L(w), tau). It is a multiple of the
    formula above if the recipe asks for equally many of both. The recipe's `total_clip` bounds the norm of this sum's gradient with
    respect to origin, right_parameter and up_parameter together; the step has no part in it.

    L is the mean over the images that the pixel gets in this update, and the clamp is applied to that mean. With one or two images
    the expected value is that of E[min(L_B, tau)] over batches B, which is larger in size than the paper's min of the loss over 512
    images, nearly the data set's: it goes on until nearly every image of a black model is wrong. Beyond tau there is no gradient.
    """
    white, black = losses, losses.clamp(max=tau)
    return (factors * torch.where(signs > 0, white, -black)).sum()


def pixel_factors(drawn: int, asked: int) -> Tensor:
    """The factor of each drawn pixel of a colour, (drawn,): a colour with fewer pixels than asked for weighs as much as with all."""
    return torch.full((drawn,), asked / drawn)
