"""How a module's layers are computed inside the method: for one model, or for many pixels' models at once.

A module is written once, plainly. Inside one of these modes torch hands over every call that the module makes, and its
convolutions, batch norms and dense layers are computed in another way.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from ..cpu import kernels
from ..networks.batch_norm import norm_relu
from ..networks.convolution import Settings, conv_relu, pixel_convolution, settings_of
from ..networks.flat import FlatNetwork

OWN_WEIGHTS_FROM = 64  # images per pixel: from there on a dense layer is faster with own weights too
IN_PLACE = re.compile(r".*[^_]_|__i\w+__|__setitem__")  # names of functions that change their arguments
MAY_HOLD_A_PARAMETER = (nn.Parameter, list, tuple, dict)


class OneModel(TorchFunctionMode):
    """Inside it, convolutions and batch norms run by the kernels that serve many models at once: on a CPU, for few channels,
    they are several times as fast as torch's own. On a GPU it changes nothing.

    What a method here leaves, by giving None, and every other call goes to `otherwise`. Layers' outputs lie channels last in
    memory, perhaps in bfloat16. A function that cannot take them so, as `view`, gets contiguous ones, in float32.
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
        try:
            return self.otherwise(function, args, kwargs)
        except RuntimeError:
            if IN_PLACE.fullmatch(function.__name__):  # it would change a copy
                raise
            with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
                return self.otherwise(function, *tree_map(_plain, (args, kwargs)))

    def convolution(self, input: Tensor, weight: Tensor, bias: Any = None, *more: Any, **named: Any) -> Tensor | None:
        """torch's conv2d; None for one of a rare kind."""
        settings = settings_of(input, *more, **named)
        return self.by_kernels(input, weight, bias, settings) if settings else None

    def conv_relu(self, input: Tensor, weight: Tensor, bias: Any, pool: bool) -> Tensor | None:
        """The function of that name."""
        return self.by_kernels(input, weight, bias, Settings((1, 1), (1, 1), relu=True, pool=pool))

    def by_kernels(self, input: Tensor, weight: Tensor, bias: Any, settings: Settings) -> Tensor | None:
        """A convolution."""
        bias = weight.new_zeros(len(weight)) if bias is None else bias
        if not (found := kernels(input, weight, bias)):
            return None
        output = found.convolution(input[None], weight.new_ones(1, 1), weight[None], bias[None], settings)
        return output.squeeze(0)  # unlike output[0], it costs nothing in the backward pass

    def norm_relu(
        self, input: Tensor, weight: Any, bias: Any, epsilon: float, relu: bool, pool: bool
    ) -> tuple[Tensor, ...] | None:
        """The function of that name."""
        input = self.value(input)
        if input.dim() != 4 or weight is None or bias is None:
            return None
        scale, shift = 1 + self.value(weight), self.value(bias)
        found = kernels(input, scale, shift)
        return self.normed(found.norm, (input, scale, shift), epsilon, relu, pool) if found else None

    def normed(self, norm: Callable[..., Any], tensors: tuple[Tensor, ...], *settings: Any) -> tuple[Tensor, ...]:
        """The kernel `norm` of images, scales and shifts."""
        return tuple(each.squeeze(0) for each in norm(*(tensor[None] for tensor in tensors), *settings))

    def value(self, item: Any) -> Any:
        """What stands for an argument of a call."""
        return item

    def otherwise(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Any other call."""
        return function(*args, **kwargs)


def _plain(item: Any) -> Any:
    """A tensor as any function can take it: contiguous, and in float32 if it was bfloat16; anything else as it is."""
    if not isinstance(item, Tensor):
        return item
    return (item.float() if item.dtype == torch.bfloat16 else item).contiguous()


def plane_stacks(network: FlatNetwork, vectors: Tensor) -> dict[int, Tensor]:
    """By each parameter's id its part of `vectors` (P, n), origin, step * up and step * right: (P, *its shape)."""
    parts = zip(network.parameters, vectors.split(network.sizes, dim=1), network.shapes, strict=True)
    return {id(parameter): part.reshape(len(vectors), *shape) for parameter, part, shape in parts}


class OnPlane(OneModel):
    """Inside it, a module's parameters stand for those of one pixel of a plane.

    `stacks`: those of `plane_stacks`; `place` (P,): 1 and the offsets of the pixel, rows first. Dense layers, ungrouped
    convolutions and batch norms are computed for all pixels together; any other function of a parameter gets the pixel's own
    value of it. Fit for `vmap` over places and images. `shared`: images that are the same for all pixels, if they are: the
    layer that takes them multiplies them once. `precision`: what convolutions are computed in, if not in that of their images;
    for other layers torch's autocast sees to it.
    """

    def __init__(
        self, stacks: Mapping[int, Tensor], place: Tensor, shared: Tensor | None, precision: torch.dtype | None = None
    ) -> None:
        super().__init__()
        self.stacks, self.place, self.shared, self.precision = stacks, place, shared, precision
        self.layers[F.linear] = self.dense

    def otherwise(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not any(isinstance(item, MAY_HOLD_A_PARAMETER) for item in (*args, *kwargs.values())):
            return function(*args, **kwargs)  # most calls; looking into their arguments would take as long as they do
        return function(*tree_map(self.value, args), **tree_map(self.value, kwargs))

    def value(self, item: Any) -> Any:
        """A parameter's value at the pixel; anything else as it is."""
        if not isinstance(item, nn.Parameter) or id(item) not in self.stacks:
            return item
        return self.at_place(self.stacks[id(item)])

    def at_place(self, parts: Iterable[Tensor]) -> Tensor:
        """The sum of P parts, each times its entry of `place`."""
        total, *others = parts
        for offset, part in zip(self.place[1:], others, strict=True):
            total = total + offset * part
        return total

    def dense(self, input: Tensor, weight: Tensor, bias: Any = None) -> Tensor | None:
        """A dense layer, by one call with P times the inputs or outputs, whichever are fewer; None: with weights formed."""
        stack, input = self.stacks.get(id(weight)), self.value(input)
        if stack is None or input.shape[:-1].numel() >= OWN_WEIGHTS_FROM:
            return None
        outputs, inputs = stack.shape[1:]
        if inputs <= outputs and input is not self.shared:
            inputs = [input, *(offset * input for offset in self.place[1:])]
            output = F.linear(torch.cat(inputs, -1), torch.cat([*stack], 1))
        else:
            output = self.at_place(F.linear(input, stack.flatten(0, 1)).chunk(len(stack), -1))
        return output if bias is None else output + self.value(bias)

    def by_kernels(self, input: Tensor, weight: Tensor, bias: Any, settings: Settings) -> Tensor | None:
        stack, input = self.stacks.get(id(weight)), self.value(input)
        if stack is None or (bias is not None and id(bias) not in self.stacks):
            return self.by_own_weights(input, weight, bias, settings)
        biases = stack.new_zeros(stack.shape[:2]) if bias is None else self.stacks[id(bias)]
        if self.precision is not None:
            input = input.to(self.precision)
        return pixel_convolution(input, self.place, stack, biases, settings)

    def by_own_weights(self, input: Tensor, weight: Any, bias: Any, settings: Settings) -> Tensor | None:
        """A convolution by weights computed from parameters (a batch norm's fixed scale is in them); None in training."""
        if torch.is_grad_enabled():
            return None
        weight, bias = self.value(weight), self.value(bias)
        bias = weight.new_zeros(len(weight)) if bias is None else bias
        found = kernels(input, weight, bias)
        return found and found.convolution(input, weight.new_ones(1), weight[None], bias[None], settings)

    def normed(self, norm: Callable[..., Any], tensors: tuple[Tensor, ...], *settings: Any) -> tuple[Tensor, ...]:
        return norm(*tensors, *settings)
