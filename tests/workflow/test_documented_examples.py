"""The examples of README and docs/extending.md, all in one config, from their first file to the figure. A picture and a network
have names that tables read as missing values."""

import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT, dry_run, edit, listed_jobs, succeeds
from losspatterns.records.artifacts import load_labelled
from PIL import Image
from snakemake.utils import update_config

OVER_SMOKE = ("--configfile", "config/smoke.yaml", "mine.yaml")
TRAINING = {"updates": 4, "white_pixels": 4, "black_pixels": 4, "images": 2, "origin_updates": 2}
SURFACE = {"padding": 0, "images": 20, "calibration_images": 16, "splits": ["test"]}
PICTURES = {"training": TRAINING, "snapshots": 1, "surface": SURFACE}
TINY = {
    "scale": "mine",
    "experiments": {
        "fashion_pictures": PICTURES | {"networks": ["conv", "wide", "mine", "null"], "seeds": [0], "films": []},
        "flower_pictures": PICTURES,
        "cifar10_pictures": PICTURES,
    },
    "studies": {
        "small_squares": {"training": TRAINING, "snapshots": 1, "size": [8, 8], "squares": 1}
        | {"surface": SURFACE | {"splits": ["validation", "test"], "test_images": 40, "bn_protocols": ["batch", "centred"]}},
        "batch_norm_study": None,
    },
    "masks": {"NA": {"kind": "ascii", "rows": ["....", ".#..", ".##.", "...."]}},
    "networks": {"null": {"kind": "conv", "channels": [2], "dense": [4]}},
    "figures": {
        **{name: None for name in ("fig2_method", "fig3_batchnorm", "fig4_fashion_mnist", "fig5_cifar10")},
        **{name: None for name in ("fig6_fill_probability", "fig7_budget")},
        "fig1_landscapes": {"panels": [{"experiment": "fashion_pictures", "mask": "NA", "network": "null"}]},
    },
}


def fenced(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)


def holding(words: str, texts: list[str]) -> str:
    (found,) = (text for text in texts if words in text)
    return found


@pytest.fixture
def documented(project: Path) -> Path:
    """A copy of the project with everything that the pages add."""
    config: dict = {}
    for block in fenced("README.md", "yaml") + fenced("docs/extending.md", "yaml"):
        if "download:" not in block:  # the official files, which no test can have
            update_config(config, yaml.safe_load(block))
    update_config(config, TINY)
    rng = np.random.default_rng(0)
    for split, images in {"train": 12, "test": 6}.items():
        for flower in ("daisy", "tulip"):
            (folder := project / "flowers" / split / flower).mkdir(parents=True)
            for k in range(images):
                Image.fromarray(rng.integers(0, 256, (40, 32, 3), np.uint8)).save(folder / f"{k}.png")
    config["datasets"]["flowers"]["sources"] = [{"image_folder": "flowers"}]
    (project / "mine.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    Image.fromarray(255 * np.eye(12, dtype=np.uint8)).save(project / "logo.png")
    code = fenced("docs/extending.md", "python")
    (project / "my_network.py").write_text(holding("class MLP", code), encoding="utf-8")
    (project / "scripts/losspatterns/figures/accuracies.py").write_text(holding("class Options", code), encoding="utf-8")
    protocol = holding("centred", fenced("docs/extending.md", "text"))
    networks = "scripts/losspatterns/networks"
    edit(f"{networks}/batch_norm.py", "PROTOCOLS = {\n", f"PROTOCOLS = {{\n{protocol}")(project)
    edit(f"{networks}/settings.py", "Protocol = Literal[", 'Protocol = Literal["centred", ')(project)
    return project


def test_every_example_runs_to_its_figure_and_its_verdicts(documented: Path) -> None:
    output = succeeds(documented, "--cores", "2", *OVER_SMOKE)
    drawn = {"fig1_landscapes", "mine", "flowers", "wide", "my_network", "accuracies", "small_squares", "small_budget"}
    assert drawn <= set(listed_jobs(output))
    for name in drawn:
        with Image.open(documented / f"figures/mine/{name}.png") as image:
            assert np.asarray(image.convert("L")).std() > 1  # not a blank page
    scores = pd.read_csv(documented / "results/mine/scores.csv", keep_default_na=False)
    assert {"logo", "knight", "heart", "NA"} <= set(scores["mask"])
    assert {"conv", "wide", "mine", "null", "study_plain"} <= set(scores["network"])
    surface, _ = load_labelled(next(documented.glob("results/mine/surfaces/*/small_squares_p30_0/study_batchnorm/*.nc")))
    assert surface.protocol.values.tolist() == ["batch", "centred"]
    claims = pd.read_csv(documented / "results/mine/claims.csv", keep_default_na=False)
    assert "small_squares" in set(claims["study"])
    for name in ("CITATION.cff", "LICENSE", "README.md"):  # the crate cites them
        shutil.copy(ROOT / name, documented)
    page = documented / "figures/mine/explore/fashion_mnist/NA/null/seed0.html"
    succeeds(documented, "explore", "pack", "crate", "provenance", "--cores", "2", *OVER_SMOKE)
    assert page.exists()
    plane = "results/mine/planes/fashion_mnist/NA/null/seed0.safetensors"
    for name in ("zip", "crate.zip"):
        with zipfile.ZipFile(documented / f"results/mine.{name}") as archive:
            assert plane in archive.namelist()
    assert listed_jobs(dry_run(documented, *OVER_SMOKE)) == {}
