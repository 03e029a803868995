"""Train one plane and watch it: its gap on test images against the image passes and the seconds spent (.csv)."""

from __future__ import annotations

import argparse
import json
import sys

from losspatterns.data.dataset_file import load_dataset
from losspatterns.errors import run_script
from losspatterns.method.devices import claim_device, cpu_threads
from losspatterns.quality import follow, within_budget
from losspatterns.records.artifacts import load_mask, provenance, save_table
from losspatterns.specs import ProbeSpec, parse, recorded_network
from tqdm import tqdm


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True, help="dataset file (.npz)")
    parser.add_argument("--mask", required=True, help="ternary mask (.npy)")
    parser.add_argument("--mask-name", required=True)
    parser.add_argument("--variant", required=True, help="the variant's name, for the table")
    parser.add_argument("--spec", required=True, help="JSON: network, training, passes, probe, recipe, seed")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (the result depends on them)")
    parser.add_argument("--output", required=True, help="output: a row per checkpoint (.csv)")
    arguments = parser.parse_args()

    spec = json.loads(arguments.spec)
    network = recorded_network(spec["network"])
    mask = load_mask(arguments.mask)
    training = within_budget(spec["training"], spec["passes"], mask)
    dataset = load_dataset(arguments.dataset)
    device = claim_device()
    run = f"{arguments.mask_name}/{arguments.variant}/seed{spec['seed']}"
    with (
        cpu_threads(arguments.threads),
        tqdm(total=training.updates, desc=run, unit="update", mininterval=5, file=sys.stderr) as bar,
    ):
        curve = follow(
            run,
            network,
            training,
            parse(ProbeSpec, "probe", spec["probe"]),
            mask,
            dataset,
            spec["seed"],
            device,
            lambda update, row: bar.update(update - bar.n),
        )
    facts = {
        "mask": arguments.mask_name,
        "variant": arguments.variant,
        "recipe": spec["recipe"],
        "seed": spec["seed"],
    }
    for place, (name, value) in enumerate(facts.items()):
        curve.insert(place, name, value)
    origin = {"network": spec["network"]["name"], "dataset_label": dataset.label, "device": device.type}
    save_table(arguments.output, curve.assign(**origin), provenance(spec=spec))


if __name__ == "__main__":
    run_script(main)
