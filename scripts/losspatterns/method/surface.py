"""The loss and accuracy surfaces of a plane: a grid of points that contains every trained pixel exactly.

It goes point by point, which keeps a device busy; a point's weights serve all splits and protocols. On a CPU the kernels take
several points at once (500 images, conv 8-8: 5 ms a point instead of 11). The images are a subset of a split fixed by a seed,
the same for every point, never augmented. Where batch norm takes its statistics from is the protocol (`networks.batch_norm`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import vmap

from ..cpu import kernels
from ..networks.batch_norm import Moments, protocol_for
from ..networks.flat import FlatNetwork
from ..records.state import StateFile
from .devices import with_less_memory
from .layers import OneModel, OnPlane, plane_stacks
from .plane import Basis, Plane, axis_names

ACTIVATION_BYTES = {"cpu": 8 * 2**20, "cuda": 4 * 2**30}  # largest layer output of one call; CPU: fits the cache
POINTS_AT_ONCE = 16
# At most, of the largest layer output of all points together; a batch norm goes over it twice and wants it in the cache.
POINTS_BYTES, NORM_POINTS_BYTES = 2**28, 2**25
SURFACE = ("stage", "split", "protocol")  # dimensions that tell surfaces apart; then come those of a surface
Images = tuple[Tensor, Tensor]  # network inputs (N, C, H, W) and labels (N,)
# Of K models: their logits (K, N, classes) of images by given moments, and the moments that calibration images have.
Models = tuple[Callable[[Tensor, list[Moments] | None], Tensor], Callable[[], list[Moments]]]


def grid_axis(pixels: int, padding: int, oversampling: int) -> np.ndarray:
    """Coordinates from -padding to pixels - 1 + padding in steps of 1 / oversampling; every integer is met exactly."""
    return np.arange(-padding * oversampling, (pixels - 1 + padding) * oversampling + 1) / oversampling


def choose_images(available: int, wanted: int, seed: int) -> np.ndarray:
    """Sorted indices of min(wanted, available) images, without replacement, fixed by `seed`."""
    return np.sort(np.random.default_rng(seed).permutation(available)[:wanted])


def sizes_of_call(network: FlatNetwork, images: Tensor) -> tuple[int, int]:
    """How many points and images to run at once. Several points, if kernels do it; else so many images that the largest layer's
    output stays within ACTIVATION_BYTES."""
    per_image = 4 * max(network.layer_outputs(images.shape[1:]))
    points = min(POINTS_AT_ONCE, (NORM_POINTS_BYTES if network.norms else POINTS_BYTES) // (per_image * len(images)))
    if points > 1 and kernels(images):
        return points, len(images)
    return 1, max(1, min(len(images), ACTIVATION_BYTES[images.device.type] // per_image))


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

    `protocol`: a row of `networks.batch_norm.PROTOCOLS`; `recalibrated` needs `calibration` images. `report` is told how many
    more points are done. InputError for an unknown protocol and one that does not suit the network.
    """
    loss, accuracy, *_ = _evaluate(network, [plane], coordinates, [(images, labels)], [protocol], calibration, report)
    return loss[0, 0, 0], accuracy[0, 0, 0]


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
    channel_of: np.ndarray | None = None,
) -> dict[str, tuple[tuple[str, ...], Any]]:
    """Loss and accuracy of every stage (a plane) on every split under every protocol, `padding` pixels around the picture too.

    Labelled arrays, name -> (names of its dimensions, values), as `artifacts.save_labelled` writes them: loss (nats) and
    accuracy (0 to 1), float64 with the dimensions SURFACE, row, column; correct, int32 with SURFACE, class, row, column: how
    many images of a class are classified correctly; class_images, int32 (split, class): of how many. And their coordinates, but
    the names of the classes; row and column (or other `axis_names`) are pixel coordinates. With the channel of each class,
    `channel_of` (classes,), also channel_loss, float64 with SURFACE, channel, row, column: the mean loss of the images of a
    channel. `report` is told how many more points are done, each stage's counted. With a `state` it goes on from the points
    that the file holds, to the same bits, and saves into it.
    """
    planes = list(stages.values())
    names = axis_names(len(planes[0].shape))
    sides = [grid_axis(side, padding, oversampling) for side in planes[0].shape]
    grid = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, len(sides))
    coordinates = torch.from_numpy(grid).to(planes[0].origin.device)
    found = _evaluate(network, planes, coordinates, list(splits.values()), protocols, calibration, report, state)
    loss, accuracy, *of_class = found.reshape(*found.shape[:-1], *map(len, sides))
    classes = len(of_class) // 2
    correct, sums = of_class[:classes], of_class[classes:]
    counts = np.stack([np.bincount(labels.cpu(), minlength=classes) for _, labels in splits.values()])
    axes = zip((*SURFACE, *names), (list(stages), list(splits), list(protocols), *sides), strict=True)
    of_channels = {}
    if channel_of is not None:
        channels = np.eye(channel_of.max() + 1)[channel_of]  # classes, channels
        images = np.expand_dims((counts @ channels)[:, None], tuple(range(3, 3 + len(sides))))
        of_channels["channel_loss"] = (
            (*SURFACE, "channel", *names),
            np.einsum("gtsp...,gc->tspc...", np.stack(sums), channels) / images,
        )
    return {
        "loss": ((*SURFACE, *names), loss),
        "accuracy": ((*SURFACE, *names), accuracy),
        "correct": ((*SURFACE, "class", *names), np.stack(correct, axis=3).astype(np.int32)),
        "class_images": (("split", "class"), counts.astype(np.int32)),
        **of_channels,
        **{name: ((name,), values) for name, values in axes},
    }


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
    """What `scored` gives: (2 + 2 * classes, planes, splits, protocols, K) float64."""
    whole = [protocol_for(name, network.norms).whole for name in protocols]
    mode = OneModel() if coordinates.device.type == "cpu" else contextlib.nullcontext()

    def one_model(plane: Plane, basis: Basis, coordinates: Tensor) -> Models:
        [weights] = plane.weights(coordinates, basis)

        def logits(images: Tensor, moments: list[Moments] | None) -> Tensor:
            with mode, network.statistics(moments):
                return network(weights, images)[None]

        def calibrate() -> list[Moments]:
            with mode:
                return network.calibrate(weights, calibration)

        return logits, calibrate

    def many_models(plane: Plane, basis: Basis, coordinates: Tensor) -> Models:
        stacks = plane_stacks(network, torch.stack([plane.origin, *(plane.step * axis for axis in basis[::-1])]))
        places = F.pad(plane.offsets(coordinates), (1, 0), value=1.0)

        def model(place: Tensor, images: Tensor) -> Tensor:
            with OnPlane(stacks, place, images):
                return network.module(images)

        def logits(images: Tensor, moments: list[Moments] | None) -> Tensor:
            def of_one(place: Tensor, moments: list[Moments]) -> Tensor:
                with network.statistics(moments):
                    return model(place, images)

            own = [tuple(each.expand(len(places), -1) for each in pair) for pair in moments or ()]
            return vmap(of_one)(places, own)

        return logits, lambda: vmap(lambda place: network.recorded(lambda: model(place, calibration)))(places)

    def at_points(plane: Plane, basis: Basis, coordinates: Tensor, size: int) -> Tensor:
        """(k, splits, protocols, 2 + 2 * classes), at most `size` images at once unless the protocol wants all together."""
        logits, calibrate = (one_model if points == 1 else many_models)(plane, basis, coordinates)
        scores = []
        for name, together in zip(protocols, whole, strict=True):
            moments = network.moments(name, calibrate)
            for images, labels in splits:
                parts = images.split(len(images) if together else size)
                scores.append(scored(torch.cat([logits(part, moments) for part in parts], 1), labels))
        return torch.stack(scores, 1).unflatten(1, (len(protocols), len(splits))).transpose(1, 2)

    points, size = sizes_of_call(network, splits[0][0])
    work = list(product([(plane, plane.basis()) for plane in planes], coordinates.split(points)))
    done: list[Tensor] = []
    if state and (saved := state.load()):
        done, size = [part.to(coordinates.device) for part in saved["results"]], saved["size"]
        report(sum(map(len, done)))
    for plane_and_basis, part in work[len(done) :]:
        result, size = with_less_memory("surface", partial(at_points, *plane_and_basis, part), size)
        done.append(result)
        report(len(part))
        if state and state.due:
            state.save({"results": done, "size": size})
    results = torch.cat(done).unflatten(0, (len(planes), len(coordinates)))  # planes, K, splits, protocols, scores
    return results.permute(4, 0, 2, 3, 1).cpu().numpy()


def scored(logits: Tensor, labels: Tensor) -> Tensor:
    """Logits (K, N, classes) of models, labels (N,) -> (K, 2 + 2 * classes) float64: mean cross-entropy and accuracy of each,
    how many images of each class it classifies correctly, and the sum of their cross-entropies."""
    of_class = (labels[:, None] == torch.arange(logits.shape[-1], device=labels.device)).double()
    labels = labels.expand(logits.shape[:2])
    losses = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view(labels.shape)
    correct = (logits.argmax(-1) == labels).double()
    means = torch.stack([losses.double().mean(1), correct.mean(1)], dim=1)
    return torch.cat([means, correct @ of_class, losses.double() @ of_class], dim=1)
