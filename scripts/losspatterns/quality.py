"""How a plane's gap grows with image passes and with seconds: test accuracy at checkpoints of one training.

The one idea: all that a training spends is counted (the origin's ordinary updates too), and nothing that only watches it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from .analysis.scores import auc
from .data.dataset_file import Dataset
from .method.plane import Plane
from .method.plane_file import InputScaling
from .method.surface import choose_images, evaluate_points
from .method.training import TrainingResult, train
from .networks.modules import FlatNetwork, build
from .specs import NO_BATCH_NORM, ModuleSpec, NetworkSpec, ProbeSpec, TrainingSpec, parse

FIRST = 16  # the first checkpoint comes after 1 / FIRST of the updates


def checkpoints(updates: int, count: int) -> list[int]:
    """At most `count` numbers of updates, evenly spaced in their logarithm; the last is `updates`."""
    return sorted({max(1, round(at)) for at in np.geomspace(updates / FIRST, updates, count)[:-1]} | {updates})


def probed_pixels(mask: np.ndarray, most: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (K, 2) and colours (K,), +1 or -1, of at most `most` trained pixels of `mask` (H, W), half of each colour."""
    rng = np.random.default_rng(seed)
    chosen = [rng.permutation(np.argwhere(mask == colour))[: max(1, most // 2)] for colour in (1, -1)]
    return np.concatenate(chosen), np.repeat([1, -1], [len(pixels) for pixels in chosen])


def within_budget(training: Mapping[str, Any], passes: int, mask: np.ndarray) -> TrainingSpec:
    """The spec of a training without its updates: as many as `passes` image passes allow on a mask (H, W), one at least."""
    spec = parse(TrainingSpec, "training", {**training, "updates": 1})
    each = spec.passes_per_update(*(int((mask == colour).sum()) for colour in (1, -1)))
    return replace(spec, updates=max(1, passes // each))


def follow(
    run: str,
    network_spec: NetworkSpec | ModuleSpec,
    spec: TrainingSpec,
    probe_spec: ProbeSpec,
    mask: np.ndarray,
    dataset: Dataset,
    seed: int,
    device: torch.device,
    report: Callable[[int, dict[str, float]], None] = lambda update, row: None,
) -> pd.DataFrame:
    """Train a plane and score it before its first update and at every checkpoint; arguments as in `training.train`.

    A row for each: image_passes and seconds spent so far, gap, auc, accuracy_white, accuracy_black on test images.
    """
    classes = len(dataset.class_names)
    images = torch.from_numpy(np.ascontiguousarray(dataset.x_train.transpose(0, 3, 1, 2)))
    scaling = InputScaling.of(images, spec.standardise, device)
    network = FlatNetwork(build(network_spec, images.shape[1:], classes, device))
    shown = choose_images(len(dataset.x_test), probe_spec.images, probe_spec.seed)
    inputs = torch.from_numpy(np.ascontiguousarray(dataset.x_test[shown].transpose(0, 3, 1, 2))).to(device)
    inputs, labels = scaling(inputs.float() / 255), torch.from_numpy(dataset.y_test[shown].astype(np.int64)).to(device)
    pixels, colours = probed_pixels(mask, probe_spec.pixels, probe_spec.seed)
    coordinates = torch.from_numpy(pixels).to(device)
    white = colours > 0
    protocol = "batch" if network_spec.batch_norm else NO_BATCH_NORM
    scores: dict[int, dict[str, float]] = {}

    def probe(update: int, plane: Plane) -> None:
        loss, accuracy = evaluate_points(network, plane, coordinates, inputs, labels, protocol)
        above, below = accuracy[white].mean(), accuracy[~white].mean()
        scores[update] = {
            "gap": above - below,
            "auc": auc(-loss, white),
            "accuracy_white": above,
            "accuracy_black": below,
        }

    def trained(spec: TrainingSpec, **more: Any) -> TrainingResult:
        return train(run, network_spec, spec, mask, dataset.x_train, dataset.y_train, classes, seed, device, **more)

    # The first update of a process loads libraries for seconds: they are no part of a training.
    trained(replace(spec, updates=1, white_pixels=1, black_pixels=1, images=1, origin_updates=1, origin_images=2))
    at = checkpoints(spec.updates, probe_spec.checkpoints)
    result = trained(spec, report=report, probe_updates=set(at), probe=probe)
    probe(0, result.initial)
    history = result.history.set_index("update")
    spent = {0: (0, 0.0), **{update: (history.image_passes[update], history.seconds[update]) for update in at}}
    origin_passes = spec.origin_updates * spec.origin_images
    rows = [
        {"image_passes": origin_passes + passes, "seconds": round(result.origin_seconds + seconds, 3), **scores[update]}
        for update, (passes, seconds) in spent.items()
    ]
    return pd.DataFrame(rows)
