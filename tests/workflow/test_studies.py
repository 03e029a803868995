"""Studies of a user's own, from the documentation's example to its verdicts and figures; and a study that grows in parts."""

import re
import shutil
from pathlib import Path

import pandas as pd
import yaml
from conftest import ROOT, dry_run, listed_jobs, succeeds

TINY = {"training": {"updates": 4, "white_pixels": 4, "black_pixels": 4, "origin_updates": 2}, "snapshots": 1, "size": [8, 8]}
OVER_SMOKE = ("--configfile", "config/smoke.yaml", "mine.yaml")
ALONE = {name: None for name in ("fig1_landscapes", "fig2_method", "fig3_batchnorm", "fig4_fashion_mnist", "fig5_cifar10")}


def example() -> dict:
    """The study and the figures of docs/extending.md."""
    text = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
    (block,) = (block for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if "small_squares:" in block)
    return yaml.safe_load(block)


def write(folder: Path, config: dict) -> None:
    (folder / "mine.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")


def test_a_study_of_one_s_own_beside_the_scale_s_gets_its_own_verdicts_and_figures(finished: Path) -> None:
    """It shares its networks with the scale's study, names its first network last, and has probabilities that lie close."""
    config = example()
    study = config["studies"]["small_squares"]
    study |= TINY | {"networks": ["study_batchnorm", "study_plain"], "probabilities": [0.501, 0.504], "squares": 1}
    study["surface"] |= {"images": 20, "calibration_images": 32, "splits": ["validation", "test"], "test_images": 40}
    write(finished, config)
    output = succeeds(finished, "--cores", "2", *OVER_SMOKE)
    planned = listed_jobs(output)
    assert (
        planned["train_plane"] == planned["evaluate_pixels"] == 4 and planned["small_squares"] == planned["small_budget"] == 1
    )
    claims = pd.read_csv(finished / "results/smoke/claims.csv", keep_default_na=False)
    narrows = claims[claims["claim of the paper"] == "Batch norm narrows the gap"].set_index("study")
    assert set(narrows.index) == {"batch_norm_study", "small_squares"}
    assert narrows["tested on"].str.startswith("study_batchnorm minus study_plain").all()
    scores = pd.read_csv(finished / "results/smoke/scores.csv")
    own = scores[(scores["study"] == "small_squares") & (scores["control"] == "trained")]
    assert own["seed"].nunique() == 2 and set(own.loc[own["split"] == "test", "images"]) == {40}
    assert set(own.loc[own["split"] == "validation", "images"]) == {20} and (own["gap_error"] > 0).any()
    difference = pd.read_csv(finished / "results/smoke/study.csv").query(
        "study == 'small_squares' and against == 'study_plain' and quantity == 'accuracy_gap' and probability == 'all'"
    )
    gaps = own[own["split"] == "test"].pivot(index="mask", columns="network", values="accuracy_gap")
    expected = (gaps["study_batchnorm"] - gaps["study_plain"]).mean()
    last = difference[difference["at"] == "passes"].sort_values("image_passes").iloc[-1]
    assert abs(last["mean"] - expected) < 1e-12 and "objective" in set(difference["at"])


def test_a_study_grows_in_parts(finished: Path) -> None:
    study = {"probabilities": [0.5], "squares": 2, "first": 3, "part": [3]}
    base = {"studies": {"batch_norm_study": study}, "figures": ALONE, "scale": "grown", "experiments": {}}
    write(finished, base)
    succeeds(finished, "--cores", "2", *OVER_SMOKE, "--", "results/grown/scores.csv")
    for suffix in ("csv", "csv.json"):
        shutil.move(finished / f"results/grown/scores.{suffix}", finished / f"part.{suffix}")
    study |= {"part": None, "scores": ["part.csv"]}
    write(finished, base)
    assert listed_jobs(dry_run(finished, *OVER_SMOKE))["train_plane"] == 2
    succeeds(finished, "--cores", "2", *OVER_SMOKE)
    claims = pd.read_csv(finished / "results/grown/claims.csv", keep_default_na=False)
    assert (
        claims["tested on"].str.contains("p = 0.5, 2 pairs").any()
        and not claims["tested on"].str.contains("squares are there").any()
    )
    assert (finished / "figures/grown/fig6_fill_probability.png").exists()
    study["scores"] = ["part.csv", "part.csv"]
    write(finished, base)
    said = dry_run(finished, *OVER_SMOKE, ends_well=False)
    assert "scores[1]: part.csv has batch_norm_study_p50_3, which part.csv has already; no square counts twice" in said
