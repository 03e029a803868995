"""Time a surface's points next to a plain loop over them, and weigh a plane against one model per pixel (two .csv)."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from pathlib import Path

import pandas as pd
from losspatterns.benchmarks import Case, plane_memory, setting_of, surface_speed, thread_counts, variants_of
from losspatterns.errors import run_script
from losspatterns.method.devices import claim_device
from losspatterns.records.artifacts import load_mask, provenance, save_table
from losspatterns.specs import NetworkSpec, parse
from tqdm import tqdm


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", required=True, help="JSON: networks by name, image_shape, threads, and benchmarks.surfaces")
    parser.add_argument("--masks", nargs="+", required=True, help="ternary masks (.npy); a mask's name is its file's")
    parser.add_argument("--cores", type=int, required=True, help="what `all` means in the list of threads; none gets more")
    parser.add_argument("--surfaces", required=True, help="output: a row per setting and engine (.csv)")
    parser.add_argument("--memory", required=True, help="output: a row per mask and network (.csv)")
    arguments = parser.parse_args()

    spec = json.loads(arguments.spec)
    device = claim_device()
    networks = {name: parse(NetworkSpec, f"networks.{name}", entry) for name, entry in spec["networks"].items()}
    image_shape = tuple(spec["image_shape"])
    threads = thread_counts(spec["threads"], arguments.cores, device)
    variants = [(name, variant) for name, network in networks.items() for variant in variants_of(network)]
    rows = []
    for count, (name, network) in tqdm(list(itertools.product(threads, variants)), unit="setting", file=sys.stderr):
        setting = {
            **setting_of(name, network, count, device),
            "points": spec["points"],
            "images": spec["images"],
        }
        case = Case(network, image_shape, spec["points"], spec["images"])
        rows += [{**setting, **row} for row in surface_speed(case, count, spec["rounds"], device)]
    made_by = provenance(spec=spec)
    save_table(arguments.surfaces, pd.DataFrame(rows), made_by)
    weighed = [
        {"mask": Path(path).stem, **plane_memory(name, network, image_shape, load_mask(path))}
        for name, network in networks.items()
        for path in arguments.masks
    ]
    save_table(arguments.memory, pd.DataFrame(weighed), made_by)


if __name__ == "__main__":
    run_script(main)
