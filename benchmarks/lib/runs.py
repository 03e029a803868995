"""What `snakemake benchmarks` measures, by the section `benchmarks` of the config; imported when Snakemake starts."""

from __future__ import annotations

import json
from typing import Any

from losspatterns.errors import InputError
from losspatterns.runs import CURVE, Runs, at
from losspatterns.settings import ConvNetwork, Probe, Variant


class BenchmarkRuns:
    """`quality`: by path, all that decides a quality run: one training that is only watched, of a mask, a variant and a seed.

    InputError names the first key that asks for what is not there.
    """

    def __init__(self, runs: Runs) -> None:
        self.runs, self.settings = runs, runs.settings.benchmarks
        if "benchmarks" in runs.figures:
            raise InputError("figures.benchmarks: this is the name of the benchmarks' own figure; give it another")
        for i, name in enumerate(self.settings.throughput.networks):
            key = f"benchmarks.throughput.networks[{i}]"
            runs.known(key, name, "networks")
            network = runs.settings.networks[name]
            if not isinstance(network, ConvNetwork):
                raise InputError(f"{key}: {name!r} is of kind {network.kind}; the plain loop knows kind conv only")
            runs.check_size(name, *self.settings.throughput.image_shape[1:])
        self.quality: dict[str, dict[str, Any]] = {}
        self._add_quality_runs()

    def _add_quality_runs(self) -> None:
        runs, quality = self.runs, self.settings.quality
        runs.known("benchmarks.quality.dataset", quality.dataset, "datasets")
        probe = {name: getattr(quality, name) for name in Probe.model_fields}
        for i, entry in enumerate(quality.runs):
            key = f"benchmarks.quality.runs[{i}]"
            runs.known(f"{key}.network", entry.network, "networks")
            runs.check_size(entry.network, *runs.settings.datasets[quality.dataset].image_shape[:2])
            for j, mask in enumerate(entry.masks):
                runs.known(f"{key}.masks[{j}]", mask, "masks")
            for name, variant in entry.variants.items():
                where = f"{key}.variants.{name}"
                settings = {"recipe": variant.recipe, "training": self._training(where, variant), "passes": variant.passes}
                settings |= {"network": {"name": entry.network, **self._network(entry.network)}, "probe": probe}
                for mask in entry.masks:
                    for seed in entry.seeds:
                        run = {"mask": mask, "variant": name, "seed": seed, **settings}
                        if self.quality.setdefault(at(CURVE, **run), run) is not run:
                            raise InputError(f"{where}: trains {mask}/{name} a second time; give one of them another name")

    def _training(self, key: str, variant: Variant) -> dict[str, Any]:
        """A variant's recipe without its updates: they follow from the budget of passes and the mask."""
        if "updates" in variant.training:
            raise InputError(f"{key}.training.updates: follows from {key}.passes; remove it")
        return self.runs.recipe(key, variant.recipe, variant.training).model_dump(mode="json", exclude={"updates"})

    def _network(self, name: str) -> dict[str, Any]:
        return self.runs.settings.networks[name].model_dump(mode="json")

    def curves(self) -> list[str]:
        """The table of every quality run."""
        return [at(self.runs.files.curve, **run) for run in self.quality.values()]

    def module_files(self, wildcards: Any) -> list[str]:
        """As `Runs.module_files`, for the quality run that a job's wildcards name."""
        return self.runs.module_files(self.quality[at(CURVE, **dict(wildcards.items()))]["network"]["name"])

    def quality_spec(self, wildcards: Any) -> str:
        """What decides a quality run's curve, beside data set and mask, as one line of JSON."""
        return json.dumps(self.quality[at(CURVE, **dict(wildcards.items()))], sort_keys=True)

    def speed_spec(self) -> str:
        """What a measurement of speed needs to know, as one line of JSON."""
        throughput = self.settings.throughput
        networks = {name: self._network(name) for name in throughput.networks}
        return json.dumps({**throughput.model_dump(mode="json"), "networks": networks})
