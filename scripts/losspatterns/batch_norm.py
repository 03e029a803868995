"""Batch norm whose statistics are chosen from outside, for models that are points of a plane.

It keeps its scale as gamma - 1 (a direction added to it then does not centre gamma on zero) and has no running statistics, so
it is the same in training and eval mode.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

BN_EPSILON = 1e-5


class BatchNorm(nn.Module):
    """Batch norm of (N, C, ...) over all dimensions but C, with scale 1 + `weight` and shift `bias`, each (C,) or None.

    `statistics` says where mean and variance come from: "batch", "identity", or a pair of both. Set by
    `networks.FlatNetwork.protocol`, never by hand.
    """

    def __init__(self, channels: int, epsilon: float = BN_EPSILON) -> None:
        super().__init__()
        self.channels = channels
        self.epsilon = epsilon
        self.weight: nn.Parameter | None = nn.Parameter(torch.zeros(channels))
        self.bias: nn.Parameter | None = nn.Parameter(torch.zeros(channels))
        self.statistics: str | tuple[Tensor, Tensor] = "batch"
        self.recording = False
        self.recorded: tuple[Tensor, Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.statistics == "identity":
            mean, variance = torch.zeros(self.channels, device=x.device), torch.ones(self.channels, device=x.device)
        elif self.statistics == "batch":
            variance, mean = torch.var_mean(x, dim=(0, *range(2, x.dim())), correction=0)
            if self.recording:
                self.recorded = (mean, variance)
        else:
            mean, variance = self.statistics
        scale = torch.rsqrt(variance + self.epsilon)
        if self.weight is not None:
            scale = (1 + self.weight) * scale
        shift = -mean * scale
        if self.bias is not None:
            shift = self.bias + shift
        trailing = (1,) * (x.dim() - 2)
        return x * scale.view(-1, *trailing) + shift.view(-1, *trailing)
