"""Evaluate the surface of one plane on one split under one batch norm protocol."""

from __future__ import annotations

import argparse
import json
import sys

import numpy as np
import torch
from losspatterns.data.dataset_file import load_dataset
from losspatterns.errors import InputError, run_script
from losspatterns.method.devices import claim_device, cpu_threads, device_label
from losspatterns.method.plane_file import load_trained
from losspatterns.method.surface import choose_images, evaluate_surface, grid_axis
from losspatterns.records.artifacts import checksum, file_checksum, load_mask, provenance, save_arrays
from losspatterns.records.state import StateFile, fingerprint
from tqdm import tqdm


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plane", required=True, help="plane (.safetensors)")
    parser.add_argument("--dataset", required=True, help="dataset file (.npz)")
    parser.add_argument("--mask", required=True, help="ternary mask (.npy)")
    parser.add_argument("--split", required=True, choices=["train", "test"])
    parser.add_argument("--bn-protocol", required=True, choices=["none", "batch", "recalibrated", "identity"])
    parser.add_argument("--spec", required=True, help="JSON: padding, oversampling, images, calibration_images, image_seed")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (the result depends on them)")
    parser.add_argument("--output", required=True, help="output: surface (.npz)")
    parser.add_argument("--state", required=True, help="where unfinished work is kept (.safetensors); gone when it is done")
    parser.add_argument("--save-every", type=float, default=60.0, help="seconds between two saves of the state")
    arguments = parser.parse_args()

    spec = json.loads(arguments.spec)
    device = claim_device()
    trained = load_trained(arguments.plane, device)
    dataset = load_dataset(arguments.dataset)
    mask = load_mask(arguments.mask)
    if mask.shape != trained.plane.shape:
        raise InputError(f"{arguments.mask}: is {mask.shape}, but {arguments.plane} was trained for {trained.plane.shape}")
    if dataset.checksum != trained.provenance["dataset"]["checksum"]:
        raise InputError(f"{arguments.dataset}: is not the dataset that {arguments.plane} was trained on; train it again")

    def inputs(images: np.ndarray) -> torch.Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).to(device)
        return trained.scaling(tensor.float() / 255)

    images, labels = getattr(dataset, f"x_{arguments.split}"), getattr(dataset, f"y_{arguments.split}")
    chosen = choose_images(len(images), spec["images"], spec["image_seed"])
    calibration = None
    if arguments.bn_protocol == "recalibrated":
        calibrating = choose_images(len(dataset.x_train), spec["calibration_images"], spec["image_seed"] + 1)
        calibration = inputs(dataset.x_train[calibrating])
    padding, oversampling = spec["padding"], spec["oversampling"]
    count = int(np.prod([len(grid_axis(side, padding, oversampling)) for side in mask.shape]))
    name = f"{arguments.plane} ({arguments.split})"
    made_by = {
        **trained.provenance,
        **provenance(
            split=arguments.split,
            bn_protocol=arguments.bn_protocol,
            images=len(chosen),
            images_checksum=checksum(chosen),
            surface=spec,
            surface_device=device_label(device),
        ),
    }
    facts = made_by | {"device": None, "surface_device": device.type, "plane": file_checksum(arguments.plane)}
    own = fingerprint(**facts, surface_threads=arguments.threads)
    with (
        cpu_threads(arguments.threads),
        StateFile(arguments.state, own, arguments.save_every) as state,
        tqdm(total=count, desc=name, unit="point", mininterval=5, file=sys.stderr) as bar,
    ):
        surface = evaluate_surface(
            trained.network,
            trained.plane,
            padding,
            oversampling,
            inputs(images[chosen]),
            torch.from_numpy(labels[chosen].astype(np.int64)).to(device),
            arguments.bn_protocol,
            calibration,
            bar.update,
            state,
        )
        if not np.isfinite(surface.loss).all():
            state.delete()
            raise InputError(
                f"{arguments.plane}: {np.count_nonzero(~np.isfinite(surface.loss))} points of its surface are not finite"
            )
        arrays = {"rows": surface.rows, "columns": surface.columns, "loss": surface.loss, "accuracy": surface.accuracy}
        save_arrays(arguments.output, {**arrays, "mask": mask, "images": chosen}, made_by)
        state.delete()


if __name__ == "__main__":
    run_script(main)
