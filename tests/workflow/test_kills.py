"""kill -9, of jobs and of Snakemake, at random moments: what comes out is what an untouched run makes, to the bit.

The kills are drawn from a seed. Many more of them: LOSSPATTERNS_KILLS=200 pytest tests/workflow/test_kills.py
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
from conftest import SMOKE, copy_project, edit_config, jobs, snakemake
from losspatterns.records.artifacts import file_checksum, read_record

KILLS = int(os.environ.get("LOSSPATTERNS_KILLS", 20))
RUNS = ("fashion_mnist/heart/conv/seed0", "cifar10/corner/resnet/seed0")
PLANES = [f"results/smoke/planes/{run}.safetensors" for run in RUNS]
SURFACES = [
    "results/smoke/surfaces/fashion_mnist/heart/conv/seed0.test.none.npz",
    "results/smoke/surfaces/cifar10/corner/resnet/seed0.test.batch.npz",
]


def scripts_of(process: subprocess.Popen) -> list[psutil.Process]:
    """The running scripts among a process's descendants."""
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            command = child.cmdline()
        except psutil.Error:
            continue
        if len(command) > 1 and command[0].endswith("python") and command[1].startswith("scripts/"):
            found.append(child)
    return found


def test_kills_at_random_moments_change_no_bit(smoke: Path, tmp_path: Path) -> None:
    folder = copy_project(tmp_path / "project")
    edit_config(folder, lambda entries: entries.update(save_state_every=1))
    chance = random.Random(0)
    command = [sys.executable, "-m", "snakemake", *SURFACES, "--cores", "2", *SMOKE]
    killed = {"a job": 0, "Snakemake": 0}
    orphans: list[psutil.Process] = []
    saved = 0
    while sum(killed.values()) < KILLS:
        with open(tmp_path / "log.txt", "a", encoding="utf-8") as log:
            run = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        meant_for_a_job = chance.random() < 0.5
        delay = chance.uniform(0.0, 5.0) if meant_for_a_job else chance.uniform(3.0, 9.0)
        while meant_for_a_job and run.poll() is None and not scripts_of(run):  # a busy machine takes long to come so far
            time.sleep(0.05)
        try:
            run.wait(delay)
        except subprocess.TimeoutExpired:
            running = scripts_of(run)
            if running and meant_for_a_job:
                chance.choice(running).kill()
                killed["a job"] += 1
                run.wait(300)
            else:
                orphans += running
                run.kill()
                run.wait()
                killed["Snakemake"] += 1
        else:
            assert run.returncode == 0, (tmp_path / "log.txt").read_text(encoding="utf-8")[-5000:]
            for file in (*PLANES, *SURFACES):  # all is made and kills are left: again
                (folder / file).unlink()
        saved += any((folder / "results/smoke/state").rglob("*.safetensors"))
    done = snakemake(folder, *SURFACES, "--cores", "2", *SMOKE)
    assert done.returncode == 0, done.stdout[-5000:]
    print(f"killed: {killed}; a state was there after {saved} of {KILLS} kills")
    assert saved > 0 and min(killed.values()) > 0
    psutil.wait_procs(orphans, timeout=60)
    assert not [orphan for orphan in orphans if orphan.is_running() and orphan.status() != psutil.STATUS_ZOMBIE]
    for file in (*PLANES, *SURFACES):
        assert file_checksum(folder / file) == file_checksum(smoke / file), file
    for run in RUNS:
        history = f"results/smoke/planes/{run}.history.csv"
        assert read_record(folder / history)["content"] == read_record(smoke / history)["content"]
    assert not list((folder / "results/smoke/state").rglob("*.safetensors"))
    assert not list((folder / "results").rglob(".*"))  # nor what a process had begun to write when it was killed
    assert jobs(folder, *SURFACES) == {}


def test_a_training_asked_to_stop_says_so_and_goes_on(smoke: Path, tmp_path: Path) -> None:
    folder = copy_project(tmp_path / "project")
    log = folder / "results/smoke/logs/train_plane/fashion_mnist/heart/conv/seed0.log"
    for number in (signal.SIGTERM, signal.SIGINT):
        run = subprocess.Popen(
            [sys.executable, "-m", "snakemake", PLANES[0], "--cores", "1", *SMOKE],
            cwd=folder,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        while not (log.exists() and "update/s" in log.read_text(encoding="utf-8")):
            assert run.poll() is None, run.stdout.read()
            time.sleep(0.05)
        (job,) = scripts_of(run)
        job.send_signal(number)
        output, _ = run.communicate(timeout=120)
        assert run.returncode != 0
        (line,) = [line for line in output.splitlines() if line.strip().startswith("stopped by")]
        assert number.name in line and "results/smoke/state/fashion_mnist/heart/conv/seed0.safetensors" in line
        assert "Traceback" not in output
        assert (folder / "results/smoke/state/fashion_mnist/heart/conv/seed0.safetensors").exists()
        log.unlink()
    done = snakemake(folder, PLANES[0], "--cores", "1", *SMOKE)
    assert done.returncode == 0, done.stdout[-3000:]
    assert file_checksum(folder / PLANES[0]) == file_checksum(smoke / PLANES[0])
