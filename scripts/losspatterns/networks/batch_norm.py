"""Batch norm whose statistics are chosen from outside, for models that are points of a plane.

Where they come from when a surface is evaluated is its *protocol*: a row of `PROTOCOLS`. The layer keeps its scale as gamma - 1
(a direction added to it then does not centre gamma on zero) and has no running statistics: training and eval mode are the same.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import handle_torch_function, has_torch_function

from ..errors import InputError
from .settings import NO_BATCH_NORM

Moments = tuple[Tensor, Tensor]  # mean and variance of a layer's input, each (C,)


class BatchNorm(nn.Module):
    """Batch norm of (N, C, ...) over all dimensions but C, with scale 1 + `weight` and shift `bias`, each (C,) or None.

    `statistics`: mean and variance, or None for those of the batch. Set by `FlatNetwork.statistics`, never by hand.
    """

    def __init__(self, channels: int, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.weight: nn.Parameter | None = nn.Parameter(torch.zeros(channels))
        self.bias: nn.Parameter | None = nn.Parameter(torch.zeros(channels))
        self.keep(channels, epsilon)

    def keep(self, channels: int, epsilon: float) -> None:
        """Set all that is no parameter."""
        self.channels = channels
        self.epsilon = epsilon
        self.statistics: Moments | None = None
        self.recording = False
        self.recorded: Moments | None = None

    def forward(self, x: Tensor, relu: bool = False, pool: bool = False) -> Tensor:
        """The norm, then 2 x 2 max pool and ReLU if asked for."""
        if self.statistics is not None:
            return _scaled(x, *self.scale_and_shift(self.statistics), relu, pool)
        output, mean, inverse = norm_relu(x, self.weight, self.bias, self.epsilon, relu, pool)
        if self.recording:
            self.recorded = mean, inverse.pow(-2) - self.epsilon
        return output

    def scale_and_shift(self, given: Moments) -> tuple[Tensor, Tensor]:
        """What each channel is multiplied with and what is added then, (C,), by given statistics."""
        mean, variance = given
        return _scale_and_shift(mean, torch.rsqrt(variance + self.epsilon), self.weight, self.bias)


class Protocol(NamedTuple):
    """How batch norm takes its statistics at evaluation.

    `statistics(empty, calibrate)` gives one (mean, variance) per layer, or None for those of the batch. `empty`: a tensor (C,)
    for each layer, for its type and size; `calibrate()`: what the calibration images have. `whole`: the statistics
    depend on all images at hand, which then pass in one call.
    """

    statistics: Callable[[Sequence[Tensor], Callable[[], list[Moments]]], list[Moments] | None]
    whole: bool = False


PROTOCOLS = {
    NO_BATCH_NORM: Protocol(lambda empty, calibrate: None),
    "batch": Protocol(lambda empty, calibrate: None, whole=True),
    "recalibrated": Protocol(lambda empty, calibrate: calibrate()),
    "identity": Protocol(lambda empty, calibrate: [(torch.zeros_like(each), torch.ones_like(each)) for each in empty]),
}


def protocol_for(name: str, norms: Sequence[BatchNorm]) -> Protocol:
    """The row of `PROTOCOLS`. InputError for an unknown one, and for `none` if the network has batch norm layers."""
    rows = [row for row in PROTOCOLS if row != NO_BATCH_NORM or not norms]
    if name not in rows:
        raise InputError(
            f"protocol: found {name!r} for a network with {len(norms)} batch norm layers, allowed are {', '.join(rows)}"
        )
    return PROTOCOLS[name]


def norm_relu(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, epsilon: float, relu: bool = False, pool: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Batch norm by the statistics of `input` (N, C, ...), with scale 1 + `weight` and shift `bias`, 2 x 2 max pool, ReLU: as
    one call, which whoever runs it may run as one. Then the mean and one over the standard deviation, each (C,). Of bfloat16 it
    makes float32, since its gradient is a difference of larger numbers."""
    parameters = [parameter for parameter in (weight, bias) if parameter is not None]
    if has_torch_function((input, *parameters)):
        return handle_torch_function(norm_relu, (input, *parameters), input, weight, bias, epsilon, relu, pool)
    if input.dtype == torch.bfloat16:
        input = input.float()
    mean, variance = moments(input)
    inverse = torch.rsqrt(variance + epsilon)
    return _scaled(input, *_scale_and_shift(mean, inverse, weight, bias), relu, pool), mean, inverse


def moments(x: Tensor) -> Moments:
    """Mean and variance, each (C,), of (N, C, ...) over all dimensions but C."""
    dims = (0, *range(2, x.dim()))
    if x.device.type == "cpu":  # torch's var_mean takes several times as long
        mean = x.mean(dims, keepdim=True)
        return mean.flatten(), (x - mean).square().mean(dims)
    variance, mean = torch.var_mean(x, dim=dims, correction=0)
    return mean, variance


def _scale_and_shift(mean: Tensor, inverse: Tensor, weight: Tensor | None, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    scale = inverse if weight is None else (1 + weight) * inverse
    shift = -mean * scale
    return scale, shift if bias is None else bias + shift


def _scaled(x: Tensor, scale: Tensor, shift: Tensor, relu: bool, pool: bool) -> Tensor:
    trailing = (1,) * (x.dim() - 2)
    return followed(x * scale.view(-1, *trailing) + shift.view(-1, *trailing), relu, pool)


def followed(x: Tensor, relu: bool, pool: bool) -> Tensor:
    """2 x 2 max pool and ReLU of images (N, C, H, W), each if asked for."""
    x = F.max_pool2d(x, 2) if pool else x
    return F.relu(x) if relu else x
