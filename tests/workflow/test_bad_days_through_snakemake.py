"""Bad days, through Snakemake: one clear line, nothing lost, nothing done twice.

In test_bad_input: wrong configs, data and pictures, no network. In test_smoke and test_user_network: edits.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from bad_places import mounted, read_only
from conftest import SMOKE, copy_project, edit_config, jobs, snakemake
from losspatterns.data.dataset_file import load_dataset
from losspatterns.records.artifacts import load_mask
from PIL import Image

PLANE = "results/smoke/planes/fashion_mnist/corner/conv/seed0"
DAY = 86_400.0  # seconds


def one_error(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """The run failed with one line of ours that holds these words, and no stack trace."""
    assert done.returncode != 0
    assert "Traceback" not in done.stdout, done.stdout
    errors = [line for line in done.stdout.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.stdout
    assert all(word in errors[0] for word in words), errors[0]


def files(folder: Path) -> dict[str, bytes]:
    """What a folder holds, but for logs and measured times."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not {"logs", "benchmarks"} & set(path.parts)
    }


# --------------------------------------------------------------------------------------------------- odd places

NETWORK = """
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(3 * 12 * 10, 16), nn.ReLU(), nn.Linear(16, 2))

    def forward(self, images):
        return self.layers(images)
"""


def odd_places(project: Path) -> Callable[[dict[str, Any]], None]:
    """Data, a picture and a module in places with spaces, quotes and letters beyond ASCII; texts that a shell would run."""
    generator = np.random.default_rng(0)
    data = project.parent / "Bilder von Jürgen's Hund"
    for split, count in (("train", 40), ("test", 10)):
        for name in ("a b", "ü $(touch ran)"):
            (data / split / name).mkdir(parents=True)
            for k in range(count):
                image = generator.integers(0, 128, (12, 10, 3), np.uint8) + (100 if name == "a b" else 0)
                Image.fromarray(image.astype(np.uint8)).save(data / split / name / f"{k} ö.png")
    (project / "mein Bild").mkdir()
    Image.fromarray(np.tri(9, dtype=np.uint8) * 255).save(project / "mein Bild/über.png")
    (project / "mein Netz.py").write_text(NETWORK)

    def change(entries: dict[str, Any]) -> None:
        source = {"image_folder": str(data)}
        entries["datasets"]["cifar10"] = {
            "kind": "images",
            "image_size": [12, 10],
            "channels": 3,
            "label": "Jürgens Hund; touch ran; `touch ran` $(touch ran) {x} ♥",
            "sources": [source],
        }
        entries["masks"]["corner"] = {"kind": "image", "path": "mein Bild/über.png", "size": [9, 9]}
        entries["masks"]["heart"] = {"kind": "text", "text": "';\"$X", "size": [7, 20]}
        entries["networks"]["mine"] = {"kind": "module", "module": "mein Netz.py:Net"}
        colour = entries["experiments"]["cifar10_pictures"]
        colour["networks"] = ["mine"]
        # As few jobs as draw every figure.
        del entries["masks"]["square_p30"]
        entries["experiments"]["fashion_pictures"]["training"] |= {"updates": 5, "origin_updates": 5}
        study, figures = entries["experiments"]["batch_norm_study"], entries["figures"]
        study["networks"].remove("study_residual")
        study["surface"]["bn_protocols"] = ["batch"]
        figures["fig1_landscapes"]["panels"].pop(1)
        figures["fig2_method"]["mask"], figures["fig4_fashion_mnist"]["masks"] = "heart", ["heart"]
        labels = {"study_plain": "'{study}' $(touch ran) ♥"}
        figures["fig6_fill_probability"]["labels"] = labels
        figures["fig6_fill_probability"]["studies"][0] |= {"masks": ["square_p60"], "title": "{study} $(touch ran)"}
        quality = entries["benchmarks"]["quality"]["runs"][0]
        quality["variants"] = {"fast": quality["variants"]["fast"] | {"label": "{fast} ♥ \"'; touch ran"}}

    return change


def test_everything_runs_in_a_folder_with_spaces_quotes_and_umlauts(tmp_path: Path) -> None:
    project = copy_project(tmp_path / 'Jürgen\'s "Projekt" $(touch ran) 1')
    edit_config(project, odd_places(project))
    done = snakemake(project, "--cores", "2", *SMOKE)
    assert done.returncode == 0, done.stdout[-5000:]
    assert len(list((project / "figures/smoke").glob("fig*.png"))) == 6
    assert (load_mask(project / "results/smoke/masks/corner.npy") > 0).sum() > 5
    dataset = load_dataset(project / "results/smoke/data/cifar10.npz")
    assert dataset.label.startswith("Jürgens Hund; touch") and dataset.class_names == ["a b", "ü $(touch ran)"]
    scores = pd.read_csv(project / "results/smoke/scores.csv")
    assert set(scores[scores.dataset == "cifar10"].network) == {"mine"}
    assert jobs(project) == {}
    shown = snakemake(project, "benchmarks", "-n", "--cores", "2", *SMOKE)
    assert shown.returncode == 0 and "plot_benchmarks" in shown.stdout, shown.stdout[-3000:]
    assert list(tmp_path.rglob("ran")) == []


def test_a_locale_without_utf_8_changes_nothing(finished: Path, monkeypatch) -> None:
    """Masks are glyphs, configs hold letters beyond ASCII: plan, fetch, make a mask and draw as ever."""
    before = files(finished / "results") | files(finished / "figures")
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("PYTHONUTF8", "0")
    monkeypatch.setenv("PYTHONCOERCECLOCALE", "0")
    assert jobs(finished) == {}
    # None of them stands before another.
    targets = ["results/smoke/masks/square_p30.npy", "results/smoke/data/cifar10.npz", "figures/smoke/fig4_fashion_mnist.png"]
    for target in targets:
        (finished / target).unlink()
    done = snakemake(finished, *targets, "--cores", "2", *SMOKE)
    assert done.returncode == 0, done.stdout[-5000:]
    made = [line for line in done.stdout.splitlines() if line.startswith("Finished jobid")]
    assert len(made) == len(targets), done.stdout[-5000:]
    after = files(finished / "results") | files(finished / "figures")
    for target in targets:
        assert after[target.partition("/")[2]] == before[target.partition("/")[2]], target


# ------------------------------------------------------------------------------------------------ odd machines


def test_a_disk_that_fills_up_is_told_and_leaves_no_half_file(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "project")
    with mounted(project / "results", kilobytes=2048):
        target = "results/smoke/data/fashion_mnist.npz"
        done = snakemake(project, target, "results/smoke/masks/heart.npy", "--cores", "1", *SMOKE)
        one_error(done, target, "No space left on device")
        assert sorted(files(project / "results/smoke/data")) == []
        assert load_mask(project / "results/smoke/masks/heart.npy").shape == (9, 12)  # what did fit is done


def test_results_that_cannot_be_written_are_told_and_kept(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "project")
    mask = "results/smoke/masks/heart.npy"
    assert snakemake(project, mask, "--cores", "1", *SMOKE).returncode == 0
    before = files(project / "results")
    edit_config(project, lambda entries: entries["masks"]["heart"].update(character="♞"))
    with read_only(project / "results"):
        again = snakemake(project, mask, "--cores", "1", *SMOKE)
        other = snakemake(project, "results/smoke/masks/corner.npy", "--cores", "1", *SMOKE)
        assert files(project / "results") == before
    assert again.returncode != 0 and "Traceback" not in again.stdout
    assert "Write-protected output files for rule make_mask" in again.stdout and mask in again.stdout, again.stdout
    assert other.returncode != 0 and "Traceback" not in other.stdout
    told = "results/smoke: cannot be written to by this user; results go to results/smoke"
    assert told in other.stdout.splitlines(), other.stdout


def test_a_file_in_the_place_of_the_results_is_told_and_kept(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "project")
    (project / "results").write_text("mine")
    done = snakemake(project, "results/smoke/masks/corner.npy", "--cores", "1", *SMOKE)
    assert done.returncode != 0 and "Traceback" not in done.stdout, done.stdout
    told = "results: found a file, expected a folder for results/smoke; move it away"
    assert told in done.stdout.splitlines(), done.stdout
    assert (project / "results").read_text() == "mine"


def test_a_second_snakemake_in_the_folder_ends_at_once_and_the_first_goes_on(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "project")
    command = [sys.executable, "-m", "snakemake", "--nocolor", "--cores", "1", f"{PLANE}.safetensors", *SMOKE]
    with open(tmp_path / "log", "w") as log, subprocess.Popen(command, cwd=project, stdout=log, stderr=log) as first:
        deadline = time.monotonic() + 300
        while not any((project / ".snakemake/locks").glob("*")):
            assert first.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        second = snakemake(project, "--cores", "1", f"{PLANE}.safetensors", *SMOKE)
        assert first.wait(timeout=600) == 0, (tmp_path / "log").read_text()
    assert second.returncode != 0 and "Traceback" not in second.stdout
    assert "Directory cannot be locked" in second.stdout and "--unlock" in second.stdout, second.stdout
    assert (project / f"{PLANE}.safetensors").exists()
    assert snakemake(project, f"{PLANE}.safetensors", "-n", *SMOKE).stdout.count("Nothing to be done") == 1


def test_a_training_that_diverges_is_told_and_leaves_no_half_result(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "project")

    def diverge(entries: dict[str, Any]) -> None:
        changes = {"learning_rate": 1e30, "total_clip": None, "updates": 40, "optimizer": "adam"}
        entries["experiments"]["fashion_pictures"]["training"] |= changes

    edit_config(project, diverge)
    done = snakemake(project, f"{PLANE}.safetensors", "--cores", "2", *SMOKE)
    one_error(done, "fashion_mnist/corner/conv/seed0: update", "no longer finite", "lower the learning_rate")
    assert not any((project / "results/smoke/planes").rglob("*.safetensors"))


def test_a_surface_beyond_memory_is_told_in_one_line(finished: Path) -> None:
    edit_config(finished, lambda e: e["experiments"]["fashion_pictures"]["surface"].update(oversampling=10**12))
    target = f"{PLANE}.test.none.npz".replace("planes", "surfaces")
    done = snakemake(finished, target, "--cores", "2", *SMOKE)
    one_error(done, "out of memory", "use smaller settings")
    assert not (finished / target).exists() and (finished / f"{PLANE}.safetensors").exists()


# ------------------------------------------------------------------------------------------------- odd clocks


def shift(folder: Path, seconds: float, *names: str) -> None:
    """Move the times of a folder's files, or of the named ones, as if the clock had been wrong when they were written."""
    for path in [folder / name for name in names] if names else folder.rglob("*"):
        found = path.lstat()
        os.utime(path, (found.st_atime + seconds, found.st_mtime + seconds), follow_symlinks=False)


@pytest.mark.parametrize("days", [-3650, 3650])
def test_results_of_a_wrong_clock_count_and_an_edit_of_today_is_seen(finished: Path, days: int) -> None:
    shift(finished / "results", days * DAY)
    shift(finished / "figures", days * DAY)
    assert jobs(finished) == {}
    with open(finished / "scripts/losspatterns/figures/landscapes.py", "a", encoding="utf-8") as file:
        file.write("EDITED = 1\n")
    assert jobs(finished)["plot_fig1_landscapes"] == 1
    edit_config(finished, lambda entries: entries["masks"]["heart"].update(character="♞"))
    assert jobs(finished)["make_mask"] == 1


def test_results_whose_times_are_shuffled_are_not_made_again(finished: Path) -> None:
    """A clock that jumps while a run goes on leaves inputs that are younger than what was made of them."""
    for k, path in enumerate(sorted(path for path in (finished / "results").rglob("*") if path.is_file())):
        shift(finished, (-1) ** k * (k + 1) * DAY, str(path.relative_to(finished)))
    shift(finished, 30 * DAY, "results/smoke/data/fashion_mnist.npz", "results/smoke/masks/corner.npy")
    assert jobs(finished) == {}


def test_a_picture_an_archive_and_a_module_exchanged_for_older_ones_are_seen(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "project")
    edit_config(project, odd_places(project))
    data = next(path for path in tmp_path.iterdir() if path.name.startswith("Bilder"))
    archive = Path(shutil.make_archive(str(tmp_path / "pictures"), "tar", data))
    edit_config(project, lambda entries: entries["datasets"]["cifar10"].update(sources=[{"image_folder": str(archive)}]))
    plane = "results/smoke/planes/cifar10/corner/mine/seed0.safetensors"
    done = snakemake(project, plane, "--cores", "2", *SMOKE)
    assert done.returncode == 0, done.stdout[-3000:]
    assert jobs(project, plane) == {}

    def exchange(file: Path, write: Callable[[Path], None]) -> None:
        write(file)
        shift(file.parent, -3650 * DAY, file.name)

    kept = {file: file.read_bytes() for file in (project / "mein Netz.py", archive, project / "mein Bild/über.png")}
    for file, write, again in (
        (project / "mein Netz.py", lambda file: file.write_text(NETWORK.replace("16", "17")), {"train_plane": 1}),
        (archive, lambda file: file.write_bytes(kept[archive] + bytes(10240)), {"fetch_dataset": 1, "train_plane": 1}),
        (
            project / "mein Bild/über.png",
            lambda file: Image.fromarray(np.tri(9, k=2, dtype=np.uint8) * 255).save(file),
            {"make_mask": 1, "train_plane": 1},
        ),
    ):
        exchange(file, write)
        assert jobs(project, plane) == again, file
        exchange(file, lambda file: file.write_bytes(kept[file]))
        assert jobs(project, plane) == {}, file
    # The same bytes with a time in the future: nothing to do, before a run and after it.
    for file in kept:
        shift(file.parent, 7300 * DAY, file.name)
    assert jobs(project, plane) == {}
    shift(project, 7300 * DAY, "results/smoke/data/cifar10.npz", "results/smoke/masks/corner.npy")
    assert jobs(project, plane) == {}
