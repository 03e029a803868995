"""What a user adds or leaves out: a picture in a file of five lines, a figure that is null, a new kind of figure."""

import re
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
from conftest import PARTS, SMOKE, dry_run, edit_config, jobs, listed_jobs, snakemake, succeeds
from losspatterns.data.masks import fill
from losspatterns.records.artifacts import load_mask
from PIL import Image

MINE = """\
masks:
  logo: {kind: image, path: logo.png, size: [8, 10]}
figures:
  mine: {kind: landscapes, panels: [{experiment: fashion_pictures, mask: logo}]}
"""
OVER_SMOKE = ("--configfile", "config/smoke.yaml", "mine.yaml")
# A kind of figure: the losses of a picture's pixels, sorted.
SORTED = '''
from pydantic import Field

from . import FigureOptions, Needs, Picture

CAPTION = "**Sorted losses.** Of every point."


class Options(FigureOptions):
    """Points of one picture."""

    mask: str = Field(description="The picture.")
    colour: str = Field("black", description="Of the line.")


def needs(options):
    return Needs([Picture("fashion_pictures", options.mask)])


def draw(options, surfaces, scores, facts):
    from matplotlib.figure import Figure

    figure = Figure((4, 4))
    axes = figure.subplots()
    axes.plot(sorted(surfaces[0].loss.ravel()), color=options.colour)
    axes.set(title=surfaces[0].made_by["network"]["name"])
    return figure
'''


def add_picture(folder: Path) -> None:
    """A user's own PNG, a white triangle, and the five lines that draw it."""
    Image.fromarray(np.tri(80, 100, dtype=np.uint8) * 255).save(folder / "logo.png")
    (folder / "mine.yaml").write_text(MINE, encoding="utf-8")


def test_five_lines_draw_a_picture_of_one_s_own(finished: Path) -> None:
    add_picture(finished)
    output = succeeds(finished, "figures/smoke/mine.png", "--cores", "2", *OVER_SMOKE)
    # Its origin is there: it is that of the other pictures.
    assert listed_jobs(output) == {"make_mask": 1, "train_plane": 1, "evaluate_surface": 1, "mine": 1}
    picture = fill(load_mask(finished / "results/smoke/masks/logo.npy"))
    assert picture.shape == (8, 10) and picture[-1, 0] and not picture[0, -1]
    with Image.open(finished / "figures/smoke/mine.png") as image:
        assert min(image.size) > 100 and np.asarray(image.convert("RGB")).std() > 10


QUICK = """\
networks: {conv: {channels: [4], dense: [16]}}
experiments:
  draw:
    training: {updates: 20, white_pixels: 8, black_pixels: 8, origin_updates: 5}
    snapshots: 2
    surface: {padding: 1, images: 20, film_images: 10, calibration_images: 32}
"""


def test_a_picture_is_drawn_by_one_command(project: Path) -> None:
    add_picture(project)
    (project / "quick.yaml").write_text(QUICK, encoding="utf-8")
    command = ("draw", "--cores", "2", "--configfile=quick.yaml", "--config", "picture=logo.png", "size=10")
    output = succeeds(project, *command)
    assert "logo-size-10: 8 x 10 pixels" in output
    assert "Drawn: " + " ".join(f"figures/draw/logo-size-10.{suffix}" for suffix in ("png", "gif", "html")) in output
    assert "logo-size-10" in (project / "figures/draw/logo-size-10.html").read_text(encoding="utf-8")
    with Image.open(project / "figures/draw/logo-size-10.gif") as film:
        assert film.n_frames == 4
    planned = listed_jobs(dry_run(project, *command[:-1], "size=9"))
    assert "warm_origin" not in planned and planned["train_plane"] == 1
    assert "Nothing to be done" in dry_run(project, *command)


def test_over_the_default_scale_they_add_one_plane_and_one_figure(project: Path) -> None:
    add_picture(project)
    before = Counter(listed_jobs(dry_run(project, "--cores", "2")))
    after = Counter(listed_jobs(dry_run(project, "--cores", "2", "--configfile=mine.yaml")))
    assert before["train_plane"] == before["evaluate_surface"] == 3 + 2 + 3 * 2 * 3
    assert after - before == {"make_mask": 1, "train_plane": 1, "evaluate_surface": 1, "mine": 1}
    assert before - after == {}


def test_a_figure_that_is_null_is_not_drawn(finished: Path) -> None:
    edit_config(finished, {"figures": dict.fromkeys(("fig4_fashion_mnist", "fig6_fill_probability", "fig7_budget"))})
    assert jobs(finished) == {"make_manifest": 1}
    (finished / "mine.yaml").write_text("scale: other\nfigures: {fig1_landscapes: null, fig2_method: null}\n")
    found = listed_jobs(dry_run(finished, "--cores", "2", *OVER_SMOKE))
    assert {name for name in found if name.startswith("fig")} == {"fig3_batchnorm", "fig5_cifar10"}
    assert found["train_plane"] == 1 + 2 * 2  # what figure 5 shows, and the study


def test_a_module_and_a_config_entry_make_a_new_kind_of_figure(finished: Path) -> None:
    (finished / "scripts/losspatterns/figures/sorted_losses.py").write_text(SORTED, encoding="utf-8")
    edit_config(finished, {"figures": {"mine": {"kind": "sorted_losses", "mask": "heart", "colour": "red"}}})
    assert jobs(finished) == {"mine": 1, "make_manifest": 1}
    succeeds(finished, "--cores", "2", *SMOKE)
    with Image.open(finished / "figures/smoke/mine.png") as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    assert ((pixels[..., 0] > 200) & (pixels[..., 1:].max(-1) < 60)).sum() > 50  # the red line
    assert jobs(finished) == {}
    edit_config(finished, {"figures": {"mine": {"width": 3}}})
    done = snakemake(finished, "-n", "--cores", "2", *SMOKE)
    assert "config: figures.mine.width: unknown key; kind sorted_losses has kind, mask, colour" in done.stdout.splitlines()


def test_every_rule_is_listed_with_a_sentence(project: Path) -> None:
    told = dict(re.findall(r"^(\w+)(?: \((.+)\))?$", succeeds(project, "--list", *SMOKE), re.M))
    chain = {"fetch_dataset", "make_mask", "warm_origin", "train_plane", "evaluate_surface", "score_surfaces", "draw_figure"}
    chain |= {"write_claims"}
    assert chain | {"make_manifest", "provenance", "all", "benchmarks"} <= set(told)
    assert [rule for rule, sentence in told.items() if not re.fullmatch(r"[A-Z].{15,}\.", sentence)] == []


def test_git_sees_nothing_of_a_run(smoke: Path, tmp_path: Path) -> None:
    """In a repository of the project's files, which stands elsewhere."""

    def git(*arguments: str) -> str:
        place = ("--git-dir", str(tmp_path / "git"), "--work-tree", str(smoke))
        return subprocess.run(["git", *place, *arguments], cwd=smoke, text=True, capture_output=True, check=True).stdout

    git("init", "--quiet")
    git("add", *PARTS)
    git("-c", "user.name=A", "-c", "user.email=a@b.c", "commit", "--quiet", "--message", "all")
    assert {"Snakefile", "figures/README.md"} <= set(git("ls-files").splitlines())
    assert git("status", "--porcelain", "--untracked-files=all") == ""
