"""The gradient of the objective for many pixels at once.

The one idea: a pixel's weights  w = origin + a * up + b * right  are linear in its offsets (a, b), and a dense layer is linear
in its weights. So one product with origin, up and right, which all pixels share, serves the images of all pixels in one large
call: three times the arithmetic, but no pixel's own weights are formed, and an image pass costs about the same with one image a
pixel as with many. Convolutions use a weight many times in an image; there each pixel forms its own. The module runs under
`vmap` over pixels; inside `layers.OnPlane` its layers are computed so.
"""

import contextlib
import copy
import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import vmap

from ..networks.flat import FlatNetwork
from .devices import together
from .layers import OnPlane, plane_stacks
from .objective import Shades, TwoColours
from .plane import Plane

CPU_IMAGES_PER_CALL = 512
CPU_BYTES_PER_CALL = 2**28
CONTAINERS = (dict, list, set)
IMAGES_PER_THREAD = 128  # with fewer, threads would wait for each other longer than they compute


@dataclass
class PlaneGradient:
    """The objective's gradient: `vectors` (3, n), of the plane's; `step` (), of the step.

    Of the K pixels, by the way: cross-entropy `losses` (nats) and `accuracies`, each (K,), and what the objective has `seen`.
    """

    vectors: Tensor
    step: Tensor
    losses: Tensor
    accuracies: Tensor
    seen: Tensor


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


def plane_gradient(
    network: FlatNetwork,
    plane: Plane,
    coordinates: Tensor,
    images: Tensor,
    labels: Tensor,
    objective: TwoColours | Shades,
    pixels_per_chunk: int,
    precision: torch.dtype = torch.float32,
) -> PlaneGradient:
    """The gradient of an objective over the pixels at integer coordinates (K, 2), with respect to the plane's parameters.

    images (K, B, C, H, W) with labels (K, B), or (B, C, H, W) with (B,) shared by all pixels. At most `pixels_per_chunk` pixels
    are computed at once. With `precision` bfloat16 the layers' products are computed in it, of weights formed in float32, and
    so is what lies between the layers; losses and gradients are float32.
    """
    step = plane.step.detach()
    parameters = tuple(vector.detach().requires_grad_() for vector in plane.vectors)
    origin, axes = parameters[0], Plane(parameters, step, plane.shape).basis()[::-1]
    offsets = plane.offsets(coordinates)
    places = torch.cat([torch.ones_like(offsets[:, :1]), offsets], dim=1)
    parts = plane_stacks(network, torch.stack([origin.detach(), *(step * axis.detach() for axis in axes)]))
    shared = images if images.dim() == 4 else None
    reduced = None if precision == torch.float32 else precision
    autocast = partial(torch.autocast, places.device.type, reduced, cache_enabled=False) if reduced else contextlib.nullcontext

    def work(module: nn.Module, chunks: Sequence[slice]) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
        """Losses and accuracies of each chunk, and the gradient (3, n) of origin, step * up and step * right."""
        stacks = {parameter: part.detach().requires_grad_() for parameter, part in parts.items()}

        def logits(place: Tensor, images: Tensor) -> Tensor:
            with autocast(), OnPlane(stacks, place, shared, reduced):
                return module(images).to(places.dtype)

        results = []
        for chunk in chunks:
            if shared is None:
                found, answers = vmap(logits)(places[chunk], images[chunk]), labels[chunk]
            else:
                found = vmap(logits, in_dims=(0, None))(places[chunk], images)
                answers = labels.expand(found.shape[:2])
            losses = F.cross_entropy(found.flatten(0, 1), answers.flatten(), reduction="none").view(answers.shape)
            right = found.detach().argmax(-1) == answers
            value, seen = objective(chunk, losses, answers)
            results.append((losses.detach().mean(1), right.to(losses.dtype).mean(1), seen))
            value.backward()
        return results, torch.cat([_slope(stack).reshape(len(stack), -1) for stack in stacks.values()], dim=1)

    threads = torch.get_num_threads() if places.device.type == "cpu" and not network.hooks else 1  # hooks note what they like
    threads = max(1, min(threads, len(places) * images.shape[-4] // IMAGES_PER_THREAD))
    size = min(pixels_per_chunk, math.ceil(len(places) / threads))
    chunks = [slice(start, start + size) for start in range(0, len(places), size)]
    shares = [chunks[k::threads] for k in range(min(threads, len(chunks)))]
    modules = [network.module, *(_twin(network.module) for _ in shares[1:])]
    done = together([partial(work, module, share) for module, share in zip(modules, shares, strict=True)])
    sums = functools.reduce(torch.add, [gradient for _, gradient in done])
    to_origin, *to_axes = sums
    slope = functools.reduce(torch.add, [total @ axis.detach() for total, axis in zip(to_axes, axes, strict=True)])
    # One number with these slopes: for slopes beside several results torch would import sympy, half a second of a job.
    weighed = (origin * to_origin).sum() + sum((axis * (step * total)).sum() for axis, total in zip(axes, to_axes, strict=True))
    vectors = torch.autograd.grad(weighed, parameters)
    in_order = [done[k % threads][0][k // threads] for k in range(len(chunks))]
    return PlaneGradient(torch.stack(vectors), slope, *(torch.cat(values) for values in zip(*in_order, strict=True)))


def _slope(tensor: Tensor) -> Tensor:
    """Its gradient, which is zero where a forward pass never used it."""
    return torch.zeros_like(tensor) if tensor.grad is None else tensor.grad


def _twin(module: nn.Module) -> nn.Module:
    """The same module, with the same parameters, for another thread: what a forward pass notes in itself stays its own."""
    twin = copy.copy(module)
    twin.__dict__.update((name, copy.copy(value)) for name, value in vars(module).items() if isinstance(value, CONTAINERS))
    twin.__dict__["_modules"] = {name: child and _twin(child) for name, child in module._modules.items()}
    return twin
