"""Time the plane's gradient next to a plain loop over pixels and a matrix product -> image passes per second (.csv).

Beside it: what saving the state of a training costs, for every network and recipe (.csv).
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys

import pandas as pd
from losspatterns.benchmarks import (
    Case,
    Contestant,
    peak_memory,
    setting_of,
    state_cost,
    thread_counts,
    training_speed,
    variants_of,
)
from losspatterns.errors import run_script
from losspatterns.method.devices import claim_device, cpu_threads
from losspatterns.records.artifacts import provenance, save_table
from losspatterns.specs import NetworkSpec, TrainingSpec, parse
from tqdm import tqdm


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", required=True, help="JSON: networks, recipes, image_shape, threads, benchmarks.throughput")
    parser.add_argument("--cores", type=int, required=True, help="what `all` means in the list of threads; none gets more")
    parser.add_argument("--output", required=True, help="output: a row per setting and engine (.csv)")
    parser.add_argument("--state", required=True, help="output: a row per network and recipe (.csv)")
    parser.add_argument("--save-every", type=float, required=True, help="seconds between two saves of a training's state")
    arguments = parser.parse_args()

    spec = json.loads(arguments.spec)
    device = claim_device()
    networks = [
        (name, variant)
        for name, entry in spec["networks"].items()
        for variant in variants_of(parse(NetworkSpec, f"networks.{name}", entry))
    ]
    image_shape = tuple(spec["image_shape"])
    threads = thread_counts(spec["threads"], arguments.cores, device)
    settings = list(itertools.product(threads, networks, spec["pixels"], spec["images"]))
    rows, jobs = [], []
    for count, (name, network), pixels, images in tqdm(settings, unit="setting", file=sys.stderr):
        case = Case(network, image_shape, pixels, images)
        setting = {
            **setting_of(name, network, count, device),
            "pixels": pixels,
            "images": images,
        }
        speeds = training_speed(case, spec["precisions"], count, spec["rounds"], device)
        rows += [{**setting, **row} for row in speeds]
        jobs += [(case, Contestant(row["engine"], row["precision"]), count) for row in speeds]
    megabytes = [size / 1e6 for size in peak_memory(jobs, arguments.cores, device)]
    made_by = provenance(spec=spec)
    save_table(arguments.output, pd.DataFrame(rows).assign(peak_memory_mb=megabytes), made_by)
    with cpu_threads(1):
        costs = [
            {**setting_of(name, network, 1, device), "recipe": recipe}
            | state_cost(network, parse(TrainingSpec, f"recipes.{recipe}", entry), image_shape, arguments.save_every, device)
            for name, network in networks
            for recipe, entry in spec["recipes"].items()
        ]
    save_table(arguments.state, pd.DataFrame(costs), made_by)


if __name__ == "__main__":
    run_script(main)
