"""The loss and accuracy surfaces of a plane: a grid of points that contains every trained pixel exactly.

Point by point: one model's pass over hundreds of images keeps a device busy by itself, and a point's weights serve all splits and
protocols. The images are a subset of a split fixed by a seed, the same for every point, never augmented. Where batch norm takes
its statistics from, the protocol, is part of what a surface is (`networks.batch_norm`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..networks.batch_norm import protocol_for
from ..networks.flat import FlatNetwork
from ..records.state import StateFile
from .devices import with_less_memory
from .layers import OneModel
from .plane import Plane, weights_at

ACTIVATION_BYTES = {"cpu": 8 * 2**20, "cuda": 4 * 2**30}  # largest layer output of one call; CPU: fits the cache
AXES = ("stage", "split", "protocol", "row", "column")
Images = tuple[Tensor, Tensor]  # network inputs (N, C, H, W) and labels (N,)


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


def evaluate_points(
    network: FlatNetwork,
    plane: Plane,
    coordinates: Tensor,
    images: Tensor,
    labels: Tensor,
    protocol: str,
    calibration: Tensor | None = None,
    report: Callable[[int], None] = lambda points: None,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean cross-entropy and accuracy (K,) float64 of the models at pixel coordinates (K, 2) on images (N, C, H, W).

    `protocol`: a row of `networks.batch_norm.PROTOCOLS`; `recalibrated` needs `calibration` images. `report` is told of each
    point. InputError for an unknown protocol and one that does not suit the network.
    """
    found = _evaluate(network, [plane], coordinates, [(images, labels)], [protocol], calibration, report)
    return found[0, 0, 0, 0], found[1, 0, 0, 0]


def evaluate_plane(
    network: FlatNetwork,
    stages: Mapping[str, Plane],
    padding: int,
    oversampling: int,
    splits: Mapping[str, Images],
    protocols: Sequence[str],
    calibration: Tensor | None = None,
    report: Callable[[int], None] = lambda points: None,
    state: StateFile | None = None,
) -> dict[str, tuple[tuple[str, ...], Any]]:
    """Loss and accuracy of every stage (a plane) on every split under every protocol, over the picture and `padding` pixels around.

    Labelled arrays, name -> (names of its dimensions, values), as `artifacts.save_labelled` writes them: loss (nats) and accuracy
    (0 to 1), float64 with the dimensions AXES, and the coordinates of these; row and column are pixel coordinates. `report` is
    told of each point of each stage. With a `state` it goes on from the points that the file holds, to the same bits, and saves
    into it.
    """
    planes = list(stages.values())
    rows, columns = (grid_axis(side, padding, oversampling) for side in planes[0].shape)
    grid = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)
    coordinates = torch.from_numpy(grid).to(planes[0].origin.device)
    found = _evaluate(network, planes, coordinates, list(splits.values()), protocols, calibration, report, state)
    loss, accuracy = found.reshape(*found.shape[:-1], len(rows), len(columns))
    axes = zip(AXES, (list(stages), list(splits), list(protocols), rows, columns), strict=True)
    return {"loss": (AXES, loss), "accuracy": (AXES, accuracy), **{name: ((name,), values) for name, values in axes}}


@torch.no_grad()
def _evaluate(
    network: FlatNetwork,
    planes: Sequence[Plane],
    coordinates: Tensor,
    splits: Sequence[Images],
    protocols: Sequence[str],
    calibration: Tensor | None,
    report: Callable[[int], None],
    state: StateFile | None = None,
) -> np.ndarray:
    """Losses and accuracies, (2, planes, splits, protocols, K) float64."""
    whole = [protocol_for(name, network.norms).whole for name in protocols]
    kernels = OneModel() if coordinates.device.type == "cpu" else contextlib.nullcontext()

    def at_point(weights: Tensor, size: int) -> Tensor:
        """(splits, protocols, 2), at most `size` images at once unless the protocol wants all together."""
        scores = []
        for name, together in zip(protocols, whole, strict=True):
            with kernels, network.protocol(name, weights, calibration):
                scores += [
                    scored(
                        torch.cat([network(weights, part) for part in images.split(len(images) if together else size)]), labels
                    )
                    for images, labels in splits
                ]
        return torch.stack(scores).view(len(protocols), len(splits), 2).transpose(0, 1)

    done: list[Tensor] = []
    size = images_per_call(network, splits[0][0])
    if state and (saved := state.load()):
        done, size = list(saved["results"].to(coordinates.device)), saved["size"]
        report(len(done))
    for weights in islice(_points(planes, coordinates), len(done), None):
        result, size = with_less_memory("surface", partial(at_point, weights()), size)
        done.append(result)
        report(1)
        if state and state.due:
            state.save({"results": torch.stack(done), "size": size})
    results = torch.stack(done).unflatten(0, (len(planes), len(coordinates)))  # planes, K, splits, protocols, 2
    return results.permute(4, 0, 2, 3, 1).cpu().numpy()


def _points(planes: Sequence[Plane], coordinates: Tensor) -> Iterator[Callable[[], Tensor]]:
    """Of each plane in turn, what forms the weights (n,) of each point."""
    for plane in planes:
        right, up = plane.basis()
        for offset in plane.offsets(coordinates):
            yield lambda offset=offset: weights_at(plane.origin, right, up, plane.step, offset[None])[0]


def scored(logits: Tensor, labels: Tensor) -> Tensor:
    """(2,): mean cross-entropy and accuracy, float64."""
    each = F.cross_entropy(logits, labels, reduction="none")
    return torch.stack([each.double().mean(), (logits.argmax(-1) == labels).double().mean()])
