"""Which jobs ask for a GPU: on one machine those that find one, on a cluster those that the profile names. Dry runs."""

import re
import shutil
from pathlib import Path

import pytest
from conftest import SMOKE, dry_run, edit_profile

ACCELERATED = {"warm_origin", "train_plane", "evaluate_surface", "evaluate_film", "measure_part"}
ACCELERATED |= {"benchmark_speed", "benchmark_quality"}
DEFAULT = ("--cores", "2")
SLURM = ("--workflow-profile", "profiles/slurm")


def gpus(project: Path, *arguments: str) -> dict[str, int]:
    """Rule -> GPUs that its jobs ask for; only rules that know of GPUs.

    A dry run prints resources of rules without `message`, so the copy's rules lose theirs.
    """
    for file in (*project.glob("workflow/rules/*.smk"), *project.glob("benchmarks/*.smk")):
        text = file.read_text(encoding="utf-8")
        file.write_text(re.sub(r"^ +message:\n.*\n", "", text, flags=re.MULTILINE), encoding="utf-8")
    output = dry_run(project, "all", "beyond", "benchmarks", *arguments, *SMOKE)
    jobs = re.findall(r"^(?:local)?rule (\w+):\n((?: +.*\n)+)", output, flags=re.MULTILINE)
    assert {"train_plane", "fetch_dataset", "draw_figure"} <= {rule for rule, _ in jobs}
    asked = {rule: re.search(r"resources: .*\bgpu=(\d+)", text) for rule, text in jobs}
    return {rule: int(found[1]) for rule, found in asked.items() if found}


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder of programs there is: what Snakemake itself needs, no NVIDIA driver."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "bash", "which"):
        (folder / name).symlink_to(shutil.which(name))
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.fixture
def driver(programs: Path) -> None:
    """Let this machine look as if it had an NVIDIA driver: only the presence of its program is asked for."""
    (programs / "nvidia-smi").symlink_to(programs / "sh")


def test_on_one_machine_jobs_ask_for_its_gpu(project: Path, driver: None) -> None:
    assert gpus(project, *DEFAULT) == dict.fromkeys(ACCELERATED, 1)


def test_on_one_machine_without_a_gpu_no_job_asks_for_one(project: Path, programs: Path) -> None:
    assert gpus(project, *DEFAULT) == dict.fromkeys(ACCELERATED, 0)


@pytest.mark.parametrize("wanted", [0, 1])
def test_on_a_cluster_the_profile_decides_whatever_the_login_node_has(project: Path, driver: None, wanted: int) -> None:
    def change(profile: dict) -> None:
        for resources in profile["set-resources"].values():
            assert resources["gpu"] == 0
            resources["gpu"] = wanted

    edit_profile(project, change)
    assert gpus(project, *SLURM) == dict.fromkeys(ACCELERATED, wanted)
