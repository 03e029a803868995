"""Warm up the origin of planes: data set + network, warm-up and seed -> what every picture's training starts from."""

import argparse
import sys

from losspatterns.config.reading import from_json, read
from losspatterns.data.dataset_file import load_dataset
from losspatterns.errors import run_script
from losspatterns.method.devices import claim_device, cpu_threads, device_label
from losspatterns.method.origin import warm_origin
from losspatterns.method.plane_file import record_of, save_origin
from losspatterns.method.settings import WarmUp
from losspatterns.networks.settings import ModuleNetwork, parse_network
from losspatterns.networks.user_module import layers_with_state
from losspatterns.records.artifacts import provenance
from tqdm import tqdm


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True, help="dataset file (.npz)")
    parser.add_argument("--dataset-name", required=True)
    parser.add_argument("--spec", required=True, help="JSON: network, warm_up, seed")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (the result depends on them)")
    parser.add_argument("--output", required=True, help="output: origin (.safetensors)")
    arguments = parser.parse_args()

    spec = from_json("--spec", arguments.spec)
    network = parse_network("network", spec["network"])
    warm_up = read(WarmUp, "warm_up", spec["warm_up"])
    dataset = load_dataset(arguments.dataset)
    device = claim_device()
    run = f"{arguments.dataset_name}/{spec['network']['name']}/seed{spec['seed']}"
    made_by = provenance(
        **record_of(arguments.dataset_name, dataset, spec["network"], spec["seed"]),
        warm_up=warm_up.model_dump(mode="json"),
        device=device_label(device),
        threads=arguments.threads,
    )
    with (
        cpu_threads(arguments.threads),
        tqdm(total=warm_up.origin_updates, desc=run, unit="update", mininterval=5, file=sys.stderr) as bar,
    ):
        given = dataset.x_train, dataset.y_train, len(dataset.class_names), spec["seed"], device
        origin = warm_origin(network, warm_up, *given, bar.update)
    if isinstance(network, ModuleNetwork):
        for line in layers_with_state(origin.network.module):
            print(f"{run}: {line}", file=sys.stderr)
    save_origin(arguments.output, origin, made_by)


if __name__ == "__main__":
    run_script(main)
