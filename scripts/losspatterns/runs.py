"""Which runs, surfaces and files follow from the settings: the only module that spells a path below results/ or figures/.

A *run* is one plane: (dataset, picture, network, seed). A figure asks for the pictures and studies that it draws (`needs` of
its module), and what is asked for is trained; every study is trained too. Rules ask here for files, scripts are told.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from . import beyond, figures
from .errors import InputError
from .records.closure import code_files
from .settings import (
    LARGEST,
    NO_BATCH_NORM,
    SAMPLE,
    AnyMask,
    AnyNetwork,
    ConvNetwork,
    ImageMask,
    Model,
    ModuleNetwork,
    PhotographMask,
    RandomSquareMask,
    Recipe,
    Settings,
    StudySettings,
    SurfaceSettings,
    open_file,
    read,
    short_digest,
    user_path,
)

RUN = "{dataset}/{mask}/{network}/seed{seed}"  # a run's place below planes/ and surfaces/
ORIGIN = "{dataset}/{network}/seed{seed}-{warm_up}"
REPORT = ("claims", "study", "scores", "summary")  # tables of the report
CURVE = "{mask}/{variant}/seed{seed}"  # of a watched training of the benchmarks


class Files:
    """Every file of a scale, as patterns with Snakemake's wildcards; `at` fills them in."""

    def __init__(self, scale: str) -> None:
        self.results, self.figures = f"results/{scale}", f"figures/{scale}"
        self.dataset = f"{self.results}/data/{{dataset}}.npz"
        self.mask = f"{self.results}/masks/{{mask}}.npy"
        self.preview = f"{self.results}/masks/{{mask}}.png"
        self.origin = f"{self.results}/origins/{ORIGIN}.safetensors"
        self.plane = f"{self.results}/planes/{RUN}.safetensors"
        self.history = f"{self.results}/planes/{RUN}.history.csv"
        self.surface = f"{self.results}/surfaces/{RUN}.nc"
        self.exports = f"{self.results}/exports"
        self.grid = f"{self.exports}/{RUN}.vts"
        self.points = f"{self.exports}/{RUN}.csv"
        self.film_surfaces = f"{self.results}/films/{RUN}.nc"
        self.scores = f"{self.results}/scores.csv"
        self.study = f"{self.results}/study.csv"
        self.claims = f"{self.results}/claims.csv"
        self.claims_page = f"{self.results}/claims.md"
        self.report = f"{self.results}/report/{{table}}.html"
        self.manifest = f"{self.results}/manifest.json"
        self.archive = f"{self.results}.zip"  # of `snakemake pack`
        self.reference = f"docs/scores/{scale}.csv"  # of this repository: what `snakemake compare` compares with
        self.crate = f"{self.results}.crate.zip"
        self.figure = f"{self.figures}/{{figure}}"  # without .pdf and .png
        self.explore = f"{self.figures}/explore"  # a folder of pages
        self.film = f"{self.figures}/{{film}}"  # without .gif, .mp4 and .html
        self.measured = f"{self.results}/beyond/{{part}}/{RUN}.csv"  # of one plane, for a part of `snakemake beyond`
        self.part = f"{self.results}/beyond/{{part}}"  # without .csv and .md
        self.part_figure = f"{self.figures}/beyond/{{part}}"  # without .pdf and .png
        self.benchmarks = f"{self.results}/benchmarks"
        self.curve = f"{self.benchmarks}/quality/{CURVE}.csv"
        self.benchmarks_figure = f"{self.figures}/benchmarks"  # without .pdf and .png

    def log(self, rule: str, of: str = "") -> str:
        """Where a rule's job says what it does; `of` tells jobs of one rule apart."""
        return f"{self.results}/logs/{rule}{of and '/' + of}.log"

    def clock(self, rule: str, of: str = "") -> str:
        """Where Snakemake writes a job's time and memory."""
        return f"{self.benchmarks}/{rule}{of and '/' + of}.tsv"

    def table(self, name: str) -> str:
        """A table of `snakemake benchmarks`."""
        return f"{self.benchmarks}/{name}.csv"

    def state(self, kind: str, of: str) -> str:
        """Unfinished work of a job. No output of its rule: it must outlive a failed job."""
        return f"{self.results}/state/{kind}/{of}.safetensors"


def at(pattern: str, **wildcards: Any) -> str:
    """A pattern of `Files` with its wildcards filled in; what is no wildcard of it does not count."""
    return pattern.format(**wildcards)


def line(value: Any) -> str:
    """Plain values as one line of JSON: as jobs get them."""
    return json.dumps(value, sort_keys=True)


def plain(model: Model, **which: Any) -> dict[str, Any]:
    """A section of the settings as plain values."""
    return model.model_dump(mode="json", **which)


@dataclass(frozen=True)
class Run:
    """One plane to train, with the settings of the experiment or study that asks for it."""

    experiment: str
    dataset: str
    mask: str
    network: str
    seed: int
    recipe: str
    network_settings: AnyNetwork
    training: Recipe
    surface: SurfaceSettings
    snapshots: int

    @property
    def path(self) -> str:
        """The run's place below planes/ and surfaces/, without suffix."""
        return at(RUN, **vars(self))

    @cached_property
    def wildcards(self) -> dict[str, Any]:
        """The values that fill in the patterns of `Files`."""
        names = ("dataset", "mask", "network", "seed")
        return {name: getattr(self, name) for name in names} | {"warm_up": short_digest(self.training.of_origin)}

    @property
    def priority(self) -> float:
        """Snakemake's priority of its training: from 1 to 2, larger for more image passes."""
        passes = self.training.updates * self.training.passes_per_update(LARGEST, LARGEST)
        return 1 + passes / (passes + 1e7)

    @property
    def protocols(self) -> tuple[str, ...]:
        """The batch norm protocols its surfaces are evaluated under."""
        return self.surface.bn_protocols if self.network_settings.batch_norm else (NO_BATCH_NORM,)

    def protocol(self, wanted: str) -> str:
        """`wanted`, or `none` for a network without batch norm."""
        return wanted if self.network_settings.batch_norm else NO_BATCH_NORM

    def has(self, figure: str, split: str, protocol: str) -> None:
        """InputError unless this surface, which `figure` draws, is evaluated."""
        for key, found, wanted in (("splits", self.surface.splits, split), ("bn_protocols", self.protocols, protocol)):
            if wanted not in found:
                raise InputError(f"{self.experiment}.surface.{key}: found {list(found)}, but {figure} draws {wanted!r}")

    def origin_spec(self) -> str:
        """What decides the run's origin, beside the data set, as one line of JSON."""
        return self._spec(warm_up=plain(self.training.of_origin))

    def training_spec(self) -> str:
        """What decides the trained plane, beside data set, mask and origin, as one line of JSON."""
        return self._spec(training={"recipe": self.recipe, **plain(self.training)})

    def _spec(self, **more: Any) -> str:
        return line({"network": {"name": self.network, **plain(self.network_settings)}, "seed": self.seed, **more})

    def surface_spec(self) -> str:
        """What decides the run's surfaces, beside plane and data set, as one line of JSON. Those of a study's snapshots too."""
        surface = plain(self.surface, exclude={"bn_protocols", "film_images", "snapshots"})
        evaluated = self.surface.snapshots or self.experiment.startswith("studies.")
        return line({**surface, "protocols": list(self.protocols), "snapshots": self.snapshots if evaluated else 0})

    def film_spec(self) -> str:
        """As `surface_spec`, for the surfaces of a film: the snapshots' too, but fewer points, on fewer images."""
        image_seed, calibration = self.surface.image_seed, self.surface.calibration_images
        of_images = {"images": self.surface.film_images, "image_seed": image_seed, "calibration_images": calibration}
        grid = {"padding": 0, "oversampling": 1}
        return line(
            {**grid, **of_images, "splits": ["test"], "protocols": [self.protocol("batch")], "snapshots": self.snapshots}
        )


@dataclass(frozen=True)
class Study:
    """Random squares on several networks: `runs` has every square with every network."""

    name: str
    settings: StudySettings
    runs: list[Run]

    def run(self, probability: float, square: int, network: str, key: str) -> Run:
        """The run of one square on one network. InputError, naming `key`, if the study has none such."""
        mask = square_name(self.name, probability, square)
        found = [run for run in self.runs if (run.mask, run.network) == (mask, network)]
        if not found:
            known = self.settings
            raise InputError(
                f"{key}: found probability {probability:g}, square {square}, network {network!r}; studies.{self.name} has "
                f"probabilities {', '.join(f'{p:g} (squares 0 to {known.squares_of(p) - 1})' for p in known.probabilities)}, "
                f"networks {', '.join(known.networks)}"
            )
        return found[0]

    def spec(self) -> dict[str, Any]:
        """What scores and figures need to know of it; plain values."""
        runs = list(map(list, dict.fromkeys((run.mask, run.seed) for run in self.runs)))
        return {"name": self.name, **plain(self.settings, include={"dataset", "networks"}), "runs": runs}


def square_name(study: str, probability: float, square: int) -> str:
    """The name of a study's mask: its probability in per cent and its number."""
    return f"{study}_p{f'{100 * probability:.10g}'.replace('.', '_')}_{square}"


@dataclass(frozen=True)
class Figure:
    """One figure to draw: its options, what it needs, and what the report says of it."""

    kind: str
    options: Any
    needs: figures.Needs
    caption: str
    label: str


@dataclass(frozen=True)
class Part:
    """One part of `snakemake beyond`: its options, and what it needs."""

    kind: str
    options: Any
    needs: beyond.Needs
    caption: str


class Runs:
    """All that follows from checked settings. InputError names the first key that asks for what is not there."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.files = Files(settings.scale)
        self.masks: dict[str, AnyMask] = dict(settings.masks)
        self.runs: dict[str, Run] = {}
        self._trainings: dict[str, Recipe] = {}  # of each experiment and study, by its key
        for name, experiment in settings.experiments.items():
            self._check_names(f"experiments.{name}", experiment)
            for number, mask in enumerate(experiment.films):
                self.known(f"experiments.{name}.films[{number}]", mask, "masks")
        self.studies = {name: self._study(name) for name, study in settings.studies.items() if study is not None}
        self.figures = {name: self._figure(name, entry) for name, entry in settings.figures.items() if entry is not None}
        self._shown = list(self.runs.values())  # those that `all` trains
        self.parts: dict[str, Part] = {}
        pictures = [run for run in self._shown if run.experiment.startswith("experiments.")]
        masks = Counter(run.mask for run in pictures)
        self.films = {run.mask if masks[run.mask] == 1 else run.path.replace("/", "-"): run for run in pictures}
        self._asked_films = [name for name, run in self.films.items() if self._is_asked(run)]
        self.film_files("", self._asked_films)

    # What figures ask for

    def picture(self, key: str, experiment: str, mask: str, network: str | None = None) -> Run:
        """The run of a picture that a figure shows: the experiment's first seed, its first network or the one named.

        All networks and seeds of the experiment are trained on the picture. InputError names `key` for an unknown name.
        """
        self.known(f"{key}: experiment", experiment, "experiments")
        entry = self.settings.experiments[experiment]
        if network is not None and network not in entry.networks:
            known = ", ".join(entry.networks)
            raise InputError(f"{key}: network: {network!r} is not in experiments.{experiment}.networks; known are {known}")
        shown = network or entry.networks[0]
        return next(run for run in self.pictures(key, experiment, mask) if run.network == shown)

    def pictures(
        self,
        key: str,
        experiment: str,
        mask: str,
        any_axes: bool = False,
        seeds: Iterable[int] | None = None,
        shades: bool = False,
    ) -> list[Run]:
        """All runs of a picture: every network and seed of the experiment, or of these `seeds`, in this order. InputError as in
        `picture`; for a picture of more or fewer axes than two unless `any_axes`; with `shades` for one of two colours."""
        self.known(f"{key}: experiment", experiment, "experiments")
        self.known(f"{key}: mask", mask, "masks")
        if not any_axes and (axes := self.masks[mask].axes) != 2:
            raise InputError(f"{key}: mask: {mask!r} has {axes} axes; expected a picture of rows and columns")
        if shades and not (isinstance(self.masks[mask], PhotographMask) and self.masks[mask].shaded):
            raise InputError(f"{key}: mask: found {mask!r}, expected a photograph in grey or colour")
        entry, name = self.settings.experiments[experiment], f"experiments.{experiment}"
        return [self._add(name, entry, mask, network, seed) for network in entry.networks for seed in seeds or entry.seeds]

    def add_mask(self, key: str, name: str, mask: AnyMask) -> str:
        """A mask that the config does not name; its name. InputError, naming `key`, if there is another one of this name."""
        if self.masks.setdefault(name, mask) != mask:
            raise InputError(f"{key}: makes the mask {name}, which is there already; give that one another name")
        return name

    def study(self, key: str, name: str) -> Study:
        """A study by name. InputError, naming `key`, if there is none."""
        self.known(key, name, "studies")
        return self.studies[name]

    # What rules ask for

    def run(self, wildcards: Any) -> Run:
        """The run that a job's wildcards name."""
        return self.runs[at(RUN, **dict(wildcards.items()))]

    def origin(self, wildcards: Any) -> Run:
        """A run that starts from the origin that a job's wildcards name."""
        wanted = at(ORIGIN, **dict(wildcards.items()))
        return next(run for run in self.runs.values() if at(ORIGIN, **run.wildcards) == wanted)

    def file_of(self, pattern: str, wildcards: Any) -> str:
        """A file of the run that a job's wildcards name."""
        return at(pattern, **self.run(wildcards).wildcards)

    def every(self, pattern: str) -> list[str]:
        """A file of every run that `all` makes."""
        return [at(pattern, **run.wildcards) for run in self._shown]

    def used_masks(self) -> list[str]:
        """The masks that `all` trains on, in the order of the config."""
        trained = {run.mask for run in self._shown}
        return [name for name in self.masks if name in trained]

    def products(self) -> list[str]:
        """All that a scale makes for its reader: figures, scores, previews of masks, surfaces, planes."""
        drawn = [f"{at(self.files.figure, figure=name)}.{suffix}" for name in self.figures for suffix in ("pdf", "png")]
        tables = [self.files.scores, *([self.files.study] if self.studies else []), self.files.claims, self.files.claims_page]
        tables += [at(self.files.report, table=name) for name in REPORT]
        previews = [at(self.files.preview, mask=name) for name in self.used_masks()]
        drawn += self.film_files(".gif", self._asked_films)
        return [*drawn, *tables, *previews, *self.every(self.files.surface), *self.every(self.files.plane)]

    def film_files(self, suffix: str, names: Iterable[str] | None = None) -> list[str]:
        """The films of these names, or all. InputError for one whose plane keeps no snapshots."""
        names = list(self.films if names is None else names)
        for run in map(self.films.__getitem__, names):
            if not run.snapshots:
                left = "a film shows the states during training; write snapshots: 16"
                raise InputError(f"{run.experiment}.snapshots: found 0, but {left}")
        return [at(self.files.film, film=name) + suffix for name in names]

    def _is_asked(self, run: Run) -> bool:
        """Whether `all` draws the film of this run."""
        experiment = self.settings.experiments[run.experiment.removeprefix("experiments.")]
        shown = experiment.networks[0], experiment.seeds[0]
        return run.mask in experiment.films and (run.network, run.seed) == shown

    def film_input(self, name: str, pattern: str | None = None) -> str:
        """The surfaces that a film shows, or another file of its run."""
        return at(pattern or self.files.film_surfaces, **self.films[name].wildcards)

    def explored_films(self) -> list[str]:
        """The surfaces of the snapshots of pictures, which are not among those of the trained plane."""
        return [self.film_input(name) for name, run in self.films.items() if run.snapshots]

    def drawn_files(self) -> list[str]:
        """What is looked at: every figure as PNG, every film that `all` draws, and the page of its plane."""
        figures = [f"{at(self.files.figure, figure=name)}.png" for name in self.figures]
        return [*figures, *(file for suffix in (".gif", ".html") for file in self.film_files(suffix, self._asked_films))]

    def add_parts(self) -> None:
        """The parts of `snakemake beyond`, and the runs that they need. InputError for one that asks for what is not there."""
        for name, entry in self.settings.beyond.items():
            if entry is not None:
                key, module, options = self._entry("beyond", name, entry, beyond)
                self.parts[name] = Part(entry["kind"], options, module.needs(options, key, self), module.CAPTION)

    def part_files(self) -> list[str]:
        """What `snakemake beyond` makes: a table, its verdict and a figure for each part."""
        return [
            at(pattern, part=name) + suffix
            for name in self.parts
            for pattern, suffixes in ((self.files.part, (".csv", ".md")), (self.files.part_figure, (".pdf", ".png")))
            for suffix in suffixes
        ]

    def part_options(self, name: str) -> str:
        """A part's kind and options, as one line of JSON."""
        return line(plain(self.parts[name].options))

    def part_inputs(self, name: str) -> dict[str, list[str]]:
        """The files that a part's table and figure are made from: `measured` and `surfaces`."""
        needs = self.parts[name].needs
        measured = [at(self.files.measured, part=name, **run.wildcards) for run in needs.planes]
        return {"measured": measured, "surfaces": [at(self.files.surface, **run.wildcards) for run in needs.surfaces]}

    def study_spec(self) -> str:
        """The studies for the scores' job, as one line of JSON."""
        return line([study.spec() for study in self.studies.values()])

    def figure_spec(self, name: str) -> str:
        """What a figure's job needs to know beside its files, as one line of JSON."""
        figure = self.figures[name]
        panels = [[at(self.files.surface, **run.wildcards), split, bn] for run, split, bn in figure.needs.surfaces]
        return line({"options": plain(figure.options), "panels": panels, "facts": figure.needs.facts})

    def figure_inputs(self, name: str) -> dict[str, list[str]]:
        """The files that a figure is drawn from: `surfaces` and `scores`."""
        needs = self.figures[name].needs
        surfaces = [at(self.files.surface, **run.wildcards) for run, _, _ in needs.surfaces]
        return {"surfaces": list(dict.fromkeys(surfaces)), "scores": [self.files.scores] if needs.scores else []}

    def dataset_spec(self, name: str) -> str:
        """A data set's entry, as one line of JSON."""
        return line(plain(self.settings.datasets[name], exclude_none=True))

    def mask_spec(self, name: str) -> str:
        """Name and entry of a mask, as one line of JSON."""
        return line({"name": name, **plain(self.masks[name])})

    def picture_file(self, name: str) -> list[str]:
        """The user's file that a mask is drawn from; none for most kinds."""
        mask = self.masks[name]
        own = isinstance(mask, ImageMask | PhotographMask) and not mask.path.startswith(SAMPLE)
        return [str(mask.file)] if own else []

    def image_folders(self, dataset: str) -> list[str]:
        """The image folders and archives that a data set names and that exist."""
        named = [source.image_folder for source in self.settings.datasets[dataset].sources if source.image_folder]
        return [path for path in map(str, map(user_path, named)) if os.path.exists(path)]

    def module_files(self, network: str) -> list[str]:
        """The user's file that makes a network of kind module, and those beside it that it imports; none for other kinds."""
        found = self.settings.networks[network]
        return [str(file) for file in code_files(found.file)] if isinstance(found, ModuleNetwork) else []

    def check_files(self) -> None:
        """InputError for a picture or a module of the user's that is missing, any file that cannot be read, or a module that is
        no Python."""

        def require(key: str, file: str | os.PathLike[str]) -> None:
            if not os.path.exists(file):
                raise InputError(f"{key}: no such file: {file}")
            open_file(file, f"{key}: {file}").close()

        for name in self.masks:
            for file in self.picture_file(name):
                require(f"masks.{name}.path", file)
        for name in self.settings.datasets:
            for path in self.image_folders(name):
                if not os.path.isdir(path):
                    require(f"datasets.{name}.sources", path)
        for name, network in self.settings.networks.items():
            if isinstance(network, ModuleNetwork):
                key = f"networks.{name}.module"
                require(key, network.file)
                try:
                    self.module_files(name)
                except (SyntaxError, ValueError) as error:
                    raise InputError(f"{key}: found {network.module!r}, which is no Python: {error}") from None

    # From settings to runs

    def known(self, key: str, name: str, section: str) -> None:
        """InputError, naming `key`, if a section has no entry of this name."""
        known = getattr(self if section in ("masks", "studies") else self.settings, section)  # with what studies make
        if name not in known:
            raise InputError(f"{key}: {name!r} is not in {section}; known are {', '.join(known) or 'none'}")

    def _check_names(self, key: str, entry: Any) -> None:
        self._trainings[key] = self.recipe(key, entry.recipe, entry.training)
        self.known(f"{key}.dataset", entry.dataset, "datasets")
        for i, network in enumerate(entry.networks):
            self.known(f"{key}.networks[{i}]", network, "networks")
            self.check_size(network, *self.settings.datasets[entry.dataset].image_shape[:2])

    def check_size(self, network: str, height: int, width: int) -> None:
        """InputError if a network's pools leave nothing of such images."""
        found = self.settings.networks[network]
        if isinstance(found, ConvNetwork):
            found.check_image(f"networks.{network}", height, width)

    def recipe(self, key: str, name: str, changes: Mapping[str, Any]) -> Recipe:
        """A recipe with some of its keys changed, as found at `key`."""
        self.known(f"{key}.recipe", name, "recipes")
        return read(Recipe, f"{key}.training", {**self.settings.recipes[name].model_dump(), **changes})

    def _add(self, key: str, entry: Any, mask: str, network: str, seed: int) -> Run:
        """The run of these names; InputError if another experiment or study trains it too."""
        settings = self.settings.networks[network], self._trainings[key], entry.surface, entry.snapshots
        run = Run(key, entry.dataset, mask, network, seed, entry.recipe, *settings)
        twin = self.runs.setdefault(run.path, run)
        if twin.experiment != key:
            left = f"as {twin.experiment} does; give one of them another mask, network or seed"
            raise InputError(f"{key}: trains {run.path}, {left}")
        return twin

    def _study(self, name: str) -> Study:
        entry, key = self.settings.studies[name], f"studies.{name}"
        self._check_names(key, entry)
        runs = []
        for probability in entry.probabilities:
            for square in range(entry.squares_of(probability)):
                seed = 1000 * round(100 * probability) + square  # no two squares share initialisations or images
                mask = square_name(name, probability, square)
                if mask in self.masks:
                    left = "give the study another name, or probabilities that differ in their first ten digits"
                    raise InputError(f"{key}: makes the mask {mask}, which is there already; {left}")
                self.masks[mask] = RandomSquareMask(kind="random_square", size=entry.size, probability=probability, seed=square)
                runs += [self._add(key, entry, mask, network, seed) for network in entry.networks]
        return Study(name, entry, runs)

    def _entry(self, section: str, name: str, entry: Mapping[str, Any], package: Any) -> tuple[str, Any, Any]:
        """The key, the kind's module and the options of an entry of `figures` or `beyond`."""
        key = f"{section}.{name}"
        if "kind" not in entry:
            raise InputError(f"{key}.kind: missing; expected one of {', '.join(package.kinds())}")
        module = package.kind_module(entry["kind"], f"{key}.kind")
        given = {option: value for option, value in entry.items() if value is not None}
        return key, module, read(module.Options, key, given)

    def _figure(self, name: str, entry: Mapping[str, Any]) -> Figure:
        key, module, options = self._entry("figures", name, entry, figures)
        needs = module.needs(options, key, self)
        for run, split, protocol in needs.surfaces:
            run.has(name, split, protocol)
        name = re.sub(r"^fig(\d+)_.*", r"Figure \1", name).replace("_", " ")
        title = re.match(r"\*\*(.+?)\.?\*\*", module.CAPTION)
        label = f"{name}: {title[1] if title else entry['kind']}"
        return Figure(entry["kind"], options, needs, module.CAPTION, label)
