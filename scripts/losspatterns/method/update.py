"""Multi-point optimization: the objective and its gradient, for many pixels at once.

    minimise   mean over white pixels of L(w)  -  mean over black pixels of min(L(w), tau)

A pixel's weights  w = origin + a * up + b * right  are linear in its offsets (a, b), and a dense layer is linear in its
weights. So one product with origin, up and right, which all pixels share, serves the images of all pixels in one large call:
three times the arithmetic, but no pixel's own weights are formed, and an image pass costs about the same with one image a pixel
as with many. Convolutions use a weight many times in an image; there each pixel forms its own (`convolution`). The module runs
under `vmap` over pixels; inside `OnPlane` its layers are computed so.
Source: Skorokhodov & Burtsev, arXiv 1910.03867, section 3 (the objective).
"""

from __future__ import annotations

import contextlib
import copy
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import vmap
from torch.utils._pytree import tree_map

from ..networks.convolution import Settings, pixel_convolution
from ..networks.modules import FlatNetwork, LayerMode
from .devices import together
from .plane import Plane

OWN_WEIGHTS_FROM = 64  # images per pixel: from there on a dense layer is faster with own weights too
CPU_IMAGES_PER_CALL = 512
CPU_BYTES_PER_CALL = 2**28
IMAGES_PER_THREAD = 128  # with fewer, threads would wait for each other longer than they compute
MAY_HOLD_A_PARAMETER = (nn.Parameter, list, tuple, dict)


@dataclass
class PixelResults:
    """Of the K pixels of one update: cross-entropy `losses` (nats) and `accuracies`, each (K,)."""

    losses: Tensor
    accuracies: Tensor


class OnPlane(LayerMode):
    """Inside it, a module's parameters stand for those of one pixel of a plane.

    `stacks` holds (origin, step * up, step * right) of each parameter p as (3, *p.shape), by id(p); `place` (3,) is 1 and the
    offsets of the pixel, rows first. Dense layers, ungrouped convolutions and batch norms are computed for all pixels together;
    any other function of a parameter gets the pixel's own value of it. Fit for `vmap` over places and images. `shared`: images
    that are the same for all pixels, if they are: the layer that takes them multiplies them once. `precision`: what
    convolutions are computed in, if not in that of their images; for other layers torch's autocast sees to it.
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
        origin, up, right = self.stacks[id(item)]
        return origin + self.place[1] * up + self.place[2] * right

    def dense(self, input: Tensor, weight: Tensor, bias: Any = None) -> Tensor | None:
        """A dense layer, by one call with three times the inputs or outputs, whichever are fewer; None: with weights formed."""
        stack, (_, a, b) = self.stacks.get(id(weight)), self.place
        if stack is None or input.shape[:-1].numel() >= OWN_WEIGHTS_FROM:
            return None
        outputs, inputs = stack.shape[1:]
        if inputs <= outputs and input is not self.shared:
            output = F.linear(torch.cat([input, a * input, b * input], -1), torch.cat([*stack], 1))
        else:
            parts = F.linear(input, stack.flatten(0, 1)).chunk(3, -1)
            output = parts[0] + a * parts[1] + b * parts[2]
        return output if bias is None else output + self.value(bias)

    def norm_relu(
        self, input: Tensor, weight: Tensor | None, bias: Tensor | None, epsilon: float, relu: bool, pool: bool
    ) -> Tensor | None:
        """`batch_norm.norm_relu`; None if it is to run as it is written."""
        usual = input.device.type == "cpu" and input.dim() == 4 and weight is not None and bias is not None
        if not usual or input.dtype != weight.dtype:
            return None
        from ..cpu.norm import CachedNorm  # not before: a GPU can do without what it imports

        return CachedNorm.apply(input, 1 + self.value(weight), self.value(bias), epsilon, relu, pool)[0]

    def by_kernels(self, input: Tensor, weight: Tensor, bias: Any, settings: Settings) -> Tensor | None:
        stack = self.stacks.get(id(weight))
        if stack is None or (bias is not None and id(bias) not in self.stacks):
            return None
        biases = stack.new_zeros(stack.shape[:2]) if bias is None else self.stacks[id(bias)]
        if self.precision is not None:
            input = input.to(self.precision)
        return pixel_convolution(input, self.place, stack, biases, settings)


def _twin(module: nn.Module) -> nn.Module:
    """The same module, with the same parameters, for another thread: what a forward pass notes in itself stays its own."""
    twin = copy.copy(module)
    twin.__dict__["_buffers"] = dict(module._buffers)
    twin.__dict__["_modules"] = {name: child and _twin(child) for name, child in module._modules.items()}
    return twin


def chunk_for(
    network: FlatNetwork, image_shape: Sequence[int], images: int, device: torch.device, precision: torch.dtype = torch.float32
) -> int:
    """Pixels to compute at once, with `images` images (C, H, W) each, if the recipe leaves it open.

    On a CPU a number that depends on the network alone, so that results do not depend on what else is running: beyond
    CPU_IMAGES_PER_CALL nothing is gained. On CUDA, where fewer and larger calls pay, what half of the free memory holds.
    """
    outputs = network.layer_outputs(image_shape)
    size = precision.itemsize
    per_image = size * 2 * sum(outputs)  # an output is kept for the backward pass, and meets its gradient there
    if device.type == "cpu":
        return max(1, min(CPU_IMAGES_PER_CALL, CPU_BYTES_PER_CALL // per_image) // images)
    free, _ = torch.cuda.mem_get_info(device)
    # The patches that a 3 x 3 kernel sees of the largest output, and their gradient, are laid out too.
    return max(1, free // 2 // ((per_image + size * 2 * 9 * max(outputs)) * images + 4 * 3 * network.size))


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
    precision: torch.dtype = torch.float32,
) -> PixelResults:
    """Add the gradient of the sum over pixels of factor * sign * L to `.grad` of the plane's parameters.

    coordinates (K, 2) integer pixels, signs (K,) +1 white, -1 black, factors (K,); images (K, B, C, H, W) with labels (K, B),
    or (B, C, H, W) with (B,) shared by all pixels. A black pixel whose loss exceeds `tau` has no gradient. At most
    `pixels_per_chunk` pixels are computed at once. With `precision` bfloat16 the layers' products are computed in it, of
    weights formed in float32, and so is what lies between the layers; losses and gradients are float32.

    `.grad` is touched at the very end, so a call that runs out of memory can be repeated with a smaller chunk.
    """
    right, up = plane.basis()
    step, offsets = plane.step.detach(), plane.offsets(coordinates)
    places = torch.cat([torch.ones_like(offsets[:, :1]), offsets], dim=1)
    flat = torch.stack([plane.origin.detach(), step * up.detach(), step * right.detach()])
    parts = [part.reshape(3, *shape) for part, shape in zip(flat.split(network.sizes, dim=1), network.shapes, strict=True)]
    shared = images if images.dim() == 4 else None
    reduced = None if precision == torch.float32 else precision
    autocast = partial(torch.autocast, places.device.type, reduced, cache_enabled=False) if reduced else contextlib.nullcontext
    in_dims = (0, 0, 0) if shared is None else (0, None, None)

    def work(module: nn.Module, chunks: Sequence[slice]) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
        """Losses and accuracies of each chunk, and the gradient (3, n) of origin, step * up and step * right."""
        leaves = [part.detach().requires_grad_() for part in parts]
        stacks = {id(parameter): leaf for parameter, leaf in zip(network.parameters, leaves, strict=True)}

        def loss_and_accuracy(place: Tensor, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
            with autocast(), OnPlane(stacks, place, shared, reduced):
                logits = module(images).float()
            return F.cross_entropy(logits, labels), (logits.detach().argmax(-1) == labels).to(logits.dtype).mean()

        results = []
        for chunk in chunks:
            data = [v if dim is None else v[chunk] for v, dim in zip((places, images, labels), in_dims, strict=True)]
            losses, accuracies = vmap(loss_and_accuracy, in_dims=in_dims)(*data)
            objective = factors[chunk] * torch.where(signs[chunk] > 0, losses, -losses.clamp(max=tau))
            objective.sum().backward()
            results.append((losses.detach(), accuracies))
        return results, torch.cat([leaf.grad.flatten(1) for leaf in leaves], dim=1)

    per_pixel = len(images) if shared is not None else images.shape[1]
    threads = torch.get_num_threads() if places.device.type == "cpu" else 1
    threads = max(1, min(threads, len(places) * per_pixel // IMAGES_PER_THREAD))
    size = min(pixels_per_chunk, math.ceil(len(places) / threads))
    chunks = [slice(start, start + size) for start in range(0, len(places), size)]
    shares = [chunks[k::threads] for k in range(min(threads, len(chunks)))]
    modules = [network.module, *(_twin(network.module) for _ in shares[1:])]
    done = together([partial(work, module, share) for module, share in zip(modules, shares, strict=True)])
    sums = functools.reduce(torch.add, [gradient for _, gradient in done])
    if plane.step.requires_grad:
        slope = sums[1] @ up.detach() + sums[2] @ right.detach()
        plane.step.grad = slope if plane.step.grad is None else plane.step.grad.add_(slope)
    torch.autograd.backward([plane.origin, up, right], [sums[0], step * sums[1], step * sums[2]])
    in_order = [done[k % threads][0][k // threads] for k in range(len(chunks))]
    return PixelResults(*(torch.cat(values) for values in zip(*in_order, strict=True)))
