"""Evaluate the surfaces of one plane, untrained, trained and, if asked, at its snapshots, on each split under each batch norm
protocol."""

import argparse
import sys

import numpy as np
import torch
from losspatterns.config.reading import from_json
from losspatterns.errors import InputError, run_script
from losspatterns.method.devices import claim_device, cpu_threads, device_label
from losspatterns.method.images import TrainingImages, labels_on
from losspatterns.method.objective import channels_of_classes, halves
from losspatterns.method.plane import Plane, axis_names
from losspatterns.method.plane_file import load_with_sources
from losspatterns.method.settings import recipe_of
from losspatterns.method.surface import choose_images, evaluate_plane, grid_axis
from losspatterns.method.training import Training, run_training, snapshot_updates
from losspatterns.records.artifacts import checksum, file_checksum, provenance, save_labelled, sides
from losspatterns.records.state import StateFile, fingerprint
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plane", required=True, help="trained plane (.safetensors)")
    parser.add_argument("--origin", required=True, help="the origin that it was trained from (.safetensors)")
    parser.add_argument("--dataset", required=True, help="dataset file (.npz)")
    parser.add_argument("--mask", required=True, help="ternary mask (.npy)")
    parser.add_argument("--spec", required=True, help="JSON: the surface's settings, the protocols, how many snapshots")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (the result depends on them)")
    parser.add_argument("--output", required=True, help="output: surfaces (.nc)")
    parser.add_argument("--state", required=True, help="where unfinished work is kept (.safetensors)")
    parser.add_argument("--save-every", type=float, default=60.0, help="seconds between two saves of the state")
    arguments = parser.parse_args()

    spec = from_json("--spec", arguments.spec)
    device = claim_device()
    sources = arguments.origin, arguments.dataset, arguments.mask
    trained, origin, dataset, mask = load_with_sources(arguments.plane, *sources, device)
    facts = trained.provenance

    def chosen(split: str, count: int, seed: int) -> tuple[np.ndarray, tuple[torch.Tensor, torch.Tensor]]:
        """Indices of images of a split, and these images and labels as the network takes them."""
        images, labels = getattr(dataset, f"x_{split}"), getattr(dataset, f"y_{split}")
        index = choose_images(len(images), count, seed)
        return index, (trained.scaling.inputs(images[index]), labels_on(device, labels[index]))

    splits = {split: chosen(split, spec["images"], spec["image_seed"]) for split in spec["splits"]}
    images = pad_sequence([torch.from_numpy(index) for index, _ in splits.values()], batch_first=True, padding_value=-1).numpy()
    _, (calibration, _) = chosen("train", spec["calibration_images"], spec["image_seed"] + 1)
    shaded = mask.dtype == np.float32
    recipe = recipe_of(facts["training"])
    wanted = snapshot_updates(recipe, spec["snapshots"])
    kept = {update: trained.snapshots[update] for update in wanted if update in trained.snapshots}
    if len(kept) < len(wanted):
        repeat = StateFile(f"{arguments.state}.training", fingerprint(**facts), arguments.save_every)
        drawn = TrainingImages.of(dataset.x_train, dataset.y_train, len(dataset.class_names), recipe, device)
        again = Training(arguments.plane, recipe, origin, drawn, mask, facts["seed"])
        kept = snapshots_of(again, repeat, wanted, trained.plane, facts["threads"])
    snapshots = {f"update {update}": plane for update, plane in kept.items()}
    untrained = origin.plane(facts["training"]["step"], trained.plane.shape)
    stages = {"untrained": untrained, **snapshots, "trained": trained.plane}
    signs = halves(mask) if shaded else mask
    counts = int((signs > 0).sum()), int((signs < 0).sum())
    passes = [recipe.passes(update, *counts) for update in (0, *kept, recipe.updates)]
    if spec.get("only_trained"):
        stages, passes = {"trained": trained.plane}, passes[-1:]
    points = len(stages) * int(np.prod([len(grid_axis(side, spec["padding"], spec["oversampling"])) for side in sides(mask)]))
    title = f"{facts['mask']['name']}, {len(stages)} stages"
    made_by = facts | provenance(images_checksum=checksum(images), surface=spec, surface_device=device_label(device))
    own = made_by | {"device": None, "surface_device": device.type, "plane": file_checksum(arguments.plane)}
    with (
        cpu_threads(arguments.threads),
        StateFile(arguments.state, fingerprint(**own, surface_threads=arguments.threads), arguments.save_every) as state,
        tqdm(total=points, desc=title, unit="point", mininterval=5, file=sys.stderr) as bar,
    ):
        given = {split: given for split, (_, given) in splits.items()}
        grid = spec["padding"], spec["oversampling"]
        more = spec["protocols"], calibration, bar.update, state
        channel_of = channels_of_classes(len(dataset.class_names), mask.shape[-1]) if shaded else None
        surfaces = evaluate_plane(trained.network, stages, *grid, given, *more, channel_of, signs)
        if infinite := int(np.count_nonzero(~np.isfinite(surfaces["loss"][1]))):
            state.delete()
            raise InputError(f"{arguments.plane}: {infinite} values of its surfaces are not finite")
        surfaces["image_passes"] = (("stage",), np.array(passes))
        axes = tuple(f"mask_{axis}" for axis in axis_names(len(sides(mask))))
        surfaces |= {"mask": (axes, signs), "images": (("split", "image"), images)}
        surfaces |= {"target": ((*axes, "channel"), mask)} if shaded else {}
        surfaces["class"] = (("class",), dataset.class_names)
        save_labelled(arguments.output, surfaces, made_by)


def snapshots_of(training: Training, state: StateFile, updates: list[int], trained: Plane, threads: int) -> dict[int, Plane]:
    """The planes after these updates of a training that is repeated for them: it was `trained` without keeping them."""
    bar = tqdm(total=training.recipe.updates, desc=f"{training.run}, snapshots", unit="update", mininterval=5, file=sys.stderr)
    with cpu_threads(threads), state, bar:
        run_training(training, state, lambda update, row: bar.update(update - bar.n), updates)
        state.save(training.state_dict())  # until they are evaluated
    ends = zip(training.plane.tensors().values(), trained.tensors().values(), strict=True)
    if not all(torch.equal(*pair) for pair in ends):
        print(
            f"{training.run}: repeated for its snapshots, the training ended otherwise: on another processor", file=sys.stderr
        )
    return {update: Plane.of(training.snapshots[update].to(training.device), trained.shape) for update in updates}


if __name__ == "__main__":
    run_script(main)
