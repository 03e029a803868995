"""Networks as a user writes them, knowing nothing of this project, for images of any size."""

import torch
import torch.nn.functional as F
from blocks import block
from torch import Tensor, nn


class MLP(nn.Module):
    """Dense, with batch norm and dropout."""

    def __init__(self, pixels: int, classes: int, width: int = 12) -> None:
        super().__init__()
        self.hidden = nn.Linear(pixels, width)
        self.norm = nn.BatchNorm1d(width, eps=1e-3)
        self.dropout = nn.Dropout(0.5)
        self.out = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.out(self.dropout(F.relu(self.norm(self.hidden(images.flatten(1))))))


class ConvNet(nn.Module):
    """Convolutions with batch norm, one without scale and shift, and activations that are random in training."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(block(channels, 6), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3), nn.BatchNorm2d(8, affine=False))
        self.head = nn.Sequential(nn.RReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, classes))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))


class Tied(nn.Module):
    """One weight matrix used in two places, under two names."""

    def __init__(self, pixels: int, classes: int) -> None:
        super().__init__()
        self.first = nn.Linear(pixels, 10)
        self.second = nn.Linear(10, 10)
        self.third = nn.Linear(10, 10)
        self.third.weight = self.second.weight
        self.out = nn.Linear(10, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.out(torch.tanh(self.third(torch.tanh(self.second(torch.tanh(self.first(images.flatten(1))))))))


class Frozen(nn.Module):
    """Constants of three kinds: a frozen random layer, a random buffer that is not saved, a random tensor kept by itself."""

    def __init__(self, pixels: int, classes: int) -> None:
        super().__init__()
        self.fixed = nn.Linear(pixels, 10).requires_grad_(False)
        self.register_buffer("shift", torch.randn(10), persistent=False)
        self.factor = torch.rand(10)
        self.out = nn.Linear(10, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.out(torch.tanh(self.fixed(images.flatten(1)) + self.shift) * self.factor)


class Lazy(nn.Module):
    """Layers that learn their sizes from the first images."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.LazyLinear(10), nn.LazyBatchNorm1d(), nn.GELU(), nn.Dropout(0.1), nn.LazyLinear(classes)
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


class Bare(nn.Module):
    """Parameters without layers."""

    def __init__(self, pixels: int, classes: int) -> None:
        super().__init__()
        self.weights = nn.ParameterList([torch.randn(pixels, 10) / 10, torch.randn(10, classes) / 3])

    def forward(self, images: Tensor) -> Tensor:
        return torch.tanh(images.flatten(1) @ self.weights[0]) @ self.weights[1]


class Attention(nn.Module):
    """A transformer layer over the rows of the image."""

    def __init__(self, row: int, classes: int) -> None:
        super().__init__()
        self.embed = nn.Linear(row, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.out = nn.Linear(8, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.out(self.layer(self.embed(images.transpose(1, 2).flatten(2))).mean(1))


class Views(nn.Module):
    """What torch does with images that are contiguous in memory only: `view`, `view_as`, group norm."""

    def __init__(self, channels: int, pixels: int, classes: int) -> None:
        super().__init__()
        self.dense = nn.Linear(channels * pixels, classes)
        self.conv = nn.Conv2d(channels, 4, 3, padding=1)
        self.grouped = nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.norms = nn.ModuleList([nn.GroupNorm(2, 4), nn.BatchNorm2d(4)])
        self.gate = nn.Linear(4, 4)
        self.out = nn.Linear(4 * pixels, classes)

    def forward(self, images: Tensor) -> Tensor:
        count, _, height, width = images.size()
        x = F.relu(self.norms[0](self.conv(images)))
        x = x.view(count, 2, 2, height, width).transpose(1, 2).contiguous().view(count, -1, height, width)
        x = self.norms[1](self.grouped(x))
        x = x * torch.sigmoid(self.gate(F.adaptive_avg_pool2d(x, 1).view(count, 4))).view(count, 4, 1, 1)
        return self.dense(images.view(count, -1)) + self.out(x.view_as(x).view(-1, 4 * height * width))


class Odd(nn.Module):
    """A layer that is never used, one used in two places, a scalar, normalised weights, images changed in place."""

    def __init__(self, pixels: int, classes: int) -> None:
        super().__init__()
        self.first = nn.utils.parametrizations.weight_norm(nn.Linear(pixels, 10))
        self.spare = nn.Linear(3, 2)
        shared = nn.Linear(10, 10)
        self.layers = nn.ModuleList([shared, nn.LayerNorm(10), shared])
        self.temperature = nn.Parameter(torch.tensor(0.5))
        self.out = nn.Linear(10, classes)

    def forward(self, images: Tensor) -> Tensor:
        x = self.first(F.relu_(images).flatten(1))
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return self.out(x) * self.temperature.exp()


class MyNorm(nn.BatchNorm2d):
    """Batch norm under another name."""


class Norms(nn.Module):
    """Batch norm used otherwise than by calling it, and layers whose input is a parameter."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 4, 3)
        self.norms = nn.ModuleList([nn.BatchNorm2d(4), nn.Tanh(), MyNorm(4, momentum=None), nn.BatchNorm2d(4)])
        self.norms[0].register_forward_hook(lambda module, given, output: 2 * output)
        self.image = nn.Parameter(torch.randn(3, channels, 5, 5))
        self.token = nn.Parameter(torch.randn(2, 6))
        self.dense = nn.Linear(6, classes)
        self.out = nn.Linear(4, classes)

    def forward(self, images: Tensor) -> Tensor:
        x = self.conv(images)
        for layer in self.norms[:3]:
            x = layer(x) * layer.num_features + layer.eps if isinstance(layer, nn.BatchNorm2d) else layer(x)
        learned = self.norms[3](self.conv(self.image)).mean((0, 2, 3))
        return self.out(x.mean((2, 3)) + learned) + self.dense(self.token)[0]
