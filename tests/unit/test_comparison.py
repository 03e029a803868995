"""Scores agree within what two processors differ by; other settings and missing rows are told."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from configs import layered, runs_of
from losspatterns.analysis.comparison import LOGS, TOLERANCES, compared, other_settings, rows
from losspatterns.records.artifacts import load_table, read_record, save_table

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs/scores/default.csv"
ANCHOR = "fashion_mnist/anchor/conv/0/test/none/trained"
SQUARE = "fashion_mnist/batch_norm_study_p50_0/study_plain/50000/test/none/trained"


@pytest.fixture
def scores() -> pd.DataFrame:
    return load_table(REFERENCE)


def moved(scores: pd.DataFrame, measure: str, by: float) -> list[str]:
    """Rows that differ once a measure has moved by this share of the tolerance."""
    other, square = scores.copy(), scores["probability"].notna()
    picture_s, square_s, _ = TOLERANCES[measure]
    tolerance = by * (square * square_s + ~square * picture_s)
    other[measure] = other[measure] * np.exp(tolerance) if measure in LOGS else other[measure] + tolerance
    both = compared(rows("a", other), rows("b", scores))
    return [row.name for row in both if row.differences and row.name.endswith("/trained")]


@pytest.mark.parametrize("measure", TOLERANCES)
def test_each_measure_counts_beyond_its_tolerance(scores: pd.DataFrame, measure: str) -> None:
    assert moved(scores, measure, 0.99) == moved(scores, measure, -0.99) == []
    every = [row.name for row in compared(rows("a", scores), rows("b", scores))]
    names = [name for name in every if name.endswith("/trained")]
    assert {ANCHOR, SQUARE} <= set(names) and len(names) == 28 and len(every) == len(set(every)) == 84
    assert moved(scores, measure, 1.01) == moved(scores, measure, -1.01) == names


def test_a_value_that_is_lost_differs_and_one_that_never_was_agrees(scores: pd.DataFrame) -> None:
    lost = scores.assign(auc=float("nan"))
    lost, found = rows("a", lost), rows("b", scores)
    assert all("auc" in row.differences for row in compared(lost, found))
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
        and "84 agree, 0 differ, 0 not compared, 0 missing" in compare(REFERENCE)[1]
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
    assert "missing here: fashion_mnist/knight/conv/0/test/none/trained\n" in text
    assert text.splitlines()[-1].startswith("71 agree, 1 differ, 6 not compared, 6 missing: ")

    for file, made_by, told in (
        (scores.assign(mask="x" + scores["mask"]), {"settings": settings}, "has no row in common with"),
        (scores, {}, "its record tells no settings"),
    ):
        status, text = compare(write(tmp_path / "bad.csv", file, **made_by))
        assert status == 1 and told in text and text.startswith("error: ") and text.count("\n") == 1
    assert compare(REFERENCE, tmp_path / "none.csv")[1].startswith(f"error: {tmp_path}/none.csv: no such file; name the scores")


def test_the_tolerances_are_those_of_the_documentation() -> None:
    page = (ROOT / "docs/results.md").read_text(encoding="utf-8")
    for measure, bounds in TOLERANCES.items():
        (found,) = re.findall(rf"^\| `{measure}` \|.*\| ([\d.]+) \| ([\d.]+) \| ([\d.]+|inf) \|$", page, re.M)
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
