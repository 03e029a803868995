"""The loss and accuracy surface of a plane: a grid of points that contains every trained pixel exactly.

Point by point: one model's pass over hundreds of images keeps a device busy by itself. The images are a subset of a split fixed
by a seed, the same for every point, never augmented. Where batch norm takes its statistics from is part of what a surface is
(`networks`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..networks.convolution import Settings
from ..networks.modules import FlatNetwork, LayerMode
from ..records.state import StateFile
from ..specs import NO_BATCH_NORM
from .devices import with_less_memory
from .plane import Plane, weights_at

ACTIVATION_BYTES = {"cpu": 8 * 2**20, "cuda": 4 * 2**30}  # largest layer output of one call; CPU: fits the cache


@dataclass
class Surface:
    """`rows` (H',) and `columns` (W',): pixel coordinates; `loss` (nats) and `accuracy` (0 to 1), each (H', W') float64."""

    rows: np.ndarray
    columns: np.ndarray
    loss: np.ndarray
    accuracy: np.ndarray


def grid_axis(pixels: int, padding: int, oversampling: int) -> np.ndarray:
    """Coordinates from -padding to pixels - 1 + padding in steps of 1 / oversampling; every integer is met exactly."""
    return np.arange(-padding * oversampling, (pixels - 1 + padding) * oversampling + 1) / oversampling


def choose_images(available: int, wanted: int, seed: int) -> np.ndarray:
    """Sorted indices of min(wanted, available) images, without replacement, fixed by `seed`."""
    return np.sort(np.random.default_rng(seed).permutation(available)[:wanted])


def images_per_call(network: FlatNetwork, images: Tensor) -> int:
    """How many of the images to run at once: so many that the largest layer's output stays within ACTIVATION_BYTES."""
    per_image = 4 * max(network.layer_outputs(images.shape[1:]))
    return max(1, min(len(images), ACTIVATION_BYTES[images.device.type] // per_image))


class OneModel(LayerMode):
    """Inside it, without gradients and on a CPU, convolutions and batch norms run by the kernels that training uses for many
    models at once: for few channels they are several times as fast as torch's own."""

    def by_kernels(self, input: Tensor, weight: Tensor, bias: Tensor | None, settings: Settings) -> Tensor:
        from ..cpu.convolution import CachedConvolution  # not before: a GPU can do without what it imports

        place = weight.new_ones(1, 1)
        bias = weight.new_zeros(len(weight)) if bias is None else bias
        return CachedConvolution.apply(input[None], place, weight[None], bias[None], settings)[0][0]

    def norm_relu(
        self, input: Tensor, weight: Tensor | None, bias: Tensor | None, epsilon: float, relu: bool, pool: bool
    ) -> Tensor | None:
        """`batch_norm.norm_relu`; None for one of a rare kind."""
        if input.dim() != 4 or weight is None or bias is None:
            return None
        from ..cpu.norm import CachedNorm  # not before: a GPU can do without what it imports

        return CachedNorm.apply(input[None], 1 + weight[None], bias[None], epsilon, relu, pool)[0][0]


@torch.no_grad()
def evaluate_points(
    network: FlatNetwork,
    plane: Plane,
    coordinates: Tensor,
    images: Tensor,
    labels: Tensor,
    protocol: str,
    calibration: Tensor | None = None,
    report: Callable[[int], None] = lambda done: None,
    state: StateFile | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean cross-entropy and accuracy (K,) float64 of the models at pixel coordinates (K, 2) on images (N, C, H, W).

    `protocol`: "none", "batch" (statistics of all N images), "identity", or "recalibrated" (of `calibration` images).
    With a `state` it goes on from the points that the file holds, and saves into it. `report` is told how many points are done.
    """
    statistics = "batch" if protocol in (NO_BATCH_NORM, "batch") else "identity"
    right, up = plane.basis()
    offsets = plane.offsets(coordinates)
    kernels = OneModel() if images.device.type == "cpu" else contextlib.nullcontext()

    def evaluate(weights: Tensor, size: int) -> tuple[Tensor, Tensor]:
        with kernels:
            moments = network.calibrate(weights, calibration) if protocol == "recalibrated" else None
        with network.protocol(moments or statistics), kernels:
            logits = torch.cat([network(weights, batch) for batch in images.split(size)])
        each = F.cross_entropy(logits, labels, reduction="none")
        return each.double().mean(), (logits.argmax(-1) == labels).double().mean()

    # Batch norm over "the images at hand" means all of them, so these go in one call.
    size = len(images) if protocol == "batch" else images_per_call(network, images)
    results: list[Tensor] = []
    if state and (saved := state.load()):
        results, size = list(saved["results"].to(images.device)), saved["size"]
        report(len(results))
    for offset in offsets[len(results) :]:
        weights = weights_at(plane.origin, right, up, plane.step, offset[None])[0]
        result, size = with_less_memory("surface", partial(evaluate, weights), size)
        results.append(torch.stack(result))
        report(1)
        if state and state.due:
            state.save({"results": torch.stack(results), "size": size})
    loss, accuracy = torch.stack(results, dim=1).cpu().numpy()
    return loss, accuracy


def evaluate_surface(
    network: FlatNetwork,
    plane: Plane,
    padding: int,
    oversampling: int,
    images: Tensor,
    labels: Tensor,
    protocol: str,
    calibration: Tensor | None = None,
    report: Callable[[int], None] = lambda done: None,
    state: StateFile | None = None,
) -> Surface:
    """The surface of a plane over its picture and `padding` pixels around; the other arguments as in `evaluate_points`."""
    rows, columns = (grid_axis(side, padding, oversampling) for side in plane.shape)
    grid = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)
    coordinates = torch.from_numpy(grid).to(images.device)
    loss, accuracy = evaluate_points(network, plane, coordinates, images, labels, protocol, calibration, report, state)
    shape = len(rows), len(columns)
    return Surface(rows, columns, loss.reshape(shape), accuracy.reshape(shape))
