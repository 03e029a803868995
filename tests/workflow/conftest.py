"""Snakemake for real: a copy of the project in a temporary folder, and the smoke scale run in it once per session."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PARTS = ("Snakefile", "workflow", "scripts", "config", "envs", "profiles")


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Snakemake in a copy of the project; output and errors as one text in `stdout`."""
    command = [sys.executable, "-m", "snakemake", "--nocolor", *arguments]
    return subprocess.run(command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=1200)


def copy_project(folder: Path) -> Path:
    """A copy of what a run needs, without results."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / part)
    return folder


def edit_config(folder: Path, change: Callable[[dict[str, Any]], None], scale: str = "smoke") -> None:
    """Change a config file of a copy in place."""
    edit_yaml(folder / f"config/{scale}.yaml", change)


def edit_profile(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the cluster profile of a copy in place."""
    edit_yaml(folder / "profiles/slurm/config.yaml", change)


def edit_yaml(file: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a YAML file in place; comments are lost."""
    entries = yaml.safe_load(file.read_text(encoding="utf-8"))
    change(entries)
    file.write_text(yaml.safe_dump(entries, allow_unicode=True), encoding="utf-8")


SMOKE = ("--configfile", "config/smoke.yaml")


def jobs(folder: Path, *arguments: str) -> dict[str, int]:
    """Rule -> number of jobs that a dry run lists."""
    shown = snakemake(folder, *arguments, "-n", "--cores", "2", *SMOKE)
    assert shown.returncode == 0, shown.stdout[-3000:]
    return listed_jobs(shown.stdout)


def listed_jobs(output: str) -> dict[str, int]:
    """Rule -> number of jobs that Snakemake says it runs."""
    if "Nothing to be done" in output:
        return {}
    lines = output.split("Job stats:")[1].splitlines()[3:]
    table = [line.split() for line in lines[: next(k for k, line in enumerate(lines) if line.startswith("total"))]]
    return {rule: int(count) for rule, count in table if rule != "all"}


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project in which the smoke scale ran to the end on two cores. Do not change it: copy it."""
    folder = copy_project(tmp_path_factory.mktemp("smoke") / "project")
    done = snakemake(folder, "--cores", "2", *SMOKE)
    assert done.returncode == 0, done.stdout[-5000:]
    return folder


@pytest.fixture
def finished(smoke: Path, tmp_path: Path) -> Path:
    """A copy of the finished smoke run that a test may change; file times are kept."""
    return Path(shutil.copytree(smoke, tmp_path / "project", copy_function=shutil.copy2))
