"""The loss and accuracy surface of a plane: a grid of points that contains every trained pixel exactly, all points in bulk.

Many models run on the same images at once (`vmap` over weight vectors). The images are a subset of a split fixed by a seed, the
same for every point, never augmented. Where batch norm takes its statistics from is part of what a surface is (`networks`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import vmap

from .networks import FlatNetwork
from .plane import Plane, weights_at
from .specs import NO_BATCH_NORM

ACTIVATION_BYTES = {"cpu": 8 * 2**20, "cuda": 4 * 2**30}  # largest layer output of one call; CPU: fits the cache (2.5 x faster)


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


def largest_activation(network: FlatNetwork, images: Tensor) -> int:
    """The most numbers that any layer puts out for one image."""
    sizes: list[int] = []

    def note(_module: torch.nn.Module, _inputs: tuple[Tensor, ...], output: Any) -> None:
        if isinstance(output, Tensor):  # a user's layers may put out more than one
            sizes.append(output.numel())

    hooks = [module.register_forward_hook(note) for module in network.module.modules()]
    try:
        with torch.no_grad():
            network.module(images[:1])
    finally:
        for hook in hooks:
            hook.remove()
    return max(sizes)


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
) -> tuple[np.ndarray, np.ndarray]:
    """Mean cross-entropy and accuracy (K,) float64 of the models at pixel coordinates (K, 2) on images (N, C, H, W).

    `protocol`: "none", "batch" (statistics of all N images), "identity", or "recalibrated" (of `calibration` images).
    """
    per_image = 4 * largest_activation(network, images)
    budget = max(1, ACTIVATION_BYTES[images.device.type] // per_image)  # images times points in one call
    whole = len(images) if protocol == "batch" else min(len(images), budget)
    points = max(1, min(len(coordinates), budget // max(whole, len(calibration) if protocol == "recalibrated" else 1)))
    statistics = "batch" if protocol in (NO_BATCH_NORM, "batch") else "identity"

    def run(weights: Tensor, batch: Tensor, moments: list[tuple[Tensor, Tensor]]) -> Tensor:
        with network.protocol(moments or statistics):
            return network(weights, batch)

    right, up = plane.basis()
    moments: list[tuple[Tensor, Tensor]] = []
    losses, accuracies = [], []
    for chunk in coordinates.split(points):
        weights = weights_at(plane.origin, right, up, plane.step, plane.offsets(chunk))
        if protocol == "recalibrated":
            moments = vmap(network.calibrate, in_dims=(0, None))(weights, calibration)
        loss = torch.zeros(len(chunk), dtype=torch.float64, device=weights.device)
        correct = torch.zeros_like(loss)
        for batch, target in zip(images.split(whole), labels.split(whole), strict=True):
            logits = vmap(run, in_dims=(0, None, 0))(weights, batch, moments)
            targets = target.expand(len(chunk), -1)
            each = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view_as(targets)
            loss += each.double().sum(1)
            correct += (logits.argmax(-1) == targets).double().sum(1)
        losses.append(loss / len(images))
        accuracies.append(correct / len(images))
        report(len(chunk))
    return torch.cat(losses).cpu().numpy(), torch.cat(accuracies).cpu().numpy()


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
) -> Surface:
    """The surface of a plane over its picture and `padding` pixels around; the other arguments as in `evaluate_points`."""
    rows, columns = (grid_axis(side, padding, oversampling) for side in plane.shape)
    grid = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)
    coordinates = torch.from_numpy(grid).to(images.device)
    loss, accuracy = evaluate_points(network, plane, coordinates, images, labels, protocol, calibration, report)
    shape = len(rows), len(columns)
    return Surface(rows, columns, loss.reshape(shape), accuracy.reshape(shape))
