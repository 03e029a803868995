"""Surfaces: every trained pixel is met, and each point equals the ordinary module with those weights."""

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import IMAGE_SHAPE, NETWORKS, Interrupting, random_batch, random_network, random_plane
from losspatterns.cpu import switched_on
from losspatterns.errors import InputError, Stopped
from losspatterns.method import surface
from losspatterns.method.plane import Plane
from losspatterns.method.surface import choose_images, evaluate_plane, evaluate_points, grid_axis
from losspatterns.networks.batch_norm import BatchNorm
from losspatterns.networks.flat import FlatNetwork


@pytest.mark.parametrize("pixels", [3, 50])
@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize("oversampling", [1, 3, 10])
def test_the_grid_meets_every_pixel_exactly(pixels: int, padding: int, oversampling: int) -> None:
    axis = grid_axis(pixels, padding, oversampling)
    assert set(range(-padding, pixels + padding)) <= set(axis.tolist())
    assert (axis[0], axis[-1], len(axis)) == (-padding, pixels - 1 + padding, (pixels - 1 + 2 * padding) * oversampling + 1)


PROTOCOLS = ["batch", "recalibrated", "identity"]


def values(surfaces: dict, name: str) -> np.ndarray:
    """A variable's numbers."""
    return surfaces[name][1]


def two_stages(name: str, shape: tuple[int, int]) -> tuple[FlatNetwork, dict[str, Plane]]:
    """A network, and two planes of it."""
    network = random_network(NETWORKS[name])
    trained = random_plane(network, NETWORKS[name], shape)
    return network, {"untrained": replace(trained, vectors=(trained.origin + 0.1, *trained.vectors[1:])), "trained": trained}


@pytest.mark.parametrize("budget", [1, 2**22])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_point_equals_the_ordinary_module(name: str, budget: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every stage, split and protocol."""
    monkeypatch.setitem(surface.ACTIVATION_BYTES, "cpu", budget * 1000)
    protocols = PROTOCOLS if NETWORKS[name].batch_norm else ["none"]
    network, stages = two_stages(name, (2, 1))
    splits = {"train": random_batch(9), "test": random_batch(7, seed=5)}
    calibration, _ = random_batch(12, seed=7)
    found = evaluate_plane(network, stages, 1, 1, splits, protocols, calibration)
    assert found["loss"][0] == ("stage", "split", "protocol", "row", "column") == found["accuracy"][0]
    assert values(found, "loss").shape == (2, 2, len(protocols), 4, 3)
    correct, of_classes = values(found, "correct"), values(found, "class_images")
    assert found["correct"][0] == ("stage", "split", "protocol", "class", "row", "column") and correct.dtype == np.int32
    for split, images in zip(splits.values(), of_classes, strict=True):
        assert images.tolist() == [int((split[1] == label).sum()) for label in range(len(images))]
    np.testing.assert_array_equal(correct.sum(3) / of_classes.sum(1)[:, None, None, None], values(found, "accuracy"))
    assert [values(found, axis) for axis in ("stage", "split", "protocol")] == [[*stages], [*splits], [*protocols]]
    for (s, stage), (d, split), (p, protocol) in product(enumerate(stages), enumerate(splits), enumerate(protocols)):
        images, labels = splits[split]
        for i, j in [(0, 0), (1, 2), (3, 1)]:
            weights = stages[stage].weights(torch.tensor([[values(found, "row")[i], values(found, "column")[j]]]))[0]
            module = network.ordinary(weights)
            with torch.no_grad():
                moments = network.moments(protocol, lambda weights=weights: network.calibrate(weights, calibration))
                norms = [m for m in module.modules() if isinstance(m, BatchNorm)]
                for norm, given in zip(norms, moments or [None] * len(norms), strict=True):
                    norm.statistics = given
                logits = module(images)
            at = s, d, p, i, j
            assert values(found, "loss")[at] == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-4)
            right = logits.argmax(1) == labels
            assert values(found, "accuracy")[at] == pytest.approx(right.float().mean().item())
            assert correct[s, d, p, :, i, j].tolist() == torch.bincount(labels[right], minlength=correct.shape[3]).tolist()


@pytest.mark.parametrize(
    ("name", "protocol", "line"),
    [
        ("batch_norm", "none", "'none' for a network with 2 batch norm layers, allowed are batch, recalibrated, identity"),
        ("batch_norm", "bach", "'bach'.*allowed are batch"),
        ("plain", "bach", "'bach'.*allowed are none"),
    ],
)
def test_a_protocol_that_does_not_suit_is_refused(name: str, protocol: str, line: str) -> None:
    network = random_network(NETWORKS[name])
    plane = random_plane(network, NETWORKS[name])
    with pytest.raises(InputError, match=line):
        evaluate_points(network, plane, torch.tensor([[0, 0]]), *random_batch(3), protocol)


def test_rows_run_along_up_and_columns_along_right() -> None:
    network = random_network(NETWORKS["plain"])
    plane = random_plane(network, NETWORKS["plain"], (3, 5))
    images, labels = random_batch(9)
    [[[loss]]] = values(evaluate_plane(network, {"trained": plane}, 0, 1, {"test": (images, labels)}, ["none"]), "loss")
    right, up = plane.basis()
    corner = plane.origin + plane.step * (-1 * up + 2 * right)  # row 0, last column
    expected = F.cross_entropy(network(corner, images), labels).item()
    assert loss[0, 4] == pytest.approx(expected, rel=1e-4)
    assert loss[2, 0] != pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("shape", [(5,), (2, 3, 4), (2,) * 6])
def test_a_surface_has_as_many_axes_as_its_picture(shape: tuple[int, ...]) -> None:
    network = random_network(NETWORKS["batch_norm"])
    plane, (images, labels) = random_plane(network, NETWORKS["batch_norm"], shape), random_batch(9)
    found = evaluate_plane(network, {"trained": plane}, 0, 1, {"test": (images, labels)}, ["batch"])
    axes = tuple(f"axis_{k}" for k in range(1, len(shape) + 1))
    assert found["loss"][0] == ("stage", "split", "protocol", *axes)
    assert found["correct"][0] == ("stage", "split", "protocol", "class", *axes)
    assert [len(values(found, axis)) for axis in axes] == [*shape]
    for point in [(0,) * len(shape), tuple(side - 1 for side in shape)]:
        [weights] = plane.weights(torch.tensor([point]))
        expected = F.cross_entropy(network(weights, images), labels).item()
        assert values(found, "loss")[0, 0, 0][point] == pytest.approx(expected, rel=1e-4)


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


@pytest.mark.parametrize(("name", "protocols"), [("batch_norm", PROTOCOLS), ("plain", ["none"])])
def test_a_stopped_surface_goes_on_to_the_same_bits(
    tmp_path: Path, name: str, protocols: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped within the first plane and within the second."""
    monkeypatch.setattr(surface, "POINTS_AT_ONCE", 4)
    many = switched_on()  # several points at once
    network, stages = two_stages(name, (4, 6) if many else (2, 3))
    splits = {"train": random_batch(9), "test": random_batch(7, seed=5)}
    given = network, stages, 0, 1, splits, protocols, random_batch(12, seed=7)[0]
    untouched = evaluate_plane(*given)
    after = [1, 4, 2]
    for _ in range(3):
        with Interrupting(tmp_path / "state.safetensors", after) as state, pytest.raises(Stopped):
            evaluate_plane(*given, state=state)
    reports: list[int] = []
    with Interrupting(tmp_path / "state.safetensors", []) as state:
        resumed = evaluate_plane(*given, state=state, report=reports.append)
    assert reports == ([28, 4, 4, 4, 4, 4] if many else [7, 1, 1, 1, 1, 1])
    for name in ("loss", "accuracy", "correct"):
        np.testing.assert_array_equal(values(untouched, name), values(resumed, name))


@pytest.mark.parametrize("first", ["few", "many"])
def test_points_at_once_are_those_that_the_largest_split_allows(first: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever split comes first: two points of 16 images each fill the memory that eight points of 4 images would."""
    if not switched_on():
        pytest.skip("one point at a time")
    network = random_network(NETWORKS["plain"])
    plane = random_plane(network, NETWORKS["plain"], (4, 4))
    monkeypatch.setattr(surface, "POINTS_BYTES", 2 * 16 * 4 * max(network.layer_outputs(IMAGE_SHAPE)))
    splits = {"few": random_batch(4), "many": random_batch(16)}
    reports: list[int] = []
    order = sorted(splits, key=lambda split: split != first)
    evaluate_plane(network, {"t": plane}, 0, 1, {split: splits[split] for split in order}, ["none"], report=reports.append)
    assert reports == 8 * [2]


@pytest.mark.parametrize(("name", "protocol"), [("plain", "none"), ("batch_norm", "batch"), ("batch_norm", "recalibrated")])
def test_points_do_not_wait_for_a_device(name: str, protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On `meta`, whose tensors have no numbers, all that would wait for a number raises: here nothing before the end."""
    monkeypatch.setitem(surface.ACTIVATION_BYTES, "meta", 2**20)
    network = random_network(NETWORKS[name])
    plane = random_plane(network, NETWORKS[name])
    plane = plane.with_tensors(lambda tensor: tensor.to("meta"))
    network = FlatNetwork(network.module.to("meta"))
    images, labels = (tensor.to("meta") for tensor in random_batch(12))
    coordinates = torch.cartesian_prod(torch.arange(5), torch.arange(4)).to("meta")
    done = []
    with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):
        evaluate_points(network, plane, coordinates, images, labels, protocol, images[:5], done.append)
    assert len(done) == len(coordinates)


def test_images_that_the_pixels_classify_correctly_are_counted_by_colour() -> None:
    """Over all images they add up to the pixels' accuracies; padding and points between pixels do not count."""
    network, stages = two_stages("batch_norm", (3, 2))
    mask = np.array([[1, -1], [0, 1], [-1, -1]], np.int8)
    splits = {"train": random_batch(9), "test": random_batch(7, seed=5)}
    found = evaluate_plane(network, stages, 1, 2, splits, ["batch", "identity"], mask=mask)
    accuracy = values(found, "accuracy")[..., 2:-2:2, 2:-2:2]
    assert accuracy.shape[-2:] == mask.shape
    for colour, name in ((1, "white_correct"), (-1, "black_correct")):
        counts = values(found, name)
        assert found[name][0] == ("stage", "split", "protocol", "image") and counts.shape == (2, 2, 2, 9)
        assert (counts[:, 1, :, 7:] == -1).all() and (counts[:, 1, :, :7] >= 0).all() and (counts[:, 0] >= 0).all()
        for split, images in ((0, 9), (1, 7)):
            shares = counts[:, split, :, :images].mean(-1)
            np.testing.assert_allclose(shares, accuracy[:, split][..., mask == colour].sum(-1))
