"""Bad input, through Snakemake: one clear line, no stack trace, nothing else lost."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from configs import SCALES, layered, runs_of
from conftest import SMOKE, copy_project, dry_run, edit_config, listed_jobs, snakemake
from PIL import Image


def test_a_config_error_is_one_line_before_anything_runs(project: Path) -> None:
    edit_config(project, lambda entries: entries["figures"]["fig4_fashion_mnist"]["masks"].append("hart"))
    done = snakemake(project, "--cores", "2", *SMOKE)
    assert done.returncode != 0
    assert "Traceback" not in done.stdout
    lines = [line for line in done.stdout.splitlines() if "hart" in line]
    assert len(lines) == 1
    assert "figures.fig4_fashion_mnist.masks[2]: mask: 'hart' is not in masks; known are" in lines[0]
    assert not (project / "results").exists()


def test_a_missing_picture_is_named_before_anything_runs(project: Path) -> None:
    edit_config(project, {"masks": {"mine": {"kind": "image", "path": "picture.png", "size": [8, 8]}}})
    done = snakemake(project, "-n", *SMOKE)
    assert done.returncode != 0 and "Traceback" not in done.stdout
    assert "config: masks.mine.path: no such file: picture.png" in done.stdout.splitlines()


def truncated_mirror(project: Path) -> dict[str, Any]:
    """A data set whose first file is cut off, with another source behind it, which is not to be taken."""
    mirror = project / "mirror"
    mirror.mkdir()
    header = np.array([0x803, 60000, 28, 28], ">i4").tobytes()
    (mirror / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(header + bytes(1000)))
    for name in ("train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
        (mirror / f"{name}.gz").write_bytes(gzip.compress(b""))
    return {"kind": "FashionMNIST", "sources": [{"mirror": ["mirror"]}, "bundled"]}


def broken_image(project: Path) -> dict[str, Any]:
    """A folder of images, one of which is none."""
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            folder = project / "images" / split / name
            folder.mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(folder / "1.png")
    (project / "images/train/dog/2.png").write_bytes(b"not a picture")
    return {"kind": "images", "image_size": [8, 8], "channels": 3, "sources": [{"image_folder": "images"}]}


def no_network(project: Path) -> dict[str, Any]:
    """A data set on a server that does not answer."""
    download = {"directory": "downloads", "timeout": 2, "retries": 0, "url": "http://127.0.0.1:9/"}
    return {"kind": "FashionMNIST", "sources": [{"mirror": ["nowhere"]}, {"download": download}]}


def cut_archive(project: Path) -> dict[str, Any]:
    """An archive of images whose end is missing."""
    (project / "images.tar.gz").write_bytes(gzip.compress(bytes(4096))[:-9])
    return {"kind": "images", "image_size": [8, 8], "channels": 3, "sources": [{"image_folder": "images.tar.gz"}]}


def test_failing_jobs_say_why_in_one_line_each(project: Path) -> None:
    (project / "picture.png").write_text("words")
    svg = '<svg xmlns="http://www.w3.org/2000/svg" width="9mm" height="9mm">{}</svg>'
    (project / "text.svg").write_text(svg.format('<text y="20" font-family="Arial">A</text>'))
    (project / "disc.svg").write_text(svg.format('<circle r="4mm" fill="white"/>'))
    datasets = {"cut": truncated_mirror(project), "broken": broken_image(project), "offline": no_network(project)}
    datasets["archive"] = cut_archive(project)
    masks = {
        "white": {"kind": "ascii", "rows": ["####"] * 3},
        "words": {"kind": "image", "path": "picture.png", "size": [8, 8]},
        "text": {"kind": "image", "path": "text.svg", "size": [8, 8]},
        "fine": {"kind": "image", "path": "disc.svg", "size": [8, 8]},
    }
    edit_config(project, {"datasets": datasets, "masks": masks})
    said = {
        "data/cut.npz": ["mirror/train-images-idx3-ubyte.gz: not as published"],
        "data/broken.npz": ["images/train/dog/2.png"],
        "data/archive.npz": ["images.tar.gz: damaged archive"],
        "data/offline.npz": ["datasets.offline.sources", "nowhere", "127.0.0.1"],
        "masks/white.npy": ["masks.white", "black"],
        "masks/words.npy": ["masks.words.path", "picture.png"],
        "masks/text.npy": ["masks.text.path", "text.svg", "Arial"],
    }
    targets = [f"results/smoke/{target}" for target in (*said, "masks/fine.npy")]
    done = snakemake(project, *targets, "--keep-going", "--cores", "2", *SMOKE)
    assert done.returncode != 0
    assert "Traceback" not in done.stdout
    errors = [line for line in done.stdout.splitlines() if line.startswith("error: ")]
    assert len(errors) == len(said), done.stdout
    for words in said.values():
        assert sum(all(word in line for word in words) for line in errors) == 1, (words, errors)
    assert [target for target in targets if (project / target).exists()] == ["results/smoke/masks/fine.npy"]
    log = (project / "results/smoke/logs/make_mask/fine.log").read_text().splitlines()
    assert log[0].startswith("masks.fine.path: 'disc.svg': its colours show nothing") and log[1].startswith("fine: 8 x 8")


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project for dry runs."""
    return copy_project(tmp_path_factory.mktemp("fresh") / "project")


@pytest.mark.parametrize("scale", SCALES)
def test_every_scale_plans_every_job(fresh: Path, scale: str) -> None:
    runs = runs_of(layered(scale))
    layers = () if scale == "default" else (f"--configfile=config/{scale}.yaml",)
    planned = listed_jobs(dry_run(fresh, "--cores", "2", *layers))
    assert {name for name in planned if name.startswith("fig")} == set(runs.figures)
    assert {
        rule: planned[rule] for rule in ("fetch_dataset", "make_mask", "warm_origin", "train_plane", "evaluate_surface")
    } == {
        "fetch_dataset": len({run.dataset for run in runs.runs.values()}),
        "make_mask": len(runs.used_masks()),
        "warm_origin": len(set(runs.every(runs.files.origin))),
        "train_plane": len(runs.runs),
        "evaluate_surface": len(runs.runs),
    }
    assert planned["score_surfaces"] == planned["write_claims"] == planned["make_manifest"] == 1
