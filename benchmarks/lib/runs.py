"""What `snakemake benchmarks` measures, by the section `benchmarks` of the config; imported when Snakemake starts."""

from itertools import product
from typing import Any

from losspatterns.config.model import line, plain
from losspatterns.config.reading import read
from losspatterns.errors import InputError
from losspatterns.networks.settings import ConvNetwork
from losspatterns.runs.paths import CURVE, at
from losspatterns.runs.planning import Runs

from lib.settings import Benchmarks, Probe


class BenchmarkRuns:
    """`speed`: what a measurement of speed needs to know. `quality`: by path, all that decides a quality run: one training that
    is only watched, of a mask, a variant and a seed.

    InputError names the first key that asks for what is not there.
    """

    def __init__(self, runs: Runs) -> None:
        self.runs, self.settings = runs, read(Benchmarks, "benchmarks", runs.settings.benchmarks)
        networks = {name: plain(network) for name, network in runs.settings.networks.items()}
        throughput, quality = self.settings.throughput, self.settings.quality
        for i, name in enumerate(throughput.networks):
            key = f"benchmarks.throughput.networks[{i}]"
            runs.known(key, name, "networks")
            network = runs.settings.networks[name]
            if not isinstance(network, ConvNetwork):
                raise InputError(f"{key}: {name!r} is of kind {network.kind}; the plain loop knows kind conv only")
            runs.check_size(name, *throughput.image_shape[1:])
        self.speed = {**plain(throughput), "networks": {name: networks[name] for name in throughput.networks}}
        self.quality: dict[str, dict[str, Any]] = {}
        runs.known("benchmarks.quality.dataset", quality.dataset, "datasets")
        probe = quality.model_dump(include=set(Probe.model_fields))
        for i, entry in enumerate(quality.runs):
            key = f"benchmarks.quality.runs[{i}]"
            runs.known(f"{key}.network", entry.network, "networks")
            runs.check_size(entry.network, *runs.settings.datasets[quality.dataset].image_shape[:2])
            for j, mask in enumerate(entry.masks):
                runs.known(f"{key}.masks[{j}]", mask, "masks")
            for name, variant in entry.variants.items():
                where = f"{key}.variants.{name}"
                if "updates" in variant.training:
                    raise InputError(f"{where}.training.updates: follows from {where}.passes; remove it")
                recipe = plain(runs.recipe(where, variant.recipe, variant.training), exclude={"updates"})
                same = {"recipe": variant.recipe, "training": recipe, "passes": variant.passes, "probe": probe}
                same |= {"network": {"name": entry.network, **networks[entry.network]}, "variant": name}
                for mask, seed in product(entry.masks, entry.seeds):
                    run = {"mask": mask, "seed": seed, **same}
                    if self.quality.setdefault(at(CURVE, **run), run) is not run:
                        raise InputError(f"{where}: trains {mask}/{name} a second time; give one of them another name")

    def run(self, wildcards: Any) -> dict[str, Any]:
        """The quality run that a job's wildcards name."""
        return self.quality[at(CURVE, **dict(wildcards.items()))]

    def spec(self, wildcards: Any) -> str:
        """What decides a quality run's curve, beside data set and mask, as one line of JSON."""
        return line(self.run(wildcards))

    def module_files(self, wildcards: Any) -> list[str]:
        """As `Runs.module_files`, of a quality run's network."""
        return self.runs.module_files(self.run(wildcards)["network"]["name"])

    def curves(self) -> list[str]:
        """The table of every quality run."""
        return [at(self.runs.files.curve, **run) for run in self.quality.values()]
