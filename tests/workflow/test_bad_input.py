"""Bad input, through Snakemake: one clear line, no stack trace, nothing else lost."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import SMOKE, copy_project, edit_config, snakemake
from PIL import Image


def white_ascii(entries: dict[str, Any]) -> None:
    entries["masks"]["corner"] = {"kind": "ascii", "rows": ["####", "####", "####"]}


def drawn_elsewhere(entries: dict[str, Any]) -> None:
    entries["masks"]["corner"] = {"kind": "image", "path": "picture.png", "size": [8, 8]}


def test_a_config_error_is_one_line_before_anything_runs(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "project")
    edit_config(project, lambda entries: entries["figures"]["fig4_fashion_mnist"]["masks"].append("hart"))
    done = snakemake(project, "--cores", "2", *SMOKE)
    assert done.returncode != 0
    assert "Traceback" not in done.stdout
    lines = [line for line in done.stdout.splitlines() if "hart" in line]
    assert len(lines) == 1
    assert "figures.fig4_fashion_mnist.masks[2]: mask: 'hart' is not in masks; known are" in lines[0]
    assert not (project / "results").exists()


def truncated_mirror(project: Path, entries: dict[str, Any]) -> None:
    mirror = project / "mirror"
    mirror.mkdir()
    header = np.array([0x803, 60000, 28, 28], ">i4").tobytes()
    (mirror / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(header + bytes(1000)))
    for name in ("train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
        (mirror / f"{name}.gz").write_bytes(gzip.compress(b""))
    entries["datasets"]["fashion_mnist"]["sources"] = [{"mirror": ["mirror"]}, "bundled"]


def broken_image(project: Path, entries: dict[str, Any]) -> None:
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            folder = project / "images" / split / name
            folder.mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(folder / "1.png")
    (project / "images/train/dog/2.png").write_bytes(b"not a picture")
    entries["datasets"]["fashion_mnist"] = {
        "kind": "images",
        "image_size": [8, 8],
        "channels": 3,
        "sources": [{"image_folder": "images"}],
    }


def no_network(project: Path, entries: dict[str, Any]) -> None:
    download = {"directory": "downloads", "timeout": 2, "retries": 0, "url": "http://127.0.0.1:9/"}
    entries["datasets"]["fashion_mnist"]["sources"] = [{"mirror": ["nowhere"]}, {"download": download}]


def not_an_image(project: Path, entries: dict[str, Any]) -> None:
    (project / "picture.png").write_text("words")
    drawn_elsewhere(entries)


JOBS: list[tuple[str, Callable[[Path, dict[str, Any]], None], str, list[str]]] = [
    ("truncated dataset file", truncated_mirror, "results/smoke/data/fashion_mnist.npz", ["train-images-idx3-ubyte.gz"]),
    ("broken image", broken_image, "results/smoke/data/fashion_mnist.npz", ["images/train/dog/2.png"]),
    ("no network", no_network, "results/smoke/data/fashion_mnist.npz", ["fashion_mnist", "nowhere", "127.0.0.1"]),
    ("all-white mask", lambda _, entries: white_ascii(entries), "results/smoke/masks/corner.npy", ["masks.corner", "black"]),
    ("not an image", not_an_image, "results/smoke/masks/corner.npy", ["masks.corner", "picture.png"]),
]


@pytest.mark.parametrize(("name", "spoil", "target", "words"), JOBS, ids=[job[0] for job in JOBS])
def test_a_failing_job_says_why_in_one_line(
    tmp_path: Path, name: str, spoil: Callable[[Path, dict[str, Any]], None], target: str, words: list[str]
) -> None:
    project = copy_project(tmp_path / "project")
    edit_config(project, lambda entries: spoil(project, entries))
    done = snakemake(project, target, "--cores", "2", *SMOKE)
    assert done.returncode != 0
    assert "Traceback" not in done.stdout
    errors = [line for line in done.stdout.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.stdout
    assert all(word in errors[0] for word in words), errors[0]
    assert not (project / target).exists()


def test_a_missing_picture_is_named_before_anything_runs(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "project")
    edit_config(project, drawn_elsewhere)
    done = snakemake(project, "-n", *SMOKE)
    assert done.returncode != 0 and "Traceback" not in done.stdout
    assert "masks.corner.path: no such file: picture.png" in done.stdout


@pytest.mark.parametrize("scale", ["config", "hour", "paper"])
def test_the_other_scales_plan_every_job(tmp_path: Path, scale: str) -> None:
    project = copy_project(tmp_path / "project")
    done = snakemake(project, "-n", "--cores", "2", "--configfile", f"config/{scale}.yaml")
    assert done.returncode == 0, done.stdout[-3000:]
    trained = next(line for line in done.stdout.splitlines() if line.startswith("train_plane"))
    planes = {"config": 3 + 2 + 5 * 3 * 3, "hour": 2 + 2 + 3 * 4 * 3 + 2 * 2 * 2 * 3, "paper": 5 + 3 + 9 * 3 * 5}
    assert int(trained.split()[1]) == planes[scale]
