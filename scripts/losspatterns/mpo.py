"""Multi-point optimization: the objective and its gradient, for many pixels at once.

    minimise   mean over white pixels of L(w)  -  mean over black pixels of min(L(w), tau)

A pixel's weights  w = origin + a * up + b * right  are linear in its offsets (a, b), and a convolution or a dense layer is
linear in its weights. So one product with origin, up and right, which all pixels share, serves the images of all pixels in one
large call, and no pixel's own weights are ever formed (`OnPlane`). That is three times the arithmetic, but an image pass costs
the same with one image a pixel as with many. From many images a pixel on, forming its weights, pixel by pixel, is cheaper.
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

from .networks import FlatNetwork
from .plane import Plane

CHANNELS = {F.linear: -1, F.conv2d: -3}  # the layers that are linear in their weights, and the dimension of their channels
ARGUMENTS = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
# Images per pixel from which own weights are cheaper. CPU: measured, both cost the same at 64. CUDA: where a call on one
# pixel's images fills the device; an estimate, not yet measured.
OWN_WEIGHTS_FROM = {"cpu": 64, "cuda": 256}
CPU_IMAGES_PER_CALL = 256


@dataclass
class PixelResults:
    """Of the K pixels of one update: cross-entropy `losses` (nats) and `accuracies`, each (K,)."""

    losses: Tensor
    accuracies: Tensor


class OnPlane(TorchFunctionMode):
    """Inside it, a module's parameters stand for those of one pixel of a plane.

    `stacks` holds (origin, step * up, step * right) of each parameter p as (3, *p.shape), by id(p); `offsets` (2,) is the
    place of the pixel, rows first. Dense layers and ungrouped convolutions multiply with the stack, unless `own_weights`; any
    other function of a parameter gets the pixel's own value of it. Fit for `vmap` over offsets and images. `shared`: images
    that are the same for all pixels, if they are: the layer that takes them multiplies them once.
    """

    def __init__(self, stacks: Mapping[int, Tensor], offsets: Tensor, shared: Tensor | None, own_weights: bool) -> None:
        super().__init__()
        self.stacks, self.offsets, self.shared, self.own_weights = stacks, offsets, shared, own_weights

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if function in CHANNELS and not self.own_weights:
            named = {**dict(zip(ARGUMENTS, args, strict=False)), **kwargs}
            if id(named["weight"]) in self.stacks and named.get("groups", 1) == 1:
                return self.product(function, **named)
        return function(*tree_map(self.value, args), **tree_map(self.value, kwargs))

    def value(self, item: Any) -> Any:
        """A parameter's value at the pixel; anything else as it is."""
        if not isinstance(item, nn.Parameter) or id(item) not in self.stacks:
            return item
        origin, up, right = self.stacks[id(item)]
        return origin + self.offsets[0] * up + self.offsets[1] * right

    def product(
        self, function: Callable[..., Tensor], input: Tensor, weight: Tensor, bias: Any = None, **settings: Any
    ) -> Tensor:
        """The layer's output, by one call with three times the input or output channels, whichever are fewer."""
        stack, channels, (a, b) = self.stacks[id(weight)], CHANNELS[function], self.offsets
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


def chunk_for(network: FlatNetwork, image_shape: Sequence[int], images: int, device: torch.device) -> int:
    """Pixels to compute at once, with `images` images (C, H, W) each, if the recipe leaves it open.

    On a CPU a fixed number of images, beyond which nothing is gained, so that results do not depend on what else is running; on
    CUDA, where fewer and larger calls pay, by what half of the free memory holds.
    """
    if device.type == "cpu":
        return max(1, CPU_IMAGES_PER_CALL // images)
    free, _ = torch.cuda.mem_get_info(device)
    # For the backward pass a layer's output is kept thrice as the next layer's input, and once more before its activation.
    per_image = 4 * 4 * sum(network.layer_outputs(image_shape))
    return max(1, free // 2 // (per_image * images))


def own_weights(images: Tensor) -> bool:
    """Whether each pixel's weights are formed, for a batch of images (..., B, C, H, W)."""
    return images.shape[-4] >= OWN_WEIGHTS_FROM[images.device.type]


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
    `pixels_per_chunk` pixels are computed at once, one if their own weights are formed. `.grad` is touched at the very end,
    so a call that runs out of memory can be repeated with a smaller chunk.
    """
    right, up = plane.basis()
    step, offsets = plane.step.detach(), plane.offsets(coordinates)
    flat = torch.stack([plane.origin.detach(), step * up.detach(), step * right.detach()])
    parts = [part.reshape(3, *shape) for part, shape in zip(flat.split(network.sizes, dim=1), network.shapes, strict=True)]
    stacks = {id(parameter): part.requires_grad_() for parameter, part in zip(network.parameters, parts, strict=True)}
    shared = images if images.dim() == 4 else None
    own = own_weights(images)
    in_dims = (0, None, None) if shared is not None else (0, 0, 0)

    def loss_and_accuracy(offset: Tensor, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        with OnPlane(stacks, offset, shared, own):
            logits = network.module(images)
        return F.cross_entropy(logits, labels), (logits.detach().argmax(-1) == labels).to(logits.dtype).mean()

    results = []
    size = 1 if own else pixels_per_chunk
    for start in range(0, len(offsets), size):
        chunk = slice(start, start + size)
        each_pixel = start if own else chunk
        data = [v if dim is None else v[each_pixel] for v, dim in zip((offsets, images, labels), in_dims, strict=True)]
        if own:
            losses, accuracies = (value[None] for value in loss_and_accuracy(*data))
        else:
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
