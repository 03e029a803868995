"""Train one plane and watch it: its gap on test images against the image passes and the seconds spent (.csv).

The one idea: all that a training spends is counted (the origin's ordinary updates too), and nothing that only watches it.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lib  # noqa: F401
import numpy as np
import pandas as pd
import torch
from lib.settings import Probe
from losspatterns.analysis.scores import auc
from losspatterns.config.reading import from_json, read
from losspatterns.data.dataset_file import Dataset, load_dataset
from losspatterns.errors import run_script
from losspatterns.method.devices import claim_device, cpu_threads
from losspatterns.method.images import TrainingImages, labels_on
from losspatterns.method.origin import warm_origin
from losspatterns.method.settings import Recipe
from losspatterns.method.surface import choose_images, evaluate_points
from losspatterns.method.training import Training, log_spaced
from losspatterns.networks.settings import NO_BATCH_NORM, parse_network
from losspatterns.records.artifacts import load_mask, provenance, save_table
from losspatterns.records.state import StateFile
from tqdm import trange

SAVES = 8  # of a training's state, to tell what one costs
LOOK = 10  # updates between two looks at the numbers, which must be finite


def probed_pixels(mask: np.ndarray, most: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (K, 2) and colours (K,), +1 or -1, of at most `most` trained pixels of `mask` (H, W), half of each colour."""
    rng = np.random.default_rng(seed)
    chosen = [rng.permutation(np.argwhere(mask == colour))[: max(1, most // 2)] for colour in (1, -1)]
    return np.concatenate(chosen), np.repeat([1, -1], [len(pixels) for pixels in chosen])


def within_budget(training: Mapping[str, Any], passes: int, mask: np.ndarray) -> Recipe:
    """A recipe from its keys but `updates`: as many as `passes` image passes allow on a mask (H, W), one at least."""
    recipe = read(Recipe, "training", {**training, "updates": 1000})
    spent = recipe.passes(1000, *(int((mask == colour).sum()) for colour in (1, -1)))
    return recipe.model_copy(update={"updates": max(1, 1000 * passes // spent)})


def follow(
    spec: Mapping[str, Any], mask: np.ndarray, data: Dataset, device: torch.device
) -> tuple[list[dict[str, float]], Training]:
    """Train a plane as `spec` says (`lib.runs.BenchmarkRuns.quality`); score it before its first update, at every checkpoint.

    A row for each: image_passes and seconds spent so far, gap, auc, accuracy_white, accuracy_black on test images. And the
    finished training.
    """
    network, probe = parse_network("network", spec["network"]), read(Probe, "probe", spec["probe"])
    recipe, run = within_budget(spec["training"], spec["passes"], mask), "{mask}/{variant}/seed{seed}".format(**spec)
    shown = choose_images(len(data.x_test), probe.images, probe.seed)
    labels = labels_on(device, data.y_test[shown])
    pixels, colours = probed_pixels(mask, probe.pixels, probe.seed)
    coordinates, white = torch.from_numpy(pixels).to(device), colours > 0

    def prepare(recipe: Recipe) -> Training:
        """Before its first update; its clock has counted the origin's."""
        started = time.perf_counter()
        origin = warm_origin(network, recipe, data.x_train, data.y_train, len(data.class_names), spec["seed"], device)
        spent, images = (
            time.perf_counter() - started,
            TrainingImages.of(data.x_train, data.y_train, len(data.class_names), recipe, device),
        )
        training = Training(run, recipe, origin, images, mask, spec["seed"])
        training.seconds = spent
        return training

    # The first update of a process loads libraries for seconds: they are no part of a training.
    small = {"updates": 1, "white_pixels": 1, "black_pixels": 1, "images": 1, "origin_updates": 1, "origin_images": 2}
    prepare(recipe.model_copy(update=small)).step()
    training = prepare(recipe)
    inputs = training.stream.data.scaling.inputs(data.x_test[shown])
    protocol = "batch" if network.batch_norm else NO_BATCH_NORM
    checkpoints, rows = log_spaced(recipe.updates, probe.checkpoints), []
    spent = {"image_passes": 0, "seconds": round(training.seconds, 3)}
    for update in trange(recipe.updates + 1, desc=run, unit="update", mininterval=5, file=sys.stderr):
        if update:
            training.step()
            if update in checkpoints or update % LOOK == 0:
                spent = training.look()
        if update in (0, *checkpoints):
            loss, accuracy = evaluate_points(training.network, training.plane, coordinates, inputs, labels, protocol)
            above, below = accuracy[white].mean(), accuracy[~white].mean()
            passes = recipe.origin_updates * recipe.origin_images + spent["image_passes"]
            found = {"gap": above - below, "auc": auc(-loss, white), "accuracy_white": above, "accuracy_black": below}
            rows.append({"image_passes": passes, "seconds": spent["seconds"], **found})
    return rows, training


def weigh(training: Training, mask: np.ndarray) -> dict[str, float]:
    """Bytes of the plane, three vectors and a step, and of one model for each trained pixel of `mask` (H, W); bytes of the
    training's state on disk, and the mean seconds of saving it."""
    origin, pixels = training.plane.origin, int((mask != 0).sum())
    with tempfile.TemporaryDirectory() as folder, StateFile(Path(folder) / "state.safetensors", "", 1) as state:
        for _ in range(SAVES):
            state.save(training.state_dict())
        saving = {"state_bytes": state.path.stat().st_size, "seconds_per_save": state.seconds / state.saved}
    sizes = {"plane_bytes": training.parameters.nbytes, "models_bytes": pixels * origin.nbytes}
    return {"weights": origin.numel(), "pixels": pixels, **sizes, **saving}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True, help="dataset file (.npz)")
    parser.add_argument("--mask", required=True, help="ternary mask (.npy)")
    parser.add_argument("--spec", required=True, help="JSON: what decides the run, see lib/runs.py")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (the result depends on them)")
    parser.add_argument("--output", required=True, help="output: a row per checkpoint (.csv)")
    arguments = parser.parse_args()

    spec = from_json("--spec", arguments.spec)
    mask, data, device = load_mask(arguments.mask), load_dataset(arguments.dataset), claim_device()
    with cpu_threads(arguments.threads):
        curve, training = follow(spec, mask, data, device)
        facts = {"network": spec["network"]["name"], "device": device.type, **weigh(training, mask)}
    names = {name: spec[name] for name in ("mask", "variant", "recipe", "seed")}
    save_table(arguments.output, pd.DataFrame([{**names, **row, **facts} for row in curve]), provenance(spec=spec))


if __name__ == "__main__":
    run_script(main)
