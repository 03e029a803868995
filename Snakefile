# Loss patterns of neural networks: dataset -> masks -> origins -> planes -> surfaces -> scores -> figures.

from pathlib import Path

from snakemake.utils import min_version

min_version("9.0")
ROOT = Path(workflow.current_basedir)  # of this repository; users' files and results are in the working directory
FIRST = (
    not workflow.default_target
)  # whether no rule stands before ours: else this is a module, and that rule stays the default


report: "workflow/report/report.rst"


# Only for `--sdm apptainer`: build it first, below the working directory (docs/running.md).
container: "containers/loss-patterns.sif"


# Always read; a file given with --configfile is merged over them.
configfile: ROOT / "config/recipes.yaml"
configfile: ROOT / "config/beyond.yaml"
configfile: ROOT / "config/config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/datasets.smk"
include: "workflow/rules/masks.smk"
include: "workflow/rules/planes.smk"
include: "workflow/rules/surfaces.smk"
include: "workflow/rules/exports.smk"
include: "workflow/rules/scores.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/films.smk"
include: "workflow/rules/beyond.smk"
include: "workflow/rules/provenance.smk"
include: "workflow/rules/archive.smk"
include: "benchmarks/benchmarks.smk"


rule all:
    """All that a scale makes: its figures, and the results behind them."""
    default_target: FIRST
    input:
        RUNS.products(),
        FILES.manifest,
    localrule: True
    message:
        f"Figures: {FILES.figures}/, scores: {FILES.scores}"
