"""Multi-point optimization: the objective and its gradient, for many pixels at once.

    minimise   mean over white pixels of L(w)  -  mean over black pixels of min(L(w), tau)

A pixel's weights  w = origin + a * up + b * right  are linear in its offsets (a, b), and a convolution or a dense layer is
linear in its weights. So one product with origin, up and right, which all pixels share, serves the images of all pixels in one
large call: three times the arithmetic, but no pixel's own weights are formed, and an image pass costs about the same with one
image a pixel as with many. Where arithmetic is what costs (convolutions of many channels, dense layers of many images), own
weights are cheaper. The module runs under `vmap` over pixels; inside `OnPlane` each of its layers takes the cheaper way.
Source: Skorokhodov & Burtsev, arXiv 1910.03867, section 3 (the objective).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import vmap
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from .convolution import PixelConvolution
from .networks import FlatNetwork
from .plane import Plane

CHANNELS = {F.linear: -1, F.conv2d: -3}  # the layers that are linear in their weights, and the dimension of their channels
ARGUMENTS = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
# From where on a pixel's own weights are cheaper than shared products. Measured on a CPU; a GPU's memory bounds it before its
# arithmetic does, so that there (not measured) convolutions always form them.
OWN_KERNELS_FROM = {"cpu": 32}  # a convolution's input channels
OWN_WEIGHTS_FROM = 64  # images per pixel, for a dense layer
CPU_IMAGES_PER_CALL = 256
MAY_HOLD_A_PARAMETER = (nn.Parameter, list, tuple, dict)


@dataclass
class PixelResults:
    """Of the K pixels of one update: cross-entropy `losses` (nats) and `accuracies`, each (K,)."""

    losses: Tensor
    accuracies: Tensor


class OnPlane(TorchFunctionMode):
    """Inside it, a module's parameters stand for those of one pixel of a plane.

    `stacks` holds (origin, step * up, step * right) of each parameter p as (3, *p.shape), by id(p); `place` (3,) is 1 and the
    offsets of the pixel, rows first. Dense layers and ungrouped convolutions multiply with the stack or with own weights; any
    other function of a parameter gets the pixel's own value of it. Fit for `vmap` over places and images. `shared`: images that
    are the same for all pixels, if they are: the layer that takes them multiplies them once.
    """

    def __init__(self, stacks: Mapping[int, Tensor], place: Tensor, shared: Tensor | None) -> None:
        super().__init__()
        self.stacks, self.place, self.shared = stacks, place, shared
        self.layers = {F.linear: self.dense, F.conv2d: self.convolution}

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if function in self.layers:
            named = {**dict(zip(ARGUMENTS, args, strict=False)), **kwargs}
            if id(named["weight"]) in self.stacks and (output := self.layers[function](**named)) is not None:
                return output
        elif not any(isinstance(item, MAY_HOLD_A_PARAMETER) for item in (*args, *kwargs.values())):
            return function(*args, **kwargs)  # most calls; looking into their arguments would take as long as they do
        return function(*tree_map(self.value, args), **tree_map(self.value, kwargs))

    def value(self, item: Any) -> Any:
        """A parameter's value at the pixel; anything else as it is."""
        if not isinstance(item, nn.Parameter) or id(item) not in self.stacks:
            return item
        origin, up, right = self.stacks[id(item)]
        return origin + self.place[1] * up + self.place[2] * right

    def dense(self, input: Tensor, weight: Tensor, bias: Any = None) -> Tensor | None:
        """A dense layer; None if its weights are to be formed."""
        if input.shape[:-1].numel() >= OWN_WEIGHTS_FROM:
            return None
        return self.product(F.linear, input, weight, bias)

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
        """A convolution; None if it is grouped."""
        if groups != 1:
            return None
        stack = self.stacks[id(weight)]
        biases = stack.new_zeros(stack.shape[:2]) if bias is None else self.stacks.get(id(bias))
        usual = not isinstance(padding, str) and _pair(dilation) == (1, 1) and input.dim() == 4 and biases is not None
        if not usual or stack.shape[2] < OWN_KERNELS_FROM.get(input.device.type, 1):
            return self.product(F.conv2d, input, weight, bias, stride=stride, padding=padding, dilation=dilation)
        weights = stack.permute(0, 1, 3, 4, 2)  # channels last
        kernel = tuple(weights.shape[2:4])
        return PixelConvolution.apply(input, self.place, weights.flatten(2), biases, kernel, _pair(stride), _pair(padding))

    def product(self, function: Callable[..., Tensor], input: Tensor, weight: Tensor, bias: Any, **settings: Any) -> Tensor:
        """The layer's output, by one call with three times the input or output channels, whichever are fewer."""
        stack, channels, (_, a, b) = self.stacks[id(weight)], CHANNELS[function], self.place
        outputs, inputs = stack.shape[1:3]
        if inputs <= outputs and input is not self.shared:
            last = input.movedim(channels, -1)  # the layout that convolutions are fastest in
            wide = torch.cat([last, a * last, b * last], -1).movedim(-1, channels)
            output = function(wide, torch.cat([*stack], 1), None, **settings)
        else:
            parts = function(input, stack.flatten(0, 1), None, **settings).chunk(3, channels)
            output = parts[0] + a * parts[1] + b * parts[2]
        if bias is None:
            return output
        bias = self.value(bias)
        return output + (bias if channels == -1 else bias[:, None, None])


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def chunk_for(network: FlatNetwork, image_shape: Sequence[int], images: int, device: torch.device) -> int:
    """Pixels to compute at once, with `images` images (C, H, W) each, if the recipe leaves it open.

    On a CPU a fixed number of images, beyond which nothing is gained, so that results do not depend on what else is running; on
    CUDA, where fewer and larger calls pay, by what half of the free memory holds.
    """
    if device.type == "cpu":
        return max(1, CPU_IMAGES_PER_CALL // images)
    free, _ = torch.cuda.mem_get_info(device)
    outputs = network.layer_outputs(image_shape)
    # A layer's output is kept for the backward pass, and meets its gradient there; the patches that a 3 x 3 kernel sees of the
    # largest, and their gradient, are laid out while its convolution is computed.
    per_image = 4 * (2 * sum(outputs) + 2 * 9 * max(outputs))
    return max(1, free // 2 // (per_image * images + 4 * 3 * network.size))


def add_plane_gradient(
    network: FlatNetwork,
    plane: Plane,
    coordinates: Tensor,
    signs: Tensor,
    factors: Tensor,
    images: Tensor,
    labels: Tensor,
    tau: float,
    pixels_per_chunk: int,
) -> PixelResults:
    """Add the gradient of the sum over pixels of factor * sign * L to `.grad` of the plane's parameters.

    coordinates (K, 2) integer pixels, signs (K,) +1 white, -1 black, factors (K,); images (K, B, C, H, W) with labels (K, B),
    or (B, C, H, W) with (B,) shared by all pixels. A black pixel whose loss exceeds `tau` has no gradient. At most
    `pixels_per_chunk` pixels are computed at once. `.grad` is touched at the very end, so a call that runs out of memory can be
    repeated with a smaller chunk.
    """
    right, up = plane.basis()
    step, offsets = plane.step.detach(), plane.offsets(coordinates)
    places = torch.cat([torch.ones_like(offsets[:, :1]), offsets], dim=1)
    flat = torch.stack([plane.origin.detach(), step * up.detach(), step * right.detach()])
    parts = [part.reshape(3, *shape) for part, shape in zip(flat.split(network.sizes, dim=1), network.shapes, strict=True)]
    stacks = {id(parameter): part.requires_grad_() for parameter, part in zip(network.parameters, parts, strict=True)}
    shared = images if images.dim() == 4 else None
    in_dims = (0, 0, 0) if shared is None else (0, None, None)

    def loss_and_accuracy(place: Tensor, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        with OnPlane(stacks, place, shared):
            logits = network.module(images)
        return F.cross_entropy(logits, labels), (logits.detach().argmax(-1) == labels).to(logits.dtype).mean()

    results = []
    for start in range(0, len(places), pixels_per_chunk):
        chunk = slice(start, start + pixels_per_chunk)
        data = [v if dim is None else v[chunk] for v, dim in zip((places, images, labels), in_dims, strict=True)]
        losses, accuracies = vmap(loss_and_accuracy, in_dims=in_dims)(*data)
        objective = factors[chunk] * torch.where(signs[chunk] > 0, losses, -losses.clamp(max=tau))
        objective.sum().backward()
        results.append((losses.detach(), accuracies))
    sums = torch.cat([stacks[id(parameter)].grad.flatten(1) for parameter in network.parameters], dim=1)
    if plane.step.requires_grad:
        slope = sums[1] @ up.detach() + sums[2] @ right.detach()
        plane.step.grad = slope if plane.step.grad is None else plane.step.grad.add_(slope)
    torch.autograd.backward([plane.origin, up, right], [sums[0], step * sums[1], step * sums[2]])
    losses, accuracies = (torch.cat(values) for values in zip(*results, strict=True))
    return PixelResults(losses, accuracies)
