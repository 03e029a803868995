"""A trial of a user's module before any training: the engine must compute what the module alone computes.

The one idea: it makes the calls of warm-up, training and evaluation themselves, on few images, and compares their losses and
gradients with those of the module alone. Rounding has no bound in a badly conditioned network. So the module alone is also
computed at weights that differ in their sixth digit, and differences are measured by what that changes.
"""

import contextlib
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..networks.flat import FlatNetwork
from ..networks.settings import NO_BATCH_NORM, ModuleNetwork
from ..networks.user_module import NEARBY, alike, check_logits, one_line, refusal
from .layers import OneModel
from .objective import TwoColours
from .plane import Plane
from .surface import evaluate_points
from .update import plane_gradient

COORDINATES, SIGNS = torch.tensor([[0, 0], [1, 1]]), torch.tensor([1.0, -1.0])  # of a picture of 2 x 2 pixels
OF_ALL = 1e-4  # what may differ of a gradient: in units of the whole gradient


class Numbers(NamedTuple):
    """Of some pixels: the losses (K,), and the gradient (3, n) of origin, right_parameter and up_parameter."""

    losses: Tensor
    vectors: Tensor


def try_out(settings: ModuleNetwork, network: FlatNetwork, images: Tensor, classes: int) -> None:
    """InputError if the engine cannot run the module for many models at once, or gets other numbers than the module alone.

    images (N, C, H, W): some that are scaled as those of the training are.
    """
    check_logits(settings, network.module, images, classes)
    start, device, generator = network.vector(), images.device, torch.Generator().manual_seed(0)
    sizes = torch.cat([part.square().mean().sqrt().expand(len(part)) for part in start.split(network.sizes)])
    change = 0.5 * torch.where(sizes > 0, sizes, 0.1)  # by a part of each parameter's own size
    vectors = tuple(start + change * torch.randn(network.size, generator=generator).to(device) for _ in range(3))
    plane = Plane(vectors, torch.tensor(1.0, device=device), (2, 2))
    labels = torch.arange(len(images), device=device) % classes
    coordinates, signs = COORDINATES.to(device), SIGNS.to(device)
    pixels = network, plane, coordinates
    with one_line(settings, "forward or backward failed"):
        alone, nearby = (module_alone(*pixels, signs, images, labels, change) for change in (0.0, NEARBY))
    train = partial(plane_gradient, *pixels, objective=TwoColours(signs, signs.abs(), torch.inf), pixels_per_chunk=len(signs))
    with one_line(settings, "cannot run for many models at once (torch.func.vmap)"):
        train(images[:2], labels[:2])  # a number that is new to forward, in case it keeps anything by the number of images
        shared = train(images, labels)
        own = train(torch.stack([images, images]), torch.stack([labels, labels]))
    with one_line(settings, "cannot run as this workflow runs it"):
        network.module(images[:2])
        with OneModel() if device.type == "cpu" else contextlib.nullcontext():
            warm = module_alone(*pixels, signs, images, labels)
            one = torch.stack([F.cross_entropy(network(row, images), labels).detach() for row in plane.weights(coordinates)])
        many, _ = evaluate_points(*pixels, images, labels, "batch" if network.norms else NO_BATCH_NORM)
    found = [Numbers(each.losses, each.vectors) for each in (shared, own, warm)]
    found += [alone._replace(losses=each) for each in (one, torch.from_numpy(many).to(alone.losses))]
    for each in found:
        if name := difference(network, each, alone, nearby):
            raise refusal(
                settings,
                f"{name} is not that of the module alone: forward does not take its weights from its parameters by torch's "
                "functions alone (a copy made earlier, a view changed in place, TorchScript?)",
            )


def module_alone(
    network: FlatNetwork, plane: Plane, coordinates: Tensor, signs: Tensor, images: Tensor, labels: Tensor, change: float = 0.0
) -> Numbers:
    """The sum of the pixels' losses times their signs, as torch computes it for one pixel after the other.

    change: by what part of themselves the weights are changed at random.
    """
    twin = plane.with_tensors(lambda tensor: tensor.clone().requires_grad_())
    weights = twin.weights(coordinates)
    generator = torch.Generator().manual_seed(1)
    factors = 1 + change * torch.randn(weights.shape, generator=generator).to(weights.device)
    before, losses, slopes = network.vector(), [], []
    try:
        for row in weights.detach() * factors:
            nn.utils.vector_to_parameters(row, network.parameters)
            losses.append(F.cross_entropy(network.module(images), labels))
            slopes.append(network.gradient(losses[-1]))
    finally:
        nn.utils.vector_to_parameters(before, network.parameters)
    vectors = torch.autograd.grad(weights, twin.vectors, signs[:, None] * torch.stack(slopes))
    return Numbers(torch.stack(losses).detach(), torch.stack(vectors))


def difference(network: FlatNetwork, found: Numbers, alone: Numbers, nearby: Numbers) -> str | None:
    """What differs by more than rounding explains; None if nothing does."""
    whole = OF_ALL * alone.vectors.norm()
    parts = zip(*(numbers.vectors.split(network.sizes, dim=1) for numbers in (found, alone, nearby)), strict=True)
    compared = {f"the gradient of {name}": (*part, whole) for name, part in zip(network.names, parts, strict=True)}
    compared["the loss"] = found.losses, alone.losses, nearby.losses, 0.0
    for name, (value, right, changed, least) in compared.items():
        if right.isfinite().all() and not alike(value, right, changed, least):
            return name
    return None
