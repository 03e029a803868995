"""Time the plane's gradient next to a plain loop over pixels and a matrix product -> image passes per second (.csv)."""

from __future__ import annotations

import argparse
import itertools
import json
import sys

import pandas as pd
from losspatterns.artifacts import provenance, save_table
from losspatterns.benchmarks import Case, peak_memory, setting_of, thread_counts, training_speed, variants_of
from losspatterns.devices import claim_device
from losspatterns.errors import run_script
from losspatterns.specs import NetworkSpec, parse
from tqdm import tqdm


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", required=True, help="JSON: networks by name, image_shape, threads, and benchmarks.throughput")
    parser.add_argument("--cores", type=int, required=True, help="what `all` means in the list of threads; none gets more")
    parser.add_argument("--output", required=True, help="output: a row per setting and engine (.csv)")
    arguments = parser.parse_args()
    spec = json.loads(arguments.spec)
    device = claim_device()
    networks = [
        (name, variant)
        for name, entry in spec["networks"].items()
        for variant in variants_of(parse(NetworkSpec, f"networks.{name}", entry))
    ]
    threads = thread_counts(spec["threads"], arguments.cores, device)
    settings = list(itertools.product(threads, networks, spec["pixels"], spec["images"]))
    rows, jobs = [], []
    for count, (name, network), pixels, images in tqdm(settings, unit="setting", file=sys.stderr):
        case = Case(network, tuple(spec["image_shape"]), pixels, images)
        setting = {
            **setting_of(name, network, count, device),
            "pixels": pixels,
            "images": images,
        }
        rows += [{**setting, **row} for row in training_speed(case, count, spec["rounds"], device)]
        jobs += [(case, engine, count) for engine in ("ours", "plain")]
    megabytes = [size / 1e6 for size in peak_memory(jobs, arguments.cores, device)]
    save_table(arguments.output, pd.DataFrame(rows).assign(peak_memory_mb=megabytes), provenance(spec=spec))


if __name__ == "__main__":
    run_script(main)
