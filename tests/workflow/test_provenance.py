"""From a figure back to the dataset: what made each file is told, and a file that is not what was written is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import SMOKE, snakemake
from losspatterns.records.artifacts import file_checksum, record_path
from PIL import Image

FIGURE = "figures/smoke/fig5_cifar10.png"
RUN = "cifar10/corner/resnet/seed0"
SURFACE = f"results/smoke/surfaces/{RUN}.test.batch.npz"
PLANE = f"results/smoke/planes/{RUN}.safetensors"


def provenance(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "scripts/provenance.py", *arguments]
    return subprocess.run(command, cwd=folder, text=True, capture_output=True)


def flip_a_bit(file: Path) -> None:
    """One bit in the middle of a file; its times stay."""
    before = file.stat()
    whole = bytearray(file.read_bytes())
    whole[len(whole) // 2] ^= 1
    file.write_bytes(whole)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_figure_tells_what_made_it_back_to_the_dataset(smoke: Path) -> None:
    told = provenance(smoke, FIGURE)
    assert told.returncode == 0, told.stderr
    names = [line for line in told.stdout.splitlines() if line and not line.startswith(" ")]
    assert names[0] == FIGURE
    assert {SURFACE, PLANE, "results/smoke/data/cifar10.npz", "results/smoke/masks/corner.npy"} < set(names)
    plane = told.stdout.split(f"\n{PLANE}\n")[1].split("\nresults/")[0]
    for fact in (
        "train_plane.py (the code here",
        "torch",
        '"recipe": "fast"',
        "seed     0",
        "device   cpu",
        "from     results/smoke/data",
    ):
        assert fact in plane, fact
    assert "synthetic shapes" in told.stdout.split("\nresults/smoke/data/cifar10.npz\n")[1]


def test_figures_carry_a_short_form(smoke: Path) -> None:
    with Image.open(smoke / FIGURE) as image:
        facts = json.loads(image.text["Provenance"])
    assert facts["script"] == "plot_fig5_cifar10.py" and facts["inputs"][SURFACE] == file_checksum(smoke / SURFACE)
    assert f'"{SURFACE}'.encode() in (smoke / FIGURE.replace(".png", ".pdf")).read_bytes().replace(b"\\", b"")


def test_the_manifest_lists_everything_with_its_checksum(smoke: Path) -> None:
    entries = json.loads((smoke / "results/smoke/manifest.json").read_text(encoding="utf-8"))
    files = {p.relative_to(smoke).as_posix() for part in ("results", "figures") for p in (smoke / part).rglob("*")}
    kinds = (".npz", ".npy", ".safetensors", ".pdf", ".png")
    assert {f for f in files if f.endswith(kinds)} <= set(entries)
    assert {"results/smoke/scores.csv", "results/smoke/study.csv", f"results/smoke/planes/{RUN}.history.csv"} <= set(entries)
    for name, entry in entries.items():
        if name.endswith(kinds):
            assert entry["checksum"] == file_checksum(smoke / name), name
    assert SURFACE in entries[FIGURE]["inputs"] and PLANE in entries[SURFACE]["inputs"]


@pytest.mark.parametrize(
    ("damaged", "rule", "removed"),
    [
        ("results/smoke/data/cifar10.npz", "fetch_dataset", SURFACE),
        ("results/smoke/masks/corner.npy", "make_mask", SURFACE),
        (PLANE, "train_plane", SURFACE),
        (f"results/smoke/planes/{RUN}.history.csv", "train_plane", "results/smoke/scores.csv"),
        (SURFACE, "evaluate_surface", FIGURE),
        ("results/smoke/scores.csv", "score_surfaces", "results/smoke/study.csv"),
    ],
)
def test_a_bit_flipped_artifact_is_named_with_its_rule(finished: Path, damaged: str, rule: str, removed: str) -> None:
    flip_a_bit(finished / damaged)
    (finished / removed).unlink()
    done = snakemake(finished, removed, "--cores", "1", *SMOKE)
    assert done.returncode != 0 and "Traceback" not in done.stdout
    (line,) = [line.strip() for line in done.stdout.splitlines() if line.strip().startswith("error: ")]
    assert line.startswith(f"error: {damaged}: damaged") and f"{rule} wrote" in line and "delete it and run again" in line
    (finished / damaged).unlink()
    again = snakemake(finished, removed, "--cores", "1", *SMOKE)
    assert again.returncode == 0, again.stdout[-3000:]
    assert provenance(finished, removed, "--brief").returncode == 0


def test_damage_anywhere_behind_a_figure_is_found(finished: Path) -> None:
    assert "are whole" in provenance(finished, FIGURE, "--brief").stdout
    flip_a_bit(finished / PLANE)
    found = provenance(finished, FIGURE)
    assert found.returncode == 1 and found.stdout == ""
    assert found.stderr.startswith(f"error: {PLANE}: damaged") and found.stderr.count("\n") == 1
    told = snakemake(finished, "provenance", "--cores", "1", *SMOKE)
    assert told.returncode != 0 and f"error: {PLANE}: damaged" in told.stdout


def test_a_file_made_anew_behind_a_figure_s_back_is_found(finished: Path, smoke: Path) -> None:
    other = SURFACE.replace("test", "train")
    for copied in (other, record_path(other)):
        (finished / str(copied).replace("train", "test")).write_bytes((finished / copied).read_bytes())
    found = provenance(finished, FIGURE)
    assert found.returncode == 1
    assert found.stderr.startswith("error: ") and f"was made from another {SURFACE}" in found.stderr
