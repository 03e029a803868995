"""The config as a whole: which runs the figures need, and whether everything named in it exists.

A *run* is one plane: (dataset, mask, network, seed). Figures name (experiment, mask) pairs; an experiment says on which
dataset, with which networks, seeds, recipe and surface settings its masks are trained. So a mask is trained because a figure
draws it. The benchmarks stand apart: a *quality run* is one training that is only watched.
"""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, validators
from jsonschema.exceptions import best_match

from .data.datasets import DatasetSpec
from .data.masks import MaskSpec
from .errors import InputError
from .records.closure import code_files
from .specs import (
    NO_BATCH_NORM,
    ModuleSpec,
    NetworkSpec,
    ProbeSpec,
    SurfaceSpec,
    TrainingSpec,
    as_config,
    parse,
    parse_network,
    user_path,
)

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,99}")
FIGURES = (
    "fig1_landscapes",
    "fig2_method",
    "fig3_batchnorm",
    "fig4_fashion_mnist",
    "fig5_cifar10",
    "fig6_fill_probability",
)
STUDY = FIGURES[5]
MOST_CURVES = 6  # figure 6 has so many colours


# JSON has one kind of number: its validator takes 2.0 for an integer, and then a file's name says `seed2.0`.
_Validator = validators.extend(
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    ),
)


def check_file(path: Path) -> None:
    """InputError if a YAML file has a key twice (YAML takes the last, in silence), or has Snakemake compute its values.

    A file that is no YAML is not looked at: Snakemake, which reads it first, has told so.
    """
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return
    seen: set[int] = set()
    waiting = [("", root)]
    while waiting:
        key, node = waiting.pop()
        if id(node) in seen:  # an alias
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += [(f"{key}[{i}]", item) for i, item in enumerate(node.value)]
        elif isinstance(node, yaml.MappingNode):
            lines: dict[str, int] = {}
            for name, value in node.value:
                if name.value in lines:
                    raise InputError(
                        f"{path}: {key}{name.value} stands in lines {lines[name.value]} and {name.start_mark.line + 1}; "
                        "the last would count, so remove one"
                    )
                lines[name.value] = name.start_mark.line + 1
                waiting.append((f"{key}{name.value}.", value))
            if "__use_yte__" in lines:
                raise InputError(f"{path}: __use_yte__: found in line {lines['__use_yte__']}, but a config holds values only")


@functools.cache
def _validator(schema_file: Path) -> Any:
    return _Validator(yaml.safe_load(schema_file.read_text(encoding="utf-8")))


def _check_keys(entry: Any, key: str = "") -> None:
    """InputError for a key that is no text: YAML reads 1, 2020-01-01, null, yes and on as something else."""
    if isinstance(entry, Mapping):
        for name, value in entry.items():
            if not isinstance(name, str):
                raise InputError(f"{key or 'top level'}: found the key {name!r}, expected a text; put it in quotes")
            _check_keys(value, f"{key}.{name}".lstrip("."))
    elif isinstance(entry, list):
        for i, item in enumerate(entry):
            _check_keys(item, f"{key}[{i}]")


def _check_name(key: str, name: str) -> None:
    if not NAME.fullmatch(name):
        raise InputError(
            f"{key}: names are made of letters, digits, '_' and '-', at most 100, the first no '-' (they become file names)"
        )


def check_schema(raw: Any, schema_file: Path) -> None:
    """Check the shape of a whole config against a JSON schema in YAML. InputError for the first key that is wrong."""
    try:
        _check_keys(raw)
    except RecursionError:
        raise InputError("top level: nested too deeply, or a list that contains itself (a YAML alias)") from None
    error = best_match(_validator(schema_file).iter_errors(raw))
    if error is None:
        return
    key = ".".join(str(part) for part in error.absolute_path).lstrip(".") or "top level"
    if error.validator == "additionalProperties":
        unknown = next(name for name in error.instance if name not in error.schema["properties"])
        prefix = "" if key == "top level" else f"{key}."
        raise InputError(f"{prefix}{unknown}: unknown key; allowed are {', '.join(error.schema['properties'])}")
    if error.validator == "required":
        missing = next(name for name in error.schema["required"] if name not in error.instance)
        raise InputError(f"{key}: the key {missing!r} is missing")
    if error.validator == "type":
        number = error.validator_value in ("integer", "number")
        text = " (YAML reads 1e-3 as text: write 0.001)" if number and isinstance(error.instance, str) else ""
        raise InputError(f"{key}: found {error.instance!r}, expected {error.validator_value}{text}")
    raise InputError(f"{key}: {' '.join(error.message.split())}")


@dataclass(frozen=True)
class Run:
    """One plane to train, with the settings of the experiment that asks for it."""

    experiment: str
    dataset: str
    mask: str
    network: str
    seed: int
    recipe: str
    network_spec: NetworkSpec | ModuleSpec
    training: TrainingSpec
    surface: SurfaceSpec

    @property
    def path(self) -> str:
        """The run's place below planes/ and surfaces/, without suffix."""
        return f"{self.dataset}/{self.mask}/{self.network}/seed{self.seed}"

    @property
    def protocols(self) -> tuple[str, ...]:
        """The batch norm protocols its surfaces are evaluated under."""
        return self.surface.bn_protocols if self.network_spec.batch_norm else (NO_BATCH_NORM,)

    def training_json(self) -> str:
        """What decides the trained plane, beside dataset and mask, as one line of JSON."""
        network = {"name": self.network, **as_config(self.network_spec)}
        training = {"recipe": self.recipe, **as_config(self.training)}
        return json.dumps({"network": network, "training": training, "seed": self.seed}, sort_keys=True)

    def surface_json(self, **changes: int) -> str:
        """What decides a surface, beside its plane, split and protocol, as one line of JSON; `changes` replace settings."""
        settings = as_config(self.surface) | changes
        for key in ("splits", "bn_protocols"):  # which other surfaces exist does not touch this one
            del settings[key]
        return json.dumps(settings, sort_keys=True)


@dataclass(frozen=True)
class Panel:
    """One (experiment, mask) pair that a figure draws, with the network and seed shown."""

    experiment: str
    mask: str
    network: str
    seed: int


@dataclass(frozen=True)
class QualityRun:
    """One training of the benchmarks: a mask, a variant of a recipe, a seed; its gap is followed over image passes."""

    mask: str
    variant: str
    network: str
    seed: int
    recipe: str
    network_spec: NetworkSpec | ModuleSpec
    training: dict[str, Any]  # the recipe with the variant's changes, but for the updates, which follow from the mask
    passes: int
    probe: ProbeSpec

    @property
    def path(self) -> str:
        """The run's place below benchmarks/quality/, without suffix."""
        return f"{self.mask}/{self.variant}/seed{self.seed}"

    def json(self) -> str:
        """What decides the run's curve, beside dataset and mask, as one line of JSON."""
        network = {"name": self.network, **as_config(self.network_spec)}
        settings = {"network": network, "training": self.training, "probe": as_config(self.probe)}
        return json.dumps({**settings, "recipe": self.recipe, "passes": self.passes, "seed": self.seed}, sort_keys=True)


class Config:
    """A checked config: `runs` and `quality_runs` by path, and the panels of each figure.

    InputError names the first key that is wrong.
    """

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.raw = raw
        self.scale: str = raw["scale"]
        _check_name(f"scale: found {self.scale!r}", self.scale)
        for section in ("datasets", "masks", "networks", "recipes", "experiments"):
            for name in raw[section]:
                _check_name(f"{section}.{name}", name)
        self.datasets = {k: DatasetSpec.from_dict(k, v) for k, v in raw["datasets"].items()}
        self.masks = {k: MaskSpec.from_dict(k, v) for k, v in raw["masks"].items()}
        self.networks = {k: parse_network(f"networks.{k}", v) for k, v in raw["networks"].items()}
        for name, recipe in raw["recipes"].items():
            parse(TrainingSpec, f"recipes.{name}", recipe)
        for name in raw["experiments"]:
            self._check_experiment(name)
        self.panels = {name: self._panels(name) for name in FIGURES}
        self.runs = self._runs()
        self._check_surfaces_of_figures()
        self._check_options_of_figures()
        self._check_speed("throughput")
        self._check_speed("surfaces")
        self.quality_runs = self._quality_runs()
        self._check_every_mask_is_used()

    def run_of(self, panel: Panel) -> Run:
        """The run that a panel draws."""
        dataset = self.raw["experiments"][panel.experiment]["dataset"]
        return self.runs[f"{dataset}/{panel.mask}/{panel.network}/seed{panel.seed}"]

    def surfaces_of(self, figure: str) -> list[tuple[Run, str, str]]:
        """(run, split, batch norm protocol) of every surface a figure draws: the test set's, in figure 5 both splits'."""
        splits = ("train", "test") if figure == "fig5_cifar10" else ("test",)
        wanted = self.raw["figures"][figure].get("bn_protocol", "batch")
        runs = [self.run_of(panel) for panel in self.panels[figure]]
        return [(run, split, wanted if run.network_spec.batch_norm else NO_BATCH_NORM) for run in runs for split in splits]

    def variant_labels(self) -> dict[str, str]:
        """What the benchmarks' figure calls each variant, in the order of the config; its name where no entry has a label."""
        labels: dict[str, str] = {}
        for run in self.raw["benchmarks"]["quality"]["runs"]:
            for name, entry in run["variants"].items():
                labels[name] = entry.get("label", labels.get(name, name.replace("_", " ")))
        return labels

    def picture_files(self) -> dict[str, str]:
        """Mask name -> picture file, of the masks drawn from a file. InputError if one is missing."""
        files = {}
        for name, spec in self.masks.items():
            if spec.kind == "image":
                files[name] = str(user_path(spec.options["path"]))
                if not os.path.isfile(files[name]):
                    raise InputError(f"masks.{name}.path: no such file: {files[name]}")
        return files

    def image_folders(self, dataset: str) -> list[str]:
        """The image folders and archives that a dataset names and that exist."""
        named = [source.settings["path"] for source in self.datasets[dataset].sources if source.form == "image_folder"]
        return [path for path in map(str, map(user_path, named)) if os.path.exists(path)]

    def module_files(self) -> dict[str, list[str]]:
        """Network name -> the user's file and those beside it that it imports, of networks of kind module. InputError if the
        file is missing or one of them is no Python."""
        files = {}
        for name, spec in self.networks.items():
            if isinstance(spec, ModuleSpec):
                key = f"networks.{name}.module"
                if not os.path.isfile(spec.file):
                    raise InputError(f"{key}: no such file: {spec.file}")
                try:
                    files[name] = [str(file) for file in code_files(spec.file)]
                except (SyntaxError, ValueError) as error:
                    raise InputError(f"{key}: found {spec.module!r}, which is no Python: {error}") from None
        return files

    def mask_json(self, name: str) -> str:
        """Name and entry of a mask, as one line of JSON."""
        return json.dumps({"name": name, **self.raw["masks"][name]}, sort_keys=True)

    def studies(self) -> list[dict[str, Any]]:
        """The batch norm studies: of each its experiment, dataset, networks, and runs, a mask and a seed each."""
        experiments = self.raw["experiments"]
        return [
            {
                "experiment": entry["experiment"],
                "dataset": experiments[entry["experiment"]]["dataset"],
                "networks": experiments[entry["experiment"]]["networks"],
                "runs": [[mask, seed] for mask in entry["masks"] for seed in self._seeds(entry["experiment"], mask)],
            }
            for entry in self.raw["figures"][STUDY]["studies"]
        ]

    def figure_options(self, figure: str) -> str:
        """What a figure's script needs to know beside its files, as one line of JSON."""
        entry = self.raw["figures"][figure]
        if figure != STUDY:
            return json.dumps({"loss_range": entry.get("loss_range", "auto")})
        studies = self.studies()
        for study, item in zip(studies, entry["studies"], strict=True):
            del study["experiment"]
            study["title"] = item.get("title", "")
        options = {"studies": studies, "bn_protocols": entry["bn_protocol"], "labels": entry.get("labels", {})}
        return json.dumps(options, sort_keys=True)

    def speed_json(self, part: str, **more: Any) -> str:
        """What a script that measures speed needs to know, as one line of JSON: its section, what the sections share, more."""
        section = self.raw["benchmarks"][part]
        shared = {key: self.raw["benchmarks"][key] for key in ("image_shape", "threads")}
        networks = {name: self.raw["networks"][name] for name in section["networks"]}
        return json.dumps({**section, **shared, "networks": networks, **more})

    def _known(self, key: str, name: Any, section: str) -> None:
        if name not in self.raw[section]:
            raise InputError(f"{key}: {name!r} is not in {section}; known are {', '.join(self.raw[section])}")

    def _check_experiment(self, name: str) -> None:
        entry, key = self.raw["experiments"][name], f"experiments.{name}"
        self._known(f"{key}.dataset", entry["dataset"], "datasets")
        self._known(f"{key}.recipe", entry["recipe"], "recipes")
        for i, network in enumerate(entry["networks"]):
            self._known(f"{key}.networks[{i}]", network, "networks")
        self._training(name)
        self._surface(name)

    def _training(self, experiment: str) -> TrainingSpec:
        entry = self.raw["experiments"][experiment]
        merged = {**self.raw["recipes"][entry["recipe"]], **entry["training"]}
        return parse(TrainingSpec, f"experiments.{experiment}.training", merged)

    def _surface(self, experiment: str) -> SurfaceSpec:
        return parse(SurfaceSpec, f"experiments.{experiment}.surface", self.raw["experiments"][experiment]["surface"])

    def _seeds(self, experiment: str, mask: str) -> list[int]:
        """The seeds that a mask is trained with; with `own_squares` a random square has only the one that it was drawn with."""
        entry, spec = self.raw["experiments"][experiment], self.masks[mask]
        if not entry.get("own_squares") or spec.kind != "random_square":
            return entry["seeds"]
        seed = spec.options["seed"]
        if seed not in entry["seeds"]:
            raise InputError(
                f"masks.{mask}.seed: found {seed}, expected one of experiments.{experiment}.seeds, "
                f"{', '.join(map(str, entry['seeds']))}, since that has own_squares"
            )
        return [seed]

    def _panels(self, figure: str) -> list[Panel]:
        """The panels of a figure, in the order drawn; the networks of an experiment are all needed by figures 3 and 6."""
        entry, key = self.raw["figures"][figure], f"figures.{figure}"
        if "panels" in entry:
            pairs = [(f"{key}.panels[{i}]", item["experiment"], item["mask"]) for i, item in enumerate(entry["panels"])]
        elif "studies" in entry:
            pairs = [
                (f"{key}.studies[{i}].masks[{j}]", item["experiment"], mask)
                for i, item in enumerate(entry["studies"])
                for j, mask in enumerate(item["masks"])
            ]
        elif "masks" in entry:
            pairs = [(f"{key}.masks[{i}]", entry["experiment"], mask) for i, mask in enumerate(entry["masks"])]
        else:
            pairs = [(key, entry["experiment"], entry["mask"])]
        panels = []
        for where, experiment, mask in pairs:
            self._known(f"{where}: experiment", experiment, "experiments")
            self._known(f"{where}: mask", mask, "masks")
            settings = self.raw["experiments"][experiment]
            shown = entry.get("networks") or (settings["networks"] if figure == STUDY else settings["networks"][:1])
            seeds = self._seeds(experiment, mask) if figure == STUDY else self._seeds(experiment, mask)[:1]
            for network in shown:
                if network not in settings["networks"]:
                    raise InputError(
                        f"{key}.networks: {network!r} is not in experiments.{experiment}.networks; "
                        f"known are {', '.join(settings['networks'])}"
                    )
            panels += [Panel(experiment, mask, network, seed) for network in shown for seed in seeds]
        return panels

    def _runs(self) -> dict[str, Run]:
        """Every network and seed of the experiment for each (experiment, mask) pair that a figure draws, by path."""
        runs: dict[str, Run] = {}
        pairs = dict.fromkeys((p.experiment, p.mask) for panels in self.panels.values() for p in panels)
        for experiment, mask in pairs:
            entry = self.raw["experiments"][experiment]
            for network in entry["networks"]:
                self._check_size(network, *self.datasets[entry["dataset"]].image_shape[:2])
                for seed in self._seeds(experiment, mask):
                    run = Run(
                        experiment,
                        entry["dataset"],
                        mask,
                        network,
                        seed,
                        entry["recipe"],
                        self.networks[network],
                        self._training(experiment),
                        self._surface(experiment),
                    )
                    twin = runs.setdefault(run.path, run)
                    if twin.experiment != experiment:
                        raise InputError(
                            f"experiments.{experiment}: trains {run.path}, as experiments.{twin.experiment} does; "
                            "give one of them another mask, network or seed"
                        )
        trained = {(run.experiment, run.seed) for run in runs.values()}
        for experiment in dict.fromkeys(experiment for experiment, _ in pairs):
            for seed in self.raw["experiments"][experiment]["seeds"]:
                if (experiment, seed) not in trained:
                    raise InputError(
                        f"experiments.{experiment}.seeds: {seed} trains nothing, since no random square that is drawn in a "
                        "figure was drawn with it (own_squares)"
                    )
        return runs

    def _check_surfaces_of_figures(self) -> None:
        for figure in FIGURES:
            for run, split, protocol in self.surfaces_of(figure):
                key = f"experiments.{run.experiment}.surface"
                if split not in run.surface.splits:
                    raise InputError(f"{key}.splits: found {list(run.surface.splits)}, but {figure} draws {split!r}")
                if protocol not in run.protocols:
                    raise InputError(f"{key}.bn_protocols: found {list(run.protocols)}, but {figure} draws {protocol!r}")

    def _check_options_of_figures(self) -> None:
        """Ranges that ascend; a study of random squares, and no curve's name for a network that it lacks."""
        for figure in FIGURES:
            limits = self.raw["figures"][figure].get("loss_range", "auto")
            if limits != "auto" and not 0 < limits[0] < limits[1] < float("inf"):
                raise InputError(f"figures.{figure}.loss_range: found {limits}, expected auto or [low, high], 0 < low < high")
        for i, entry in enumerate(self.raw["figures"][STUDY]["studies"]):
            for j, mask in enumerate(entry["masks"]):
                if (kind := self.masks[mask].kind) != "random_square":
                    key = f"figures.{STUDY}.studies[{i}].masks[{j}]"
                    raise InputError(f"{key}: {mask!r} is of kind {kind}, expected random_square")
        networks = list(dict.fromkeys(name for study in self.studies() for name in study["networks"]))
        if len(networks) > MOST_CURVES:
            raise InputError(
                f"figures.{STUDY}.studies: found the networks {', '.join(networks)}, expected at most {MOST_CURVES}"
            )
        for name in self.raw["figures"][STUDY].get("labels", {}):
            if name not in networks:
                raise InputError(f"figures.{STUDY}.labels.{name}: no network of the study; its are {', '.join(networks)}")

    def _check_size(self, network: str, height: int, width: int) -> None:
        spec = self.networks[network]
        if isinstance(spec, NetworkSpec):
            spec.check_image(f"networks.{network}", height, width)

    def _check_speed(self, part: str) -> None:
        """The networks whose speed is measured: known, and of the kind that the plain loop has a stock module for."""
        for i, name in enumerate(self.raw["benchmarks"][part]["networks"]):
            key = f"benchmarks.{part}.networks[{i}]"
            self._known(key, name, "networks")
            if self.networks[name].kind != "conv":
                raise InputError(f"{key}: {name!r} is of kind {self.networks[name].kind}; the plain loop knows kind conv only")
            self._check_size(name, *self.raw["benchmarks"]["image_shape"][1:])

    def _quality_runs(self) -> dict[str, QualityRun]:
        """Every mask, variant and seed of benchmarks.quality, by path."""
        quality, found = self.raw["benchmarks"]["quality"], {}
        self._known("benchmarks.quality.dataset", quality["dataset"], "datasets")
        probe = ProbeSpec(quality["checkpoints"], quality["images"], quality["pixels"])
        for i, entry in enumerate(quality["runs"]):
            key = f"benchmarks.quality.runs[{i}]"
            self._known(f"{key}.network", entry["network"], "networks")
            self._check_size(entry["network"], *self.datasets[quality["dataset"]].image_shape[:2])
            for j, mask in enumerate(entry["masks"]):
                self._known(f"{key}.masks[{j}]", mask, "masks")
            for variant, settings in entry["variants"].items():
                where = f"{key}.variants.{variant}"
                _check_name(where, variant)
                training = self._without_updates(where, settings)
                for mask in entry["masks"]:
                    for seed in entry["seeds"]:
                        run = QualityRun(
                            mask,
                            variant,
                            entry["network"],
                            seed,
                            settings["recipe"],
                            self.networks[entry["network"]],
                            training,
                            settings["passes"],
                            probe,
                        )
                        if run.path in found:
                            raise InputError(f"{where}: trains {mask}/{variant} a second time; give one of them another name")
                        found[run.path] = run
        return found

    def _without_updates(self, key: str, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The training of a variant: its recipe with its overrides, but for the updates."""
        self._known(f"{key}.recipe", settings["recipe"], "recipes")
        changes = settings.get("training", {})
        if "updates" in changes:
            raise InputError(f"{key}.training.updates: follows from {key}.passes; remove it")
        spec = parse(TrainingSpec, f"{key}.training", {**self.raw["recipes"][settings["recipe"]], **changes})
        return {name: value for name, value in as_config(spec).items() if name != "updates"}

    def _check_every_mask_is_used(self) -> None:
        used = {run.mask for run in (*self.runs.values(), *self.quality_runs.values())}
        for name in self.masks:
            if name not in used:
                raise InputError(
                    f"masks.{name}: no figure draws it; name it in a list below figures or benchmarks.quality, or remove it"
                )
