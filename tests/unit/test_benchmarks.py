"""The benchmarks: the plain loop computes what the engine computes, and passes, operations and bytes are counted right."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import NETWORKS
from losspatterns.benchmarks import (
    CLASSES,
    PLAIN,
    Case,
    Contestant,
    flops_per_pass,
    in_turn,
    peak_memory,
    plain_plane_gradient,
    plain_points,
    plane_memory,
    random_plane,
    stock_module,
    thread_counts,
    training_speed,
)
from losspatterns.curves import crossing, over_seeds, passes_to_gap
from losspatterns.data.dataset_file import Dataset
from losspatterns.method.plane import Plane
from losspatterns.method.surface import evaluate_points
from losspatterns.method.update import add_plane_gradient
from losspatterns.networks.modules import FlatNetwork
from losspatterns.quality import checkpoints, follow, probed_pixels
from losspatterns.specs import NetworkSpec, ProbeSpec, TrainingSpec
from test_training import MASK, NETWORK, RECIPE, toy_images

CPU = torch.device("cpu")
SHAPE = (2, 9, 11)
CONV = [name for name, spec in NETWORKS.items() if spec.kind == "conv"]


def setting(name: str, pixels: int = 7) -> tuple[FlatNetwork, torch.nn.Module, Plane, torch.Tensor]:
    """Engine and stock module of a network, and a plane whose batch norm parameters are off their zeros."""
    network, plane, coordinates = random_plane(Case(NETWORKS[name], SHAPE, pixels, 5), CPU)
    torch.manual_seed(3)
    for tensor in (plane.origin, plane.right_parameter, plane.up_parameter):
        tensor += 0.05 * torch.randn(network.size)
    return network, stock_module(NETWORKS[name], SHAPE), plane, coordinates


@pytest.mark.parametrize("name", CONV)
def test_the_plain_loop_adds_the_engine_s_gradient(name: str) -> None:
    network, module, plane, coordinates = setting(name)
    images, labels = torch.randn(7, 5, *SHAPE), torch.randint(CLASSES, (7, 5))
    signs, factors = torch.tensor([1.0, -1, 1, -1, -1, 1, -1]), torch.linspace(0.5, 2, 7)
    found = []
    for plain in (False, True):
        parameters = {key: tensor.clone() for key, tensor in plane.tensors().items()}
        for key in ("origin", "right_parameter", "up_parameter"):
            parameters[key].requires_grad_()
        copy = Plane(**parameters, shape=plane.shape)
        arguments = copy, coordinates, signs, factors, images, labels, 2.4
        if plain:
            plain_plane_gradient(module, *arguments)
        else:
            add_plane_gradient(network, *arguments, 4)
        found.append([copy.origin.grad, copy.right_parameter.grad, copy.up_parameter.grad])
    for ours, plain in zip(*found, strict=True):
        assert float(plain.norm()) > 0
        assert float((ours - plain).norm()) <= 1e-5 * float(plain.norm())


@pytest.mark.parametrize("name", CONV)
def test_the_plain_loop_evaluates_the_engine_s_points(name: str) -> None:
    network, module, plane, coordinates = setting(name)
    images, labels = torch.randn(20, *SHAPE), torch.randint(CLASSES, (20,))
    protocol = "batch" if NETWORKS[name].batch_norm else "none"
    ours = evaluate_points(network, plane, coordinates, images, labels, protocol)
    plain = plain_points(module, plane, coordinates, images, labels)
    np.testing.assert_allclose(ours[0], plain[0], rtol=1e-5)
    np.testing.assert_allclose(ours[1], plain[1])


def test_operations_of_a_pass_are_those_counted_by_hand() -> None:
    """Forward, gradient of the weights, and gradient of the input but for the first layer: 2 operations a product."""
    dense = NetworkSpec("conv", (), (16,))
    assert flops_per_pass(dense, (1, 8, 8)) == 2 * (2 * 64 * 16 + 3 * 16 * CLASSES)
    conv = NetworkSpec("conv", (4, 6), (), pooled_size=2)
    layers = 2 * (9 * 1 * 4) * 64, 3 * (9 * 4 * 6) * 16, 3 * (6 * 4) * CLASSES
    assert flops_per_pass(conv, (1, 8, 8)) == 2 * sum(layers)


@pytest.mark.parametrize("name", ["plain", "batch_norm"])
def test_a_plane_s_bytes_are_three_vectors_and_a_step(name: str) -> None:
    mask = np.array([[1, 0, -1], [1, 1, -1]], np.int8)
    found = plane_memory(name, NETWORKS[name], SHAPE, mask)
    n = sum(parameter.numel() for parameter in stock_module(NETWORKS[name], SHAPE).parameters())
    assert (found["weights"], found["pixels"], found["models_written"]) == (n, 5, 5)
    assert (found["plane_bytes"], found["models_bytes"]) == (4 * (3 * n + 1), 4 * 5 * n)
    assert found["ratio"] == pytest.approx(5 * n / (3 * n + 1))
    # The file also holds the two directions and the scaling of 2 channels; the rest is its header.
    assert 0 < found["plane_file_bytes"] - 4 * (5 * n + 1 + 2 * 2) < 3000
    assert 0 < found["models_file_bytes"] - 4 * 5 * n < 5 * 1500
    assert found["file_ratio"] == pytest.approx(found["models_file_bytes"] / found["plane_file_bytes"])


def test_measurements_are_taken_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("losspatterns.benchmarks.MIN_SECONDS", 0.0)
    calls: list[str] = []
    times = in_turn({name: lambda name=name: calls.append(name) for name in "abc"}, 4, CPU)
    assert "".join(calls) == 5 * "abc"  # the first to warm up
    assert all(values.shape == (4,) and (values > 0).all() for values in times.values())
    monkeypatch.setattr("losspatterns.benchmarks.LIMIT_SECONDS", 0.0)
    assert all(values.shape == (1,) for values in in_turn({"a": lambda: None}, 4, CPU).values())


def test_a_row_of_the_throughput_agrees_with_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("losspatterns.benchmarks.MIN_SECONDS", 0.01)
    case = Case(NetworkSpec("conv", (4,), (8,)), SHAPE, 3, 2)
    *ours, plain = training_speed(case, ["float32", "bfloat16"], 1, 1, CPU)
    assert [(row["engine"], row["precision"]) for row in ours] == [("ours", "float32"), ("ours", "bfloat16")]
    assert (plain["engine"], plain["precision"], plain["speedup_over_plain"]) == ("plain", "float32", 1.0)
    for row in ours:
        assert row["low"] == row["passes_per_second"] == row["high"]
        assert row["speedup_over_plain"] == pytest.approx(row["passes_per_second"] / plain["passes_per_second"])
        assert row["share_of_matmul"] == pytest.approx(
            row["passes_per_second"] * row["mflop_per_pass"] / 1e3 / row["matmul_gflop_per_second"]
        )


def test_peak_memory_is_that_of_one_gradient_alone() -> None:
    """The plain loop holds a few vectors of n numbers, some in float64; the libraries' hundreds of megabytes do not count."""
    spec = NetworkSpec("conv", (), (512,))
    case = Case(spec, (1, 28, 28), 64, 2)
    n = sum(parameter.numel() for parameter in stock_module(spec, case.image_shape).parameters())
    ours, plain = peak_memory([(case, Contestant("ours"), 1), (case, PLAIN, 1)], 2, CPU)
    assert 6 * 4 * n < plain < 40 * 4 * n
    assert ours > 6 * 4 * n


def test_threads_are_no_more_than_the_cores() -> None:
    assert thread_counts([1, "all"], 6, CPU) == [1, 6]
    assert thread_counts([1, 4, "all"], 2, CPU) == [1, 2]
    assert thread_counts([1, "all"], 6, torch.device("cuda")) == [1]


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
    by_seed = passes_to_gap(curves)
    assert list(by_seed.columns) == ["mask", "variant", "gap", "seed", "image_passes", "seconds"]
    assert by_seed[by_seed.gap == 0.2].image_passes.tolist() == pytest.approx([200, 400, 800])
    table = over_seeds(by_seed).set_index("gap")
    assert table.seeds.tolist() == [3, 3, 3] and table.seeds_reached.tolist() == [3, 2, 2]
    assert table.loc[0.3, "image_passes_mean_of_reached"] == pytest.approx(450)
    assert table.loc[0.4, "image_passes_max_of_reached"] == pytest.approx(800)
    assert table.loc[0.2, "seconds_min_of_reached"] == pytest.approx(20)
    never = over_seeds(passes_to_gap(curves, [0.9])).iloc[0]
    assert (never.seeds, never.seeds_reached) == (3, 0) and np.isnan(never.image_passes_mean_of_reached)


def test_checkpoints_end_with_the_training_and_fit_short_ones() -> None:
    assert checkpoints(800, 5) == [50, 100, 200, 400, 800]
    assert checkpoints(1, 8) == [1] and checkpoints(3, 8) == [1, 2, 3]


def test_probed_pixels_are_trained_ones_half_of_each_colour() -> None:
    mask = np.array([[1, 1, 1, 1, 0], [-1, -1, -1, 0, 0]], np.int8)
    pixels, colours = probed_pixels(mask, 4, 0)
    assert colours.tolist() == [1, 1, -1, -1] and (mask[tuple(pixels.T)] == colours).all()
    assert len({tuple(pixel) for pixel in pixels.tolist()}) == 4
    assert len(probed_pixels(mask, 100, 0)[0]) == 7
    np.testing.assert_array_equal(pixels, probed_pixels(mask, 4, 0)[0])


def test_a_followed_training_counts_the_origin_s_passes_and_sees_the_gap_grow() -> None:
    images, labels = toy_images()
    dataset = Dataset(images, labels, images, labels, ["a", "b", "c", "d"], "toy", "toy", "none", "")
    spec = TrainingSpec(**{**RECIPE, "updates": 160})
    curve = follow("toy", NETWORK, spec, ProbeSpec(3, 100, 50), MASK, dataset, 0, CPU)
    assert list(curve.columns) == ["image_passes", "seconds", "gap", "auc", "accuracy_white", "accuracy_black"]
    assert curve.image_passes.tolist() == [20 * 16 + updates * 6 * 16 for updates in (0, 10, 40, 160)]
    assert curve.seconds.is_monotonic_increasing and curve.seconds[0] > 0
    assert curve.gap.iloc[-1] > curve.gap.iloc[0] + 0.2 and curve.auc.iloc[-1] > 0.9
    np.testing.assert_allclose(curve.gap, curve.accuracy_white - curve.accuracy_black)
