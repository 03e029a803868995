"""Networks as ordinary torch modules: the layers, and `build`, which makes one as its settings say.

Where convolution, batch norm, ReLU and pool follow each other they are written as one call (`conv_relu`), which is faster.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .batch_norm import BatchNorm
from .convolution import conv_relu
from .settings import AnyNetwork, ConvNetwork, ResNetwork
from .user_module import build_module

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh}


class ConvLayer(nn.Module):
    """3 x 3 convolution, optional batch norm, optional identity (where the channels agree), activation, optional pool.

    The pool stands before the activation: both are monotone, so the order changes nothing but the cost.
    """

    def __init__(self, inputs: int, outputs: int, settings: ConvNetwork) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm = BatchNorm(outputs) if settings.batch_norm else None
        self.identity = settings.residual and inputs == outputs
        self.pool = nn.MaxPool2d(2) if settings.pool else None
        self.activation = ACTIVATIONS[settings.activation]()
        self.monotone = settings.activation != "gelu"
        # Pool and ReLU follow the last of convolution and norm.
        self.whole = settings.activation == "relu" and not self.identity

    def forward(self, x: Tensor) -> Tensor:
        pool = self.pool is not None
        weight, bias, norm = self.conv.weight, self.conv.bias, self.norm
        if norm is not None and norm.statistics is not None:  # it is linear then, and so are both together
            scale, shift = norm.scale_and_shift(norm.statistics)
            weight, bias, norm = weight * scale.view(-1, 1, 1, 1), bias * scale + shift, None
        if self.whole and norm is None:
            return conv_relu(x, weight, bias, pool)
        y = F.conv2d(x, weight, bias, padding=1)
        if self.whole:
            return norm(y, relu=True, pool=pool)
        if norm is not None:
            y = norm(y)
        if self.identity:
            y = y + x
        if not pool:
            return self.activation(y)
        return self.activation(self.pool(y)) if self.monotone else self.pool(self.activation(y))


class SpatialMean(nn.Module):
    """(N, C, H, W) -> (N, C). nn.AdaptiveAvgPool2d(1) does the same, but slowly under vmap with channels last in memory."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((-2, -1))


class AdaptiveMean(nn.Module):
    """(N, C, H, W) -> (N, C, size, size): nn.AdaptiveAvgPool2d as one matrix product, backward several times as fast."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = (
            F.adaptive_avg_pool1d(torch.eye(side, dtype=x.dtype, device=x.device), self.size).t() for side in x.shape[-2:]
        )
        return (x.flatten(-2) @ torch.kron(rows, columns).t()).unflatten(-1, (self.size, self.size))


class BasicBlock(nn.Module):
    """The basic block of residual networks: two 3 x 3 convolutions beside the identity (or a 1 x 1 convolution)."""

    def __init__(self, inputs: int, outputs: int, stride: int, settings: ResNetwork) -> None:
        super().__init__()
        norm = BatchNorm if settings.batch_norm else lambda channels: nn.Identity()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.norm1 = norm(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.norm2 = norm(outputs)
        plain = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if plain else nn.Conv2d(inputs, outputs, 1, stride)
        self.activation = ACTIVATIONS[settings.activation]()

    def forward(self, x: Tensor) -> Tensor:
        y = self.activation(self.norm1(self.conv1(x)))
        return self.activation(self.norm2(self.conv2(y)) + self.shortcut(x))


def build(settings: AnyNetwork, image_shape: Sequence[int], classes: int, device: torch.device | str = "cpu") -> nn.Module:
    """The network for images of shape (C, H, W): an ordinary module, images (N, C, H, W) -> logits (N, classes).

    Initialised by torch's own rules from the global random generator, then put on `device`. InputError if pools leave nothing
    of the image, or if a user's module does not suit.
    """
    if settings.kind == "module":
        return build_module(settings, image_shape, classes, device)
    channels, height, width = image_shape
    layers: list[nn.Module] = []
    if settings.kind == "resnet":
        layers += [nn.Conv2d(channels, settings.channels[0], 3, padding=1), ACTIVATIONS[settings.activation]()]
        channels = settings.channels[0]
        for stage, outputs in enumerate(settings.channels):
            for block in range(settings.blocks):
                layers.append(BasicBlock(channels, outputs, 2 if stage and not block else 1, settings))
                channels = outputs
        layers.append(SpatialMean())
        features = channels
    else:
        settings.check_image("network", height, width)
        for outputs in settings.channels:
            layers.append(ConvLayer(channels, outputs, settings))
            channels = outputs
            if settings.pool:
                height, width = height // 2, width // 2
        if settings.channels:
            if (height, width) != (settings.pooled_size, settings.pooled_size):
                layers.append(AdaptiveMean(settings.pooled_size))
            height = width = settings.pooled_size
        layers.append(nn.Flatten())
        features = channels * height * width
    for outputs in settings.dense:
        layers += [nn.Linear(features, outputs), ACTIVATIONS[settings.activation]()]
        features = outputs
    layers.append(nn.Linear(features, classes))
    return nn.Sequential(*layers).to(device)
