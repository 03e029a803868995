"""What a part of `snakemake beyond` measures on one trained plane: plane + mask + datasets -> rows (.csv)."""

import argparse

from losspatterns.beyond import Subject, kind_module
from losspatterns.config.reading import from_json, read
from losspatterns.data.dataset_file import load_dataset
from losspatterns.errors import run_script
from losspatterns.method.devices import claim_device, cpu_threads, device_label
from losspatterns.method.plane_file import load_with_sources
from losspatterns.records.artifacts import provenance, save_table


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
    sources = arguments.origin, arguments.datasets[0], arguments.mask
    trained, origin, own, mask = load_with_sources(arguments.plane, *sources, device)
    datasets = [own, *(load_dataset(file, optional=True) for file in arguments.datasets[1:])]
    facts = trained.provenance
    untrained = origin.plane(facts["training"]["step"], trained.plane.shape)
    names = {"dataset": facts["dataset"]["name"], "mask": facts["mask"]["name"], "network": facts["network"]["name"]}
    names["seed"] = facts["seed"]
    with cpu_threads(arguments.threads):
        rows = part.measure(options, Subject(trained, untrained, mask, datasets, device))
    made_by = provenance(part.__name__, part=given, **names, device=device_label(device), threads=arguments.threads)
    save_table(arguments.output, [{**names, **row} for row in rows], made_by)


if __name__ == "__main__":
    run_script(main)
