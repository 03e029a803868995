"""Bad days, through Snakemake: one clear line, nothing lost, nothing done twice.

In test_bad_input: wrong configs, data and pictures, no network. In test_smoke and test_user_network: edits.
"""

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from bad_places import mounted, read_only
from conftest import (
    FIGURES,
    SMOKE,
    copy_project,
    dry_run,
    edit,
    edit_config,
    jobs,
    listed_jobs,
    snakemake,
    started,
    started_anew,
    succeeds,
)
from losspatterns.data.dataset_file import load_dataset
from losspatterns.records.artifacts import load_mask
from PIL import Image

CORNER = "fashion_mnist/corner/conv/seed0"
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


def odd_places(project: Path) -> Path:
    """Images, a picture and a module in places with spaces, quotes and letters beyond ASCII, and texts that a shell would run.

    The copy's smoke scale uses all of it, in as few jobs as draw such texts. Returns the folder of images.
    """
    generator = np.random.default_rng(0)
    data = project.parent / "Bilder von Jürgen's {x} Hund"
    for split, count in (("train", 40), ("test", 10)):
        for name in ("a b", "ü $(touch ran)"):
            (data / split / name).mkdir(parents=True)
            for k in range(count):
                image = generator.integers(0, 128, (12, 10, 3), np.uint8) + (100 if name == "a b" else 0)
                Image.fromarray(image.astype(np.uint8)).save(data / split / name / f"{k} ö.png")
    (project / "mein Bild").mkdir()
    Image.fromarray(np.tri(9, dtype=np.uint8) * 255).save(project / "mein Bild/{x} über.png")
    (project / "mein {x} Netz.py").write_text(NETWORK)

    def change(entries: dict[str, Any]) -> None:
        entries["datasets"]["cifar10"] = {
            "kind": "images",
            "image_size": [12, 10],
            "channels": 3,
            "label": "Jürgens Hund; touch ran; `touch ran` $(touch ran) {x} ♥",
            "sources": [{"image_folder": str(data)}],
        }
        entries["masks"]["corner"] = {"kind": "image", "rows": None, "path": "mein Bild/{x} über.png", "size": [9, 9]}
        entries["masks"]["heart"] = {"kind": "text", "character": None, "text": "';\"$X", "size": [7, 20]}
        entries["networks"]["mine"] = {"kind": "module", "module": "mein {x} Netz.py:Net"}
        colour, study = entries["experiments"]["cifar10_pictures"], entries["studies"]["batch_norm_study"]
        colour["networks"] = ["mine"]
        study |= {
            "dataset": "cifar10",
            "networks": ["mine"],
            "comparisons": None,
            "probabilities": [0.6],
            "title": "{study} $(touch ran)",
        }
        figures = entries["figures"]
        figures["fig5_cifar10"]["masks"].append("heart")
        labels = {"mine": "'{study}' $(touch ran) ♥"}
        figures["squares"] = {"kind": "study", "studies": ["batch_norm_study"], "labels": labels}
        for name in FIGURES:
            figures[name] = figures.get(name) if name == "fig5_cifar10" else None

    edit_config(project, change)
    return data


def test_all_runs_in_odd_places_and_an_exchange_for_older_files_is_seen(tmp_path: Path) -> None:
    """Spaces, quotes and umlauts in all names; then pictures, archive and module are exchanged for files of other times."""
    project = copy_project(tmp_path / 'Jürgen\'s "Projekt" $(touch ran) 1')
    data = odd_places(project)
    succeeds(project, "--cores", "2", *SMOKE)
    assert {file.stem for file in (project / "figures/smoke").glob("*.png")} == {"fig5_cifar10", "squares"}
    assert (load_mask(project / "results/smoke/masks/corner.npy") > 0).sum() > 5
    dataset = load_dataset(project / "results/smoke/data/cifar10.npz")
    assert dataset.label.startswith("Jürgens Hund; touch") and dataset.class_names == ["a b", "ü $(touch ran)"]
    scores = pd.read_csv(project / "results/smoke/scores.csv")
    assert set(scores.dataset) == {"cifar10"} and set(scores.network) == {"mine"}
    assert "benchmark_quality" in dry_run(project, "benchmarks", "--cores", "2", *SMOKE)
    assert list(tmp_path.rglob("ran")) == []

    assert jobs(project) == {}

    archive = Path(shutil.make_archive(str(data), "tar", data))
    edit_config(project, lambda entries: entries["datasets"]["cifar10"].update(sources=[{"image_folder": str(archive)}]))
    plane = "results/smoke/planes/cifar10/corner/mine/seed0.safetensors"
    succeeds(project, plane, "--cores", "2", *SMOKE)
    assert jobs(project, plane) == {}
    kept = {file: file.read_bytes() for file in (project / "mein {x} Netz.py", archive, project / "mein Bild/{x} über.png")}
    for file, write, again in (
        (
            project / "mein {x} Netz.py",
            lambda file: file.write_text(NETWORK.replace("16", "17")),
            {"warm_origin": 1, "train_plane": 1},
        ),
        (
            archive,
            lambda file: file.write_bytes(kept[archive] + bytes(10240)),
            {"fetch_dataset": 1, "warm_origin": 1, "train_plane": 1},
        ),
        (
            project / "mein Bild/{x} über.png",
            lambda file: Image.fromarray(np.tri(9, k=2, dtype=np.uint8) * 255).save(file),
            {"make_mask": 1, "train_plane": 1},
        ),
    ):
        write(file)
        shift(file.parent, -3650 * DAY, file.name)
        assert jobs(project, plane) == again, file
        file.write_bytes(kept[file])
    # The same bytes with a time in the future: nothing to do.
    for file in kept:
        shift(file.parent, 7300 * DAY, file.name)
    shift(project, 7300 * DAY, "results/smoke/data/cifar10.npz", "results/smoke/masks/corner.npy")
    assert jobs(project, plane) == {}


def test_a_locale_without_utf_8_changes_nothing(finished: Path, monkeypatch) -> None:
    """Masks are glyphs, configs hold letters beyond ASCII: plan, fetch, make a mask and draw as ever."""
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("PYTHONUTF8", "0")
    monkeypatch.setenv("PYTHONCOERCECLOCALE", "0")
    assert listed_jobs(succeeds(finished, "-n", *SMOKE, run=started_anew)) == {}
    # None of them stands before another.
    targets = ["results/smoke/masks/heart.npy", "results/smoke/data/cifar10.npz", "figures/smoke/fig3_batchnorm.png"]
    before = {target: (finished / target).read_bytes() for target in targets}
    for target in targets:
        (finished / target).unlink()
    output = succeeds(finished, *targets, "--cores", "2", *SMOKE, run=started_anew)
    assert len(re.findall("^Finished jobid", output, re.M)) == len(targets), output[-5000:]
    assert {target: (finished / target).read_bytes() for target in targets} == before


# ------------------------------------------------------------------------------------------------ odd machines


def test_a_disk_that_fills_up_is_told_and_leaves_no_half_file(project: Path) -> None:
    with mounted(project / "results", kilobytes=2048):
        target = "results/smoke/data/fashion_mnist.npz"
        done = snakemake(project, target, "results/smoke/masks/heart.npy", "--cores", "1", *SMOKE)
        one_error(done, target, "No space left on device")
        assert sorted(files(project / "results/smoke/data")) == []
        assert load_mask(project / "results/smoke/masks/heart.npy").shape == (9, 12)  # what did fit is done


def test_results_that_cannot_be_written_are_told_and_kept(project: Path) -> None:
    mask = "results/smoke/masks/heart.npy"
    succeeds(project, mask, "--cores", "1", *SMOKE)
    before = files(project / "results")
    edit_config(project, {"masks": {"heart": {"character": "♞"}}})
    with read_only(project / "results"):
        again = snakemake(project, mask, "--cores", "1", *SMOKE)
        other = snakemake(project, "results/smoke/masks/corner.npy", "--cores", "1", *SMOKE)
        assert files(project / "results") == before
    assert again.returncode != 0 and "Traceback" not in again.stdout
    assert "Write-protected output files for rule make_mask" in again.stdout and mask in again.stdout, again.stdout
    assert other.returncode != 0 and "Traceback" not in other.stdout
    told = "results/smoke: cannot be written to by this user; results go to results/smoke"
    assert told in other.stdout.splitlines(), other.stdout


def test_a_file_in_the_place_of_the_results_is_told_and_kept(project: Path) -> None:
    (project / "results").write_text("mine")
    done = snakemake(project, "results/smoke/masks/corner.npy", "--cores", "1", *SMOKE)
    assert done.returncode != 0 and "Traceback" not in done.stdout, done.stdout
    told = "results: found a file, expected a folder for results/smoke; move it away"
    assert told in done.stdout.splitlines(), done.stdout
    assert (project / "results").read_text() == "mine"


def test_a_second_snakemake_in_the_folder_ends_at_once_and_the_first_goes_on(project: Path, tmp_path: Path) -> None:
    target, log = "results/smoke/data/cifar10.npz", tmp_path / "log"
    with started(project, log, "--cores", "1", target, *SMOKE) as first:
        deadline = time.monotonic() + 300
        while not any((project / ".snakemake/locks").glob("*")):
            assert first.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        first.send_signal(signal.SIGSTOP)  # however long the second takes to come so far
        second = snakemake(project, "--cores", "1", target, *SMOKE)
        first.send_signal(signal.SIGCONT)
        assert first.wait(timeout=600) == 0, log.read_text()
    assert second.returncode != 0 and "Traceback" not in second.stdout
    assert "Directory cannot be locked" in second.stdout and "--unlock" in second.stdout, second.stdout
    assert (project / target).exists()


def test_a_training_that_diverges_is_told_and_leaves_no_half_result(project: Path) -> None:
    changes = {"learning_rate": 1e30, "total_clip": None, "updates": 40, "optimizer": "adam", "origin_updates": 0}
    edit_config(project, {"experiments": {"fashion_pictures": {"training": changes}}})
    done = snakemake(project, f"results/smoke/planes/{CORNER}.safetensors", "--cores", "2", *SMOKE)
    one_error(done, f"{CORNER}: update", "no longer finite", "lower the learning_rate")
    assert not any((project / "results/smoke/planes").rglob("*.safetensors"))


def test_a_surface_beyond_memory_is_told_in_one_line(finished: Path) -> None:
    edit_config(finished, {"experiments": {"fashion_pictures": {"surface": {"oversampling": 10**12}}}})
    target = f"results/smoke/surfaces/{CORNER}.nc"
    done = snakemake(finished, target, "--cores", "2", *SMOKE)
    one_error(done, "out of memory", "use smaller settings")
    assert not (finished / target).exists() and (finished / f"results/smoke/planes/{CORNER}.safetensors").exists()


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
    edit("scripts/losspatterns/figures/landscapes.py", "\n\n\ndef ", "\nEDITED = print(1)\n\n\ndef ")(finished)
    assert jobs(finished) == {"fig1_landscapes": 1, "make_manifest": 1}
    edit_config(finished, {"masks": {"heart": {"character": "♞"}}})
    assert jobs(finished)["make_mask"] == 1


def test_results_whose_times_are_shuffled_are_not_made_again(finished: Path) -> None:
    """A clock that jumps while a run goes on leaves inputs that are younger than what was made of them."""
    for k, path in enumerate(sorted(path for path in (finished / "results").rglob("*") if path.is_file())):
        shift(finished, (-1) ** k * (k + 1) * DAY, str(path.relative_to(finished)))
    shift(finished, 30 * DAY, "results/smoke/data/fashion_mnist.npz", "results/smoke/masks/corner.npy")
    assert jobs(finished) == {}
