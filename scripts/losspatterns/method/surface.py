"""The loss and accuracy surfaces of a plane: a grid of points that contains every trained pixel exactly.

It goes point by point, which keeps a device busy; a point's weights serve all splits and protocols. On a CPU the kernels take
several points at once (500 images, conv 8-8: 5 ms a point instead of 11). The images are a subset of a split fixed by a seed,
the same for every point, never augmented. Where batch norm takes its statistics from is the protocol (`networks.batch_norm`).
"""

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
PER_IMAGE = ("white_correct", "black_correct")
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
    """How many points and images to run at once, by the largest split's images. Several points, if kernels do it; else so many
    images that the largest layer's output stays within ACTIVATION_BYTES."""
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
    (loss, accuracy, *_), _ = _evaluate(network, [plane], coordinates, [(images, labels)], [protocol], calibration, report)
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
    mask: np.ndarray | None = None,
) -> dict[str, tuple[tuple[str, ...], Any]]:
    """Loss and accuracy of every stage (a plane) on every split under every protocol, `padding` pixels around the picture too.

    Labelled arrays, name -> (names of its dimensions, values), as `artifacts.save_labelled` writes them: loss (nats) and
    accuracy (0 to 1), float64 with the dimensions SURFACE, row, column; correct, int32 with SURFACE, class, row, column: how
    many images of a class are classified correctly; class_images, int32 (split, class): of how many. And their coordinates, but
    the names of the classes; row and column (or other `axis_names`) are pixel coordinates. With the channel of each class,
    `channel_of` (classes,), also channel_loss, float64 with SURFACE, channel, row, column: the mean loss of the images of a
    channel. With the picture's `mask` (H, W), +1 white, -1 black, 0 ignored, also white_correct and black_correct, int32
    (SURFACE, image): how many of the white (black) pixels classify an image correctly; -1 where a split has fewer images.
    `report` is told how many more points are done, each stage's counted. With a `state` it goes on from the points that the
    file holds, to the same bits, and saves into it.
    """
    planes = list(stages.values())
    names = axis_names(len(planes[0].shape))
    sides = [grid_axis(side, padding, oversampling) for side in planes[0].shape]
    grid = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, len(sides))
    coordinates = torch.from_numpy(grid).to(planes[0].origin.device)
    colours = np.zeros(list(map(len, sides)), np.int8)
    if mask is not None:
        colours[np.ix_(*((padding + np.arange(side)) * oversampling for side in mask.shape))] = mask
    signs = torch.from_numpy(colours.reshape(-1)).to(coordinates.device)
    found, sums_of_image = _evaluate(
        network, planes, coordinates, list(splits.values()), protocols, calibration, report, state, signs
    )
    loss, accuracy, *of_class = found.reshape(*found.shape[:-1], *map(len, sides))
    classes = len(of_class) // 2
    correct, sums = of_class[:classes], of_class[classes:]
    counts = np.stack([np.bincount(labels.cpu(), minlength=classes) for _, labels in splits.values()])
    axes = zip((*SURFACE, *names), (list(stages), list(splits), list(protocols), *sides), strict=True)
    of_images = {}
    if mask is not None:
        padded = np.full((2, len(planes), len(splits), len(protocols), max(counts.sum(1))), -1, np.int32)
        for k, part in enumerate(sums_of_image):
            padded[:, :, k, :, : part.shape[-1]] = part.transpose(2, 0, 1, 3)
        of_images = {name: ((*SURFACE, "image"), part) for name, part in zip(PER_IMAGE, padded, strict=True)}
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
        **of_images,
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
    signs: Tensor | None = None,
) -> tuple[np.ndarray, list[np.ndarray]]:
    """What `scored` gives: (2 + 2 * classes, planes, splits, protocols, K) float64. And for each split, of its N images: how
    many of the points with sign +1, and with -1, classify each correctly: (planes, protocols, 2, N) int32, by `signs` (K,)."""
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

    def at_points(plane: Plane, basis: Basis, coordinates: Tensor, size: int) -> tuple[Tensor, list[Tensor]]:
        """(k, splits, protocols, 2 + 2 * classes), and which images each classifies correctly, for each protocol and split
        (k, N); at most `size` images at once unless the protocol wants all together."""
        logits, calibrate = (one_model if points == 1 else many_models)(plane, basis, coordinates)
        scores, right = [], []
        for name, together in zip(protocols, whole, strict=True):
            moments = network.moments(name, calibrate)
            for images, labels in splits:
                parts = images.split(len(images) if together else size)
                found, correct = scored(torch.cat([logits(part, moments) for part in parts], 1), labels)
                scores.append(found)
                right.append(correct)
        return torch.stack(scores, 1).unflatten(1, (len(protocols), len(splits))).transpose(1, 2), right

    points, size = sizes_of_call(network, max((images for images, _ in splits), key=len))
    signs = torch.zeros(len(coordinates), device=coordinates.device) if signs is None else signs
    colours = torch.stack([signs > 0, signs < 0]).double()
    sums = [
        torch.zeros(len(planes), len(protocols), 2, len(labels), device=coordinates.device).double() for _, labels in splits
    ]
    bases, parts = [plane.basis() for plane in planes], zip(coordinates.split(points), colours.split(points, 1), strict=True)
    work = list(product(range(len(planes)), parts))
    done: list[Tensor] = []
    if state and (saved := state.load()):
        done, size = [part.to(coordinates.device) for part in saved["results"]], saved["size"]
        sums = [part.to(coordinates.device) for part in saved["sums"]]
        report(sum(map(len, done)))
    for k, (part, colour) in work[len(done) :]:
        (result, right), size = with_less_memory("surface", partial(at_points, planes[k], bases[k], part), size)
        done.append(result)
        for (protocol, split), correct in zip(product(range(len(protocols)), range(len(splits))), right, strict=True):
            sums[split][k, protocol] += colour @ correct
        report(len(part))
        if state and state.due:
            state.save({"results": done, "size": size, "sums": sums})
    results = torch.cat(done).unflatten(0, (len(planes), len(coordinates)))  # planes, K, splits, protocols, scores
    return results.permute(4, 0, 2, 3, 1).cpu().numpy(), [part.to(torch.int32).cpu().numpy() for part in sums]


def scored(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (K, N, classes) of models, labels (N,) -> (K, 2 + 2 * classes) float64: mean cross-entropy and accuracy of each,
    how many images of each class it classifies correctly, and the sum of their cross-entropies. And (K, N) float64: 1 where an
    image is classified correctly."""
    of_class = (labels[:, None] == torch.arange(logits.shape[-1], device=labels.device)).double()
    labels = labels.expand(logits.shape[:2])
    losses = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view(labels.shape)
    correct = (logits.argmax(-1) == labels).double()
    means = torch.stack([losses.double().mean(1), correct.mean(1)], dim=1)
    return torch.cat([means, correct @ of_class, losses.double() @ of_class], dim=1), correct
