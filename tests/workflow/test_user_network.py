"""A user's own network, through Snakemake."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, SMOKE, copy_project, edit_config, jobs, snakemake
from losspatterns.records.artifacts import checksum, load_arrays

SURFACES = "results/smoke/surfaces/fashion_mnist/corner"
MINE = [f"{SURFACES}/mine/seed0.test.{bn}.npz" for bn in ("batch", "recalibrated", "identity")]
MINE.append(f"{SURFACES}/mine/seed0.untrained.test.batch.npz")
TARGETS = [*MINE, f"{SURFACES}/conv/seed0.test.none.npz"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project with a network of kind module beside the smoke scale's own."""

    def change(entries: dict[str, Any]) -> None:
        arguments = {"pixels": 28 * 28, "classes": 10, "width": 16}
        entries["networks"]["mine"] = {
            "kind": "module",
            "module": "my networks/networks.py:MLP",
            "arguments": arguments,
            "batch_norm": True,
        }
        pictures = entries["experiments"]["fashion_pictures"]
        pictures["networks"] = ["conv", "mine"]
        pictures["training"] |= {"updates": 10, "origin_updates": 10}
        pictures["surface"]["bn_protocols"] = ["batch", "recalibrated", "identity"]

    folder = copy_project(tmp_path / "project")
    shutil.copytree(ROOT / "tests/user_networks", folder / "my networks", ignore=shutil.ignore_patterns("__pycache__"))
    edit_config(folder, change)
    return folder


def test_a_user_s_network_trains_and_an_edit_of_it_retrains_its_planes_alone(project: Path) -> None:
    done = snakemake(project, *TARGETS, "--cores", "2", *SMOKE)
    assert done.returncode == 0, done.stdout[-5000:]
    log = (project / "results/smoke/logs/train_plane/fashion_mnist/corner/mine/seed0.log").read_text(encoding="utf-8")
    told = [
        line for line in log.splitlines() if line.startswith("fashion_mnist/corner/mine/seed0: ") and "update/s" not in line
    ]
    assert len(told) == 2 and "(Dropout)" in told[0] and "batch norm layers replaced by ours: 1" in told[1]

    losses = []
    for file in MINE[:3]:
        arrays, made_by = load_arrays(project / file)
        assert np.isfinite(arrays["loss"]).all()
        losses.append(arrays["loss"])
    assert not np.allclose(losses[0], losses[2])
    files = [project / "my networks" / name for name in ("networks.py", "blocks.py")]
    assert made_by["network"] == {
        "name": "mine",
        "kind": "module",
        "module": "my networks/networks.py:MLP",
        "arguments": {"pixels": 784, "classes": 10, "width": 16},
        "batch_norm": True,
        "checksum": checksum(*(file.read_bytes() for file in files)),
    }

    assert jobs(project, *TARGETS) == {}
    for file in files:
        file.touch()
    assert jobs(project, *TARGETS) == {}
    for file in files:  # the network's file, and a neighbour that it imports
        text = file.read_text(encoding="utf-8")
        file.write_text(text + "\n# edited\n", encoding="utf-8")
        assert jobs(project, *TARGETS) == {"train_plane": 1, "evaluate_surface": 3, "evaluate_untrained": 1}
        file.write_text(text, encoding="utf-8")


def test_a_missing_module_is_named_before_anything_runs(project: Path) -> None:
    shutil.rmtree(project / "my networks")
    done = snakemake(project, "-n", *SMOKE)
    assert done.returncode != 0 and "Traceback" not in done.stdout
    assert "networks.mine.module: no such file: my networks/networks.py" in done.stdout


def test_a_module_that_cannot_be_made_says_so_in_one_line(project: Path) -> None:
    edit_config(project, lambda entries: entries["networks"]["mine"]["arguments"].update(depth=3))
    done = snakemake(project, MINE[0], "--cores", "2", *SMOKE)
    assert done.returncode != 0 and "Traceback" not in done.stdout
    errors = [line for line in done.stdout.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.stdout
    assert "network module my networks/networks.py:MLP: cannot be made with arguments" in errors[0] and "'depth'" in errors[0]
