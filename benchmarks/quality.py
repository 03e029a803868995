"""Train one plane and watch it: its gap on test images against the image passes and the seconds spent (.csv)."""

from __future__ import annotations

import argparse
import json
import sys

import pandas as pd
from lib.quality import follow, within_budget
from losspatterns.data.dataset_file import load_dataset
from losspatterns.errors import run_script
from losspatterns.method.devices import claim_device, cpu_threads
from losspatterns.records.artifacts import load_mask, provenance, save_table
from losspatterns.settings import Probe, parse_network, read
from tqdm import tqdm


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True, help="dataset file (.npz)")
    parser.add_argument("--mask", required=True, help="ternary mask (.npy)")
    parser.add_argument("--spec", required=True, help="JSON: what decides the run, see lib/runs.py")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (the result depends on them)")
    parser.add_argument("--output", required=True, help="output: a row per checkpoint (.csv)")
    arguments = parser.parse_args()

    spec = json.loads(arguments.spec)
    mask, dataset = load_mask(arguments.mask), load_dataset(arguments.dataset)
    network, probe = parse_network("network", spec["network"]), read(Probe, "probe", spec["probe"])
    recipe = within_budget(spec["training"], spec["passes"], mask)
    device, run = claim_device(), f"{spec['mask']}/{spec['variant']}/seed{spec['seed']}"
    bar = tqdm(total=recipe.updates, desc=run, unit="update", mininterval=5, file=sys.stderr)
    with cpu_threads(arguments.threads), bar:
        settings = run, network, recipe, probe, mask, dataset, spec["seed"], device
        curve = follow(*settings, lambda update, row: bar.update(update - bar.n))
    names = {name: spec[name] for name in ("mask", "variant", "recipe", "seed")}
    facts = {"network": spec["network"]["name"], "dataset_label": dataset.label, "device": device.type}
    save_table(arguments.output, pd.DataFrame([{**names, **row, **facts} for row in curve]), provenance(spec=spec))


if __name__ == "__main__":
    run_script(main)
