# What all stages share: the checked config, the folders of this scale, the code each script runs.

import json
import shlex
import shutil
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

sys.path.insert(0, str(Path(workflow.basedir) / "scripts"))
from losspatterns.records.artifacts import checksum, file_checksum, require_writable
from losspatterns.records.closure import script_digest
from losspatterns.config import FIGURES, Config, check_file, check_schema
from losspatterns.errors import InputError
from losspatterns.records.liveness import clear_stale_locks

try:
    for file in workflow.configfiles:
        check_file(Path(file))
    check_schema(config, Path(workflow.basedir) / "workflow/schemas/config.schema.yaml")
    CONFIG = Config(config)
    PICTURE_FILES = CONFIG.picture_files()
    MODULE_FILES = CONFIG.module_files()
except InputError as error:
    raise WorkflowError(f"config: {error}") from None

# Held while this Snakemake lives. Not by those that it starts for its jobs, perhaps on other machines, which share no such locks.
ALIVE = clear_stale_locks(Path(".snakemake")) if workflow.is_main_process else None

RESULTS = f"results/{CONFIG.scale}"
# Seconds. It changes no result, so rules have it as a resource: a parameter that changes would rerun them.
SAVE_EVERY = config["save_state_every"]
FIGURE_DIR = f"figures/{CONFIG.scale}"
MASK_PREVIEWS = expand(f"{RESULTS}/masks/{{mask}}.png", mask=CONFIG.masks)
FIGURE_FILES = expand(f"{FIGURE_DIR}/{{figure}}.{{suffix}}", figure=FIGURES, suffix=["pdf", "png"])
# One job at a time per local GPU (the default profile offers one); without a GPU, jobs share the cores instead. A cluster's
# profile sets `gpu` itself: what this machine has says nothing about the nodes.
GPU = 1 if shutil.which("nvidia-smi") else 0

if not workflow.deployment_settings.deployment_method:
    # The scripts run under the Python that runs Snakemake, whether or not its environment is activated. Snakemake's own prefix,
    # which a prefix of ours replaces, is kept: a pipe fails if any of its commands does.
    shell.prefix(f'set -euo pipefail; export PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"; ')


onstart:
    try:
        for folder in (RESULTS, FIGURE_DIR):
            require_writable(folder)
    except InputError as error:
        raise WorkflowError(str(error)) from None


wildcard_constraints:
    dataset="[A-Za-z0-9_-]+",
    mask="[A-Za-z0-9_-]+",
    network="[A-Za-z0-9_-]+",
    variant="[A-Za-z0-9_-]+",
    seed=r"\d+",
    split="train|test",
    bn="none|batch|recalibrated|identity",


def module_files(wildcards):
    """The user's own files that make a network of kind module; none for the other kinds."""
    return MODULE_FILES.get(wildcards.network, [])


def picture_files(wildcards):
    """The file that a mask of kind image is drawn from; none for the other kinds."""
    return [PICTURE_FILES[wildcards.mask]] if wildcards.mask in PICTURE_FILES else []


def digest(files):
    """Checksum of a user's files, not of folders, for a rule's params: a file exchanged for an older one counts too.

    In a function of the wildcards alone: Snakemake compares no parameter that is a function of `input`.
    """
    return checksum(*(file_checksum(file).encode() for file in files if Path(file).is_file()))


def run_of(wildcards):
    """The run that a job's wildcards name."""
    return CONFIG.runs[f"{wildcards.dataset}/{wildcards.mask}/{wildcards.network}/seed{wildcards.seed}"]


def surface_file(run, split, bn):
    return f"{RESULTS}/surfaces/{run.path}.{split}.{bn}.npz"


def all_surfaces():
    """Every surface of every run, and the test surface of its untrained plane."""
    files = []
    for run in CONFIG.runs.values():
        files += [surface_file(run, split, bn) for split in run.surface.splits for bn in run.protocols]
        files += [f"{RESULTS}/surfaces/{run.path}.untrained.test.{bn}.npz" for bn in run.protocols]
    return files


def figure_source(figure):
    """The script's argument and its files: the surfaces, or for the study the scores."""
    return (
        ("--scores", [f"{RESULTS}/scores.csv"])
        if figure == "fig6_fill_probability"
        else ("--surfaces", [surface_file(*drawn) for drawn in CONFIG.surfaces_of(figure)])
    )
