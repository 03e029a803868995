"""Score every surface: one tidy row per run, split and batch norm protocol, and the null controls beside them."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
from losspatterns.analysis.scores import at_pixels, score, shuffled
from losspatterns.data.masks import fill
from losspatterns.errors import run_script
from losspatterns.records.artifacts import load_arrays, load_table, provenance, save_table

COLUMNS = [
    *("dataset", "mask", "network", "seed", "split", "bn_protocol"),
    *("accuracy_white", "accuracy_black", "accuracy_ignored", "accuracy_gap", "loss_white", "loss_black", "auc", "iou"),
    *("image_passes", "train_seconds", "control", "tv", "probability", "dataset_label"),
]


def rows_of(path: str, planes: Path) -> list[dict[str, object]]:
    """The rows of one surface: its own, and for a trained plane the shuffled control."""
    arrays, made_by = load_arrays(path)
    mask = arrays["mask"]
    picture, tau = fill(mask), made_by["training"]["tau"]
    loss, accuracy = (at_pixels(arrays[k], arrays["rows"], arrays["columns"], mask.shape) for k in ("loss", "accuracy"))
    run = {
        "dataset": made_by["dataset"]["name"],
        "mask": made_by["mask"]["name"],
        "network": made_by["network"]["name"],
        "seed": made_by["seed"],
        "split": made_by["split"],
        "bn_protocol": made_by["bn_protocol"],
        "image_passes": made_by["image_passes"],
        "probability": made_by["mask"].get("probability"),
        "dataset_label": made_by["dataset"]["label"],
    }
    history = planes / run["dataset"] / run["mask"] / run["network"] / f"seed{run['seed']}.history.csv"
    trained = made_by["state"] == "trained"
    run["train_seconds"] = load_table(history)["seconds"].iloc[-1] if trained else 0.0
    rows = [{**run, **score(loss, accuracy, mask, picture, tau), "control": made_by["state"]}]
    if trained:
        rows.append({**run, **score(loss, accuracy, *shuffled(mask, picture), tau), "control": "shuffled"})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--surfaces", nargs="+", required=True, help="surfaces (.npz)")
    parser.add_argument("--planes", required=True, type=Path, help="the folder of planes, for their histories")
    parser.add_argument("--output", required=True, help="output: scores (.csv)")
    arguments = parser.parse_args()
    rows = [row for path in arguments.surfaces for row in rows_of(path, arguments.planes)]
    table = pd.DataFrame(rows)[COLUMNS]
    save_table(arguments.output, table.sort_values(["control", *COLUMNS[:6]], ignore_index=True), provenance())


if __name__ == "__main__":
    run_script(main)
