"""Time the engine next to a plain loop and a matrix product, and weigh it: four tables (.csv).

throughput: image passes per second of the plane's gradient; surfaces: points times images per second; memory: bytes of a plane
next to one model per pixel; state: what saving the state of a training costs.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
from lib.memory import peak_memory, plane_memory, state_cost
from lib.speed import Case, device_name, speeds, surface_work, thread_counts, training_work
from losspatterns.errors import run_script
from losspatterns.method.devices import claim_device, cpu_threads
from losspatterns.records.artifacts import load_mask, provenance, save_table
from losspatterns.settings import ConvNetwork, Recipe, parse_network, read
from tqdm import tqdm

TABLES = ("throughput", "surfaces", "memory", "state")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spec", required=True, help="JSON: what to measure, see lib/runs.py")
    parser.add_argument("--masks", nargs="+", required=True, help="ternary masks (.npy); a mask's name is its file's")
    parser.add_argument("--cores", type=int, required=True, help="what `all` means in the list of threads; none gets more")
    parser.add_argument("--save-every", type=float, required=True, help="seconds between two saves of a training's state")
    for name in TABLES:
        parser.add_argument(f"--{name}", required=True, help="output (.csv)")
    arguments = parser.parse_args()

    spec = json.loads(arguments.spec)
    device, shape = claim_device(), tuple(spec["image_shape"])
    networks = {name: parse_network(f"networks.{name}", entry) for name, entry in spec["networks"].items()}
    recipes = {name: read(Recipe, f"recipes.{name}", entry) for name, entry in spec["recipes"].items()}
    counts = thread_counts(spec["threads"], arguments.cores, device)
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}

    def settings(part: str, counts: list[int]) -> Iterator[tuple[int, ConvNetwork, dict[str, Any]]]:
        """Every number of threads with every network of a part, without and with batch norm, and the columns of its rows."""
        for threads, name, normed in product(counts, spec[part]["networks"], (False, True)):
            if networks[name].channels or not normed:  # without convolutions there is nothing to normalise
                facts = {"device": device.type, "device_name": device_name(device), "threads": threads}
                network = networks[name].model_copy(update={"batch_norm": normed})
                yield threads, network, {**facts, "network": name, "batch_norm": normed}

    part, jobs = spec["throughput"], []
    cases = product(settings("throughput", counts), part["pixels"], part["images"])
    for (threads, network, columns), pixels, images in tqdm(list(cases), unit="setting", file=sys.stderr):
        case = Case(network, shape, pixels, images)
        work = training_work(case, part["precisions"], device)
        found = speeds(case, work, "passes_per_second", True, threads, part["rounds"], device)
        rows["throughput"] += [{**columns, "pixels": pixels, "images": images, **row} for row in found]
        jobs += [(case, contestant, threads) for contestant in work]
    for row, size in zip(rows["throughput"], peak_memory(jobs, arguments.cores, device), strict=True):
        row["peak_memory_mb"] = size / 1e6

    part = spec["surfaces"]
    for threads, network, columns in tqdm(list(settings("surfaces", counts)), unit="setting", file=sys.stderr):
        case = Case(network, shape, part["points"], part["images"])
        found = speeds(case, surface_work(case, device), "evaluations_per_second", False, threads, part["rounds"], device)
        rows["surfaces"] += [{**columns, "points": part["points"], "images": part["images"], **row} for row in found]
    for name, file in product(part["networks"], arguments.masks):
        sizes = plane_memory(networks[name], shape, load_mask(file))
        rows["memory"].append({"mask": Path(file).stem, "network": name, **sizes})
    with cpu_threads(1):
        for (_, network, columns), (name, recipe) in product(settings("throughput", [1]), recipes.items()):
            cost = state_cost(network, recipe, shape, arguments.save_every, device)
            rows["state"].append({**columns, "recipe": name, **cost})
    for name in TABLES:
        save_table(getattr(arguments, name), pd.DataFrame(rows[name]), provenance(spec=spec))


if __name__ == "__main__":
    run_script(main)
