# What all stages share: the checked config, what follows from it, and the code each script runs.

import os
import shutil
import sys

from snakemake.common.configfile import load_configfile
from snakemake.exceptions import WorkflowError
from snakemake.io import contains_wildcard
from snakemake.utils import update_config

if {"{", "}"} & set(str(ROOT)):
    raise WorkflowError(f"{ROOT}: Snakemake cannot work with a workflow whose path has braces; move this repository")

# Commands find the repository in the environment: if its path stood in their text, all would run again after a move.
os.environ.update(LOSSPATTERNS=str(ROOT), MPLBACKEND="agg", MATPLOTLIBRC=os.devnull)
os.environ.pop("PYTHONSAFEPATH", None)  # scripts import from their own folder
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "benchmarks"), str(ROOT / "workflow")]
from losspatterns.drawing import Drawing, drawn
from losspatterns.errors import InputError, show_all
from losspatterns.records.artifacts import checksum, file_checksum, require_writable
from losspatterns.records.closure import script_digest
from losspatterns.records.liveness import clear_stale_locks, end_future
from losspatterns.runs.paths import ORIGIN, REPORT, RUN, at
from losspatterns.runs.planning import Runs
from losspatterns.runs.settings import check
from losspatterns.config.reading import check_file, user_path
from progress import tell_progress

show_all()

# In a module with `config:`, Snakemake leaves out `configfile:`. That config, too, is merged over the default scale.
if workflow.modifier.skip_configfile:
    given, config = config, {}
    for layer in (*(load_configfile(ROOT / f"config/{name}.yaml") for name in ("recipes", "beyond", "config")), given):
        update_config(config, layer)

# A file that a command reads, given with --config: no setting. A cluster's jobs are given it too.
FILE_OF = {"unpack": "archive", "compare": "scores"}
GIVEN = {
    command: config.pop(key)
    for command, key in FILE_OF.items()
    if key in config and (command in sys.argv or not workflow.is_main_process)
}

try:
    for file in workflow.configfiles:
        check_file(Path(file))
    draws = "draw" in sys.argv or bool(set(config) & set(Drawing.model_fields))
    RUNS = Runs(check(drawn(config, workflow.config_settings.config_args or ()) if draws else config))
    RUNS.check_files()
    if "films" in sys.argv:
        RUNS.film_files("")
    if "unpack" in sys.argv and "unpack" not in GIVEN:
        raise InputError("archive: missing; expected what `snakemake pack` wrote, as in --config archive=results.zip")
except InputError as error:
    raise WorkflowError(f"config: {error}") from None

FILES = RUNS.files
# Held while this Snakemake lives. Not by those that it starts for its jobs, perhaps on other machines, which share no such locks.
try:
    ALIVE = clear_stale_locks(Path(".snakemake")) if workflow.is_main_process else None
except OSError as error:
    raise WorkflowError(f"{error.filename}: {error.strerror}; Snakemake keeps its records there, so make it writable") from None
# Seconds. It changes no result, so rules have it as a resource: a parameter that changes would rerun them.
SAVE_EVERY = RUNS.settings.save_state_every
# One job at a time per local GPU (the default profile offers one); without a GPU, jobs share the cores instead. A cluster's
# profile sets `gpu` itself: what this machine has says nothing about the nodes.
GPU = 1 if shutil.which("nvidia-smi") else 0

if workflow.deployment_settings.deployment_method and "LOSSPATTERNS_HOME" not in os.environ:
    # In Snakemake's Apptainer the home folder is the working directory, and nothing else of this machine is seen.
    seen = [os.environ.get("APPTAINER_BIND", ""), str(ROOT), *RUNS.places()]
    os.environ.update(LOSSPATTERNS_HOME=str(Path.home()), APPTAINER_BIND=",".join(filter(None, seen)))
elif not workflow.deployment_settings.deployment_method:
    # The scripts run under the Python that runs Snakemake, whether or not its environment is activated.
    os.environ.update(PATH=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()]))


def clear_states():
    """Take away the unfinished work of results that Snakemake has accepted."""
    if workflow.is_main_process:
        for state in RUNS.finished_states():
            os.remove(state)


onsuccess:
    clear_states()


onerror:
    clear_states()


onstart:
    # With a limit of jobs a second, Snakemake looks for jobs to start a second after each look, again and again. Every job that
    # ends starts one more such series (its pull request 3744): after 150 jobs they take most of a core. So its default limit is
    # taken away, and it looks when a job ends. A limit that a user gives stays.
    limiter = getattr(workflow.scheduler, "job_rate_limiter", None)
    if limiter and (limiter.max_jobs, limiter.timespan) == (100, 1):
        workflow.scheduler.job_rate_limiter = None
    try:
        for folder in FILES.folders:
            require_writable(folder)
        if workflow.is_main_process:
            end_future({str(file) for job in workflow.dag.needrun_jobs() for file in job.input}, FILES.folders)
    except InputError as error:
        raise WorkflowError(str(error)) from None
    if workflow.is_main_process and not workflow.output_settings.quiet:
        counts = workflow.dag.stats()[1]
        tell_progress(
            {rule.name: counts[rule.name] for rule in workflow.rules if rule.shellcmd and rule.name in counts},
            FILES.benchmarks,
        )


wildcard_constraints:
    dataset="[A-Za-z0-9_-]+",
    mask="[A-Za-z0-9_-]+",
    network="[A-Za-z0-9_-]+",
    figure="|".join(RUNS.figures) or "none",
    film="|".join(RUNS.films) or "none",
    variant="[A-Za-z0-9_-]+",
    seed=r"\d+",
    warm_up="[0-9a-f]{8}",


def inputs(files):
    """A user's files that Snakemake can follow. It drops /, and takes a word in braces for a wildcard. `digest` counts all."""
    return [file for file in files if file.strip("/") and not contains_wildcard(file)]


def digest(files):
    """Checksum of a user's files, not of folders, for a rule's params: a file exchanged for an older one counts too.

    In a function of the wildcards alone: Snakemake compares no parameter that is a function of `input`.
    """
    return checksum(*(file_checksum(file).encode() for file in files if Path(file).is_file()))


TOLD = "2>&1 | tee {log:q}"  # in place of a command's log: what it says is for the terminal too


def command(script, *places, log="> {log:q} 2>&1", **options):
    """The shell command of a script. Each of `places`, as "input.mask output", is given as the option of its own last name, here
    --mask and --output; `options` are those of other names. Values are quoted."""
    named = {place.rpartition(".")[2]: place for place in " ".join(places).split()} | options
    given = " ".join(f"--{name.replace('_', '-')} {{{place}:q}}" for name, place in named.items())
    return f'python "$LOSSPATTERNS/scripts/{script}" {given} {log}'


def plain(text):
    """A text for a rule's params as it is: in a string, Snakemake would take braces for a wildcard."""
    return lambda wildcards: text
