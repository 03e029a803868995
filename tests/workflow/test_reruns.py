"""What an edit reruns: the rows of the table in docs/running.md, edits of code, and results that come from elsewhere."""

import os
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import AFTER_SURFACES, FIGURES, ROOT, SMOKE, copy_project, edit, edit_config, jobs, listed_jobs, succeeds

COLOUR = ("fig1_landscapes", "fig5_cifar10")  # show a picture of cifar10_pictures
CORNER = (*COLOUR, "fig2_method", "fig4_fashion_mnist")  # show the picture corner
BENCHMARKS = "benchmarks/lib/settings.py"
RECIPE = "scripts/losspatterns/method/settings.py"
TRAINING = "scripts/losspatterns/method/training.py"
STYLE = "scripts/losspatterns/figures/style.py"
ENGINE = "scripts/losspatterns/method/layers.py"
OTHER_CODE = ("OWN_WEIGHTS_FROM = 64", "OWN_WEIGHTS_FROM = 63")
DRAW = "    FigureCanvasAgg(figure)\n"
SURFACE = "results/smoke/surfaces/cifar10/corner/resnet/seed0.nc"


def all_of(*edits: Callable[[Path], None]) -> Callable[[Path], None]:
    """One edit after another."""

    def apply(folder: Path) -> None:
        for one in edits:
            one(folder)

    return apply


def config(section: str, entry: str, **changes: object) -> Callable[[Path], None]:
    """What merges a change over an entry of the config."""
    return lambda folder: edit_config(folder, {section: {entry: changes}})


def touch_everything(folder: Path) -> None:
    """New times for all files, in no order that makes sense."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and ".snakemake" not in p.parts)
    random.Random(0).shuffle(files)
    for k, file in enumerate(files):
        os.utime(file, (1.6e9 + 60 * k,) * 2)


def once(*names: str) -> dict[str, int]:
    """One job of each, and what every change of a surface makes again."""
    return AFTER_SURFACES | dict.fromkeys(names, 1)


TABLE: list[tuple[str, Callable[[Path], None], dict[str, int]]] = [
    (
        "a plotting module",
        edit(STYLE, DRAW, DRAW + "    figure.set_facecolor('white')\n"),
        dict.fromkeys([*FIGURES, "draw_film", "make_manifest"], 1),
    ),
    (
        "one picture",
        edit("config/smoke.yaml", '".##....."', '".###...."'),
        once("make_mask", *CORNER) | {"train_plane": 2, "evaluate_surface": 2},
    ),
    (
        "a list of seeds",
        config("experiments", "cifar10_pictures", seeds=[0, 5]),
        once("warm_origin", "train_plane", "evaluate_surface"),
    ),
    (
        "a training setting of one experiment",
        config("experiments", "cifar10_pictures", training={"tau": 9.0}),
        once("train_plane", "evaluate_surface", *COLOUR),
    ),
    (
        "a setting of the origin's warm-up",
        config("experiments", "cifar10_pictures", training={"origin_updates": 5}),
        once("warm_origin", "train_plane", "evaluate_surface", *COLOUR),
    ),
    (
        "the number of snapshots of an experiment",
        config("experiments", "fashion_pictures", snapshots=3),
        dict.fromkeys(["evaluate_film", "draw_film", "make_manifest"], 1),
    ),
    (
        "the number of images of a surface",
        config("experiments", "cifar10_pictures", surface={"images": 40}),
        once("evaluate_surface", *COLOUR),
    ),
    (
        "an option of one figure",
        config("figures", "fig2_method", loss_range=[0.5, 5.0]),
        {"fig2_method": 1, "make_manifest": 1},
    ),
    (
        "a comment or a docstring",
        all_of(
            edit(ENGINE, '"""', '"""Told better: '),
            edit(ENGINE, "\ndef ", "\n# A word.\ndef "),
            edit(STYLE, "\n\n", "\n# Well.\n\n"),
        ),
        {},
    ),
    (
        "the text of an error or a message, the description of a key",
        all_of(edit(TRAINING, "a picture needs both colours", "needs both"), edit(RECIPE, "Its learning rate.", "A rate.")),
        {},
    ),
    ("the time of every file", touch_everything, {}),
    ("an edit that is taken back", all_of(edit(ENGINE, *OTHER_CODE), edit(ENGINE, *reversed(OTHER_CODE))), {}),
    (
        "a result that is removed",
        lambda folder: (folder / SURFACE).unlink(),
        once("evaluate_surface", *COLOUR),
    ),
]
FOR_REAL = ("one picture", "a setting of the origin's warm-up", "the number of snapshots of an experiment")


def test_the_table_in_the_documentation_has_these_rows() -> None:
    table = (
        (ROOT / "docs/running.md").read_text(encoding="utf-8").split("| edit | runs again |\n|---|---|\n")[1].split("\n\n")[0]
    )
    assert re.findall(r"^\| (.+?) +\|", table, re.M) == [row[0] for row in TABLE]


@pytest.mark.parametrize(("what", "change", "expected"), TABLE, ids=[row[0] for row in TABLE])
def test_an_edit_reruns_what_it_touches(
    finished: Path, what: str, change: Callable[[Path], None], expected: dict[str, int]
) -> None:
    change(finished)
    assert jobs(finished) == expected
    if what in FOR_REAL:
        assert listed_jobs(succeeds(finished, "--cores", "2", *SMOKE)) == expected
        assert jobs(finished) == {}


KEY = '    images: Several[Count] = Field(description="Images per pixel.")\n'  # of the benchmarks
CODE: list[tuple[str, Callable[[Path], None], set[str]]] = [
    ("the image that only Apptainer uses", edit("Snakefile", "loss-patterns.sif", "other.sif"), set()),
    ("settings of the benchmarks", edit(BENCHMARKS, KEY, KEY + '    other: Count = Field(1, description="New.")\n'), set()),
    (
        "the options of a figure",
        edit(
            "scripts/losspatterns/figures/method.py",
            "class Options(FigureOptions):\n",
            "class Options(FigureOptions):\n    x: int = 1\n",
        ),
        {"fig2_method", "make_manifest"},
    ),
    ("the engine", edit(ENGINE, *OTHER_CODE), {"train_plane"}),
    (
        "the check of a recipe's key",
        edit(RECIPE, "updates: Count = Field(desc", "updates: Count = Field(le=9**9, desc"),
        {"train_plane"},
    ),
]


@pytest.mark.parametrize(("what", "change", "expected"), CODE, ids=[row[0] for row in CODE])
def test_an_edit_of_code_reruns_what_uses_it(
    finished: Path, what: str, change: Callable[[Path], None], expected: set[str]
) -> None:
    change(finished)
    found = jobs(finished)
    if "train_plane" in expected:
        assert found["train_plane"] == found["evaluate_surface"] == 7 and not {"fetch_dataset", "make_mask"} & set(found)
    else:
        assert set(found) == expected


@pytest.fixture
def moved(smoke: Path, tmp_path: Path) -> Path:
    """A fresh copy of the project with the smoke run's results and figures, all with new times: as downloaded."""
    folder = copy_project(tmp_path / "elsewhere")
    for part in ("results", "figures"):
        shutil.copytree(smoke / part, folder / part, copy_function=shutil.copyfile, dirs_exist_ok=True)
    touch_everything(folder)
    return folder


def test_results_from_elsewhere_are_used_with_snakemake_s_own_records(moved: Path, smoke: Path) -> None:
    shutil.copytree(smoke / ".snakemake/metadata", moved / ".snakemake/metadata")
    assert jobs(moved) == {}


def test_results_from_elsewhere_are_used_without_them(moved: Path) -> None:
    succeeds(moved, "--cores", "1", "--touch", *SMOKE)
    assert jobs(moved) == {}
    succeeds(moved, "provenance", "--cores", "1", *SMOKE)
