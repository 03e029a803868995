"""Convolutions and batch norms of many models at once equal torch's own, one model after the other, forward and backward."""

import math
import shutil
from pathlib import Path

import numba
import pytest
import torch
import torch.nn.functional as F
from helpers import SCRIPTS, run_program
from losspatterns.cpu import convolution as cached_convolution
from losspatterns.cpu import kernels, loops
from losspatterns.cpu.cache import compiled
from losspatterns.cpu.convolution import CachedConvolution
from losspatterns.cpu.norm import CachedNorm
from losspatterns.errors import InputError
from losspatterns.networks.convolution import PixelConvolution, Settings
from torch import Tensor
from torch.func import vmap

MODELS, IMAGES = 5, 3
AFTER = {"alone": {}, "relu": {"relu": True}, "relu and pool": {"relu": True, "pool": True}}


def drawer(dtype: torch.dtype = torch.float64):
    generator = torch.Generator().manual_seed(0)
    return lambda *shape: torch.randn(*shape, generator=generator, dtype=dtype).requires_grad_()


def compare(ours: Tensor, theirs: Tensor, inputs: list[Tensor]) -> None:
    """Equal values, and equal gradients of a weighted sum of them."""
    torch.testing.assert_close(ours, theirs)
    slopes = torch.randn(theirs.shape, generator=torch.Generator().manual_seed(1), dtype=theirs.dtype)
    gradients = [torch.autograd.grad((result * slopes).sum(), inputs, retain_graph=True) for result in (ours, theirs)]
    for gradient, reference in zip(*gradients, strict=True):
        assert float(reference.norm()) > 0.1
        torch.testing.assert_close(gradient, reference)


def followed(output: Tensor, relu: bool = False, pool: bool = False) -> Tensor:
    output = F.max_pool2d(output, 2) if pool else output
    return output.relu() if relu else output


SHAPES = {  # channels, outputs, kernel, stride, padding
    "first layer": (1, 4, (3, 3), (1, 1), (1, 1)),
    "odd": (3, 37, (3, 3), (2, 1), (0, 2)),
    "1 x 1": (2, 8, (1, 1), (2, 2), (0, 0)),
    "5 x 2": (1, 5, (5, 2), (1, 3), (2, 0)),
    "wide": (16, 33, (3, 3), (1, 1), (1, 1)),
}
# Each pair with a way of the kernels is compiled, for seconds: what follows a convolution knows nothing of its shape.
COMPILED = {"first layer": "relu and pool", "odd": "relu and pool", "1 x 1": "relu", "5 x 2": "alone", "wide": "alone"}


@pytest.mark.parametrize("images", ["own", "shared", "shared, with a gradient"])
@pytest.mark.parametrize(("shape", "way"), [*COMPILED.items(), *((shape, "torch") for shape in SHAPES)])
def test_a_convolution_equals_torch_s_of_each_model(
    monkeypatch: pytest.MonkeyPatch,
    way: str,
    shape: str,
    images: str,
) -> None:
    channels, outputs, kernel, stride, padding = SHAPES[shape]
    monkeypatch.setattr(cached_convolution, "CACHE_BYTES", 2 * 2 * 8 * outputs * channels * math.prod(kernel))  # groups of two
    draw = drawer()
    settings = Settings(stride, padding, **AFTER.get(way, {}))
    data = draw(*((MODELS,) if images == "own" else ()), IMAGES, channels, 9, 8)
    data.requires_grad_(images != "shared")
    places, stack, bias = draw(MODELS, 3).detach(), draw(3, outputs, channels, *kernel), draw(3, outputs)

    def one(place: Tensor, images: Tensor) -> Tensor:
        if way == "torch":
            return PixelConvolution.apply(images, place, stack, bias, settings)
        return CachedConvolution.apply(images, place, stack, bias, settings)[0]

    output = vmap(one, in_dims=(0, 0 if images == "own" else None))(places, data)
    weights = torch.einsum("kp,pocij->kocij", places, stack)
    expected = [
        F.conv2d(data[k] if images == "own" else data, weights[k], places[k] @ bias, stride, padding) for k in range(MODELS)
    ]
    compare(output, followed(torch.stack(expected).flatten(0, 1), settings.relu, settings.pool).unflatten(0, (MODELS, -1)), [
        tensor for tensor in (data, stack, bias) if tensor.requires_grad
    ])  # fmt: skip


@pytest.mark.parametrize(("wide", "tall"), [(32, 14) if loops.WIDE == 16 else (16, 6), (5, 2)])
def test_tiles_of_any_size_give_the_same(monkeypatch: pytest.MonkeyPatch, wide: int, tall: int) -> None:
    monkeypatch.setattr(loops, "WIDE", wide)
    monkeypatch.setattr(loops, "TALL", tall)
    loops.convolution_kernels.cache_clear()
    draw = drawer()
    images, places = draw(MODELS, IMAGES, 4, 7, 17), draw(MODELS, 3).detach()
    stack, bias = draw(3, 40, 4, 3, 3), draw(3, 40)
    output, _ = CachedConvolution.apply(images, places, stack, bias, Settings((1, 1), (1, 1)))
    loops.convolution_kernels.cache_clear()
    weights, biases = torch.einsum("kp,pocij->kocij", places, stack), places @ bias
    expected = torch.stack([F.conv2d(images[k], weights[k], biases[k], padding=1) for k in range(MODELS)])
    compare(output, expected, [images, stack, bias])


@pytest.mark.parametrize(("after", "channels"), [("alone", 2), ("relu", 2), ("relu and pool", 2), ("relu and pool", 19)])
def test_a_batch_norm_equals_torch_s_of_each_model(after: str, channels: int) -> None:
    draw = drawer()
    images, scales, shifts = draw(MODELS, IMAGES, channels, 7, 6), draw(MODELS, channels), draw(MODELS, channels)
    relu, pool = (AFTER[after].get(key, False) for key in ("relu", "pool"))

    def one(images: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        return CachedNorm.apply(images, scale, shift, 1e-3, relu, pool)[0]

    expected = [
        followed(F.batch_norm(images[k], None, None, scales[k], shifts[k], training=True, eps=1e-3), relu, pool)
        for k in range(MODELS)
    ]
    compare(vmap(one)(images, scales, shifts), torch.stack(expected), [images, scales, shifts])


def test_a_convolution_in_float32_rounds_as_a_sum_does() -> None:
    """Each output is a sum of n products and a bias: with |x| and |w| in their places it bounds the rounding, n + 2 times."""
    channels, outputs, kernel, stride, padding = SHAPES["wide"]
    draw, count = drawer(torch.float32), channels * math.prod(kernel)
    images, places = draw(MODELS, IMAGES, channels, 9, 8).detach(), torch.eye(3)[:2]
    stack, bias = draw(3, outputs, channels, *kernel).detach(), draw(3, outputs).detach()
    output, _ = CachedConvolution.apply(images[:2], places, stack, bias, Settings(stride, padding))
    for k in range(2):
        exact = [tensor.double() for tensor in (images[k], stack[k], bias[k])]
        largest = F.conv2d(*(tensor.abs() for tensor in exact), stride, padding)
        error = (output[k].double() - F.conv2d(*exact, stride, padding)).abs()
        assert (error <= (count + 2) * torch.finfo(torch.float32).eps / 2 * largest).all()
        assert float(error.max()) > 0


def test_a_batch_norm_keeps_its_precision_far_from_zero() -> None:
    """Its mean is a sum of 32 numbers of about 1000 in float32; a variance of mean squares would be off by more than itself."""
    draw = drawer(torch.float32)
    far, each, side = 1000, 4, 8
    images, scales, shifts = draw(2, each, 3, side, side).detach() + far, draw(2, 3).detach(), draw(2, 3).detach()
    output = CachedNorm.apply(images, scales, shifts, 1e-5, False, False)[0]
    expected = [F.batch_norm(images[k].double(), None, None, scales[k].double(), shifts[k].double(), True) for k in range(2)]
    rounding = torch.finfo(torch.float32).eps / 2
    bound = (each * side + 4) * rounding * (far + 5) * float(scales.abs().max())
    torch.testing.assert_close(output.double(), torch.stack(expected), rtol=0, atol=bound)
    assert bound < 0.01


@pytest.mark.parametrize("after", AFTER)
def test_a_nan_is_never_hidden(after: str) -> None:
    draw = drawer()
    images = draw(1, 1, 2, 8, 8).detach()
    images[0, 0, 0, 3, 4] = math.nan
    stack, bias, places = draw(3, 4, 2, 1, 1), draw(3, 4), draw(1, 3).detach()
    convolved, _ = CachedConvolution.apply(images, places, stack, bias, Settings((1, 1), (0, 0), **AFTER[after]))
    assert int(convolved.isnan().sum()) == 4  # the four outputs at one place
    relu, pool = (AFTER[after].get(key, False) for key in ("relu", "pool"))
    normed = CachedNorm.apply(images, draw(1, 2), draw(1, 2), 1e-5, relu, pool)[0]
    assert normed[0, 0, 0].isnan().all()
    assert not normed[0, 0, 1].isnan().any()


def test_a_result_may_be_changed_in_place() -> None:
    draw = drawer()
    images, places, stack, bias = draw(2, 1, 16, 9, 8), draw(2, 3).detach(), draw(3, 33, 16, 3, 3), draw(3, 33)
    settings = Settings((1, 1), (1, 1))
    for apply in (lambda: CachedConvolution.apply(images, places, stack, bias, settings)[0], lambda: PixelConvolution.apply(
        images, places, stack, bias, settings
    )):  # fmt: skip
        compare(apply().relu_(), apply().relu(), [images, stack, bias])


ONES = """
import numpy as np
from losspatterns.cpu.loops import convolution_kernels

forward, _ = convolution_kernels(1, 2, 2, 8, 4, 3, False, False)
images, weights, biases = np.ones((1, 3, 8), np.float32), np.ones(6, np.float32), np.zeros(3, np.float32)
output, where = np.zeros(36, np.float32), np.zeros(0, np.uint8)
given = images, False, 0, 1, 1, np.zeros(24, np.float32), (3, 0, 0, 1)
forward(given, weights, biases, (np.zeros(0, np.float32), output, where))
print(sum(forward.stats.cache_hits.values()), sum(forward.stats.cache_misses.values()), *set(output.tolist()))
"""


def test_compiled_code_follows_the_sources_and_not_their_folder(tmp_path: Path) -> None:
    """1 x 1 convolutions of ones with two channels give 2, and 4 once a copy's products are doubled."""
    shared = str(tmp_path / "cache")
    assert run_program(ONES, NUMBA_CACHE_DIR=shared).split() == ["0", "1", "2.0"]
    shutil.copytree(SCRIPTS / "losspatterns", tmp_path / "losspatterns", ignore=shutil.ignore_patterns("__pycache__"))
    copied = {"NUMBA_CACHE_DIR": shared, "PYTHONPATH": str(tmp_path)}
    assert run_program(ONES, **copied).split() == ["1", "0", "2.0"]
    vectors = tmp_path / "losspatterns/cpu/vectors.py"
    product = 'builder.fmul(_spread(builder, one, factor.type), factor, flags=["contract"])'
    source = vectors.read_text()
    assert product in source
    vectors.write_text(source.replace(product, f"builder.fmul(_each(2.0, factor.type), {product})"))
    assert run_program(ONES, **copied).split() == ["0", "1", "4.0"]


def test_code_that_can_be_kept_nowhere_is_compiled_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "file/below"))
    assert compiled(lambda number: number + 1)(1) == 2


def test_numba_that_may_not_compile_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    with pytest.raises(InputError, match="NUMBA_DISABLE_JIT: found 1, .*unset it, or set LOSSPATTERNS_KERNELS=off"):
        compiled(lambda number: number + 1)


def test_the_kernels_compute_what_they_can_if_they_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = torch.zeros(1), torch.zeros(1, dtype=torch.float64)
    monkeypatch.setenv("LOSSPATTERNS_KERNELS", "on")
    assert kernels(one, one) and kernels(other)
    assert not kernels(one, other) and not kernels(one.bfloat16()) and not kernels(one, one.to("meta"))
    monkeypatch.setenv("LOSSPATTERNS_KERNELS", "off")
    assert kernels(one) is None
    monkeypatch.setenv("LOSSPATTERNS_KERNELS", "no")
    with pytest.raises(InputError, match="LOSSPATTERNS_KERNELS: found 'no', expected on or off"):
        kernels(one)


def test_without_kernels_numba_is_never_imported() -> None:
    program = """
import sys
import torch
from helpers import NETWORKS, random_batch, random_network, random_plane
from losspatterns.method.surface import evaluate_points
from losspatterns.method.objective import TwoColours
from losspatterns.method.update import plane_gradient

network = random_network(NETWORKS["plain"])
plane = random_plane(network, NETWORKS["plain"])
pixels, ones = torch.tensor([[0, 1], [2, 3]]), torch.ones(2)
evaluate_points(network, plane, pixels, *random_batch(3), "none")
assert plane_gradient(network, plane, pixels, *random_batch(3), TwoColours(ones, ones, 4.0), 2).vectors.norm() > 0
assert "numba" not in sys.modules
"""
    run_program(program, LOSSPATTERNS_KERNELS="off", PYTHONPATH=f"{SCRIPTS}:{Path(__file__).parent}")
