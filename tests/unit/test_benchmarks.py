"""The benchmarks: the plain loop computes what the engine computes, and passes, operations and bytes are counted right."""

import itertools
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import quality
import speed
import torch
from configs import edited, layered, runs_of
from helpers import NETWORKS, run_program
from lib.runs import BenchmarkRuns
from losspatterns.analysis.scores import auc
from losspatterns.cpu import SWITCH, switched_on
from losspatterns.data.dataset_file import Dataset
from losspatterns.errors import InputError
from losspatterns.method.images import channels_first
from losspatterns.method.origin import initialisations, warm_origin
from losspatterns.method.settings import Recipe
from losspatterns.method.surface import evaluate_points
from losspatterns.method.training import log_spaced
from losspatterns.networks.settings import ConvNetwork, parse_network
from quality import follow, probed_pixels, weigh, within_budget
from speed import CLASSES, MATMUL, NO_KERNELS, OURS, PLAIN, contestants, flops, in_turn, speeds
from summarise import crossing, passes_to_gap

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
SHAPE = (2, 9, 11)
MASK = np.array([[1, 1, -1, 0], [1, -1, -1, 0], [1, 1, -1, -1]], np.int8)
CLOCK = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", [name for name, settings in NETWORKS.items() if settings.kind == "conv"])
def test_the_plain_loop_finds_what_the_engine_finds(name: str, training: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gradient of seven pixels, or seven points; batch norm's parameters are off their zeros."""

    def moved(*arguments: Any) -> list[Any]:
        networks = initialisations(*arguments)
        for parameter in itertools.chain(*(network.parameters for network in networks)):
            parameter.data += 0.05 * torch.randn(parameter.shape)
        return networks

    monkeypatch.setattr(speed, "initialisations", moved)
    torch.manual_seed(3)
    work = contestants(NETWORKS[name], SHAPE, 7, 5, training, CPU)
    if training:  # each of their numbers is a sum of some 1,000 products, each rounded at 6e-8
        for ours, plain in zip(work[OURS]().vectors, work[PLAIN](), strict=True):
            assert 0 < float((ours - plain).norm()) <= 1e-4 * float(plain.norm())
    else:
        np.testing.assert_allclose(work[OURS](), work[PLAIN](), rtol=1e-4)


@pytest.mark.parametrize("training", [True, False])
def test_a_row_of_the_speeds_agrees_with_itself(training: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Operations: forward, gradient of the weights, and of the input but for the first layer, 2 a product."""
    monkeypatch.setattr(speed, "MIN_SECONDS", 0.01)
    monkeypatch.setenv(SWITCH, "on")
    network = ConvNetwork(channels=(4, 6), dense=(16,), pooled_size=2)
    work = contestants(network, (1, 8, 8), 3, 2, training, CPU)
    rows = speeds(work, 6, flops(network, (1, 8, 8), training), 1, 1, CPU)
    assert [row["engine"] for row in rows] == [OURS, PLAIN, NO_KERNELS]
    first, *others = 9 * 1 * 4 * 64, 9 * 4 * 6 * 16, 6 * 4 * 16, 16 * CLASSES
    for row in rows:
        assert row["mflop"] == (2 * (2 * first + 3 * sum(others)) if training else 2 * (first + sum(others))) / 1e6
        assert row["low"] == row["passes_per_second"] == row["high"] > 0
        assert row["speedup_over_plain"] == pytest.approx(row["passes_per_second"] / rows[1]["passes_per_second"])
        gflop = row["passes_per_second"] * row["mflop"] / 1e3
        assert row["share_of_matmul"] == pytest.approx(gflop / row["matmul_gflop_per_second"])


def test_measurements_are_taken_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "MIN_SECONDS", 1e-4)
    calls: list[str] = []
    names = ["a", "b", MATMUL]
    times = in_turn({name: lambda name=name: calls.append(name) for name in names}, 4, 1)
    assert [name for name, _ in itertools.groupby(calls)] == 4 * names
    assert all(values.shape == (4,) and (values > 0).all() for values in times.values())
    monkeypatch.setattr(speed, "LIMIT_SECONDS", 0.0)
    assert in_turn({MATMUL: lambda: None}, 4, 1)[MATMUL].shape == (1,)


@pytest.mark.parametrize("training", [True, False])
def test_the_contestant_without_kernels_switches_them_off_and_on_again(training: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "on")
    case, seen = (ConvNetwork(channels=(4,), batch_norm=True), SHAPE, 3, 2, training, CPU), []
    for name in ("plane_gradient", "evaluate_points"):
        monkeypatch.setattr(speed, name, lambda *arguments: seen.append(switched_on()))
    work = contestants(*case)
    for name in (OURS, NO_KERNELS, OURS):
        work[name]()
    assert seen == [True, False, True]
    monkeypatch.setenv(SWITCH, "off")
    assert list(contestants(*case)) == [OURS, PLAIN]


def recipe(**changes: Any) -> Recipe:
    """A short training of a few pixels on few images."""
    short = {"updates": 160, "white_pixels": 3, "black_pixels": 3, "images": 16, "shared_images": True, "step": 0.2}
    more = {"optimizer": "adam", "origin_updates": 20, "origin_images": 16, "learning_rate": 0.003, "tau": 4.0}
    return runs_of(layered()).settings.recipes["paper"].model_copy(update={**short, **more, **changes})


def test_a_crossing_lies_between_checkpoints_or_is_not_reached() -> None:
    cost, gap = np.array([100.0, 200.0, 400.0, 800.0]), np.array([0.1, 0.25, 0.2, 0.6])
    assert crossing(cost, gap, 0.2) == pytest.approx(100 + 100 * 0.1 / 0.15)  # the first time, though it falls again
    assert crossing(cost, gap, 0.3) == pytest.approx(400 + 400 * 0.1 / 0.4)
    assert crossing(cost, gap, 0.05) == 100 and crossing(cost, gap, 0.6) == 800
    assert np.isnan(crossing(cost, gap, 0.61))


def test_costs_of_a_gap_count_the_seeds_that_reach_it() -> None:
    curves = pd.DataFrame(
        [
            {"mask": "m", "variant": "v", "seed": seed, "image_passes": passes, "seconds": passes / 10, "gap": passes / slope}
            for seed, slope in ((0, 1000), (1, 2000), (2, 4000))
            for passes in (800, 0, 400)  # in any order
        ]
    )
    table = passes_to_gap(curves).set_index("gap")
    assert table.seeds.tolist() == [3, 3, 3] and table.seeds_reached.tolist() == [3, 2, 2]
    assert table.loc[0.2, "image_passes_mean_of_reached"] == pytest.approx((200 + 400 + 800) / 3)
    assert table.loc[0.3, "image_passes_mean_of_reached"] == pytest.approx(450)
    assert table.loc[0.4, "image_passes_max_of_reached"] == pytest.approx(800)
    assert table.loc[0.2, "seconds_min_of_reached"] == pytest.approx(20)
    dearer = curves.assign(variant="dearer", image_passes=curves.image_passes + 1)
    assert passes_to_gap(pd.concat([dearer, curves])).variant.unique().tolist() == ["dearer", "v"]  # in the config's order
    never = passes_to_gap(curves, [0.9]).iloc[0]
    assert (never.seeds, never.seeds_reached) == (3, 0) and np.isnan(never.image_passes_mean_of_reached)


def test_checkpoints_end_with_the_training_and_fit_short_ones() -> None:
    assert log_spaced(800, 5) == [50, 100, 200, 400, 800]
    assert log_spaced(1, 8) == [1] and log_spaced(3, 8) == [1, 2, 3]


def test_updates_follow_from_the_budget_of_passes() -> None:
    keys = {name: value for name, value in recipe().model_dump().items() if name != "updates"}
    assert within_budget(keys, 1000, MASK).updates == 1000 // (6 * 16)
    assert within_budget({**keys, "white_pixels": 50}, 1000, MASK).updates == 1000 // (8 * 16)  # the mask has 5 white pixels
    assert within_budget(keys, 1, MASK).updates == 1


def test_probed_pixels_are_trained_ones_half_of_each_colour() -> None:
    mask = np.array([[1, 1, 1, 1, 0], [-1, -1, -1, 0, 0]], np.int8)
    pixels, colours = probed_pixels(mask, 4, 0)
    assert colours.tolist() == [1, 1, -1, -1] and (mask[tuple(pixels.T)] == colours).all()
    assert len({tuple(pixel) for pixel in pixels.tolist()}) == 4
    assert len(probed_pixels(mask, 100, 0)[0]) == 7
    np.testing.assert_array_equal(pixels, probed_pixels(mask, 4, 0)[0])


@pytest.fixture
def dataset() -> Dataset:
    """Four classes of 8 x 8 images, told apart by which quarter is bright."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 200)
    images = rng.integers(0, 120, (200, 8, 8, 1), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[label // 2 * 4 :, label % 2 * 4 :][:4, :4] += 100
    return Dataset(*(images, labels) * 3, ["a", "b", "c", "d"], "toy", "toy", "none", "")


def spec(network: dict[str, Any], probe: dict[str, int], seed: int = 0, **changes: Any) -> dict[str, Any]:
    """Of a followed training, with passes for the recipe's updates."""
    found = recipe(**changes)
    training = found.model_dump(mode="json", exclude={"updates"})
    names = {"mask": "toy", "variant": "own", "seed": seed, "network": {"name": "toy", **network}}
    return {**names, "training": training, "passes": found.passes(found.updates), "probe": probe}


def test_a_followed_training_counts_the_origin_s_passes_and_sees_the_gap_grow(dataset: Dataset) -> None:
    followed = spec({"kind": "conv", "channels": [], "dense": [16, 16]}, {"checkpoints": 3, "images": 100, "pixels": 50})
    rows, training = follow(followed, MASK, dataset, CPU)
    curve = pd.DataFrame(rows)
    assert list(curve.columns) == ["image_passes", "seconds", "gap", "auc", "accuracy_white", "accuracy_black"]
    assert curve.image_passes.tolist() == [20 * 16 + updates * 6 * 16 for updates in (0, 10, 40, 160)]
    assert curve.seconds.is_monotonic_increasing and curve.seconds[0] > 0
    assert curve.gap.iloc[-1] > curve.gap.iloc[0] + 0.2 and curve.auc.iloc[-1] > 0.9
    np.testing.assert_allclose(curve.gap, curve.accuracy_white - curve.accuracy_black)
    assert training.history[-1]["image_passes"] == 160 * 6 * 16
    _, unwatched = follow(followed | {"probe": {"checkpoints": 2, "images": 1, "pixels": 2}}, MASK, dataset, CPU)
    assert torch.equal(training.parameters, unwatched.parameters)


def test_the_clock_of_a_training_counts_its_origin_and_no_watching(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each evaluation and each origin takes a day."""
    day, clock, days = 86400.0, time.perf_counter, []
    monkeypatch.setattr(time, "perf_counter", lambda: clock() + day * len(days))
    for name in ("evaluate_points", "warm_origin"):
        real = getattr(quality, name)
        monkeypatch.setattr(quality, name, lambda *given, real=real: (days.append(real), real(*given))[1])
    network = {"kind": "conv", "channels": [], "dense": [8]}
    rows, _ = follow(spec(network, {"checkpoints": 3, "images": 10, "pixels": 4}), MASK, dataset, CPU)
    assert len(days) == 2 + 4 and all(day < row["seconds"] < 2 * day for row in rows)


def test_a_plane_is_three_vectors_and_a_step_and_the_state_of_its_training_both_moments_too(dataset: Dataset) -> None:
    network = {"kind": "conv", "channels": [], "dense": [512]}
    n = 64 * 512 + 512 + 512 * 4 + 4
    _, training = follow(spec(network, {"checkpoints": 2, "images": 8, "pixels": 4}, updates=2), MASK, dataset, CPU)
    found, pixels = weigh(training, MASK), int(np.abs(MASK).sum())
    assert (found["weights"], found["pixels"]) == (n, pixels)
    assert (found["plane_bytes"], found["models_bytes"]) == (4 * (3 * n + 1), 4 * pixels * n)
    assert 3 * 4 * (3 * n + 1) < found["state_bytes"] < 3 * 4 * (3 * n + 1) + 30_000
    assert found["seconds_per_save"] > 0


def test_a_user_s_module_is_watched_with_the_buffers_it_is_trained_with(dataset: Dataset) -> None:
    network = {"kind": "module", "module": f"{ROOT}/tests/user_networks/networks.py:Frozen"}
    network["arguments"] = {"pixels": 64, "classes": 4}
    torch.manual_seed(77)  # not the run's: what the trained network drew came from seed 3
    first = follow(spec(network, {"checkpoints": 2, "images": 200, "pixels": 50}, 3, updates=2), MASK, dataset, CPU)[0][0]
    origin = warm_origin(parse_network("network", network), recipe(), dataset.x_train, dataset.y_train, 4, 3, CPU)
    pixels, colours = probed_pixels(MASK, 50, 0)
    inputs = origin.scaling(channels_first(dataset.x_test).float() / 255)
    plane, labels = origin.plane(recipe().step, MASK.shape), torch.from_numpy(dataset.y_test)
    loss, accuracy = evaluate_points(origin.network, plane, torch.from_numpy(pixels), inputs, labels, "none")
    assert (first["auc"], first["accuracy_white"]) == (auc(-loss, colours > 0), accuracy[colours > 0].mean())
    assert first["accuracy_black"] == accuracy[colours < 0].mean() and accuracy.std() > 0


# What the config asks for
RUN = "benchmarks/quality/runs/0"

BAD = [  # path, value, the line that tells it
    ("benchmarks/throughput/networks", ["resnet"], r"benchmarks\.throughput\.networks\[0\]: 'resnet' is of kind resnet"),
    ("benchmarks/throughput/networks", ["con"], r"benchmarks\.throughput\.networks\[0\]: 'con' is not in networks; known"),
    ("benchmarks/throughput/image_shape", [1, 1, 28], r"networks\.conv: images of 1 x 28 are too small for 1 pools"),
    ("benchmarks/quality/dataset", "svhn", r"benchmarks\.quality\.dataset: 'svhn' is not in datasets; known"),
    (f"{RUN}/masks", ["hart"], r"benchmarks\.quality\.runs\[0\]\.masks\[0\]: 'hart' is not in masks; known"),
    (f"{RUN}/network", "con", r"benchmarks\.quality\.runs\[0\]\.network: 'con' is not in networks; known"),
    (f"{RUN}/variants/fast/recipe", "fas", r"variants\.fast\.recipe: 'fas' is not in recipes; known"),
    (f"{RUN}/variants/fast/training/tauu", 1, r"variants\.fast\.training\.tauu: unknown key; allowed are"),
    (f"{RUN}/variants/fast/training/updates", 5, r"variants\.fast\.training\.updates: follows from .*passes"),
]


def benchmarks_of(*layers: dict[str, Any]) -> BenchmarkRuns:
    """The benchmarks of the smoke scale with these changes."""
    return BenchmarkRuns(runs_of(layered("smoke", *layers)))


@pytest.mark.parametrize(("path", "value", "message"), BAD)
def test_what_is_wrong_below_benchmarks_is_told_by_its_key(path: str, value: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        BenchmarkRuns(runs_of(edited(path, value)))


def test_names_are_given_once() -> None:
    runs = layered()["benchmarks"]["quality"]["runs"]
    twice = [*runs, runs[0] | {"network": "study_plain"}]
    with pytest.raises(InputError, match=r"quality\.runs\[1\]\.variants\.fast: trains corner/fast a second time"):
        benchmarks_of({"benchmarks": {"quality": {"runs": twice}}})
    figure = {"benchmarks": {"kind": "method", "experiment": "fashion_pictures", "mask": "heart"}}
    made = benchmarks_of({"figures": figure}).runs
    assert made.files.benchmarks_figure != made.files.figure.format(figure="benchmarks")


def test_a_mask_of_the_benchmarks_alone_is_enough_and_trains_no_plane() -> None:
    lonely = {"kind": "glyph", "character": "A", "size": [9, 9]}
    run = layered()["benchmarks"]["quality"]["runs"][0] | {"masks": ["corner", "lonely"]}
    made = benchmarks_of({"masks": {"lonely": lonely}, "benchmarks": {"quality": {"runs": [run]}}})
    assert made.runs.runs == benchmarks_of().runs.runs
    assert {run["mask"] for run in made.quality.values()} == {"corner", "lonely"}
    assert "results/smoke/benchmarks/quality/lonely/fast/seed0.csv" in made.curves()


def test_a_variant_is_its_recipe_with_its_changes_and_nothing_else_decides_a_curve() -> None:
    made = benchmarks_of()
    run = json.loads(json.dumps(made.quality["corner/fast/seed0"]))
    expected = made.runs.settings.recipes["fast"].model_dump(mode="json") | {"origin_updates": 20, "step": 0.3}
    assert run["training"] == {name: value for name, value in expected.items() if name != "updates"}
    assert run["probe"] == {"checkpoints": 3, "images": 50, "pixels": 40, "seed": 0} and run["passes"] == 5000
    other = benchmarks_of({"recipes": {"fast": {"updates": 7}}, "benchmarks": {"throughput": {"points": 9}}})
    assert other.quality == made.quality and other.speed != made.speed


def test_speed_is_measured_at_sixteen_images_in_every_scale() -> None:
    for scale in ("default", "smoke", "hour", "paper"):
        made = BenchmarkRuns(runs_of(layered(scale)))
        assert 16 in made.settings.throughput.images and made.quality


def test_planning_imports_nothing_heavy() -> None:
    program = f"""
import sys
sys.path.insert(0, {str(ROOT / "benchmarks")!r})
from lib.runs import BenchmarkRuns
print([name for name in ("matplotlib", "pandas", "scipy", "torch", "xarray", "numba", "PIL") if name in sys.modules])
"""
    assert run_program(program).strip() == "[]"


# Where the time went


def clock(seconds: float, rss: str, cpu: str) -> str:
    """One of Snakemake's clock files."""
    return f"{CLOCK}{seconds}\t0:00:01\t{rss}\t1\t1\t1\t0\t0\t50\t{cpu}\n"


def test_the_stages_of_a_scale_are_summed_by_rule(tmp_path: Path) -> None:
    files = {
        "train_plane/d/heart/conv/seed0": clock(10.0, "500.5", "8.0"),
        "train_plane/d/star/conv/seed0": clock(20.0, "400.0", "16.0"),
        "score_surfaces": clock(6.0, "NA", "NA"),
        "benchmark_speed": clock(900.0, "1", "900.0"),
        "benchmarks": clock(900.0, "1", "900.0"),
    }
    for name, text in files.items():
        path = tmp_path / "results/tiny/benchmarks" / f"{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    command = [sys.executable, ROOT / "benchmarks/stages.py", "results/tiny", "--output", "stages.csv"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[2:] == [
        "| `train_plane` | 2 | 24 | 80.0% | 15.0 | 20.0 | 500 |",
        "| `score_surfaces` | 1 | 6 | 20.0% | 6.0 | 6.0 | - |",
        "| all | 3 | 30 | | | | |",
    ]
    table = pd.read_csv(tmp_path / "stages.csv").set_index("stage")
    assert table.loc["train_plane"].to_dict() == pytest.approx(
        {"jobs": 2, "core_seconds": 24, "share": 0.8, "mean": 15, "longest": 20, "largest_mb": 500.5}
    )
    command[2] = "results"
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr.startswith("error: results: no clock files") and done.stderr.count("\n") == 1
