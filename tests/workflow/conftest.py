"""Snakemake for real, in copies of the project. The smoke scale runs once for all tests, also if pytest has several workers."""

import atexit
import contextlib
import fcntl
import functools
import json
import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from snakemake.utils import update_config

ROOT = Path(__file__).parents[2]
PARTS = (".gitignore", "Snakefile", "workflow", "scripts", "benchmarks", "config", "envs", "profiles", "figures/README.md")
SMOKE = ("--configfile=config/smoke.yaml",)
SECONDS = 1200  # that a run may take on a busy machine
FIGURES = [
    *("fig1_landscapes", "fig2_method", "fig3_batchnorm", "fig4_fashion_mnist", "fig5_cifar10"),
    *("fig6_fill_probability", "fig7_budget"),
]
# What every change of a surface makes again.
AFTER_SURFACES = {"score_surfaces": 1, "write_claims": 1, "fig6_fill_probability": 1, "fig7_budget": 1, "make_manifest": 1}
Run = Callable[..., subprocess.CompletedProcess[str]]
Change = Callable[[dict[str, Any]], None] | Mapping[str, Any]


def command(*arguments: str) -> list[str]:
    """Snakemake's command line."""
    return [sys.executable, "-m", "snakemake", "--nocolor", *arguments]


def environment() -> dict[str, str]:
    """That of this process, and compiled kernels kept where the repository keeps its own: no copy compiles them again."""
    return {"NUMBA_CACHE_DIR": str(ROOT / "scripts/losspatterns/cpu/__pycache__"), **os.environ}


def started_anew(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Snakemake in a copy of the project, as a user starts it; output and errors as one text in `stdout`."""
    return subprocess.run(
        command(*arguments),
        cwd=folder,
        env=environment(),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=SECONDS,
    )


UNCHANGED = environment()  # the one test that happens to come first may have changed it


@functools.cache
def forker() -> subprocess.Popen[str]:
    """The process that forks for each run of Snakemake; it ends with this one."""
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    command = [sys.executable, str(Path(__file__).with_name("starts.py")), folder.name]
    return subprocess.Popen(command, env=UNCHANGED, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """As `started_anew`, in half the time: Snakemake, and what its scripts need, are imported once for all tests."""
    if sys.platform != "linux":  # where a process that has imported so much may not be able to fork
        return started_anew(folder, *arguments)
    process = forker()
    arguments = command(*arguments)[2:]
    with tempfile.NamedTemporaryFile("r", encoding="utf-8") as output:
        request = {"folder": str(folder), "arguments": arguments, "environment": environment(), "output": output.name}
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        assert select.select([process.stdout], [], [], SECONDS)[0], f"{arguments}: still runs after {SECONDS} s"
        return subprocess.CompletedProcess(arguments, int(process.stdout.readline()), output.read())


@contextlib.contextmanager
def started(folder: Path, output: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Snakemake in the background; its output is added to a file. Waited for at the end of the block."""
    with (
        open(output, "a") as file,
        subprocess.Popen(command(*arguments), cwd=folder, env=environment(), stdout=file, stderr=file) as process,
    ):
        yield process


def dry_run(folder: Path, *arguments: str, ends_well: bool = True) -> str:
    """Output of a dry run, which must end well, or must not."""
    done = snakemake(folder, "-n", *arguments)
    assert (done.returncode == 0) == ends_well, done.stdout[-5000:]
    return done.stdout


def succeeds(folder: Path, *arguments: str, run: Run = snakemake) -> str:
    """Output of a Snakemake that must end well."""
    done = run(folder, *arguments)
    assert done.returncode == 0, done.stdout[-5000:]
    return done.stdout


def copy_project(folder: Path) -> Path:
    """A copy of what a run needs, without results."""
    for part in PARTS:
        (folder / part).parent.mkdir(parents=True, exist_ok=True)
        if (source := ROOT / part).is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / part)
    return folder


def edit_config(folder: Path, change: Change, scale: str = "smoke") -> None:
    """Change the config file of a scale in a copy: by a function in place, or by what is merged over it."""
    edit_yaml(folder / f"config/{scale}.yaml", change)


def edit_profile(folder: Path, change: Change) -> None:
    """Change the cluster profile of a copy."""
    edit_yaml(folder / "profiles/slurm/config.yaml", change)


def edit_yaml(file: Path, change: Change) -> None:
    """Change a YAML file in place; comments are lost."""
    entries = yaml.safe_load(file.read_text(encoding="utf-8"))
    if callable(change):
        change(entries)
    else:
        update_config(entries, change)
    file.write_text(yaml.safe_dump(entries, allow_unicode=True), encoding="utf-8")


def edit(file: str, old: str, new: str) -> Callable[[Path], None]:
    """What replaces text in a file of a copy, which must have it."""

    def apply(folder: Path) -> None:
        text = (folder / file).read_text(encoding="utf-8")
        assert old in text
        (folder / file).write_text(text.replace(old, new, 1), encoding="utf-8")

    return apply


def jobs(folder: Path, *arguments: str) -> dict[str, int]:
    """What a dry run of the smoke scale lists, as `listed_jobs` has it."""
    return listed_jobs(dry_run(folder, *arguments, "--cores", "2", *SMOKE))


def listed_jobs(output: str) -> dict[str, int]:
    """Rule -> number of jobs that Snakemake says it runs; the names of figures, 1 each, in place of `draw_figure`."""
    if "Nothing to be done" in output:
        return {}
    lines = output.split("Job stats:")[1].splitlines()[3:]
    table = [line.split() for line in lines[: next(k for k, line in enumerate(lines) if line.startswith("total"))]]
    found = {rule: int(count) for rule, count in table if rule != "all"}
    figures = set(re.findall(r"^Job \d+: Figure (\S+)$", output, re.M))
    assert len(figures) == found.pop("draw_figure", 0)
    return found | dict.fromkeys(figures, 1)


@pytest.fixture(scope="session")
def smoke_output(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A copy of the project in which the smoke scale ran to the end on two cores, and what Snakemake said."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, output = base / "smoke", base / "smoke.txt"
    with open(base / "smoke.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another worker may be at it
        if not output.exists():
            done = started_anew(copy_project(folder), "--cores", "2", *SMOKE)
            output.write_text(f"{done.returncode}\n{done.stdout}", encoding="utf-8")
    status, text = output.read_text(encoding="utf-8").split("\n", 1)
    assert status == "0", text[-5000:]
    return folder, text


@pytest.fixture(scope="session")
def smoke(smoke_output: tuple[Path, str]) -> Path:
    """A copy of the project with a finished smoke run. Do not change it: copy it."""
    return smoke_output[0]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project without results."""
    return copy_project(tmp_path / "project")


@pytest.fixture
def finished(smoke: Path, tmp_path: Path) -> Path:
    """A copy of the finished smoke run that a test may change; file times are kept."""
    left = shutil.ignore_patterns("__pycache__", "logs", "log")
    return shutil.copytree(smoke, tmp_path / "project", copy_function=shutil.copy2, ignore=left)
