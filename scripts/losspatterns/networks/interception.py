"""Layers as single calls, and a mode in which someone else computes them.

A module is written once, plainly. Inside a `LayerMode` torch hands over every call that the module makes, so that training can
compute a layer for all pixels' models at once, and a surface can use the kernels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode, handle_torch_function, has_torch_function

from .batch_norm import followed, norm_relu
from .convolution import Settings, settings_of


def conv_relu(input: Tensor, weight: Tensor, bias: Tensor, pool: bool) -> Tensor:
    """3 x 3 convolution with padding 1, 2 x 2 max pool if asked for, ReLU: one call, which whoever runs it may run as one."""
    if has_torch_function((input, weight, bias)):
        return handle_torch_function(conv_relu, (input, weight, bias), input, weight, bias, pool)
    return followed(F.conv2d(input, weight, bias, padding=1), True, pool)


class LayerMode(TorchFunctionMode):
    """Inside it, a subclass computes convolutions (`by_kernels`) and batch norms (`norm_relu`).

    What these leave, by giving None, and every other call goes to `otherwise`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layers = {F.conv2d: self.convolution, conv_relu: self.conv_relu, norm_relu: self.norm_relu}

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if function in self.layers and (output := self.layers[function](*args, **kwargs)) is not None:
            return output
        return self.otherwise(function, args, kwargs)

    def convolution(
        self,
        input: Tensor,
        weight: Tensor,
        bias: Any = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor | None:
        """torch's conv2d; None for one of a rare kind."""
        settings = settings_of(input, stride, padding, dilation, groups)
        return self.by_kernels(input, weight, bias, settings) if settings else None

    def conv_relu(self, input: Tensor, weight: Tensor, bias: Any, pool: bool) -> Tensor | None:
        """The function of that name."""
        return self.by_kernels(input, weight, bias, Settings((1, 1), (1, 1), relu=True, pool=pool))

    def by_kernels(self, input: Tensor, weight: Tensor, bias: Any, settings: Settings) -> Tensor | None:
        raise NotImplementedError

    def norm_relu(self, input: Tensor, weight: Any, bias: Any, epsilon: float, relu: bool, pool: bool) -> Tensor | None:
        """`batch_norm.norm_relu`."""
        raise NotImplementedError

    def otherwise(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Any other call."""
        return function(*args, **kwargs)
