"""The smoke scale through a Slurm of one node: jobs that reach their time limit, are cancelled or preempted go on."""

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import SMOKE, command, copy_project, edit_config, edit_profile, environment
from losspatterns.records.artifacts import file_checksum
from PIL import Image
from slurm_node import Node, slurm_node, wait_for, why_not

PICTURES = ("heart", "corner")  # the training of the first reaches its time limit, that of the second is cancelled
UPDATES = 400  # some seconds: longer than it takes to hold a training that was seen to start
PLANES = [f"planes/fashion_mnist/{picture}/conv/seed0.safetensors" for picture in PICTURES]
SECONDS = 600  # what any single step may take on a busy machine


def few_runs(entries: dict[str, Any]) -> None:
    """Two pictures on one network, and a figure of them; the trainings last long enough to be interrupted."""
    entries["experiments"]["fashion_pictures"]["training"]["updates"] = UPDATES
    entries["studies"] = {"batch_norm_study": None}
    panels = [{"experiment": "fashion_pictures", "mask": picture} for picture in PICTURES]
    drawn = {"fig1_landscapes": {"panels": panels}}
    left_out = ("fig2_method", "fig3_batchnorm", "fig4_fashion_mnist", "fig5_cifar10", "fig6_fill_probability", "fig7_budget")
    entries["figures"] = drawn | dict.fromkeys(left_out)


def for_this_node(profile: dict[str, Any]) -> None:
    """What a user fills in, a GPU for planes and surfaces, and no long waits for a queue and a file system of one machine."""
    profile["default-resources"]["slurm_partition"] = "main"
    for rule in ("warm_origin", "train_plane", "evaluate_surface"):
        profile["set-resources"][rule] |= {"gpu": 1, "runtime": 30}
    profile |= {"slurm-init-seconds-before-status-checks": 2, "latency-wait": 5}


@contextmanager
def snakemake(project: Path, environment: dict[str, str], *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Snakemake in the background; its output goes to `output.txt` of the project. Ended with the block."""
    with open(project / "output.txt", "w") as file:
        process = subprocess.Popen(command(*arguments, *SMOKE), cwd=project, env=environment, stdout=file, stderr=file)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(SECONDS)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A Slurm; the tests are skipped where none can be started, unless one must be."""
    reason = why_not()
    if reason and os.environ.get("REQUIRE_SLURM"):
        pytest.fail(f"REQUIRE_SLURM is set, but {reason}")
    if reason:
        pytest.skip(reason)
    with slurm_node(tmp_path_factory.mktemp("slurm")) as running:
        yield running


@dataclass(frozen=True)
class Run:
    """Results of a run through Slurm whose trainings were interrupted, of one that nobody disturbed, and Slurm's jobs."""

    results: Path
    undisturbed: Path
    jobs: list[dict[str, str]]


def of_rule(jobs: list[dict[str, str]], rule: str) -> list[dict[str, str]]:
    """The jobs of a rule, oldest first."""
    return [job for job in jobs if re.match(rf"rule_{rule}(_wildcards|$)", job.get("Comment", ""))]


def trainings(jobs: list[dict[str, str]], picture: str) -> list[dict[str, str]]:
    """The jobs that train a picture, oldest first."""
    return [job for job in jobs if job.get("Comment") == f"rule_train_plane_wildcards_fashion_mnist_{picture}_conv_0"]


@pytest.fixture(scope="module")
def run(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One training reaches its time limit, the other is cancelled; both are preempted in their second attempt."""
    folder = tmp_path_factory.mktemp("slurm_projects")
    project, undisturbed = (copy_project(folder / name) for name in ("project", "undisturbed"))
    results = project / "results/smoke"
    for folder in (project, undisturbed):
        edit_config(folder, few_runs)
    edit_profile(project, for_this_node)

    def log(picture: str) -> str:
        file = results / f"logs/train_plane/fashion_mnist/{picture}/conv/seed0.log"
        return file.read_text(encoding="utf-8") if file.exists() else ""

    def wait_until(what: str, ready: Callable[[], bool]) -> None:
        try:
            wait_for(what, lambda: ready() or process.poll() is not None, SECONDS)
            assert process.poll() is None, "Snakemake ended"
        except AssertionError as error:
            logs = "".join(f"\n--- {picture}\n{log(picture)[-2000:]}" for picture in PICTURES)
            raise AssertionError(f"{error}\n{(project / 'output.txt').read_text()[-5000:]}{logs}{node.logs()}") from None

    def hold(attempt: str) -> None:
        """Stop each training when its log says that the attempt is under way, so that none is too fast to be interrupted."""
        left = set(PICTURES)

        def held() -> bool:
            for picture in [picture for picture in left if attempt in log(picture)]:
                node.ask("scancel", "--signal=STOP", trainings(node.jobs(), picture)[-1]["JobId"])
                left.remove(picture)
            return not left

        wait_until(f"{attempt} in the logs of all trainings", held)

    targets = [f"results/smoke/{plane}" for plane in PLANES]
    with (
        snakemake(undisturbed, environment(), *targets, "--cores", "2") as reference,
        snakemake(project, environment() | node.environment, "--workflow-profile", "profiles/slurm") as process,
    ):
        hold(attempt=f" 0/{UPDATES} ")
        limited, cancelled = (trainings(node.jobs(), picture)[0]["JobId"] for picture in PICTURES)
        node.ask("scancel", cancelled)
        # A limit is a whole number of minutes, and looked at twice a minute: bring it forward.
        node.ask("scontrol", "update", f"JobId={limited}", "EndTime=now+1")
        hold(attempt="goes on")
        node.ask("sbatch", "--partition=urgent", "--ntasks=4", "--output=/dev/null", "--wrap=true")
        assert process.wait(2 * SECONDS) == 0, (project / "output.txt").read_text()[-5000:] + node.logs()
        assert reference.wait(SECONDS) == 0, (undisturbed / "output.txt").read_text()[-5000:]
    return Run(results, undisturbed / "results/smoke", node.jobs())


def test_the_whole_chain_runs(run: Run) -> None:
    with Image.open(run.results.parents[1] / "figures/smoke/fig1_landscapes.png") as image:
        assert min(image.size) > 300
    assert (run.results / "manifest.json").exists()


def test_jobs_ask_for_what_the_profile_says(run: Run) -> None:
    assert not of_rule(run.jobs, "fetch_dataset") and not of_rule(run.jobs, "make_mask")
    for rule, gpu, memory, minutes in [
        ("warm_origin", "gres:gpu:1", "4000M", 30),
        ("train_plane", "gres:gpu:1", "4000M", 30),
        ("evaluate_surface", "gres:gpu:1", "4000M", 30),
        ("score_surfaces", None, "2000M", 30),
        ("draw_figure", None, "2000M", 30),
    ]:
        job = of_rule(run.jobs, rule)[-1]
        assert (job["Partition"], job["NumCPUs"], job.get("TresPerJob")) == ("main", "1", gpu)
        assert (job["MinMemoryNode"], job["TimeLimit"]) == (memory, f"00:{minutes}:00")


def test_interrupted_jobs_are_sent_or_started_again(run: Run) -> None:
    limited, cancelled = (trainings(run.jobs, picture) for picture in PICTURES)
    assert [job["JobState"] for job in limited] == ["TIMEOUT", "COMPLETED"]
    assert [job["JobState"] for job in cancelled] == ["CANCELLED", "COMPLETED"]
    assert [job["Restarts"] for job in (limited[1], cancelled[1])] == ["1", "1"]  # preempted


def test_no_state_is_left(run: Run) -> None:
    assert [file for file in run.results.glob("state/**/*") if file.is_file()] == []


def test_slurm_s_own_log_says_why_a_job_ended(run: Run) -> None:
    log = Path(trainings(run.jobs, "heart")[0]["StdOut"])
    assert log.parents[2] == run.results.parent / "slurm-logs"
    assert "DUE TO TIME LIMIT" in log.read_text(encoding="utf-8")


def test_interrupted_trainings_end_with_the_same_bytes_as_undisturbed_ones(run: Run) -> None:
    for plane in PLANES:
        assert file_checksum(run.results / plane) == file_checksum(run.undisturbed / plane), plane
