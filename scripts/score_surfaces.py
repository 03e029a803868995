"""Score every surface: surfaces and histories -> scores.csv (a row per run, stage, split and protocol) and study.csv."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from losspatterns.analysis.scores import score, shuffled
from losspatterns.analysis.study import study_tables
from losspatterns.data.masks import fill
from losspatterns.errors import InputError, run_script
from losspatterns.figures.surfaces import require_rows_and_columns
from losspatterns.records.artifacts import NAMES, load_labelled, load_table, provenance, read_record, save_table
from losspatterns.settings import from_json

COLUMNS = [
    *("dataset", "mask", "network", "seed", "split", "bn_protocol"),
    *("accuracy_white", "accuracy_black", "accuracy_ignored", "accuracy_gap", "loss_white", "loss_black", "auc", "iou"),
    *("image_passes", "train_seconds", "control", "tv", "objective", "probability", "dataset_label"),
    *("trained_pixels", "train_correlation"),
]


def settings_of(made_by: Mapping[str, Any]) -> str:
    """What made a run's trained surfaces but for code, versions and machine, as one line of JSON."""
    asked = {key: made_by.get(key) for key in ("dataset", "mask", "network", "seed", "training", "surface")}
    asked["surface"] = {key: value for key, value in (asked["surface"] or {}).items() if key != "snapshots"}
    return json.dumps(asked)


def names(made_by: Mapping[str, object]) -> tuple[object, ...]:
    """Data set, mask, network and seed of what a run made."""
    return (*(made_by[key]["name"] for key in NAMES), made_by["seed"])


def correlation_with_train(surface: xr.Dataset, split: str) -> float:
    """Pearson's correlation of the log loss with that on training images, over all points; NaN if these are not evaluated."""
    if split == "train" or "train" not in surface["split"]:
        return float("nan")
    ours, theirs = (np.log(np.maximum(surface["loss"].sel(split=name).values, 1e-12)).ravel() for name in (split, "train"))
    return float(np.corrcoef(ours, theirs)[0, 1])


def rows_of(path: str, histories: Mapping[tuple[object, ...], str]) -> Iterator[dict[str, object]]:
    """The rows of one plane's surfaces: for each its own scores, and for a trained one those of the shuffled control.

    `control`: untrained, snapshot, trained, or shuffled.
    """
    surface, made_by = load_labelled(path)
    require_rows_and_columns(path, surface)
    mask = surface["mask"].values
    picture, tau = fill(mask), made_by["training"]["tau"]
    pixels = surface.sel(row=range(mask.shape[0]), column=range(mask.shape[1]))  # without padding and points between pixels
    run = names(made_by)
    if run not in histories:
        raise InputError(f"--histories: found none of {'/'.join(map(str, run))}, whose surface is {path}")
    seconds = load_table(histories[run])["seconds"].iloc[-1]
    for stage, split, protocol in product(*(surface[axis].values.tolist() for axis in ("stage", "split", "protocol"))):
        values = pixels.sel(stage=stage, split=split, protocol=protocol)
        loss, accuracy = values["loss"].values, values["accuracy"].values
        trained = stage == "trained"
        row = {
            **dict(zip(COLUMNS, (*run, split, protocol), strict=False)),
            "image_passes": int(values["image_passes"]),
            "train_seconds": round(seconds * int(values["image_passes"]) / made_by["image_passes"], 3),
            "probability": made_by["mask"].get("probability"),
            "dataset_label": made_by["dataset"]["label"],
            "trained_pixels": int((mask != 0).sum()),
            "train_correlation": correlation_with_train(surface.sel(stage=stage, protocol=protocol), split),
        }
        unlike = {"objective": float("nan")} if "target" in surface else {}  # a photograph's objective is another one
        control = stage if stage in ("untrained", "trained") else "snapshot"
        yield {**row, **score(loss, accuracy, mask, picture, tau), **unlike, "control": control}
        if trained:
            yield {**row, **score(loss, accuracy, *shuffled(mask, picture), tau), **unlike, "control": "shuffled"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--surfaces", nargs="+", required=True, help="surfaces (.nc)")
    parser.add_argument("--histories", nargs="+", required=True, help="the training histories of the same runs (.csv)")
    parser.add_argument(
        "--studies",
        required=True,
        help="JSON: a list; of each study: name, dataset, networks (the first is compared with), runs (mask, seed)",
    )
    parser.add_argument("--scores", required=True, help="output: scores (.csv)")
    parser.add_argument("--study", required=True, help="output: means over a study's runs, and differences (.csv)")
    arguments = parser.parse_args()
    studies = from_json("--studies", arguments.studies)
    histories = {names(read_record(path)["made_by"]): path for path in arguments.histories}
    table = pd.DataFrame([row for path in arguments.surfaces for row in rows_of(path, histories)])[COLUMNS]
    scores = table.sort_values(["control", *COLUMNS[:6], "image_passes"], ignore_index=True)
    made = [read_record(path)["made_by"] for path in arguments.surfaces]
    settings = {"/".join(map(str, names(made_by))): settings_of(made_by) for made_by in made}
    save_table(arguments.scores, scores, provenance(settings=settings))
    save_table(arguments.study, study_tables(scores, studies), provenance(studies=studies))


if __name__ == "__main__":
    run_script(main)
