"""The objective's gradient: all pixels at once equals a plain loop of ordinary modules and autograd, pixel by pixel."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from helpers import NETWORKS, check_engine_against_plain_loop, random_batch, random_network, random_plane
from losspatterns.method import layers, update
from losspatterns.method import objective as objective_module
from losspatterns.method.devices import cpu_threads
from losspatterns.method.objective import TwoColours, objective, pixel_factors
from losspatterns.method.plane import Plane
from losspatterns.method.update import chunk_for, plane_gradient
from losspatterns.networks.flat import FlatNetwork
from losspatterns.networks.settings import AnyNetwork
from torch import nn

ROOT = Path(__file__).parents[2]
COORDINATES = torch.cartesian_prod(torch.arange(5), torch.arange(4))
SIGNS = torch.tensor([1.0, -1.0] * 10)
EVERY_WAY = {"shared products": 10**9, "own weights": 1}


@pytest.fixture(params=["on", "off"], autouse=True)
def switch(request, monkeypatch) -> None:
    """With the compiled kernels and without them: the way that a GPU goes is tested on every machine."""
    monkeypatch.setenv("LOSSPATTERNS_KERNELS", request.param)


@pytest.fixture(params=EVERY_WAY)
def way(request, monkeypatch) -> str:
    """Both orders of computation of dense layers, whatever the number of images."""
    monkeypatch.setattr(layers, "OWN_WEIGHTS_FROM", EVERY_WAY[request.param])
    return request.param


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_equal_autograd_on_ordinary_modules(name: str, shared: bool, way: str) -> None:
    network = random_network(NETWORKS[name])
    plane = random_plane(network, NETWORKS[name])
    images, labels = random_batch(6 if shared else 6 * len(SIGNS))
    if not shared:
        images, labels = images.unflatten(0, (len(SIGNS), 6)), labels.view(len(SIGNS), 6)
    assert check_engine_against_plain_loop(network, plane, COORDINATES, SIGNS, images, labels, tau=1.6) > 0


@pytest.mark.parametrize("shape", [(7,), (2, 3, 2), (2,) * 6])
@pytest.mark.parametrize("name", ["plain", "batch_norm"])
def test_any_number_of_directions(name: str, shape: tuple[int, ...], way: str) -> None:
    network = random_network(NETWORKS[name])
    plane = random_plane(network, NETWORKS[name], shape)
    coordinates = torch.tensor(list(np.ndindex(shape)))[:12]
    signs = torch.tensor([1.0, -1.0] * 6)[: len(coordinates)]
    images, labels = random_batch(6 * len(signs))
    images, labels = images.unflatten(0, (len(signs), 6)), labels.view(len(signs), 6)
    check_engine_against_plain_loop(network, plane, coordinates, signs, images, labels, tau=1.6)


@pytest.mark.parametrize("chunk", [1, 7, 20])
def test_one_image_a_pixel_in_any_chunk(chunk: int) -> None:
    network = random_network(NETWORKS["plain"])
    plane = random_plane(network, NETWORKS["plain"])
    images, labels = random_batch(len(SIGNS))
    check_engine_against_plain_loop(network, plane, COORDINATES, SIGNS, images[:, None], labels[:, None], 3.0, chunk)


class Forgetful(nn.Module):
    """It notes something in itself in a forward pass and reads it later: what threads must not see of each other."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(2 * 9 * 11, 16), nn.Tanh(), nn.Linear(16, 5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen = x
        for layer in self.layers:
            self.seen = layer(self.seen)
        return self.seen


@pytest.mark.parametrize("build", [lambda: random_network(NETWORKS["batch_norm"]), lambda: FlatNetwork(Forgetful())])
@pytest.mark.parametrize(("threads", "chunk"), [(2, 20), (2, 3), (3, 20)])
def test_threads_share_the_pixels(
    build: Callable[[], FlatNetwork], threads: int, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(update, "IMAGES_PER_THREAD", 1)
    torch.manual_seed(0)
    network = FlatNetwork(build().module.double())
    images, labels = random_batch(len(SIGNS) * 2)
    images, labels = images.double().unflatten(0, (len(SIGNS), 2)), labels.view(len(SIGNS), 2)
    factors = torch.linspace(0.5, 1.5, len(SIGNS), dtype=torch.float64)
    results = []
    for count in (1, threads, threads):
        generator = torch.Generator().manual_seed(1)
        start = [network.vector() + 0.1 * torch.randn(network.size, generator=generator) for _ in range(3)]
        plane = Plane(tuple(start), torch.tensor(0.3).double(), (5, 4))
        with cpu_threads(count):
            found = plane_gradient(network, plane, COORDINATES, images, labels, TwoColours(SIGNS, factors, 3.0), chunk)
            assert torch.get_num_threads() == count
        results.append([found.losses, found.accuracies, found.vectors, found.step])
    for one, some, again in zip(*results, strict=True):
        torch.testing.assert_close(some, one)
        assert torch.equal(some, again)


@pytest.mark.parametrize("shared", [True, False])
def test_few_images_stay_in_one_thread(shared: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    together, shares = update.together, []
    monkeypatch.setattr(update, "together", lambda calls: shares.append(len(calls)) or together(calls))
    network = random_network(NETWORKS["plain"])
    plane = random_plane(network, NETWORKS["plain"])
    images, labels = random_batch(2 if shared else 2 * len(SIGNS))
    if not shared:
        images, labels = images.unflatten(0, (len(SIGNS), 2)), labels.view(len(SIGNS), 2)
    with cpu_threads(2):
        for least in (10, 20, 21):
            monkeypatch.setattr(update, "IMAGES_PER_THREAD", least)
            plane_gradient(network, plane, COORDINATES, images, labels, TwoColours(SIGNS, torch.ones(len(SIGNS)), 3.0), 20)
    assert shares == [2, 2, 1]  # of 40 images


# Rounding tips a ReLU or a pool now and then, which no bound on products covers.
SMOOTH = [
    NETWORKS[name].model_copy(update={"activation": "gelu", "pool": False})
    for name in ("dense", "no_pool", "batch_norm", "residual")
]
ROUNDED = [(spec, 0.01) for spec in SMOOTH] + [(spec, 0.1) for spec in NETWORKS.values()]


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize(("spec", "limit"), ROUNDED)
def test_bfloat16_gives_nearly_the_same_gradient(spec: AnyNetwork, limit: float, shared: bool, way: str) -> None:
    network, count = random_network(spec), 40
    images, labels = random_batch(count if shared else count * len(SIGNS))
    if not shared:
        images, labels = images.unflatten(0, (len(SIGNS), count)), labels.view(len(SIGNS), count)
    factors, found = torch.ones(len(SIGNS)), []
    for precision in (torch.float32, torch.bfloat16):
        plane = random_plane(network, spec)
        each = plane_gradient(network, plane, COORDINATES, images, labels, TwoColours(SIGNS, factors, 50.0), 7, precision)
        found.append([each.losses, each.vectors])
        assert all(tensor.dtype == torch.float32 for tensor in found[-1])
    for exact, rounded in zip(*found, strict=True):
        assert 1e-5 < float((rounded - exact).norm() / exact.norm()) < limit


class Unusual(nn.Module):
    """Parameters in every role: a grouped and a strided convolution, a tied weight, a scale, a transposed product, no bias."""

    def __init__(self) -> None:
        super().__init__()
        self.grouped = nn.Conv2d(2, 4, 3, groups=2)
        self.strided = nn.Conv2d(4, 6, 3, stride=2, padding=1, padding_mode="reflect", bias=False)
        self.scale = nn.Parameter(torch.linspace(0.5, 1.5, 6))
        self.dense = nn.Linear(6, 6)
        self.head = nn.Parameter(torch.randn(5, 6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.strided(self.grouped(x).tanh()).mean((-1, -2)) * self.scale
        x = torch.nn.functional.linear(self.dense(x).tanh(), weight=self.dense.weight)
        return x @ self.head.t()


def test_any_use_of_a_parameter_is_followed(way: str) -> None:
    torch.manual_seed(3)
    network = FlatNetwork(Unusual())
    plane = Plane((0.3 * torch.randn(3, network.size)).unbind(), torch.tensor(0.3), (5, 4))
    images, labels = random_batch(3 * len(SIGNS))
    images, labels = images.unflatten(0, (len(SIGNS), 3)), labels.view(len(SIGNS), 3)
    check_engine_against_plain_loop(network, plane, COORDINATES, SIGNS, images, labels, 50.0)
    given = network, plane, COORDINATES, images, labels, TwoColours(SIGNS, torch.linspace(0.5, 2, len(SIGNS)), 50.0), 7
    exact, rounded = (plane_gradient(*given, precision).vectors[0] for precision in (torch.float32, torch.bfloat16))
    assert 1e-5 < float((rounded - exact).norm() / exact.norm()) < 0.02


def test_a_black_pixel_beyond_tau_has_no_gradient(way: str) -> None:
    network = random_network(NETWORKS["plain"])
    images, labels = random_batch(6)
    found = set()
    for coordinates in COORDINATES:
        plane, one = random_plane(network, NETWORKS["plain"]), torch.ones(1)
        gradient = plane_gradient(network, plane, coordinates[None], images, labels, TwoColours(-one, one, 1.65), 1)
        beyond = bool(gradient.losses > 1.65)
        assert bool((gradient.vectors == 0).all()) == beyond
        found.add(beyond)
    assert found == {True, False}


def test_the_automatic_chunk_holds_a_fixed_number_of_images_on_a_cpu() -> None:
    network = random_network(NETWORKS["plain"])
    sizes = [chunk_for(network, (2, 9, 11), images, torch.device("cpu")) for images in (1, 8, 10**6)]
    assert sizes == [update.CPU_IMAGES_PER_CALL, update.CPU_IMAGES_PER_CALL // 8, 1]


def test_a_colour_weighs_as_many_pixels_as_were_asked_for() -> None:
    """The objective as its docstring has it: pixels asked for times the colour's mean, black losses clamped at tau."""
    white, black = torch.tensor([0.5, 1.5]), torch.tensor([1.0, 9.0, 3.0])
    factors = torch.cat([pixel_factors(2, 10), pixel_factors(3, 3)])
    signs = torch.tensor([1.0, 1.0, -1.0, -1.0, -1.0])
    losses = torch.cat([white, black])[:, None]
    assert float(objective(losses, signs, factors, tau=4.0)) == pytest.approx(10 * 1.0 - (1 + 4 + 3))


@pytest.mark.parametrize(
    ("clamp", "expected"),
    [
        ("mean", [[-0.5, -0.5], [-0.5, -0.5], [0, 0], [0, 0]]),
        ("image", [[-0.5, -0.5], [-0.5, 0], [-0.5, 0], [0, 0]]),
        ("running", [[-0.5, -0.5], [0, 0], [0, 0], [0, 0]]),
    ],
)
def test_what_the_clamp_is_applied_to(clamp: str, expected: list[list[float]]) -> None:
    """Slopes of two images each of four black pixels, whose running losses are unknown, above tau, below it, below it."""
    losses = torch.tensor([[1.0, 2.0], [0.0, 5.0], [3.0, 9.0], [7.0, 9.0]], requires_grad=True)
    signs, factors = -torch.ones(4), torch.ones(4)
    running = torch.tensor([float("nan"), 4.5, 3.0, 1.0])
    value = objective(losses, signs, factors, 4.0, clamp, running)
    (found,) = torch.autograd.grad(value, losses)
    assert found.tolist() == expected


def test_the_table_of_recipes_is_what_they_say() -> None:
    """Of the objective's docstring: clamp, tau, the weight of hard pixels, and images of a pixel."""
    rows = re.findall(r"^    (\w+) +(mean|running) +([\d.]+(?: to [\d.]+)?) +([\d.]+) +(.+)$", objective_module.__doc__, re.M)
    recipes = yaml.safe_load((ROOT / "config/recipes.yaml").read_text(encoding="utf-8"))["recipes"]
    assert [row[0] for row in rows] == list(recipes)
    for (name, *told), recipe in zip(rows, recipes.values(), strict=True):
        taus = [recipe["tau_start"], recipe["tau"]] if recipe["tau_start"] else [recipe["tau"]]
        images = f"{recipe['start']['images']}, then {recipe['images']}" if recipe["start"] else f"{recipe['images']}"
        images += ", shared by all pixels" if recipe["shared_images"] else ""
        assert told == [recipe["clamp"], " to ".join(f"{tau:g}" for tau in taus), f"{recipe['hard_weight']:g}", images], name
