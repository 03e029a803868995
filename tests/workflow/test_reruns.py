"""What an edit reruns, for real: the rows of the table in the README, and results that come from elsewhere."""

from __future__ import annotations

import os
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT, SMOKE, copy_project, edit_config, jobs, listed_jobs, snakemake
from losspatterns.config import FIGURES

PLOTS = {f"plot_{figure}": 1 for figure in FIGURES}
AFTER_SURFACES = {"score_surfaces": 1, "summarise_study": 1, "plot_fig6_fill_probability": 1, "make_manifest": 1}


def edit(file: str, old: str, new: str) -> Callable[[Path], None]:
    """Replace text in a file that must have it."""

    def apply(folder: Path) -> None:
        text = (folder / file).read_text(encoding="utf-8")
        assert old in text
        (folder / file).write_text(text.replace(old, new, 1), encoding="utf-8")

    return apply


def both(*edits: Callable[[Path], None]) -> Callable[[Path], None]:
    """One edit after another."""

    def apply(folder: Path) -> None:
        for one in edits:
            one(folder)

    return apply


def config(change: Callable[[dict], None]) -> Callable[[Path], None]:
    return lambda folder: edit_config(folder, change)


def touch_everything(folder: Path) -> None:
    """New times for all files, in no order that makes sense."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and ".snakemake" not in p.parts)
    random.Random(0).shuffle(files)
    for k, file in enumerate(files):
        os.utime(file, (1.6e9 + 60 * k,) * 2)


STYLE = "scripts/losspatterns/figures/style.py"
ENGINE = "scripts/losspatterns/method/update.py"
OTHER_CODE = ("OWN_WEIGHTS_FROM = 64", "OWN_WEIGHTS_FROM = 63")
DRAW = "    axes.set(xticks=[], yticks=[])\n"
SURFACE = "results/smoke/surfaces/cifar10/corner/resnet/seed0.test.batch.npz"
TABLE: list[tuple[str, Callable[[Path], None], dict[str, int]]] = [
    ("a plotting module", edit(STYLE, DRAW, DRAW + "    axes.set_facecolor('white')\n"), {**PLOTS, "make_manifest": 1}),
    (
        "one picture",
        edit("config/smoke.yaml", '".##....."', '".###...."'),
        {
            "make_mask": 1,
            "train_plane": 2,
            "evaluate_surface": 3,
            "evaluate_untrained": 2,
            **{f"plot_{figure}": 1 for figure in ("fig1_landscapes", "fig2_method", "fig4_fashion_mnist", "fig5_cifar10")},
            **AFTER_SURFACES,
        },
    ),
    (
        "a list of seeds",
        config(lambda entries: entries["experiments"]["cifar10_pictures"].update(seeds=[0, 5])),
        {"train_plane": 1, "evaluate_surface": 2, "evaluate_untrained": 1, **AFTER_SURFACES},
    ),
    (
        "a training setting of one experiment",
        config(lambda entries: entries["experiments"]["cifar10_pictures"]["training"].update(tau=9.0)),
        {
            "train_plane": 1,
            "evaluate_surface": 2,
            "evaluate_untrained": 1,
            "plot_fig1_landscapes": 1,
            "plot_fig5_cifar10": 1,
            **AFTER_SURFACES,
        },
    ),
    (
        "the number of images of a surface",
        config(lambda entries: entries["experiments"]["cifar10_pictures"]["surface"].update(images=40)),
        {"evaluate_surface": 2, "evaluate_untrained": 1, "plot_fig1_landscapes": 1, "plot_fig5_cifar10": 1, **AFTER_SURFACES},
    ),
    (
        "an option of one figure",
        config(lambda entries: entries["figures"]["fig2_method"].update(loss_range=[0.5, 5.0])),
        {"plot_fig2_method": 1, "make_manifest": 1},
    ),
    (
        "a comment or a docstring",
        both(
            edit(ENGINE, '"""', '"""Told better: '),
            edit(ENGINE, "\ndef ", "\n# A word.\ndef "),
            edit(STYLE, "\n\n", "\n# Well.\n\n"),
        ),
        {},
    ),
    ("the time of every file", touch_everything, {}),
    ("an edit that is taken back", both(edit(ENGINE, *OTHER_CODE), edit(ENGINE, *reversed(OTHER_CODE))), {}),
    (
        "a result that is removed",
        lambda folder: (folder / SURFACE).unlink(),
        {"evaluate_surface": 1, "plot_fig1_landscapes": 1, "plot_fig5_cifar10": 1, **AFTER_SURFACES},
    ),
]


@pytest.mark.parametrize(("what", "change", "expected"), TABLE, ids=[row[0] for row in TABLE])
def test_an_edit_reruns_what_it_touches(
    finished: Path, what: str, change: Callable[[Path], None], expected: dict[str, int]
) -> None:
    change(finished)
    done = snakemake(finished, "--cores", "2", *SMOKE)
    assert done.returncode == 0, done.stdout[-5000:]
    assert listed_jobs(done.stdout) == expected
    assert jobs(finished) == {}
    assert re.search(rf"^\| {what} +\|", (ROOT / "README.md").read_text(encoding="utf-8"), re.M), "a row of the README's table"


def test_an_edit_of_the_engine_trains_again(finished: Path) -> None:
    edit(ENGINE, *OTHER_CODE)(finished)
    found = jobs(finished)
    assert found["train_plane"] == 9 and "fetch_dataset" not in found and "make_mask" not in found


@pytest.fixture
def moved(smoke: Path, tmp_path: Path) -> Path:
    """A fresh copy of the project with the smoke run's results and figures, all with new times: as downloaded."""
    folder = copy_project(tmp_path / "elsewhere")
    for part in ("results", "figures"):
        shutil.copytree(smoke / part, folder / part, copy_function=shutil.copyfile)
    touch_everything(folder)
    return folder


def test_results_from_elsewhere_are_used_with_snakemake_s_own_records(moved: Path, smoke: Path) -> None:
    shutil.copytree(smoke / ".snakemake/metadata", moved / ".snakemake/metadata")
    assert jobs(moved) == {}


def test_results_from_elsewhere_are_used_without_them(moved: Path) -> None:
    checked = snakemake(moved, "provenance", "--cores", "1", "--touch", *SMOKE)
    assert checked.returncode == 0, checked.stdout[-3000:]
    touched = snakemake(moved, "--cores", "1", "--touch", *SMOKE)
    assert touched.returncode == 0, touched.stdout[-3000:]
    assert jobs(moved) == {}
