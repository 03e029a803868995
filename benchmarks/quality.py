"""Train one plane and watch it: its gap on test images against the image passes and the seconds spent (.csv).

The one idea: all that a training spends is counted (the origin's ordinary updates too), and nothing that only watches it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lib  # noqa: F401
import numpy as np
import pandas as pd
import torch
from losspatterns.analysis.scores import auc
from losspatterns.data.dataset_file import Dataset, load_dataset
from losspatterns.errors import run_script
from losspatterns.method.devices import claim_device, cpu_threads
from losspatterns.method.images import TrainingImages, labels_on
from losspatterns.method.origin import warm_origin
from losspatterns.method.plane import Plane
from losspatterns.method.surface import choose_images, evaluate_points
from losspatterns.method.training import Training, log_spaced, run_training
from losspatterns.records.artifacts import load_mask, provenance, save_table
from losspatterns.records.state import StateFile
from losspatterns.settings import NO_BATCH_NORM, AnyNetwork, Probe, Recipe, from_json, parse_network, read
from tqdm import tqdm

SAVES = 8  # of a training's state, to tell what one costs


def probed_pixels(mask: np.ndarray, most: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (K, 2) and colours (K,), +1 or -1, of at most `most` trained pixels of `mask` (H, W), half of each colour."""
    rng = np.random.default_rng(seed)
    chosen = [rng.permutation(np.argwhere(mask == colour))[: max(1, most // 2)] for colour in (1, -1)]
    return np.concatenate(chosen), np.repeat([1, -1], [len(pixels) for pixels in chosen])


def within_budget(training: Mapping[str, Any], passes: int, mask: np.ndarray) -> Recipe:
    """A recipe from its keys but `updates`: as many as `passes` image passes allow on a mask (H, W), one at least."""
    recipe = read(Recipe, "training", {**training, "updates": 1})
    each = recipe.passes_per_update(*(int((mask == colour).sum()) for colour in (1, -1)))
    return recipe.model_copy(update={"updates": max(1, passes // each)})


def follow(
    run: str,
    network: AnyNetwork,
    recipe: Recipe,
    settings: Probe,
    mask: np.ndarray,
    dataset: Dataset,
    seed: int,
    device: torch.device,
    report: Callable[[int, dict[str, float]], None] = lambda update, row: None,
) -> tuple[list[dict[str, float]], Training]:
    """Train a plane and score it before its first update and at every checkpoint; arguments as in `training.Training`.

    A row for each: image_passes and seconds spent so far, gap, auc, accuracy_white, accuracy_black on test images. And the
    finished training.
    """
    classes = len(dataset.class_names)
    shown = choose_images(len(dataset.x_test), settings.images, settings.seed)
    labels = labels_on(device, dataset.y_test[shown])
    pixels, colours = probed_pixels(mask, settings.pixels, settings.seed)
    coordinates, white = torch.from_numpy(pixels).to(device), colours > 0
    protocol = "batch" if network.batch_norm else NO_BATCH_NORM
    scores: dict[int, dict[str, float]] = {}

    def prepare(recipe: Recipe) -> tuple[Training, torch.Tensor, float]:
        """A training before its first update, the test images as its network takes them, and the seconds of its origin."""
        started = time.perf_counter()
        origin = warm_origin(network, recipe, dataset.x_train, dataset.y_train, classes, seed, device)
        seconds = time.perf_counter() - started
        data = TrainingImages.of(dataset.x_train, dataset.y_train, recipe, device)
        inputs = origin.scaling.inputs(dataset.x_test[shown])
        return Training(run, recipe, origin, data, mask, seed), inputs, seconds

    # The first update of a process loads libraries for seconds: they are no part of a training.
    small = {"updates": 1, "white_pixels": 1, "black_pixels": 1, "images": 1, "origin_updates": 1, "origin_images": 2}
    run_training(prepare(recipe.model_copy(update=small))[0])
    training, inputs, origin_seconds = prepare(recipe)

    def probe(update: int, plane: Plane) -> None:
        loss, accuracy = evaluate_points(training.network, plane, coordinates, inputs, labels, protocol)
        above, below = accuracy[white].mean(), accuracy[~white].mean()
        scores[update] = {"gap": above - below, "auc": auc(-loss, white), "accuracy_white": above, "accuracy_black": below}

    probe(0, training.plane)
    run_training(training, report=report, probe_updates=log_spaced(recipe.updates, settings.checkpoints), probe=probe)
    origin_passes = recipe.origin_updates * recipe.origin_images
    rows = []
    for update, found in scores.items():
        spent = training.history[update - 1] if update else {"image_passes": 0, "seconds": 0.0}
        costs = origin_passes + spent["image_passes"], round(origin_seconds + spent["seconds"], 3)
        rows.append({"image_passes": costs[0], "seconds": costs[1], **found})
    return rows, training


def weigh(training: Training, mask: np.ndarray) -> dict[str, float]:
    """Bytes of the plane, three vectors and a step, and of one model for each trained pixel of `mask` (H, W); bytes of the
    training's state on disk, and the mean seconds of saving it."""
    plane, pixels = training.plane, int((mask != 0).sum())
    with tempfile.TemporaryDirectory() as folder, StateFile(Path(folder) / "state.safetensors", "", 1) as state:
        for _ in range(SAVES):
            state.save(training.state_dict())
        saving = {"state_bytes": state.path.stat().st_size, "seconds_per_save": state.seconds / state.saved}
    sizes = {"plane_bytes": sum(tensor.nbytes for tensor in plane.tensors().values())}
    sizes |= {"models_bytes": pixels * plane.origin.nbytes}
    return {"weights": plane.origin.numel(), "pixels": pixels, **sizes, **saving}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True, help="dataset file (.npz)")
    parser.add_argument("--mask", required=True, help="ternary mask (.npy)")
    parser.add_argument("--spec", required=True, help="JSON: what decides the run, see lib/runs.py")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (the result depends on them)")
    parser.add_argument("--output", required=True, help="output: a row per checkpoint (.csv)")
    arguments = parser.parse_args()

    spec = from_json("--spec", arguments.spec)
    mask, dataset = load_mask(arguments.mask), load_dataset(arguments.dataset)
    network, probe = parse_network("network", spec["network"]), read(Probe, "probe", spec["probe"])
    recipe = within_budget(spec["training"], spec["passes"], mask)
    device, run = claim_device(), f"{spec['mask']}/{spec['variant']}/seed{spec['seed']}"
    bar = tqdm(total=recipe.updates, desc=run, unit="update", mininterval=5, file=sys.stderr)
    with cpu_threads(arguments.threads), bar:
        settings = run, network, recipe, probe, mask, dataset, spec["seed"], device
        curve, training = follow(*settings, lambda update, row: bar.update(update - bar.n))
        facts = {"network": spec["network"]["name"], "device": device.type, **weigh(training, mask)}
    names = {name: spec[name] for name in ("mask", "variant", "recipe", "seed")}
    save_table(arguments.output, pd.DataFrame([{**names, **row, **facts} for row in curve]), provenance(spec=spec))


if __name__ == "__main__":
    run_script(main)
