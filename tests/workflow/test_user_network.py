"""A user's own network, through Snakemake."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, SMOKE, edit_config, jobs, snakemake, succeeds
from losspatterns.records.artifacts import checksum, load_labelled

TARGET = "results/smoke/surfaces/fashion_mnist/corner/mine/seed0.nc"
TRAINED = {"train_plane": 1, "evaluate_surface": 1}


@pytest.fixture
def with_module(project: Path) -> Path:
    """A copy of the project with a network of kind module beside the smoke scale's own."""
    mine = {
        "kind": "module",
        "module": "my networks/networks.py:MLP",
        "arguments": {"pixels": 28 * 28, "classes": 10, "width": 16},
        "batch_norm": True,
    }
    pictures = {
        "networks": ["conv", "mine"],
        "training": {"updates": 10, "origin_updates": 10},
        "surface": {"bn_protocols": ["batch", "recalibrated", "identity"]},
    }
    edit_config(project, {"networks": {"mine": mine}, "experiments": {"fashion_pictures": pictures}})
    shutil.copytree(ROOT / "tests/user_networks", project / "my networks", ignore=shutil.ignore_patterns("__pycache__"))
    return project


def test_a_user_s_network_trains_and_an_edit_of_it_retrains_its_planes_alone(with_module: Path) -> None:
    beside = TARGET.replace("mine", "conv")
    succeeds(with_module, TARGET, beside, "--cores", "2", *SMOKE)
    told = [
        line
        for rule in ("warm_origin", "train_plane")
        for file in (with_module / f"results/smoke/logs/{rule}").rglob("mine/*.log")
        for line in file.read_text(encoding="utf-8").splitlines()
        if "update/s" not in line
    ]
    assert any("(Dropout)" in line for line in told)
    assert any("batch norm layers replaced by ours: 1" in line for line in told)

    data, made_by = load_labelled(with_module / TARGET)
    assert np.isfinite(data.loss).all() and data.protocol.values.tolist() == ["batch", "recalibrated", "identity"]
    trained = data.loss.sel(stage="trained", split="test")
    assert not np.allclose(trained.sel(protocol="batch"), trained.sel(protocol="identity"))
    files = [with_module / "my networks" / name for name in ("networks.py", "blocks.py")]
    assert made_by["network"] == {
        "name": "mine",
        "kind": "module",
        "module": "my networks/networks.py:MLP",
        "arguments": {"pixels": 784, "classes": 10, "width": 16},
        "batch_norm": True,
        "checksum": checksum(*(file.read_bytes() for file in files)),
    }

    for file in files:
        file.touch()
    assert jobs(with_module, TARGET, beside) == {}
    for file in files:  # the network's file, and a neighbour that it imports
        text = file.read_text(encoding="utf-8")
        file.write_text(text + "\n# edited\n", encoding="utf-8")
        assert jobs(with_module, TARGET, beside) == {"warm_origin": 1} | TRAINED
        file.write_text(text, encoding="utf-8")


def test_a_module_that_cannot_be_made_or_is_missing_is_told_in_one_line(with_module: Path) -> None:
    edit_config(with_module, {"networks": {"mine": {"arguments": {"depth": 3}}}})
    done = snakemake(with_module, TARGET, "--cores", "2", *SMOKE)
    assert done.returncode != 0 and "Traceback" not in done.stdout
    errors = [line for line in done.stdout.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.stdout
    assert "network module my networks/networks.py:MLP: cannot be made with arguments" in errors[0] and "'depth'" in errors[0]

    shutil.rmtree(with_module / "my networks")
    done = snakemake(with_module, "-n", *SMOKE)
    assert done.returncode != 0 and "Traceback" not in done.stdout
    assert "networks.mine.module: no such file: my networks/networks.py" in done.stdout
