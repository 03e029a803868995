"""Scores: against plain definitions and cases whose answer is known."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from losspatterns.analysis.scores import auc, gap_error, iou, otsu, score, shuffled, shuffled_scores, total_variation
from losspatterns.data.masks import ternary
from losspatterns.records.artifacts import load_table, read_record, save_labelled, save_table

PICTURE = np.zeros((12, 9), bool)
PICTURE[2:9, 1:6] = True
MASK = ternary(PICTURE)


def test_auc_equals_counting_all_pairs() -> None:
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 6, 60).astype(float)  # with ties
    positive = rng.random(60) < 0.4
    pairs = scores[positive][:, None] - scores[~positive][None]
    assert auc(scores, positive) == pytest.approx((pairs > 0).mean() + 0.5 * (pairs == 0).mean())


def test_otsu_equals_exhaustive_search() -> None:
    values = np.random.default_rng(1).gamma(2, size=80)

    def within(threshold: float) -> float:
        low, high = values[values <= threshold], values[values > threshold]
        return len(low) * low.var() + len(high) * high.var()

    best = min(np.sort(values)[:-1], key=within)
    assert within(otsu(values)) == pytest.approx(within(best))


def test_a_perfect_surface_scores_perfectly() -> None:
    loss, accuracy = np.where(PICTURE, 0.4, 4.0), np.where(PICTURE, 0.9, 0.1)
    found = score(loss, accuracy, MASK, PICTURE, 10.0)
    assert (found["auc"], found["iou"]) == (1.0, 1.0)
    assert found["accuracy_gap"] == pytest.approx(0.8)
    assert (found["loss_white"], found["loss_black"]) == (pytest.approx(0.4), pytest.approx(4.0))
    assert total_variation(np.full((4, 4), 2.0)) == 0


def test_beyond_tau_black_is_black() -> None:
    """A surface that is right everywhere keeps its IoU and its variation, however far black losses run away."""
    near = np.where(PICTURE, 0.4, 12.0)
    far = np.where(PICTURE, 0.4, np.linspace(12, 1e6, PICTURE.size).reshape(PICTURE.shape))
    assert iou(far, PICTURE) < 1
    first, second = (score(loss, np.ones_like(loss), MASK, PICTURE, 10.0) for loss in (near, far))
    assert first["iou"] == second["iou"] == 1.0
    assert first["tv"] == second["tv"] > 0


def test_ignored_pixels_count_only_where_they_are_named() -> None:
    accuracy = np.where(PICTURE, 0.9, 0.1)
    accuracy[MASK == 0] = 0.5
    found = score(np.ones_like(accuracy), accuracy, MASK, PICTURE, 10.0)
    assert found["accuracy_ignored"] == pytest.approx(0.5)
    assert found["accuracy_gap"] == pytest.approx(0.8)
    everywhere = np.where(PICTURE, 1, -1)
    assert np.isnan(score(np.ones_like(accuracy), accuracy, everywhere, PICTURE, 10.0)["accuracy_ignored"])


def test_the_shuffled_control_destroys_the_picture_and_keeps_the_counts() -> None:
    mask, picture = shuffled(MASK, PICTURE)
    assert [(mask == v).sum() for v in (-1, 0, 1)] == [(MASK == v).sum() for v in (-1, 0, 1)]
    assert (ternary(picture) != mask).any()
    loss = np.where(PICTURE, 0.4, 4.0)
    assert iou(loss, PICTURE) == 1.0 > 0.6 > iou(loss, picture)
    assert abs(auc(-loss, picture) - 0.5) < 0.2


def test_the_shuffled_scores_are_the_mean_over_many_masks() -> None:
    """Equal to scoring each shuffled mask; a plane without its picture has as large a gap as most of them."""
    rng = np.random.default_rng(3)
    loss, accuracy = rng.gamma(2, size=MASK.shape), rng.random(MASK.shape)
    found, share = shuffled_scores(loss, accuracy, MASK, PICTURE, 2.0, count=40)
    orders = np.random.default_rng(0)
    each = []
    for _ in range(40):
        order = orders.permutation(MASK.size)
        moved = (values.ravel()[order].reshape(MASK.shape) for values in (MASK, PICTURE))
        each.append(score(loss, accuracy, *moved, 2.0))
    expected = {name: np.mean([one[name] for one in each]) for name in each[0]}
    assert found == {name: pytest.approx(value) for name, value in expected.items()}
    own = score(loss, accuracy, MASK, PICTURE, 2.0)["accuracy_gap"]
    assert share == pytest.approx((1 + sum(one["accuracy_gap"] >= own for one in each)) / 41)
    assert shuffled_scores(loss, np.where(PICTURE, 0.9, 0.1), MASK, PICTURE, 2.0, count=99)[1] == 0.01


def test_a_gap_s_error_is_that_of_drawing_other_images() -> None:
    """Against gaps of images drawn anew, with replacement; images beyond the last do not count."""
    rng = np.random.default_rng(4)
    whites, blacks = (MASK == 1).sum(), (MASK == -1).sum()
    white, black = rng.binomial(whites, 0.8, 400), rng.binomial(blacks, 0.3, 400)
    gaps = white / whites - black / blacks
    drawn = [gaps[rng.integers(0, 400, 400)].mean() for _ in range(4000)]
    padded = [np.append(values, [-1, -1]) for values in (white, black)]
    assert gap_error(*padded, MASK) == gap_error(white, black, MASK) == pytest.approx(np.std(drawn), rel=0.1)
    assert np.isnan(gap_error(white[:1], black[:1], MASK))


STAGES, SPLITS = ["untrained", "trained"], ["train", "test"]


def write_run(folder: Path, network: str, protocols: list[str], seed: int) -> tuple[Path, Path]:
    """Surface and history of a run whose accuracy differs by stage, split, protocol and seed; padded by two half pixels."""
    rows, columns = (np.arange(-2, 2 * side) / 2 for side in MASK.shape)
    shown = PICTURE[np.clip(np.ceil(rows).astype(int), 0, 11)][:, np.clip(np.ceil(columns).astype(int), 0, 8)]
    each = np.arange(4 * len(protocols)).reshape(2, 2, len(protocols), 1, 1) / 100 + seed / 1000
    correct = np.tile([3, 5, 0], (2, 2, len(protocols), 1)).astype(np.int32)
    variables = {
        **{name: ((name,), values) for name, values in (("stage", STAGES), ("split", SPLITS), ("protocol", protocols))},
        **{"row": (("row",), rows), "column": (("column",), columns)},
        "loss": (("stage", "split", "protocol", "row", "column"), np.where(shown, 0.5, 5.0) + 0 * each),
        "accuracy": (("stage", "split", "protocol", "row", "column"), np.where(shown, 0.5, 0.1) + each * shown),
        "mask": (("mask_row", "mask_column"), MASK),
        "image_passes": (("stage",), [0, 1000 + seed]),
        **{f"{colour}_correct": (("stage", "split", "protocol", "image"), correct) for colour in ("white", "black")},
        "images": (("split", "image"), np.zeros((2, 3), np.int64)),
    }
    made_by = {
        **{"weights": 10, "plane_bytes": 124, "training_bytes": 500},
        "dataset": {"name": "d", "label": "Data", "checksum": "0"},
        "mask": {"name": "m", "kind": "random_square", "probability": 0.5},
        "network": {"name": network, "kind": "conv"},
        "training": {"recipe": "fast", "tau": 4.0},
        "seed": seed,
    }
    surface, history = folder / f"{network}{seed}.nc", folder / f"{network}{seed}.csv"
    save_labelled(surface, variables, {**made_by, "image_passes": 1000 + seed, "surface": {}})
    save_table(
        history, pd.DataFrame({"update": [1, 2], "image_passes": [500, 1000 + seed], "seconds": [1.5, 3.0 + seed]}), made_by
    )
    return surface, history


def run_job(folder: Path, monkeypatch: pytest.MonkeyPatch, root: Path, surfaces, histories, studies, parts=()) -> None:
    """scripts/score_surfaces.py with these files."""
    monkeypatch.chdir(folder)
    files = ["--surfaces", *map(str, surfaces), "--histories", *map(str, histories), "--studies", json.dumps(studies)]
    files += ["--parts", *parts]
    monkeypatch.setattr(sys, "argv", ["score_surfaces.py", *files, "--scores", "scores.csv", "--study", "study.csv"])
    runpy.run_path(str(root / "scripts/score_surfaces.py"), run_name="__main__")


def test_the_job_scores_every_surface_and_sums_up_the_studies(tmp_path: Path, monkeypatch, root: Path) -> None:
    runs = [
        ("plain", ["none"], 0),
        ("plain", ["none"], 1),
        ("norm", ["batch", "identity"], 0),
        ("norm", ["batch", "identity"], 1),
    ]
    files = [write_run(tmp_path, *run) for run in runs]
    pair = {"network": "norm", "against": "plain", "bn_protocol": "batch", "claims": "batch_norm"}
    study = {"name": "s", "dataset": "d", "networks": ["plain", "norm"], "runs": [["m", 0], ["m", 1]], "comparisons": [pair]}
    study["planned"] = 2
    surfaces, histories = zip(*files, strict=True)
    run_job(tmp_path, monkeypatch, root, surfaces, histories[::-1], [study])
    scores = load_table("scores.csv")
    keys = ["network", "seed", "split", "bn_protocol", "control"]
    assert len(scores) == 2 * (1 + 2) * 2 * 3 and not scores.duplicated(keys).any()
    found = scores.set_index(keys).sort_index().loc[("norm", 1, "test", "identity")]
    assert found.loc["trained", "accuracy_gap"] == pytest.approx(0.4 + 0.07 + 0.001)
    assert found.loc["untrained", "accuracy_gap"] == pytest.approx(0.4 + 0.03 + 0.001)
    assert found.loc["trained", "auc"] == found.loc["untrained", "auc"] == 1.0 > 0.55 > found.loc["shuffled", "auc"]
    assert found["train_seconds"].to_dict() == {"trained": 4.0, "shuffled": 4.0, "untrained": 0.0}
    assert found["image_passes"].to_dict() == {"trained": 1001, "shuffled": 1001, "untrained": 0}
    assert set(scores["probability"]) == {0.5} and set(scores["dataset_label"]) == {"Data"}
    assert set(scores.loc[scores["control"] != "shuffled", "objective"]) == {0.5 - 4.0}
    assert set(scores["trained_pixels"]) == {int((MASK != 0).sum())}
    assert scores[scores["split"] == "test"]["train_correlation"].tolist() == pytest.approx([1.0] * (len(scores) // 2))
    assert scores[scores["split"] == "train"]["train_correlation"].isna().all()
    table = load_table("study.csv")
    last = (table["at"] == "passes") & (table["image_passes"] > 0) & (table["probability"] == "0.5")
    table = table[last & table["against"].notna()].set_index(["bn_protocol", "network", "quantity"])
    assert set(table["study"]) == {"s"} and set(table["runs"]) == {2}
    assert table.loc[("identity", "norm", "accuracy_gap"), "mean"] == pytest.approx(0.07 - 0.03)
    assert read_record("study.csv")["made_by"]["studies"] == [study]
    assert set(read_record("study.csv")["inputs"]) >= {file.name for pair in files for file in pair}


def test_a_scale_without_studies_has_an_empty_table(tmp_path: Path, monkeypatch, root: Path) -> None:
    surface, history = write_run(tmp_path, "plain", ["none"], 0)
    run_job(tmp_path, monkeypatch, root, [surface], [history], [])
    assert load_table("study.csv").empty and len(load_table("scores.csv")) == 6


def test_a_run_without_its_history_is_named(tmp_path: Path, monkeypatch, root: Path) -> None:
    (surface, _), (_, other) = (write_run(tmp_path, "plain", ["none"], seed) for seed in (0, 1))
    with pytest.raises(SystemExit, match="error: --histories: found none of d/m/plain/0, whose surface is .*plain0.nc"):
        run_job(tmp_path, monkeypatch, root, [surface], [other], [])


def part(folder: Path, monkeypatch, root: Path, number: int) -> tuple[list, list, dict]:
    """Surfaces and histories of one square on two networks, and what a study asks of them."""
    files = [write_run(folder, name, protocols, number) for name, protocols in (("plain", ["none"]), ("norm", ["batch"]))]
    surfaces, histories = zip(*files, strict=True)
    pair = {"network": "norm", "against": "plain", "bn_protocol": "batch", "claims": None}
    asked = {"training": {"recipe": "fast", "tau": 4.0}, "surface": {}, "pixels": None, "dataset": {"name": "d"}}
    study = {"name": "s", "dataset": "d", "networks": ["plain", "norm"], "comparisons": [pair], "planned": 2, "scores": []}
    study["asked"] = {name: asked | {"network": {"name": name, "kind": "conv"}} for name in study["networks"]}
    return list(surfaces), list(histories), study | {"runs": [["m", number]]}


def test_a_study_in_parts_is_the_study_in_one(tmp_path: Path, monkeypatch, root: Path) -> None:
    """One run's scores and another's squares make the tables that one run of both makes; a run with other settings is named."""
    first, second = (part(tmp_path, monkeypatch, root, number) for number in (0, 1))
    both = {**first[2], "runs": [["m", 0], ["m", 1]]}
    run_job(tmp_path, monkeypatch, root, first[0] + second[0], first[1] + second[1], [both])
    whole = [load_table(name) for name in ("scores.csv", "study.csv")]
    run_job(tmp_path, monkeypatch, root, *first[:2], [first[2]])
    for suffix in ("", ".json"):
        (tmp_path / f"scores.csv{suffix}").rename(tmp_path / f"part.csv{suffix}")
    both["scores"] = ["part.csv"]
    run_job(tmp_path, monkeypatch, root, *second[:2], [both], parts=["part.csv"])
    for table, name in zip(whole, ("scores.csv", "study.csv"), strict=True):
        pd.testing.assert_frame_equal(load_table(name), table)
    settings = read_record("scores.csv")["made_by"]["settings"]
    assert set(settings) == {f"d/m/{name}/{seed}" for name in ("plain", "norm") for seed in (0, 1)}
    both["asked"]["norm"]["training"] = {"recipe": "fast", "tau": 9.0}
    with pytest.raises(SystemExit, match=r"part.csv: d/m/norm/0 has other settings: training.tau: 4.0, here 9.0"):
        run_job(tmp_path, monkeypatch, root, *second[:2], [both], parts=["part.csv"])
