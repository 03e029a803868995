"""Train one plane: dataset + mask + origin + run settings -> plane, history."""

import argparse
import sys

from losspatterns.config.reading import from_json
from losspatterns.data.dataset_file import load_dataset
from losspatterns.errors import run_script
from losspatterns.method.devices import claim_device, cpu_threads, device_label
from losspatterns.method.images import TrainingImages
from losspatterns.method.plane_file import check_origin, load_origin, record_of, save_trained
from losspatterns.method.settings import recipe_of
from losspatterns.method.training import Training, run_training, snapshot_updates
from losspatterns.records.artifacts import checksum, file_checksum, load_mask, provenance, save_table, sides
from losspatterns.records.state import StateFile, fingerprint
from tqdm import tqdm


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True, help="dataset file (.npz)")
    parser.add_argument("--mask", required=True, help="ternary mask (.npy)")
    parser.add_argument("--origin", required=True, help="origin (.safetensors)")
    parser.add_argument("--dataset-name", required=True)
    parser.add_argument("--mask-spec", required=True, help="JSON: name and config entry of the mask, for the provenance")
    parser.add_argument("--spec", required=True, help="JSON: network, training, seed")
    parser.add_argument("--snapshots", type=int, default=0, help="how many states during training are kept; changes no result")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (the result depends on them)")
    parser.add_argument("--plane", required=True, help="output: trained plane (.safetensors)")
    parser.add_argument("--history", required=True, help="output: one row per update (.csv)")
    parser.add_argument("--state", required=True, help="where unfinished work is kept (.safetensors)")
    parser.add_argument("--save-every", type=float, default=60.0, help="seconds between two saves of the state")
    arguments = parser.parse_args()

    spec = from_json("--spec", arguments.spec)
    recipe = recipe_of(spec["training"])
    dataset = load_dataset(arguments.dataset)
    mask = load_mask(arguments.mask)
    mask_spec = from_json("--mask-spec", arguments.mask_spec)
    device = claim_device()
    record = record_of(arguments.dataset_name, dataset, spec["network"], spec["seed"])
    origin, origin_made_by = load_origin(arguments.origin, device)
    check_origin(arguments.origin, origin_made_by, {**record, "warm_up": recipe.of_origin.model_dump(mode="json")})
    run = f"{arguments.dataset_name}/{mask_spec['name']}/{spec['network']['name']}/seed{spec['seed']}"
    made_by = provenance(
        **record,
        training=spec["training"],
        mask=mask_spec,
        mask_checksum=checksum(mask),
        mask_shape=list(sides(mask)),
        origin_checksum=file_checksum(arguments.origin),
        device=device_label(device),
        threads=arguments.threads,
    )
    with (
        cpu_threads(arguments.threads),
        StateFile(arguments.state, fingerprint(**made_by | {"device": device.type}), arguments.save_every) as state,
        tqdm(total=recipe.updates, desc=run, unit="update", mininterval=5, file=sys.stderr) as bar,
    ):

        def report(update: int, row: dict[str, float]) -> None:
            bar.set_postfix_str(f"loss {row['loss_white']:.2f} / {row['loss_black']:.2f}, gap {row['accuracy_gap']:.2f}", False)
            bar.update(update - bar.n)

        images = TrainingImages.of(dataset.x_train, dataset.y_train, len(dataset.class_names), recipe, device)
        training = Training(run, recipe, origin, images, mask, spec["seed"])
        run_training(training, state, report, snapshot_updates(recipe, arguments.snapshots))
        constants = dict(origin.network.module.named_buffers())
        passes = training.history[-1]["image_passes"]
        memory = {"weights": origin.network.size, "plane_bytes": training.parameters.nbytes, "training_bytes": training.nbytes}
        facts = {**made_by, **memory, "state": "trained", "image_passes": passes, "snapshots": list(training.snapshots)}
        save_trained(arguments.plane, training.plane, origin.scaling, constants, facts, training.snapshots)
        save_table(arguments.history, training.history, made_by)
    if state.saved:
        print(f"{run}: saved its state {state.saved} times, in {state.seconds:.2f} s", file=sys.stderr)


if __name__ == "__main__":
    run_script(main)
