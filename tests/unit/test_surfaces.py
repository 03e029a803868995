"""Surfaces: every trained pixel is met, and each point equals the ordinary module with those weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import NETWORKS, Interrupting, random_batch, random_network, random_plane
from losspatterns.method import surface as surfaces
from losspatterns.errors import Stopped
from losspatterns.method.surface import choose_images, evaluate_points, evaluate_surface, grid_axis
from losspatterns.networks.batch_norm import BatchNorm
from losspatterns.networks.modules import FlatNetwork


@pytest.mark.parametrize("pixels", [3, 50])
@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize("oversampling", [1, 3, 10])
def test_the_grid_meets_every_pixel_exactly(pixels: int, padding: int, oversampling: int) -> None:
    axis = grid_axis(pixels, padding, oversampling)
    assert set(range(-padding, pixels + padding)) <= set(axis.tolist())
    assert (axis[0], axis[-1], len(axis)) == (-padding, pixels - 1 + padding, (pixels - 1 + 2 * padding) * oversampling + 1)


CASES = [(name, "none") for name in NETWORKS if "batch_norm" not in name] + [
    (name, protocol) for name in NETWORKS if "batch_norm" in name for protocol in ("batch", "recalibrated", "identity")
]


@pytest.mark.parametrize("budget", [1, 2**22])
@pytest.mark.parametrize(("name", "protocol"), CASES)
def test_every_point_equals_the_ordinary_module(name: str, protocol: str, budget: int, monkeypatch) -> None:
    monkeypatch.setitem(surfaces.ACTIVATION_BYTES, "cpu", budget * 1000)
    spec = NETWORKS[name]
    network = random_network(spec)
    plane = random_plane(network, spec, (3, 2))
    images, labels = random_batch(9)
    calibration, _ = random_batch(12, seed=7)
    surface = evaluate_surface(network, plane, 1, 2, images, labels, protocol, calibration)
    assert surface.loss.shape == surface.accuracy.shape == (9, 7)
    for i, j in [(0, 0), (2, 3), (8, 6), (5, 1)]:
        weights = plane.weights(torch.tensor([[surface.rows[i], surface.columns[j]]]))[0]
        module = network.ordinary(weights)
        if protocol == "recalibrated":
            statistics = network.calibrate(weights, calibration)
        else:
            statistics = "batch" if protocol == "none" else protocol
        with network.protocol(statistics), torch.no_grad():
            copies = [m for m in module.modules() if isinstance(m, BatchNorm)]
            for ours, theirs in zip(network.norms, copies, strict=True):
                theirs.statistics = ours.statistics
            logits = module(images)
        assert surface.loss[i, j] == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-4)
        assert surface.accuracy[i, j] == pytest.approx((logits.argmax(1) == labels).float().mean().item())


def test_rows_run_along_up_and_columns_along_right() -> None:
    spec = NETWORKS["plain"]
    network = random_network(spec)
    plane = random_plane(network, spec, (3, 5))
    images, labels = random_batch(9)
    surface = evaluate_surface(network, plane, 0, 1, images, labels, "none")
    right, up = plane.basis()
    corner = plane.origin + plane.step * (-1 * up + 2 * right)  # row 0, last column
    expected = F.cross_entropy(network(corner, images), labels).item()
    assert surface.loss[0, 4] == pytest.approx(expected, rel=1e-4)
    assert surface.loss[2, 0] != pytest.approx(expected, rel=1e-3)


def test_evaluation_images_are_fixed_by_seed() -> None:
    first = choose_images(1000, 50, 3)
    np.testing.assert_array_equal(first, choose_images(1000, 50, 3))
    assert len(set(first)) == 50 and not np.array_equal(first, choose_images(1000, 50, 4))
    np.testing.assert_array_equal(choose_images(20, 50, 0), np.arange(20))


def test_two_evaluations_agree_to_the_bit() -> None:
    spec = NETWORKS["batch_norm"]
    network = random_network(spec)
    plane = random_plane(network, spec)
    images, labels = random_batch(9)
    points = torch.cartesian_prod(torch.arange(5), torch.arange(4))
    first, second = (evaluate_points(network, plane, points, images, labels, "batch") for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("protocol", ["batch", "recalibrated", "identity"])
def test_a_stopped_surface_goes_on_to_the_same_bits(tmp_path: Path, protocol: str) -> None:
    spec = NETWORKS["batch_norm"]
    network = random_network(spec)
    plane = random_plane(network, spec, (3, 4))
    images, labels = random_batch(9)
    calibration, _ = random_batch(12, seed=7)

    def evaluate(**more) -> tuple[np.ndarray, np.ndarray]:
        surface = evaluate_surface(network, plane, 0, 1, images, labels, protocol, calibration, **more)
        return surface.loss, surface.accuracy

    untouched = evaluate()
    after = [1, 4, 2]
    for _ in range(3):
        with Interrupting(tmp_path / "state.safetensors", after) as state, pytest.raises(Stopped):
            evaluate(state=state)
    reports: list[int] = []
    with Interrupting(tmp_path / "state.safetensors", []) as state:
        resumed = evaluate(state=state, report=reports.append)
    assert reports == [7, 1, 1, 1, 1, 1]
    for first, second in zip(untouched, resumed, strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(("name", "protocol"), [("plain", "none"), ("batch_norm", "batch"), ("batch_norm", "recalibrated")])
def test_points_do_not_wait_for_a_device(name: str, protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On `meta`, whose tensors have no numbers, all that would wait for a number raises: here nothing before the end."""
    monkeypatch.setitem(surfaces.ACTIVATION_BYTES, "meta", 2**20)
    network = random_network(NETWORKS[name])
    plane = random_plane(network, NETWORKS[name])
    plane = replace(plane, **{key: tensor.to("meta") for key, tensor in plane.tensors().items()})
    network = FlatNetwork(network.module.to("meta"))
    images, labels = (tensor.to("meta") for tensor in random_batch(12))
    coordinates = torch.cartesian_prod(torch.arange(5), torch.arange(4)).to("meta")
    done = []
    with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):
        evaluate_points(network, plane, coordinates, images, labels, protocol, images[:5], done.append)
    assert len(done) == len(coordinates)
