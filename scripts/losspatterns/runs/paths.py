"""The only place that spells a path below results/ or figures/."""

import hashlib
import os
from pathlib import Path
from typing import Any

from ..config.reading import user_path

RUN = "{dataset}/{mask}/{network}/seed{seed}"  # a run's place below planes/ and surfaces/
ORIGIN = "{dataset}/{network}/seed{seed}-{warm_up}"
REPORT = ("claims", "study", "scores", "summary")  # tables of the report
CURVE = "{mask}/{variant}/seed{seed}"  # of a watched training of the benchmarks


class Files:
    """Every file of a scale, as patterns with Snakemake's wildcards; `at` fills them in."""

    def __init__(self, scale: str) -> None:
        self.folders = self.results, self.figures = f"results/{scale}", f"figures/{scale}"
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
        self.pixels = f"{self.results}/pixels/{RUN}.nc"  # the trained plane's pixels, on more test images than its surface
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
        self.benchmarks_figure = f"{self.figures}/benchmarks/quality"  # without .pdf and .png

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


def scores_file(given: str) -> str:
    """The scores of another run, as records name them: from the folder where Snakemake runs."""
    return Path(os.path.relpath(user_path(given))).as_posix()


def square_seed(probability: float, square: int) -> int:
    """The seed of a square's initialisations and images: no two squares of a study share it."""
    percent = round(100 * probability, 10)
    if percent.is_integer():
        return 1000 * int(percent) + square
    digest = hashlib.sha256(f"{percent:.10g}".encode()).hexdigest()
    return 1000 * (200 + int(digest[:8], 16) % 4_000_000) + square


def square_name(study: str, probability: float, square: int) -> str:
    """The name of a study's mask: its probability in per cent and its number."""
    return f"{study}_p{f'{100 * probability:.10g}'.replace('.', '_')}_{square}"
