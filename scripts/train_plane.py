"""Train one plane: dataset + mask + run settings -> plane, untrained plane, history."""

from __future__ import annotations

import argparse
import json
import sys

from losspatterns.data.dataset_file import load_dataset
from losspatterns.errors import run_script
from losspatterns.method.devices import claim_device, cpu_threads, device_label
from losspatterns.method.plane_file import save_trained
from losspatterns.method.training import train
from losspatterns.networks.user_module import source_checksum
from losspatterns.records.artifacts import checksum, load_mask, provenance, save_table
from losspatterns.records.state import StateFile, fingerprint
from losspatterns.specs import ModuleSpec, TrainingSpec, parse, recorded_network
from tqdm import tqdm


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True, help="dataset file (.npz)")
    parser.add_argument("--mask", required=True, help="ternary mask (.npy)")
    parser.add_argument("--dataset-name", required=True)
    parser.add_argument("--mask-spec", required=True, help="JSON: name and config entry of the mask, for the provenance")
    parser.add_argument("--spec", required=True, help="JSON: network, training, seed")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (the result depends on them)")
    parser.add_argument("--plane", required=True, help="output: trained plane (.safetensors)")
    parser.add_argument("--untrained", required=True, help="output: the plane before training (.safetensors)")
    parser.add_argument("--history", required=True, help="output: one row per update (.csv)")
    parser.add_argument("--state", required=True, help="where unfinished work is kept (.safetensors); gone when it is done")
    parser.add_argument("--save-every", type=float, default=60.0, help="seconds between two saves of the state")
    arguments = parser.parse_args()

    spec = json.loads(arguments.spec)
    network = recorded_network(spec["network"])
    training = parse(TrainingSpec, "training", {k: v for k, v in spec["training"].items() if k != "recipe"})
    if isinstance(network, ModuleSpec):
        spec["network"]["checksum"] = source_checksum(network)
    dataset = load_dataset(arguments.dataset)
    mask = load_mask(arguments.mask)
    mask_spec = json.loads(arguments.mask_spec)
    device = claim_device()
    run = f"{arguments.dataset_name}/{mask_spec['name']}/{spec['network']['name']}/seed{spec['seed']}"
    made_by = provenance(
        dataset={"name": arguments.dataset_name, "label": dataset.label, "checksum": dataset.checksum},
        mask=mask_spec,
        mask_checksum=checksum(mask),
        mask_shape=list(mask.shape),
        image_shape=[dataset.x_train.shape[3], *dataset.x_train.shape[1:3]],
        classes=len(dataset.class_names),
        device=device_label(device),
        threads=arguments.threads,
        **spec,
    )
    with (
        cpu_threads(arguments.threads),
        StateFile(arguments.state, fingerprint(**made_by | {"device": device.type}), arguments.save_every) as state,
        tqdm(total=training.updates, desc=run, unit="update", mininterval=5, file=sys.stderr) as bar,
    ):

        def report(update: int, row: dict[str, float]) -> None:
            bar.set_postfix_str(f"loss {row['loss_white']:.2f} / {row['loss_black']:.2f}, gap {row['accuracy_gap']:.2f}", False)
            bar.update(update - bar.n)

        result = train(
            run,
            network,
            training,
            mask,
            dataset.x_train,
            dataset.y_train,
            len(dataset.class_names),
            spec["seed"],
            device,
            report,
            state=state,
        )
        passes = int(result.history["image_passes"].iloc[-1])
        for path, plane, stage, cost in (
            (arguments.plane, result.plane, "trained", passes),
            (arguments.untrained, result.initial, "untrained", 0),
        ):
            facts = {**made_by, "state": stage, "image_passes": cost}
            save_trained(path, plane, result.scaling, result.constants, facts)
        save_table(arguments.history, result.history, made_by)
        state.delete()
    if state.saved:
        print(f"{run}: saved its state {state.saved} times, in {state.seconds:.2f} s", file=sys.stderr)


if __name__ == "__main__":
    run_script(main)
