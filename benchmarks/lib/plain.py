"""The published procedure written plainly: an ordinary model of stock layers for one pixel after the other.

The engine is timed beside it, so it computes the same numbers; tests hold the two together.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from losspatterns.method.objective import objective
from losspatterns.method.plane import Plane
from losspatterns.networks.modules import ACTIVATIONS
from losspatterns.settings import ConvNetwork
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

CLASSES = 10


class StockLayer(nn.Module):
    """A 3 x 3 convolution with torch's own batch norm, activation and max pool, in the order that papers write them."""

    def __init__(self, inputs: int, outputs: int, network: ConvNetwork) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm = nn.BatchNorm2d(outputs, track_running_stats=False) if network.batch_norm else nn.Identity()
        self.identity = network.residual and inputs == outputs
        self.activation = ACTIVATIONS[network.activation]()
        self.pool = nn.MaxPool2d(2) if network.pool else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv(x))
        return self.pool(self.activation(y + x if self.identity else y))


def stock_module(network: ConvNetwork, image_shape: tuple[int, int, int]) -> nn.Module:
    """The network from stock layers, parameters in the order of `networks.build`; images (C, H, W)."""
    channels, *sides = image_shape
    layers: list[nn.Module] = []
    for outputs in network.channels:
        layers.append(StockLayer(channels, outputs, network))
        channels = outputs
        sides = [side // 2 for side in sides] if network.pool else sides
    if network.channels:
        layers.append(nn.AdaptiveAvgPool2d(network.pooled_size))
        sides = [network.pooled_size] * 2
    layers.append(nn.Flatten())
    features = channels * math.prod(sides)
    for outputs in network.dense:
        layers += [nn.Linear(features, outputs), ACTIVATIONS[network.activation]()]
        features = outputs
    return nn.Sequential(*layers, nn.Linear(features, CLASSES))


@torch.no_grad()
def load_weights(module: nn.Module, weights: Tensor) -> None:
    """Copy a weight vector (n,) of the plane into a stock module; the plane keeps batch norm's scale as gamma - 1."""
    nn.utils.vector_to_parameters(weights.clone(), module.parameters())
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.weight += 1


def plain_plane_gradient(
    module: nn.Module,
    plane: Plane,
    coordinates: Tensor,
    signs: Tensor,
    factors: Tensor,
    images: Tensor,
    labels: Tensor,
    tau: float,
) -> Tensor:
    """The `vectors` (3, n) of `update.plane_gradient`: autograd of an ordinary model for each pixel in turn.

    coordinates (K, 2), signs and factors (K,), images (K, B, C, H, W), labels (K, B).
    """
    parameters = tuple(vector.detach().requires_grad_() for vector in plane.vectors)
    right, up = Plane(parameters, plane.step, plane.shape).basis()
    to_origin, to_up, to_right = (torch.zeros_like(plane.origin) for _ in range(3))
    for k, (a, b) in enumerate((plane.step * plane.offsets(coordinates)).tolist()):
        load_weights(module, plane.origin + a * up + b * right)
        module.zero_grad()
        loss = F.cross_entropy(module(images[k]), labels[k])
        objective(loss.view(1, 1), signs[k : k + 1], factors[k : k + 1], tau).backward()
        gradient = nn.utils.parameters_to_vector([parameter.grad for parameter in module.parameters()])
        to_origin += gradient
        to_up += a * gradient
        to_right += b * gradient
    return torch.stack(torch.autograd.grad([parameters[0], up, right], parameters, [to_origin, to_up, to_right]))


@torch.no_grad()
def plain_points(
    module: nn.Module, plane: Plane, coordinates: Tensor, images: Tensor, labels: Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """What `surface.evaluate_points` returns (batch norm: `batch`), by an ordinary model for each point in turn."""
    right, up = plane.basis()
    losses, accuracies = [], []
    for a, b in (plane.step * plane.offsets(coordinates)).tolist():
        load_weights(module, plane.origin + a * up + b * right)
        logits = module(images)
        losses.append(F.cross_entropy(logits, labels))
        accuracies.append((logits.argmax(1) == labels).double().mean())
    return torch.stack(losses).cpu().double().numpy(), torch.stack(accuracies).cpu().numpy()


def flops(network: ConvNetwork, image_shape: tuple[int, int, int], backward: bool) -> int:
    """Floating point operations (matrix products and convolutions) of one image forward, and backward, through one model."""
    module = stock_module(network, image_shape)
    with FlopCounterMode(display=False) as counter:
        loss = F.cross_entropy(module(torch.zeros(1, *image_shape)), torch.zeros(1, dtype=torch.int64))
        if backward:
            loss.backward()
    return counter.get_total_flops()
