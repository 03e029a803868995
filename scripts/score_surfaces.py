"""Score every surface: surfaces, histories, scores of other runs -> scores.csv (a row per run, stage, split and protocol) and
study.csv."""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from losspatterns.analysis.comparison import RUN, other_settings
from losspatterns.analysis.scores import gap_error, log_loss, score, shuffled_scores
from losspatterns.analysis.study import study_tables
from losspatterns.config.reading import from_json
from losspatterns.data.masks import fill
from losspatterns.errors import InputError, run_script
from losspatterns.figures.surfaces import require_rows_and_columns
from losspatterns.records.artifacts import NAMES, load_labelled, load_table, provenance, read_record, save_table

COLUMNS = [
    *("dataset", "mask", "network", "seed", "split", "bn_protocol"),
    *("accuracy_white", "accuracy_black", "accuracy_ignored", "accuracy_gap", "loss_white", "loss_black", "auc", "iou"),
    *("image_passes", "train_seconds", "control", "tv", "objective", "probability", "dataset_label"),
    *("trained_pixels", "train_correlation", "gap_error", "shuffled_p", "images", "study", "recipe"),
    *("weights", "plane_bytes", "training_bytes"),
]
LATER = {"gap_error", "shuffled_p", "images", "study", "recipe", "weights", "plane_bytes", "training_bytes"}
REQUIRED = set(COLUMNS) - LATER  # of the scores of other runs, which an earlier version may have made
Names = tuple[object, ...]


def settings_of(made_by: Mapping[str, Any], pixels: Mapping[str, Any] | None) -> str:
    """What made a run's trained surfaces but for code, versions and machine, as one line of JSON. `pixels`: the spec of its
    pixels' file."""
    asked = {key: made_by.get(key) for key in ("dataset", "mask", "network", "seed", "training", "surface")}
    asked["surface"] = {key: value for key, value in (asked["surface"] or {}).items() if key != "snapshots"}
    return json.dumps(asked | ({"pixels": pixels} if pixels else {}))


def names(made_by: Mapping[str, object]) -> Names:
    """Data set, mask, network and seed of what a run made."""
    return (*(made_by[key]["name"] for key in NAMES), made_by["seed"])


def correlation_with_train(surface: xr.Dataset, split: str) -> float:
    """Pearson's correlation of the log loss with that on training images, over all points; NaN if these are not evaluated."""
    if split == "train" or "train" not in surface["split"]:
        return float("nan")
    ours, theirs = (log_loss(surface["loss"].sel(split=name).values).ravel() for name in (split, "train"))
    return float(np.corrcoef(ours, theirs)[0, 1])


def rows_of(
    path: str, pixels: Mapping[Names, str], histories: Mapping[Names, str], studies: Mapping[str, str]
) -> Iterator[dict[str, object]]:
    """The rows of one plane's surfaces: for each its own scores, and for a trained one those of the shuffled control.

    `control`: untrained, snapshot, trained, or shuffled. What `pixels` has for the run counts in place of its surfaces.
    `studies`: the study of each mask that is one's.
    """
    surface, made_by = load_labelled(path)
    run = names(made_by)
    if run not in histories:
        raise InputError(f"--histories: found none of {'/'.join(map(str, run))}, whose surface is {path}")
    require_rows_and_columns(path, surface)
    mask = surface["mask"].values
    picture, tau = fill(mask), made_by["training"]["tau"]
    history = load_table(histories[run]).set_index("image_passes")["seconds"]
    of_run = {
        "study": studies.get(run[1]),
        "probability": made_by["mask"].get("probability"),
        "dataset_label": made_by["dataset"]["label"],
        "recipe": made_by["training"]["recipe"],
        "trained_pixels": int((mask != 0).sum()),
        **{name: made_by[name] for name in ("weights", "plane_bytes", "training_bytes")},
    }
    unlike = {"objective": float("nan")} if "target" in surface else {}  # a photograph's objective is another one
    own = load_labelled(pixels[run])[0] if run in pixels else None
    owned = set() if own is None else set(_keys(own))
    for stage, split, protocol in _keys(surface):
        scored = own if (stage, split, protocol) in owned else surface
        # Without padding and points between pixels.
        values = scored.sel(row=range(mask.shape[0]), column=range(mask.shape[1]), stage=stage, split=split, protocol=protocol)
        passes = int(values["image_passes"])
        correct = values["white_correct"].values, values["black_correct"].values
        row = {
            **dict(zip(COLUMNS, (*run, split, protocol), strict=False)),
            **of_run,
            "image_passes": passes,
            "images": int((correct[0] >= 0).sum()),
            "train_seconds": float(history[passes]) if passes else 0.0,
            "train_correlation": correlation_with_train(surface.sel(stage=stage, protocol=protocol), split),
        }
        given = values["loss"].values, values["accuracy"].values, mask, picture, tau
        found = score(*given) | {"gap_error": gap_error(*correct, mask)}
        if stage == "trained":
            null, found["shuffled_p"] = shuffled_scores(*given)
            yield {**row, **null, **unlike, "control": "shuffled"}
        control = stage if stage in ("untrained", "trained") else "snapshot"
        yield {**row, **found, **unlike, "control": control}


def _keys(surface: xr.Dataset) -> list[tuple[str, str, str]]:
    """Stage, split and protocol of all that a file holds."""
    return list(product(*(surface[axis].values.tolist() for axis in ("stage", "split", "protocol"))))


def of_other_runs(path: str, studies: Sequence[Mapping[str, Any]]) -> tuple[pd.DataFrame, dict[str, str]]:
    """The rows of the studies' squares in the scores of another run, and the settings of these. InputError if a run was made
    with other settings than its study has here."""
    scores, made_by = load_table(path), read_record(path)["made_by"]
    settings = made_by.get("settings")
    if not isinstance(settings, dict) or not REQUIRED <= set(scores.columns):
        raise InputError(f"{path}: found no scores with settings, as score_surfaces.py writes them; make them again")
    run_of = scores[RUN].astype(str).agg("/".join, axis=1)
    kept, told = [], {}
    for study in (study for study in studies if path in study["scores"]):
        masks = {mask for mask, _ in study["runs"]}
        ours = scores["mask"].isin(masks) & scores["network"].isin(study["networks"]) & (scores["dataset"] == study["dataset"])
        kept.append(scores[ours].assign(study=study["name"]))
        for run, network in dict(zip(run_of[ours], scores.loc[ours, "network"], strict=True)).items():
            told[run] = settings[run]
            asked = {run: question(study["asked"][network])}
            if differing := other_settings({run: question(settings[run])}, asked):
                raise InputError(f"{path}: {run} has other settings: {next(iter(differing)).replace('reference', 'here')}")
    recipes = {run: json.loads(text)["training"]["recipe"] for run, text in told.items()}
    return pd.concat(kept).reindex(columns=COLUMNS).assign(recipe=run_of.map(recipes)), told


def question(settings: str | Mapping[str, Any]) -> str:
    """What all squares of a study were asked alike, of a run's settings: as one line of JSON."""
    found = json.loads(settings) if isinstance(settings, str) else dict(settings)
    kept = {key: found.get(key) for key in ("network", "training", "surface", "pixels")}
    if kept["pixels"]:
        kept["pixels"] = {key: value for key, value in kept["pixels"].items() if key != "image_seed"}
    return json.dumps(kept | {"dataset": found["dataset"]["name"]})


def require_one_dataset(settings: Mapping[str, str]) -> None:
    """InputError if runs on a data set of one name have other images."""
    seen: dict[str, tuple[str, str]] = {}
    for run, text in settings.items():
        dataset = json.loads(text)["dataset"]
        other, checksum = seen.setdefault(dataset["name"], (run, dataset["checksum"]))
        if checksum != dataset["checksum"]:
            raise InputError(f"{run}: its data set is not that of {other} (another checksum); score them apart")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--surfaces", nargs="*", default=[], help="surfaces (.nc)")
    parser.add_argument("--pixels", nargs="*", default=[], help="pixels on more test images, of some of these runs (.nc)")
    parser.add_argument("--histories", nargs="*", default=[], help="the training histories of the same runs (.csv)")
    parser.add_argument("--parts", nargs="*", default=[], help="scores of other runs of the studies (.csv)")
    parser.add_argument(
        "--studies",
        required=True,
        help="JSON: a list; of each study: name, dataset, networks, comparisons, runs (mask, seed), planned, scores, asked",
    )
    parser.add_argument("--scores", required=True, help="output: scores (.csv)")
    parser.add_argument("--study", required=True, help="output: means over a study's runs, and differences (.csv)")
    arguments = parser.parse_args()
    studies = from_json("--studies", arguments.studies)
    of_mask = {mask: study["name"] for study in studies for mask, _ in study["runs"]}
    histories, pixels = (
        {names(read_record(path)["made_by"]): path for path in paths} for paths in (arguments.histories, arguments.pixels)
    )
    settings = {}
    for path in arguments.surfaces:
        made_by = read_record(path)["made_by"]
        run = names(made_by)
        spec = read_record(pixels[run])["made_by"]["surface"] if run in pixels else None
        settings["/".join(map(str, run))] = settings_of(made_by, spec)
    rows = [row for path in arguments.surfaces for row in rows_of(path, pixels, histories, of_mask)]
    tables = [pd.DataFrame(rows, columns=COLUMNS)]
    for path in arguments.parts:
        table, others = of_other_runs(path, studies)
        tables.append(table)
        settings |= others
    require_one_dataset(settings)
    table = pd.concat([table for table in tables if len(table)], ignore_index=True) if any(map(len, tables)) else tables[0]
    scores = table.sort_values(["control", *COLUMNS[:6], "image_passes"], ignore_index=True)
    save_table(arguments.scores, scores, provenance(settings=settings, parts=arguments.parts))
    told = [{key: value for key, value in study.items() if key not in ("asked", "scores")} for study in studies]
    save_table(arguments.study, study_tables(scores, told), provenance(studies=told, parts=arguments.parts))


if __name__ == "__main__":
    run_script(main)
