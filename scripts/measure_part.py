"""What a part of `snakemake beyond` measures on one trained plane: plane + mask + datasets -> rows (.csv)."""

from __future__ import annotations

import argparse

from losspatterns.beyond import kind_module
from losspatterns.data.dataset_file import load_dataset
from losspatterns.errors import InputError, run_script
from losspatterns.method.devices import claim_device, cpu_threads, device_label
from losspatterns.method.plane_file import load_origin, load_trained
from losspatterns.records.artifacts import file_checksum, load_mask, provenance, save_table, sides
from losspatterns.settings import from_json, read


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--options", required=True, help="JSON: the part's kind and its options, losspatterns/beyond/<kind>.py")
    parser.add_argument("--plane", required=True, help="trained plane (.safetensors)")
    parser.add_argument("--origin", required=True, help="the origin that it was trained from (.safetensors)")
    parser.add_argument("--mask", required=True, help="ternary mask (.npy)")
    parser.add_argument("--datasets", nargs="+", required=True, help="dataset files (.npz): the plane's own, then others")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (the result depends on them)")
    parser.add_argument("--output", required=True, help="output: rows of the plane (.csv)")
    arguments = parser.parse_args()
    given = from_json("--options", arguments.options)
    part = kind_module(given.get("kind"), "--options: kind")
    options = read(part.Options, "--options", given)
    device = claim_device()
    trained, mask = load_trained(arguments.plane, device), load_mask(arguments.mask)
    origin, _ = load_origin(arguments.origin, device)
    datasets = [load_dataset(file, optional=number > 0) for number, file in enumerate(arguments.datasets)]
    facts = trained.provenance
    if sides(mask) != trained.plane.shape:
        raise InputError(f"{arguments.mask}: is {sides(mask)}, but {arguments.plane} was trained for {trained.plane.shape}")
    if datasets[0].checksum != facts["dataset"]["checksum"]:
        raise InputError(f"{arguments.datasets[0]}: is not the dataset that {arguments.plane} was trained on; train it again")
    if file_checksum(arguments.origin) != facts["origin_checksum"]:
        raise InputError(f"{arguments.origin}: is not the origin that {arguments.plane} was trained from; train it again")
    untrained = origin.plane(facts["training"]["step"], sides(mask))
    names = {"dataset": facts["dataset"]["name"], "mask": facts["mask"]["name"], "network": facts["network"]["name"]}
    names["seed"] = facts["seed"]
    with cpu_threads(arguments.threads):
        rows = part.measure(options, trained, untrained, mask, datasets, device)
    made_by = provenance(
        f"{part.__name__}:measure", part=given, **names, device=device_label(device), threads=arguments.threads
    )
    save_table(arguments.output, [{**names, **row} for row in rows], made_by)


if __name__ == "__main__":
    run_script(main)
