"""Layers beside the networks' file, which imports them."""

from torch import nn


def block(inputs: int, outputs: int) -> nn.Module:
    """Convolution, batch norm, activation in place."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))
