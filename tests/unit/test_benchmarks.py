"""The benchmarks: the plain loop computes what the engine computes, and passes, operations and bytes are counted right."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from benchmarks_bad_input import BAD_BENCHMARKS
from configs import edited, layered, runs_of
from helpers import NETWORKS, run_program
from lib.plain import CLASSES, flops, plain_plane_gradient, plain_points, stock_module
from lib.runs import BenchmarkRuns
from losspatterns.analysis.scores import auc
from losspatterns.cpu import SWITCH, switched_on
from losspatterns.data.dataset_file import Dataset
from losspatterns.errors import InputError
from losspatterns.method.images import channels_first
from losspatterns.method.origin import warm_origin
from losspatterns.method.plane import Plane
from losspatterns.method.surface import evaluate_points
from losspatterns.method.training import log_spaced
from losspatterns.method.update import plane_gradient
from losspatterns.networks.flat import FlatNetwork
from losspatterns.settings import ConvNetwork, ModuleNetwork, Probe, Recipe
from quality import follow, probed_pixels, weigh, within_budget
from speed import NO_KERNELS, OURS, PLAIN, Case, contestants, in_turn, random_plane, speeds
from summarise import crossing, passes_to_gap

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
SHAPE = (2, 9, 11)
CONV = [name for name, settings in NETWORKS.items() if settings.kind == "conv"]
MASK = np.array([[1, 1, -1, 0], [1, -1, -1, 0], [1, 1, -1, -1]], np.int8)
CLOCK = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


def setting(name: str) -> tuple[FlatNetwork, torch.nn.Module, Plane, torch.Tensor]:
    """Engine and stock module of a network, and seven pixels of a plane whose batch norm parameters are off their zeros."""
    network, plane, coordinates = random_plane(Case(NETWORKS[name], SHAPE, 7, 5), CPU)
    torch.manual_seed(3)
    for tensor in plane.vectors:
        tensor += 0.05 * torch.randn(network.size)
    return network, stock_module(NETWORKS[name], SHAPE), plane, coordinates


@pytest.mark.parametrize("name", CONV)
def test_the_plain_loop_finds_the_engine_s_gradient(name: str) -> None:
    network, module, plane, coordinates = setting(name)
    images, labels = torch.randn(7, 5, *SHAPE), torch.randint(CLASSES, (7, 5))
    signs, factors = torch.tensor([1.0, -1, 1, -1, -1, 1, -1]), torch.linspace(0.5, 2, 7)
    arguments = plane, coordinates, signs, factors, images, labels, 2.4
    found = plane_gradient(network, *arguments, 4).vectors, plain_plane_gradient(module, *arguments)
    for ours, plain in zip(*found, strict=True):  # each of their numbers is a sum of some 1,000 products, each rounded at 6e-8
        assert float(plain.norm()) > 0
        assert float((ours - plain).norm()) <= 1e-4 * float(plain.norm())


@pytest.mark.parametrize("name", CONV)
def test_the_plain_loop_evaluates_the_engine_s_points(name: str) -> None:
    network, module, plane, coordinates = setting(name)
    images, labels = torch.randn(20, *SHAPE), torch.randint(CLASSES, (20,))
    protocol = "batch" if NETWORKS[name].batch_norm else "none"
    ours = evaluate_points(network, plane, coordinates, images, labels, protocol)
    plain = plain_points(module, plane, coordinates, images, labels)
    np.testing.assert_allclose(ours[0], plain[0], rtol=1e-4)
    np.testing.assert_allclose(ours[1], plain[1])


def test_operations_of_a_pass_are_those_counted_by_hand() -> None:
    """Forward, gradient of the weights, and gradient of the input but for the first layer: 2 operations a product."""
    dense = ConvNetwork(channels=(), dense=(16,))
    assert flops(dense, (1, 8, 8), True) == 2 * (2 * 64 * 16 + 3 * 16 * CLASSES)
    assert flops(dense, (1, 8, 8), False) == 2 * (64 * 16 + 16 * CLASSES)
    conv = ConvNetwork(channels=(4, 6), pooled_size=2)
    layers = 2 * (9 * 1 * 4) * 64, 3 * (9 * 4 * 6) * 16, 3 * (6 * 4) * CLASSES
    assert flops(conv, (1, 8, 8), True) == 2 * sum(layers)


def test_measurements_are_taken_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("speed.MIN_SECONDS", 0.0)
    calls: list[str] = []
    times = in_turn({name: lambda name=name: calls.append(name) for name in "abc"}, 4, CPU)
    assert "".join(calls) == 5 * "abc"  # the first to warm up
    assert all(values.shape == (4,) and (values > 0).all() for values in times.values())
    monkeypatch.setattr("speed.LIMIT_SECONDS", 0.0)
    assert all(values.shape == (1,) for values in in_turn({"a": lambda: None}, 4, CPU).values())


@pytest.mark.parametrize("training", [True, False])
def test_a_row_of_the_speeds_agrees_with_itself(training: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("speed.MIN_SECONDS", 0.01)
    monkeypatch.setenv(SWITCH, "on")
    rows = speeds(Case(ConvNetwork(channels=(4,), dense=(8,)), SHAPE, 3, 2), training, 1, 1, CPU)
    assert [row["engine"] for row in rows] == [OURS, PLAIN, NO_KERNELS]
    for row in rows:
        assert row["low"] == row["passes_per_second"] == row["high"] > 0 and (row["pixels"], row["images"]) == (3, 2)
        assert row["speedup_over_plain"] == pytest.approx(row["passes_per_second"] / rows[1]["passes_per_second"])
        gflop = row["passes_per_second"] * row["mflop"] / 1e3
        assert row["share_of_matmul"] == pytest.approx(gflop / row["matmul_gflop_per_second"])


@pytest.mark.parametrize("training", [True, False])
def test_the_contestant_without_kernels_switches_them_off_and_on_again(training: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "on")
    case, seen = Case(ConvNetwork(channels=(4,), batch_norm=True), SHAPE, 3, 2), []
    for name in ("plane_gradient", "evaluate_points"):
        monkeypatch.setattr(f"speed.{name}", lambda *arguments: seen.append(switched_on()))
    work = contestants(case, training, CPU)
    for name in (OURS, NO_KERNELS, OURS):
        work[name]()
    assert seen == [True, False, True]
    monkeypatch.setenv(SWITCH, "off")
    assert list(contestants(case, training, CPU)) == [OURS, PLAIN]


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


def test_a_followed_training_counts_the_origin_s_passes_and_sees_the_gap_grow(dataset: Dataset) -> None:
    network, probe = ConvNetwork(channels=(), dense=(16, 16)), Probe(checkpoints=3, images=100, pixels=50)
    rows, training = follow("toy", network, recipe(), probe, MASK, dataset, 0, CPU)
    curve = pd.DataFrame(rows)
    assert list(curve.columns) == ["image_passes", "seconds", "gap", "auc", "accuracy_white", "accuracy_black"]
    assert curve.image_passes.tolist() == [20 * 16 + updates * 6 * 16 for updates in (0, 10, 40, 160)]
    assert curve.seconds.is_monotonic_increasing and curve.seconds[0] > 0
    assert curve.gap.iloc[-1] > curve.gap.iloc[0] + 0.2 and curve.auc.iloc[-1] > 0.9
    np.testing.assert_allclose(curve.gap, curve.accuracy_white - curve.accuracy_black)
    assert training.history[-1]["image_passes"] == 160 * 6 * 16


def test_a_plane_is_three_vectors_and_a_step_and_the_state_of_its_training_both_moments_too(dataset: Dataset) -> None:
    network = ConvNetwork(channels=(), dense=(512,))
    n = 64 * 512 + 512 + 512 * 4 + 4
    _, training = follow("toy", network, recipe(updates=2), Probe(checkpoints=2, images=8, pixels=4), MASK, dataset, 0, CPU)
    found, pixels = weigh(training, MASK), int(np.abs(MASK).sum())
    assert (found["weights"], found["pixels"]) == (n, pixels)
    assert (found["plane_bytes"], found["models_bytes"]) == (4 * (3 * n + 1), 4 * pixels * n)
    assert 3 * 4 * (3 * n + 1) < found["state_bytes"] < 3 * 4 * (3 * n + 1) + 30_000
    assert found["seconds_per_save"] > 0


def test_a_user_s_module_is_watched_with_the_buffers_it_is_trained_with(dataset: Dataset, tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(
        """
import torch

class Mixed(torch.nn.Module):
    def __init__(self, pixels, classes):
        super().__init__()
        self.register_buffer("mix", torch.randn(pixels, 12))
        self.out = torch.nn.Linear(12, classes)

    def forward(self, images):
        return self.out(torch.tanh(images.flatten(1) @ self.mix))
""",
        encoding="utf-8",
    )
    network = ModuleNetwork(module=f"{file}:Mixed", arguments={"pixels": 64, "classes": 4})
    short, probe = recipe(updates=2), Probe(checkpoints=2, images=200, pixels=50)
    torch.manual_seed(77)  # not the run's: what the trained network drew came from seed 3
    first = follow("toy", network, short, probe, MASK, dataset, 3, CPU)[0][0]
    origin = warm_origin(network, short, dataset.x_train, dataset.y_train, 4, 3, CPU)
    pixels, colours = probed_pixels(MASK, 50, 0)
    inputs = origin.scaling(channels_first(dataset.x_test).float() / 255)
    plane, labels = origin.plane(short.step, MASK.shape), torch.from_numpy(dataset.y_test)
    loss, accuracy = evaluate_points(origin.network, plane, torch.from_numpy(pixels), inputs, labels, "none")
    assert (first["auc"], first["accuracy_white"]) == (auc(-loss, colours > 0), accuracy[colours > 0].mean())
    assert first["accuracy_black"] == accuracy[colours < 0].mean() and accuracy.std() > 0


# What the config asks for


def benchmarks_of(*layers: dict[str, Any]) -> BenchmarkRuns:
    """The benchmarks of the smoke scale with these changes."""
    return BenchmarkRuns(runs_of(layered("smoke", *layers)))


@pytest.mark.parametrize(("path", "value", "message"), BAD_BENCHMARKS)
def test_what_is_wrong_below_benchmarks_is_told_by_its_key(path: str, value: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        BenchmarkRuns(runs_of(edited(path, value)))


def test_names_are_given_once() -> None:
    runs = layered()["benchmarks"]["quality"]["runs"]
    twice = [*runs, runs[0] | {"network": "study_plain"}]
    with pytest.raises(InputError, match=r"quality\.runs\[1\]\.variants\.fast: trains corner/fast a second time"):
        benchmarks_of({"benchmarks": {"quality": {"runs": twice}}})
    with pytest.raises(InputError, match=r"figures\.benchmarks: this is the name of the benchmarks' own figure"):
        benchmarks_of({"figures": {"benchmarks": {"kind": "method", "experiment": "fashion_pictures", "mask": "heart"}}})


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
    assert other.quality == made.quality and other.speed_spec() != made.speed_spec()


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
