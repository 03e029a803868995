"""From settings to runs: what a config asks for, is trained, evaluated and drawn.

A figure asks for the pictures and studies that it draws (`needs` of its module), and what is asked for is trained; every study
is trained too. Rules ask here for files and for what their jobs are told.
"""

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from .. import figures
from ..analysis.settings import StudySettings
from ..config.model import line, plain
from ..config.reading import open_file, read, user_path
from ..data.mask_settings import SAMPLE, AnyMask, ImageMask, PhotographMask, RandomSquareMask
from ..errors import InputError
from ..method.settings import Recipe
from ..networks.settings import ConvNetwork, ModuleNetwork
from ..records.closure import code_files
from .paths import ORIGIN, REPORT, RUN, Files, at, scores_file, square_name, square_seed
from .settings import Settings
from .specs import Run, Study


@dataclass(frozen=True)
class Figure:
    """One figure to draw: options, surfaces (run, split, protocol), facts of its studies, and what the report says of it."""

    kind: str
    options: Any
    panels: list[tuple[Run, str, str]]
    facts: dict[str, Any]
    caption: str
    label: str


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

    def scored_pixels(self) -> list[str]:
        """The files of those runs whose pixels are scored on more test images than their surfaces."""
        return [at(self.files.pixels, **run.wildcards) for run in self._shown if run.surface.test_images]

    def finished_states(self) -> list[str]:
        """The unfinished work of jobs whose output is there: it is needed no more once Snakemake has accepted that."""
        of_kind = {"planes": self.files.plane, "surfaces": self.files.surface}
        of_kind |= {"films": self.files.film_surfaces, "pixels": self.files.pixels}
        done = [
            self.files.state(kind, run.path)
            for run in self.runs.values()
            for kind, pattern in of_kind.items()
            if os.path.exists(at(pattern, **run.wildcards))
        ]
        return [file for state in done for file in (state, f"{state}.training") if os.path.exists(file)]

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

    def study_spec(self) -> str:
        """The studies for the scores' job, as one line of JSON."""
        return line(
            [
                {**study.spec(), "asked": study.asked(), "scores": list(map(scores_file, study.settings.scores))}
                for study in self.studies.values()
            ]
        )

    def other_scores(self) -> list[str]:
        """The scores of other runs that the studies count."""
        files = [scores_file(file) for study in self.studies.values() for file in study.settings.scores]
        return list(dict.fromkeys(files))

    def figure_spec(self, name: str) -> str:
        """What a figure's job needs to know beside its files, as one line of JSON."""
        figure = self.figures[name]
        panels = [[at(self.files.surface, **run.wildcards), split, bn] for run, split, bn in figure.panels]
        return line({"options": plain(figure.options), "panels": panels, "facts": figure.facts})

    def figure_inputs(self, name: str) -> dict[str, list[str]]:
        """The files that a figure is drawn from: `surfaces` and `scores`."""
        figure = self.figures[name]
        surfaces = [at(self.files.surface, **run.wildcards) for run, _, _ in figure.panels]
        return {"surfaces": list(dict.fromkeys(surfaces)), "scores": [self.files.scores] if figure.facts else []}

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

    def places(self) -> list[str]:
        """Files and folders of the user's that jobs read or write to, as far as they are there."""
        sources = [source for dataset in self.settings.datasets.values() for source in dataset.sources]
        named = [folder for source in sources for folder in source.mirror or ()]
        named += [source.image_folder for source in sources if source.image_folder]
        named += [file for mask in self.masks for file in self.picture_file(mask)]
        named += [str(Path(file).parent) for network in self.settings.networks for file in self.module_files(network)]
        made = [user_path(source.download.directory).absolute() for source in sources if source.download]
        there = [next(place for place in (folder, *folder.parents) if place.exists()) for folder in made]
        return sorted({str(path.absolute()) for path in (*map(user_path, named), *there) if path.exists()})

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
        run = self._run(key, entry, mask, network, seed)
        twin = self.runs.setdefault(run.path, run)
        if twin.experiment != key:
            left = f"as {twin.experiment} does; give one of them another mask, network or seed"
            raise InputError(f"{key}: trains {run.path}, {left}")
        return twin

    def _run(self, key: str, entry: Any, mask: str, network: str, seed: int) -> Run:
        settings = self.settings.networks[network], self._trainings[key], entry.surface, entry.snapshots
        return Run(key, entry.dataset, mask, network, seed, entry.recipe, *settings)

    def _study(self, name: str) -> Study:
        entry, key = self.settings.studies[name], f"studies.{name}"
        self._check_names(key, entry)
        self._check_comparisons(key, entry)
        squares: dict[str, tuple[int, RandomSquareMask, int]] = {}  # by the name of their mask: number, mask, seed
        for probability in entry.probabilities:
            for square in entry.numbers_of(probability):
                mask = square_name(name, probability, square)
                if mask in self.masks or mask in squares:
                    left = "give the study another name, or probabilities that differ in their first ten digits"
                    raise InputError(f"{key}: makes the mask {mask}, which is there already; {left}")
                drawn = RandomSquareMask(kind="random_square", size=entry.size, probability=probability, seed=square)
                squares[mask] = square, drawn, square_seed(probability, square)
        elsewhere = self._squares_elsewhere(f"{key}.scores", entry, squares)
        if entry.part is not None and (
            twice := [mask for mask, (n, *_) in squares.items() if n in entry.part and mask in elsewhere]
        ):
            raise InputError(f"{key}.part: found {twice[0]}, which {elsewhere[twice[0]]} has already; no square counts twice")
        runs = []
        for mask, (number, drawn, seed) in squares.items():
            if mask not in elsewhere and (entry.part is None or number in entry.part):
                self.masks[mask] = drawn
                runs += [self._add(key, entry, mask, network, seed) for network in entry.networks]
        first = next(iter(squares))
        sample = [self._run(key, entry, first, network, squares[first][2]) for network in entry.networks]
        return Study(name, entry, runs, [(mask, squares[mask][2]) for mask in elsewhere], sample)

    def _check_comparisons(self, key: str, entry: StudySettings) -> None:
        """InputError for a network that the study lacks, a protocol that is not evaluated, and a claim of the paper that these
        networks cannot test."""
        for number, pair in enumerate(entry.compared):
            at = f"{key}.comparisons[{number}]"
            for role, name in (("network", pair.network), ("against", pair.against)):
                if name not in entry.networks:
                    raise InputError(f"{at}.{role}: found {name!r}, expected one of the study's, {', '.join(entry.networks)}")
            network, against = (self.settings.networks[name] for name in (pair.network, pair.against))
            if (network.batch_norm or against.batch_norm) and pair.bn_protocol not in entry.surface.bn_protocols:
                found = f"found {pair.bn_protocol!r}, expected one of {key}.surface.bn_protocols"
                raise InputError(f"{at}.bn_protocol: {found}, {', '.join(entry.surface.bn_protocols)}")
            if pair.claims == "batch_norm" and (network.batch_norm, against.batch_norm) != (True, False):
                left = f"expected a `network` with batch norm against one without; found {pair.network} against {pair.against}"
                raise InputError(f"{at}.claims: {left}")
            residual = [getattr(each, "residual", each.kind == "resnet") for each in (network, against)]
            if pair.claims == "residual" and network.kind != "module" != against.kind and residual != [True, False]:
                left = "expected a `network` with residual connections against one without"
                raise InputError(f"{at}.claims: {left}; found {pair.network} against {pair.against}")

    def _squares_elsewhere(self, key: str, entry: StudySettings, squares: Mapping[str, Any]) -> dict[str, str]:
        """The study's squares that the scores of other runs have, and in which file. InputError for one that two files have."""
        found: dict[str, str] = {}
        for number, given in enumerate(entry.scores):
            at, file = f"{key}[{number}]", scores_file(given)
            if file.startswith(".."):
                raise InputError(f"{at}: found {given!r}, expected a file below the folder where Snakemake runs; copy it there")
            with open_file(file, f"{at}: {file}") as opened:
                text = opened.read().decode("utf-8", "replace")
            rows = csv.DictReader(io.StringIO(text, newline=""))
            if "mask" not in (rows.fieldnames or ()):
                raise InputError(f"{at}: {file} is no table of scores: it has no column mask")
            own = dict.fromkeys(row["mask"] for row in rows if row["mask"] in squares)
            if not own:
                raise InputError(f"{at}: {file} has no square of this study; expected masks such as {next(iter(squares))}")
            if twice := next((mask for mask in own if mask in found), None):
                raise InputError(f"{at}: {file} has {twice}, which {found[twice]} has already; no square counts twice")
            found |= dict.fromkeys(own, file)
        return found

    def options(self, section: str, name: str, entry: Mapping[str, Any], package: Any) -> tuple[ModuleType, Any]:
        """The kind's module and the options of an entry of `figures` or `beyond`. InputError for a key that is wrong."""
        key = f"{section}.{name}"
        if "kind" not in entry:
            raise InputError(f"{key}.kind: missing; expected one of {', '.join(package.kinds())}")
        module = package.kind_module(entry["kind"], f"{key}.kind")
        return module, read(module.Options, key, {option: value for option, value in entry.items() if value is not None})

    def _figure(self, name: str, entry: Mapping[str, Any]) -> Figure:
        module, options = self.options("figures", name, entry, figures)
        needs = module.needs(options)
        panels = [self._panel(f"figures.{name}", asked) for asked in needs.surfaces]
        for run, split, protocol in panels:
            run.has(name, split, protocol)
        facts = self._facts(f"figures.{name}", needs.curves) if needs.curves else {}
        name = re.sub(r"^fig(\d+)_.*", r"Figure \1", name).replace("_", " ")
        title = re.match(r"\*\*(.+?)\.?\*\*", module.CAPTION)
        label = f"{name}: {title[1] if title else entry['kind']}"
        return Figure(entry["kind"], options, panels, facts, module.CAPTION, label)

    def _panel(self, key: str, asked: figures.Picture | figures.Square) -> tuple[Run, str, str]:
        """Run, split and protocol of the surface that the figure at `key` asks for."""
        if isinstance(asked, figures.Picture):
            place = f"{key}.{asked.at}" if asked.at else key
            run = self.picture(place, asked.experiment, asked.mask, asked.network)
            return run, asked.split, run.protocol("batch")
        run = self.study(f"{key}.study", asked.study).run(asked.probability, asked.square, asked.network, key)
        return run, "test", run.protocol(asked.bn_protocol)

    def _facts(self, key: str, asked: figures.Curves) -> dict[str, Any]:
        """The studies that the figure at `key` asks for, and the objectives (tau, images, clamp) under which they are trained.

        InputError if the test images are not evaluated under the protocol, if a label is for no network, and for more networks
        than the figure can tell apart.
        """
        studies = [self.study(f"{key}.{option}", name) for option, name in asked.studies.items()]
        networks = list(dict.fromkeys(name for study in studies for name in study.settings.networks))
        if len(networks) > asked.most:
            raise InputError(f"{key}.studies: found the networks {', '.join(networks)}, expected at most {asked.most}")
        for name in asked.labels:
            if name not in networks:
                raise InputError(f"{key}.labels.{name}: no network of the studies; theirs are {', '.join(networks)}")
        drawn = [run for study in studies for run in study.runs]
        for run in drawn:
            run.has(key, "test", run.protocol(asked.bn_protocol))
        rows = [{**study.spec(), "title": study.settings.title} for study in studies]
        objectives = sorted({(run.training.tau, run.training.images, run.training.clamp) for run in drawn})
        return {"studies": rows, "objectives": list(map(list, objectives))}
