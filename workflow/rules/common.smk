# What all stages share: the checked config, the folders of this scale, the code each script runs.

import json
import shutil
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

sys.path.insert(0, str(Path(workflow.basedir) / "scripts"))
from losspatterns.closure import code_files
from losspatterns.config import FIGURES, Config, check_schema
from losspatterns.errors import InputError

try:
    check_schema(config, Path(workflow.basedir) / "workflow/schemas/config.schema.yaml")
    CONFIG = Config(config)
    PICTURE_FILES = CONFIG.picture_files()
except InputError as error:
    raise WorkflowError(f"config: {error}") from None

RESULTS = f"results/{CONFIG.scale}"
FIGURE_DIR = f"figures/{CONFIG.scale}"
MASK_PREVIEWS = expand(f"{RESULTS}/masks/{{mask}}.png", mask=CONFIG.masks)
FIGURE_FILES = expand(f"{FIGURE_DIR}/{{figure}}.{{suffix}}", figure=FIGURES, suffix=["pdf", "png"])
# One job at a time per local GPU (the default profile offers one); without a GPU, jobs share the cores instead.
GPU = 1 if shutil.which("nvidia-smi") else 0

if not workflow.deployment_settings.deployment_method:
    # The scripts run under the Python that runs Snakemake, whether or not its environment is activated.
    shell.prefix(f'export PATH={str(Path(sys.executable).parent)!r}:"$PATH"; ')


wildcard_constraints:
    dataset="[A-Za-z0-9_-]+",
    mask="[A-Za-z0-9_-]+",
    network="[A-Za-z0-9_-]+",
    seed=r"\d+",
    split="train|test",
    bn="none|batch|recalibrated|identity",


def code(script):
    """The files a script runs, relative to the workflow: compared by checksum, so an edit reruns only what it touches."""
    base = Path(workflow.basedir)
    return [str(path.relative_to(base)) for path in code_files(base / "scripts" / script)]


def run_of(wildcards):
    """The run that a job's wildcards name."""
    return CONFIG.runs[f"{wildcards.dataset}/{wildcards.mask}/{wildcards.network}/seed{wildcards.seed}"]


def mask_spec(name):
    """Name and config entry of a mask, as one line of JSON."""
    return json.dumps({"name": name, **config["masks"][name]}, sort_keys=True)


def surface_file(run, split, bn):
    return f"{RESULTS}/surfaces/{run.path}.{split}.{bn}.npz"
