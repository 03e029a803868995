"""Scores agree within what two processors differ by; other settings and missing rows are told."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from configs import layered, runs_of
from losspatterns.analysis.comparison import TOLERANCES, compared, other_settings
from losspatterns.records.artifacts import load_table, read_record, save_table

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs/scores/default.csv"
ANCHOR = "fashion_mnist/anchor/conv/0/test/none"
SQUARE = "fashion_mnist/batch_norm_study_p50_0/study_plain/50000/test/none"


@pytest.fixture
def scores() -> pd.DataFrame:
    return load_table(REFERENCE)


def moved(scores: pd.DataFrame, measure: str, by: float) -> list[str]:
    """Rows that differ once a measure has moved by this share of the tolerance."""
    other, square = scores.copy(), scores["probability"].notna()
    picture_s, square_s = TOLERANCES[measure]
    other[measure] += by * (square * square_s + ~square * picture_s)
    return [row.name for row in compared(other, scores) if row.differences]


@pytest.mark.parametrize("measure", TOLERANCES)
def test_each_measure_counts_beyond_its_tolerance(scores: pd.DataFrame, measure: str) -> None:
    assert moved(scores, measure, 0.99) == moved(scores, measure, -0.99) == []
    names = [row.name for row in compared(scores, scores)]
    assert {ANCHOR, SQUARE} <= set(names) and len(names) == len(set(names)) == 28
    assert moved(scores, measure, 1.01) == moved(scores, measure, -1.01) == names


def test_a_value_that_is_lost_differs_and_one_that_never_was_agrees(scores: pd.DataFrame) -> None:
    lost = scores.assign(auc=float("nan"))
    assert all("auc" in row.differences for row in compared(lost, scores))
    assert not any(row.differences for row in compared(lost, lost))


def test_settings_that_differ_are_named_with_their_runs() -> None:
    ours = {"a": json.dumps({"training": {"tau": 5, "updates": 10}}), "b": json.dumps({"training": {"tau": 5}})}
    theirs = {"a": json.dumps({"training": {"tau": 10, "updates": 10}}), "b": json.dumps({"training": {"tau": 10}}), "c": "{}"}
    assert other_settings(ours, theirs) == {"training.tau: 5, reference 10": ["a", "b"]}
    assert other_settings(ours, ours) == {}
    older, newer = ({"a": json.dumps({"training": {"tau": 10} | more})} for more in ({}, {"hard_weight": 1.0}))
    assert other_settings(older, newer) == {}


def compare(file: Path, reference: Path = REFERENCE) -> tuple[int, str]:
    """Status of the command, and what it says."""
    command = [sys.executable, "scripts/compare_scores.py", "--scores", str(file), "--reference", str(reference)]
    done = subprocess.run(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.returncode, done.stdout


def write(file: Path, scores: pd.DataFrame, **made_by: Any) -> Path:
    """A table of scores with its record."""
    save_table(file, scores, made_by)
    return file


def test_the_command_ends_with_a_summary_and_a_status(scores: pd.DataFrame, tmp_path: Path) -> None:
    settings = read_record(REFERENCE)["made_by"]["settings"]
    assert (
        compare(REFERENCE) == (0, compare(REFERENCE)[1])
        and "28 agree, 0 differ, 0 not compared, 0 missing" in compare(REFERENCE)[1]
    )

    other = scores.copy()
    row = (other["mask"] == "anchor") & (other["control"] == "trained") & (other["split"] == "test")
    other.loc[row, "accuracy_gap"] -= 0.05
    other = other[other["mask"] != "knight"]
    changed = settings | {"cifar10/heart/conv/0": settings["cifar10/heart/conv/0"].replace('"tau": 10.0', '"tau": 5.0')}
    status, text = compare(write(tmp_path / "other.csv", other, settings=changed))
    assert status == 1
    assert re.search(rf"^differ +{ANCHOR}: accuracy_gap 0\.6\d+, reference 0\.7\d+ \(\+-0\.04\)$", text, re.M)
    assert "other settings: training.tau: 5.0, reference 10.0 (cifar10/heart/conv/0)\n" in text
    assert "missing here: fashion_mnist/knight/conv/0/test/none\n" in text
    assert text.splitlines()[-1].startswith("23 agree, 1 differ, 2 not compared, 2 missing: ")

    for file, made_by, told in (
        (scores.assign(mask="x"), {"settings": settings}, "has no row in common with"),
        (scores, {}, "its record tells no settings"),
    ):
        status, text = compare(write(tmp_path / "bad.csv", file, **made_by))
        assert status == 1 and told in text and text.startswith("error: ") and text.count("\n") == 1
    assert compare(REFERENCE, tmp_path / "none.csv")[1].startswith(f"error: {tmp_path}/none.csv: no such file; name the scores")


def test_the_tolerances_are_those_of_the_documentation() -> None:
    page = (ROOT / "docs/results.md").read_text(encoding="utf-8")
    for measure, bounds in TOLERANCES.items():
        (found,) = re.findall(rf"^\| `{measure}` \|.*\| ([\d.]+) \| ([\d.]+) \|$", page, re.M)
        assert tuple(map(float, found)) == bounds


def test_the_published_scores_are_of_the_default_scale_as_it_is() -> None:
    runs = runs_of(layered("default"))
    published = read_record(ROOT / "docs/scores/default.csv")["made_by"]["settings"]
    assert published.keys() == {run.path.replace("/seed", "/") for run in runs.runs.values()}
    for run in runs.runs.values():
        found = json.loads(published[run.path.replace("/seed", "/")])
        wanted = json.loads(run.training_spec())
        assert (found["network"], found["seed"]) == (wanted["network"], wanted["seed"])
        sides = ({"": json.dumps({"training": side["training"]})} for side in (found, wanted))
        assert other_settings(*sides) == {}
        assert found["mask"] == json.loads(runs.mask_spec(run.mask))
        assert found["surface"] == {key: value for key, value in json.loads(run.surface_spec()).items() if key != "snapshots"}
