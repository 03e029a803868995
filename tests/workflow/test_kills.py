"""kill -9, of jobs and of Snakemake, at random moments: what comes out is what an untouched run makes, to the bit.

The kills are drawn from a seed. Many more of them: LOSSPATTERNS_KILLS=200 pytest tests/workflow/test_kills.py
"""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
from conftest import SMOKE, copy_project, edit_config, jobs, started, succeeds
from losspatterns.records.artifacts import file_checksum, read_record

KILLS = int(os.environ.get("LOSSPATTERNS_KILLS", 4))
UPDATES = 400  # some seconds: states are saved every second
RUNS = ("fashion_mnist/heart/conv/seed0", "cifar10/corner/resnet/seed0")
PLANES = [f"results/smoke/planes/{run}.safetensors" for run in RUNS]
SURFACES = [f"results/smoke/surfaces/{run}.nc" for run in RUNS]


def scripts_of(process: subprocess.Popen) -> list[psutil.Process]:
    """The running scripts among a process's descendants."""
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            command = child.cmdline()
        except psutil.Error:
            continue
        if len(command) > 1 and command[0].endswith("python") and "/scripts/" in command[1]:
            found.append(child)
    return found


def ends_within(process: subprocess.Popen, seconds: float) -> bool:
    """Whether a process ends by itself in that time."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def ends_before(process: subprocess.Popen, ready: Callable[[], object]) -> bool:
    """Whether a process ends before something is ready."""
    while process.poll() is None:
        if ready():
            return False
        time.sleep(0.05)
    return True


def test_kills_at_random_moments_change_no_bit(finished: Path, tmp_path: Path) -> None:
    """By turns a job and Snakemake; two kills as soon as something runs, or later, then two after a state was saved."""
    project, log, chance = copy_project(tmp_path / "killed"), tmp_path / "log.txt", random.Random(0)
    for folder in (finished, project):
        edit_config(folder, {"save_state_every": 1, "experiments": {"fashion_pictures": {"training": {"updates": UPDATES}}}})
    succeeds(finished, *SURFACES, "--cores", "2", *SMOKE)  # nobody disturbs this one
    states = project / "results/smoke/state"

    def has_state() -> bool:
        return any(states.rglob("*.safetensors"))

    killed = {"a job": 0, "Snakemake": 0}
    orphans: list[psutil.Process] = []
    saved = 0
    while (number := sum(killed.values())) < KILLS:
        after_a_save = number // 2 % 2
        for file in (PLANES[0], SURFACES[0]):  # the long training is always to be done, or to go on
            (project / file).unlink(missing_ok=True)
        with started(project, log, *SURFACES, "--cores", "2", *SMOKE) as run:
            ready = has_state if after_a_save else partial(scripts_of, run)  # a busy machine takes long to come so far
            if ends_before(run, ready) or ends_within(run, chance.uniform(0.0, 1.0 if after_a_save else 4.0)):
                assert run.returncode == 0, log.read_text(encoding="utf-8")[-5000:]
                for file in (*PLANES, *SURFACES):  # all is made and kills are left: again
                    (project / file).unlink()
                continue
            running = scripts_of(run)
            if running and number % 2 == 0:
                for job in running if after_a_save else [chance.choice(running)]:  # Snakemake goes on with the other one
                    job.kill()
                killed["a job"] += 1
                run.wait(300)
            else:
                orphans += running
                run.kill()
                killed["Snakemake"] += 1
        saved += has_state()
    succeeds(project, *SURFACES, "--cores", "2", *SMOKE)
    print(f"killed: {killed}; a state was there after {saved} of {KILLS} kills")
    assert saved > 0 and min(killed.values()) > 0
    psutil.wait_procs(orphans, timeout=60)
    assert not [orphan for orphan in orphans if orphan.is_running() and orphan.status() != psutil.STATUS_ZOMBIE]
    for file in (*PLANES, *SURFACES):
        assert file_checksum(project / file) == file_checksum(finished / file), file
    for run in RUNS:
        history = f"results/smoke/planes/{run}.history.csv"
        assert read_record(project / history)["content"] == read_record(finished / history)["content"]
    assert not has_state()
    assert not list((project / "results").rglob(".*"))  # nor what a process had begun to write when it was killed
    assert jobs(project, *SURFACES) == {}


def test_what_snakemake_throws_away_is_made_again_from_its_state(project: Path, tmp_path: Path) -> None:
    """An input that gets a date in the future while its training runs: Snakemake deletes the plane at the end."""
    output, mask = tmp_path / "log.txt", project / "results/smoke/masks/heart.npy"
    state = project / f"results/smoke/state/planes/{RUNS[0]}.safetensors"
    edit_config(project, {"save_state_every": 1, "experiments": {"fashion_pictures": {"training": {"updates": UPDATES}}}})
    with started(project, output, PLANES[0], "--cores", "1", *SMOKE) as run:
        assert not ends_before(run, state.exists), output.read_text(encoding="utf-8")[-3000:]
        os.utime(mask, (2e9, 2e9))
    assert run.returncode != 0 and "older modification time" in output.read_text(encoding="utf-8")
    assert state.exists() and not (project / PLANES[0]).exists()
    told = succeeds(project, PLANES[0], "--cores", "1", *SMOKE)
    assert "results/smoke/masks/heart.npy: is dated 2033-05-18" in told and "in the future; now it is dated today" in told
    log = (project / f"results/smoke/logs/train_plane/{RUNS[0]}.log").read_text(encoding="utf-8")
    assert "unfinished work; this run goes on from there" in log
    assert not state.exists() and (project / PLANES[0]).exists() and jobs(project, PLANES[0]) == {}


def test_a_training_asked_to_stop_says_so_and_goes_on(smoke: Path, project: Path, tmp_path: Path) -> None:
    log = project / f"results/smoke/logs/train_plane/{RUNS[0]}.log"
    state = f"results/smoke/state/planes/{RUNS[0]}.safetensors"
    for number in (signal.SIGTERM, signal.SIGINT):
        output = tmp_path / number.name
        with started(project, output, PLANES[0], "--cores", "1", *SMOKE) as run:
            ended = ends_before(run, lambda: log.exists() and "update/s" in log.read_text(encoding="utf-8"))
            assert not ended, output.read_text(encoding="utf-8")
            (job,) = scripts_of(run)
            job.send_signal(number)
        text = output.read_text(encoding="utf-8")
        assert run.returncode != 0 and "Traceback" not in text
        (line,) = [line for line in text.splitlines() if line.strip().startswith("stopped by")]
        assert number.name in line and state in line
        assert (project / state).exists()
        log.unlink()
    succeeds(project, PLANES[0], "--cores", "1", *SMOKE)
    assert file_checksum(project / PLANES[0]) == file_checksum(smoke / PLANES[0])
