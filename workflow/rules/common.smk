# What all stages share: the checked config, what follows from it, and the code each script runs.

import shlex
import shutil
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

sys.path.insert(0, str(Path(workflow.basedir) / "scripts"))
from losspatterns.errors import InputError
from losspatterns.records.artifacts import checksum, file_checksum, require_writable
from losspatterns.records.closure import script_digest
from losspatterns.records.liveness import clear_stale_locks
from losspatterns.runs import ORIGIN, RUN, Runs
from losspatterns.settings import check, check_file

try:
    for file in workflow.configfiles:
        check_file(Path(file))
    RUNS = Runs(check(config))
    RUNS.check_files()
except InputError as error:
    raise WorkflowError(f"config: {error}") from None

FILES = RUNS.files
# Held while this Snakemake lives. Not by those that it starts for its jobs, perhaps on other machines, which share no such locks.
ALIVE = clear_stale_locks(Path(".snakemake")) if workflow.is_main_process else None
# Seconds. It changes no result, so rules have it as a resource: a parameter that changes would rerun them.
SAVE_EVERY = RUNS.settings.save_state_every
# One job at a time per local GPU (the default profile offers one); without a GPU, jobs share the cores instead. A cluster's
# profile sets `gpu` itself: what this machine has says nothing about the nodes.
GPU = 1 if shutil.which("nvidia-smi") else 0

if not workflow.deployment_settings.deployment_method:
    # The scripts run under the Python that runs Snakemake, whether or not its environment is activated. Snakemake's own prefix,
    # which a prefix of ours replaces, is kept: a pipe fails if any of its commands does.
    shell.prefix(f'set -euo pipefail; export PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"; ')


onstart:
    try:
        for folder in (FILES.results, FILES.figures):
            require_writable(folder)
    except InputError as error:
        raise WorkflowError(str(error)) from None


wildcard_constraints:
    dataset="[A-Za-z0-9_-]+",
    mask="[A-Za-z0-9_-]+",
    network="[A-Za-z0-9_-]+",
    figure="|".join(RUNS.figures) or "none",
    variant="[A-Za-z0-9_-]+",
    seed=r"\d+",
    warm_up="[0-9a-f]{8}",


def module_files(wildcards):
    """The user's own files that make a network of kind module; none for the other kinds."""
    return RUNS.module_files(wildcards.network)


def digest(files):
    """Checksum of a user's files, not of folders, for a rule's params: a file exchanged for an older one counts too.

    In a function of the wildcards alone: Snakemake compares no parameter that is a function of `input`.
    """
    return checksum(*(file_checksum(file).encode() for file in files if Path(file).is_file()))
