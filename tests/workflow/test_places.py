"""Snakemake may be started in any folder and by any Python; paths may hold what means something to others."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from bad_places import read_only
from conftest import SMOKE, copy_project, dry_run, environment, jobs, listed_jobs, snakemake, succeeds
from losspatterns.records.artifacts import load_mask, read_record
from PIL import Image

ODD = "{a} it's 5% of $HOME ü"
MASK = "results/default/masks/logo.npy"


def python_at(folder: Path) -> Path:
    """This environment's Python, as if its environment stood in this folder."""
    (folder / "bin").mkdir(parents=True)
    for name in ("lib", "lib64", "pyvenv.cfg"):
        if (Path(sys.prefix) / name).exists():
            (folder / name).symlink_to(Path(sys.prefix) / name)
    (folder / "bin/python").symlink_to(sys.executable)
    return folder / "bin/python"


def test_it_runs_from_any_folder_by_any_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project, here = tmp_path / f"project {ODD[4:]}", tmp_path / f"here {ODD}"
    project.symlink_to(copy_project(tmp_path / "copy"))
    here.mkdir()
    Image.fromarray(255 - 255 * np.eye(9, dtype=np.uint8)).save(here / f"{ODD}.png")
    config = {
        "masks": {"logo": {"kind": "image", "path": f"{ODD}.png", "size": [9, 9]}},
        "figures": {"mine": {"kind": "landscapes", "panels": [{"experiment": "fashion_pictures", "mask": "logo"}]}},
    }
    (here / "mine.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    monkeypatch.setenv("MPLBACKEND", "Qt4Agg")  # matplotlib has it no longer
    program = [str(python_at(tmp_path / f"python {ODD}")), "-m", "snakemake", "-s", str(project / "Snakefile")]
    command = [*program, "--configfile=mine.yaml", "--cores", "1", MASK]
    done = subprocess.run(command, cwd=here, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (load_mask(here / MASK) == -1).sum() == 9 and not (project / "results").exists()
    assert read_record(here / MASK)["made_by"]["script"] == "make_mask.py"
    elsewhere = ["--directory", str(here), f"--configfile={here}/mine.yaml", "--cores", "1"]
    assert listed_jobs(dry_run(project, *elsewhere, MASK)) == {}

    module = f"module loss:\n    snakefile: {str(project / 'Snakefile')!r}\nuse rule * from loss as loss_*\n"
    (here / "Snakefile").write_text(module, encoding="utf-8")
    assert "loss_make_mask" in dry_run(here, "--cores", "1", "results/default/masks/heart.npy")


@pytest.mark.parametrize(
    "source",
    [
        "'{project}/workflow/Snakefile'",
        pytest.param(
            "github('me/loss-patterns', path='workflow/Snakefile', tag='v1')",
            marks=pytest.mark.skipif(shutil.which("git") is None, reason="needs git"),
        ),
    ],
    ids=["path", "github"],
)
def test_another_workflow_has_it_as_a_module(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project, here = copy_project(tmp_path / "project"), tmp_path / "here"
    here.mkdir()
    if "github" in source:  # a clone of the copy, which git finds in place of the address
        for arguments in ("init -q", "add -A", "-c user.name=me -c user.email=me commit -qm all", "tag v1"):
            subprocess.run(["git", *arguments.split()], cwd=project, check=True)
        for name, value in {"COUNT": "1", "KEY_0": f"url.{project}.insteadOf"}.items():
            monkeypatch.setenv(f"GIT_CONFIG_{name}", value)
        monkeypatch.setenv("GIT_CONFIG_VALUE_0", "https://github.com/me/loss-patterns")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    lines = [
        "configfile: 'mine.yaml'",
        "module loss:",
        f"    snakefile: {source.format(project=project)}",
        "    config: config",
    ]
    (here / "Snakefile").write_text("\n".join([*lines, "use rule * from loss"]), encoding="utf-8")
    config = {
        "scale": "mine",
        "studies": {},
        "figures": {"fig3_batchnorm": None, "fig6_fill_probability": None, "fig7_budget": None},
    }
    (here / "mine.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    listed = listed_jobs(dry_run(here, "--cores", "1"))
    assert listed["fig1_landscapes"] == listed["make_manifest"] == 1 and "fig3_batchnorm" not in listed
    succeeds(here, "--cores", "1", "--", "results/mine/masks/heart.npy")
    assert read_record(here / "results/mine/masks/heart.npy")["made_by"]["script"] == "make_mask.py"
    (here / "mine.yaml").write_text("recipes: 3", encoding="utf-8")
    told = dry_run(here, "--cores", "1", ends_well=False)
    assert "config: recipes: found 3; input should be a valid dictionary" in told and "Traceback" not in told


def test_a_workflow_of_its_own_has_it_twice(tmp_path: Path) -> None:
    """The parent's first rule is the default; each module has its own scale, config and rules."""
    project, here = copy_project(tmp_path / "project"), tmp_path / "here"
    here.mkdir()
    masks = {"one": "results/one/masks/ring.npy", "two": "results/two/masks/ring.npy"}
    lines = [
        "rule count:",
        f"    input: {list(masks.values())}",
        "    output: 'counted.txt'",
        "    shell: 'wc -c {input} > {output}'",
    ]
    for side, scale in ((5, "one"), (7, "two")):
        ring = {"kind": "image", "path": f"{scale}.png", "size": [side, side]}
        config = {"scale": scale, "masks": {"ring": ring}}
        Image.fromarray(255 - 255 * np.eye(side, dtype=np.uint8)).save(here / f"{scale}.png")
        lines += [f"module {scale}:", f"    snakefile: {str(project / 'workflow/Snakefile')!r}", f"    config: {config!r}"]
        lines += [f"use rule * from {scale} as {scale}_*"]
    (here / "Snakefile").write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert listed_jobs(dry_run(here, "--cores", "1")) == {"count": 1, "one_make_mask": 1, "two_make_mask": 1}
    succeeds(here, "--cores", "1")
    assert {scale: load_mask(here / mask).shape for scale, mask in masks.items()} == {"one": (5, 5), "two": (7, 7)}
    assert listed_jobs(dry_run(here, "--cores", "1")) == {}
    for scale, other in (("one", "two"), ("two", "one")):
        told = dry_run(here, "--cores", "1", f"{scale}_all")
        assert f"{scale}_draw_figure" in told and f"{scale}_make_manifest" in told and f"{other}_" not in told


def test_results_on_another_disk_keep_their_names(finished: Path) -> None:
    manifest = finished / "results/smoke/manifest.json"
    before = json.loads(manifest.read_text(encoding="utf-8"))
    for linked, disk in (("results/smoke/masks", "masks"), ("results", "disk"), ("figures", "other")):
        (finished / linked).rename(finished.parent / disk)
        (finished / linked).symlink_to(finished.parent / disk)
    assert jobs(finished) == {}
    for file in ("manifest.json", "surfaces/cifar10/corner/resnet/seed0.nc"):
        (finished / "results/smoke" / file).unlink()
    succeeds(finished, "--cores", "2", *SMOKE)
    assert json.loads(manifest.read_text(encoding="utf-8")) == before
    moved = finished.rename(finished.with_name("moved"))
    assert jobs(moved) == {}


def test_a_folder_for_snakemake_s_records_that_cannot_be_written_is_told(project: Path) -> None:
    (project / ".snakemake").mkdir()
    with read_only(project / ".snakemake"):
        done = snakemake(project, "-n", *SMOKE)
    assert done.returncode != 0 and "Traceback" not in done.stdout, done.stdout
    assert re.search(r"^\.snakemake/living: .*; Snakemake keeps its records there, so make it writable$", done.stdout, re.M)


def test_braces_in_the_path_of_the_repository_are_told(tmp_path: Path) -> None:
    told = dry_run(copy_project(tmp_path / ODD), *SMOKE, "--cores", "1", ends_well=False)
    assert "Snakemake cannot work with a workflow whose path has braces" in told and "Traceback" not in told
