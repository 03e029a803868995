# Loss patterns of neural networks: dataset -> masks -> planes -> surfaces -> scores -> figures.

from snakemake.utils import min_version

min_version("9.0")


# A --configfile replaces the default scale; Snakemake by itself would merge the two.
if not workflow.config_settings.configfiles:

    configfile: "config/config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/datasets.smk"
include: "workflow/rules/masks.smk"
include: "workflow/rules/planes.smk"
include: "workflow/rules/surfaces.smk"
include: "workflow/rules/scores.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/benchmarks.smk"
include: "workflow/rules/provenance.smk"


rule all:
    default_target: True
    input:
        MADE,
        f"{RESULTS}/manifest.json",
    localrule: True
