"""A run and a study, and what their jobs are told: every spec is one line of JSON."""

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..analysis.settings import StudySettings
from ..config.fields import LARGEST_SEED
from ..config.model import line, plain, short_digest
from ..errors import InputError
from ..method.settings import Recipe, SurfaceSettings
from ..networks.settings import NO_BATCH_NORM, AnyNetwork
from .paths import RUN, at, square_name


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
        passes = self.training.passes(self.training.updates)
        return 1 + passes / (passes + 1e7)

    @property
    def protocols(self) -> tuple[str, ...]:
        """The batch norm protocols its surfaces are evaluated under."""
        return self.surface.bn_protocols if self.network_settings.batch_norm else (NO_BATCH_NORM,)

    def protocol(self, wanted: str) -> str:
        """`wanted`, or `none` for a network without batch norm."""
        return wanted if self.network_settings.batch_norm else NO_BATCH_NORM

    def asked(self) -> dict[str, Any]:
        """What decides the run's scores, whatever its square, in the words of a record of scores."""
        surface = json.loads(self.surface_spec())
        return {
            "dataset": {"name": self.dataset},
            **json.loads(self.training_spec()),
            "surface": {key: value for key, value in surface.items() if key != "snapshots"},
            "pixels": json.loads(self.pixels_spec()) if self.surface.test_images else None,
        }

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
        surface = plain(self.surface, exclude={"bn_protocols", "film_images", "snapshots", "test_images"})
        evaluated = self.surface.snapshots or self.experiment.startswith("studies.")
        snapshots = self.snapshots if evaluated else 0
        return line({**surface, "protocols": list(self.protocols), "snapshots": snapshots})

    def pixels_spec(self) -> str:
        """As `surface_spec`, for the trained plane's pixels alone, on test images that all networks of a seed share."""
        seed = (self.surface.image_seed + self.seed) % LARGEST_SEED
        of_images = {"images": self.surface.test_images, "image_seed": seed, "splits": ["test"]}
        whole = {"padding": 0, "oversampling": 1, "snapshots": 0, "only_trained": True}
        more = {"calibration_images": self.surface.calibration_images, "protocols": list(self.protocols)}
        return line(of_images | whole | more)

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
    """Random squares on several networks: `runs` has every square that is trained here with every network, `others` the squares
    (mask, seed) whose scores come from other runs."""

    name: str
    settings: StudySettings
    runs: list[Run]
    others: list[tuple[str, int]]
    sample: list[Run]  # of each network one run, whether it is trained here or not

    def run(self, probability: float, square: int, network: str, key: str) -> Run:
        """The run of one square on one network. InputError, naming `key`, if the study has none such."""
        mask = square_name(self.name, probability, square)
        found = [run for run in self.runs if (run.mask, run.network) == (mask, network)]
        if not found:
            known = self.settings
            squares = [(p, known.numbers_of(p)) for p in known.probabilities]
            there = ", ".join(f"{p:g} (squares {numbers[0]} to {numbers[-1]})" for p, numbers in squares)
            trained = "" if known.part is None and not known.scores else ", of which this run trains a part"
            raise InputError(
                f"{key}: found probability {probability:g}, square {square}, network {network!r}; studies.{self.name} has "
                f"probabilities {there}{trained}, networks {', '.join(known.networks)}"
            )
        return found[0]

    def spec(self) -> dict[str, Any]:
        """What scores and figures need to know of it; plain values."""
        runs = list(map(list, dict.fromkeys([*self.others, *((run.mask, run.seed) for run in self.runs)])))
        planned = sum(map(self.settings.squares_of, self.settings.probabilities))
        comparisons = [plain(pair) for pair in self.settings.compared]
        told = plain(self.settings, include={"dataset", "networks"})
        return {"name": self.name, **told, "comparisons": comparisons, "runs": runs, "planned": planned}

    def asked(self) -> dict[str, Any]:
        """Of each network, what all its squares were asked alike, in the words of a record of scores."""
        return {run.network: run.asked() for run in reversed(self.sample)}
