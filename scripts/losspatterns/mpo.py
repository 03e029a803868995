"""Multi-point optimization: the objective and its gradient, for many pixels at once.

    minimise   mean over white pixels of L(w)  -  mean over black pixels of min(L(w), tau)

Each pixel's gradient with respect to its own weight vector comes from one `vmap(grad)` call; the plane's gradient follows by
the chain rule through w = origin + step * (a * up + b * right), so the memory is that of the pixels of one chunk.
Source: Skorokhodov & Burtsev, arXiv 1910.03867, section 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import grad, vmap

from .networks import FlatNetwork
from .plane import Plane, weights_at


@dataclass
class PixelResults:
    """Of the K pixels of one update: cross-entropy `losses` (nats) and `accuracies`, each (K,)."""

    losses: Tensor
    accuracies: Tensor


def pixel_gradients(
    network: FlatNetwork, weights: Tensor, images: Tensor, labels: Tensor, signs: Tensor, tau: float
) -> tuple[Tensor, PixelResults]:
    """Gradients (K, n) of sign * L for K weight vectors (K, n), and their losses and accuracies.

    images (K, B, C, H, W) with labels (K, B), or (B, C, H, W) with (B,) shared by all pixels; signs (K,): +1 white, -1 black.
    A black pixel whose loss exceeds `tau` has gradient zero.
    """

    def objective(w: Tensor, x: Tensor, y: Tensor, sign: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        logits = network(w, x)
        loss = F.cross_entropy(logits, y)
        accuracy = (logits.argmax(-1) == y).to(loss.dtype).mean()
        return torch.where(sign > 0, loss, -loss.clamp(max=tau)), (loss, accuracy)

    shared = None if images.dim() == 4 else 0
    gradients, (losses, accuracies) = vmap(grad(objective, has_aux=True), in_dims=(0, shared, shared, 0))(
        weights, images, labels, signs
    )
    return gradients, PixelResults(losses, accuracies)


def add_plane_gradient(
    network: FlatNetwork,
    plane: Plane,
    coordinates: Tensor,
    signs: Tensor,
    factors: Tensor,
    images: Tensor,
    labels: Tensor,
    tau: float,
    pixel_clip: float | None,
    pixels_per_chunk: int,
) -> PixelResults:
    """Add the gradient of the sum over pixels of factor * sign * L to `.grad` of the plane's parameters.

    coordinates (K, 2) integer pixels, signs (K,), factors (K,); images and labels as in `pixel_gradients`. With `pixel_clip`
    each pixel's gradient is first scaled down to at most that norm. At most `pixels_per_chunk` gradients are held at once.
    """
    right, up = plane.basis()
    offsets = plane.offsets(coordinates)
    sums = torch.zeros(3, network.size, device=offsets.device)  # sum of g, of row offset * g, of column offset * g
    results = []
    for chunk in torch.arange(len(offsets), device=offsets.device).split(pixels_per_chunk):
        with torch.no_grad():
            weights = weights_at(plane.origin, right, up, plane.step, offsets[chunk])
        own = images.dim() == 5
        gradients, result = pixel_gradients(
            network, weights, images[chunk] if own else images, labels[chunk] if own else labels, signs[chunk], tau
        )
        scale = factors[chunk]
        if pixel_clip is not None:
            scale = scale * (pixel_clip / gradients.norm(dim=1).clamp(min=pixel_clip))
        coefficients = torch.stack([scale, scale * offsets[chunk, 0], scale * offsets[chunk, 1]])
        sums.addmm_(coefficients, gradients)
        results.append(result)
    if plane.step.requires_grad:
        slope = sums[1] @ up.detach() + sums[2] @ right.detach()
        plane.step.grad = slope if plane.step.grad is None else plane.step.grad + slope
    step = plane.step.detach()
    torch.autograd.backward([plane.origin, up, right], [sums[0], step * sums[1], step * sums[2]])
    return PixelResults(torch.cat([r.losses for r in results]), torch.cat([r.accuracies for r in results]))
