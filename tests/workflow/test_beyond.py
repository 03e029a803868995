"""`snakemake beyond`, run for real on the smoke scale after `all`."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import SMOKE, dry_run, edit, edit_config, jobs, listed_jobs, succeeds
from losspatterns.records.artifacts import load_table
from PIL import Image

PARTS = ("shades", "ensembles", "other_data", "dimensions")  # `capacity` is made from surfaces alone, as `dimensions` is
TABLES = [f"results/smoke/beyond/{part}.csv" for part in PARTS]


def test_every_part_makes_its_table_its_verdict_and_its_figure(finished: Path) -> None:
    succeeds(finished, *TABLES, "--cores", "2", *SMOKE)
    for part, table in zip(PARTS, TABLES, strict=True):
        rows = load_table(finished / table)
        page = (finished / f"results/smoke/beyond/{part}.md").read_text(encoding="utf-8")
        assert len(rows) and "|" in page and "nan" not in page.lower().split(), page
        for suffix in ("png", "pdf"):
            assert (finished / f"figures/smoke/beyond/{part}.{suffix}").stat().st_size > 10_000
        with Image.open(finished / f"figures/smoke/beyond/{part}.png") as image:
            assert len(image.convert("L").getcolors(256) or range(256)) > 20
    told = (finished / "results/smoke/beyond/other_data.md").read_text(encoding="utf-8")
    assert "MNIST" in told and "not available" in told
    figure = "figures/smoke/beyond/ensembles.png"
    traced = subprocess.run([sys.executable, "scripts/provenance.py", figure], cwd=finished, text=True, capture_output=True)
    assert traced.returncode == 0 and "results/smoke/planes/fashion_mnist/corner/conv/seed1.safetensors" in traced.stdout
    # What the paper's figures are made from is not touched, and an edited option measures again but trains nothing.
    assert jobs(finished) == {}
    edit_config(finished, {"beyond": {"other_data": {"images": 40}}})
    assert listed_jobs(dry_run(finished, *TABLES, "--cores", "2", *SMOKE)) == {"measure_part": 1, "summarise_part": 1}
    edit_config(finished, {"beyond": {"other_data": {"images": 50}}})
    edit("scripts/losspatterns/beyond/shown/ensembles.py", '"accuracy", "NLL', '"share", "NLL')(finished)
    assert listed_jobs(dry_run(finished, *TABLES, "--cores", "2", *SMOKE)) == {"summarise_part": 1}


@pytest.mark.parametrize(
    "change, line",
    [
        ({"masks": ["nix"]}, "beyond.other_data: mask: 'nix' is not in masks"),
        ({"experiment": "nix"}, "beyond.other_data: experiment: 'nix' is not in experiments"),
        ({"kind": "nix"}, "beyond.other_data.kind: found 'nix', expected one of capacity,"),
        ({"images": 0}, "beyond.other_data.images: found 0; input should be greater than or equal to 1"),
    ],
)
def test_a_wrong_part_is_one_line_and_stops_no_figure(project: Path, change: dict, line: str) -> None:
    edit_config(project, {"beyond": {"other_data": change}})
    assert f"config: {line}" in dry_run(project, "beyond", "--cores", "2", *SMOKE, ends_well=False)
    assert jobs(project)["train_plane"] == 7
